"""The checkpoints that the authors of I2I-PR published (arXiv 2507.09609), as weights of this program."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_i2ipr.errors import ConfigError, FormatError, InputError
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.refine.networks import NetworkSpec
from napari_i2ipr.refine.sampler import Model
from napari_i2ipr.refine.weights import Card

if TYPE_CHECKING:
    from pathlib import Path

LAMBDA = "lam"
"""Entry with the T weights of data consistency."""

NETWORK = "denoiser.model."
"""What the names of the network's entries begin with."""

NESTED = ("state_dict", "model")
"""Entries below which the state may be."""

LAYOUT = f"a published I2I-PR checkpoint ({LAMBDA} and {NETWORK}*)"

_MOST_STEPS = 64


def read_checkpoint(path: Path, name: str) -> tuple[Model, Card]:
    """Model and card of a published checkpoint; nothing in the file is executed.

    The sizes of the network are read off the entries. The table of lambda is taken as it is where all of
    it lies between 0 and 1; elsewhere it is what a sigmoid was applied to, and is again.

    Parameters
    ----------
    path : Path
        What ``torch.save`` wrote of a state dict, plain or below one of `NESTED`.
    name : str
        Goes into the card.

    Raises
    ------
    InputError
        When there is no such file, or diffusers is not installed.
    FormatError
        When the file is damaged or not laid out like that.
    """
    if not path.is_file():
        raise InputError(f"no file {path}", expected=LAYOUT)
    state = _state(path)
    spec = _spec(state, path)
    try:
        with torch.device("meta"):
            model = Model(spec)
    except ConfigError as error:
        raise FormatError(f"{path}, with {error.got}", expected=error.expected) from None
    found = {f"network.model.{key.removeprefix(NETWORK)}": v for key, v in state.items() if key != LAMBDA}
    shares, how = _shares(state[LAMBDA], path)
    values = {"consistency.shares": shares, **found}
    _check(values, {key: value.shape for key, value in model.state_dict().items()}, path)
    model.load_state_dict({key: value.float() for key, value in values.items()}, assign=True)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    card = Card(
        name=name,
        network=spec,
        sampling=Sampling(sampler="indi", steps=spec.steps_table),
        bfloat16=False,
        training={"imported_from": path.name, "sha256": sha256, "lambda": how, "paper": "arXiv 2507.09609"},
    )
    return model.requires_grad_(False).eval(), card


def _state(path: Path) -> dict[str, Tensor]:
    """The state dict of a file: tensors by name."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged pickle can raise anything
        said = str(error).strip().splitlines() or [type(error).__name__]
        unsafe = isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error)
        why = "holds more than tensors" if unsafe else f"cannot be read ({said[0]})"
        raise FormatError(f"{path}, which {why}", expected=LAYOUT) from None
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise FormatError(f"{path}, which holds no state dict", expected=LAYOUT)
    for key, value in content.items():
        if not isinstance(value, Tensor) or not (key == LAMBDA or str(key).startswith(NETWORK)):
            raise FormatError(f"{path}, with the odd entry {str(key)!r}", expected=LAYOUT)
    return dict(content)


def _spec(state: dict[str, Tensor], path: Path) -> NetworkSpec:
    """Levels, widths, blocks and times, from names and shapes."""
    first = "conv1.weight"
    if LAMBDA not in state:
        raise FormatError(f"{path}, without {LAMBDA!r}", expected=LAYOUT)
    steps = state[LAMBDA].numel()
    if not 1 <= steps <= _MOST_STEPS:
        raise FormatError(f"{path}, with {steps} values of {LAMBDA!r}", expected=f"1 to {_MOST_STEPS}")
    widths: list[int] = []
    while (key := f"{NETWORK}down_blocks.{len(widths)}.resnets.0.{first}") in state:
        widths.append(state[key].shape[0] if state[key].ndim else 0)
    if not widths:
        raise FormatError(f"{path}, without {key!r}", expected=LAYOUT)
    blocks = sum(key.startswith(f"{NETWORK}down_blocks.0.resnets.") and key.endswith(first) for key in state)
    return NetworkSpec(
        name="published", widths=tuple(widths), blocks=(blocks,) * len(widths), replicas=1, steps_table=steps
    )


def _shares(table: Tensor, path: Path) -> tuple[Tensor, str]:
    """Lambda of each time, between 0 and 1, and how it was read."""
    table = table.detach().flatten().float()
    if not bool(table.isfinite().all()):
        raise FormatError(f"{path}, with values of {LAMBDA!r} that are not finite", do="get it anew")
    if bool(((table > 0) & (table < 1)).all()):
        return table, "as stored"
    return torch.sigmoid(table), "sigmoid of what is stored"


def _check(values: dict[str, Tensor], shapes: dict[str, torch.Size], path: Path) -> None:
    """Refuse entries that the network lacks, lacks of entries, other shapes, and what float16 cannot hold."""

    def named(key: str) -> str:
        return repr(key.replace("network.model.", NETWORK))

    for key, shape in shapes.items():
        if key not in values:
            raise FormatError(f"{path}, without {named(key)}", expected=LAYOUT)
        if values[key].shape != shape:
            raise FormatError(
                f"{path}, with {named(key)} of shape {tuple(values[key].shape)}", expected=f"{tuple(shape)}"
            )
        if not values[key].is_floating_point() or not bool(values[key].half().isfinite().all()):
            raise FormatError(f"{path}, with numbers in {named(key)} that float16 cannot hold", do="get it anew")
    for key in values:
        if key not in shapes:
            raise FormatError(f"{path}, with the odd entry {named(key)}", expected=LAYOUT)

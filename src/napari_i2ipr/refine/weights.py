"""Weights files: safetensors that carry their network, recipe, data, scores and calibration with them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.refine.networks import NetworkSpec
from napari_i2ipr.refine.uncertainty import Calibration

if TYPE_CHECKING:
    from napari_i2ipr.refine.sampler import Model

KEY = "i2ipr"
"""Entry of the safetensors header that holds the card as JSON."""

DEFAULT = "i2ipr-1"
"""Name of the shipped weights that ``"default"`` stands for."""

LARGEST = 16 * 2**20
"""Shipped weights are at most so large, in bytes."""


class Checked(BaseModel):
    """What validation images of one size said of some weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side_px: int | None = Field(None, ge=1, description="Side of these objects in pixels; none: any.")
    calibration: Calibration | None = Field(None, description="Of the uncertainty; none: raw variances only.")
    max_chi_ratio: float | None = Field(
        None, description="Chi refined over chi of classical mean or noise; a new image exceeds it in 1 % at most."
    )
    metrics: dict[str, Any] = Field({}, description="Scores on validation images.")


class Card(Checked):
    """What is known of some weights; stored inside the file."""

    name: str
    network: NetworkSpec
    sampling: Sampling = Sampling()
    bfloat16: bool = Field(True, description="Whether they were trained for convolutions in bfloat16.")
    other_sizes: tuple[Checked, ...] = Field((), description="The same for objects of other sizes.")
    training: dict[str, Any] = Field({}, description="Recipe, hardware, time, images, hashes of the data.")
    sources: list[dict[str, Any]] = Field([], description="Where the training images are from, and their licences.")

    def checked(self, shape: tuple[int, ...]) -> Checked:
        """What is known for objects of this shape ``(h, w)``: that of the size nearest to it, as a ratio."""
        side = math.prod(shape) ** 0.5
        return min((self, *self.other_sizes), key=lambda one: abs(math.log((one.side_px or side) / side)))


@dataclass(frozen=True)
class Weights:
    """Weights in memory.

    Attributes
    ----------
    model : Model
        Network and data consistency in float32, on the CPU.
    card : Card
        What is known of them.
    sha256 : str
        Of the file.
    path : Path
        Where they were read.
    """

    model: Model
    card: Card
    sha256: str
    path: Path


def shipped() -> dict[str, Path]:
    """The files of the weights that come with the package, by name."""
    folder = Path(str(resources.files("napari_i2ipr.refine").joinpath("shipped")))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(name: str) -> Path:
    """The file of shipped weights, or a file of one's own.

    Raises
    ------
    InputError
        When there is no such file or name.
    """
    known = shipped()
    path = known.get(DEFAULT if name == "default" else name, Path(name))
    if not path.is_file():
        raise InputError(
            f"no weights {name!r}",
            expected="a .safetensors file or " + (", ".join(known) or "none shipped"),
            do="check the name or the path",
        )
    return path


def load(name: str = "default") -> Weights:
    """Weights by name or file; read once and kept.

    Raises
    ------
    InputError
        When there are no such weights.
    FormatError
        When the file is damaged or of another program.
    """
    path = find(name)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, _changed: int) -> Weights:
    from safetensors.torch import load as parse

    from napari_i2ipr.refine.sampler import Model

    content = path.read_bytes()
    card = read_card(path)
    model = Model(card.network)
    try:
        model.load_state_dict({name: value.float() for name, value in parse(content).items()})
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise FormatError(f"{path}, whose weights do not fit their network ({said})", do="get it anew") from None
    model.requires_grad_(False).eval()
    return Weights(model, card, hashlib.sha256(content).hexdigest(), path)


def read_card(path: Path) -> Card:
    """The card of a weights file, without reading the weights.

    Raises
    ------
    FormatError
        When the file is damaged or of another program.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            words = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}, which cannot be read ({error})", expected="a safetensors file") from None
    if words is None:
        raise FormatError(
            f"{path}, which this program did not write",
            expected="weights of `i2ipr train`",
            do="bring published checkpoints in with `i2ipr weights import`",
        )
    try:
        return Card.model_validate_json(words)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FormatError(f"{path}, whose card is wrong at {where}: {first['msg']}", do="update napari-i2ipr") from None


def save(model: Model, card: Card, path: Path) -> None:
    """Write weights as float16 (the few numbers of the data consistency as float32), whole or not at all.

    Parameters
    ----------
    model : Model
        What was trained.
    card : Card
        Goes into the header.
    path : Path
        A ``.safetensors`` file; replaced if it is there.
    """
    import torch
    from safetensors.torch import save as pack

    state = {
        name: value.detach().cpu().contiguous().to(torch.float32 if name.startswith("consistency.") else torch.float16)
        for name, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(pack(state, metadata={KEY: json.dumps(card.model_dump(mode="json"))}))
    part.replace(path)

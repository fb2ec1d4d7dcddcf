"""``i2ipr weights``: which weights there are, what is known of them, and how published ones are brought in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files
from napari_i2ipr.cli._terminal import guarded, number, print_json, print_table

if TYPE_CHECKING:
    from napari_i2ipr.refine.weights import Card

weights = typer.Typer(name="weights", help="List, describe and import weights of the refinement.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@weights.command("list")
@guarded
def list_(json: Json = False) -> None:
    """List the weights that come with this program."""
    from napari_i2ipr.refine.weights import DEFAULT, shipped

    known = {name: _values(path) | {"default": name == DEFAULT} for name, path in shipped().items()}
    if json:
        print_json({"weights": [{**values, "name": name} for name, values in known.items()]})
    elif known:
        print_table({name: _line(values) for name, values in known.items()})
    else:
        typer.echo("no weights come with this version; `i2ipr reconstruct --weights FILE` takes a file")


@weights.command("info")
@guarded
def info(
    file: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Shipped weights, or a .safetensors file.")],
    json: Json = False,
) -> None:
    """Say what is known of some weights: network, training, scores, calibration, sources."""
    from napari_i2ipr.refine.weights import find

    values = _values(find(file))
    if json:
        print_json(values)
    else:
        print_table(_rows(values))


@weights.command("import")
@guarded
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.pth", help="Checkpoint that the authors of I2I-PR published.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="Weights for `i2ipr reconstruct`.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.")] = False,
    json: Json = False,
) -> None:
    """Turn a published I2I-PR checkpoint into weights of this program.

    Nothing in the checkpoint is executed. Its table of lambda is taken as it is if all of it lies between 0 and 1,
    else through a sigmoid. Such weights have no calibrated uncertainty. They need the library diffusers.
    """
    _files.require_other_file(output, str(file))
    _files.check_file(output, (".safetensors",), overwrite=overwrite)
    from napari_i2ipr.refine.checkpoints import read_checkpoint
    from napari_i2ipr.refine.weights import save

    model, card = read_checkpoint(file, output.stem)
    with _files.writing_file(output) as partial:
        save(model, card, partial)
    values = _values(output)
    if json:
        print_json(values)
    else:
        typer.echo(f"imported {file} into {output}")
        print_table(_rows(values))


def _values(path: Path) -> dict[str, Any]:
    """The card as plain values, with the file's name, size, hash and number of parameters."""
    from safetensors import safe_open

    from napari_i2ipr.refine.weights import read_card

    card: Card = read_card(path)
    with safe_open(path, "np") as tensors:
        parameters = sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    found = {"file": str(path), "bytes": path.stat().st_size, "parameters": parameters, "sha256": sha256}
    return {**card.model_dump(mode="json"), **found}


def _line(values: dict[str, Any]) -> str:
    calibrated = "calibrated" if values["calibration"] else "not calibrated"
    default = "default, " if values["default"] else ""
    scores = _in_words(values["metrics"])
    return f"{default}{_size(values)}, {calibrated}{'; ' + scores if scores else ''}"


def _rows(values: dict[str, Any]) -> dict[str, str]:
    network, sampling = values["network"], values["sampling"]
    replicas, steps = network["replicas"], sampling["steps"]
    sources = {f"source {i}": _in_words(source) for i, source in enumerate(values["sources"], 1)}
    return {
        "weights": values["name"],
        "file": values["file"],
        "size": _size(values),
        "sha256": values["sha256"],
        "network": f"{network['name']}, widths {_list(network['widths'])}, blocks {_list(network['blocks'])}, "
        f"{replicas} replica{'s' * (replicas > 1)}",
        "sampling": f"{sampling['sampler']}, {steps} step{'s' * (steps > 1)}, "
        f"{'bfloat16 where the processor has it' if values['bfloat16'] else 'float32'}",
        **_checked(values),
        **{row: text for other in values["other_sizes"] for row, text in _checked(other).items()},
        "training": _in_words(values["training"]),
        **(sources or {"sources": "none given"}),
    }


def _checked(known: dict[str, Any]) -> dict[str, str]:
    """Rows of what validation images of one size said."""
    limit, side = known["max_chi_ratio"], known["side_px"]
    at = f" at {side} px" if side else ""
    return {
        f"calibration{at}": _calibration(known["calibration"]),
        f"chi ratio{at}": f"the classical mean is returned beyond {number(limit)}" if limit is not None else "no limit",
        f"scores{at}": _in_words(known["metrics"]),
    }


def _calibration(calibration: dict[str, Any] | None) -> str:
    if calibration is None:
        return "none: the uncertainty is the raw one"
    scales = ", ".join(
        f"{100 * float(level):g} % within {number(scale, 3)}" for level, scale in calibration["scales"].items()
    )
    return f"on {calibration['images']} images; {scales} times the uncertainty"


def _size(values: dict[str, Any]) -> str:
    return f"{values['bytes'] / 1e6:.1f} MB, {values['parameters'] / 1e6:.2f} million parameters"


def _list(numbers: list[int]) -> str:
    return " ".join(str(n) for n in numbers)


def _in_words(values: Mapping[str, Any]) -> str:
    """Names and values in one line; names of what is inside something begin with its name."""
    return ", ".join(f"{name} {_word(value)}" for name, value in _flat(values))


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        found += _flat(value, f"{name} ") if isinstance(value, Mapping) else [(name, value)]
    return found


def _word(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return " ".join(_word(item) for item in value) if isinstance(value, list) else str(value)

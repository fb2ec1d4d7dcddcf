"""``i2ipr train``: from pictures to weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from napari_i2ipr.cli._terminal import guarded, stoppable
from napari_i2ipr.errors import InputError

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's YAML file, or tiny, cpu, gpu.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder with the recipe's pictures; else I2IPR_DATA/train."),
]
Output = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Weights, curve and checkpoint; a run in it goes on.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Where candidate sets are kept; else OUTPUT/sets.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda.")]
Processes = Annotated[
    int, typer.Option("--processes", min=0, help="Candidate sets made at a time on a CPU; 0: one a core.")
]


@guarded
def train(
    recipe: Recipe,
    *,
    data: Data = None,
    output: Output = Path("training"),
    cache: Cache = None,
    device: Device = "auto",
    processes: Processes = 0,
) -> None:
    """Train a restoration network and write its weights, with calibration and model card.

    Ctrl-C stops after the batch under way; the same command goes on from there.
    """
    import torch

    from napari_i2ipr.train.recipe import Recipe as Steps
    from napari_i2ipr.train.run import train as follow

    steps = Steps.load(recipe)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with stoppable() as cancel:
        weights = follow(
            steps,
            _data(data),
            output,
            cache=cache,
            device=where,
            processes=processes or os.cpu_count() or 1,
            say=typer.echo,
            cancel=cancel,
        )
    typer.echo(f"weights: {weights}")


def _data(given: Path | None) -> Path:
    if given is None and "I2IPR_DATA" in os.environ:
        given = Path(os.environ["I2IPR_DATA"]) / "train"
    if given is None or not given.is_dir():
        raise InputError(
            f"no data folder ({given})", expected="a folder with the recipe's pictures", do="give --data DIR"
        )
    return given

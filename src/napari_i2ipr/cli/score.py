"""``i2ipr score``: how good a reconstruction is, without a truth."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files, _source, _terminal
from napari_i2ipr.errors import ConfigError, DataWarning, InputError

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.quality import Quality

REPORT_ENDINGS = (".html", ".png", ".svg")
"""What a report can be."""

Result = Annotated[Path, typer.Argument(metavar="RESULT", help="Reconstruction: OME-Zarr store or CXI file.")]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern",
        metavar="FILE",
        help="The pattern it was made from. Not given: where the result says, if it is unchanged.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="F.html|F.png|F.svg", help="Also write a page with pictures, curves and verdict."),
]
Item = Annotated[int | None, typer.Option("--item", metavar="I", min=0, help="One image of a stack, from 0.")]
Frc = Annotated[
    bool, typer.Option("--frc", help="Also reconstruct both halves of the photons and correlate them (slow).")
]
Device = Annotated[str, typer.Option("--device", help="For --frc: auto, cpu, cuda, cuda:1, mps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@_terminal.guarded
def score(
    result: Result,
    *,
    pattern: Pattern = None,
    report: Report = None,
    item: Item = None,
    frc: Frc = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Say how good a reconstruction is, without a truth: scores, resolution, and what to distrust.

    Works with the result alone; with its pattern it also compares every measured pixel.
    """
    from napari_i2ipr.evaluate import quality
    from napari_i2ipr.io import read_result

    warnings.simplefilter("always", DataWarning)
    if report is not None:
        _files.check_file(report, REPORT_ENDINGS, overwrite=overwrite)
    whole = read_result(result)
    count = math.prod(whole.image.shape[:-2])
    if (report is not None or frc) and item is None and count > 1:
        raise ConfigError(
            f"--{'frc' if frc else 'report'} for a result of {count} images", expected="one image", do="choose --item I"
        )
    source = _source.source_of(whole, result, pattern)
    chosen = range(count) if item is None else [item]
    scored: list[dict[str, Any]] = []
    for number in chosen:
        one = quality.single(whole, number)
        if item is None and count > 1 and not _finite(one):
            scored.append({"item": number, "status": "not reconstructed"})
            continue
        frame, why = _source.frame_of(source, one, number, count)
        found = quality.assess(one, frame)
        if frc:
            found = _with_frc(found, one, frame, why, device)
        if report is not None:
            _write_report(report, one, found, frame, title=f"{result}" + (f", item {number}" if count > 1 else ""))
        scored.append(_values(one, found, number, source.file if frame is not None else None, why))
        if not json:
            _say(one, found, why, heading=f"item {number}" if count > 1 else "")
    if report is not None and not json:
        typer.echo(f"report: {report}")
    if json:
        _terminal.print_json(_as_one(scored, result, single=count == 1 or item is not None))


def _finite(one: Reconstruction) -> bool:
    import numpy as np

    return bool(np.isfinite(one.image).all())


def _with_frc(found: Quality, one: Reconstruction, frame: Measurement | None, why: str, device: str) -> Quality:
    """The quality with the FRC of two halves of the photons."""
    from napari_i2ipr.config import Config
    from napari_i2ipr.evaluate.halves import compare_halves

    if frame is None:
        raise InputError(f"--frc without the pattern ({why})", expected="the pattern that the result was made from")
    settings = Config.from_dict(one.provenance.get("config", {}))
    with _terminal.stoppable() as cancel, _terminal.progress() as on_event:
        halves = compare_halves(one, frame, settings, device=device, on_event=on_event, cancel=cancel)
    extra = {"frc": halves.frc}
    if halves.frc_classical is not None:
        extra["frc_classical"] = halves.frc_classical
    return replace(found, curves={**found.curves, **extra})


def _write_report(file: Path, one: Reconstruction, found: Quality, frame: Measurement | None, *, title: str) -> None:
    from napari_i2ipr.evaluate.report import save_report

    with _files.writing_file(file) as partial:
        save_report(partial, one, found, frame, title=title)


def _values(one: Reconstruction, found: Quality, number: int, pattern: str | None, why: str) -> dict[str, Any]:
    values = found.plain()
    compared = values.pop("pattern", None)
    return {
        "item": number,
        "status": one.status.name,
        **values,
        "uncertainty_kind": one.uncertainty_kind,
        "pattern": None if compared is None else {"file": pattern, **compared},
        "pattern_missing": why or None,
    }


def _as_one(scored: list[dict[str, Any]], result: Path, *, single: bool) -> dict[str, Any]:
    """One object: the only item itself, or all of them in a list."""
    return {"result": str(result), **(scored[0] if single else {"items": scored})}


def _say(one: Reconstruction, found: Quality, why: str, *, heading: str) -> None:
    from napari_i2ipr.evaluate.report.words import score_rows

    if heading:
        typer.echo(f"\n{heading}")
    _terminal.print_table(score_rows(one, found))
    if why:
        typer.echo(f"\nNot compared with the pattern pixel by pixel: {why}.")
    typer.echo(f"\n{found.verdict.summary}")
    for title, lines in (("What speaks for it:", found.verdict.good), ("What to distrust:", found.verdict.distrust)):
        if lines:
            typer.echo(f"{title}\n" + "\n".join(f"  - {line}" for line in lines))

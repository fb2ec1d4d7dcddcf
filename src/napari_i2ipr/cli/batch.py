"""``i2ipr batch``: a volume of patterns to volumes of images and uncertainties, resumable."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _batch_words, _files, _pattern, _settings, _terminal
from napari_i2ipr.cli.reconstruct import (
    AllowMasked,
    Center,
    ConfigFile,
    Device,
    InvertMask,
    IsAmplitude,
    IsComplex,
    Json,
    NoRefine,
    Preset,
    Seed,
    Weights,
)
from napari_i2ipr.errors import CancelledError, ConfigError, InputError

if TYPE_CHECKING:
    from napari_i2ipr.config import Config

_DATA, _WORK, _OUTPUT = "The data", "The work", "Output"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help='Patterns: zarr, OME-Zarr, CXI, HDF5 (f.h5::/path), TIFF, a folder, "*.tif".'
    ),
]
Target = Annotated[Path, typer.Argument(metavar="TARGET", help="Result: TARGET.zarr; .partial until it is complete.")]
Axes = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="A,B,y,x",
        help="Names of the source's axes; not given: as its file says, else the last two are y,x.",
        rich_help_panel=_DATA,
    ),
]
Support = Annotated[
    str | None,
    typer.Option(
        "--support",
        metavar="half|auto|FILE",
        help="Where the object can be; in a file for all patterns (y,x), or one for each.",
        rich_help_panel=_DATA,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Bad pixels, non-zero = bad; for all patterns (y,x), or one for each.",
        rich_help_panel=_DATA,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="M", help="What this machine may hold, e.g. 8GB; else 80 % of free.", rich_help_panel=_WORK
    ),
]
Unit = Annotated[
    int | None,
    typer.Option("--unit", metavar="N", min=1, help="Patterns done together at most.", rich_help_panel=_WORK),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="A dask scheduler: tcp://host:8786.", rich_help_panel=_WORK),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="local:N", help="N processes on this machine.", rich_help_panel=_WORK),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first pattern without an image.", rich_help_panel=_WORK)
]
PlanOnly = Annotated[
    bool, typer.Option("--plan", help="Say what would be done and what it takes, and stop.", rich_help_panel=_WORK)
]
Candidates = Annotated[
    bool, typer.Option("--candidates", help="Keep the aligned candidates of every pattern.", rich_help_panel=_OUTPUT)
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace a result of another source or settings.", rich_help_panel=_OUTPUT),
]


@_terminal.guarded
def batch(
    source: Source,
    target: Target,
    *,
    config: ConfigFile = None,
    preset: Preset = None,
    seed: Seed = None,
    device: Device = "auto",
    no_refine: NoRefine = False,
    weights: Weights = None,
    axes: Axes = None,
    support: Support = None,
    mask: Mask = None,
    invert_mask: InvertMask = False,
    allow_masked: AllowMasked = False,
    amplitude: IsAmplitude = None,
    center: Center = None,
    complex_: IsComplex = False,
    memory: Memory = None,
    unit: Unit = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    strict: Strict = False,
    candidates: Candidates = False,
    overwrite: Overwrite = False,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Reconstruct a volume of patterns; the same command again goes on where it stopped.

    Ctrl-C or SIGTERM stops early; what is done is kept.
    """
    settings = _settings.read_settings(
        config,
        preset,
        seed=seed,
        object="complex" if complex_ else None,
        keep_candidates=candidates or None,
        refine={"enabled": False} if no_refine else {"weights": weights} if weights else None,
    )
    _files.require_other_file(target, source)
    options: dict[str, Any] = {
        "axes": axes,
        "mask": mask,
        "support": support,
        "device": device,
        "memory": memory,
        "unit": unit,
        "scheduler": _scheduler(scheduler, cluster),
        "prepare": _prepare(amplitude, center, invert_mask, allow_masked),
        "overwrite": overwrite,
    }
    if plan:
        _plan(source, target, settings, options, as_json=json)
    else:
        _run(source, target, settings, {**options, "strict": strict}, as_json=json)


def _prepare(amplitude: bool | None, center: str | None, invert_mask: bool, allow_masked: bool) -> dict[str, Any]:
    """Options of `condition` for every pattern."""
    return {
        "amplitude": amplitude,
        "center": _pattern.parse_center(center),
        "invert_mask": invert_mask,
        "allow_masked": allow_masked,
    }


def _scheduler(address: str | None, cluster: str | None) -> str | None:
    if address is not None and cluster is not None:
        raise ConfigError("--scheduler and --cluster", expected="one of them", do="leave one of them out")
    if cluster is not None and not cluster.startswith("local:"):
        raise ConfigError(f"the cluster {cluster!r}", expected="local:N", do="give --scheduler ADDRESS for any other")
    return address or cluster


def _plan(source: str, target: Path, settings: Config, options: dict[str, Any], *, as_json: bool) -> None:
    from napari_i2ipr.batch import plan_batch

    found = plan_batch(source, target, settings, **options)
    if as_json:
        _terminal.print_json(_batch_words.plan_values(found))
    else:
        _terminal.print_table(_batch_words.plan_rows(found))


def _run(source: str, target: Path, settings: Config, options: dict[str, Any], *, as_json: bool) -> None:
    from napari_i2ipr.batch import reconstruct_batch

    with _terminal.stoppable(signal.SIGTERM) as cancel, _batch_words.progress() as on_event:
        report = reconstruct_batch(source, target, settings, **options, on_event=on_event, cancel=cancel)
    if as_json:
        _terminal.print_json(_batch_words.report_values(report))
    else:
        typer.echo(_batch_words.headline(report, source))
        _terminal.print_table(_batch_words.report_rows(report))
    if not report.complete:
        typer.echo(f"stopped early; run the same command again to go on ({report.target} is kept)", err=True)
        raise typer.Exit(CancelledError.exit_code)
    if not report.good:
        typer.echo(f"error: none of the patterns could be reconstructed; {report.problems[0]}", err=True)
        raise typer.Exit(InputError.exit_code)

"""``i2ipr reconstruct``: one pattern, or a stack of them, to image and uncertainty."""

from __future__ import annotations

import shlex
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files, _pattern, _report, _settings, _source, _terminal
from napari_i2ipr.errors import CancelledError

if TYPE_CHECKING:
    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Measurement, Reconstruction

_DATA, _SETTINGS, _REFINE, _OUTPUT = "The data", "Settings", "Learned refinement", "Output"

Pattern = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Pattern or stack: CXI, HDF5 (file.h5::/path), TIFF...")
]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="Result: OUT.zarr (OME-Zarr) or OUT.cxi.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings as YAML, see `i2ipr config`.", rich_help_panel=_SETTINGS),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="fast, balanced (default), best, or paper.", rich_help_panel=_SETTINGS),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule", metavar="TEXT", help='All that kept starts run, e.g. "HIO:700 ER:50".', rich_help_panel=_SETTINGS
    ),
]
Members = Annotated[
    int | None, typer.Option("--members", metavar="N", help="Independent candidate sets.", rich_help_panel=_SETTINGS)
]
Seed = Annotated[int | None, typer.Option("--seed", help="Fixes every random number.", rich_help_panel=_SETTINGS)]
NoRefine = Annotated[
    bool,
    typer.Option("--no-refine", help="The classical mean, without the learned refinement.", rich_help_panel=_REFINE),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="NAME|FILE", help="Shipped weights, or a .safetensors file.", rich_help_panel=_REFINE
    ),
]
Sampler = Annotated[
    str | None, typer.Option("--sampler", metavar="evolving|indi", help="How it refines.", rich_help_panel=_REFINE)
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", help="Network evaluations; 0: the weights' own.", rich_help_panel=_REFINE),
]
Views = Annotated[
    int | None,
    typer.Option("--views", metavar="N", help="Flips and turns that are averaged, 1 to 8.", rich_help_panel=_REFINE),
]
NoFallback = Annotated[
    bool,
    typer.Option("--no-fallback", help="The refined image even where it fits the data badly.", rich_help_panel=_REFINE),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_SETTINGS)]
IsAmplitude = Annotated[
    bool | None,
    typer.Option("--amplitude/--intensity", help="What the file holds, if the guess is wrong.", rich_help_panel=_DATA),
]
Center = Annotated[
    str | None,
    typer.Option("--center", metavar="Y,X", help="Zero frequency in pixels; index n//2 if not.", rich_help_panel=_DATA),
]
IsComplex = Annotated[bool, typer.Option("--complex", help="The object is complex.", rich_help_panel=_DATA)]
Support = Annotated[
    str | None,
    typer.Option(
        "--support",
        metavar="half|auto|FILE",
        help="Where the object can be: the centred half of the frame, from the autocorrelation, or non-zero in a file "
        "as large as the frame. Not given: as the pattern's file says, else half.",
        rich_help_panel=_DATA,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Bad pixels, left free: non-zero = bad. In place of the file's own.",
        rich_help_panel=_DATA,
    ),
]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="The mask is 0 = bad.", rich_help_panel=_DATA)]
AllowMasked = Annotated[
    bool, typer.Option("--allow-masked", help="Accept more than 90 % masked pixels.", rich_help_panel=_DATA)
]
Candidates = Annotated[
    bool, typer.Option("--candidates", help="Keep the aligned candidates in the result.", rich_help_panel=_OUTPUT)
]
FigureFile = Annotated[
    Path | None,
    typer.Option("--figure", metavar="FILE.png", help="Also draw pattern and result.", rich_help_panel=_OUTPUT),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.", rich_help_panel=_OUTPUT)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=_OUTPUT)]


@_terminal.guarded
def reconstruct(
    pattern: Pattern,
    output: Output,
    *,
    config: ConfigFile = None,
    preset: Preset = None,
    schedule: Schedule = None,
    members: Members = None,
    seed: Seed = None,
    no_refine: NoRefine = False,
    weights: Weights = None,
    sampler: Sampler = None,
    steps: Steps = None,
    views: Views = None,
    no_fallback: NoFallback = False,
    device: Device = "auto",
    amplitude: IsAmplitude = None,
    center: Center = None,
    complex_: IsComplex = False,
    support: Support = None,
    mask: Mask = None,
    invert_mask: InvertMask = False,
    allow_masked: AllowMasked = False,
    candidates: Candidates = False,
    figure: FigureFile = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Reconstruct a pattern, or a stack of them: image and uncertainty.

    Ctrl-C stops early and keeps the best estimate so far, if there is one.
    """
    from napari_i2ipr import io

    settings = _settings.read_settings(
        config,
        preset,
        schedule=schedule,
        members=members,
        seed=seed,
        object="complex" if complex_ else None,
        support=support if support in _pattern.SUPPORT_WORDS else None,
        keep_candidates=candidates or None,
        refine=_refine_changes(no_refine, no_fallback, weights=weights, sampler=sampler, steps=steps, views=views),
    )
    options = _pattern.PatternOptions(
        support, mask, invert_mask, allow_masked, amplitude, _pattern.parse_center(center)
    )
    _files.require_other_file(output, pattern)
    io.check_output(output, overwrite=overwrite)
    if figure is not None:
        _files.check_file(figure, (".png",), overwrite=overwrite)
    measurement, notes = _pattern.read_pattern(pattern, options)
    result = run(measurement, settings, device, notes)
    result = replace(result, provenance={**result.provenance, _source.RECORD: _source.record(pattern, options)})
    io.write(result, output, overwrite=overwrite)
    if figure is not None:
        draw(figure, measurement, result)
    _say(result, pattern, output, as_json=json)


def _say(result: Reconstruction, pattern: str, output: Path, *, as_json: bool) -> None:
    """Report a result that is written; a run that was stopped ends with the exit code of that."""
    if as_json:
        _terminal.print_json(_report.summary(result, output))
    else:
        typer.echo(f"reconstructed {pattern} into {output}")
        _terminal.print_table(_report.in_words(result))
    if result.status.name == "CANCELLED":
        typer.echo(f"stopped early; the best estimate so far is in {output}", err=True)
        raise typer.Exit(CancelledError.exit_code)


def _refine_changes(off: bool, no_fallback: bool, **options: str | int | None) -> dict[str, Any] | None:
    """What the options change in the section ``refine``; None for nothing."""
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if off:
        changes["enabled"] = False
    if no_fallback:
        changes["fallback"] = "never"
    return changes or None


def run(measurement: Measurement, settings: Config, device: str, notes: tuple[str, ...] = ()) -> Reconstruction:
    """Reconstruct with a progress bar; Ctrl-C stops early.

    Parameters
    ----------
    measurement, settings, device
        As for `napari_i2ipr.reconstruct`.
    notes : tuple of str
        What there already is to say of the data; said as warnings, kept in the provenance.

    Raises
    ------
    CancelledError
        If it was stopped before there was anything worth keeping.
    """
    from napari_i2ipr.errors import DataWarning
    from napari_i2ipr.pipeline import reconstruct as solve

    warnings.simplefilter("always", DataWarning)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    with _terminal.stoppable() as cancel, _terminal.progress() as on_event:
        result = solve(measurement, settings, device=device, on_event=on_event, cancel=cancel)
    if result.status.name == "CANCELLED" and not _worth_keeping(result, settings):
        raise CancelledError(
            "a stop (Ctrl-C) before the selected starts ran on", do="nothing was written; run it again"
        )
    made = {"command": shlex.join(["i2ipr", *sys.argv[1:]]), "notes": [*notes, *result.provenance.get("notes", [])]}
    return replace(result, provenance={**result.provenance, **made})


def _worth_keeping(result: Reconstruction, settings: Config) -> bool:
    """Whether any start went beyond the short run that selects."""
    from napari_i2ipr.solvers.recipe import total_iterations

    short = total_iterations(settings.initialisation.short_schedule)
    return any(row.iterations > short for row in result.candidates)


def draw(file: Path, measurement: Measurement, result: Reconstruction) -> None:
    """Write the figure of a reconstruction, without any truth."""
    from napari_i2ipr.evaluate.figure import save_figure
    from napari_i2ipr.prepare import condition

    shown, _ = condition(measurement.frame(0))
    with _files.writing_file(file) as partial:
        save_figure(partial, shown, result, title=f"R-factor {_terminal.number(result.scores.get('r_factor'))}")

"""``i2ipr prepare``: from a detector's frames to a pattern that can be reconstructed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files, _pattern, _settings, _terminal
from napari_i2ipr.cli._terminal import number
from napari_i2ipr.prepare.descriptions import DESCRIPTIONS
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare import Preparation, PreparationReport

_DATA, _DETECTOR, _FRAME, _OUTPUT = "The data", "The detector", "The frame", "Output"


def _option(name: str, *flags: str, panel: str, metavar: str | None = None) -> Any:
    """An option whose help is the description of a setting."""
    words = DESCRIPTIONS[name].replace("[", r"\[")
    return typer.Option(*flags, help=words, rich_help_panel=panel, metavar=metavar)


Frame = Annotated[int | None, _option("frame", "--frame", panel=_DATA, metavar="N")]
SumFrames = Annotated[bool, _option("sum_frames", "--sum-frames", panel=_DATA)]
OutlierSigma = Annotated[float | None, _option("outlier_sigma", "--outlier-sigma", panel=_DATA, metavar="Z")]
Amplitude = Annotated[bool | None, _option("amplitude", "--amplitude/--intensity", panel=_DATA)]
FftOrder = Annotated[bool | None, _option("fft_order", "--fft-order/--centred", panel=_DATA)]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask", metavar="FILE", help="Bad pixels, non-zero = bad. In place of the file's own.", rich_help_panel=_DATA
    ),
]
InvertMask = Annotated[bool, _option("invert_mask", "--invert-mask", panel=_DATA)]
AllowMasked = Annotated[bool, _option("allow_masked", "--allow-masked", panel=_DATA)]
Support = Annotated[
    str | None,
    typer.Option(
        "--support",
        metavar="FILE",
        help="Where the object can be, in the stored frame; follows crop and bins.",
        rich_help_panel=_DATA,
    ),
]
Dark = Annotated[
    str | None,
    typer.Option("--dark", metavar="FILE", help="Dark frame, or several: subtracted.", rich_help_panel=_DETECTOR),
]
Flat = Annotated[
    str | None,
    typer.Option(
        "--flat",
        metavar="FILE",
        help="Flat field, or several, dark subtracted: divided by.",
        rich_help_panel=_DETECTOR,
    ),
]
Background = Annotated[str | None, _option("background", "--background", panel=_DETECTOR, metavar="none|V|auto|radial")]
Saturation = Annotated[float | None, _option("saturation", "--saturation", panel=_DETECTOR, metavar="V")]
Grow = Annotated[int | None, _option("grow_px", "--grow", panel=_DETECTOR, metavar="N")]
HotDead = Annotated[bool | None, _option("hot_dead", "--hot-dead/--no-hot-dead", panel=_DETECTOR)]
Gain = Annotated[float | None, _option("gain", "--gain", panel=_DETECTOR, metavar="V")]
Center = Annotated[str | None, _option("center", "--center", panel=_FRAME, metavar="auto|keep|Y,X")]
Crop = Annotated[str | None, _option("size", "--crop", panel=_FRAME, metavar="auto|keep|N|NY,NX")]
Pad = Annotated[bool, _option("fit", "--pad", panel=_FRAME)]
Bin = Annotated[int | None, _option("binning", "--bin", panel=_FRAME, metavar="B")]
BinShare = Annotated[float | None, _option("bin_share", "--bin-share", panel=_FRAME, metavar="S")]
Gaps = Annotated[float | None, _option("gap_tolerance", "--interpolate-gaps", panel=_FRAME, metavar="TOLERANCE")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings as YAML, see `i2ipr config --prepare`.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.", rich_help_panel=_OUTPUT)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=_OUTPUT)]


@_terminal.guarded
def prepare(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="What the detector saw: CXI, HDF5 (file.h5::/path), TIFF...")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The pattern: OUT.cxi, OUT.npz or OUT.zarr.")],
    *,
    config: ConfigFile = None,
    frame: Frame = None,
    sum_frames: SumFrames = False,
    outlier_sigma: OutlierSigma = None,
    amplitude: Amplitude = None,
    fft_order: FftOrder = None,
    mask: Mask = None,
    invert_mask: InvertMask = False,
    allow_masked: AllowMasked = False,
    support: Support = None,
    dark: Dark = None,
    flat: Flat = None,
    background: Background = None,
    saturation: Saturation = None,
    grow: Grow = None,
    hot_dead: HotDead = None,
    gain: Gain = None,
    center: Center = None,
    crop: Crop = None,
    pad: Pad = False,
    bin_: Bin = None,
    bin_share: BinShare = None,
    interpolate_gaps: Gaps = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Prepare a measured pattern, or a stack of them, for reconstruction.

    Centre, crop, bin, background, saturated, hot and dead pixels, photons; with a short report.
    """
    changes = {
        "frame": frame,
        "sum_frames": sum_frames or None,
        "outlier_sigma": outlier_sigma,
        "amplitude": _word(amplitude),
        "fft_order": _word(fft_order),
        "invert_mask": invert_mask or None,
        "allow_masked": allow_masked or None,
        "background": background,
        "saturation": saturation,
        "grow_px": grow,
        "hot_dead": hot_dead,
        "gain": gain,
        "center": center,
        "size": crop,
        "fit": "pad" if pad else None,
        "binning": bin_,
        "bin_share": bin_share,
        "gap_tolerance": interpolate_gaps,
    }
    _run(pattern, output, read_settings(config, changes), (mask, support, dark, flat), overwrite=overwrite, json=json)


def read_settings(file: Path | None, changes: dict[str, Any]) -> Preparation:
    """The settings of a file, or the defaults, with changes; those that are None change nothing."""
    from napari_i2ipr.prepare import Preparation

    settings = Preparation() if file is None else Preparation.from_yaml(_settings.text(file))
    wanted = {name: value for name, value in changes.items() if value is not None}
    return settings.replace(**wanted) if wanted else settings


def _word(switch: bool | None) -> str | None:
    return None if switch is None else "yes" if switch else "no"


def _run(
    pattern: str,
    output: Path,
    settings: Preparation,
    files: tuple[str | None, str | None, str | None, str | None],
    *,
    overwrite: bool,
    json: bool,
) -> None:
    from napari_i2ipr import io
    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare import prepare as make

    mask, support, dark, flat = files
    for source in (pattern, *filter(None, files)):
        _files.require_other_file(output, source)
    io.check_output(output, Measurement, overwrite=overwrite)
    measurement, _ = _pattern.read_pattern(pattern, _pattern.PatternOptions(support=support, mask=mask))
    corrections = {name: io.read_array(file) for name, file in (("dark", dark), ("flat", flat)) if file is not None}
    with _terminal.stoppable() as cancel, _terminal.progress() as on_event:
        prepared, report = make(measurement, settings, **corrections, on_event=on_event, cancel=cancel)
    io.write(prepared, output, overwrite=overwrite)
    if json:
        _terminal.print_json({**report.to_dict(), "words": report.in_words(), **_rest(prepared, settings, output)})
        return
    typer.echo(f"prepared {pattern} into {output}")
    typer.echo(report.in_words())
    for note in report.notes:
        typer.echo(f"- {note}")
    typer.echo(_noise_in_words(report))


def _rest(prepared: Measurement, settings: Preparation, output: Path) -> dict[str, Any]:
    return {
        "output": str(output),
        "intensity_scale": prepared.intensity_scale,
        "settings": settings.to_dict(),
        "version": program_version(),
    }


def _noise_in_words(report: PreparationReport) -> str:
    """Where photons and noise level come from, for the last line."""
    if report.gain is None:
        return "noise level: unknown; of real objects it is estimated when they are reconstructed, --gain tells it"
    return f"noise level: {number(report.gain)} stored units per photon ({report.gain_source})"

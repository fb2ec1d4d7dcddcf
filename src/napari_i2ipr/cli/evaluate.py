"""``i2ipr evaluate``: a reconstruction against a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_i2ipr.cli._terminal import guarded, number, print_json, print_table


@guarded
def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Reconstruction: OME-Zarr store or CXI file.")],
    truth: Annotated[
        str,
        typer.Option(
            "--truth", metavar="IMAGE", help="The image that the pattern came from: picture, TIFF, NPY, file.h5::/path."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Score a reconstruction against the known truth.

    The truth is placed where `i2ipr simulate` places it: in the centre of the frame. One flip by 180 degrees and one
    shift by whole pixels are undone, no intensity is fitted, and the truth's whole box is scored; of complex objects
    the amplitude. A stack takes one truth for all its items, or a stack of as many.
    """
    from napari_i2ipr import evaluate as scoring
    from napari_i2ipr.io import read_image, read_result

    scores = scoring.evaluate(read_result(result), read_image(truth))
    if json:
        print_json(scores)
    else:
        print_table(score_rows(scores))


def score_rows(scores: dict[str, Any]) -> dict[str, str]:
    """The scores in words."""
    items = scores.get("items")
    undone = "one flip and one shift of each item" if items else transform(scores)
    rows = {
        "items": f"{len(items)}; the numbers are their means" if items else "",
        "PSNR": f"{number(scores['psnr'])} dB, {number(scores['psnr_flip_only'])} dB with the flip only",
        "SSIM": f"{number(scores['ssim'], 3)}, {number(scores['ssim_flip_only'], 3)} with the flip only",
        "undone": undone,
        "compared": f"{scores['compared']}s, full scale {number(scores['data_range'])}, no intensity fitted",
        "90 % interval": f"holds the truth in {_percent(scores['coverage_90'])} of the pixels (90 % is right); "
        f"{number(scores['half_width_90'])} standard deviations either way",
        "mean z^2": f"{number(scores['mean_z2'])} (1 is right: error as large as the uncertainty says)",
        "Spearman": f"{number(scores['spearman'], 3)} (1: the uncertainty ranks the errors)",
        "uncertainty": scores["uncertainty_kind"],
    }
    if "complex_error" in scores:
        rows["complex error"] = f"{number(scores['complex_error'], 3)} of the truth's norm, global phase fitted"
    return rows


def transform(scores: dict[str, Any]) -> str:
    """What was undone to match the truth, in words."""
    y, x = scores.get("shift_px", (0, 0))
    turned = "turned by 180 degrees" if scores.get("flipped") else ""
    moved = f"shifted by {y} px in y and {x} px in x" if y or x else ""
    return " and ".join(filter(None, (turned, moved))) or "nothing: it lies as the truth does"


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.1%}".replace("%", " %")  # noqa: PLR0124 - NaN

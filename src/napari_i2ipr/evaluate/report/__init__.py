"""One page about one reconstruction, as HTML, PNG or SVG: what a referee, or you in a year, would ask for."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate.report.curves import draw_curves
from napari_i2ipr.evaluate.report.pictures import draw_pictures, new_figure
from napari_i2ipr.evaluate.report.words import parameters, score_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure, SubFigure

    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.quality import Quality

ENDINGS = (".html", ".png", ".svg")
"""What a report can be."""

_PAGE_IN = (8.27, 11.69)
"""A4."""

_DPI = 150


def save_report(
    path: Path,
    reconstruction: Reconstruction,
    quality: Quality,
    frame: Measurement | None = None,
    *,
    title: str = "Reconstruction",
) -> None:
    """Write the report of one image.

    Parameters
    ----------
    path : Path
        New file; its ending decides: ``.html`` (self-contained), ``.png`` or ``.svg``.
    reconstruction : Reconstruction
        One image, not a stack.
    quality : Quality
        What `napari_i2ipr.evaluate.quality.assess` found.
    frame : Measurement, optional
        The pattern, one frame, conditioned; drawn where it is given.
    title : str
        Above everything, e.g. the file's name.

    Raises
    ------
    InputError
        If the ending is another.
    """
    ending = path.suffix.lower()
    if ending == ".html":
        from napari_i2ipr.evaluate.report.html import page

        path.write_text(page(reconstruction, quality, frame, title=title), encoding="utf-8")
    elif ending in ENDINGS:
        metadata: dict[str, Any] = {"Software": "napari-i2ipr"} if ending == ".png" else {"Creator": "napari-i2ipr"}
        figure = sheet(reconstruction, quality, frame, title=title)
        figure.savefig(path, dpi=_DPI, format=ending[1:], metadata=metadata)
    else:
        raise InputError(f"the report {path}", expected=f"a name that ends in {', '.join(ENDINGS)}")


def sheet(reconstruction: Reconstruction, quality: Quality, frame: Measurement | None, *, title: str) -> Figure:
    """The whole report on one page."""
    figure = new_figure(_PAGE_IN)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.04, ha="left")
    parts: Any = figure.subfigures(3, 1, height_ratios=(5.4, 2.4, 4.2))
    pictures, curves, words = parts
    draw_pictures(pictures, reconstruction, frame, font=6.5)
    draw_curves(curves, quality, font=7)
    _write(words, reconstruction, quality)
    return figure


def _write(figure: SubFigure, reconstruction: Reconstruction, quality: Quality) -> None:
    """Verdict and scores side by side, parameters below."""
    verdict = quality.verdict
    remarks = [("+ ", text) for text in verdict.good] + [("- ", text) for text in verdict.distrust]
    left = [*_filled("", verdict.summary, 66), ""]
    for mark, text in remarks:
        left += _filled(mark, text, 66)
    figure.text(0.04, 0.97, "Verdict", fontsize=9, fontweight="bold", va="top")
    figure.text(0.04, 0.92, "\n".join(left), fontsize=6.6, va="top", linespacing=1.35)
    figure.text(0.52, 0.97, "Scores", fontsize=9, fontweight="bold", va="top")
    _columns(figure, score_rows(reconstruction, quality), 0.52, 0.15, 0.92)
    known = parameters(reconstruction)
    words = _filled("", "; ".join(f"{name}: {value}" for name, value in known.items()), 150)
    figure.text(0.04, 0.02, "\n".join(words), fontsize=5.8, va="bottom", color="0.35", linespacing=1.3)


def _filled(mark: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=mark, subsequent_indent="   " if mark else "")


def _columns(figure: SubFigure, rows: Mapping[str, str], x: float, gap: float, top: float) -> None:
    y = top
    for name, text in rows.items():
        lines = textwrap.wrap(text, 50)
        figure.text(x, y, name, fontsize=6.6, va="top")
        figure.text(x + gap, y, "\n".join(lines), fontsize=6.6, va="top", linespacing=1.25)
        y -= 0.033 * len(lines) + 0.008

"""The curves of a report: PRTF, reproducibility and FRC, and the misfit by shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.evaluate.resolution import ENOUGH_STARTS, ONE_OVER_E

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from napari_i2ipr.evaluate.quality import Quality
    from napari_i2ipr.evaluate.resolution import Curve

_PRTF = (
    ("prtf_last", "0.7", "-", "last run, not independent"),
    ("prtf_corrected", "tab:blue", ":", "phases, for K → ∞"),
    ("prtf_phase", "tab:blue", "--", "phases alone"),
    ("prtf", "tab:blue", "-", "|mean F| / √I"),
)
"""Curve, colour, line and name in the legend, the last one on top."""


def draw_curves(figure: Figure | SubFigure, quality: Quality, *, font: float = 8) -> None:
    """PRTF, reproducibility with the FRC of halves, and R-factor by shell, in one row.

    Parameters
    ----------
    figure : Figure or SubFigure
        An empty one.
    quality : Quality
        Where the curves are.
    font : float
        Size of the letters in points.
    """
    left, middle, right = figure.subplots(1, 3)
    _prtf(left, quality)
    _correlations(middle, quality)
    _misfit(right, quality)
    some = next(iter(quality.curves.values()), None)
    unit = "px" if some is None or some.pixel_m is None else f"px of {1e9 * some.pixel_m:.3g} nm"
    for axes in (left, middle, right):
        axes.set_xlabel(f"spatial frequency (cycles / {unit})", fontsize=font)
        axes.tick_params(labelsize=font - 1)
        axes.title.set_fontsize(font + 1)
        axes.set_xlim(0, 0.5 if some is None else float(some.frequency[-1]))
        axes.set_ylim(bottom=0)
        if axes.has_data():
            axes.legend(fontsize=font - 1.5, framealpha=0.85, edgecolor="none")
        else:
            axes.text(0.5, 0.5, "not in this result", transform=axes.transAxes, ha="center", fontsize=font)


def _prtf(axes: Axes, quality: Quality) -> None:
    axes.set_title(f"PRTF of {quality.n_starts} independent starts")
    for name, colour, line, label in _PRTF:
        if name in quality.curves and (name != "prtf_last" or _differ(quality)):
            one = quality.curves[name]
            axes.plot(one.frequency, one.value, line, color=colour, lw=1.2, label=label)
            _mark(axes, one, colour)
    if quality.curves:
        axes.axhline(ONE_OVER_E, color="0.3", lw=0.7)
        axes.annotate(
            "1/e", (0.99, ONE_OVER_E), xycoords=("axes fraction", "data"), fontsize=6, va="bottom", ha="right"
        )
        if 1 < quality.n_starts < ENOUGH_STARTS:
            axes.axhline(quality.n_starts**-0.5, color="tab:red", lw=0.7, ls=(0, (1, 2)), label="random phases")
    axes.set_ylim(0, 1.15)


def _differ(quality: Quality) -> bool:
    """Whether there was a last run that the starts had in common."""
    first, last = quality.curves["prtf"].value, quality.curves["prtf_last"].value
    return not np.array_equal(first, last, equal_nan=True)


def _correlations(axes: Axes, quality: Quality) -> None:
    axes.set_title("FRC and reproducibility" if "frc" in quality.curves else "reproducibility (no resolution)")
    styles = (
        ("frc_classical", "tab:green", "--", "FRC of halves, classical mean"),
        ("frc", "tab:green", "-", "FRC of halves"),
        ("reproducibility", "tab:purple", "-", "two starts, same pattern"),
    )
    for name, colour, line, label in styles:
        if name in quality.curves:
            one = quality.curves[name]
            axes.plot(one.frequency, one.value, line, color=colour, lw=1.2, label=label)
            _mark(axes, one, colour)
            if name != "frc_classical":
                text = "half-bit" if name == "frc" else "one half"
                axes.plot(one.frequency[1:], one.threshold[1:], color=colour, lw=0.7, ls=":", label=text)
    axes.set_ylim(0, 1.05)


def _misfit(axes: Axes, quality: Quality) -> None:
    axes.set_title("R-factor by shell")
    if "misfit" in quality.curves:
        one = quality.curves["misfit"]
        axes.plot(one.frequency, one.value, color="tab:brown", lw=1.2, label="as reconstructed")
    if quality.agreement is not None:
        found = quality.agreement
        axes.plot(found.frequency, found.misfit, "--", color="tab:brown", lw=1, label="every pixel of the pattern")


def _mark(axes: Axes, one: Curve, colour: str) -> None:
    if np.isfinite(one.crossing):
        axes.axvline(one.crossing, color=colour, lw=0.6, alpha=0.6)

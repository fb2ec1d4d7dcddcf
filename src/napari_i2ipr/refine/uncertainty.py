"""From the ensemble's raw variance to an uncertainty that can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.floating[Any]]

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)
"""Levels of the intervals that are calibrated."""

MIN_IMAGES = 20
"""Fewer images cannot be calibrated on: the 95 % level needs 19 even without any misses."""

KNOTS = 64
"""Steps of the stored calibration curve, at equal shares of the pixels."""


class Calibration(BaseModel):
    """The curve from raw variance to expected squared error, and the intervals' half widths.

    Fitted on images the network was not trained on. Coverage is marginal over pixels and images of
    the calibrated kind; the one global flip that no intensity can tell is outside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: tuple[float, ...] = Field(description="Raw variances of the curve, rising, normalised units.")
    expected: tuple[float, ...] = Field(description="Expected squared errors there, never falling.")
    scales: dict[str, float] = Field(description="Half width of the interval of each level, in standard deviations.")
    images: int = Field(ge=0, description="Images it was fitted on.")

    @classmethod
    def fit(cls, raw: Sequence[Values], squared_error: Sequence[Values]) -> Calibration:
        """Isotonic regression of squared error on raw variance, then one scale per level.

        The scales come from conformal risk control with the image as the exchangeable unit
        (Angelopoulos et al., arXiv 2208.02814): the smallest half width at which
        ``(sum of the images' missed shares + 1) / (n + 1)`` is at most ``1 - level``.

        Parameters
        ----------
        raw, squared_error : sequence of ndarray
            One entry per image, any shapes, normalised units.

        Raises
        ------
        InputError
            With fewer than `MIN_IMAGES` images.
        """
        from scipy.optimize import isotonic_regression

        if len(raw) < MIN_IMAGES:
            raise InputError(f"{len(raw)} images to calibrate on", expected=f"at least {MIN_IMAGES}", do="give more")
        weights = np.concatenate([np.full(r.size, 1 / r.size) for r in raw])  # every image counts the same
        x, y = (np.concatenate([np.ravel(a).astype(np.float64) for a in many]) for many in (raw, squared_error))
        order = np.argsort(x, kind="stable")
        x, y, weights = x[order], y[order], weights[order]
        fitted = isotonic_regression(y, weights=weights).x
        share = np.cumsum(weights) / weights.sum()
        edges = np.searchsorted(share, np.linspace(0, 1, KNOTS + 1)[1:-1])
        parts = [p for p in np.split(np.arange(x.size), edges) if p.size]
        knots = [float(np.average(x[p], weights=weights[p])) for p in parts]
        values = np.maximum.accumulate([float(np.average(fitted[p], weights=weights[p])) for p in parts])
        curve = cls(raw=tuple(knots), expected=tuple(float(v) for v in values), scales={}, images=len(raw))
        ratios = [
            np.sort(np.sqrt(np.ravel(e) / curve.variance(np.ravel(r)))) for r, e in zip(raw, squared_error, strict=True)
        ]
        return curve.model_copy(update={"scales": {f"{level:g}": _half_width(ratios, level) for level in LEVELS}})

    def variance(self, raw: Values) -> Values:
        """Expected squared error at raw variances, linear between the knots and proportional beyond them."""
        knots, expected = np.maximum(self.raw, 1e-12), np.maximum(self.expected, 1e-12)
        values = np.maximum(np.asarray(raw, np.float64), 1e-12)
        inner = np.exp(np.interp(np.log(values), np.log(knots), np.log(expected)))
        above, below = values / knots[-1], values / knots[0]
        return np.where(above > 1, inner * above, np.where(below < 1, inner * below, inner))


def _half_width(ratios: Sequence[Values], level: float) -> float:
    """Smallest s with ``(sum_i share of image i beyond s + 1) / (n + 1) <= 1 - level``."""
    n = len(ratios)
    low, high = 0.0, max(float(r[-1]) for r in ratios) + 1e-6
    for _ in range(60):
        middle = (low + high) / 2
        missed = sum(1 - np.searchsorted(r, middle, side="right") / r.size for r in ratios)
        if (missed + 1) / (n + 1) <= 1 - level:
            high = middle
        else:
            low = middle
    return high

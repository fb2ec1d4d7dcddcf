"""Whether the uncertainty deserves its name: coverage, squared errors in its units, and ranking."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z_90 = 1.645
"""Half width, in standard deviations, of the interval that holds 90 % of a normal distribution."""


def coverage_90(error: NDArray[Any], uncertainty: NDArray[Any]) -> float:
    """Share of pixels whose error is within 1.645 standard deviations; 0.9 is right for normal errors.

    Parameters
    ----------
    error : ndarray
        Reconstruction minus truth.
    uncertainty : ndarray
        Standard deviation, same shape.
    """
    return float(np.mean(np.abs(error) <= Z_90 * uncertainty)) if error.size else math.nan


def mean_z2(error: NDArray[Any], uncertainty: NDArray[Any]) -> float:
    """Mean of ``(error / uncertainty)^2`` where the uncertainty is positive; 1 is right, NaN where it nowhere is."""
    known = uncertainty > 0
    if not known.any():
        return math.nan
    return float(np.mean(np.square(error[known].astype(np.float64) / uncertainty[known])))


def spearman(error: NDArray[Any], uncertainty: NDArray[Any]) -> float:
    """Rank correlation of uncertainty and absolute error; NaN where one of them is constant."""
    size = np.abs(error).ravel()
    spread = uncertainty.ravel()
    if size.size < 2 or np.ptp(size) == 0 or np.ptp(spread) == 0:
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(spread, size).statistic)

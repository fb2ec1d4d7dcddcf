"""Whether the uncertainty deserves its name: coverage, squared errors in its units, and ranking."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z_90 = 1.645
"""Half width, in standard deviations, of the interval that holds 90 % of a normal distribution."""


def coverage_90(error: NDArray[Any], uncertainty: NDArray[Any], half_width: float = Z_90) -> float:
    """Share of pixels whose error is within the 90 % interval; 0.9 is right.

    Parameters
    ----------
    error : ndarray
        Reconstruction minus truth.
    uncertainty : ndarray
        Standard deviation, same shape.
    half_width : float
        Half width of the interval in standard deviations: the calibrated one, or that of normal errors.
    """
    return float(np.mean(np.abs(error) <= half_width * uncertainty)) if error.size else math.nan


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


def ause(error: NDArray[Any], uncertainty: NDArray[Any], steps: int = 20) -> float:
    """Area under the sparsification error curve of the RMSE, relative to the RMSE of all pixels; 0 is perfect.

    The most uncertain pixels are left out, a share after the other, and what is left is compared with
    leaving out those of largest error (Ilg et al. 2018).

    Parameters
    ----------
    error, uncertainty : ndarray
        Reconstruction minus truth and standard deviation, same shape.
    steps : int
        Shares from 0 to 1.
    """
    squares = np.square(np.ravel(error).astype(np.float64))
    total = math.sqrt(squares.mean()) if squares.size else 0.0
    if total == 0:
        return math.nan

    def curve(order: NDArray[Any]) -> NDArray[Any]:
        left = squares[order]
        return np.array([math.sqrt(left[: max(round(left.size * (1 - i / steps)), 1)].mean()) for i in range(steps)])

    return float(np.mean(curve(np.argsort(np.ravel(uncertainty))) - curve(np.argsort(squares))) / total)


def ence(error: NDArray[Any], uncertainty: NDArray[Any], bins: int = 20) -> float:
    """Expected normalised calibration error: mean of ``|RMSE - RMS sigma| / RMS sigma`` over bins; 0 is right.

    Parameters
    ----------
    error, uncertainty : ndarray
        Reconstruction minus truth and standard deviation, same shape.
    bins : int
        Bins of equal numbers of pixels, in the order of the uncertainty (Levi et al. 2022).
    """
    e, s = np.ravel(error).astype(np.float64), np.ravel(uncertainty).astype(np.float64)
    said_and_made = [
        (math.sqrt(np.square(s[p]).mean()), math.sqrt(np.square(e[p]).mean()))
        for p in np.array_split(np.argsort(s, kind="stable"), bins)
        if p.size and s[p].any()
    ]
    return float(np.mean([abs(made - said) / said for said, made in said_and_made])) if said_and_made else math.nan

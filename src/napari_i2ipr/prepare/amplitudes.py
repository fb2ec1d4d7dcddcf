"""Whether a file holds amplitudes instead of intensities.

Counts are multiples of one step, and their roots are roots of multiples. Where the values are
continuous, speckle tells: fully developed speckle has intensities of exponential distribution and
amplitudes of Rayleigh distribution about their local mean, whatever the envelope. Their contrasts
(variance over squared mean) are 1 and 0.27, and the share of pixels below a quarter of the mean is 22 %
and 5 %. Clipped Gaussian noise of the paper's kind leaves both numbers of the positive pixels as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONTRAST = 0.6
"""Contrast of amplitudes stays below this ..."""

_CONTRAST_PER_CORRELATION = 0.3
"""... less this times the correlation of neighbours (wide speckles follow their local mean)."""

_CORRELATION = 0.85
"""Wider speckles than this correlation of neighbours tell nothing."""

_DIM = 0.25
"""Pixels below this share of their local mean are dim."""

_DIM_SHARE = (0.025, 0.13)
"""Share of dim pixels among amplitudes; less means partial coherence or a background, more intensities."""

_FLOOR = 0.1
"""Without a background the dimmest pixels lie below this share of the median."""

_FLOOR_QUANTILE = 0.005
"""The dimmest pixels: this share of all."""

_DYNAMIC_RANGE = 5e4
"""Maximum over median of amplitudes stays below this."""

_WIDTHS_PX = (4.0, 8.0, 16.0)
"""Gaussian widths of the local mean, tried until the speckles are well inside."""

_WELL_INSIDE = 0.75
"""Correlation of neighbours below which they are."""

_WINDOW_PX = 1024
"""A window of this size is looked at, cut from the middle."""

_ZERO_SHARE = 0.6
"""Patterns with more zeros than this share, which clipped noise cannot make, tell nothing."""

_ENOUGH_PX = 500
"""Fewest pixels for a verdict."""

_MOST_LEVELS = 4096
"""As many of the lowest levels are compared with a lattice of equal steps."""

_ROUNDING = 5e-7
"""Relative error of the square of a float32 root."""

_OFF_LATTICE = 0.1
"""A gap between levels is off the lattice when it misses a multiple of the step by more steps than this."""

_ON_LATTICE_SHARE = 0.98
"""Share of the gaps on the lattice that makes one."""

_NEAR_STEPS = 20.5
"""Gaps of fewer steps give the step."""

_MANY_STEPS = 400.0
"""Gaps of more steps are not looked at."""


def look_like_amplitudes(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> bool:
    """Whether a pattern probably holds amplitudes; in doubt it does not.

    Parameters
    ----------
    values : ndarray
        Pattern >= 0, zero frequency at ``n // 2``, ``(y, x)``.
    measured : ndarray of bool
        Same shape.
    """
    window = tuple(slice(max(n // 2 - _WINDOW_PX // 2, 0), n // 2 + _WINDOW_PX // 2) for n in values.shape)
    values, measured = values[window], measured[window]
    levels = np.unique(values[measured])[:_MOST_LEVELS]
    levels = np.concatenate([[0.0], levels[levels > 0]])
    if _on_lattice(levels):
        return False
    if _on_lattice(levels**2):
        return True
    counted = values[measured]
    lit = counted[counted > 0]
    median = float(np.median(lit))
    if (
        counted.size - lit.size > _ZERO_SHARE * counted.size
        or counted.max() > _DYNAMIC_RANGE * median
        or np.quantile(counted, _FLOOR_QUANTILE) > _FLOOR * median
    ):
        return False
    speckle = _speckle(values, measured)
    if speckle is None or speckle.correlation > _CORRELATION:
        return False
    limit = _CONTRAST - _CONTRAST_PER_CORRELATION * max(speckle.correlation, 0.0)
    return speckle.contrast < limit and _DIM_SHARE[0] < speckle.dim < _DIM_SHARE[1]


def _on_lattice(levels: NDArray[np.float64]) -> bool:
    """Whether ascending levels lie at multiples of one step, as far as float32 can tell."""
    gaps, rounding = np.diff(levels), _ROUNDING * levels[1:]
    apart = gaps > rounding
    if not apart.any():
        return True
    gaps, rounding = gaps[apart], rounding[apart]
    step = float(gaps.min())
    sharp = (rounding < _OFF_LATTICE * step / 2) & (gaps < _MANY_STEPS * step)
    near = gaps[sharp & (gaps < _NEAR_STEPS * step)]
    if 2 * sharp.sum() < sharp.size or not near.size:
        return False
    step = float(np.median(near / np.round(near / step)))
    q = gaps[sharp] / step
    return bool((np.abs(q - np.round(q)) < _OFF_LATTICE).mean() > _ON_LATTICE_SHARE)


@dataclass(frozen=True)
class _Speckle:
    """Statistics of the positive pixels about their local mean."""

    contrast: float
    correlation: float
    dim: float


def _speckle(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> _Speckle | None:
    found = None
    for width in _WIDTHS_PX:
        found = _speckle_about(values, measured, width)
        if found is None or found.correlation < _WELL_INSIDE:
            break
    return found


def _speckle_about(values: NDArray[np.float64], measured: NDArray[np.bool_], width: float) -> _Speckle | None:
    positive = measured & (values > 0)
    weight = ndimage.gaussian_filter(positive.astype(np.float64), width, mode="constant")
    mean = ndimage.gaussian_filter(np.where(positive, values, 0.0), width, mode="constant")
    used = positive & (weight > 0.2)
    ny, nx = values.shape
    reach = int(3 * width)  # the direct beam outshines its surroundings
    used[max(ny // 2 - reach, 0) : ny // 2 + reach + 1, max(nx // 2 - reach, 0) : nx // 2 + reach + 1] = False
    if used.sum() < _ENOUGH_PX:
        return None
    ratio = np.where(used, values * weight / np.maximum(mean, np.finfo(np.float64).tiny), 1.0)
    deviation = ratio.clip(max=4.0) - 1
    contrast = float((deviation[used] ** 2).mean())
    pairs = used[:, 1:] & used[:, :-1]
    product = float((deviation[:, 1:] * deviation[:, :-1])[pairs].mean()) if pairs.any() else 0.0
    return _Speckle(contrast, product / max(contrast, 1e-30), float((ratio[used] < _DIM).mean()))

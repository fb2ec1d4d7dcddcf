"""Gaps filled from their surroundings, where these tell what is in them.

Free pixels are the honest way: the reconstruction finds them. Filling is for narrow gaps in well oversampled
patterns, whose surroundings determine them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float64]

WIDTH_PX = 2.0
"""Width of the Gaussian weights of the surroundings."""

LEAST_WEIGHT = 9.0
"""Measured pixels around, by weight, that a fit of six numbers needs (all together: 25)."""

_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
"""Powers of y and x in the fit; the first is its height."""


def interpolated(values: Field, bad: NDArray[np.bool_], tolerance: float) -> tuple[Field, NDArray[np.bool_]]:
    """Values with gaps filled, and which pixels were.

    A surface of second order is fitted to the amplitudes around every gap pixel (local regression, Cleveland 1979). It
    is taken where its own prediction error, from the scatter about it and the distance bridged, is at most `tolerance`
    of it.

    Parameters
    ----------
    values : ndarray
        Intensities >= 0, ``(y, x)``.
    bad : ndarray of bool
        Pixels that were not measured.
    tolerance : float
        Largest relative standard error of an amplitude, 0 ... 1; 0 fills nothing.
    """
    if tolerance <= 0 or not bad.any() or bad.all():
        return values, np.zeros(values.shape, bool)
    predicted, error = _surfaces(np.sqrt(np.where(bad, 0.0, values)), ~bad)
    with np.errstate(invalid="ignore"):
        filled: NDArray[np.bool_] = bad & (predicted > 0) & (error <= tolerance * predicted)
    return np.where(filled, predicted**2, values), filled


def _surfaces(amplitude: Field, good: NDArray[np.bool_]) -> tuple[Field, Field]:
    """Height of the fitted surface at every gap pixel, and the standard error of predicting a value there."""
    reach = int(np.ceil(3 * WIDTH_PX))
    d = np.arange(-reach, reach + 1, dtype=np.float64)
    bell, weight = np.exp(-(d**2) / (2 * WIDTH_PX**2)), good.astype(np.float64)

    def moment(field: Field, power: tuple[int, int]) -> Field:
        along = ndimage.correlate1d(field, bell * d ** power[0], axis=0, mode="constant")
        found: Field = ndimage.correlate1d(along, bell * d ** power[1], axis=1, mode="constant")
        return found

    height, error = np.zeros(good.shape), np.full(good.shape, np.inf)
    n = moment(weight, (0, 0))
    usable = ~good & (n > LEAST_WEIGHT)
    if not usable.any():
        return height, error
    sums = {(p[0] + q[0], p[1] + q[1]) for p in _POWERS for q in _POWERS}
    moments = {power: moment(weight, power)[usable] for power in sums}
    rows = [np.stack([moments[p[0] + q[0], p[1] + q[1]] for q in _POWERS], -1) for p in _POWERS]
    masked = amplitude * weight
    right = np.stack([moment(masked, power)[usable] for power in _POWERS], -1)
    inverse = np.linalg.pinv(np.stack(rows, -2), rcond=1e-8, hermitian=True)
    fit = np.einsum("pij,pj->pi", inverse, right)
    scatter = (moment(masked * amplitude, (0, 0))[usable] - (fit * right).sum(-1)).clip(min=0)
    height[usable] = fit[:, 0]
    error[usable] = np.sqrt(scatter / (n[usable] - len(_POWERS)) * (1 + inverse[:, 0, 0].clip(min=0)))
    return height, error

"""From stored units to photons: the gain from repeated frames or from the noise of one, and the noise level.

Photon noise has a variance proportional to the mean, read noise a constant one: ``var I = s^2 + g I``, with the
gain g in stored units per photon (Janesick, *Photon Transfer*, SPIE Press 2007). What disturbs the comparison, an
object that is not quite symmetric or a pattern not quite smooth, grows with the square of the mean and is fitted
along: ``y = s^2 + g x + c x^2``, all parts >= 0, over groups of pixels of similar brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float64]

GROUPS = 40
"""Groups of pixels of similar brightness."""

LEAST_PX = 500
"""Pixels that an estimate needs at least."""

SURE = 4.0
"""A gain below so many of its standard errors is not told, ..."""

LARGEST_MISFIT = 0.15
"""... nor one where the variances lie further from the fit than this (median of relative distances) ..."""

LARGEST_EXCESS = 3.0
"""... unless that is what so few pixels do by chance (median of squares over their variance below this), ..."""

LARGEST_ASYMMETRY = 0.005
"""... or pairs differ by more than this that grows with the square: the object is not real; ..."""

LARGEST_ROUGHNESS = 0.02
"""... or neighbours do so: the pattern is not smooth from pixel to pixel."""

HALF_RANGE = 127.5
"""Root mean square of an image of 0 ... 255 that half fills its range, as natural images do."""

_LAPLACIAN = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0
"""What changes along both axes at once; independent noise keeps its variance (Immerkaer 1996)."""

_NEIGHBOURS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
_SURROUNDINGS = np.pad(np.zeros((3, 3)), 1, constant_values=1.0)


@dataclass(frozen=True)
class Gain:
    """Stored units per photon, and how they are known.

    Attributes
    ----------
    value : float
        Stored units per photon, > 0.
    error : float
        Standard error; 0 where it was given.
    source : str
        ``"given"``, ``"repeated frames"``, ``"Friedel pairs"`` or ``"high-frequency floor"``.
    """

    value: float
    error: float
    source: str


@dataclass(frozen=True)
class Noise:
    """Variance over mean: ``floor + slope x + square x^2``.

    Attributes
    ----------
    floor, slope, square : float
        The parts, each >= 0.
    error : float
        Standard error of the slope.
    misfit : float
        Median relative distance of the variances from the fit, 0 where chance alone explains it.
    """

    floor: float
    slope: float
    square: float
    error: float
    misfit: float

    def gain(self, source: str) -> Gain | None:
        """The slope as a gain, if it is sure."""
        sure = self.slope > SURE * self.error and self.misfit < LARGEST_MISFIT
        return Gain(self.slope, self.error, source) if sure else None

    def of(self, mean: Field) -> Field:
        """The variance at these means."""
        return self.floor + (self.slope + self.square * mean) * mean


def noise_of_frames(mean: Field, variance: Field, bad: NDArray[np.bool_], n_frames: int) -> Noise | None:
    """How the variance of repeated frames goes with their mean; None where it cannot be told.

    Parameters
    ----------
    mean, variance : ndarray
        Mean and variance (n - 1) over the frames, ``(y, x)``, frames scaled to one exposure.
    bad : ndarray of bool
        Pixels that were not measured.
    n_frames : int
        Number of frames.
    """
    good = ~bad & np.isfinite(variance)
    return _fit(mean[good], mean[good], variance[good], 2.0 / max(n_frames - 1, 1))


def gain_of_pairs(values: Field, bad: NDArray[np.bool_], center: tuple[float, float]) -> Gain | None:
    """The gain from the disagreement of Friedel pairs of a real object; None where it cannot be told.

    ``(I(k) - I(-k))^2 / 2`` against ``(I(k) + I(-k)) / 2``. Pairs are grouped by their neighbours, so that their own
    noise does not choose their group.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``, not clipped at 0.
    bad : ndarray of bool
        Pixels that were not measured.
    center : tuple of float
        Zero frequency ``(y, x)`` in pixels, in halves.
    """
    partner, alone = partners(values, bad, center)
    paired = ~alone
    mean = np.where(paired, (values + partner) / 2, 0.0)
    key, neighbours = _around(mean, paired, _NEIGHBOURS)
    number = np.arange(values.size).reshape(values.shape)
    y, x = (round(2 * c) for c in center)
    once = number < (y - np.arange(values.shape[0]))[:, None] * values.shape[1] + x - np.arange(values.shape[1])
    used = paired & once & (neighbours > 3)
    fitted = _fit(key[used], mean[used], (values - partner)[used] ** 2 / 2, 2.0)
    return None if fitted is None or fitted.square > LARGEST_ASYMMETRY else fitted.gain("Friedel pairs")


def gain_of_floor(values: Field, bad: NDArray[np.bool_]) -> Gain | None:
    """The gain from the high-frequency floor of one pattern; None where it cannot be told.

    An oversampled pattern is smooth from pixel to pixel. What changes along both axes at once belongs to the corner
    of the autocorrelation, where an object has next to nothing from an oversampling of about 2.5 on, and so to the
    noise.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``, not clipped at 0.
    bad : ndarray of bool
        Pixels that were not measured.
    """
    used = ~ndimage.binary_dilation(bad, np.ones((3, 3), bool))
    used[[0, -1]] = used[:, [0, -1]] = False
    known = np.where(bad, 0.0, values)
    floor = ndimage.convolve(known, _LAPLACIAN, mode="nearest") ** 2
    mean = ndimage.convolve(known, _LAPLACIAN**2, mode="nearest")
    key, neighbours = _around(known, ~bad, _SURROUNDINGS)
    used &= neighbours > 7
    fitted = _fit(key[used], mean[used], floor[used], 8.0)  # neighbours share pixels: every fourth is independent
    return None if fitted is None or fitted.square > LARGEST_ROUGHNESS else fitted.gain("high-frequency floor")


def partners(values: Field, bad: NDArray[np.bool_], center: tuple[float, float]) -> tuple[Field, NDArray[np.bool_]]:
    """The value at -k for every k, and where it or the pixel itself was not measured.

    Parameters
    ----------
    values, bad
        As for `gain_of_pairs`.
    center : tuple of float
        Zero frequency ``(y, x)`` in pixels, in halves, so that pixels fall on pixels.
    """
    sides = [round(2 * c) - np.arange(n) for c, n in zip(center, values.shape, strict=True)]
    inside = [(at >= 0) & (at < n) for at, n in zip(sides, values.shape, strict=True)]
    there = np.ix_(*(at.clip(0, n - 1) for at, n in zip(sides, values.shape, strict=True)))
    return values[there], bad | bad[there] | ~np.logical_and.outer(*inside)


def _around(values: Field, good: NDArray[np.bool_], kernel: Field) -> tuple[Field, Field]:
    """Mean of the good pixels around each, and how many there are."""
    count = ndimage.convolve(good.astype(np.float64), kernel, mode="constant")
    total = ndimage.convolve(np.where(good, values, 0.0), kernel, mode="constant")
    return total / np.maximum(count, 1), np.rint(count)


def _fit(key: Field, x: Field, y: Field, relative: float) -> Noise | None:
    """``y = s^2 + g x + c x^2``, all parts >= 0, over groups of similar `key`.

    `relative` is the variance of one independent entry of y over its square.
    """
    if key.size < LEAST_PX:
        return None
    order = np.argsort(key, kind="stable")
    edges = np.unique(np.linspace(0, len(order), GROUPS + 1).astype(np.intp))[:-1]
    n = np.diff(np.append(edges, len(order))).astype(np.float64)
    mean, square, found = (np.add.reduceat(a[order], edges) / n for a in (x, x**2, y))
    powers = np.stack([np.ones_like(mean), mean.clip(min=0), square])
    least = 1e-9 * found.max()
    if least <= 0 or powers[1].max() <= 0:
        return None
    weight = np.sqrt(n / relative) / np.maximum(found, 1e-3 * found.max())
    scale, parts = np.ones(3), np.zeros(3)
    for _ in range(4):  # weights from the fit: errors are those of the model, not of the data
        scale = (powers * weight).max(1)
        parts = optimize.nnls(((powers * weight) / scale[:, None]).T, found * weight, maxiter=1000)[0] / scale
        weight = np.sqrt(n / relative) / np.maximum(parts @ powers, least)
    if parts[1] <= 0:
        return None
    excess = float(np.median(((parts @ powers - found) * weight) ** 2)) / 0.455  # the median of chi squared
    relative_distance = float(np.median(np.abs(found / np.maximum(parts @ powers, least) - 1)))
    misfit = relative_distance if excess > LARGEST_EXCESS else 0.0
    active = (powers * weight)[parts > 0] / scale[parts > 0][:, None]
    at = int(parts[0] > 0)
    error = float(np.sqrt(np.linalg.pinv(active @ active.T)[at, at] * max(excess, 1.0)) / scale[1])
    return Noise(float(parts[0]), float(parts[1]), float(parts[2]), error, misfit)


def alpha_of_gain(gain: float, intensity_scale: float) -> float:
    """The alpha of a measurement with so many stored units per photon: ``counts = I scale / (4 alpha^2)``."""
    return float((gain * intensity_scale) ** 0.5 / 2)


def paper_alpha(photons: float, object_px: float) -> float:
    """The alpha of the I2I-PR paper at which an image of 0 ... 255 has so many photons.

    ``4 alpha^2 = sum x^2 / photons``, for an image whose root mean square is half of its range.

    Parameters
    ----------
    photons : float
        Photons in the pattern.
    object_px : float
        Pixels of the object.
    """
    return float(HALF_RANGE / 2 * (object_px / photons) ** 0.5)

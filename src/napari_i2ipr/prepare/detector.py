"""The detector's own: dark signal, sensitivity, hot and dead pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SENSITIVITY = 0.1
"""Pixels whose flat field is below this share of its median are bad."""

HOT_IN_DARK = 10.0
"""Pixels of a dark frame further above its median than so many (robust) standard deviations are bad."""

HOT_RATIO = 4.0
"""A hot pixel exceeds its third brightest neighbour by this factor (a speckle of an oversampled pattern: 2.5) ..."""

HOT_EXCESS = 5.0
"""... and by so many times what all but `RARE` of the other pixels exceed theirs by, ..."""

RARE = 0.01
"""the share of pixels that may stand out for other reasons (one photon among none counts as much)."""

DEAD_RATIO = 0.02
"""A dead pixel holds less than this share of its third dimmest neighbour, ..."""

DEAD_COUNT = 30.0
"""... which holds as much at least, ..."""

DEAD_NOISE = 5.0
"""... and so many times the noise of the dim part of the frame."""

SAMPLE = 500_000
"""Quantiles of larger frames are taken of about so many pixels."""

_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)


def dark_of(dark: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean dark frame, and the pixels that are hot or not finite in it.

    Parameters
    ----------
    dark : ndarray
        One dark frame ``(y, x)``, or several ``(..., y, x)``.
    shape : tuple of int
        Shape ``(y, x)`` of the pattern.
    """
    mean = _mean_frame(dark, shape, "a dark frame")
    lost = ~np.isfinite(mean)
    if lost.all():
        raise InputError("a dark frame without a finite value", expected="counts", do="check the file")
    middle = float(np.median(mean[~lost]))
    spread = 1.4826 * float(np.median(np.abs(mean[~lost] - middle)))
    hot = mean > middle + HOT_IN_DARK * spread if spread > 0 else np.zeros(mean.shape, bool)
    return np.where(lost, 0.0, mean), lost | hot


def flat_of(flat: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Sensitivity of every pixel, median 1, and the pixels that have next to none.

    Parameters
    ----------
    flat : ndarray
        One flat field ``(y, x)``, dark subtracted, or several ``(..., y, x)``.
    shape : tuple of int
        Shape ``(y, x)`` of the pattern.
    """
    mean = _mean_frame(flat, shape, "a flat field")
    usable = np.isfinite(mean) & (mean > 0)
    if 2 * usable.sum() < usable.size:
        raise InputError(
            f"a flat field with {usable.mean():.0%} positive pixels", expected="most of them", do="check the file"
        )
    relative = np.where(usable, mean / np.median(mean[usable]), 1.0)
    weak = ~usable | (relative < LEAST_SENSITIVITY)
    return np.where(weak, 1.0, relative), weak


def _mean_frame(frames: NDArray[np.float64], shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    found = np.asarray(frames)
    if found.dtype.kind not in "buif" or found.ndim < 2 or found.shape[-2:] != shape:
        raise InputError(
            f"{what} of shape {found.shape} and type {found.dtype}",
            expected=f"real numbers of shape {shape}",
            do="give it in the frame of the pattern",
        )
    mean: NDArray[np.float64] = found.astype(np.float64).reshape(-1, *shape).mean(0)
    return mean


def hot_pixels(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels, and groups of up to three, that stand out of their neighbours as no speckle does.

    Meant for oversampled patterns, whose speckles are two pixels wide or more.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``.
    bad : ndarray of bool
        Pixels that were not measured.
    """
    third = _third_neighbour(values, bad, largest=True)
    known = ~bad & np.isfinite(third)
    if not known.any():
        return np.zeros(values.shape, bool)
    excess = np.where(known, values - HOT_RATIO * third.clip(min=0), -np.inf)
    usual = float(np.quantile(_sample(excess[known]), 1 - RARE))
    lit = values[known & (values > 0)]
    least = float(lit.min()) if lit.size else 0.0
    found: NDArray[np.bool_] = excess > HOT_EXCESS * max(usual, 2 * _floor_noise(values, bad), least)
    return found


def _sample(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every so many of many values: enough for a quantile."""
    return values[:: max(values.size // SAMPLE, 1)]


def dead_pixels(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that hold next to nothing among neighbours that count.

    Parameters
    ----------
    values : ndarray
        Counts ``(y, x)``.
    bad : ndarray of bool
        Pixels that were not measured.
    """
    third = _third_neighbour(values, bad, largest=False)
    bright = ~bad & np.isfinite(third) & (third >= least_bright(values, bad))
    found: NDArray[np.bool_] = bright & (values <= DEAD_RATIO * third)
    return found


def least_bright(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Counts from which on noise does not make a pixel look dead."""
    return max(DEAD_COUNT, DEAD_NOISE * _floor_noise(values, bad))


def _third_neighbour(values: NDArray[np.float64], bad: NDArray[np.bool_], *, largest: bool) -> NDArray[np.float64]:
    """The third largest (or smallest) of the eight neighbours; bad ones count as extremes, so they spare a pixel."""
    extreme = np.inf if largest else -np.inf
    known = np.where(bad, extreme, values)
    rank = -3 if largest else 2
    found: NDArray[np.float64] = ndimage.rank_filter(known, rank, footprint=_RING, mode="constant", cval=extreme)
    return found


def _floor_noise(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Robust standard deviation of the differences of neighbours, over the root of 2."""
    pairs = ~bad[:, 1:] & ~bad[:, :-1]
    differences = _sample((values[:, 1:] - values[:, :-1])[pairs])
    return float(1.4826 * np.median(np.abs(differences)) / 2**0.5) if differences.size else 0.0


def around(why: NDArray[np.uint8], reason: int, reach: int) -> NDArray[np.bool_]:
    """Pixels at most `reach` away from those that are bad for one reason, and those themselves."""
    there: NDArray[np.bool_] = why == reason
    if reach < 1 or not there.any():
        return there
    disc = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= reach + 0.5
    found: NDArray[np.bool_] = ndimage.binary_dilation(there, disc)
    return found

"""What the detector counts without the object: one level, or one for every distance from the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILES = 16
"""Tiles along a side, of which the dimmest tell the level."""

DIMMEST = 0.1
"""The dimmest tiles: this share of them."""

LEAST_TILE_PX = 16
"""Measured pixels that a tile has at least."""

QUANTILE = 0.1
"""Between speckles an intensity falls to the background: this quantile of a ring."""

RING_SMOOTHING_PX = 4.0
"""Width of the Gaussian along the radius."""

RING_CONTRAST = 2.0
"""Where the level rises to so many times the lowest inside, the pattern has rings."""

LEAST_RING_PX = 64
"""Measured pixels that a ring has at least; the level of others is interpolated, and that of the core is flat."""


def constant_background(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """The level of the dimmest part of the frame: the mean of its dimmest tiles.

    Every other pixel tells which tiles are dim, the rest how dim they are: noise that chooses a tile does not count in
    it. Where the object's own light reaches every part, this is too much.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``, not clipped.
    bad : ndarray of bool
        Pixels that were not measured.
    """
    good = ~bad
    rows, columns = (np.arange(n) * min(TILES, max(n // 4, 1)) // n for n in values.shape)
    width = int(columns[-1]) + 1
    tile = rows[:, None] * width + columns
    even = (np.arange(values.shape[0])[:, None] + np.arange(values.shape[1])) % 2 == 0
    n_tiles = int(tile.max()) + 1
    count, total = np.zeros((2, n_tiles)), np.zeros((2, n_tiles))
    for half, where in enumerate((good & even, good & ~even)):
        count[half] = np.bincount(tile[where], minlength=n_tiles)
        total[half] = np.bincount(tile[where], values[where], minlength=n_tiles)
    least = min(LEAST_TILE_PX / 2, float(count.min(0).max()))
    usable = np.flatnonzero(count.min(0) >= max(least, 1))
    if not usable.size:
        return float(values[good].mean())
    order = usable[np.argsort(total[0, usable] / count[0, usable], kind="stable")]
    dim = order[: max(int(np.ceil(DIMMEST * len(order))), 1)]
    return float(total[1, dim].sum() / count[1, dim].sum())


def radial_background(
    values: NDArray[np.float64], bad: NDArray[np.bool_], center: tuple[float, float], quantile: float = QUANTILE
) -> NDArray[np.float64]:
    """A background that depends on the distance from the centre alone.

    A low quantile of every ring, smoothed, that never rises outwards: a ring of light is no background. Inside the
    first dark ring, where the pattern has rings, it stays at the level of that: the core is signal.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``, not clipped.
    bad : ndarray of bool
        Pixels that were not measured.
    center : tuple of float
        Zero frequency ``(y, x)`` in pixels.
    quantile : float
        0 ... 1.

    Returns
    -------
    ndarray
        The background of every pixel.
    """
    ny, nx = values.shape
    radius = np.hypot(np.arange(ny)[:, None] - center[0], np.arange(nx) - center[1])
    ring = np.rint(radius).astype(np.intp)
    order = np.lexsort((values[~bad], ring[~bad]))
    rings, ordered = ring[~bad][order], values[~bad][order]
    counts = np.bincount(rings, minlength=int(ring.max()) + 1)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    known = np.flatnonzero(counts >= min(LEAST_RING_PX, counts.max()))
    low = ordered[first[known] + (quantile * (counts[known] - 1)).astype(np.intp)]
    level = _envelope(np.interp(np.arange(len(counts)), known, low))
    found: NDArray[np.float64] = np.interp(radius, np.arange(len(counts)), level)
    return found


def _envelope(low: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level by radius: smoothed, never rising; flat inside the first dark ring, where there is one."""
    level = ndimage.gaussian_filter1d(low, RING_SMOOTHING_PX, mode="nearest")
    found: NDArray[np.float64] = np.minimum.accumulate(level)
    noise = float(np.median(np.abs(np.diff(level))))
    bright_again = np.flatnonzero(level > RING_CONTRAST * found.clip(min=0) + 10 * noise)
    if bright_again.size:
        dark = int(np.argmin(level[: bright_again[0]]))
        found[:dark] = found[dark]
    return found

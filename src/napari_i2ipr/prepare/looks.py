"""What a pattern looks like: guesses about values, mask and order, each a function of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

INVERTED_SHARE = 0.5
"""A mask can only look inverted when it marks more than this share of the pixels."""

INVERTED_LIGHT = 0.1
"""... and when the pixels it spares hold less than this share of what others at their radius hold."""

FULL_SCALE = frozenset(float(kind(2**n - 1)) for n in (8, *range(10, 33, 2)) for kind in (np.float64, np.float32))
"""Maxima at which detectors end, 2^n - 1, also as float32 rounds them."""

SHARED_MAXIMUM_PX = 5
"""A maximum that so many pixels share may be saturation ..."""

SHARED_MAXIMUM_COUNT = 16
"""... where whole counts go up to here at least (small counts share theirs by chance) ..."""

NEIGHBOURS_PX = 24
"""... and where no level is shared by as many among so many of the next highest pixels;"""

FRIEDEL_PX = 2
"""if levels are shared by more than this there, values come in steps or the object is symmetric,"""

SHOULDER = 0.9
"""and then fewer pixels must lie between this share of the maximum (in counts: one deviation less) and it."""

CORNER_REACH = 8
"""Centre and corners are compared within the frame's side divided by this."""

CORNER_EXCESS = 2.0
"""Mean amplitude of the weakest corner over the centre's above which a pattern is in FFT order."""

CENTRE_EXCESS = 2.0
"""The brightest pixel in the very corner, by this factor over all near the centre, is the zero frequency."""

BLOCK_PX = 5
"""Side of the smallest square of zeros that can be missing."""

SPARSE_SHARE = 0.3
"""In frames with more zeros than this share, zeros are measured."""

BORDER_PX = 3
"""Width of the border around a block of zeros that is looked at."""

BORDER_COUNT = 10.0
"""Median of the counts in that border above which the block is missing ..."""

BORDER_SHARE = 0.4
"""... where more than this share of the border counted anything (in sparse regions zeros are measured)."""

_EIGHT = np.ones((3, 3), dtype=bool)


def mask_is_inverted(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> bool:
    """Whether a mask marks most of the frame and spares only pixels that are dark, or all alike.

    Dark is meant by comparison with the marked pixels at the same distance from the centre: a mask that
    spares a dark corner, or few but ordinary pixels, is taken by its word.

    Parameters
    ----------
    values : ndarray
        Pattern as stored, ``(y, x)``; may hold NaN.
    bad : ndarray of bool
        The mask, same shape.
    """
    if bad.mean() <= INVERTED_SHARE or bad.all():
        return False
    amplitude = np.sqrt(np.where(np.isfinite(values), values, 0.0).clip(min=0))
    kept = amplitude[~bad]
    if not amplitude[bad].any():
        return False
    if np.ptp(kept) == 0:
        return True
    ny, nx = values.shape
    ring = np.hypot(np.arange(ny)[:, None] - ny // 2, np.arange(nx) - nx // 2).astype(np.intp)
    pixels, light = np.bincount(ring[bad]), np.bincount(ring[bad], amplitude[bad])
    seen = np.flatnonzero(pixels)
    expected = np.interp(ring[~bad], seen, light[seen] / pixels[seen])
    return bool(kept.sum() < INVERTED_LIGHT * expected.sum())


def saturation_level(values: NDArray[np.float64]) -> float | None:
    """The level at which the measured values end, None when they end of themselves.

    Saturation is a maximum at a detector's full scale, or one shared by several pixels as a clipped
    pattern shares it. Small counts share theirs by chance, symmetric objects by symmetry.

    Parameters
    ----------
    values : ndarray
        Values of the measured pixels, one-dimensional.
    """
    top = float(values.max(initial=0.0))
    if top in FULL_SCALE:
        return top
    shared = int((values == top).sum())
    if shared < SHARED_MAXIMUM_PX or top <= 0:
        return None
    whole = bool((values == np.round(values)).all())
    below = values[values < top]
    if below.size == 0 or (whole and top < SHARED_MAXIMUM_COUNT):
        return None
    shoulder = int((below >= (top - top**0.5 if whole else SHOULDER * top)).sum())
    next_level = int((below == below.max()).sum())
    highest = np.partition(below, -NEIGHBOURS_PX)[-NEIGHBOURS_PX:] if below.size > NEIGHBOURS_PX else below
    alike = int(np.unique(highest, return_counts=True)[1].max())
    return top if shared > max(next_level, alike, shoulder if alike > FRIEDEL_PX else 0) else None


def is_fft_ordered(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> bool:
    """Whether the amplitudes in all four corners, or that of the very corner pixel, exceed those in the centre.

    Parameters
    ----------
    values : ndarray
        Pattern >= 0, ``(y, x)``.
    measured : ndarray of bool
        Same shape.
    """
    amplitude = np.sqrt(values)
    ny, nx = values.shape
    hy, hx = ny // CORNER_REACH, nx // CORNER_REACH

    def mean(rows: slice, columns: slice) -> float:
        inside = measured[rows, columns]
        return float(amplitude[rows, columns][inside].mean()) if inside.any() else np.nan

    middle = slice(ny // 2 - hy, ny // 2 + hy + 1), slice(nx // 2 - hx, nx // 2 + hx + 1)
    shown = np.where(measured, amplitude, 0.0)
    if shown[0, 0] == shown.max() and shown[0, 0] > CENTRE_EXCESS * shown[middle].max() > 0:
        return True
    centre = mean(*middle)
    sides = (slice(0, hy), slice(ny - hy, ny)), (slice(0, hx), slice(nx - hx, nx))
    corners = [mean(rows, columns) for rows in sides[0] for columns in sides[1]]
    return bool(min(corners) > CORNER_EXCESS * centre)


def missing_blocks(
    values: NDArray[np.float64], zero: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], int]:
    """Blocks of zeros that were not measured: beamstop, gaps, dead modules.

    A block is at least `BLOCK_PX` square; the pixels around it count, and the frame is not sparse.

    Parameters
    ----------
    values : ndarray
        Intensities, ``(y, x)``.
    zero : ndarray of bool
        Pixels stored as nothing: zero, or a negative flag.
    bad : ndarray of bool
        Pixels known to be bad.

    Returns
    -------
    tuple
        The pixels, and the number of blocks.
    """
    missing = np.zeros(values.shape, dtype=bool)
    empty = zero & ~bad
    n_empty = int(empty.sum())
    if n_empty < BLOCK_PX**2 or n_empty > SPARSE_SHARE * (~bad).sum():
        return missing, 0
    opened = ndimage.binary_opening(empty | bad, np.ones((BLOCK_PX, BLOCK_PX)))
    blocks = 0
    labels, _ = ndimage.label(opened, _EIGHT)
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        near = tuple(slice(max(s.start - BORDER_PX, 0), s.stop + BORDER_PX) for s in window)
        block = labels[near] == number
        border = ndimage.binary_dilation(block, _EIGHT, BORDER_PX) & ~block & ~bad[near]
        counts = values[near][border]
        lit, found = counts[counts > 0], block & empty[near]
        if found.sum() >= BLOCK_PX**2 and lit.size > BORDER_SHARE * counts.size and np.median(lit) > BORDER_COUNT:
            missing[near] |= found
            blocks += 1
    return missing, blocks

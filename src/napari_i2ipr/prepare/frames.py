"""Several frames of one pattern, summed without what one of them saw alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from napari_i2ipr.errors import InputError
from napari_i2ipr.prepare.photons import Noise, noise_of_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_i2ipr.prepare.photons import Gain

    Field = NDArray[np.float64]
    Flags = NDArray[np.bool_]

DIMMEST_FRAME = 0.1
"""Frames with less than this share of the median frame's light are left out."""

ODDEST_FRAME = 0.05
"""Frames with more than this share of pixels far from the others are left out."""

LEAST_FRAMES = 3
"""Fewer frames have no median."""

VALUES_AT_ONCE = 1 << 24
"""Values that are sorted together."""


@dataclass(frozen=True)
class Summed:
    """One frame of several.

    Attributes
    ----------
    values : ndarray
        Sums over the frames ``(y, x)``; where frames were left out, scaled for those missing.
    bad : ndarray of bool
        Pixels that no frame measured, or that most frames disagree about.
    rejected : int
        Values left out, frames as a whole not counted.
    dropped : tuple of int
        Frames left out as a whole.
    gain : Gain or None
        Stored units per photon by how the frames vary.
    """

    values: Field
    bad: Flags
    rejected: int
    dropped: tuple[int, ...]
    gain: Gain | None


def sum_frames(frames: Field, bad: Flags, sigma: float = 6.0) -> Summed:
    """Sum frames of one pattern; values far from the median frame are left out.

    A value is far when it lies more than `sigma` standard deviations from the median of the frames (each scaled to the
    same light), the variance being that of photon and read noise as the frames themselves show it. One photon more
    or less is never far.

    Parameters
    ----------
    frames : ndarray
        ``(k, y, x)``.
    bad : ndarray of bool
        Pixels that were not measured, ``(k, y, x)``.
    sigma : float
        Standard deviations; 0 keeps all. With fewer than three frames all is kept.

    Raises
    ------
    InputError
        If no frame holds light.
    """
    light, gain = _light(frames, bad), None
    dim = light < DIMMEST_FRAME
    if dim.all():
        raise InputError("frames without light", expected="counts", do="check the file")
    kept = ~bad & ~dim[:, None, None]
    far, odd = np.zeros(frames.shape, bool), dim
    for _ in range(2):  # the second time, outliers no longer count as light
        light = _light(frames, bad | (far & ~odd[:, None, None]))
        far, gain = _rejected(frames, kept, light, sigma)
        odd = ~dim & (far.sum((1, 2)) > ODDEST_FRAME * kept.sum((1, 2)))
    if 2 * odd.sum() >= (~dim).sum():
        odd[:] = False  # they disagree about everything: no frame is the odd one
    kept[odd] = False
    far &= kept
    lost = (2 * far.sum(0) > kept.sum(0)) | ~kept.any(0)
    kept &= ~far
    exposure, whole = np.where(kept, light[:, None, None], 0.0).sum(0), light[~dim & ~odd].sum()
    missing = ~lost & ~np.isclose(exposure, whole, rtol=1e-12)
    values = np.where(kept & ~lost, frames, 0.0).sum(0)
    values[missing] *= whole / exposure[missing]
    return Summed(values, lost, int(far.sum()), tuple(np.flatnonzero(dim | odd).tolist()), gain)


def _rejected(frames: Field, kept: Flags, light: Field, sigma: float) -> tuple[Flags, Gain | None]:
    """Kept values far from the median frame, and the gain by how the others vary."""
    if np.count_nonzero(kept.any((1, 2))) < LEAST_FRAMES:
        return np.zeros(frames.shape, bool), None
    middle = _median(frames, kept, light)
    far = _far(frames, kept, light, middle=middle, noise=_first_guess(frames, kept, light), sigma=sigma)
    noise = _noise(frames, kept & ~far, light)
    if noise is None:
        return far, None
    return _far(frames, kept, light, middle=middle, noise=noise, sigma=sigma), noise.gain("repeated frames")


def _light(frames: Field, bad: Flags) -> Field:
    """Light of every frame over that of the median one, by the pixels that all of them measured."""
    common = ~bad.any(0)
    if not common.any():
        raise InputError("frames without a pixel that all of them measured", expected="one", do="check the masks")
    totals = frames[:, common].sum(1)
    middle = float(np.median(totals[totals > 0])) if (totals > 0).any() else 1.0
    found: Field = totals / middle
    return found


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, VALUES_AT_ONCE // (shape[0] * shape[2]))
    for start in range(0, shape[1], rows):
        yield slice(start, start + rows)


def _median(frames: Field, kept: Flags, light: Field) -> Field:
    """Median of the kept frames, scaled to the same light; 0 where none is kept."""
    out = np.zeros(frames.shape[1:])
    for rows in _blocks(frames.shape):
        scaled = np.where(kept[:, rows], frames[:, rows] / np.where(light > 0, light, 1.0)[:, None, None], np.inf)
        n = kept[:, rows].sum(0)
        ordered = np.sort(scaled, axis=0)
        low, high = (np.take_along_axis(ordered, at[None].clip(min=0), 0)[0] for at in ((n - 1) // 2, n // 2))
        with np.errstate(invalid="ignore"):
            out[rows] = np.where(n > 0, (low + high) / 2, 0.0)
    return out


def _moments(frames: Field, kept: Flags, light: Field) -> tuple[Field, Field, NDArray[np.intp]]:
    """Mean and variance (n - 1) of the kept values scaled to the same light, and their number."""
    n = kept.sum(0)
    scale = np.where(light > 0, light, 1.0)[:, None, None]
    mean = np.where(kept, frames / scale, 0.0).sum(0) / np.maximum(n, 1)
    square = np.where(kept, (frames / scale - mean) ** 2, 0.0).sum(0)
    return mean, square / np.maximum(n - 1, 1), n


def _first_guess(frames: Field, kept: Flags, light: Field) -> Noise:
    """Noise by the median over the pixels of variance over mean: outliers do not move it."""
    mean, variance, n = _moments(frames, kept, light)
    used = (n > 2) & (mean > 0) & (variance > 0)
    if not used.any():
        return Noise(0.0, 1.0, 0.0, 0.0, 0.0)
    freedom = float(np.median(n[used]) - 1)
    slope = (
        float(np.median(variance[used] / mean[used])) * freedom / float(special.chdtri(freedom, 0.5))
    )  # the median of chi squared
    return Noise(0.0, slope, 0.0, 0.0, 0.0)


def _noise(frames: Field, kept: Flags, light: Field) -> Noise | None:
    mean, variance, n = _moments(frames, kept, light)
    return noise_of_frames(mean, variance, n < 3, int(np.median(n)))


def _far(frames: Field, kept: Flags, light: Field, *, middle: Field, noise: Noise, sigma: float) -> Flags:
    """Kept values further from the median frame than noise brings them."""
    if sigma <= 0:
        return np.zeros(frames.shape, bool)
    least, unsure = noise.slope**2, 0.5 * np.pi / kept.sum(0).clip(min=1)  # variance of a median over that of a value
    above = middle.clip(min=0) + np.sqrt(unsure * (noise.of(middle.clip(min=0)) + least))
    spread = np.sqrt((noise.of(above) + least) * (1 + unsure))
    scale = light.clip(min=DIMMEST_FRAME)[:, None, None]
    far: Flags = kept & (np.abs(frames - middle * scale) > sigma * spread * np.sqrt(scale))
    return far

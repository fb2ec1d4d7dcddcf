"""Resolution and reproducibility as curves over spatial frequency: PRTF and FRC, without any truth.

Three things that are often mixed up are kept apart here. The *phase-retrieval transfer function* says to which
frequency independent starts on one pattern find the same phases. The *Fourier ring correlation* of reconstructions
from two independent measurements (or from the two halves of the photons of one) says to which frequency there is
signal above noise: a resolution. The correlation of two starts on the same pattern shares all its noise; it is a
*reproducibility*, never a resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.shells import Grid, Shells, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.align import Box

ONE_OVER_E = math.exp(-1)
"""Threshold of the phase-retrieval transfer function (Chapman et al. 2006)."""

HALF_BIT = (math.sqrt(2) - 1) / 2
"""Signal-to-noise ratio of each half at which the whole holds half a bit a pixel: 0.2071 (van Heel & Schatz 2005)."""

ONE_BIT = 0.5
"""The same for one bit."""

AGREE = 0.5
"""Threshold of the reproducibility: at lower correlations two starts differ by more than they share."""

LASTING = 3
"""Measured shells in a row that a curve must stay below its threshold to count as having crossed it."""

ENOUGH_STARTS = 8
"""Starts that a crossing of 1/e needs: K random phases give about ``1 / sqrt(K)``, which is above 1/e up to 7."""


@dataclass(frozen=True)
class Curve:
    """A score over spatial frequency, with the threshold that it is read at; ready to draw.

    Attributes
    ----------
    name : str
        What it is, for legends.
    frequency : ndarray
        Middles of the shells in cycles per object pixel, ``(S,)``, ascending.
    value : ndarray
        The score, ``(S,)``; NaN where there is nothing to take it from (a gap, not a zero).
    n : ndarray
        Pixels in each shell that it was taken from.
    threshold : ndarray
        Threshold, ``(S,)``.
    crossing : float
        Frequency at which the score falls below its threshold to stay there, in cycles per pixel; infinite where it
        never does (the score ends at the edge of the detector), NaN where it never was above, or where a crossing has
        no meaning.
    pixel_m : float or None
        Object pixel in metres that frequencies count; None when unknown.
    """

    name: str
    frequency: NDArray[np.float64]
    value: NDArray[np.float64]
    n: NDArray[np.float64]
    threshold: NDArray[np.float64]
    crossing: float
    pixel_m: float | None = None

    @property
    def limited_by_edge(self) -> bool:
        """Whether the score stays above its threshold up to the edge of the detector."""
        return math.isinf(self.crossing)

    @property
    def full_period_px(self) -> float:
        """Period of the last frequency above the threshold in object pixels; the edge's, 2, where it never falls below.

        NaN without a crossing. The *half period* that many papers call the resolution is half of it.
        """
        last = self.frequency[-1] if self.limited_by_edge else self.crossing
        return 1 / float(last) if last > 0 else math.nan

    @property
    def half_period_px(self) -> float:
        """Half of `full_period_px`: the smallest feature, in object pixels."""
        return self.full_period_px / 2

    @property
    def full_period_m(self) -> float | None:
        """`full_period_px` in metres; None when the geometry is unknown."""
        return None if self.pixel_m is None else self.full_period_px * self.pixel_m


def curve(
    name: str,
    frequency: NDArray[Any],
    value: NDArray[Any],
    n: NDArray[Any],
    threshold: NDArray[Any] | float,
    *,
    pixel_m: float | None = None,
    readable: bool = True,
) -> Curve:
    """A curve with its crossing found; `readable` is false where a crossing would mean nothing."""
    f, v = np.asarray(frequency, np.float64), np.asarray(value, np.float64)
    limit = np.broadcast_to(np.asarray(threshold, np.float64), f.shape).copy()
    at = crossing(f, v, limit) if readable else math.nan
    return Curve(name, f, v, np.asarray(n, np.float64), limit, at, pixel_m)


def crossing(frequency: NDArray[Any], value: NDArray[Any], threshold: NDArray[Any]) -> float:
    """Where a curve falls below its threshold for `LASTING` shells or up to its end, by linear interpolation.

    Gaps (NaN) are passed over. Infinite where it never does; NaN where it is not above at its first shells, or is a
    gap altogether.
    """
    known = np.isfinite(value) & np.isfinite(threshold) & (frequency > 0)
    f, over = frequency[known], (value - threshold)[known]
    below = over < 0
    for i in range(len(f)):
        if not below[i : i + LASTING].all():
            continue
        if i == 0:
            return math.nan
        return float(f[i - 1] + (f[i] - f[i - 1]) * over[i - 1] / (over[i - 1] - over[i]))
    return math.inf if len(f) else math.nan


def information_threshold(n: NDArray[Any], snr: float = HALF_BIT) -> NDArray[np.float64]:
    """Threshold of the FRC: ``(s + (2 sqrt(s) + 1) / sqrt(n)) / (s + 1 + 2 sqrt(s) / sqrt(n))``.

    With s = 0.2071 the half-bit curve ``(0.2071 + 1.9102 / sqrt(n)) / (1.2071 + 0.9102 / sqrt(n))``, with s = 0.5
    the one-bit curve (van Heel & Schatz, J. Struct. Biol. 151, 250 (2005), eqs. 14-17).

    Parameters
    ----------
    n : ndarray
        Pixels in each shell of the full frame.
    snr : float
        Signal-to-noise ratio s of each of the two images.
    """
    root = np.sqrt(np.maximum(np.asarray(n, np.float64), 1e-30))
    limit: NDArray[np.float64] = (snr + (2 * math.sqrt(snr) + 1) / root) / (snr + 1 + 2 * math.sqrt(snr) / root)
    return limit


def curves(reconstruction: Reconstruction) -> dict[str, Curve]:
    """The curves that a reconstruction brings with it.

    Parameters
    ----------
    reconstruction : Reconstruction
        One image; see `napari_i2ipr.evaluate.quality.single` for one of a stack.

    Returns
    -------
    dict of Curve
        ``prtf`` and ``prtf_phase``, the two definitions of the literature; ``prtf_corrected``, the second for
        infinitely many starts; ``reproducibility``; ``prtf_last``, of candidates that are not independent; ``misfit``,
        the R-factor of each shell. Empty for results that hold no shells.
    """
    if reconstruction.shells is None:
        return {}
    pixel = reconstruction.pixel_m
    return of_shells(reconstruction.shells, None if pixel is None else min(pixel))


def of_shells(shells: Shells, pixel_m: float | None = None) -> dict[str, Curve]:
    """The curves of the shells of one pattern, see `curves`."""
    f, n, K = shells.frequency, shells.measured, shells.n_starts
    enough = K >= ENOUGH_STARTS
    mean = np.asarray(shells.phase_agreement, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        misfit = np.where(shells.amplitude > 0, shells.misfit / shells.amplitude, np.nan)
    rows = {
        "prtf": ("PRTF, |mean F| / sqrt(I)", shells.prtf, n, ONE_OVER_E, enough),
        "prtf_phase": ("PRTF, phases alone", shells.prtf_phase, n, ONE_OVER_E, enough),
        "prtf_corrected": ("PRTF, phases alone, for K -> infinity", np.sqrt(mean.clip(0)), n, ONE_OVER_E, K > 1),
        "reproducibility": ("reproducibility of two starts", shells.reproducibility, shells.pixels, AGREE, K > 1),
        "prtf_last": ("last run (starts not independent)", shells.prtf_last, n, ONE_OVER_E, False),
        "misfit": ("R-factor", misfit, n, np.nan, False),
    }
    return {
        key: curve(name, f, value, count, limit, pixel_m=pixel_m, readable=readable)
        for key, (name, value, count, limit, readable) in rows.items()
    }


def prtf(candidates: NDArray[Any], measurement: Measurement, box: Box) -> dict[str, Curve]:
    """The curves of given candidates, for those that come from elsewhere or were kept with ``keep_candidates``.

    Twin, shift, sign and global phase are undone first. The candidates should be results of independent starts; those
    that a reconstruction keeps are those of the last run, which began near their common mean.

    Parameters
    ----------
    candidates : ndarray
        ``(K, h, w)``, K >= 2, real or complex.
    measurement : Measurement
        The pattern, one frame; it is conditioned as for a reconstruction.
    box : tuple of int
        Where the candidates lie in the frame, ``(y0, x0, h, w)``.

    Returns
    -------
    dict of Curve
        As `curves`; ``misfit`` is that of the candidates' mean.

    Raises
    ------
    InputError
        When the candidates are fewer than two, or do not fit the pattern.
    """
    import torch

    from napari_i2ipr.physics.noise import friedel_average
    from napari_i2ipr.physics.symmetry import align
    from napari_i2ipr.prepare import condition

    found = np.asarray(candidates)
    ny, nx = measurement.frame_shape
    y0, x0, h, w = box
    if found.ndim != 3 or len(found) < 2 or found.shape[1:] != (h, w) or y0 + h > ny or x0 + w > nx:
        raise InputError(
            f"candidates of shape {found.shape} at {tuple(box)} in a frame of {ny} x {nx} px",
            expected="at least two images (K, h, w) of the box's size, within the frame",
        )
    found = found.astype(np.complex64 if np.iscomplexobj(found) else np.float32)
    frame, _ = condition(measurement)
    intensity = torch.from_numpy(np.fft.ifftshift(frame.intensity * np.float32(frame.intensity_scale)))
    measured = torch.from_numpy(np.fft.ifftshift(~np.asarray(frame.bad_pixels, bool)))
    if not np.iscomplexobj(found):
        intensity, measured = (array[:, : nx // 2 + 1] for array in friedel_average(intensity, measured))
    aligned = align(torch.from_numpy(found)).images.numpy()
    pixel = frame.geometry.object_pixel_m(frame.frame_shape)
    shells = compare(
        list(aligned),
        aligned.mean(0),
        intensity.sqrt().numpy(),
        measured.numpy(),
        box=box,
        frame_shape=(ny, nx),
        pixel=pixel or (1.0, 1.0),
    )
    return of_shells(shells, None if pixel is None else min(pixel))


def frc(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    snr: float = HALF_BIT,
    pixel_m: tuple[float, float] | None = None,
    taper: float = 0.0,
) -> Curve:
    """Fourier ring correlation, ``Re sum F1 conj(F2) / sqrt(sum |F1|^2 sum |F2|^2)`` in each ring.

    Parameters
    ----------
    first, second : ndarray
        Images ``(y, x)`` of one shape that were matched to each other, from **independent** measurements.
    snr : float
        `HALF_BIT` for the halves of one data set, `ONE_BIT` for two data sets.
    pixel_m : tuple of float, optional
        Pixel ``(y, x)`` in metres.
    taper : float
        Share of each side, 0 ... 0.5, over which the images are faded out at their borders. A border that both
        images share correlates by itself.

    Raises
    ------
    InputError
        When the images differ in shape.
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or one.ndim != 2:
        raise InputError(f"images of shapes {one.shape} and {other.shape}", expected="two images (y, x) of one shape")
    shape = (one.shape[0], one.shape[1])
    window = _window(shape, taper)
    grid = Grid.of(shape, half=False, pixel=pixel_m or (1.0, 1.0))
    F, G = (np.fft.fft2(image * window) for image in (one, other))
    power = grid.total(np.abs(F) ** 2) * grid.total(np.abs(G) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(power > 0, grid.total((F * G.conj()).real) / np.sqrt(power), np.nan)
    n = grid.total(np.ones(shape))
    finer = None if pixel_m is None else min(pixel_m)
    return curve("FRC", grid.frequency, value, n, information_threshold(n, snr), pixel_m=finer)


def _window(shape: tuple[int, int], taper: float) -> NDArray[np.float64]:
    from scipy.signal.windows import tukey

    sides = [tukey(n, 2 * taper) if taper else np.ones(n) for n in shape]
    found: NDArray[np.float64] = sides[0][:, None] * sides[1][None]
    return found

"""Shells of equal spatial frequency: what a reconstruction and the starts behind it are worth in each of them.

The numbers are taken while the candidates are there, because a result does not keep these: a few kilobytes say
all that the transfer curves of ``evaluate.resolution`` need. Only starts that had nothing in common may be
compared for that. The last run begins near the common mean of the candidates, so what is compared are the
candidates before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

CURVES = (
    "pixels",
    "measured",
    "amplitude",
    "misfit",
    "prtf",
    "prtf_phase",
    "phase_agreement",
    "reproducibility",
    "prtf_last",
)
"""Names of the numbers by shell, in the order in which files keep them."""


@dataclass(frozen=True)
class Shells:
    """Numbers by shell, for one pattern or every pattern of a stack. A shell without measured pixels holds NaN.

    Attributes
    ----------
    frequency : ndarray
        Middle of each shell, ``(S,)``, in cycles per object pixel (the finer one where they differ), 0 ... 0.5. Shells
        are as wide as the coarser step of the detector, and end at its nearer edge.
    n_starts : int
        Number K of independent starts that were compared.
    pixels, measured : ndarray
        Pixels in the shell, all and those that were measured, ``(..., S)``; for real objects a frequency counts when
        it or its Friedel mate was measured.
    amplitude : ndarray
        Mean of sqrt(I) over these, object units.
    misfit : ndarray
        Mean of ``|s|F| - sqrt(I)|`` of the delivered image, s the fitted scale.
    prtf : ndarray
        ``sum |mean_k F_k| / sum sqrt(I)`` (Chapman et al. 2006).
    prtf_phase : ndarray
        Mean of ``|mean_k exp(i phi_k)|`` (Shapiro et al. 2005, Marchesini et al. 2005).
    phase_agreement : ndarray
        Mean of ``cos(phi_j - phi_k)`` over all pairs of starts: 0 for random phases, whatever K.
    reproducibility : ndarray
        Fourier ring correlation of two starts, mean over all pairs; over all pixels, measured or not.
    prtf_last : ndarray
        Like `prtf`, of the candidates that were averaged, which are **not** independent.
    """

    frequency: NDArray[np.float64]
    n_starts: int
    pixels: NDArray[np.float32]
    measured: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    misfit: NDArray[np.float32]
    prtf: NDArray[np.float32]
    prtf_phase: NDArray[np.float32]
    phase_agreement: NDArray[np.float32]
    reproducibility: NDArray[np.float32]
    prtf_last: NDArray[np.float32]

    def table(self) -> NDArray[np.float32]:
        """All curves in one array ``(..., len(CURVES), S)``, as files keep them."""
        return np.stack([getattr(self, name) for name in CURVES], axis=-2)

    @classmethod
    def from_table(cls, frequency: NDArray[Any], n_starts: int, table: NDArray[Any]) -> Shells:
        """What `table` came from."""
        curves = {name: np.asarray(table[..., i, :], np.float32) for i, name in enumerate(CURVES)}
        return cls(np.asarray(frequency, np.float64), int(n_starts), **curves)

    def item(self, index: int) -> Shells:
        """The shells of one pattern, number `index` in the flattened leading axes."""
        table = self.table()
        return self.from_table(self.frequency, self.n_starts, table.reshape(-1, *table.shape[-2:])[index])


@dataclass(frozen=True)
class Grid:
    """Which shell each frequency of a corner-origin frame lies in.

    Attributes
    ----------
    ring : ndarray of int
        Number of the shell, ``(y, kx)``.
    weight : ndarray
        How many frequencies of the full frame an element stands for, ``(1, kx)``.
    frequency : ndarray
        Middles of the shells that are kept, ``(S,)``.
    """

    ring: NDArray[np.int64]
    weight: NDArray[np.float32]
    frequency: NDArray[np.float64]

    @classmethod
    def of(cls, shape: tuple[int, int], *, half: bool, pixel: tuple[float, float] = (1.0, 1.0)) -> Grid:
        """Shells of a frame.

        Parameters
        ----------
        shape : tuple of int
            Frame ``(y, x)``.
        half : bool
            Whether the spectrum is the half one of a real image, ``x // 2 + 1`` columns.
        pixel : tuple of float
            Pixel ``(y, x)`` of the object in any one unit; frequencies count cycles per finer one.
        """
        finer = min(pixel)
        fy, fx = (np.fft.fftfreq(n) * finer / p for n, p in zip(shape, pixel, strict=True))
        kept = shape[1] // 2 + 1 if half else shape[1]
        step = max(finer / (n * p) for n, p in zip(shape, pixel, strict=True))
        ring = np.rint(np.hypot(fy[:, None], fx[None, :kept]) / step).astype(np.int64)
        edge = min((n // 2) * finer / (n * p) for n, p in zip(shape, pixel, strict=True))
        weight = np.ones((1, kept), np.float32)
        if half:
            weight[:, 1 : (shape[1] + 1) // 2] = 2
        return cls(ring, weight, np.arange(round(edge / step) + 1) * np.float64(step))

    def total(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of `values`, ``(y, kx)``, over each shell of the full frame, ``(S,)``."""
        weighted = (values * self.weight).ravel().astype(np.float64)
        sums = np.bincount(self.ring.ravel(), weighted, minlength=len(self.frequency))
        return sums[: len(self.frequency)].astype(np.float64)


def spectrum(image: NDArray[Any], box: tuple[int, int, int, int], frame_shape: tuple[int, int]) -> NDArray[Any]:
    """Unitary transform of an image that lies in `box`, corner origin; the half spectrum of a real one."""
    import scipy.fft

    y0, x0, h, w = box
    frame = np.zeros(frame_shape, image.dtype)
    frame[y0 : y0 + h, x0 : x0 + w] = image
    found: NDArray[Any] = (scipy.fft.fft2 if np.iscomplexobj(frame) else scipy.fft.rfft2)(frame, norm="ortho")
    return found


def compare(
    starts: Iterable[NDArray[Any]],
    image: NDArray[Any],
    amplitude: NDArray[Any],
    measured: NDArray[np.bool_],
    *,
    box: tuple[int, int, int, int],
    frame_shape: tuple[int, int],
    last: Sequence[NDArray[Any]] = (),
    pixel: tuple[float, float] = (1.0, 1.0),
) -> Shells:
    """Numbers by shell of one pattern.

    Parameters
    ----------
    starts : iterable of ndarray
        Images ``(h, w)`` of independent starts, matched to each other in orientation, place and global phase.
    image : ndarray
        The delivered image.
    amplitude, measured : ndarray
        sqrt(I) in the units of the images and where it was measured, corner origin, ``(y, kx)``: the half spectrum for
        real images.
    box : tuple of int
        Where the images lie in the frame, ``(y0, x0, h, w)``.
    frame_shape : tuple of int
        Shape ``(y, x)`` of the frame.
    last : sequence of ndarray
        The candidates of the last run, if they are others than `starts`.
    pixel : tuple of float
        Pixel ``(y, x)`` of the object.

    Notes
    -----
    Each image is first scaled to the data (least squares), as for the R-factor.
    """
    grid = Grid.of(frame_shape, half=not np.iscomplexobj(image), pixel=pixel)
    valid = measured.astype(np.float32)
    count, power = grid.total(valid), grid.total(amplitude * valid)

    def fitted(one: NDArray[Any]) -> NDArray[Any]:
        return _fitted(spectrum(one, box, frame_shape), amplitude, valid * grid.weight)

    sums = _Sums.over(fitted(one) for one in starts)
    final = _Sums.over(fitted(one) for one in last) if len(last) else sums
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = {
            "pixels": grid.total(np.ones_like(valid)),
            "measured": count,
            "amplitude": power / count,
            "misfit": grid.total(np.abs(np.abs(fitted(image)) - amplitude) * valid) / count,
            "prtf": grid.total(np.abs(sums.values) * valid) / sums.count / power,
            "prtf_phase": grid.total(np.abs(sums.phasors) * valid) / sums.count / count,
            "phase_agreement": _of_pairs(grid.total(np.square(np.abs(sums.phasors)) * valid) / count, sums.count),
            "reproducibility": _of_pairs(
                grid.total(np.square(np.abs(sums.values))) / (grid.total(sums.squares) / sums.count), sums.count
            ),
            "prtf_last": grid.total(np.abs(final.values) * valid) / final.count / power,
        }
    table = np.stack([np.where(np.isfinite(curves[name]), curves[name], np.nan) for name in CURVES])
    return Shells.from_table(grid.frequency, sums.count, table)


def _fitted(F: NDArray[Any], amplitude: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """A spectrum scaled so that its modulus fits the amplitudes, least squares."""
    modulus = np.abs(F) * weight
    squares = float((modulus * np.abs(F)).sum(dtype=np.float64))
    fit = float((modulus * amplitude).sum(dtype=np.float64)) / squares if squares > 0 else 1.0
    return F * np.float32(fit)


def _of_pairs(square: NDArray[Any], count: int) -> NDArray[Any]:
    """Mean over pairs of ``Re z_j conj(z_k)`` from ``|sum_k z_k|^2``, for `count` numbers z of mean square 1."""
    return (square - count) / (count * (count - 1)) if count > 1 else np.full_like(square, np.nan)


@dataclass
class _Sums:
    """Sums over starts: of spectra, of their phase factors, of their squared moduli; and the number of starts."""

    values: NDArray[Any]
    phasors: NDArray[Any]
    squares: NDArray[Any]
    count: int

    @classmethod
    def over(cls, spectra: Iterable[NDArray[Any]]) -> _Sums:
        found: _Sums | None = None
        for F in spectra:
            modulus = np.abs(F)
            phasor = np.divide(F, modulus, out=np.zeros_like(F), where=modulus > 0)
            if found is None:
                found = cls(F, phasor, np.square(modulus), 1)
                continue
            found.values += F
            found.phasors += phasor
            found.squares += np.square(modulus)
            found.count += 1
        if found is None:
            raise ValueError("no candidate to compare")
        return found


def correlation(images: NDArray[Any]) -> float:
    """Median correlation of all pairs of images ``(K, h, w)``, its modulus for complex ones; NaN for one image."""
    flat = images.reshape(len(images), -1).astype(np.complex128 if np.iscomplexobj(images) else np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    pairs = (flat.conj() @ flat.T)[np.triu_indices(len(flat), 1)]
    values = np.abs(pairs) if np.iscomplexobj(pairs) else pairs
    return float(np.median(values)) if len(values) else math.nan

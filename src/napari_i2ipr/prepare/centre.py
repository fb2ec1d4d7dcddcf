"""The zero frequency by Friedel symmetry.

The intensity of a real object obeys ``I(q) = I(-q)``; that of a complex one does so approximately near its
core. The frame is correlated with its flip, over the pixels where both were measured: masked normalised
correlation (Padfield, IEEE Trans. Image Process. 21, 2706, 2012), here of a frame with itself. A flip about a
pixel or between two of them is a whole number of pixels, so the centre is found to half a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_FROM = 10.0
"""Values up to so many times the mean are compared by their roots (photon noise), above by their logarithms."""

LEAST_OVERLAP = 0.15
"""Share of the measured pixels that must have a measured partner."""

SIGNIFICANT = 8.0
"""Correlation over its standard deviation for independent pixels that a centre has at least (noise reaches 6) ..."""

LEAST_CORRELATION = 0.1
"""... and the correlation."""

FEW_PAIRS = 3
"""A symmetry must last without so many of its strongest pairs: a few photons may meet by chance."""

COARSE_PX = 512
"""Larger frames are searched in bins that leave so many pixels a side, then finely near that place ..."""

FINE_PX = 1024
"""... in a window of this side."""

SPREAD_PX = 512
"""The centres of the bright and the dim part are compared in a window of this side."""

_POWERS = (1.0, 0.5)
"""Powers of the intensity whose centres are compared with the found one, for `Centre.spread_px`."""

_NEAR_PX = 8
"""Those centres are looked for at this distance at most."""


@dataclass(frozen=True)
class Centre:
    """Where the zero frequency lies, and how sure that is.

    Attributes
    ----------
    position : tuple of float
        Pixel ``(y, x)`` of the frame, in halves.
    correlation : float
        Of the pattern with its flip about that point, -1 ... 1; 1 for a symmetric pattern without noise.
    spread_px : float
        Distance to the centre of the bright or of the dim part of the pattern, whichever is larger: 0 for real
        objects, some pixels where the object is complex or the pattern curved.
    found : bool
        Whether that is more than noise does.
    reason : str
        Why not, else empty.
    """

    position: tuple[float, float]
    correlation: float
    spread_px: float = 0.0
    found: bool = True
    reason: str = ""


def find_centre(values: NDArray[np.float64], bad: NDArray[np.bool_] | None = None) -> Centre:
    """The point about which a pattern is symmetric.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``; negative ones count as 0.
    bad : ndarray of bool, optional
        Pixels that were not measured; hot ones should be among them.

    Returns
    -------
    Centre
        At most a quarter of the frame off its middle is searched well, farther off with fewer pixels.

    Raises
    ------
    InputError
        If nothing was measured.
    """
    good = np.ones(values.shape, bool) if bad is None else ~np.asarray(bad, bool)
    if not good.any():
        raise InputError("a pattern with all pixels masked", expected="measured pixels", do="check the mask")
    values = np.where(good, values, 0.0).clip(min=0)
    b = max(1, -(-max(values.shape) // COARSE_PX))
    coarse, coarse_good = _binned(values, good, b)
    if not coarse_good.any():
        coarse, coarse_good, b = values, good, 1
    level = RELATIVE_FROM * float(values[good].mean())
    if np.ptp(coarse[coarse_good]) == 0:
        return _lost(values.shape, 0.0, "all measured values are alike")
    twice, correlation, overlap = _best(_compressed(coarse, level), coarse_good)
    if not np.isfinite(correlation):
        return _lost(values.shape, 0.0, "too few measured pixels have a measured partner")
    lasting = _without_few(_compressed(coarse, level), coarse_good, twice)
    if min(correlation, lasting) < max(LEAST_CORRELATION, SIGNIFICANT / np.sqrt(overlap / 2)):
        best = min(correlation, lasting)
        return _lost(values.shape, best, f"the best symmetry, {best:.2f}, is no more than noise has")
    about = tuple(float(b * (t / 2) + (b - 1) / 2) for t in twice)
    return _fine(values, good, (about[0], about[1]), b=b, correlation=correlation, level=level)


def _lost(shape: tuple[int, ...], correlation: float, reason: str) -> Centre:
    return Centre((float(shape[0] // 2), float(shape[1] // 2)), correlation, found=False, reason=reason)


def _fine(
    values: NDArray[np.float64],
    good: NDArray[np.bool_],
    about: tuple[float, float],
    *,
    b: int,
    correlation: float,
    level: float,
) -> Centre:
    """The centre to half a pixel, near where it was found in bins of b pixels."""
    window, origin = [], []
    for c, n in zip(about, values.shape, strict=True):
        start = max(round(c) - FINE_PX // 2, 0) if n > FINE_PX else 0
        window.append(slice(start, min(round(c) + FINE_PX // 2, n) if n > FINE_PX else n))
        origin.append(start)
    rows, columns = window
    near, near_good = values[rows, columns], good[rows, columns]
    around = tuple(round(2 * (c - o)) for c, o in zip(about, origin, strict=True))
    if b > 1:
        twice, correlation, _ = _best(_compressed(near, level), near_good, around, 4 * b)
        if not np.isfinite(correlation):
            return _lost(values.shape, 0.0, "too little was measured around the centre")
    else:
        twice = (around[0], around[1])
    return Centre((origin[0] + twice[0] / 2, origin[1] + twice[1] / 2), correlation, _spread(near, near_good, twice))


def _spread(values: NDArray[np.float64], good: NDArray[np.bool_], twice: tuple[int, int]) -> float:
    """Largest distance between the centre and those of powers of the intensity, in the bright part about it."""
    starts = [max(t // 2 - SPREAD_PX // 2, 0) for t in twice]
    core = tuple(slice(start, start + SPREAD_PX) for start in starts)
    around = tuple(t - 2 * start for t, start in zip(twice, starts, strict=True))
    others = [_best(values[core] ** power, good[core], around, 2 * _NEAR_PX) for power in _POWERS]
    found = [
        np.hypot(t[0] - around[0], t[1] - around[1]) / 2 for t, correlation, _ in others if np.isfinite(correlation)
    ]
    return float(max(found, default=0.0))


def _compressed(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Root of small values, logarithm of those above the level: ``arsinh sqrt(v / level)``."""
    return np.arcsinh(np.sqrt(values / level))


def _binned(
    values: NDArray[np.float64], good: NDArray[np.bool_], b: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Means of the measured pixels of ``b x b`` bins, and where half of them were measured; rests are cut off."""
    if b == 1:
        return values, good
    ny, nx = (n // b for n in values.shape)
    tiles = (ny, b, nx, b)
    count = good[: ny * b, : nx * b].reshape(tiles).sum((1, 3))
    total = values[: ny * b, : nx * b].reshape(tiles).sum((1, 3))
    return total / np.maximum(count, 1), 2 * count >= b * b


def _best(
    values: NDArray[np.float64], good: NDArray[np.bool_], around: tuple[int, ...] | None = None, reach: int = 0
) -> tuple[tuple[int, int], float, float]:
    """Twice the centre of the best symmetry, its correlation, and the number of pixels it rests on."""
    correlation, overlap = _symmetry(values, good)
    if around is not None:
        outside = np.ones(correlation.shape, bool)
        outside[tuple(slice(max(t - reach, 0), t + reach + 1) for t in around)] = False
        correlation[outside] = -np.inf
    y, x = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return (int(y), int(x)), float(correlation[y, x]), float(overlap[y, x])


def _without_few(values: NDArray[np.float64], good: NDArray[np.bool_], twice: tuple[int, int]) -> float:
    """The correlation about a point without what its few strongest pairs, and the point itself, bring to it."""
    sides = [t - np.arange(n) for t, n in zip(twice, values.shape, strict=True)]
    inside = [(at >= 0) & (at < n) for at, n in zip(sides, values.shape, strict=True)]
    there = np.ix_(*(at.clip(0, n - 1) for at, n in zip(sides, values.shape, strict=True)))
    paired = good & good[there] & np.logical_and.outer(*inside)
    centred = np.where(paired, values - values[paired].mean(), 0.0)
    products = (centred * centred[there])[paired]
    few = min(2 * FEW_PAIRS + 1, products.size - 1)
    strongest = np.partition(products, products.size - few)[products.size - few :]
    return float((products.sum() - strongest.sum()) / max(float((centred**2).sum()), 1e-300))


def _symmetry(values: NDArray[np.float64], good: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Masked normalised correlation of a frame with itself turned about every half pixel.

    With ``f * g`` the convolution, m the mask and f the masked values, the number of pairs at twice the centre t
    is ``n = m * m``, and over them cov = ``f * f - (f * m)^2 / n``, var = ``f^2 * m - (f * m)^2 / n``.

    Returns
    -------
    tuple
        Correlation (-inf where there is too little overlap or no contrast) and n, ``(2 y - 1, 2 x - 1)``.
    """
    f = np.where(good, values - values[good].mean(), 0.0)
    full = tuple(2 * n - 1 for n in f.shape)
    shape = tuple(int(fft.next_fast_len(n, real=True)) for n in full)
    F, M, Q = (fft.rfft2(a, shape) for a in (f, good.astype(np.float64), f * f))

    def back(product: NDArray[np.complex128]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = fft.irfft2(product, shape)[: full[0], : full[1]]
        return found

    n = np.rint(back(M * M))
    mean = back(F * M) ** 2 / np.maximum(n, 1)
    variance = back(Q * M) - mean
    usable = (n > LEAST_OVERLAP * good.sum()) & (variance > 1e-9 * (f * f).sum())
    correlation = np.where(usable, (back(F * F) - mean) / np.where(usable, variance, 1.0), -np.inf)
    return correlation, n

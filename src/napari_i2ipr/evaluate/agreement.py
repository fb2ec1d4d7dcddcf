"""How well an image explains a pattern, pixel by pixel as it was measured: R-factor, chi, Poisson log-likelihood."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate.align import in_frame
from napari_i2ipr.shells import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement, Reconstruction

DARK = 1e-3
"""Photons that a model may expect in a pixel at least: no detector is darker, and a logarithm needs it."""

_MOST = 100.0
"""Above so many expected photons the deviance is expected to be ``1 + 1 / (6 lambda)`` a pixel."""


@dataclass(frozen=True)
class Agreement:
    """What `against` found; numbers over the measured pixels of the whole frame, Friedel mates one by one.

    Attributes
    ----------
    r_factor : float
        ``sum |s|F| - sqrt(I)| / sum sqrt(I)``, s the least-squares scale.
    chi : float
        ``||s|F| - sqrt(I)|| / ||sqrt(I)||``.
    log_likelihood : float
        Poisson deviance over the one to expect, see `poisson`; NaN where photons cannot be counted.
    r_factor_noise : float
        R-factor that a perfect image would have for the noise alone, ``E|sqrt(n) - sqrt(lambda)|`` at the modelled
        counts; NaN where photons cannot be counted.
    photons : float
        Photons in the measured pixels; NaN where they cannot be counted.
    counted_by : str
        How photons were counted, in words.
    measured : int
        Number of measured pixels.
    misfit : ndarray
        R-factor of each shell, ``(S,)``; NaN where nothing was measured.
    frequency : ndarray
        Middles of the shells in cycles per object pixel.
    n : ndarray
        Measured pixels in each shell.
    """

    r_factor: float
    chi: float
    log_likelihood: float
    r_factor_noise: float
    photons: float
    counted_by: str
    measured: int
    misfit: NDArray[np.float64]
    frequency: NDArray[np.float64]
    n: NDArray[np.float64]


def against(reconstruction: Reconstruction, frame: Measurement) -> Agreement:
    """Compare one image with the pattern it came from.

    Parameters
    ----------
    reconstruction : Reconstruction
        One image; see `napari_i2ipr.evaluate.quality.single` for one of a stack.
    frame : Measurement
        The pattern, one frame, conditioned as for the reconstruction.

    Raises
    ------
    InputError
        When the frame is of another size than the pattern that was reconstructed.
    """
    if frame.shape != reconstruction.frame_shape:
        ny, nx = reconstruction.frame_shape
        raise InputError(
            f"a pattern of {' x '.join(map(str, frame.shape))} px",
            expected=f"the {ny} x {nx} px of the pattern that was reconstructed",
            do="give the pattern that the result was made from",
        )
    intensity, valid = _unitary(frame)
    modulus = _modulus(reconstruction)
    amplitude = np.sqrt(intensity)
    model, seen = modulus[valid], amplitude[valid]
    scale = float((model * seen).sum() / max((model * model).sum(), 1e-300))
    misfit = np.abs(scale * modulus - amplitude)
    per_photon, counted_by = photon(reconstruction, frame)
    counts = intensity[valid] / per_photon
    expected = model**2 * (counts.sum() / max((model**2).sum(), 1e-300))
    known = math.isfinite(per_photon)
    pixel = reconstruction.pixel_m or (1.0, 1.0)
    grid = Grid.of(reconstruction.frame_shape, half=False, pixel=pixel)
    n, total = grid.total(valid), grid.total(amplitude * valid)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_shell = np.where(total > 0, grid.total(misfit * valid) / total, np.nan)
    return Agreement(
        r_factor=float(misfit[valid].sum() / seen.sum()),
        chi=float(np.linalg.norm(misfit[valid]) / np.linalg.norm(seen)),
        log_likelihood=poisson(counts, expected) if known else math.nan,
        r_factor_noise=float(_expected("misfit", expected).sum() / np.sqrt(counts).sum()) if known else math.nan,
        photons=float(counts.sum()) if known else math.nan,
        counted_by=counted_by,
        measured=int(valid.sum()),
        misfit=by_shell,
        frequency=grid.frequency,
        n=n,
    )


def poisson(counts: NDArray[Any], expected: NDArray[Any]) -> float:
    """Poisson log-likelihood, normalised so that a perfect model has 1 at any number of photons.

    The deviance ``2 sum [lambda - n + n ln(n / lambda)]`` is twice the log-likelihood that the model lacks compared
    with the best one possible, lambda = n. It is divided by what it is expected to be for counts that are drawn from
    the model; at many photons a pixel that is the number of pixels, at few it is less. Above 1: the model does not
    explain the counts within their noise; below 1: it follows their noise.

    Parameters
    ----------
    counts : ndarray
        Photons n in each pixel; need not be whole.
    expected : ndarray
        Photons lambda that the model expects, same shape; taken as `DARK` at least.
    """
    n = np.asarray(counts, np.float64).ravel()
    model = np.maximum(np.asarray(expected, np.float64).ravel(), DARK)
    logarithm = np.log(np.divide(n, model, out=np.ones_like(n), where=n > 0))
    deviance = 2 * float((model - n + n * logarithm).sum())
    return deviance / float(_expected("deviance", model).sum()) if n.size else math.nan


def photon(reconstruction: Reconstruction, frame: Measurement) -> tuple[float, str]:
    """Unitary intensity (object units squared) of one photon, and how that is known, in words.

    By the noise level alpha of the measurement (``counts = I / (4 alpha^2)``); else one photon a unit where the
    stored values are whole numbers and the noise that Friedel pairs gave at reconstruction does not contradict by a
    factor of two; else by that noise. NaN if unknown.
    """
    if frame.alpha:
        return 4 * frame.alpha**2, "by the noise level of the measurement"
    if frame.alpha == 0:
        return math.nan, "not countable: the measurement says that it has no noise"
    alpha, unit = reconstruction.scores.get("alpha"), frame.intensity_scale
    found = 4 * float(alpha) ** 2 if isinstance(alpha, int | float) and alpha > 0 else math.nan
    values = np.asarray(frame.intensity)
    if np.array_equal(values, np.rint(values)) and (math.isnan(found) or 0.5 < found / unit < 2):
        return unit, "one for each unit, since all values are whole numbers"
    if math.isnan(found):
        return math.nan, "not countable: the noise level is unknown and the values are no whole numbers"
    return found, "by the noise level that Friedel pairs gave"


def _unitary(frame: Measurement) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Intensities in object units squared and where they were measured, zero frequency at the corner."""
    bad = np.zeros(frame.shape, bool) if frame.bad_pixels is None else np.asarray(frame.bad_pixels, bool)
    intensity = np.where(bad, 0, np.asarray(frame.intensity, np.float64)).clip(min=0) * frame.intensity_scale
    return np.fft.ifftshift(intensity), np.fft.ifftshift(~bad)


def _modulus(reconstruction: Reconstruction) -> NDArray[np.float64]:
    """``|F|`` of the image, unitary, zero frequency at the corner."""
    import scipy.fft

    whole = in_frame(reconstruction.image, reconstruction.box, reconstruction.frame_shape)
    whole = whole.astype(np.complex128 if np.iscomplexobj(whole) else np.float64)
    modulus: NDArray[np.float64] = np.abs(scipy.fft.fft2(whole, norm="ortho"))
    return modulus


def _expected(what: str, model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviance, or ``|sqrt(n) - sqrt(lambda)|``, to expect of counts that are drawn from the model, pixel by pixel."""
    at, deviance, misfit = _table()
    few = np.interp(np.log(np.clip(model, DARK, _MOST)), np.log(at), deviance if what == "deviance" else misfit)
    many = 1 + 1 / (6 * model.clip(min=_MOST)) if what == "deviance" else math.sqrt(1 / (2 * math.pi))
    return np.where(model < _MOST, few, many)


@functools.cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Expected photons, and both expectations by summing over the Poisson distribution."""
    from scipy.stats import poisson as distribution

    at = np.geomspace(DARK, _MOST, 400)
    n = np.arange(301)[:, None]
    chance = distribution.pmf(n, at)
    logarithm = np.log(np.divide(n, at, out=np.ones((len(n), len(at))), where=n > 0))
    deviance = (2 * chance * (at - n + n * logarithm)).sum(0)
    return at, deviance, (chance * np.abs(np.sqrt(n) - np.sqrt(at))).sum(0)

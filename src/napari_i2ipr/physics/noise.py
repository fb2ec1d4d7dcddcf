"""Noise: the paper's alpha, photons, and the exact gain of Friedel pairs.

`alpha` is defined for an image scaled to [0, 255], the unitary DFT of the frame and half its
modulus (arXiv 2507.09609): in unitary intensities I the noisy ones are ``I + 2 alpha sqrt(I) n``,
the Gaussian limit of ``counts = I / (4 alpha^2)`` photons. Here alpha belongs to the object in its
own units: multiply the paper's number by range / 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_PAIRS = 200
"""Entries (each pair counts twice) from which the noise level is estimated at least."""


def add_alpha_noise(intensity: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """``max(I + 2 alpha sqrt(I) n, 0)``, n standard normal, any shape.

    Parameters
    ----------
    intensity : Tensor
        Unitary intensities >= 0 in object units squared.
    alpha : float
        Noise level in object units, >= 0.
    """
    normal = torch.randn(intensity.shape, generator=generator, dtype=intensity.dtype)
    return (intensity + 2 * alpha * intensity.sqrt() * normal).clamp_(min=0)


def add_photon_noise(intensity: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    """Poisson counts of a pattern with `photons` expected in all, any shape."""
    return torch.poisson(intensity * (photons / intensity.double().sum().item()), generator=generator)


def alpha_of_photons(total_intensity: float, photons: float) -> float:
    """The alpha at which a pattern of this total unitary intensity holds so many photons."""
    return float((total_intensity / (4.0 * photons)) ** 0.5)


def snr_db(clean: Tensor, noisy: Tensor) -> float:
    """``10 log10(||I|| / ||I' - I||)``, the paper's signal-to-noise ratio of intensities, in dB."""
    ratio = clean.double().norm() / (noisy.double() - clean.double()).norm()
    return float(10 * torch.log10(ratio))


def friedel_partner(frame: Tensor) -> Tensor:
    """Value at -k for every k of a corner-origin frame, ``(..., y, x)``."""
    return torch.roll(torch.flip(frame, (-2, -1)), (1, 1), (-2, -1))


def friedel_average(intensity: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
    """Mean intensity of k and -k over the measured ones: exact for real objects, half the variance.

    Parameters
    ----------
    intensity : Tensor
        Corner-origin intensities, ``(..., y, x)``.
    measured : Tensor
        Boolean, same shape.

    Returns
    -------
    tuple of Tensor
        Averaged intensities (0 where neither was measured) and where at least one was measured.
    """
    weight = measured.to(intensity.dtype)
    value = intensity.where(measured, 0.0)
    count = weight + friedel_partner(weight)
    total = value + friedel_partner(value)
    return total / count.clamp(min=1), count > 0


def alpha_from_pairs(intensity: Tensor, measured: Tensor) -> Tensor:
    """Noise level from the disagreement of Friedel pairs of a real object's pattern, ``()`` or ``(B,)``.

    ``E[(I(k) - I(-k))^2 / (I(k) + I(-k))] = 4 alpha^2``, averaged over pairs that were both measured
    and are bright enough for the noise not to be clipped, ``I > 16 alpha^2`` (at least the brightest
    `_MIN_PAIRS`). NaN where there are none; 0 where the data were symmetrised.

    Parameters
    ----------
    intensity, measured : Tensor
        Corner-origin intensities ``(y, x)`` or ``(B, y, x)`` and where they were measured.
    """
    if intensity.ndim == 2:
        return _alpha_from_pairs(intensity, measured)
    return torch.stack([_alpha_from_pairs(i, m) for i, m in zip(intensity, measured, strict=True)])


def _alpha_from_pairs(intensity: Tensor, measured: Tensor) -> Tensor:
    partner = friedel_partner(intensity)
    level = (intensity + partner).double()
    both = measured & friedel_partner(measured) & (level > 0)
    level, order = level[both].sort(descending=True)
    if not len(level):
        return torch.tensor(torch.nan, device=intensity.device)
    squares = (intensity - partner).double().square()[both][order] / (4 * level)
    running = squares.cumsum(0) / torch.arange(1, len(squares) + 1, device=squares.device)
    bright = level >= 32 * running
    count = int(bright.sum()) if bool(bright.all()) else int((~bright).to(torch.uint8).argmax())
    count = min(max(count, _MIN_PAIRS), len(squares))
    return running[count - 1].sqrt().float()

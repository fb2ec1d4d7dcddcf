"""Noise: the paper's alpha, photons, and the exact gain of Friedel pairs.

`alpha` is defined for an image scaled to [0, 255], the unitary DFT of the frame and half its
modulus (arXiv 2507.09609): in unitary intensities I the noisy ones are ``I + 2 alpha sqrt(I) n``,
the Gaussian limit of ``counts = I / (4 alpha^2)`` photons. Here alpha belongs to the object in its
own units: multiply the paper's number by range / 255.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    """Noise level from the disagreement of Friedel pairs of a real object's pattern, ``(...)``.

    ``E[(I(k) - I(-k))^2] = 8 alpha^2 I``, summed over pairs that were both measured. NaN where there
    are none; 0 where the data were symmetrised.
    """
    both = measured & friedel_partner(measured)
    partner = friedel_partner(intensity)
    difference = (intensity - partner).square().where(both, 0.0).sum((-2, -1), dtype=torch.float64)
    level = (intensity + partner).where(both, 0.0).sum((-2, -1), dtype=torch.float64)
    return (difference / (4 * level)).sqrt().float()

"""Partial coherence: what a detector sees is the coherent pattern, blurred.

A partially coherent beam whose mutual coherence depends on distance only gives ``I = |F|^2 * psf``, the
transform of the object's autocorrelation times the complex degree of coherence gamma (Clark et al., Nat. Commun. 3,
993 (2012)). gamma falls off with the distance of two points of the object, and gamma(0) = 1: the psf is
normalised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.fourier import FourierPair

_HALF_WIDTH = math.sqrt(2 * math.log(2))
"""Half width at half maximum of a Gaussian, in standard deviations."""

_LEAST = 0.1
"""Share of a pixel's own contribution that stays of a blurred pattern at least."""


def coherence(
    shape: tuple[int, ...], width_px: Tensor, lorentz: float = 0.0, device: torch.device | None = None
) -> Tensor:
    """Complex degree of coherence between points of the object, corner origin, ``(..., y, x)``, 0 ... 1.

    ``(1 - lorentz) exp(-2 (pi s u)^2) + lorentz exp(-2 pi w u)`` with u the distance in units of the frame, along
    each axis: the transform of a pseudo-Voigt psf. For patterns that are oversampled twice, whose autocorrelation fits
    the frame, this is the convolution before sampling, exact for any width. The Lorentzian, in two dimensions
    ``(1 + (k/w)^2)^(-3/2)``, has the half width of the Gaussian.

    Parameters
    ----------
    shape : tuple of int
        Frame ``(y, x)``.
    width_px : Tensor
        Standard deviation s of the Gaussian in detector pixels, >= 0, ``(...)``.
    lorentz : float
        Share of the Lorentzian, 0 ... 1.
    """
    axes = torch.meshgrid(*(torch.fft.fftfreq(n, device=device) for n in shape), indexing="ij")
    squares = torch.stack(axes).square().sum(0)
    width = width_px.to(device=device, dtype=torch.float32).reshape(*width_px.shape, *(1 for _ in shape))
    n = len(shape)
    lorentz_width = width * (_HALF_WIDTH / math.sqrt(2 ** (2 / (n + 1)) - 1))
    gauss = torch.exp(-2 * (math.pi * width).square() * squares)
    return gauss.mul_(1 - lorentz).add_(torch.exp(-2 * math.pi * lorentz_width * squares.sqrt()), alpha=lorentz)


def blurred(pair: FourierPair, values: Tensor, gamma: Tensor) -> Tensor:
    """Real values of a spectrum's shape ``(..., y, kx)`` convolved with the psf of `gamma`; its own adjoint.

    For real objects the values are those of a Friedel-symmetric pattern.
    """
    correlation = pair.inverse(values.to(torch.complex64))
    return pair.forward(correlation * gamma).real


def seen(pair: FourierPair, squares: Tensor, gamma: Tensor) -> Tensor:
    """The blurred pattern of ``|G|^2``, at least `_LEAST` of what a pixel keeps of its own.

    Beside a bright centre rounding would take it to 0 and below, and so does an iterate that fills the frame.
    """
    own = _LEAST * gamma.mean((-2, -1), keepdim=True)
    return blurred(pair, squares, gamma).maximum(own * squares)

"""Start supports in the object frame, zero frequency conventions aside: boolean ``(y, x)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from napari_i2ipr.errors import InputError
from napari_i2ipr.physics.fourier import FourierPair, ring_mean, rings

AUTOCORRELATION_THRESHOLD = 0.04
"""Share of the autocorrelation's maximum that counts as inside (field practice: 4 to 11 %)."""


def half_box(frame_shape: tuple[int, int]) -> Tensor:
    """The centred box of half the frame: floor(n/2) wide from ``(n - floor(n/2)) // 2``, per axis.

    The I2I-PR case: an object zero-padded to twice its size.
    """
    support = torch.zeros(frame_shape, dtype=torch.bool)
    sides = []
    for n in frame_shape:
        width = n // 2
        start = (n - width) // 2
        sides.append(slice(start, start + width))
    support[sides[0], sides[1]] = True
    return support


def autocorrelation_support(
    intensity: Tensor, measured: Tensor, threshold: float = AUTOCORRELATION_THRESHOLD
) -> Tensor:
    """A centred box of half the autocorrelation's extent, which holds every possible object.

    The object's autocorrelation is the transform of the intensities; its extent is twice the
    object's along each axis (Fienup, Crimmins & Holsztynski 1982). Unmeasured pixels count as the
    mean of the measured ones at similar frequency, so that a beamstop does not tilt the estimate.

    Parameters
    ----------
    intensity, measured : Tensor
        Corner-origin intensities and where they were measured, ``(y, x)``.
    threshold : float
        Share of the maximum that counts as inside, 0 ... 1.

    Raises
    ------
    InputError
        When the autocorrelation fills the frame: the pattern is not oversampled twice.
    """
    ny, nx = intensity.shape
    filled = _radially_filled(intensity, measured)
    correlation = torch.fft.ifft2(filled).real
    if not bool(measured.all()):
        correlation = correlation - correlation[[ny // 2], :].median()  # what a missing centre takes from all lags
    correlation = correlation / correlation[0, 0].clamp(min=1e-30)
    inside = torch.fft.fftshift(correlation.abs() > threshold)
    sides = []
    for n, line in ((ny, inside.any(1)), (nx, inside.any(0))):
        reach = int((line.nonzero() - n // 2).abs().max())
        width = min(math.ceil((reach + 1) / (1 - threshold)), n // 2)
        if 2 * reach >= n - 1:
            raise InputError(
                f"an autocorrelation that reaches {reach} px of {n // 2}",
                expected="a pattern oversampled at least twice",
                do="give the support as a file, or use the half box",
            )
        start = (n - width) // 2
        sides.append(slice(start, start + width))
    support = torch.zeros(ny, nx, dtype=torch.bool)
    support[sides[0], sides[1]] = True
    return support


def _radially_filled(intensity: Tensor, measured: Tensor) -> Tensor:
    """Unmeasured pixels replaced by the measured mean of their ring."""
    ring = rings(FourierPair((int(intensity.shape[0]), int(intensity.shape[1])), half=False))
    return torch.where(measured, intensity, ring_mean(intensity, measured, ring)[ring])

"""Candidates made up from the truth: as many as wanted, at the price of a few transforms.

Measured on real sets, the correlation of a candidate's spectrum with the truth's falls smoothly with
frequency, from 1 where the phases were found to 0 where they were not, and candidates agree with each
other about as well as with the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_i2ipr.physics.fourier import FourierPair, ring_mean, rings

if TYPE_CHECKING:
    from torch import Tensor

RADIUS = (0.04, 0.4)
"""Frequency, cycles a pixel of the object, at which the correlation has fallen to 0.8: log-uniform."""

STEEPNESS = (2.0, 4.0)
"""Power with which it falls."""

SHARED = (0.1, 0.7)
"""Share of the error's power that all candidates have in common."""


def pattern(truth: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Friedel-averaged noisy amplitudes ``(B, 1, y, kx)`` of objects ``(B, h, w)`` at twice their size."""
    pair, frame = _framed(truth)
    power = pair.forward(frame).abs().square()
    normal = torch.randn(power.shape, generator=generator)
    noisy = power + 2**0.5 * alpha[:, None, None] * power.sqrt() * normal
    return noisy.clamp(min=0).sqrt()[:, None]


def candidates(truth: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Made-up candidates ``(B, count, h, w)`` of non-negative objects ``(B, h, w)``."""

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(truth.shape[0], generator=generator))[:, None, None]

    pair, frame = _framed(truth)
    h, w = truth.shape[-2:]
    spectrum = pair.forward(frame)
    ring = rings(pair)
    everywhere = torch.ones_like(ring)
    power = torch.stack([ring_mean(one.abs().square(), everywhere, ring)[ring] for one in spectrum])
    radius = torch.exp(uniform(*torch.tensor(RADIUS).log().tolist()))
    frequency = ring / min(pair.shape)
    correlation = 1 / (1 + 0.25 * (frequency / radius) ** uniform(*STEEPNESS))
    shared = uniform(*SHARED)

    def error(n: int) -> Tensor:
        noise = torch.randn(truth.shape[0], n, *pair.shape, generator=generator)
        return pair.forward(noise) * power.sqrt()[:, None]

    errors = shared.sqrt()[:, None] * error(1) + (1 - shared).sqrt()[:, None] * error(count)
    apart = (1 - correlation.square()).sqrt()[:, None]
    made = pair.inverse(correlation[:, None] * spectrum[:, None] + apart * errors)
    return made[..., h // 2 : h // 2 + h, w // 2 : w // 2 + w].clamp(min=0)


def _framed(truth: Tensor) -> tuple[FourierPair, Tensor]:
    h, w = truth.shape[-2:]
    frame = torch.zeros(truth.shape[0], 2 * h, 2 * w)
    frame[:, h // 2 : h // 2 + h, w // 2 : w // 2 + w] = truth
    return FourierPair((2 * h, 2 * w)), frame

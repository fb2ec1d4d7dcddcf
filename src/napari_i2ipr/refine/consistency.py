"""Data consistency between the network's steps: a few HIO iterations with learned, bounded weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_i2ipr.physics.fourier import FourierPair, ring_mean, rings

if TYPE_CHECKING:
    from napari_i2ipr.physics.problem import Problem

ITERATIONS = 5
"""HIO iterations of a data-consistency step (arXiv 2507.09609, section 3)."""

BETA = 0.9
"""Feedback of these iterations."""

_TINY = 1e-12
"""Keeps moduli, and their gradients, away from zero; normalised units squared."""


@dataclass(frozen=True)
class Measured:
    """What the data-consistency step knows of B patterns.

    Attributes
    ----------
    pair : FourierPair
        The transform, half spectrum.
    amplitude, measured : Tensor
        ``(B, 1, y, kx)``: amplitudes, zero frequency at the corner, and 1 where they were measured.
    signal : Tensor
        Signal power of each frequency's ring, ``(B, 1, y, kx)``.
    variance : Tensor
        Noise variance of the amplitudes, ``(B, 1, 1, 1)``; 0 when unknown.
    box : tuple of slice
        The support's box ``(y, x)`` in the frame.
    inside : Tensor or None
        Boolean support within the box; None when it fills the box.
    nonnegative : bool
        Whether the object must be >= 0.
    """

    pair: FourierPair
    amplitude: Tensor
    measured: Tensor
    signal: Tensor
    variance: Tensor
    box: tuple[slice, slice]
    inside: Tensor | None = None
    nonnegative: bool = True

    @classmethod
    def of(cls, problem: Problem) -> Measured:
        """The step's view of a batch of problems of real objects."""
        variance = torch.nan_to_num(problem.alpha).square() / 2
        signal = ring_signal(problem.pair, problem.amplitude, problem.measured, variance)
        return cls(
            problem.pair,
            problem.amplitude,
            problem.measured.to(problem.amplitude.dtype),
            signal,
            variance[:, None, None, None],
            problem.box,
            problem.inside,
            problem.nonnegative,
        )

    def to(self, device: torch.device) -> Measured:
        """The same on another device."""
        names = ("amplitude", "measured", "signal", "variance")
        moved = {name: getattr(self, name).to(device) for name in names}
        return replace(self, **moved, inside=None if self.inside is None else self.inside.to(device))

    def embed(self, images: Tensor) -> Tensor:
        """Images ``(B, R, h, w)`` in the frame, zero around them."""
        ny, nx = self.pair.shape
        rows, columns = self.box
        return nn.functional.pad(images, (columns.start, nx - columns.stop, rows.start, ny - rows.stop))


def ring_signal(pair: FourierPair, amplitude: Tensor, measured: Tensor, variance: Tensor) -> Tensor:
    """Mean power of each frequency's ring less the noise variance, ``(B, 1, y, kx)``, above zero."""
    ring = rings(pair, amplitude.device)
    power = torch.stack([ring_mean(a[0].square(), m[0], ring)[ring] for a, m in zip(amplitude, measured, strict=True)])
    least = 1e-6 * power.mean((-2, -1), keepdim=True)
    return torch.maximum(power - variance[:, None, None], least)[:, None]


class Consistency(nn.Module):
    """HIO iterations towards the measurement, weaker where it is noise and towards the end.

    The modulus |G| at time t becomes ``w b + (1 - w) |G|``, w = sigmoid(p0 + p1 t) P / (P + r v), r =
    exp(q0 + q1 t): the paper's learned lambda_t, between 0 and 1 by construction and for any number of
    steps, times Wiener's weight of the frequency's ring, P its signal power and v the noise variance.
    Pixels that were not measured have w = 0 and stay free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor([-2.5, 4.0]))
        self.relaxation = nn.Parameter(torch.tensor([0.7, 0.0]))

    def weight(self, measured: Measured, time: float) -> Tensor:
        """The weight w, ``(B, 1, y, kx)``, 0 ... 1."""
        share = torch.sigmoid(self.strength[0] + self.strength[1] * time)
        noise = torch.exp(self.relaxation[0] + self.relaxation[1] * time) * measured.variance
        return share * measured.measured * measured.signal / (measured.signal + noise)

    def forward(self, images: Tensor, measured: Measured, time: float) -> Tensor:
        """Images ``(B, R, h, w)`` in the box, drawn towards the measurement; within the constraints."""
        pair, box = measured.pair, measured.box
        weight = self.weight(measured, time)
        pull, free = weight * measured.amplitude, 1 - weight

        def modulus(g: Tensor) -> Tensor:
            spectrum = pair.forward(g)
            parts = torch.view_as_real(spectrum).square().sum(-1)
            return pair.inverse(spectrum * (pull * (parts + _TINY).rsqrt() + free))

        g = measured.embed(images)
        for _ in range(ITERATIONS):
            p = modulus(g)
            kept = measured.embed(self._allowed(p[..., box[0], box[1]], measured).to(p.dtype))
            g = kept * p + (1 - kept) * (g - BETA * p)
        last = modulus(g)[..., box[0], box[1]]
        return last * self._allowed(last, measured)

    @staticmethod
    def _allowed(part: Tensor, measured: Measured) -> Tensor:
        good = part >= 0 if measured.nonnegative else torch.ones_like(part, dtype=torch.bool)
        return good if measured.inside is None else good & measured.inside


class TabledConsistency(Consistency):
    """The paper's own weights: one learned lambda_t for each of T times, the same at all measured frequencies.

    Times between those of the table take the nearest. Noise is not looked at.

    Parameters
    ----------
    steps : int
        Number of times T.
    """

    shares: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        del self.strength, self.relaxation
        self.register_buffer("shares", torch.full((steps,), 0.5))

    def weight(self, measured: Measured, time: float) -> Tensor:
        """See `Consistency.weight`."""
        steps = len(self.shares)
        return self.shares[min(max(round(time * steps), 1), steps) - 1] * measured.measured

"""A batch of phase-retrieval problems and the candidates that solve it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from napari_i2ipr.physics.coherence import coherence, seen
from napari_i2ipr.physics.fourier import FourierPair, ring_mean, rings
from napari_i2ipr.physics.noise import alpha_from_pairs, friedel_average
from napari_i2ipr.physics.projections import Constraints, in_wedge

FREE_SHARE = 0.05
"""Share of the measured pixels that is held out for the free score."""

FREE_CENTRE = 0.04
"""Frequencies below this share of the frame's Nyquist radius are never held out."""

_ISLAND = 1
"""Held-out islands are squares of 2 * _ISLAND + 1 pixels."""


@dataclass(frozen=True)
class Problem:
    """Measurements on the device, zero frequency at the corner, amplitudes normalised.

    Attributes
    ----------
    pair : FourierPair
        The transform; half spectrum for real objects.
    amplitude : Tensor
        ``sqrt(I) / scale``, ``(B, 1, y, kx)``; mean square of the object over its support ~ 1.
    measured : Tensor
        Boolean, same shape.
    held_out : Tensor
        Boolean, same shape: the free pixels.
    scale : Tensor
        Object units per normalised unit, ``(B,)``.
    alpha : Tensor
        Noise level in normalised units, ``(B,)``; NaN when unknown.
    support : Tensor
        Boolean ``(y, x)``, DC-centred object frame.
    indices : tuple of int
        Number of each measurement; random numbers depend on it.
    nonnegative : bool
        Whether the (real) object must be >= 0.
    max_phase : float or None
        Largest phase of a complex object, either side of 0, in rad; None leaves it free.
    blur_px : Tensor or None
        Standard deviation in pixels by which partial coherence blurs each pattern, ``(B,)``; None for coherent ones.
    lorentz : float
        Share of a Lorentzian in that blur, 0 ... 1.
    """

    pair: FourierPair
    amplitude: Tensor
    measured: Tensor
    held_out: Tensor
    scale: Tensor
    alpha: Tensor
    support: Tensor
    indices: tuple[int, ...]
    nonnegative: bool
    max_phase: float | None = None
    blur_px: Tensor | None = None
    lorentz: float = 0.0
    box: tuple[slice, slice] = field(init=False)
    inside: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = self.support.any(1).nonzero(), self.support.any(0).nonzero()
        box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        inside = self.support[box]
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "inside", None if bool(inside.all()) else inside)

    @classmethod
    def build(
        cls,
        intensity: Tensor,
        measured: Tensor,
        support: Tensor,
        *,
        real: bool = True,
        nonnegative: bool = True,
        alpha: Tensor | None = None,
        seed: int = 0,
        indices: tuple[int, ...] | None = None,
        friedel: bool = True,
        max_phase: float | None = None,
        blur_px: float = 0.0,
        lorentz: float = 0.0,
    ) -> Problem:
        """Problems from corner-origin unitary intensities.

        Parameters
        ----------
        intensity, measured : Tensor
            ``(B, y, x)`` in object units squared; where it was measured.
        support : Tensor
            Boolean ``(y, x)``, DC-centred object frame.
        real, nonnegative : bool
            Kind of object; complex ones are never non-negative.
        alpha : Tensor, optional
            Known noise level ``(B,)`` in object units; from Friedel pairs otherwise.
        seed, indices : int, tuple of int
            Fix the free pixels; the numbers of the measurements are 0 ... B - 1 by default.
        friedel : bool
            Average intensities over Friedel pairs (real objects); off, their amplitudes are averaged.
        max_phase, blur_px, lorentz : float
            As in `Problem`, the blur the same for all; real objects have no phase to limit, 0 px is no blur.
        """
        pair = FourierPair((int(intensity.shape[-2]), int(intensity.shape[-1])), half=real)
        indices = indices if indices is not None else tuple(range(intensity.shape[0]))
        noise = alpha if alpha is not None else torch.full_like(intensity[:, 0, 0], torch.nan)
        if real:
            noise = alpha_from_pairs(intensity, measured) if alpha is None else noise
            intensity, measured = _paired(intensity, measured, intensities=friedel)
        kept, valid = pair.crop(intensity), pair.crop(measured)
        weight = pair.multiplicity(intensity.device)
        power = (kept * weight * valid).sum((-2, -1), dtype=torch.float64)
        scale = (power / support.sum()).sqrt().float()
        held_out = torch.stack([free_pixels(pair, m, seed, i) for m, i in zip(valid.cpu(), indices, strict=True)])
        return cls(
            pair,
            (kept.sqrt() * valid / scale[:, None, None])[:, None],
            valid[:, None],
            held_out[:, None].to(intensity.device),
            scale,
            noise / scale,
            support,
            indices,
            nonnegative and real,
            None if real else max_phase,
            torch.full((len(indices),), blur_px, device=intensity.device) if blur_px > 0 else None,
            lorentz,
        )

    @property
    def batch(self) -> int:
        """Number of measurements B."""
        return self.amplitude.shape[0]

    @property
    def noise_variance(self) -> Tensor:
        """Noise variance of the amplitudes ``(B,)``, alpha^2 or half of it for Friedel pairs; NaN where unknown."""
        return self.alpha.square() / (2 if self.pair.half else 1)

    def constraints(self, *, hold_out: bool, relaxation: float = 0.0, one: int | None = None) -> Constraints:
        """Constraints of the whole batch, or of measurement `one` in two dimensions.

        Parameters
        ----------
        hold_out : bool
            Leave the free pixels out of the modulus projection.
        relaxation : float
            How far frequencies below the noise may differ from what was measured, see `trust`.
        one : int, optional
            Position in the batch.
        """
        pulled = (self.measured & ~self.held_out) if hold_out else self.measured
        amplitude, weight = self.amplitude, pulled * self.trust(relaxation)
        if one is not None:
            amplitude, weight = amplitude[one, 0], weight[one, 0]
        return Constraints.build(
            self.pair,
            amplitude,
            weight,
            self.box,
            self.inside,
            nonnegative=self.nonnegative,
            max_phase=self.max_phase,
            gamma=self.gamma(one),
        )

    def gamma(self, one: int | None = None) -> Tensor | None:
        """Complex degree of coherence, ``(B, 1, y, x)`` or of measurement `one` ``(y, x)``; None for coherent ones."""
        if self.blur_px is None:
            return None
        width = self.blur_px[:, None] if one is None else self.blur_px[one]
        return coherence(self.pair.shape, width, self.lorentz, self.amplitude.device)

    def modulus(self, frame: Tensor, position: int = 0) -> Tensor:
        """Amplitudes that the detector would see of an object frame ``(y, x)``, ``(y, kx)``."""
        modulus: Tensor = self.pair.forward(frame).abs()
        gamma = self.gamma(position)
        return modulus if gamma is None else seen(self.pair, modulus.square(), gamma).sqrt_()

    def constrain(self, images: Tensor) -> Tensor:
        """Images ``(..., h, w)`` held to the support and, where it applies, to their sign or phases."""
        if self.max_phase is not None:
            images = in_wedge(images, self.max_phase)
        images = images.clamp(min=0) if self.nonnegative else images
        return images if self.inside is None else images * self.inside

    def trust(self, relaxation: float) -> Tensor:
        """Weight of the measured modulus, ``P / (P + relaxation * v)``, 0 ... 1, ``(B, 1, y, kx)``.

        P is the signal power on the frequency's ring and v the noise variance of the amplitude there
        (alpha^2, half of it for Friedel pairs): Wiener's weight at ``relaxation = 1``. All ones where
        the noise level is unknown or the relaxation 0, so that every measured modulus is replaced.
        """
        ones = torch.ones_like(self.amplitude)
        variance = self.noise_variance
        if relaxation == 0 or not bool((variance > 0).any()):
            return ones
        ring = rings(self.pair, self.amplitude.device)
        for b in range(self.batch):
            v = float(variance[b])
            if not v > 0:
                continue
            power = ring_mean(self.amplitude[b, 0].square(), self.measured[b, 0], ring)
            signal = (power - v).clamp(min=1e-6 * v)
            ones[b, 0] = (signal / (signal + relaxation * v))[ring]
        return ones

    def agreement(self, image: Tensor, position: int = 0) -> tuple[float, float]:
        """R-factor and chi of one image over valid pixels, one scale fitted to each.

        R = ``sum |s|F| - A| / sum A`` and chi = ``|| s|F| - A || / ||A||``, sums over the full frame,
        s the least-squares scale. `image` is ``(h, w)`` in the box, normalised units.
        """
        frame = torch.zeros(self.pair.shape, dtype=image.dtype, device=image.device)
        frame[self.box] = image
        modulus = self.modulus(frame, position)
        amplitude = self.amplitude[position, 0]
        weight = self.pair.multiplicity(image.device) * self.measured[position, 0]
        fit = (modulus * amplitude * weight).sum() / (modulus.square() * weight).sum().clamp(min=1e-30)
        misfit = (fit * modulus - amplitude).abs()
        r_factor = (misfit * weight).sum() / (amplitude * weight).sum()
        chi = ((misfit.square() * weight).sum() / (amplitude.square() * weight).sum()).sqrt()
        return float(r_factor), float(chi)

    def select(self, position: int) -> Problem:
        """The problem of one measurement, still batched."""
        part = slice(position, position + 1)
        return replace(
            self,
            amplitude=self.amplitude[part],
            measured=self.measured[part],
            held_out=self.held_out[part],
            scale=self.scale[part],
            alpha=self.alpha[part],
            indices=self.indices[part],
            blur_px=None if self.blur_px is None else self.blur_px[part],
        )


def _paired(intensity: Tensor, measured: Tensor, *, intensities: bool) -> tuple[Tensor, Tensor]:
    """Intensities averaged over Friedel pairs, as such or through their amplitudes; and where one was measured."""
    if intensities:
        return friedel_average(intensity, measured)
    root, measured = friedel_average(intensity.sqrt(), measured)
    return root.square(), measured


def generator(seed: int, *path: int) -> np.random.Generator:
    """Random numbers that depend on `seed` and the path of integers only."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=path))


def free_pixels(pair: FourierPair, measured: Tensor, seed: int, index: int) -> Tensor:
    """Held-out pixels of one measurement: small islands in Friedel pairs, low frequencies excluded.

    Parameters
    ----------
    pair : FourierPair
        Gives the frame and the part of it that is kept.
    measured : Tensor
        Boolean ``(y, kx)``.
    seed, index : int
        Random numbers depend on these only.

    Returns
    -------
    Tensor
        Boolean ``(y, kx)``, about `FREE_SHARE` of the measured pixels.
    """
    ny, nx = pair.shape
    rng = generator(seed, index, 0)
    size = 2 * _ISLAND + 1
    n = max(1, round(FREE_SHARE * ny * nx / (2 * size * size)))
    ys, xs = rng.integers(0, ny, n), rng.integers(0, nx, n)
    chosen = np.zeros((ny, nx), bool)
    for dy in range(-_ISLAND, _ISLAND + 1):
        for dx in range(-_ISLAND, _ISLAND + 1):
            chosen[(ys + dy) % ny, (xs + dx) % nx] = True
            chosen[(-ys - dy) % ny, (-xs - dx) % nx] = True
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]
    chosen &= np.hypot(fy, fx) > FREE_CENTRE / 2
    return pair.crop(torch.from_numpy(chosen)) & measured


@dataclass(frozen=True)
class Candidates:
    """K estimates for each of B measurements, with what is known of them.

    Attributes
    ----------
    images : Tensor
        ``(B, K, h, w)`` in the support's box, normalised units.
    score : Tensor
        Ranking score ``(B, K)``, lower is better.
    residual, free_score, outside : Tensor
        chi, free score (NaN where nothing was held out) and outside energy share, ``(B, K)``.
    start, iterations : Tensor
        Number of the start and iterations done, integers ``(B, K)``.
    spent : Tensor
        Iterations of all starts, dropped ones included, integers ``(B,)``.
    status : tuple of tuple of str
        `Status` name of each, B tuples of K.
    independent : Tensor
        ``(B, K, h, w)``: what the same starts had found before they were given anything in common, matched to each
        other; `images` itself where they never were. For what needs independent results.
    """

    images: Tensor
    score: Tensor
    residual: Tensor
    free_score: Tensor
    outside: Tensor
    start: Tensor
    iterations: Tensor
    spent: Tensor
    status: tuple[tuple[str, ...], ...]
    independent: Tensor

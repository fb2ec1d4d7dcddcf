"""The two constraint sets of phase retrieval: measured modulus and object domain.

`Constraints` holds everything that one iteration needs, for one measurement (two-dimensional
tensors, the CPU's way: image after image in cache) or for a batch ``(B, 1, y, kx)`` that
broadcasts over the candidates (the GPU's way). Nothing here knows about methods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from napari_i2ipr.physics.coherence import blurred, seen
from napari_i2ipr.physics.fourier import FourierPair, dense, like

_TINY = 1e-30
"""Added to |G|^2, in the object's units squared: keeps 0 / 0 away, changes no float32 above 1e-11."""

_ON_THE_EDGE = 1e-5
"""Phases up to this near to the limit, in rad, lie on it."""


@dataclass(frozen=True)
class Constraints:
    """Modulus and object constraint, ready to iterate.

    Attributes
    ----------
    pair : FourierPair
        The transform; decides whether the object is real.
    pull : Tensor
        ``w * sqrt(I)``, shape ``(..., y, kx)``.
    free : Tensor
        ``1 - w``, same shape: 1 where a pixel was not measured and stays as it is, 0 where the
        measured modulus replaces the current one.
    box : tuple of slice
        Bounding box ``(y, x)`` of the support in the frame.
    inside : Tensor or None
        Boolean support within the box, ``(h, w)``; None when it fills the box.
    nonnegative : bool
        Whether a real object must be >= 0.
    amplitude : Tensor
        ``sqrt(I)``, shape of `pull`; means nothing where `free` is 1.
    max_phase : float or None
        Largest phase of a complex object, either side of 0, in rad, below pi; None leaves it free.
    gamma : Tensor or None
        Complex degree of coherence ``(..., y, x)``, see `coherence`; None for a coherent beam.
    blurs : bool
        Whether the modulus is compared with the blurred pattern; off, the beam is taken as coherent all the same.
    """

    pair: FourierPair
    pull: Tensor
    free: Tensor
    box: tuple[slice, slice]
    inside: Tensor | None
    nonnegative: bool
    amplitude: Tensor
    max_phase: float | None = None
    gamma: Tensor | None = None
    blurs: bool = False

    @classmethod
    def build(
        cls,
        pair: FourierPair,
        amplitude: Tensor,
        weight: Tensor,
        box: tuple[slice, slice],
        inside: Tensor | None,
        *,
        nonnegative: bool,
        max_phase: float | None = None,
        gamma: Tensor | None = None,
    ) -> Constraints:
        """Constraints in the memory layout of the spectra that the iteration will meet.

        Parameters
        ----------
        amplitude, weight : Tensor
            Measured amplitude and the weight w of its replacement, 0 ... 1, ``(..., y, kx)``.
        """
        probe = pair.forward(torch.zeros(*amplitude.shape[:-2], *pair.shape, dtype=pair.dtype, device=amplitude.device))
        pull, free, whole = (like(values, probe) for values in (weight * amplitude, 1.0 - weight, amplitude))
        return cls(pair, pull, free, box, inside, nonnegative, whole, max_phase, gamma)

    def modulus(self, g: Tensor) -> Tensor:
        """``P_M g``: the measured modulus put in place of the current one, phases kept.

        The spectrum is scaled by ``w sqrt(I) / |G| + 1 - w``; no angle is ever computed. Frequencies
        with w = 0 (bad pixels) pass unchanged. Shape ``(..., y, x)``, a new tensor. Where the pattern is blurred,
        |G| in the denominator is its root (Clark et al., Nat. Commun. 3, 993 (2012)).
        """
        spectrum = self.pair.forward(g)
        if self.blurs and self.gamma is not None:
            scale = self.intensity(spectrum).add_(_TINY).rsqrt_()
            return self.pair.inverse(spectrum.mul_(torch.addcmul(self.free, self.pull, scale)))
        values = dense(spectrum)
        parts = torch.view_as_real(values).flatten(-2)
        squares = parts * parts
        scale = torch.add(squares[..., 0::2], squares[..., 1::2]).add_(_TINY).rsqrt_()
        torch.addcmul(dense(self.free), dense(self.pull), scale, out=scale)
        values.mul_(scale)
        return self.pair.inverse(spectrum)

    def intensity(self, spectrum: Tensor) -> Tensor:
        """What the detector would see of a spectrum: ``|G|^2``, blurred where the beam is partially coherent."""
        squares = products(spectrum, spectrum)
        return seen(self.pair, squares, self.gamma) if self.blurs and self.gamma is not None else squares

    def spread(self, values: Tensor) -> Tensor:
        """The adjoint of what `intensity` does to ``|G|^2``: `values` blurred, or as they are."""
        return blurred(self.pair, values, self.gamma) if self.blurs and self.gamma is not None else values

    def blurring(self) -> Constraints:
        """The same constraints with the modulus of the blurred pattern; themselves for a coherent beam."""
        return self if self.gamma is None else replace(self, blurs=True)

    def known(self) -> Tensor:
        """How many frequencies of the full frame each element stands for, 0 where it is free, ``(..., y, kx)``."""
        return (self.free < 1) * self.pair.multiplicity(self.free.device)[:1]

    def r_factor(self, image: Tensor) -> Tensor:
        """``sum | |F| - sqrt(I) | / sum sqrt(I)`` of images in the box over the pixels that pull, ``(...)``."""
        modulus = self.intensity(self.pair.forward(self.embed(image))).sqrt_()
        known = self.known()
        return total(modulus.sub_(self.amplitude).abs_() * known) / total(self.amplitude * known)

    def halved(self, axis: int) -> Constraints:
        """The same constraints with half of the support only: its first half of pixels along an axis of the box."""
        h, w = (part.stop - part.start for part in self.box)
        inside = torch.ones(h, w, dtype=torch.bool, device=self.free.device) if self.inside is None else self.inside
        other = -1 if axis == 0 else -2
        lines = inside.sum(other).cumsum(-1)
        first = 2 * lines <= lines[..., -1:]
        return replace(self, inside=inside & first.unsqueeze(other))

    def object(self, p: Tensor) -> Tensor:
        """``P_S p``: zero outside the support and held to the sign or the phases allowed. A new tensor."""
        out = torch.zeros_like(p)
        out[..., self.box[0], self.box[1]] = self.crop(p)
        return out

    def crop(self, p: Tensor) -> Tensor:
        """`P_S` of `p` within the box only, shape ``(..., h, w)``."""
        part = p[..., self.box[0], self.box[1]]
        part = part.clamp(min=0) if self.nonnegative else self.turned(part)
        return part if self.inside is None else part.mul_(self.inside)

    def turned(self, part: Tensor) -> Tensor:
        """Nearest values whose phases are allowed, a new tensor: straight to the edge of the wedge, or to 0."""
        return part.clone() if self.max_phase is None else in_wedge(part, self.max_phase)

    def embed(self, image: Tensor) -> Tensor:
        """The frame that holds `image` in the box and zero elsewhere."""
        out = torch.zeros(*image.shape[:-2], *self.pair.shape, dtype=image.dtype, device=image.device)
        out[..., self.box[0], self.box[1]] = image
        return out

    def allowed(self, test: Tensor) -> Tensor | None:
        """Where, within the box, the object constraint accepts `test` (``(..., h, w)``); None: everywhere."""
        if self.max_phase is not None:
            good = test.angle().abs() <= self.max_phase
        elif self.nonnegative:
            good = test >= 0
        else:
            return self.inside
        return good if self.inside is None else good.logical_and_(self.inside)

    def feasible(self, direction: Tensor, at: Tensor) -> Tensor:
        """What of a direction stays within the constraint at a point that meets it, frames. A new tensor."""
        out = torch.zeros_like(direction)
        part, point = direction[..., self.box[0], self.box[1]], at[..., self.box[0], self.box[1]]
        if self.nonnegative:
            part = part.masked_fill((point <= 0) & (part < 0), 0)
        if self.max_phase is not None:
            part = _along_wedge(part, point, self.max_phase)
        out[..., self.box[0], self.box[1]] = part if self.inside is None else part * self.inside
        return out

    def replace_allowed(self, g: Tensor, p: Tensor, test: Tensor) -> None:
        """In place ``g = p`` within the support wherever `test` (full frame) is acceptable."""
        g_box, p_box = g[..., self.box[0], self.box[1]], p[..., self.box[0], self.box[1]]
        good = self.allowed(test[..., self.box[0], self.box[1]])
        g_box.copy_(p_box if good is None else torch.where(good, p_box, g_box))


def in_wedge(values: Tensor, max_phase: float) -> Tensor:
    """The nearest complex values with phases of at most `max_phase` rad either side of 0, any shape.

    What exceeds it by an angle e goes straight to the edge, which leaves ``cos e`` of its modulus, or to 0 from
    a right angle on. With `max_phase` pi/2 the real part becomes ``max(Re, 0)`` and the imaginary part stays.
    """
    phase = values.angle()
    excess = (phase.abs() - max_phase).clamp_(min=0)
    edge = torch.polar(values.abs() * excess.cos().clamp_(min=0), torch.sign(phase) * max_phase)
    return torch.where(excess > 0, edge, values)


def _along_wedge(direction: Tensor, at: Tensor, max_phase: float) -> Tensor:
    """What of a direction does not leave the wedge: at its edge the part along it, at 0 what points into it."""
    phase = at.angle()
    edge = torch.polar(torch.ones_like(phase), torch.sign(phase) * max_phase)
    turned = direction * edge.conj()
    leaves = (phase.abs() > max_phase - _ON_THE_EDGE) & (turned.imag * phase > 0)
    held = torch.where(leaves, turned.real * edge, direction)
    return torch.where(at == 0, in_wedge(direction, max_phase), held)


def products(a: Tensor, b: Tensor) -> Tensor:
    """``Re conj(a) b`` of two spectra, element by element, in their layout."""
    parts = torch.view_as_real(dense(a)).flatten(-2) * torch.view_as_real(dense(b)).flatten(-2)
    found = torch.add(parts[..., 0::2], parts[..., 1::2])
    return found if dense(a) is a else found.mT


def total(values: Tensor) -> Tensor:
    """Sum over the last two axes, ``(...)``: added up in one order, line by line, batched or not."""
    exact = torch.float32 if values.device.type == "mps" else torch.float64
    return dense(values).sum(-1).sum(-1, dtype=exact).to(values.dtype)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Real part of the inner product over the last two axes, ``(...)``."""
    return total((a.conj() * b).real if a.is_complex() else a * b)


def deviation(values: Tensor) -> Tensor:
    """Standard deviation over the last two axes, ``(...)``, of real or complex values."""
    n = values.shape[-2] * values.shape[-1]
    mean = total(values.real) / n
    square = mean.square() + (total(values.imag) / n).square() if values.is_complex() else mean.square()
    return (inner(values, values) / n - square).clamp_(min=0).sqrt_()

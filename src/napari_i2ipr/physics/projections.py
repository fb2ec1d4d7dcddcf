"""The two constraint sets of phase retrieval: measured modulus and object domain.

`Constraints` holds everything that one iteration needs, for one measurement (two-dimensional
tensors, the CPU's way: image after image in cache) or for a batch ``(B, 1, y, kx)`` that
broadcasts over the candidates (the GPU's way). Nothing here knows about methods.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_i2ipr.physics.fourier import FourierPair, dense, like

_TINY = 1e-30
"""Added to |G|^2, in the object's units squared: keeps 0 / 0 away, changes no float32 above 1e-11."""


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
    """

    pair: FourierPair
    pull: Tensor
    free: Tensor
    box: tuple[slice, slice]
    inside: Tensor | None
    nonnegative: bool

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
    ) -> Constraints:
        """Constraints in the memory layout of the spectra that the iteration will meet.

        Parameters
        ----------
        amplitude, weight : Tensor
            Measured amplitude and the weight w of its replacement, 0 ... 1, ``(..., y, kx)``.
        """
        probe = pair.forward(torch.zeros(*amplitude.shape[:-2], *pair.shape, dtype=pair.dtype, device=amplitude.device))
        return cls(pair, like(weight * amplitude, probe), like(1.0 - weight, probe), box, inside, nonnegative)

    def modulus(self, g: Tensor) -> Tensor:
        """``P_M g``: the measured modulus put in place of the current one, phases kept.

        The spectrum is scaled by ``w sqrt(I) / |G| + 1 - w``; no angle is ever computed. Frequencies
        with w = 0 (bad pixels) pass unchanged. Shape ``(..., y, x)``, a new tensor.
        """
        spectrum = self.pair.forward(g)
        values = dense(spectrum)
        parts = torch.view_as_real(values).flatten(-2)
        squares = parts * parts
        scale = torch.add(squares[..., 0::2], squares[..., 1::2]).add_(_TINY).rsqrt_()
        torch.addcmul(dense(self.free), dense(self.pull), scale, out=scale)
        values.mul_(scale)
        return self.pair.inverse(spectrum)

    def object(self, p: Tensor) -> Tensor:
        """``P_S p``: zero outside the support and, for non-negative objects, below zero. A new tensor."""
        out = torch.zeros_like(p)
        out[..., self.box[0], self.box[1]] = self.crop(p)
        return out

    def crop(self, p: Tensor) -> Tensor:
        """`P_S` of `p` within the box only, shape ``(..., h, w)``."""
        part = p[..., self.box[0], self.box[1]]
        part = part.clamp(min=0) if self.nonnegative else part.clone()
        return part if self.inside is None else part.mul_(self.inside)

    def embed(self, image: Tensor) -> Tensor:
        """The frame that holds `image` in the box and zero elsewhere."""
        out = torch.zeros(*image.shape[:-2], *self.pair.shape, dtype=image.dtype, device=image.device)
        out[..., self.box[0], self.box[1]] = image
        return out

    def allowed(self, test: Tensor) -> Tensor | None:
        """Where, within the box, the object constraint accepts `test` (``(..., h, w)``); None: everywhere."""
        if not self.nonnegative:
            return self.inside
        good = test >= 0
        return good if self.inside is None else good.logical_and_(self.inside)

    def replace_allowed(self, g: Tensor, p: Tensor, test: Tensor) -> None:
        """In place ``g = p`` within the support wherever `test` (full frame) is acceptable."""
        g_box, p_box = g[..., self.box[0], self.box[1]], p[..., self.box[0], self.box[1]]
        good = self.allowed(test[..., self.box[0], self.box[1]])
        g_box.copy_(p_box if good is None else torch.where(good, p_box, g_box))

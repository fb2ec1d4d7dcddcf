"""The one Fourier pair of the package: unitary, half spectrum for real objects.

Both directions are taken one axis at a time: on the CPU that is a third faster than the library's
two-dimensional transforms, because the copies between differently laid out intermediates are
avoided or done once. The spectrum has the logical shape ``(..., y, kx)`` whatever its strides;
point-wise work goes through `dense`, which shows the elements in memory order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FourierPair:
    """Unitary DFT over the last two axes, zero frequency at the corner.

    Attributes
    ----------
    shape : tuple of int
        Frame ``(y, x)``; odd and non-square sizes are fine.
    half : bool
        Real objects: the spectrum keeps ``x // 2 + 1`` columns. Complex objects: all of them.
    """

    shape: tuple[int, int]
    half: bool = True

    @property
    def spectrum_shape(self) -> tuple[int, int]:
        """Shape ``(y, kx)`` of a spectrum."""
        ny, nx = self.shape
        return ny, (nx // 2 + 1 if self.half else nx)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the object: float32 or complex64."""
        return torch.float32 if self.half else torch.complex64

    def forward(self, x: Tensor) -> Tensor:
        """Spectrum of `x`, shape ``(..., y, x)`` -> ``(..., y, kx)``, complex64."""
        rows = torch.fft.rfft(x, norm="ortho") if self.half else torch.fft.fft(x, norm="ortho")
        spectrum: Tensor = torch.fft.fft(rows, dim=-2, norm="ortho")
        return spectrum

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Object of a spectrum, shape ``(..., y, kx)`` -> ``(..., y, x)``."""
        rows = torch.fft.ifft(spectrum, dim=-2, norm="ortho").contiguous()
        x: Tensor = (
            torch.fft.irfft(rows, n=self.shape[1], norm="ortho") if self.half else torch.fft.ifft(rows, norm="ortho")
        )
        return x

    def multiplicity(self, device: torch.device | None = None) -> Tensor:
        """How many frequencies of the full frame an element stands for, shape ``(y, kx)``.

        Summed with these weights a half spectrum obeys Parseval's theorem.
        """
        ny, nk = self.spectrum_shape
        weight = torch.ones(ny, nk, device=device)
        if self.half:
            weight[:, 1 : (self.shape[1] + 1) // 2] = 2.0
        return weight

    def crop(self, frame: Tensor) -> Tensor:
        """The part of a corner-origin full-frame array that the spectrum keeps."""
        return frame[..., : self.spectrum_shape[1]]

    def expand(self, kept: Tensor) -> Tensor:
        """Full-frame array of a real, Friedel-symmetric quantity given on the kept part."""
        if not self.half:
            return kept
        nx = self.shape[1]
        mirrored = torch.flip(torch.roll(kept, -1, -2), (-2,))
        rest = torch.flip(mirrored[..., 1 : (nx + 1) // 2], (-1,))
        return torch.cat([kept, rest], dim=-1)


def dense(spectrum: Tensor) -> Tensor:
    """The last two axes in memory order: a view, transposed where that makes it contiguous."""
    return spectrum.mT if spectrum.mT.is_contiguous() else spectrum


def like(values: Tensor, spectrum: Tensor) -> Tensor:
    """A copy of `values` with its last two axes laid out in memory as `spectrum` has them."""
    return values.mT.contiguous().mT if spectrum.mT.is_contiguous() else values.contiguous()


def rings(pair: FourierPair, device: torch.device | None = None) -> Tensor:
    """Number of the ring of every frequency, rings one pixel of the shorter side wide, ``(y, kx)``."""
    ny, nx = pair.shape
    fy = torch.fft.fftfreq(ny, device=device)[:, None]
    fx = pair.crop(torch.fft.fftfreq(nx, device=device)[None].abs())
    return (torch.hypot(fy, fx) * min(ny, nx)).round().long()


def ring_mean(values: Tensor, where: Tensor, ring: Tensor) -> Tensor:
    """Mean of `values` on each ring over the pixels `where`; 0 on rings without any."""
    flat, use = ring.flatten(), where.flatten().to(values.dtype)
    zeros = torch.zeros(int(flat.max()) + 1, device=values.device)
    total, count = zeros.index_add(0, flat, values.flatten() * use), zeros.index_add(0, flat, use)
    return total / count.clamp(min=1)

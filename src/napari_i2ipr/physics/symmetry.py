"""Blind alignment of candidates to each other.

The modulus tells neither an image from its 180-degree flip nor, where the object leaves room in its
support, from its shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_PAIRWISE = 16
"""At most so many candidates are compared each with each; the others join by the mean of these."""


@dataclass(frozen=True)
class Alignment:
    """Aligned candidates and the transform of each.

    Attributes
    ----------
    images : Tensor
        Aligned images, ``(K, h, w)``.
    flipped : Tensor
        Boolean ``(K,)``: turned by 180 degrees within the box (complex: conjugated too).
    shift : Tensor
        Shift applied after the flip, pixels ``(K, 2)`` as (y, x).
    margin : Tensor
        ``(K,)``: correlation with the mean of the others minus that of the flip, over their sum;
        near 0 for a stagnated mixture of an image and its twin.
    """

    images: Tensor
    flipped: Tensor
    shift: Tensor
    margin: Tensor


def flip(images: Tensor) -> Tensor:
    """Twin of images in the box, ``x*(-r)``: same Fourier modulus."""
    turned = torch.flip(images, (-2, -1))
    return turned.conj().resolve_conj() if turned.is_complex() else turned


def align(images: Tensor, *, reference: int = 0, shifts: bool = True, subpixel: bool = True) -> Alignment:
    """Turn and move K candidates of one measurement to match each other, without any truth.

    Flips are chosen for all at once by the sign of the leading eigenvector of
    ``C_ij = corr(c_i, c_j) - corr(c_i, flip c_j)`` of mean-free candidates, each correlation at its
    best shift; then every candidate is registered to the reference and once more to the mean.

    Parameters
    ----------
    images : Tensor
        ``(K, h, w)``, real or complex, any K >= 1.
    reference : int
        The candidate (the best scored one) whose orientation and place the others take.
    shifts : bool
        Search shifts as well as flips.
    subpixel : bool
        Refine shifts below a pixel; applied where they exceed a tenth of a pixel.
    """
    n = len(images)
    spectra = _Spectra.of(images)
    order = [reference, *(k for k in range(n) if k != reference)]
    head = order[:_PAIRWISE]
    signs = torch.ones(n, dtype=torch.bool)
    signs[head] = _flips(spectra, head, shifts)
    turned = torch.where(signs[:, None, None].to(images.device), images, flip(images))
    target = turned[reference]
    shift = torch.zeros(n, 2)
    moved = images
    for round_ in range(2 if n > 1 else 0):
        own, other = _Spectra.of(images), _Spectra.of(target[None])
        for k in range(n):
            if k == reference:
                continue
            straight, at_straight = other.peak(0, own, k, twin=False, shifts=shifts)
            twin, at_twin = other.peak(0, own, k, twin=True, shifts=shifts)
            if k not in head or round_:
                signs[k] = bool(straight >= twin)
            shift[k] = at_straight if signs[k] else at_twin
        moved = _move(torch.where(signs[:, None, None].to(images.device), images, flip(images)), shift, subpixel)
        target = moved.mean(0)
    return Alignment(moved, ~signs, shift, _margins(moved))


@dataclass(frozen=True)
class _Spectra:
    """Zero-padded spectra of mean-free images, normalised to unit energy."""

    values: Tensor
    twins: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, images: Tensor) -> _Spectra:
        shape = (2 * images.shape[-2], 2 * images.shape[-1])

        def transform(x: Tensor) -> Tensor:
            x = x - x.mean((-2, -1), keepdim=True)
            x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-30)
            padded: Tensor = torch.fft.fft2(x, s=shape) if x.is_complex() else torch.fft.rfft2(x, s=shape)
            return padded

        return cls(transform(images), transform(flip(images)), shape)

    def peak(self, i: int, others: _Spectra, j: int, *, twin: bool, shifts: bool) -> tuple[float, Tensor]:
        """Highest correlation of image i with image j (or its twin) and the shift that j needs."""
        product = self.values[i] * (others.twins if twin else others.values)[j].conj()
        if product.shape[-1] != self.shape[-1]:
            correlation = torch.fft.irfft2(product, s=self.shape)
        else:
            correlation = torch.fft.ifft2(product).abs()
        if not shifts:
            return float(correlation[0, 0]), torch.zeros(2)
        at = int(correlation.argmax())
        y, x = divmod(at, self.shape[1])
        shift = torch.tensor([_vertex(correlation[:, x], y), _vertex(correlation[y], x)])
        return float(correlation[y, x]), shift


def _vertex(line: Tensor, at: int) -> float:
    """Signed position of the peak of a circular line, by the parabola through three points."""
    n = len(line)
    left, top, right = (float(line[(at + d) % n]) for d in (-1, 0, 1))
    bend = left - 2 * top + right
    position = at + (0.5 * (left - right) / bend if bend < 0 else 0.0)
    return position - n if position > n / 2 else position


def _flips(spectra: _Spectra, head: list[int], shifts: bool) -> Tensor:
    """Which of the candidates keep their orientation, the first one always."""
    n = len(head)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for a in range(n):
        for b in range(a + 1, n):
            straight, _ = spectra.peak(head[a], spectra, head[b], twin=False, shifts=shifts)
            twin, _ = spectra.peak(head[a], spectra, head[b], twin=True, shifts=shifts)
            matrix[a, b] = matrix[b, a] = straight - twin
    leading: Tensor = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    return leading * torch.sign(leading[0] if leading[0] != 0 else leading.sum()) >= 0


def _move(images: Tensor, shift: Tensor, subpixel: bool) -> Tensor:
    """Images shifted within their boxes; what leaves the box is cut off."""
    h, w = images.shape[-2:]
    moved = images.clone()
    for k, (dy, dx) in enumerate(shift.tolist()):
        iy, ix = round(dy), round(dx)
        fy, fx = dy - iy, dx - ix
        if (iy, ix) != (0, 0):
            padded = torch.zeros(2 * h, 2 * w, dtype=images.dtype, device=images.device)
            padded[:h, :w] = moved[k]
            moved[k] = torch.roll(padded, (iy, ix), (0, 1))[:h, :w]
        if subpixel and max(abs(fy), abs(fx)) > 0.1:
            moved[k] = _fractional(moved[k], fy, fx)
    return moved


def _fractional(image: Tensor, dy: float, dx: float) -> Tensor:
    """Shift by less than a pixel: exact for band-limited images, mirrored at the border."""
    h, w = image.shape
    wide = torch.cat([image, image.flip(1)], 1)
    wide = torch.cat([wide, wide.flip(0)], 0)
    ky = torch.fft.fftfreq(2 * h, device=image.device)[:, None]
    kx = torch.fft.fftfreq(2 * w, device=image.device)[None]
    spectrum = torch.fft.fft2(wide) * torch.exp(-2j * torch.pi * (ky * dy + kx * dx))
    shifted: Tensor = torch.fft.ifft2(spectrum)[:h, :w]
    return shifted if image.is_complex() else shifted.real.contiguous()


def _margins(images: Tensor) -> Tensor:
    """Correlation with the mean of the others minus that of its twin, over their sum of moduli."""
    n = len(images)
    if n == 1:
        return torch.ones(1)
    others = (images.sum(0, keepdim=True) - images) / (n - 1)
    others = others - others.mean((-2, -1), keepdim=True)
    own = images - images.mean((-2, -1), keepdim=True)
    straight = (others.conj() * own).sum((-2, -1)).abs() if own.is_complex() else (others * own).sum((-2, -1))
    twin = flip(own)
    turned = (others.conj() * twin).sum((-2, -1)).abs() if own.is_complex() else (others * twin).sum((-2, -1))
    return ((straight - turned) / (straight.abs() + turned.abs()).clamp(min=1e-30)).cpu()

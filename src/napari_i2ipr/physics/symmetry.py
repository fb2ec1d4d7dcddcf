"""Blind alignment of candidates to each other.

The modulus tells neither an image from its 180-degree flip nor, where the object leaves room in its
support, from its shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from skimage.registration import phase_cross_correlation
from torch import Tensor

from napari_i2ipr.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_i2ipr.progress import Cancel

T = TypeVar("T")

_LEAST = 0.1
"""Shifts of a fraction of a pixel up to this are not worth an interpolation."""

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
    factor : Tensor
        Sign of signed images, or global phase of complex ones, that was applied, ``(K,)``.
    margin : Tensor
        ``(K,)``: correlation with the mean of the others minus that of the flip, over their sum;
        near 0 for a stagnated mixture of an image and its twin.
    """

    images: Tensor
    flipped: Tensor
    shift: Tensor
    factor: Tensor
    margin: Tensor


def flip(images: Tensor) -> Tensor:
    """Twin of images in the box, ``x*(-r)``: same Fourier modulus."""
    turned = torch.flip(images, (-2, -1))
    return turned.conj().resolve_conj() if turned.is_complex() else turned


def align(
    images: Tensor,
    *,
    reference: int = 0,
    shifts: bool = True,
    subpixel: bool = True,
    on_step: Callable[[int, int], None] | None = None,
    cancel: Cancel | None = None,
) -> Alignment:
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
    on_step, cancel : callable, Cancel, optional
        Called after each candidate's part of the work with done and total; looked at between comparisons.

    Raises
    ------
    CancelledError
        When stopped before the end.
    """
    n = len(images)
    if n == 1:
        return _alone(images)
    order = [reference, *(k for k in range(n) if k != reference)]
    head = order[:_PAIRWISE]
    steps = _Steps(len(head) + 2 * (n - 1) + n, on_step, cancel)
    own = _Spectra.of(images, steps)
    keeps = torch.ones(n, dtype=torch.bool)
    keeps[head] = _flips(own, head, shifts, steps)
    shift, target, moved, factor = torch.zeros(n, 2), images[reference], images, images[:, 0, 0]
    for round_ in range(2):
        other = _Spectra.of(target[None], steps)
        for k in order[1:]:
            (straight, at_straight), (twin, at_twin) = other.both(own, k, shifts=shifts)
            if k not in head or round_:
                keeps[k] = straight >= twin
            shift[k] = at_straight if keeps[k] else at_twin
            steps.done()
        turned = torch.where(keeps[:, None, None].to(images.device), images, flip(images))
        if shifts and subpixel:
            for k in steps.of(order[1:]):
                shift[k] += _below_a_pixel(target, _move(turned[k], shift[k]))
        moved = torch.stack([_move(turned[k], shift[k]) for k in range(n)])
        factor = _factors(moved, target)
        moved = moved * factor[:, None, None]
        target = moved.mean(0)
    return Alignment(moved, ~keeps, shift, factor, _margins(moved, shifts, steps))


def _alone(image: Tensor) -> Alignment:
    one = torch.ones(1, device=image.device)
    return Alignment(image, one.cpu() < 0, torch.zeros(1, 2), one.to(image.dtype), one.cpu())


class _Steps:
    """Says how far the alignment is, and ends it when a stop was asked for."""

    def __init__(self, total: int, on_step: Callable[[int, int], None] | None, cancel: Cancel | None) -> None:
        self._count, self._total, self._on_step, self._cancel = 0, total, on_step, cancel

    def of(self, parts: Iterable[T]) -> Iterator[T]:
        """The parts one by one, with a look at the stop flag before each."""
        for part in parts:
            self.go_on()
            yield part

    def go_on(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("a stop while candidates were aligned", do="run it again")

    def done(self) -> None:
        self.go_on()
        self._count += 1
        if self._on_step is not None:
            self._on_step(self._count, self._total)


@dataclass(frozen=True)
class _Spectra:
    """Images, and zero-padded spectra of them and their twins, mean-free and of unit energy."""

    images: Tensor
    values: list[Tensor]
    twins: list[Tensor]
    shape: tuple[int, int]
    signed: bool

    @classmethod
    def of(cls, images: Tensor, steps: _Steps) -> _Spectra:
        shape = (2 * images.shape[-2], 2 * images.shape[-1])

        def transform(x: Tensor) -> Tensor:
            x = x - x.mean((-2, -1), keepdim=True)
            x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-30)
            padded: Tensor = torch.fft.fft2(x, s=shape) if x.is_complex() else torch.fft.rfft2(x, s=shape)
            return padded

        signed = not images.is_complex() and bool((images < 0).any())
        values = [transform(image) for image in steps.of(images)]
        return cls(images, values, [transform(flip(image)) for image in steps.of(images)], shape, signed)

    def best(self, i: int, others: _Spectra, j: int, *, twin: bool, shifts: bool) -> tuple[float, Tensor]:
        """How well image j (or its twin), moved to where it fits best, agrees with image i; and the shift."""
        shift = self._peak(i, others, j, twin=twin) if shifts else torch.zeros(2)
        image = flip(others.images[j]) if twin else others.images[j]
        agreement = _agreement(self.images[i], _move(image, shift))
        return (abs(agreement) if others.signed else agreement), shift

    def both(self, others: _Spectra, j: int, *, shifts: bool) -> tuple[tuple[float, Tensor], tuple[float, Tensor]]:
        """How well image j, and its twin, agree with the first image; see `best`."""
        straight, twin = (self.best(0, others, j, twin=twin, shifts=shifts) for twin in (False, True))
        return straight, twin

    def _peak(self, i: int, others: _Spectra, j: int, *, twin: bool) -> Tensor:
        """Shift of image j (or its twin) at the highest correlation with image i, ``(2,)``."""
        product = self.values[i] * (others.twins if twin else others.values)[j].conj()
        if product.shape[-1] != self.shape[-1]:
            correlation = torch.fft.irfft2(product, s=self.shape)
            correlation = correlation.abs() if others.signed else correlation
        else:
            correlation = torch.fft.ifft2(product).abs()
        height, width = self.shape
        y, x = divmod(int(correlation.argmax()), width)
        return torch.tensor([y - height if y > height // 2 else y, x - width if x > width // 2 else x]).float()


def _agreement(a: Tensor, b: Tensor) -> float:
    """Correlation coefficient of two images; its modulus for complex ones, 0 where one is blank."""
    a, b = a - a.mean(), b - b.mean()
    inner, norms = (a.conj() * b).sum(), float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float(inner.abs() if inner.is_complex() else inner) / norms if norms > 0 else 0.0


def _flips(spectra: _Spectra, head: list[int], shifts: bool, steps: _Steps) -> Tensor:
    """Which of the candidates keep their orientation, the first one always."""
    n = len(head)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for a in range(n):
        for b in steps.of(range(a + 1, n)):
            straight, _ = spectra.best(head[a], spectra, head[b], twin=False, shifts=shifts)
            twin, _ = spectra.best(head[a], spectra, head[b], twin=True, shifts=shifts)
            matrix[a, b] = matrix[b, a] = straight - twin
        steps.done()
    leading: Tensor = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    return leading * torch.sign(leading[0] if leading[0] != 0 else leading.sum()) >= 0


def _below_a_pixel(target: Tensor, image: Tensor) -> Tensor:
    """The rest of the shift, ``(2,)``: by the upsampled cross-correlation, 0 where it is a tenth of a pixel or less."""
    if not (bool(target.any()) and bool(image.any())):
        return torch.zeros(2)
    rest, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        (target - target.mean()).cpu().numpy(),
        (image - image.mean()).cpu().numpy(),
        upsample_factor=20,
        normalization=None,
    )
    found = torch.as_tensor(rest, dtype=torch.float32)
    found[(found.abs() <= _LEAST) | (found.abs() > 1)] = 0
    return found


def _factors(images: Tensor, target: Tensor) -> Tensor:
    """Sign (real) or phase factor (complex) that turns each image to the target, ``(K,)``."""
    inner = (images.conj() * target).sum((-2, -1))
    return torch.where(inner == 0, torch.ones_like(inner), torch.sgn(inner))


def _move(image: Tensor, shift: Tensor) -> Tensor:
    """An image shifted within its box; what leaves the box is cut off."""
    h, w = image.shape
    whole = shift.round()
    iy, ix = int(whole[0]), int(whole[1])
    fy, fx = (shift - whole).tolist()
    if (iy, ix) != (0, 0):
        padded = torch.zeros(2 * h, 2 * w, dtype=image.dtype, device=image.device)
        padded[:h, :w] = image
        image = torch.roll(padded, (iy, ix), (0, 1))[:h, :w]
    return _fractional(image, fy, fx) if (fy, fx) != (0.0, 0.0) else image


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


def _margins(images: Tensor, shifts: bool, steps: _Steps) -> Tensor:
    """Agreement with the mean of the others minus that of the twin, each where it fits best, over their sum."""
    n = len(images)
    own, margins = _Spectra.of(images, steps), torch.ones(n)
    for k in range(n):
        others = _Spectra.of(((images.sum(0) - images[k]) / (n - 1))[None], steps)
        (straight, _), (twin, _) = others.both(own, k, shifts=shifts)
        straight, twin = max(straight, 0.0), max(twin, 0.0)
        margins[k] = (straight - twin) / (straight + twin) if straight + twin > 0 else 0.0
        steps.done()
    return margins

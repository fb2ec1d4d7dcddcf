"""Blind alignment, checked against transforms that only the test knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.errors import CancelledError
from napari_i2ipr.physics.symmetry import align, flip
from napari_i2ipr.progress import Cancel


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A smooth random picture in 0 ... 1 that fills its box."""
    fy, fx = torch.fft.fftfreq(shape[0])[:, None], torch.fft.fftfreq(shape[1])[None]
    white = torch.fft.fft2(torch.randn(shape, generator=generator(seed)))
    x = torch.fft.ifft2(white * torch.exp(-60 * (fy**2 + fx**2))).real
    return (x - x.min()) / (x.max() - x.min())


def island(shape: tuple[int, int], size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A smooth picture that fades to zero, in the middle of a dark box."""
    x = torch.zeros(shape)
    y0, x0 = (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2
    fade = torch.hann_window(size[0], periodic=False)[:, None] * torch.hann_window(size[1], periodic=False)[None]
    x[y0 : y0 + size[0], x0 : x0 + size[1]] = fade * (0.3 + picture(size, seed))
    return x


def shifted(image: torch.Tensor, dy: float, dx: float) -> torch.Tensor:
    """Circular shift by the Fourier theorem; exact for islands, which stay inside their box."""
    ky, kx = torch.fft.fftfreq(image.shape[0])[:, None], torch.fft.fftfreq(image.shape[1])[None]
    spectrum = torch.fft.fft2(image) * torch.exp(-2j * torch.pi * (ky * dy + kx * dx))
    moved = torch.fft.ifft2(spectrum)
    return moved if image.is_complex() else moved.real


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a.conj() * b).sum().abs() / (a.norm() * b.norm()))


SHAPES = [(32, 32), (33, 40), (40, 27)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("k", [2, 3, 10, 16, 17, 30])
@pytest.mark.parametrize("shifts", [True, False])
def test_flips_of_noisy_copies_are_found_without_the_truth(shape: Any, k: int, shifts: bool) -> None:
    truth = picture(shape)
    turned = torch.rand(k, generator=generator(k)) < 0.5
    copies = torch.where(turned[:, None, None], flip(truth), truth)
    noisy = copies + 1.0 * truth.std() * torch.randn(k, *shape, generator=generator(1))
    reference = k - 1
    found = align(noisy, reference=reference, shifts=shifts)
    assert torch.equal(found.flipped, turned ^ turned[reference])
    expected = flip(truth) if turned[reference] else truth
    if k >= 10:
        assert correlation(found.images.mean(0), expected) > 0.9


@pytest.mark.parametrize("subpixel", [True, False])
def test_integer_shifts_and_flips_of_an_object_with_a_dark_border_are_undone(subpixel: bool) -> None:
    truth = island((44, 53), (20, 24))
    turned = [False, True, True, False, True, False]
    shifts = [(0, 0), (5, -7), (-8, 3), (9, 11), (-1, 0), (0, 12)]
    copies = [
        torch.roll(flip(truth) if turn else truth, shift, (0, 1)) for turn, shift in zip(turned, shifts, strict=True)
    ]
    found = align(torch.stack(copies), subpixel=subpixel)
    assert found.flipped.tolist() == turned
    torch.testing.assert_close(found.images, truth.expand(6, 44, 53), rtol=0, atol=0.02)
    needed = torch.tensor([s if turn else (-s[0], -s[1]) for turn, s in zip(turned, shifts, strict=True)])
    torch.testing.assert_close(found.shift, needed.float(), rtol=0, atol=0.15)


def test_every_candidate_takes_the_place_of_the_reference() -> None:
    truth = island((44, 53), (20, 24))
    copies = torch.stack([torch.roll(truth, shift, (0, 1)) for shift in [(0, 0), (4, -6), (-5, 8)]])
    for reference in range(3):
        found = align(copies, reference=reference)
        assert torch.equal(found.images[reference], copies[reference])
        assert not found.shift[reference].any()
        torch.testing.assert_close(found.images, copies[reference].expand(3, 44, 53), rtol=0, atol=0.02)


def test_shifts_below_a_pixel_are_undone() -> None:
    truth = island((44, 53), (26, 30))
    shifts = [(0.0, 0.0), (0.5, -0.3), (3.4, 2.5), (-2.7, 0.25), (0.0, 6.5)]
    copies = torch.stack([shifted(truth, *shift) for shift in shifts])
    fine, coarse = align(copies), align(copies, subpixel=False)
    torch.testing.assert_close(fine.shift, -torch.tensor(shifts), rtol=0, atol=0.12)
    for k in range(1, 5):
        error = (fine.images[k] - truth).norm() / truth.norm()
        assert error < 0.03
        assert error < 0.3 * (coarse.images[k] - truth).norm() / truth.norm()


@pytest.mark.parametrize("subpixel", [True, False])
def test_the_reported_transform_is_the_one_applied(subpixel: bool) -> None:
    truth = island((44, 53), (26, 30))
    shifts = [(0.0, 0.0), (0.05, -0.04), (3.4, 2.5), (-2.7, 0.25), (4.0, 6.04)]
    copies = torch.stack([flip(truth) if k == 3 else shifted(truth, *shifts[k]) for k in range(5)])
    found = align(copies, subpixel=subpixel)
    if not subpixel:
        assert torch.equal(found.shift, found.shift.round())
    for k in range(5):
        replayed = shifted(flip(copies[k]) if found.flipped[k] else copies[k], *found.shift[k].tolist())
        torch.testing.assert_close(found.images[k], replayed, rtol=0, atol=2e-3)


def test_without_shifts_images_are_turned_only() -> None:
    truth = island((44, 53), (20, 24))
    copies = torch.stack([truth, flip(truth), torch.roll(truth, (2, 1), (0, 1))])
    found = align(copies, shifts=False)
    assert not found.shift.any()
    assert found.flipped.tolist() == [False, True, False]
    assert torch.equal(found.images[0], found.images[1])
    assert torch.equal(found.images[2], copies[2])


def test_a_mixture_with_its_twin_has_a_low_margin() -> None:
    truth = picture((33, 40))
    images = truth + 0.5 * truth.std() * torch.randn(8, 33, 40, generator=generator(2))
    images[3] = 0.5 * (truth + flip(truth))
    margin = align(images).margin
    sound = [k for k in range(8) if k != 3]
    assert margin.shape == (8,)
    assert abs(float(margin[3])) < 0.1
    assert float(margin[sound].min()) > 3 * abs(float(margin[3]))
    assert float(margin.max()) <= 1.0


def test_a_stagnated_candidate_of_a_one_sided_object_has_a_low_margin() -> None:
    """With a dark half the flip is anticorrelated, which must not make every margin the same."""
    truth = picture((44, 53)) * (torch.arange(44) > 14)[:, None]
    images = truth + 0.2 * truth.std() * torch.randn(8, 44, 53, generator=generator(2))
    images[3] = 0.5 * (truth + torch.roll(flip(truth), 12, 0))
    margin = align(images).margin
    sound = [k for k in range(8) if k != 3]
    assert float(margin[3]) < 0.95 * float(margin[sound].min())


def test_one_candidate_is_left_alone() -> None:
    image = picture((33, 40))[None]
    found = align(image)
    assert torch.equal(found.images, image)
    assert (found.flipped.tolist(), found.shift.tolist(), found.margin.tolist()) == ([False], [[0.0, 0.0]], [1.0])


def test_arguments_are_not_changed() -> None:
    images = torch.stack([picture((33, 40)), flip(picture((33, 40)))])
    before = images.clone()
    align(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("shifts", [True, False])
def test_a_blank_candidate_spoils_nothing(shifts: bool) -> None:
    truth = picture((33, 40))
    images = torch.stack([truth, flip(truth), torch.zeros(33, 40), truth])
    found = align(images, shifts=shifts)
    assert torch.isfinite(found.images).all()
    assert torch.isfinite(found.margin).all()
    assert found.flipped[[0, 1, 3]].tolist() == [False, True, False]
    torch.testing.assert_close(found.images[1], truth)


def test_the_twin_of_a_complex_image_is_turned_and_conjugated(make_object: Callable[..., Any]) -> None:
    x = make_object((21, 18), real=False)
    padded, twin = torch.zeros(42, 36, dtype=x.dtype), torch.zeros(42, 36, dtype=x.dtype)
    padded[:21, :18], twin[:21, :18] = x, flip(x)
    torch.testing.assert_close(torch.fft.fft2(twin).abs(), torch.fft.fft2(padded).abs(), rtol=1e-4, atol=1e-4)
    assert torch.equal(flip(flip(x)), x)


def complex_picture(shape: tuple[int, int]) -> torch.Tensor:
    return torch.polar(0.2 + picture(shape, 3), 3 * picture(shape, 4))


def test_complex_twins_are_found() -> None:
    truth = complex_picture((33, 40))
    turned = torch.tensor([False, True, True, False, True])
    copies = torch.where(turned[:, None, None], flip(truth), truth)
    noise = torch.randn(5, 33, 40, dtype=torch.complex64, generator=generator(1))
    found = align(copies + 0.1 * noise)
    assert torch.equal(found.flipped, turned)
    assert correlation(found.images.mean(0), truth) > 0.9
    assert float(found.margin.min()) > 0.2


def test_global_phases_of_complex_candidates_are_aligned() -> None:
    """The modulus does not tell an image from the same one times a phase, so the mean must not cancel them."""
    truth = complex_picture((33, 40))
    phases = torch.polar(torch.ones(6), torch.linspace(0, 5, 6))
    copies = phases[:, None, None] * truth
    copies[2], copies[5] = flip(copies[2]), flip(copies[5])
    found = align(copies)
    assert found.flipped.tolist() == [False, False, True, False, False, True]
    torch.testing.assert_close(found.images, copies[0].expand(6, 33, 40), rtol=1e-3, atol=1e-3)


def test_signs_of_signed_candidates_are_aligned() -> None:
    """A real object that may be negative is known up to its sign; the mean must not cancel it."""
    truth = picture((33, 40)) - 0.5
    copies = torch.stack([truth, -truth, -flip(truth), flip(truth), truth])
    found = align(copies)
    torch.testing.assert_close(found.images, truth.expand(5, 33, 40), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_a_stop_ends_the_alignment_at_the_next_comparison(n: int) -> None:
    images = torch.rand(n, 9, 11, generator=torch.Generator().manual_seed(0))
    whole: list[tuple[int, int]] = []
    align(images, on_step=lambda *step: whole.append(step))
    total = whole[-1][1]
    assert whole == [(done, total) for done in range(1, total + 1)]
    for last in {1, n, n + 1, total - 1}:
        cancel, seen = Cancel(), []

        def on_step(done: int, _total: int, last: int = last, cancel: Cancel = cancel, seen: list[int] = seen) -> None:
            seen.append(done)
            if done == last:
                cancel.set()

        with pytest.raises(CancelledError):
            align(images, on_step=on_step, cancel=cancel)
        assert seen == list(range(1, last + 1))


def test_a_stop_that_is_never_asked_for_changes_no_bit() -> None:
    images = torch.rand(5, 9, 11, generator=torch.Generator().manual_seed(0))
    assert torch.equal(align(images).images, align(images, cancel=Cancel()).images)

"""Noise: the paper's numbers, photons, and the gain of Friedel pairs."""

from __future__ import annotations

import pytest
import torch

from napari_i2ipr.physics.noise import (
    add_alpha_noise,
    add_photon_noise,
    alpha_from_pairs,
    alpha_of_photons,
    friedel_average,
    friedel_partner,
    snr_db,
)

FRAMES = [(33, 40), (40, 33), (21, 19), (16, 16)]
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def natural(side: int = 256, seed: int = 0) -> torch.Tensor:
    """A picture with the statistics of natural ones: 1/f spectrum, mean 110 and spread 50 of 0 ... 255."""
    radius = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.fftfreq(side)[None])
    radius[0, 0] = torch.inf
    white = torch.randn(side, side, generator=generator(seed))
    x = torch.fft.ifft2(torch.fft.fft2(white) / radius**1.2).real
    return (110 + 50 * (x - x.mean()) / x.std()).clamp(0, 255)


def intensity_of(image: torch.Tensor) -> torch.Tensor:
    """Unitary intensities of the image, zero-padded to twice its sides."""
    shape = (2 * image.shape[0], 2 * image.shape[1])
    return torch.fft.fft2(image, s=shape, norm="ortho").abs().square()


@every_frame
def test_the_partner_of_k_is_minus_k(frame: tuple[int, int]) -> None:
    numbers = torch.arange(frame[0] * frame[1]).view(frame)
    partner = friedel_partner(numbers)
    for y, x in [(0, 0), (0, 3), (5, 0), (4, 7), (frame[0] - 1, 2)]:
        assert partner[y, x] == numbers[-y % frame[0], -x % frame[1]]
    assert torch.equal(friedel_partner(partner), numbers)


@every_frame
def test_a_real_object_equals_its_partner_pattern(frame: tuple[int, int]) -> None:
    pattern = torch.fft.fft2(torch.rand(2, *frame, generator=generator())).abs().square()
    torch.testing.assert_close(friedel_partner(pattern), pattern, rtol=1e-3, atol=1e-3)


@every_frame
def test_the_friedel_average_counts_valid_pixels_only(frame: tuple[int, int]) -> None:
    intensity = torch.rand(2, *frame, generator=generator())
    measured = torch.rand(2, *frame, generator=generator(1)) > 0.4
    intensity[~measured] = torch.nan
    average, known = friedel_average(intensity, measured)
    for b in range(2):
        for y, x in [(0, 0), (1, 2), (3, 5), (7, 7), (frame[0] - 1, 1), (frame[0] // 2, frame[1] // 2)]:
            pair = [(y, x), (-y % frame[0], -x % frame[1])]
            values = [float(intensity[b][at]) for at in pair if measured[b][at]]
            assert bool(known[b, y, x]) is bool(values)
            assert float(average[b, y, x]) == pytest.approx(sum(values) / len(values) if values else 0.0)
    assert torch.isfinite(average).all()
    assert torch.equal(friedel_partner(known), known)


def test_the_friedel_average_halves_the_variance() -> None:
    clean = torch.full((64, 65), 1e4)
    noisy = add_alpha_noise(clean, 3.0, generator())
    average, _ = friedel_average(noisy, torch.ones(64, 65, dtype=torch.bool))
    ratio = (average - clean).square().mean() / (noisy - clean).square().mean()
    assert float(ratio) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("alpha", "published"), [(2.0, 33.2), (3.0, 31.5), (4.0, 30.2)])
def test_alpha_gives_the_published_signal_to_noise_ratio(alpha: float, published: float) -> None:
    """Forgetting the / 2 of the paper's modulus would give 3 dB more."""
    ratios = []
    for seed in range(6):
        clean = intensity_of(natural(seed=seed))
        ratios.append(snr_db(clean, add_alpha_noise(clean, alpha, generator(seed))))
    assert sum(ratios) / len(ratios) == pytest.approx(published, abs=0.3)


def test_the_signal_to_noise_ratio_by_hand() -> None:
    clean = torch.tensor([[3.0, 4.0]])
    assert snr_db(clean, clean + torch.tensor([[0.3, 0.4]])) == pytest.approx(10.0, abs=1e-5)


def test_alpha_noise_has_its_variance_and_never_goes_below_zero() -> None:
    clean = torch.full((200, 200), 100.0)
    noisy = add_alpha_noise(clean, 0.5, generator())
    assert float(noisy.mean()) == pytest.approx(100.0, abs=0.3)
    assert float((noisy - clean).std()) == pytest.approx(2 * 0.5 * 10.0, rel=0.02)
    assert float(add_alpha_noise(clean, 50.0, generator()).min()) == 0.0


def test_noise_comes_from_the_given_generator_only() -> None:
    clean = torch.full((20, 21), 100.0)
    first = add_alpha_noise(clean, 1.0, generator(3))
    torch.manual_seed(9)
    assert torch.equal(add_alpha_noise(clean, 1.0, generator(3)), first)
    assert not torch.equal(add_alpha_noise(clean, 1.0, generator(4)), first)
    assert torch.equal(add_photon_noise(clean, 1e4, generator(3)), add_photon_noise(clean, 1e4, generator(3)))


def test_photons_are_whole_and_as_many_as_asked_for() -> None:
    counts = add_photon_noise(intensity_of(natural(64)), 1e6, generator())
    assert torch.equal(counts, counts.round())
    assert float(counts.sum()) == pytest.approx(1e6, rel=0.005)


def test_poisson_and_alpha_are_two_names_of_one_noise() -> None:
    clean = torch.full((256, 255), 4000.0)
    alpha = 2.5
    photons = float(clean.sum()) / (4 * alpha**2)
    assert alpha_of_photons(float(clean.sum()), photons) == pytest.approx(alpha)
    counts = add_photon_noise(clean, photons, generator()) * (4 * alpha**2)
    gaussian = add_alpha_noise(clean, alpha, generator(1))
    assert float(counts.mean()) == pytest.approx(4000.0, rel=0.005)
    assert float(counts.std()) == pytest.approx(float(gaussian.std()), rel=0.02)
    assert snr_db(clean, counts) == pytest.approx(snr_db(clean, gaussian), abs=0.1)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["alpha", "photons"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_level_is_read_from_friedel_pairs(alpha: float, kind: str, seed: int) -> None:
    clean = intensity_of(natural(seed=seed))
    if kind == "alpha":
        noisy = add_alpha_noise(clean, alpha, generator(seed))
    else:
        scale = 4 * alpha**2
        noisy = add_photon_noise(clean, float(clean.double().sum()) / scale, generator(seed)) * scale
    measured = torch.rand(clean.shape, generator=generator(2)) > 0.1
    assert float(alpha_from_pairs(noisy[None], measured[None])) == pytest.approx(alpha, rel=0.05)


def test_the_noise_level_is_read_for_each_pattern_by_itself() -> None:
    clean = intensity_of(natural())
    stack = torch.stack([add_alpha_noise(clean, alpha, generator()) for alpha in (1.0, 3.0)])
    measured = torch.ones(stack.shape, dtype=torch.bool)
    together = alpha_from_pairs(stack, measured)
    assert together.shape == (2,)
    alone = [float(alpha_from_pairs(stack[b : b + 1], measured[b : b + 1])) for b in range(2)]
    assert together.tolist() == pytest.approx(alone)


def test_symmetrised_data_tell_no_noise_and_unpaired_data_nothing() -> None:
    clean = intensity_of(natural(64))
    noisy = add_alpha_noise(clean, 3.0, generator())
    every = torch.ones(clean.shape, dtype=torch.bool)
    averaged, _ = friedel_average(noisy, every)
    assert float(alpha_from_pairs(averaged[None], every[None])) == 0.0
    one_sided = torch.zeros(clean.shape, dtype=torch.bool)
    one_sided[1 : clean.shape[0] // 2] = True
    assert torch.isnan(alpha_from_pairs(noisy[None], one_sided[None]))

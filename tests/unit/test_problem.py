"""Problems: normalisation, free pixels, agreement with the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.noise import friedel_partner
from napari_i2ipr.physics.problem import FREE_CENTRE, FREE_SHARE, Problem, free_pixels, generator
from napari_i2ipr.physics.support import half_box

FRAMES = [(129, 160), (160, 129), (121, 99), (128, 128)]
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)
both_kinds = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


def everything(pair: FourierPair) -> torch.Tensor:
    return torch.ones(pair.spectrum_shape, dtype=torch.bool)


@every_frame
@both_kinds
def test_free_pixels_come_in_pairs(frame: Any, real: bool) -> None:
    pair = FourierPair(frame, half=real)
    full = pair.expand(free_pixels(pair, everything(pair), 0, 0))
    assert full.any()
    assert torch.equal(friedel_partner(full), full)


@every_frame
def test_real_and_complex_objects_hold_out_the_same_frequencies(frame: Any) -> None:
    half, full = FourierPair(frame, half=True), FourierPair(frame, half=False)
    held = free_pixels(full, everything(full), 3, 4)
    assert torch.equal(half.expand(free_pixels(half, everything(half), 3, 4)), held)


@every_frame
@both_kinds
def test_about_five_percent_are_held_out(frame: Any, real: bool) -> None:
    pair = FourierPair(frame, half=real)
    shares = [float(pair.expand(free_pixels(pair, everything(pair), s, 0)).float().mean()) for s in range(5)]
    assert sum(shares) / len(shares) == pytest.approx(FREE_SHARE, abs=0.006)


@every_frame
def test_low_frequencies_are_never_held_out(frame: Any) -> None:
    pair = FourierPair(frame, half=False)
    held = torch.stack([free_pixels(pair, everything(pair), seed, 0) for seed in range(40)]).any(0)
    radius = torch.hypot(torch.fft.fftfreq(frame[0])[:, None], torch.fft.fftfreq(frame[1])[None])
    assert not held[radius <= FREE_CENTRE / 2].any()
    assert held[radius > FREE_CENTRE / 2].float().mean() > 0.5


def test_free_pixels_depend_on_seed_and_index_only() -> None:
    pair = FourierPair((129, 160))
    first = free_pixels(pair, everything(pair), 5, 2)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    torch.manual_seed(0)
    assert torch.equal(free_pixels(pair, everything(pair), 5, 2), first)
    assert not torch.equal(free_pixels(pair, everything(pair), 6, 2), first)
    assert not torch.equal(free_pixels(pair, everything(pair), 5, 3), first)


def test_a_mask_only_takes_free_pixels_away() -> None:
    pair = FourierPair((129, 160))
    measured = torch.rand(pair.spectrum_shape, generator=torch.Generator().manual_seed(0)) > 0.3
    held = free_pixels(pair, measured, 5, 2)
    assert torch.equal(held, free_pixels(pair, everything(pair), 5, 2) & measured)


def test_random_numbers_depend_on_the_whole_path() -> None:
    drawn = {path: float(generator(*path).random()) for path in [(0, 1), (1, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (7,)]}
    assert len(set(drawn.values())) == len(drawn)
    assert float(generator(0, 1, 1).random()) == drawn[0, 1, 1]


def build(frame: tuple[int, int], x: torch.Tensor, **options: Any) -> Problem:
    intensity = torch.fft.fft2(x, norm="ortho").abs().square()
    measured = options.pop("measured", torch.ones(x.shape, dtype=torch.bool))
    return Problem.build(intensity, measured, half_box(frame), **options)


@both_kinds
def test_the_normalised_object_has_unit_mean_square_over_its_support(
    make_problem: Callable[..., Any], real: bool
) -> None:
    problem, truth = make_problem((33, 40), real=real, batch=3)
    energy = truth.abs().square().sum((-2, -1)) / problem.support.sum()
    torch.testing.assert_close(energy, torch.ones(3, 1), rtol=1e-5, atol=0)


@both_kinds
def test_the_scale_leads_back_to_object_units(make_object: Callable[..., Any], real: bool) -> None:
    frame = (33, 40)
    x = 137.0 * make_object((2, *frame), real=real) * half_box(frame)
    problem = build(frame, x, real=real)
    modulus = problem.pair.forward(x[:, None]).abs()
    torch.testing.assert_close(problem.amplitude * problem.scale[:, None, None, None], modulus, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e8])
def test_the_normalised_problem_does_not_know_the_units(make_object: Callable[..., Any], factor: float) -> None:
    frame = (33, 40)
    x = make_object((1, *frame)) * half_box(frame)
    plain, scaled = build(frame, x), build(frame, factor * x)
    torch.testing.assert_close(scaled.amplitude, plain.amplitude, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled.scale, factor * plain.scale, rtol=1e-4, atol=0)


def test_known_alpha_is_normalised_with_the_object(make_object: Callable[..., Any]) -> None:
    problem = build((33, 40), 50 * make_object((2, 33, 40)), alpha=torch.tensor([3.0, 6.0]))
    torch.testing.assert_close(problem.alpha * problem.scale, torch.tensor([3.0, 6.0]))
    unknown = build((33, 40), make_object((2, 33, 40), real=False), real=False)
    assert torch.isnan(unknown.alpha).all()


def test_a_bad_pixel_with_a_good_partner_is_known_for_real_objects_only(make_object: Callable[..., Any]) -> None:
    frame = (33, 40)
    measured = torch.ones(1, *frame, dtype=torch.bool)
    measured[0, 2, 3] = False
    measured[0, 4, 5] = measured[0, -4, -5] = False
    x = make_object((1, *frame)) * half_box(frame)
    real = build(frame, x, measured=measured)
    free = build(frame, x.to(torch.complex64), measured=measured, real=False)
    assert bool(real.measured[0, 0, 2, 3])
    assert not bool(real.measured[0, 0, 4, 5])
    assert not bool(free.measured[0, 0, 2, 3])
    assert not free.nonnegative
    torch.testing.assert_close(
        real.amplitude[0, 0, 2, 3] * real.scale[0], torch.fft.fft2(x, norm="ortho")[0, 2, 3].abs()
    )


def test_bad_pixels_may_hold_anything(make_object: Callable[..., Any]) -> None:
    frame = (33, 40)
    measured = torch.rand(2, *frame, generator=torch.Generator().manual_seed(3)) > 0.2
    intensity = torch.fft.fft2(make_object((2, *frame)) * half_box(frame), norm="ortho").abs().square()
    clean = Problem.build(intensity, measured, half_box(frame))
    for junk in (1e30, -5.0, float("nan"), float("inf")):
        problem = Problem.build(torch.where(measured, intensity, junk), measured, half_box(frame))
        assert torch.equal(problem.amplitude, clean.amplitude)
        assert torch.equal(problem.scale, clean.scale)
        assert torch.equal(problem.alpha, clean.alpha)


@pytest.mark.parametrize("what", ["intensity", "amplitude"])
def test_friedel_pairs_are_averaged_as_intensities_or_amplitudes(make_object: Callable[..., Any], what: str) -> None:
    frame = (21, 18)
    intensity = 10 * make_object((1, *frame))
    every = torch.ones(1, *frame, dtype=torch.bool)
    problem = Problem.build(intensity, every, half_box(frame), friedel=what == "intensity")
    pair = torch.stack([intensity[0, 4, 5], intensity[0, -4, -5]])
    expected = pair.mean().sqrt() if what == "intensity" else pair.sqrt().mean()
    torch.testing.assert_close(problem.amplitude[0, 0, 4, 5] * problem.scale[0], expected)


@both_kinds
@every_frame
def test_a_measurement_is_the_same_alone_and_in_a_batch(
    make_object: Callable[..., Any], frame: Any, real: bool
) -> None:
    x = make_object((3, *frame), real=real) * half_box(frame)
    together = build(frame, x, real=real, seed=1, indices=(4, 0, 9))
    for b, index in enumerate((4, 0, 9)):
        alone, selected = build(frame, x[b : b + 1], real=real, seed=1, indices=(index,)), together.select(b)
        for name in ("amplitude", "measured", "held_out", "scale"):
            assert torch.equal(getattr(together, name)[b : b + 1], getattr(alone, name)), name
            assert torch.equal(getattr(selected, name), getattr(alone, name)), name
        assert selected.indices == alone.indices == (index,)
        assert selected.batch == 1


def test_the_box_bounds_the_support() -> None:
    support = torch.zeros(33, 40, dtype=torch.bool)
    support[5:20, 7:30] = True
    x = torch.rand(1, 33, 40, generator=torch.Generator().manual_seed(0))
    problem = Problem.build(x, torch.ones(1, 33, 40, dtype=torch.bool), support)
    assert problem.box == (slice(5, 20), slice(7, 30))
    assert problem.inside is None
    support[5, 7] = False
    problem = Problem.build(x, torch.ones(1, 33, 40, dtype=torch.bool), support)
    assert problem.inside is not None
    assert torch.equal(problem.inside, support[problem.box])


@both_kinds
def test_the_truth_agrees_with_its_data(make_problem: Callable[..., Any], real: bool) -> None:
    problem, truth = make_problem((33, 40), real=real, batch=2)
    for b in range(2):
        for factor in (1.0, 7.0):
            r_factor, chi = problem.agreement(factor * truth[b, 0][problem.box], b)
            assert r_factor < 1e-5
            assert chi < 1e-5


@both_kinds
def test_agreement_by_hand_over_valid_pixels_of_the_full_frame(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], real: bool
) -> None:
    frame = (21, 18)
    measured = torch.ones(frame, dtype=torch.bool)
    measured[:3, :4] = False
    problem, _ = make_problem(frame, real=real, measured=measured)
    image = make_object(frame, 5, real=real)[problem.box]
    full = np.zeros(frame, complex)
    full[problem.box] = image.numpy()
    valid = problem.pair.expand(problem.measured[0, 0]).numpy()
    amplitude = problem.pair.expand(problem.amplitude[0, 0]).numpy()[valid].astype(float)
    modulus = np.abs(np.fft.fft2(full, norm="ortho"))[valid]
    scale = (modulus @ amplitude) / (modulus @ modulus)
    misfit = np.abs(scale * modulus - amplitude)
    r_factor, chi = problem.agreement(image)
    assert r_factor == pytest.approx(misfit.sum() / amplitude.sum(), rel=1e-4)
    assert chi == pytest.approx(math.sqrt((misfit**2).sum() / (amplitude**2).sum()), rel=1e-4)


@both_kinds
def test_without_relaxation_or_noise_every_modulus_is_trusted(make_problem: Callable[..., Any], real: bool) -> None:
    unknown, _ = make_problem((33, 40), real=real)
    known, _ = make_problem((33, 40), real=real, alpha=0.1)
    known = dataclasses.replace(known, alpha=torch.tensor([0.2]))
    assert torch.equal(known.trust(0.0), torch.ones_like(known.amplitude))
    nothing = dataclasses.replace(unknown, alpha=torch.tensor([torch.nan]))
    for problem in (nothing, dataclasses.replace(unknown, alpha=torch.tensor([0.0]))):
        assert torch.equal(problem.trust(1.0), torch.ones_like(problem.amplitude))


@both_kinds
def test_trust_is_the_weight_of_wiener_by_hand(make_problem: Callable[..., Any], real: bool) -> None:
    frame = (33, 40)
    measured = torch.ones(frame, dtype=torch.bool)
    measured[:3, :4] = False
    problem, _ = make_problem(frame, real=real, batch=2, alpha=0.1, measured=measured)
    problem = dataclasses.replace(problem, alpha=torch.tensor([0.4, torch.nan]))
    trust = problem.trust(1.5)
    assert float(trust.min()) >= 0
    assert float(trust.max()) <= 1
    assert torch.equal(trust[1], torch.ones_like(trust[1]))
    radius = torch.hypot(torch.fft.fftfreq(33)[:, None], torch.fft.fftfreq(40)[None]) * 33
    ring = problem.pair.crop(radius.round() == 12)
    power = problem.amplitude[0, 0].square()[ring & problem.measured[0, 0]].mean()
    variance = 0.4**2 / (2 if real else 1)
    expected = (power - variance) / (power - variance + 1.5 * variance)
    torch.testing.assert_close(trust[0, 0][ring], expected.expand(int(ring.sum())), rtol=1e-4, atol=1e-5)


def test_trust_becomes_the_weight_of_the_modulus_projection(make_problem: Callable[..., Any]) -> None:
    problem, _ = make_problem((33, 40), alpha=0.1)
    problem = dataclasses.replace(problem, alpha=torch.tensor([0.4]))
    relaxed = problem.constraints(hold_out=True, relaxation=1.0, one=0)
    expected = 1 - problem.trust(1.0)[0, 0] * ~problem.held_out[0, 0]
    torch.testing.assert_close(relaxed.free, expected)
    torch.testing.assert_close(relaxed.pull, (1 - expected) * problem.amplitude[0, 0])
    together = problem.constraints(hold_out=True, relaxation=1.0)
    assert torch.equal(together.free[0, 0], relaxed.free)


@both_kinds
def test_images_are_held_to_the_support_and_the_sign(make_object: Callable[..., Any], real: bool) -> None:
    support = torch.zeros(33, 40, dtype=torch.bool)
    support[5:20, 7:30] = True
    images = make_object((2, 3, 15, 23), real=real) - 0.5
    for hole in (False, True):
        support[6, 8] = not hole
        for nonnegative in (True, False):
            problem = Problem.build(
                torch.ones(1, 33, 40),
                torch.ones(1, 33, 40, dtype=torch.bool),
                support,
                real=real,
                nonnegative=nonnegative,
            )
            expected = images.clamp(min=0) if real and nonnegative else images
            assert torch.equal(problem.constrain(images), expected * support[problem.box])

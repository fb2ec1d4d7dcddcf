"""Calibration: what it recovers from errors of a known law, and what it promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from napari_i2ipr.errors import InputError
from napari_i2ipr.refine.uncertainty import KNOTS, LEVELS, MIN_IMAGES, Calibration, _half_width

IMAGES, SHAPE = 300, (40, 33)


def true_variance(raw: np.ndarray) -> np.ndarray:
    """The law of the made-up errors: raw variances are too small, and too spread."""
    return 3 * raw**0.6


def made_up(count: int, seed: int, *, difficulty: float = 0.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Raw variances and squared errors of images; `difficulty` is the spread of what they have in common."""
    rng = np.random.default_rng(seed)
    raw = [np.exp(rng.normal(-4, 1, SHAPE)).astype(np.float32) for _ in range(count)]
    factor = np.exp(rng.normal(0, difficulty, count) - difficulty**2 / 2)
    return raw, [f * true_variance(r) * rng.standard_normal(SHAPE) ** 2 for f, r in zip(factor, raw, strict=True)]


def covered(calibration: Calibration, raw: Sequence[np.ndarray], squared: Sequence[np.ndarray], level: float) -> float:
    """Mean share of the images' pixels within the interval."""
    scale = calibration.scales[f"{level:g}"]
    return float(np.mean([np.mean(e <= scale**2 * calibration.variance(r)) for r, e in zip(raw, squared, strict=True)]))


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return Calibration.fit(*made_up(IMAGES, 0))


def test_the_variance_is_recovered(fitted: Calibration) -> None:
    raw = np.exp(np.linspace(-6, -2, 200))  # two standard deviations either way
    ratio = fitted.variance(raw) / true_variance(raw)
    assert abs(ratio.mean() - 1) < 0.02
    assert np.abs(ratio - 1).max() < 0.12
    inner = (raw > np.exp(-5)) & (raw < np.exp(-3))
    assert np.abs(ratio[inner] - 1).max() < 0.06
    fresh, squared = made_up(50, 1)
    z2 = np.mean([e / fitted.variance(r) for r, e in zip(fresh, squared, strict=True)])
    assert z2 == pytest.approx(1, abs=0.02)


def test_the_curve_never_falls(fitted: Calibration) -> None:
    assert len(fitted.raw) == len(fitted.expected) == KNOTS
    assert fitted.images == IMAGES
    assert (np.diff(fitted.raw) > 0).all()
    assert (np.diff(fitted.expected) >= 0).all()
    few, squared = made_up(MIN_IMAGES, 5)
    noisy = Calibration.fit([r[:2, :2] for r in few], [e[:2, :2] for e in squared])
    assert (np.diff(noisy.raw) > 0).all()
    assert (np.diff(noisy.expected) >= 0).all()


def test_finite_and_rising_beyond_the_knots(fitted: Calibration) -> None:
    raw = np.concatenate([[0.0], np.geomspace(1e-30, 1e6, 2000)])
    variance = fitted.variance(raw)
    assert variance.shape == raw.shape
    assert np.isfinite(variance).all()
    assert (variance > 0).all()
    assert (np.diff(variance) >= 0).all()
    low, high = fitted.raw[0], fitted.raw[-1]
    np.testing.assert_allclose(fitted.variance(np.array([low, high])), [fitted.expected[0], fitted.expected[-1]])
    np.testing.assert_allclose(
        fitted.variance(np.array([low / 8, high * 8])), [fitted.expected[0] / 8, fitted.expected[-1] * 8]
    )
    assert fitted.variance(np.float32([[low, high]])).shape == (1, 2)


def test_errors_of_zero_give_a_positive_variance() -> None:
    raw, squared = made_up(MIN_IMAGES, 0)
    calibration = Calibration.fit(raw, [np.zeros_like(e) for e in squared])
    assert (calibration.variance(np.geomspace(1e-9, 1e3, 99)) > 0).all()
    assert all(np.isfinite(scale) and scale >= 0 for scale in calibration.scales.values())


def test_scales_are_those_of_the_law(fitted: Calibration) -> None:
    """Errors are normal, so the half widths are the normal distribution's."""
    from scipy.stats import norm

    assert list(fitted.scales) == [f"{level:g}" for level in LEVELS]
    scales = np.array(list(fitted.scales.values()))
    assert (np.diff(scales) > 0).all()
    np.testing.assert_allclose(scales, norm.ppf(0.5 + np.array(LEVELS) / 2), rtol=0.05)


@pytest.mark.parametrize("difficulty", [0.0, 0.5])
def test_coverage_of_fresh_images(difficulty: float) -> None:
    calibration = Calibration.fit(*made_up(IMAGES, 2, difficulty=difficulty))
    raw, squared = made_up(IMAGES, 3, difficulty=difficulty)
    for level in LEVELS:
        assert covered(calibration, raw, squared, level) == pytest.approx(level, abs=0.02)


def test_coverage_holds_on_average_over_small_calibrations() -> None:
    """The guarantee is an expectation over calibration and test images, however few there are."""
    reached = []
    for seed in range(30):
        raw, squared = made_up(MIN_IMAGES + 10, 100 + seed, difficulty=0.7)
        small = [(r[:12, :12], e[:12, :12]) for r, e in zip(raw, squared, strict=True)]
        calibration = Calibration.fit(*map(list, zip(*small[:MIN_IMAGES], strict=True)))
        reached.append([covered(calibration, *map(list, zip(*small[MIN_IMAGES:], strict=True)), v) for v in LEVELS])
    means, errors = np.mean(reached, 0), np.std(reached, 0) / np.sqrt(len(reached))
    assert (means >= np.array(LEVELS) - 3 * errors - 0.01).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [20, 25, 60])
def test_the_half_width_by_brute_force(level: float, count: int) -> None:
    rng = np.random.default_rng(count)
    ratios = [np.sort(np.abs(rng.normal(size=rng.integers(3, 12)))) for _ in range(count)]
    fine = [
        s
        for s in np.concatenate([[0.0], *ratios])
        if (sum(float(np.mean(r > s)) for r in ratios) + 1) / (count + 1) <= 1 - level
    ]
    assert _half_width(ratios, level) == pytest.approx(min(fine), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_with_the_fewest_images_the_widest_interval_misses_nothing(level: float) -> None:
    ratios = [np.sort(np.abs(np.random.default_rng(i).normal(size=50))) for i in range(MIN_IMAGES)]
    width = _half_width(ratios, level)
    missed = sum(float(np.mean(r > width)) for r in ratios)
    assert (missed + 1) / (MIN_IMAGES + 1) <= 1 - level


def test_every_image_counts_the_same() -> None:
    """Large images do not outvote small ones."""
    rng = np.random.default_rng(0)
    large = [np.full(2000, 1e-2) * np.exp(rng.normal(0, 0.01, 2000)) for _ in range(20)]
    small = [np.full(20, 1e-2) * np.exp(rng.normal(0, 0.01, 20)) for _ in range(20)]
    errors = [np.full(r.size, 1e-2) for r in large] + [np.full(r.size, 3e-2) for r in small]
    calibration = Calibration.fit(large + small, errors)
    assert float(np.mean(calibration.variance(np.full(9, 1e-2)))) == pytest.approx(2e-2, rel=0.1)


@pytest.mark.parametrize("count", [0, 1, MIN_IMAGES - 1])
def test_too_few_images(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} images to calibrate on; expected at least {MIN_IMAGES}"):
        Calibration.fit(*made_up(count, 0))


def test_json_round_trip(fitted: Calibration) -> None:
    again = Calibration.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    raw = np.geomspace(1e-6, 1, 50)
    np.testing.assert_array_equal(again.variance(raw), fitted.variance(raw))

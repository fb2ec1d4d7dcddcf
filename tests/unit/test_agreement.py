"""Scores against every pixel of a pattern, and the halves of its photons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate.agreement import against, photon, poisson
from napari_i2ipr.evaluate.halves import thinned
from napari_i2ipr.shells import Grid

BOX = (8, 10, 16, 20)
FRAME = (32, 40)


def image(*, is_complex: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.random(BOX[2:], dtype=np.float32)
    return values * np.exp(1j * rng.random(BOX[2:])).astype(np.complex64) if is_complex else values


def result(values: np.ndarray, **more: object) -> Reconstruction:
    spread = np.zeros(values.shape, np.float32)
    return Reconstruction(values, spread, BOX, FRAME, **more)


def intensity(values: np.ndarray) -> np.ndarray:
    whole = np.zeros(FRAME, values.dtype)
    whole[8:24, 10:30] = values
    return np.abs(np.fft.fftshift(np.fft.fft2(whole, norm="ortho"))) ** 2


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_image_itself_agrees(is_complex: bool) -> None:
    values = image(is_complex=is_complex)
    found = against(result(7 * values), Measurement(intensity(values).astype(np.float32)))  # the scale is fitted
    assert found.r_factor < 1e-5
    assert found.chi < 1e-5
    assert np.nanmax(found.misfit) < 1e-3
    assert found.measured == 32 * 40


def test_equations() -> None:
    """R, chi and R by shell written out over the measured pixels."""
    values = image()
    seen = intensity(values) * np.random.default_rng(1).uniform(0.5, 1.5, FRAME)
    bad = np.random.default_rng(2).random(FRAME) < 0.1
    frame = Measurement(np.where(bad, 1e9, 3 * seen).astype(np.float32), bad_pixels=bad, intensity_scale=1 / 3)
    found = against(result(values), frame)
    F, A = np.sqrt(intensity(values))[~bad], np.sqrt(seen)[~bad]
    s = (F * A).sum() / (F * F).sum()
    assert found.r_factor == pytest.approx(np.abs(s * F - A).sum() / A.sum(), rel=1e-4)
    assert found.chi == pytest.approx(np.linalg.norm(s * F - A) / np.linalg.norm(A), rel=1e-4)
    assert found.measured == (~bad).sum()
    ring = np.fft.fftshift(Grid.of(FRAME, half=False).ring)
    here = (ring == 5) & ~bad
    misfit = np.abs(s * np.sqrt(intensity(values)) - np.sqrt(seen))
    assert found.misfit[5] == pytest.approx(misfit[here].sum() / np.sqrt(seen)[here].sum(), rel=1e-4)
    assert found.n[5] == here.sum()


@pytest.mark.parametrize("level", [0.01, 0.3, 2, 40, 500, 1e6])
def test_perfect_model_has_log_likelihood_one(level: float) -> None:
    rng = np.random.default_rng(0)
    expected = level * rng.uniform(0.5, 1.5, 200_000)
    counts = rng.poisson(expected)
    assert poisson(counts, expected) == pytest.approx(1, abs=0.03)
    assert poisson(counts, expected[::-1]) > poisson(counts, expected)


def test_deviance() -> None:
    """Twice the log-likelihood that the model lacks, over its expectation, as scipy has it."""
    from scipy.stats import poisson as distribution

    n, model = np.array([0, 1, 5, 12]), np.array([0.5, 2.0, 4.0, 30.0])
    lacking = 2 * (distribution.logpmf(n, np.maximum(n, 1e-300)) - distribution.logpmf(n, model)).sum()
    k = np.arange(200)[:, None]
    each = 2 * (distribution.logpmf(k, np.maximum(k, 1e-300)) - distribution.logpmf(k, model))
    expected = (distribution.pmf(k, model) * each).sum()
    assert poisson(n, model) == pytest.approx(lacking / expected, rel=1e-3)
    assert math.isfinite(poisson(np.array([3.0]), np.array([0.0])))


def test_noise_alone_explains_the_r_factor_of_the_truth() -> None:
    values = 30 * image()
    counts = np.random.default_rng(0).poisson(intensity(values)).astype(np.float32)
    found = against(result(values), Measurement(counts))
    assert found.log_likelihood == pytest.approx(1, abs=0.1)
    assert found.r_factor == pytest.approx(found.r_factor_noise, rel=0.1)
    assert found.photons == counts.sum()
    assert "whole numbers" in found.counted_by


def test_how_photons_are_counted() -> None:
    frame = Measurement(np.full(FRAME, 2.5, np.float32), alpha=3.0)
    known = result(image(), scores={"alpha": 0.5})
    assert photon(known, frame)[0] == 36
    unknown = replace(frame, alpha=None)
    assert photon(known, unknown)[0] == 1
    assert math.isnan(photon(result(image()), unknown)[0])
    whole = replace(unknown, intensity=np.full(FRAME, 2, np.float32), intensity_scale=0.25)
    assert photon(result(image()), whole)[0] == 0.25
    assert photon(result(image(), scores={"alpha": 0.26}), whole)[0] == 0.25  # 0.27 by the noise: that of photons
    assert photon(known, whole)[0] == 1  # four units of noise a photon: a detector with a gain
    assert math.isnan(photon(known, replace(whole, alpha=0.0))[0])
    assert "no noise" in photon(known, replace(whole, alpha=0.0))[1]


def test_pattern_of_another_size() -> None:
    with pytest.raises(InputError, match="32 x 40 px of the pattern that was reconstructed"):
        against(result(image()), Measurement(np.ones((40, 32), np.float32)))


def test_halves_add_up_and_are_independent() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(1, 50, (96, 96))
    bad = np.zeros((96, 96), bool)
    bad[40:50, 40:50] = True
    whole = Measurement(2 * rng.poisson(mean).astype(np.float32), bad_pixels=bad, intensity_scale=0.25)
    one, other = thinned(whole, 0.5)  # a photon is two units of 0.25
    total = np.asarray(one.intensity) + np.asarray(other.intensity)
    np.testing.assert_array_equal(total, np.where(bad, 0, whole.intensity / 2))
    np.testing.assert_array_equal(one.bad_pixels, bad)
    for half in (one, other):
        assert half.intensity.sum() * half.intensity_scale == pytest.approx(
            np.where(bad, 0, whole.intensity).sum() * 0.25, rel=0.01
        )
        assert half.intensity_scale / (4 * half.alpha**2) == pytest.approx(1)  # a unit is a photon
    # what is left after the mean is Poisson noise of each half, and uncorrelated (binomial thinning)
    a, b = ((np.asarray(half.intensity) - mean / 2)[~bad] / np.sqrt(mean / 2)[~bad] for half in (one, other))
    assert a.var() == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.04
    again, _ = thinned(whole, 0.5)
    np.testing.assert_array_equal(again.intensity, one.intensity)
    assert not np.array_equal(thinned(whole, 0.5, seed=1)[0].intensity, one.intensity)


@pytest.mark.parametrize("unit", [math.nan, 0.0])
def test_photons_that_cannot_be_counted(unit: float) -> None:
    with pytest.raises(InputError, match="cannot be counted"):
        thinned(Measurement(np.ones((32, 32), np.float32)), unit)


def test_too_few_photons() -> None:
    with pytest.raises(InputError, match="photons for two halves"):
        thinned(Measurement(np.full((32, 32), 1e-6, np.float32)), 1.0)

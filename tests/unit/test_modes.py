"""Modes of solutions, the canonical phase of a complex image, and its circular uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_i2ipr.config import Config
from napari_i2ipr.errors import InputError
from napari_i2ipr.modes import canonical, modes, of_result, spread
from napari_i2ipr.phantoms import cell
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.simulation import simulate

Array = np.ndarray[Any, Any]


def drawn(shape: tuple[int, ...], seed: int, *, real: bool) -> Array:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    return values if real else values + 1j * rng.normal(size=shape)


both_kinds = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


@both_kinds
def test_modes_are_the_singular_value_decomposition(real: bool) -> None:
    images, weights = drawn((5, 7, 6), 1, real=real), np.array([1, 0, 2, 0.5, 1])
    found = modes(images, weights)
    used = weights > 0
    flat = (np.sqrt(weights / weights.sum())[:, None] * images.reshape(5, -1))[used]
    _, values, vectors = np.linalg.svd(flat, full_matrices=False)
    np.testing.assert_allclose(found.shares, values**2 / np.sum(values**2), atol=1e-12)
    assert found.shares.sum() == pytest.approx(1)
    for mode, value, vector in zip(found.images.reshape(4, -1), values, vectors, strict=True):
        assert np.linalg.norm(mode) == pytest.approx(value)
        assert abs(np.vdot(vector, mode)) == pytest.approx(value)
        mean = images[used].mean(0).ravel()
        inner = np.vdot(mode, mean)
        assert inner.real == pytest.approx(abs(inner))


@both_kinds
def test_equal_solutions_have_one_mode_and_unlike_ones_many(real: bool) -> None:
    one = drawn((7, 6), 1, real=real)
    same = modes(np.stack([one, one, one]))
    assert same.shares[0] == pytest.approx(1)
    np.testing.assert_allclose(same.images[0], one)
    apart = modes(drawn((4, 60, 60), 1, real=real))
    assert apart.shares[0] < 0.3


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0, 0.0], [1.0, -1.0, 1.0]])
def test_weights_that_say_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights"):
        modes(drawn((3, 4, 5), 1, real=True), weights)


@pytest.mark.parametrize("ramp", [(0.0, 0.0), (0.3, -0.2), (-1.1, 0.05)])
def test_phase_and_ramp_are_taken_out(ramp: tuple[float, float]) -> None:
    y, x = np.mgrid[:20, :24]
    image = (1 + np.exp(-((y - 9) ** 2 + (x - 11) ** 2) / 40)) * np.exp(0.2j * np.cos(y / 3) * np.cos(x / 4))
    base = canonical(image)
    found = canonical(image * np.exp(1j * (ramp[0] * y + ramp[1] * x + 2.2)))
    np.testing.assert_allclose(found.image, base.image, atol=1e-9)
    np.testing.assert_allclose(found.ramp, np.add(base.ramp, ramp), atol=1e-9)
    total = (np.abs(found.image) * found.image).sum()
    assert total.real > 0
    assert abs(total.imag) < 1e-9 * total.real
    np.testing.assert_allclose(np.abs(found.image), np.abs(image))


def test_the_ramp_may_stay() -> None:
    image = drawn((8, 9), 1, real=False)
    found = canonical(image, ramp=False)
    assert found.ramp == (0.0, 0.0)
    np.testing.assert_allclose(found.image, image * np.exp(-1j * found.global_phase))


def test_a_real_image_has_no_phase() -> None:
    with pytest.raises(InputError, match="real image"):
        canonical(np.ones((4, 4)))


def test_phases_near_the_cut_of_the_circle_have_a_small_spread() -> None:
    """Plus and minus 3.1 rad lie 0.08 rad apart, not 6.2."""
    angles = np.array([3.1, -3.1, 3.12, -3.12])
    found = spread(2 * np.exp(1j * angles)[:, None, None] * np.ones((1, 3, 3)))
    assert abs(abs(float(found.phase[0, 0])) - np.pi) < 1e-3
    assert float(found.phase_deviation[0, 0]) == pytest.approx(np.std(angles % (2 * np.pi)), rel=1e-3)
    assert float(found.amplitude_deviation[0, 0]) == pytest.approx(0, abs=1e-6)


def test_small_circular_spreads_are_standard_deviations_and_large_ones_are_capped() -> None:
    rng = np.random.default_rng(0)
    angles = rng.normal(0, 0.1, (4000, 1, 1))
    found = spread((1 + rng.normal(0, 0.05, angles.shape)) * np.exp(1j * angles))
    assert float(found.phase_deviation[0, 0]) == pytest.approx(angles.std(), rel=0.01)
    assert float(found.amplitude_deviation[0, 0]) == pytest.approx(0.05, rel=0.05)
    opposite = spread(np.array([1, -1, 1j, -1j]).reshape(-1, 1, 1))
    assert float(opposite.phase_deviation[0, 0]) == pytest.approx(np.pi)


def test_weights_count_as_copies() -> None:
    images = drawn((3, 4, 5), 1, real=False)
    weighted, copied = spread(images, [2, 1, 0]), spread(images[[0, 0, 1]])
    for name in ("amplitude", "phase", "amplitude_deviation", "phase_deviation"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(copied, name), atol=1e-6)


@pytest.mark.filterwarnings("ignore::napari_i2ipr.errors.DataWarning")
def test_of_a_result() -> None:
    image = cell(32, 0) / 255 * np.exp(1j * cell(32, 1) / 300)
    config = Config.from_preset(
        "fast", object="complex", keep_candidates=True, compute={"threads": 1}, initialisation={"n_starts": 6}
    )
    result = reconstruct(simulate(image, seed=0), config, device="cpu")
    found, phases = of_result(result)
    assert found.shares[0] == pytest.approx(result.scores["first_mode"], rel=1e-4)
    assert phases is not None
    np.testing.assert_allclose(phases.amplitude, np.abs(result.image), atol=1e-4)
    with pytest.raises(InputError, match="without candidate images"):
        of_result(reconstruct(simulate(image, seed=0), config.replace(keep_candidates=False), device="cpu"))

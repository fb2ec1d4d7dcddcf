"""Simulated patterns: geometry, noise, the detector's faults, and the sample images."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import torch

from napari_i2ipr.errors import CancelledError, ConfigError, InputError
from napari_i2ipr.phantoms import cell, scene
from napari_i2ipr.physics.noise import snr_db
from napari_i2ipr.physics.support import half_box
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.simulation import frame_shape, photons_of_alpha, simulate
from napari_i2ipr.simulation_options import OPTIONS


def ideal(image: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """The pattern by numpy, the object padded at the corner (its place does not matter)."""
    return np.fft.fftshift(np.abs(np.fft.fft2(image.astype(complex), frame, norm="ortho")) ** 2)


@pytest.mark.parametrize(
    ("size", "oversampling", "frame"),
    [
        ((32, 32), 2, (64, 64)),
        ((31, 20), 2, (62, 40)),
        ((30, 50), 1.1, (33, 55)),
        ((33, 21), 1.5, (50, 32)),
        ((17, 24), 1, (17, 24)),
        ((16, 17), 3.3, (53, 57)),
    ],
)
def test_frame_and_pattern(size: tuple[int, int], oversampling: float, frame: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random(size)
    measurement = simulate(image, oversampling=oversampling)
    expected = ideal(image, frame)
    assert measurement.intensity.dtype == np.float32
    np.testing.assert_allclose(measurement.intensity, expected, rtol=1e-5, atol=1e-6 * expected.max())
    assert np.unravel_index(measurement.intensity.argmax(), frame) == (frame[0] // 2, frame[1] // 2)
    assert measurement.alpha == 0
    assert measurement.intensity_scale == 1
    assert measurement.bad_pixels is None
    box = half_box(frame).numpy() if measurement.support is None else measurement.support
    assert box.sum() == size[0] * size[1]
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    assert (rows[0], columns[0]) == ((frame[0] - size[0]) // 2, (frame[1] - size[1]) // 2)
    assert (measurement.support is None) == (frame[0] // 2 == size[0] and frame[1] // 2 == size[1])


def test_complex_object() -> None:
    rng = np.random.default_rng(2)
    image = rng.random((20, 21)) * np.exp(1j * rng.random((20, 21)))
    measurement = simulate(image.astype(np.complex64), oversampling=2.5)
    np.testing.assert_allclose(measurement.intensity, ideal(image, (50, 53)), rtol=1e-3, atol=1e-5)
    noisy = simulate(image, alpha=3, oversampling=2.5)
    assert noisy.alpha == pytest.approx(3 * np.ptp(np.abs(image)) / 255)


@pytest.mark.parametrize(("alpha", "expected_db"), [(2, 33.2), (3, 31.5), (4, 30.2)])
def test_noise_level_of_the_paper(alpha: float, expected_db: float) -> None:
    """The published mean signal-to-noise ratios of natural images of 256 x 256 pixels."""
    image = scene(256, 0)
    clean = torch.from_numpy(simulate(image).intensity)
    levels = [snr_db(clean, torch.from_numpy(simulate(image, alpha=alpha, seed=s).intensity)) for s in range(8)]
    assert np.mean(levels) == pytest.approx(expected_db, abs=0.7)


def test_alpha_follows_the_range_of_the_image() -> None:
    eight_bit = cell(32, 0)
    eight_bit[0, :2] = 0, 255
    units = eight_bit / 255.0
    a, b = simulate(eight_bit, alpha=3, seed=4), simulate(units, alpha=3, seed=4)
    assert a.alpha == 3
    assert b.alpha == pytest.approx(3 / 255)
    np.testing.assert_allclose(b.intensity * 255**2, a.intensity, rtol=1e-4, atol=1e-2)


def test_photons() -> None:
    image = cell(64, 1)
    measurement = simulate(image, photons=1e6, seed=1)
    counts = measurement.intensity
    assert (counts == np.round(counts)).all()
    assert counts.sum() == pytest.approx(1e6, rel=0.01)
    clean = ideal(image, (128, 128))
    assert measurement.intensity_scale == pytest.approx(clean.sum() / 1e6)
    assert measurement.alpha == pytest.approx((clean.sum() / 4e6) ** 0.5)
    bright = clean > np.quantile(clean, 0.999)
    np.testing.assert_allclose((counts * measurement.intensity_scale)[bright], clean[bright], rtol=0.5)


def test_alpha_is_the_gaussian_limit_of_photons() -> None:
    image = cell(64, 1)
    poisson = simulate(image, photons=1e8, seed=1)
    clean = simulate(image).intensity
    gauss = simulate(image, alpha=poisson.alpha, seed=1).intensity  # 8-bit: its own alpha is the paper's
    deviations = [
        ((pattern - clean) / np.sqrt(clean))[clean > 1e3]
        for pattern in (gauss, poisson.intensity * poisson.intensity_scale)
    ]
    assert np.std(deviations[0]) == pytest.approx(np.std(deviations[1]), rel=0.1)


def test_stack_shares_exposure_and_differs_in_noise() -> None:
    stack = np.stack([cell(32, 0), cell(32, 0), cell(32, 0) // 2])[None]
    measurement = simulate(stack, photons=1e5, seed=3)
    assert measurement.shape == (1, 3, 64, 64)
    totals = measurement.intensity.sum((0, 2, 3))
    assert totals[0] == pytest.approx(4 * totals[2], rel=0.05)
    assert totals.sum() == pytest.approx(3e5, rel=0.02)
    assert not np.array_equal(measurement.intensity[0, 0], measurement.intensity[0, 1])


def test_seed_fixes_everything() -> None:
    image = cell(32, 0)
    settings = {"alpha": 3, "dead_pixels": 5}
    first, again, other = (simulate(image, seed=s, **settings) for s in (7, 7, 8))
    assert np.array_equal(first.intensity, again.intensity)
    assert np.array_equal(first.bad_pixels, again.bad_pixels)
    assert not np.array_equal(first.intensity, other.intensity)
    assert not np.array_equal(first.bad_pixels, other.bad_pixels)
    alone = simulate(np.stack([image, image]), seed=7, **settings)
    assert np.array_equal(alone.intensity[0], first.intensity)


def test_the_global_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    simulate(cell(32, 0), alpha=3)
    assert torch.equal(torch.rand(1), expected)


def test_detector_faults() -> None:
    image = cell(48, 0)
    plain = simulate(image, photons=1e6, seed=2).intensity
    level = float(np.sort(plain.ravel())[-20])
    measurement = simulate(image, photons=1e6, seed=2, beamstop_px=3, dead_pixels=12, offset=5, saturation=level)
    bad, intensity = measurement.bad_pixels, measurement.intensity
    ky, kx = np.indices((96, 96)) - 48
    disc = np.hypot(ky, kx) <= 3
    assert bad[disc].all()
    dead = bad & ~disc
    assert 10 <= dead.sum() <= 12
    assert (intensity[dead] == 0).all()
    assert set(np.unique(intensity[disc])) <= {0, 5}
    assert intensity.max() == level
    np.testing.assert_array_equal(intensity[~bad], np.minimum(plain + 5, level)[~bad])
    assert not bad[(intensity == level) & ~disc].any(), "a detector does not tell what is saturated"


def test_truth_stays_out() -> None:
    measurement = simulate(cell(32, 0), alpha=np.float64(2), dead_pixels=np.int64(3), oversampling=3)
    words = json.loads(json.dumps(measurement.provenance))
    assert words["simulation"]["alpha"] == 2
    assert words["simulation"]["object_shape"] == [32, 32]
    assert len(json.dumps(words)) < 500


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 3, "photons": 1e6},
        {"alpha": -1},
        {"alpha": np.nan},
        {"photons": 0},
        {"photons": np.inf},
        {"oversampling": 0.9},
        {"oversampling": 100},
        {"oversampling": "2"},
        {"beamstop_px": -1},
        {"beamstop_px": 1000},
        {"saturation": 0},
        {"dead_pixels": 0.5},
        {"dead_pixels": -1},
        {"dead_pixels": 10**6},
        {"dead_pixels": True},
        {"offset": np.inf},
        {"seed": -1},
        {"seed": 1.5},
    ],
    ids=str,
)
def test_settings_are_checked(settings: dict) -> None:
    with pytest.raises(ConfigError, match=r"got .*; expected"):
        simulate(cell(32, 0), **settings)


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (np.ones(32), {}),
        (np.ones((0, 32)), {}),
        (np.ones((32, 32)), {"alpha": 3}),
        (np.exp(1j * np.ones((32, 32))), {"alpha": 3}),
        (np.zeros((32, 32)), {}),
        (np.stack([np.ones((32, 32)), np.zeros((32, 32))]), {}),
        (-np.ones((32, 32)), {}),
        (np.full((32, 32), np.nan), {}),
        (np.full((32, 32), "x"), {}),
        (np.ones((7, 32)), {}),
    ],
    ids=["1-d", "empty", "constant", "phase only", "zero", "zero frame", "negative", "nan", "text", "small"],
)
def test_images_are_checked(image: np.ndarray, settings: dict) -> None:
    with pytest.raises(InputError, match=r"got .*; expected"):
        simulate(image, **settings)


@pytest.mark.parametrize("make", [cell, scene])
@pytest.mark.parametrize("n", [16, 61, 128])
def test_sample_images(make, n: int) -> None:
    image = make(n, 3)
    assert image.shape == (n, n)
    assert image.dtype == np.uint8
    assert image.min() > 0
    assert image.std() > 20
    assert np.array_equal(image, make(n, 3))
    assert not np.array_equal(image, make(n, 4))
    twin = np.corrcoef(image.ravel(), image[::-1, ::-1].ravel())[0, 1]
    assert abs(twin) < 0.6, "its orientation can be told"


def test_sample_image_too_small() -> None:
    with pytest.raises(InputError, match="at least 16"):
        cell(15)


def test_scene_has_the_spectrum_of_photographs() -> None:
    """Power falls about as 1 / f^2."""
    power = np.mean([ideal(scene(128, s) - 120.0, (128, 128)) for s in range(4)], axis=0)
    ky, kx = np.indices((128, 128)) - 64
    radius = np.hypot(ky, kx)
    shells = [power[(radius >= r) & (radius < 1.3 * r)].mean() for r in (4, 32)]
    slope = np.log(shells[0] / shells[1]) / np.log(8)
    assert 1.5 < slope < 2.9


def test_every_setting_is_described() -> None:
    """Forms and --help are made of `OPTIONS`, defaults of the arguments."""
    arguments = set(inspect.signature(simulate).parameters) - {"image", "on_event", "cancel"}
    assert arguments == set(OPTIONS)
    for name, option in OPTIONS.items():
        assert option.text.endswith(".")
        assert option.allows(option.default)
        assert inspect.signature(simulate).parameters[name].default == option.default
        assert not option.allows(float("nan"))
        assert not option.allows("3")
        assert not option.allows(True)
    assert OPTIONS["photons"].words() == "a number above 0"
    assert OPTIONS["seed"].words() == "a whole number of at least 0"
    assert OPTIONS["oversampling"].words() == "a number of at least 1 and at most 64"


def test_photons_of_alpha() -> None:
    image = cell(48, 3)
    made = simulate(image, alpha=3)
    counts = made.intensity.sum() * made.intensity_scale / (4 * made.alpha**2)
    assert photons_of_alpha(image, 3) == pytest.approx(counts, rel=0.01)
    stack = np.stack([image, image // 2])
    assert photons_of_alpha(stack, 3) == pytest.approx((1 + 1 / 4) / 2 * photons_of_alpha(image, 3), rel=0.02)
    assert frame_shape((10, 21), 1.1) == (11, 24)


def test_progress_and_stop() -> None:
    stack, cancel = np.stack([cell(20, 0)] * 5), Cancel()
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if event.done == 2:
            cancel.set()

    with pytest.raises(CancelledError, match="after 2 of 5"):
        simulate(stack, on_event=on_event, cancel=cancel)
    assert [(event.stage, event.done, event.total) for event in events] == [("simulate", 1, 5), ("simulate", 2, 5)]

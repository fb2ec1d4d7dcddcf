"""Every step of a preparation by itself, on patterns whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_i2ipr.errors import InputError
from napari_i2ipr.phantoms import cell, scene
from napari_i2ipr.prepare import photons
from napari_i2ipr.prepare.background import constant_background, radial_background
from napari_i2ipr.prepare.centre import find_centre
from napari_i2ipr.prepare.detector import around, dark_of, dead_pixels, flat_of, hot_pixels
from napari_i2ipr.prepare.frame import binned, span, support_in, taken
from napari_i2ipr.prepare.frames import sum_frames
from napari_i2ipr.prepare.gaps import interpolated
from napari_i2ipr.prepare.sampling import oversampling
from napari_i2ipr.simulation import simulate

SHAPES = [(96, 96), (97, 96), (95, 113), (128, 80)]


def pattern(shape: tuple[int, int], center: tuple[float, float], counts: float, seed: int = 0) -> np.ndarray:
    """Photons of a real object's pattern whose zero frequency lies anywhere, also between pixels."""
    obj = scene(32, seed)[:, :24].astype(float)
    return _photons(obj, shape, center, counts, seed)


def _photons(obj: np.ndarray, shape: tuple, center: tuple, counts: float, seed: int) -> np.ndarray:
    wave = [
        np.exp(-2j * np.pi * np.outer((np.arange(n) - c) / n, np.arange(h) - h // 2))
        for n, c, h in zip(shape, center, obj.shape, strict=True)
    ]
    clean = np.abs(wave[0] @ obj @ wave[1].T) ** 2
    return np.random.default_rng(seed).poisson(clean * counts / clean.sum()).astype(float)


def none(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, bool)


# The centre


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [(0, 0), (0.5, 0), (-7.5, 11), (20.5, -17.5)])
@pytest.mark.parametrize("counts", [3e3, 1e6])
def test_the_centre_of_a_real_object_is_found_exactly(shape: tuple, offset: tuple, counts: float) -> None:
    center = shape[0] // 2 + offset[0], shape[1] // 2 + offset[1]
    found = find_centre(pattern(shape, center, counts))
    assert found.found
    assert found.position == center


@settings(max_examples=15, deadline=None)
@given(st.integers(-48, 48), st.integers(-48, 48), st.integers(0, 5))
def test_the_centre_up_to_a_quarter_of_the_frame_off(dy: int, dx: int, seed: int) -> None:
    center = 48 + dy / 2, 49 + dx / 2
    assert find_centre(pattern((96, 98), center, 1e5, seed)).position == center


@pytest.mark.parametrize("seed", range(4))
def test_the_centre_behind_beamstop_gaps_saturation_and_offset(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape, center = (113, 128), (48.5, 71.0)
    values = pattern(shape, center, 1e6, seed) + 20
    y, x = np.indices(shape)
    bad = np.hypot(y - 46, x - 72) < 5
    bad |= (x > 30) & (x < 36) | (y > 80) & (y < 84) | (x > 68) & (x < 71) & (y < 46)
    level = np.sort(values[~bad])[-20]
    bad |= values >= level
    values[bad] = rng.choice([0, 1e9], bad.sum())
    found = find_centre(values, bad)
    assert found.position == center
    assert found.correlation > 0.8


def test_hot_pixels_do_not_move_the_centre() -> None:
    values, rng = pattern((96, 96), (50, 44.5), 1e5), np.random.default_rng(1)
    values[tuple(rng.integers(0, 96, (2, 12)))] = 1e6
    assert find_centre(values, hot_pixels(values, none(values.shape))).position == (50, 44.5)


def test_the_centre_of_a_complex_object_is_found_nearly() -> None:
    obj = cell(48, 0) * np.exp(
        1.5j * ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((48, 48)), 6) * 8
    )
    found = find_centre(_photons(obj, (144, 144), (80, 66), 1e7, 0))
    assert found.found
    assert max(abs(found.position[0] - 80), abs(found.position[1] - 66)) <= 2
    assert found.correlation < 0.99


@pytest.mark.slow
def test_the_centre_of_a_large_frame() -> None:
    obj = np.zeros((60, 60))
    obj[10:50, 5:55] = scene(50, 3)[:40]
    shape = (1300, 1100)
    found = find_centre(_photons(obj, shape, (702.5, 411), 1e7, 0))
    assert found.position == (702.5, 411)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((64, 64)),
        np.zeros((64, 64)),
        np.random.default_rng(0).poisson(100, (128, 128)),
        np.random.default_rng(0).poisson(0.02, (128, 128)),
        np.random.default_rng(0).normal(0, 1, (100, 151)),
        np.random.default_rng(0).poisson(10 + np.arange(128.0)[:, None] + np.zeros(128)),
        np.where(np.random.default_rng(0).random((128, 128)) < 3e-4, 1e5, 2.0),
        np.eye(64)[::-1] * 0 + np.pad([[9.0]], (20, 43)),
    ],
    ids=["alike", "zeros", "noise", "few photons", "negative noise", "slope", "hot pixels", "one pixel"],
)
def test_no_centre_where_there_is_none(values: np.ndarray) -> None:
    found = find_centre(values.astype(float))
    assert not found.found
    assert found.reason
    assert found.position == (values.shape[0] // 2, values.shape[1] // 2)


def test_no_centre_without_pixels() -> None:
    with pytest.raises(InputError, match="all pixels masked"):
        find_centre(np.ones((32, 32)), np.ones((32, 32), bool))


# The frame


@settings(max_examples=200, deadline=None)
@given(
    st.integers(16, 400),
    st.integers(0, 798),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(16, 99),
)
def test_a_span_has_the_centre_at_the_middle(  # noqa: PLR0917
    n: int, half: int, b: int, pad: bool, fast: bool, length: int | None
) -> None:
    center = min(half, 2 * n - 2) / 2
    side = span(center, n, binning=b, length=length, pad=pad, fast=fast)
    middle = side.start + side.length // 2 * b + (b - 1) / 2
    assert middle + side.remainder * b == pytest.approx(center)
    assert abs(side.remainder) <= 0.5
    if (2 * center) % 2 == (b - 1) % 2:
        assert side.remainder == 0, "odd bins lie on pixels, even ones between them"
    if length is not None:
        assert side.length == length
    elif pad:
        assert side.start <= 0
        assert side.stop >= n
    elif side.length:
        assert side.start >= 0
        assert side.stop <= n
    if fast and length is None and side.length:
        left = side.length
        for factor in (2, 3, 5):
            while left % factor == 0:
                left //= factor
        assert left == 1


@given(st.integers(16, 400))
def test_a_centred_side_is_left_alone(n: int) -> None:
    assert span(n // 2, n) == span(n // 2, n, pad=True)
    assert (span(n // 2, n).start, span(n // 2, n).length) == (0, n)
    assert span(n // 2 - 0.5, n).length >= n - 1


def test_padding_is_outside_and_cropping_is_not() -> None:
    values = np.arange(12.0).reshape(3, 4)
    out = taken(values, span(0, 3, length=5), span(2, 4, length=2), -1.0)
    np.testing.assert_array_equal(out, [[-1, -1], [-1, -1], [1, 2], [5, 6], [9, 10]])


def test_bins_sum_counts_and_are_bad_with_any_of_their_pixels() -> None:
    values, why = np.arange(36.0).reshape(6, 6), np.zeros((6, 6), np.uint8)
    why[0, 0] = 3
    total, reason = binned(values, why, 2)
    assert total[1, 1] == 14 + 15 + 20 + 21
    assert (reason[0, 0], total[0, 0]) == (3, 0)
    assert reason.sum() == 3
    shared, good = binned(values, why, 2, share=0.25)
    assert not good.any()
    assert shared[0, 0] == pytest.approx((1 + 6 + 7) * 4 / 3)
    why[:2, :2] = 1
    assert binned(values, why, 2, share=0.9)[1][0, 0] == 1, "what was not measured at all stays bad"


def test_the_support_follows_the_frame() -> None:
    support = np.zeros((64, 64), bool)
    support[22:42, 26:38] = True
    same = support_in(support, span(32, 64), span(32, 64))
    np.testing.assert_array_equal(same, support)
    half = support_in(support, span(32.5, 64, binning=2), span(32.5, 64, binning=2))
    np.testing.assert_array_equal(half[6:26, 10:22], np.ones((20, 12)), "bins halve the field of view, not the pixel")
    assert half.sum() == 240
    cropped = support_in(support, span(16, 64), span(32, 64))
    assert cropped.shape == (33, 64)
    assert cropped.any(1).sum() == pytest.approx(20 * 33 / 64, abs=1), "a crop makes the object's pixel larger"


# Background


@pytest.mark.parametrize("level", [0.0, 3.0, 40.0])
def test_a_constant_background(level: float) -> None:
    clean = pattern((128, 128), (64, 64), 1e4)
    noisy = clean + np.random.default_rng(0).poisson(level, clean.shape)
    bad = none(clean.shape)
    bad[:20, :20] = True
    noisy[bad] = 1e9
    assert constant_background(noisy, bad) == pytest.approx(level, abs=0.03 * level + 0.2)


def test_a_radial_background() -> None:
    center, shape = (70.5, 60.0), (144, 144)
    obj = np.zeros((24, 24))
    obj[2:20, 4:22] = cell(18, 0)
    clean = _photons(obj, shape, center, 3e5, 0)
    radius = np.hypot(np.arange(144)[:, None] - center[0], np.arange(144) - center[1])
    truth = 300 * np.exp(-radius / 50)
    values = np.random.default_rng(1).poisson(clean + truth).astype(float)
    found = radial_background(values, none(shape), center)
    outside = radius > 25
    error = np.abs(found - truth)[outside].mean()
    assert error < 0.25 * truth[outside].mean()
    profile = found[70, 60:]
    assert (np.diff(profile) <= 1e-9).all(), "it never rises outwards"
    assert radial_background(values, none(shape), center, 0.0).mean() <= found.mean()


# The detector


def test_dark_and_flat() -> None:
    rng = np.random.default_rng(0)
    darks = rng.normal(100, 2, (8, 32, 32))
    darks[:, 3, 4] = 500
    darks[:, 5, 5] = np.nan
    mean, bad = dark_of(darks, (32, 32))
    assert mean[0, 0] == pytest.approx(100, abs=3)
    assert np.argwhere(bad).tolist() == [[3, 4], [5, 5]]
    flat = rng.normal(1000, 50, (32, 32))
    flat[7, 7], flat[8, 8] = 0, 20
    relative, blind = flat_of(flat, (32, 32))
    assert np.median(relative) == pytest.approx(1, abs=0.01)
    assert np.argwhere(blind).tolist() == [[7, 7], [8, 8]]
    for correction, frame in ((dark_of, darks), (flat_of, flat)):
        with pytest.raises(InputError, match="of shape"):
            correction(frame[..., :-1], (32, 32))
    with pytest.raises(InputError, match="positive pixels"):
        flat_of(-flat, (32, 32))
    with pytest.raises(InputError, match="finite"):
        dark_of(np.full((32, 32), np.nan), (32, 32))


@pytest.mark.parametrize("counts", [1e4, 1e6, 1e8])
def test_hot_pixels_are_found(counts: float) -> None:
    values = pattern((128, 128), (64, 64), counts)
    bad = none(values.shape)
    clean = hot_pixels(values, bad)
    rng = np.random.default_rng(2)
    y, x = rng.integers(5, 40, (2, 15))
    values[y, x] = 50 * values[:45, :45].max() + 100
    found = hot_pixels(values, bad)
    assert found[y, x].all()
    assert (found & ~clean).sum() == len(set(zip(y.tolist(), x.tolist(), strict=True)))
    assert clean.sum() < 20, "alone, neighbours mistake some pixels of streaks"


def test_neighbours_of_bad_pixels_are_spared() -> None:
    values = np.full((32, 32), 100.0)
    values[10, 10] = 1e5
    bad = none(values.shape)
    assert hot_pixels(values, bad).sum() == 1
    bad[9, 9:12] = True
    assert not hot_pixels(values, bad).any()


def test_dead_pixels_are_found() -> None:
    values = np.random.default_rng(0).poisson(100, (64, 64)).astype(float)
    values[20, 20] = values[30, 31] = 0
    assert np.argwhere(dead_pixels(values, none(values.shape))).tolist() == [[20, 20], [30, 31]]
    assert not dead_pixels(values / 10, none(values.shape)).any(), "few counts fall to 0 by chance"


def test_growing() -> None:
    why = np.zeros((9, 9), np.uint8)
    why[4, 4], why[0, 0] = 3, 1
    assert around(why, 3, 1).sum() == 9
    assert around(why, 3, 2)[4, 2:7].all()
    assert not around(why, 3, 2)[0, 0]
    assert around(why, 3, 0).sum() == 1


# Photons


@pytest.mark.parametrize("gain", [1.0, 7.3])
@pytest.mark.parametrize("photon_count", [1e4, 1e6])
def test_the_gain_from_friedel_pairs(gain: float, photon_count: float) -> None:
    values = pattern((97, 128), (40.5, 66), photon_count) * gain
    bad = none(values.shape)
    bad[30:34] = True
    values[bad] = -1e9
    found = photons.gain_of_pairs(values, bad, (40.5, 66))
    assert found is not None
    assert found.value == pytest.approx(gain, rel=0.15)
    assert found.source == "Friedel pairs"


@pytest.mark.parametrize("gain", [1.0, 7.3])
def test_the_gain_from_the_high_frequency_floor(gain: float) -> None:
    obj = cell(40, 0) * np.exp(1j * ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((40, 40)), 3) * 6)
    values = _photons(obj, (160, 160), (80, 80), 1e5, 0) * gain
    found = photons.gain_of_floor(values, none(values.shape))
    assert found is not None
    assert found.value == pytest.approx(gain, rel=0.2)
    assert found.source == "high-frequency floor"


def test_no_gain_where_the_data_do_not_tell() -> None:
    clean = np.abs(np.fft.fftshift(np.fft.fft2(cell(64, 0), (128, 128)))) ** 2
    bad = none(clean.shape)
    assert photons.gain_of_pairs(clean, bad, (64, 64)) is None, "no noise"
    complex_ = simulate(cell(64, 0) * np.exp(1j * scene(64, 1) / 40.0), photons=1e8).intensity.astype(float)
    assert photons.gain_of_pairs(complex_, bad, (64, 64)) is None, "not symmetric"
    assert photons.gain_of_floor(complex_, bad) is None, "not smooth"
    assert photons.gain_of_pairs(np.ones((20, 20)), np.ones((20, 20), bool), (10, 10)) is None


def test_partners_are_at_the_other_side() -> None:
    values = np.arange(20.0).reshape(4, 5)
    partner, alone = photons.partners(values, none(values.shape), (1.5, 2.5))
    assert partner[1, 2] == values[2, 3]
    assert alone[:, 0].all()
    assert not alone[:, 1:].any()


def test_alpha_agrees_with_the_simulation() -> None:
    measurement = simulate(cell(64, 0), photons=1e6)
    assert photons.alpha_of_gain(1.0, measurement.intensity_scale) == pytest.approx(measurement.alpha)
    image = np.full((40, 40), 127.5)
    paper = photons.paper_alpha(1e6, image.size)
    assert paper == pytest.approx(simulate(image, photons=1e6).alpha)


# Several frames


def exposures(k: int = 8, gain: float = 1.0) -> np.ndarray:
    one = pattern((64, 64), (32, 32), 1e6)
    return np.random.default_rng(3).poisson(one, (k, 64, 64)) * gain


def test_frames_without_outliers_are_summed_exactly() -> None:
    frames = exposures()
    found = sum_frames(frames, none(frames.shape))
    np.testing.assert_array_equal(found.values, frames.sum(0))
    assert (found.rejected, found.dropped, found.bad.any()) == (0, (), False)
    assert found.gain.source == "repeated frames"
    assert found.gain.value == pytest.approx(1, rel=0.1)
    assert sum_frames(7.3 * frames, none(frames.shape)).gain.value == pytest.approx(7.3, rel=0.1)


def test_outliers_of_single_frames_are_left_out() -> None:
    frames = exposures()
    clean = frames.sum(0)
    rng = np.random.default_rng(1)
    where = rng.integers(0, 8, 40), rng.integers(0, 64, 40), rng.integers(0, 64, 40)
    frames[where] += 20 * clean.max() / 8
    found = sum_frames(frames, none(frames.shape))
    assert found.rejected == len(set(zip(*(w.tolist() for w in where), strict=True)))
    assert not found.bad.any()
    struck = np.zeros(clean.shape, bool)
    struck[where[1:]] = True
    np.testing.assert_array_equal(found.values[~struck], clean[~struck])
    assert np.abs(found.values - clean)[struck].max() < 8 * np.sqrt(clean[struck].max() + 30)
    kept = sum_frames(frames, none(frames.shape), sigma=0)
    np.testing.assert_array_equal(kept.values, frames.sum(0))


def test_blank_and_strange_frames_are_left_out() -> None:
    frames = exposures()
    frames[2] = 0
    frames[5] = np.roll(frames[5], 9, axis=0)
    bad = none(frames.shape)
    bad[:, 10, 10] = True
    bad[3, 20, 20] = True
    found = sum_frames(frames, bad)
    assert found.dropped == (2, 5)
    assert np.argwhere(found.bad).tolist() == [[10, 10]]
    others = [0, 1, 3, 4, 6, 7]
    np.testing.assert_array_equal(found.values[0], frames[others].sum(0)[0])
    scaled = frames[[i for i in others if i != 3]].sum(0)[20, 20] * 6 / 5
    assert found.values[20, 20] == pytest.approx(scaled, rel=0.01)
    with pytest.raises(InputError, match="without light"):
        sum_frames(0 * frames, bad)


def test_frames_of_different_exposure_and_very_few_photons() -> None:
    light = np.array([0.5, 1, 1, 2, 1, 0.7])[:, None, None]
    one = pattern((64, 64), (32, 32), 1e6)
    frames = np.random.default_rng(0).poisson(light * one).astype(float)
    found = sum_frames(frames, none(frames.shape))
    assert found.dropped == ()
    assert found.rejected < 3
    sparse = np.random.default_rng(0).poisson(0.05 + 1e-4 * one, (6, 64, 64)).astype(float)
    single = sum_frames(sparse, none(sparse.shape))
    assert single.rejected == 0, "one photon more is never far"
    two = sum_frames(frames[:2], none((2, 64, 64)))
    np.testing.assert_array_equal(two.values, frames[:2].sum(0))
    assert two.gain is None


# Gaps


def test_narrow_gaps_of_smooth_patterns_are_filled() -> None:
    obj = np.zeros((24, 24))
    obj[4:20, 4:20] = cell(16, 0)
    truth = _photons(obj, (192, 192), (96, 96), 1e9, 0)
    bad = none(truth.shape)
    bad[100:102] = True
    bad[40:70, 40:70] = True
    values, filled = interpolated(np.where(bad, 0.0, truth), bad, 0.1)
    strip = filled[100:102]
    assert strip.mean() > 0.2
    error = np.abs(np.sqrt(values) - np.sqrt(truth))[100:102][strip] / np.sqrt(truth)[100:102][strip]
    assert np.median(error) < 0.1
    assert not filled[46:64, 46:64].any(), "nothing tells the middle of a wide gap"
    np.testing.assert_array_equal(values[~bad], truth[~bad])
    assert not interpolated(truth, bad, 0.0)[1].any()
    assert interpolated(truth, bad, 0.02)[1].sum() < filled.sum()
    assert not interpolated(truth, none(truth.shape), 0.5)[1].any()


# Oversampling


@pytest.mark.parametrize("factor", [2.0, 2.5, 4.0])
def test_oversampling(factor: float) -> None:
    measurement = simulate(cell(48, 0), photons=1e7, oversampling=factor)
    values, bad = measurement.intensity.astype(float), none(measurement.shape)
    assert oversampling(values, bad) == pytest.approx((factor, factor), rel=0.15)
    if measurement.support is not None:
        assert oversampling(values, bad, measurement.support) == pytest.approx((factor, factor))


def test_oversampling_that_is_not_there() -> None:
    full = simulate(cell(64, 0), photons=1e7, oversampling=1.0).intensity.astype(float)
    assert oversampling(full, none(full.shape)) is None

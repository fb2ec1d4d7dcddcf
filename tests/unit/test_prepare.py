"""What is refused, mended and guessed before a reconstruction, and that it is said once."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import InputError
from napari_i2ipr.phantoms import cell, scene
from napari_i2ipr.prepare import condition, looks, summary
from napari_i2ipr.simulation import simulate

OBJECTS = {"cell": cell(64, 0), "scene": scene(60, 1)[:, :49], "units": scene(64, 2) / 255.0}

NOISE = {
    "clean": {},
    "alpha 1": {"alpha": 1},
    "alpha 3": {"alpha": 3},
    "alpha 8": {"alpha": 8},
    "1e3 photons": {"photons": 1e3},
    "1e7 photons": {"photons": 1e7},
}


def pattern(n: int = 64, **settings: float) -> Measurement:
    return simulate(cell(n // 2, 0), **{"photons": 1e7, **settings})


def changed(measurement: Measurement, value: float, where: object) -> Measurement:
    intensity = np.array(measurement.intensity)
    intensity[where] = value
    return replace(measurement, intensity=intensity)


def refuse(measurement: Measurement, words: str, **flags: object) -> None:
    with pytest.raises(InputError, match=rf"got .*{words}"):
        condition(measurement, **flags)


# What is refused


@pytest.mark.parametrize(
    ("intensity", "words"),
    [
        (np.zeros((32, 32)), "zeros only"),
        (np.full((32, 32), 7.0), "constant"),
        (np.full((32, 32), 255, np.uint8), "constant"),
        (np.full((32, 32), np.nan), "NaN"),
        (np.full((32, 32), -1.0), "no positive"),
        (np.arange(1024.0).reshape(32, 32) * 1e30, "intensities up to"),
        (np.ones((2, 32, 32)), "a stack"),
    ],
)
def test_refused(intensity: np.ndarray, words: str) -> None:
    refuse(Measurement(intensity), words)


def test_refused_masks() -> None:
    measurement = pattern()
    bad = np.ones((64, 64), bool)
    refuse(replace(measurement, bad_pixels=bad), "all pixels masked")
    bad[28:36, 28:36] = False
    refuse(replace(measurement, bad_pixels=bad), "98.4% of its pixels masked")
    few, notes = condition(replace(measurement, bad_pixels=bad), allow_masked=True)
    assert not notes
    assert condition(few)[1] == ()
    refuse(measurement, "no mask to invert", invert_mask=True)


def test_refused_when_only_zeros_are_measured() -> None:
    measurement = pattern()
    refuse(changed(measurement, 0, np.s_[:40]), "zeros only", center=(18, 18))
    bad = np.zeros((64, 64), bool)
    bad[20:45, 20:45] = True
    refuse(replace(changed(measurement, 0, ~bad), bad_pixels=bad), "zeros only")


# What is left alone


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize(
    "settings",
    [
        {"oversampling": 2},
        {"oversampling": 1.3},
        {"oversampling": 4},
        {"oversampling": 2.5, "beamstop_px": 4, "dead_pixels": 20},
        {"oversampling": 2, "offset": 20},
    ],
    ids=str,
)
def test_simulated_patterns_are_taken_as_they_are(name: str, noise: str, settings: dict) -> None:
    measurement = simulate(OBJECTS[name], **NOISE[noise], **settings)
    conditioned, notes = condition(measurement)
    assert notes == ()
    np.testing.assert_array_equal(conditioned.intensity, measurement.intensity)
    n_bad = 0 if measurement.bad_pixels is None else measurement.bad_pixels.sum()
    assert conditioned.bad_pixels.sum() == n_bad
    assert conditioned.intensity_scale == measurement.intensity_scale
    assert conditioned.alpha == measurement.alpha


def test_sparse_frames_keep_their_zeros_and_their_maximum() -> None:
    counts = np.random.default_rng(0).poisson(0.05, (128, 128))
    counts[64, 64] = counts.max()
    assert (counts == counts.max()).sum() >= 2
    assert condition(Measurement(counts.astype(np.uint16)))[1] == ()
    assert condition(Measurement(counts * 0.37))[1] == ()
    assert condition(Measurement(counts.clip(max=1)))[1] == ()


def test_symmetric_objects_are_not_saturated() -> None:
    disc = (np.hypot(*(np.indices((32, 32)) - 15.5)) < 12).astype(float)
    measurement = simulate(disc, beamstop_px=4)
    symmetric = (measurement.intensity + measurement.intensity.T) / 2
    assert condition(replace(measurement, intensity=symmetric))[1] == ()


# What is mended


def test_negative_counts_are_clipped() -> None:
    measurement = changed(pattern(), -3.0, (np.arange(5), 0))
    conditioned, notes = condition(measurement)
    assert len(notes) == 1
    assert "5 px negative" in notes[0]
    assert (conditioned.intensity >= 0).all()
    assert not conditioned.bad_pixels.any()


def test_gaps_flagged_by_negative_numbers_are_missing() -> None:
    counts = np.random.default_rng(0).poisson(30, (64, 64)).astype(np.int32)
    counts[32, 32] = 10_000
    counts[:, 10:17] = -1
    conditioned, _ = condition(Measurement(counts))
    assert conditioned.bad_pixels[:, 10:17].all()
    assert conditioned.bad_pixels.sum() == 64 * 7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_is_masked(value: float) -> None:
    conditioned, notes = condition(changed(pattern(), value, (np.arange(7), 0)))
    assert len(notes) == 1
    assert "7 px NaN" in notes[0]
    assert conditioned.bad_pixels.sum() == 7
    assert np.isfinite(conditioned.intensity).all()


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("name", OBJECTS)
def test_fft_order_is_moved(name: str, noise: str) -> None:
    measurement = simulate(OBJECTS[name], **NOISE[noise])
    stored = np.fft.ifftshift(measurement.intensity)
    bad = np.zeros(stored.shape, bool)
    bad[1, 2] = True
    conditioned, notes = condition(replace(measurement, intensity=stored, bad_pixels=bad))
    assert len(notes) == 1
    assert "FFT order" in notes[0]
    np.testing.assert_array_equal(conditioned.intensity, measurement.intensity)
    ny, nx = stored.shape
    assert conditioned.bad_pixels[ny // 2 + 1, nx // 2 + 2]
    forced, silent = condition(replace(measurement, intensity=stored), fft_order=True)
    assert silent == ()
    np.testing.assert_array_equal(forced.intensity, measurement.intensity)
    kept, silent = condition(replace(measurement, intensity=stored), fft_order=False)
    assert silent == ()
    np.testing.assert_array_equal(kept.intensity, stored)


@pytest.mark.parametrize("noise", [name for name in NOISE if name != "clean"])
@pytest.mark.parametrize("name", OBJECTS)
def test_amplitudes_are_squared(name: str, noise: str) -> None:
    measurement = simulate(OBJECTS[name], **NOISE[noise])
    amplitudes = replace(measurement, intensity=np.sqrt(measurement.intensity))
    conditioned, notes = condition(amplitudes)
    assert len(notes) == 1
    assert "amplitudes" in notes[0]
    np.testing.assert_allclose(conditioned.intensity, measurement.intensity, rtol=1e-5, atol=1e-6)
    assert condition(amplitudes, amplitude=True)[1] == ()
    kept, silent = condition(amplitudes, amplitude=False)
    assert silent == ()
    np.testing.assert_array_equal(kept.intensity, amplitudes.intensity)


def test_amplitudes_in_fft_order_without_noise() -> None:
    measurement = simulate(scene(128, 0))
    stored = np.fft.ifftshift(np.sqrt(measurement.intensity)) / 1e3
    conditioned, notes = condition(Measurement(stored))
    assert len(notes) == 2
    np.testing.assert_allclose(conditioned.intensity * 1e6, measurement.intensity, rtol=1e-4)


def test_a_mask_of_the_wrong_sign_is_inverted() -> None:
    measurement = pattern(beamstop_px=3, dead_pixels=30)
    good = replace(measurement, bad_pixels=~measurement.bad_pixels)
    conditioned, notes = condition(good)
    assert len(notes) == 1
    assert "sign" in notes[0]
    np.testing.assert_array_equal(conditioned.bad_pixels, measurement.bad_pixels)
    assert condition(good, invert_mask=True)[1] == ()


@pytest.mark.parametrize("corner", [np.s_[:20, :20], np.s_[20:44, 20:44], np.s_[::2, ::3]])
def test_a_mask_that_spares_ordinary_pixels_is_taken_by_its_word(corner: tuple) -> None:
    bad = np.ones((64, 64), bool)
    bad[corner] = False
    measurement = replace(pattern(alpha=1, photons=None), bad_pixels=bad)
    conditioned, notes = condition(measurement, allow_masked=True)
    assert notes == ()
    np.testing.assert_array_equal(conditioned.bad_pixels, bad)


# Saturation


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("n_px", [5, 40])
def test_a_shared_maximum_is_saturation(dtype: type, n_px: int) -> None:
    counts = pattern(photons=1e5).intensity
    level = np.sort(counts.ravel())[-n_px] if dtype is not np.uint8 else 200
    clipped = np.minimum(counts, level).astype(dtype)
    conditioned, notes = condition(Measurement(clipped))
    assert len(notes) == 1
    assert "saturated" in notes[0]
    np.testing.assert_array_equal(conditioned.bad_pixels, clipped == level)


@pytest.mark.parametrize("settings", [{"alpha": 3}, {}])
def test_saturation_of_continuous_values(settings: dict) -> None:
    clean = simulate(scene(48, 3) / 255.0, **settings)
    level = float(np.sort(clean.intensity.ravel())[-6])
    clipped = simulate(scene(48, 3) / 255.0, saturation=level, **settings)
    conditioned, notes = condition(clipped)
    assert len(notes) == 1
    assert conditioned.bad_pixels.sum() >= 6
    assert conditioned.bad_pixels.sum() == (clean.intensity >= np.float32(level)).sum()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 20, 24, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_full_scale_is_saturation_in_floats(bits: int, dtype: type) -> None:
    counts = np.minimum(pattern().intensity, 100)
    counts[32, 32] = 2**bits - 1
    conditioned, notes = condition(Measurement(counts.astype(dtype)))
    assert "saturated" in notes[0]
    assert conditioned.bad_pixels[32, 32]


def test_the_maximum_of_the_type_hides_saturation_below() -> None:
    """Dectris detectors mark gaps by the type's maximum."""
    counts = np.minimum(pattern().intensity, 4095).astype(np.uint32)
    saturated = counts == 4095
    counts[:, 5] = np.iinfo(np.uint32).max
    conditioned, notes = condition(Measurement(counts))
    assert len(notes) == 1
    assert conditioned.bad_pixels[:, 5].all()
    assert conditioned.bad_pixels[saturated].all()


@pytest.mark.parametrize("mean", [20, 40, 200])
def test_poisson_counts_share_their_maximum_by_chance(mean: float) -> None:
    rng = np.random.default_rng(0)
    notes = [condition(Measurement(rng.poisson(mean, (256, 256)).astype(np.float32)))[1] for _ in range(20)]
    assert not any(notes)


def test_four_pixels_may_share_a_maximum() -> None:
    counts = pattern().intensity.copy()
    counts[np.unravel_index(counts.ravel().argsort()[-4:], counts.shape)] = 50_000
    assert condition(Measurement(counts))[1] == ()


# Missing blocks


def flat(mean: float, n: int = 96) -> np.ndarray:
    """Poisson counts around a peak."""
    y, x = np.indices((n, n)) - n // 2
    return np.random.default_rng(4).poisson(mean + 1e4 * np.exp(-(x**2 + y**2) / 60)).astype(np.float32)


@pytest.mark.parametrize(("side", "mean", "found"), [(5, 30, True), (9, 30, True), (4, 30, False), (9, 7, False)])
def test_blocks_of_zeros_among_counts_are_missing(side: int, mean: float, found: bool) -> None:
    counts = flat(mean)
    counts[10 : 10 + side, 20 : 20 + side] = 0
    counts[91:, 91:] = 0
    conditioned, notes = condition(Measurement(counts))
    block = np.zeros(counts.shape, bool)
    block[10 : 10 + side, 20 : 20 + side] = found
    block[91:, 91:] = mean > 10
    np.testing.assert_array_equal(conditioned.bad_pixels, block)
    assert len(notes) == bool(block.any())


def test_masked_pixels_in_a_block_of_zeros_do_not_hide_it() -> None:
    counts = flat(30)
    counts[10:18, 20:28] = 0
    bad = np.zeros(counts.shape, bool)
    bad[14, 20:28] = True
    conditioned, notes = condition(Measurement(counts, bad_pixels=bad))
    assert len(notes) == 1
    assert "56 px in a block" in notes[0]
    assert conditioned.bad_pixels[10:18, 20:28].all()


def test_single_zeros_beside_masked_pixels_are_measured() -> None:
    counts = flat(30)
    bad = np.zeros(counts.shape, bool)
    bad[10:20, 20:30] = True
    counts[20, 22:27] = 0
    counts[15, 30] = 0
    assert condition(Measurement(counts, bad_pixels=bad))[1] == ()


def test_zeros_of_a_frame_with_many_are_measured() -> None:
    counts = flat(30)
    counts[:30] = 0
    assert condition(Measurement(counts))[1] == ()


# The centre


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (65, 51)])
def test_center_comes_to_the_middle(shape: tuple[int, int]) -> None:
    intensity = np.random.default_rng(0).exponential(size=shape)
    for center in ((20, 30), (40, 25), (shape[0] // 2, shape[1] // 2)):
        marked = intensity.copy()
        marked[center] = 1000
        conditioned, notes = condition(Measurement(marked), center=center)
        ny, nx = conditioned.shape
        assert conditioned.intensity[ny // 2, nx // 2] == 1000
        assert ny >= min(2 * center[0], 2 * (shape[0] - center[0]) - 1)
        whole = (ny, nx) == shape
        assert len(notes) == (not whole)
        assert whole == (center == (shape[0] // 2, shape[1] // 2))
        assert condition(conditioned, center=center)[1] == ()


def test_half_centers_are_rounded_up_and_said() -> None:
    conditioned, notes = condition(pattern(), center=(31.5, 32.0))
    assert len(notes) == 1
    assert "rounded to the pixel (32, 32)" in notes[0]
    assert conditioned.provenance["prepared"]["center"] == [31.5, 32.0]


def test_a_crop_keeps_units_and_photons() -> None:
    original = pattern(128)
    smaller, _ = condition(original, center=(50, 64))
    assert smaller.shape == (101, 128)
    pair = (original, smaller)
    mean = [np.sqrt(original.intensity.max() * m.intensity_scale / np.prod(m.shape)) for m in pair]
    assert mean[1] == pytest.approx(mean[0]), "the mean of the object over its frame"
    photons = [m.intensity_scale / m.alpha**2 for m in pair]
    assert photons[1] == pytest.approx(photons[0])


def test_centers_are_checked() -> None:
    measurement = pattern()
    for center in ((-1, 32), (32, 64), (3, 32), (np.nan, 32)):
        refuse(measurement, "the centre", center=center)
    refuse(measurement, "a centre and FFT order", center=(32, 32), fft_order=True)
    support = np.zeros((64, 64), bool)
    support[20:40, 20:40] = True
    refuse(replace(measurement, support=support), "a support of 64 x 64 px", center=(30, 32))
    assert condition(replace(measurement, support=support), center=(32, 32))[0].support is support


# Once is enough


def test_conditioning_again_does_nothing() -> None:
    counts = flat(30)
    counts[10:16, 20:26] = 0
    counts[0, :3] = np.nan
    counts[1, :4] = -2
    counts[2, 50:70] = 65535
    stored = np.fft.ifftshift(counts)
    first, notes = condition(Measurement(stored, provenance={"source": "x"}))
    assert len(notes) == 5
    again, silent = condition(first)
    assert silent == ()
    np.testing.assert_array_equal(again.intensity, first.intensity)
    np.testing.assert_array_equal(again.bad_pixels, first.bad_pixels)
    assert again.provenance == first.provenance
    record = json.loads(json.dumps(first.provenance))["prepared"]
    assert record["notes"] == list(notes)
    assert (record["missing_px"], record["saturated_px"], record["lost_px"], record["negative_px"]) == (36, 20, 3, 4)
    assert summary(first) == ("96 x 96 px, 0.64% masked (beamstop/missing 36 px, saturated 20 px, not finite 3 px)")
    assert first.intensity.dtype == np.float32
    assert stored[0, 0] == np.fft.ifftshift(counts)[0, 0], "the input is left alone"


def test_conditioning_again_with_the_same_words_or_others() -> None:
    measurement = pattern()
    amplitudes = replace(measurement, intensity=np.sqrt(measurement.intensity))
    first, _ = condition(amplitudes, amplitude=True, center=(30, 30))
    again, silent = condition(first, amplitude=True, center=(30, 30))
    assert silent == ()
    np.testing.assert_array_equal(again.intensity, first.intensity)
    refuse(first, "amplitude = False", amplitude=False)
    refuse(first, "center", center=(32, 32))


def test_summary() -> None:
    measurement = pattern(dead_pixels=4)
    assert summary(replace(measurement, bad_pixels=None)) == "64 x 64 px, nothing masked"
    assert summary(measurement) == "64 x 64 px, 0.10% masked"
    assert summary(condition(measurement)[0]) == "64 x 64 px, 0.10% masked (given 4 px)"
    stack = simulate(np.stack([cell(32, 0)] * 3), dead_pixels=4)
    assert summary(stack) == "3 patterns of 64 x 64 px, 0.10% masked"
    per_frame = replace(stack, bad_pixels=np.stack([stack.bad_pixels, ~stack.bad_pixels, stack.bad_pixels]))
    assert summary(per_frame) == "3 patterns of 64 x 64 px, 33.37% masked"


# Measured patterns


def esrf(data_dir: Path) -> np.ndarray:
    content = (data_dir / "diffraction/esrf_logo_id10/logo5mu_20sec.edf").read_bytes()
    return np.frombuffer(content[1024:], "<f4").reshape(512, 512)


def test_esrf_beamstop_is_found(data_dir: Path) -> None:
    counts = esrf(data_dir)
    conditioned, notes = condition(Measurement(counts))
    assert len(notes) == 1
    assert "11 blocks" in notes[0]
    assert conditioned.bad_pixels.sum() == 2178
    assert conditioned.bad_pixels[249:264, 248:266].all()
    np.testing.assert_array_equal(conditioned.intensity, counts)
    stored = Measurement(np.fft.ifftshift(np.sqrt(counts)))
    np.testing.assert_allclose(condition(stored)[0].intensity, counts, rtol=1e-5)


def test_hawk_amplitudes_order_and_mask_are_recognised(data_dir: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(data_dir / "diffraction/hawk_ring/ring.h5") as file:
        amplitude, good = file["real"][..., 0], file["mask"][..., 0] != 0
    conditioned, notes = condition(Measurement(amplitude, bad_pixels=good))
    words = " ".join(notes)
    assert all(word in words for word in ("sign", "FFT order", "amplitudes"))
    np.testing.assert_allclose(conditioned.intensity, np.fft.fftshift(amplitude) ** 2, rtol=1e-6)
    assert conditioned.bad_pixels[np.fft.fftshift(~good)].all()
    right, _ = condition(Measurement(amplitude, bad_pixels=~good))
    np.testing.assert_array_equal(right.bad_pixels, conditioned.bad_pixels)


def test_hawk_raw_saturation(data_dir: Path) -> None:
    h5py = pytest.importorskip("h5py")
    content = gzip.decompress((data_dir / "diffraction/hawk_ring/raw_ring.h5.gz").read_bytes())
    with h5py.File(io.BytesIO(content)) as file:
        raw = np.squeeze(file["intensities"][...])
    conditioned, notes = condition(Measurement(raw), center=(883, 609))
    assert conditioned.shape == (1322, 838)
    assert conditioned.provenance["prepared"]["saturated_px"] == 6759
    assert not any("amplitudes" in note or "FFT order" in note for note in notes)


def test_counts_of_a_bragg_peak_are_left_alone(data_dir: Path) -> None:
    with np.load(data_dir / "diffraction/bcdi_au_34idc/scan54_stack.npz") as arrays:
        frame = arrays["stack"][99]
    assert condition(Measurement(frame))[1] == ()


def test_guesses_take_arrays() -> None:
    """The guesses are functions of their own, for widgets."""
    values = np.asarray(pattern().intensity, np.float64)
    assert not looks.is_fft_ordered(values, np.ones(values.shape, bool))
    assert looks.saturation_level(values.ravel()) is None

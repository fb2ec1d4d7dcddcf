"""Preparations as a whole: what comes out, what is said, and that once is enough."""

from __future__ import annotations

import gzip
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_i2ipr import read, write
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import CancelledError, ConfigError, InputError
from napari_i2ipr.phantoms import cell, scene
from napari_i2ipr.prepare import PREPARATION, Preparation, PreparationReport, condition, prepare
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.simulation import simulate

OBJECTS = {"cell": cell(64, 0), "scene": scene(60, 1)[:, :49], "units": scene(64, 2) / 255.0}

NOISE = {"clean": {}, "alpha 3": {"alpha": 3}, "1e3 photons": {"photons": 1e3}, "1e7 photons": {"photons": 1e7}}


def detected(photons: float = 1e7, seed: int = 0) -> tuple[Measurement, np.ndarray]:
    """A frame as a detector stores it: off-centre, on an offset, saturated, behind a beamstop; and the beamstop."""
    rng = np.random.default_rng(seed)
    ideal = simulate(cell(40, seed), oversampling=3.2).intensity.astype(float)
    ideal = (ideal * photons / ideal.sum())[9:, :-14]  # centre at (55, 64)
    values = np.minimum(rng.poisson(ideal + 30), 60_000).astype(np.uint16)
    values[100, 20] = 65_000
    stop = np.hypot(np.arange(values.shape[0])[:, None] - 55.5, np.arange(values.shape[1]) - 64) < 4
    values[stop] = rng.poisson(30, stop.sum())
    geometry = Geometry(1e-10, 2.0, (50e-6, 60e-6))
    return Measurement(values, bad_pixels=stop, geometry=geometry, provenance={"source": "raw.tif"}), stop


def same(one: Measurement, other: Measurement) -> None:
    np.testing.assert_array_equal(one.intensity, other.intensity)
    np.testing.assert_array_equal(one.bad_pixels, other.bad_pixels)
    assert (one.geometry, one.alpha, one.intensity_scale) == (other.geometry, other.alpha, other.intensity_scale)


# A detector's frame


def test_a_frame_of_a_detector() -> None:
    measurement, stop = detected()
    stored = np.array(measurement.intensity)
    prepared, report = prepare(measurement, Preparation(background=30))
    np.testing.assert_array_equal(measurement.intensity, stored, "the input is left alone")
    np.testing.assert_array_equal(measurement.bad_pixels, stop)
    assert report.center_px == (55, 64)
    assert report.center_source == "symmetry"
    assert report.remainder_px == (0, 0)
    assert prepared.shape == report.shape == (108, 100)
    assert report.masked_px["given"] == stop.sum()
    assert report.masked_px["hot"] == 1
    assert report.negative_px > 0
    assert report.background == 30
    assert report.gain == pytest.approx(1, rel=0.1)
    assert report.photons == pytest.approx(prepared.intensity[~prepared.bad_pixels].sum(), rel=0.1)
    assert report.oversampling_by == "autocorrelation"
    assert report.oversampling == pytest.approx((2.7, 2.5), rel=0.25)
    ny, nx = prepared.shape
    np.testing.assert_array_equal(
        prepared.intensity[ny // 2 + 10, nx // 2 - 9], max(float(stored[65, 55]) - 30, 0), "moved, never interpolated"
    )
    again, silent = condition(prepared)
    assert silent == ()
    same(again, prepared)


def test_the_report_in_words() -> None:
    words = prepare(detected()[0], Preparation(background="auto"))[1].in_words()
    start, middle = (
        "108 x 100, centre (55.0, 64.0) by symmetry, ",
        " % masked (given 48 px, hot 1 px), oversampling about ",
    )
    assert words.startswith(start)
    assert middle in words
    assert " photons, alpha about " in words
    plain = PreparationReport((3, 64, 64), (3, 64, 64), (32.0, 32.0), "kept")
    assert plain.in_words() == (
        "3 patterns of 64 x 64, centre (32.0, 32.0) kept, nothing masked, oversampling not told by the pattern, "
        "photons not told by the pattern"
    )


def test_a_report_survives_json() -> None:
    report = prepare(detected()[0], Preparation(binning=2))[1]
    assert PreparationReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert PreparationReport.from_dict({**report.to_dict(), "of a later version": 1}) == report


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize(
    "simulation",
    [
        {"oversampling": 2},
        {"oversampling": 1.3},
        {"oversampling": 2.5, "beamstop_px": 4, "dead_pixels": 20},
        {"oversampling": 2, "offset": 20},
    ],
    ids=str,
)
def test_what_is_right_is_left_as_it_is(name: str, noise: str, simulation: dict) -> None:
    measurement = simulate(OBJECTS[name], **NOISE[noise], **simulation)
    prepared, report = prepare(measurement, Preparation(size="keep"))
    np.testing.assert_array_equal(prepared.intensity, measurement.intensity)
    bad = np.zeros(measurement.shape, bool) if measurement.bad_pixels is None else measurement.bad_pixels
    np.testing.assert_array_equal(prepared.bad_pixels, bad)
    np.testing.assert_allclose(prepared.alpha, measurement.alpha)
    assert prepared.intensity_scale == measurement.intensity_scale
    if report.photons is not None and "photons" in NOISE[noise]:
        assert report.photons == pytest.approx(float(measurement.intensity[~bad].sum()))


# Once is enough


def test_preparing_again_changes_nothing() -> None:
    choice = Preparation(background="auto", binning=2, fit="pad")
    first, report = prepare(detected()[0], choice)
    for repeated in (choice, Preparation()):
        again, told = prepare(first, repeated)
        assert again is first
        assert told == report
    with pytest.raises(InputError, match="binning = 3 for a pattern that was prepared with binning = 2"):
        prepare(first, Preparation(binning=3))
    with pytest.raises(InputError, match="dark or flat"):
        prepare(first, dark=np.zeros((5, 5)))


@pytest.mark.parametrize("center", [(55, 64), (54.5, 64), (55, 63.5)])
def test_preparing_again_without_a_record_changes_nothing(center: tuple[float, float]) -> None:
    measurement, _ = detected()
    first, _ = prepare(measurement, Preparation(background=30, center=center))
    bare = replace(first, provenance={}, alpha=first.alpha)
    again, report = prepare(bare, Preparation(center="keep"))
    same(replace(again, intensity_scale=first.intensity_scale, alpha=first.alpha), first)
    assert again.alpha == pytest.approx(first.alpha)
    assert report.masked == pytest.approx(first.bad_pixels.mean())
    found, report = prepare(bare)
    if center == (55, 64):
        np.testing.assert_array_equal(found.intensity, first.intensity)
        assert report.center_px == (first.shape[0] // 2, first.shape[1] // 2)


def test_a_written_preparation_is_read_back(tmp_path: Path) -> None:
    prepared, report = prepare(detected()[0], Preparation(background="auto"))
    for ending in (".cxi", ".npz", ".zarr"):
        again = read(write(prepared, tmp_path / f"pattern{ending}"))
        same(replace(again, intensity=np.asarray(again.intensity)), prepared)
        assert prepare(again)[1] == report
        assert again.provenance[PREPARATION]["settings"]["background"] == "auto"


# Frame and bins


@settings(max_examples=20, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.integers(1, 3), st.booleans())
def test_bin_then_centre_is_consistent(dy: int, dx: int, b: int, pad: bool) -> None:
    """The centre of the new frame is that of the old one, whatever the bins."""
    values = np.random.default_rng(0).poisson(20, (97, 110)).astype(float)
    center = (48 + dy / 2, 55 + dx / 2)
    choice = Preparation(center=center, binning=b, fit="pad" if pad else "crop", hot_dead=False, size="keep")
    prepared, report = prepare(Measurement(values), choice)
    assert report.center_px == center
    ny, nx = prepared.shape
    rows, columns = (
        range(round(c - (b - 1) / 2 - r * b), round(c - (b - 1) / 2 - r * b) + b)
        for c, r in zip(center, report.remainder_px, strict=True)
    )
    assert prepared.intensity[ny // 2, nx // 2] == values[np.ix_(list(rows), list(columns))].sum()
    if pad:
        inside = values.sum() - prepared.intensity[~prepared.bad_pixels].sum()
        assert 0 <= inside <= values.sum() * (2 * b / 97 + 2 * b / 110)


def test_even_bins_put_a_half_pixel_on_a_pixel() -> None:
    measurement = Measurement(np.random.default_rng(0).poisson(20, (96, 96)))
    single = prepare(measurement, Preparation(center="47.5,48"))[1]
    assert sorted(map(abs, single.remainder_px)) == [0, 0.5]
    assert "counts are never interpolated" in " ".join(single.notes)
    double = prepare(measurement, Preparation(center="47.5,48.5", binning=2))[1]
    assert double.remainder_px == (0, 0)
    assert not any("interpolated" in note for note in double.notes)


def test_the_object_keeps_units_and_the_photons_their_number() -> None:
    measurement = replace(simulate(cell(32, 0), photons=1e7, oversampling=4), geometry=detected()[0].geometry)
    mean = np.sqrt(measurement.intensity.max() * measurement.intensity_scale / np.prod(measurement.shape))
    for choice in ({"size": 100}, {"size": "150,140"}, {"binning": 2, "center": "64.5,64.5"}, {"fit": "pad"}):
        prepared, report = prepare(measurement, Preparation(**choice))
        photons = prepared.intensity_scale / prepared.alpha**2
        assert photons == pytest.approx(measurement.intensity_scale / measurement.alpha**2)
        peak = prepared.intensity.max() * prepared.intensity_scale / np.prod(prepared.shape)
        if "binning" not in choice:
            assert np.sqrt(peak) == pytest.approx(mean)
        b = choice.get("binning", 1)
        assert prepared.geometry.pixel_size_m == pytest.approx((b * 50e-6, b * 60e-6))
        assert report.gain_source == "alpha of the file"
    bins, _ = prepare(measurement, Preparation(binning=2, center="64.5,64.5"))
    assert bins.intensity.sum() == measurement.intensity.sum()
    assert bins.geometry.object_pixel_m(bins.shape) == measurement.geometry.object_pixel_m(measurement.shape)


def test_padded_pixels_are_free() -> None:
    measurement = simulate(cell(32, 0), photons=1e6)
    prepared, report = prepare(measurement, Preparation(size="80,100"))
    outside = np.ones((80, 100), bool)
    outside[8:72, 18:82] = False
    np.testing.assert_array_equal(prepared.bad_pixels, outside)
    assert report.masked_px == {"outside the frame": int(outside.sum())}
    off = Measurement(detected()[0].intensity)
    padded, report = prepare(off, Preparation(fit="pad", center="55,64"))
    assert padded.shape == (128, 128)
    assert not padded.bad_pixels[64 - 55 : 64 + 60, :110].all()
    assert report.masked_px["outside the frame"] == padded.bad_pixels.sum() - sum(
        n for name, n in report.masked_px.items() if name != "outside the frame"
    )


def test_binning_below_twofold_oversampling_is_said() -> None:
    report = prepare(simulate(cell(32, 0), photons=1e7, oversampling=3), Preparation(binning=2))[1]
    assert report.oversampling == pytest.approx((1.5, 1.5), rel=0.1)
    assert any("below 2" in note for note in report.notes)
    assert not any(
        "below 2" in note for note in prepare(simulate(cell(32, 0), oversampling=5), Preparation(binning=2))[1].notes
    )


def test_the_support_comes_along() -> None:
    measurement = simulate(cell(32, 0), photons=1e7, oversampling=4)
    prepared, report = prepare(measurement, Preparation(binning=2, center="64.5,64.5"))
    assert prepared.support.sum() == measurement.support.sum() == 32 * 32
    assert report.oversampling == (2, 2)
    assert report.oversampling_by == "support"


# The centre


def test_a_centre_in_the_file_is_said_and_the_right_one_taken() -> None:
    measurement, _ = detected()
    known = replace(measurement, provenance={"center_px": [80.0, 20.0]})
    report = prepare(known)[1]
    assert report.center_px == (55, 64)
    assert report.center_stored_px == (80, 20)
    assert any("the file says that the centre is (80.0, 20.0)" in note for note in report.notes)
    assert "(the file says (80.0, 20.0))" in report.in_words()
    near = prepare(replace(measurement, provenance={"center_px": [55.0, 64.5]}))[1]
    assert not any("the file says" in note for note in near.notes)
    noise = Measurement(np.random.default_rng(0).poisson(50, (96, 96)), provenance={"center_px": [40.0, 50.0]})
    blind = prepare(noise)[1]
    assert (blind.center_source, blind.center_px) == ("stored", (40, 50))
    assert any("no centre of symmetry" in note for note in blind.notes)
    lost = prepare(replace(noise, provenance={"center_px": "damaged"}))[1]
    assert (lost.center_source, lost.center_px) == ("kept", (48, 48))


def test_centres_that_leave_nothing() -> None:
    measurement, _ = detected()
    for center in ("-3,64", "55,200", "2,64"):
        with pytest.raises(InputError, match="centre"):
            prepare(measurement, Preparation(center=center))
    with pytest.raises(InputError, match="binned 16 x 16"):
        prepare(measurement, Preparation(binning=16))
    assert prepare(measurement, Preparation(center="2,64", fit="pad"))[0].shape[0] >= 200
    assert prepare(measurement, Preparation(center="55.2,64"))[1].center_px == (55, 64)


# Bad pixels


def test_hot_dead_saturated_and_grown() -> None:
    measurement = simulate(cell(64, 0), photons=1e8)
    values = np.array(measurement.intensity)
    around = ndimage.minimum_filter(values, 3)
    around[60:69, 60:69] = 0
    dead = np.unravel_index(np.argmax(around), values.shape)
    values[dead] = 0
    values[5, 7], values[100, 90] = values.max(), values.max() * 2
    changed = replace(measurement, intensity=values)
    prepared, report = prepare(changed)
    assert report.masked_px["hot"] == 2
    assert prepared.bad_pixels[5, 7]
    assert prepared.bad_pixels[100, 90]
    assert prepared.bad_pixels[dead]
    assert report.masked_px == {"hot": 2, "dead": 1}
    off = prepare(changed, Preparation(hot_dead=False))[1]
    assert off.masked == 0
    level = float(np.sort(measurement.intensity, axis=None)[-30])
    clipped = prepare(measurement, Preparation(saturation=level, grow_px=1))[1]
    assert clipped.masked_px["saturated"] == (measurement.intensity >= np.float32(level)).sum()
    assert clipped.masked_px["around saturated"] > 0


def test_dark_and_flat() -> None:
    rng = np.random.default_rng(0)
    truth = simulate(cell(48, 0), photons=1e8)
    sensitivity = rng.uniform(0.7, 1.3, truth.shape)
    sensitivity[4, 4] = 0.01
    dark = rng.uniform(80, 120, truth.shape)
    dark[9, 9] = 5000
    raw = truth.intensity * sensitivity + dark
    prepared, report = prepare(Measurement(raw), dark=np.stack([dark - 1, dark + 1]), flat=3 * sensitivity)
    assert np.argwhere(prepared.bad_pixels).tolist() == [[4, 4], [9, 9]]
    assert report.masked_px == {"dark or flat": 2}
    good = ~prepared.bad_pixels
    scale = np.median(3 * sensitivity) / 3
    np.testing.assert_allclose(prepared.intensity[good], truth.intensity[good] * scale, rtol=1e-4, atol=0.1)
    ordered = Measurement(np.fft.ifftshift(raw))
    moved, _ = prepare(
        ordered, Preparation(fft_order="yes"), dark=np.fft.ifftshift(dark), flat=np.fft.ifftshift(sensitivity)
    )
    np.testing.assert_allclose(moved.intensity[good], prepared.intensity[good], rtol=1e-3, atol=0.2)
    with pytest.raises(InputError, match="amplitudes with a dark frame"):
        prepare(Measurement(raw), Preparation(amplitude="yes"), dark=dark)
    with pytest.raises(InputError, match="a flat field of shape"):
        prepare(Measurement(raw), flat=dark[:-1])


def test_masks() -> None:
    measurement, stop = detected()
    turned = replace(measurement, bad_pixels=~stop)
    dark = simulate(cell(32, 0), photons=1e6, beamstop_px=3)
    assert any("sign" in note for note in prepare(replace(dark, bad_pixels=~dark.bad_pixels))[1].notes)
    forced = prepare(turned, Preparation(invert_mask=True))
    np.testing.assert_array_equal(forced[0].bad_pixels, prepare(measurement)[0].bad_pixels)
    most = np.ones(stop.shape, bool)
    most[40:70, 50:78] = False
    with pytest.raises(InputError, match="of its pixels masked"):
        prepare(replace(measurement, bad_pixels=most), Preparation(center="keep"))
    allowed, _ = prepare(replace(measurement, bad_pixels=most), Preparation(center="keep", allow_masked=True))
    assert condition(allowed)[1] == ()
    with pytest.raises(InputError, match="no mask to invert"):
        prepare(replace(measurement, bad_pixels=None), Preparation(invert_mask=True))


def test_a_pedestal_is_said_and_subtracted() -> None:
    measurement = simulate(cell(48, 0), photons=1e6, oversampling=3)
    raised = replace(measurement, intensity=np.random.default_rng(0).poisson(measurement.intensity + 40.0), alpha=None)
    assert any("--background auto" in note for note in prepare(raised)[1].notes)
    lowered, report = prepare(raised, Preparation(background="auto", size="keep"))
    assert report.background == pytest.approx(40, abs=2)
    assert not any("--background" in note for note in report.notes)
    assert lowered.intensity.sum() == pytest.approx(measurement.intensity.sum(), rel=0.2)
    assert prepare(raised, Preparation(background="radial"))[1].background == pytest.approx(40, rel=0.25)


def test_gaps_are_free_or_filled() -> None:
    obj = np.zeros((96, 96))
    obj[40:56, 40:56] = cell(16, 0)
    measurement = simulate(obj, photons=1e9)
    bad = np.zeros(measurement.shape, bool)
    bad[104:106] = True
    gap = replace(measurement, bad_pixels=bad)
    free, _ = prepare(gap)
    assert free.bad_pixels.sum() == bad.sum()
    filled, report = prepare(gap, Preparation(gap_tolerance=0.1))
    assert report.filled_px == bad.sum() - filled.bad_pixels.sum() > 20
    assert report.masked_px["given"] == filled.bad_pixels.sum()


# Stacks


def test_a_stack_is_prepared_with_one_centre() -> None:
    frames = np.stack([detected(photons, 0)[0].intensity for photons in (3e5, 1e7, 1e6)])
    stack = Measurement(frames.reshape(3, 1, *frames.shape[1:]), axes=("t", "z", "y", "x"))
    heard: list[Event] = []
    prepared, report = prepare(stack, Preparation(background="auto"), on_event=heard.append)
    assert prepared.axes == ("t", "z", "y", "x")
    assert prepared.shape == report.shape == (3, 1, 108, 100)
    assert report.center_px == (55, 64)
    assert {event.stage for event in heard} >= {"finding the centre", "preparing"}
    assert report.in_words().startswith("3 patterns of 108 x 100, ")
    for index in range(3):
        one, _ = prepare(stack, Preparation(frame=index, background="auto", center="55,64"))
        np.testing.assert_allclose(prepared.intensity[index, 0], one.intensity, rtol=1e-5)
        np.testing.assert_array_equal(prepared.frame(index).bad_pixels, one.bad_pixels)
        assert condition(prepared.frame(index))[1] == ()
    with pytest.raises(InputError, match="pattern 3 of 3"):
        prepare(stack, Preparation(frame=3))
    frames[2] = 0
    with pytest.raises(InputError, match="zeros only as pattern 2 of 3"):
        prepare(Measurement(frames))


def test_frames_are_summed() -> None:
    ideal = simulate(cell(40, 0), oversampling=3).intensity.astype(float)
    ideal *= 1e5 / ideal.sum()
    rng = np.random.default_rng(0)
    frames = rng.poisson(ideal, (6, *ideal.shape)).astype(np.uint16)
    clean = frames.astype(float).sum(0)
    frames[1, 20, 30] += 5000
    frames[4] = 0
    stack = Measurement(frames, intensity_scale=2.0)
    summed, report = prepare(stack, Preparation(sum_frames=True, size="keep"))
    assert summed.shape == ideal.shape
    assert (report.frames_summed, report.frames_dropped, report.outliers) == (5, (4,), 1)
    assert report.gain_source == "repeated frames"
    assert report.gain == pytest.approx(1, rel=0.1)
    assert summed.intensity_scale == pytest.approx(2 / 5)
    assert summed.alpha == pytest.approx(np.sqrt(2 / 5) / 2, rel=0.1)
    assert summed.intensity.sum() == pytest.approx(clean.sum() * 5 / 6, rel=0.02)
    assert "sum of 5 frames" in report.in_words()
    assert any("left out: 4" in note for note in report.notes)
    with pytest.raises(InputError, match="one pattern to sum"):
        prepare(Measurement(frames[0]), Preparation(sum_frames=True))


def test_a_stop() -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError):
        prepare(detected()[0], cancel=cancel)


# Settings


def test_settings_are_one_source() -> None:
    for name, info in Preparation.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name
    text = Preparation().to_yaml()
    assert Preparation.from_yaml(text) == Preparation()
    assert all(f"{name}:" in text for name in Preparation.model_fields)
    assert Preparation.from_yaml("center: [12.5, 13]\nsize: 256\nbackground: 3").center_px == (12.5, 13)
    assert Preparation(size=(100, 200)).size_px == (100, 200)
    assert Preparation(size="64").size_px == (64, 64)
    assert Preparation(background=3).background_level == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"center": "middle"},
        {"center": "1,2,3"},
        {"center": "nan,2"},
        {"background": "dark"},
        {"background": "1,2"},
        {"size": "0"},
        {"size": "12.5"},
        {"size": "-64"},
        {"binning": 0},
        {"gain": -1},
        {"outlier_sigma": -1},
        {"no_such_setting": 1},
        {"fit": "stretch"},
    ],
    ids=str,
)
def test_wrong_settings(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="got "):
        Preparation.from_dict(wrong)


# Measured patterns


@pytest.mark.slow
def test_hawk_raw_centre_and_saturation(data_dir: Path, tmp_path: Path) -> None:
    content = gzip.decompress((data_dir / "diffraction/hawk_ring/raw_ring.h5.gz").read_bytes())
    (tmp_path / "raw.h5").write_bytes(content)
    prepared, report = prepare(read(tmp_path / "raw.h5"), Preparation(background="auto", binning=8, grow_px=8))
    assert abs(report.center_px[0] - 882.5) <= 1
    assert abs(report.center_px[1] - 608.5) <= 1
    assert report.center_stored_px == (690, 608)
    assert any("6,759 px saturated" in note for note in report.notes)
    assert min(report.oversampling) > 4
    assert prepared.bad_pixels[prepared.shape[0] // 2, prepared.shape[1] // 2]


@pytest.mark.slow
def test_nadia_is_centred_in_seconds(data_dir: Path) -> None:
    measurement = read(data_dir / "diffraction/nadia_partial/part_data.tiff")
    start = time.perf_counter()
    _, report = prepare(measurement)
    assert time.perf_counter() - start < 30
    assert abs(report.center_px[0] - 1054) <= 1
    assert abs(report.center_px[1] - 1098.5) <= 1
    assert report.gain == pytest.approx(1.15, rel=0.1)


def test_esrf_is_left_where_it_is(data_dir: Path) -> None:
    prepared, report = prepare(read(data_dir / "diffraction/esrf_logo_id10/logo5mu_20sec.edf"))
    assert prepared.shape == (512, 512)
    assert report.center_px == (256, 256)
    assert report.masked_px["beamstop or gap"] == 2178
    assert report.masked < 0.009


def test_bcdi_counts_photons(data_dir: Path) -> None:
    with np.load(data_dir / "diffraction/bcdi_au_34idc/scan54_stack.npz") as arrays:
        frame = arrays["stack"][99]
    report = prepare(Measurement(frame))[1]
    assert report.gain == pytest.approx(1, rel=0.05), "the detector counts photons"
    assert max(abs(c - p) for c, p in zip(report.center_px, (126, 127), strict=True)) <= 1


def test_xfel_frames_share_a_centre(data_dir: Path) -> None:
    folder = data_dir / "diffraction/xfel_spi_pnccd"
    bad = (np.load(folder / "mask.npy") != 0) | (np.load(folder / "artifacts.npy") != 0)
    with np.load(folder / "frames_adu.npz") as arrays:
        frames = arrays["frames"]
    prepared, report = prepare(Measurement(frames, bad_pixels=bad))
    assert prepared.shape == (9, 256, 256)
    assert abs(report.center_px[0] - 129.5) <= 0.5
    assert abs(report.center_px[1] - 128.25) <= 0.5


def test_situ_is_said_to_be_asymmetric(data_dir: Path) -> None:
    report = prepare(read(data_dir / "diffraction/situ_optical/meas.bmp"))[1]
    assert report.masked_px["saturated"] == 15
    assert max(abs(c - p) for c, p in zip(report.center_px, (403.5, 402), strict=True)) <= 5
    assert any("complex" in note for note in report.notes)
    assert any("--background auto" in note for note in report.notes)


def test_hawk_amplitudes(data_dir: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(io.BytesIO((data_dir / "diffraction/hawk_ring/ring.h5").read_bytes())) as file:
        amplitude, good = file["real"][..., 0], file["mask"][..., 0] != 0
    prepared, report = prepare(Measurement(amplitude, bad_pixels=good), Preparation(size="keep"))
    assert report.center_px == (49, 49)
    assert all(any(word in note for note in report.notes) for word in ("sign", "FFT order", "amplitudes"))
    assert prepared.shape == (98, 98)

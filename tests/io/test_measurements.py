"""Measurements written and read again are the same, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, InputError

RNG = np.random.default_rng(2)
GEOMETRY = Geometry(wavelength_m=1.2345678901234e-10, distance_m=1.9, pixel_size_m=(5.5e-5, 7.5e-5))
SUFFIXES = (".cxi", ".npz", ".zarr")


def frames(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    values = RNG.random(shape) * 200
    if dtype.startswith("float"):
        values.flat[:3] = np.nan, -1.5, 0.0
    return values.astype(dtype)


def assert_same(got: Measurement, expected: Measurement) -> None:
    array = np.asarray(got.intensity)
    assert array.dtype == np.dtype(expected.intensity.dtype).newbyteorder("=")
    np.testing.assert_array_equal(array, np.asarray(expected.intensity))
    for name in ("bad_pixels", "support"):
        ours, theirs = getattr(got, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert np.asarray(ours).dtype == bool
            np.testing.assert_array_equal(np.asarray(ours), theirs)
    for name in ("geometry", "intensity_scale", "alpha", "axes"):
        assert getattr(got, name) == getattr(expected, name), name
    for key, value in expected.provenance.items():
        assert got.provenance[key] == value


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "measurement",
    [
        Measurement(frames((33, 40))),
        Measurement(
            frames((33, 40)),
            bad_pixels=RNG.random((33, 40)) < 0.1,
            support=RNG.random((33, 40)) < 0.3,
            geometry=GEOMETRY,
            intensity_scale=2.0 / 3.0,
            alpha=3.1,
            provenance={"simulated": {"seed": 1, "photons": None}, "note": "µm"},
        ),
        Measurement(frames((3, 17, 16), "uint16"), bad_pixels=RNG.random((3, 17, 16)) < 0.1, axes=("t", "y", "x")),
        Measurement(frames((3, 17, 16), "int32"), bad_pixels=RNG.random((17, 16)) < 0.1, alpha=0.0),
        Measurement(frames((1, 17, 16), "float64"), bad_pixels=RNG.random((1, 17, 16)) < 0.1),
        Measurement(frames((2, 2, 16, 18), ">f4"), geometry=Geometry(pixel_size_m=(1e-5, 1e-5))),
        Measurement(frames((16, 16), "uint8") > 100, geometry=Geometry(distance_m=3e9)),
    ],
    ids=["frame", "everything", "stack", "one mask", "stack of one", "four axes", "booleans"],
)
def test_round_trip(tmp_path: Path, suffix: str, measurement: Measurement) -> None:
    path = tmp_path / f"pattern{suffix}"
    assert io.write(measurement, path) == path
    got = io.read(path)
    assert_same(got, measurement)
    assert got.provenance["source"] == str(path)
    assert got.provenance["format"] == suffix[1:]
    last = measurement.n_frames - 1
    assert_same(got.frame(last), measurement.frame(last))
    assert not io.is_result(path)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lazy_input_and_provenance(tmp_path: Path, suffix: str) -> None:
    """A lazy stack goes from file to file, and what it came from is kept."""
    first = io.write(Measurement(frames((4, 16, 20)), provenance={"run": 7}), tmp_path / "first.zarr")
    read = io.read(first)
    assert not isinstance(read.intensity, np.ndarray)
    second = io.read(io.write(read, tmp_path / f"second{suffix}"))
    np.testing.assert_array_equal(np.asarray(second.intensity), np.asarray(read.intensity))
    assert second.provenance["run"] == 7
    assert second.provenance["source"].endswith(f"second{suffix}")
    assert second.provenance["origin"] == {"source": str(first), "format": "zarr"}


def test_dask_input(tmp_path: Path) -> None:
    dask_array = pytest.importorskip("dask.array")
    values = frames((4, 16, 20))
    lazy = dask_array.from_array(values, chunks=(3, 16, 7))
    for suffix in SUFFIXES:
        path = io.write(Measurement(lazy), tmp_path / f"lazy{suffix}")
        np.testing.assert_array_equal(np.asarray(io.read(path).intensity), values)


def test_stack_masks_stay_lazy(tmp_path: Path) -> None:
    mask = RNG.random((5, 16, 16)) < 0.2
    path = io.write(Measurement(frames((5, 16, 16)), bad_pixels=mask), tmp_path / "stack.cxi")
    got = io.read(path)
    assert not isinstance(got.bad_pixels, np.ndarray)
    np.testing.assert_array_equal(got.frame(3).bad_pixels, mask[3])


def test_cxi_for_other_programs(tmp_path: Path) -> None:
    """Where other CXI programs look, in SI units, with NeXus attributes."""
    import h5py

    bad = np.zeros((16, 20), dtype=bool)
    bad[3, 4] = True
    path = io.write(Measurement(frames((16, 20)), bad_pixels=bad, geometry=GEOMETRY), tmp_path / "a.cxi")
    with h5py.File(path) as file:
        assert file["cxi_version"][()] == 160
        entry = file["entry_1"]
        detector = entry["instrument_1/detector_1"]
        assert isinstance(entry["data_1"].get("data", getlink=True), h5py.SoftLink)
        assert entry["data_1/data"] == detector["data"]
        np.testing.assert_array_equal(detector["mask"][()], bad.astype(np.uint32))
        assert detector["distance"][()] == 1.9
        assert (detector["y_pixel_size"][()], detector["x_pixel_size"][()]) == GEOMETRY.pixel_size_m
        assert entry["instrument_1/source_1/wavelength"][()] == GEOMETRY.wavelength_m
        np.testing.assert_allclose(entry["instrument_1/source_1/energy"][()], 1.609e-15, rtol=1e-3)
        assert file.attrs["default"] == "entry_1"
        assert (entry.attrs["NX_class"], entry.attrs["default"]) == ("NXentry", "data_1")
        assert (entry["data_1"].attrs["NX_class"], entry["data_1"].attrs["signal"]) == ("NXdata", "data")
        assert detector.attrs["NX_class"] == "NXdetector"


def test_npz_by_hand(tmp_path: Path) -> None:
    """The names are enough; everything but the intensities may be missing."""
    intensity, bad = frames((16, 20)), RNG.random((16, 20)) < 0.1
    np.savez(tmp_path / "a.npz", intensity=intensity, bad_pixels=bad.astype(np.uint8), geometry='{"distance_m": 2.0}')
    got = io.read(tmp_path / "a.npz")
    np.testing.assert_array_equal(got.intensity, intensity)
    np.testing.assert_array_equal(got.bad_pixels, bad)
    assert (got.geometry, got.alpha, got.intensity_scale) == (Geometry(distance_m=2.0), None, 1.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_newer_layout(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_i2ipr.io._attrs.SCHEMA_VERSION", 99)
    path = io.write(Measurement(frames((16, 16))), tmp_path / f"new{suffix}")
    monkeypatch.undo()
    with pytest.raises(FormatError, match="newer"):
        io.read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_that_is_no_json(tmp_path: Path, suffix: str) -> None:
    measurement = Measurement(frames((16, 16)), provenance={"what": object()})
    with pytest.raises(InputError, match="object"):
        io.write(measurement, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []

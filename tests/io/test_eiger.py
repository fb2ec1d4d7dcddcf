"""Dectris master and data files: one stack, its mask and saturation, and what is missing."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.errors import FormatError
from napari_i2ipr.prepare import condition

RNG = np.random.default_rng(8)
STACK = RNG.poisson(40, (5, 20, 24)).astype(np.uint32)
GAP = np.zeros((20, 24), np.uint32)
GAP[:, 11:13], GAP[4, 4], GAP[5, 5] = 1, 2, 16


@pytest.fixture
def master(tmp_path: Path) -> Path:
    """A master file with two data files beside it, as the detector's file writer lays them out."""
    counts = STACK.copy()
    counts[:, GAP != 0] = 2**32 - 1
    counts[:, 9, 9], counts[:, 9, 10] = 60_000, 59_000
    for number, part in enumerate((counts[:3], counts[3:]), start=1):
        with h5py.File(tmp_path / f"run_data_{number:06d}.h5", "w") as file:
            file.create_dataset("entry/data/data", data=part, chunks=(1, 20, 24), **hdf5plugin.Bitshuffle())
    path = tmp_path / "run_master.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        data.attrs["NX_class"], data.attrs["signal"] = "NXdata", "data_000001"
        for number in (1, 2):
            name = f"run_data_{number:06d}.h5"
            data[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        special = detector.create_group("detectorSpecific")
        special["pixel_mask"], special["flatfield"] = GAP, np.ones((20, 24), np.float32)
        special["countrate_correction_count_cutoff"] = 60_000
        for name, value, units in (
            ("detector_distance", 1.9, "m"),
            ("x_pixel_size", 75e-6, "m"),
            ("y_pixel_size", 75e-6, "m"),
            ("beam_center_x", 12.5, "pixel"),
            ("beam_center_y", 10.0, "pixel"),
        ):
            detector[name] = value
            detector[name].attrs["units"] = units
        file["entry/instrument/beam/incident_wavelength"] = 1.2
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "angstrom"
    return path


def test_master(master: Path) -> None:
    got = io.read(master)
    assert got.shape == STACK.shape
    assert not isinstance(got.intensity, np.ndarray)
    good = GAP == 0
    good[9, 9:11] = False
    np.testing.assert_array_equal(np.asarray(got.intensity)[:, good], STACK[:, good])
    np.testing.assert_array_equal(got.bad_pixels, GAP != 0)
    assert got.geometry.wavelength_m == pytest.approx(1.2e-10)
    assert (got.geometry.distance_m, got.geometry.pixel_size_m) == (1.9, (75e-6, 75e-6))
    assert got.provenance["center_px"] == [10.0, 12.5]
    assert got.provenance["saturation_value"] == 60_000
    assert io.datasets(master) == {}


def test_saturated_pixels_are_masked(master: Path) -> None:
    pattern, _ = condition(io.read(master).frame(2), amplitude=False)
    expected = GAP != 0
    expected[9, 9] = True
    np.testing.assert_array_equal(pattern.bad_pixels, expected)


def test_the_saturation_of_nexus_comes_first(master: Path) -> None:
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/saturation_value"] = 59_000
    assert io.read(master).provenance["saturation_value"] == 59_000


@pytest.mark.parametrize("lost", [[1], [2], [1, 2]])
def test_a_missing_data_file_is_named(master: Path, lost: list[int]) -> None:
    for number in lost:
        (master.parent / f"run_data_{number:06d}.h5").unlink()
    name = f"run_data_{lost[0]:06d}.h5"
    assert io.datasets(master) == {}
    for where in (master, f"{master}::/entry/data", f"{master}::/entry/data/data_{lost[0]:06d}"):
        with pytest.raises(FormatError, match=f"data file {name} cannot be opened"):
            io.read(where)


def test_a_data_file_that_vanishes(master: Path) -> None:
    stack = io.read(master).intensity
    (master.parent / "run_data_000002.h5").unlink()
    with pytest.raises(FormatError, match="run_data_000002"):
        stack[4]


def test_a_damaged_data_file(master: Path) -> None:
    part = master.parent / "run_data_000002.h5"
    part.write_bytes(part.read_bytes()[:300])
    with pytest.raises(FormatError, match="run_data_000002"):
        io.read(master)


def test_virtual_datasets(tmp_path: Path) -> None:
    """HDF5 fills in zeros for the files that a virtual dataset lacks: they are asked for."""
    layout = h5py.VirtualLayout(STACK.shape, "u4")
    for number, frame in enumerate(STACK):
        with h5py.File(tmp_path / f"part_{number}.h5", "w") as file:
            file["data"] = frame
        layout[number] = h5py.VirtualSource(f"part_{number}.h5", "data", frame.shape)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    np.testing.assert_array_equal(np.asarray(io.read(tmp_path / "all.h5").intensity), STACK)
    (tmp_path / "part_3.h5").unlink()
    with pytest.raises(FormatError, match=r"data file part_3\.h5 cannot be opened"):
        io.read(tmp_path / "all.h5")

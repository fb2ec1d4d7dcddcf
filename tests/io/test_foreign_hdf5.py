"""CXI, NeXus and plain HDF5 as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Geometry
from napari_i2ipr.errors import FormatError, InputError

RNG = np.random.default_rng(4)
FRAME = RNG.integers(0, 1000, (20, 24)).astype(np.int32)
STACK = RNG.integers(0, 1000, (3, 20, 24)).astype(np.int32)
DETECTOR = "entry_1/instrument_1/detector_1"
JOULES_1_NM = 6.62607015e-34 * 299792458.0 / 1e-9


def hdf5(path: Path, content: dict[str, Any], attributes: dict[str, dict[str, Any]] | None = None) -> Path:
    """A file with these datasets (or links), and these attributes by path."""
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value
        for name, values in (attributes or {}).items():
            file.require_group(name) if name not in file else None
            file[name].attrs.update(values)
    return path


def test_cxi_mask_bits(tmp_path: Path) -> None:
    """Every bit but 'has signal' means bad."""
    mask = np.zeros(FRAME.shape, np.uint32)
    for place, bits in enumerate((0x1000, 0x1, 0x2, 0x1004, 0x400, 0x1000)):
        mask[3, place] = bits
    path = hdf5(tmp_path / "a.cxi", {"entry_1/data_1/data": FRAME, "entry_1/data_1/mask": mask})
    got = io.read(path)
    np.testing.assert_array_equal(got.intensity, FRAME)
    assert got.bad_pixels is not None
    assert np.argwhere(got.bad_pixels).tolist() == [[3, 1], [3, 2], [3, 3], [3, 4]]
    assert got.provenance == {"source": str(path), "format": "cxi", "dataset": "/entry_1/data_1/data"}


@pytest.mark.parametrize("mask_shape", [(20, 24), (1, 20, 24), (3, 20, 24)], ids=str)
@pytest.mark.parametrize("dtype", ["uint16", "int64", "bool", "uint8"])
def test_cxi_mask_shapes(tmp_path: Path, mask_shape: tuple[int, ...], dtype: str) -> None:
    mask = (RNG.random(mask_shape) < 0.1).astype(dtype)
    path = hdf5(tmp_path / "a.cxi", {f"{DETECTOR}/data": STACK, f"{DETECTOR}/mask": mask})
    got = io.read(path).frame(2)
    np.testing.assert_array_equal(np.asarray(got.bad_pixels), (mask if mask.ndim == 2 else mask[-1]) != 0)


def test_cxi_not_to_the_letter(tmp_path: Path) -> None:
    """Arrays of one, one pixel side, an energy in joules, and a link that leads nowhere."""
    content = {
        "entry_1/data_1/data": h5py.SoftLink("/nowhere"),
        f"{DETECTOR}/data": FRAME[None],
        f"{DETECTOR}/distance": np.array([0.7]),
        f"{DETECTOR}/x_pixel_size": np.array([75e-6]),
        "entry_1/instrument_1/source_1/energy": np.full((5, 1), JOULES_1_NM),
    }
    got = io.read(hdf5(tmp_path / "a.cxi", content))
    assert got.shape == FRAME.shape
    assert got.geometry.distance_m == 0.7
    assert got.geometry.pixel_size_m == (75e-6, 75e-6)
    assert got.geometry.wavelength_m == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("name", "value", "units", "expected"),
    [
        ("instrument_1/source_1/wavelength", 1.5e-10, None, 1.5e-10),
        ("instrument_1/beam_1/incident_wavelength", 1.5, "angstrom", 1.5e-10),
        ("instrument_1/beam_1/incident_wavelength", 1.5, "Å", 1.5e-10),
        ("instrument_1/beam_1/incident_energy", 8.0, "keV", 1.5498e-10),
        ("instrument_1/source_1/energy", 8000.0, None, 1.5498e-10),
        ("instrument_1/source_1/energy", JOULES_1_NM, "J", 1e-9),
        ("instrument_1/source_1/energy", 8.0, "furlong", None),
        ("instrument_1/source_1/energy", 0.0, None, None),
        ("instrument_1/source_1/energy", [8000.0, 9000.0], "eV", None),
        ("instrument_1/source_1/wavelength", float("nan"), None, None),
        ("instrument_1/source_1/wavelength", b"red", None, None),
        ("sample_1/wavelength", 1e-10, None, None),
    ],
)
def test_wavelengths(tmp_path: Path, name: str, value: Any, units: str | None, expected: float | None) -> None:
    path = hdf5(
        tmp_path / "a.cxi",
        {"entry_1/data_1/data": FRAME, f"entry_1/{name}": value},
        {f"entry_1/{name}": {"units": units}} if units else {},
    )
    found = io.read(path).geometry.wavelength_m
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-4))


def test_lengths_that_cannot_be(tmp_path: Path) -> None:
    """They are left out and told, never guessed."""
    content = {
        "entry_1/data_1/data": FRAME,
        f"{DETECTOR}/distance": 1e9,
        f"{DETECTOR}/x_pixel_size": 75.0,
        f"{DETECTOR}/y_pixel_size": -1.0,
        "entry_1/instrument_1/source_1/wavelength": 1.5,
    }
    got = io.read(hdf5(tmp_path / "a.cxi", content))
    assert got.geometry == Geometry()
    ignored = {"distance_m": 1e9, "pixel_size_x_m": 75.0, "pixel_size_y_m": -1.0, "wavelength_m": 1.5}
    assert got.provenance["geometry_ignored"] == ignored


@pytest.mark.parametrize("place", ["entry_1/image_1/data", "entry_1/data_1/data"])
def test_cxi_of_an_object(tmp_path: Path, place: str) -> None:
    """Complex data and images in real space are results, not patterns."""
    complex_one = hdf5(tmp_path / "a.cxi", {place: FRAME * (1 + 1j)})
    with pytest.raises(FormatError, match="complex"):
        io.read(complex_one)
    real_one = hdf5(
        tmp_path / "b.cxi",
        {
            "entry_1/image_1/data": FRAME,
            "entry_1/image_1/data_space": "real",
            "entry_1/data_1": h5py.SoftLink("/entry_1/image_1"),
        },
    )
    with pytest.raises(FormatError, match="real space"):
        io.read(real_one)
    with pytest.raises(FormatError, match="did not write"):
        io.read_result(real_one)
    assert not io.is_result(real_one)


def test_cxi_image_of_a_pattern(tmp_path: Path) -> None:
    content = {"entry_1/image_1/data": FRAME, "entry_1/image_1/data_space": np.array([b"diffraction"])}
    np.testing.assert_array_equal(io.read(hdf5(tmp_path / "a.cxi", content)).intensity, FRAME)


def test_cxi_in_another_file_name(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", {"cxi_version": 160, "entry_1/data_1/data": FRAME, "other": FRAME})
    assert io.read(path).provenance["format"] == "cxi"


def test_cxi_with_another_layout(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.cxi", {"entry_3/data_1/data": FRAME})
    assert io.read(path).provenance["dataset"] == "/entry_3/data_1/data"
    assert io.read(f"{path}::entry_3/data_1/data").shape == FRAME.shape


NEXUS = {
    "entry/data/counts": STACK,
    "entry/data/darks": STACK,
    "entry/other/image": STACK,
    "entry/instrument/detector/distance": 2500.0,
    "entry/instrument/detector/x_pixel_size": 0.055,
    "entry/instrument/detector/y_pixel_size": 55.0,
    "entry/instrument/detector/pixel_mask": (np.arange(480).reshape(20, 24) == 30).astype(np.uint32) << 8,
    "entry/instrument/beam/incident_wavelength": 1.0,
}
UNITS = {
    "entry/instrument/detector/distance": {"units": "mm"},
    "entry/instrument/detector/x_pixel_size": {"units": b"mm"},
    "entry/instrument/detector/y_pixel_size": {"units": "um"},
    "entry/instrument/beam/incident_wavelength": {"units": "angstrom"},
}


@pytest.mark.parametrize(
    "attributes",
    [
        {"/": {"default": "entry"}, "entry": {"default": "data"}, "entry/data": {"signal": "counts"}},
        {"/": {"default": b"entry/data"}, "entry/data": {"signal": np.array([b"counts"])}},
        {"entry": {"default": "data"}, "entry/data": {"signal": "counts"}},
        {"entry/data": {"signal": "counts"}},
        {"entry/data/counts": {"signal": 1}},
    ],
    ids=["defaults", "bytes", "no root", "signal only", "old"],
)
def test_nexus_default(tmp_path: Path, attributes: dict[str, dict[str, Any]]) -> None:
    got = io.read(hdf5(tmp_path / "a.nxs", NEXUS, {**UNITS, **attributes}))
    np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
    assert got.provenance["dataset"] == "/entry/data/counts"
    assert got.geometry.distance_m == 2.5
    assert got.geometry.pixel_size_m == pytest.approx((55e-6, 55e-6))
    assert got.geometry.wavelength_m == pytest.approx(1e-10)
    assert got.bad_pixels is not None
    assert np.flatnonzero(got.bad_pixels).tolist() == [30]


def test_several_datasets(tmp_path: Path) -> None:
    """Nothing is guessed: the error lists them, and the syntax it names works."""
    path = hdf5(tmp_path / "a.h5", {"a/one": STACK, "b/two": FRAME, "b/few": np.ones((3, 4)), "mask": FRAME})
    with pytest.raises(FormatError) as caught:
        io.read(path)
    message = str(caught.value)
    assert "/a/one (3, 20, 24) int32" in message
    assert "/b/two (20, 24) int32" in message
    assert "few" not in message
    assert f"{path}::/a/one" in message
    np.testing.assert_array_equal(np.asarray(io.read(f"{path}::/a/one").intensity), STACK)
    np.testing.assert_array_equal(io.read(path, "b/two").intensity, FRAME)
    assert io.read(path, "b").provenance["dataset"] == "/b/two"
    with pytest.raises(FormatError, match="2 arrays"):
        io.read(f"{path}::/")
    np.testing.assert_array_equal(io.read_array(f"{path}::/mask"), FRAME)
    with pytest.raises(InputError, match="px"):
        io.read(f"{path}::/b/few")


@pytest.mark.parametrize("dataset", ["/a/none", "/a/one/deeper", "a/none", "none"])
def test_missing_dataset_names_the_others(tmp_path: Path, dataset: str) -> None:
    path = hdf5(tmp_path / "a.h5", {"a/one": STACK})
    for attempt in (io.read, io.read_array):
        with pytest.raises(FormatError, match=r"/a/one \(3, 20, 24\) int32"):
            attempt(f"{path}::{dataset}")


def test_the_only_dataset(tmp_path: Path) -> None:
    """Masks, small arrays, text and second names of the same data do not count."""
    content = {
        "scan/frames": STACK,
        "scan/again": h5py.SoftLink("/scan/frames"),
        "scan/mask": FRAME,
        "scan/position": np.ones((40, 3)),
        "scan/title": "a scan",
        "scan/lost": h5py.ExternalLink("lost.h5", "/data"),
    }
    got = io.read(hdf5(tmp_path / "a.h5", content))
    np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
    only_mask = hdf5(tmp_path / "b.h5", {"mask": FRAME})
    np.testing.assert_array_equal(io.read_array(only_mask), FRAME)


def test_no_dataset(tmp_path: Path) -> None:
    for content in ({}, {"a": np.ones(5)}, {"text": "x"}, {"null": h5py.Empty("f4")}):
        with pytest.raises(FormatError, match="no image-like array"):
            io.read(hdf5(tmp_path / "a.h5", content))


@pytest.mark.parametrize(
    ("value", "words"),
    [(FRAME * 1j, "complex"), (np.ones(100), "shape"), (np.float64(3.0), "shape"), (np.ones((0, 20, 20)), "shape")],
)
def test_named_data_that_is_no_pattern(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        io.read(hdf5(tmp_path / "a.h5", {"a": value}), "/a")


def test_a_series_of_linked_files(tmp_path: Path) -> None:
    """A detector's master file: data_000001, data_000002... are one stack."""
    for number, part in enumerate((STACK[:2], STACK[2:]), start=1):
        hdf5(tmp_path / f"run_data_{number:06d}.h5", {"entry/data/data": part})
    links = {
        f"entry/data/data_{number:06d}": h5py.ExternalLink(f"run_data_{number:06d}.h5", "/entry/data/data")
        for number in (1, 2)
    }
    master = hdf5(tmp_path / "run_master.h5", links)
    for got in (io.read(master), io.read(f"{master}::/entry/data")):
        assert got.shape == STACK.shape
        np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
        np.testing.assert_array_equal(got.frame(2).intensity, STACK[2])
    np.testing.assert_array_equal(io.read(f"{master}::/entry/data/data_000002").intensity, STACK[2])


def test_a_linked_group(tmp_path: Path) -> None:
    """Paths are those of the file that was named, also where a link leads into another one."""
    hdf5(tmp_path / "inner.h5", {"scan/frames": STACK})
    hdf5(tmp_path / "nexus.h5", {"scan/frames": STACK, "scan/more": STACK}, {"scan": {"signal": "frames"}})
    for inner in ("inner.h5", "nexus.h5"):
        outer = hdf5(tmp_path / "outer.h5", {"here": h5py.ExternalLink(inner, "/scan")})
        for name in (outer, f"{outer}::/here"):
            got = io.read(name)
            assert got.provenance["dataset"] == "/here/frames"
            np.testing.assert_array_equal(got.frame(1).intensity, STACK[1])


def test_compressed_as_detectors_do(tmp_path: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=STACK, chunks=(1, 20, 24), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(np.asarray(io.read(path).intensity), STACK)


def test_a_last_axis_of_one(tmp_path: Path) -> None:
    np.testing.assert_array_equal(io.read(hdf5(tmp_path / "a.h5", {"real": FRAME[..., None]})).intensity, FRAME)


def test_user_block(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["data"] = FRAME
    np.testing.assert_array_equal(io.read(path).intensity, FRAME)


def test_byte_order(tmp_path: Path) -> None:
    got = io.read(hdf5(tmp_path / "a.h5", {"data": STACK.astype(">i4")}))
    assert np.dtype(got.intensity.dtype).isnative
    np.testing.assert_array_equal(got.frame(1).intensity, STACK[1])
    assert got.frame(1).intensity.dtype.isnative


def test_more_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_i2ipr.errors import OutOfMemoryError

    path = hdf5(tmp_path / "a.h5", {"data": FRAME})

    def too_much(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_i2ipr.io._lazy.np.empty", too_much)
    with pytest.raises(OutOfMemoryError):
        io.read(path)

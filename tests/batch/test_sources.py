"""Every kind of source is one lazy stack with the same patterns in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_i2ipr import io
from napari_i2ipr.batch import open_batch, reconstruct_batch
from napari_i2ipr.batch.arrays import values
from napari_i2ipr.batch.plan import block_of
from napari_i2ipr.batch.request import asked
from napari_i2ipr.batch.source import open_source
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, InputError

Patterns = Callable[..., np.ndarray]

GEOMETRY = Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(2e-5, 2e-5))


def everything(source: Any) -> np.ndarray:
    return values(source.intensity, tuple(slice(0, n) for n in source.lead))


def as_zarr(path: Path, data: np.ndarray, version: int) -> str:
    chunks = (2, 1, *data.shape[-2:])[-data.ndim :]
    array = zarr.create_array(
        str(path / "s.zarr"), shape=data.shape, dtype=data.dtype, chunks=chunks, zarr_format=version
    )
    array[...] = data
    return str(path / "s.zarr")


def as_ome_zarr(path: Path, data: np.ndarray, version: str) -> str:
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
    scales = [{"version": version, "axes": axes, "datasets": levels}]
    old = version == "0.4"
    words = {"multiscales": scales} if old else {"ome": {"version": version, "multiscales": scales}}
    root = zarr.create_group(str(path / "s.ome.zarr"), zarr_format=2 if old else 3, attributes=words)
    root.create_array("0", data=data, chunks=(1, *data.shape[1:]))
    return str(path / "s.ome.zarr")


def as_cxi(path: Path, data: np.ndarray) -> str:
    io.write(Measurement(data, geometry=GEOMETRY), path / "s.cxi")
    return str(path / "s.cxi")


def as_measurement_zarr(path: Path, data: np.ndarray) -> str:
    io.write(Measurement(data, geometry=GEOMETRY), path / "m.zarr")
    return str(path / "m.zarr")


def as_hdf5(path: Path, data: np.ndarray) -> str:
    with h5py.File(path / "s.h5", "w") as file:
        file["scan/frames"] = data
    return f"{path / 's.h5'}::/scan/frames"


def as_tiff(path: Path, data: np.ndarray) -> str:
    tifffile.imwrite(path / "s.tif", data, photometric="minisblack")
    return str(path / "s.tif")


def as_folder(path: Path, data: np.ndarray) -> str:
    (path / "frames").mkdir()
    (path / "frames" / "README.txt").write_text("no pattern")
    for k, frame in enumerate(data):
        np.save(path / "frames" / f"frame_{k + 8}.npy", frame)  # 10 comes after 9
    return str(path / "frames")


def as_glob(path: Path, data: np.ndarray) -> str:
    return f"{as_folder(path, data)}/frame_*.npy"


MAKERS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "zarr v2": lambda path, data: as_zarr(path, data, 2),
    "zarr v3": lambda path, data: as_zarr(path, data, 3),
    "OME-Zarr 0.4": lambda path, data: as_ome_zarr(path, data, "0.4"),
    "OME-Zarr 0.5": lambda path, data: as_ome_zarr(path, data, "0.5"),
    "CXI": as_cxi,
    "measurement zarr": as_measurement_zarr,
    "HDF5": as_hdf5,
    "TIFF": as_tiff,
    "folder": as_folder,
    "glob": as_glob,
    "array": lambda _, data: data,
    "dask": lambda _, data: da.from_array(data, chunks=(2, *data.shape[1:])),
    "measurement": lambda _, data: Measurement(data),
    "lazy measurement": lambda path, data: io.read(as_hdf5(path, data)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_gives_the_same(kind: str, tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    data = patterns(5)
    given = MAKERS[kind](tmp_path, data)
    source = open_source(given)
    assert source.lead == (5,)
    np.testing.assert_array_equal(everything(source), data)
    window = source.window((slice(1, 4),))
    np.testing.assert_array_equal(values(window.intensity, (slice(1, 3),)), data[2:4])
    report = reconstruct_batch(given, tmp_path / "out.zarr", tiny, unit=2)
    assert report.statuses == {"DONE": 5}
    if kind in ("CXI", "measurement zarr"):
        assert io.read_result(report.target).geometry == GEOMETRY


@pytest.mark.parametrize("kind", ["zarr v3", "HDF5", "TIFF", "array", "dask"])
def test_axes_by_option(kind: str, tmp_path: Path, patterns: Patterns) -> None:
    data = patterns(3, frame=(48, 40))
    moved = np.ascontiguousarray(np.moveaxis(data, 0, -1))  # y, x, scan
    source = open_source(MAKERS[kind](tmp_path, moved), axes="y,x,scan")
    assert (source.lead, source.lead_axes, source.frame_shape) == ((3,), ("scan",), (48, 40))
    np.testing.assert_array_equal(everything(source), data)
    turned = open_source(np.swapaxes(data, 1, 2), axes=("scan", "x", "y"), mask=np.eye(48)[:40])
    np.testing.assert_array_equal(everything(turned), data)
    assert turned.bad_pixels.shape == (48, 40)


@pytest.mark.parametrize("key", ["dimension_names", "_ARRAY_DIMENSIONS"])
def test_axes_by_name(key: str, tmp_path: Path, patterns: Patterns) -> None:
    data = patterns(8)
    moved, names = np.moveaxis(data, 0, -1), ("y", "x", "angle")
    three = key == "dimension_names"
    array = zarr.create_array(
        str(tmp_path / "s.zarr"),
        shape=moved.shape,
        dtype=moved.dtype,
        chunks=(48, 48, 2),
        zarr_format=3 if three else 2,
        dimension_names=names if three else None,
        attributes=None if three else {key: list(names)},
    )
    array[...] = moved
    source = open_source(tmp_path / "s.zarr")
    assert (source.lead, source.lead_axes, source.chunk) == ((8,), ("angle",), (2,))
    np.testing.assert_array_equal(everything(source), data)


def test_a_stack_of_one_stays_a_stack(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    path = as_zarr(tmp_path, patterns(1), 3)
    report = reconstruct_batch(path, tmp_path / "out.zarr", tiny)
    assert open_batch(report.target).images["reconstruction"].shape == (1, 24, 24)
    assert open_source(as_tiff(tmp_path, patterns(1)), axes="t,y,x").lead == (1,)


def test_nothing_to_do_with_nothing(tmp_path: Path, tiny: Config) -> None:
    path = tmp_path / "s.zarr"
    zarr.create_array(str(path), shape=(0, 48, 48), dtype="float32", chunks=(1, 48, 48))
    with pytest.raises(InputError, match="0 patterns"):
        reconstruct_batch(path, tmp_path / "out.zarr", tiny)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr"]


def test_masks_of_files_and_options(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    data = patterns(2)
    mask = np.zeros((2, 48, 48), np.uint8)
    mask[0, 20:22, 20:22] = 1
    io.write(Measurement(data, bad_pixels=mask != 0), tmp_path / "m.zarr")
    own = open_source(tmp_path / "m.zarr").frames((slice(0, 2),))
    assert [int(np.sum(frame.bad_pixels)) for frame in own] == [4, 0]
    np.save(tmp_path / "mask.npy", mask[0])
    np.save(tmp_path / "masks.npy", mask)
    shared = open_source(data, mask=tmp_path / "mask.npy").frames((slice(0, 2),))
    assert [int(np.sum(frame.bad_pixels)) for frame in shared] == [4, 4]
    each = open_source(data, mask=tmp_path / "masks.npy").window((slice(1, 2),)).frames((slice(0, 1),))
    assert not each[0].bad_pixels.any()
    with pytest.raises(InputError, match="a mask of shape"):
        open_source(data, mask=np.zeros((47, 48)))
    with pytest.raises(InputError, match="an empty support"):
        reconstruct_batch(data, tmp_path / "out.zarr", tiny, support=np.zeros((48, 48)))


def test_files_with_masks_of_their_own(tmp_path: Path, patterns: Patterns) -> None:
    for k, frame in enumerate(patterns(2)):
        bad = np.zeros((48, 48), bool)
        bad[:k] = True
        io.write(Measurement(frame, bad_pixels=bad), tmp_path / f"f{k}.npz")
    frames = open_source(str(tmp_path / "f*.npz")).frames((slice(0, 2),))
    assert [int(np.sum(frame.bad_pixels)) for frame in frames] == [0, 48]


def test_what_is_refused(tmp_path: Path, patterns: Patterns) -> None:
    data = patterns(2)
    with pytest.raises(InputError, match="the axes t,y,y"):
        open_source(data, axes="t,y,y")
    with pytest.raises(InputError, match="complex"):
        open_source(data.astype(np.complex64))
    with pytest.raises(FormatError, match="no files"):
        open_source(str(tmp_path / "*.tif"))
    (tmp_path / "mixed").mkdir()
    np.save(tmp_path / "mixed" / "a.npy", data[0])
    tifffile.imwrite(tmp_path / "mixed" / "b.tif", data[0])
    with pytest.raises(InputError, match="several kinds"):
        open_source(tmp_path / "mixed")
    with pytest.raises(FormatError, match="no file at"):
        open_source(tmp_path / "nothing.h5")


def test_a_file_of_another_shape_costs_its_own_pattern(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    folder = Path(as_folder(tmp_path, patterns(4)))
    np.save(folder / "frame_9.npy", np.ones((20, 20)))
    (folder / "frame_10.npy").write_bytes(b"nothing of the kind")
    report = reconstruct_batch(folder, tmp_path / "out.zarr", tiny)
    assert report.statuses == {"DONE": 2, "UNREADABLE": 2}
    assert "20, 20" in open_batch(report.target).rows[1].notes[0]


@pytest.mark.parametrize(
    ("lead", "chunk", "most", "block"),
    [
        ((100,), (1,), 32, (32,)),
        ((100,), (10,), 32, (30,)),
        ((100,), (50,), 32, (32,)),
        ((4, 6), (1, 1), 13, (2, 6)),
        ((4, 6), (1, 4), 5, (1, 4)),
        ((), (), 8, ()),
        ((3,), (1,), 8, (3,)),
    ],
)
def test_units_are_whole_stored_chunks_where_they_fit(lead: Any, chunk: Any, most: int, block: Any) -> None:
    assert block_of(lead, chunk, most) == block


def test_intensities_are_an_answer(volume: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    """Whether the values are amplitudes is guessed only where nothing is said of it."""
    prepare = {"amplitude": False, "center": None, "invert_mask": False}
    request = asked(volume(1), tmp_path / "t.zarr", tiny, prepare=prepare)
    assert request.prepare == {"amplitude": False}

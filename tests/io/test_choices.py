"""Files with several arrays: which are offered, in which order; MRC files; centres that files name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError, InputError

FRAME = np.random.default_rng(0).integers(0, 99, (24, 20)).astype(np.uint16)


def hdf5(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in arrays.items():
            file[name.replace("__", "/")] = data
    return path


def test_the_most_probable_comes_first(tmp_path: Path) -> None:
    path = hdf5(
        tmp_path / "a.h5",
        entry__other=np.ones((400, 400)),
        entry__picture=np.ones((30, 30)),
        entry__detector__image=FRAME,
        entry__scan__data=FRAME,
        entry__detector__data=FRAME,
        entry__mask=FRAME,
        entry__flatfield=FRAME,
        entry__phase=FRAME.astype(np.complex64),
        entry__positions=np.ones((500, 2)),
    )
    offered = io.datasets(path)
    assert list(offered) == [
        "/entry/detector/data",
        "/entry/scan/data",
        "/entry/detector/image",
        "/entry/other",
        "/entry/picture",
    ]
    assert offered["/entry/other"] == ((400, 400), np.float64)
    with pytest.raises(FormatError, match=r"5 arrays.*name it: .*a\.h5::/entry/detector/data"):
        io.read(path)
    assert io.read(path, "/entry/detector/data").shape == (24, 20)


def test_nothing_to_choose(tmp_path: Path) -> None:
    """Where the file says which array is meant, or has one only, or the user has said it."""
    one = hdf5(tmp_path / "one.h5", data=FRAME, mask=FRAME)
    series = hdf5(tmp_path / "series.h5", g__data_000001=FRAME[None], g__data_000002=FRAME[None])
    told = hdf5(tmp_path / "told.h5", entry__data=FRAME, entry__more=FRAME)
    with h5py.File(told, "a") as file:
        file.attrs["default"], file["entry"].attrs["signal"] = "entry", "data"
    ours = io.write(Measurement(FRAME, support=np.ones((24, 20), bool)), tmp_path / "ours.cxi")
    packed = io.write(Measurement(FRAME, support=np.ones((24, 20), bool)), tmp_path / "ours.npz")
    for path in (one, series, told, ours, packed):
        assert io.datasets(path) == {}
        io.read(path)
    assert io.datasets(f"{hdf5(tmp_path / 'two.h5', a=FRAME, b=FRAME)}::/a") == {}
    np.save(tmp_path / "a.npy", FRAME)
    assert io.datasets(tmp_path / "a.npy") == {}


def test_npz_and_cxi(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=FRAME, counts=FRAME, mask=FRAME)
    assert list(io.datasets(tmp_path / "a.npz")) == ["counts", "first"]
    path = hdf5(tmp_path / "a.cxi", somewhere__first=FRAME, somewhere__intensity=FRAME)
    assert list(io.datasets(path)) == ["/somewhere/intensity", "/somewhere/first"]


def test_missing_and_foreign(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no file"):
        io.datasets(tmp_path / "none.h5")
    (tmp_path / "x.h5").write_text("no")
    with pytest.raises(FormatError, match="not HDF5 inside"):
        io.datasets(tmp_path / "x.h5")


def test_ours(tmp_path: Path) -> None:
    pattern = io.write(Measurement(FRAME), tmp_path / "ours.zarr")
    assert io.is_ours(pattern)
    assert not io.is_ours(hdf5(tmp_path / "theirs.cxi", data=FRAME))
    assert not io.is_ours(tmp_path)


@pytest.mark.parametrize("units", ["pixel", "", "m"])
def test_beam_centre(tmp_path: Path, units: str) -> None:
    """NeXus files name it in pixels, mostly; a centre in metres is not taken for one."""
    path = hdf5(tmp_path / "a.nxs", entry__instrument__detector__data=FRAME)
    with h5py.File(path, "a") as file:
        for axis, value in (("x", 9.5), ("y", 12.25)):
            file[f"entry/instrument/detector/beam_center_{axis}"] = value
            if units:
                file[f"entry/instrument/detector/beam_center_{axis}"].attrs["units"] = units
    found = io.read(path).provenance
    assert found.get("center_px") == (None if units == "m" else [12.25, 9.5])


def test_mrc(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    stack = np.stack([FRAME, FRAME * 2, FRAME * 3])
    with mrcfile.new(tmp_path / "stack.mrc") as file:
        file.set_data(stack)
        file.voxel_size = 1.5
    got = io.read(tmp_path / "stack.mrc")
    assert not isinstance(got.intensity, np.ndarray)
    np.testing.assert_array_equal(got.frame(1).intensity, FRAME * 2)
    assert got.provenance["voxel_size_angstrom"] == [1.5, 1.5]
    assert got.geometry.pixel_size_m is None
    with mrcfile.new(tmp_path / "one.mrc") as file:
        file.set_data(FRAME.astype(np.float32))
    assert io.read(tmp_path / "one.mrc").shape == (24, 20)
    assert "voxel_size_angstrom" not in io.read(tmp_path / "one.mrc").provenance
    with mrcfile.new(tmp_path / "complex.mrc") as file:
        file.set_data(FRAME.astype(np.complex64))
    with pytest.raises(InputError, match="real intensities"):
        io.read(tmp_path / "complex.mrc")
    with (tmp_path / "stack.mrc").open("ab") as file:
        file.write(b"more behind the data")
    assert io.read(tmp_path / "stack.mrc").shape == (3, 24, 20)


def test_mrc_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_i2ipr.io import mrc

    (tmp_path / "a.mrc").write_bytes(b"\0" * 208 + b"MAP " + b"\0" * 812)
    monkeypatch.setattr(mrc, "find_spec", lambda _: None)
    with pytest.raises(FormatError, match=r"pip install \"napari-i2ipr\[all\]\""):
        io.read(tmp_path / "a.mrc")

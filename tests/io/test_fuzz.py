"""Mutated files at every parser's door: a measurement or one of our errors comes out, and nothing else.

Not a foreign exception, not a hang, no memory beyond what is free, no file left open, no line on the terminal.
"""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_i2ipr import io
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import I2IPRError

EXAMPLES = int(os.environ.get("I2IPR_FUZZ_EXAMPLES", "25"))
FREE_BYTES = 32_000_000
"""What the readers are told to be free; the frames here take 2 KB."""

PEAK_BYTES = 4 * FREE_BYTES
"""Libraries hold copies and buffers of their own."""

FRAMES = np.random.default_rng(1).integers(0, 200, (3, 24, 20)).astype(np.uint16)
BAD = FRAMES[0] > 180


def cxi(path: Path) -> None:
    geometry = Geometry(1e-10, 1.0, (5e-5, 5e-5))
    io.write(Measurement(FRAMES, bad_pixels=BAD, support=BAD, geometry=geometry, alpha=2.0), path)


def hdf5(path: Path, **options: Any) -> None:
    import h5py

    with h5py.File(path, "w", **options) as file:
        file.create_dataset("entry/data/data", data=FRAMES, compression="gzip")
        file["entry/data"].attrs["signal"] = "data"
        file["entry/instrument/detector/distance"] = 1.5


def hdf5_new(path: Path) -> None:
    hdf5(path, libver="latest")


def bitshuffle(path: Path) -> None:
    import h5py
    import hdf5plugin

    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("data", data=FRAMES, chunks=(1, 24, 20), **hdf5plugin.Bitshuffle())


def mat5(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"frames": np.moveaxis(FRAMES, 0, -1), "note": "words", "box": {"a": 1.0}})


def mat5_compressed(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"frame": FRAMES[0], "more": 1.0}, do_compression=True)


def mat7(path: Path) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512, libver="latest") as file:
        file["frames"] = FRAMES.swapaxes(1, 2)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def tiff(path: Path, **options: Any) -> None:
    import tifffile

    tifffile.imwrite(path, FRAMES, photometric="minisblack", **options)


def tiff_tiles(path: Path) -> None:
    tiff(path, tile=(16, 16), compression="zlib")


def edf(path: Path) -> None:
    from fabio.edfimage import EdfImage

    image = EdfImage(data=FRAMES[0], header={"WaveLength": "1e-10"})
    image.append_frame(data=FRAMES[1])
    image.write(str(path))


def edf_compressed(path: Path) -> None:
    import zlib

    packed = zlib.compress(FRAMES[0].tobytes())
    words = "EDF_DataBlockID = 0.Image.Psd ;\nEDF_BinarySize = {} ;\nCompression = ZCompression ;\n"
    words += "ByteOrder = LowByteFirst ;\nDataType = UnsignedShort ;\nDim_1 = 20 ;\nDim_2 = 24 ;\n"
    header = ("{\n" + words.format(len(packed))).encode()
    path.write_bytes(header.ljust(510) + b"}\n" + packed)


def cbf(path: Path) -> None:
    from fabio.cbfimage import CbfImage

    words = "# Detector: PILATUS\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Wavelength 0.9 A"
    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": words}
    CbfImage(data=FRAMES[0].astype(np.int32), header=header).write(str(path))


def cbf_without_checksum(path: Path) -> None:
    cbf(path)
    path.write_bytes(path.read_bytes().replace(b"Content-MD5:", b"Content-XXX:"))


def cbf_gz(path: Path) -> None:
    import gzip

    cbf(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def img(path: Path) -> None:
    from fabio.dtrekimage import DtrekImage

    DtrekImage(data=FRAMES[0], header={"WAVELENGTH": "1.5", "PIXEL_SIZE": "0.1"}).write(str(path))


def mask(path: Path) -> None:
    from fabio.fit2dmaskimage import Fit2dMaskImage

    Fit2dMaskImage(data=BAD.astype(np.uint8)).write(str(path))


def mrc(path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile comes with the extra `all`")
    with mrcfile.new(path) as file:
        file.set_data(FRAMES)


def npy(path: Path) -> None:
    np.save(path, FRAMES)


def npz(path: Path) -> None:
    io.write(Measurement(FRAMES, bad_pixels=BAD), path)


def npz_stored(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, counts=FRAMES, mask=BAD)


def picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(FRAMES[0].astype(np.uint8)).save(path)


def zarr2(path: Path) -> None:
    import zarr

    array = zarr.create_array(str(path), shape=FRAMES.shape, dtype=FRAMES.dtype, chunks=(1, 24, 20), zarr_format=2)
    array[...] = FRAMES


def zarr3(path: Path) -> None:
    io.write(Measurement(FRAMES, bad_pixels=BAD, support=BAD), path)


def ome_zarr(path: Path) -> None:
    import zarr

    scales = {"axes": [{"name": name} for name in "tyx"], "datasets": [{"path": "0"}]}
    group = zarr.create_group(str(path), attributes={"ome": {"version": "0.5", "multiscales": [scales]}})
    group.create_array("0", data=FRAMES, chunks=(1, 24, 20))


MAKERS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "cxi": ("CXI", ".cxi", cxi),
    "hdf5": ("HDF5", ".h5", hdf5),
    "hdf5 latest": ("HDF5", ".h5", hdf5_new),
    "hdf5 bitshuffle": ("HDF5", ".h5", bitshuffle),
    "mat 5": ("MAT", ".mat", mat5),
    "mat 5 compressed": ("MAT", ".mat", mat5_compressed),
    "mat 7.3": ("MAT", ".mat", mat7),
    "tiff": ("TIFF", ".tif", tiff),
    "tiff tiles": ("TIFF", ".tif", tiff_tiles),
    "edf": ("EDF", ".edf", edf),
    "edf compressed": ("EDF", ".edf", edf_compressed),
    "cbf": ("CBF", ".cbf", cbf),
    "cbf without checksum": ("CBF", ".cbf", cbf_without_checksum),
    "cbf.gz": ("CBF", ".cbf", cbf_gz),
    "img": ("IMG/Fit2D", ".img", img),
    "fit2d mask": ("IMG/Fit2D", ".msk", mask),
    "mrc": ("MRC", ".mrc", mrc),
    "npy": ("NPY/NPZ", ".npy", npy),
    "npz": ("NPY/NPZ", ".npz", npz),
    "npz stored": ("NPY/NPZ", ".npz", npz_stored),
    "zarr 2": ("zarr", ".zarr", zarr2),
    "zarr 3": ("zarr", ".zarr", zarr3),
    "ome-zarr": ("zarr", ".zarr", ome_zarr),
    "png": ("picture", ".png", picture),
    "bmp": ("picture", ".bmp", picture),
    "jpg": ("picture", ".jpg", picture),
    "gif": ("picture", ".gif", picture),
    "webp": ("picture", ".webp", picture),
}

PLACES = st.integers(0, 1 << 14)
TELLING = [
    b"\x00" * 8,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"-1",
    b"999999999999",
    b"{",
    b"}\n",
    b"e9",
]
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), PLACES, st.binary(min_size=1, max_size=2)),
        st.tuples(st.just("set"), PLACES, st.sampled_from(TELLING)),
        st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("delete"), PLACES, st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("end"), PLACES, st.binary(max_size=4)),
    ),
    min_size=1,
    max_size=4,
)
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def mutated(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Content with bytes set, inserted, deleted, or with another end."""
    out = bytearray(content)
    for kind, position, value in changes:
        at = position % max(len(out), 1)
        if kind == "set":
            out[at : at + len(value)] = value
        elif kind == "insert":
            out[at:at] = value
        elif kind == "delete":
            del out[at : at + len(value)]
        else:
            out[at:] = value
    return bytes(out)


def spared(name: str, content: bytes, changed: bytes) -> bytes:
    """Of HDF5 in its old layout only the superblock is changed: libhdf5 itself can hang on a damaged heap there."""
    keep = 96 if name in {"cxi", "hdf5"} else len(content)
    return changed[:keep] + content[keep:] if len(changed) >= keep else changed


def read_frames(path: Path) -> None:
    measurement = io.read(path)
    for number in range(min(measurement.n_frames, 5)):
        measurement.frame(number)


def read_array(path: Path) -> None:
    np.asarray(io.open_array(path)[0])


@pytest.fixture(params=sorted(MAKERS))
def good(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """Name and file of a format, while memory is scarce and watched."""
    _, suffix, make = MAKERS[request.param]
    path = tmp_path / f"good{suffix}"
    make(path)
    read_frames(path)
    monkeypatch.setattr("napari_i2ipr.io._guard.free_memory", lambda: FREE_BYTES)
    tracemalloc.start()
    yield request.param, path
    tracemalloc.stop()


def test_every_format_is_here() -> None:
    assert {name for name, _, _ in MAKERS.values()} == {known.name for known in io.READERS}


def left_open(folder: Path) -> list[str]:
    """Files below a folder that this process holds open."""
    if not Path("/proc/self/fd").exists():
        return []
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return [link for link in found if link.startswith(str(folder))]


@BOUNDED
@given(changes=CHANGES, part=st.integers(0, 50))
def test_mutated_files(
    good: tuple[str, Path], changes: list[tuple[str, int, bytes]], part: int, capfd: pytest.CaptureFixture[str]
) -> None:
    name, source = good
    target = source.with_name(f"bad{source.suffix}")
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        changed = files[part % len(files)]
    else:
        changed = target
        shutil.copyfile(source, target)
    content = changed.read_bytes()
    changed.write_bytes(spared(name, content, mutated(content, changes)))
    tracemalloc.reset_peak()
    for attempt in (read_frames, read_array, io.datasets, io.read_result, io.is_result):
        try:
            attempt(target)
        except I2IPRError as error:
            text = str(error)
            assert text.startswith("got ")
            assert "\n" not in text
            assert "Traceback" not in text
            del error
    assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    assert left_open(source.parent) == []
    assert capfd.readouterr() == ("", "")


SIDE = 1_000_000
"""Of frames that no memory holds."""


def large_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<u2", "fortran_order": False, "shape": (SIDE, SIDE)})


def large_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("data", (SIDE, SIDE), "u2", chunks=(100, 100))


def large_mat7(path: Path) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("data", (SIDE, SIDE), "u2", chunks=(100, 100))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def large_zarr(path: Path) -> None:
    import zarr

    zarr.create_array(str(path), shape=(SIDE, SIDE), dtype="u2", chunks=(100, 100))


def replaced(maker: Callable[[Path], None], old: bytes, new: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        maker(path)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return make


LARGE: dict[str, Callable[[Path], None]] = {
    "npy": large_npy,
    "hdf5": large_hdf5,
    "mat": large_mat7,
    "zarr": large_zarr,
    "cbf": replaced(cbf, b"Dimension: 20", b"Dimension: 1000000000000"),
    "img": replaced(img, b"SIZE1= 20;", b"SIZE1= 1000000000000;"),
    "edf": replaced(edf, b"Dim_1 = 20 ;", b"Dim_1 = 1000000000000 ;"),
    "msk": replaced(mask, b"\x14\x00\x00\x00\x18\x00\x00\x00", b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
    "tif": replaced(tiff, struct.pack("<HHII", 256, 4, 1, 20), struct.pack("<HHII", 256, 4, 1, SIDE * SIDE // 1000)),
}


@pytest.mark.parametrize("suffix", sorted(LARGE))
def test_headers_that_claim_far_too_much(tmp_path: Path, suffix: str) -> None:
    """10^12 pixels are refused before memory is asked for."""
    path = tmp_path / f"large.{suffix}"
    LARGE[suffix](path)
    tracemalloc.start()
    try:
        with pytest.raises(I2IPRError):
            io.read(path).frame(0)
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()

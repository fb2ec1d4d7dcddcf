"""What every format owes: one of our errors for whatever is wrong with a file, and nothing left open."""

from __future__ import annotations

import logging
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, I2IPRError

FRAMES = np.random.default_rng(1).integers(0, 200, (3, 24, 20)).astype(np.uint16)


def make_cxi(path: Path) -> None:
    io.write(Measurement(FRAMES, bad_pixels=FRAMES[0] > 180, geometry=Geometry(1e-10, 1.0, (5e-5, 5e-5))), path)


def make_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=FRAMES, compression="gzip")
        file["entry/data"].attrs["signal"] = "data"


def make_tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, FRAMES, photometric="minisblack")


def make_edf(path: Path) -> None:
    from fabio.edfimage import EdfImage

    EdfImage(data=FRAMES[0]).write(str(path))


def make_cbf(path: Path) -> None:
    from fabio.cbfimage import CbfImage

    CbfImage(data=FRAMES[0].astype(np.int32)).write(str(path))


def make_img(path: Path) -> None:
    from fabio.dtrekimage import DtrekImage

    DtrekImage(data=FRAMES[0]).write(str(path))


def make_mat(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"frames": np.moveaxis(FRAMES, 0, -1)})


def make_mrc(path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile comes with the extra `all`")
    with mrcfile.new(path) as file:
        file.set_data(FRAMES)


def make_npy(path: Path) -> None:
    np.save(path, FRAMES)


def make_npz(path: Path) -> None:
    io.write(Measurement(FRAMES), path)


def make_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(FRAMES[0].astype(np.uint8)).save(path)


def make_zarr(path: Path) -> None:
    import zarr

    array = zarr.create_array(str(path), shape=FRAMES.shape, dtype=FRAMES.dtype, chunks=(1, 24, 20), zarr_format=2)
    array[...] = FRAMES


MAKERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    ".cxi": ("CXI", make_cxi),
    ".h5": ("HDF5", make_hdf5),
    ".tif": ("TIFF", make_tiff),
    ".edf": ("EDF", make_edf),
    ".cbf": ("CBF", make_cbf),
    ".img": ("IMG/Fit2D", make_img),
    ".mat": ("MAT", make_mat),
    ".mrc": ("MRC", make_mrc),
    ".npy": ("NPY/NPZ", make_npy),
    ".npz": ("NPY/NPZ", make_npz),
    ".png": ("picture", make_picture),
    ".bmp": ("picture", make_picture),
    ".jpg": ("picture", make_picture),
    ".webp": ("picture", make_picture),
    ".zarr": ("zarr", make_zarr),
}
FILES = [suffix for suffix in MAKERS if suffix != ".zarr"]
BY_NAME = {known.name: known for known in io.READERS}


@pytest.fixture(params=sorted(MAKERS))
def good(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"good{request.param}"
    MAKERS[request.param][1](path)
    return path


def format_of(path: Path) -> io.Format:
    return BY_NAME[MAKERS[path.suffix][0]]


def read_all(path: Path, known: io.Format | None = None) -> None:
    """Read every frame, and the array as such."""
    source = known or io
    measurement = source.read(path)
    for number in range(measurement.n_frames):
        measurement.frame(number)
    np.asarray(source.read_array(path))


def test_every_format_is_made_here() -> None:
    assert {name for name, _ in MAKERS.values()} == set(BY_NAME)
    suffixes = [suffix for known in io.READERS for suffix in known.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert set(MAKERS) <= set(suffixes)


def test_only_its_own_format_knows_it(good: Path) -> None:
    knowing = [known.name for known in io.READERS if known.sniff(good)]
    expected = ["CXI", "HDF5"] if good.suffix == ".cxi" else [format_of(good).name]
    assert knowing == expected


def test_reads(good: Path) -> None:
    measurement = io.read(good)
    expected = FRAMES[0] if measurement.n_frames == 1 else FRAMES
    if good.suffix not in {".jpg", ".webp"}:
        np.testing.assert_array_equal(np.asarray(measurement.intensity), expected)
        np.testing.assert_array_equal(io.read_array(good), expected)
    assert measurement.shape == expected.shape
    assert measurement.provenance["source"] == str(good)
    assert measurement.provenance["format"]


def test_content_decides_not_the_name(good: Path) -> None:
    renamed = good.rename(good.with_name("renamed.dat"))
    assert io.read(renamed).frame_shape == FRAMES.shape[-2:]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_truncated(good: Path, keep: float) -> None:
    if good.suffix == ".zarr":
        chunk = next(path for path in good.iterdir() if path.name.startswith("0."))
        chunk.write_bytes(chunk.read_bytes()[: int(chunk.stat().st_size * keep)])
    else:
        good.write_bytes(good.read_bytes()[: int(good.stat().st_size * keep)])
    with pytest.raises(FormatError) as caught:
        read_all(good, format_of(good))
    check_sentence(caught.value)
    with pytest.raises(FormatError):
        read_all(good)


@pytest.mark.parametrize("suffix", sorted(MAKERS))
@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"a file of somebody else\n" * 300, bytes(range(256)) * 20, b"\x00" * 5000],
    ids=["empty", "one byte", "text", "bytes", "zeros"],
)
def test_foreign(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"foreign{suffix}"
    path.write_bytes(content)
    assert not format_of(path).sniff(path)
    for attempt in (format_of(path).read, format_of(path).read_array, io.read, io.read_array, io.read_result):
        with pytest.raises(FormatError) as caught:
            attempt(path)
        check_sentence(caught.value)


@pytest.mark.parametrize("suffix", FILES)
def test_right_beginning_of_nothing(tmp_path: Path, suffix: str) -> None:
    """The signature alone gets past the sniffing, and no further."""
    path = tmp_path / f"start{suffix}"
    MAKERS[suffix][1](path)
    path.write_bytes(path.read_bytes()[:12] + b"\xff" * 3000)
    with pytest.raises(FormatError):
        io.read(path)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_directory_and_missing(tmp_path: Path, name: str) -> None:
    for path in (tmp_path, tmp_path / "missing.h5", tmp_path / "no" / "where.tif", tmp_path / ("x" * 300)):
        assert not BY_NAME[name].sniff(path)
        for attempt in (BY_NAME[name].read, BY_NAME[name].read_array):
            with pytest.raises(FormatError) as caught:
                attempt(path)
            check_sentence(caught.value)


def test_directory_and_missing_without_a_format(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.h5", Path(), tmp_path / "nul\x00"):
        for attempt in (io.read, io.read_array, io.read_image, io.read_result):
            with pytest.raises(FormatError):
                attempt(path)
        assert not io.is_result(path)


def test_forbidden(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may read everything: the refusal is played."""
    if good.is_dir():
        pytest.skip("a directory is not opened itself")

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    for attempt in (io.read, format_of(good).read):
        with pytest.raises(FormatError, match="may not be read"):
            attempt(good)


def test_unknown_dataset(good: Path) -> None:
    with pytest.raises(FormatError) as caught:
        io.read(f"{good}::/no/such/data")
    check_sentence(caught.value)
    if good.suffix in {".cxi", ".h5", ".mat", ".npz"}:
        assert "(3, 24, 20) uint16" in str(caught.value)


def test_silent_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries log what is wrong with a file; the user reads our sentence only."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for suffix in (".tif", ".edf", ".cbf", ".img"):
        path = tmp_path / f"half{suffix}"
        MAKERS[suffix][1](path)
        path.write_bytes(path.read_bytes()[:-700])
        with pytest.raises(FormatError):
            read_all(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_stays_open(good: Path) -> None:
    measurement = io.read(good)
    measurement.frame(0)
    half = good.with_name(f"half{good.suffix}")
    if good.is_file():
        half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    with pytest.raises(FormatError):
        read_all(half)
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except OSError:
            continue
    assert not [link for link in links if link.startswith(str(good.parent))]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs /proc")
@pytest.mark.parametrize("suffix", FILES)
def test_sniffing_reads_little(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large{suffix}"
    MAKERS[suffix][1](path)
    with path.open("ab") as file:
        file.write(bytes(2_000_000))
    for known in io.READERS:  # imports read files, too
        known.sniff(path)

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = bytes_read()
    idle = bytes_read() - before
    for known in io.READERS:
        before = bytes_read()
        known.sniff(path)
        assert bytes_read() - before - idle < 32_768, known.name


def test_stacks_are_lazy_and_portable(good: Path) -> None:
    """A lazy stack behaves as the array it stands for, survives pickling, and serves dask."""
    stack = io.read(good).intensity
    if isinstance(stack, np.ndarray):
        assert stack.ndim == 2 or good.suffix in {".mat", ".npz"}
        return
    again = pickle.loads(pickle.dumps(stack))  # noqa: S301
    for index in (
        0,
        -1,
        (1, 2),
        (slice(0, 2), slice(3, 9)),
        (..., 4),
        (slice(None, None, 2), ..., slice(1, 3)),
        [2, 0],
    ):
        np.testing.assert_array_equal(again[index], FRAMES[index])
    assert (again.ndim, again.shape, again.size, len(again), again.nbytes) == (3, FRAMES.shape, FRAMES.size, 3, 2880)
    assert again[3:].shape == (0, 24, 20)
    with pytest.raises(IndexError):
        again[0, 0, 0, 0]
    with pytest.raises(IndexError):
        again[3]
    dask_array = pytest.importorskip("dask.array")
    lazy = dask_array.from_array(again, chunks=(1, 24, 20))
    np.testing.assert_array_equal(lazy.sum(axis=0).compute(scheduler="threads"), FRAMES.sum(axis=0))


def test_a_stack_that_vanished(good: Path) -> None:
    stack = io.read(good).intensity
    if isinstance(stack, np.ndarray):
        pytest.skip("in memory")
    if good.is_dir():
        shutil.rmtree(good)
    else:
        good.unlink()
    with pytest.raises(FormatError):
        stack[0]


def test_a_stack_that_changed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    stack = io.read(tmp_path / "a.npy").intensity
    np.save(tmp_path / "a.npy", FRAMES[:, :, :17])
    with pytest.raises(FormatError, match="changed"):
        stack[0]


def test_a_library_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_edf(tmp_path / "a.edf")
    monkeypatch.setitem(sys.modules, "fabio.edfimage", None)
    with pytest.raises(FormatError, match="install"):
        io.read(tmp_path / "a.edf")


def test_the_table_is_light() -> None:
    """Importing the package loads no format module beyond what the table itself needs."""
    import subprocess

    code = (
        "import sys, napari_i2ipr.io\n"
        "heavy = {'h5py', 'zarr', 'fabio', 'tifffile', 'PIL', 'dask', 'torch', 'yaozarrs', 'hdf5plugin'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def check_sentence(error: I2IPRError) -> None:
    """One line for the user that names what was found, without a trace."""
    assert "\n" not in str(error)
    assert "Traceback" not in str(error)
    assert str(error).startswith("got ")
    assert error.exit_code in {2, 4}

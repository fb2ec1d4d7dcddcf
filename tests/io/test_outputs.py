"""Outputs appear complete or not at all, and nothing that is not ours is ever replaced."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import FormatError, InputError, OutputError

PATTERN = Measurement(np.arange(16.0 * 20).reshape(16, 20))
RESULT = Reconstruction(np.ones((8, 9), np.float32), np.ones((8, 9), np.float32), (4, 4, 8, 9), (16, 20))
OUTPUTS = [
    (PATTERN, ".cxi"),
    (PATTERN, ".npz"),
    (PATTERN, ".zarr"),
    (RESULT, ".zarr"),
    (RESULT, ".cxi"),
    (RESULT, ".tif"),
]
each = pytest.mark.parametrize(
    ("what", "suffix"),
    OUTPUTS,
    ids=lambda value: (
        getattr(type(value), "__name__", "") + str(value)[:5] if isinstance(value, str) else type(value).__name__
    ),
)


class Broken:
    """A stack whose second frame cannot be read."""

    shape = (3, 16, 16)
    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, index: object) -> np.ndarray:
        if index == (1,) or index == (np.int64(1),):
            raise self.error
        return np.ones((16, 16), np.float32)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise self.error


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


@each
def test_existing_output(tmp_path: Path, what: Measurement, suffix: str) -> None:
    path = io.write(what, tmp_path / f"out{suffix}")
    before = {item: item.read_bytes() for item in tmp_path.rglob("*") if item.is_file()}
    for attempt in (io.write, lambda obj, at: io.check_output(at, type(obj))):
        with pytest.raises(InputError, match="existing output") as caught:
            attempt(what, path)
        assert caught.value.exit_code == 2
    assert {item: item.read_bytes() for item in tmp_path.rglob("*") if item.is_file()} == before


@each
def test_overwrite(tmp_path: Path, what: Measurement, suffix: str) -> None:
    """Any output of ours is replaced, file by directory and directory by file too."""
    path = tmp_path / f"out{suffix}"
    io.write(what, path)
    io.write(what, path, overwrite=True)
    other = io.write(PATTERN, tmp_path / "other.zarr") if path.is_file() else io.write(PATTERN, tmp_path / "other.cxi")
    if path.is_dir():
        path.rename(tmp_path / "away")
    else:
        path.unlink()
    other.rename(path)
    io.check_output(path, type(what), overwrite=True)
    io.write(what, path, overwrite=True)
    assert path.is_dir() == (suffix == ".zarr")
    assert io.is_result(path) == (what is RESULT)
    assert [name for name in names(tmp_path) if name != "away"] == [path.name]


@each
def test_never_what_is_not_ours(tmp_path: Path, what: Measurement, suffix: str) -> None:
    import zarr

    path = tmp_path / f"out{suffix}"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="did not write"):
        io.write(what, path, overwrite=True)
    assert (path / "thesis.txt").read_text() == "years of work"
    (path / "thesis.txt").unlink()
    zarr.create_group(str(path), zarr_format=3)["a"] = np.ones(3)
    with pytest.raises(InputError, match="did not write"):
        io.write(what, path, overwrite=True)
    foreign = tmp_path / f"file{suffix}"
    foreign.write_bytes(b"raw data")
    with pytest.raises(InputError, match="did not write"):
        io.check_output(foreign, type(what), overwrite=True)
    with pytest.raises(InputError, match="did not write"):
        io.write(what, foreign, overwrite=True)
    assert foreign.read_bytes() == b"raw data"


@each
def test_empty_outputs_may_be_replaced(tmp_path: Path, what: Measurement, suffix: str) -> None:
    (tmp_path / f"file{suffix}").touch()
    (tmp_path / f"folder{suffix}").mkdir()
    for name in names(tmp_path):
        io.write(what, tmp_path / name, overwrite=True)
        assert io.is_result(tmp_path / name) == (what is RESULT)


@each
def test_no_directory(tmp_path: Path, what: Measurement, suffix: str) -> None:
    (tmp_path / "file").touch()
    for parent in ("missing", "file", "missing/deep"):
        for attempt in (io.write, lambda obj, at: io.check_output(at, type(obj))):
            with pytest.raises(OutputError) as caught:
                attempt(what, tmp_path / parent / f"out{suffix}")
            assert caught.value.exit_code == 5
    with pytest.raises(OutputError):
        io.write(what, tmp_path / f"nul\x00{suffix}")
    assert names(tmp_path) == ["file"]


@each
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_forbidden_directory(tmp_path: Path, what: Measurement, suffix: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        io.write(what, tmp_path / f"out{suffix}")


@each
def test_refused_directory(tmp_path: Path, what: Measurement, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, before any work is done."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_i2ipr.io._atomic.tempfile.TemporaryFile", refuse)
    for attempt in (io.write, lambda obj, at: io.check_output(at, type(obj))):
        with pytest.raises(OutputError, match="Permission denied"):
            attempt(what, tmp_path / f"out{suffix}")
    assert names(tmp_path) == []


@each
def test_full_disk(tmp_path: Path, what: Measurement, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final rename fails: nothing new is left, and the earlier output is still there."""
    path = io.write(what, tmp_path / f"out{suffix}")

    def full(self: Path, target: Path) -> None:
        if ".partial" in self.name:
            raise OSError(28, "No space left on device")
        real(self, target)

    real = Path.rename
    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        io.write(what, path, overwrite=True)
    assert names(tmp_path) == [path.name]
    assert io.is_result(path) == (what is RESULT)


@pytest.mark.parametrize("suffix", [".cxi", ".npz", ".zarr"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FormatError("a broken file"), FormatError),
        (OSError(28, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["source", "disk", "interrupt"],
)
def test_failure_half_way(tmp_path: Path, suffix: str, error: Exception, expected: type[BaseException]) -> None:
    with pytest.raises(expected):
        io.write(Measurement(Broken(error)), tmp_path / f"out{suffix}")
    assert names(tmp_path) == []


def test_a_link_stands_for_its_target(tmp_path: Path) -> None:
    target = io.write(PATTERN, tmp_path / "target.cxi")
    link = tmp_path / "link.cxi"
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(InputError):
        io.write(PATTERN, link)
    io.write(RESULT, link, overwrite=True)
    assert link.is_symlink()
    assert io.is_result(target)


@pytest.mark.parametrize("name", ["out", "out.png", "out.h5", "out.zarr.zip"])
def test_unknown_ending(tmp_path: Path, name: str) -> None:
    for what in (PATTERN, RESULT):
        with pytest.raises(InputError, match=r"\.zarr"):
            io.write(what, tmp_path / name)
    with pytest.raises(InputError, match=r"\.npz"):
        io.check_output(tmp_path / name, Measurement)
    with pytest.raises(InputError):
        io.write(RESULT, tmp_path / "out.npz")
    with pytest.raises(InputError, match="ndarray"):
        io.write(np.ones((16, 16)), tmp_path / "out.zarr")  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_uppercase_endings(tmp_path: Path) -> None:
    assert io.read(io.write(PATTERN, tmp_path / "A.CXI")).shape == PATTERN.shape


def test_names_with_two_colons(tmp_path: Path) -> None:
    """A file of that very name wins over the path of a dataset."""
    path = tmp_path / "run::1.npz"
    io.write(PATTERN, path)
    assert io.read(path).shape == PATTERN.shape
    assert io.read(f"{path}::intensity").shape == PATTERN.shape

"""MATLAB's files, as SciPy and MATLAB itself lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from napari_i2ipr import io
from napari_i2ipr.errors import FormatError, InputError

RNG = np.random.default_rng(6)
FRAME = RNG.integers(0, 900, (20, 24)).astype(np.uint16)
STACK = RNG.integers(0, 900, (5, 20, 24)).astype(np.uint16)


def mat7(path: Path, **variables: np.ndarray) -> Path:
    """A file of version 7.3: HDF5 behind 512 bytes, every array with its axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            file.create_dataset(name.replace("__", "/"), data=array.T, chunks=array.T.shape, compression="gzip")
        file["#refs#/a"] = np.ones((30, 30))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64", "bool"])
def test_version_5(tmp_path: Path, dtype: str, compressed: bool) -> None:
    values = (FRAME > 400) if dtype == "bool" else FRAME.astype(dtype)
    content: dict[str, Any] = {"pattern": values, "wavelength": 1e-9, "note": "a", "box": {"a": FRAME}, "few": [1, 2]}
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    got = io.read(tmp_path / "a.mat")
    np.testing.assert_array_equal(got.intensity, values)
    assert np.asarray(got.intensity).flags.c_contiguous
    assert got.provenance["dataset"] == "pattern"


def test_version_7(tmp_path: Path) -> None:
    got = io.read(mat7(tmp_path / "a.mat", scan__pattern=FRAME))
    np.testing.assert_array_equal(got.intensity, FRAME)
    assert got.provenance == {"source": str(tmp_path / "a.mat"), "format": "mat", "dataset": "scan/pattern"}


@pytest.mark.parametrize("version", [5, 7])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 24, 5), (5, 20, 24)),
        ((20, 24, 2, 3), (3, 2, 20, 24)),
        ((5, 20, 24), (5, 20, 24)),
        ((40, 20, 20), (40, 20, 20)),
        ((20, 20, 40), (40, 20, 20)),
        ((20, 24, 30), (30, 20, 24)),
        ((20, 24, 1), (20, 24)),
        ((1, 20, 24), (20, 24)),
    ],
    ids=str,
)
def test_which_axis_counts_the_frames(
    tmp_path: Path, version: int, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """The last one, as in MATLAB, unless the frames would be too small, or are square only otherwise."""
    values = RNG.random(shape).astype(np.float32)
    if version == 5:
        savemat(tmp_path / "a.mat", {"data": values})
    else:
        mat7(tmp_path / "a.mat", data=values)
    got = np.asarray(io.read(tmp_path / "a.mat").intensity)
    lead = len(expected) - 2
    first = values.reshape(expected) if shape[-2:] == expected[-2:] else None
    last = np.moveaxis(values, range(2, values.ndim), range(values.ndim - 3, -1, -1)).reshape(expected)
    np.testing.assert_array_equal(got, last if first is None or shape == (20, 24, 1) else first)
    assert got.ndim == lead + 2


def test_stacks_of_version_7_stay_in_the_file(tmp_path: Path) -> None:
    stack = io.read(mat7(tmp_path / "a.mat", data=np.moveaxis(STACK, 0, -1))).intensity
    assert not isinstance(stack, np.ndarray)
    np.testing.assert_array_equal(stack[3, 2:7, ::2], STACK[3, 2:7, ::2])


@pytest.mark.parametrize("version", [5, 7])
def test_several_variables(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.mat"
    if version == 5:
        savemat(path, {"first": FRAME, "counts": FRAME + 1, "mask": FRAME})
    else:
        mat7(path, first=FRAME, counts=FRAME + 1, mask=FRAME)
    assert list(io.datasets(path)) == ["counts", "first"]
    with pytest.raises(FormatError, match=r"2 arrays .* counts \(20, 24\) uint16, first"):
        io.read(path)
    np.testing.assert_array_equal(io.read(f"{path}::counts").intensity, FRAME + 1)
    np.testing.assert_array_equal(io.read_array(path, "/mask"), FRAME)
    with pytest.raises(FormatError, match="no dataset 'other'"):
        io.read(path, "other")


def test_what_is_no_pattern(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"object": FRAME * 1j})
    with pytest.raises(InputError, match="complex"):
        io.read(tmp_path / "a.mat")
    np.testing.assert_array_equal(io.read_image(tmp_path / "a.mat"), FRAME * 1j)
    savemat(tmp_path / "b.mat", {"words": "only", "box": {"data": FRAME}})
    with pytest.raises(FormatError, match="no image-like array"):
        io.read(tmp_path / "b.mat")
    savemat(tmp_path / "c.mat", {"data": FRAME}, format="4")
    with pytest.raises(FormatError, match="not MAT inside"):
        io.read(tmp_path / "c.mat")


def test_a_lost_variable(tmp_path: Path) -> None:
    """A file cut off inside its second variable is refused when the first is asked for, too."""
    savemat(tmp_path / "a.mat", {"data": FRAME, "mask": FRAME > 3})
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[:-40])
    with pytest.raises(FormatError, match="truncated or damaged MAT"):
        io.read(tmp_path / "a.mat", "data")

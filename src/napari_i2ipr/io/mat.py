"""MATLAB's MAT files: version 5 (to 7.2) through SciPy, version 7.3, which is HDF5, through h5py."""

from __future__ import annotations

import mmap
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import MIN_FRAME_PX, Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _lengths, hdf5
from napari_i2ipr.io._guard import head, reading, require_file, require_memory
from napari_i2ipr.io._lazy import LazyStack, frame_index, native, open_stack
from napari_i2ipr.io._pick import Found, candidates, missing, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER = 128
_VERSIONS = {b"\x00\x01IM": 5, b"\x01\x00MI": 5, b"\x00\x02IM": 7, b"\x02\x00MI": 7}
_MATRIX, _PACKED = 14, 15
_PARTS = 5
"""Parts of an array: flags, sides, name, real and imaginary values."""

_TYPES = {"single": "float32", "double": "float64", "logical": "uint8"}
_TYPES |= {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def sniff(path: Path) -> bool:
    """Whether the header is that of a MAT file of version 5 or 7.3."""
    return _version(path) is not None


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        MAT file; version 4 and the contents of structs and cells of version 5 are not read.
    dataset : str, optional
        Name of the variable.

    Returns
    -------
    Measurement
        Values as stored, rows first as MATLAB shows them. Of three axes the last counts the frames, as in MATLAB; the
        first does where the frames would otherwise be too small, or only then are square. Stacks of version 7.3
        stay in the file.

    Raises
    ------
    FormatError
        If the file cannot be read, or does not say which variable is meant.
    """
    with _variables(path) as variables:
        name = _name(path, variables.found, dataset)
        array = variables.load(name)
    return Measurement(array, provenance=_lengths.source_provenance(str(path), "mat", name))


def datasets(path: Path) -> Found:
    """The variables among which `read` cannot decide, the most probable first; none where it can."""
    with _variables(path) as variables:
        names = candidates(variables.found)
        return {name: variables.found[name] for name in names} if len(names) > 1 else {}


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read a variable without any meaning, for masks, supports and images; see `read`."""
    with _variables(path) as variables:
        return variables.load(_name(path, variables.found, dataset, masks_too=True))


class _Five:
    """The variables of an open file of version 5."""

    def __init__(self, path: Path, file: Any) -> None:
        from scipy.io import whosmat

        self._path, self._file = path, file
        listed = [(name, shape, kind) for name, shape, kind in whosmat(file) if kind in _TYPES]
        self._shapes = {name: tuple(int(n) for n in shape) for name, shape, _ in listed}
        self._types = {name: np.dtype(_TYPES[kind]) for name, _, kind in listed}
        self.found: Found = {name: (_ordered(shape), self._types[name]) for name, shape in self._shapes.items()}

    def load(self, name: str) -> NDArray[Any]:
        """The variable in memory, frames first."""
        from scipy.io import loadmat

        require_memory(self._path, self._shapes[name], 2 * self._types[name].itemsize)
        self._file.seek(0)
        return _single(_frames_first(native(loadmat(self._file, variable_names=[name])[name])))


class _Seven:
    """The variables of an open file of version 7.3, whose axes HDF5 holds in the reverse order."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._arrays = {name: one for name, one in hdf5.arrays(file).items() if not name.startswith("/#")}
        self.found: Found = {name[1:]: (_ordered(one[0][::-1]), one[1]) for name, one in self._arrays.items()}

    def load(self, name: str) -> NDArray[Any] | LazyStack:
        """The variable; a stack with the frames last stays in the file."""
        shape, dtype = self._arrays[f"/{name}"]
        if len(shape) > 2 and not _frames_last(shape[::-1]):
            require_memory(self._path, shape, 2 * dtype.itemsize)
            return _single(_frames_first(native(self._file[name][()].T)))
        turned = (*shape[:-2], *shape[:-3:-1])
        return open_stack(self._path, name, turned, dtype, _turned_frames)


@contextmanager
def _variables(path: Path) -> Iterator[_Five | _Seven]:
    require_file(path)
    if _version(path) == 7:
        with hdf5.opened(path) as file:
            yield _Seven(path, file)
        return
    from scipy.io.matlab import MatReadError

    with (
        reading(path, "MAT", (MatReadError,)),
        path.open("rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as file,
    ):
        _check_sizes(path, file)
        yield _Five(path, file)


def _version(path: Path) -> int | None:
    """5, 7 (for 7.3), or None for whatever is no MAT file of these."""
    start = head(path, _HEADER)
    return _VERSIONS.get(start[124:]) if start.startswith(b"MATLAB") else None


def _check_sizes(path: Path, file: Any) -> None:
    """Refuse a file of version 5 with parts that reach beyond their end: SciPy would ask for the memory first."""
    order, at = ("<" if file[_HEADER - 2 : _HEADER] == b"IM" else ">"), _HEADER
    fits, kind = True, _MATRIX
    while fits and kind in {_MATRIX, _PACKED} and at + 8 <= len(file):
        kind, length = struct.unpack(f"{order}2I", file[at : at + 8])
        at, end = at + 8, at + 8 + length
        fits = end <= len(file)
        for _ in range(_PARTS if kind == _MATRIX else 0):
            if not fits or at + 8 > end:
                break
            first, length = struct.unpack(f"{order}2I", file[at : at + 8])
            short = bool(first >> 16)  # type, length and data in eight bytes
            fits = short or at + 8 + length <= end
            at += 8 if short else 8 + length + -length % 8
        at = end
    if not fits:
        raise FormatError(f"the truncated or damaged MAT file {path}", expected="all of it", do="copy it again")


def _name(path: Path, found: Found, dataset: str | None, *, masks_too: bool = False) -> str:
    """Name of the variable that is meant."""
    if dataset is None:
        return pick(path, found, masks_too=masks_too)
    inner = dataset.strip("/")
    if inner not in found:
        raise missing(path, inner, found)
    return inner


def _frames_last(shape: Sequence[int]) -> bool:
    """Whether of three axes or more, in MATLAB's order, the first two are a frame's."""
    y, x, *rest = shape
    if min(y, x) < MIN_FRAME_PX:
        return False
    return not (len(rest) == 1 and y != x == rest[0])


def _ordered(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape with the frames first, of one in MATLAB's order."""
    if len(shape) > 2 and _frames_last(shape):
        return (*tuple(shape)[:1:-1], *shape[:2])
    return tuple(shape)


def _frames_first(array: NDArray[Any]) -> NDArray[Any]:
    """The array with the frames first, of one in MATLAB's order."""
    if array.ndim > 2 and _frames_last(array.shape):
        return np.ascontiguousarray(array.transpose(*range(array.ndim - 1, 1, -1), 0, 1))
    return array


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """The array, as one frame when it is a stack of one."""
    return array.reshape(array.shape[-2:]) if array.ndim > 2 and np.prod(array.shape[:-2]) == 1 else array


def _turned_frames(path: Path, dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames of a variable of version 7.3 by their numbers in the flattened leading axes."""
    with hdf5.opened(path) as file:
        data = file[dataset]
        for number in numbers:
            yield data[frame_index(number, data.shape[:-2])].T

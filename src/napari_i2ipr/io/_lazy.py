"""Stacks that stay in their file: shape and dtype are known, frames are read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io._guard import require_memory

if TYPE_CHECKING:
    from types import EllipsisType

Fetch = Callable[[Path, str, Sequence[int]], Iterable[NDArray[Any]]]
"""Opens the file, yields the frames of these numbers (in the flattened leading axes), closes it."""


_NUMBER_BYTES = 8
"""Bytes of the number of a frame: an access to a stack makes one for every frame."""


@dataclass(frozen=True, eq=False)
class LazyStack:
    """An array ``(..., y, x)`` in a file, opened for each access only.

    No handle stays open, so it can be pickled, shared between threads and given to
    ``dask.array.from_array``.

    Attributes
    ----------
    path : Path
        The file or store.
    dataset : str
        Where the array lies in it.
    shape : tuple of int
        Shape ``(..., y, x)``.
    dtype : numpy.dtype
        Type of the elements, native byte order.
    fetch : callable
        Module-level function that reads frames.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fetch: Fetch

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes once read."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read part of the stack into memory (integers, slices, lists and an ellipsis).

        Raises
        ------
        FormatError
            If the file cannot be read any more.
        OutOfMemoryError
            If that part does not fit into memory.
        """
        parts = _expand(index, self.ndim)
        lead = self.shape[:-2]
        numbers = np.arange(math.prod(lead)).reshape(lead)[parts[:-2]]
        window = np.zeros(self.shape[-2:], dtype=bool)[parts[-2:]]
        require_memory(self.path, (numbers.size, *window.shape), self.dtype.itemsize)
        out = np.empty((numbers.size, *window.shape), dtype=self.dtype)
        frames = self.fetch(self.path, self.dataset, [int(i) for i in np.ravel(numbers)])
        for position, frame in enumerate(frames):
            if np.shape(frame) != self.shape[-2:]:
                raise FormatError(
                    f"a frame of shape {np.shape(frame)} in {self.path}",
                    expected=f"{self.shape[-2:]}, as when it was opened",
                    do="open the changed file again",
                )
            out[position] = np.asarray(frame)[parts[-2:]]
        return out.reshape(np.shape(numbers) + window.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""
        array = self[...]
        return array if dtype is None else array.astype(dtype, copy=False)


def _expand(index: Any, ndim: int) -> tuple[Any, ...]:
    """Index with one entry per axis."""
    parts = index if isinstance(index, tuple) else (index,)
    where = [i for i, part in enumerate(parts) if part is Ellipsis]
    if not where:
        parts = (*parts, Ellipsis)
        where = [len(parts) - 1]
    missing = ndim - (len(parts) - 1)
    if missing < 0 or len(where) > 1:
        raise IndexError(f"too many indices for {ndim} axes: {index!r}")
    return (*parts[: where[0]], *[slice(None)] * missing, *parts[where[0] + 1 :])


def frame_index(number: int, lead: Sequence[int]) -> tuple[int | EllipsisType, ...]:
    """Index of one frame from its number in the flattened leading axes of shape `lead`."""
    return (*(int(i) for i in np.unravel_index(number, tuple(lead))), ...) if len(lead) else (...,)


def native(array: Any) -> NDArray[Any]:
    """The array in memory, contiguous and in the machine's byte order."""
    values = np.asarray(array)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def whole(path: Path, data: Any) -> NDArray[Any]:
    """All of an array of h5py or zarr, in memory.

    Raises
    ------
    OutOfMemoryError
        If it, or one of its chunks, does not fit.
    """
    for sides in (data.shape, getattr(data, "shards", None) or data.chunks or ()):
        require_memory(path, sides, np.dtype(data.dtype).itemsize)
    return native(data[...])


def open_stack(
    path: Path, dataset: str, shape: Sequence[int], dtype: Any, fetch: Fetch, *, keep_single: bool = False
) -> NDArray[Any] | LazyStack:
    """A frame in memory, or a stack that stays in its file.

    Parameters
    ----------
    path, dataset, fetch
        See `LazyStack`.
    shape : sequence of int
        Shape ``(..., y, x)`` in the file.
    dtype : dtype
        Type in the file.
    keep_single : bool
        Whether a stack of one frame stays a stack; otherwise it becomes that frame.

    Raises
    ------
    InputError
        If there are fewer than two axes or no elements.
    OutOfMemoryError
        If a frame, or the numbers of the frames, do not fit into memory.
    """
    full = tuple(int(n) for n in shape)
    if len(full) < 2 or 0 in full:
        raise InputError(
            f"an array of shape {full} in {path}",
            expected="a pattern with axes (..., y, x)",
            do="name another dataset or file",
        )
    require_memory(path, full[-2:], np.dtype(dtype).itemsize)
    require_memory(path, full[:-2], _NUMBER_BYTES)
    if not keep_single and math.prod(full[:-2]) == 1:
        full = full[-2:]
    stack = LazyStack(path, dataset, full, np.dtype(dtype).newbyteorder("="), fetch)
    return stack[...] if len(full) == 2 else stack

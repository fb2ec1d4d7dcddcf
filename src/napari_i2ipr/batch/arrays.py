"""Stacks that are read piece by piece: axes in another order, one axis for several, files as one stack.

Every class here is an array-like: it has ``shape`` and ``dtype``, is read by slices with a step of one, and crosses
process borders as a path, not as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr import io
from napari_i2ipr.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Region = tuple[slice, ...]
"""A slice with a start and a stop for each leading axis."""


def values(array: Any, region: Region) -> NDArray[Any]:
    """The frames of a region in memory, ``(..., y, x)``."""
    part = array[(*region, slice(None), slice(None))]
    if hasattr(part, "__dask_graph__"):
        part = part.compute(scheduler="synchronous")
    return np.asarray(part)


@dataclass(frozen=True, eq=False)
class Ordered:
    """An array with its axes in another order.

    Attributes
    ----------
    raw : array-like
        The array as it is stored.
    order : tuple of int
        The stored axis of each axis of this one.
    """

    raw: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the new order."""
        return tuple(int(self.raw.shape[axis]) for axis in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        found: np.dtype[Any] = np.dtype(self.raw.dtype)
        return found

    def __getitem__(self, index: Region) -> NDArray[Any]:
        """Read a part, with a slice for each axis."""
        stored = [slice(None)] * len(self.order)
        for axis, part in zip(self.order, index, strict=True):
            stored[axis] = part
        found = self.raw[tuple(stored)]
        if hasattr(found, "__dask_graph__"):
            found = found.compute(scheduler="synchronous")
        return np.asarray(found).transpose(self.order)


@dataclass(frozen=True, eq=False)
class Flat:
    """A stack with all its leading axes as one; frames are read one after another."""

    raw: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(n, y, x)``."""
        return (int(np.prod(self.raw.shape[:-2], dtype=np.int64)), *(int(n) for n in self.raw.shape[-2:]))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        found: np.dtype[Any] = np.dtype(self.raw.dtype)
        return found

    def __getitem__(self, index: Region) -> NDArray[Any]:
        """Read a run of frames; the detector's axes come whole."""
        lead = tuple(self.raw.shape[:-2])
        found = np.empty((index[0].stop - index[0].start, *self.shape[1:]), self.dtype)
        for position, number in enumerate(range(index[0].start, index[0].stop)):
            where = np.unravel_index(number, lead)
            found[position] = values(self.raw, tuple(slice(int(i), int(i) + 1) for i in where))[(0,) * len(lead)]
        return found


@dataclass(frozen=True, eq=False)
class Files:
    """Files as one stack, a file along the first axis, opened when they are read.

    Attributes
    ----------
    paths : tuple of str
        The files, with ``::dataset`` where they need one.
    inner : tuple of int
        Shape of what each holds.
    dtype : numpy.dtype
        Type of the first; the others are converted where that loses nothing.
    bad : bool
        Whether the stack is of the files' bad pixels rather than of their intensities.
    """

    paths: tuple[str, ...]
    inner: tuple[int, ...]
    dtype: np.dtype[Any]
    bad: bool = False

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(files, ..., y, x)``."""
        return (len(self.paths), *self.inner)

    def __getitem__(self, index: Region) -> NDArray[Any]:
        """Read a part.

        Raises
        ------
        FormatError
            If a file cannot be read, or holds another shape or type than the first.
        """
        chosen = self.paths[index[0]]
        parts = [self._one(path, index[1:]) for path in chosen]
        return np.stack(parts) if parts else np.empty((0, *self.inner), self.dtype)

    def _one(self, path: str, index: tuple[slice, ...]) -> NDArray[Any]:
        measurement = io.read(path)
        array = measurement.bad_pixels if self.bad else measurement.intensity
        if array is None:
            array = np.zeros(self.inner, self.dtype)
        if tuple(array.shape) != self.inner:
            raise FormatError(
                f"{path} of shape {tuple(array.shape)}", expected=f"{self.inner}, as the first file", do="check it"
            )
        if not np.can_cast(array.dtype, self.dtype, "safe"):
            raise FormatError(f"{path} of type {array.dtype}", expected=f"{self.dtype}, as the first file")
        return np.asarray(array[index]).astype(self.dtype, copy=False)

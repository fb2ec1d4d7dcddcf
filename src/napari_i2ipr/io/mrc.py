"""MRC 2014, the format of electron microscopes, read by mrcfile; volumes and stacks stay in their file."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._guard import head, reading, require_file
from napari_i2ipr.io._lazy import LazyStack, frame_index, open_stack
from napari_i2ipr.io._pick import no_inner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"MAP"
_MAGIC_AT = 208


def sniff(path: Path) -> bool:
    """Whether the header holds the word ``MAP`` where MRC files since 2000 have it."""
    return head(path, _MAGIC_AT + len(MAGIC))[_MAGIC_AT:] == MAGIC


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        MRC file, not compressed.
    dataset : None
        MRC has no datasets.

    Returns
    -------
    Measurement
        Intensities in the stored type; stacks and volumes stay in the file, mapped into memory for each
        access. The header's voxel is no pixel of a detector: it goes into the provenance only.

    Raises
    ------
    FormatError
        If the file is missing, truncated or damaged, or mrcfile is not installed.
    InputError
        If it holds complex numbers.
    """
    with _opened(path, dataset) as file:
        voxel = [float(file.voxel_size[axis]) for axis in ("y", "x")]
        array = _stack(path, file)
    provenance = _lengths.source_provenance(str(path), "mrc")
    if all(voxel):
        provenance["voxel_size_angstrom"] = voxel
    return Measurement(array, provenance=provenance)


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read the frames without any meaning, for masks, supports and images."""
    with _opened(path, dataset) as file:
        return _stack(path, file)


@contextmanager
def _opened(path: Path, dataset: str | None = None) -> Iterator[Any]:
    """The file mapped into memory, closed at the end."""
    require_file(path)
    no_inner(path, dataset, "MRC")
    if find_spec("mrcfile") is None:
        raise FormatError(f"{path}, which needs the library mrcfile", do='install it: pip install "napari-i2ipr[all]"')
    with reading(path, "MRC"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of bytes behind the data, which do no harm
        import mrcfile

        with mrcfile.mmap(path, mode="r") as file:
            if file.data is None:
                raise FormatError(f"no image in {path}", expected="an MRC file with one", do="copy or write it again")
            yield file


def _stack(path: Path, file: Any) -> NDArray[Any] | LazyStack:
    return open_stack(path, "", file.data.shape, file.data.dtype, _frames)


def _frames(path: Path, _dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    with _opened(path) as file:
        for number in numbers:
            yield np.array(file.data[frame_index(number, file.data.shape[:-2])])

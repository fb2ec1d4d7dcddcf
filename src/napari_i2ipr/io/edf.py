"""EDF, the ESRF data format, read by fabio; several frames stay in their file."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._fabio import decoding, is_compressed, start, stream_of
from napari_i2ipr.io._guard import require_memory
from napari_i2ipr.io._lazy import LazyStack, native, open_stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NUMBER = re.compile(r"^\s*([-+0-9.eE]+)[\s_]*([a-zA-Zµμ]*)\s*$")
_KEYS = {
    "wavelength": ("wavelength",),
    "distance": ("sampledistance", "distance"),
    "x": ("psize_1",),
    "y": ("psize_2",),
}


def sniff(path: Path) -> bool:
    """Whether the file, or what a gzip file holds, begins with an EDF header: a brace, and keys of its own."""
    begin = start(path).lstrip(b"\r\n ")
    return begin.startswith(b"{") and b"=" in begin and any(key in begin for key in (b"Dim_1", b"HeaderID", b"EDF_"))


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        EDF file, or one compressed by gzip, which is read into memory.
    dataset : None
        EDF has no datasets.

    Returns
    -------
    Measurement
        Intensities in the stored type, stacks stay in the file; wavelength, distance, pixel size and beam centre when
        the header has them.

    Raises
    ------
    FormatError
        If the file is missing, truncated, foreign or damaged.
    """
    array, header = _load(path, dataset)
    values = {role: _length(header, keys) for role, keys in _KEYS.items()}
    found, ignored = _lengths.geometry(values["wavelength"], values["distance"], values["y"], values["x"])
    y, x = (_lengths.number(header.get(key)) for key in ("center_2", "center_1"))
    centre = None if y is None or x is None else (y, x)
    provenance = _lengths.source_provenance(str(path), "edf", ignored=ignored, centre_px=centre)
    return Measurement(array, geometry=found, provenance=provenance)


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read the frames without any meaning, for masks and supports."""
    return _load(path, dataset)[0]


def _load(path: Path, dataset: str | None) -> tuple[NDArray[Any] | LazyStack, dict[str, str]]:
    with _opened(path, dataset) as image:
        count, first = image.nframes, image.get_frame(0)
        kinds = {_kind(image.get_frame(number)) for number in range(count)}
        if len(kinds) != 1:
            raise InputError(f"frames of different shapes or types in {path}", expected="one", do="split the file")
        _require_whole(path, image)
        shape = (count, *first.shape) if count > 1 else tuple(first.shape)
        require_memory(path, first.shape, first.dtype.itemsize)
        header = {str(key).lower(): str(value) for key, value in image.header.items()}
        array = open_stack(path, "", shape, first.dtype, _frames)
    return (native(array) if is_compressed(path) else array), header


@contextmanager
def _opened(path: Path, dataset: str | None = None) -> Iterator[Any]:
    """The open file, its headers read."""
    with decoding(path, dataset, "EDF", "edfimage"):
        from fabio.edfimage import EdfImage

        with stream_of(path) as file, EdfImage() as image:
            image.read(file)
            yield image


def _kind(frame: Any) -> tuple[Any, ...]:
    return (tuple(frame.shape), frame.dtype)


def _require_whole(path: Path, image: Any) -> None:
    """Refuse a file that is cut off in its last frame, or in the header behind it; other bytes there do no harm."""
    last = image.get_frame(image.nframes - 1)
    cut = last.incomplete_data
    if image.incomplete_file and not cut:
        last.file.seek(last.start + last.blobsize)
        cut = last.file.read(512).lstrip().startswith(b"{")
    if cut:
        raise FormatError(f"the truncated EDF file {path}", expected="all its frames", do="copy it again")


def _frames(path: Path, _dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read images by their numbers; a frame of three axes holds several."""
    with _opened(path) as image:
        each = math.prod(image.get_frame(0).shape[:-2])
        for number in numbers:
            data = np.asarray(image.get_frame(number // each).data)
            yield native(data.reshape(-1, *data.shape[-2:])[number % each])


def _length(header: Mapping[str, str], keys: tuple[str, ...]) -> float | None:
    """Length in metres of the first of these header keys; a unit may stand behind the number."""
    for key in keys:
        hit = _NUMBER.match(header.get(key, ""))
        if hit:
            return _lengths.length_m(hit.group(1), hit.group(2))
    return None

"""TIFF files and stacks, read by tifffile; reconstructions go out as float32 pages."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs, _dectris
from napari_i2ipr.io._guard import head, quiet, reading, require_file, require_memory, writing
from napari_i2ipr.io._lazy import LazyStack, open_stack
from napari_i2ipr.io._nexus import Instrument
from napari_i2ipr.io._ours import TIFF_MAGIC, refuse_result
from napari_i2ipr.io._pick import no_inner
from napari_i2ipr.io.picture import grey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_AXES = {"T": "t", "Z": "z", "C": "c", "Y": "y", "X": "x"}


def sniff(path: Path) -> bool:
    """Whether the file begins as TIFF or BigTIFF does."""
    return head(path, 4) in TIFF_MAGIC


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        TIFF file; of several series the first is taken.
    dataset : None
        TIFF has no datasets.

    Returns
    -------
    Measurement
        Intensities in the stored type; stacks stay in the file. Of a Pilatus detector's file lengths, beam centre and
        count cutoff, and of its single frame the pixels that are flagged by negative numbers.

    Raises
    ------
    FormatError
        If the file is missing, truncated, foreign, damaged, or in colour.
    """
    refuse_result(path)
    with _opened(path, dataset) as tif:
        series = tif.series[0]
        _refuse_colour(path, series)
        names = tuple(_AXES.get(axis, f"axis_{i}") for i, axis in enumerate(series.axes))
        words = str(tif.pages.first.description)
        array = _stack(path, series)
    dectris = "# Pixel_size" in words
    found = _dectris.instrument(words) if dectris else Instrument()
    flagged = dectris and isinstance(array, np.ndarray) and array.ndim == 2
    fitting = array.ndim == len(names) and names[-2:] == ("y", "x") and len(set(names)) == len(names)
    return Measurement(
        array,
        bad_pixels=_dectris.bad_pixels(np.asarray(array)) if flagged else None,
        geometry=found.geometry,
        axes=names if fitting else (),
        provenance=found.provenance(str(path), "tiff"),
    )


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read an array without any meaning, for masks, supports and images; 8-bit colours become luminance."""
    with _opened(path, dataset) as tif:
        series = tif.series[0]
        if series.axes == "YXS" and series.dtype == np.uint8 and series.shape[-1] in (3, 4):
            require_memory(path, series.shape, 2)
            return grey(series.asarray())
        _refuse_colour(path, series)
        return _stack(path, series)


def write(result: Reconstruction, path: Path) -> None:
    """Write a reconstruction as float32 pages: image and uncertainty; of a complex one amplitude, phase, uncertainty.

    Parameters
    ----------
    result : Reconstruction
        What to write; everything but the arrays goes into the description as JSON.
    path : Path
        New file.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import tifffile

    if np.iscomplexobj(result.image):
        pages = {"amplitude": np.abs(result.image), "phase": np.angle(result.image)}
    else:
        pages = {"reconstruction": np.asarray(result.image)}
    pages["uncertainty"] = np.asarray(result.uncertainty)
    stack = np.stack([page.astype(np.float32) for page in pages.values()])
    words = {**_attrs.reconstruction_plain(result), "pages": list(pages)}
    with writing(path, "TIFF"):
        tifffile.imwrite(path, stack, photometric="minisblack", metadata={_attrs.KEY: words})


@contextmanager
def _opened(path: Path, dataset: str | None = None) -> Iterator[Any]:
    """The open file, after a check that none of its pages is cut off."""
    require_file(path)
    no_inner(path, dataset, "TIFF")
    with reading(path, "TIFF"), quiet("tifffile", path):
        import tifffile

        _check_chain(path)
        with tifffile.TiffFile(path) as tif:
            if not tif.series or not tif.series[0].shape:
                raise FormatError(f"no image in {path}", expected="a TIFF file with one", do="copy or write it again")
            _check_count(path, tif)
            _check_memory(path, tif.series[0])
            yield tif


def _check_chain(path: Path) -> None:
    """Refuse a file whose chain of pages leads behind its end: tifffile would silently read fewer pages."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = "<" if start[:2] == b"II" else ">"
        big = start[2:4] in (b"+\x00", b"\x00+")
        at_offset, count_type, entry, pointer = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
        width = struct.calcsize(pointer)
        (offset,) = struct.unpack_from(order + pointer, start, at_offset)
        seen = {0}
        while offset not in seen:
            seen.add(offset)
            file.seek(offset)
            count = file.read(struct.calcsize(count_type))
            if offset >= size or len(count) < struct.calcsize(count_type):
                raise FormatError(f"the truncated TIFF file {path}", expected="all its pages", do="copy it again")
            file.seek(entry * struct.unpack(order + count_type, count)[0], 1)
            (offset,) = struct.unpack(order + pointer, file.read(width).ljust(width, b"\xff"))


def _check_memory(path: Path, series: Any) -> None:
    """Refuse pages or tiles that do not fit into memory."""
    page = series.keyframe
    for sides in (page.shape, (page.tilelength, page.tilewidth, page.samplesperpixel)):
        require_memory(path, sides, np.dtype(page.dtype).itemsize)


def _check_count(path: Path, tif: Any) -> None:
    """Refuse a file with fewer frames than its own description says."""
    told = 1
    if tif.is_shaped and tif.shaped_metadata:
        told = int(np.prod(tif.shaped_metadata[0].get("shape", (1,)), dtype=np.int64))
        have = int(np.prod(tif.series[0].get_shape(squeeze=False), dtype=np.int64))
    elif tif.is_imagej:
        told = int((tif.imagej_metadata or {}).get("images", 1))
        have = int(np.prod(tif.series[0].shape[:-2], dtype=np.int64))
    else:
        return
    if have < told:
        raise FormatError(f"the truncated TIFF file {path}", expected="all the frames it names", do="copy it again")


def _refuse_colour(path: Path, series: Any) -> None:
    if series.axes.endswith("S"):
        raise FormatError(
            f"a colour image in {path} (axes {series.axes})", expected="one value per pixel", do="convert it to grey"
        )


def _stack(path: Path, series: Any) -> NDArray[Any] | LazyStack:
    return open_stack(path, "", series.shape, series.dtype, _frames)


def _frames(path: Path, _dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames from contiguous data, page by page, or else from the whole series."""
    import tifffile

    with _opened(path) as tif:
        series = tif.series[0]
        frame, count = series.shape[-2:], int(np.prod(series.shape[:-2], dtype=np.int64))
        if series.dataoffset is not None:
            whole = tifffile.memmap(path, series=0, mode="r").reshape((-1, *frame))
        elif len(series) == count and series.keyframe.shape == frame:
            whole = None
        else:
            require_memory(path, series.shape, series.dtype.itemsize)
            whole = series.asarray().reshape((-1, *frame))
        for number in numbers:
            if whole is not None:
                yield np.array(whole[number])
                continue
            page = series[number]
            if page is None:
                raise FormatError(f"frame {number} missing in {path}", expected="all frames", do="copy it again")
            yield page.asarray()

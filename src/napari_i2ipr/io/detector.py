"""Area detectors' own formats, decoded by fabio: IMG of ADSC and d*TREK, and Fit2D masks."""

from __future__ import annotations

import io
import math
import re
import struct
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._fabio import Stream, content, decoding
from napari_i2ipr.io._guard import head, require_memory
from napari_i2ipr.io._lazy import native
from napari_i2ipr.io._nexus import Instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_BEGIN = 64
_DECODED_BYTES = 8


def sniff(path: Path) -> bool:
    """Whether the file begins as one of these formats does."""
    return _kind(head(path, _BEGIN)) is not None


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern.

    Parameters
    ----------
    path : Path
        IMG file of ADSC or d*TREK, or Fit2D mask.
    dataset : None
        These formats have no datasets.

    Returns
    -------
    Measurement
        Counts as stored; wavelength, distance, pixel size and saturation where the header has them.

    Raises
    ------
    FormatError
        If the file is missing, truncated, foreign or damaged.
    """
    frame, found, name = _load(path, dataset)
    return Measurement(frame, geometry=found.geometry, provenance=found.provenance(str(path), name))


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any]:
    """Read the values without any meaning; a Fit2D mask marks bad pixels by 1."""
    return _load(path, dataset)[0]


def _load(path: Path, dataset: str | None) -> tuple[NDArray[Any], Instrument, str]:
    kind = _kind(head(path, _BEGIN))
    with decoding(path, dataset, "a detector's image", kind.module if kind else "fabioimage"):
        if kind is None:
            raise FormatError(f"{path}, which is no image of a detector", expected="ADSC, d*TREK or Fit2D")
        raw = content(path)
        shape = kind.shape(raw)
        needed = math.prod(shape) // kind.pixels_per_byte
        if min(shape) < 1 or needed > len(raw):
            raise FormatError(f"the truncated or damaged file {path}", expected="all its pixels", do="copy it again")
        require_memory(path, shape, _DECODED_BYTES)
        with Stream(io.BytesIO(raw), str(path)) as file, _image(kind) as image:
            image.read(file)
            header = {str(key).upper(): str(value) for key, value in image.header.items()}
            return native(image.data), kind.instrument(header), kind.name


def _image(kind: _Kind) -> Any:
    return getattr(import_module(f"fabio.{kind.module}"), kind.reader)()


def _img_shape(raw: bytes) -> tuple[int, ...]:
    """Sides of an ADSC or d*TREK image, whose header is text."""
    length = _whole(raw[:4096], b"HEADER_BYTES") or 512
    words = raw[: min(length, 1 << 20)]
    axes = min(_whole(words, b"DIM") or 2, 3)
    return tuple(_whole(words, f"SIZE{axis}".encode()) or 0 for axis in range(axes, 0, -1))


def _whole(words: bytes, key: bytes) -> int | None:
    found = re.search(rb"(?:^|[\s;{])" + key + rb"\s*=\s*(\d{1,12})\s*;", words)
    return int(found.group(1)) if found else None


def _img_instrument(header: Mapping[str, str]) -> Instrument:
    """Lengths in angstrom and millimetres; the beam centre is left out, as programs disagree about its axes."""
    wave = header.get("WAVELENGTH") or header.get("SOURCE_WAVELENGTH", "").split(" ")[-1]
    lengths, ignored = _lengths.geometry(
        _lengths.length_m(wave, "angstrom"),
        _lengths.length_m(header.get("DISTANCE"), "mm"),
        _lengths.length_m(header.get("PIXEL_SIZE"), "mm"),
        None,
    )
    level = _lengths.number(header.get("CCD_IMAGE_SATURATION") or header.get("SATURATED_VALUE"))
    return Instrument(lengths, ignored, None, level if level is not None and level > 0 else None)


def _mask_shape(raw: bytes) -> tuple[int, ...]:
    x, y = struct.unpack_from("<2i", raw, 16)
    return (y, x)


def _no_instrument(_: Mapping[str, str]) -> Instrument:
    return Instrument()


class _Kind(NamedTuple):
    """A format: how it is called, fabio's module and class, and what is told before and after decoding."""

    name: str
    module: str
    reader: str
    shape: Callable[[bytes], tuple[int, ...]]
    instrument: Callable[[Mapping[str, str]], Instrument]
    pixels_per_byte: int


_IMG = _Kind("img", "dtrekimage", "DtrekImage", _img_shape, _img_instrument, 1)
_MASK = _Kind("fit2d mask", "fit2dmaskimage", "Fit2dMaskImage", _mask_shape, _no_instrument, 8)


def _kind(begin: bytes) -> _Kind | None:
    """Which of the formats begins so."""
    if re.match(rb"\{\r?\nHEADER_BYTES", begin):
        return _IMG
    return _MASK if begin.startswith(b"M\x00\x00\x00A\x00\x00\x00S\x00\x00\x00K\x00\x00\x00") else None

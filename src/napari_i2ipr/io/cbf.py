"""CBF, the crystallographic binary file of Pilatus and Eiger detectors, decompressed by fabio."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _dectris
from napari_i2ipr.io._fabio import content, decoding, start
from napari_i2ipr.io._guard import require_memory
from napari_i2ipr.io._lazy import native

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"###CBF: VERSION"
_BINARY = b"\x0c\x1a\x04\xd5"
_MAX_HEADER = 1 << 20
_DECODED_BYTES = 16
"""Bytes of a pixel as it is decompressed, and in its own type."""

_BEHIND = bytes(16)
"""Put behind the packed counts: as many pixels more, and no number that is cut off there leads out of them."""

_SIDES = ("Size-Fastest-Dimension", "Size-Second-Dimension", "Size-Third-Dimension")


def sniff(path: Path) -> bool:
    """Whether the file, or what a gzip file holds, begins as CBF does."""
    return start(path, 512).startswith(MAGIC)


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern.

    Parameters
    ----------
    path : Path
        CBF file compressed by byte offsets, as Dectris detectors write it.
    dataset : None
        CBF has no datasets.

    Returns
    -------
    Measurement
        Counts as stored; negative ones (gaps, defects) are bad pixels. Wavelength, distance, pixel size, beam centre
        and count cutoff of the header.

    Raises
    ------
    FormatError
        If the file is missing, truncated, foreign or damaged, or compressed in another way.
    """
    frame, words = _load(path, dataset)
    found = _dectris.instrument(words)
    return Measurement(
        frame,
        bad_pixels=_dectris.bad_pixels(frame),
        geometry=found.geometry,
        provenance=found.provenance(str(path), "cbf"),
    )


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any]:
    """Read the counts without any meaning, for masks."""
    return _load(path, dataset)[0]


def _load(path: Path, dataset: str | None) -> tuple[NDArray[Any], str]:
    """The counts and the header; of fabio only its decompression, whose own reader refuses unusual headers."""
    with decoding(path, dataset, "CBF", "cbfimage"):
        from fabio.compression import decByteOffset

        raw = content(path)
        words, packed, shape = _sections(path, raw)
        kind = re.search(r'^X-Binary-Element-Type:\s*"?(un)?signed (8|16|32|64)-bit', words, re.MULTILINE)
        dtype = np.dtype(f"{'u' if kind and kind.group(1) else ''}int{kind.group(2) if kind else 32}")
        count = shape[0] * shape[1]
        found = np.asarray(decByteOffset(packed + _BEHIND, size=count + len(_BEHIND), dtype=dtype))
        if len(found) < count + len(_BEHIND):
            raise FormatError(f"{len(found)} of {count} pixels in {path}", expected="all of them", do="copy it again")
        return native(found[:count].reshape(shape).astype(dtype)), words


def _sections(path: Path, raw: bytes) -> tuple[str, bytes, tuple[int, int]]:
    """The header, the packed counts and their shape, once what the header claims is there.

    Every pixel takes a byte at least, so a header cannot claim more pixels than there are bytes.
    """
    at = raw.find(_BINARY, 0, _MAX_HEADER)
    if at < 0:
        raise FormatError(f"no binary section in {path}", expected="a CBF file with an image", do="copy it again")
    words, begin = raw[:at].decode("latin-1"), at + len(_BINARY)
    scheme = re.search(r'conversions="?([^"\s]+)', words)
    if scheme is None or scheme.group(1) != "x-CBF_BYTE_OFFSET":
        raise FormatError(
            f"{path}, compressed by {scheme.group(1) if scheme else 'nothing'}",
            expected="x-CBF_BYTE_OFFSET",
            do="convert it, e.g. with the program that wrote it",
        )
    size, fast, second, third = (_number(words, name) for name in ("Size", *_SIDES))
    if size is None or not fast or not second:
        raise FormatError(f"no sizes in the header of {path}", expected="a CBF file", do="copy or write it again")
    if third is not None and third > 1:
        raise FormatError(f"{third} frames in {path}", expected="one frame a file", do="split it")
    if size > len(raw) - begin or fast * second > size:
        raise FormatError(f"the truncated CBF file {path}", expected="all its pixels", do="copy it again")
    require_memory(path, (second, fast), _DECODED_BYTES)
    packed, told = raw[begin : begin + size], re.search(r"^Content-MD5:\s*(\S+)", words, re.MULTILINE)
    if told and told.group(1) != base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()).decode():
        raise FormatError(f"{path} with a wrong checksum", expected="undamaged counts", do="copy it again")
    return words, packed, (second, fast)


def _number(words: str, name: str) -> int | None:
    found = re.search(rf"^X-Binary-{name}:\s*(\d{{1,18}})\s*$", words, re.MULTILINE)
    return int(found.group(1)) if found else None

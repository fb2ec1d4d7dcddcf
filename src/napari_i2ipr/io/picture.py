"""Ordinary pictures (PNG, JPEG, WebP, BMP...), read by pillow as grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._guard import head, reading, require_file, require_memory
from napari_i2ipr.io._pick import no_inner

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DECODED_BYTES = 5
"""Bytes of a pixel in colour, and of its grey value."""

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a")


def sniff(path: Path) -> bool:
    """Whether the file begins as PNG, JPEG, WebP, BMP or GIF do."""
    start = head(path, 32)
    return start.startswith(_MAGIC) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a picture as one pattern.

    Parameters
    ----------
    path : Path
        Picture.
    dataset : None
        Pictures have no datasets.

    Returns
    -------
    Measurement
        Grey values, uint8 (uint16 for a 16-bit picture).

    Raises
    ------
    FormatError
        If the file is missing, truncated, foreign or damaged.
    """
    return Measurement(read_array(path, dataset), provenance=_lengths.source_provenance(str(path), "picture"))


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any]:
    """Read the grey values ``(y, x)``: uint8, or uint16 for a 16-bit picture; colours become luminance."""
    require_file(path)
    no_inner(path, dataset, "picture")
    from PIL import Image

    with reading(path, "a picture", (Image.DecompressionBombError,)), Image.open(path) as picture:
        require_memory(path, (picture.height, picture.width), _DECODED_BYTES)
        if picture.mode.startswith("I"):
            return np.asarray(picture).astype(np.uint16)
        return np.array(picture.convert("L"))


def grey(colours: NDArray[Any]) -> NDArray[np.uint8]:
    """Luminance ``(y, x)`` of 8-bit colours ``(y, x, 3 or 4)``, as pillow makes it."""
    from PIL import Image

    return np.array(Image.fromarray(colours).convert("L"))

"""EDF, the ESRF data format, read by fabio."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import InputError
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._guard import head, quiet, reading, require_file
from napari_i2ipr.io._lazy import native
from napari_i2ipr.io._pick import no_inner

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    """Whether the file begins with an EDF header: a brace, and keys of its own."""
    start = head(path, 4096).lstrip(b"\r\n ")
    return start.startswith(b"{") and b"=" in start and any(key in start for key in (b"Dim_1", b"HeaderID", b"EDF_"))


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern, or a stack of them from a file with several frames, into memory.

    Parameters
    ----------
    path : Path
        EDF file.
    dataset : None
        EDF has no datasets.

    Returns
    -------
    Measurement
        Intensities in the stored type; wavelength, distance and pixel size when the header has them.

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


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any]:
    """Read the frames without any meaning, for masks and supports."""
    return _load(path, dataset)[0]


def _load(path: Path, dataset: str | None) -> tuple[NDArray[Any], dict[str, str]]:
    require_file(path)
    no_inner(path, dataset, "EDF")
    with reading(path, "EDF"), quiet("fabio.edfimage", path, strict=True):
        from fabio.edfimage import EdfImage

        with EdfImage().read(str(path)) as image:
            # asked for frame 0 of a file with one frame, fabio would look for another file of a numbered series
            several = image.nframes > 1
            frames = [native((image.getframe(i) if several else image).data) for i in range(image.nframes)]
            header = {str(key).lower(): str(value) for key, value in image.header.items()}
    if not frames or any(frame.shape != frames[0].shape for frame in frames):
        raise InputError(f"frames of different shapes in {path}", expected="one shape", do="split the file")
    return (frames[0] if len(frames) == 1 else np.stack(frames)), header


def _length(header: Mapping[str, str], keys: tuple[str, ...]) -> float | None:
    """Length in metres of the first of these header keys; a unit may stand behind the number."""
    for key in keys:
        hit = _NUMBER.match(header.get(key, ""))
        if hit:
            return _lengths.length_m(hit.group(1), hit.group(2))
    return None

"""What this package wrote itself: a mark in every file tells a measurement from a reconstruction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from napari_i2ipr.errors import FormatError
from napari_i2ipr.io._attrs import KEY
from napari_i2ipr.io._guard import FOREIGN, head, quiet
from napari_i2ipr.io.hdf5 import has_signature

if TYPE_CHECKING:
    from pathlib import Path

CXI_GROUP = "entry_1/i2ipr_1"
"""Where a CXI file keeps what the format has no place for."""

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
ZIP_MAGIC = b"PK\x03\x04"


def kind_of(path: Path) -> str | None:
    """What of ours lies at `path`: ``"measurement"``, ``"reconstruction"``, or None for anything else.

    Reads headers only and never raises.
    """
    try:
        return _kind_of(path)
    except FOREIGN:
        return None
    except MemoryError:
        return None


def refuse_result(path: Path) -> None:
    """Say what to do with a reconstruction that was given as a pattern.

    Raises
    ------
    FormatError
        If `path` is a reconstruction of ours.
    """
    if kind_of(path) == "reconstruction":
        raise FormatError(
            f"the reconstruction {path}",
            expected="a measured pattern",
            do="score it with 'i2ipr score' (against a truth with 'i2ipr evaluate') or open it in napari",
        )


def _kind_of(path: Path) -> str | None:
    found: object = None
    start = head(path, 8)
    if path.is_dir():
        found = json.loads((path / "zarr.json").read_text("utf-8"))["attributes"][KEY]["kind"]
    elif start.startswith(ZIP_MAGIC):
        import numpy as np

        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = json.loads(str(arrays[KEY]))["kind"]
    elif start.startswith(TIFF_MAGIC):
        import tifffile

        with quiet("tifffile", path), tifffile.TiffFile(path) as tif:
            description = tif.pages.first.description
        found = json.loads(description)[KEY]["kind"]
    elif has_signature(path):
        import h5py

        with h5py.File(path, "r") as file5:
            found = file5[CXI_GROUP].attrs["kind"]
    return str(found) if found in ("measurement", "reconstruction") else None

"""Reconstructions as CXI: ``/entry_1/image_1`` as other programs read it, and what reads it back exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs, hdf5
from napari_i2ipr.io._guard import writing
from napari_i2ipr.io._lazy import native, whole
from napari_i2ipr.io._nexus import text
from napari_i2ipr.io._ours import CXI_GROUP
from napari_i2ipr.io.cxi import IMAGE, INVALID, read_words, start_file, write_words

if TYPE_CHECKING:
    from pathlib import Path

    from napari_i2ipr.data import Reconstruction


_EXTRA = ("candidate_images", "classical")
"""Arrays that CXI has no place for."""


def write(result: Reconstruction, path: Path) -> None:
    """Write a reconstruction.

    ``image_1`` holds ``data``, ``data_error`` (standard deviation), ``mask`` (pixels that are not finite),
    ``data_space``, ``data_type``, ``image_size`` (x, y in metres, when known) and ``is_fft_shifted`` (0).
    The classical mean, the candidates and the numbers by spatial frequency lie in our own group as ``classical``,
    ``candidate_images`` and ``shells``.

    Parameters
    ----------
    result : Reconstruction
        What to write.
    path : Path
        New file.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import h5py

    words = _attrs.reconstruction_plain(result)
    with writing(path, "CXI"), h5py.File(path, "w") as file:
        start_file(file)
        image = file.create_group(IMAGE)
        image.attrs["NX_class"] = "NXdata"
        image.attrs["signal"] = "data"
        image.attrs["interpretation"] = "image"
        mask = (~np.isfinite(result.image)).astype(np.uint32) * np.uint32(INVALID)
        for name, array in (("data", result.image), ("data_error", result.uncertainty), ("mask", mask)):
            image.create_dataset(name, data=native(array), compression="gzip", compression_opts=1, shuffle=True)
        image["data_space"] = "real"
        image["data_type"] = "electron density"
        image["is_fft_shifted"] = 0
        if result.pixel_m is not None:
            height, width = result.image.shape[-2:]
            image["image_size"] = [width * result.pixel_m[1], height * result.pixel_m[0]]
            image["image_size"].attrs["units"] = "m"
        _write_process(image.create_group("process_1"), result, words)
        shown = file.create_group("entry_1/data_1")
        shown.attrs["NX_class"] = "NXdata"
        shown.attrs["signal"] = "data"
        shown["data"] = h5py.SoftLink(f"/{IMAGE}/data")
        file["entry_1"].attrs["default"] = "image_1"
        extra = write_words(file, words)
        for name in _EXTRA:
            array = getattr(result, name)
            if array is not None:
                extra.create_dataset(name, data=native(array), compression="gzip")
        if result.shells is not None:
            table = extra.create_dataset("shells", data=native(result.shells.table()), compression="gzip")
            table.attrs["description"] = json.dumps(_attrs.shells_plain(result.shells))


def read(path: Path) -> Reconstruction:
    """Read what `write` wrote.

    Raises
    ------
    FormatError
        If the file is damaged or not one of ours.
    """
    with hdf5.opened(path) as file:
        group = file.get(CXI_GROUP)
        if group is None:
            raise FormatError(
                f"{path}, which napari-i2ipr did not write",
                expected="a reconstruction of 'i2ipr reconstruct'",
                do="give the result, not the pattern",
            )
        words = read_words(group, "reconstruction", path)
        extra: dict[str, Any] = {name: whole(path, group[name]) for name in _EXTRA if name in group}
        if "shells" in group:
            known = json.loads(text(group["shells"].attrs["description"]))
            extra["shells"] = _attrs.shells_from(known, whole(path, group["shells"]))
        return _attrs.reconstruction_from(
            words,
            whole(path, file[f"{IMAGE}/data"]),
            whole(path, file[f"{IMAGE}/data_error"]),
            **extra,
        )


def _write_process(process: Any, result: Reconstruction, words: dict[str, Any]) -> None:
    """Program, version, command and settings, as NeXus names them."""
    process.attrs["NX_class"] = "NXprocess"
    process["program"] = _attrs.PROGRAM
    process["version"] = words["version"]
    process["command"] = str(result.provenance.get("command", ""))
    process["configuration"] = json.dumps(words["provenance"].get("config", {}))

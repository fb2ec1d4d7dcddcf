"""Files in and out: one table of formats, and the functions that pick from it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io import _atomic, _guard, _ours
from napari_i2ipr.io._atomic import remove, swap

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "READERS",
    "READ_ERRORS",
    "WRITERS",
    "Format",
    "check_output",
    "datasets",
    "is_measurement",
    "is_ours",
    "is_result",
    "open_array",
    "read",
    "read_array",
    "read_image",
    "read_result",
    "remove",
    "swap",
    "write",
]


@dataclass(frozen=True)
class Format:
    """A format that can be read: one row of the table, its module is imported when it is needed.

    Attributes
    ----------
    name : str
        Name for messages.
    suffixes : tuple of str
        Usual file endings, lower case.
    module : str
        Dotted name of the module with ``sniff``, ``read`` and ``read_array``.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str

    def sniff(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file is of this format, judged by at most a few KiB; never raises for a bad file."""
        return bool(import_module(self.module).sniff(Path(path)))

    def read(self, path: str | os.PathLike[str], dataset: str | None = None) -> Measurement:
        """Read a measurement; see `napari_i2ipr.io.read`."""
        found: Measurement = import_module(self.module).read(Path(path), dataset)
        return found

    def read_array(self, path: str | os.PathLike[str], dataset: str | None = None) -> Any:
        """Read an array, in memory or lazy; see `napari_i2ipr.io.read_array`."""
        return import_module(self.module).read_array(Path(path), dataset)


READERS: tuple[Format, ...] = (
    Format("CXI", (".cxi",), "napari_i2ipr.io.cxi"),
    Format("MAT", (".mat",), "napari_i2ipr.io.mat"),
    Format("HDF5", (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".he5"), "napari_i2ipr.io.hdf5"),
    Format("TIFF", (".tif", ".tiff"), "napari_i2ipr.io.tiff"),
    Format("EDF", (".edf",), "napari_i2ipr.io.edf"),
    Format("CBF", (".cbf",), "napari_i2ipr.io.cbf"),
    Format("IMG/Fit2D", (".img", ".msk"), "napari_i2ipr.io.detector"),
    Format("MRC", (".mrc", ".mrcs"), "napari_i2ipr.io.mrc"),
    Format("NPY/NPZ", (".npy", ".npz"), "napari_i2ipr.io.npy"),
    Format("zarr", (".zarr",), "napari_i2ipr.io.zarr_store"),
    Format("picture", (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"), "napari_i2ipr.io.picture"),
)
"""Every format that can be read, in the order in which they are tried."""

READ_ERRORS = _guard.FOREIGN
"""What reading a part of an open source raises when that part is damaged; a `FormatError` is one of them."""

WRITERS: dict[type, dict[str, str]] = {
    Measurement: {
        ".cxi": "napari_i2ipr.io.cxi",
        ".npz": "napari_i2ipr.io.npy",
        ".zarr": "napari_i2ipr.io.zarr_store",
    },
    Reconstruction: {
        ".zarr": "napari_i2ipr.io.result_store",
        ".cxi": "napari_i2ipr.io.cxi_result",
        ".tif": "napari_i2ipr.io.tiff",
        ".tiff": "napari_i2ipr.io.tiff",
    },
}
"""Modules with a ``write`` by what is written and by ending."""


def read(path: str | os.PathLike[str], dataset: str | None = None) -> Measurement:
    """Read what a detector saw, from any of `READERS`.

    Parameters
    ----------
    path : str or path-like
        File or zarr store; ``file.h5::/path/to/data`` names a dataset in it.
    dataset : str, optional
        The dataset, when it is not in `path`.

    Returns
    -------
    Measurement
        Intensities ``(..., y, x)`` as stored, lengths in metres. A frame is in memory, a stack stays in
        its file where the format allows it.

    Raises
    ------
    FormatError
        If the file is missing, empty, truncated or foreign, lacks the dataset, holds several that could
        be meant, or holds a reconstruction.
    InputError
        If the data are no patterns: complex, one-dimensional, too small.
    OutOfMemoryError
        If a frame does not fit into memory.
    """
    file, name = _split(path, dataset)
    return _format_of(file).read(file, name)


def datasets(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The arrays of a file among which `read` cannot decide, the most probable one first.

    Parameters
    ----------
    path : str or path-like
        File of any of `READERS`.

    Returns
    -------
    dict
        Shape and type by name, for ``file.h5::/name``; empty where the file says which one is meant,
        holds one only, or none.

    Raises
    ------
    FormatError
        If the file is missing, empty, truncated or foreign.
    """
    file, name = _split(path, None)
    if name is not None:
        return {}
    several = getattr(import_module(_format_of(file).module), "datasets", None)
    return several(file) if several is not None else {}


def read_array(path: str | os.PathLike[str], dataset: str | None = None) -> NDArray[Any]:
    """Read an array without the meaning of intensities: a mask or a support.

    Parameters
    ----------
    path, dataset
        As for `read`.

    Returns
    -------
    ndarray
        Values as stored, ``(y, x)`` or ``(..., y, x)``, in memory.

    Raises
    ------
    FormatError, InputError, OutOfMemoryError
        As for `read`.
    """
    file = _split(path, dataset)[0]
    with _guard.reading(file, "an array"):
        return np.asarray(open_array(path, dataset))


def open_array(path: str | os.PathLike[str], dataset: str | None = None) -> Any:
    """Open an array without the meaning of intensities; a stack stays in its file where the format allows it.

    Parameters
    ----------
    path, dataset
        As for `read`.

    Returns
    -------
    ndarray or LazyStack
        Values as stored; of a lazy stack, slices are read when they are asked for.

    Raises
    ------
    FormatError, InputError, OutOfMemoryError
        As for `read`.
    """
    file, name = _split(path, dataset)
    return _format_of(file).read_array(file, name)


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an image: an object to simulate or a known truth.

    Parameters
    ----------
    path : str or path-like
        Picture (PNG, JPEG, WebP, BMP: 8-bit grey), TIFF, NPY, NPZ, or any other of `READERS`.

    Returns
    -------
    ndarray
        Values as stored, ``(y, x)`` or ``(..., y, x)``; real or complex numbers.

    Raises
    ------
    FormatError, OutOfMemoryError
        As for `read`.
    InputError
        If it holds no numbers.
    """
    image = read_array(path)
    if image.dtype.kind not in "buifc":
        raise InputError(f"an image of type {image.dtype} in {path}", expected="numbers", do="check the file")
    return image


def read_result(path: str | os.PathLike[str]) -> Reconstruction:
    """Read a reconstruction that `write` wrote, as an OME-Zarr store or as CXI.

    Parameters
    ----------
    path : str or path-like
        Store or file.

    Returns
    -------
    Reconstruction
        As it was written; NaN and infinite scores are NaN.

    Raises
    ------
    FormatError
        If it is missing, damaged, of a newer layout, or no reconstruction of ours.
    """
    file = Path(path)
    if _guard.is_directory(file):
        return _reconstruction("napari_i2ipr.io.result_store", file)
    _guard.require_file(file)
    if _guard.head(file, 4) in _ours.TIFF_MAGIC and is_result(file):
        raise FormatError(
            f"the pictures of a reconstruction, {file}",
            expected="the store or CXI file",
            do="write the reconstruction as .zarr or .cxi to read it again",
        )
    return _reconstruction("napari_i2ipr.io.cxi_result", file)


def is_result(path: str | os.PathLike[str]) -> bool:
    """Whether a reconstruction that this package wrote lies at `path`; reads headers only, never raises."""
    return _ours.kind_of(Path(path)) == "reconstruction"


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether this package wrote what lies at `path`, pattern or reconstruction; reads headers only, never raises."""
    return _ours.kind_of(Path(path)) is not None


def is_measurement(path: str | os.PathLike[str]) -> bool:
    """Whether a measurement that this package wrote lies at `path`; reads headers only, never raises."""
    return _ours.kind_of(Path(path)) == "measurement"


def check_output(path: str | os.PathLike[str], obj_type: type = Reconstruction, *, overwrite: bool = False) -> None:
    """Refuse an output before the work that makes it.

    Parameters
    ----------
    path : str or path-like
        Output of `write`.
    obj_type : type
        `Measurement` or `Reconstruction`.
    overwrite : bool
        Whether an earlier output may be replaced.

    Raises
    ------
    InputError
        If the suffix is unknown, it exists and `overwrite` is false, or this package did not write it.
    OutputError
        If its directory is missing or cannot be written to.
    """
    target = Path(path)
    _writer(obj_type, target)
    _atomic.check_target(target, overwrite=overwrite)


def write(obj: Measurement | Reconstruction, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a measurement (``.cxi``, ``.npz``, ``.zarr``) or a reconstruction (``.zarr``, ``.cxi``, ``.tif``).

    The output appears complete or not at all; an existing one is replaced only when this package wrote it.

    Parameters
    ----------
    obj : Measurement or Reconstruction
        What to write.
    path : str or path-like
        Output; its suffix says the format.
    overwrite : bool
        Whether an earlier output is replaced.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    InputError
        If the suffix is unknown, the output exists and `overwrite` is false, this package did not write
        it, or the format cannot hold the data.
    OutputError
        If the place cannot be written to.
    """
    target = Path(path)
    writer = _writer(type(obj), target)
    with _atomic.replacing(target, overwrite=overwrite) as partial:
        writer(obj, partial)
    return target


def _split(path: str | os.PathLike[str], dataset: str | None) -> tuple[Path, str | None]:
    file, inner = _guard.split_dataset(path)
    return file, dataset or inner


def _format_of(path: Path) -> Format:
    """The first format that knows the file, or an error that says why there is none."""
    for known in READERS:
        if known.sniff(path):
            return known
    if _guard.is_directory(path):
        raise FormatError(f"the directory {path}, which is no zarr store", expected="a file or store", do="name a file")
    _guard.require_file(path)
    suffix = path.suffix.lower()
    named = [known.name for known in READERS if suffix in known.suffixes]
    raise FormatError(
        f"{path}, which is not {named[0]} inside" if named else f"{path} of an unknown format",
        expected="one of " + ", ".join(known.name for known in READERS),
        do="check that the file is complete and what it says it is",
    )


def _writer(obj_type: type, path: Path) -> Callable[[Any, Path], None]:
    table = WRITERS.get(obj_type, {})
    module = table.get(path.suffix.lower())
    if module is None:
        what = "a reconstruction" if obj_type is Reconstruction else "a measurement"
        raise InputError(
            f"the output name {path} for {what if table else obj_type.__name__}",
            expected="a name that ends in " + ", ".join(table or ("nothing: this type is not written",)),
            do="change the ending",
        )
    found: Callable[[Any, Path], None] = import_module(module).write
    return found


def _reconstruction(module: str, path: Path) -> Reconstruction:
    found: Reconstruction = import_module(module).read(path)
    return found

"""NumPy's files: NPY with one array, NPZ with several by name; NPZ holds a whole measurement, too."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs, _lengths
from napari_i2ipr.io._guard import head, reading, require_file, require_memory, writing
from napari_i2ipr.io._lazy import LazyStack, frame_index, native, open_stack
from napari_i2ipr.io._ours import ZIP_MAGIC
from napari_i2ipr.io._pick import Found, candidates, missing, no_inner, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"
_NAMES = ("intensity", "bad_pixels", "support", "intensity_scale", "alpha", "geometry")


def sniff(path: Path) -> bool:
    """Whether the file is NPY, or a zip archive whose first member is an array."""
    start = head(path, 256)
    return start.startswith(NPY_MAGIC) or (start.startswith(ZIP_MAGIC) and b".npy" in start)


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        NPY or NPZ file. In an NPZ the names `write` uses are understood (``intensity``, ``bad_pixels``,
        ``support``, ``intensity_scale``, ``alpha``, ``geometry`` as JSON); otherwise the single
        image-like array is taken. Foreign masks are not: their sign is unknown.
    dataset : str, optional
        Name of the array in an NPZ.

    Returns
    -------
    Measurement
        Stacks of an NPY stay in the file; an NPZ is read into memory.

    Raises
    ------
    FormatError
        If the file cannot be read, holds Python objects, or does not say which array is meant.
    """
    if not _is_npz(path):
        provenance = _lengths.source_provenance(str(path), "npy")
        return Measurement(read_array(path, dataset), provenance=provenance)
    with reading(path, "NPZ"), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        if dataset is None and "intensity" in arrays:
            return _measurement(path, arrays)
        name = _name(path, arrays, dataset)
        return Measurement(
            _single(_array(path, arrays, name)), provenance=_lengths.source_provenance(str(path), "npz", name)
        )


def datasets(path: Path) -> Found:
    """The arrays of an NPZ among which `read` cannot decide, the most probable first; none where it can."""
    if not _is_npz(path):
        return {}
    with reading(path, "NPZ"), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        if "intensity" in arrays:
            return {}
        found = _listed(path, arrays)
    names = candidates(found)
    return {name: found[name] for name in names} if len(names) > 1 else {}


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read an array without any meaning, for masks, supports and images; see `read`."""
    if _is_npz(path):
        with reading(path, "NPZ"), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return _single(_array(path, arrays, _name(path, arrays, dataset, masks_too=True)))
    no_inner(path, dataset, "NPY")
    with reading(path, "NPY"):
        data = np.load(path, mmap_mode="r", allow_pickle=False)
        return open_stack(path, "", data.shape, data.dtype, _frames)


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement as NPZ; lazy stacks are read into memory.

    Parameters
    ----------
    measurement : Measurement
        What to write.
    path : Path
        New file.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    words = _attrs.measurement_plain(measurement)
    arrays: dict[str, Any] = {"intensity": native(measurement.intensity)}
    if measurement.bad_pixels is not None:
        arrays["bad_pixels"] = np.asarray(measurement.bad_pixels) != 0
    if measurement.support is not None:
        arrays["support"] = np.asarray(measurement.support) != 0
    arrays["intensity_scale"] = np.float64(words["intensity_scale"])
    if words["alpha"] is not None:
        arrays["alpha"] = np.float64(words["alpha"])
    arrays["geometry"] = np.array(json.dumps(words["geometry"]))
    arrays[_attrs.KEY] = np.array(json.dumps(words))
    with writing(path, "NPZ"), path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _is_npz(path: Path) -> bool:
    require_file(path)
    return head(path, len(ZIP_MAGIC)) == ZIP_MAGIC


def _frames(path: Path, _dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    with reading(path, "NPY"):
        data = np.load(path, mmap_mode="r", allow_pickle=False)
        for number in numbers:
            yield np.array(data[frame_index(number, data.shape[:-2])])


def _name(path: Path, arrays: Any, dataset: str | None, *, masks_too: bool = False) -> str:
    """Name of the array that is meant in an NPZ."""
    if dataset is not None and dataset.strip("/") in arrays:
        return dataset.strip("/")
    found = _listed(path, arrays)
    if dataset is not None:
        raise missing(path, dataset, found)
    return pick(path, found, masks_too=masks_too)


def _listed(path: Path, arrays: Any) -> Found:
    """Shape and type of every array of an NPZ, by its header alone."""
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    members = {info.filename: info.file_size for info in arrays.zip.infolist()}
    for name in arrays.files:
        member = f"{name}.npy"
        if member not in members:
            continue
        with arrays.zip.open(member) as file:
            old = np.lib.format.read_magic(file) == (1, 0)
            read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            shape, _, dtype = read_header(file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > members[member]:
            raise FormatError(f"the damaged array {name} in {path}", expected="all its values", do="write it again")
        found[name] = (shape, dtype)
    return found


def _array(path: Path, arrays: Any, name: str) -> NDArray[Any]:
    """An array of an NPZ, in memory."""
    shape, dtype = _listed(path, arrays)[name]
    require_memory(path, shape, dtype.itemsize)
    array: NDArray[Any] = arrays[name]
    return array


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """The array, as one frame when it is a stack of one."""
    if array.ndim > 2 and np.prod(array.shape[:-2], dtype=np.int64) == 1:
        array = array.reshape(array.shape[-2:])
    return native(array)


def _measurement(path: Path, arrays: Any) -> Measurement:
    """A measurement of the names that `write` uses; all but the intensities may be missing."""
    words: dict[str, Any] = {}
    if _attrs.KEY in arrays:
        words = json.loads(str(_array(path, arrays, _attrs.KEY)))
        _attrs.check_header(words, "measurement", str(path))
    kept = {key: _array(path, arrays, key) for key in _NAMES if key in arrays}
    bad, support = (native(kept[key]) != 0 if key in kept else None for key in ("bad_pixels", "support"))
    stored = json.loads(str(kept["geometry"])) if "geometry" in kept else None
    return Measurement(
        native(kept["intensity"]),
        bad_pixels=bad,
        support=support,
        geometry=_attrs.geometry_from(stored),
        intensity_scale=float(kept["intensity_scale"]) if "intensity_scale" in kept else 1.0,
        alpha=float(kept["alpha"]) if "alpha" in kept else None,
        axes=tuple(words.get("axes", ())),
        provenance=_attrs.provenance_from(words.get("provenance", {}), str(path), "npz"),
    )

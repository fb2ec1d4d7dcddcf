"""Zarr v2 and v3: arrays, groups, OME-Zarr images (full resolution), and whole measurements."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs, _lengths
from napari_i2ipr.io._guard import reading, require_memory, writing
from napari_i2ipr.io._lazy import LazyStack, frame_index, open_stack, whole
from napari_i2ipr.io._ours import refuse_result
from napari_i2ipr.io._pick import Found, missing, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FILES = ("zarr.json", ".zarray", ".zgroup")
_MAX_DEPTH = 4


def sniff(path: Path) -> bool:
    """Whether the directory is a zarr v2 or v3 array or group."""
    try:
        return any((path / name).is_file() for name in _FILES)
    except OSError:
        return False


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        Store: an array, an OME-Zarr image, or a group.
    dataset : str, optional
        Path of the array, or of a group with one, in the store.

    Returns
    -------
    Measurement
        Stacks stay in the store.

    Raises
    ------
    FormatError
        If the store cannot be read, is a reconstruction, or does not say which array is meant.
    """
    refuse_result(path)
    with _opened(path) as node:
        ours = getattr(node, "attrs", {}).get(_attrs.KEY)
        if dataset is None and ours is not None:
            return _measurement(path, node, dict(ours))
        name, names = _locate(node, path, dataset)
        array = _load(path, node, name)
    provenance = _lengths.source_provenance(str(path), "zarr", name or None)
    fitting = len(names) == array.ndim and names[-2:] == ("y", "x")
    return Measurement(array, axes=names if fitting else (), provenance=provenance)


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read an array without any meaning, for masks, supports and images; see `read`."""
    with _opened(path) as node:
        return _load(path, node, _locate(node, path, dataset, masks_too=True)[0])


def open_stored(path: Path, dataset: str | None = None) -> tuple[Any, tuple[str, ...]]:
    """The array that is meant in a store as zarr has it, in one piece with its chunks, and the names of its axes.

    Parameters
    ----------
    path : Path
        Store: an array, an OME-Zarr image, or a group.
    dataset : str, optional
        Path of the array, or of a group with one, in the store.

    Returns
    -------
    tuple
        The array, read when it is sliced, and its axes as OME-Zarr, zarr v3 or xarray name them; no names
        where they are not all given.

    Raises
    ------
    FormatError
        If the store cannot be read, is a reconstruction, or does not say which array is meant.
    """
    refuse_result(path)
    with _opened(path) as node:
        name, names = _locate(node, path, dataset)
        array = node[name] if name else node
        given = names or getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    fitting = len(given) == array.ndim and all(given)
    return array, tuple(str(one) for one in given) if fitting else ()


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement as a zarr v3 group, frame by frame, one chunk a frame.

    Parameters
    ----------
    measurement : Measurement
        What to write; lazy stacks are read one frame at a time.
    path : Path
        New directory.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import zarr

    words = _attrs.measurement_plain(measurement)
    lead, frame = measurement.lead_shape, measurement.frame_shape
    with writing(path, "zarr"):
        root = zarr.create_group(str(path), zarr_format=3, attributes={_attrs.KEY: words})
        data = root.create_array(
            "intensity",
            shape=measurement.shape,
            dtype=np.dtype(measurement.intensity.dtype).newbyteorder("="),
            chunks=(1,) * len(lead) + frame,
            dimension_names=measurement.axes if len(measurement.axes) == len(measurement.shape) else None,
        )
        for number in range(measurement.n_frames):
            data[frame_index(number, lead)] = np.asarray(measurement.frame(number).intensity)
        for name in ("bad_pixels", "support"):
            flags = getattr(measurement, name)
            if flags is not None:
                flags = np.asarray(flags) != 0
                root.create_array(name, data=flags, chunks=(1,) * (flags.ndim - 2) + frame)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The array or group at `path`; zarr's errors become ours."""
    if not sniff(path):
        raise FormatError(f"no zarr store at {path}", expected="a zarr array or group", do="check the path")
    with reading(path, "zarr"):
        import zarr

        yield zarr.open(str(path), mode="r")


def _arrays(group: Any) -> dict[str, Any]:
    """Every array below a group by its path."""
    import zarr

    members = sorted(group.members(max_depth=_MAX_DEPTH))
    return {name: node for name, node in members if isinstance(node, zarr.Array)}


def _found(group: Any) -> Found:
    return {name: (tuple(array.shape), np.dtype(array.dtype)) for name, array in _arrays(group).items()}


def _locate(node: Any, path: Path, dataset: str | None, *, masks_too: bool = False) -> tuple[str, tuple[str, ...]]:
    """Path of the array that is meant in the store (empty for the store itself), and its axis names if known."""
    import zarr

    inner = (dataset or "").strip("/")
    if isinstance(node, zarr.Array):
        if inner:
            raise missing(path, inner, {})
        return "", ()
    if inner:
        child = node.get(inner)
        if child is None:
            raise missing(path, inner, _found(node))
        if isinstance(child, zarr.Array):
            return inner, ()
        node = child
    level, names = _ome_level(node)
    if level is None:
        level = pick(path, _found(node), masks_too=masks_too)
    return f"{inner}/{level}".strip("/"), names


def _ome_level(group: Any) -> tuple[str | None, tuple[str, ...]]:
    """Path of an OME-Zarr image's full resolution (0.4 and 0.5) and the names of its axes."""
    attributes = dict(group.attrs)
    scales = dict(attributes.get("ome", attributes)).get("multiscales")
    if not scales:
        return None, ()
    axes = scales[0].get("axes", ())
    names = tuple(str(axis["name"] if isinstance(axis, dict) else axis) for axis in axes)
    return str(scales[0]["datasets"][0]["path"]), names


def _load(path: Path, node: Any, name: str, *, keep_single: bool = False) -> NDArray[Any] | LazyStack:
    array = node[name] if name else node
    require_memory(path, array.shards or array.chunks, array.dtype.itemsize)
    return open_stack(path, name, array.shape, array.dtype, _frames, keep_single=keep_single)


def _frames(path: Path, dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames of an array by their numbers in the flattened leading axes."""
    with _opened(path) as node:
        array = node[dataset] if dataset else node
        for number in numbers:
            yield array[frame_index(number, array.shape[:-2])]


def _measurement(path: Path, group: Any, words: dict[str, Any]) -> Measurement:
    """A measurement that this package wrote, exactly as it was."""
    _attrs.check_header(words, "measurement", str(path))
    bad: Any = _load(path, group, "bad_pixels", keep_single=True) if "bad_pixels" in group else None
    return Measurement(
        _load(path, group, "intensity", keep_single=True),
        bad_pixels=bad,
        support=whole(path, group["support"]) if "support" in group else None,
        geometry=_attrs.geometry_from(words["geometry"]),
        intensity_scale=float(words["intensity_scale"]),
        alpha=words["alpha"],
        axes=tuple(words["axes"]),
        provenance=_attrs.provenance_from(words["provenance"], str(path), "zarr"),
    )

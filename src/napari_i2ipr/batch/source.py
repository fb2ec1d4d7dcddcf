"""What the user gave, as one lazy stack of frames with masks, supports and geometry."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr import io
from napari_i2ipr.batch.arrays import Files, Flat, Ordered, Region, values
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io import zarr_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_LEADING = 3
"""Leading axes of an OME-Zarr image; a source with more has them as one."""


@dataclass(frozen=True, eq=False)
class Source:
    """A stack of patterns that is read region by region.

    Attributes
    ----------
    intensity : array-like
        ``(..., y, x)``, read by slices.
    bad_pixels : array-like or None
        Non-zero = bad; ``(y, x)``, or of the shape of `intensity`.
    support : array-like or None
        Non-zero = inside; ``(y, x)``, or of the shape of `intensity`.
    lead_axes : tuple of str
        Names of the leading axes.
    lead_shape : tuple of int
        The leading axes as they were given, where `intensity` has them as one.
    chunk : tuple of int
        Frames of a stored piece along each leading axis.
    fill : float
        Value of frames that were never written.
    files : tuple of Path
        Files or stores that it is read from; empty for arrays.
    geometry, intensity_scale, alpha, provenance
        As of a `Measurement`; all frames share them.
    """

    intensity: Any
    bad_pixels: Any
    support: Any
    lead_axes: tuple[str, ...]
    lead_shape: tuple[int, ...]
    chunk: tuple[int, ...]
    fill: float
    files: tuple[Path, ...]
    geometry: Geometry
    intensity_scale: float
    alpha: float | None
    provenance: dict[str, Any]

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the leading axes as they are read."""
        return tuple(int(n) for n in self.intensity.shape[:-2])

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape ``(y, x)`` of a pattern as it is stored."""
        return int(self.intensity.shape[-2]), int(self.intensity.shape[-1])

    @property
    def n_frames(self) -> int:
        """Number of patterns."""
        return int(np.prod(self.lead, dtype=np.int64))

    def window(self, region: Region) -> Source:
        """A source of the frames of a region only, so small that it can be sent to another process.

        Arrays in memory are cut, everything else is sliced when it is read.
        """
        return replace(
            self,
            intensity=_cut(self.intensity, region),
            bad_pixels=_cut(self.bad_pixels, region),
            support=_cut(self.support, region),
        )

    def frames(self, where: Region) -> list[Measurement]:
        """The frames of a region, in order, each a measurement ``(y, x)``."""
        intensity = values(self.intensity, where)
        bad, support = (_flags(array, where) for array in (self.bad_pixels, self.support))
        like = Measurement(
            np.broadcast_to(np.float32(0), self.frame_shape),
            geometry=self.geometry,
            intensity_scale=self.intensity_scale,
            alpha=self.alpha,
            provenance=self.provenance,
        )
        return [
            replace(
                like,
                intensity=intensity[at],
                bad_pixels=bad if bad is None or bad.ndim == 2 else bad[at],
                support=support if support is None or support.ndim == 2 else support[at],
            )
            for at in np.ndindex(intensity.shape[:-2])
        ]


def _cut(array: Any, region: Region) -> Any:
    if array is None or len(array.shape) == 2:
        return array
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array[region])
    if hasattr(array, "__dask_graph__"):
        import dask

        return dask.optimize(array[region])[0]  # type: ignore[attr-defined, no-untyped-call]
    return _Part(array, region)


@dataclass(frozen=True, eq=False)
class _Part:
    """A region of an array-like, read when it is sliced."""

    raw: Any
    region: Region

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = tuple(part.stop - part.start for part in self.region)
        return (*sizes, *(int(n) for n in self.raw.shape[-2:]))

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self.raw.dtype)
        return found

    def __getitem__(self, index: Region) -> NDArray[Any]:
        inner = index[: len(self.region)]
        moved = (slice(r.start + i.start, r.start + i.stop) for r, i in zip(self.region, inner, strict=True))
        return values(self.raw, tuple(moved))


def _flags(array: Any, where: Region) -> NDArray[np.bool_] | None:
    """Where an array is not zero: for the frames of a region, or once for all; NaN is zero."""
    if array is None:
        return None
    found = np.asarray(array) if len(array.shape) == 2 else values(array, where)
    return np.asarray(np.nan_to_num(found) != 0)


def open_source(
    given: Any, *, axes: Sequence[str] | str | None = None, mask: Any = None, support: Any = None, flat_beyond: int = 3
) -> Source:
    """Open a path, a measurement or an array as one lazy stack.

    Parameters
    ----------
    given : path, Measurement or array
        File, ``file.h5::/path``, zarr store, folder, pattern of file names, `Measurement`, or any array.
    axes : str or sequence of str, optional
        Names of the stored axes, ``"y"`` and ``"x"`` among them; by the file, or the last two, if not given.
    mask, support : path or array, optional
        In place of the source's own; ``(y, x)`` or of the source's shape, axes in the same order.
    flat_beyond : int
        A source with more leading axes than this has them as one.

    Raises
    ------
    FormatError, InputError
        If it cannot be read or holds no patterns.
    """
    raw, found = _measured(given, axes)
    names = _names(axes, found.axes, len(raw.shape), found.single)
    if len(names) > len(raw.shape):  # a file of one pattern, with the names of the stack that it stands for
        raw = np.asarray(raw)[(None,) * (len(names) - len(raw.shape))]
    order = (*(i for i, name in enumerate(names) if name not in ("y", "x")), names.index("y"), names.index("x"))
    _require_patterns(raw, order)
    n_lead = len(order) - 2

    def arranged(what: str, array: Any) -> Any:
        return None if array is None else _arranged(what, array, order, tuple(raw.shape), flat=n_lead > flat_beyond)

    lead_shape = tuple(int(raw.shape[axis]) for axis in order[:-2])
    chunk = tuple(int(found.chunk[axis]) if len(found.chunk) == len(order) else 1 for axis in order[:-2])
    flat = n_lead > flat_beyond
    inside = found.support if support is None else _opened(support)
    return Source(
        intensity=arranged("a stack", raw),
        bad_pixels=arranged("a mask", found.bad_pixels if mask is None else _opened(mask)),
        support=arranged("a support", inside),
        lead_axes=("frame",) if flat else tuple(names[axis] for axis in order[:-2]),
        lead_shape=lead_shape,
        chunk=(1,) if flat else chunk,
        fill=found.fill,
        files=found.files,
        geometry=found.like.geometry,
        intensity_scale=found.like.intensity_scale,
        alpha=found.like.alpha,
        provenance=found.like.provenance,
    )


@dataclass(frozen=True)
class _Found:
    """What came with an array: axes and chunks in stored order."""

    like: Measurement
    axes: tuple[str, ...] = ()
    bad_pixels: Any = None
    support: Any = None
    chunk: tuple[int, ...] = ()
    fill: float = 0.0
    files: tuple[Path, ...] = ()

    @property
    def single(self) -> bool:
        """Whether it came from a file, where a stack of one pattern is read as that pattern."""
        return bool(self.files)


_NOTHING = np.zeros((16, 16), np.float32)


def _measured(given: Any, axes: Any) -> tuple[Any, _Found]:
    """The array of patterns as it is stored, and what came with it."""
    if isinstance(given, Measurement):
        return given.intensity, _of_measurement(given)
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        chunk = tuple(int(c) for c in getattr(given, "chunksize", ()) or ())
        return given, _Found(Measurement(_NOTHING, provenance={"source": type(given).__name__}), chunk=chunk)
    return _of_path(str(given), axes)


def _of_path(given: str, axes: Any) -> tuple[Any, _Found]:
    """What lies at a path, or at all paths of a pattern of names."""
    text, _, inner = given.partition("::")
    path = Path(text)
    if not path.exists() and glob.has_magic(text):
        return _files(sorted(glob.glob(text, recursive=True), key=_natural), inner, text)  # noqa: PTH207 - any pattern
    if path.is_dir() and not zarr_store.sniff(path):
        return _files(_folder(path), inner, text)
    if path.is_dir():
        return _stored(path, inner or None)
    try:
        measurement = io.read(given)
    except InputError:
        if axes is None:
            raise
        words = {"source": given}  # its last two axes are not the detector's
        return io.open_array(given), _Found(Measurement(_NOTHING, provenance=words), files=(path,))
    return measurement.intensity, replace(_of_measurement(measurement), files=(path,))


def _of_measurement(measurement: Measurement) -> _Found:
    named = not all(name.startswith("axis_") for name in measurement.axes[:-2]) or len(measurement.axes) == 2
    return _Found(
        replace(measurement, intensity=_NOTHING, bad_pixels=None, support=None, axes=()),
        measurement.axes if named else (),
        measurement.bad_pixels,
        measurement.support,
        tuple(int(c) for c in getattr(measurement.intensity, "chunksize", ()) or ()),
    )


def _stored(path: Path, inner: str | None) -> tuple[Any, _Found]:
    """An array of a zarr store, with its chunks; of a measurement of ours, all that is in it."""
    if inner is None and io.is_measurement(path):
        measurement = io.read(path)
        stored = zarr_store.open_stored(path, "intensity")[0]
        found = _of_measurement(measurement)
    else:
        stored, names = zarr_store.open_stored(path, inner)
        words = {"source": str(path), "format": "zarr", **({"dataset": inner} if inner else {})}
        found = _Found(Measurement(_NOTHING, provenance=words), names)
    fill = 0.0 if stored.fill_value is None else float(np.real(stored.fill_value))
    return stored, replace(found, chunk=tuple(stored.shards or stored.chunks), fill=fill, files=(path,))


def _folder(folder: Path) -> list[str]:
    """The files of a folder that have the ending of a format, in natural order; all of one kind."""
    endings = {suffix for row in io.READERS for suffix in row.suffixes}
    found = [p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith(".")]
    kinds = sorted({p.suffix.lower() for p in found})
    if len(kinds) > 1:
        raise InputError(
            f"files of several kinds in {folder} ({', '.join(kinds)})",
            expected="one kind",
            do=f'name them, e.g. "{folder}/*{kinds[0]}"',
        )
    return sorted((str(p) for p in found), key=_natural)


def _natural(name: str) -> list[Any]:
    """Sort key by which file 10 comes after file 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _files(names: Sequence[str], inner: str, given: str) -> tuple[Any, _Found]:
    """Files of one shape as a stack."""
    if not names:
        raise FormatError(f"no files of a known format in {given}", expected="patterns", do="check the path")
    paths = tuple(f"{name}::{inner}" if inner else str(name) for name in names)
    first = io.read(paths[0])
    stack = Files(paths, first.shape, np.dtype(first.intensity.dtype))
    bad: Any = first.bad_pixels  # one for all where it is of a frame of stacks
    if bad is not None and tuple(bad.shape) == stack.inner:
        bad = Files(paths, stack.inner, np.dtype(bool), bad=True)
    like = replace(first, intensity=_NOTHING, bad_pixels=None, support=None, axes=())
    like = replace(like, provenance={**like.provenance, "source": given, "files": len(paths)})
    return stack, _Found(like, (), bad, first.support, files=tuple(Path(name) for name in names))


def _names(given: Sequence[str] | str | None, stored: tuple[str, ...], ndim: int, single: bool) -> tuple[str, ...]:
    """A name for each axis: as they are given, else as they are stored, else the last two are y and x."""
    names = tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else tuple(given or stored)
    wanted = "a name for each axis, y and x among them, each once"
    if given is not None and not (
        (len(names) == ndim or (single and ndim == 2 < len(names)))
        and len(set(names)) == len(names)
        and {"y", "x"} <= set(names)
    ):
        raise InputError(f"the axes {','.join(names)} for {ndim} axes", expected=wanted, do='give e.g. "--axes t,y,x"')
    if len(names) >= ndim and len(set(names)) == len(names) and {"y", "x"} <= set(names):
        return names
    if given is None and len(names) == ndim and len(set(names)) == ndim and not {"y", "x"} & set(names):
        return (*names[:-2], "y", "x")
    return (*(f"axis_{i}" for i in range(ndim - 2)), "y", "x")


def _require_patterns(raw: Any, order: tuple[int, ...]) -> None:
    """Refuse what holds no patterns, by the rules of `Measurement`."""
    shape = tuple(int(raw.shape[axis]) for axis in order)
    if len(shape) > 2 and 0 in shape[:-2]:
        raise InputError(f"a source of 0 patterns, shape {shape}", expected="at least one pattern", do="check it")
    Measurement(np.broadcast_to(np.zeros((), raw.dtype), shape))


def _opened(given: Any) -> Any:
    """A mask or a support: an array, or a file of one."""
    array = given if hasattr(given, "shape") and hasattr(given, "dtype") else io.open_array(given)
    if np.dtype(array.dtype).kind not in "buif":
        raise InputError(
            f"an array of type {array.dtype} in {given}", expected="real numbers, non-zero where it counts"
        )
    return array


def _arranged(what: str, array: Any, order: tuple[int, ...], stored: tuple[int, ...], *, flat: bool) -> Any:
    """An array in the order of the source: detector axes last, leading axes as one where there are too many."""
    shape = tuple(int(n) for n in array.shape)
    while len(shape) > 2 and shape != stored and shape[0] == 1:
        array, shape = np.asarray(array)[0], shape[1:]
    frame = tuple(stored[axis] for axis in sorted(order[-2:]))
    if shape not in (stored, frame):
        raise InputError(f"{what} of shape {shape}", expected=f"shape {frame} or {stored}", do="give it for these data")
    if len(shape) == 2:
        flipped = order[-2] > order[-1]
        return np.asarray(array).T if flipped else np.asarray(array)
    if order != tuple(range(len(order))):
        array = array.transpose(order) if hasattr(array, "transpose") else Ordered(array, order)
    if not flat:
        return array
    return array.reshape(-1, *array.shape[-2:]) if isinstance(array, np.ndarray) else Flat(array)

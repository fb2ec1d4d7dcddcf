"""HDF5 and NeXus files: a named dataset, the NeXus default, or the single plausible one."""

from __future__ import annotations

import contextlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io import _lengths
from napari_i2ipr.io._guard import head, reading, require_file
from napari_i2ipr.io._lazy import LazyStack, frame_index, native, open_stack
from napari_i2ipr.io._pick import Found, candidates, missing, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_NODES = 20_000
_MAX_DEPTH = 16
_SERIES = re.compile(r"^(.*?)(\d{3,})$")
_INSTRUMENT = ("instrument", "detector", "beam", "source", "monochromator")
_ROLES = {
    "wavelength": "wavelength",
    "incident_wavelength": "wavelength",
    "energy": "energy",
    "incident_energy": "energy",
    "photon_energy": "energy",
    "distance": "distance",
    "detector_distance": "distance",
    "x_pixel_size": "x",
    "y_pixel_size": "y",
    "beam_center_x": "centre x",
    "beam_center_y": "centre y",
}
_PIXELS = ("", "px", "pixel", "pixels")


def has_signature(path: Path) -> bool:
    """Whether a file begins as HDF5 does, behind a user block of up to 4 KiB at most."""
    start = head(path, 4096 + len(SIGNATURE))
    return any(start[at : at + len(SIGNATURE)] == SIGNATURE for at in (0, 512, 1024, 2048, 4096))


def sniff(path: Path) -> bool:
    """Whether the file is HDF5, by its signature."""
    return has_signature(path)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, opened for reading; h5py's errors become ours.

    Raises
    ------
    FormatError
        If it is missing, truncated, foreign or damaged.
    """
    require_file(path)
    with reading(path, "HDF5"):
        import h5py

        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401  (registers the compression filters of detectors)

        with h5py.File(path, "r") as file:
            yield file


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        HDF5 or NeXus file.
    dataset : str, optional
        Path in the file, of a dataset or of a group with one.

    Returns
    -------
    Measurement
        Intensities as stored, a NeXus pixel mask as bad pixels, lengths in metres; stacks stay in the file.

    Raises
    ------
    FormatError
        If the file cannot be read, or does not say which dataset is meant.
    InputError
        If the data are no real patterns.
    """
    with opened(path) as file:
        name = locate(file, path, dataset)
        intensity = load(file, path, name)
        found, ignored = geometry(file, near=name)
        bad = _pixel_mask(file, intensity.shape[-2:], name)
        provenance = _lengths.source_provenance(str(path), "hdf5", name, ignored, beam_centre(file, name))
    return Measurement(intensity, bad_pixels=bad, geometry=found, provenance=provenance)


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read an array without any meaning, for masks, supports and images; see `read`."""
    with opened(path) as file:
        return load(file, path, locate(file, path, dataset, masks_too=True))


def datasets(path: Path) -> Found:
    """The datasets among which `read` cannot decide, the most probable first; none where it can."""
    with opened(path) as file:
        return undecided(file)


def undecided(file: Any) -> Found:
    """See `datasets`, for an open file."""
    if _nexus_default(file, "") is not None:
        return {}
    found = arrays(file)
    names = [] if _series(found) else candidates(found)
    return {name: found[name] for name in names} if len(names) > 1 else {}


def locate(file: Any, path: Path, dataset: str | None, *, masks_too: bool = False) -> str:
    """Path of the dataset that is meant; that of its group and ``/*`` for a series ``data_000001``...

    Raises
    ------
    FormatError
        If there is no such dataset, none at all, or several without a NeXus default.
    """
    import h5py

    prefix = f"/{dataset.strip('/')}".rstrip("/") if dataset else ""
    start = _get(file, prefix or "/")
    if isinstance(start, h5py.Dataset):
        return prefix
    if start is None:
        raise missing(path, prefix, arrays(file))
    name = _nexus_default(start, prefix)
    if name is not None:
        return name
    found = arrays(start, prefix)
    return _series(found) or pick(path, found, masks_too=masks_too)


def load(file: Any, path: Path, name: str, *, keep_single: bool = False) -> NDArray[Any] | LazyStack:
    """The dataset `name`: a frame in memory, a stack in its file; a third axis of length 1 is dropped."""
    if name.endswith("/*"):
        members = _members(file, name)
        shape = (sum(len(member) for member in members), *members[0].shape[1:])
        return open_stack(path, name, shape, members[0].dtype, series_frames)
    data = file[name]
    if data.ndim == 3 and data.shape[-1] == 1 and data.shape[0] > 1:
        return native(data[..., 0])
    return open_stack(path, name, data.shape or (), data.dtype, frames, keep_single=keep_single)


def frames(path: Path, dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames of a dataset by their numbers in the flattened leading axes."""
    with opened(path) as file:
        data = file[dataset]
        for number in numbers:
            yield data[frame_index(number, data.shape[:-2])]


def series_frames(path: Path, dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames of a series of datasets ``data_000001``, ``data_000002``... as one stack."""
    with opened(path) as file:
        members = _members(file, dataset)
        starts = np.cumsum([0, *(len(member) for member in members)])
        for number in numbers:
            at = int(np.searchsorted(starts, number, side="right")) - 1
            yield members[at][number - int(starts[at])]


def arrays(group: Any, prefix: str = "") -> Found:
    """Every numeric dataset below a group (at `prefix` in its file) by its path, each once, links followed."""
    import h5py

    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, Any, int]] = [(prefix, group, 0)]
    while stack and len(seen) < _MAX_NODES:
        name, node, depth = stack.pop()
        info = h5py.h5o.get_info(node.id)
        if (info.fileno, info.addr) in seen:
            continue
        seen.add((info.fileno, info.addr))
        if isinstance(node, h5py.Dataset):
            if node.shape is not None and node.dtype.kind in "buifc":
                found[name] = (tuple(node.shape), node.dtype)
        elif isinstance(node, h5py.Group) and depth < _MAX_DEPTH:
            children = [(f"{name}/{key}", _get(node, key), depth + 1) for key in sorted(node, reverse=True)]
            stack.extend(child for child in children if child[1] is not None)
    return found


def text(value: Any) -> str:
    """An HDF5 string, whichever way it was stored."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def geometry(file: Any, near: str = "") -> tuple[Geometry, dict[str, float]]:
    """Lengths of the experiment, from datasets with NeXus or CXI names below an instrument.

    Parameters
    ----------
    file : h5py.File
        The open file.
    near : str
        Path of the data: what lies in the same entry is preferred.

    Returns
    -------
    tuple
        The geometry, and the values that cannot be right.
    """
    found = _instrument(file, near)
    wavelength = found.get("wavelength", found.get("energy"))
    return _lengths.geometry(wavelength, found.get("distance"), found.get("y"), found.get("x"))


def beam_centre(file: Any, near: str = "") -> tuple[float, float] | None:
    """Where the file says that the beam hits the detector, ``(y, x)`` in pixels; parameters as for `geometry`."""
    found = _instrument(file, near)
    y, x = found.get("centre y"), found.get("centre x")
    if y is None or x is None:
        y, x = _hawk_centre(file)
    return None if y is None or x is None or (y, x) == (0.0, 0.0) else (y, x)


def _hawk_centre(file: Any) -> tuple[float, float] | tuple[None, None]:
    """Hawk keeps ``image_center`` at the root, in the order of the axes."""
    import h5py

    node = file.get("image_center")
    if not isinstance(node, h5py.Dataset) or node.size not in {2, 3}:
        return None, None
    y, x = (_lengths.number(value) for value in np.ravel(node[()])[:2])
    return (None, None) if y is None or x is None else (y, x)


def _instrument(file: Any, near: str) -> dict[str, float]:
    """Values below an instrument by their role, lengths in metres, centres in pixels."""
    import h5py

    entry = near.strip("/").split("/")[0]
    found: list[tuple[bool, str, str, Any]] = []
    visited = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal visited
        visited += 1
        parent, _, leaf = name.rpartition("/")
        role = _ROLES.get(leaf)
        if role and isinstance(node, h5py.Dataset) and any(word in parent.lower() for word in _INSTRUMENT):
            found.append((not name.startswith(entry), role, name, node))
        return True if visited >= _MAX_NODES else None

    file.visititems(visit)
    values: dict[str, float] = {}
    for _, role, _, node in sorted(found, key=lambda hit: hit[:3]):
        value = _value(role, node)
        if value is not None:
            values.setdefault(role, value)
    return values


def _value(role: str, node: Any) -> float | None:
    if node.shape is None or node.size > 1_000_000 or node.dtype.kind not in "iuf":
        return None
    units = text(node.attrs["units"]) if "units" in node.attrs else ""
    value = node[()]
    if role.startswith("centre"):
        return _lengths.number(value) if units.strip().lower() in _PIXELS else None
    if role == "energy":
        return _lengths.wavelength_of_energy_m(value, units)
    return _lengths.length_m(value, units)


def _get(group: Any, key: str) -> Any:
    """A member of a group, None when it is missing or its link leads nowhere."""
    try:
        return group[key]
    except (KeyError, OSError, ValueError):
        return None


def _nexus_default(group: Any, prefix: str) -> str | None:
    """The dataset that the NeXus attributes ``default`` and ``signal`` name, or the only signal two groups deep."""
    import h5py

    for _ in range(_MAX_DEPTH):
        name = _signal(group, prefix)
        if name is not None:
            return name
        key = text(group.attrs["default"]) if "default" in group.attrs else ""
        following = _get(group, key) if key else None
        if not isinstance(following, h5py.Group):
            break
        group, prefix = following, f"{prefix}/{key.strip('/')}"
    below: dict[str, Any] = {}
    for outer in (prefix, *(f"{prefix}/{key}" for key in group)):
        inside = group if outer == prefix else _get(group, outer[len(prefix) + 1 :])
        if isinstance(inside, h5py.Group):
            below.update({f"{outer}/{key}": _get(inside, key) for key in inside})
    signals: dict[Any, str] = {}
    for name, node in below.items():
        signal = _signal(node, name) if isinstance(node, h5py.Group) else None
        if signal is not None:
            signals.setdefault(_get(node, signal[len(name) + 1 :]), signal)
    return next(iter(signals.values())) if len(signals) == 1 else None


def _signal(group: Any, prefix: str) -> str | None:
    """Path of the dataset a group calls its signal, in the new way (at the group) or the old (at the dataset)."""
    import h5py

    told = "signal" in group.attrs
    for key in [text(group.attrs["signal"])] if told else list(group)[:100]:
        node = _get(group, key)
        if not isinstance(node, h5py.Dataset) or node.ndim < 2:
            continue
        if told or text(node.attrs.get("signal", "")) == "1":
            return f"{prefix}/{key}"
    return None


def _series(found: Found) -> str | None:
    """``group/*`` when all image-like arrays are one series of equal frames in one group."""
    heads, kinds, count = set(), set(), 0
    for name, (shape, dtype) in found.items():
        hit = _SERIES.match(name)
        if hit and len(shape) == 3:
            heads.add(hit.group(1))
            kinds.add((shape[1:], dtype))
            count += 1
    if count < 2 or len(heads) != 1 or len(kinds) != 1:
        return None
    return f"{heads.pop().rpartition('/')[0]}/*"


def _members(file: Any, name: str) -> list[Any]:
    """Datasets of a series in the order of their numbers."""
    group = _get(file, name[:-2] or "/")
    keys = sorted(key for key in group or () if _SERIES.match(key))
    members = [group[key] for key in keys]
    if not members:
        raise FormatError(f"no datasets at {name}", expected="a series of them", do="check the files it links to")
    if any(member.ndim != 3 or member.shape[1:] != members[0].shape[1:] for member in members):
        raise InputError(f"frames of different shapes at {name}", expected="one shape", do="name one of the datasets")
    return members


def _pixel_mask(file: Any, frame_shape: tuple[int, ...], near: str) -> NDArray[np.bool_] | None:
    """The NeXus ``pixel_mask`` (0 = good) of the same entry that fits the frames."""
    entry = "/" + near.strip("/").split("/")[0] + "/"
    for name, (shape, dtype) in arrays(file).items():
        if name.endswith("/pixel_mask") and name.startswith(entry) and dtype.kind in "bui" and shape == frame_shape:
            bad: NDArray[np.bool_] = native(file[name][()]) != 0
            return bad
    return None

"""HDF5 and NeXus files: a named dataset, the NeXus default, or the single plausible one."""

from __future__ import annotations

import contextlib
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.io._guard import head, reading, require_file, require_memory
from napari_i2ipr.io._lazy import LazyStack, frame_index, native, open_stack
from napari_i2ipr.io._nexus import MAX_NODES, instrument, text
from napari_i2ipr.io._pick import Found, candidates, missing, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_DEPTH = 16
_SERIES = re.compile(r"^(.*?)(\d{3,})$")


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
        Intensities as stored, a NeXus pixel mask as bad pixels, lengths in metres, the level of saturation in the
        provenance; stacks stay in the file.

    Raises
    ------
    FormatError
        If the file or one that it links to cannot be read, or it does not say which dataset is meant.
    InputError
        If the data are no real patterns.
    """
    with opened(path) as file:
        name = locate(file, path, dataset)
        intensity = load(file, path, name)
        found = instrument(file, near=name)
        bad = _pixel_mask(file, intensity.shape[-2:], name)
    provenance = found.provenance(str(path), "hdf5", name)
    return Measurement(intensity, bad_pixels=bad, geometry=found.geometry, provenance=provenance)


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
    lost: list[tuple[str, str]] = []
    found = arrays(file, lost=lost)
    names = [] if lost or _series(found) else candidates(found)
    return {name: found[name] for name in names} if len(names) > 1 else {}


def locate(file: Any, path: Path, dataset: str | None, *, masks_too: bool = False) -> str:
    """Path of the dataset that is meant; that of its group and ``/*`` for a series ``data_000001``...

    Raises
    ------
    FormatError
        If there is no such dataset, none at all, or several without a NeXus default; or if a file of a series
        cannot be opened.
    """
    import h5py

    prefix = f"/{dataset.strip('/')}".rstrip("/") if dataset else ""
    start = member(file, prefix or "/")
    if isinstance(start, h5py.Dataset):
        return prefix
    lost: list[tuple[str, str]] = []
    if start is None:
        _refuse_lost(path, _linked_file(file, prefix))
        raise missing(path, prefix, arrays(file))
    name = _nexus_default(start, prefix)
    if name is not None and not _SERIES.match(name):
        return name
    found = arrays(start, prefix, lost)
    if lost:
        _refuse_lost(path, lost[0][1], len(lost) - 1)
    return _series(found) or name or pick(path, found, masks_too=masks_too)


def load(file: Any, path: Path, name: str, *, keep_single: bool = False) -> NDArray[Any] | LazyStack:
    """The dataset `name`: a frame in memory, a stack in its file; a third axis of length 1 is dropped."""
    if name.endswith("/*"):
        members = _members(file, path, name)
        _check_storage(path, members[0])
        shape = (sum(len(member) for member in members), *members[0].shape[1:])
        return open_stack(path, name, shape, members[0].dtype, series_frames)
    data = file[name]
    if data.ndim == 3 and data.shape[-1] == 1 and data.shape[0] > 1:
        require_memory(path, data.shape, data.dtype.itemsize)
        return native(data[..., 0])
    _check_storage(path, data)
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
        members = _members(file, path, dataset)
        starts = np.cumsum([0, *(len(member) for member in members)])
        for number in numbers:
            at = int(np.searchsorted(starts, number, side="right")) - 1
            yield members[at][number - int(starts[at])]


def arrays(group: Any, prefix: str = "", lost: list[tuple[str, str]] | None = None) -> Found:
    """Every numeric dataset below a group (at `prefix` in its file) by its path, each once, links followed.

    Links of a series of data files that lead nowhere are put into `lost`, with the files they name.
    """
    import h5py

    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, Any, int]] = [(prefix, group, 0)]
    while stack and len(seen) < MAX_NODES:
        name, node, depth = stack.pop()
        info = h5py.h5o.get_info(node.id)
        if (info.fileno, info.addr) in seen:
            continue
        seen.add((info.fileno, info.addr))
        if isinstance(node, h5py.Dataset):
            if node.shape is not None and node.dtype.kind in "buifc":
                found[name] = (tuple(node.shape), node.dtype)
        elif isinstance(node, h5py.Group) and depth < _MAX_DEPTH:
            children = {key: member(node, key) for key in sorted(node, reverse=True)}
            stack.extend((f"{name}/{key}", child, depth + 1) for key, child in children.items() if child is not None)
            if lost is not None:
                gone = sorted(key for key, child in children.items() if child is None and _SERIES.match(key))
                lost.extend((key, target) for key in gone if (target := _linked_file(node, key)))
    return found


def _nexus_default(group: Any, prefix: str) -> str | None:
    """The dataset that the NeXus attributes ``default`` and ``signal`` name, or the only signal two groups deep."""
    import h5py

    for _ in range(_MAX_DEPTH):
        name = _signal(group, prefix)
        if name is not None:
            return name
        key = text(group.attrs["default"]) if "default" in group.attrs else ""
        following = member(group, key) if key else None
        if not isinstance(following, h5py.Group):
            break
        group, prefix = following, f"{prefix}/{key.strip('/')}"
    below: dict[str, Any] = {}
    for outer in (prefix, *(f"{prefix}/{key}" for key in group)):
        inside = group if outer == prefix else member(group, outer[len(prefix) + 1 :])
        if isinstance(inside, h5py.Group):
            below.update({f"{outer}/{key}": member(inside, key) for key in inside})
    signals: dict[Any, str] = {}
    for name, node in below.items():
        signal = _signal(node, name) if isinstance(node, h5py.Group) else None
        if signal is not None:
            signals.setdefault(member(node, signal[len(name) + 1 :]), signal)
    return next(iter(signals.values())) if len(signals) == 1 else None


def _signal(group: Any, prefix: str) -> str | None:
    """Path of the dataset a group calls its signal, in the new way (at the group) or the old (at the dataset)."""
    import h5py

    told = "signal" in group.attrs
    for key in [text(group.attrs["signal"])] if told else list(group)[:100]:
        node = member(group, key)
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


def _members(file: Any, path: Path, name: str) -> list[Any]:
    """Datasets of a series in the order of their numbers."""
    group = member(file, name[:-2] or "/")
    keys = sorted(key for key in group or () if _SERIES.match(key))
    members = [member(group, key) for key in keys]
    for key, found in zip(keys, members, strict=True):
        if found is None:
            _refuse_lost(path, _linked_file(group, key) or key)
    if not members:
        raise FormatError(f"no datasets at {name}", expected="a series of them", do="check the files it links to")
    if any(one.ndim != 3 or one.shape[1:] != members[0].shape[1:] for one in members):
        raise InputError(f"frames of different shapes at {name}", expected="one shape", do="name one of the datasets")
    return members


def member(group: Any, key: str) -> Any:
    """A member of a group, None when it is missing or its link leads nowhere."""
    try:
        return group[key]
    except (KeyError, OSError, ValueError):
        return None


def _linked_file(group: Any, key: str) -> str | None:
    """The file that an external link names; None for any other member."""
    import h5py

    try:
        link = group.get(key, getlink=True)
    except (KeyError, OSError, ValueError):
        return None
    return str(link.filename) if isinstance(link, h5py.ExternalLink) else None


def _refuse_lost(path: Path, target: str | None, more: int = 0) -> None:
    """Refuse a file that links to one which is not there; nothing happens without a target."""
    if target is not None:
        others = f" (nor {more} more)" if more else ""
        raise FormatError(
            f"{path}, whose data file {target} cannot be opened{others}",
            expected="the files that it links to, undamaged and beside it",
            do="copy them there, or open one of the data files",
        )


def _check_storage(path: Path, data: Any) -> None:
    """Refuse chunks that do not fit into memory, and virtual datasets with lost files (HDF5 would read zeros)."""
    if data.chunks:
        require_memory(path, data.chunks, data.dtype.itemsize)
    if not data.is_virtual:
        return
    folder = Path(data.file.filename).parent
    for name in dict.fromkeys(source.file_name for source in data.virtual_sources()):
        if name != "." and "%" not in name and not (folder / name).is_file() and not Path(name).is_file():
            _refuse_lost(path, name)


def _pixel_mask(file: Any, frame_shape: tuple[int, ...], near: str) -> NDArray[np.bool_] | None:
    """The NeXus ``pixel_mask`` (0 = good) of the same entry that fits the frames."""
    entry = "/" + near.strip("/").split("/")[0] + "/"
    for name, (shape, dtype) in arrays(file).items():
        if name.endswith("/pixel_mask") and name.startswith(entry) and dtype.kind in "bui" and shape == frame_shape:
            bad: NDArray[np.bool_] = native(file[name][()]) != 0
            return bad
    return None

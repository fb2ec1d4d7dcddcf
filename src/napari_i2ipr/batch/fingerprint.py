"""What a result depends on, in few bytes: the source, the settings, the weights.

The fingerprint of files is their names, sizes and times of change, with the shape, type and chunks of the array and
the content of `SAMPLES` frames spread over it. Arrays in memory are hashed whole; of a dask array, only the samples are
computed. A source that was changed in place, to the same sizes and with its times put back, in frames that are not
sampled, is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.arrays import values
from napari_i2ipr.io import READ_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.config import Config

SAMPLES = 8
"""Frames whose content is hashed."""


def of_source(source: Source) -> dict[str, Any]:
    """Fingerprint of the patterns, their masks and supports.

    Parameters
    ----------
    source : Source
        The opened source.
    """
    found: dict[str, Any] = {
        "shape": [*source.lead, *source.frame_shape],
        "dtype": np.dtype(source.intensity.dtype).str,
        "chunk": list(source.chunk),
        "files": of_files(source.files),
        "content": of_array(source.intensity, whole=not source.files),
        "mask": None if source.bad_pixels is None else of_array(source.bad_pixels, whole=True),
        "support": None if source.support is None else of_array(source.support, whole=True),
        "scale": [source.intensity_scale, source.alpha],
    }
    return found


def of_files(paths: Iterable[Path]) -> str:
    """Hash of names, sizes and times of change of files and of all files in directories."""
    digest = hashlib.sha256()
    for path in paths:
        for name, size, changed in _entries(path):
            digest.update(f"{name}\0{size}\0{changed}\n".encode())
    return digest.hexdigest()


def _entries(path: Path) -> list[tuple[str, int, int]]:
    if not path.is_dir():
        stat = path.stat()
        return [(path.name, stat.st_size, stat.st_mtime_ns)]
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            stat = file.stat()
            found.append((file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def of_array(array: Any, *, whole: bool) -> str:
    """Hash of an array's content: all of it when it lies in memory and is wanted whole, else of samples.

    Parameters
    ----------
    array : array-like
        ``(..., y, x)``.
    whole : bool
        Whether an array in memory is hashed whole.
    """
    lead = tuple(int(n) for n in array.shape[:-2])
    count = int(np.prod(lead, dtype=np.int64))
    everything = (whole and isinstance(array, np.ndarray)) or count <= SAMPLES
    numbers = range(count) if everything else np.linspace(0, count - 1, SAMPLES).astype(int)
    digest = hashlib.sha256(repr((array.shape, np.dtype(array.dtype).str)).encode())
    for number in numbers:
        where = tuple(slice(int(i), int(i) + 1) for i in np.unravel_index(int(number), lead))
        try:
            digest.update(np.ascontiguousarray(values(array, where)).view(np.uint8).data)
        except READ_ERRORS:
            digest.update(b"unreadable")
    return digest.hexdigest()


def of_settings(config: Config, prepare: Mapping[str, Any]) -> dict[str, Any]:
    """What of the settings makes a difference: all but the layout of the work and the preset's name."""
    settings = {key: value for key, value in config.to_dict().items() if key not in ("compute", "preset")}
    refine = settings["refine"]
    if not refine["enabled"]:
        settings["refine"] = {"enabled": False}
    refine.pop("weights", None)  # the weights' own hash stands for them
    return {**settings, "prepare": json.loads(json.dumps(dict(prepare)))}


def digest(identity: Mapping[str, Any]) -> str:
    """One short word for an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, in words for the user; hashes are not shown."""
    found: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            inner = changes(before, now)
            found += [f"{key}.{text}" for text in inner]
        elif _is_hash(before) or _is_hash(now):
            found.append(key)
        else:
            found.append(f"{key}: {json.dumps(before)} -> {json.dumps(now)}")
    return found


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64

"""The reader that the manifest names: quick to refuse, and light until a file is really read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_i2ipr.plugin.layers import LayerData

Paths = str | list[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """A function that reads the file, or None where it is not one of ours to read.

    Parameters
    ----------
    path : str or list of str
        One file; also a result store of this package. Lists, which napari gives to be stacked, are
        refused.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    from napari_i2ipr import io

    if not any(path.lower().endswith(suffix) for row in io.READERS for suffix in row.suffixes):
        return None
    if io.is_result(path):
        return read_result
    return read_pattern if any(_fits(row, path) for row in io.READERS) else None


def read_pattern(path: Paths) -> list[LayerData]:
    """Read a measured pattern: an image in log display, and its bad pixels.

    Parameters
    ----------
    path : str or list of str
        The file.
    """
    from napari_i2ipr import io
    from napari_i2ipr.plugin.layers import pattern_layers

    file = _one(path)
    return pattern_layers(io.read(file), Path(file).stem)


def read_result(path: Paths) -> list[LayerData]:
    """Read a reconstruction of this package: uncertainty and reconstruction.

    Parameters
    ----------
    path : str or list of str
        The file or store.
    """
    from napari_i2ipr import io
    from napari_i2ipr.plugin.layers import result_layers

    file = _one(path)
    return result_layers(io.read_result(file), Path(file).stem)


def _one(path: Paths) -> str:
    return path if isinstance(path, str) else path[0]


def _fits(row: Any, path: str) -> bool:
    """Whether a format with this ending knows the file by its first bytes."""
    return path.lower().endswith(row.suffixes) and row.sniff(path)

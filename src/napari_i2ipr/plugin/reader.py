"""The reader that the manifest names: quick to refuse, and light until a file is really read.

napari asks its user which reader to take wherever two claim a file's ending, before it asks the readers,
and for a folder whenever two readers take folders at all. The manifest therefore claims no endings of
ordinary pictures (``.tif``, ``.npy``): napari opens those itself, `napari_i2ipr.plugin.opening` makes
patterns of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.plugin.layers import LayerData

Paths = str | list[str]

NOTHING: list[Any] = [(None,)]
"""What napari understands as: read, and there is no layer to add."""

OURS = (".cxi", ".nxs", ".cbf")
"""Endings that nobody else reads: what is wrong with such a file is said when it is read."""

_PICTURES = (".mrc", ".mrcs")
"""Endings that patterns share with pictures of which napari knows nothing."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """A function that reads the file, or None where it is not one of ours to read.

    Parameters
    ----------
    path : str or list of str
        One file, or a store that this package wrote. Lists, which napari gives to be stacked, are refused.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    from napari_i2ipr import io

    name = path.lower()
    if not any(name.endswith(suffix) for row in io.READERS for suffix in row.suffixes):
        return None
    place = Path(path)
    if place.is_dir():
        return read_file if io.is_ours(place) else None
    if name.endswith(OURS) and place.is_file():
        return read_file
    return read_file if any(_fits(row, path) for row in io.READERS) else None


def read_file(path: Paths) -> list[LayerData]:
    """Read a pattern or a result; what is wrong is said in one sentence, in the window if that asked.

    Parameters
    ----------
    path : str or list of str
        The file or store.

    Raises
    ------
    I2IPRError
        When it cannot be read, and code asked for it.
    """
    from napari_i2ipr.errors import I2IPRError

    try:
        return read_layers(path if isinstance(path, str) else path[0])
    except I2IPRError as error:
        if not asked_in_window():
            raise
        from napari.utils.notifications import show_error

        show_error(in_words(error))
        return NOTHING


def read_layers(path: str) -> list[LayerData]:
    """A pattern or a result as layers; a person is asked where several datasets could be the pattern.

    Parameters
    ----------
    path : str
        The file or store, ``file.h5::/path/to/data`` for a dataset in it.

    Raises
    ------
    I2IPRError
        When it cannot be read.
    """
    from napari_i2ipr import io

    name = Path(path.rpartition("::")[0] or path).stem
    if io.is_result(path):
        return _result(io.read_result(path), name)
    dataset, several = None, io.datasets(path)
    if several and _can_ask():
        from napari_i2ipr.plugin.chooser import DatasetChooser

        dataset = DatasetChooser.ask(path, several)
        if dataset is None:
            return NOTHING
    measurement = io.read(path, dataset)
    return _picture(measurement, name) if path.lower().endswith(_PICTURES) else _pattern(measurement, name)


def in_words(error: Exception) -> str:
    """What an error of ours says, as one sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def asked_in_window() -> bool:
    """Whether this is called from the event loop of a window, and so on behalf of a person before it."""
    return _can_ask() and bool(sys.modules["qtpy.QtCore"].QThread.currentThread().loopLevel() > 0)


def _can_ask() -> bool:
    """Whether this is the main thread of a program with windows; imports no Qt."""
    core: Any = sys.modules.get("qtpy.QtCore")
    app: Any = None if core is None else core.QCoreApplication.instance()
    return bool(hasattr(app, "activeWindow") and app.thread() == core.QThread.currentThread())


def _pattern(measurement: Measurement, name: str) -> list[LayerData]:
    """A pattern in log display, its bad pixels, and where its centre is taken to be."""
    from napari_i2ipr.plugin.layers import KEY, pattern_layers

    layers = pattern_layers(measurement, name)
    ny, nx = measurement.frame_shape
    words = layers[0][1]["metadata"][KEY]
    words["centre_px"] = tuple(measurement.provenance.get("center_px", (ny // 2, nx // 2)))
    return layers


def _picture(measurement: Measurement, name: str) -> list[LayerData]:
    """A pattern if it looks like one; otherwise the picture it is, for napari to show as it shows pictures."""
    from napari_i2ipr.plugin.display import looks_like_pattern

    if looks_like_pattern(measurement.frame(measurement.n_frames // 2).intensity):
        return _pattern(measurement, name)
    return [(measurement.intensity, {"name": name}, "image")]


def _result(result: Reconstruction, name: str) -> list[LayerData]:
    """The layers of a run, under the names and with the looks they were saved with."""
    from napari_i2ipr.plugin.display import recall
    from napari_i2ipr.plugin.layers import KEY, result_layers

    source, run, looks = recall(result)
    layers = result_layers(result, source or name, run)
    return [(data, {**meta, **looks.get(meta["metadata"][KEY]["kind"], {})}, kind) for data, meta, kind in layers]


def _fits(row: Any, path: str) -> bool:
    """Whether a format with this ending knows the file by its first bytes."""
    return path.lower().endswith(row.suffixes) and row.sniff(path)

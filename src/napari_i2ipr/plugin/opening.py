"""Commands in napari's menus: open any format as a pattern, and show a picture that is open as one."""

from __future__ import annotations

from typing import Any


def open_pattern() -> None:
    """Ask for files of any format that this package reads and add them as patterns."""
    from napari import current_viewer
    from qtpy.QtWidgets import QApplication, QFileDialog

    viewer = current_viewer()
    if viewer is None:
        return
    files, _ = QFileDialog.getOpenFileNames(QApplication.activeWindow(), "Open diffraction patterns", "", filters())
    for file in files:
        add_file(viewer, file)


def add_file(viewer: Any, path: str) -> list[Any]:
    """Read a file as a pattern or a result, whatever readers napari prefers, and add its layers.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to add them.
    path : str
        The file or store; ``file.h5::/path/to/data`` names a dataset.

    Returns
    -------
    list of Layer
        What was added.

    Raises
    ------
    I2IPRError
        When it cannot be read, and code asked for it; a person is told in the window.
    """
    from napari.layers import Layer

    from napari_i2ipr.plugin.reader import NOTHING, read_file

    data = read_file(path)
    if data is NOTHING:
        return []
    return [viewer.add_layer(Layer.create(*one)) for one in data]


def show_as_pattern() -> None:
    """Show the active image layer as a diffraction pattern: in log display, and known to the widgets as one."""
    from napari import current_viewer
    from napari.layers import Image
    from napari.utils.notifications import show_warning

    from napari_i2ipr.errors import I2IPRError
    from napari_i2ipr.plugin.reader import in_words

    viewer = current_viewer()
    layer = None if viewer is None else viewer.layers.selection.active
    if not isinstance(layer, Image):
        show_warning("Select one image layer first: the one that holds the diffraction pattern.")
        return
    try:
        restyle(layer)
    except I2IPRError as error:
        show_warning(in_words(error))


def restyle(layer: Any) -> None:
    """Give an image layer the looks and the metadata of a pattern; its data and its place stay as they are.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.

    Raises
    ------
    InputError
        When its data can be no pattern.
    """
    from napari_i2ipr.plugin.layers import KEY, measurement_of, pattern_layers, words_of

    measurement = measurement_of(layer)
    meta = pattern_layers(measurement, layer.name)[0][1]
    from napari.utils.colormaps import Colormap

    layer.colormap = Colormap(**meta["colormap"])
    layer.contrast_limits_range = meta["contrast_limits"]
    layer.contrast_limits = meta["contrast_limits"]
    layer.gamma = meta["gamma"]
    if not words_of(layer):
        ny, nx = measurement.frame_shape
        layer.metadata[KEY] = {**meta["metadata"][KEY], "centre_px": (ny // 2, nx // 2)}


def filters() -> str:
    """File filters of the dialog: everything that is read, then format by format."""
    from napari_i2ipr.io import READERS

    rows = [(row.name, row.suffixes) for row in READERS if row.name != "zarr"]
    every = tuple(suffix for _, suffixes in rows for suffix in suffixes)
    return ";;".join(
        f"{name} ({' '.join('*' + suffix for suffix in suffixes)})"
        for name, suffixes in [("All formats", every), *rows]
    )

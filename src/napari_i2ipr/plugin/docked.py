# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""A widget in napari's window that lets go of the viewer when it is closed or taken out of its dock."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_i2ipr.plugin.panel import Link, connect, disconnect
from napari_i2ipr.plugin.worker import Runner

if TYPE_CHECKING:
    import napari.viewer
    from magicgui.widgets import ComboBox


class DockedWidget(QWidget):
    """Keeps every connection in one list and a runner for its jobs; both end with it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.runner = Runner(self)
        self._links: list[Link] = []
        self.destroyed.connect(partial(disconnect, self._links))

    def link(self, *links: Link) -> None:
        """Connect signals to slots until the widget closes."""
        connect(list(links))
        self._links += links

    def close_down(self) -> None:
        """Stop a run and let go of the viewer."""
        self.runner.close()
        disconnect(self._links)

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """Close down before Qt closes the widget."""
        self.close_down()
        super().closeEvent(event)

    def event(self, event: QEvent) -> bool:
        """Close down when napari takes the widget out of its dock, which sends no close event."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_down()
        return bool(super().event(event))


def renew(box: ComboBox) -> None:
    """Ask a combo box for its choices again and keep what was chosen, also where it has a new name."""
    chosen = box.value
    with box.changed.blocked():
        box.reset_choices()
        if any(choice == chosen for choice in box.choices):
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)


def look_at(viewer: Any, layers: list[Any]) -> None:
    """Fit the view to layers, whatever else the viewer holds.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer.
    layers : list of Layer
        What is to be seen. napari 0.9 fails where all of them have fewer axes than the viewer, and napari
        before 0.7 cannot look at some layers only.
    """
    if max(layer.ndim for layer in layers) == viewer.dims.ndim:
        with suppress(TypeError):
            viewer.reset_view(layers=layers)
            return
    viewer.reset_view()
    if viewer.dims.ndisplay == 2 and tuple(viewer.dims.displayed) == (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        _look_closer(viewer, layers)


def _look_closer(viewer: Any, layers: list[Any]) -> None:
    """From a view of everything to one of some layers, as near as it shows all of them on any canvas."""
    ends = np.array([layer.extent.world[:, -2:] for layer in layers])
    low, high = ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)
    whole = np.diff(viewer.layers.extent.world[:, -2:], axis=0)[0]
    if (high > low).all():
        camera = getattr(viewer, "scene", viewer).camera  # of the scene in napari 0.9 and later
        camera.center = (0.0, *(low + high) / 2)
        camera.zoom *= float((whole / (high - low)).min())

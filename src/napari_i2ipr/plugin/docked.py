# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""A widget in napari's window that lets go of the viewer when it is closed or taken out of its dock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

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
    """Fit the view to layers, or to all of them where napari cannot do that.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer.
    layers : list of Layer
        What is to be seen. napari 0.9 fails on layers with fewer axes than the viewer has.
    """
    if any(layer.ndim != viewer.dims.ndim for layer in layers):
        viewer.reset_view()
        return
    try:
        viewer.reset_view(layers=layers)
    except TypeError:  # napari before 0.7
        viewer.reset_view()

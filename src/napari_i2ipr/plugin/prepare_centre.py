"""The centre of a pattern as one point in the viewer, which can be dragged."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from napari.layers import Points
from psygnal import Signal

from napari_i2ipr.plugin.layers import KEY

_SIZE = 1 / 16
"""Of the marker, as a share of the frame."""


class CentrePoint:
    """Shows the centre in a Points layer and tells where it is dragged to.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where it is shown.
    """

    moved = Signal(float, float)
    """Somebody moved the point: pixel ``(y, x)`` of the pattern, in halves."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.layer: Points | None = None
        self._of: Any = None
        self._own = False

    @property
    def shown(self) -> bool:
        """Whether the layer is in the viewer."""
        return self.layer is not None and self.layer in self.viewer.layers

    def show(self, pattern: Any, centre: tuple[float, float], *, grab: bool = False) -> None:
        """Put the point on a pixel of a pattern.

        Parameters
        ----------
        pattern : napari.layers.Image
            What the centre is one of.
        centre : tuple of float
            Pixel ``(y, x)``.
        grab : bool
            Make it the active layer, ready to be dragged; a layer that was deleted comes back only then.
        """
        if self._of is not pattern or (grab and not self.shown):
            self.remove()
            self._add(pattern, centre)
        elif self.shown:
            self._put(centre)
        if grab and self.layer is not None:
            self.layer.visible = True
            self.viewer.layers.selection.active = self.layer
            self.layer.mode = "select"
            self.layer.selected_data = {0}

    def hide(self) -> None:
        """Take it out of sight."""
        if self.shown and self.layer is not None:
            self.layer.visible = False

    def remove(self) -> None:
        """Take the layer away."""
        layer, self.layer, self._of = self.layer, None, None
        if layer is None:
            return
        layer.events.data.disconnect(self._on_data)
        with suppress(RuntimeError, ValueError):  # the window, or the layer, is gone already
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _add(self, pattern: Any, centre: tuple[float, float]) -> None:
        data = pattern.data[0] if pattern.multiscale else pattern.data
        active = self.viewer.layers.selection.active
        layer = Points(
            np.asarray([centre], float),
            name=f"centre ({pattern.name})",
            scale=pattern.scale[-2:],
            translate=pattern.translate[-2:],
            units=pattern.units[-2:],
            axis_labels=("y", "x"),
            symbol="disc",
            size=max(max(data.shape[-2:]) * _SIZE, 3.0),
            face_color="transparent",
            border_color="lime",
            border_width=0.1,
            metadata={KEY: {"kind": "centre"}},
        )
        layer.help = "Drag the point to the centre of the pattern."
        layer.events.data.connect(self._on_data)
        self.layer, self._of = layer, pattern
        self.viewer.add_layer(layer)
        if active is not None:
            self.viewer.layers.selection.active = active

    def _put(self, centre: tuple[float, float]) -> None:
        layer = self.layer
        wanted = np.asarray([centre], float)
        if layer is None or (layer.data.shape == wanted.shape and np.allclose(layer.data, wanted)):
            return
        self._own = True
        try:
            layer.data = wanted
        finally:
            self._own = False

    def _on_data(self, event: Any) -> None:
        """Follow the user's hand, once the point is let go."""
        action = str(getattr(event, "action", "changed")).lower().rpartition(".")[2]
        if self._own or self.layer is None or action not in ("changed", "added") or not len(self.layer.data):
            return
        y, x = (round(2 * float(at)) / 2 for at in self.layer.data[-1][-2:])
        self.moved.emit(y, x)

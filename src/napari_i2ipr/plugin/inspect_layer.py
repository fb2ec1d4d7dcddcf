"""The layer that shows one candidate while its row is selected, and the viewer's mouse as a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_i2ipr.plugin.inspect_runs import MAIN
from napari_i2ipr.plugin.layers import KEY, ObjectGrid, limits, words_of

if TYPE_CHECKING:
    import napari.viewer
    from numpy.typing import NDArray

    from napari_i2ipr.plugin.inspect_runs import Run

SHOWN = "candidate"
"""Kind of the layer that shows one candidate."""


class MouseMoves:
    """The viewer's list of mouse callbacks, made to look like a signal.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose mouse it is.
    """

    def __init__(self, viewer: Any) -> None:
        self._callbacks: list[Any] = viewer.mouse_move_callbacks

    def connect(self, slot: Any) -> None:
        """Call it at every move."""
        self._callbacks.append(slot)

    def disconnect(self, slot: Any) -> None:
        """Call it no more."""
        self._callbacks.remove(slot)


class Spotlight:
    """At most one layer, which shows one candidate of a result.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer goes.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.viewer = viewer
        self.layer: Any = None

    def show(self, run: Run, number: int, image: NDArray[Any]) -> None:
        """Show this candidate, in the place of the one before; the active layer stays active.

        Parameters
        ----------
        run : Run
            The result.
        number : int
            Of the candidate.
        image : ndarray
            ``(h, w)``; of a complex one the amplitude is shown.
        """
        data = np.abs(image) if np.iscomplexobj(image) else np.asarray(image)
        name = f"candidate {number} of {run.name}"
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.data, self.layer.name = data, name
            return
        layers = self.viewer.layers
        active = layers.selection.active
        self.layer = Image(
            data,
            name=name,
            colormap="gray",
            contrast_limits=_contrast(run, data),
            metadata={KEY: {"kind": SHOWN}},
            **ObjectGrid.of(run.result).placed(run.result.box[:2]),
        )
        self.viewer.add_layer(self.layer)
        if active is not None and active in layers:
            layers.selection.active = active

    def remove(self) -> None:
        """Take the layer away, if it is still there."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)


def _contrast(run: Run, data: NDArray[Any]) -> tuple[float, float]:
    """That of the result, so that the two can be compared."""
    layer = run.layer
    if layer is not None and words_of(layer).get("kind") in MAIN:
        low, high = layer.contrast_limits
        return float(low), float(high)
    return limits(data, 99.9, from_zero=bool(np.nanmin(data) >= 0))

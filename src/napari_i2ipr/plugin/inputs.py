# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""What is reconstructed: the pattern's layer, the roles of its axes, bad pixels, and where the object may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox
from napari.layers import Image, Labels, Shapes
from psygnal import Signal

from napari_i2ipr.config import Config
from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.axes import axis_names, full_resolution, lead_of, order_of, shown_index
from napari_i2ipr.plugin.folded import add_row
from napari_i2ipr.plugin.layers import ObjectGrid, is_pattern, measurement_of, words_of
from napari_i2ipr.plugin.regions import labels_of, support_of

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QFormLayout

    from napari_i2ipr.data import Measurement

FILE = "file"
"""Choice of the support that came with the pattern."""

ALL, SHOWN = "all", "shown"
"""Choices of what is reconstructed of a stack."""


class InputForm:
    """Fields for the input; they follow the layers of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.viewer = viewer
        self.pattern = ComboBox(choices=self._patterns, label="Pattern")
        self.pattern.tooltip = "Image layer with the diffraction pattern, or a stack of patterns; it is not changed."
        self.detector_y = ComboBox(choices=self._axes, label="Detector y")
        self.detector_y.tooltip = "Which axis of the layer runs along the detector's y; other axes number the patterns."
        self.detector_x = ComboBox(choices=self._axes, label="Detector x")
        self.detector_x.tooltip = "Which axis of the layer runs along the detector's x; other axes number the patterns."
        self.which = ComboBox(choices=self._which, label="Reconstruct")
        self.which.tooltip = "All patterns of the stack one after another, or only the one that the slider shows."
        self.bad_pixels = ComboBox(choices=self._masks, label="Bad pixels")
        self.bad_pixels.tooltip = (
            "Labels layer: everything painted counts as not measured. Without one the file's own mask counts;\n"
            "missing and saturated pixels are found in any case."
        )
        self.support = ComboBox(choices=self._supports, label=form.label("support"))
        self.support.tooltip = (
            "Where the object may be (its support): a part of the frame, or what you drew in a Labels or Shapes layer."
        )
        self._fields = (self.pattern, self.detector_y, self.detector_x, self.which, self.bad_pixels, self.support)
        self._labels: dict[int, Any] = {}
        for box in self._fields:
            form.shrinkable(box)
        self.pattern.value = self._patterns()[-1][1]
        self.links = [
            (self.pattern.changed, self._on_pattern),
            (self.detector_y.changed, self._on_y),
            (self.detector_x.changed, self._on_x),
            *((box.changed, self._on_change) for box in (self.which, self.bad_pixels, self.support)),
        ]

    def add_to(self, rows: QFormLayout) -> None:
        """Add the rows to a form."""
        for box in self._fields:
            self._labels[id(box)] = add_row(rows, box.label, box.tooltip or "", box.native)
        self._show_rows()

    # -- choices ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Follow the layer list."""
        fresh = self.pattern.value is None
        for box in (self.pattern, self.bad_pixels, self.support):
            _renew(box)
        if fresh:
            self.pattern.value = self._patterns()[-1][1]
        self.changed.emit()

    def _patterns(self, _box: Any = None) -> list[tuple[str, Any]]:
        found = [layer for layer in self.viewer.layers if isinstance(layer, Image) and is_pattern(layer)]
        return [(layer.name, layer) for layer in found] or [("none is open", None)]

    def _masks(self, _box: Any = None) -> list[tuple[str, Any]]:
        found = [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
        return [("automatic", None), *((layer.name, layer) for layer in found)]

    def _supports(self, _box: Any = None) -> list[tuple[str, Any]]:
        chosen = self.pattern.value
        known = chosen is not None and words_of(chosen).get("support") is not None
        drawn = [layer for layer in self.viewer.layers if isinstance(layer, Labels | Shapes)]
        return [
            *([("as the file says", FILE)] if known else []),
            *form.choices(Config, "support"),
            *((layer.name, layer) for layer in drawn if words_of(layer).get("kind") != "bad pixels"),
        ]

    def _axes(self, _box: Any = None) -> list[tuple[str, int]]:
        layer = self.pattern.value
        return [] if layer is None else [(name, axis) for axis, name in enumerate(axis_names(layer))]

    def _which(self, _box: Any = None) -> list[tuple[str, str]]:
        return [(f"all {self.n_frames} patterns", ALL), ("the one that is shown", SHOWN)]

    def _show_rows(self) -> None:
        """Hide what a single pattern has no use for."""
        several = self.pattern.value is not None and self.pattern.value.ndim > 2
        for box in (self.detector_y, self.detector_x, self.which):
            box.native.setVisible(several)
            if id(box) in self._labels:
                self._labels[id(box)].setVisible(several)

    # -- reactions ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take in the first pattern, once everything is connected."""
        self._on_pattern(self.pattern.value)

    def _on_pattern(self, layer: Any) -> None:
        """Choose the mask that came with the pattern, its support and its last two axes."""
        self.support.reset_choices()
        if layer is not None:
            group = words_of(layer).get("group")
            mine = [mask for _, mask in self._masks()[1:] if group and words_of(mask).get("group") == group]
            self.bad_pixels.value = mine[0] if mine else None
            self.support.value = self._supports()[0][1]
            for box, axis in ((self.detector_y, layer.ndim - 2), (self.detector_x, layer.ndim - 1)):
                with box.changed.blocked():
                    box.reset_choices()
                    box.value = axis
        self._on_axes()

    def _on_y(self, axis: int | None) -> None:
        self._apart(self.detector_x, axis)

    def _on_x(self, axis: int | None) -> None:
        self._apart(self.detector_y, axis)

    def _apart(self, other: ComboBox, axis: int | None) -> None:
        """The same axis twice: the other one takes the nearest that is free, from the last on."""
        if axis is not None and other.value == axis:
            free = [one for one in range(self.pattern.value.ndim) if one != axis]
            with other.changed.blocked():
                other.value = free[-1]
        self._on_axes()

    def _on_axes(self) -> None:
        with self.which.changed.blocked():
            chosen = self.which.value
            self.which.reset_choices()
            self.which.value = chosen
        self._show_rows()
        self.changed.emit()

    def _on_change(self, _value: Any = None) -> None:
        self.changed.emit()

    # -- what is asked for ----------------------------------------------------------------------------

    @property
    def detector(self) -> tuple[int, int] | None:
        """Axes of the detector, where they are not the last two."""
        layer = self.pattern.value
        if layer is None or layer.ndim == 2 or self.detector_y.value is None or self.detector_x.value is None:
            return None
        chosen = int(self.detector_y.value), int(self.detector_x.value)
        return None if chosen == (layer.ndim - 2, layer.ndim - 1) else chosen

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the layer, the detector's last."""
        return order_of(self.pattern.value.ndim, self.detector)

    @property
    def frame_shape(self) -> tuple[int, int] | None:
        """Shape ``(y, x)`` of a pattern; None without one."""
        if self.pattern.value is None:
            return None
        shape = full_resolution(self.pattern.value).shape
        return int(shape[self.order[-2]]), int(shape[self.order[-1]])

    @property
    def n_frames(self) -> int:
        """Number of patterns in the layer."""
        if self.pattern.value is None:
            return 1
        shape = full_resolution(self.pattern.value).shape
        return int(np.prod([shape[axis] for axis in self.order[:-2]], dtype=np.int64))

    @property
    def shown(self) -> int | None:
        """Number of the pattern that the sliders show; None where there is only one."""
        layer = self.pattern.value
        if layer is None or layer.ndim == 2:
            return None
        return shown_index(layer, self.viewer.dims.point, self.order)

    @property
    def frame(self) -> int | None:
        """Number of the only pattern that is to be reconstructed; None for all."""
        return self.shown if self.which.value == SHOWN else None

    @property
    def lead(self) -> dict[str, tuple[Any, ...]]:
        """Scale, place and units of the axes that number the patterns."""
        return lead_of(self.pattern.value, self.detector)

    def measurement(self) -> Measurement:
        """What the layers show; nothing is read.

        Raises
        ------
        InputError
            When it cannot be a measurement.
        """
        layer, chosen = self.pattern.value, self.support.value
        if layer is None:
            raise InputError("no pattern", expected="an image layer", do="open a diffraction pattern or a sample")
        bad = None if self.bad_pixels.value is None else labels_of(self.bad_pixels.value)
        found = measurement_of(layer, bad_pixels=bad, detector=self.detector)
        if isinstance(chosen, str) and chosen != FILE:
            return found
        if chosen == FILE:
            support = words_of(layer)["support"]
        else:
            support = support_of(chosen, found.frame_shape, ObjectGrid.of(found))
        return measurement_of(layer, bad_pixels=bad, support=support, detector=self.detector)


def _renew(box: ComboBox) -> None:
    """Ask for the choices again and keep what was chosen, also where it has a new name."""
    chosen = box.value
    with box.changed.blocked():
        box.reset_choices()
        if any(choice == chosen for choice in box.choices):
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)

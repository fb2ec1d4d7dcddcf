# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Reconstruct widget: choose a pattern, run, get reconstruction and uncertainty."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_i2ipr.config import PRESETS, Config, Refinement
from napari_i2ipr.data import Status
from napari_i2ipr.errors import I2IPRError, InputError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.layers import (
    LINKED,
    ObjectGrid,
    is_pattern,
    measurement_of,
    next_run,
    result_layers,
    words_of,
)
from napari_i2ipr.plugin.panel import Link, RunPanel, connect, disconnect
from napari_i2ipr.plugin.regions import labels_of, support_of
from napari_i2ipr.plugin.section import SectionForm
from napari_i2ipr.plugin.settings import preferences
from napari_i2ipr.plugin.worker import ReconstructTask, Runner, sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.data import Reconstruction

_FILE = "file"


class ReconstructWidget(QWidget):
    """Runs the pipeline on a layer in the background and adds what comes out as layers.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.runner = Runner(self)
        self.panel = RunPanel(self.runner.status)
        self._source: tuple[str, Any] = ("", None)
        self._links: list[Link] = []
        self._make_fields()
        self._lay_out()
        self._connect()
        self._on_preset(self.preset.value)
        self.pattern.value = self._patterns()[-1][1]
        self._on_pattern(self.pattern.value)

    # -- what is asked for ----------------------------------------------------------------------

    def _make_fields(self) -> None:
        self.pattern = ComboBox(choices=self._patterns, label="Pattern")
        self.pattern.tooltip = "Image layer with the diffraction pattern, or a stack of patterns; it is not changed."
        self.bad_pixels = ComboBox(choices=self._masks, label="Bad pixels")
        self.bad_pixels.tooltip = (
            "Labels layer: everything painted counts as not measured. Without one the file's own mask counts; "
            "missing and saturated pixels are found in any case."
        )
        self.support = ComboBox(choices=self._supports, label=form.label("support"))
        self.support.tooltip = (
            "Where the object may be (its support): a part of the frame, or what you drew in a Labels or Shapes layer."
        )
        self.object = form.field(Config, "object")
        wanted = preferences()
        self.preset = ComboBox(choices=list(PRESETS), value=wanted.preset, label=form.label("preset"))
        self.preset.tooltip = "How much work to spend on a better result; the default suits most patterns."
        self.members = form.field(Config, "members")
        self.seed = form.field(Config, "seed")
        self.refine = SectionForm(Refinement, "How to refine")
        devices = ["auto", "cpu", "mps" if sys.platform == "darwin" else "cuda"]
        device = wanted.device if wanted.device in devices else "auto"
        self.device = ComboBox(choices=devices, value=device, label="Compute on")
        self.device.tooltip = "auto takes a graphics card (cuda) where there is one, otherwise the processor (cpu)."
        self.side_by_side = CheckBox(value=True, text="Show the result side by side")
        self.side_by_side.tooltip = (
            "When a result comes: hide what it was made from and turn on napari's grid, a row a run."
        )
        for box in (self.pattern, self.bad_pixels, self.support):
            form.shrinkable(box)

    def _lay_out(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields = (
            self.pattern,
            self.bad_pixels,
            self.support,
            self.object,
            self.preset,
            self.members,
            self.seed,
            self.device,
        )
        for widget in fields:
            name = QLabel(widget.label)
            name.setToolTip(widget.tooltip or "")
            rows.addRow(name, widget.native)
        rows.addRow(self.refine)
        rows.addRow(self.side_by_side.native)
        outer = QVBoxLayout(self)
        outer.addLayout(rows)
        outer.addWidget(self.panel)
        outer.addStretch()
        self.setMinimumWidth(280)

    # -- connections: made here, all undone in `close_down` ----------------------------------------

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self._links += [
            (layers.inserted, self.refresh),
            (layers.removed, self.refresh),
            (layers.reordered, self.refresh),
            (layers.renamed, self.refresh),
            (self.pattern.changed, self._on_pattern),
            (self.preset.changed, self._on_preset),
            (self.object.changed, self._on_refine),
            (self.refine.switch.changed, self._on_refine),
            (self.panel.run_button.clicked, self.run),
            (self.panel.cancel_button.clicked, self.cancel),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
        ]
        connect(self._links)
        self._links += self.panel.links
        self.destroyed.connect(partial(disconnect, self._links))

    def close_down(self) -> None:
        """Stop a run and let go of the viewer; called when the widget is closed or taken out of the window."""
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

    # -- choices ------------------------------------------------------------------------------------

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        fresh = self.pattern.value is None
        for box in (self.pattern, self.bad_pixels, self.support):
            _renew(box)
        if fresh:
            self.pattern.value = self._patterns()[-1][1]
        self.panel.set_ready(ready=self.pattern.value is not None)

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
            *([("as the file says", _FILE)] if known else []),
            *form.choices(Config, "support"),
            *((layer.name, layer) for layer in drawn if words_of(layer).get("kind") != "bad pixels"),
        ]

    def _on_pattern(self, layer: Any) -> None:
        """Choose the mask that came with the pattern."""
        self.support.reset_choices()
        if layer is not None:
            group = words_of(layer).get("group")
            mine = [mask for _, mask in self._masks()[1:] if group and words_of(mask).get("group") == group]
            self.bad_pixels.value = mine[0] if mine else None
            self.support.value = self._supports()[0][1]
        self.panel.set_ready(ready=self.pattern.value is not None)

    def _on_preset(self, preset: str) -> None:
        config = Config.from_preset(preset)
        self.members.value = config.members
        self.refine.show_values(config.refine)

    def _on_refine(self, _value: Any = None) -> None:
        """Only real objects are refined."""
        self.refine.set_usable(usable=self.object.value == "real")

    # -- running --------------------------------------------------------------------------------------

    def task(self) -> ReconstructTask:
        """What the form asks for.

        Raises
        ------
        I2IPRError
            When it cannot be run.
        """
        layer = self.pattern.value
        if layer is None:
            raise InputError("no pattern", expected="an image layer", do="open a diffraction pattern or a sample")
        config = self._config()
        measurement = measurement_of(
            layer, bad_pixels=None if self.bad_pixels.value is None else labels_of(self.bad_pixels.value)
        )
        support = self.support.value
        if support == _FILE:
            support = words_of(layer)["support"]
        elif isinstance(support, str):
            support = None
        else:
            support = support_of(support, measurement.frame_shape, ObjectGrid.of(measurement))
        if support is not None:
            measurement = measurement_of(layer, bad_pixels=measurement.bad_pixels, support=support)
        return ReconstructTask(layer.name, measurement, config, self.device.value)

    def _config(self) -> Config:
        changes = {name: getattr(self, name).value for name in ("object", "members", "seed")}
        changes["refine"] = self.refine.values
        changes["compute"] = {"memory_fraction": preferences().memory_fraction}
        if isinstance(self.support.value, str) and self.support.value != _FILE:
            changes["support"] = self.support.value
        return Config.from_preset(self.preset.value, **changes)

    def run(self, _checked: bool = False) -> None:
        """Start a run with what the form says."""
        if self.runner.status.running:
            return
        try:
            task = self.task()
        except I2IPRError as error:
            self.runner.status.message = sentence(error)
            self._on_failed(self.runner.status.message)
            return
        self._source = (task.name, self.pattern.value)
        self.runner.start(task)

    def cancel(self, _checked: bool = False) -> None:
        """Stop the run; what it has found so far is shown."""
        self.runner.cancel()

    def _on_result(self, result: Reconstruction) -> None:
        name, source = self._source
        self._source = ("", None)
        data = result_layers(result, name, next_run(self.viewer.layers))
        if self.side_by_side.value:
            for layer in (source, self.bad_pixels.value, self.support.value):
                if isinstance(layer, Layer):
                    layer.visible = False
        added = [Layer.create(*one) for one in data]
        for layer in added:
            self.viewer.add_layer(layer)
        self.viewer.layers.link_layers(added, LINKED)
        self._show_result(added)
        self._report(result)

    def _show_result(self, added: list[Layer]) -> None:
        if self.side_by_side.value:
            canvas = getattr(self.viewer, "canvas", None)  # napari 0.9 and later
            grid = self.viewer.grid if canvas is None else canvas.grid
            grid.stride = -1  # the layer on top of the list comes first
            grid.shape = (-1, sum(layer.visible for layer in added))
            grid.enabled = True
        try:
            self.viewer.reset_view(layers=added)
        except TypeError:  # napari before 0.7
            self.viewer.reset_view()

    def _report(self, result: Reconstruction) -> None:
        notes = [f"{note[:1].upper()}{note[1:]}." for note in map(str, result.provenance.get("notes", ()))]
        self.runner.status.message = "\n".join([self.runner.status.message + _scores_in_words(result), *notes])
        if result.status is Status.OUT_OF_DOMAIN:
            show_warning(f"{result.status.value[:1].upper()}{result.status.value[1:]}.")

    def _on_failed(self, said: str) -> None:
        self._source = ("", None)
        show_error(said)


def _scores_in_words(result: Reconstruction) -> str:
    """How well a result fits, as the end of a line."""
    score = result.scores.get("r_factor")
    if score is None:
        return ""
    kind = f" Uncertainty: {result.uncertainty_kind}."
    if "items" in result.scores:
        items = result.scores["items"]
        refined = sum(bool(item.get("refined")) for item in items)
        return f" R-factor {score:.3f} on the average of {len(items)} patterns, {refined} of them refined.{kind}"
    done = "averaged and refined" if result.scores.get("refined") else "averaged"
    return f" R-factor {score:.3f}, {sum(row.weight > 0 for row in result.candidates)} candidates {done}.{kind}"


def _renew(box: ComboBox) -> None:
    """Ask for the choices again and keep what was chosen, also where it has a new name."""
    chosen = box.value
    with box.changed.blocked():
        box.reset_choices()
        if any(choice == chosen for choice in box.choices):
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)

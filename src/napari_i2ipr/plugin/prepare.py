# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Prepare widget: from what the detector saw to layers that the Reconstruct widget takes as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout

from napari_i2ipr.errors import I2IPRError
from napari_i2ipr.plugin.docked import DockedWidget, look_at
from napari_i2ipr.plugin.layers import KEY, ObjectGrid, pattern_layers
from napari_i2ipr.plugin.panel import Link, connect, disconnect
from napari_i2ipr.plugin.prepare_centre import CentrePoint
from napari_i2ipr.plugin.prepare_form import AUTO, GIVEN, KEEP, PrepareForm, is_prepared, shape_of
from napari_i2ipr.plugin.prepare_panel import WARNING, PreparePanel, Summary
from napari_i2ipr.plugin.prepare_task import CentreTask, Found, LookTask, PrepareTask, in_this_window
from napari_i2ipr.plugin.state import RunState
from napari_i2ipr.plugin.worker import Runner, sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.plugin.layers import LayerData
    from napari_i2ipr.plugin.prepare_task import Outlook, Prepared

DEBOUNCE_MS = 400
"""A summary is begun when nothing has changed for so long."""

PATIENCE_MS = 700
"""A job that was cancelled and has not ended by then is left to end by itself, unheard."""

_RETRY_MS = 100
_EVENTS = ("data", "paint", "labels_update", "scale", "translate")


class PrepareWidget(DockedWidget):
    """Prepares a pattern layer in the background; a point in the picture is its centre.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.looker = Runner(self)
        self.timer = QTimer(self)
        self.patience = QTimer(self)
        for timer in (self.timer, self.patience):
            timer.setSingleShot(True)
        self.form, self.point = PrepareForm(viewer), CentrePoint(viewer)
        self.summary, self.panel = Summary(), PreparePanel(self.runner.status)
        self._common: tuple[float, float] | None = None
        self._source: tuple[Layer | None, ...] = ()
        self._watched: list[Link] = []
        self._lay_out()
        self._connect()
        self.form.pattern.value = self.form.likely()
        self._on_pattern()

    def _lay_out(self) -> None:
        area = QScrollArea()
        area.setWidget(self.form)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumHeight(140)
        self.form.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(6, 6, 6, 6)
        outer.addWidget(area, 1)
        outer.addWidget(self.summary)
        outer.addWidget(self.panel)
        self.setMinimumWidth(340)

    def _connect(self) -> None:
        layers, fill = self.viewer.layers.events, self.form
        self.link(
            *((event, self.refresh) for event in (layers.inserted, layers.removed, layers.reordered, layers.renamed)),
            (self.viewer.dims.events.current_step, self._on_step),
            (fill.pattern.changed, self._on_pattern),
            *((box.changed, self._on_input) for box in (fill.frames, fill.mask, fill.support)),
            (fill.way.changed, self._on_way),
            *((box.changed, self._on_typed) for box in (fill.y, fill.x)),
            *((one.changed, self._on_change) for one in fill.fields.values()),
            (self.point.moved, self._on_moved),
            (self.timer.timeout, self._look),
            (self.patience.timeout, self._let_go),
            (self.panel.find_button.clicked, self.find_centre),
            (self.panel.run_button.clicked, self.run),
            (self.panel.cancel_button.clicked, self.cancel),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
            (self.looker.delivered, self._on_outlook),
            (self.looker.failed, self._on_refused),
        )
        self._links += self.panel.links
        connect(self.panel.links)

    def close_down(self) -> None:
        """Stop what runs, take the point away and let go of the viewer."""
        self.timer.stop()
        self.patience.stop()
        self.looker.close()
        disconnect(self._watched)
        super().close_down()
        self.point.remove()

    # -- reactions ------------------------------------------------------------------------------------

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        self.form.refresh()

    def _on_pattern(self, _layer: Any = None) -> None:
        self.form.take_in()
        if self.form.pattern.value is None or is_prepared(self.form.pattern.value):
            self.point.remove()
        self._on_input()

    def _on_input(self, _value: Any = None) -> None:
        self._common = None
        self._watch()
        self._on_change()

    def _watch(self) -> None:
        """Hear of changes to the data of the layers that are taken."""
        disconnect(self._watched)
        fill = self.form
        for layer in (fill.pattern.value, fill.mask.value, fill.support.value):
            if isinstance(layer, Layer):
                found = [getattr(layer.events, name, None) for name in _EVENTS]
                self._watched += [(event, self._on_change) for event in found if event is not None]
        connect(self._watched)

    def _on_way(self, way: str) -> None:
        layer = self.form.pattern.value
        if layer is not None and way == KEEP:
            ny, nx = shape_of(layer)[-2:]
            self.form.centre = (ny // 2, nx // 2)
        if layer is not None and way != AUTO and not is_prepared(layer):
            self.point.show(layer, self.form.centre, grab=way == GIVEN)
        self._on_change()

    def _on_typed(self, _value: Any = None) -> None:
        self._given(self.form.centre)

    def _on_moved(self, y: float, x: float) -> None:
        self.form.centre = (y, x)
        self._given(self.form.centre)

    def _given(self, centre: tuple[float, float]) -> None:
        """The centre was set by hand."""
        with self.form.way.changed.blocked():
            self.form.way.value = GIVEN
        if self.form.pattern.value is not None and not is_prepared(self.form.pattern.value):
            self.point.show(self.form.pattern.value, centre)
        self._on_change()

    def _on_step(self, _event: Any = None) -> None:
        if self.form.pattern.value is not None and self.form.pattern.value.ndim > 2:
            self._on_change()

    def _on_change(self, _value: Any = None) -> None:
        """The summary is out of date."""
        self.form.show_inputs()
        self.panel.set_ready(ready=self.form.pattern.value is not None)
        self.looker.cancel()
        self.summary.set_stale()
        self.timer.start(DEBOUNCE_MS)

    # -- the summary ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Begin a summary in the background, of one pattern of a stack."""
        if self.runner.status.running or self.looker.status.running:
            self.timer.start(_RETRY_MS)
            return
        if self.form.pattern.value is None:
            self.summary.say("Open a diffraction pattern, or a sample.")
            return
        try:
            task = self.form.task()
        except I2IPRError as error:
            self.summary.refuse(in_this_window(sentence(error)))
            return
        count = self.form.count
        if count > 1:
            changes: dict[str, Any] = {"frame": self.form.shown, "sum_frames": False}
            if self._common is not None and self.form.way.value == AUTO:
                changes["center"] = "{:g},{:g}".format(*self._common)
            task = replace(task, settings=task.settings.replace(**changes))
        self.looker.start(LookTask(task, count))
        if not self.looker.status.running:  # the last look is still ending
            self.timer.start(_RETRY_MS)

    def _on_outlook(self, found: Outlook) -> None:
        if self.timer.isActive():  # something has changed meanwhile
            return
        self.summary.show_outlook(found)
        self.form.masked.setText(found.mask_words)
        self.form.masked.setStyleSheet(f"color: {WARNING};" if found.inverted else "")
        if found.report.center_source != "given":
            self.form.centre = found.report.center_px
        self.point.show(self.form.pattern.value, found.report.center_px)
        if found.moved:
            self.point.hide()

    def _on_refused(self, said: str) -> None:
        if not self.timer.isActive():
            self.summary.refuse(in_this_window(said))
            self.form.masked.setText("")

    # -- running --------------------------------------------------------------------------------------

    def run(self, _checked: bool = False) -> None:
        """Prepare what the form says."""
        self._start(lambda task: task)

    def find_centre(self, _checked: bool = False) -> None:
        """Look for the centre by symmetry; of a stack for the common one."""
        self._start(CentreTask)

    def _start(self, wrap: Any) -> None:
        if self.runner.status.running:
            return
        try:
            task: PrepareTask = self.form.task()
        except I2IPRError as error:
            self.runner.status.message = in_this_window(sentence(error))
            show_error(self.runner.status.message)
            return
        self._source = (self.form.pattern.value, self.form.mask.value, self.form.support.value)
        self.runner.start(wrap(task))

    def cancel(self, _checked: bool = False) -> None:
        """Stop; nothing is added."""
        self.runner.cancel()
        self.patience.start(PATIENCE_MS)

    def _let_go(self) -> None:
        """Wait no longer for a job that was stopped: within one large pattern it looks up only at the end."""
        status = self.runner.status
        if status.running and status.progress.stage == "stopping":
            self.runner.close()
            status.message = "Stopped; nothing was added."
            status.state = RunState.STOPPED

    def _on_result(self, made: Prepared | Found) -> None:
        source, self._source = self._source, ()
        if isinstance(made, Found):
            self._on_found(made, source[0])
        else:
            self._on_prepared(made, source)

    def _on_found(self, made: Found, pattern: Any) -> None:
        self.runner.status.message = made.said
        if self.form.pattern.value is not pattern:
            return
        with self.form.way.changed.blocked():
            self.form.way.value = AUTO
        self._common = made.centre
        self.form.centre = made.centre
        pattern.visible = True
        self.point.show(pattern, made.centre, grab=True)
        self._on_change()

    def _on_prepared(self, made: Prepared, source: tuple[Any, ...]) -> None:
        pattern = source[0]
        added = [Layer.create(*one) for one in prepared_layers(made, pattern)]
        for layer in source:
            if isinstance(layer, Layer):
                layer.visible = False
        self.point.hide()
        for layer in added:
            self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = added[0]
        look_at(self.viewer, added[:1])
        said = f"Done: layer {added[0].name!r}. The input was hidden, not changed."
        if made.measurement.lead_shape:  # the summary speaks of one of them only
            said += f" {made.report.in_words()}."
        self.runner.status.message = said

    def _on_failed(self, said: str) -> None:
        self._source = ()
        here = in_this_window(said)
        self.runner.status.message = here
        show_error(here)


def prepared_layers(made: Prepared, source: Any) -> list[LayerData]:
    """The prepared pattern, its bad pixels, and its support where it has one (hidden), as layers.

    Parameters
    ----------
    made : Prepared
        What came out.
    source : napari.layers.Image
        What went in; axes before y and x keep their scale, place and units.
    """
    name = f"{source.name}, prepared"
    layers = pattern_layers(made.measurement, name)
    group, lead = layers[0][1]["metadata"][KEY]["group"], len(made.measurement.lead_shape)
    if lead and lead == source.ndim - 2:
        for data, meta, _ in layers:
            if np.ndim(data) == lead + 2:
                for key in ("scale", "translate", "units"):
                    meta[key] = (*getattr(source, key)[:lead], *meta[key][lead:])
    if made.measurement.support is not None:
        meta = {
            "name": f"support ({name})",
            **ObjectGrid.of(made.measurement).placed((0, 0)),
            "opacity": 0.4,
            "visible": False,
            "colormap": {None: "yellow", 0: "transparent"},
            "metadata": {KEY: {"kind": "support", "group": group}},
        }
        layers.append((np.asarray(made.measurement.support).astype(np.uint8), meta, "labels"))
    return layers

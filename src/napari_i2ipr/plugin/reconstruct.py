# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Reconstruct widget: choose a pattern, run, get reconstruction and uncertainty."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_i2ipr.data import Status
from napari_i2ipr.errors import I2IPRError
from napari_i2ipr.plugin.copying import Asked
from napari_i2ipr.plugin.estimate import Estimator, Plan
from napari_i2ipr.plugin.folded import Folded, NoAccidents, add_row, form_layout
from napari_i2ipr.plugin.history import HistoryList, Run, runs_in, strong, weak
from napari_i2ipr.plugin.inputs import FILE, InputForm
from napari_i2ipr.plugin.layers import next_run, words_of
from napari_i2ipr.plugin.panel import Link, RunPanel, connect, disconnect
from napari_i2ipr.plugin.parameters import ParameterButtons, file_of, own_mask
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.results import scores_in_words, show_preview, show_result
from napari_i2ipr.plugin.settings import COMMON, WRONG, SettingsForm
from napari_i2ipr.plugin.worker import ReconstructTask, Runner, preview_of, sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Reconstruction

_FORM = ("pattern", "detector_y", "detector_x", "which", "bad_pixels", "support")


@dataclass(frozen=True, eq=False)
class _Going:
    """The run that goes on: what is needed when it ends."""

    task: ReconstructTask
    source: Layer
    lead: dict[str, tuple[Any, ...]]
    form: dict[str, Any]
    plan: Plan
    preview: bool = False


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
        self.estimator = Estimator(self)
        self.panel = RunPanel(self.runner.status)
        self.inputs, self.settings = InputForm(viewer), SettingsForm()
        self.pattern, self.bad_pixels, self.support = self.inputs.pattern, self.inputs.bad_pixels, self.inputs.support
        self.preset = self.settings.preset
        self.buttons, self.history = ParameterButtons(self), HistoryList()
        self._going: _Going | None = None
        self._links: list[Link] = []
        self._guard = NoAccidents(self)
        self._make_fields()
        self._lay_out()
        for run in runs_in(viewer.layers):
            self._remember(run)
        self._connect()
        self.inputs.start()

    def _make_fields(self) -> None:
        wanted = preferences()
        self.settings.begin_with(wanted.preset, wanted.memory_fraction)
        devices = ["auto", "cpu", "mps" if sys.platform == "darwin" else "cuda"]
        device = wanted.device if wanted.device in devices else "auto"
        self.device = ComboBox(choices=devices, value=device, label="Compute on")
        self.device.tooltip = "auto takes a graphics card (cuda) where there is one, otherwise the processor (cpu)."
        self.side_by_side = CheckBox(value=True, text="Show the result side by side")
        self.side_by_side.tooltip = (
            "When a result comes: hide what it was made from and turn on napari's grid, a row a run."
        )

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 4, 0)
        inside.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)  # scrolled rather than squeezed
        rows = form_layout()
        self.inputs.add_to(rows)
        self.settings.add_to(rows, "object")
        add_row(rows, self.preset.label, self.preset.tooltip or "", self.preset.native)
        for path in COMMON[1:-1]:
            self.settings.add_to(rows, path)
        add_row(rows, self.device.label, self.device.tooltip or "", self.device.native)
        self.settings.add_to(rows, COMMON[-1])
        rows.addRow(self.side_by_side.native)
        column.addLayout(rows)
        column.addWidget(self.settings.advanced)
        column.addWidget(self.buttons)
        self.past = Folded("History", "The runs of this session, and those whose layers are open.")
        self.past.addWidget(self.history)
        self.past.hide()
        column.addWidget(self.past)
        column.addStretch()
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumHeight(160)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(6, 6, 6, 6)
        outer.addWidget(area, 1)
        outer.addWidget(self.panel)
        self.setMinimumWidth(330)
        self._guard.guard(inside)

    # -- connections: made here, all undone in `close_down` ----------------------------------------

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self._links += [
            (layers.inserted, self.refresh),
            (layers.removed, self.refresh),
            (layers.reordered, self.refresh),
            (layers.renamed, self.refresh),
            (self.inputs.changed, self._on_inputs),
            (self.settings.changed, self._on_settings),
            (self.device.changed, self._on_settings),
            (self.panel.run_button.clicked, self.run),
            (self.panel.preview_button.clicked, self.preview),
            (self.panel.cancel_button.clicked, self.cancel),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
            (self.estimator.estimated, self._on_estimate),
            (self.history.wanted, self.restore),
            *self.inputs.links,
            *self.buttons.links,
            *self.history.links,
        ]
        connect(self._links)
        self._links += self.panel.links
        self.destroyed.connect(partial(disconnect, self._links))

    def close_down(self) -> None:
        """Stop a run and let go of the viewer; called when the widget is closed or taken out of the window."""
        self.runner.close()
        self.estimator.close()
        self.settings.close_down()
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

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        self.inputs.refresh()

    def _on_inputs(self) -> None:
        chosen = self.support.value
        if isinstance(chosen, str) and chosen not in (FILE, self.settings.support):
            self.settings.support = chosen
        self._on_settings()

    def _on_settings(self, _value: Any = None) -> None:
        """Say whether there is something to run, and what it will take."""
        config = self.settings.check()
        plan = None if config is None else self._plan(config)
        self.panel.set_ready(ready=plan is not None)
        if plan is None:
            self.panel.estimate.setText(WRONG if config is None else "Open a diffraction pattern, or a sample.")
        self.estimator.ask(plan)

    def _plan(self, config: Config, *, one: bool = False) -> Plan | None:
        shape = self.inputs.frame_shape
        if shape is None:
            return None
        n_frames = 1 if one or self.inputs.frame is not None else self.inputs.n_frames
        return Plan(shape, n_frames, config, self.device.value)

    def _on_estimate(self, found: Any) -> None:
        if found is not None:
            self.panel.estimate.setText(str(found))

    # -- running --------------------------------------------------------------------------------------

    def task(self, *, preview: bool = False) -> ReconstructTask:
        """What the form asks for.

        Parameters
        ----------
        preview : bool
            A quick look at the pattern that is shown.

        Raises
        ------
        I2IPRError
            When it cannot be run.
        """
        measurement, config = self.inputs.measurement(), self.settings.config()
        frame = self.inputs.shown if preview else self.inputs.frame
        name = self.pattern.value.name
        if frame is not None:
            name += f", {frame}" if measurement.intensity.ndim > 3 else f", {measurement.axes[0]} {frame}"
        return ReconstructTask(name, measurement, preview_of(config) if preview else config, self.device.value, frame)

    def run(self, _checked: bool = False) -> None:
        """Start a run with what the form says."""
        self._start(preview=False)

    def preview(self, _checked: bool = False) -> None:
        """Take a quick look at the pattern that is shown."""
        self._start(preview=True)

    def _start(self, *, preview: bool) -> None:
        if self.runner.status.running:
            return
        try:
            task = self.task(preview=preview)
        except I2IPRError as error:
            self.runner.status.message = sentence(error)
            self._on_failed(self.runner.status.message)
            return
        lead = {} if task.frame is not None else self.inputs.lead
        chosen = {name: weak(getattr(self.inputs, name).value) for name in _FORM}
        plan = self._plan(task.config, one=preview)
        self._going = _Going(task, self.pattern.value, lead, chosen, plan, preview)
        self.runner.start(task)

    def cancel(self, _checked: bool = False) -> None:
        """Stop the run; what it has found so far is shown."""
        self.runner.cancel()

    def _on_result(self, result: Reconstruction) -> None:
        going, self._going = self._going, None
        if going is None:
            return
        if result.status is not Status.CANCELLED:
            self.estimator.speeds.learn(going.plan, result)
        if going.preview:
            show_preview(self.viewer, result, going.task.name)
            self._report(result)
            return
        number = max(next_run(self.viewer.layers), self.history.last + 1)
        hidden = [going.source, *(strong(going.form[name]) for name in ("bad_pixels", "support"))]
        hide = [layer for layer in hidden if isinstance(layer, Layer)] if self.side_by_side.value else None
        show_result(self.viewer, result, going.task.name, number, lead=going.lead, hide=hide)
        seconds, device = self.runner.seconds, going.task.device
        self._remember(Run.of(number, going.task.name, result, device=device, seconds=seconds, form=going.form))
        self._report(result)
        self._on_settings()  # the speed is known better now

    def _report(self, result: Reconstruction) -> None:
        notes = [f"{note[:1].upper()}{note[1:]}." for note in map(str, result.provenance.get("notes", ()))]
        self.runner.status.message = "\n".join([self.runner.status.message + scores_in_words(result), *notes])
        if result.status is Status.OUT_OF_DOMAIN:
            show_warning(f"{result.status.value[:1].upper()}{result.status.value[1:]}.")

    def _on_failed(self, said: str) -> None:
        self._going = None
        show_error(said)

    # -- history --------------------------------------------------------------------------------------

    def _remember(self, run: Run) -> None:
        self.history.add(run)
        self.past.entitle(f"History ({len(self.history.runs)})")
        if self.past.isHidden():
            self.past.show()
            self.past.expand(animate=False)

    def restore(self, number: int) -> None:
        """Bring the parameters of a run back into the form, and select its layers."""
        run = self.history.runs[number]
        for name, kept in run.form.items():
            box, value = getattr(self.inputs, name), strong(kept)
            if any(choice is value or choice == value for choice in box.choices):
                box.value = value
        self.device.value = run.device
        self.fill(run.config)
        found = [layer for layer in self.viewer.layers if words_of(layer).get("run") == number]
        self.viewer.layers.selection = set(found)
        gone = "" if found else " Its layers are no longer open."
        self.runner.status.message = f"The parameters of run {number} are back.{gone}"

    def fill(self, config: Config) -> None:
        """Show a configuration in all fields."""
        if isinstance(self.support.value, str) and self.support.value != FILE:
            self.support.value = config.support
        self.settings.show(config)

    # -- parameters as text ---------------------------------------------------------------------------

    def asked(self) -> Asked:
        """What the form asks for, for a text.

        Raises
        ------
        I2IPRError
            When it cannot be run.
        """
        self.inputs.measurement()
        config, layer, region = self.settings.config(), self.pattern.value, self.support.value
        return Asked(
            layer.name,
            config,
            self.device.value,
            file_of(layer),
            self.inputs.frame,
            self.inputs.detector,
            None if own_mask(self.inputs) else self.bad_pixels.value.name,
            region.name if isinstance(region, Layer) else None,
            drops_support=isinstance(region, str) and region != FILE and words_of(layer).get("support") is not None,
            settings_file=self.buttons.file_with(config),
        )

    def say(self, words: str, *, wrong: bool = False) -> None:
        """Say something in the panel; while a run goes on, in a notification."""
        if wrong:
            show_error(words)
        elif self.runner.status.running:
            show_info(words)
        if not self.runner.status.running:
            self.runner.status.message = words

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Inspect widget: how far to trust a result, and the same result averaged from other candidates."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QLabel, QTabWidget, QVBoxLayout, QWidget

from napari_i2ipr.errors import I2IPRError
from napari_i2ipr.evaluate.quality import assess, single
from napari_i2ipr.plugin import inspect_words as words
from napari_i2ipr.plugin.curves import as_csv
from napari_i2ipr.plugin.docked import DockedWidget
from napari_i2ipr.plugin.inspect_layer import MouseMoves, Spotlight
from napari_i2ipr.plugin.inspect_pages import CandidatesPage, CurvesPage, VerdictPage, label
from napari_i2ipr.plugin.inspect_runs import Run, patterns_of, runs_of
from napari_i2ipr.plugin.inspect_task import AverageTask
from napari_i2ipr.plugin.layers import LINKED, next_run, result_layers
from napari_i2ipr.plugin.panel import STAGES
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.worker import sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.data import Reconstruction
    from napari_i2ipr.evaluate.quality import Quality

CURSOR_S = 0.05
"""Least time between two readings at the cursor."""

_LEAST = 2


class InspectWidget(DockedWidget):
    """Shows what is known of a result, and averages it again from the candidates that are kept.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.runs: list[Run] = []
        self.quality: Quality | None = None
        self._one: Reconstruction | None = None
        self._item = 0
        self._keep: dict[int, dict[int, list[int]]] = {}
        self._source: Run | None = None
        self.spotlight = Spotlight(viewer)
        self._point: tuple[float, ...] = ()
        self._next_reading = 0.0
        self._reading = QTimer(self)
        self._reading.setSingleShot(True)
        self._lay_out()
        for child in self.findChildren(QWidget):
            child.setToolTip(words.wrapped(child.toolTip()))
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.choice = QComboBox()
        self.choice.setToolTip("Which result to look at: those of runs, and those that were opened from files.")
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(14)
        self.frame = QLabel()
        self.frame.setToolTip("A stack: the numbers are those of the pattern that the viewer's sliders show.")
        self.verdict = label("The worst that is known of the image decides; the page Verdict says it all.")
        self.state = label("How the run ended, and of what kind its uncertainty is.")
        self.verdict_page, self.candidates_page, self.curves_page = VerdictPage(), CandidatesPage(), CurvesPage()
        self.pages = QTabWidget()
        for page, name, tip in (
            (self.verdict_page, "Verdict", "Scores, what speaks for the image and what to distrust."),
            (self.candidates_page, "Candidates", "The candidates behind the average: look at them, choose, average."),
            (self.curves_page, "Curves", "What the result is worth at each spatial frequency."),
        ):
            self.pages.setTabToolTip(self.pages.addTab(page, name), tip)
        self.cursor = label(
            "The pixel under the mouse: value, one standard deviation, and the interval that holds the truth in 90 % "
            "of the pixels of images like those the refinement was calibrated on."
        )
        self.cursor.setMinimumHeight(3 * self.fontMetrics().height())
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        name = QLabel("Result")
        name.setToolTip(self.choice.toolTip())
        rows.addRow(name, self.choice)
        column = QVBoxLayout(self)
        column.addLayout(rows)
        for widget in (self.frame, self.verdict, self.state):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        column.addWidget(self.cursor)
        self.setMinimumWidth(300)

    def _connect(self) -> None:
        layers, page = self.viewer.layers.events, self.candidates_page
        self.link(
            *((event, self.refresh) for event in (layers.inserted, layers.removed, layers.reordered, layers.renamed)),
            (self.viewer.dims.events.current_step, self._on_step),
            (MouseMoves(self.viewer), self._on_mouse),
            (self._reading.timeout, self.read_cursor),
            (self.choice.currentIndexChanged, self._on_choice),
            (page.table.kept_changed, self._on_kept),
            (page.table.chosen, self._on_chosen),
            (page.show_box.toggled, self._on_show),
            (page.reset_button.clicked, self._on_reset),
            (page.again_button.clicked, self.average_again),
            (page.cancel_button.clicked, self.cancel),
            (self.curves_page.which.currentIndexChanged, self.curves_page.redraw),
            (self.curves_page.save_button.clicked, self._on_save),
            (self.runner.status.events.state, self._on_state),
            (self.runner.status.events.progress, self._on_progress),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
            *page.table.links,
        )

    # -- which result ---------------------------------------------------------------------------------

    @property
    def run(self) -> Run | None:
        """The result that is looked at."""
        index = self.choice.currentIndex()
        return self.runs[index] if 0 <= index < len(self.runs) else None

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        before = self.run
        known = {id(run.result) for run in self.runs}
        self.runs = runs_of(self.viewer.layers)
        here = [id(run.result) for run in self.runs]
        self._keep = {key: kept for key, kept in self._keep.items() if key in here}
        fresh = [i for i, key in enumerate(here) if key not in known]
        if fresh:
            index = fresh[-1]
        elif before is not None and id(before.result) in here:
            index = here.index(id(before.result))
        else:
            index = len(here) - 1
        blocked = self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([run.name for run in self.runs] or ["none is open"])
        self.choice.setCurrentIndex(max(index, 0))
        self.choice.setEnabled(bool(self.runs))
        self.choice.blockSignals(blocked)
        same = before is not None and self.run is not None and before.result is self.run.result
        if not same or self._one is None:
            self.show_result()
        else:
            self._on_step()  # the layer that says which pattern is shown may be new
            self.read_cursor()

    def _on_choice(self, _index: int) -> None:
        self._forget_message()
        self.show_result()

    def _forget_message(self) -> None:
        """Drop what was said of the last job once its user goes on."""
        if not self.runner.status.running:
            self.runner.status.message = ""

    def _on_step(self, _event: Any = None) -> None:
        run = self.run
        if run is not None and run.n_frames > 1 and run.item_at(self.viewer.dims.point) != self._item:
            self.show_result()

    def show_result(self) -> None:
        """Show all that is known of the chosen result, of a stack the pattern that the sliders show."""
        run = self.run
        self.spotlight.remove()
        self.quality, self._one, said = None, None, words.NONE
        self._item = 0 if run is None else run.item_at(self.viewer.dims.point)
        if run is not None:
            try:
                self._one = single(run.result, self._item)
                self.quality = assess(self._one)
            except I2IPRError as error:
                self._one, said = None, sentence(error)
        several = run is not None and run.n_frames > 1
        self.frame.setVisible(several)
        self.frame.setText(f"Pattern {self._item + 1} of {run.n_frames}" if run is not None and several else "")
        self.verdict.setText(said if self.quality is None else words.verdict_html(self.quality.verdict))
        self.state.setVisible(self._one is not None)
        self.state.setText("" if self._one is None else words.status_line(self._one))
        notes = [] if self._one is None else [str(note) for note in self._one.provenance.get("notes", ())]
        self.verdict_page.show_quality(self.quality, notes)
        self.curves_page.show_curves({} if self.quality is None else self.quality.curves)
        self._show_table()
        self.read_cursor()

    # -- candidates -------------------------------------------------------------------------------------

    @property
    def _has_images(self) -> bool:
        return self._one is not None and self._one.candidate_images is not None

    @property
    def _averaged(self) -> list[int]:
        """Numbers of the candidates that the shown average is made of."""
        return [] if self._one is None else [k for k, row in enumerate(self._one.candidates) if row.weight > 0]

    def _show_table(self) -> None:
        page, run = self.candidates_page, self.run
        rows = [] if self._one is None else self._one.candidates
        kept = self._averaged
        if run is not None:
            kept = self._keep.get(id(run.result), {}).get(self._item, kept)
        page.table.clearSelection()
        page.table.show_candidates(rows, kept, can_choose=self._has_images)
        page.show_box.setEnabled(self._has_images)
        self._on_state()

    def _on_kept(self) -> None:
        run = self.run
        if run is not None:
            self._keep.setdefault(id(run.result), {})[self._item] = self.candidates_page.table.kept
        self._forget_message()
        self._on_state()

    def _on_reset(self, _checked: bool = False) -> None:
        self.candidates_page.table.tick(self._averaged)

    def changed(self) -> dict[int, list[int]]:
        """Kept candidates by number of the pattern, for those where they are not the ones that were averaged."""
        run = self.run
        if run is None:
            return {}
        found = {}
        for item, kept in self._keep.get(id(run.result), {}).items():
            rows = single(run.result, item).candidates
            if kept != [k for k, row in enumerate(rows) if row.weight > 0]:
                found[item] = kept
        return found

    def _on_state(self, _state: Any = None) -> None:
        """Enable what can be done, and say what keeps from it."""
        page, running = self.candidates_page, self.runner.status.running
        changed = self.changed()
        few = [item for item, kept in changed.items() if len(kept) < _LEAST]
        page.again_button.setEnabled(self._has_images and bool(changed) and not few and not running)
        page.reset_button.setEnabled(self._has_images and self._item in changed and not running)
        page.cancel_button.setVisible(running)
        if running:
            return
        self._source = None
        if self._one is None:
            said = ""
        elif not self._has_images:
            said = words.NO_IMAGES
        elif few:
            where = f" of pattern {few[0] + 1}" if few != [self._item] else ""
            said = f"Keep at least {_LEAST} candidates{where}: one alone has no spread."
        elif self.runner.status.message:
            said = self.runner.status.message
        elif changed:
            several = f" of {len(changed)} patterns" if len(changed) > 1 else ""
            kept = sum(len(one) for one in changed.values())
            said = f"Average again takes the {kept} ticked candidates{several}."
        else:
            said = "Clear or tick boxes to average other candidates."
        page.hint.setText(said)

    def _on_chosen(self, number: int | None) -> None:
        """Show one candidate as a layer."""
        run, one = self.run, self._one
        if number is None or run is None or one is None or not self._can_show:
            self.spotlight.remove()
        elif one.candidate_images is not None:
            self.spotlight.show(run, number, one.candidate_images[number])

    @property
    def _can_show(self) -> bool:
        return self._has_images and bool(self.candidates_page.show_box.isChecked())

    def _on_show(self, _shown: bool) -> None:
        self._on_chosen(self.candidates_page.table.selected)

    # -- averaging again ----------------------------------------------------------------------------------

    def average_again(self, _checked: bool = False) -> None:
        """Start a job that averages what is ticked."""
        run, changed = self.run, self.changed()
        if run is None or not changed or self.runner.status.running:
            return
        self._source = run
        patterns = tuple(patterns_of(self.viewer.layers, run))
        self.runner.start(AverageTask(run.name, run.result, changed, patterns, preferences().device))

    def cancel(self, _checked: bool = False) -> None:
        """Stop the job."""
        self.runner.cancel()

    def _on_progress(self, progress: Any) -> None:
        if self.runner.status.running:
            stage = STAGES.get(progress.stage, progress.stage)
            done = f", {progress.fraction:.0%}" if progress.fraction else ""
            self.candidates_page.hint.setText(f"Averaging: {stage}{done}.")

    def _on_result(self, result: Reconstruction) -> None:
        source, self._source = self._source, None
        if source is None:
            return
        self.spotlight.remove()
        number = next_run(self.viewer.layers)
        added = [Layer.create(*one) for one in result_layers(result, source.source, number)]
        for layer in source.layers:
            layer.visible = False
        notes = [str(note) for note in result.provenance.get("notes", ())]
        new = [words.sentence_of(note) for note in notes if note not in source.result.provenance.get("notes", ())]
        self.runner.status.message = " ".join([f"Done: the layers of run #{number}.", *new])
        for layer in added:
            self.viewer.add_layer(layer)
        for ndim in {layer.ndim for layer in added}:
            self.viewer.layers.link_layers([layer for layer in added if layer.ndim == ndim], LINKED)

    def _on_failed(self, said: str) -> None:
        self._source = None
        show_error(said)

    # -- cursor and files -----------------------------------------------------------------------------------

    def _on_mouse(self, _viewer: Any, event: Any) -> None:
        """Read the pixel under the mouse now, or as soon as the last reading is old enough."""
        self._point = tuple(event.position)
        wait = self._next_reading - time.monotonic()
        if wait <= 0:
            self.read_cursor()
        elif not self._reading.isActive():
            self._reading.start(max(int(1000 * wait), 1))

    def read_cursor(self) -> None:
        """Say what lies under the mouse."""
        self._next_reading = time.monotonic() + CURSOR_S
        run = self.run
        if run is None:
            self.cursor.setText("")
            return
        self.cursor.setText(words.at_cursor(run, self._item, run.pixel_at(self._point)))

    def _on_save(self, _checked: bool = False) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the curves", "curves.csv", "Comma-separated values (*.csv)")
        if path:
            self.save_curves(path)

    def save_curves(self, path: str) -> None:
        """Save the curves of the shown pattern as a table."""
        target = Path(path).with_suffix(".csv") if not Path(path).suffix else Path(path)
        try:
            target.write_text(as_csv(self.curves_page.curves), encoding="utf-8")
        except OSError as error:
            show_error(f"{target} could not be written ({error.strerror or error}): choose another folder.")

    def close_down(self) -> None:
        """Stop a job, take the candidate's layer away and let go of the viewer."""
        self._reading.stop()
        super().close_down()
        self.spotlight.remove()
        self.runs, self._one, self.quality = [], None, None

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Batch widget: a queue of files or volumes, reconstructed one after another into stores on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_i2ipr.data import Status
from napari_i2ipr.errors import I2IPRError, InputError
from napari_i2ipr.plugin.batch_copying import AskedBatch, as_command, as_python
from napari_i2ipr.plugin.batch_form import BatchForm
from napari_i2ipr.plugin.batch_list import BatchList
from napari_i2ipr.plugin.batch_panel import BatchPanel
from napari_i2ipr.plugin.batch_queue import Board, Item, ItemState, ItemStatus, LayerSource, numbered, stem_of
from napari_i2ipr.plugin.batch_shown import Shown
from napari_i2ipr.plugin.batch_task import Ask, BatchTask, Ended, LookTask, Planned, PlanTask, Work
from napari_i2ipr.plugin.batch_words import Overall, done_before, here, overall, plan_words
from napari_i2ipr.plugin.docked import DockedWidget
from napari_i2ipr.plugin.errands import Errands
from napari_i2ipr.plugin.folded import NoAccidents, add_row, form_layout
from napari_i2ipr.plugin.panel import connect
from napari_i2ipr.plugin.parameters import ParameterButtons
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.settings import WRONG, SettingsForm
from napari_i2ipr.plugin.state import duration
from napari_i2ipr.plugin.worker import sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.batch import Estimate
    from napari_i2ipr.config import Config

COMMON = ("object", "seed", "refine.enabled")
"""Settings that are seen at once."""

_POLL_MS = 100
_CHANGED = "Something was changed since: press Plan again."


class BatchWidget(DockedWidget):
    """Reconstructs a queue in the background, writes stores, and opens them as layers that are read from disk.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the results are shown.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.errands, self.timer = Errands(self), QTimer(self)
        self.timer.setInterval(_POLL_MS)
        self.form, self.settings = BatchForm(viewer), SettingsForm(COMMON)
        self.list, self.panel = BatchList(viewer, self.errands), BatchPanel(self.runner.status)
        self.buttons = ParameterButtons(self, as_command, as_python)
        self.shown = Shown(viewer, self.errands)
        self._board: Board | None = None
        self._planned: list[int | None] = []
        self._guard = NoAccidents(self)
        wanted = preferences()
        self.settings.begin_with(wanted.preset, wanted.memory_fraction)
        self._lay_out()
        self._connect()
        self._on_change()

    # -- layout and connections -------------------------------------------------------------------------

    def _lay_out(self) -> None:
        inside = QWidget()
        inside.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)  # scrolled rather than squeezed
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 4, 0)
        column.addWidget(self.list)
        rows = form_layout()
        self.form.add_folder_to(rows)
        add_row(rows, self.settings.preset.label, self.settings.preset.tooltip or "", self.settings.preset.native)
        for path in COMMON:
            self.settings.add_to(rows, path)
        self.form.add_work_to(rows)
        column.addLayout(rows)
        self.form.fill_data()
        for section in (self.form.data, self.settings.advanced, self.buttons):
            column.addWidget(section)
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
        self.setMinimumWidth(360)
        self._guard.guard(inside)

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self.link(
            *((event, self.refresh) for event in (layers.inserted, layers.removed, layers.reordered, layers.renamed)),
            (self.list.changed, self._on_items),
            (self.list.wanted, self.open_result),
            (self.list.refused, self._on_refused),
            (self.form.changed, self._on_change),
            (self.form.folder.changed, self._on_folder),
            (self.settings.changed, self._on_change),
            (self.panel.plan_button.clicked, self.plan),
            (self.panel.run_button.clicked, self.run),
            (self.panel.cancel_button.clicked, self.cancel),
            (self.timer.timeout, self._poll),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
            (self.runner.status.events.state, self._on_state),
            (self.shown.failed, self._on_refused),
            *self.list.links,
            *self.form.links,
            *self.buttons.links,
        )
        self._links += self.panel.links
        connect(self.panel.links)

    def close_down(self) -> None:
        """Stop what runs and let go of the viewer."""
        self.timer.stop()
        self.errands.close()
        self.settings.close_down()
        super().close_down()

    # -- reactions ------------------------------------------------------------------------------------

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        self.form.refresh()
        self.list.refresh()

    def add(self, paths: list[str]) -> None:
        """Add files, stores and folders to the queue."""
        self.list.add(paths)

    def _on_folder(self, folder: Path | None) -> None:
        self.list.queue.folder = "" if folder is None else str(folder)
        self.list.show_items()
        self._look()

    def _on_items(self) -> None:
        self._look()
        self._on_change()

    def _on_change(self, _value: Any = None) -> None:
        """Say whether there is something to run; a plan is out of date."""
        self.settings.support = self.form.config_support
        config = self.settings.check()
        self.panel.set_ready(ready=config is not None and bool(self.list.queue.items))
        self._planned = []
        if config is None:
            self.panel.say_plan([WRONG], stale=False)
        elif self.panel.plan.text() in ("", WRONG) or not self.list.queue.items:
            self.panel.say_plan([], stale=False)
        elif self.panel.plan.isEnabled():
            self.panel.say_plan([*self.panel.plan.text().splitlines(), _CHANGED], stale=True)

    def _look(self) -> None:
        """Say of how many items an earlier run has done a part."""
        fresh: dict[int, Path] = {}
        for number, (item, target) in enumerate(zip(self.list.queue.items, self.list.targets, strict=True)):
            if target is not None and item.looked_for != target:
                item.looked_for, fresh[number] = target, target
        if fresh:
            items = [self.list.queue.items[number] for number in fresh]
            self.errands.do(LookTask(fresh), partial(self._on_look, items), _nothing)

    def _on_look(self, items: list[Item], found: dict[int, ItemStatus]) -> None:
        """What was found of these, if they are still there, and have not been run meanwhile."""
        places = {id(item): number for number, item in enumerate(self.list.queue.items)}
        if not self.runner.status.running:
            pairs = zip(items, found.values(), strict=True)
            self.list.show_statuses({places[id(item)]: one for item, one in pairs if id(item) in places})

    # -- what is asked for ----------------------------------------------------------------------------

    def ask(self) -> Ask:
        """How every item is to be reconstructed.

        Raises
        ------
        I2IPRError
            When the form cannot be used.
        """
        return Ask(self.settings.config(), self.form.options(), self.form.strict.value)

    def works(self) -> tuple[Work, ...]:
        """Source and target of every item, or the problem with it."""
        found = []
        for item, target in zip(self.list.queue.items, self.list.targets, strict=True):
            try:
                source = item.source.measurement() if isinstance(item.source, LayerSource) else item.source
                if target is None:
                    what = f"the layer {item.name!r}, which is in no file"
                    raise InputError(what, expected="a folder for its result", do="choose one in 'Results in'")
            except I2IPRError as error:
                found.append(Work(None, target, sentence(error)))
            else:
                found.append(Work(source, target))
        return tuple(found)

    def asked(self) -> AskedBatch:
        """What the form asks for, for a text.

        Raises
        ------
        I2IPRError
            When it cannot be run.
        """
        ask, todo, works = self.ask(), [], []
        if not self.list.queue.items:
            raise InputError("an empty list", expected="at least one source", do="add files, a folder or a layer")
        names: set[str] = set()
        for item, place in zip(self.list.queue.items, self.list.targets, strict=True):
            source, target = item.source, place
            if isinstance(source, LayerSource):
                stem = next(one for one in numbered(stem_of(source)) if one not in names)
                names.add(stem)
                todo.append(f"save the layer {source.name!r} as {stem}.zarr (File > Save Selected Layers)")
                source, target = f"{stem}.zarr", place or Path(f"{stem}_reconstruction.zarr")
            works.append((source, str(target)))
        options = dict(ask.options)
        for name, box in (("mask", self.form.mask), ("support", self.form.support)):
            if isinstance(box.value, Labels):
                options[name] = f"{name}.tif"
                todo.append(f"save the layer {box.value.name!r} as {name}.tif")
        file = self.buttons.file_with(ask.config)
        return AskedBatch(tuple(works), ask.config, options, ask.strict, tuple(todo), file)

    def fill(self, config: Config) -> None:
        """Show a configuration in all fields."""
        self.form.show_support(config.support)
        self.settings.show(config)

    def say(self, words: str, *, wrong: bool = False) -> None:
        """Say something in the panel; while a run goes on, in a notification."""
        if wrong:
            show_error(words)
        elif self.runner.status.running:
            show_info(words)
        if not self.runner.status.running:
            self.runner.status.message = words

    # -- plan and run -----------------------------------------------------------------------------------

    def plan(self, _checked: bool = False) -> None:
        """Say what the queue will take."""
        self._start(PlanTask)

    def run(self, _checked: bool = False) -> None:
        """Reconstruct everything in the queue."""
        self._start(self._batch)

    def _batch(self, works: tuple[Work, ...], ask: Ask) -> BatchTask:
        """The run, with a fresh board; what earlier runs have done stays in sight."""
        known = [ItemStatus(done=item.status.done, total=item.status.total) for item in self.list.queue.items]
        self._board = Board(known)
        self.list.show_statuses(dict(enumerate(known)))
        self.shown.begin()
        self.panel.say_plan([], stale=False)
        return BatchTask(works, ask, self._board)

    def _start(self, make: Any) -> None:
        if self.runner.status.running or not self.list.queue.items:
            return
        try:
            ask = self.ask()
        except I2IPRError as error:
            self._on_refused(here(sentence(error)))
            return
        self.runner.start(make(self.works(), ask))

    def cancel(self, _checked: bool = False) -> None:
        """Stop; what is done is kept."""
        self.runner.cancel()
        writing = ": what is computed is still written" if self._board is not None else ""
        self.panel.progress.setText(f"stopping{writing}")

    def _on_state(self, _state: Any = None) -> None:
        running = self.runner.status.running
        self.list.lock(locked=running)
        self.form.folder.enabled = not running
        if running:
            self.panel.show_overall(Overall(0.0, "getting ready"))
            self.timer.start()
        else:
            self._poll()
            self.timer.stop()
            self._board = None

    def _poll(self) -> None:
        """Show what the run has written on its board."""
        status, board = self.runner.status, self._board
        stopping = status.progress.stage == "stopping"
        if board is None:
            progress = status.progress
            if status.running and progress.frames > 1 and not stopping:
                words = f"planning: source {progress.frame + 1} of {progress.frames}"
                self.panel.show_overall(Overall(progress.fraction, words))
            return
        items, targets, changed = self.list.queue.items, self.list.targets, board.take()
        before = {number: items[number].status.state for number in changed}
        self.list.show_statuses(changed)
        for number, one in changed.items():
            if one.state is ItemState.DONE and before[number] is not ItemState.DONE and self.list.opens.value:
                self.shown.open(items[number], targets[number], by_itself=True)
        statuses = [item.status for item in items]
        planned = self._planned or [None] * len(statuses)
        if status.running and not stopping:
            self.panel.show_overall(overall(statuses, planned))
        self.list.tick()
        self.shown.freshen((targets[number] for number in changed), at_once=not status.running)

    def _on_result(self, found: Planned | Ended) -> None:
        if isinstance(found, Planned):
            self._on_planned(found)
            return
        self._poll()
        took, statuses = duration(self.runner.seconds), [item.status for item in self.list.queue.items]
        counts = {state: sum(one.state is state for one in statuses) for state in ItemState}
        order = (ItemState.DONE, ItemState.FAILED, ItemState.STOPPED, ItemState.WAITING)
        said = ", ".join(f"{counts[state]} {state.value}" for state in order if counts[state])
        what = "Stopped" if found.status is Status.CANCELLED else "Ended at the first problem"
        unfinished = counts[ItemState.WAITING] + counts[ItemState.STOPPED]
        words = f"{what} after {took}: {said}. Run goes on from there." if unfinished else f"Done in {took}: {said}."
        self.runner.status.message = words
        if counts[ItemState.FAILED]:
            show_error(next(one.message for one in statuses if one.state is ItemState.FAILED))

    def _on_planned(self, found: Planned) -> None:
        statuses = {n: _planned_status(one) for n, one in enumerate(found.found) if one is not None}
        self.list.show_statuses(statuses)
        self.panel.say_plan(plan_words(found.found), stale=False)
        self._planned = [None if one is None else statuses[n].total for n, one in enumerate(found.found)]
        stopped = found.status is Status.CANCELLED
        self.runner.status.message = "The plan was stopped." if stopped else ""

    def _on_failed(self, said: str) -> None:
        self.runner.status.message = here(said)
        show_error(here(said))

    def _on_refused(self, said: str) -> None:
        self.say(said, wrong=True)

    # -- results --------------------------------------------------------------------------------------

    def open_result(self, row: int) -> None:
        """Open the result of an item, as far as it is finished."""
        self.shown.open(self.list.queue.items[row], self.list.targets[row], by_itself=False)


def _planned_status(one: Estimate | str) -> ItemStatus:
    """What a plan says of an item."""
    if isinstance(one, str):
        return ItemStatus(ItemState.FAILED, message=one)
    return ItemStatus(done=one.done, total=one.frames, message=done_before(one.done, one.frames))


def _nothing(_error: Exception) -> None:
    """An earlier result that cannot be looked at: the run says why."""

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The queue with the buttons that fill it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_i2ipr.errors import I2IPRError
from napari_i2ipr.plugin.batch_find import FindTask, FoundSources
from napari_i2ipr.plugin.batch_queue import Item, ItemState, ItemStatus, LayerSource, Queue, source_of
from napari_i2ipr.plugin.batch_table import QueueTable
from napari_i2ipr.plugin.chooser import DatasetChooser
from napari_i2ipr.plugin.layers import is_pattern
from napari_i2ipr.plugin.opening import filters
from napari_i2ipr.plugin.worker import sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.plugin.errands import Errands
    from napari_i2ipr.plugin.panel import Link

_TOOLTIPS = {
    "Add files…": "Patterns in files: CXI, HDF5, NeXus, TIFF, NPY, EDF, MRC ... Each gets a result of its own.",
    "Add folder…": "A zarr store (a volume of patterns), or a folder with files of patterns.",
    "Add layer": "The selected image layers: the files that they show, or what is in memory.",
    "Open result": "Show the results of the selected rows, as far as they are finished (or double-click a row).",
    "Remove": "Take the selected rows off the list; no file is touched.",
    "Clear": "Empty the list; no file is touched.",
}
"""Buttons and what they do."""


class BatchList(QWidget):
    """The queue as a table, with buttons; connections are in `links`, for the owner to undo.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers can be added.
    errands : Errands
        Looks at what is added, in another thread.
    """

    changed = Signal()
    """Items were added, removed or renamed."""

    wanted = Signal(int)
    """Number of an item whose result is to be opened."""

    refused = Signal(str)
    """A sentence: something that could not be added."""

    def __init__(self, viewer: napari.viewer.Viewer, errands: Errands) -> None:
        super().__init__()
        self.viewer, self.errands = viewer, errands
        self.queue, self.table = Queue(), QueueTable()
        self.targets: list[Path | None] = []
        self._later: list[Any] = []
        self.stack = CheckBox(text="A folder is one stack of patterns", value=False)
        self.stack.tooltip = (
            "Files of one kind in a folder: taken together as a stack, in the order of their numbers, with one\n"
            "result. Otherwise each file has a result of its own. Counts when a folder is added."
        )
        self.opens = CheckBox(text="Open results as they finish", value=True)
        self.opens.tooltip = (
            "Add reconstruction and uncertainty of every source as layers once it is done; they are read from disk\n"
            "frame by frame, so that no volume is too large."
        )
        self.detail = QLabel()
        self.detail.setWordWrap(True)
        self.detail.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.detail.setToolTip("The selected row, otherwise the one at work or the first one with a problem.")
        self.buttons = {name: _button(name, tooltip) for name, tooltip in _TOOLTIPS.items()}
        self._lay_out()
        press = {name: button.clicked for name, button in self.buttons.items()}
        self.links: list[Link] = [
            (press["Add files…"], self._ask_files),
            (press["Add folder…"], self._ask_folder),
            (press["Add layer"], self._add_layers),
            (press["Open result"], self._open),
            (press["Remove"], self._remove),
            (press["Clear"], self._clear),
            (self.table.dropped, self.add),
            (self.table.queue.renamed, self._rename),
            (self.table.wanted, self.wanted.emit),
            (self.table.selectionModel().selectionChanged, self._on_selection),
            (viewer.layers.selection.events.changed, self.refresh),
            *self.table.links,
        ]
        self.show_items()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, button in enumerate(self.buttons.values()):
            grid.addWidget(button, place // 3, place % 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.table)
        column.addWidget(self.detail)
        column.addLayout(grid)
        for box in (self.stack, self.opens):
            column.addWidget(box.native)

    # -- contents -----------------------------------------------------------------------------------

    def show_items(self) -> None:
        """Show the queue."""
        self.targets = self.queue.targets()
        self.table.show_items(self.queue.items, self.targets)
        self.refresh()

    def refresh(self, _event: Any = None) -> None:
        """Say which buttons can be pressed."""
        free, some, chosen = not self.table.locked, bool(self.queue.items), bool(self.table.rows)
        for name in ("Add files…", "Add folder…"):
            self.buttons[name].setEnabled(free)
        self.buttons["Add layer"].setEnabled(free and bool(self._layers()))
        self.buttons["Remove"].setEnabled(free and chosen)
        self.buttons["Clear"].setEnabled(free and some)
        self.buttons["Open result"].setEnabled(chosen)
        self._show_detail()

    def _show_detail(self) -> None:
        """Say in full what the table has no room for."""
        chosen = self.table.rows
        problems = (ItemState.RUNNING, ItemState.FAILED, ItemState.STOPPED)
        chosen += [n for state in problems for n, item in enumerate(self.queue.items) if item.status.state is state]
        chosen += [number for number, item in enumerate(self.queue.items) if item.status.message]
        self.detail.setVisible(bool(chosen))
        if chosen:
            item, target = self.queue.items[chosen[0]], self.targets[chosen[0]]
            said = item.status.message
            into = f"\nResult: {target.name}" if target is not None else ""
            self.detail.setText(f"{item.name}: {said or item.status.words}{into}")

    def lock(self, *, locked: bool) -> None:
        """Keep the queue as it is while a run goes on."""
        self.table.queue.locked = locked
        self.refresh()
        if self._later and not locked:
            sources, self._later = self._later, []
            self._take(sources)

    def put(self, item: Item, status: ItemStatus) -> None:
        """Give an item a status, if it is still there."""
        if item in self.queue.items:
            self.show_statuses({self.queue.items.index(item): status})

    def show_statuses(self, statuses: Mapping[int, ItemStatus]) -> None:
        """Give the items of some rows a status."""
        for number, status in statuses.items():
            self.queue.items[number].status = status
        self.table.queue.touch(statuses)
        self._show_detail()

    def tick(self) -> None:
        """Show the time of what is running."""
        running = [n for n, item in enumerate(self.queue.items) if item.status.state is ItemState.RUNNING]
        self.table.queue.touch(running)

    def _on_selection(self, _new: Any, _old: Any) -> None:
        self.refresh()

    # -- filling ------------------------------------------------------------------------------------

    def add(self, paths: Sequence[str]) -> None:
        """Add files, stores and folders soon; they are looked at in another thread."""
        if paths:
            task = FindTask(tuple(paths), as_stack=self.stack.value)
            self.errands.do(task, self._on_found, lambda error: self.refused.emit(sentence(error)))

    def _on_found(self, found: FoundSources) -> None:
        """Take what was found; which stack of an HDF5 file is meant is asked once for all of them."""
        for said in found.problems:
            self.refused.emit(said)
        sources, dataset = found.sources, None
        if found.several:
            dataset = DatasetChooser.ask(found.unnamed[0], found.several)
            unnamed = set(found.unnamed)
            named = (f"{path}::{dataset}" if path in unnamed else path for path in sources)
            sources = [path for path in sources if path not in unnamed] if dataset is None else list(named)
        self._take(sources)

    def _take(self, sources: Iterable[Any]) -> None:
        """Add sources; while a run goes on, once it has ended."""
        if self.table.locked:
            self._later += sources
        elif self.queue.add(sources):
            self.show_items()
            self.table.scrollToBottom()
            self.changed.emit()

    def _ask_files(self, _checked: bool = False) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Add files of patterns", "", filters())
        self.add(files)

    def _ask_folder(self, _checked: bool = False) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Add a zarr store or a folder")
        if folder:
            self.add([folder])

    def _layers(self) -> list[Any]:
        return [one for one in self.viewer.layers.selection if isinstance(one, Image) and is_pattern(one)]

    def _add_layers(self, _checked: bool = False) -> None:
        known = [item.source for item in self.queue.items if isinstance(item.source, LayerSource)]
        chosen = sorted(self._layers(), key=self.viewer.layers.index)
        self._take(source_of(layer) for layer in chosen if not any(source.is_of(layer) for source in known))

    def _remove(self, _checked: bool = False) -> None:
        gone = set(self.table.rows)
        self.queue.items = [item for number, item in enumerate(self.queue.items) if number not in gone]
        self.table.clearSelection()
        self.show_items()
        self.changed.emit()

    def _clear(self, _checked: bool = False) -> None:
        self.table.selectAll()
        self._remove()

    def _rename(self, row: int, name: str) -> None:
        try:
            self.queue.rename(row, name)
        except I2IPRError as error:
            self.refused.emit(sentence(error))
        self.show_items()
        self.changed.emit()

    def _open(self, _checked: bool = False) -> None:
        for row in self.table.rows:
            self.wanted.emit(row)


def _button(words: str, tooltip: str) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tooltip)
    button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return button

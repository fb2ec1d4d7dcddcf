# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The queue as a table: files can be dropped on it, results renamed in it and opened from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QAbstractItemView, QLabel, QTableView

from napari_i2ipr.plugin.batch_queue import ItemState
from napari_i2ipr.plugin.folded import WRONG
from napari_i2ipr.plugin.inspect_words import wrapped
from napari_i2ipr.plugin.prepare_panel import WARNING

if TYPE_CHECKING:
    from napari_i2ipr.plugin.batch_queue import Item, ItemStatus
    from napari_i2ipr.plugin.panel import Link

HEADINGS = {
    "Source": "File, store, folder or layer with the patterns.",
    "Status": "waiting, running, done, stopped (Run goes on) or failed; missing: patterns without an image.",
    "Patterns": "How many patterns are done, of all.",
    "Time": "How long the last run took.",
    "Result": "Name of the result, an OME-Zarr store. Double-click it to give another one, or a whole path.",
    "Message": "How it went, or what to do about it.",
}
"""Columns and what they mean."""

SOURCE, STATUS, PATTERNS, TIME, RESULT, MESSAGE = range(len(HEADINGS))
"""Numbers of the columns."""

_WIDTHS = {SOURCE: 110, STATUS: 104, PATTERNS: 62, TIME: 46, RESULT: 150, MESSAGE: 320}
_LOOKS = "QHeaderView::section { padding: 2px; }"
_HINT = "Drop files, zarr stores or folders here,\nor add them with the buttons below."
_ROLE, _FLAG = Qt.ItemDataRole, Qt.ItemFlag


class QueueModel(QAbstractTableModel):
    """The queue for Qt, which asks for what it draws only: thousands of rows cost nothing."""

    renamed = Signal(int, str)
    """Row of a result, and what was typed as its name."""

    def __init__(self) -> None:
        super().__init__()
        self.items: Sequence[Item] = ()
        self.targets: Sequence[Path | None] = ()
        self.locked = False

    def show(self, items: Sequence[Item], targets: Sequence[Path | None]) -> None:
        """Take this queue, with the result of every item."""
        self.beginResetModel()
        self.items, self.targets = items, targets
        self.endResetModel()

    def touch(self, rows: Iterable[int]) -> None:
        """Draw these rows again."""
        for row in rows:
            self.dataChanged.emit(self.index(row, STATUS), self.index(row, MESSAGE))

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802
        """Items in the queue."""
        return 0 if parent is not None and parent.isValid() else len(self.items)

    def columnCount(self, parent: Any = None) -> int:  # noqa: N802
        """Columns."""
        return 0 if parent is not None and parent.isValid() else len(HEADINGS)

    def headerData(self, section: int, orientation: Any, role: int = _ROLE.DisplayRole) -> Any:  # noqa: N802
        """Headings and their meaning."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _ROLE.ToolTipRole:
            return wrapped(list(HEADINGS.values())[section])
        if role == _ROLE.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return list(HEADINGS)[section] if role == _ROLE.DisplayRole else None

    def flags(self, index: QModelIndex) -> Any:
        """Names of results can be edited while nothing runs."""
        found = _FLAG.ItemIsSelectable | _FLAG.ItemIsEnabled
        return found | _FLAG.ItemIsEditable if index.column() == RESULT and not self.locked else found

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:
        """What is drawn in a cell, and said of it."""
        item, target = self.items[index.row()], self.targets[index.row()]
        if role in (_ROLE.DisplayRole, _ROLE.EditRole):
            return _text(index.column(), item, target)
        if role == _ROLE.ToolTipRole:
            return wrapped(_tooltip(index.column(), item, target))
        if role == _ROLE.ForegroundRole and index.column() in (STATUS, MESSAGE):
            colour = _colour(item.status)
            return QBrush(QColor(colour)) if colour else None
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = _ROLE.EditRole) -> bool:  # noqa: N802
        """Take what was typed as the name of a result."""
        if role != _ROLE.EditRole or index.column() != RESULT or self.locked:
            return False
        if value != self.data(index):
            self.renamed.emit(index.row(), str(value))
        return True


def _text(column: int, item: Item, target: Path | None) -> str:
    status = item.status
    result = "choose a folder" if target is None else target.name
    return (item.name, status.words, status.patterns, status.time, result, status.message)[column]


def _tooltip(column: int, item: Item, target: Path | None) -> str:
    if column == SOURCE:
        return item.source if isinstance(item.source, str) else f"layer {item.name}"
    if column == RESULT:
        return "A layer that is in no file needs a folder for its result." if target is None else str(target)
    if column == STATUS and item.status.bad:
        return f"{item.status.bad} patterns have no image; the table of scores in the result says why"
    return item.status.message if column == MESSAGE else ""


def _colour(status: ItemStatus) -> str:
    if status.state is ItemState.FAILED:
        return WRONG
    return WARNING if status.bad or status.state is ItemState.STOPPED else ""


class QueueTable(QTableView):
    """A row an item; connections are in `links`, for the owner to undo."""

    dropped = Signal(list)
    """Paths that were dropped."""

    wanted = Signal(int)
    """Row of a result that is to be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = QueueModel()
        self.setModel(self.queue)
        for column, width in _WIDTHS.items():
            self.setColumnWidth(column, width)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.horizontalHeader().setStretchLastSection(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setStyleSheet(_LOOKS)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DropOnly)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setMinimumHeight(116)
        self.hint = QLabel(_HINT, self.viewport())
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.hint.setEnabled(False)
        self.links: list[Link] = [(self.doubleClicked, self._on_double_click)]

    def show_items(self, items: Sequence[Item], targets: Sequence[Path | None]) -> None:
        """Fill the table; what was selected stays selected where it is still there.

        Parameters
        ----------
        items : sequence of Item
            The queue.
        targets : sequence of Path or None
            The result of every item.
        """
        chosen = {id(self.queue.items[row]) for row in self.rows}
        self.queue.show(list(items), targets)
        model, flag = self.selectionModel(), self.selectionModel().SelectionFlag
        for row in (row for row, item in enumerate(items) if chosen and id(item) in chosen):
            model.select(self.queue.index(row, 0), flag.Select | flag.Rows)
        self.hint.setVisible(not items)

    @property
    def locked(self) -> bool:
        """Whether names cannot be edited and nothing can be dropped."""
        return self.queue.locked

    @property
    def rows(self) -> list[int]:
        """The selected rows."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    # -- reactions ----------------------------------------------------------------------------------

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() != RESULT or self.locked:
            self.wanted.emit(index.row())

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Take files."""
        if event.mimeData().hasUrls() and not self.locked:
            event.acceptProposedAction()
        else:
            event.ignore()

    def dragMoveEvent(self, event: Any) -> None:  # noqa: N802
        """Take files anywhere."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Pass on the paths of files."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and not self.locked:
            event.acceptProposedAction()
            self.dropped.emit(paths)
        else:
            event.ignore()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Keep the hint in the middle."""
        super().resizeEvent(event)
        self.hint.resize(self.viewport().size())

    def sizeHint(self) -> QSize:  # noqa: N802
        """Some rows."""
        return QSize(300, 140)

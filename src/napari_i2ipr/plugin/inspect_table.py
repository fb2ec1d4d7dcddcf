# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The candidates of one pattern as a table that can be sorted, with a box for each that is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

from napari_i2ipr.plugin.inspect_words import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_i2ipr.data import Candidate
    from napari_i2ipr.plugin.panel import Link

HEADINGS = {
    "Keep": "Ticked candidates are averaged when you press 'Average again'.",
    "No.": "Number of the candidate, as in the layer of candidates, from 0.",
    "Start": "Number of the random start it came from; with several candidate sets they are numbered through.",
    "Score": "What it was ranked by: lower is better. No unit.",
    "Residual": "Misfit to the measured amplitudes (chi): 0 is a perfect fit. No unit.",
    "Free score": "Misfit at pixels it was not fitted to, lower is better; - where none were held out. No unit.",
    "Outside": "Share of its energy that fell outside the support, in %.",
    "Margin": "Twin margin: how decided it is between the object and its twin; 0 is a mixture of both, 1 decided.",
    "Turned": "Whether it was turned by 180 degrees to match the others: the pattern cannot tell the two apart.",
    "Shift (px)": "How far it was moved to match the others, y and x, in pixels.",
    "Weight": "Its share in the average that is shown, in %; 0 means that it was left out.",
}
"""Columns and what they mean."""

_KEEP, _NUMBER = 0, 1
_BOLD, _MARGIN_PX = 1.15, 18

_LOOKS = (
    "QTableView::indicator:unchecked { border: 1px solid gray; width: 12px; height: 12px; }"
    "QHeaderView::section { padding: 2px; }"
)
"""napari's themes draw empty boxes in tables almost invisibly, and headings wide."""


class _Cell(QTableWidgetItem):
    """A cell that is sorted by a number rather than by its text; what is not known comes last."""

    def __init__(self, text: str, value: float) -> None:
        super().__init__(text)
        self.value = math.inf if math.isnan(value) else value
        self.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: Any) -> bool:
        return self.value < other.value


class _Box(QTableWidgetItem):
    """A check box that is sorted by whether it is ticked."""

    def __init__(self, *, ticked: bool, enabled: bool) -> None:
        super().__init__()
        flags = Qt.ItemFlag.ItemIsSelectable
        if enabled:
            flags |= Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
        self.setFlags(flags)
        self.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    @property
    def ticked(self) -> bool:
        return bool(self.checkState() == Qt.CheckState.Checked)

    def __lt__(self, other: Any) -> bool:
        return self.ticked > other.ticked


class CandidateTable(QTableWidget):
    """One row per candidate; connections are in `links`, for the owner to undo."""

    kept_changed = Signal()
    """A box was ticked or cleared."""

    chosen = Signal(object)
    """Number of the candidate whose row was selected, or None."""

    def __init__(self) -> None:
        super().__init__(0, len(HEADINGS))
        for column, (name, meaning) in enumerate(HEADINGS.items()):
            heading = QTableWidgetItem(name)
            heading.setToolTip(wrapped(meaning))
            heading.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)  # the arrow is right
            self.setHorizontalHeaderItem(column, heading)
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSortingEnabled(True)
        self.sortItems(_NUMBER, Qt.SortOrder.AscendingOrder)
        self.horizontalHeader().setMinimumSectionSize(34)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setStyleSheet(_LOOKS)
        self.links: list[Link] = [
            (self.itemChanged, self._on_item),
            (self.itemSelectionChanged, self._on_selection),
        ]

    def show_candidates(self, rows: Sequence[Candidate], kept: Iterable[int], *, can_choose: bool) -> None:
        """Fill the table.

        Parameters
        ----------
        rows : sequence of Candidate
            Of one pattern.
        kept : iterable of int
            Numbers of those that are ticked.
        can_choose : bool
            Whether the boxes can be changed.
        """
        ticked = set(kept)
        column, order = self.horizontalHeader().sortIndicatorSection(), self.horizontalHeader().sortIndicatorOrder()
        blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        self.clearContents()
        self.setRowCount(len(rows))
        for k, row in enumerate(rows):
            box = _Box(ticked=k in ticked, enabled=can_choose)
            self.setItem(k, _KEEP, box)
            for i, (text, value) in enumerate(_cells(k, row), start=1):
                self.setItem(k, i, _Cell(text, value))
        self.setSortingEnabled(True)
        self.sortItems(column, order)
        self._fit_columns()
        self.blockSignals(blocked)

    def _fit_columns(self) -> None:
        """Columns as wide as their texts; Qt would leave room for an arrow in every heading."""
        metrics = self.fontMetrics()
        for column, name in enumerate(HEADINGS):
            texts = [self.item(row, column).text() for row in range(self.rowCount())]
            widest = max(
                [metrics.horizontalAdvance(name) * _BOLD, *(metrics.horizontalAdvance(text) for text in texts)]
            )
            self.setColumnWidth(column, round(widest) + _MARGIN_PX)

    @property
    def kept(self) -> list[int]:
        """Numbers of the ticked candidates, ascending."""
        return sorted(self._number(row) for row in range(self.rowCount()) if self.item(row, _KEEP).ticked)

    def tick(self, numbers: Iterable[int]) -> None:
        """Tick these candidates and no others."""
        wanted = set(numbers)
        boxes = [(self.item(row, _KEEP), self._number(row)) for row in range(self.rowCount())]
        blocked = self.blockSignals(True)
        for box, number in boxes:
            box.setCheckState(Qt.CheckState.Checked if number in wanted else Qt.CheckState.Unchecked)
        self.blockSignals(blocked)
        self.viewport().update()
        self.kept_changed.emit()

    def _number(self, row: int) -> int:
        return int(self.item(row, _NUMBER).value)

    def _on_item(self, item: QTableWidgetItem) -> None:
        if item.column() == _KEEP:
            self.kept_changed.emit()

    @property
    def selected(self) -> int | None:
        """Number of the candidate whose row is selected."""
        rows = self.selectionModel().selectedRows()
        return self._number(rows[0].row()) if rows else None

    def _on_selection(self) -> None:
        self.chosen.emit(self.selected)


def _cells(number: int, row: Candidate) -> list[tuple[str, float]]:
    """Texts and what they are sorted by, for all columns but the first."""
    free = "-" if math.isnan(row.free_score) else f"{row.free_score:.3f}"
    y, x = row.shift_px
    return [
        (str(number), number),
        (str(row.start), row.start),
        (f"{row.score:.3f}", row.score),
        (f"{row.residual:.3f}", row.residual),
        (free, row.free_score),
        (f"{100 * row.outside:.1f} %", row.outside),
        (f"{row.twin_margin:.3f}", row.twin_margin),
        ("yes" if row.flipped else "no", float(row.flipped)),
        (f"{y:.2f}, {x:.2f}", math.hypot(y, x)),
        (f"{100 * row.weight:.1f} %", row.weight),
    ]

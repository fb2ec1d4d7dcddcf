# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Parts of a form: a section that folds away, and rows that say what is wrong with them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget
from superqt import QCollapsible

WRONG = "#e5604d"
"""Colour of what is said of a wrong value; readable on dark and on light."""

_ANY_HEIGHT = 16_777_215


class Folded(QCollapsible):
    """A titled section, folded away at first.

    Parameters
    ----------
    title : str
        Plain words.
    tooltip : str
        What is inside.
    """

    def __init__(self, title: str, tooltip: str = "") -> None:
        # The icons of superqt are painted in the colours of the moment, which a dark theme swallows.
        super().__init__(title, expandedIcon=" ", collapsedIcon=" ")
        self.toggleButton().setIconSize(QSize(1, 1))
        self._title = title
        self.setDuration(0)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.content().layout().setContentsMargins(6, 2, 0, 2)
        self.toggleButton().setToolTip(tooltip)
        self.toggled.connect(self._show_title)
        self._show_title()

    def entitle(self, title: str) -> None:
        """Change the title."""
        self._title = title
        self._show_title()

    def _show_title(self, _open: bool | None = None) -> None:
        self.setText(("▾ " if self.isExpanded() else "▸ ") + self._title)
        if self.isExpanded():  # what is inside may grow, e.g. by a sentence on a wrong value
            self.content().setMaximumHeight(_ANY_HEIGHT)

    def eventFilter(self, _watched: QObject, _event: QEvent) -> bool:  # noqa: N802
        """Leave the height to the layout."""
        return False


class Cell(QWidget):
    """A field of a form with room for one sentence about what is wrong with its value.

    Parameters
    ----------
    field : QWidget
        What is filled in.
    """

    def __init__(self, field: QWidget) -> None:
        super().__init__()
        self.said = QLabel()
        self.said.setWordWrap(True)
        self.said.setStyleSheet(f"color: {WRONG};")
        self.said.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(field)
        column.addWidget(self.said)

    def say(self, words: str) -> None:
        """Say what is wrong; nothing is wrong with an empty text."""
        if words != self.said.text():
            self.said.setText(words)
            self.said.setVisible(bool(words))
            self._give_room()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Keep room for the sentence, which takes more lines where there is less width."""
        super().resizeEvent(event)
        self._give_room()

    def _give_room(self) -> None:
        """A scrolled form asks for least heights only, which lines that wrap do not tell."""
        needed = self.said.heightForWidth(max(self.width(), 80)) if self.said.text() else 0
        self.said.setMinimumHeight(needed)


class NoAccidents(QObject):
    """Keeps the mouse wheel, which scrolls the form, from changing the fields that it passes over."""

    def guard(self, root: QWidget) -> None:
        """Guard all fields inside a widget."""
        for kind in (QAbstractSpinBox, QComboBox, QLineEdit):
            for field in root.findChildren(kind):
                field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Pass the wheel on to what is around the field, unless it is being filled in."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Rows of label and field, as wide as there is room."""
    rows = QFormLayout() if parent is None else QFormLayout(parent)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setVerticalSpacing(4)
    return rows


def add_row(rows: QFormLayout, words: str, tooltip: str, field: Any) -> QLabel:
    """A row whose label has the field's tooltip; the label is returned. Without a field it takes the whole row."""
    label = QLabel(words)
    label.setToolTip(tooltip)
    if field is None:
        rows.addRow(label)
    else:
        rows.addRow(label, field)
    return label

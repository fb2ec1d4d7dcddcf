# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Which dataset of a file is the pattern: asked where the file does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt import get_current_stylesheet
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    import numpy as np

    Datasets = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


class DatasetChooser(QDialog):
    """A list of datasets, the most probable one marked; double click or Open takes the marked one.

    Parameters
    ----------
    path : str
        The file.
    datasets : mapping
        Shape and type by name, the most probable one first.
    parent : QWidget, optional
        Window to lie over.
    """

    def __init__(self, path: str, datasets: Datasets, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        if parent is None:  # then it inherits no looks
            self.setStyleSheet(get_current_stylesheet())
        self.setWindowTitle("Choose the diffraction pattern")
        self.tree = QTreeWidget()
        self.tree.setRootIsDecorated(False)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.tree.setHeaderLabels(["Dataset", "Shape", "Type"])
        for name, (shape, dtype) in datasets.items():
            item = QTreeWidgetItem([name, " x ".join(map(str, shape)), str(dtype)])
            item.setToolTip(0, name)
            self.tree.addTopLevelItem(item)
        self.tree.setCurrentItem(self.tree.topLevelItem(0))
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.tree.itemDoubleClicked.connect(self.accept)
        text = QLabel(
            f"{Path(path).name} holds {len(datasets)} arrays that could be the diffraction pattern. "
            "The most probable one comes first."
        )
        text.setWordWrap(True)
        layout = QVBoxLayout(self)
        for widget in (text, self.tree, self.buttons):
            layout.addWidget(widget)
        self.resize(560, 320)

    @property
    def chosen(self) -> str:
        """Name of the marked dataset."""
        return str(self.tree.currentItem().text(0))

    @classmethod
    def ask(cls, path: str, datasets: Datasets) -> str | None:
        """Show the list and wait; the name that was chosen, or None. Parameters as for the class."""
        box = cls(path, datasets, QApplication.activeWindow())
        try:
            return box.chosen if box.exec() else None
        finally:
            box.deleteLater()

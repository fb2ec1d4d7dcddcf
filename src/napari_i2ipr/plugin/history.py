# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The runs there were: what was asked for, how it went, and how to get back to it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractItemView, QPushButton, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_i2ipr.config import Config
from napari_i2ipr.errors import ConfigError
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.panel import Link
from napari_i2ipr.plugin.state import duration

if TYPE_CHECKING:
    from napari_i2ipr.data import Reconstruction

_HEADINGS = {
    "#": "Number of the run; its layers carry it.",
    "Pattern": "What was reconstructed.",
    "Preset": "The preset, with * where settings were changed.",
    "Seed": "What fixed the random numbers.",
    "R": "R-factor: share of the measured amplitudes that the result does not explain, lower is better.",
    "Time": "How long it took.",
}
_MAIN = ("reconstruction", "amplitude")


@dataclass(frozen=True, eq=False)
class Run:
    """A run that gave a result.

    Attributes
    ----------
    number : int
        Its layers carry it.
    name : str
        What was reconstructed.
    config : Config
        With these settings.
    device : str
        What was chosen to compute on.
    r_factor : float or None
        How well it fits.
    seconds : float
        How long it took.
    form : dict
        What else was chosen in the form; layers as weak references.
    """

    number: int
    name: str
    config: Config
    device: str
    r_factor: float | None
    seconds: float
    form: dict[str, Any]

    @classmethod
    def of(cls, number: int, name: str, result: Reconstruction, *, device: str, seconds: float, form: Any) -> Run:
        """What is kept of a result."""
        config = Config.from_dict(result.provenance["config"])
        return cls(number, name, config, device, result.scores.get("r_factor"), seconds, form)

    @property
    def texts(self) -> list[str]:
        """The columns of the list."""
        changed = self.config.replace(seed=0, object="real", support="half", nonnegative=True, keep_candidates=False)
        changed = changed.replace(max_phase_deg=180.0, coherence={"blur_px": 0.0, "lorentz": 0.0, "fit": False})
        usual = Config.from_preset(self.config.preset)
        r_factor = "-" if self.r_factor is None else f"{self.r_factor:.3f}"
        preset = self.config.preset + ("" if changed == usual else " *")
        return [str(self.number), self.name, preset, str(self.config.seed), r_factor, duration(self.seconds)]


def runs_in(layers: Iterable[Any]) -> list[Run]:
    """The runs whose results are among the layers, e.g. of an earlier widget."""
    found: dict[int, Run] = {}
    for layer in layers:
        words = words_of(layer)
        result, number = words.get("result"), words.get("run")
        if number is None or words.get("kind") not in _MAIN or result is None:
            continue
        seconds = sum(result.scores.get(name) or 0.0 for name in ("solver_seconds", "refine_seconds"))
        try:
            run = Run.of(number, words.get("source", ""), result, device="auto", seconds=seconds, form={})
        except (KeyError, ConfigError):  # of another version
            continue
        found[number] = run
    return [found[number] for number in sorted(found)]


def weak(thing: Any) -> Any:
    """A layer as a weak reference; other values as they are."""
    return weakref.ref(thing) if hasattr(thing, "events") else thing


def strong(thing: Any) -> Any:
    """What `weak` was made from; None for a layer that is gone."""
    return thing() if isinstance(thing, weakref.ref) else thing


class HistoryList(QWidget):
    """The runs in a list, the last one on top."""

    wanted = Signal(int)
    """Number of the run that is to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[int, Run] = {}
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(list(_HEADINGS))
        for column, words in enumerate(_HEADINGS.values()):
            self.tree.headerItem().setToolTip(column, words)
        self.tree.setRootIsDecorated(False)
        self.tree.setAllColumnsShowFocus(True)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.tree.header()
        header.setMinimumSectionSize(24)
        header.setStretchLastSection(False)
        for column in range(len(_HEADINGS)):
            mode = header.ResizeMode.Stretch if column == 1 else header.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, mode)
        self.tree.setFixedHeight(112)
        self.tree.setMinimumWidth(100)
        self.restore_button = QPushButton("Restore")
        self.restore_button.setToolTip(
            "Bring the parameters of the selected run back into the form and select its layers (or double-click it)."
        )
        self.restore_button.setEnabled(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tree)
        column.addWidget(self.restore_button)
        self.links: list[Link] = [
            (self.tree.itemSelectionChanged, self._on_selection),
            (self.tree.itemDoubleClicked, self._on_double_click),
            (self.restore_button.clicked, self._on_restore),
        ]

    def add(self, run: Run) -> None:
        """Put a run on top of the list."""
        self.runs[run.number] = run
        item = QTreeWidgetItem(run.texts)
        item.setToolTip(1, run.name)
        self.tree.insertTopLevelItem(0, item)

    @property
    def last(self) -> int:
        """The largest number so far."""
        return max(self.runs, default=0)

    def _selected(self) -> int | None:
        items = self.tree.selectedItems()
        return int(items[0].text(0)) if items else None

    def _on_selection(self) -> None:
        self.restore_button.setEnabled(self._selected() is not None)

    def _on_double_click(self, _item: Any, _column: int) -> None:
        self._on_restore()

    def _on_restore(self, _checked: bool = False) -> None:
        number = self._selected()
        if number is not None:
            self.wanted.emit(number)

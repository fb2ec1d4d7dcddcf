# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The pages of the Inspect widget: verdict and scores, candidates, curves. They show values and ask for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_i2ipr.plugin import inspect_words as words
from napari_i2ipr.plugin.curves import COLOURS, CurveView, Line, Plot, threshold_of
from napari_i2ipr.plugin.inspect_table import CandidateTable

if TYPE_CHECKING:
    from napari_i2ipr.evaluate.quality import Quality
    from napari_i2ipr.evaluate.resolution import Curve

_X = "spatial frequency (cycles per pixel of the object)"

_PLOTS = {
    "Phase transfer (PRTF)": (
        ("prtf", "prtf_phase", "prtf_last"),
        "PRTF, 0 to 1",
        (
            "To which spatial frequency independent random starts find the same phases. Where it falls below 1/e "
            "(dashed), finer details are not reproducible; the dotted line marks that period. Candidates of the "
            "last run are not independent, so that their curve lies too high."
        ),
    ),
    "Misfit by frequency": (
        ("misfit",),
        "R-factor of each ring",
        (
            "Share of the measured amplitudes that the image does not explain, ring by ring: 0 is a perfect fit. It "
            "rises where noise takes over; a peak at low frequencies speaks of the beamstop, the centre or the support."
        ),
    ),
    "Reproducibility": (
        ("reproducibility",),
        "correlation, -1 to 1",
        (
            "Correlation of two random starts on the same pattern, ring by ring. They share its noise: this is no "
            "resolution, but tells which details depend on chance."
        ),
    ),
}
"""Plots by name: curves, vertical axis, meaning."""

NO_CURVES = "This result holds no numbers by frequency: it was made by an earlier version."


def label(tip: str = "") -> QLabel:
    """A text that wraps and can be copied."""
    made = QLabel()
    made.setWordWrap(True)
    made.setTextFormat(Qt.TextFormat.RichText)
    made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    made.setToolTip(tip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return made


class VerdictPage(QScrollArea):
    """Scores with their units, then the remarks behind the verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 4, 4, 4)
        self.grid = QGridLayout()
        self.grid.setColumnStretch(1, 1)
        self.remarks = label("What speaks for the image and what to distrust; no number tells right from wrong.")
        column.addLayout(self.grid)
        column.addWidget(self.remarks)
        column.addStretch()
        self.setWidget(inside)

    def show_quality(self, quality: Quality | None, notes: list[str]) -> None:
        """Fill the page; None empties it."""
        while self.grid.count():
            gone = self.grid.takeAt(0).widget()
            gone.setParent(None)
            gone.deleteLater()
        for i, row in enumerate(words.scores(quality) if quality is not None else []):
            for column, text in enumerate((row.name, row.value)):
                cell = QLabel(text)
                cell.setToolTip(words.wrapped(row.meaning))
                cell.setWordWrap(column == 1)
                self.grid.addWidget(cell, i, column)
        self.remarks.setText("" if quality is None else words.remarks_html(quality.verdict, notes))


class CandidatesPage(QWidget):
    """The table, the buttons beside it, and what can be done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = CandidateTable()
        self.show_box = QCheckBox("Show the selected candidate")
        self.show_box.setChecked(True)
        self.show_box.setToolTip(
            "Select a row to see that candidate as a layer of its own, which goes with this widget."
        )
        self.reset_button = QPushButton("As it was")
        self.reset_button.setToolTip("Tick the candidates that the shown average is made of.")
        self.again_button = QPushButton("Average again")
        self.again_button.setToolTip(
            "Average the ticked candidates, and refine that where the pattern is open, without reconstructing again.\n"
            "The outcome is new layers with a run number of their own; the shown result stays as it is."
        )
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop; nothing is added.")
        self.hint = label()
        row = QHBoxLayout()
        row.addWidget(self.again_button, 2)
        row.addWidget(self.reset_button, 1)
        row.addWidget(self.cancel_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.table, 1)
        column.addWidget(self.show_box)
        column.addLayout(row)
        column.addWidget(self.hint)


class CurvesPage(QWidget):
    """One plot at a time, its meaning under it."""

    def __init__(self) -> None:
        super().__init__()
        self.which = QComboBox()
        self.which.addItems(list(_PLOTS))
        self.which.setToolTip("Which numbers to plot against spatial frequency.")
        self.view = CurveView()
        self.meaning = label()
        self.save_button = QPushButton("Save as CSV...")
        self.save_button.setToolTip(
            "Save all curves of this pattern as a table: frequency, period, values, thresholds."
        )
        self.curves: dict[str, Curve] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.which)
        column.addWidget(self.view, 1)
        column.addWidget(self.meaning)
        column.addWidget(self.save_button)

    def show_curves(self, curves: dict[str, Curve]) -> None:
        """Plot these from now on."""
        self.curves = curves
        self.save_button.setEnabled(bool(curves))
        self.redraw()

    def redraw(self, _index: int = 0) -> None:
        """Draw the chosen plot."""
        chosen = self.which.currentText()
        names, y_label, meaning = _PLOTS[chosen]
        self.view.show_plot(plot_of(self.curves, names, y_label))
        first = self.curves.get(names[0])
        read = "" if first is None or names[0] == "misfit" else f" <b>{_reading(first)}</b>"
        self.meaning.setText(meaning + read)
        self.view.setToolTip(words.wrapped(meaning))


def plot_of(curves: dict[str, Curve], names: tuple[str, ...], y_label: str) -> Plot:
    """The named curves with the threshold and the crossing of the first; the frequency 0 is left out."""
    found = [curves[name] for name in names if name in curves]
    if not found:
        return Plot(empty=NO_CURVES)
    lines = [Line(one.name, one.frequency[1:], one.value[1:], COLOURS[i]) for i, one in enumerate(found)]
    first = found[0]
    limit = threshold_of(first)
    if limit is not None:
        lines.append(limit)
    at = first.frequency[-1] if first.limited_by_edge else first.crossing
    mark = (float(at), words.resolution_in_words(first)) if at == at else None  # noqa: PLR0124 - not NaN
    unknown = "There is nothing to take these numbers from: the pattern was not there, or only one start was kept."
    return Plot(tuple(lines), _X, y_label, log=names == ("misfit",), mark=mark, empty=unknown)


def _reading(curve: Curve) -> str:
    """Where the curve ends, as a sentence."""
    said = words.resolution_in_words(curve)
    if said == "cannot be read":
        return "No crossing can be read here: too few starts were kept, or the curve never rises above the threshold."
    return f"Full period at the threshold: {said}."

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""A small canvas for curves over one axis, and the same curves as a table for other programs."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.evaluate.resolution import Curve

COLOURS = ("#4fa3ff", "#ffb74d", "#7cc47f", "#d783d6")
"""Of the lines; readable on dark and on light."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 8, 38
_LINE = 15


@dataclass(frozen=True, eq=False)
class Line:
    """A named line; NaN in `y` is a gap.

    Attributes
    ----------
    name : str
        For the legend.
    x, y : ndarray
        Points, ``x`` ascending.
    colour : str
        As HTML writes it.
    dashed : bool
        Drawn dashed and without markers, as thresholds are.
    """

    name: str
    x: NDArray[Any]
    y: NDArray[Any]
    colour: str = COLOURS[0]
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Plot:
    """All that is drawn on one canvas.

    Attributes
    ----------
    lines : tuple of Line
        The curves and thresholds.
    x_label, y_label : str
        Names of the axes with units.
    log : bool
        Whether the vertical axis is logarithmic; values of 0 and less are gaps then.
    mark : tuple or None
        A place on the x axis and what it is called, e.g. where a curve crosses its threshold.
    empty : str
        Said where there is nothing to draw.
    """

    lines: tuple[Line, ...] = ()
    x_label: str = ""
    y_label: str = ""
    log: bool = False
    mark: tuple[float, str] | None = None
    empty: str = "nothing to show"

    def drawn(self, line: Line) -> NDArray[np.float64]:
        """Values of a line on the axis: their logarithms on a logarithmic one, NaN for gaps."""
        values = np.asarray(line.y, np.float64)
        if not self.log:
            return np.where(np.isfinite(values), values, np.nan)
        good = np.isfinite(values) & (values > 0)
        return np.where(good, np.log10(np.where(good, values, 1.0)), np.nan)

    @property
    def spans(self) -> tuple[float, float, float, float] | None:
        """Ends ``(x0, x1, y0, y1)`` of the axes, the vertical ones as drawn; None where there is no point."""
        xs = [np.asarray(line.x, np.float64) for line in self.lines if np.isfinite(self.drawn(line)).any()]
        if not xs:
            return None
        ys = np.concatenate([self.drawn(line) for line in self.lines])
        low, high = float(np.nanmin(ys)), float(np.nanmax(ys))
        if not self.log:
            low, high = min(low, 0.0), max(high, 1.0) if high > 0.5 else high
        air = 0.04 * (high - low) or 0.5
        x0, x1 = min(float(x[0]) for x in xs), max(float(x[-1]) for x in xs)
        return x0, x1 if x1 > x0 else x0 + 1, low - air * (self.log or low < 0), high + air


class CurveView(QWidget):
    """Draws a `Plot` in the colours of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.plot = Plot()
        self.setMinimumSize(220, 190)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Wider than high."""
        return QSize(360, 260)

    def show_plot(self, plot: Plot) -> None:
        """Draw this from now on."""
        self.plot = plot
        self.update()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw axes, lines, the mark and the legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 7.0) if font.pointSizeF() > 0 else 8.0)
        painter.setFont(font)
        spans = self.plot.spans
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        if spans is None:
            painter.setPen(ink)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(12, 12, -12, -12), flags, self.plot.empty)
        else:
            legend = _LINE * len(self.plot.lines) + 4
            inner = QRectF(self.rect()).adjusted(_LEFT, _TOP + legend, -_RIGHT, -_BOTTOM)
            _Drawing(painter, self.plot, inner, spans, ink).all()
        painter.end()


@dataclass(eq=False)
class _Drawing:
    """One drawing of a plot: painter, where to, and the ends of the axes."""

    painter: QPainter
    plot: Plot
    inner: QRectF
    spans: tuple[float, float, float, float]
    ink: QColor

    def all(self) -> None:
        self._axes()
        if self.plot.mark is not None:
            self._mark(*self.plot.mark)
        for line in self.plot.lines:
            self._line(line)
        self._legend()

    def _place(self, x: float, y: float) -> QPointF:
        x0, x1, y0, y1 = self.spans
        return QPointF(
            self.inner.left() + (x - x0) / (x1 - x0) * self.inner.width(),
            self.inner.bottom() - (y - y0) / (y1 - y0) * self.inner.height(),
        )

    def _axes(self) -> None:
        x0, x1, y0, y1 = self.spans
        faint = QColor(self.ink)
        faint.setAlpha(45)
        right, centre = Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignHCenter
        middle = Qt.AlignmentFlag.AlignVCenter
        for value in ticks(x0, x1):
            at = self._place(value, y0)
            self.painter.setPen(faint)
            self.painter.drawLine(at, QPointF(at.x(), self.inner.top()))
            self.painter.setPen(self.ink)
            self.painter.drawText(QRectF(at.x() - 30, at.y() + 2, 60, _LINE), centre, f"{value:g}")
        shown = log_ticks(10**y0, 10**y1) if self.plot.log else ticks(y0, y1)
        for value in shown:
            at = self._place(x0, math.log10(value) if self.plot.log else value)
            self.painter.setPen(faint)
            self.painter.drawLine(at, QPointF(self.inner.right(), at.y()))
            self.painter.setPen(self.ink)
            self.painter.drawText(QRectF(at.x() - 44, at.y() - 8, 40, 16), right | middle, f"{value:g}")
        self.painter.setPen(self.ink)
        self.painter.drawRect(self.inner)
        low = QRectF(self.inner.left() - _LEFT, self.inner.bottom() + 19, self.inner.width() + _LEFT, _LINE + 3)
        self.painter.drawText(low, right, self.plot.x_label)
        self.painter.save()
        self.painter.translate(11, self.inner.center().y())
        self.painter.rotate(-90)
        high = self.inner.height()
        self.painter.drawText(QRectF(-high / 2, -10, high, _LINE), centre, self.plot.y_label)
        self.painter.restore()

    def _line(self, line: Line) -> None:
        pen = QPen(QColor(line.colour), 1.2 if line.dashed else 1.8)
        if line.dashed:
            pen.setStyle(Qt.PenStyle.DashLine)
        self.painter.setPen(pen)
        path, joined = QPainterPath(), False
        for x, y in zip(np.asarray(line.x, np.float64), self.plot.drawn(line), strict=True):
            if not math.isfinite(y):
                joined = False
                continue
            here = self._place(float(x), float(y))
            if joined:
                path.lineTo(here)
            else:
                path.moveTo(here)
                path.lineTo(here + QPointF(0.5, 0))  # so that a lone point between gaps is seen
            joined = True
        self.painter.setBrush(Qt.BrushStyle.NoBrush)
        self.painter.drawPath(path)

    def _mark(self, x: float, words: str) -> None:
        x0, x1, y0, _ = self.spans
        if not x0 <= x <= x1:
            return
        at = self._place(x, y0)
        self.painter.setPen(QPen(self.ink, 1.2, Qt.PenStyle.DotLine))
        self.painter.drawLine(at, QPointF(at.x(), self.inner.top()))
        self.painter.setPen(self.ink)
        width = self.painter.fontMetrics().horizontalAdvance(words) + 6
        left = at.x() + 4 if at.x() + 4 + width < self.inner.right() else at.x() - 4 - width
        side = Qt.AlignmentFlag.AlignLeft
        self.painter.drawText(QRectF(left, self.inner.top() + 3, width, _LINE), side, words)

    def _legend(self) -> None:
        for i, line in enumerate(self.plot.lines):
            y = _TOP + _LINE * (i + 0.5)
            pen = QPen(QColor(line.colour), 2)
            if line.dashed:
                pen.setStyle(Qt.PenStyle.DashLine)
            self.painter.setPen(pen)
            left = self.inner.left()
            self.painter.drawLine(QPointF(left, y), QPointF(left + 20, y))
            self.painter.setPen(self.ink)
            place = QRectF(left + 26, y - 8, self.inner.width() - 26, 16)
            words = self.painter.fontMetrics().elidedText(
                line.name, Qt.TextElideMode.ElideRight, max(int(place.width()), 1)
            )
            side = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            self.painter.drawText(place, side, words)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within a range, at most `most` of them."""
    raw = (high - low) / (most - 1)
    if not (math.isfinite(raw) and raw > 0):
        return []
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * digit for digit in (1, 2, 2.5, 5, 10) if size * digit >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.6g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis between two positive ones: powers of ten, with steps where few fit in."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [float(f"{d * 10.0**e:.6g}") for e in decades for d in digits if low <= d * 10.0**e <= high]
        if len(found) >= 2:
            break
    return found[:: max(math.ceil(len(found) / 7), 1)]


def threshold_of(curve: Curve) -> Line | None:
    """The threshold of a curve as a dashed line; None where it has none."""
    if not np.isfinite(curve.threshold).any():
        return None
    level = float(curve.threshold[0])
    name = "1/e" if math.isclose(level, math.exp(-1)) else f"{level:g}"
    return Line(f"threshold {name}", curve.frequency, curve.threshold, "#9c9c9c", dashed=True)


def as_csv(curves: Mapping[str, Curve]) -> str:
    """Curves as comma-separated values: frequency, period, and each curve with its threshold; gaps are empty."""
    first: Curve | None = next(iter(curves.values()), None)
    if first is None:
        return ""
    columns: dict[str, Sequence[float] | NDArray[Any]] = {"frequency_per_px": first.frequency}
    with np.errstate(divide="ignore"):
        columns["full_period_px"] = 1 / first.frequency
    if first.pixel_m is not None:
        columns["full_period_nm"] = np.asarray(columns["full_period_px"]) * first.pixel_m * 1e9
    for name, one in curves.items():
        columns[name] = one.value
        if np.isfinite(one.threshold).any():
            columns[f"{name}_threshold"] = one.threshold
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        table.writerow([f"{value:.7g}" if math.isfinite(value) else "" for value in row])
    return text.getvalue()

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""What is seen of a run while it goes on: the misfit as a curve, the estimate as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.plugin.state import Point, Progress

HEIGHT = 132
"""Of curve and picture, in pixels of the screen."""

COLOURS = {"short run": "#8c9bb0", "long run": "#4fa3ff", "final run": "#ffb74d"}
"""Of the stages in the curve; readable on dark and on light."""

NAMES = {"short run": "starts", "long run": "best starts", "final run": "final"}
"""Of the stages under the curve."""


class ErrorCurve(QWidget):
    """Misfit against the share of the pattern's work that is done, logarithmic.

    A small canvas of its own: points are what single starts reach, the line the best of each stage.
    """

    def __init__(self) -> None:
        super().__init__()
        self.points: list[Point] = []
        self.setMinimumSize(140, HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Misfit of the estimates to the measured amplitudes against the work done, lower is better.\n"
            "Dots: single starts. Line: the best of each stage. Where the line is flat, more iterations help little;\n"
            "noise keeps it above 0."
        )

    def sizeHint(self) -> QSize:  # noqa: N802
        """As high as the picture beside it."""
        return QSize(200, HEIGHT)

    def show_points(self, points: Sequence[Point]) -> None:
        """Draw these points."""
        self.points = [point for point in points if math.isfinite(point.misfit) and point.misfit > 0]
        self.update()

    def span(self) -> tuple[float, float]:
        """Lower and upper end of the axis: the misfits and some air, at least a factor of two."""
        if not self.points:
            return 0.01, 1.0
        low, high = min(p.misfit for p in self.points), max(p.misfit for p in self.points)
        middle, half = math.sqrt(low * high), max(math.sqrt(high / low) * 1.1, math.sqrt(2))
        return middle / half, middle * half

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw axes, dots and lines."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.8, 6))
        painter.setFont(font)
        inner = QRectF(self.rect()).adjusted(34, 6, -4, -18)
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        self._draw_axes(painter, inner, ink)
        if self.points:
            self._draw_points(painter, inner)
        painter.end()

    def _place(self, inner: QRectF, fraction: float, misfit: float) -> QPointF:
        low, high = self.span()
        y = (math.log(misfit) - math.log(low)) / (math.log(high) - math.log(low))
        return QPointF(inner.left() + min(max(fraction, 0.0), 1.0) * inner.width(), inner.bottom() - y * inner.height())

    def _draw_axes(self, painter: QPainter, inner: QRectF, ink: QColor) -> None:
        faint = QColor(ink)
        faint.setAlpha(70)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(inner)
        for value in ticks(*self.span()):
            y = self._place(inner, 0, value).y()
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(inner.left(), y), QPointF(inner.right(), y))
            painter.setPen(ink)
            place = QRectF(0, y - 7, inner.left() - 4, 14)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:g}")
        painter.setPen(ink)
        below = QRectF(inner.left(), inner.bottom() + 2, inner.width(), 16)
        stages = list(dict.fromkeys(point.stage for point in self.points))
        if not stages:
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, "misfit / work done")
        left = below.left()
        for stage in stages:
            painter.setPen(QColor(COLOURS.get(stage, "#9c9c9c")))
            name = "\N{BULLET} " + NAMES.get(stage, stage)
            painter.drawText(QRectF(left, below.top(), inner.width(), 16), Qt.AlignmentFlag.AlignLeft, name)
            left += painter.fontMetrics().horizontalAdvance(name) + 8

    def _draw_points(self, painter: QPainter, inner: QRectF) -> None:
        best, before, stage = math.inf, None, ""
        for point in self.points:
            colour = QColor(COLOURS.get(point.stage, "#9c9c9c"))
            dim = QColor(colour)
            dim.setAlpha(90)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(dim)
            painter.drawEllipse(self._place(inner, point.fraction, point.misfit), 1.8, 1.8)
            if point.stage != stage or (before is not None and point.fraction < before.x()):
                best, before, stage = math.inf, None, point.stage
            best = min(best, point.misfit)
            here = QPointF(point.fraction, best)
            if before is not None:
                painter.setPen(QPen(colour, 2))
                painter.drawLine(self._place(inner, before.x(), before.y()), self._place(inner, here.x(), here.y()))
            before = here


class Picture(QWidget):
    """A grey picture, as large as it fits, without changing its shape."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self.setFixedSize(HEIGHT, HEIGHT)
        self.setToolTip("The best estimate of the moment, before it is refined: coarse, and perhaps upside down.")

    def show_image(self, image: NDArray[np.uint8] | None) -> None:
        """Show a picture ``(h, w)``; None for nothing."""
        if image is None:
            self._image = None
        else:
            data = np.ascontiguousarray(image)
            h, w = data.shape
            self._image = QImage(data.tobytes(), w, h, w, QImage.Format.Format_Grayscale8).copy()
        self.update()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the picture in the middle."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        ink.setAlpha(70)
        painter.setPen(ink)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        if self._image is not None:
            size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            corner = QPointF((self.width() - size.width()) / 2, (self.height() - size.height()) / 2)
            painter.drawImage(QRectF(corner.x(), corner.y(), size.width(), size.height()), self._image)
        else:
            painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, "no estimate yet")
        painter.drawRect(frame)
        painter.end()


class LiveView(QWidget):
    """Curve and picture side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.curve, self.picture = ErrorCurve(), Picture()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.curve, 1)
        row.addWidget(self.picture)
        self._shown: Any = None

    def show_progress(self, progress: Progress) -> None:
        """Follow a run."""
        self.curve.show_points(progress.trace.points)
        if progress.image is not self._shown:
            self._shown = progress.image
            self.picture.show_image(progress.image)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, two to five of them for a logarithmic axis."""
    first = math.floor(math.log10(low))
    decades = range(first, math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [round(d * 10.0**e, 12) for e in decades for d in digits if low <= d * 10.0**e <= high]
        if len(found) >= 2:
            break
    return found[:: max(math.ceil(len(found) / 5), 1)]

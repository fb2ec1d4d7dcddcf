"""The pictures of a report: pattern with its mask, support, reconstruction and uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.evaluate.align import in_frame
from napari_i2ipr.evaluate.figure import Panel, draw_panel, object_panels, pattern_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement, Reconstruction


def new_figure(inches: tuple[float, float]) -> Figure:
    """An empty figure that no window knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def draw_pictures(
    figure: Figure | SubFigure, reconstruction: Reconstruction, frame: Measurement | None, *, font: float = 8
) -> None:
    """Pattern with its mask, support in the frame, reconstruction and uncertainty, two or three in a row."""
    panels = [pattern_panel(frame, "intensity (as stored)")] if frame is not None else []
    support = support_of(reconstruction, frame)
    panels.append(_support_panel(reconstruction, support))
    panels += object_panels(reconstruction, None)
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    y0, x0, h, w = reconstruction.box
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_panel(figure, axes, panel, font)
        inside = support[y0 : y0 + h, x0 : x0 + w]
        if panel.title.startswith("reconstruction") and not inside.all():
            left, right, bottom, top = panel.extent
            at = np.linspace(left, right, 2 * w + 1)[1::2], np.linspace(top, bottom, 2 * h + 1)[1::2]
            axes.contour(*at, inside, levels=[0.5], colors="tab:orange", linewidths=0.8)


def support_of(reconstruction: Reconstruction, frame: Measurement | None) -> NDArray[np.bool_]:
    """The support in the frame: the pattern's own, else where the image or its uncertainty is not zero."""
    if frame is not None and frame.support is not None:
        return np.asarray(frame.support, bool)
    inside = (np.abs(reconstruction.image) > 0) | (reconstruction.uncertainty > 0)
    return in_frame(inside, reconstruction.box, reconstruction.frame_shape)


def _support_panel(reconstruction: Reconstruction, support: NDArray[np.bool_]) -> Panel:
    from matplotlib.colors import Normalize

    ny, nx = support.shape
    _, _, h, w = reconstruction.box
    title = f"support: {100 * support.mean():.2g} % of the frame, oversampling {ny / h:.2g} x {nx / w:.2g}"
    extent = (-0.5, nx - 0.5, ny - 0.5, -0.5)
    return Panel(title, support.astype(float), "gray", Normalize(0, 1), "1 = inside", extent, "{} (px)")

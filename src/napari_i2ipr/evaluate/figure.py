"""One picture of a reconstruction: pattern, image, uncertainty, and the error where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.evaluate import align

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement, Reconstruction

_DECADES = 8
"""The pattern is shown over at most so many decades."""

_MASKED = "0.75"
"""Grey of pixels that were not measured."""

_LENGTHS = (("nm", 1e9, 1e-6), ("µm", 1e6, 1e-3), ("mm", 1e3, np.inf))
"""Unit, units per metre, and below which width of the image it is used."""


@dataclass(frozen=True)
class Panel:
    """One picture of a figure: values, colours, and what is written around it."""

    title: str
    image: NDArray[Any]
    colours: str
    norm: Normalize
    bar: str
    extent: tuple[float, float, float, float]
    axis: str
    extend: str = "neither"


def save_figure(
    path: Path,
    pattern: Measurement,
    reconstruction: Reconstruction,
    truth: NDArray[Any] | None = None,
    *,
    title: str = "",
    bar: str = "intensity (as stored)",
) -> None:
    """Draw the first pattern of a measurement and its reconstruction into a PNG file.

    Parameters
    ----------
    path : Path
        New PNG file.
    pattern : Measurement
        What was reconstructed.
    reconstruction : Reconstruction
        The outcome.
    truth : ndarray, optional
        The known object; the image is then turned and shifted to match it, and the error is drawn too.
    title : str
        Above all panels.
    bar : str
        Quantity and unit of the pattern, beside its colour bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [pattern_panel(pattern, bar), *object_panels(reconstruction, truth)]
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(5.4 * columns, 4.7 * rows + (0.5 if title else 0)), layout=layout)
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=12)
    for index, panel in enumerate(panels):
        draw_panel(figure, figure.add_subplot(rows, columns, index + 1), panel)
    figure.savefig(path, dpi=130, format="png", metadata={"Software": "napari-i2ipr"})


def draw_panel(figure: Figure | SubFigure, axes: Axes, panel: Panel, font: float = 9) -> None:
    """Draw a picture with its colour bar; labels have `font` points."""
    shown = axes.imshow(
        panel.image, cmap=_colours(panel.colours), norm=panel.norm, extent=panel.extent, interpolation="nearest"
    )
    axes.set_title(panel.title, fontsize=font + 2)
    axes.set_xlabel(panel.axis.format("x"), fontsize=font)
    axes.set_ylabel(panel.axis.format("y"), fontsize=font)
    axes.tick_params(labelsize=font - 1)
    beside = figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.05, 1)), extend=panel.extend)
    beside.set_label(panel.bar, fontsize=font)
    beside.ax.tick_params(labelsize=font - 1)


def _colours(name: str) -> Any:
    """The colour map, with the grey of missing pixels."""
    import matplotlib as mpl

    return mpl.colormaps[name].with_extremes(bad=_MASKED)


def pattern_panel(measurement: Measurement, bar: str) -> Panel:
    """The first pattern of a measurement on a logarithmic scale, grey where nothing was measured."""
    from matplotlib.colors import LogNorm

    frame = measurement.frame(0)
    values = np.asarray(frame.intensity, np.float64)
    missing = np.zeros(values.shape, bool) if frame.bad_pixels is None else np.asarray(frame.bad_pixels, bool)
    missing = missing | ~np.isfinite(values)
    positive = values[~missing & (values > 0)]
    top = float(positive.max(initial=1.0))
    bottom = max(float(np.quantile(positive, 0.05)) if positive.size else top / 10, top * 10.0**-_DECADES)
    bottom = min(bottom, top / 10)
    image = np.ma.masked_array(np.maximum(values, bottom), missing)
    ny, nx = values.shape
    share = float(missing.mean())
    return Panel(
        "diffraction pattern" + (f" ({100 * share:.2g} % not measured, grey)" if share else ""),
        image,
        "magma",
        LogNorm(bottom, top),
        f"{bar}, log scale",
        (-(nx // 2) - 0.5, nx - nx // 2 - 0.5, ny - ny // 2 - 0.5, -(ny // 2) - 0.5),
        "{} frequency (px from zero)",
        "min",
    )


def object_panels(result: Reconstruction, truth: NDArray[Any] | None) -> list[Panel]:
    """Image, uncertainty and error; a complex image as amplitude and phase."""
    from matplotlib.colors import Normalize

    shape = result.image.shape[-2:]
    image = result.image.reshape((-1, *shape))[0]
    spread = result.uncertainty.reshape((-1, *shape))[0]
    known, matched = None, ""
    if truth is not None:
        known = np.asarray(truth).reshape((-1, *np.shape(truth)[-2:]))[0]
        found = align.register(image, result.box, known, result.frame_shape)
        spread = found.bring(spread, result.box)
        image = found.bring(image, result.box) * found.factor
        matched = ", turned by 180° as the truth is" if found.flipped else ""
        if not np.iscomplexobj(result.image) and not np.iscomplexobj(known):
            image = np.real(image)
    extent, axis = place(result, (image.shape[0], image.shape[1]))
    complex_ = np.iscomplexobj(image)
    value = np.abs(image) if complex_ else image
    low, high = (float(q) for q in np.nanquantile(value, (0.001, 0.999)))
    name, unit = (": amplitude", "amplitude (object units)") if complex_ else ("", "value (object units)")
    panels = [Panel(f"reconstruction{name}{matched}", value, "gray", Normalize(low, high), unit, extent, axis, "both")]
    if complex_:
        phase, turn = np.angle(image), Normalize(-np.pi, np.pi)
        panels.append(Panel("reconstruction: phase", phase, "twilight", turn, "phase (rad)", extent, axis))
    most = float(np.nanquantile(spread, 0.995)) or 1.0
    kind, bar = f"uncertainty: {result.uncertainty_kind}", "standard deviation (object units)"
    panels.append(Panel(kind, spread, "viridis", Normalize(0, most), bar, extent, axis, "max"))
    if known is not None:
        error = value - (np.abs(known) if complex_ else np.asarray(known, np.float64))
        largest = float(np.nanquantile(np.abs(error), 0.995)) or 1.0
        what, bar = f"error against the known truth{name}", "reconstruction - truth (object units)"
        panels.append(Panel(what, error, "RdBu_r", Normalize(-largest, largest), bar, extent, axis, "both"))
    return panels


def place(result: Reconstruction, shape: tuple[int, int]) -> tuple[tuple[float, float, float, float], str]:
    """Extent of the image and the label of its axes: a length where the geometry is known, else pixels."""
    h, w = shape
    pixel = result.pixel_m
    if pixel is None:
        return (-0.5, w - 0.5, h - 0.5, -0.5), "{} (px)"
    width = max(h * pixel[0], w * pixel[1])
    unit, factor, _ = next(row for row in _LENGTHS if width < row[2])
    return (0.0, w * pixel[1] * factor, h * pixel[0] * factor, 0.0), f"{{}} ({unit})"

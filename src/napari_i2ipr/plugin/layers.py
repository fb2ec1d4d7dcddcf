"""Between the package's values and napari's layers: pure functions, nothing is drawn or computed here.

All layers share one world, that of the object's frame: its origin is the first pixel of the DC-centred
frame, its unit a length, or pixels where the geometry is unknown. A pattern is laid over that frame pixel
on pixel, so that what is drawn on a pattern, a truth or a reconstruction means the same place, and so that
napari keeps the units (it drops them all where lengths and pixels meet). **Scale bars therefore speak of
the object, never of the detector**, whose geometry is in the metadata. Everything the package needs again
is kept in ``layer.metadata["napari_i2ipr"]``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_i2ipr.data import Geometry, Measurement, Reconstruction
from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin.axes import arranged, full_resolution, in_order, order_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

LayerData = tuple[Any, dict[str, Any], str]

KEY = "napari_i2ipr"
"""Where our words lie in ``layer.metadata``."""

LINKED = ("translate", "scale", "rotate", "shear", "affine")
"""What the layers of one result share: move one and the others follow."""

GAMMA = 0.2
"""Gamma of patterns, the least that napari's slider shows; `log_colormap` does the rest."""

_UNITS = ((1e-7, "nm", 1e9), (1e-4, "um", 1e6), (float("inf"), "mm", 1e3))
_MAX_DECADES = 7.0


def pattern_layers(measurement: Measurement, name: str) -> list[LayerData]:
    """A measurement as an image in log display, and its bad pixels as labels.

    Parameters
    ----------
    measurement : Measurement
        Patterns ``(..., y, x)``; stacks may be lazy, one frame is looked at.
    name : str
        Name of the image layer.

    Returns
    -------
    list of tuple
        Layer data; the intensities are passed on as they are.
    """
    group = uuid4().hex
    words = {
        "kind": "pattern",
        "group": group,
        "geometry": dataclasses.asdict(measurement.geometry),
        "intensity_scale": measurement.intensity_scale,
        "alpha": measurement.alpha,
        "provenance": measurement.provenance,
        "bad_pixels": measurement.bad_pixels,
        "support": measurement.support,
    }
    grid, lead = ObjectGrid.of(measurement), measurement.axes[:-2]
    frame = measurement.frame(measurement.n_frames // 2)
    low, high, dim = shown_range(frame.intensity, frame.bad_pixels)
    image: dict[str, Any] = {
        "name": name,
        **grid.placed((0, 0), lead),
        "contrast_limits": (low, high),
        "gamma": GAMMA,
        "colormap": log_colormap((dim - low) / (high - low)),
        "metadata": {KEY: words},
    }
    layers: list[LayerData] = [(measurement.intensity, image, "image")]
    bad: Any = measurement.bad_pixels
    if bad is not None:
        labels = {
            "name": f"bad pixels ({name})",
            **grid.placed((0, 0), lead[: np.ndim(bad) - 2]),
            "opacity": 0.7,
            "colormap": {None: "cyan", 0: "transparent"},
            "metadata": {KEY: {"kind": "bad pixels", "group": group}},
        }
        shown = bad.astype(np.uint8) if isinstance(bad, np.ndarray) else LazyLabels(bad)
        layers.append((shown, labels, "labels"))
    return layers


def truth_layer(image: NDArray[Any], measurement: Measurement, name: str) -> LayerData:
    """A known object as a hidden layer, in the middle of the frame that a measurement of it has.

    Parameters
    ----------
    image : ndarray
        The object, real.
    measurement : Measurement
        Simulated from it.
    name : str
        Name of the layer.
    """
    lead, size = measurement.axes[:-2], image.shape[-2:]
    y, x = ((n - h) // 2 for n, h in zip(measurement.frame_shape, size, strict=True))
    placed = ObjectGrid.of(measurement).placed((y, x), lead)
    meta = {"name": name, "colormap": "gray", "visible": False, "metadata": {KEY: {"kind": "truth"}}}
    return image, {**meta, **placed}, "image"


def shown_range(frame: NDArray[Any], bad: NDArray[np.bool_] | None = None) -> tuple[float, float, float]:
    """Contrast limits of a pattern and the dimmest value worth telling from black.

    Parameters
    ----------
    frame : ndarray
        One pattern.
    bad : ndarray of bool or None
        Pixels that do not count.

    Returns
    -------
    tuple of float
        Lower and upper contrast limit, and a value between them.
    """
    good = np.isfinite(frame) if bad is None else np.isfinite(frame) & ~np.asarray(bad, bool)
    positive = np.asarray(frame, np.float32)[good & (frame > 0)]
    if positive.size == 0:
        return 0.0, 1.0, 0.1
    high = float(positive.max())
    dim = max(float(np.percentile(positive, 5)), high * 10**-_MAX_DECADES)
    return 0.0, high, min(dim, high / 2)


def log_colormap(dim: float) -> dict[str, Any]:
    """Colours that show ``log(1 + value / dim)`` of values in 0 ... 1 after `GAMMA`.

    napari has no logarithmic display, and changing the data would change what is reconstructed. A gamma
    of 0.2 spreads the dark end, and colours at unequal distances straighten the rest.

    Parameters
    ----------
    dim : float
        Value that is clearly seen, as a share of the upper contrast limit.
    """
    from napari.utils.colormaps import ensure_colormap

    steps = np.linspace(0, 1, 256)
    values = dim * np.expm1(steps * np.log1p(1 / dim))
    controls = np.clip(values, 0, 1) ** GAMMA
    controls[0], controls[-1] = 0, 1
    decades = round(-np.log10(dim), 1)
    return {"colors": ensure_colormap("inferno").map(steps), "controls": controls, "name": f"log, {decades:g} dec."}


def result_layers(result: Reconstruction, source: str, run: int | None = None) -> list[LayerData]:
    """A reconstruction as layers, the image last and so on top.

    Parameters
    ----------
    result : Reconstruction
        A complex object becomes amplitude and phase.
    source : str
        What was reconstructed, for the names.
    run : int, optional
        Number of the run.

    Returns
    -------
    list of tuple
        Layer data: candidates where they were kept and the classical mean where there is one (both hidden),
        uncertainty, phase (complex objects), and reconstruction or amplitude.
    """
    grid = ObjectGrid.of(result)
    lead = tuple(result.axes[:-2])

    def layer(data: Any, kind: str, axes: tuple[str, ...] = lead, **more: Any) -> LayerData:
        number = "" if run is None else f"#{run} "
        words = {"kind": kind, "run": run, "source": source, "result": result, "provenance": result.provenance}
        words |= {"scores": result.scores, "status": result.status.name, "uncertainty_kind": result.uncertainty_kind}
        meta = {"name": f"{number}{kind} ({source})", "metadata": {KEY: words}}
        return data, {**meta, **grid.placed(result.box[:2], axes), **more}, "image"

    def seen(data: NDArray[Any], high: float, *, from_zero: bool = True) -> dict[str, Any]:
        return {"contrast_limits": limits(data, high, from_zero=from_zero)}

    image = np.asarray(result.image)
    size = np.abs(image) if np.iscomplexobj(image) else image
    main = "amplitude" if np.iscomplexobj(image) else "reconstruction"
    contrast = seen(size, 99.9, from_zero=bool(np.nanmin(size) >= 0))
    layers: list[LayerData] = []
    candidates = result.candidate_images
    if candidates is not None:  # first, for napari matches the axes of layers from the last one on
        candidates = np.moveaxis(np.asarray(candidates), -3, 0)
    for data, kind, axes in (
        (candidates, "candidates", ("candidate", *lead)),
        (result.classical, "classical mean", lead),
    ):
        if data is not None:
            shown = np.abs(data) if np.iscomplexobj(data) else np.asarray(data)
            layers.append(layer(shown, kind, axes, colormap="gray", visible=False, **contrast))
    deviation = np.asarray(result.uncertainty)
    layers.append(layer(deviation, "uncertainty", colormap="magma", **seen(deviation, 99)))
    if np.iscomplexobj(image):
        whole = (-np.pi, np.pi)
        layers.append(layer(np.angle(image), "phase", colormap="twilight_shifted", contrast_limits=whole))
    layers.append(layer(size, main, colormap="gray", **contrast))
    return layers


def limits(data: NDArray[Any], high: float, *, from_zero: bool) -> tuple[float, float]:
    """Contrast limits from 0 or the opposite percentile to the percentile `high`, never an empty range."""
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return 0.0, 1.0
    low = 0.0 if from_zero else float(np.percentile(finite, 100 - high))
    top = float(np.percentile(finite, high))
    return low, top if top > low else low + 1.0


@dataclass(frozen=True)
class ObjectGrid:
    """Pixel grid of the object: frame index times pixel is the place in the world.

    Attributes
    ----------
    pixel : tuple of float
        Pixel ``(y, x)`` in `unit`.
    unit : str
        A length, or ``"pixel"``.
    """

    pixel: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"

    @classmethod
    def of(cls, thing: Measurement | Reconstruction) -> ObjectGrid:
        """The grid of a measurement's or a reconstruction's object."""
        return cls.of_pixel(thing.geometry.object_pixel_m(thing.frame_shape))

    @classmethod
    def of_pixel(cls, pixel_m: tuple[float, float] | None) -> ObjectGrid:
        """The grid with this pixel ``(y, x)`` in metres; None for an unknown one."""
        if pixel_m is None:
            return cls()
        unit, factor = next((unit, factor) for limit, unit, factor in _UNITS if max(pixel_m) < limit)
        return cls((pixel_m[0] * factor, pixel_m[1] * factor), unit)

    def placed(self, corner: tuple[int, int], lead: tuple[str, ...] = ()) -> dict[str, Any]:
        """Scale, place, units and names of axes for a layer whose first pixel is frame pixel `corner`."""
        blank = (1.0,) * len(lead)
        return {
            "scale": (*blank, *self.pixel),
            "translate": (*(0.0 for _ in lead), corner[0] * self.pixel[0], corner[1] * self.pixel[1]),
            "units": (*("pixel" for _ in lead), self.unit, self.unit),
            "axis_labels": (*lead, "y", "x"),
        }


def words_of(layer: Any) -> dict[str, Any]:
    """What the package wrote into a layer's metadata; empty for a foreign layer."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, dict) else {}


def is_pattern(layer: Any) -> bool:
    """Whether an image layer can be a pattern: no colours, two axes or more, and no result of ours."""
    return not layer.rgb and layer.ndim >= 2 and words_of(layer).get("kind", "pattern") == "pattern"


def next_run(layers: Iterable[Any]) -> int:
    """Number for a new run: one more than the largest among the layers."""
    return max((words_of(layer).get("run") or 0 for layer in layers), default=0) + 1


def measurement_of(
    layer: Any, *, bad_pixels: Any = None, support: Any = None, detector: tuple[int, int] | None = None
) -> Measurement:
    """The measurement that a layer shows; the data are passed on, never read.

    Parameters
    ----------
    layer : napari.layers.Image
        Pattern or stack; its data may be lazy or multiscale.
    bad_pixels, support : array-like, optional
        Replace those of the file.
    detector : tuple of int, optional
        Which axes of the layer are the detector's ``(y, x)``; the last two where it is not given.

    Raises
    ------
    InputError
        When it cannot be a measurement.
    """
    if layer.rgb:
        raise InputError(
            f"the colour image {layer.name!r}", expected="intensities", do="choose a layer with one value per pixel"
        )
    words = words_of(layer)
    data = full_resolution(layer)
    order = order_of(len(data.shape), detector)
    labels = tuple(str(layer.axis_labels[axis]) for axis in order)
    named = len(set(labels)) == len(data.shape) and not any(label.startswith("-") for label in labels)
    bad = words.get("bad_pixels") if bad_pixels is None else bad_pixels
    path = getattr(layer.source, "path", None)
    provenance = dict(words.get("provenance") or ({"source": str(path)} if path else {}))
    return Measurement(
        arranged(data, order),
        bad_pixels=in_order(bad, order),
        support=in_order(support, order),
        geometry=Geometry(**words.get("geometry", {})),
        intensity_scale=words.get("intensity_scale", 1.0),
        alpha=words.get("alpha"),
        axes=labels if named else (),
        provenance={**provenance, "layer": layer.name},
    )


def in_memory(measurement: Measurement) -> Measurement:
    """The measurement with its support and its single-frame mask read; for the worker's thread.

    Parameters
    ----------
    measurement : Measurement
        As it comes from the layers, where masks may be labels, lazy, or both.
    """
    bad, support = measurement.bad_pixels, measurement.support
    if bad is not None and np.ndim(bad) == 2:
        bad = np.asarray(bad) != 0
    if support is not None:
        support = np.asarray(support) != 0
    return replace(measurement, bad_pixels=bad, support=support)


class LazyLabels:
    """A lazy mask as the integers that a Labels layer asks for.

    Parameters
    ----------
    mask : array-like
        Anything with a shape that can be sliced; non-zero is 1.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, mask: Any) -> None:
        self.mask = mask
        self.shape: tuple[int, ...] = tuple(mask.shape)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return (np.asarray(self.mask[index]) != 0).astype(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype)

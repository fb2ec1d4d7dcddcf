"""Labels and Shapes layers as masks in the frame of a pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin.axes import full_resolution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.plugin.layers import ObjectGrid

_TO_M = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3}


def labels_of(layer: Any) -> Any:
    """The data of a Labels layer: a copy of a single frame (it may be painted on), stacks and lazy data as they are."""
    data = full_resolution(layer)
    return data.copy() if isinstance(data, np.ndarray) and data.ndim == 2 else data


def support_of(layer: Any, frame_shape: tuple[int, int], grid: ObjectGrid) -> Any:
    """A Labels or Shapes layer as a support, frame-sized, non-zero = inside.

    Labels as large as the frame are taken pixel for pixel; other layers by where they lie in the world
    of the object, so that what is drawn on a reconstruction falls on the right pixels.

    Parameters
    ----------
    layer : napari.layers.Labels or napari.layers.Shapes
        What was drawn.
    frame_shape : tuple of int
        Shape ``(y, x)`` of the pattern.
    grid : ObjectGrid
        Pixels of the object.

    Raises
    ------
    InputError
        When nothing of it lies in the frame.
    """
    if hasattr(layer, "shape_type"):
        support = _drawn(layer, frame_shape, grid)
    else:
        data = labels_of(layer)
        if tuple(data.shape) == frame_shape:
            return data
        if not isinstance(data, np.ndarray):
            raise InputError(
                f"the support {layer.name!r} of shape {tuple(data.shape)}",
                expected=f"the frame's shape {frame_shape}",
                do="choose another layer",
            )
        support = _sampled(layer, data, frame_shape, grid)
    if not support.any():
        raise InputError(
            f"the support {layer.name!r}, which is empty inside the frame",
            expected="something drawn where the object may be",
            do="draw it, or choose half the frame",
        )
    return support


def _drawn(layer: Any, frame_shape: tuple[int, int], grid: ObjectGrid) -> NDArray[np.bool_]:
    """Shapes filled in the frame; they are laid out there once more, so that every kind of shape works."""
    from napari.layers import Shapes

    per_unit = _frame_px_per_unit(layer, grid)
    outlines = [np.asarray([layer.data_to_world(point)[-2:] for point in outline]) * per_unit for outline in layer.data]
    if not outlines:
        return np.zeros(frame_shape, bool)
    inside: NDArray[np.bool_] = Shapes(outlines, shape_type=layer.shape_type).to_masks(frame_shape).any(axis=0)
    return inside


def _sampled(layer: Any, data: NDArray[Any], frame_shape: tuple[int, int], grid: ObjectGrid) -> NDArray[np.bool_]:
    """Labels at every frame pixel, nearest neighbour; axes before the detector's are merged."""
    inside = (data != 0).any(axis=tuple(range(data.ndim - 2)))
    step = np.asarray(layer.scale[-2:]) * _frame_px_per_unit(layer, grid)
    corner = np.asarray(layer.translate[-2:]) * _frame_px_per_unit(layer, grid)
    found = np.zeros(frame_shape, bool)
    where = [np.round((np.arange(n) - corner[i]) / step[i]).astype(int) for i, n in enumerate(frame_shape)]
    valid = [(index >= 0) & (index < n) for index, n in zip(where, inside.shape, strict=True)]
    found[np.ix_(*valid)] = inside[np.ix_(*(index[good] for index, good in zip(where, valid, strict=True)))]
    return found


def _frame_px_per_unit(layer: Any, grid: ObjectGrid) -> NDArray[np.float64]:
    """Frame pixels per unit of the layer's world, per axis; a layer in pixels is drawn in frame pixels."""
    factors = []
    for unit, pixel in zip(layer.units[-2:], grid.pixel, strict=True):
        if grid.unit == "pixel" or not unit.is_compatible_with("m"):
            factors.append(1.0)
        else:
            factors.append(float((1.0 * unit).to("m").magnitude) / (pixel * _TO_M[grid.unit]))
    return np.asarray(factors)

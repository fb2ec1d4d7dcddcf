"""Which axes of a layer are the detector's: arrays seen with these last, without reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.plugin.layers import LayerData


def full_resolution(layer: Any) -> Any:
    """The data of a layer, of its finest level where it has several."""
    return layer.data[0] if layer.multiscale else layer.data


def order_of(ndim: int, detector: tuple[int, int] | None) -> tuple[int, ...]:
    """All axes, those of the detector ``(y, x)`` last; None stands for the last two."""
    y, x = (ndim - 2, ndim - 1) if detector is None else detector
    return (*(axis for axis in range(ndim) if axis not in (y, x)), y, x)


def arranged(data: Any, order: Sequence[int]) -> Any:
    """An array with its axes in another order; lazy arrays stay lazy.

    Parameters
    ----------
    data : array-like
        numpy, dask, zarr, xarray: anything with a shape that can be sliced.
    order : sequence of int
        Axes of `data` in the order in which they are wanted.
    """
    if tuple(order) == tuple(range(len(data.shape))):
        return data
    return data.transpose(order) if isinstance(data, np.ndarray) else AxisView(data, order)


class AxisView:
    """A lazy array whose axes come in another order; what is asked for is read, and nothing else.

    Parameters
    ----------
    data : array-like
        Has a shape and a type, and can be sliced.
    order : sequence of int
        Axes of `data` in the order of this view.
    """

    def __init__(self, data: Any, order: Sequence[int]) -> None:
        self.data, self.order = data, tuple(order)
        self.shape = tuple(int(data.shape[axis]) for axis in self.order)
        self.dtype = np.dtype(data.dtype)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            where = given.index(Ellipsis)
            given = (*given[:where], *[slice(None)] * (self.ndim - len(given) + 1), *given[where + 1 :])
        wanted: list[Any] = [slice(None)] * self.ndim
        for place, one in enumerate(given):
            wanted[self.order[place]] = one if isinstance(one, slice) else int(one)
        kept = [axis for axis in self.order if isinstance(wanted[axis], slice)]
        found = np.asarray(self.data[tuple(wanted)])
        return found.transpose([sorted(kept).index(axis) for axis in kept])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)


def shown_index(layer: Any, point: Sequence[float], order: Sequence[int]) -> int:
    """Number of the pattern that is shown, in the flattened axes before the detector's.

    Parameters
    ----------
    layer : napari.layers.Image
        Patterns.
    point : sequence of float
        Where the viewer's sliders stand, in the world.
    order : sequence of int
        Axes of the layer, the detector's last.
    """
    lead = list(order[:-2])
    if not lead:
        return 0
    shape = full_resolution(layer).shape
    place = np.asarray(layer.world_to_data(list(point)[-layer.ndim :]))
    index = [int(np.clip(round(float(place[axis])), 0, shape[axis] - 1)) for axis in lead]
    return int(np.ravel_multi_index(index, [shape[axis] for axis in lead]))


def axis_names(layer: Any) -> list[str]:
    """What the axes of a layer are called, with their lengths."""
    shape = full_resolution(layer).shape
    return [f"{name} ({length})" for name, length in zip(layer.axis_labels, shape, strict=True)]


def in_order(mask: Any, order: tuple[int, ...]) -> Any:
    """A mask or support of a layer in the order of the detector's axes: all axes, or the last two as they are drawn."""
    if mask is None:
        return None
    if len(mask.shape) == len(order):
        return arranged(mask, order)
    swapped = order[-2:] == (len(order) - 1, len(order) - 2)
    return arranged(mask, (1, 0)) if swapped and len(mask.shape) == 2 else mask


def led(data: Iterable[LayerData], like: dict[str, tuple[Any, ...]]) -> list[LayerData]:
    """Layer data whose axes before the last two have the scale, place and units of the patterns they come from.

    Parameters
    ----------
    data : iterable of tuple
        Layer data of a result.
    like : dict
        ``scale``, ``translate`` and ``units`` of the axes before the detector's.
    """

    def placed(own: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
        first = len(own) - 2 - len(values)
        return (*own[:first], *values, *own[-2:])

    return [
        (array, meta | {key: placed(tuple(meta[key]), values) for key, values in like.items()}, kind)
        for array, meta, kind in data
    ]


def lead_of(layer: Any, detector: tuple[int, int] | None = None) -> dict[str, tuple[Any, ...]]:
    """Scale, place and units of a layer's axes before the detector's; see `led`."""
    lead = order_of(layer.ndim, detector)[:-2]
    return {
        "scale": tuple(float(layer.scale[axis]) for axis in lead),
        "translate": tuple(float(layer.translate[axis]) for axis in lead),
        "units": tuple(str(layer.units[axis]) for axis in lead),
    }

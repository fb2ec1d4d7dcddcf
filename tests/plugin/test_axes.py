"""Axes in any order, without reading more than what is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_i2ipr.plugin.axes import AxisView, arranged, axis_names, in_order, lead_of, led, order_of, shown_index

CUBE = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
KINDS = ["numpy", "dask", "zarr", "xarray"]


def made(kind: str, data: np.ndarray = CUBE) -> Any:
    if kind == "dask":
        return pytest.importorskip("dask.array").from_array(data, chunks=(1, 6, 7))
    if kind == "zarr":
        return pytest.importorskip("zarr").array(data, chunks=(1, 6, 7))
    if kind == "xarray":
        return pytest.importorskip("xarray").DataArray(data, dims=("a", "b", "c"))
    return data


class Counting:
    """An array that counts what is read of it."""

    def __init__(self) -> None:
        self.shape, self.dtype, self.read = CUBE.shape, CUBE.dtype, 0

    def __getitem__(self, index: Any) -> np.ndarray:
        found = CUBE[index]
        self.read += found.size
        return found


def test_order() -> None:
    assert order_of(2, None) == (0, 1)
    assert order_of(4, None) == (0, 1, 2, 3)
    assert order_of(4, (0, 2)) == (1, 3, 0, 2)
    assert order_of(3, (2, 1)) == (0, 2, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detector", [(1, 2), (2, 1), (0, 1), (2, 0), (0, 2)])
def test_arranged(kind: str, detector: tuple[int, int]) -> None:
    order = order_of(3, detector)
    found, wanted = arranged(made(kind), order), CUBE.transpose(order)
    assert tuple(found.shape) == wanted.shape
    assert np.dtype(found.dtype) == wanted.dtype
    np.testing.assert_array_equal(np.asarray(found), wanted)
    for index in [(2,), (2, 3), (slice(1, 3), 2), (Ellipsis, 1), (slice(None), slice(2), 0)]:
        np.testing.assert_array_equal(np.asarray(found[index]), wanted[index])
    np.testing.assert_array_equal(np.asarray(found[(np.int64(1),)]), wanted[1])


def test_only_what_is_asked_for_is_read() -> None:
    data = Counting()
    view = arranged(data, order_of(3, (0, 1)))
    assert isinstance(view, AxisView)
    assert data.read == 0
    np.testing.assert_array_equal(view[3], CUBE[:, :, 3])
    assert data.read == 5 * 6


def test_the_usual_order_changes_nothing() -> None:
    data = Counting()
    assert arranged(data, (0, 1, 2)) is data


def test_masks_go_with_the_patterns() -> None:
    mask, frame = CUBE > 100, CUBE[0] > 10
    np.testing.assert_array_equal(in_order(mask, (2, 0, 1)), mask.transpose(2, 0, 1))
    np.testing.assert_array_equal(in_order(frame, (0, 2, 1)), frame.T)
    assert in_order(frame, (2, 0, 1)) is frame
    assert in_order(None, (0, 1)) is None


def test_shown_index() -> None:
    layer = Image(np.zeros((3, 4, 20, 20)), scale=(2, 0.5, 1, 1), translate=(10, 0, 0, 0))
    order = order_of(4, None)
    assert shown_index(layer, (12, 1.5, 3, 3), order) == 1 * 4 + 3
    assert shown_index(layer, (99, 99, 12, 1.0, 3, 3), order) == 1 * 4 + 2  # a viewer with more axes
    assert shown_index(layer, (-50, 50, 0, 0), order) == 3  # beside the layer: the nearest
    assert shown_index(Image(np.zeros((20, 20))), (3, 3), (0, 1)) == 0
    assert shown_index(layer, (12, 0, 7, 9), order_of(4, (1, 0))) == 7 * 20 + 9


def test_names_tell_the_lengths() -> None:
    assert axis_names(Image(CUBE, axis_labels=("t", "y", "x"))) == ["t (5)", "y (6)", "x (7)"]
    pyramid = Image([np.zeros((8, 64, 64)), np.zeros((8, 32, 32))], multiscale=True)
    assert axis_names(pyramid)[1].endswith("(64)")


def test_leading_axes_keep_scale_place_and_unit() -> None:
    layer = Image(CUBE, scale=(0.5, 2, 3), translate=(7, 1, 1), units=("s", "um", "um"))
    like = lead_of(layer)
    assert like == {"scale": (0.5,), "translate": (7.0,), "units": ("second",)}
    meta = {"scale": (1.0, 5.0, 5.0), "translate": (0.0, 3.0, 3.0), "units": ("pixel", "nm", "nm")}
    ((_, found, _),) = led([(CUBE, meta, "image")], like)
    assert found == {"scale": (0.5, 5, 5), "translate": (7, 3, 3), "units": ("second", "nm", "nm")}
    assert lead_of(Image(CUBE[0])) == {"scale": (), "translate": (), "units": ()}

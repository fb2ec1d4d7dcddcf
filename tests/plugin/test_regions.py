"""What is drawn in napari falls on the right pixels of the frame."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Shapes

from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin.layers import ObjectGrid
from napari_i2ipr.plugin.regions import labels_of, support_of

FRAME = (40, 48)
GRID = ObjectGrid.of_pixel((5e-9, 10e-9))


def test_frame_sized_labels() -> None:
    data = np.zeros(FRAME, np.uint8)
    data[10:20, 12:30] = 3
    found = support_of(Labels(data), FRAME, GRID)
    np.testing.assert_array_equal(found, data)
    data[0, 0] = 1
    assert found[0, 0] == 0  # painting on does not change what was asked for


def test_labels_on_a_reconstruction() -> None:
    data = np.zeros((20, 24), np.uint8)
    data[0, 0] = data[-1, -1] = 1
    layer = Labels(data, **GRID.placed((10, 12)))
    found = support_of(layer, FRAME, GRID)
    assert [tuple(int(i) for i in where) for where in np.argwhere(found)] == [(10, 12), (29, 35)]


def test_labels_in_another_unit() -> None:
    data = np.ones((4, 4), np.uint8)
    layer = Labels(data, scale=(0.005, 0.010), translate=(0.05, 0.12), units=("um", "um"))
    found = support_of(layer, FRAME, GRID)
    np.testing.assert_array_equal(np.argwhere(found)[0], (10, 12))
    assert found.sum() == 16


def test_labels_of_a_stack_are_merged() -> None:
    data = np.zeros((3, 20, 24), np.uint8)
    data[0, 1, 1] = data[2, 2, 2] = 1
    assert support_of(Labels(data), FRAME, ObjectGrid()).sum() == 2


@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon"])
def test_shapes_on_a_reconstruction(kind: str) -> None:
    corners = np.array([[9.5, 11.5], [9.5, 35.5], [29.5, 35.5], [29.5, 11.5]])
    layer = Shapes([corners * GRID.pixel], shape_type=kind, units=("nm", "nm"))
    found = support_of(layer, FRAME, GRID)
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 12, 35)
    area = 20 * 24 * (np.pi / 4 if kind == "ellipse" else 1)
    assert found.sum() == pytest.approx(area, rel=0.06)


def test_shapes_in_a_stack() -> None:
    corners = np.array([[1, 10, 12], [1, 10, 20], [1, 20, 20], [1, 20, 12]])
    assert support_of(Shapes([corners], shape_type="polygon"), FRAME, ObjectGrid()).any()


@pytest.mark.parametrize("layer", [Shapes(), Labels(np.zeros((20, 20), np.uint8))], ids=["shapes", "labels"])
def test_nothing_drawn(layer: Labels | Shapes) -> None:
    with pytest.raises(InputError, match="empty"):
        support_of(layer, FRAME, GRID)


def test_lazy_labels_are_passed_on() -> None:
    dask = pytest.importorskip("dask.array")
    lazy = dask.ones(FRAME, dtype=np.uint8)
    assert support_of(Labels(lazy), FRAME, GRID) is lazy
    assert labels_of(Labels(lazy)) is lazy
    with pytest.raises(InputError, match="shape"):
        support_of(Labels(dask.ones((8, 8), dtype=np.uint8)), FRAME, GRID)

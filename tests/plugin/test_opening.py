"""The commands in napari's menus: open any format as a pattern, show a picture as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from app_model.types import MenuItem, SubmenuItem
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from napari_i2ipr import io
from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin.layers import is_pattern, measurement_of, words_of

Viewer = Callable[..., Any]


def entries(menu: str) -> list[str]:
    """Ids of what hangs in a menu of napari."""
    from napari._app_model import get_app_model

    model = get_app_model()
    found = model.menus._menu_items.get(menu, [])
    assert all(isinstance(item, MenuItem | SubmenuItem) for item in found)
    return [item.command.id for item in found if isinstance(item, MenuItem)]


def call(command: str) -> None:
    """Do what choosing a menu's entry does."""
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(command).result()


def test_menus(make_napari_viewer_proxy: Viewer) -> None:
    make_napari_viewer_proxy()
    assert "napari-i2ipr.open_pattern" in entries("napari/file/io_utilities")
    assert {"napari-i2ipr.simulate_widget", "napari-i2ipr.show_as_pattern"} <= set(entries("napari/layers/data"))
    transform = set(entries("napari/layers/transform"))
    assert {"napari-i2ipr.reconstruct_widget", "napari-i2ipr.simulate_widget"} <= transform


def test_a_widget_opens_from_the_menu(no_job_left: None, make_napari_viewer_proxy: Viewer) -> None:
    viewer = make_napari_viewer_proxy()
    call("napari-i2ipr.simulate_widget")
    assert [name for name in viewer.window.dock_widgets if "Simulate" in name]


def test_open_as_pattern(
    tmp_path: Path, measurement: Measurement, monkeypatch: pytest.MonkeyPatch, make_napari_viewer_proxy: Viewer
) -> None:
    """Also formats of ordinary pictures, which napari's readers take otherwise; stacks stay in their file."""
    frames = np.stack([measurement.intensity] * 3)
    tifffile.imwrite(tmp_path / "stack.tif", frames, photometric="minisblack")
    np.save(tmp_path / "frame.npy", frames[0])
    io.write(measurement, tmp_path / "ours.cxi")
    files = [str(tmp_path / name) for name in ("stack.tif", "frame.npy", "ours.cxi")]
    asked: list[str] = []

    def choose(_parent: Any, _title: str, _folder: str, filters: str) -> tuple[list[str], str]:
        asked.append(filters)
        return files, ""

    monkeypatch.setattr(QFileDialog, "getOpenFileNames", choose)
    viewer = make_napari_viewer_proxy()
    call("napari-i2ipr.open_pattern")
    assert [layer.name for layer in viewer.layers] == ["stack", "frame", "ours", "bad pixels (ours)"]
    assert all(words_of(layer)["kind"] == "pattern" for layer in viewer.layers[:3])
    assert not isinstance(viewer.layers[0].data, np.ndarray)
    np.testing.assert_array_equal(viewer.layers[0].data[1], measurement.intensity)
    assert asked[0].startswith("All formats (*.cxi *.mat *.h5 ")
    assert "*.tif" in asked[0]
    assert "zarr" not in asked[0]


def test_show_as_pattern(measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_layer(Image(measurement.intensity, name="from napari", scale=(2, 2)))
    before = layer.data
    call("napari-i2ipr.show_as_pattern")
    assert layer.data is before
    assert tuple(layer.scale) == (2, 2)
    assert (layer.gamma, layer.colormap.name[:3]) == (0.2, "log")
    assert layer.contrast_limits == [0, measurement.intensity.max()]
    assert words_of(layer)["centre_px"] == (20, 24)
    assert is_pattern(layer)
    assert measurement_of(layer).frame_shape == (40, 48)
    call("napari-i2ipr.show_as_pattern")  # once more does no harm
    assert words_of(layer)["kind"] == "pattern"


def test_show_as_pattern_refuses(make_napari_viewer_proxy: Viewer) -> None:
    from napari.utils.notifications import notification_manager

    viewer = make_napari_viewer_proxy()
    notification_manager.records.clear()
    call("napari-i2ipr.show_as_pattern")
    viewer.add_layer(Image(np.zeros((40, 40, 3), np.uint8), rgb=True, name="colours"))
    call("napari-i2ipr.show_as_pattern")
    assert words_of(viewer.layers[0]) == {}
    said = [record.message for record in notification_manager.records]
    assert said[0].startswith("Select one image layer")
    assert "the colour image 'colours'" in said[1]
    notification_manager.records.clear()

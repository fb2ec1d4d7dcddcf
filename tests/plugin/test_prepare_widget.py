"""The Prepare widget, driven in a real viewer."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels, Layer, Shapes
from pytestqt.qtbot import QtBot

from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin.layers import measurement_of, pattern_layers, words_of
from napari_i2ipr.plugin.prepare_fields import LABELS, field, value_of
from napari_i2ipr.plugin.prepare_task import in_this_window
from napari_i2ipr.plugin.samples import _geometry
from napari_i2ipr.plugin.state import RunState
from napari_i2ipr.prepare import PREPARATION, Preparation, prepare
from napari_i2ipr.simulation import simulate

Opened = Callable[..., tuple[Any, Any]]
RUN_MS = 120_000


def seen(shape: tuple[int, int] = (40, 44), **more: Any) -> Measurement:
    """What a detector sees of blobs: counts with the zero frequency off the middle."""
    rng = np.random.default_rng(3)
    image = np.zeros(shape)
    for _ in range(7):
        y, x = np.mgrid[: shape[0], : shape[1]]
        inside = np.hypot(y - rng.uniform(9, shape[0] - 9), x - rng.uniform(9, shape[1] - 9)) < rng.uniform(2, 7)
        image += inside * rng.uniform(0.5, 1)
    made = simulate(image, oversampling=2.4, photons=1e7, seed=1, **more)
    rows, columns = np.s_[5:], np.s_[:-7]
    bad = None if made.bad_pixels is None else made.bad_pixels[rows, columns]
    return Measurement(made.intensity[rows, columns], bad_pixels=bad, geometry=_geometry())


TRUE = (43, 53)
"""Its centre: 96 x 106 px about (48, 53), five rows cut off before it."""


@pytest.fixture
def opened(no_job_left: None, make_napari_viewer_proxy: Callable[..., Any]) -> Opened:
    """Open a viewer with a pattern and the widget, as napari does it."""

    def make(measurement: Measurement) -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy()
        for one in pattern_layers(measurement, "raw"):
            viewer.add_layer(Layer.create(*one))
        _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Prepare diffraction data")
        return viewer, widget

    return make


def finish(qtbot: QtBot, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=RUN_MS)


def settle(qtbot: QtBot, widget: Any) -> None:
    """Wait for a fresh summary."""
    qtbot.waitUntil(lambda: not widget.summary.stale and widget.looker._job is None, timeout=RUN_MS)


def test_fields_come_from_the_settings() -> None:
    apart = {"center", "frame", "sum_frames"}
    assert set(LABELS) == set(Preparation.model_fields) - apart
    for name in LABELS:
        info, made = Preparation.model_fields[name], field(name)
        assert str(info.description) in made.tooltip
        assert value_of(name, made) == info.default
    level = field("background")
    level.value = "30"
    assert (level.value, level.choice.value) == ("30", "typed")


def test_no_option_of_the_command_line_is_said() -> None:
    for said in (
        "check the sign of the mask (--invert-mask)",
        "subtract it (--background auto)",
        "--center Y,X tells it",
    ):
        assert "--" not in in_this_window(said)


@pytest.mark.slow
def test_find_centre_and_prepare(qtbot: QtBot, opened: Opened) -> None:
    raw = seen(beamstop_px=1, dead_pixels=9)
    viewer, widget = opened(raw)
    pattern, mask = viewer.layers[:2]
    before = pattern.data.copy()
    assert widget.form.mask.value == mask
    settle(qtbot, widget)
    widget.panel.find_button.click()
    finish(qtbot, widget)
    settle(qtbot, widget)
    point = widget.point.layer
    assert viewer.layers.selection.active == point
    np.testing.assert_allclose(point.data, [TRUE])
    np.testing.assert_allclose(pattern.data_to_world(TRUE), point.data_to_world(point.data[0]))
    assert widget.form.centre == TRUE
    words = widget.summary.text.text()
    assert "Object: about" in words
    assert "um, pixel" in words
    assert "Oversampling: about " in words
    assert "Photons: about" in words
    assert "(43, 53), by symmetry" in words
    share = f"{100 * raw.bad_pixels.mean():.2g} % masked"
    assert widget.form.masked.text() == share

    widget.panel.run_button.click()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    expected, report = prepare(measurement_of(pattern))
    made, bad = viewer.layers[-2:]
    assert [made.name, bad.name] == ["raw, prepared", "bad pixels (raw, prepared)"]
    np.testing.assert_array_equal(made.data, expected.intensity)
    np.testing.assert_array_equal(np.asarray(bad.data) != 0, expected.bad_pixels)
    np.testing.assert_array_equal(pattern.data, before)
    assert [layer.visible for layer in (pattern, mask, point)] == [False, False, False]
    assert words_of(made)["provenance"][PREPARATION]["report"] == report.to_dict()
    size = raw.geometry.object_pixel_m(expected.frame_shape)
    assert size is not None
    assert (made.scale[0], str(made.units[0])) == (pytest.approx(size[0] * 1e6), "micrometer")
    assert made.colormap.name.startswith("log")

    _, reconstruct = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    reconstruct.pattern.value = made
    assert reconstruct.bad_pixels.value == bad
    assert reconstruct.task().measurement.frame_shape == expected.frame_shape
    widget.form.pattern.value = made
    settle(qtbot, widget)
    assert "prepared before" in widget.summary.notes.text()


def test_point_and_fields_follow_each_other(qtbot: QtBot, opened: Opened) -> None:
    _, widget = opened(seen())
    settle(qtbot, widget)
    point = widget.point.layer
    before = tuple(point.data[0])
    for at in (before, (41.3, 50.1)):  # what napari does when the mouse takes a point, and lets it go
        point._move({0}, at)
    point._drag_start = None
    assert widget.form.centre == (41.5, 50.0)
    np.testing.assert_allclose(point.data, [[41.5, 50]])
    assert widget.form.way.value == "given"
    assert widget.summary.stale
    widget.form.y.value = 44
    np.testing.assert_allclose(widget.point.layer.data, [[44, 50]])
    point.data = np.empty((0, 2))  # deleted by hand
    settle(qtbot, widget)
    assert "(44, 50), as set" in widget.summary.text.text()
    assert widget.form.task().settings.center_px == (44, 50)
    widget.form.way.value = "keep"
    np.testing.assert_allclose(widget.point.layer.data, [[45, 49]])


@pytest.mark.slow
def test_wrong_sign_and_nothing_measured(qtbot: QtBot, opened: Opened) -> None:
    raw = seen(beamstop_px=2, dead_pixels=9)
    viewer, widget = opened(raw)
    good = Labels((~raw.bad_pixels).astype(np.uint8), name="good")
    viewer.add_layer(good)
    widget.form.mask.value = good
    settle(qtbot, widget)
    assert "sign looked wrong" in widget.form.masked.text()
    assert "its sign looks wrong" in widget.summary.notes.text()
    widget.form.fields["invert_mask"].value = True
    settle(qtbot, widget)
    assert widget.form.masked.text() == f"{100 * raw.bad_pixels.mean():.2g} % masked"
    widget.form.fields["invert_mask"].value = False
    good.fill((0, 0), 1)
    good.data = np.ones(raw.shape, np.uint8)
    settle(qtbot, widget)
    count = len(viewer.layers)
    assert "all pixels masked" in widget.summary.notes.text()
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.CRASHED
    said = widget.panel.message.text()
    assert "all pixels masked" in said
    assert "Invert" in said
    assert "--" not in said
    assert len(viewer.layers) == count
    assert widget.panel.run_button.isEnabled()


def test_wrong_numbers_are_said_at_once(qtbot: QtBot, opened: Opened) -> None:
    _, widget = opened(seen())
    widget.form.fields["saturation"].value = "many"
    settle(qtbot, widget)
    assert "Saturated from = 'many'" in widget.summary.notes.text()
    widget.form.fields["saturation"].value = "1e9"
    widget.form.fields["size"].value = "80"
    widget.form.fields["binning"].value = 1
    settle(qtbot, widget)
    assert "Frame: 80 x 80 px" in widget.summary.text.text()


@pytest.mark.slow
@pytest.mark.parametrize("support", ["auto", "drawn"])
def test_support_goes_along(qtbot: QtBot, opened: Opened, support: str) -> None:
    viewer, widget = opened(seen())
    choice: Any = support
    if support == "drawn":
        pattern = viewer.layers[0]
        corners = [pattern.data_to_world(at) for at in ((20, 25), (20, 72), (70, 72), (70, 25))]
        choice = Shapes([np.array(corners)], shape_type="rectangle", units=pattern.units)
        viewer.add_layer(choice)
    widget.form.support.value = choice
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    made, drawn = viewer.layers["raw, prepared"], viewer.layers["support (raw, prepared)"]
    inside = np.asarray(words_of(made)["support"])
    assert 0.03 < inside.mean() < 0.35
    np.testing.assert_array_equal(np.asarray(drawn.data) != 0, inside)
    _, reconstruct = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    reconstruct.pattern.value = made
    np.testing.assert_array_equal(np.asarray(reconstruct.task().measurement.support), inside)


@pytest.mark.slow
def test_lazy_stack_has_one_centre(qtbot: QtBot, opened: Opened) -> None:
    frames = np.stack([seen().intensity, seen().intensity * 0.5])
    read: list[bool] = []

    def load(block: Any) -> Any:
        import threading

        read.append(threading.current_thread() is threading.main_thread())
        return block

    lazy = da.from_array(frames, chunks=(1, -1, -1)).map_blocks(load, dtype=frames.dtype, meta=frames[:0])
    viewer, widget = opened(Measurement(lazy, axes=("t", "y", "x")))
    viewer.layers[0].scale = (3, 1, 1)
    settle(qtbot, widget)
    assert "one of 2" in widget.summary.text.text()
    whole = read.count(True)
    widget.find_centre()
    finish(qtbot, widget)
    assert widget.form.centre == TRUE
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    assert read.count(True) == whole  # the window reads what it shows, no more
    made = viewer.layers["raw, prepared"]
    assert made.data.shape[0] == 2
    np.testing.assert_allclose(made.data[0], 2 * made.data[1])
    np.testing.assert_allclose(made.scale, (3, 1, 1))
    assert made.axis_labels == ("t", "y", "x")
    widget.form.frames.value = "shown"
    assert widget.form.task().settings.frame == 0


def test_point_of_a_frame_in_fft_order_is_hidden(qtbot: QtBot, opened: Opened) -> None:
    _, widget = opened(Measurement(np.fft.ifftshift(simulate(np.eye(24) + 1, photons=1e7).intensity)))
    settle(qtbot, widget)
    assert "moved to n // 2" in widget.summary.notes.text()
    assert not widget.point.layer.visible


def test_multiscale(qtbot: QtBot, opened: Opened) -> None:
    raw = seen()
    viewer, widget = opened(raw)
    pyramid = Image([raw.intensity, raw.intensity[::2, ::2]], multiscale=True, name="pyramid")
    viewer.add_layer(pyramid)
    widget.form.pattern.value = pyramid
    settle(qtbot, widget)
    assert widget.form.centre == TRUE
    widget.form.fields["binning"].value = 2
    widget.run()
    finish(qtbot, widget)
    expected, _ = prepare(raw, Preparation(binning=2))
    np.testing.assert_array_equal(viewer.layers["pyramid, prepared"].data, expected.intensity)


@pytest.mark.parametrize(("patterns", "seconds"), [(20, 0.3), (1, 3.0)], ids=["stack", "large"])
def test_cancel_adds_nothing(
    qtbot: QtBot, opened: Opened, monkeypatch: pytest.MonkeyPatch, patterns: int, seconds: float
) -> None:
    """Between the patterns of a stack, and in the middle of one that takes long."""
    from napari_i2ipr.prepare import preparation

    real = preparation.piece
    viewer, widget = opened(Measurement(np.stack([seen().intensity] * patterns)))
    settle(qtbot, widget)
    begun: list[bool] = []

    def slow(*args: Any) -> Any:
        begun.append(True)
        time.sleep(seconds)
        return real(*args)

    monkeypatch.setattr(preparation, "piece", slow)
    count = len(viewer.layers)
    widget.run()
    qtbot.waitUntil(lambda: bool(begun), timeout=RUN_MS)
    start = time.monotonic()
    widget.panel.cancel_button.click()
    finish(qtbot, widget)
    assert time.monotonic() - start < 1
    assert widget.runner.status.state is RunState.STOPPED
    assert widget.panel.run_button.isEnabled()
    qtbot.wait(round(1000 * seconds))
    assert len(viewer.layers) == count


@pytest.mark.slow
def test_opens_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import napari_i2ipr.plugin.prepare as p\n"
        "import time; from napari.components import ViewerModel; from qtpy.QtWidgets import QApplication\n"
        "app = QApplication([]); v = ViewerModel(); s = time.monotonic()\n"
        "w = p.PrepareWidget(v); took = time.monotonic() - s; w.close_down(); assert took < 1, took\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_freed_with_the_viewer(qtbot: QtBot, opened: Opened) -> None:
    viewer, widget = opened(seen())
    settle(qtbot, widget)
    widget.find_centre()
    finish(qtbot, widget)
    gone, point = weakref.ref(widget), weakref.ref(widget.point)
    dock = viewer.window.dock_widgets
    del dock
    viewer.close()
    del widget, viewer
    qtbot.waitUntil(lambda: gc.collect() >= 0 and gone() is None and point() is None, timeout=10_000)

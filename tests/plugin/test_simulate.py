"""The Simulate widget, driven in a real viewer."""

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
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer

from napari_i2ipr.evaluate.score import evaluate
from napari_i2ipr.phantoms import cell
from napari_i2ipr.plugin.layers import is_pattern, measurement_of, words_of
from napari_i2ipr.plugin.simulate import LABELS, option_field
from napari_i2ipr.plugin.state import RunState
from napari_i2ipr.simulation import simulate
from napari_i2ipr.simulation_options import OPTIONS

Opened = Callable[..., tuple[Any, Any]]
RUN_MS = 120_000


@pytest.fixture
def opened(no_job_left: None, make_napari_viewer_proxy: Callable[..., Any]) -> Opened:
    """Open a viewer with an image and the widget, as napari does it."""

    def make(data: Any, **more: Any) -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy()
        viewer.add_layer(Image(data, name="picture", **more))
        _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Simulate")
        return viewer, widget

    return make


def finish(qtbot: QtBot, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=RUN_MS)


def test_fields_come_from_the_options() -> None:
    assert set(LABELS) == set(OPTIONS) - {"offset"}
    for name in LABELS:
        field = option_field(name)
        assert OPTIONS[name].text in field.tooltip
        if OPTIONS[name].default is not None:
            assert field.value == OPTIONS[name].default
            assert field.min == OPTIONS[name].low


def test_pattern_with_truth(qtbot: QtBot, opened: Opened) -> None:
    image = cell(96)
    viewer, widget = opened(image)
    widget.size.value = 48
    widget.fields["photons"].value = "1e7"
    widget.fields["beamstop_px"].value = 2
    widget.fields["dead_pixels"].value = 5
    widget.fields["saturation"].value = "1e5"
    widget.fields["seed"].value = 3
    assert widget.plan.text() == (
        "Makes a 96 x 96 pattern of a 48 x 48 object, the middle of 96 x 96 px; about 1e7 photons."
    )
    assert widget.panel.preview_button.isHidden()  # there is nothing to preview
    widget.panel.run_button.click()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    picture, pattern, truth, bad = viewer.layers
    assert [layer.name for layer in viewer.layers] == [
        "picture",
        "picture pattern",
        "picture truth",
        "bad pixels (picture pattern)",
    ]
    assert [layer.visible for layer in viewer.layers] == [False, True, False, True]
    expected = simulate(image[24:72, 24:72], photons=1e7, beamstop_px=2, dead_pixels=5, saturation=1e5, seed=3)
    np.testing.assert_array_equal(pattern.data, expected.intensity)
    np.testing.assert_array_equal(np.asarray(bad.data) != 0, expected.bad_pixels)
    np.testing.assert_array_equal(truth.data, image[24:72, 24:72])
    np.testing.assert_array_equal(picture.data, image)
    assert (pattern.gamma, pattern.colormap.name[:3]) == (0.2, "log")
    assert viewer.layers.selection.active == pattern
    assert words_of(truth) == {"kind": "truth", "group": words_of(pattern)["group"]}
    assert words_of(pattern)["provenance"]["image"]["layer"] == "picture"
    assert widget.image.value == picture  # a pattern is no image to simulate
    assert "'picture truth'" in widget.panel.message.text()


def holds(value: Any, array: np.ndarray) -> bool:
    """Whether an array is somewhere in a nest of values."""
    if isinstance(value, np.ndarray):
        return value.size == array.size and np.array_equal(value.ravel(), array.ravel())
    if isinstance(value, dict):
        return any(holds(item, array) for item in value.values())
    return any(holds(item, array) for item in value) if isinstance(value, list | tuple) else False


@pytest.mark.usefixtures("tiny")
def test_reconstruct_takes_it_and_never_sees_the_truth(qtbot: QtBot, opened: Opened) -> None:
    viewer, widget = opened(cell(48))
    widget.run()
    finish(qtbot, widget)
    _, pattern, truth = viewer.layers
    _, reconstruct = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    assert truth not in reconstruct.pattern.choices
    assert not is_pattern(truth)
    reconstruct.pattern.value = pattern
    reconstruct.preset.value = "fast"
    task = reconstruct.task()
    assert not holds(vars(task.measurement), np.asarray(truth.data))
    assert not holds(pattern.metadata, np.asarray(truth.data))
    reconstruct.run()
    finish(qtbot, reconstruct)
    assert reconstruct.runner.status.state is RunState.DONE, reconstruct.runner.status.message
    result = words_of(viewer.layers[-1])["result"]
    assert evaluate(result, np.asarray(truth.data))["psnr"] > 0  # and it can be scored afterwards


def test_stack_slice_and_all(qtbot: QtBot, opened: Opened) -> None:
    stack = np.stack([cell(40, seed) for seed in range(4)])
    viewer, widget = opened(da.from_array(stack, chunks=(1, 40, 40)), axis_labels=("t", "y", "x"))
    viewer.dims.set_current_step(0, 2)
    widget.noise.value = "none"
    assert "a 80 x 80 pattern of a 40 x 40 object; no noise" in widget.plan.text()
    widget.run()
    finish(qtbot, widget)
    np.testing.assert_allclose(viewer.layers[1].data, simulate(stack[2]).intensity)
    np.testing.assert_array_equal(viewer.layers[2].data, stack[2])

    viewer.layers[0].visible = True
    widget.frames.value = "all"
    assert "Makes 4 patterns of 80 x 80 px" in widget.plan.text()
    widget.run()
    finish(qtbot, widget)
    pattern, truth = viewer.layers[-2:]
    np.testing.assert_allclose(pattern.data, simulate(stack).intensity)
    np.testing.assert_array_equal(truth.data, stack)
    assert pattern.axis_labels == ("t", "y", "x")
    assert measurement_of(pattern).axes == ("t", "y", "x")


def test_colours_and_multiscale(qtbot: QtBot, opened: Opened) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    viewer, widget = opened([colours, colours[::2, ::2]], rgb=True, multiscale=True)
    widget.fit.value, widget.size.value, widget.noise.value = "resize", 32, "alpha"
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    pattern, truth = viewer.layers[1:]
    assert (truth.data.shape, pattern.data.shape) == ((32, 24), (64, 48))
    assert truth.data.dtype == np.uint8
    assert measurement_of(pattern).alpha == 2


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("photons", "many", "a number above 0"),
        ("photons", "-3", "a number above 0"),
        ("photons", "", "a number above 0"),
        ("saturation", "0", "Saturation level = 0"),
    ],
)
def test_nonsense(opened: Opened, field: str, value: str, word: str) -> None:
    _, widget = opened(cell(32))
    widget.fields[field].value = value
    assert word in widget.plan.text()
    assert not widget.panel.run_button.isEnabled()
    widget.fields[field].value = "5e5"
    assert widget.panel.run_button.isEnabled()


@pytest.mark.parametrize("bad", [np.zeros((32, 32)), np.full((32, 32), np.nan), np.ones((32, 8))])
def test_bad_images(qtbot: QtBot, opened: Opened, bad: np.ndarray) -> None:
    viewer, widget = opened(bad)
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.CRASHED
    assert widget.panel.message.text().startswith("Got ")
    assert len(viewer.layers) == 1
    assert viewer.layers[0].visible
    assert widget.panel.run_button.isEnabled()


def test_no_image(opened: Opened) -> None:
    viewer, widget = opened(cell(32))
    viewer.layers.clear()
    assert "no image" in widget.plan.text()
    assert not widget.panel.run_button.isEnabled()
    viewer.add_layer(Image(cell(32), name="another"))
    assert widget.image.value.name == "another"
    assert widget.panel.run_button.isEnabled()


def test_window_stays_live_and_cancel_acts(qtbot: QtBot, opened: Opened) -> None:
    """300 patterns of 512 x 512 px: beats come every 100 ms nearly always, and cancel acts within a second."""
    viewer, widget = opened(np.broadcast_to(cell(64), (300, 64, 64)))
    widget.fields["oversampling"].value = 8
    widget.frames.value = "all"
    beats: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(10)
    widget.run()
    qtbot.waitUntil(lambda: widget.runner.status.progress.fraction > 0.05, timeout=RUN_MS)
    assert "simulating pattern" in widget.panel.stage.text()
    stopped = time.perf_counter()
    widget.panel.cancel_button.click()
    finish(qtbot, widget)
    assert time.perf_counter() - stopped < 1
    timer.stop()
    assert widget.runner.status.state is RunState.STOPPED
    assert len(viewer.layers) == 1
    gaps = np.diff(beats)
    assert len(gaps) > 20
    assert np.quantile(gaps, 0.99) < 0.3  # 0.1 s where nothing else runs
    assert gaps.max() < 1


def test_closing_frees_the_widget(opened: Opened) -> None:
    viewer, widget = opened(cell(32))
    gone = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget)
    del widget
    viewer.layers.clear()  # nobody listens any more
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_opens_without_torch() -> None:
    code = (
        "import time, sys; from napari_i2ipr.plugin.simulate import SimulateWidget\n"
        "import napari; v = napari.Viewer(show=False)\n"
        "t = time.perf_counter(); w = SimulateWidget(v); print(time.perf_counter() - t < 1, 'torch' in sys.modules)\n"
        "v.close()"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]

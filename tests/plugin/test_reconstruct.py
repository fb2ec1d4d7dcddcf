"""The Reconstruct widget, driven in a real viewer."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels, Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThreadPool, QTimer

from napari_i2ipr.config import Refinement
from napari_i2ipr.data import Measurement, Status
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.state import RunState

Opened = Callable[..., tuple[Any, Any]]

RUN_MS = 120_000
"""Longest wait for a tiny run on a busy machine; the first one imports torch."""

PATIENCE_MS = 10_000
"""For what takes a fraction of a second on an idle machine."""


def finish(qtbot: QtBot, widget: Any) -> None:
    """Wait for the end of a run."""
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=RUN_MS)


def started(qtbot: QtBot, widget: Any) -> None:
    """Run, and wait for the first iterations."""
    widget.run()
    qtbot.waitUntil(lambda: widget.runner.status.progress.score is not None, timeout=RUN_MS)


@pytest.mark.usefixtures("tiny")
def test_run(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    pattern, mask = viewer.layers
    before = pattern.data.copy(), mask.data.copy(), dict(pattern.metadata), pattern.contrast_limits
    assert (widget.pattern.value.name, widget.bad_pixels.value.name) == ("small", "bad pixels (small)")
    widget.panel.run_button.click()
    assert not widget.panel.run_button.isEnabled()
    assert widget.panel.cancel_button.isEnabled()
    finish(qtbot, widget)

    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    assert widget.panel.run_button.isEnabled()
    names = [layer.name for layer in viewer.layers[2:]]
    assert names == ["#1 classical mean (small)", "#1 uncertainty (small)", "#1 reconstruction (small)"]
    for layer in viewer.layers[2:]:
        assert layer.data.shape == (20, 24)
        assert [str(unit) for unit in layer.units] == ["nanometer", "nanometer"]
        np.testing.assert_allclose(layer.scale, (1e-10 / (40 * 50e-6) * 1e9, 1e-10 / (48 * 100e-6) * 1e9))
        assert layer.axis_labels == ("y", "x")
    words = words_of(viewer.layers[-1])
    assert words["provenance"]["config"]["preset"] == "fast"
    assert words["provenance"]["input"]["source"] == "test"
    assert "R-factor" in widget.panel.message.text()
    assert "averaged and refined. Uncertainty: raw." in widget.panel.message.text()
    assert words["scores"]["refined"] is True

    np.testing.assert_array_equal(pattern.data, before[0])
    np.testing.assert_array_equal(mask.data, before[1])
    assert (pattern.metadata, pattern.contrast_limits) == before[2:]
    assert [layer.visible for layer in viewer.layers] == [False, False, False, True, True]
    assert (viewer.canvas.grid.enabled, viewer.canvas.grid.shape) == (True, (-1, 2))
    viewer.layers[-1].translate = (5, 7)
    np.testing.assert_array_equal(viewer.layers[-2].translate, (5, 7))


@pytest.mark.usefixtures("tiny")
def test_second_run_is_the_same_and_adds_layers(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    widget.settings["seed"].widget.value = 7
    for _ in range(2):
        widget.run()
        finish(qtbot, widget)
    assert viewer.layers[-1].name == "#2 reconstruction (small)"
    np.testing.assert_array_equal(viewer.layers[-1].data, viewer.layers["#1 reconstruction (small)"].data)
    assert words_of(viewer.layers[-1])["provenance"]["config"]["seed"] == 7


@pytest.mark.usefixtures("tiny")
def test_complex_stack(qtbot: QtBot, open_widget: Opened, measurement: Measurement) -> None:
    frames = np.stack([measurement.intensity, measurement.intensity[::-1]])
    viewer, widget = open_widget(replace(measurement, intensity=frames, axes=("t", "y", "x")))
    widget.settings["object"].widget.value = "complex"
    widget.run()
    finish(qtbot, widget)
    assert [layer.name.split()[1] for layer in viewer.layers[2:]] == ["uncertainty", "phase", "amplitude"]
    assert viewer.layers[-1].axis_labels == ("t", "y", "x")
    assert viewer.layers[-1].data.shape == (2, 20, 24)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_drawn_support(qtbot: QtBot, open_widget: Opened, kind: str) -> None:
    viewer, widget = open_widget()
    pattern = viewer.layers[0]
    if kind == "labels":
        inside = np.zeros((40, 48), np.uint8)
        inside[12:28, 14:34] = 1
        viewer.add_layer(Labels(inside, name="inside"))
    else:
        box = np.array([[11.5, 13.5], [11.5, 33.5], [27.5, 33.5], [27.5, 13.5]])
        viewer.add_layer(Shapes([box * pattern.scale], shape_type="polygon", name="inside", units=pattern.units))
    widget.support.value = viewer.layers["inside"]
    widget.run()
    finish(qtbot, widget)
    assert words_of(viewer.layers[-1])["result"].box == (12, 14, 16, 20)


@pytest.mark.usefixtures("tiny")
def test_support_of_the_file(open_widget: Opened, measurement: Measurement) -> None:
    inside = np.zeros((40, 48), bool)
    inside[12:28, 14:34] = True
    _, widget = open_widget(replace(measurement, support=inside))
    assert widget.support.value == "file"
    assert "as the file says" in widget.support.native.currentText()
    np.testing.assert_array_equal(widget.task().measurement.support, inside)
    widget.support.value = "auto"
    assert widget.task().measurement.support is None
    assert widget.task().config.support == "auto"


@pytest.mark.usefixtures("tiny")
def test_painted_mask_counts(open_widget: Opened) -> None:
    viewer, widget = open_widget()
    viewer.layers[1].data[10, 10] = 5
    assert widget.task().measurement.bad_pixels[10, 10]
    widget.bad_pixels.value = None
    assert not widget.task().measurement.bad_pixels[10, 10]  # the file's own


@pytest.mark.usefixtures("endless")
def test_cancel_keeps_what_was_found(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    started(qtbot, widget)
    widget.panel.cancel_button.click()
    qtbot.waitUntil(lambda: not widget.runner.status.running, timeout=PATIENCE_MS)
    assert widget.runner.status.state is RunState.STOPPED
    assert words_of(viewer.layers[-1])["status"] == "CANCELLED"
    assert "Stopped" in widget.panel.message.text()
    assert widget.panel.run_button.isEnabled()


@pytest.mark.usefixtures("endless")
def test_cancel_at_once_says_so(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    widget.run()
    widget.cancel()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.STOPPED
    assert len(viewer.layers) == 2
    assert "before there was anything" in widget.panel.message.text()


@pytest.mark.usefixtures("tiny")
def test_error_reaches_the_user(qtbot: QtBot, open_widget: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.utils.notifications import notification_manager

    import napari_i2ipr.pipeline

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access\nsecond line")

    _, widget = open_widget()
    widget.side_by_side.value = False
    with monkeypatch.context() as patched:
        patched.setattr(napari_i2ipr.pipeline, "reconstruct", broken)
        widget.run()
        finish(qtbot, widget)
    assert widget.runner.status.state is RunState.CRASHED
    assert "RuntimeError: CUDA error: an illegal memory access" in widget.panel.message.text()
    assert notification_manager.records[-1].message == widget.panel.message.text()
    assert widget.panel.run_button.isEnabled()
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE


@pytest.mark.usefixtures("tiny")
def test_bad_input_is_one_sentence(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.zeros((20, 20)), name="empty")
    widget.pattern.value = viewer.layers["empty"]
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.CRASHED
    assert widget.panel.message.text().startswith("Got ")
    widget.pattern.value = viewer.layers["small"]
    widget.bad_pixels.value = viewer.add_labels(np.zeros((8, 8), np.uint8), name="wrong shape")
    widget.run()
    assert not widget.runner.status.running
    assert "a mask of shape (8, 8)" in widget.panel.message.text()


def test_choices_follow_the_layers(open_widget: Opened) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.zeros((32, 32)), name="another")
    assert {layer.name for layer in widget.pattern.choices if layer} == {"small", "another"}
    assert widget.pattern.value.name == "small"
    viewer.layers["small"].name = "renamed"
    assert widget.pattern.native.currentText() == "renamed"
    assert widget.pattern.value.name == "renamed"
    viewer.layers.clear()
    assert widget.pattern.value is None
    assert not widget.panel.run_button.isEnabled()


def test_preset_brings_its_members(open_widget: Opened) -> None:
    _, widget = open_widget()
    widget.preset.value = "best"
    assert widget.settings["members"].widget.value == 6


def test_refinement_settings_reach_the_run(open_widget: Opened) -> None:
    _, widget = open_widget()
    assert widget.task().config.refine == Refinement()
    for name, value in {"sampler": "indi", "steps": 7, "views": 8, "fallback": "never", "weights": "a.b"}.items():
        widget.settings[f"refine.{name}"].widget.value = value
    wanted = Refinement(sampler="indi", steps=7, views=8, fallback="never", weights="a.b")
    assert widget.task().config.refine == wanted
    switch, steps = (widget.settings.cells[f"refine.{name}"] for name in ("enabled", "steps"))
    widget.settings["refine.enabled"].widget.value = False
    assert (switch.isEnabled(), steps.isEnabled()) == (True, False)
    assert not widget.task().config.refine.enabled
    widget.settings["object"].widget.value = "complex"
    assert not switch.isEnabled()
    widget.settings["object"].widget.value = "real"
    assert switch.isEnabled()
    widget.settings["refine.weights"].widget.value = ""
    assert not widget.panel.run_button.isEnabled()
    widget.run()
    assert not widget.runner.status.running
    assert "weights: Expected a text, got none" in widget.panel.message.text()


@pytest.mark.usefixtures("tiny")
def test_out_of_domain_is_a_warning(qtbot: QtBot, open_widget: Opened, make_weights: Callable[..., Path]) -> None:
    from napari.utils.notifications import notification_manager

    viewer, widget = open_widget()
    widget.settings["refine.weights"].widget.value = str(make_weights(max_chi_ratio=1e-6))
    widget.run()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    assert words_of(viewer.layers[-1])["status"] == "OUT_OF_DOMAIN"
    said = notification_manager.records[-1]
    assert (said.severity.value, said.message) == ("warning", f"T{Status.OUT_OF_DOMAIN.value[1:]}.")
    text = widget.panel.message.text()
    assert "candidates averaged. Uncertainty: spread of candidates." in text
    assert "the classical mean is returned" in text


def longest_silence(qtbot: QtBot, seconds: float) -> float:
    """Longest time for which the window did not answer, by a timer that should tick every 10 ms."""
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(perf_counter()))
    timer.start(10)
    qtbot.wait(round(1000 * seconds))
    timer.stop()
    return float(np.diff(ticks).max())


@pytest.mark.usefixtures("endless")
def test_window_answers_while_a_job_runs(qtbot: QtBot, open_widget: Opened) -> None:
    import_module("napari_i2ipr.pipeline")  # the first run, which imports torch, is measured below
    _, widget = open_widget()
    idle = longest_silence(qtbot, 1)  # what others do to this machine
    widget.run()
    assert longest_silence(qtbot, 3) < max(0.3, 3 * idle)
    assert widget.runner.status.progress.score is not None
    widget.cancel()
    finish(qtbot, widget)


def test_first_run_does_not_freeze_the_window() -> None:
    """Importing torch takes seconds, of which Python is locked for two or three tenths at most on an idle machine."""
    code = (
        "import time\n"
        "import napari, numpy as np\n"
        "from qtpy.QtWidgets import QApplication\n"
        "viewer = napari.Viewer(show=False)\n"
        "viewer.add_image(np.random.default_rng(0).poisson(9, (64, 64)).astype(float))\n"
        "_, widget = viewer.window.add_plugin_dock_widget('napari-i2ipr', 'Reconstruct')\n"
        "status, silence, last = widget.runner.status, 0, time.perf_counter()\n"
        "widget.run()\n"
        "while status.running and status.progress.score is None:\n"
        "    QApplication.processEvents()\n"
        "    now = time.perf_counter()\n"
        "    silence, last = max(silence, now - last), now\n"
        "    time.sleep(0.005)\n"
        "widget.cancel()\n"
        "print(silence)\n"
        "viewer.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1.0  # a busy machine


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("how", ["viewer", "dock"])
def test_closed_during_a_run(
    qtbot: QtBot, no_job_left: None, make_napari_viewer: Callable[..., Any], measurement: Measurement, how: str
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(measurement.intensity)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    widget.preset.value = "fast"
    started(qtbot, widget)
    if how == "viewer":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(dock)
        assert widget._links == []
    qtbot.wait(50)
    assert QThreadPool.globalInstance().waitForDone(PATIENCE_MS)
    qtbot.wait(50)  # late signals find nobody
    assert len(viewer.layers) <= 1


@pytest.mark.usefixtures("tiny")
def used_and_closed(qtbot: QtBot, viewer: Any, how: str, *, used: bool) -> weakref.ref[Any]:
    """Open the widget, perhaps use it, and close it; napari looks into local variables, so they end with this."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    if used:
        widget.preset.value = "fast"
        widget.run()
        finish(qtbot, widget)
        assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()
    if how == "viewer":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(dock)
    return weakref.ref(widget)


@pytest.mark.usefixtures("no_job_left", "tiny")
@pytest.mark.parametrize("how", ["viewer", "dock"])
@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_widget_is_freed(
    qtbot: QtBot, make_napari_viewer: Callable[..., Any], measurement: Measurement, how: str, used: bool
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(measurement.intensity)
    gone = used_and_closed(qtbot, viewer, how, used=used)
    qtbot.wait(50)
    gc.collect()
    assert gone() is None


def test_process_ends_during_a_run() -> None:
    code = (
        "import napari, numpy as np, time\n"
        "from qtpy.QtWidgets import QApplication\n"
        "viewer = napari.Viewer(show=False)\n"
        "viewer.add_image(np.random.default_rng(0).poisson(9, (64, 64)).astype(float))\n"
        "_, widget = viewer.window.add_plugin_dock_widget('napari-i2ipr', 'Reconstruct')\n"
        "widget.run()\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end:\n"
        "    QApplication.processEvents()\n"
        "assert widget.runner.status.running\n"
        "viewer.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_opens_quickly_and_without_torch() -> None:
    code = (
        "import sys, time\n"
        "import napari\n"
        "viewer = napari.Viewer(show=False)\n"
        "started = time.perf_counter()\n"
        "viewer.window.add_plugin_dock_widget('napari-i2ipr', 'Reconstruct')\n"
        "print(time.perf_counter() - started, 'torch' in sys.modules)\n"
        "viewer.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seconds, torch_loaded = done.stdout.split()[-2:]
    assert torch_loaded == "False"
    assert float(seconds) < 1

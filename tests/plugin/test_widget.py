"""What a user does in the Reconstruct widget beyond Run: axes, slices, preview, parameters, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QFileDialog, QScrollArea

from napari_i2ipr.config import PRESETS, Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin.state import RunState

Opened = Callable[..., tuple[Any, Any]]


def put(widget: Any, path: str, value: Any) -> None:
    widget.settings[path].widget.value = value


def finish(qtbot: QtBot, widget: Any) -> None:
    """Wait for the end of a run that goes well."""
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()


@pytest.fixture
def stack(measurement: Measurement) -> Measurement:
    """Two patterns, the second one a mirror image."""
    frames = np.stack([measurement.intensity, measurement.intensity[:, ::-1]])
    return replace(measurement, intensity=frames, bad_pixels=None, axes=("t", "y", "x"))


# -- which axes, which patterns ----------------------------------------------------------------------


def test_a_single_pattern_has_no_axes_to_choose(open_widget: Opened, stack: Measurement) -> None:
    viewer, widget = open_widget()
    rows = [widget.inputs.detector_y.native, widget.inputs.detector_x.native, widget.inputs.which.native]
    assert not any(row.isVisibleTo(widget) for row in rows)
    widget.pattern.value = viewer.add_image(stack.intensity, name="stack", axis_labels=stack.axes)
    assert all(row.isVisibleTo(widget) for row in rows)
    assert widget.inputs.which.native.currentText() == "all 2 patterns"
    assert widget.inputs.detector_y.native.currentText() == "y (40)"


def test_axes_are_never_the_same(open_widget: Opened, stack: Measurement) -> None:
    _, widget = open_widget(stack)
    y, x = widget.inputs.detector_y, widget.inputs.detector_x
    assert (y.value, x.value, widget.inputs.detector) == (1, 2, None)
    y.value = 2
    assert (y.value, x.value, widget.inputs.detector) == (2, 1, (2, 1))
    assert widget.task().measurement.frame_shape == (48, 40)
    x.value = 2
    assert (y.value, x.value) == (1, 2)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "xarray"])
def test_patterns_along_the_last_axis(qtbot: QtBot, open_widget: Opened, stack: Measurement, kind: str) -> None:
    data: Any = np.ascontiguousarray(np.moveaxis(stack.intensity, 0, -1))
    if kind == "dask":
        data = pytest.importorskip("dask.array").from_array(data, chunks=(40, 48, 1))
    elif kind == "zarr":
        data = pytest.importorskip("zarr").array(data, chunks=(40, 48, 1))
    elif kind == "xarray":
        data = pytest.importorskip("xarray").DataArray(data, dims=("y", "x", "t"))
    viewer, widget = open_widget()
    layer = viewer.add_image(data, name="stack", axis_labels=("y", "x", "t"), contrast_limits=(0, 9))
    widget.pattern.value = layer
    widget.inputs.detector_y.value, widget.inputs.detector_x.value = 0, 1
    widget.support.value = "half"
    assert widget.inputs.n_frames == 2
    widget.run()
    finish(qtbot, widget)
    assert viewer.layers[-1].axis_labels == ("t", "y", "x")
    assert viewer.layers[-1].data.shape == (2, 20, 24)
    np.testing.assert_array_equal(np.asarray(layer.data), np.asarray(data))


@pytest.mark.usefixtures("tiny")
def test_only_the_pattern_that_is_shown(qtbot: QtBot, open_widget: Opened, stack: Measurement) -> None:
    viewer, widget = open_widget(stack)
    widget.inputs.which.value = "shown"
    viewer.dims.set_current_step(0, 1)
    widget.run()
    finish(qtbot, widget)
    shown = viewer.layers[-1]
    assert shown.name == "#1 reconstruction (small, t 1)"
    assert shown.data.shape == (20, 24)
    widget.inputs.which.value = "all"
    widget.run()
    finish(qtbot, widget)
    assert viewer.layers[-1].data.shape == (2, 20, 24)
    assert viewer.layers[-1].name == "#2 reconstruction (small)"


@pytest.mark.usefixtures("tiny")
def test_scale_and_unit_of_the_stack_go_on(qtbot: QtBot, open_widget: Opened, stack: Measurement) -> None:
    viewer, widget = open_widget(stack)
    layer = viewer.layers["small"]
    layer.scale, layer.translate = (0.25, *layer.scale[1:]), (3, *layer.translate[1:])
    layer.units = ("s", *layer.units[1:])
    put(widget, "keep_candidates", value=True)
    widget.run()
    finish(qtbot, widget)
    for made in viewer.layers[1:]:
        lead = made.ndim - 2
        assert made.scale[lead - 1] == 0.25
        assert made.translate[lead - 1] == 3
        assert str(made.units[lead - 1]) == "second"
        np.testing.assert_allclose(made.scale[lead:], layer.scale[1:])
    candidates = viewer.layers["#1 candidates (small)"]
    assert candidates.axis_labels == ("candidate", "t", "y", "x")
    assert not candidates.visible
    viewer.layers[-1].translate = (5, 6, 7)  # linked with those that have as many axes
    np.testing.assert_array_equal(viewer.layers[-2].translate, (5, 6, 7))


# -- preview ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_preview(qtbot: QtBot, open_widget: Opened, stack: Measurement) -> None:
    viewer, widget = open_widget(stack)
    viewer.dims.set_current_step(0, 1)
    put(widget, "members", 5)
    assert widget.task(preview=True).config.members == 1
    assert widget.task(preview=True).frame == 1
    for _ in range(2):
        widget.panel.preview_button.click()
        assert not widget.panel.preview_button.isEnabled()
        finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["small", "preview (small, t 1)"]
    assert viewer.layers[-1].data.shape == (20, 24)
    assert not widget.history.runs
    assert [choice.name for choice in widget.pattern.choices] == ["small"]
    widget.run()
    finish(qtbot, widget)
    assert not viewer.layers["preview (small, t 1)"].visible


@pytest.mark.usefixtures("tiny")
def test_preview_of_a_complex_object(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    put(widget, "object", "complex")
    widget.preview()
    finish(qtbot, widget)
    assert viewer.layers[-1].name == "preview (small)"


# -- the estimate --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_the_estimate_follows_the_form(qtbot: QtBot, open_widget: Opened, stack: Measurement) -> None:
    viewer, widget = open_widget(stack)
    said = widget.panel.estimate
    qtbot.waitUntil(lambda: said.text().startswith("About"), timeout=30_000)
    widget.estimator.speeds._known = {plan.key: 1e-6 for plan in [widget._plan(widget.settings.config())]}
    seen = []
    for members in (1, 1000):
        put(widget, "members", members)
        qtbot.wait(300)
        seen.append(said.text())
    assert seen[0] != seen[1]
    put(widget, "compute.memory_fraction", "1e-12")
    qtbot.waitUntil(lambda: said.text().startswith("Needs about"), timeout=30_000)
    put(widget, "compute.memory_fraction", "2")
    assert said.text() == "Correct what is marked in red."
    put(widget, "compute.memory_fraction", "0.5")
    viewer.layers.clear()
    assert said.text() == "Open a diffraction pattern, or a sample."
    qtbot.wait(300)
    assert said.text() == "Open a diffraction pattern, or a sample."


@pytest.mark.usefixtures("tiny")
def test_a_run_teaches_the_estimate(qtbot: QtBot, open_widget: Opened) -> None:
    _, widget = open_widget()
    widget.run()
    finish(qtbot, widget)
    plan = widget._plan(widget.settings.config())
    assert widget.estimator.speeds.of(plan) is not None


# -- parameters ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_save_and_load(open_widget: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget = open_widget()
    put(widget, "initialisation.n_starts", 9)
    put(widget, "seed", 4)
    widget.support.value = "auto"
    wanted = widget.task().config
    path = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    widget.buttons.save_button.click()
    assert Config.from_yaml(path.with_suffix(".yaml").read_text()) == wanted
    assert "saved as mine.yaml" in widget.panel.message.text()
    assert widget.asked().settings_file == str(path.with_suffix(".yaml"))
    put(widget, "seed", 5)
    assert widget.asked().settings_file is None
    widget.preset.value = "best"
    widget.support.value = "half"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path.with_suffix(".yaml")), ""))
    widget.buttons.load_button.click()
    assert widget.task().config == wanted
    assert (widget.preset.value, widget.support.value) == ("fast", "auto")


@pytest.mark.parametrize(
    ("content", "said"), [("seed: x", "seed"), ("nothing: 1", "nothing"), ("a: [", "YAML"), (None, "cannot be read")]
)
def test_a_bad_file_changes_nothing(open_widget: Opened, tmp_path: Path, content: str | None, said: str) -> None:
    _, widget = open_widget()
    before, path = widget.settings.config(), tmp_path / "a.yaml"
    if content is not None:
        path.write_text(content)
    widget.buttons.load(path)
    assert said in widget.panel.message.text()
    assert widget.settings.config() == before
    widget.buttons.save(tmp_path / "no such folder" / "a.yaml")
    assert "cannot be written" in widget.panel.message.text()


def test_a_dialog_that_is_closed_does_nothing(open_widget: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget = open_widget()
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_: ("", ""))
    widget.buttons.save_button.click()
    widget.buttons.load_button.click()
    assert widget.panel.message.text() == ""


# -- history -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_history(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    assert widget.past.isHidden()
    put(widget, "seed", 5)
    widget.run()
    finish(qtbot, widget)
    first = widget.task().config
    put(widget, "seed", 6)
    put(widget, "initialisation.n_starts", 4)
    viewer.add_image(np.ones((32, 32)), name="another")
    mask = widget.bad_pixels.value
    widget.bad_pixels.value = None
    widget.run()
    finish(qtbot, widget)
    assert widget.past.isVisibleTo(widget)
    assert widget.past.text() == "▾ History (2)"
    rows = [[widget.history.tree.topLevelItem(row).text(column) for column in range(4)] for row in range(2)]
    assert rows == [["2", "small", "fast *", "6"], ["1", "small", "fast", "5"]]
    assert not widget.history.restore_button.isEnabled()
    widget.pattern.value = viewer.layers["another"]
    widget.history.tree.setCurrentItem(widget.history.tree.topLevelItem(1))
    widget.history.restore_button.click()
    assert widget.task().config == first
    assert (widget.pattern.value.name, widget.bad_pixels.value) == ("small", mask)
    assert {layer.name for layer in viewer.layers.selection} == {
        "#1 reconstruction (small)",
        "#1 uncertainty (small)",
        "#1 classical mean (small)",
    }
    for layer in list(viewer.layers.selection):
        viewer.layers.remove(layer)
    widget.restore(1)
    assert "no longer open" in widget.panel.message.text()
    widget.run()
    finish(qtbot, widget)
    assert viewer.layers[-1].name == "#3 reconstruction (small)"


@pytest.mark.usefixtures("tiny")
def test_a_new_widget_knows_the_runs_whose_layers_are_open(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    put(widget, "seed", 5)
    widget.run()
    finish(qtbot, widget)
    config = widget.task().config
    viewer.layers["#1 uncertainty (small)"].metadata["napari_i2ipr"] = "foreign"
    again = type(widget)(viewer)
    dock = viewer.window.add_dock_widget(again, name="again")
    assert list(again.history.runs) == [1]
    again.restore(1)
    assert again.task().config == config
    viewer.window.remove_dock_widget(dock)


# -- how it looks --------------------------------------------------------------------------------------


def test_it_fits_a_small_screen(qtbot: QtBot, open_widget: Opened, stack: Measurement) -> None:
    """With the live view, the bars and a long message, everything unfolded."""
    _, widget = open_widget(stack)
    widget.settings.advanced.expand(animate=False)
    widget.past.show()
    widget.past.expand(animate=False)
    status = widget.runner.status
    status.state = RunState.RUNNING
    status.message = "A sentence of a usual length about how it went. " * 5
    qtbot.wait(50)
    dock = widget.parent()
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    assert dock.minimumSizeHint().height() <= 700
    assert dock.minimumSizeHint().width() <= 400
    area = widget.findChild(QScrollArea)
    bar = area.verticalScrollBar().sizeHint().width()
    assert area.widget().minimumSizeHint().width() <= widget.minimumWidth() - 12 - bar, "cut off at the right"
    status.state = RunState.IDLE


def test_everything_has_a_tooltip(open_widget: Opened) -> None:
    _, widget = open_widget()
    boxes = [*widget.inputs._fields, widget.preset, widget.device, widget.side_by_side]
    boxes += [field.widget for field in widget.settings.fields.values()]
    assert all(box.tooltip for box in boxes)
    panel, buttons = widget.panel, widget.buttons
    for button in (
        panel.run_button,
        panel.preview_button,
        panel.cancel_button,
        buttons.load_button,
        buttons.save_button,
    ):
        assert button.toolTip()


def test_the_wheel_changes_no_value_by_accident(open_widget: Opened) -> None:
    _, widget = open_widget()
    box = widget.preset.native
    turned = QWheelEvent(
        QPointF(5, 5),
        QPointF(box.mapToGlobal(QPoint(5, 5))),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    assert turned.type() == QEvent.Type.Wheel
    QApplication.sendEvent(box, turned)
    assert widget.preset.value == "fast"


@pytest.mark.usefixtures("tiny")
def test_runs_with_more_pictures_do_not_break_the_rows(qtbot: QtBot, open_widget: Opened) -> None:
    viewer, widget = open_widget()
    for kind in ("real", "real", "complex"):
        put(widget, "object", kind)
        widget.run()
        finish(qtbot, widget)
        if kind == "real":
            assert all(layer.visible for layer in viewer.layers if layer.name.startswith("#1 recon"))
    assert [layer.name.split(" (")[0] for layer in viewer.layers if layer.visible] == [
        "#3 uncertainty",
        "#3 phase",
        "#3 amplitude",
    ]
    assert viewer.canvas.grid.shape == (-1, 3)


def test_a_stopped_stack_shows_what_was_done(
    qtbot: QtBot, open_widget: Opened, stack: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {"initialisation": {"n_starts": 3, "short": "HIO:5", "n_keep": 2, "long": "HIO:30000", "final": ""}}
    monkeypatch.setitem(PRESETS, "fast", slow | {"refine": {"enabled": False}})
    viewer, widget = open_widget(stack)
    viewer.dims.set_current_step(0, 1)
    widget.run()
    qtbot.waitUntil(lambda: widget.runner.status.progress.score is not None, timeout=120_000)
    widget.cancel()
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert widget.runner.status.state is RunState.STOPPED
    assert viewer.dims.current_step[0] == 0
    assert "1 of 2 patterns reconstructed, 0 refined; R-factor" in widget.panel.message.text()
    assert np.isnan(viewer.layers[-1].data[1]).all()

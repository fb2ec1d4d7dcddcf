"""The Inspect widget, driven in a real viewer."""

from __future__ import annotations

import csv
import gc
import io
import math
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_i2ipr import reaverage
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import CancelledError
from napari_i2ipr.evaluate.resolution import curve
from napari_i2ipr.io import read_result, write
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.plugin import inspector
from napari_i2ipr.plugin.curves import CurveView, Line, Plot, as_csv, log_ticks, ticks
from napari_i2ipr.plugin.inspect_words import LEVEL
from napari_i2ipr.plugin.layers import pattern_layers, result_layers, words_of
from napari_i2ipr.plugin.reader import read_layers
from napari_i2ipr.plugin.state import RunState
from napari_i2ipr.reaverage import KEY, NOT_REFINED, average_again

Opened = Callable[..., tuple[Any, Any]]
RUN_MS = 120_000
QUICK = {"n_starts": 5, "short": "HIO:5", "n_keep": 4, "long": "HIO:30 ER:5", "final": ""}


@pytest.fixture
def result(measurement: Measurement, make_weights: Callable[..., Path]) -> Reconstruction:
    """A result with four candidates, refined with small weights that suit everything."""
    refine = {"weights": str(make_weights()), "views": 1}
    config = Config.from_preset("fast", initialisation=QUICK, refine=refine, keep_candidates=True)
    return reconstruct(measurement, config, device="cpu")


@pytest.fixture
def opened(no_job_left: None, make_napari_viewer_proxy: Callable[..., Any]) -> Opened:
    """Open a viewer with layers and the widget, as napari does it."""

    def make(*layers: Any) -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy()
        for one in layers:
            viewer.add_layer(Layer.create(*one))
        _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Inspect")
        return viewer, widget

    return make


def finish(qtbot: QtBot, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=RUN_MS)


def weighted(result: Reconstruction) -> list[int]:
    return [k for k, row in enumerate(result.candidates) if row.weight > 0]


def column(table: Any, name: str) -> list[str]:
    names = [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())]
    return [table.item(row, names.index(name)).text() for row in range(table.rowCount())]


def test_nothing_open_then_runs_come_and_go(opened: Opened, result: Reconstruction) -> None:
    viewer, widget = opened()
    assert widget.choice.currentText() == "none is open"
    assert "Reconstruct a pattern" in widget.verdict.text()
    for one in result_layers(result, "small", 1):
        viewer.add_layer(Layer.create(*one))
    assert widget.choice.currentText() == "#1 small"
    assert widget.quality.verdict.grade.capitalize() in widget.verdict.text()
    for one in result_layers(replace(result, candidate_images=None), "small", 2):
        viewer.add_layer(Layer.create(*one))
    assert [widget.choice.itemText(i) for i in range(widget.choice.count())] == ["#1 small", "#2 small"]
    assert widget.choice.currentText() == "#2 small"  # the newest
    assert "Keep the candidates" in widget.candidates_page.hint.text()
    assert "--candidates" in widget.candidates_page.hint.text()
    assert not widget.candidates_page.show_box.isEnabled()
    box = widget.candidates_page.table.item(0, 0)
    assert not box.flags() & Qt.ItemFlag.ItemIsEnabled
    widget.choice.setCurrentIndex(0)
    assert "Clear or tick" in widget.candidates_page.hint.text()
    viewer.layers.clear()
    assert widget.choice.currentText() == "none is open"
    assert widget.candidates_page.table.rowCount() == 0


def test_table_and_candidate_layer(opened: Opened, result: Reconstruction) -> None:
    viewer, widget = opened(*result_layers(result, "small", 1))
    table = widget.candidates_page.table
    assert column(table, "No.") == ["0", "1", "2", "3"]
    assert column(table, "Residual") == [f"{row.residual:.3f}" for row in result.candidates]
    assert table.kept == weighted(result)
    assert all(table.horizontalHeaderItem(i).toolTip() for i in range(table.columnCount()))
    box = table.item(weighted(result)[0], 0)
    box.setCheckState(Qt.CheckState.Unchecked)  # as a click does
    assert widget.changed() == {0: weighted(result)[1:]}
    widget.candidates_page.reset_button.click()
    assert widget.changed() == {}
    table.sortItems(3, Qt.SortOrder.DescendingOrder)
    scores = [float(text) for text in column(table, "Score")]
    assert scores == sorted(scores, reverse=True)
    number = int(column(table, "No.")[2])
    before = len(viewer.layers)
    table.selectRow(2)
    assert viewer.layers[-1].name == f"candidate {number} of #1 small"
    np.testing.assert_array_equal(viewer.layers[-1].data, result.candidate_images[number])
    np.testing.assert_allclose(viewer.layers[-1].translate, viewer.layers["#1 reconstruction (small)"].translate)
    table.selectRow(0)
    assert len(viewer.layers) == before + 1  # one layer, another candidate
    assert int(column(table, "No.")[0]) == int(viewer.layers[-1].name.split()[1])
    widget.candidates_page.show_box.setChecked(False)
    assert len(viewer.layers) == before
    widget.candidates_page.show_box.setChecked(True)
    assert len(viewer.layers) == before + 1
    viewer.layers.remove(viewer.layers[-1])  # by hand
    table.selectRow(1)
    assert len(viewer.layers) == before + 1


def test_average_again(qtbot: QtBot, opened: Opened, result: Reconstruction, measurement: Measurement) -> None:
    viewer, widget = opened(*pattern_layers(measurement, "small"), *result_layers(result, "small", 1))
    page, before = widget.candidates_page, viewer.layers[-1].data.copy()
    assert not page.again_button.isEnabled()
    page.table.tick([3])
    assert not page.again_button.isEnabled()
    assert "at least 2" in page.hint.text()
    page.table.tick([0, 1, 3] if weighted(result) != [0, 1, 3] else [0, 1])
    kept = page.table.kept
    assert f"the {len(kept)} ticked candidates" in page.hint.text()
    page.again_button.click()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.runner.status.message
    new = words_of(viewer.layers[-1])["result"]
    assert viewer.layers[-1].name == "#2 reconstruction (small)"
    np.testing.assert_array_equal(viewer.layers["#1 reconstruction (small)"].data, before)
    expected = average_again(result, {0: kept}, [measurement])
    np.testing.assert_allclose(new.image, expected.image, rtol=1e-4, atol=1e-3)
    assert new.scores["refined"]  # the pattern with its mask was found among the layers
    assert new.provenance[KEY][0]["kept"] == kept
    assert new.provenance["config"] == result.provenance["config"]
    assert widget.choice.currentText() == "#2 small"
    assert page.table.kept == kept
    assert "run #2" in page.hint.text()
    widget.choice.setCurrentIndex(0)
    assert page.table.kept == kept  # still ticked, for another try
    page.reset_button.click()
    assert page.table.kept == weighted(result)
    assert not page.again_button.isEnabled()


def test_average_again_without_the_pattern(
    qtbot: QtBot, opened: Opened, result: Reconstruction, measurement: Measurement
) -> None:
    other = replace(measurement, intensity=measurement.intensity[::-1])
    viewer, widget = opened(*pattern_layers(other, "small"), *result_layers(result, "small", 1))
    widget.candidates_page.table.tick([0, 1] if weighted(result) != [0, 1] else [0, 2])
    widget.candidates_page.again_button.click()
    finish(qtbot, widget)
    new = words_of(viewer.layers[-1])["result"]
    assert not new.scores["refined"]
    assert NOT_REFINED in widget.candidates_page.hint.text().lower()


def test_cancel(qtbot: QtBot, opened: Opened, result: Reconstruction, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any, cancel: Any, **__: Any) -> None:
        while not cancel.is_set():
            time.sleep(0.01)
        raise CancelledError("a stop")

    monkeypatch.setattr(reaverage, "average_again", endless)
    viewer, widget = opened(*result_layers(result, "small", 1))
    page, before = widget.candidates_page, len(viewer.layers)
    assert page.cancel_button.isHidden()
    page.table.tick([0, 1] if weighted(result) != [0, 1] else [0, 2])
    page.again_button.click()
    assert not page.cancel_button.isHidden()
    assert not page.again_button.isEnabled()
    page.cancel_button.click()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.STOPPED
    assert len(viewer.layers) == before
    assert page.again_button.isEnabled()
    assert page.cancel_button.isHidden()


def test_error_is_a_sentence(
    qtbot: QtBot, opened: Opened, result: Reconstruction, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(inspector, "show_error", said.append)
    words = result.provenance | {"config": {"preset": "none such"}}
    viewer, widget = opened(*result_layers(replace(result, provenance=words), "small", 1))
    before = len(viewer.layers)
    widget.candidates_page.table.tick([0, 1] if weighted(result) != [0, 1] else [0, 2])
    widget.candidates_page.again_button.click()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.CRASHED
    assert len(said) == 1
    assert said[0].startswith("Got ")
    assert widget.candidates_page.hint.text() == said[0]
    assert len(viewer.layers) == before
    assert widget.candidates_page.again_button.isEnabled()


def test_stack_follows_the_sliders(opened: Opened, measurement: Measurement, make_weights: Callable[..., Path]) -> None:
    frames = np.stack([measurement.intensity, measurement.intensity[::-1], measurement.intensity[:, ::-1]])
    config = Config.from_preset("fast", initialisation=QUICK, refine={"enabled": False}, keep_candidates=True)
    result = reconstruct(replace(measurement, intensity=frames, axes=("t", "y", "x")), config, device="cpu")
    lost = np.array(result.image)
    lost[2] = np.nan  # as after a stop
    viewer, widget = opened(*result_layers(replace(result, image=lost), "stack", 1))
    first = [f"{row.residual:.3f}" for row in result.candidates[:4]]
    second = [f"{row.residual:.3f}" for row in result.candidates[4:8]]
    shown = viewer.layers[-1]
    for item, expected in ((0, first), (1, second)):
        point = list(viewer.dims.point)
        point[viewer.dims.ndim - shown.ndim] = item
        viewer.dims.set_point(range(viewer.dims.ndim), point)
        assert widget.frame.text() == f"Pattern {item + 1} of 3"
        assert column(widget.candidates_page.table, "Residual") == expected
    widget.candidates_page.table.tick([0, 1])
    point[viewer.dims.ndim - shown.ndim] = 2
    viewer.dims.set_point(range(viewer.dims.ndim), point)
    assert "NaN" in widget.verdict.text()
    assert widget.candidates_page.table.rowCount() == 0
    was = [k for k in range(4) if result.candidates[4 + k].weight > 0]
    assert widget.changed() == ({1: [0, 1]} if was != [0, 1] else {})


def test_cursor(qtbot: QtBot, opened: Opened, result: Reconstruction) -> None:
    calibrated = replace(result, uncertainty_kind="calibrated", interval_scales={f"{LEVEL:g}": 1.5})
    viewer, widget = opened(*result_layers(calibrated, "small", 1))
    (callback,) = viewer.mouse_move_callbacks
    layer = viewer.layers[-1]

    def move(y: float, x: float) -> None:
        at = (0.0,) * (viewer.dims.ndim - 2) + tuple(layer.data_to_world((y, x)))
        callback(viewer, SimpleNamespace(position=at))

    said: list[str] = []
    widget._next_reading = 0
    move(4, 7)
    value, sigma = float(result.image[4, 7]), float(result.uncertainty[4, 7])
    low, high = calibrated.interval(LEVEL)
    text = widget.cursor.text()
    assert "x 7, y 4" in text
    assert f"{value:.4g} ± {sigma:.2g}" in text
    assert f"90 % interval {low[4, 7]:.4g} to {high[4, 7]:.4g}" in text
    widget._reading.timeout.connect(lambda: said.append(widget.cursor.text()))
    for x in range(12):  # too soon: only the last one is read, once
        move(5, x)
    assert widget.cursor.text() == text
    qtbot.waitUntil(lambda: bool(said), timeout=5000)
    assert len(said) == 1
    assert "x 11, y 5" in widget.cursor.text()
    widget._next_reading = 0
    move(-3, 2)
    assert "Move the mouse" in widget.cursor.text()
    for one in result_layers(result, "raw", 2):
        viewer.add_layer(Layer.create(*one))
    widget._next_reading = 0
    move(4, 7)
    assert "not calibrated" in widget.cursor.text()


def test_reopened_and_complex(opened: Opened, result: Reconstruction, measurement: Measurement, tmp_path: Path) -> None:
    write(result, str(tmp_path / "again.zarr"))
    viewer, widget = opened(*read_layers(str(tmp_path / "again.zarr")))
    assert widget.choice.currentText() == "again"
    assert widget.candidates_page.table.rowCount() == 4
    config = Config.from_preset("fast", initialisation=QUICK, object="complex")
    for one in result_layers(reconstruct(measurement, config, device="cpu"), "wave", 3):
        viewer.add_layer(Layer.create(*one))
    assert widget.choice.currentText() == "#3 wave"
    widget._point = (0.0,) * (viewer.dims.ndim - 2) + tuple(viewer.layers[-1].data_to_world((3, 3)))
    widget.read_cursor()
    assert "phase" in widget.cursor.text()
    assert read_result(str(tmp_path / "again.zarr")).candidate_images is not None


def test_curves_and_csv(
    opened: Opened, result: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, widget = opened(*result_layers(result, "small", 1))
    page = widget.curves_page
    assert [line.name for line in page.view.plot.lines][-1] == "threshold 1/e"
    page.which.setCurrentIndex(1)
    assert page.view.plot.log
    widget.pages.setCurrentIndex(2)
    assert not page.view.grab().isNull()
    widget.save_curves(str(tmp_path / "curves"))
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.shells.frequency)
    assert float(rows[3]["prtf"]) == pytest.approx(float(result.shells.prtf[3]), rel=1e-5)
    assert float(rows[3]["prtf_threshold"]) == pytest.approx(math.exp(-1), rel=1e-5)
    assert float(rows[3]["full_period_nm"]) > 0
    said: list[str] = []
    monkeypatch.setattr(inspector, "show_error", said.append)
    widget.save_curves(str(tmp_path / "none" / "curves.csv"))
    assert "could not be written" in said[0]


def test_gaps_and_ticks(qtbot: QtBot) -> None:
    x, y = np.arange(1.0, 6.0), np.array([1.0, np.nan, 0.1, 0.0, 10.0])
    plot = Plot((Line("one", x, y),), log=True)
    drawn = plot.drawn(plot.lines[0])
    np.testing.assert_array_equal(np.isnan(drawn), [False, True, False, True, False])
    assert plot.spans[:2] == (1.0, 5.0)
    assert Plot((Line("gap", x, np.full(5, np.nan)),)).spans is None
    view = CurveView()
    qtbot.addWidget(view)
    for shown in (plot, Plot(), replace(plot, log=False, mark=(2.0, "2 px"))):
        view.show_plot(shown)
        assert not view.grab().isNull()
    assert ticks(0, 1.04) == [0, 0.25, 0.5, 0.75, 1]
    assert log_ticks(0.01, 1) == [0.01, 0.1, 1]
    assert len(log_ticks(0.02, 0.09)) >= 2
    assert ticks(1, 1) == []
    gap = curve("g", np.array([0, 0.1]), np.array([1, np.nan]), np.ones(2), np.nan)
    rows = list(csv.reader(io.StringIO(as_csv({"g": gap}))))
    assert rows == [["frequency_per_px", "full_period_px", "g"], ["0", "", "1"], ["0.1", "10", ""]]


def test_closing_frees_the_widget(opened: Opened, result: Reconstruction) -> None:
    viewer, widget = opened(*result_layers(result, "small", 1))
    widget.candidates_page.table.selectRow(0)
    before = len(viewer.layers)
    gone = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget)
    assert not viewer.mouse_move_callbacks
    assert len(viewer.layers) == before - 1  # the candidate goes with the widget
    del widget
    viewer.layers.clear()  # nobody listens any more
    gc.collect()
    assert gone() is None


def test_closing_the_viewer_frees_it(opened: Opened, result: Reconstruction) -> None:
    viewer, widget = opened(*result_layers(result, "small", 1))
    gone = weakref.ref(widget)
    viewer.close()
    del viewer, widget
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_opens_without_torch() -> None:
    code = (
        "import time, sys; import napari; v = napari.Viewer(show=False)\n"
        "t = time.perf_counter(); from napari_i2ipr.plugin.inspector import InspectWidget\n"
        "w = InspectWidget(v); print(time.perf_counter() - t < 1)\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)\n"
        "v.close()"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]

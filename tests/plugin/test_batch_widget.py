"""The Batch widget, driven in a real viewer: plan, run, stop, go on, open."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QGuiApplication
from qtpy.QtWidgets import QFileDialog

from napari_i2ipr import io
from napari_i2ipr.batch import open_batch, reconstruct_batch, units
from napari_i2ipr.config import PRESETS, Config
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.plugin import batch_copying, batch_shown
from napari_i2ipr.plugin.batch_layers import StoredImage
from napari_i2ipr.plugin.batch_queue import ItemState
from napari_i2ipr.plugin.batch_table import HEADINGS, RESULT
from napari_i2ipr.plugin.chooser import DatasetChooser
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.state import RunState

Opened = Callable[[], tuple[Any, Any]]
Volume = Callable[..., Path]

RUN_MS = 120_000
GEOMETRY = Geometry(wavelength_m=1e-10, distance_m=1.0, pixel_size_m=(50e-6, 100e-6))
SLOW = {"initialisation": {"n_starts": 2, "short": "HIO:5", "n_keep": 1, "long": "HIO:2000", "final": ""}}
"""Some tenths of a second a pattern."""


@pytest.fixture
def opened(no_job_left: None, tiny: None, make_napari_viewer_proxy: Callable[..., Any]) -> Opened:
    """Open a viewer with the widget, as napari does it."""

    def make() -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy()
        _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Batch")
        widget.settings.preset.value = "fast"
        return viewer, widget

    return make


def counts(*lead: int, frame: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Patterns of random objects, different each."""
    rng = np.random.default_rng(3)
    objects = np.zeros((*lead, *frame), np.float32)
    ny, nx = frame[0] // 2, frame[1] // 2
    objects[..., ny // 2 : ny // 2 + ny, nx // 2 : nx // 2 + nx] = rng.random((*lead, ny, nx))
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(objects, norm="ortho"), axes=(-2, -1))) ** 2
    return rng.poisson(intensity * 50).astype(np.float32)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Writes ``patterns.zarr``: some patterns with a geometry; those in `empty` hold nothing."""

    def make(count: int = 4, empty: tuple[int, ...] = ()) -> Path:
        data = counts(count)
        data[list(empty)] = 0
        path = tmp_path / "patterns.zarr"
        io.write(Measurement(data, geometry=GEOMETRY, axes=("t", "y", "x")), path)
        return path

    return make


def finish(qtbot: QtBot, widget: Any) -> None:
    """Wait for the end of a run or plan, and until what it opens is open."""
    qtbot.waitUntil(lambda: widget.runner._job is None and not widget.errands.busy, timeout=RUN_MS)


def add(qtbot: QtBot, widget: Any, *paths: str) -> None:
    """Add paths and wait until they have been looked at."""
    widget.add(list(paths))
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=RUN_MS)


def cell(widget: Any, row: int, column: str) -> str:
    model = widget.list.table.queue
    return str(model.data(model.index(row, list(HEADINGS).index(column))))


def rename(widget: Any, row: int, name: str) -> None:
    model = widget.list.table.queue
    model.setData(model.index(row, RESULT), name)


def states(widget: Any) -> list[ItemState]:
    return [item.status.state for item in widget.list.queue.items]


# -- plan, run, open -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_volume(qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path) -> None:
    viewer, widget = opened()
    assert not widget.panel.run_button.isEnabled()
    source, target = volume(4, empty=(2,)), tmp_path / "patterns_reconstruction.zarr"
    add(qtbot, widget, str(source))
    assert (cell(widget, 0, "Source"), cell(widget, 0, "Result")) == (source.name, target.name)
    assert cell(widget, 0, "Status") == "waiting"

    widget.panel.plan_button.click()
    finish(qtbot, widget)
    lines = widget.panel.plan.text().splitlines()
    assert lines[0] == "4 patterns from 1 source."
    assert lines[1].startswith("Time: about ")
    assert [line.split(":")[0] for line in lines[2:4]] == ["Memory", "Disk"]
    assert lines[4].startswith("Saved in 4 units of 1 pattern")
    assert cell(widget, 0, "Patterns") == "0 of 4"
    assert not target.with_name(target.name + ".partial").exists()
    assert widget.panel.plan.isEnabled()

    widget.panel.run_button.click()
    assert not widget.panel.run_button.isEnabled()
    finish(qtbot, widget)
    assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()
    assert cell(widget, 0, "Status") == "done, 1 missing"
    assert cell(widget, 0, "Patterns") == "4 of 4"
    assert cell(widget, 0, "Time")
    assert "pattern 2: EMPTY" in cell(widget, 0, "Message")
    assert widget.panel.message.text().startswith("Done in ")

    result = io.read_result(target)
    names = ["classical mean (patterns)", "uncertainty (patterns)", "reconstruction (patterns)"]
    assert [layer.name for layer in viewer.layers] == names
    assert [layer.visible for layer in viewer.layers] == [False, True, True]
    for layer, expected in zip(viewer.layers, (result.classical, result.uncertainty, result.image), strict=True):
        assert isinstance(layer.data, StoredImage)
        np.testing.assert_array_equal(np.asarray(layer.data), expected)
        np.testing.assert_allclose(layer.scale, (1, 1e-10 / (40 * 50e-6) * 1e9, 1e-10 / (48 * 100e-6) * 1e9))
        np.testing.assert_allclose(layer.translate[1:], (10 * layer.scale[1], 12 * layer.scale[2]))
        assert tuple(str(unit) for unit in layer.units) == ("pixel", "nanometer", "nanometer")
        assert layer.axis_labels == ("t", "y", "x")
    words = words_of(viewer.layers[-1])
    assert [row["status"] for row in words["rows"]] == ["DONE", "DONE", "EMPTY", "DONE"]
    assert Path(words["scores_csv"]).is_file()


def test_a_queue_with_a_broken_file(qtbot: QtBot, opened: Opened, tmp_path: Path) -> None:
    viewer, widget = opened()
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"no more" * 100)
    np.save(tmp_path / "good.npy", counts()[...])
    add(qtbot, widget, str(tmp_path))
    assert [cell(widget, row, "Source") for row in range(2)] == ["broken.h5", "good.npy"]
    widget.plan()
    finish(qtbot, widget)
    assert "1 source cannot be run: the table says why." in widget.panel.plan.text()
    assert cell(widget, 0, "Message").startswith("Got ")
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.FAILED, ItemState.DONE]
    said = cell(widget, 0, "Message")
    assert said.startswith("Got ")
    assert "broken.h5" in said
    assert notification_manager.records[-1].message == said
    assert widget.panel.message.text().endswith("1 done, 1 failed.")
    assert widget.panel.run_button.isEnabled()
    assert viewer.layers[-1].name == "reconstruction (good)"
    assert viewer.layers[-1].ndim == 2
    assert io.is_result(tmp_path / "good_reconstruction.zarr")
    assert not (tmp_path / "broken_reconstruction.zarr.partial").exists()


@pytest.mark.slow
def test_stop_at_the_first_problem(qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path) -> None:
    _, widget = opened()
    np.save(tmp_path / "z.npy", counts())
    add(qtbot, widget, str(volume(2, empty=(0,))), str(tmp_path / "z.npy"))
    widget.form.strict.value = True
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.FAILED, ItemState.WAITING]
    assert "untick 'Stop at the first problem' to go on" in cell(widget, 0, "Message")
    assert widget.panel.message.text().startswith("Ended at the first problem after")
    widget.form.strict.value = False
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE, ItemState.DONE]


@pytest.mark.slow
def test_cancel_and_go_on(
    qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "fast", SLOW | {"refine": {"enabled": False}})
    viewer, widget = opened()
    np.save(tmp_path / "later.npy", counts())
    add(qtbot, widget, str(volume(5)), str(tmp_path / "later.npy"))
    widget.run()
    qtbot.waitUntil(lambda: widget.list.queue.items[0].status.done >= 3, timeout=RUN_MS)
    assert "5 patterns" in widget.panel.progress.text()
    widget.add([str(tmp_path / "later.npy"), str(tmp_path / "too late.npy")])
    asked = time.perf_counter()
    widget.panel.cancel_button.click()
    assert "stopping" in widget.panel.progress.text()
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=RUN_MS)
    assert time.perf_counter() - asked < 3  # 1 s on a machine that does nothing else
    assert widget.runner.status.state is RunState.STOPPED
    finish(qtbot, widget)
    assert states(widget) == [ItemState.STOPPED, *[ItemState.WAITING] * 2]  # what came meanwhile is taken then
    widget.list.table.selectRow(2)
    widget.list.buttons["Remove"].click()
    target = tmp_path / "patterns_reconstruction.zarr"
    kept = int(open_batch(target).done.sum())
    assert 2 <= kept < 5
    assert cell(widget, 0, "Message") == f"stopped: {kept} of 5 patterns are kept, Run goes on from there"
    assert widget.panel.message.text().endswith("Run goes on from there.")
    assert len(viewer.layers) == 0

    again = type(widget)(viewer)
    dock = viewer.window.add_dock_widget(again, name="again")
    add(qtbot, again, str(tmp_path / "patterns.zarr"))
    finish(qtbot, again)
    assert cell(again, 0, "Patterns") == f"{kept} of 5"
    assert "were done before" in cell(again, 0, "Message")
    viewer.window.remove_dock_widget(dock)

    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE, ItemState.DONE]
    assert cell(widget, 0, "Message").startswith(f"{kept} patterns were done before; R-factor")
    whole = tmp_path / "whole.zarr"
    reconstruct_batch(tmp_path / "patterns.zarr", whole, Config.from_preset("fast", compute={"threads": 1}))
    np.testing.assert_array_equal(io.read_result(target).image, io.read_result(whole).image)
    widget.run()
    finish(qtbot, widget)
    assert cell(widget, 0, "Message").startswith("it was complete already")


@pytest.mark.slow
def test_open_while_it_runs(
    qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is seen at once, the rest as it comes, and all of it after the store has its final name."""
    real, go_on = units.compute, threading.Event()

    def compute(job: Any, unit: int, *rest: Any, **more: Any) -> Any:
        if unit == 2:  # the last one, of a single pattern
            go_on.wait(60)
        return real(job, unit, *rest, **more)

    monkeypatch.setattr(units, "compute", compute)
    viewer, widget = opened()
    widget.settings["refine.enabled"].widget.value = False
    widget.list.opens.value = False
    add(qtbot, widget, str(volume(5, empty=(0,))))
    widget.run()
    target = tmp_path / "patterns_reconstruction.zarr"
    partial = target.with_name(target.name + ".partial")
    qtbot.waitUntil(lambda: partial.exists() and open_batch(target).done.sum() == 4, timeout=RUN_MS)
    table = widget.list.table
    table.doubleClicked.emit(table.queue.index(0, RESULT))  # while it runs no name can be edited
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=RUN_MS)
    assert widget.runner.status.running
    image = viewer.layers[-1]
    assert viewer.dims.current_step[0] == 1  # the first one with an image
    assert np.isfinite(np.asarray(image.data[1])).all()
    assert np.isnan(np.asarray(image.data[4])).all()
    viewer.dims.set_current_step(0, 4)
    refreshed: list[Any] = []
    image.events.set_data.connect(refreshed.append)
    go_on.set()
    finish(qtbot, widget)
    assert not partial.exists()
    assert viewer.layers[-1] == image
    assert refreshed, "the frame that is shown was read again"
    np.testing.assert_array_equal(np.asarray(image.data[4]), io.read_result(target).image[4])
    assert np.isnan(np.asarray(image.data[0])).all()
    widget.list.buttons["Open result"].click()  # nothing is selected
    widget.open_result(0)
    finish(qtbot, widget)
    assert len(viewer.layers) == 2  # the same ones


@pytest.mark.slow
def test_other_settings_are_refused_or_replace_it(
    qtbot: QtBot, opened: Opened, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = opened()
    widget.settings["refine.enabled"].widget.value = False
    add(qtbot, widget, str(volume(2)))
    widget.run()
    finish(qtbot, widget)
    before = np.asarray(viewer.layers[-1].data).copy()
    widget.settings["seed"].widget.value = 7
    widget.plan()
    finish(qtbot, widget)
    assert "give the result another name, or tick 'Overwrite earlier results'" in cell(widget, 0, "Message")
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.FAILED]
    assert "seed: 0 -> 7" in cell(widget, 0, "Message")
    np.testing.assert_array_equal(np.asarray(viewer.layers[-1].data), before)
    widget.form.overwrite.value = True
    widget.settings["object"].widget.value = "complex"
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE], cell(widget, 0, "Message")
    assert [layer.name.split(" (")[0] for layer in viewer.layers] == ["uncertainty", "phase", "amplitude"]


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("memory", "1MB", "allow more in 'Memory'"),
        ("memory", "much", "correct 'Memory'"),
        ("axes", "a,b", "write e.g. t,y,x in 'Axes'"),
    ],
)
def test_what_cannot_be_run_is_said_before(qtbot: QtBot, opened: Opened, field: str, text: str, said: str) -> None:
    viewer, widget = opened()
    viewer.add_layer(Image(counts(2), name="some"))
    widget.form.folder.value = Path.cwd()
    widget.list.buttons["Add layer"].click()
    getattr(widget.form, field).value = text
    for action in (widget.plan, widget.run):
        action()
        finish(qtbot, widget)
        assert said in cell(widget, 0, "Message")
        assert "--" not in cell(widget, 0, "Message")
    assert states(widget) == [ItemState.FAILED]


def test_fields_that_cannot_be_read(qtbot: QtBot, opened: Opened, volume: Volume) -> None:
    _, widget = opened()
    add(qtbot, widget, str(volume(2)))
    widget.form.centre.value = "middle"
    widget.run()
    assert (
        widget.panel.message.text() == "Got Centre y, x (px) = 'middle', expected two numbers: write e.g. 127.5, 128."
    )
    widget.form.centre.value = ""
    widget.form.mask.value = "file"
    widget.run()
    assert widget.panel.message.text().startswith("Got no mask file")
    assert not widget.runner.status.running
    widget.settings["aggregation.max_outside"].widget.value = "x"
    assert not widget.panel.run_button.isEnabled()
    assert widget.panel.plan.text() == "Correct what is marked in red."


# -- sources ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_layers_as_sources(qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path) -> None:
    viewer, widget = opened()
    data = counts(2)
    memory = viewer.add_layer(Image(data, name="in memory", axis_labels=("t", "y", "x")))
    stored = viewer.open(str(volume(2)), plugin="napari-i2ipr")[0]
    viewer.layers.selection = {memory, stored}
    for _ in range(2):
        widget.list.buttons["Add layer"].click()
    assert [item.name for item in widget.list.queue.items] == ["in memory", "patterns.zarr"]
    assert cell(widget, 0, "Result") == "choose a folder"
    widget.form.folder.value = tmp_path / "out"
    (tmp_path / "out").mkdir()
    names = ["in_memory_reconstruction.zarr", "patterns_reconstruction.zarr"]
    assert [cell(widget, row, "Result") for row in range(2)] == names
    widget.run()
    assert not widget.form.folder.enabled
    finish(qtbot, widget)
    assert widget.form.folder.enabled
    assert states(widget) == [ItemState.DONE, ItemState.DONE]
    expected = reconstruct_batch(
        Measurement(data), tmp_path / "o.zarr", Config.from_preset("fast", compute={"threads": 1})
    )
    made = io.read_result(tmp_path / "out" / names[0])
    np.testing.assert_array_equal(made.image, io.read_result(expected.target).image)
    np.testing.assert_array_equal(memory.data, data)


def test_a_layer_without_a_folder(qtbot: QtBot, opened: Opened) -> None:
    viewer, widget = opened()
    viewer.add_layer(Image(counts(2), name="in memory"))
    widget.list.buttons["Add layer"].click()
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.FAILED]
    assert cell(widget, 0, "Message").endswith("expected a folder for its result: choose one in 'Results in'.")


def test_a_mask_and_a_support_that_were_drawn(qtbot: QtBot, opened: Opened, tmp_path: Path) -> None:
    viewer, widget = opened()
    np.save(tmp_path / "a.npy", counts(2))
    mask, support = np.zeros((40, 48), np.uint8), np.zeros((40, 48), np.uint8)
    mask[:, :4], support[12:28, 14:36] = 1, 1
    bad, inside = viewer.add_labels(mask, name="bad"), viewer.add_labels(support, name="inside")
    widget.form.mask.value, widget.form.support.value = bad, inside
    assert widget.form.data.text() == "▸ Data (2 changed)"
    add(qtbot, widget, str(tmp_path / "a.npy"))
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE], cell(widget, 0, "Message")
    made = io.read_result(tmp_path / "a_reconstruction.zarr")
    assert made.box == (12, 14, 16, 22)
    viewer.layers.remove(inside)
    assert widget.form.support.value == "own"


def test_files_are_dropped_and_a_folder_is_one_stack(qtbot: QtBot, opened: Opened, tmp_path: Path) -> None:
    _, widget = opened()
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", counts(3)[number])

    def drop() -> None:
        words = QMimeData()
        words.setUrls([QUrl.fromLocalFile(str(folder)), QUrl("https://example.org/x.tif")])
        keys, buttons = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
        event = QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, words, buttons, keys)
        widget.list.table.dropEvent(event)

    assert widget.list.table.hint.isVisibleTo(widget)
    drop()
    finish(qtbot, widget)
    assert [item.name for item in widget.list.queue.items] == ["0.npy", "1.npy", "2.npy"]
    assert not widget.list.table.hint.isVisibleTo(widget)
    widget.list.buttons["Clear"].click()
    assert widget.list.queue.items == []
    widget.list.stack.value = True
    drop()
    finish(qtbot, widget)
    assert [item.name for item in widget.list.queue.items] == ["frames"]
    widget.run()
    finish(qtbot, widget)
    assert io.read_result(tmp_path / "frames_reconstruction.zarr").image.shape == (3, 20, 24)


def test_buttons(qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget = opened()
    buttons = widget.list.buttons
    free, folder = ["Add files…", "Add folder…"], str(volume(1))
    assert [name for name, button in buttons.items() if button.isEnabled()] == free
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (["/x/a.tif", "/x/b.tif", "/x/c.tif"], ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: folder)
    buttons["Add files…"].click()
    finish(qtbot, widget)
    buttons["Add folder…"].click()
    finish(qtbot, widget)
    buttons["Add folder…"].click()
    finish(qtbot, widget)
    assert [item.name for item in widget.list.queue.items] == ["a.tif", "b.tif", "c.tif", "patterns.zarr"]
    widget.list.table.selectRow(1)
    assert buttons["Remove"].isEnabled()
    buttons["Remove"].click()
    assert [item.name for item in widget.list.queue.items] == ["a.tif", "c.tif", "patterns.zarr"]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    buttons["Add folder…"].click()
    finish(qtbot, widget)
    (tmp_path / "nothing").mkdir()
    add(qtbot, widget, str(tmp_path / "nothing"))
    assert "holds no files of a known format" in widget.panel.message.text()
    assert len(widget.list.queue.items) == 3


def test_the_dataset_is_asked_for_once(
    qtbot: QtBot, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    asked: list[str] = []

    def ask(path: str, several: Any) -> str:
        asked.append(Path(path).name)
        return "b/frames"

    for name in ("1.h5", "2.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["a/frames"] = file["b/frames"] = counts(2)
    monkeypatch.setattr(DatasetChooser, "ask", ask)
    _, widget = opened()
    add(qtbot, widget, str(tmp_path))
    assert asked == ["1.h5"]
    assert [item.name for item in widget.list.queue.items] == ["1.h5::b/frames", "2.h5::b/frames"]
    monkeypatch.setattr(DatasetChooser, "ask", lambda *_: None)
    widget.list.buttons["Clear"].click()
    add(qtbot, widget, str(tmp_path))
    assert widget.list.queue.items == []


def test_results_are_renamed_in_the_table(qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path) -> None:
    _, widget = opened()
    add(qtbot, widget, str(volume(1)))
    rename(widget, 0, "mine")
    assert cell(widget, 0, "Result") == "mine.zarr"
    assert widget.list.queue.targets() == [tmp_path / "mine.zarr"]
    rename(widget, 0, "/")
    assert "the name '/'" in widget.panel.message.text()
    assert cell(widget, 0, "Result") == "mine.zarr"
    rename(widget, 0, "")
    assert cell(widget, 0, "Result") == "patterns_reconstruction.zarr"
    widget.list.lock(locked=True)
    rename(widget, 0, "other")
    assert cell(widget, 0, "Result") == "patterns_reconstruction.zarr"


@pytest.mark.slow
def test_many_results_do_not_all_open(
    qtbot: QtBot, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_shown, "MOST_OPEN", 2)
    viewer, widget = opened()
    widget.settings["refine.enabled"].widget.value = False
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", counts())
    add(qtbot, widget, str(tmp_path))
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE] * 3
    assert [layer.name for layer in viewer.layers if layer.visible] == ["uncertainty (1)", "reconstruction (1)"]
    assert len(viewer.layers) == 4
    widget.open_result(2)
    widget.open_result(0)
    finish(qtbot, widget)
    assert len(viewer.layers) == 6


def test_nothing_to_open_yet(qtbot: QtBot, opened: Opened, volume: Volume) -> None:
    _, widget = opened()
    add(qtbot, widget, str(volume(1)))
    widget.open_result(0)
    finish(qtbot, widget)
    assert "no batch at" in widget.panel.message.text()


# -- parameters and text ---------------------------------------------------------------------------------


def test_the_command_finds_the_work_done(
    qtbot: QtBot, opened: Opened, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copied line is the run: on its result there is nothing left to do."""
    from typer.testing import CliRunner

    from napari_i2ipr.cli.app import app

    monkeypatch.setattr(batch_copying, "QUOTE", shlex.join)
    _, widget = opened()
    widget.buttons.command_button.click()
    assert "an empty list" in widget.panel.message.text()
    add(qtbot, widget, str(volume(2)))
    widget.settings["seed"].widget.value = 11
    widget.settings["refine.enabled"].widget.value = False
    widget.form.support.value, widget.form.centre.value = "half", "20, 24"
    widget.run()
    finish(qtbot, widget)
    assert states(widget) == [ItemState.DONE], cell(widget, 0, "Message")
    widget.buttons.command_button.click()
    text = QGuiApplication.clipboard().text()
    source, target = tmp_path / "patterns.zarr", tmp_path / "patterns_reconstruction.zarr"
    options = ["--preset", "fast", "--seed", "11", "--no-refine", "--support", "half", "--center", "20,24"]
    assert shlex.split(text) == ["i2ipr", "batch", str(source), str(target), *options]
    done = CliRunner().invoke(app, shlex.split(text)[1:])
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.output
    widget.buttons.python_button.click()
    assert "reconstruct_batch" in QGuiApplication.clipboard().text()


def test_layers_in_the_text(opened: Opened, tmp_path: Path) -> None:
    viewer, widget = opened()
    for _ in range(2):
        viewer.add_layer(Image(counts(2), name="in memory"))
    mask = viewer.add_labels(np.zeros((40, 48), np.uint8), name="bad")
    viewer.layers.selection = {layer for layer in viewer.layers if isinstance(layer, Image)}
    widget.list.buttons["Add layer"].click()
    widget.form.mask.value = mask
    asked = widget.asked()
    assert asked.options["mask"] == "mask.tif"
    assert [source for source, _ in asked.works] == ["in_memory.zarr", "in_memory__1.zarr"]
    assert [target for _, target in asked.works] == [
        "in_memory_reconstruction.zarr",
        "in_memory__1_reconstruction.zarr",
    ]
    assert [one.split(" (")[0] for one in asked.todo] == [
        "save the layer 'in memory' as in_memory.zarr",
        "save the layer 'in memory [1]' as in_memory__1.zarr",
        "save the layer 'bad' as mask.tif",
    ]


def test_parameters_are_saved_and_loaded(opened: Opened, tmp_path: Path) -> None:
    _, widget = opened()
    config = Config.from_preset("balanced", seed=4, support="auto", members=2)
    (tmp_path / "a.yaml").write_text(config.to_yaml())
    widget.buttons.load(tmp_path / "a.yaml")
    assert widget.ask().config == config
    assert widget.ask().options["support"] == "auto"
    assert "1 changed" in widget.settings.advanced.text()
    widget.buttons.save(tmp_path / "b.yaml")
    assert Config.from_yaml((tmp_path / "b.yaml").read_text()) == config

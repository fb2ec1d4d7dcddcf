"""A run as text: what is copied repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels, Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QGuiApplication

from napari_i2ipr import io
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin import copying
from napari_i2ipr.plugin.copying import OPTIONS, Asked, as_command, as_python, changes
from napari_i2ipr.plugin.layers import words_of

Opened = Callable[..., tuple[Any, Any]]

EVERY_OPTION = Config.from_preset(
    "fast",
    members=2,
    seed=5,
    object="complex",
    keep_candidates=True,
    refine={"enabled": False, "weights": "a b", "sampler": "indi", "steps": 3, "views": 4, "fallback": "never"},
)


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder to write to, and quoting of a POSIX shell, whatever the system."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(copying, "QUOTE", shlex.join)


def test_only_what_differs_is_told() -> None:
    assert changes(Config()) == {"preset": "balanced"}
    config = Config.from_preset("best", seed=3, refine={"views": 4})
    assert changes(config) == {"preset": "best", "seed": 3, "refine": {"views": 4}}
    assert Config.from_dict(changes(EVERY_OPTION)) == EVERY_OPTION


def test_command_of_a_file() -> None:
    text, todo = as_command(Asked("x", Config.from_preset("fast", seed=3), "cpu", "/a b/it's.cxi"))
    assert shlex.split(text) == [
        *["i2ipr", "reconstruct", "/a b/it's.cxi", "it_s_reconstruction.zarr"],
        *["--preset", "fast", "--seed", "3", "--device", "cpu"],
    ]
    assert todo == []


def test_every_option_gives_back_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options are those of the command, and mean what the form says."""
    from typer.testing import CliRunner

    from napari_i2ipr.cli import reconstruct as command
    from napari_i2ipr.cli.app import app
    from napari_i2ipr.errors import InputError

    seen: list[Config] = []

    def stop(_measurement: Any, settings: Config, _device: str, _notes: Any) -> None:
        seen.append(settings)
        raise InputError("enough")

    monkeypatch.setattr(command, "run", stop)
    np.save("p.npy", np.ones((32, 32)))
    text, todo = as_command(Asked("x", EVERY_OPTION, path=str(Path("p.npy").absolute())))
    assert todo == []
    assert all(option in text for option, _ in OPTIONS.values())
    CliRunner().invoke(app, shlex.split(text)[1:])
    assert seen == [EVERY_OPTION]


@pytest.mark.parametrize(
    "config", [Config(initialisation={"n_starts": 7}), Config(preset="custom"), Config(nonnegative=False)]
)
def test_settings_without_an_option_go_by_file(config: Config) -> None:
    text, todo = as_command(Asked("x", config, path="/p.cxi"))
    assert shlex.split(text)[4:] == ["--config", "settings.yaml"]
    assert "save the parameters as settings.yaml" in todo[0]
    text, todo = as_command(Asked("x", config, path="/p.cxi", settings_file="/my file.yaml"))
    assert shlex.split(text)[4:] == ["--config", "/my file.yaml"]
    assert todo == []


def test_what_is_in_no_file_is_to_be_saved_first() -> None:
    asked = Asked("cell/1", Config(), frame=4, detector=(0, 1), mask="bad", region="inside")
    text, todo = as_command(asked)
    words = shlex.split(text)
    assert words[2:4] == ["cell_1.cxi", "cell_1_reconstruction.zarr"]
    assert [words[words.index(option) + 1] for option in ("--mask", "--support")] == ["mask.tif", "support.tif"]
    assert [part.split(" as ")[0] for part in todo[:3]] == [
        "save the layer 'cell/1'",
        "save the layer 'bad'",
        "save the layer 'inside'",
    ]
    assert "pattern 5 alone" in todo[3]
    assert "axes last" in todo[4]


@pytest.mark.parametrize(("drops", "support"), [(False, "half"), (True, "half"), (False, "auto")])
def test_support_in_the_command(drops: bool, support: str) -> None:
    text, _ = as_command(Asked("x", Config(support=support), path="/p.cxi", drops_support=drops))
    assert ("--support" in text) == (drops or support == "auto")
    assert not drops or text.endswith(f"--support {support}")


def test_python_of_a_file_needs_no_napari() -> None:
    text, todo = as_python(Asked("x", Config(), path="/p.cxi", frame=2, drops_support=True))
    assert todo == []
    assert "napari_i2ipr" in text
    assert "import napari\n" not in text
    compile(text, "copied", "exec")


# -- in the widget: what is on the clipboard is executed ---------------------------------------------


def finish(qtbot: QtBot, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)


def clipboard() -> str:
    return QGuiApplication.clipboard().text()


def executed(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "copied", "exec"), names)  # noqa: S102 - what the user would do
    return names


@pytest.fixture
def opened_file(
    no_job_left: None, make_napari_viewer_proxy: Callable[..., Any], measurement: Measurement, tmp_path: Path
) -> tuple[Any, Any, Path]:
    """A stack with a mask and a support in a file, opened by the plugin's reader; (viewer, widget, file)."""
    frames = np.stack([measurement.intensity, measurement.intensity[::-1]])
    inside = np.zeros((40, 48), bool)
    inside[10:30, 12:36] = True
    inside[10:14, 12:20] = False
    path = tmp_path / "it's a stack.cxi"
    io.write(replace(measurement, intensity=frames, support=inside, axes=("t", "y", "x")), path)
    viewer = make_napari_viewer_proxy()
    viewer.open(str(path), plugin="napari-i2ipr")
    _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    widget.preset.value = "fast"
    widget.settings["seed"].widget.value = 3
    return viewer, widget, path


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("support", ["file", "half"])
def test_the_command_repeats_the_run(qtbot: QtBot, opened_file: tuple[Any, Any, Path], support: str) -> None:
    from typer.testing import CliRunner

    from napari_i2ipr.cli.app import app

    viewer, widget, _ = opened_file
    widget.support.value = support
    widget.buttons.command_button.click()
    said = widget.panel.message.text()
    command = clipboard()
    assert said == "The command is on the clipboard."
    widget.run()
    finish(qtbot, widget)
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    result = io.read_result(Path("it_s_a_stack_reconstruction.zarr"))
    np.testing.assert_array_equal(np.asarray(result.image), viewer.layers[-1].data)


@pytest.mark.usefixtures("tiny")
def test_the_python_repeats_the_run(qtbot: QtBot, opened_file: tuple[Any, Any, Path]) -> None:
    viewer, widget, _ = opened_file
    widget.inputs.which.value = "shown"
    viewer.dims.set_current_step(0, 1)
    widget.buttons.python_button.click()
    assert widget.panel.message.text() == "The Python is on the clipboard."
    text = clipboard()
    assert "import napari\n" not in text
    widget.run()
    finish(qtbot, widget)
    assert words_of(viewer.layers[-1])["provenance"]["input"]["frame"] == 1
    np.testing.assert_array_equal(executed(text)["result"].image, viewer.layers[-1].data)
    assert io.is_result("it_s_a_stack_reconstruction.zarr")


@pytest.mark.usefixtures("tiny")
def test_a_painted_mask_is_no_longer_that_of_the_file(opened_file: tuple[Any, Any, Path]) -> None:
    _, widget, _ = opened_file
    assert widget.asked().mask is None
    widget.bad_pixels.value.data[9, 9] = 1
    assert widget.asked().mask == widget.bad_pixels.value.name
    widget.bad_pixels.value = None
    assert widget.asked().mask is None


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("what", ["plain", "axes", "mask", "labels", "shapes", "mask and shapes"])
def test_python_of_layers_repeats_the_run(
    qtbot: QtBot, open_widget: Opened, measurement: Measurement, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    frames = np.moveaxis(np.stack([measurement.intensity, measurement.intensity[::-1]]), 0, -1)
    stack = Measurement(frames.repeat(8, -1), axes=("y", "x", "t")) if what == "axes" else measurement
    viewer, widget = open_widget(stack)
    if what == "axes":
        widget.inputs.detector_y.value, widget.inputs.detector_x.value = 0, 1
        widget.inputs.which.value = "shown"
    if "mask" in what:
        widget.bad_pixels.value.data[7:9, 5:20] = 1
    if what == "labels":
        inside = np.zeros((40, 48), np.uint8)
        inside[12:28, 14:34] = 1
        viewer.add_layer(Labels(inside, name="inside"))
    if "shapes" in what:
        box = np.array([[11.5, 13.5], [11.5, 33.5], [27.5, 33.5], [27.5, 13.5]]) * viewer.layers[0].scale
        viewer.add_layer(Shapes([box], shape_type="polygon", name="inside", units=viewer.layers[0].units))
    if "inside" in viewer.layers:
        widget.support.value = viewer.layers["inside"]
    widget.buttons.copy_as_python()
    assert "run it in napari's console" in widget.panel.message.text()
    text = clipboard()
    widget.run()
    finish(qtbot, widget)
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    np.testing.assert_array_equal(executed(text)["result"].image, viewer.layers[-1].data)


@pytest.mark.usefixtures("tiny")
def test_the_command_of_what_is_not_saved_says_so(open_widget: Opened) -> None:
    _, widget = open_widget()
    widget.buttons.copy_as_command()
    assert clipboard().startswith("i2ipr reconstruct small.cxi")
    assert "Before it works: save the layer 'small' as small.cxi" in widget.panel.message.text()


@pytest.mark.usefixtures("tiny")
def test_nothing_is_copied_of_what_cannot_run(open_widget: Opened) -> None:
    viewer, widget = open_widget()
    QGuiApplication.clipboard().setText("before")
    widget.settings["initialisation.short"].widget.value = "nonsense"
    widget.buttons.copy_as_command()
    assert clipboard() == "before"
    assert "run of every start" in widget.panel.message.text()
    viewer.layers.clear()
    widget.buttons.copy_as_python()
    assert clipboard() == "before"

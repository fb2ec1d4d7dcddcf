"""Preferences: one source for choices and defaults, kept by napari, used by the widgets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

from napari_i2ipr.config import DEFAULT_PRESET, PRESETS, Compute
from napari_i2ipr.plugin.preferences import DEVICES, PLUGIN, SECTION, Preferences, preferences

settings = pytest.importorskip("napari.settings")
pytestmark = pytest.mark.skipif(not hasattr(settings, "get_plugin_settings"), reason="napari before 0.9")


def test_the_manifest_repeats_nothing_wrongly(repository: Path) -> None:
    page = PluginManifest.from_file(repository / "napari.yaml").contributions.configurations[SECTION].properties
    assert set(page) == set(Preferences.__dataclass_fields__)
    assert {name: one.default for name, one in page.items()} == vars(Preferences())
    assert (page["preset"].default, set(page["preset"].enum)) == (DEFAULT_PRESET, set(PRESETS))
    assert tuple(page["device"].enum) == DEVICES
    assert page["memory_fraction"].default == Compute().memory_fraction
    assert all(one.description for one in page.values())


def test_kept_by_napari(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    """What is set is written to a file of its own, and read from there in the next session."""
    make_napari_viewer_proxy()
    assert preferences() == Preferences()
    ours = settings.get_plugin_settings(PLUGIN)
    ours.computing.preset = "fast"
    ours.computing.memory_fraction = 0.5
    assert "preset: fast" in ours.config_path.read_text()
    settings._clear_plugin_settings_cache()
    assert preferences() == Preferences(preset="fast", memory_fraction=0.5)
    with pytest.raises(ValueError, match="allowed enum"):
        settings.get_plugin_settings(PLUGIN).computing.device = "abacus"


def test_nonsense_in_the_file(tmp_path: Path, make_napari_viewer_proxy: Callable[..., Any]) -> None:
    make_napari_viewer_proxy()
    file = tmp_path / "preferences" / f"{PLUGIN}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("computing:\n  device: abacus\n  memory_fraction: 7\n  preset: best\n")
    settings._clear_plugin_settings_cache()
    assert preferences() == Preferences(preset="best")


def test_used_by_the_widgets(make_napari_viewer_proxy: Callable[..., Any], no_job_left: None) -> None:
    viewer = make_napari_viewer_proxy()
    ours = settings.get_plugin_settings(PLUGIN)
    ours.computing.preset, ours.computing.device, ours.computing.memory_fraction = "best", "cpu", 0.25
    viewer.open_sample("napari-i2ipr", "cell")
    _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    task = widget.task()
    assert (task.config.preset, task.config.members, task.device) == ("best", PRESETS["best"]["members"], "cpu")
    assert task.config.compute.memory_fraction == 0.25
    _, simulate = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Simulate")
    assert simulate.task().memory_fraction == 0.25


def test_page_is_in_the_dialog(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    """The Preferences dialog has our page; OK keeps what was chosen there."""
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog
    from qtpy.QtWidgets import QComboBox

    make_napari_viewer_proxy()
    dialog = PreferencesDialog()
    pages = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    page = dialog._stack.widget(pages.index("I2I-PR Phase Retrieval"))
    boxes = {box.currentText(): box for box in page.findChildren(QComboBox)}
    boxes[DEFAULT_PRESET].setCurrentText("paper")
    dialog.accept()
    assert preferences().preset == "paper"
    dialog.close()
    dialog.deleteLater()


def test_without_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari.settings", None)
    assert preferences() == Preferences()

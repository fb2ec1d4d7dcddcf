"""Fields come from `Config`, and say what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.config import PRESETS, Config
from napari_i2ipr.errors import ConfigError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.settings import COMMON, SettingsForm

LEAVES = list(form.leaves(Config))
PATHS = [path for path, _, _ in LEAVES]


@pytest.fixture
def settings(qtbot: QtBot) -> SettingsForm:
    made = SettingsForm()
    qtbot.addWidget(made.advanced)
    return made


def test_choices_come_from_the_type() -> None:
    assert [value for _, value in form.choices(Config, "object")] == ["real", "complex"]
    assert [value for _, value in form.choices(Config, "support")] == ["half", "auto"]


def test_words_name_fields_and_choices_that_exist() -> None:
    known = {*PATHS, *(path.rpartition(".")[2] for path in PATHS), *Config.model_fields}
    assert set(form.LABELS) <= known
    choices = {
        (name, value) for _, model, name in LEAVES if _is_choice(model, name) for _, value in form.choices(model, name)
    }
    assert set(form.WORDS) <= choices


def _is_choice(model: Any, name: str) -> bool:
    return "Literal" in str(model.model_fields[name].annotation)


def test_every_setting_is_in_the_form_once(settings: SettingsForm) -> None:
    assert sorted([*settings.fields, "preset", "support"]) == sorted(PATHS)
    assert set(COMMON) < set(settings.fields)
    shown = [cell for path, cell in settings.cells.items() if settings.advanced.isAncestorOf(cell)]
    assert len(shown) == len(settings.fields) - len(COMMON)


@pytest.mark.usefixtures("qtbot")
@pytest.mark.parametrize(("path", "model", "name"), LEAVES, ids=PATHS)
def test_field(path: str, model: Any, name: str) -> None:
    one = form.Field(path, model, form.field(model, name, path))
    assert one.read() == model.model_fields[name].default
    assert one.widget.tooltip == f"{model.model_fields[name].description}\n({name})"


def test_ranges(qtbot: QtBot) -> None:
    members, seed = form.field(Config, "members"), form.field(Config, "seed")
    assert (members.min, members.max) == (1, 1000)
    assert (seed.min, seed.max) == (0, 2**53)
    seed.value = 2**53
    assert seed.value == 2**53


@pytest.mark.parametrize("preset", PRESETS)
def test_there_and_back(settings: SettingsForm, preset: str) -> None:
    config = Config.from_preset(
        preset, seed=2**53, aggregation={"max_outside": 0.123456789}, compute={"threads": 3}, support="auto"
    )
    settings.show(config)
    assert settings.config() == config
    assert settings.preset.value == preset


def test_a_preset_of_ones_own(settings: SettingsForm) -> None:
    config = Config(preset="custom", members=3)
    settings.show(config)
    assert settings.config() == config


def test_a_preset_leaves_what_belongs_to_the_data(settings: SettingsForm) -> None:
    settings["seed"].widget.value = 9
    settings["object"].widget.value = "complex"
    settings["members"].widget.value = 3
    settings["max_phase_deg"].widget.value = "90"
    settings["coherence.blur_px"].widget.value = "0.3"
    settings.support = "auto"
    settings.preset.value = "best"
    wanted = Config.from_preset(
        "best", seed=9, object="complex", support="auto", max_phase_deg=90.0, coherence={"blur_px": 0.3}
    )
    assert settings.config() == wanted


WRONG = {
    "initialisation.short": ("XYZ:3", "Got the method 'XYZ': expected one of ER"),
    "initialisation.long": ("", "Got an empty schedule: expected stages such as"),
    "initialisation.inherit": ("1.5", "Got 1.5: expected a number at least 0 and at most 1"),
    "initialisation.tolerance": ("1", "Got 1: expected a number at least 0 and below 1"),
    "aggregation.max_outside": ("much", "Got 'much': expected a number above 0 and at most 1"),
    "aggregation.max_residual_ratio": ("nan", "Got nan: expected a number at least 1"),
    "refine.weights": ("", "Expected a text, got none."),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_said_at_the_field(settings: SettingsForm, path: str) -> None:
    value, said = WRONG[path]
    heard: list[Config | None] = []
    settings.changed.connect(heard.append)
    usual = settings[path].widget.value
    settings[path].widget.value = value
    assert settings.cells[path].said.text().startswith(said)
    assert settings.cells[path].said.isVisibleTo(settings.cells[path])
    assert settings.advanced.text() == "▸ Advanced (1 to correct)"
    assert heard == [None]
    with pytest.raises(ConfigError, match=re.escape(said[:12])):
        settings.config()
    settings[path].widget.value = usual
    assert settings.cells[path].said.text() == ""
    assert heard == [None, Config()]


def test_what_differs_from_the_preset_is_counted(settings: SettingsForm) -> None:
    assert settings.advanced.text() == "▸ Advanced"
    settings["initialisation.n_starts"].widget.value = 7
    settings["compute.batch"].widget.value = 2
    assert settings.advanced.text() == "▸ Advanced (2 changed)"
    settings.advanced.expand(animate=False)
    assert settings.advanced.text() == "▾ Advanced (2 changed)"


def test_what_has_no_effect_is_greyed_out(settings: SettingsForm) -> None:
    def usable() -> list[bool]:
        return [settings.cells[path].isEnabled() for path in ("refine.enabled", "refine.views", "nonnegative")]

    assert usable() == [True, True, True]
    settings["refine.enabled"].widget.value = False
    assert usable() == [True, False, True]
    settings["object"].widget.value = "complex"
    assert usable() == [False, False, False]


def test_the_form_reads_what_the_command_line_writes(settings: SettingsForm, tmp_path: Path) -> None:
    from napari_i2ipr.plugin import parameters

    config = Config.from_preset("fast", seed=3, refine={"views": 4})
    parameters.save(config, tmp_path / "a.yaml")
    assert (tmp_path / "a.yaml").read_text() == config.to_yaml()
    settings.show(parameters.load(tmp_path / "a.yaml"))
    assert settings.config() == config

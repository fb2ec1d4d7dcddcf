"""Fields come from `Config`."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.config import Config, Refinement
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.section import SectionForm


def test_choices_come_from_the_type() -> None:
    assert [value for _, value in form.choices(Config, "object")] == ["real", "complex"]
    assert [value for _, value in form.choices(Config, "support")] == ["half", "auto"]


def test_words_name_fields_and_choices_that_exist() -> None:
    assert set(form.LABELS) <= set(Config.model_fields) | set(Refinement.model_fields)
    for name, value in form.WORDS:
        model = Config if name in Config.model_fields else Refinement
        assert value in [choice for _, choice in form.choices(model, name)]


@pytest.mark.usefixtures("qtbot")
@pytest.mark.parametrize("name", ["members", "seed", "object"])
def test_field(name: str) -> None:
    widget = form.field(Config, name)
    assert widget.value == Config.model_fields[name].default
    assert widget.tooltip == Config.model_fields[name].description


@pytest.mark.usefixtures("qtbot")
@pytest.mark.parametrize("name", Refinement.model_fields)
def test_every_field_of_the_refinement(name: str) -> None:
    widget = form.field(Refinement, name)
    assert widget.value == Refinement.model_fields[name].default
    assert widget.tooltip == Refinement.model_fields[name].description


def test_section(qtbot: QtBot) -> None:
    section = SectionForm(Refinement, "How to refine")
    qtbot.addWidget(section)
    assert Refinement(**section.values) == Refinement()
    wanted = Refinement(enabled=False, weights="a.safetensors", sampler="indi", steps=7, views=8, fallback="never")
    section.show_values(wanted)
    assert Refinement(**section.values) == wanted
    assert section.switch.native.text() == "Refine"
    section.set_usable(usable=True)
    assert section.isEnabled()
    assert not section.folded.isEnabled()


def test_ranges(qtbot: QtBot) -> None:
    members, seed = form.field(Config, "members"), form.field(Config, "seed")
    assert (members.min, members.max) == (1, 1000)
    assert (seed.min, seed.max) == (0, 2**53)
    seed.value = 2**53
    assert seed.value == 2**53

"""Fields come from `Config`."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.config import Config
from napari_i2ipr.plugin import form


def test_choices_come_from_the_type() -> None:
    assert [value for _, value in form.choices(Config, "object")] == ["real", "complex"]
    assert [value for _, value in form.choices(Config, "support")] == ["half", "auto"]


def test_words_name_fields_and_choices_that_exist() -> None:
    assert set(form.LABELS) <= set(Config.model_fields)
    for name, value in form.WORDS:
        assert value in [choice for _, choice in form.choices(Config, name)]


@pytest.mark.usefixtures("qtbot")
@pytest.mark.parametrize("name", ["members", "seed", "object"])
def test_field(name: str) -> None:
    widget = form.field(Config, name)
    assert widget.value == Config.model_fields[name].default
    assert widget.tooltip == Config.model_fields[name].description


def test_ranges(qtbot: QtBot) -> None:
    members, seed = form.field(Config, "members"), form.field(Config, "seed")
    assert (members.min, members.max) == (1, 1000)
    assert (seed.min, seed.max) == (0, 2**53)
    seed.value = 2**53
    assert seed.value == 2**53

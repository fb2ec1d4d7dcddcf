"""Settings: round trips, presets, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from napari_i2ipr.config import DEFAULT_PRESET, PRESETS, Config
from napari_i2ipr.errors import ConfigError
from napari_i2ipr.solvers.recipe import total_iterations

CHANGED: dict[str, Any] = {
    "preset": "fast",
    "object": "complex",
    "nonnegative": False,
    "support": "auto",
    "seed": 2**62,
    "members": 3,
    "initialisation": {"n_starts": 7, "short": "RAAR(beta=0.75):9", "tolerance": 0.125, "ranking": "residual"},
    "alignment": {"subpixel": False},
    "aggregation": {"weights": "consistency", "max_outside": 0.5},
    "refine": {"enabled": False, "weights": "own.safetensors", "sampler": "indi", "views": 4, "fallback": "never"},
    "compute": {"threads": 2},
    "keep_candidates": True,
}

every_preset = pytest.mark.parametrize("name", PRESETS)


def fields(section: BaseModel, path: str = "") -> list[tuple[str, Any]]:
    """Every setting, sections opened, as (dotted name, field)."""
    found: list[tuple[str, Any]] = []
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        found += fields(value, f"{path}{name}.") if isinstance(value, BaseModel) else [(path + name, info)]
    return found


def test_the_default_is_the_balanced_preset() -> None:
    assert DEFAULT_PRESET == "balanced"
    assert Config() == Config.from_preset("balanced") == Config.from_dict({}) == Config.from_yaml("")


@every_preset
def test_a_preset_is_valid_and_says_its_name(name: str) -> None:
    config = Config.from_preset(name)
    assert config.preset == name
    assert config.initialisation.n_keep <= config.initialisation.n_starts
    assert total_iterations(config.initialisation.short_schedule) > 0
    assert total_iterations(config.initialisation.long_schedule) > 0


def test_the_paper_preset_is_the_paper() -> None:
    settings = Config.from_preset("paper").initialisation
    assert (settings.n_starts, settings.n_keep, settings.ranking) == (12, 10, "residual")
    assert total_iterations(settings.short_schedule) == 50
    assert total_iterations(settings.long_schedule) == 1777
    assert settings.long.startswith("HIO:700 ER+acc:300")


def test_presets_differ() -> None:
    dumped = {json.dumps({**Config.from_preset(name).to_dict(), "preset": ""}) for name in PRESETS}
    assert len(dumped) == len(PRESETS)


@pytest.mark.parametrize("config", [Config(), Config.from_dict(CHANGED), *map(Config.from_preset, PRESETS)])
def test_yaml_json_and_dict_give_the_config_back(config: Config) -> None:
    assert Config.from_yaml(config.to_yaml()) == config
    assert Config.from_yaml(json.dumps(config.to_dict())) == config
    assert Config.from_dict(config.to_dict()) == config
    assert yaml.safe_load(config.to_yaml()) == config.to_dict()
    assert hash(Config.from_dict(config.to_dict())) == hash(config)


def test_changes_reach_the_sections_and_leave_the_rest_to_the_preset() -> None:
    config = Config.from_dict(CHANGED)
    fast = Config.from_preset("fast")
    assert config.initialisation.n_starts == 7
    assert config.initialisation.n_keep == fast.initialisation.n_keep
    assert config.initialisation.long == fast.initialisation.long
    assert config.alignment.shifts is True
    assert Config.from_preset("fast", seed=5) == fast.replace(seed=5)
    assert fast.replace(initialisation={"n_keep": 2}).initialisation.n_starts == fast.initialisation.n_starts


def test_a_preset_given_to_the_class_is_that_preset() -> None:
    """A configuration must not carry the name of a preset whose settings it does not have."""
    for name in PRESETS:
        assert Config(preset=name) == Config.from_preset(name)
        assert Config().replace(preset=name) == Config.from_preset(name)


def test_schedules_may_be_lists_of_stages() -> None:
    text = "initialisation:\n  long:\n    - HIO(beta=0.8): 70\n    - ER+acc:30\n"
    assert Config.from_yaml(text).initialisation.long == "HIO(beta=0.8):70 ER+acc:30"


def test_the_final_run_may_be_left_out() -> None:
    assert Config.from_dict({"initialisation": {"final": ""}}).initialisation.final_schedule == ()
    assert Config.from_dict({"initialisation": {"final": None}}).initialisation.final == ""
    assert total_iterations(Config.from_dict({"initialisation": {"final": "ER:7"}}).initialisation.final_schedule) == 7


def test_every_setting_is_described_and_shown_with_its_description() -> None:
    text = Config().to_yaml()
    assert len(fields(Config())) > 15
    for name, info in fields(Config()):
        assert info.description, name
        assert info.description.endswith("."), name
        assert info.description in text, name


def test_settings_are_frozen() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.initialisation.n_starts = 3  # type: ignore[misc]
    assert config.replace(seed=3) is not config
    assert config.seed == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"initialisation": {"nonsense": 1}}, "initialisation.nonsense"),
        ({"preset": "nonsense"}, "paper"),
        ({"preset": None}, "paper"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "many"}, "seed"),
        ({"members": 0}, "members"),
        ({"object": "imaginary"}, "object"),
        ({"support": "tight"}, "support"),
        ({"initialisation": {"n_starts": 0}}, "n_starts"),
        ({"initialisation": {"n_keep": 0}}, "n_keep"),
        ({"initialisation": {"tolerance": -0.1}}, "tolerance"),
        ({"initialisation": {"tolerance": float("nan")}}, "tolerance"),
        ({"initialisation": {"short": "XYZ:5"}}, "HIO"),
        ({"initialisation": {"short": ""}}, "short"),
        ({"initialisation": {"short": 5}}, "short"),
        ({"initialisation": {"short": None}}, "short"),
        ({"initialisation": 5}, "initialisation"),
        ({"aggregation": {"max_outside": 0}}, "max_outside"),
        ({"aggregation": {"weights": "heavy"}}, "weights"),
        ({"refine": {"sampler": "cold"}}, "refine.sampler"),
        ({"refine": {"views": 9}}, "refine.views"),
        ({"refine": {"steps": 65}}, "refine.steps"),
        ({"refine": {"weights": ""}}, "refine.weights"),
        ({"refine": {"fallback": "perhaps"}}, "refine.fallback"),
        ({"compute": {"threads": -1}}, "threads"),
        ({"compute": {"memory_fraction": 2}}, "memory_fraction"),
    ],
    ids=str,
)
def test_what_is_unknown_or_out_of_range_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config.from_dict(values)


@pytest.mark.parametrize("text", ["- a\n- b", "just text", "5", "a: [", "\tseed: 1"])
def test_text_that_holds_no_settings_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="got "):
        Config.from_yaml(text)


def test_an_unknown_setting_is_refused_by_every_door() -> None:
    with pytest.raises(ConfigError):
        Config.from_yaml("nonsense: 1")
    with pytest.raises(ConfigError):
        Config.from_preset("fast", nonsense=1)
    with pytest.raises(ConfigError):
        Config().replace(nonsense=1)
    with pytest.raises(ConfigError, match="balanced"):
        Config.from_preset("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        Config(nonsense=1)  # type: ignore[call-arg]

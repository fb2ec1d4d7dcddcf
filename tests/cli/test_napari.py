"""``i2ipr napari`` where napari is not installed, and what its help says."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.plugin import start

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (("napari",), "no napari in this environment"),
        (start.BINDINGS, "no Qt binding in"),
        (("napari", *start.BINDINGS), "no napari and no Qt binding in"),
    ],
)
def test_missing(monkeypatch: pytest.MonkeyPatch, run: Run, missing: tuple[str, ...], words: str) -> None:
    there = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        known = {"napari", *start.BINDINGS}
        return (None if name in missing else True) if name in known else there(name, *more)

    monkeypatch.setattr(start, "find_spec", find)
    with pytest.raises(ConfigError, match=words):
        start.require_napari()
    done = run("napari", "pattern.cxi")
    assert done.code == 2
    assert words in done.err
    assert 'pip install "napari-i2ipr[all]"' in done.err


def test_help_names_every_sample(run: Run) -> None:
    said = " ".join(run("napari", "--help").out.replace("│", " ").split())
    assert all(key in said for key in start.sample_keys())

"""One bar from many stages."""

from __future__ import annotations

from itertools import count

import pytest

from napari_i2ipr.config import Config
from napari_i2ipr.plugin.meter import EVALUATION, Meter, image_iterations, work
from napari_i2ipr.progress import Event


def test_image_iterations() -> None:
    settings = {"n_starts": 4, "short": "HIO:10", "n_keep": 9, "long": "ER:100", "final": "ER:7"}
    config = Config.from_preset("fast", initialisation=settings)
    assert image_iterations(config) == 4 * (10 + 100 + 7)  # no more are kept than there are
    assert image_iterations(config.replace(members=3), 5) == 15 * 468
    assert image_iterations(config.replace(initialisation={"final": ""})) == 440


def test_work_counts_the_refinement() -> None:
    settings = {"n_starts": 4, "short": "HIO:10", "n_keep": 9, "long": "ER:100", "final": "ER:7"}
    config = Config.from_preset("fast", initialisation=settings, members=3, refine={"views": 2, "steps": 5})
    assert work(config, 2) == image_iterations(config, 2) + 2 * 3 * 2 * 5 * EVALUATION
    assert work(config.replace(refine={"steps": 0})) > image_iterations(config)
    for off in (config.replace(refine={"enabled": False}), config.replace(object="complex")):
        assert work(off) == image_iterations(config)


def test_the_refinement_has_its_share_of_the_bar() -> None:
    for stage in ("refine", "pattern 1 of 2: refine"):
        meter = Meter(100 + 4 * EVALUATION)
        events = [Event("long run", 100, 100), *(Event(stage, done, 4) for done in (1, 2, 4))]
        fractions = [meter.update(event).fraction for event in events]
        assert fractions == pytest.approx([(100 + n * EVALUATION) / (100 + 4 * EVALUATION) for n in (0, 1, 2, 4)])


def test_fraction_runs_through_all_stages() -> None:
    meter = Meter(100)
    events = [
        Event("short run", 10, 20),
        Event("short run", 20, 20),
        Event("long run", 15, 30),
        Event("long run", 30, 30),
        Event("short run", 20, 20),
        Event("long run", 30, 30),
    ]
    assert [meter.update(event).fraction for event in events] == pytest.approx([0.1, 0.2, 0.35, 0.5, 0.7, 1.0])


def test_never_beyond_the_end() -> None:
    meter = Meter(10)
    assert meter.update(Event("long run", 25, 30)).fraction == 1


def test_score_is_the_best_of_the_stage() -> None:
    meter = Meter(100)
    scores = [("short run", 0.5), ("short run", 0.7), ("short run", None), ("long run", None), ("long run", 0.9)]
    seen = [meter.update(Event(stage, i + 1, 50, score)).score for i, (stage, score) in enumerate(scores)]
    assert seen == [0.5, 0.5, 0.5, None, 0.9]


def test_time_left() -> None:
    seconds = count(0, 10)
    meter = Meter(100, clock=lambda: next(seconds))
    assert meter.update(Event("long run", 1, 100)).seconds_left is None
    assert meter.update(Event("long run", 50, 100)).seconds_left == pytest.approx(20)

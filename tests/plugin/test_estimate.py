"""What a run will take, before it is started."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.config import Config
from napari_i2ipr.plugin import estimate
from napari_i2ipr.plugin.estimate import Estimate, Estimator, Plan, Speeds, memory_needed, size
from napari_i2ipr.plugin.meter import COSTS, work

pytestmark = pytest.mark.usefixtures("no_job_left")

CONFIG = Config.from_preset("fast", compute={"threads": 1})
PLAN = Plan((64, 96), 1, CONFIG, "cpu")


def result(**scores: float) -> Any:
    return SimpleNamespace(scores=scores)


def test_in_words() -> None:
    free = 20 * 2**30
    assert str(Estimate(42.0, 120 * 2**20, free)) == "About 42 s · 120 MB of 20.0 GB free memory"
    assert str(Estimate(None, 2**31, 0)) == "Time not known before the first run · 2.0 GB memory"
    much = Estimate(42.0, 18 * 2**30, free, fraction=0.8)
    assert not much.fits
    assert str(much).startswith("Needs about 18.0 GB of 20.0 GB free: crop or bin")
    assert size(10) == "1 MB"


def test_memory_grows_with_what_is_kept() -> None:
    one = memory_needed(PLAN)
    assert memory_needed(replace(PLAN, frame_shape=(128, 192))) == pytest.approx(4 * one, rel=0.01)
    many = memory_needed(replace(PLAN, n_frames=1000))
    kept = memory_needed(replace(PLAN, n_frames=1000, config=CONFIG.replace(keep_candidates=True)))
    assert many - one == 999 * 3 * 64 * 96
    assert kept - many == 1000 * 4 * 64 * 96


def test_speed_is_learned_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "speed.json"
    speeds = Speeds(file)
    assert speeds.of(PLAN) is None
    speeds.learn(PLAN, result(image_iterations=1000, solver_seconds=2.0))
    assert speeds.of(PLAN) == pytest.approx(0.002)
    again = Speeds(file)
    assert again.of(replace(PLAN, frame_shape=(128, 96))) == pytest.approx(0.004)
    assert again.of(replace(PLAN, device="cuda")) is None
    assert again.of(replace(PLAN, config=CONFIG.replace(object="complex"))) is None
    assert again.of(replace(PLAN, config=CONFIG.replace(compute={"threads": 3}))) is None


def test_speed_takes_the_refinement_in() -> None:
    speeds = Speeds(None)
    evaluations = 2 * 4
    speeds.learn(PLAN, result(image_iterations=200, solver_seconds=1.0, refine_seconds=1.0))
    assert speeds.of(PLAN) == pytest.approx(2.0 / (200 + evaluations * COSTS["refine"]))


@pytest.mark.parametrize("content", ["", "no json", "[1]", '{"cpu real 1": "fast"}', '{"cpu real 1": -1}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "speed.json"
    file.write_text(content)
    speeds = Speeds(file)
    assert speeds.of(PLAN) is None
    speeds.learn(PLAN, result(image_iterations=1000, solver_seconds=2.0))
    assert set(json.loads(file.read_text())) == {PLAN.key}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    speeds = Speeds(tmp_path / "cache" / "speed.json")
    speeds.learn(PLAN, result(image_iterations=1000, solver_seconds=2.0))
    assert speeds.of(PLAN) == pytest.approx(0.002)


def test_a_result_without_times_teaches_nothing() -> None:
    speeds = Speeds(None)
    speeds.learn(PLAN, result(image_iterations=0, solver_seconds=0.0))
    assert speeds.of(PLAN) is None


def test_the_estimator_measures_once_and_in_another_thread(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []
    monkeypatch.setattr(estimate, "measure", lambda shape: measured.append(shape) or 1e-3)
    estimator, found = Estimator(), []
    estimator.estimated.connect(found.append)
    estimator.ask(PLAN)
    estimator.ask(replace(PLAN, n_frames=3))  # only the last one counts
    qtbot.waitUntil(lambda: len(found) == 2, timeout=30_000)
    assert found[0].seconds is None
    assert found[1].seconds == pytest.approx(1e-3 * estimate.FFT_PAIR["real"] * work(CONFIG, 3))
    estimator.ask(PLAN)
    qtbot.waitUntil(lambda: len(found) == 3, timeout=30_000)
    assert found[2].seconds == pytest.approx(found[1].seconds / 3)
    estimator.speeds.learn(PLAN, result(image_iterations=1, solver_seconds=100.0))
    estimator.ask(PLAN)
    qtbot.waitUntil(lambda: len(found) == 4, timeout=30_000)
    assert found[3].seconds == pytest.approx(100 * work(CONFIG))
    assert measured == [PLAN.frame_shape]


def test_a_closed_estimator_says_no_more(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "measure", lambda _: 1e-3)
    estimator, found = Estimator(), []
    estimator.estimated.connect(found.append)
    estimator.ask(PLAN)
    estimator.close()
    qtbot.wait(300)
    assert found == []


def test_measure_scales_large_frames() -> None:
    small, large = estimate.measure((512, 512)), estimate.measure((2048, 1024))
    assert 0 < small < 1
    assert large / small == pytest.approx(8, rel=0.9)


@pytest.mark.slow
def test_the_estimate_is_of_the_right_size(measurement: Any) -> None:
    """A first estimate may be off by a factor; a learned one by less."""
    from napari_i2ipr.pipeline import reconstruct

    config = CONFIG.replace(refine={"enabled": False})
    plan = Plan(measurement.frame_shape, 1, config, "cpu")
    found = reconstruct(measurement, config, device="cpu")
    seconds = found.scores["solver_seconds"]
    first = estimate.measure(plan.frame_shape) * estimate.FFT_PAIR["real"] * work(config)
    assert seconds / 10 < first < 10 * seconds
    speeds = Speeds(None)
    speeds.learn(plan, found)
    assert speeds.of(plan) * work(config) == pytest.approx(seconds, rel=0.6)

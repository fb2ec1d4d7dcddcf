"""Two bars, a curve and a picture from many stages."""

from __future__ import annotations

import numpy as np
import pytest

from napari_i2ipr.config import Config
from napari_i2ipr.plugin.meter import (
    COSTS,
    PICTURE_HZ,
    PICTURE_PX,
    Meter,
    alignment_steps,
    evaluations,
    image_iterations,
    picture,
    work,
)
from napari_i2ipr.plugin.state import Point, Trace, duration
from napari_i2ipr.progress import Event

SETTINGS = {"n_starts": 4, "short": "HIO:10", "n_keep": 9, "long": "ER:100", "final": "ER:7"}
CONFIG = Config.from_preset("fast", initialisation=SETTINGS, refine={"views": 2, "steps": 5})
REFINE = COSTS["refine"]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_image_iterations() -> None:
    assert image_iterations(CONFIG) == 4 * (10 + 100 + 7)  # no more are kept than there are
    assert image_iterations(CONFIG.replace(members=3), 5) == 15 * 468
    assert image_iterations(CONFIG.replace(initialisation={"final": ""})) == 440


def test_work_counts_the_refinement() -> None:
    config = CONFIG.replace(members=3)
    assert evaluations(config, 2) == 2 * 3 * 2 * 5
    assert evaluations(config.replace(refine={"steps": 0})) > 0
    for off in (config.replace(refine={"enabled": False}), config.replace(object="complex")):
        assert evaluations(off) == 0
        assert work(config, 2) - work(off, 2) == REFINE * evaluations(config, 2)


def test_work_counts_the_alignments() -> None:
    off = CONFIG.replace(members=3, refine={"enabled": False})
    steps = 3 * alignment_steps(4) + alignment_steps(12)
    assert work(off, 2) == image_iterations(off, 2) + 2 * COSTS["align"] * steps
    once = off.replace(initialisation={"final": ""})
    assert work(once) == image_iterations(once) + COSTS["align"] * alignment_steps(12)


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_alignment_steps_are_those_of_the_alignment(n: int) -> None:
    from napari_i2ipr.physics.symmetry import align

    torch = pytest.importorskip("torch")
    seen: list[tuple[int, int]] = []
    align(torch.rand(n, 12, 10, generator=torch.Generator().manual_seed(0)), on_step=lambda *step: seen.append(step))
    total = alignment_steps(n)
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_the_refinement_has_its_share_of_the_bar() -> None:
    for stage in ("refine", "pattern 1 of 2: refine"):
        meter = Meter(100 + 4 * REFINE)
        events = [Event("long run", 100, 100), *(Event(stage, done, 4) for done in (1, 2, 4))]
        seen = [meter.update(event) for event in events]
        wanted = [(100 + n * REFINE) / (100 + 4 * REFINE) for n in (0, 1, 2, 4)]
        assert [progress.fraction for progress in seen] == pytest.approx(wanted)
        assert [progress.stage_fraction for progress in seen] == pytest.approx([1, 0.25, 0.5, 1])
        assert seen[-1].stage == "refine"


def test_fraction_runs_through_all_stages_and_sets() -> None:
    meter = Meter(100, members=2)
    events = [
        Event("short run", 10, 20),
        Event("short run", 20, 20),
        Event("long run", 15, 30),
        Event("long run", 30, 30),
        Event("short run", 20, 20),
        Event("long run", 30, 30),
    ]
    seen = [meter.update(event) for event in events]
    assert [progress.fraction for progress in seen] == pytest.approx([0.1, 0.2, 0.35, 0.5, 0.7, 1.0])
    assert [progress.member for progress in seen] == [0, 0, 0, 0, 1, 1]
    assert {progress.members for progress in seen} == {2}


def test_patterns_are_counted() -> None:
    meter = Meter(100)
    events = [Event(f"pattern {n + 1} of 2: long run", 50, 50, 0.5, frame=n, frames=2) for n in range(2)]
    seen = [meter.update(event) for event in events]
    assert [(progress.frame, progress.frames, progress.fraction) for progress in seen] == [(0, 2, 0.5), (1, 2, 1.0)]
    assert [progress.trace.points for progress in seen] == [[Point(1.0, 0.5, "long run")]] * 2
    assert seen[0].trace is not seen[1].trace


def test_never_beyond_the_end() -> None:
    meter = Meter(10)
    assert meter.update(Event("long run", 25, 30)).fraction == 1


def test_score_is_the_best_of_the_stage_and_all_are_in_the_trace() -> None:
    meter = Meter(100)
    scores = [("short run", 0.5), ("short run", 0.7), ("short run", None), ("long run", None), ("long run", 0.9)]
    seen = [meter.update(Event(stage, i + 1, 50, score)) for i, (stage, score) in enumerate(scores)]
    assert [progress.score for progress in seen] == [0.5, 0.5, 0.5, None, 0.9]
    assert [point[1:] for point in seen[-1].trace.points] == [
        (0.5, "short run"),
        (0.7, "short run"),
        (0.9, "long run"),
    ]


def test_a_trace_is_thinned_out_but_keeps_its_end() -> None:
    trace = Trace()
    for n in range(5000):
        trace.add(Point(n / 5000, 1.0, "long run"))
    points = trace.points
    assert 250 <= len(points) <= Trace.most
    assert points == sorted(points)
    assert points[-1].fraction == 4999 / 5000


def test_time_left() -> None:
    clock = Clock()
    meter = Meter(100, clock=clock)
    clock.now = 10.0
    assert meter.update(Event("long run", 1, 100)).seconds_left is None
    clock.now = 20.0
    assert meter.update(Event("long run", 50, 100)).seconds_left == pytest.approx(20)


def test_pictures_are_of_what_is_better_and_not_too_many() -> None:
    clock, asked = Clock(), []
    meter = Meter(100, clock=clock)

    def show(score: float, value: float) -> None:
        def image() -> np.ndarray:
            asked.append(value)
            return np.full((8, 8), value)

        seen.append(meter.update(Event("long run", len(asked), 100, score, image=image)).image)

    seen: list[np.ndarray | None] = []
    clock.now = 1.0
    show(0.5, 1.0)
    show(0.4, 2.0)  # too soon
    clock.now += 1.01 / PICTURE_HZ
    show(0.6, 3.0)  # worse
    show(0.3, 4.0)
    assert asked == [1.0, 4.0]
    assert seen[0] is seen[1] is seen[2]
    assert seen[3] is not seen[0]


@pytest.mark.parametrize("shape", [(20, 24), (500, 300), (1, 7)])
@pytest.mark.parametrize("kind", ["real", "signed", "complex", "blank", "broken"])
def test_picture(shape: tuple[int, int], kind: str) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    image = {"signed": image - 0.5, "complex": image * 1j, "blank": 0 * image, "broken": image * np.nan}.get(
        kind, image
    )
    found = picture(image)
    assert found.dtype == np.uint8
    assert max(found.shape) <= 2 * PICTURE_PX
    assert abs(found.shape[0] / found.shape[1] - shape[0] / shape[1]) < 0.02
    if kind in ("real", "signed", "complex"):
        assert found.max() == 255


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.01, "0.1 s"), (0.42, "0.4 s"), (42.4, "42 s"), (200, "3 min"), (9000, "2.5 h")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words

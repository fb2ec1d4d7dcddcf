"""Multi-start: ranking, held-out pixels, what a stop or a divergence leaves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.data import Status
from napari_i2ipr.physics.problem import Candidates, Problem
from napari_i2ipr.physics.symmetry import align
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.solvers import Method, multistart
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.multistart import GIVEN_BACK, MultiStart, initialise, random_start
from napari_i2ipr.solvers.recipe import Stage, parse_schedule, split, total_iterations

FRAME = (33, 40)
SETTINGS = MultiStart(6, 4, parse_schedule("HIO:20"), parse_schedule("HIO:150 ER+acc:50"), threads=1)


@dataclasses.dataclass(frozen=True)
class Breaks(Method):
    """HIO whose step `at` leaves NaN."""

    at: int

    def init(self, g: torch.Tensor, constraints: Any, span: Any = None) -> list[int]:
        return [0]

    def step(self, g: torch.Tensor, constraints: Any, memory: list[int]) -> torch.Tensor:
        p = HIO().step(g, constraints, None)
        memory[0] += 1
        return g.fill_(torch.nan) if memory[0] == self.at else p


@pytest.fixture
def noisy(make_problem: Callable[..., Any]) -> Problem:
    return make_problem(FRAME, alpha=0.1)[0]


def test_the_best_come_first(noisy: Problem) -> None:
    for hold_out in (True, False):
        found = initialise(noisy, dataclasses.replace(SETTINGS, hold_out=hold_out), seed=0)
        assert found.images.shape == (1, 4, 16, 20)
        score = found.score[0].tolist()
        assert score == sorted(score)
        expected = found.free_score if hold_out else found.residual
        assert torch.equal(found.score, expected)
        assert torch.isnan(found.free_score).all() == (not hold_out)


def test_the_starts_with_the_best_short_run_go_on(noisy: Problem) -> None:
    everyone = initialise(noisy, dataclasses.replace(SETTINGS, n_keep=6, long=parse_schedule("HIO:1")), seed=0)
    short_only = {
        int(start): float(score)
        for start, score in zip(everyone.start[0], _short_scores(noisy), strict=False)
        if score is not None
    }
    assert len(short_only) == 6
    kept = initialise(noisy, SETTINGS, seed=0)
    best = sorted(_short_scores(noisy))[:4]
    assert sorted(_short_scores(noisy)[k] for k in kept.start[0].tolist()) == best


def _short_scores(problem: Problem) -> list[float]:
    """Free score of every start after the short run, by hand."""
    held = problem.constraints(hold_out=True, one=0)
    weight = problem.pair.multiplicity() * problem.held_out[0, 0]
    scores = []
    for start in range(SETTINGS.n_starts):
        image = multistart.iterate(held, SETTINGS.short, random_start(held, 0, problem.indices[0], start)).image
        modulus, amplitude = problem.pair.forward(held.embed(image)).abs(), problem.amplitude[0, 0]
        misfit = ((modulus - amplitude).square() * weight).sum() / (amplitude.square() * weight).sum()
        scores.append(float(misfit.sqrt()))
    return scores


def test_the_free_score_is_taken_before_the_free_pixels_come_back(noisy: Problem) -> None:
    found = initialise(noisy, dataclasses.replace(SETTINGS, n_starts=1, n_keep=1), seed=0)
    held = noisy.constraints(hold_out=True, one=0)
    run = multistart.iterate(held, SETTINGS.short, random_start(held, 0, 0, 0))
    head, tail = split(SETTINGS.long, 180)
    run = multistart.iterate(held, head, run.iterate)
    weight = noisy.pair.multiplicity() * noisy.held_out[0, 0]
    amplitude = noisy.amplitude[0, 0]
    modulus = noisy.pair.forward(held.embed(run.image)).abs()
    misfit = (((modulus - amplitude).square() * weight).sum() / (amplitude.square() * weight).sum()).sqrt()
    assert float(found.free_score[0, 0]) == pytest.approx(float(misfit), rel=1e-5)
    run = multistart.iterate(noisy.constraints(hold_out=False, one=0), tail, run.iterate)
    torch.testing.assert_close(found.images[0, 0], run.image)
    _, chi = noisy.agreement(found.images[0, 0])
    assert float(found.residual[0, 0]) == pytest.approx(chi, rel=0.05)


@pytest.mark.parametrize("hold_out", [True, False])
def test_free_pixels_pull_in_the_last_tenth_only(
    noisy: Problem, monkeypatch: pytest.MonkeyPatch, hold_out: bool
) -> None:
    calls: list[tuple[int, bool]] = []
    iterate = multistart.iterate
    held = noisy.held_out[0, 0]

    def spy(constraints: Any, schedule: Any, *args: Any, **options: Any) -> Any:
        calls.append((total_iterations(schedule), bool((constraints.free[held] == 0).all())))
        assert bool((constraints.free[held] == 0).all()) != bool((constraints.free[held] == 1).all())
        return iterate(constraints, schedule, *args, **options)

    monkeypatch.setattr(multistart, "iterate", spy)
    initialise(noisy, dataclasses.replace(SETTINGS, n_starts=1, n_keep=1, hold_out=hold_out), seed=0)
    tail = round(GIVEN_BACK * 200)
    assert calls == ([(20, False), (200 - tail, False), (tail, True)] if hold_out else [(20, True), (200, True)])


@pytest.mark.parametrize("inherit", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
def test_the_final_run_starts_between_each_candidate_and_their_blind_mean(
    make_problem: Callable[..., Any], inherit: float, real: bool
) -> None:
    problem, _ = make_problem(FRAME, real=real, alpha=0.1)
    settings = dataclasses.replace(SETTINGS, inherit=inherit)
    before = initialise(problem, settings, seed=0)
    after = initialise(problem, dataclasses.replace(settings, final=parse_schedule("ER:7")), seed=0)
    constraints = problem.constraints(hold_out=False, one=0)
    assert torch.equal(after.start, before.start)
    assert torch.equal(after.free_score, before.free_score)
    assert torch.equal(after.score, before.score)
    assert after.iterations.tolist() == [[227] * 4]
    if inherit == 0:
        assert not torch.equal(after.images, before.images)
        assert (after.residual <= before.residual * (1 + 1e-4)).all()
        return
    aligned = problem.constrain(align(before.images[0]).images)
    mixed = inherit * aligned.mean(0) + (1 - inherit) * aligned
    for k in range(4):
        run = multistart.iterate(constraints, parse_schedule("ER:7"), constraints.embed(mixed[k]))
        torch.testing.assert_close(after.images[0, k], run.image, rtol=1e-3, atol=1e-3)


def test_candidates_of_a_final_run_ranked_by_their_residual_come_best_first(noisy: Problem) -> None:
    for seed in range(4):
        settings = dataclasses.replace(SETTINGS, hold_out=False, inherit=0.0, final=parse_schedule("HIO:100"))
        found = initialise(noisy, settings, seed=seed)
        assert torch.equal(found.score, found.residual)
        assert found.score[0].tolist() == sorted(found.score[0].tolist())


def test_the_free_pixels_pull_all_through_the_final_run(noisy: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []
    iterate, held = multistart.iterate, noisy.held_out[0, 0]

    def spy(constraints: Any, schedule: Any, *args: Any, **options: Any) -> Any:
        calls.append((total_iterations(schedule), bool((constraints.free[held] == 0).all())))
        return iterate(constraints, schedule, *args, **options)

    monkeypatch.setattr(multistart, "iterate", spy)
    settings = dataclasses.replace(SETTINGS, n_starts=1, n_keep=1, final=parse_schedule("HIO:30"))
    initialise(noisy, settings, seed=0)
    assert calls == [(20, False), (180, False), (20, True), (30, True)]


@pytest.mark.parametrize("iterations", [1, 3, 5, 7])
def test_a_long_run_of_a_few_iterations_delivers_its_estimate(noisy: Problem, iterations: int) -> None:
    settings = dataclasses.replace(SETTINGS, n_starts=1, n_keep=1, long=(Stage(HIO(), iterations),))
    found = initialise(noisy, settings, seed=0)
    assert int(found.iterations[0, 0]) == 20 + iterations
    tail = round(GIVEN_BACK * iterations)
    held, every = (noisy.constraints(hold_out=hold_out, one=0) for hold_out in (True, False))
    run = multistart.iterate(held, SETTINGS.short, random_start(held, 0, 0, 0))
    run = multistart.iterate(held, (Stage(HIO(), iterations - tail),), run.iterate)
    if tail:
        run = multistart.iterate(every, (Stage(HIO(), tail),), run.iterate)
    torch.testing.assert_close(found.images[0, 0], run.image)


def test_random_numbers_of_a_start_do_not_depend_on_the_other_starts(noisy: Problem) -> None:
    few = initialise(noisy, dataclasses.replace(SETTINGS, n_starts=3, n_keep=3), seed=0)
    many = initialise(noisy, dataclasses.replace(SETTINGS, n_starts=9, n_keep=9), seed=0)
    late = initialise(noisy, dataclasses.replace(SETTINGS, n_starts=2, n_keep=2), seed=0, first_start=1)
    for some in (few, late):
        for k, start in enumerate(some.start[0].tolist()):
            at = many.start[0].tolist().index(start)
            assert torch.equal(some.images[0, k], many.images[0, at])
            assert some.score[0, k] == many.score[0, at]
    assert sorted(late.start[0].tolist()) == [1, 2]


@pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
def test_a_random_start_has_the_measured_modulus_and_its_own_phases(
    make_problem: Callable[..., Any], real: bool
) -> None:
    problem, _ = make_problem((33, 41), real=real)
    constraints = problem.constraints(hold_out=True, one=0)
    first = random_start(constraints, 0, 0, 0)
    assert first.dtype == problem.pair.dtype
    modulus = problem.pair.forward(first).abs()
    inner = slice(1, None) if real else slice(None)  # column 0 of a half spectrum is made symmetric
    torch.testing.assert_close(modulus[:, inner], constraints.pull[:, inner], rtol=1e-4, atol=1e-4)
    assert torch.equal(first, random_start(constraints, 0, 0, 0))
    for other in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        assert not torch.allclose(first, random_start(constraints, *other), atol=0.1)


def test_no_two_starts_are_alike(noisy: Problem) -> None:
    constraints = noisy.constraints(hold_out=True, one=0)
    starts = torch.stack([random_start(constraints, 0, index, start) for index in (0, 1) for start in range(40)])
    distance = torch.cdist(starts.flatten(1), starts.flatten(1)) + 1e9 * torch.eye(80)
    assert float(distance.min()) > 0.5 * float(starts[0].norm())


def test_iterations_are_counted_for_kept_and_dropped_starts(make_problem: Callable[..., Any]) -> None:
    problem, _ = make_problem(FRAME, batch=2, alpha=0.1)
    found = initialise(problem, SETTINGS, seed=0)
    assert found.iterations.tolist() == [[220] * 4] * 2
    assert found.spent.tolist() == [6 * 20 + 4 * 200] * 2
    assert found.status == (("DONE",) * 4,) * 2


def test_events_count_up_to_the_total_of_each_stage(noisy: Problem) -> None:
    events: list[Event] = []
    settings = dataclasses.replace(SETTINGS, final=parse_schedule("HIO:130"))
    initialise(noisy, settings, seed=0, on_event=events.append)
    for stage, total in [("short run", 120), ("long run", 800), ("final run", 520)]:
        mine = [event for event in events if event.stage == stage]
        done = [event.done for event in mine]
        assert done == sorted(done)
        assert done[-1] == total
        assert {event.total for event in mine} == {total}
    assert any(event.score is not None and math.isfinite(event.score) for event in events)


def test_watching_changes_nothing(noisy: Problem) -> None:
    watched = initialise(noisy, SETTINGS, seed=0, on_event=lambda _: None, cancel=Cancel())
    assert torch.equal(watched.images, initialise(noisy, SETTINGS, seed=0).images)


def test_the_tolerance_stops_a_start_early(make_problem: Callable[..., Any]) -> None:
    problem, _ = make_problem((48, 40))
    long = parse_schedule("HIO:3000")
    settings = MultiStart(2, 1, parse_schedule("HIO:20"), long, tolerance=1e-3, threads=1)
    found = initialise(problem, settings, seed=0)
    assert found.status == (("CONVERGED",),)
    assert int(found.iterations[0, 0]) < 3000
    assert float(found.residual[0, 0]) < 2e-3


def test_starts_with_energy_outside_the_support_rank_last(noisy: Problem) -> None:
    found = initialise(noisy, dataclasses.replace(SETTINGS, n_keep=6), seed=0)
    limit = float(found.outside.median())
    guarded = initialise(noisy, dataclasses.replace(SETTINGS, n_keep=6, max_outside=limit), seed=0)
    failed = (guarded.outside[0] > limit).tolist()
    assert failed == sorted(failed)
    assert any(failed)
    assert not all(failed)
    unguarded = initialise(noisy, dataclasses.replace(SETTINGS, hold_out=False, max_outside=1e-9), seed=0)
    assert unguarded.score[0].tolist() == sorted(unguarded.score[0].tolist())


def test_the_energy_outside_is_a_share(make_problem: Callable[..., Any]) -> None:
    problem, truth = make_problem(FRAME)
    work = multistart._Work(problem, SETTINGS, 0, None, None)
    image = truth[0, 0][problem.box]
    assert work._outside(work.all[0], image) == pytest.approx(0, abs=1e-5)
    blurred = torch.ones_like(image)
    projected = work.all[0].modulus(work.all[0].embed(blurred))
    inside = projected[problem.box].square().sum() / projected.square().sum()
    assert work._outside(work.all[0], blurred) == pytest.approx(1 - float(inside), abs=1e-5)


def stopped(problem: Problem, cancel: Cancel, **changes: Any) -> Candidates:
    settings = dataclasses.replace(SETTINGS, n_starts=1, n_keep=1, **changes)
    return initialise(problem, settings, seed=0, cancel=cancel)


@pytest.mark.parametrize("looks", [5, 19, 20])
def test_a_stop_in_the_short_run_keeps_its_estimate(noisy: Problem, looks: int, after: Callable[[int], Cancel]) -> None:
    found = stopped(noisy, after(looks))
    assert found.status == (("CANCELLED",),)
    assert int(found.iterations[0, 0]) == int(found.spent[0]) == looks
    held = noisy.constraints(hold_out=True, one=0)
    expected = multistart.iterate(held, (Stage(HIO(), looks),), random_start(held, 0, 0, 0)).image
    torch.testing.assert_close(found.images[0, 0], expected)


@pytest.mark.parametrize("looks", [20 + 130, 20 + 450, 20 + 850])
def test_a_stop_in_the_long_run_keeps_the_best_so_far(
    noisy: Problem, looks: int, after: Callable[[int], Cancel]
) -> None:
    found = stopped(noisy, after(looks), long=parse_schedule("HIO:1000"))
    assert found.status == (("CANCELLED",),)
    assert int(found.iterations[0, 0]) == looks
    held = noisy.constraints(hold_out=True, one=0)
    run = multistart.iterate(held, SETTINGS.short, random_start(held, 0, 0, 0))
    run = multistart.iterate(held, parse_schedule("HIO:900"), run.iterate, cancel=after(looks - 20))
    assert run.status is Status.CANCELLED
    torch.testing.assert_close(found.images[0, 0], run.image)


def test_the_numbers_of_a_stopped_start_belong_to_its_image(noisy: Problem, after: Callable[[int], Cancel]) -> None:
    for hold_out in (True, False):
        found = stopped(noisy, after(20 + 450), long=parse_schedule("HIO:1000"), hold_out=hold_out)
        modulus = noisy.pair.forward(noisy.constraints(hold_out=False, one=0).embed(found.images[0, 0])).abs()
        weight = noisy.pair.multiplicity() * noisy.measured[0, 0]
        amplitude = noisy.amplitude[0, 0]
        chi = (((modulus - amplitude).square() * weight).sum() / (amplitude.square() * weight).sum()).sqrt()
        assert float(found.residual[0, 0]) == pytest.approx(float(chi), rel=1e-5)


@pytest.mark.parametrize("hold_out", [True, False])
@pytest.mark.parametrize("at", [250, 420, 890])
def test_a_start_that_diverges_in_the_long_run_keeps_its_last_finite_best(
    noisy: Problem, hold_out: bool, at: int
) -> None:
    settings = MultiStart(1, 1, parse_schedule("HIO:20"), (Stage(Breaks(at), 1000),), hold_out=hold_out, threads=1)
    found = initialise(noisy, settings, seed=0)
    assert found.status == (("DIVERGED",),)
    assert torch.isfinite(found.images).all()
    assert found.images.any()
    assert float(found.residual[0, 0]) < 0.6, "the image is far from what was reached before the break"
    assert math.isfinite(float(found.score[0, 0]))


def test_a_start_that_diverges_in_the_short_run_ranks_behind_the_sound_ones(
    noisy: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = multistart.random_start

    def start(constraints: Any, seed: int, index: int, number: int) -> torch.Tensor:
        g = original(constraints, seed, index, number)
        return g.fill_(torch.nan) if number in (0, 3) else g

    monkeypatch.setattr(multistart, "random_start", start)
    found = initialise(noisy, SETTINGS, seed=0)
    assert not {0, 3} & set(found.start[0].tolist())
    assert found.status == (("DONE",) * 4,)
    everyone = initialise(noisy, dataclasses.replace(SETTINGS, n_keep=6), seed=0)
    assert set(everyone.start[0, -2:].tolist()) == {0, 3}
    assert list(everyone.status[0]) == ["DONE"] * 4 + ["DIVERGED"] * 2
    assert torch.isfinite(everyone.images).all()


def test_independent_results_are_those_before_the_common_start(noisy: Problem) -> None:
    """What the final run shares is not in them: they are the candidates of a run that ends before it, matched."""
    before = initialise(noisy, SETTINGS, seed=3)
    assert before.independent is before.images
    final = parse_schedule("ER:20")
    after = initialise(noisy, dataclasses.replace(SETTINGS, final=final), seed=3)
    assert torch.equal(after.independent[0], noisy.constrain(align(before.images[0]).images))
    assert not torch.equal(after.images, after.independent)
    alone = initialise(noisy, dataclasses.replace(SETTINGS, final=final, inherit=0.0), seed=3)
    assert alone.independent is alone.images

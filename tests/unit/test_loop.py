"""THE loop: counting, stopping, best-so-far, and torch's threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from napari_i2ipr.data import Status
from napari_i2ipr.progress import Cancel
from napari_i2ipr.solvers import Method
from napari_i2ipr.solvers._run import CHECK_EVERY, available_cores, chi, each, iterate
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.recipe import Stage, parse_schedule

FRAME = (33, 40)


@dataclass(frozen=True)
class Breaks(Method):
    """HIO until step `at`, which leaves NaN in the images where `which` says so."""

    at: int
    which: tuple[bool, ...] = (True,)

    def init(self, g: torch.Tensor, constraints: Any, span: Any = None) -> list[int]:
        return [0]

    def step(self, g: torch.Tensor, constraints: Any, memory: list[int]) -> torch.Tensor:
        p = HIO().step(g, constraints, None)
        memory[0] += 1
        if memory[0] == self.at:
            flags = torch.tensor(self.which).view(-1, 1, 1, 1) if g.ndim == 4 else torch.tensor(self.which[0])
            g.masked_fill_(flags, torch.nan)
        return p


@pytest.fixture
def constraints(make_problem: Callable[..., Any]) -> Any:
    problem, _ = make_problem(FRAME, alpha=0.2)
    return problem.constraints(hold_out=False, one=0)


@pytest.fixture
def start(make_object: Callable[..., Any]) -> torch.Tensor:
    return make_object(FRAME, 7)


def test_every_iteration_of_every_stage_is_done(constraints: Any, start: torch.Tensor) -> None:
    outcome = iterate(constraints, parse_schedule("HIO:30 ER+acc:25 HIO+avg:8"), start.clone())
    assert (outcome.iterations, outcome.status) == (63, Status.DONE)
    by_hand = start.clone()
    for stage in parse_schedule("HIO:30 ER+acc:25 HIO+avg:8"):
        memory = stage.method.init(by_hand, constraints)
        for _ in range(stage.iterations):
            stage.method.step(by_hand, constraints, memory)
        estimate = stage.method.estimate(by_hand, constraints, memory)
        stage.method.finish(by_hand, constraints, memory)
    assert torch.equal(outcome.iterate, by_hand)
    assert torch.equal(outcome.image, estimate)


def test_a_run_goes_on_from_its_iterate(constraints: Any, start: torch.Tensor) -> None:
    whole = iterate(constraints, parse_schedule("HIO:250"), start.clone())
    first = iterate(constraints, parse_schedule("HIO:130"), start.clone())
    second = iterate(constraints, parse_schedule("HIO:120"), first.iterate)
    assert torch.equal(second.image, whole.image)


def test_an_empty_schedule_projects_the_start(constraints: Any, start: torch.Tensor) -> None:
    outcome = iterate(constraints, (), start.clone())
    assert (outcome.iterations, outcome.status) == (0, Status.DONE)
    assert torch.equal(outcome.image, constraints.crop(start))


def test_checks_come_in_fixed_steps_across_stages(constraints: Any, start: torch.Tensor) -> None:
    seen: list[tuple[int, float]] = []
    outcome = iterate(
        constraints,
        parse_schedule("HIO:130 ER:200"),
        start.clone(),
        on_check=lambda n, r, _: seen.append((n, float(r))),
    )
    assert [n for n, _ in seen] == [CHECK_EVERY, 2 * CHECK_EVERY, 3 * CHECK_EVERY]
    assert float(outcome.residual) == pytest.approx(float(chi(constraints, outcome.image)), rel=1e-5)


def test_watching_changes_nothing(constraints: Any, start: torch.Tensor) -> None:
    schedule = parse_schedule("HIO:250 ER:60")
    plain = iterate(constraints, schedule, start.clone())
    watched = iterate(
        constraints, schedule, start.clone(), on_check=lambda _done, _residual, _image: None, cancel=Cancel()
    )
    assert torch.equal(plain.image, watched.image)


def test_the_residual_is_the_misfit_over_the_pixels_that_pull(make_problem: Callable[..., Any]) -> None:
    measured = torch.ones(FRAME, dtype=torch.bool)
    measured[:3, :4] = False
    for real in (True, False):
        problem, truth = make_problem(FRAME, real=real, batch=2, measured=measured)
        constraints = problem.constraints(hold_out=True)
        images = truth[..., problem.box[0], problem.box[1]]
        torch.testing.assert_close(chi(constraints, images), torch.zeros(2, 1), rtol=0, atol=1e-5)
        torch.testing.assert_close(chi(constraints, 1.5 * images), torch.full((2, 1), 0.5), rtol=0, atol=1e-5)
        torch.testing.assert_close(chi(constraints, 0 * images), torch.ones(2, 1))


def test_a_stop_before_the_first_iteration_gives_a_finite_image(
    constraints: Any, start: torch.Tensor, after: Callable[[int], Cancel]
) -> None:
    outcome = iterate(constraints, parse_schedule("HIO:250"), start.clone(), cancel=after(0))
    assert (outcome.iterations, outcome.status) == (0, Status.CANCELLED)
    assert torch.isfinite(outcome.image).all()


def test_a_stop_keeps_the_best_so_far(constraints: Any, start: torch.Tensor, after: Callable[[int], Cancel]) -> None:
    residuals: list[float] = []
    outcome = iterate(
        constraints,
        parse_schedule("HIO:1000"),
        start.clone(),
        on_check=lambda _, r, _image: residuals.append(float(r)),
        cancel=after(950),
    )
    assert (outcome.iterations, outcome.status) == (950, Status.CANCELLED)
    assert len(residuals) == 9
    assert float(chi(constraints, outcome.image)) == pytest.approx(min(residuals), rel=1e-5)


def test_a_stop_before_the_first_check_keeps_the_work_done(
    constraints: Any, start: torch.Tensor, after: Callable[[int], Cancel]
) -> None:
    stopped = iterate(constraints, parse_schedule("HIO:90"), start.clone(), cancel=after(60))
    assert (stopped.iterations, stopped.status) == (60, Status.CANCELLED)
    ended = iterate(constraints, parse_schedule("HIO:60"), start.clone())
    assert torch.equal(stopped.image, ended.image)


def test_a_run_that_leaves_the_finite_numbers_returns_its_best(constraints: Any, start: torch.Tensor) -> None:
    residuals: list[float] = []
    outcome = iterate(
        constraints,
        (Stage(Breaks(at=650), 1000),),
        start.clone(),
        on_check=lambda _, r, _image: residuals.append(float(r)),
    )
    assert bool(outcome.diverged)
    assert outcome.iterations == 700, "there was nothing left to iterate"
    assert torch.isfinite(outcome.image).all()
    assert float(chi(constraints, outcome.image)) == pytest.approx(min(residuals[:6]), rel=1e-5)


def test_a_run_of_which_nothing_is_left_does_not_call_itself_converged(constraints: Any, start: torch.Tensor) -> None:
    outcome = iterate(constraints, (Stage(Breaks(at=150), 400),), start.clone())
    assert outcome.status is Status.DIVERGED


@pytest.mark.parametrize("at", [20, 250])
def test_the_last_iterations_are_checked_too(constraints: Any, start: torch.Tensor, at: int) -> None:
    outcome = iterate(constraints, (Stage(Breaks(at=at), at + 1),), start.clone())
    assert bool(outcome.diverged)
    assert torch.isfinite(outcome.image).all()


def test_one_diverging_image_does_not_stop_its_batch(
    make_problem: Callable[..., Any], make_object: Callable[..., Any]
) -> None:
    problem, _ = make_problem(FRAME, batch=2, alpha=0.2)
    constraints = problem.constraints(hold_out=False)
    start = make_object((2, 1, *FRAME), 7)
    sound = iterate(constraints, (Stage(Breaks(at=0), 300),), start.clone())
    broken = iterate(constraints, (Stage(Breaks(at=150, which=(False, True)), 300),), start.clone())
    assert broken.diverged.tolist() == [[False], [True]]
    assert not sound.diverged.any()
    assert torch.isfinite(broken.image).all()
    assert (broken.iterations == 300).all()
    assert torch.equal(broken.image[0], sound.image[0])


def test_a_run_stops_at_its_tolerance(constraints: Any, start: torch.Tensor) -> None:
    residuals: list[float] = []
    iterate(
        constraints, parse_schedule("HIO:900"), start.clone(), on_check=lambda _, r, _image: residuals.append(float(r))
    )
    tolerance = 1.0001 * min(residuals)
    outcome = iterate(constraints, parse_schedule("HIO:900"), start.clone(), tolerance=tolerance)
    assert outcome.status is Status.CONVERGED
    assert outcome.iterations == CHECK_EVERY * (residuals.index(min(residuals)) + 1)
    assert float(chi(constraints, outcome.image)) <= tolerance


def test_without_a_tolerance_all_iterations_are_done_on_perfect_data(make_problem: Callable[..., Any]) -> None:
    problem, truth = make_problem(FRAME)
    outcome = iterate(problem.constraints(hold_out=False, one=0), parse_schedule("ER:300"), truth[0, 0].clone())
    assert (outcome.iterations, outcome.status) == (300, Status.DONE)


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_each_returns_results_in_order(threads: int) -> None:
    assert each(list(range(20)), lambda n: n * n, threads) == [n * n for n in range(20)]
    assert each([], lambda n: n, threads) == []


def test_each_works_single_threaded_without_gradients_in_as_many_threads() -> None:
    barrier = threading.Barrier(2, timeout=60)

    def look(_: int) -> tuple[int, bool, int]:
        barrier.wait()
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), threading.get_ident()

    seen = each([0, 1], look, threads=2)
    assert [(torch_threads, inference) for torch_threads, inference, _ in seen] == [(1, True)] * 2
    assert len({ident for _, _, ident in seen} | {threading.get_ident()}) == 3


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_each_gives_the_thread_setting_back(before: int, fails: bool) -> None:
    def work(job: int) -> int:
        if fails:
            raise ZeroDivisionError
        return job

    torch.set_num_threads(before)
    if fails:
        with pytest.raises(ZeroDivisionError):
            each([1, 2], work)
    else:
        each([1, 2], work)
    assert torch.get_num_threads() == before
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [before]


def test_nested_use_gives_the_thread_setting_back_at_the_end() -> None:
    torch.set_num_threads(2)
    assert each([1, 2], lambda n: each([n, n], lambda m: m + 1)) == [[2, 2], [3, 3]]
    assert torch.get_num_threads() == 2


def test_there_is_a_core() -> None:
    assert available_cores() >= 1

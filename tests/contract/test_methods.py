"""What every method of the table, alone and in every wrapper, must do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.solvers import METHODS, WRAPPERS, Method
from napari_i2ipr.solvers._base import Span
from napari_i2ipr.solvers.recipe import Stage, parse_schedule, schedule_text

FRAMES = [(33, 40), (40, 33), (21, 19), (24, 24)]
PLAIN = [kind() for kind in METHODS.values()]
WRAPPED = [wrapper(method) for wrapper in WRAPPERS.values() for method in PLAIN]
NESTED = [outer(inner(PLAIN[0])) for outer in WRAPPERS.values() for inner in WRAPPERS.values()]


def name_of(value: Any) -> str | None:
    return schedule_text((Stage(value, 1),)).partition(":")[0] if isinstance(value, Method) else None


ALL = [*PLAIN, *WRAPPED, *NESTED]
every_method = pytest.mark.parametrize("method", ALL, ids=name_of)
every_settling_method = pytest.mark.parametrize("method", [m for m in ALL if m.settles], ids=name_of)
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)
both_kinds = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


def run(method: Method, constraints: Any, start: torch.Tensor, steps: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Iterate and estimate after some steps from a copy of `start`."""
    g = start.clone()
    memory = method.init(g, constraints, Span(0, steps))
    for _ in range(steps):
        method.step(g, constraints, memory)
    return g, method.estimate(g, constraints, memory)


@every_frame
@both_kinds
@every_settling_method
def test_a_solution_is_a_fixed_point(make_problem: Callable[..., Any], method: Method, frame: Any, real: bool) -> None:
    problem, truth = make_problem(frame, real=real)
    constraints = problem.constraints(hold_out=False, one=0)
    for steps in (1, 5):
        g, estimate = run(method, constraints, truth[0, 0], steps)
        torch.testing.assert_close(g, truth[0, 0], rtol=0, atol=1e-5)
        torch.testing.assert_close(estimate, truth[0, 0][problem.box], rtol=0, atol=1e-5)


@both_kinds
@every_settling_method
def test_a_solution_of_an_incomplete_pattern_with_an_irregular_support_is_a_fixed_point(
    make_problem: Callable[..., Any], method: Method, real: bool
) -> None:
    support = torch.zeros(33, 40, dtype=torch.bool)
    support[8:24, 10:30] = True
    support[8:12, 10:15] = False
    support[15, 20] = False
    measured = torch.ones(33, 40, dtype=torch.bool)
    measured[:3, :4] = False
    problem, truth = make_problem((33, 40), real=real, support=support, measured=measured)
    g, estimate = run(method, problem.constraints(hold_out=True, one=0), truth[0, 0])
    torch.testing.assert_close(g, truth[0, 0], rtol=0, atol=1e-5)
    assert not estimate[~support[problem.box]].any()


@every_frame
@both_kinds
@every_method
def test_a_step_works_in_place_and_returns_what_the_old_iterate_showed(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, frame: Any, real: bool
) -> None:
    problem, _ = make_problem(frame, real=real)
    constraints = problem.constraints(hold_out=False, one=0)
    g = make_object(frame, 7, real=real)
    expected = g.clone() if method.is_image else constraints.modulus(g)
    before, address = g.clone(), g.data_ptr()
    returned = method.step(g, constraints, method.init(g, constraints))
    torch.testing.assert_close(returned, expected, rtol=1e-6, atol=1e-6)
    assert g.data_ptr() == address
    assert not torch.equal(g, before)


@every_frame
@both_kinds
@every_method
def test_a_batch_of_candidates_gives_what_its_images_give_alone(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, frame: Any, real: bool
) -> None:
    problem, _ = make_problem(frame, real=real, batch=2)
    start = make_object((2, 3, *frame), 7, real=real)
    g, estimate = run(method, problem.constraints(hold_out=False), start)
    assert (g.shape, g.dtype) == (start.shape, problem.pair.dtype)
    assert estimate.shape[:2] == (2, 3)
    for b in range(2):
        for k in range(3):
            alone, alone_estimate = run(method, problem.constraints(hold_out=False, one=b), start[b, k])
            torch.testing.assert_close(g[b, k], alone, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(estimate[b, k], alone_estimate, rtol=1e-4, atol=1e-4)


@both_kinds
@every_method
def test_the_same_start_gives_the_same_bits(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, real: bool
) -> None:
    problem, _ = make_problem((33, 40), real=real)
    constraints = problem.constraints(hold_out=False, one=0)
    start = make_object((33, 40), 7, real=real)
    first, second = run(method, constraints, start), run(method, constraints, start)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@every_method
def test_one_value_serves_interleaved_images(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method
) -> None:
    problem, _ = make_problem((33, 40))
    constraints = problem.constraints(hold_out=False, one=0)
    starts = [make_object((33, 40), seed) for seed in (7, 8)]
    iterates = [start.clone() for start in starts]
    memories = [method.init(g, constraints, Span(0, 9)) for g in iterates]
    for _ in range(9):
        for g, memory in zip(iterates, memories, strict=True):
            method.step(g, constraints, memory)
    for start, g in zip(starts, iterates, strict=True):
        assert torch.equal(g, run(method, constraints, start)[0])


@both_kinds
@every_method
def test_brighter_data_give_a_brighter_image_and_nothing_else(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, real: bool
) -> None:
    problem, _ = make_problem((33, 40), real=real)
    brighter = dataclasses.replace(problem, amplitude=8 * problem.amplitude)
    start = make_object((33, 40), 7, real=real)
    g, estimate = run(method, problem.constraints(hold_out=False, one=0), start)
    scaled, scaled_estimate = run(method, brighter.constraints(hold_out=False, one=0), 8 * start)
    torch.testing.assert_close(scaled / 8, g, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled_estimate / 8, estimate, rtol=1e-4, atol=1e-4)


def twin(frame: torch.Tensor, box: tuple[slice, slice]) -> torch.Tensor:
    """The frame turned by 180 degrees about the centre of the box: the same Fourier modulus."""
    turns = (box[0].start + box[0].stop, box[1].start + box[1].stop)
    turned = torch.roll(torch.flip(frame, (-2, -1)), turns, (-2, -1))
    return turned.conj().resolve_conj() if turned.is_complex() else turned


@every_frame
@both_kinds
@every_method
def test_the_twin_start_gives_the_twin_run(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, frame: Any, real: bool
) -> None:
    problem, truth = make_problem(frame, real=real)
    constraints = problem.constraints(hold_out=True, one=0)
    torch.testing.assert_close(
        constraints.pair.forward(twin(truth, problem.box)).abs(), constraints.pair.forward(truth).abs()
    )
    start = make_object(frame, 7, real=real)
    g, _ = run(method, constraints, start)
    turned, _ = run(method, constraints, twin(start, problem.box))
    if method.prefers_no_twin:
        torch.testing.assert_close(turned, twin(g, problem.box), rtol=1e-3, atol=1e-3)
    else:
        assert float((turned - twin(g, problem.box)).abs().max()) > 0.1


@both_kinds
@every_method
def test_the_next_stage_starts_from_the_iterate_or_from_what_it_stands_for(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method, real: bool
) -> None:
    problem, _ = make_problem((33, 40), real=real)
    constraints = problem.constraints(hold_out=False, one=0)
    g = make_object((33, 40), 7, real=real)
    memory = method.init(g, constraints)
    for _ in range(9):
        method.step(g, constraints, memory)
    before, estimate = g.clone(), method.estimate(g, constraints, memory)
    method.finish(g, constraints, memory)
    image = "avg" in str(name_of(method)) or method.is_image
    assert torch.equal(g, constraints.embed(estimate) if image else before)


@every_method
def test_a_method_is_a_frozen_value(method: Method) -> None:
    twin_value = dataclasses.replace(method)
    assert twin_value == method
    assert hash(twin_value) == hash(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.beta = 0.1  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", [m for m in PLAIN if dataclasses.fields(m)], ids=name_of)
def test_hyper_parameters_are_part_of_the_value_and_of_the_step(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], method: Method
) -> None:
    problem, _ = make_problem((21, 19))
    constraints = problem.constraints(hold_out=False, one=0)
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        other = dataclasses.replace(method, **{field.name: value // 2 if field.type == "int" else value / 2})
        assert other != method
        start = make_object((21, 19), 7)
        assert not torch.equal(run(other, constraints, start, 120)[0], run(method, constraints, start, 120)[0])


@every_method
def test_text_gives_the_value_back(method: Method) -> None:
    schedule = (Stage(method, 3),)
    assert parse_schedule(schedule_text(schedule)) == schedule


@pytest.mark.parametrize("kind", [*METHODS.values(), *WRAPPERS.values()])
def test_every_field_is_documented(kind: type[Method]) -> None:
    assert kind.__doc__
    for field in dataclasses.fields(kind):
        assert f"    {field.name} : " in kind.__doc__


def test_the_base_has_no_step(make_problem: Callable[..., Any]) -> None:
    problem, truth = make_problem((21, 19))
    with pytest.raises(TypeError, match="Method has no step"):
        Method().step(truth[0, 0], problem.constraints(hold_out=False, one=0), None)

"""A result depends on its own data and numbers only: not on batch, threads or how much else is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.physics.problem import Candidates, Problem
from napari_i2ipr.solvers.multistart import MultiStart, initialise
from napari_i2ipr.solvers.recipe import parse_schedule

SETTINGS = MultiStart(
    4,
    2,
    parse_schedule("HIO:10"),
    parse_schedule("HIO:20 ER+acc:20 RAAR+avg:10 DM:5"),
    parse_schedule("HIO+avg:10"),
    threads=2,
)
MORE = dataclasses.replace(
    SETTINGS,
    short=parse_schedule("SPECTRAL:3 WF:5 HIO:10"),
    long=parse_schedule("OSS(stages=3):20 HIO+detwin:5 CF:6 ML:12"),
    final=parse_schedule("HIO:5 ML+avg:5"),
)
"""Methods that measure the iterate as they go: what they measure is that of the image alone."""

KINDS = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
FRAMES = pytest.mark.parametrize("frame", [(33, 40), (45, 38), (32, 32)], ids=str)


def assert_same_bits(first: Candidates, second: Candidates) -> None:
    for field in dataclasses.fields(Candidates):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype
            same = (one == other) | (torch.isnan(one) & torch.isnan(other))
            assert bool(same.all()), field.name
        else:
            assert one == other


def part(found: Candidates, position: int) -> Candidates:
    """What was found for one measurement of a batch."""
    cut = slice(position, position + 1)
    return Candidates(**{field.name: getattr(found, field.name)[cut] for field in dataclasses.fields(Candidates)})


@KINDS
@FRAMES
@pytest.mark.parametrize("hold_out", [True, False], ids=["free", "residual"])
def test_bits_do_not_depend_on_the_batch(
    make_problem: Callable[..., Any], frame: tuple[int, int], real: bool, hold_out: bool
) -> None:
    settings = dataclasses.replace(SETTINGS, hold_out=hold_out)
    problem, _ = make_problem(frame, real=real, batch=3, alpha=0.1, seed=7, indices=(4, 0, 9))
    together = initialise(problem, settings, seed=7)
    assert together.images.shape[:2] == (3, 2)
    for b in range(3):
        assert_same_bits(part(together, b), initialise(problem.select(b), settings, seed=7))


@KINDS
def test_bits_do_not_depend_on_the_place_in_the_batch(make_object: Callable[..., Any], real: bool) -> None:
    frame = (33, 40)
    support = torch.zeros(frame, dtype=torch.bool)
    support[8:24, 10:30] = True
    intensity = torch.fft.fft2(make_object((3, *frame), real=real) * support, norm="ortho").abs().square()
    every = torch.ones(3, *frame, dtype=torch.bool)
    indices = (4, 0, 9)
    together = initialise(Problem.build(intensity, every, support, real=real, indices=indices), SETTINGS, seed=7)
    for b in range(3):
        alone = Problem.build(intensity[b : b + 1], every[b : b + 1], support, real=real, indices=indices[b : b + 1])
        assert_same_bits(part(together, b), initialise(alone, SETTINGS, seed=7))


@KINDS
@FRAMES
def test_bits_do_not_depend_on_the_threads(
    make_problem: Callable[..., Any], frame: tuple[int, int], real: bool
) -> None:
    problem, _ = make_problem(frame, real=real, batch=2, alpha=0.1)
    first = initialise(problem, dataclasses.replace(SETTINGS, threads=1), seed=7)
    for threads in (2, 3, 0):
        assert_same_bits(first, initialise(problem, dataclasses.replace(SETTINGS, threads=threads), seed=7))


@KINDS
@pytest.mark.parametrize("frame", [(33, 40), (45, 38), (32, 32), (129, 134)], ids=str)
def test_bits_do_not_depend_on_how_many_starts_are_iterated_together(
    make_problem: Callable[..., Any], frame: tuple[int, int], real: bool
) -> None:
    problem, _ = make_problem(frame, real=real, batch=2, alpha=0.1)
    first = initialise(problem, dataclasses.replace(SETTINGS, batch=1), seed=7)
    for batch in (2, 3, 4):
        assert_same_bits(first, initialise(problem, dataclasses.replace(SETTINGS, batch=batch), seed=7))


@KINDS
@pytest.mark.parametrize("frame", [(33, 40), (45, 38), (129, 134)], ids=str)
def test_methods_that_measure_the_iterate_measure_each_by_itself(
    make_problem: Callable[..., Any], frame: tuple[int, int], real: bool
) -> None:
    problem, _ = make_problem(frame, real=real, batch=2, alpha=0.1)
    first = initialise(problem, dataclasses.replace(MORE, batch=1, threads=1), seed=7)
    assert torch.isfinite(first.images).all()
    for changes in ({"batch": 2}, {"batch": 4}, {"threads": 3}, {"threads": 0}):
        assert_same_bits(first, initialise(problem, dataclasses.replace(MORE, **changes), seed=7))
    for b in range(2):
        assert_same_bits(part(first, b), initialise(problem.select(b), MORE, seed=7))


@KINDS
def test_a_start_that_reaches_the_tolerance_stops_whatever_the_others_do(
    make_problem: Callable[..., Any], real: bool
) -> None:
    problem, _ = make_problem((33, 40), real=real, alpha=0.1)
    settings = MultiStart(4, 4, parse_schedule("HIO:10"), parse_schedule("HIO:50 ER+acc:400"), threads=1)
    reached = initialise(problem, settings, seed=7).residual
    settings = dataclasses.replace(settings, tolerance=1.01 * float(reached.median()))
    first = initialise(problem, dataclasses.replace(settings, batch=1), seed=7)
    assert len(set(first.iterations[0].tolist())) > 1, "all starts stopped together, which proves nothing"
    for batch in (2, 4):
        assert_same_bits(first, initialise(problem, dataclasses.replace(settings, batch=batch), seed=7))


def test_bits_do_not_depend_on_the_thread_setting_of_torch(make_problem: Callable[..., Any]) -> None:
    found = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        problem, _ = make_problem((257, 250), batch=2, alpha=0.1)
        settings = dataclasses.replace(SETTINGS, n_starts=2, n_keep=2, long=parse_schedule("HIO:10"))
        found.append(initialise(problem, settings, seed=7))
    for other in found[1:]:
        assert_same_bits(found[0], other)


def test_another_seed_or_index_gives_other_starts(make_problem: Callable[..., Any]) -> None:
    problem, _ = make_problem((33, 40), alpha=0.1)
    other, _ = make_problem((33, 40), alpha=0.1, indices=(1,))
    first = initialise(problem, SETTINGS, seed=7)
    assert_same_bits(first, initialise(problem, SETTINGS, seed=7))
    assert not torch.equal(first.images, initialise(problem, SETTINGS, seed=8).images)
    assert not torch.equal(first.images, initialise(other, SETTINGS, seed=7).images)


def test_global_random_states_neither_matter_nor_change(make_problem: Callable[..., Any]) -> None:
    import numpy as np

    problem, _ = make_problem((33, 40), alpha=0.1)
    first = initialise(problem, SETTINGS, seed=7)
    torch.manual_seed(123)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert_same_bits(first, initialise(problem, SETTINGS, seed=7))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002

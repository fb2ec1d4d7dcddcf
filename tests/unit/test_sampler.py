"""The samplers, the eight views, and the ensemble of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from napari_i2ipr.errors import CancelledError
from napari_i2ipr.physics.problem import Problem
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.refine.consistency import Measured
from napari_i2ipr.refine.ensemble import SMOOTH_PX, Refined, reduced_precision, refine
from napari_i2ipr.refine.indi import Sampling, times
from napari_i2ipr.refine.networks import NetworkSpec
from napari_i2ipr.refine.networks._base import LOG_VARIANCE_START, typical
from napari_i2ipr.refine.sampler import SAMPLERS, VIEWS, Known, Model, Viewed, denoise, turn, turn_back

Asked = tuple[tuple[int, int], int, int]
MakeProblem = Callable[..., tuple[Problem, torch.Tensor]]

TINY = NetworkSpec(widths=(8, 16), blocks=(1, 1), set_width=4, replicas=2)
FRAMES = [(32, 32), (33, 40), (21, 42)]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
every_view = pytest.mark.parametrize("view", VIEWS)


@pytest.fixture
def untrained() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(TINY).requires_grad_(False).eval()


@pytest.fixture
def model(untrained: Model) -> Model:
    """A model that does something, and not the same in every view."""
    generator = torch.Generator().manual_seed(1)
    for parameter in untrained.network.parameters():
        parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return untrained


def candidates(problem: Problem, truth: torch.Tensor, count: int = 4, noise: float = 0.2) -> torch.Tensor:
    """Noisy truths ``(B, K, h, w)`` within the constraints."""
    inner = truth[..., problem.box[0], problem.box[1]]
    shape = (inner.shape[0], count, *inner.shape[-2:])
    return problem.constrain(inner + noise * torch.randn(shape, generator=torch.Generator().manual_seed(3)))


@every_view
@pytest.mark.parametrize("shape", [(6, 6), (5, 7), (2, 3, 4, 9)], ids=str)
def test_turn_back_undoes_turn(view: int, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    turned = turn(images, view)
    assert turned.shape[-2:] == (shape[:-3:-1] if view & 4 else shape[-2:])
    assert torch.equal(turn_back(turned, view), images)
    assert torch.equal(turn(turn_back(images, view), view), images)


def test_the_views_are_eight() -> None:
    image = torch.arange(9).reshape(3, 3)
    seen = [turn(image, view) for view in VIEWS]
    assert sorted(VIEWS) == list(range(8))
    assert torch.equal(seen[0], image)
    assert torch.equal(seen[1], image.rot90(2))
    for one in range(8):
        assert not any(torch.equal(seen[one], seen[other]) for other in range(one))


def test_times() -> None:
    assert times(1) == (1.0,)
    assert times(4) == times(4, 0.25) == (1.0, 0.75, 0.5, 0.25)
    assert times(3, 0.5) == (1.0, 0.75, 0.5)
    assert times(1, 0.25) == (1.0,)


@every_sampler
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_the_order_of_the_candidates_does_not_matter(
    make_problem: MakeProblem, model: Model, sampler: str, frame: tuple[int, int]
) -> None:
    problem, truth = make_problem(frame, alpha=0.05)
    pool, measured = candidates(problem, truth, 5), Measured.of(problem)
    first = SAMPLERS[sampler](model, pool, measured, 2)
    other = SAMPLERS[sampler](model, pool[:, [3, 0, 4, 2, 1]], measured, 2)
    for a, b in zip(other, first, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@every_sampler
@pytest.mark.parametrize(("count", "steps"), [(1, 1), (1, 3), (4, 1), (2, 5)])
def test_few_candidates_and_few_steps(
    make_problem: MakeProblem, model: Model, sampler: str, count: int, steps: int
) -> None:
    problem, truth = make_problem((33, 40), alpha=0.05, batch=2)
    pool, told = candidates(problem, truth, count), []
    image, variance = SAMPLERS[sampler](model, pool, Measured.of(problem), steps, lambda *step: told.append(step[:2]))
    assert told == [(step, steps) for step in range(1, steps + 1)]
    assert image.shape == variance.shape == (2, 16, 20)
    assert (image.dtype, variance.dtype) == (torch.float32, torch.float32)
    assert bool(image.isfinite().all() & variance.isfinite().all() & (variance > 0).all())


@every_sampler
def test_patterns_of_a_batch_do_not_see_each_other(make_problem: MakeProblem, model: Model, sampler: str) -> None:
    problem, truth = make_problem((33, 24), alpha=0.05, batch=2)
    pool = candidates(problem, truth)
    together = SAMPLERS[sampler](model, pool, Measured.of(problem), 2)
    for b in range(2):
        alone = SAMPLERS[sampler](model, pool[b : b + 1], Measured.of(problem.select(b)), 2)
        for one, both in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], both[b], rtol=1e-4, atol=1e-4)


def test_evolving_ends_with_the_network_and_indi_with_the_data(make_problem: MakeProblem, model: Model) -> None:
    """One step of each, written out."""
    problem, truth = make_problem((32, 32), alpha=0.05)
    pool, measured = candidates(problem, truth), Measured.of(problem)
    known = Known(model, pool, measured)
    replicas, log_variance = denoise(model, model.consistency(typical(pool, 2), measured, 1.0), known, 1.0)
    image, variance = SAMPLERS["evolving"](model, pool, measured, 1)
    torch.testing.assert_close(image, replicas.mean(1))
    torch.testing.assert_close(variance, log_variance[:, 0].exp())
    replicas, log_variance = denoise(model, known.mean.expand(-1, 2, -1, -1), known, 1.0)
    image, variance = SAMPLERS["indi"](model, pool, measured, 1)
    torch.testing.assert_close(image, model.consistency(replicas, measured, 1.0).mean(1))
    torch.testing.assert_close(variance, log_variance[:, 0].exp())


def test_two_steps_of_indi_with_a_last_time_of_its_own(make_problem: MakeProblem, model: Model) -> None:
    """Steps d = 0.4 and 0.6 from the times 1 and 0.6, written out."""
    problem, truth = make_problem((32, 32), alpha=0.05)
    pool, measured = candidates(problem, truth), Measured.of(problem)
    known = Known(model, pool, measured)
    x = known.mean.expand(-1, 2, -1, -1)
    z, _ = denoise(model, x, known, 1.0)
    x = 0.4 * model.consistency(z, measured, 1.0) + 0.6 * x
    z, _ = denoise(model, x, known, 0.6)
    image, _ = SAMPLERS["indi"](model, pool, measured, 2, last=0.6)
    torch.testing.assert_close(image, model.consistency(z, measured, 0.6).mean(1))


def test_what_the_network_is_told(make_problem: MakeProblem, model: Model) -> None:
    problem, truth = make_problem((24, 24), batch=2)
    problem = replace(problem, alpha=torch.tensor([0.1, torch.nan]))
    known = Known(model, candidates(problem, truth, 4), Measured.of(problem))
    expected = torch.tensor([[0.1, 0.25], [0.03, 0.25]])
    expected[:, 0] = expected[:, 0].log() + 3.5
    torch.testing.assert_close(known.numbers, expected, rtol=1e-4, atol=1e-4)


@every_sampler
@every_view
def test_a_view_changes_nothing_for_a_network_that_does_not_mind(
    make_problem: MakeProblem, untrained: Model, sampler: str, view: int
) -> None:
    problem, truth = make_problem((32, 32), alpha=0.05)
    pool, measured = candidates(problem, truth), Measured.of(problem)
    plain = SAMPLERS[sampler](untrained, pool, measured, 2)
    viewed = SAMPLERS[sampler](Viewed(untrained, view), pool, measured, 2)
    torch.testing.assert_close(viewed[0], plain[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(viewed[1], plain[1], rtol=1e-4, atol=1e-4)


@every_sampler
@every_view
def test_a_view_is_the_turned_problem(make_problem: MakeProblem, model: Model, sampler: str, view: int) -> None:
    """What the network sees turned is what it would have seen, had the object been turned."""
    problem, truth = make_problem((32, 32))
    turned = replace(problem, amplitude=problem.pair.forward(turn(truth, view)).abs())
    pool = candidates(problem, truth)
    viewed = SAMPLERS[sampler](Viewed(model, view), pool, Measured.of(problem), 2)
    plain = SAMPLERS[sampler](model, turn(pool, view), Measured.of(turned), 2)
    for one, other in zip(viewed, plain, strict=True):
        torch.testing.assert_close(one, turn_back(other, view), rtol=1e-3, atol=1e-3)
    if view:
        assert not torch.allclose(viewed[0], SAMPLERS[sampler](model, pool, Measured.of(problem), 2)[0], atol=1e-3)


def run(model: Model, problem: Problem, sets: Any, views: int = 1, steps: int = 1, **more: Any) -> Refined:
    sampling = Sampling(sampler=more.pop("sampler", "evolving"), steps=steps)
    return refine(model, problem, sets, sampling, views, **{"bfloat16": False, "threads": 1, **more})


def smoothed(variance: torch.Tensor) -> torch.Tensor:
    """Mean over the square around each pixel, what lies outside the image left out."""
    return functional.avg_pool2d(variance[None], SMOOTH_PX, 1, SMOOTH_PX // 2, count_include_pad=False)[0]


@every_sampler
@pytest.mark.parametrize("asked", [((32, 32), 8, 8), ((32, 32), 3, 3), ((33, 40), 8, 4)], ids=str)
def test_the_ensemble(make_problem: MakeProblem, model: Model, sampler: str, asked: Asked) -> None:
    frame, views, members = asked
    problem, truth = make_problem(frame, alpha=0.05)
    pool, events = candidates(problem, truth, 5)[0], []
    found = run(model, problem, [pool[:3], pool[3:]], views, 2, sampler=sampler, on_event=events.append)
    h, w = frame[0] // 2, frame[1] // 2
    assert found.members.shape == (2 * members, h, w)
    assert found.image.shape == found.variance.shape == (h, w)
    total = 2 * members * 2
    assert events == [Event("refine", done, total) for done in range(1, total + 1)]
    torch.testing.assert_close(found.image, found.members.mean(0))
    assert bool((found.variance > smoothed(found.members.var(0, correction=0))).all())
    assert found.members.std(0).max() > 1e-3
    measured = Measured.of(problem)
    chosen = [view for view in VIEWS if frame[0] == frame[1] or view < 4][:views]
    for place, view in ((0, chosen[0]), (members - 1, chosen[-1])):
        alone = SAMPLERS[sampler](Viewed(model, view), pool[None, :3], measured, 2)[0][0]
        torch.testing.assert_close(found.members[place], problem.constrain(alone))


def test_the_ensembles_variance_is_that_of_the_mixture(make_problem: MakeProblem, untrained: Model) -> None:
    problem, truth = make_problem((33, 24), alpha=0.05)
    pool = candidates(problem, truth, 6)[0]
    found = run(untrained, problem, [pool[:2], pool[2:3], pool[3:]])
    expected = torch.exp(torch.tensor(LOG_VARIANCE_START)) + smoothed(found.members.var(0, correction=0))
    torch.testing.assert_close(found.variance, expected)


def test_the_image_is_within_the_constraints(make_problem: MakeProblem, model: Model) -> None:
    support = torch.zeros(40, 33, dtype=torch.bool)
    support[10:30, 8:24] = True
    support[10:14, 8:12] = False
    problem, truth = make_problem((40, 33), alpha=0.3, support=support)
    found = run(model, problem, [candidates(problem, truth)[0]], 4, 2)
    for images in (found.image, found.members):
        assert bool((images >= 0).all())
        assert not images[..., ~support[problem.box]].any()
        assert bool(images.any())


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stop(make_problem: MakeProblem, model: Model, after: int) -> None:
    problem, truth = make_problem((24, 24))
    cancel, events = Cancel(), []

    def look(event: Event) -> None:
        events.append(event.done)
        if event.done == after:
            cancel.set()

    if not after:
        cancel.set()
    before = torch.get_num_threads()
    with pytest.raises(CancelledError, match="during the refinement"):
        run(model, problem, [candidates(problem, truth)[0]], 4, 2, on_event=look, cancel=cancel, threads=before + 1)
    assert events == list(range(1, max(after, 1) + 1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, 2])
def test_threads_are_given_back(make_problem: MakeProblem, untrained: Model, threads: int) -> None:
    problem, truth = make_problem((24, 24))
    before, seen = torch.get_num_threads(), []
    pool = candidates(problem, truth)[0]
    run(untrained, problem, [pool], on_event=lambda _: seen.append(torch.get_num_threads()), threads=threads)
    assert seen == [threads or before]
    assert torch.get_num_threads() == before


def test_candidates_may_be_float16(make_problem: MakeProblem, model: Model) -> None:
    problem, truth = make_problem((24, 24), alpha=0.05)
    pool = candidates(problem, truth)[0].half()
    torch.testing.assert_close(run(model, problem, [pool]).image, run(model, problem, [pool.float()]).image)


def test_reduced_precision_only_where_it_is_wanted() -> None:
    convolution, image = torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 8, 8)
    with reduced_precision(torch.device("cpu"), wanted=False):
        assert convolution(image).dtype == torch.float32
    with reduced_precision(torch.device("cpu"), wanted=True) as context:
        assert convolution(image).dtype == (torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
    assert context is None or not torch.is_autocast_enabled("cpu")

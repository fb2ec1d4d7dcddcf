"""The two projections: modulus and object constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.physics.projections import Constraints

FRAMES = [(33, 40), (40, 33), (21, 19), (24, 24)]
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)
both_kinds = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


def irregular_support(frame: tuple[int, int]) -> torch.Tensor:
    """A box with a corner and a hole left out."""
    ny, nx = frame
    support = torch.zeros(frame, dtype=torch.bool)
    support[ny // 4 : 3 * ny // 4, nx // 4 : 3 * nx // 4] = True
    support[ny // 4 : ny // 4 + 3, nx // 4 : nx // 4 + 2] = False
    support[ny // 2, nx // 2] = False
    return support


def beamstop(frame: tuple[int, int]) -> torch.Tensor:
    """All but a corner-origin block around the zero frequency and one stray pixel pair."""
    measured = torch.ones(frame, dtype=torch.bool)
    for rows in (slice(0, 3), slice(-2, None)):
        for columns in (slice(0, 3), slice(-2, None)):
            measured[rows, columns] = False
    measured[5, 6] = measured[-5, -6] = False
    return measured


@every_frame
@both_kinds
def test_the_projected_modulus_is_the_measured_one(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool
) -> None:
    problem, _ = make_problem(frame, real=real)
    p = problem.constraints(hold_out=False, one=0).modulus(make_object(frame, 7, real=real))
    torch.testing.assert_close(problem.pair.forward(p).abs(), problem.amplitude[0, 0], rtol=1e-4, atol=1e-5)


@every_frame
@both_kinds
def test_the_modulus_projection_keeps_the_phases(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool
) -> None:
    problem, _ = make_problem(frame, real=real)
    g = make_object(frame, 7, real=real)
    before = problem.pair.forward(g)
    after = problem.pair.forward(problem.constraints(hold_out=False, one=0).modulus(g))
    product = after * before.conj()
    torch.testing.assert_close(product.real, product.abs(), rtol=1e-4, atol=1e-5)


@every_frame
@both_kinds
def test_the_modulus_projection_is_idempotent(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool
) -> None:
    problem, _ = make_problem(frame, real=real, measured=beamstop(frame))
    constraints = problem.constraints(hold_out=True, one=0)
    once = constraints.modulus(make_object(frame, 7, real=real))
    torch.testing.assert_close(constraints.modulus(once), once, rtol=1e-4, atol=1e-5)


@every_frame
@both_kinds
@pytest.mark.parametrize("hold_out", [False, True], ids=["all", "held out"])
def test_pixels_that_do_not_pull_keep_their_spectrum(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool, hold_out: bool
) -> None:
    problem, _ = make_problem(frame, real=real, measured=beamstop(frame))
    g = make_object(frame, 7, real=real)
    before = problem.pair.forward(g)
    after = problem.pair.forward(problem.constraints(hold_out=hold_out, one=0).modulus(g))
    free = ~problem.measured[0, 0] | (problem.held_out[0, 0] if hold_out else False)
    assert int(free.sum()) > 10
    torch.testing.assert_close(after[free], before[free], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[~free].abs(), problem.amplitude[0, 0][~free], rtol=1e-4, atol=1e-5)


@both_kinds
def test_a_weight_between_mixes_measured_and_current_modulus(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], real: bool
) -> None:
    problem, _ = make_problem((21, 19), real=real)
    amplitude = problem.amplitude[0, 0]
    mixing = Constraints.build(
        problem.pair, amplitude, torch.full_like(amplitude, 0.25), problem.box, None, nonnegative=False
    )
    g = make_object((21, 19), 7, real=real)
    expected = 0.25 * amplitude + 0.75 * problem.pair.forward(g).abs()
    torch.testing.assert_close(problem.pair.forward(mixing.modulus(g)).abs(), expected, rtol=1e-4, atol=1e-5)


@both_kinds
def test_a_zero_iterate_stays_finite(make_problem: Callable[..., Any], real: bool) -> None:
    problem, truth = make_problem((21, 19), real=real)
    projected = problem.constraints(hold_out=False, one=0).modulus(torch.zeros_like(truth[0, 0]))
    assert torch.isfinite(projected.abs()).all()


@every_frame
@both_kinds
def test_the_object_projection_is_idempotent_and_inside_the_support(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool
) -> None:
    support = irregular_support(frame)
    problem, _ = make_problem(frame, real=real, support=support)
    constraints = problem.constraints(hold_out=False, one=0)
    signed = make_object(frame, 7, real=real) - 0.5
    before = signed.clone()
    once = constraints.object(signed)
    assert torch.equal(constraints.object(once), once)
    assert not once[~support].any()
    expected = signed.clamp(min=0) if real else signed
    assert torch.equal(once[support], expected[support])
    assert torch.equal(signed, before), "the argument was changed"


def test_a_signed_object_keeps_its_negative_values(
    make_problem: Callable[..., Any], make_object: Callable[..., Any]
) -> None:
    problem, _ = make_problem((33, 40), nonnegative=False)
    constraints = problem.constraints(hold_out=False, one=0)
    signed = make_object((33, 40), 7) - 0.5
    assert torch.equal(constraints.object(signed)[problem.box], signed[problem.box])
    assert constraints.allowed(signed[problem.box]) is None


@both_kinds
@pytest.mark.parametrize("box_only", [True, False], ids=["box", "irregular"])
def test_crop_and_embed_are_the_object_projection(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], real: bool, box_only: bool
) -> None:
    support = None if box_only else irregular_support((33, 40))
    problem, _ = make_problem((33, 40), real=real, support=support)
    constraints = problem.constraints(hold_out=False, one=0)
    g = make_object((2, 3, 33, 40), 7, real=real) - 0.5
    assert torch.equal(constraints.embed(constraints.crop(g)), constraints.object(g))


@every_frame
@both_kinds
@pytest.mark.parametrize("box_only", [True, False], ids=["box", "irregular"])
def test_a_batch_is_projected_like_its_images(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], frame: Any, real: bool, box_only: bool
) -> None:
    support = None if box_only else irregular_support(frame)
    problem, _ = make_problem(frame, real=real, batch=2, support=support, measured=beamstop(frame))
    g = make_object((2, 3, *frame), 7, real=real) - 0.5
    batched = problem.constraints(hold_out=True)
    modulus, inside = batched.modulus(g), batched.object(g)
    for b in range(2):
        alone = problem.constraints(hold_out=True, one=b)
        for k in range(3):
            torch.testing.assert_close(modulus[b, k], alone.modulus(g[b, k]), rtol=1e-4, atol=1e-5)
            assert torch.equal(inside[b, k], alone.object(g[b, k]))


@both_kinds
def test_replace_allowed_touches_only_what_passes_the_test(
    make_problem: Callable[..., Any], make_object: Callable[..., Any], real: bool
) -> None:
    support = irregular_support((33, 40))
    problem, _ = make_problem((33, 40), real=real, support=support)
    g, p = (make_object((33, 40), seed, real=real) for seed in (7, 8))
    test = make_object((33, 40), 9, real=real) - 0.5
    good = support & (test >= 0) if real else support
    expected = torch.where(good, p, g)
    problem.constraints(hold_out=False, one=0).replace_allowed(g, p, test)
    assert torch.equal(g, expected)

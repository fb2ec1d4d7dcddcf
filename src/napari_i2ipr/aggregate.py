"""Many aligned candidates into one image, its raw uncertainty, and their rows in the report."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_i2ipr.data import Candidate
from napari_i2ipr.physics.problem import Candidates
from napari_i2ipr.physics.symmetry import align
from napari_i2ipr.progress import Event
from napari_i2ipr.shells import compare

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.config import Config
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.physics.symmetry import Alignment
    from napari_i2ipr.progress import Cancel, OnEvent
    from napari_i2ipr.shells import Shells

COLUMNS = ("images", "score", "residual", "free_score", "outside", "start", "iterations", "independent")
"""Fields of `Candidates` with a column for each."""

AFTER_STOP = 3e6
"""Comparisons of two candidates, times their pixels, for which there is time after a stop: 0.1 s on one CPU core."""


def joined(sets: list[Candidates]) -> Candidates:
    """All ensemble members' candidates side by side, ``(1, sum K, h, w)``."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(c, name) for c in sets], dim=1)

    columns = {name: column(name) for name in COLUMNS}
    return Candidates(
        **columns, spent=sum((c.spent for c in sets), torch.zeros(1)), status=(sum((c.status[0] for c in sets), ()),)
    )


def fewer(pool: Candidates, comparisons: float = AFTER_STOP) -> Candidates:
    """The best candidates, two at least: as many as can be aligned in the moment after a stop."""
    n, size = pool.images.shape[1], pool.images.shape[-2] * pool.images.shape[-1]
    count = n
    while count > 2 and (min(count, 16) ** 2 + 6 * count) * size > comparisons:
        count -= 1
    if count == n:
        return pool
    ranked = torch.where(pool.iterations[0] > 0, pool.score[0], torch.inf).argsort(stable=True)
    best = ranked[:count].sort().values
    columns = {name: getattr(pool, name)[:, best.to(getattr(pool, name).device)] for name in COLUMNS}
    return replace(pool, **columns, status=(tuple(pool.status[0][k] for k in best.tolist()),))


def aggregate(
    problem: Problem,
    pool: Candidates,
    config: Config,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> tuple[Alignment, Tensor, Tensor, Tensor]:
    """Aligned candidates, their weights, the weighted mean and the weighted standard deviation.

    Raises
    ------
    CancelledError
        When stopped before the end.
    """

    def on_step(done: int, total: int) -> None:
        if on_event is not None:
            on_event(Event("align", done, total))

    settings = config.aggregation
    aligned = align(
        pool.images[0],
        reference=int(pool.score[0].argmin()),
        shifts=config.alignment.shifts,
        subpixel=config.alignment.subpixel,
        on_step=on_step,
        cancel=cancel,
    )
    aligned = replace(aligned, images=problem.constrain(aligned.images))
    weights = _sound(pool, aligned, config).to(torch.float32)
    keep = weights > 0
    if settings.weights == "consistency":
        weights = weights * (pool.residual[0][keep].min() / pool.residual[0]).square()
    weights = weights / weights.sum()
    w = weights.to(aligned.images.device)[:, None, None]
    mean = (aligned.images * w).sum(0)
    spread = ((aligned.images - mean).abs().square() * w).sum(0).sqrt()
    return aligned, weights, mean, spread


def _sound(pool: Candidates, aligned: Alignment, config: Config) -> Tensor:
    """Which candidates are averaged, ``(K,)``: those no guard drops, the two that fit best at least."""
    settings, residual = config.aggregation, pool.residual[0]
    ran = pool.iterations[0] > 0
    best = torch.where(ran, residual, torch.inf).min()
    keep = ran & (aligned.margin >= settings.min_twin_margin) & (pool.outside[0] <= settings.max_outside)
    keep &= residual <= settings.max_residual_ratio * best
    if int(keep.sum()) < 2:
        order = torch.where(ran, residual, torch.inf).argsort()[: min(2, int(ran.sum()))]
        keep = torch.zeros_like(ran).index_fill(0, order, True)
    return keep


def consistency(problem: Problem, pool: Candidates, mean: Tensor) -> dict[str, Any]:
    """How well the mean and the best candidate agree with the data: scores by name."""
    best = int(pool.score[0].argmin())
    mean_r, mean_chi = problem.agreement(mean)
    best_r, _ = problem.agreement(pool.images[0, best])
    free = float(pool.free_score[0, best])
    return {
        "r_factor": mean_r,
        "chi": mean_chi,
        "r_factor_best": best_r,
        "free_score": None if math.isnan(free) else free,
        "outside": float(pool.outside[0, best]),
        **({} if problem.blur_px is None else {"blur_px": float(problem.blur_px[0])}),
    }


def table(pool: Candidates, aligned: Alignment, weights: Tensor, config: Config) -> list[Candidate]:
    """One row per candidate for the report."""
    n_starts = config.initialisation.n_starts
    return [
        Candidate(
            member=int(pool.start[0, k]) // n_starts,
            start=int(pool.start[0, k]),
            score=float(pool.score[0, k]),
            residual=float(pool.residual[0, k]),
            free_score=float(pool.free_score[0, k]),
            outside=float(pool.outside[0, k]),
            twin_margin=float(aligned.margin[k]),
            flipped=bool(aligned.flipped[k]),
            shift_px=(float(aligned.shift[k, 0]), float(aligned.shift[k, 1])),
            weight=float(weights[k]),
            iterations=int(pool.iterations[0, k]),
            status=pool.status[0][k],
        )
        for k in range(pool.images.shape[1])
    ]


def independent(sets: list[Candidates], pool: Candidates, aligned: Alignment, config: Config) -> Tensor:
    """The results of the pool's starts before they had anything in common, matched to each other, ``(K, h, w)``."""
    if all(c.independent is c.images for c in sets):
        return aligned.images
    if len(sets) == 1:
        return sets[0].independent[0]
    return align(pool.independent[0], shifts=config.alignment.shifts, subpixel=config.alignment.subpixel).images


def shells(problem: Problem, starts: Tensor, last: Tensor, image: Tensor, pixel: tuple[float, float]) -> Shells:
    """What independent starts and the delivered image are worth at each spatial frequency, in object units.

    Parameters
    ----------
    problem : Problem
        One measurement.
    starts : Tensor
        Results of independent starts, ``(K, h, w)``.
    last : Tensor
        Candidates that were averaged, ``(K, h, w)``.
    image : Tensor
        The delivered image.
    pixel : tuple of float
        Pixel ``(y, x)`` of the object, in any one unit.
    """
    rows, columns = problem.box
    box = (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    found = compare(
        list(starts.cpu().numpy()),
        image.cpu().numpy(),
        problem.amplitude[0, 0].cpu().numpy(),
        problem.measured[0, 0].cpu().numpy(),
        box=box,
        frame_shape=problem.pair.shape,
        last=() if last is starts else list(last.cpu().numpy()),
        pixel=pixel,
    )
    scale = float(problem.scale[0])
    return replace(found, amplitude=found.amplitude * scale, misfit=found.misfit * scale)

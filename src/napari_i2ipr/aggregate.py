"""Many aligned candidates into one image, its raw uncertainty, and their rows in the report."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_i2ipr.data import Candidate
from napari_i2ipr.physics.problem import Candidates
from napari_i2ipr.physics.symmetry import align

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.config import Config
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.physics.symmetry import Alignment


def joined(sets: list[Candidates]) -> Candidates:
    """All ensemble members' candidates side by side, ``(1, sum K, h, w)``."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(c, name) for c in sets], dim=1)

    names = ("images", "score", "residual", "free_score", "outside", "start", "iterations")
    columns = {name: column(name) for name in names}
    return Candidates(
        **columns, spent=sum((c.spent for c in sets), torch.zeros(1)), status=(sum((c.status[0] for c in sets), ()),)
    )


def aggregate(problem: Problem, pool: Candidates, config: Config) -> tuple[Alignment, Tensor, Tensor, Tensor]:
    """Aligned candidates, their weights, the weighted mean and the weighted standard deviation."""
    settings = config.aggregation
    aligned = align(
        pool.images[0],
        reference=int(pool.score[0].argmin()),
        shifts=config.alignment.shifts,
        subpixel=config.alignment.subpixel,
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

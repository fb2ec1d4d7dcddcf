"""After the training: what the weights do on the validation images, and what is stored of it with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.refine.uncertainty import MIN_IMAGES, Calibration
from napari_i2ipr.refinement import misfit_ratio, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.config import Config
    from napari_i2ipr.refine.weights import Weights
    from napari_i2ipr.train.candidates import CandidateSet

    Values = NDArray[np.float32]

PEAK = 255.0
"""Range of the images, for PSNR."""

ACCEPTED = 0.99
"""Share of new images of the validation images' kind whose chi ratio is to be accepted."""


@dataclass(frozen=True)
class Seen:
    """What the weights made of one validation image; normalised units."""

    raw: Values
    squared_error: Values
    chi_ratio: float
    psnr_before: float
    psnr: float


def look(
    weights: Weights, sets: Sequence[CandidateSet], config: Config, on_image: Callable[[int, int], None] | None = None
) -> list[Seen]:
    """Refine candidate sets as the pipeline does, and compare with their truth.

    Parameters
    ----------
    weights : Weights
        Just trained.
    sets : sequence of CandidateSet
        Of validation images, at the size of use.
    config : Config
        Its section ``refine`` counts.
    on_image : callable, optional
        Called with the number of images done and of all.
    """
    seen = []
    for done, one in enumerate(sets, 1):
        problem, candidates = one.problem(), torch.from_numpy(one.images).float()
        truth, mean = torch.from_numpy(one.truth).float(), candidates.mean(0)
        found = run(weights, problem, [candidates], config)
        errors = [(image - truth).square() for image in (mean, found.image)]
        before, after = (10 * math.log10((PEAK / one.scale) ** 2 / float(e.mean())) for e in errors)
        ratio = misfit_ratio(problem, found.image, mean)
        seen.append(Seen(found.variance.numpy(), errors[1].numpy(), ratio, before, after))
        if on_image is not None:
            on_image(done, len(sets))
    return seen


def calibrated(seen: Sequence[Seen], others: Sequence[Seen] = ()) -> tuple[Calibration, float, dict[str, Any]]:
    """The calibration, the largest accepted chi ratio, and scores.

    The `others`, such as those of another preset, count for the chi ratio only. Coverage, z^2 and ranking are
    cross-validated: fitted on one half of the images and looked at on the other, both ways.
    """
    calibration = Calibration.fit([s.raw for s in seen], [s.squared_error for s in seen])
    limit = accepted([s.chi_ratio for s in (*seen, *others)])
    gains = np.array([s.psnr - s.psnr_before for s in seen])
    metrics: dict[str, Any] = {
        "images": len(seen),
        "images_of_the_limit": len(seen) + len(others),
        "psnr_classical": float(np.mean([s.psnr_before for s in seen])),
        "psnr": float(np.mean([s.psnr for s in seen])),
        "share_better": float((gains > 0).mean()),
        "worst_gain": float(gains.min()),
    }
    if len(seen) >= 2 * MIN_IMAGES:
        metrics |= _cross_validated(seen)
    return calibration, limit, {k: round(v, 4) if isinstance(v, float) else v for k, v in metrics.items()}


def accepted(ratios: Sequence[float]) -> float:
    """The chi ratio that a new image exceeds with a probability of at most ``1 - ACCEPTED``.

    The conformal quantile, the ``ceil((n + 1) ACCEPTED)``-th smallest of n; with fewer than 99 images
    the largest, which promises less.
    """
    rank = min(math.ceil((len(ratios) + 1) * ACCEPTED), len(ratios))
    return sorted(ratios)[rank - 1]


def _cross_validated(seen: Sequence[Seen]) -> dict[str, float]:
    from napari_i2ipr.evaluate.coverage import spearman

    coverage, z2, ranks, all_errors, all_sigmas = [], [], [], [], []
    for fit, check in ((seen[::2], seen[1::2]), (seen[1::2], seen[::2])):
        calibration = Calibration.fit([s.raw for s in fit], [s.squared_error for s in fit])
        for one in check:
            variance = calibration.variance(one.raw)
            coverage.append(float(np.mean(one.squared_error <= calibration.scales["0.9"] ** 2 * variance)))
            z2.append(float(np.mean(one.squared_error / variance)))
            all_errors.append(np.sqrt(one.squared_error))
            all_sigmas.append(np.sqrt(variance))
            rank = spearman(np.sqrt(one.squared_error), np.sqrt(variance))
            ranks.append(0.0 if math.isnan(rank) else rank)  # one variance for a whole image ranks nothing
    errors, sigmas = (np.concatenate([values.ravel()[::17] for values in many]) for many in (all_errors, all_sigmas))
    worst = np.sort(coverage)[: max(len(coverage) // 10, 1)]
    return {
        "coverage_90": float(np.mean(coverage)),
        "coverage_90_worst_tenth": float(worst.mean()),
        "mean_z2": float(np.mean(z2)),
        "spearman_within_images": float(np.mean(ranks)),
        "spearman_of_all_pixels": spearman(errors, sigmas),
    }

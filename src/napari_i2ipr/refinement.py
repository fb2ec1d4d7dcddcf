"""The learned stage of the pipeline: refine the candidates, check the result against the data, calibrate."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from napari_i2ipr.data import Status
from napari_i2ipr.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_i2ipr.config import Config
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.progress import Cancel, OnEvent
    from napari_i2ipr.refine.ensemble import Refined
    from napari_i2ipr.refine.indi import Sampling
    from napari_i2ipr.refine.uncertainty import Calibration
    from napari_i2ipr.refine.weights import Weights

WELL_MEASURED = 0.5
"""Frequencies whose ring has more signal than noise: Wiener's weight above this."""


@dataclass(frozen=True)
class Outcome:
    """Image and uncertainty of one pattern, normalised units, and how they came about."""

    image: Tensor
    sigma: Tensor
    kind: str = "spread of candidates"
    scales: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    status: Status = Status.DONE


def refined(
    problem: Problem,
    sets: Sequence[Tensor],
    classical: Outcome,
    config: Config,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Outcome:
    """The refined outcome; the classical one where refinement is off, impossible, stopped, or fits the data too badly.

    Parameters
    ----------
    problem : Problem
        One measurement.
    sets : sequence of Tensor
        Aligned sound candidates of each set, ``(K, h, w)``.
    classical : Outcome
        Mean and spread of all candidates.
    config : Config
        Section ``refine`` decides.
    on_event, cancel : callable, Cancel, optional
        Told of every step; looked at before every step.
    """
    if not config.refine.enabled:
        return replace(classical, scores={"refined": False})
    why = "complex object" if classical.image.is_complex() else "partially coherent beam"
    if classical.image.is_complex() or problem.blur_px is not None:
        return replace(classical, scores={"refined": False, "refine_skipped": why})
    if cancel is not None and cancel.is_set():
        return replace(classical, scores={"refined": False}, status=Status.CANCELLED)
    from napari_i2ipr.refine.weights import load

    started = time.perf_counter()
    weights = load(config.refine.weights)
    try:
        found = run(weights, problem, sets, config, on_event=on_event, cancel=cancel)
    except CancelledError:
        return replace(classical, scores={"refined": False}, status=Status.CANCELLED)
    ratio = misfit_ratio(problem, found.image, classical.image)
    known = weights.card.checked(tuple(found.image.shape))
    limit = known.max_chi_ratio if sampling_of(weights, config) == weights.card.sampling else None
    r_factor, chi = problem.agreement(found.image)
    scores = {
        "refined": True,
        "refine_seconds": time.perf_counter() - started,
        "chi_ratio": ratio,
        "chi_ratio_limit": limit,
    }
    if limit is not None and not ratio <= limit:
        return _outside(
            classical, found, known.calibration, scores, (r_factor, chi), fall_back=config.refine.fallback == "auto"
        )
    return _trusted(found, known.calibration, scores | {"r_factor": r_factor, "chi": chi}, classical.status)


def run(
    weights: Weights,
    problem: Problem,
    sets: Sequence[Tensor],
    config: Config,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Refined:
    """Refine with these weights as the configuration says; what the calibration is fitted to.

    Parameters and errors as for `napari_i2ipr.refine.ensemble.refine`.
    """
    from napari_i2ipr.refine.ensemble import refine

    settings, sampling = config.refine, sampling_of(weights, config)
    device = problem.amplitude.device
    model = weights.model if device.type == "cpu" else copy.deepcopy(weights.model).to(device)
    return refine(
        model,
        problem,
        sets,
        sampling,
        settings.views,
        bfloat16=weights.card.bfloat16,
        threads=config.compute.threads,
        on_event=on_event,
        cancel=cancel,
    )


def sampling_of(weights: Weights, config: Config) -> Sampling:
    """Sampler and steps of a configuration: the weights' own where it leaves them open.

    The limit of the check against the data was found with the weights' own, and holds for these only.
    """
    settings, own = config.refine, weights.card.sampling
    sampler = own.sampler if settings.sampler == "auto" else settings.sampler
    return own.model_copy(update={"sampler": sampler, "steps": settings.steps or own.steps})


def misfit_ratio(problem: Problem, image: Tensor, classical: Tensor) -> float:
    """How much worse an image fits the data than the classical mean does and than noise explains.

    ``chi(image) / max(chi(classical), chi of the noise)``, all over the well measured pixels: a classical
    mean that has fitted the noise is no better than the noise allows.

    Parameters
    ----------
    problem : Problem
        One measurement.
    image, classical : Tensor
        ``(h, w)``, normalised units.
    """
    part = _well_measured(problem)
    allowed = max(part.agreement(classical)[1], noise_chi(part), 1e-12)
    return part.agreement(image)[1] / allowed


def well_measured_chi(problem: Problem, image: Tensor) -> float:
    """Chi of an image ``(h, w)`` over the measured pixels whose ring has more signal than noise."""
    return _well_measured(problem).agreement(image)[1]


def noise_chi(problem: Problem) -> float:
    """Chi that the true object is expected to have, from the noise level alone; 0 where that is unknown."""
    variance = float(problem.noise_variance[0])
    if not variance > 0:
        return 0.0
    weight = problem.pair.multiplicity(problem.amplitude.device) * problem.measured[0, 0]
    power = float((problem.amplitude[0, 0].square() * weight).sum())
    return (variance * float(weight.sum()) / power) ** 0.5 if power > 0 else 0.0


def _well_measured(problem: Problem) -> Problem:
    return replace(problem, measured=problem.measured & (problem.trust(1.0) > WELL_MEASURED))


def weights_used(config: Config) -> dict[str, str] | None:
    """Name and hash of the weights a configuration refines with, None where it does not."""
    if not config.refines:
        return None
    from napari_i2ipr.refine.weights import load

    weights = load(config.refine.weights)
    return {"name": weights.card.name, "sha256": weights.sha256}


def _trusted(found: Refined, calibration: Calibration | None, scores: dict[str, Any], status: Status) -> Outcome:
    if calibration is None:
        return Outcome(found.image, found.variance.sqrt(), "raw", {}, scores, (), status)
    variance = torch.from_numpy(calibration.variance(found.variance.cpu().numpy())).to(found.image)
    return Outcome(found.image, variance.sqrt(), "calibrated", dict(calibration.scales), scores, (), status)


def _outside(
    classical: Outcome,
    found: Refined,
    calibration: Calibration | None,
    scores: dict[str, Any],
    agreement: tuple[float, float],
    *,
    fall_back: bool,
) -> Outcome:
    """What is returned where the refined image fits the data worse than all but 1 % of images do."""
    than = "the classical mean, or noise, does"
    how = f"the refined image fits the data {scores['chi_ratio']:.3g} times as badly as {than}"
    usual = f"at most {scores['chi_ratio_limit']:.3g} is usual for the images the refinement was trained on"
    if fall_back:
        note = f"{how}; {usual}: the classical mean is returned"
        return replace(classical, scores=scores | {"refined": False}, notes=(note,), status=_worse(classical.status))
    r_factor, chi = agreement
    outcome = _trusted(found, calibration, scores | {"r_factor": r_factor, "chi": chi}, _worse(classical.status))
    return replace(outcome, notes=(f"{how}; {usual}: do not rely on it, nor on its uncertainty",))


def _worse(status: Status) -> Status:
    return Status.OUT_OF_DOMAIN if status in (Status.DONE, Status.CONVERGED) else status

"""The blur of a partially coherent beam, found from the pattern itself.

A few starts are phased with a blur that is fitted again after every round, to the start that fits the data best
(Clark et al., Nat. Commun. 3, 993 (2012), alternate in the same way; they deconvolve the coherence function freely,
here its width alone is free, which needs no regularisation). Starts that are first phased as if the beam were coherent
take part of the blur for the object, and give too small a width.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from scipy.optimize import minimize_scalar

from napari_i2ipr.progress import Event
from napari_i2ipr.solvers._run import each, iterate
from napari_i2ipr.solvers.multistart import random_start
from napari_i2ipr.solvers.recipe import parse_schedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_i2ipr.config import Config
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.progress import Cancel, OnEvent

FIRST_PX = 0.5
"""Blur of the first round unless one is given."""

STARTS = 6
"""Starts that are phased together; the best one's blur is taken over."""

ROUND = parse_schedule("HIO+pc:60 ER+pc:20")
"""What every start runs before the blur is fitted again."""

ROUNDS = 8
"""How often that is done."""

WIDEST = 1 / 16
"""Widest blur that is tried, as a share of the frame: more leaves nothing to phase."""


def fitted_blur(
    problem: Problem, config: Config, *, on_event: OnEvent | None = None, cancel: Cancel | None = None
) -> Problem:
    """The problem with the blur that fits it best.

    Parameters
    ----------
    problem : Problem
        One measurement.
    config : Config
        Gives the first blur, the seed and the threads.
    on_event, cancel
        Progress out, stop in; a stop leaves the blur of the last round.

    Returns
    -------
    Problem
        With `blur_px` of the last round.
    """
    init, index = config.initialisation, problem.indices[0]
    found = _with(problem, config.coherence.blur_px or FIRST_PX, config)
    first = found.constraints(hold_out=False, relaxation=init.relaxation, one=0)
    iterates: list[Tensor] = [random_start(first, config.seed, index, start) for start in range(STARTS)]
    for done in range(ROUNDS):
        if cancel is not None and cancel.is_set():
            break
        constraints = found.constraints(hold_out=False, relaxation=init.relaxation, one=0)
        outcomes = each(iterates, partial(iterate, constraints, ROUND, cancel=cancel), config.compute.threads)
        iterates = [one.iterate for one in outcomes]
        best = min((one for one in outcomes), key=lambda one: float(one.residual.nan_to_num(nan=float("inf"))))
        found = _with(problem, best_blur(found, best.image, config), config)
        if on_event is not None:
            on_event(Event("beam", done + 1, ROUNDS, float(best.residual)))
    return found


def best_blur(problem: Problem, image: Tensor, config: Config) -> float:
    """Standard deviation in pixels of the blur with which an image ``(h, w)`` fits the data best."""

    def misfit(blur_px: float) -> float:
        return _with(problem, blur_px, config).agreement(image)[1]

    widest = WIDEST * min(problem.pair.shape)
    fit = minimize_scalar(misfit, bounds=(0.0, widest), method="bounded", options={"xatol": 1e-3, "maxiter": 40})
    return float(fit.x)


def _with(problem: Problem, blur_px: float, config: Config) -> Problem:
    width: torch.Tensor = problem.alpha.new_full(problem.alpha.shape, blur_px)
    return replace(problem, blur_px=width, lorentz=config.coherence.lorentz)

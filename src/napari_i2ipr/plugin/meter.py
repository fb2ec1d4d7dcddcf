"""From the engine's events to one bar: share of the whole run, best misfit, time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_i2ipr.plugin.state import Progress
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.solvers.recipe import total_iterations

if TYPE_CHECKING:
    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Event

REFINE = "refine"
"""Stage of the learned refinement, which counts evaluations of the network."""

EVALUATION = 100
"""What one of them takes, in image-iterations: the shipped network on one CPU core, objects of 256 x 256 px."""

_TRUSTED = 0.02
"""Share of the run after which a time to its end is told."""


def image_iterations(config: Config, n_frames: int = 1) -> int:
    """Iterations of all starts that a run will do at most.

    Parameters
    ----------
    config : Config
        Settings of the run.
    n_frames : int
        Number of patterns.
    """
    init = config.initialisation
    kept = min(init.n_keep, init.n_starts)
    one_set = init.n_starts * total_iterations(init.short_schedule)
    one_set += kept * (total_iterations(init.long_schedule) + total_iterations(init.final_schedule))
    return n_frames * config.members * one_set


def work(config: Config, n_frames: int = 1) -> int:
    """All that a run will do at most, in the time of one image-iteration; parameters as for `image_iterations`."""
    settings, evaluations = config.refine, 0
    if settings.enabled and config.object == "real":
        evaluations = n_frames * config.members * settings.views * (settings.steps or Sampling().steps)
    return image_iterations(config, n_frames) + EVALUATION * evaluations


class Meter:
    """Sums the stages of a run, each of which counts from zero.

    Parameters
    ----------
    total : int
        Work of all stages, see `work`.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = max(total, 1), clock
        self._lock = threading.Lock()
        self._started = clock()
        self._stage, self._before, self._done, self._stage_total = "", 0, 0, 0
        self._best: float | None = None

    def update(self, event: Event) -> Progress:
        """Take in one event of the engine, from any thread.

        Parameters
        ----------
        event : Event
            As it comes from `reconstruct`.

        Returns
        -------
        Progress
            The whole run as of now.
        """
        cost = EVALUATION if event.stage.rpartition(": ")[2] == REFINE else 1
        with self._lock:
            if event.stage != self._stage or cost * event.done < self._done:
                self._before += self._stage_total
                self._stage, self._best = event.stage, None
            self._done, self._stage_total = cost * event.done, cost * event.total
            if event.score is not None and (self._best is None or event.score < self._best):
                self._best = event.score
            fraction = min((self._before + self._done) / self._total, 1.0)
            spent = self._clock() - self._started
            left = spent * (1 - fraction) / fraction if fraction > _TRUSTED else None
            return Progress(event.stage, fraction, self._best, left)

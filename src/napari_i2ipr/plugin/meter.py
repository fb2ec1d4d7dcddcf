"""From the engine's events to two bars, a curve and a picture, with the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.plugin.state import Point, Progress, Trace
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.solvers.recipe import total_iterations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Event

COSTS = {"refine": 100, "align": 5, "blind mean": 5}
"""What one step of a stage takes, in image-iterations: shipped network, objects of 256 x 256 px, one CPU core."""

PICTURE_HZ = 3
"""Most pictures a second."""

PICTURE_PX = 192
"""Longest side of a picture, about."""

_PAIRWISE = 16
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


def alignment_steps(n: int) -> int:
    """Steps that an alignment of n candidates counts."""
    return min(n, _PAIRWISE) + 2 * (n - 1) + n if n > 1 else 0


def evaluations(config: Config, n_frames: int = 1) -> int:
    """Evaluations of the network that a run will do at most; parameters as for `image_iterations`."""
    settings = config.refine
    if not config.refines:
        return 0
    return n_frames * config.members * settings.views * (settings.steps or Sampling().steps)


def work(config: Config, n_frames: int = 1) -> int:
    """All that a run will do at most, in the time of one image-iteration; parameters as for `image_iterations`."""
    init = config.initialisation
    kept = min(init.n_keep, init.n_starts)
    aligned = alignment_steps(config.members * kept)
    if init.final and init.inherit:
        aligned += config.members * alignment_steps(kept)
    total = image_iterations(config, n_frames) + COSTS["align"] * n_frames * aligned
    return total + COSTS["refine"] * evaluations(config, n_frames)


class Meter:
    """Sums the stages of a run, each of which counts from zero.

    Parameters
    ----------
    total : int
        Work of all stages, see `work`.
    members : int
        Candidate sets of a pattern.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, total: int, members: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._members, self._clock = max(total, 1), members, clock
        self._lock = threading.Lock()
        self._started = clock()
        self._stage, self._frame, self._member = "", 0, 0
        self._before, self._done, self._stage_total = 0, 0, 0
        self._best: float | None = None
        self._trace = Trace()
        self._image: NDArray[Any] | None = None
        self._next_image = 0.0

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
        stage = event.stage.rpartition(": ")[2]
        cost = COSTS.get(stage, 1)
        with self._lock:
            if (stage, event.frame) != (self._stage, self._frame) or cost * event.done < self._done:
                self._begin(stage, event.frame)
            self._done, self._stage_total = cost * event.done, cost * event.total
            improved = event.score is not None and (self._best is None or event.score <= self._best)
            self._best = event.score if improved else self._best
            fraction = min((self._before + self._done) / self._total, 1.0)
            if event.score is not None:
                self._trace.add(Point(fraction * event.frames - event.frame, event.score, stage))
            self._look(event, improved=improved or event.score is None)
            spent = self._clock() - self._started
            left = spent * (1 - fraction) / fraction if fraction > _TRUSTED else None
            return Progress(
                stage,
                fraction,
                self._best,
                left,
                event.done / event.total if event.total else 1.0,
                event.frame,
                event.frames,
                min(self._member, self._members - 1),
                self._members,
                self._image,
                self._trace,
            )

    def _begin(self, stage: str, frame: int) -> None:
        if frame != self._frame:
            self._member, self._trace = 0, Trace()
        elif self._stage and stage == "short run":
            self._member += 1
        self._before += self._stage_total
        self._stage, self._frame, self._best = stage, frame, None

    def _look(self, event: Event, *, improved: bool) -> None:
        """Keep a picture of the estimate, where it is worth one and the last one was seen for a while."""
        now = self._clock()
        if event.image is not None and improved and now >= self._next_image:
            self._next_image = now + 1 / PICTURE_HZ
            self._image = picture(event.image())


def picture(image: NDArray[Any], longest: int = PICTURE_PX) -> NDArray[np.uint8]:
    """A small grey picture of an estimate ``(h, w)``, from 0 (or the 1st percentile) to the 99.5th percentile."""
    step = max(max(image.shape) // longest, 1)
    h, w = (n // step * step for n in image.shape)
    values = np.abs(image[:h, :w]) if np.iscomplexobj(image) else np.nan_to_num(image[:h, :w])
    small = values.reshape(h // step, step, w // step, step).mean((1, 3))
    low = 0.0 if small.min() >= 0 else float(np.percentile(small, 1))
    high = float(np.percentile(small, 99.5))
    return (255 * np.clip((small - low) / (high - low if high > low else 1.0), 0, 1)).astype(np.uint8)

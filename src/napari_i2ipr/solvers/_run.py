"""THE loop: written once for all methods and devices.

On the CPU images run one after another, an image a thread, because a 512 x 512 frame then stays in
cache; on a GPU the whole batch runs at once. Either way an image's result depends on nothing but
itself.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_i2ipr.data import Status
from napari_i2ipr.physics.memory import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints
    from napari_i2ipr.progress import Cancel
    from napari_i2ipr.solvers.recipe import Schedule

CHECK_EVERY = 100
"""Iterations from one residual and finite check to the next; part of the result, so never timed."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Outcome:
    """How a run ended, for one image or a batch.

    Attributes
    ----------
    image : Tensor
        The estimate in the support's box, ``(..., h, w)``.
    iterate : Tensor
        The last iterate, ``(..., y, x)``, from which a run can go on.
    residual : Tensor
        chi over valid pixels at the last check, ``(...)``; infinite when none was made.
    iterations : Tensor
        Iterations done, integers ``(...)``.
    status : Status
        How the loop ended.
    diverged : Tensor
        Boolean ``(...)``: images that left the finite numbers; theirs is the best estimate before.
    """

    image: Tensor
    iterate: Tensor
    residual: Tensor
    iterations: Tensor
    status: Status
    diverged: Tensor


class _Watch:
    """The best estimate of every image so far, and which of them have diverged or settled."""

    def __init__(self, image: Tensor, g: Tensor) -> None:
        shape = image.shape[:-2]
        self.best = self.settled_image = image
        self.settled_g = g
        self.best_residual = torch.full(shape, torch.inf, device=g.device)
        self.diverged = torch.zeros(shape, dtype=torch.bool, device=g.device)
        self.settled = self.diverged.clone()
        self.iterations = torch.zeros(shape, dtype=torch.int64, device=g.device)

    def check(self, image: Tensor, residual: Tensor, g: Tensor, done: int, tolerance: float) -> None:
        """Keep what is better; freeze what is within the tolerance; blank what left the finite numbers."""
        better = residual < self.best_residual
        self.best = torch.where(better[..., None, None], image, self.best)
        self.best_residual = torch.where(better, residual, self.best_residual)
        arrived = (residual <= tolerance) & ~self.settled
        if bool(arrived.any()):
            self.settled_image = torch.where(arrived[..., None, None], image, self.settled_image)
            self.settled_g = torch.where(arrived[..., None, None], g, self.settled_g)
            self.iterations.masked_fill_(arrived, done)
            self.settled |= arrived
        self.diverged |= ~torch.isfinite(residual) & ~self.settled
        g.masked_fill_(self.diverged[..., None, None], 0)

    def outcome(self, last: Tensor | None, g: Tensor, residual: Tensor, done: int, status: Status) -> Outcome:
        """The last estimate, or the best one where it diverged or there is no last."""
        image = self.best if last is None else torch.where(self.diverged[..., None, None], self.best, last)
        frozen = self.settled[..., None, None]
        return Outcome(
            torch.nan_to_num(torch.where(frozen, self.settled_image, image)),
            torch.where(frozen, self.settled_g, g),
            residual,
            torch.where(self.settled, self.iterations, done),
            Status.DIVERGED if bool(self.diverged.all()) else status,
            self.diverged,
        )


def iterate(
    constraints: Constraints,
    schedule: Schedule,
    g: Tensor,
    *,
    tolerance: float = 0.0,
    on_check: Callable[[int, Tensor, Tensor], None] | None = None,
    cancel: Cancel | None = None,
) -> Outcome:
    """Run a schedule from `g`, which is overwritten.

    Parameters
    ----------
    constraints : Constraints
        Modulus and object constraint of the image or batch.
    schedule : Schedule
        Stages, run in order.
    g : Tensor
        Start, ``(..., y, x)``.
    tolerance : float
        Stop when the residual chi of every image is at or below this; 0 runs all iterations.
    on_check : callable, optional
        Called with iterations done, residuals and estimates every `CHECK_EVERY` iterations.
    cancel : Cancel, optional
        Looked at before every iteration.

    Returns
    -------
    Outcome
        The last estimate; the best so far of a cancelled run and of images that diverged.
    """
    done = 0
    estimate = constraints.crop(g)
    residual = torch.full(g.shape[:-2], torch.inf, device=g.device)
    watch = _Watch(estimate, g)
    for stage in schedule:
        memory = stage.method.init(g, constraints, stage.span)
        for _ in range(stage.iterations):
            if cancel is not None and cancel.is_set():
                last = stage.method.estimate(g, constraints, memory) if 0 < done < CHECK_EVERY else None
                return watch.outcome(last, g, residual, done, Status.CANCELLED)
            stage.method.step(g, constraints, memory)
            done += 1
            if done % CHECK_EVERY:
                continue
            estimate = stage.method.estimate(g, constraints, memory)
            residual = chi(constraints, estimate)
            watch.check(estimate, residual, g, done, tolerance)
            if on_check is not None:
                on_check(done, residual, estimate)
            if bool((watch.diverged | watch.settled).all()):
                return watch.outcome(estimate, g, residual, done, Status.CONVERGED)
        estimate = stage.method.estimate(g, constraints, memory)
        stage.method.finish(g, constraints, memory)
    if done % CHECK_EVERY:
        residual = chi(constraints, estimate)
        watch.check(estimate, residual, g, done, tolerance)
    status = Status.CONVERGED if bool(watch.settled.all()) and done else Status.DONE
    return watch.outcome(estimate, g, residual, done, status)


def chi(constraints: Constraints, image: Tensor) -> Tensor:
    """``|| |F| - sqrt(I) || / || sqrt(I) ||`` of images in the box over the pixels that pull, ``(...)``."""
    spectrum = constraints.pair.forward(constraints.embed(image))
    modulus = spectrum.abs() if constraints.gamma is None else constraints.blurring().intensity(spectrum).sqrt_()
    weight = constraints.pair.multiplicity(image.device) * (constraints.free < 1)
    misfit = (modulus * (1 - constraints.free) - constraints.pull).square_()
    return ((misfit * weight).sum((-2, -1)) / (constraints.pull.square() * weight).sum((-2, -1))).sqrt()


def each(jobs: Sequence[T], work: Callable[[T], R], threads: int = 0) -> list[R]:
    """``[work(job) for job in jobs]``, one job a thread; a lone job gets all of torch's own threads.

    Either way the results are the same, bit for bit.

    Parameters
    ----------
    jobs : sequence
        One entry per image.
    work : callable
        Called in a worker thread.
    threads : int
        Worker threads; 0 takes the cores this process may use.
    """
    _keep_freed_memory()
    total = threads or available_cores()
    n = max(min(len(jobs), total), 1)
    if n == 1:  # torch's threads are at their best in the thread that has used them before
        with _torch_threads_restored():
            torch.set_num_threads(total if len(jobs) == 1 else 1)
            return [_quietly(work, job) for job in jobs]
    pool = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(max(total // n, 1),))
    with _torch_threads_restored(), pool:
        return list(pool.map(lambda job: _quietly(work, job), jobs))


def _quietly(work: Callable[[T], R], job: T) -> R:
    with torch.inference_mode():
        return work(job)


_threads_lock = threading.Lock()
_running = 0
_threads_before = 1


@contextmanager
def _torch_threads_restored() -> Iterator[None]:
    """Give torch's process-wide thread setting back when the last of the running pools ends."""
    global _running, _threads_before  # noqa: PLW0603 - torch's own setting is process-wide
    with _threads_lock:
        if _running == 0:
            _threads_before = torch.get_num_threads()
        _running += 1
    try:
        yield
    finally:
        with _threads_lock:
            _running -= 1
            if _running == 0:
                torch.set_num_threads(_threads_before)


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep megabyte blocks that were freed instead of returning them to the system.

    Every transform allocates its result; outside the main thread glibc would map and unmap it each
    time, and 1,250 page faults an iteration (512 x 512) double its cost. Other systems' allocators
    do not need this.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 256 << 20)

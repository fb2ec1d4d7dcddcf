"""Multi-start: many short runs, ranking, the best kept and run on.

A start's random numbers depend on (seed, measurement index, start index) only, and every image is
computed by itself, so a result does not change with the batch, the threads or the chunks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_i2ipr.data import Status
from napari_i2ipr.errors import CancelledError
from napari_i2ipr.physics.problem import Candidates, generator
from napari_i2ipr.physics.symmetry import align
from napari_i2ipr.progress import Event
from napari_i2ipr.solvers._run import each, iterate
from napari_i2ipr.solvers.recipe import Schedule, split, total_iterations

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.physics.projections import Constraints
    from napari_i2ipr.progress import Cancel, OnEvent

GIVEN_BACK = 0.1
"""Last share of the long run in which the held-out pixels take part again."""

MISFIT = 2.0
"""Candidates whose residual exceeds the best one's by this factor have no part in the second generation's mean."""

_START = 1
"""Second word of the random path of starts; 0 belongs to the free pixels."""


@dataclass(frozen=True)
class MultiStart:
    """Settings of a multi-start.

    Attributes
    ----------
    n_starts, n_keep : int
        Starts of the short run and how many of them go on.
    short, long, final : Schedule
        Schedules: of every start, of the kept ones, and of these again once they have been scored and
        the held-out pixels are given back (may be empty).
    inherit : float
        Share of the candidates' blind mean in the starts of the final run, 0 ... 1; the rest is the
        candidate itself.
    shifts, subpixel : bool
        How candidates are aligned for their mean, see `align`.
    hold_out : bool
        Rank by the free pixels; otherwise by the residual of all.
    relaxation : float
        How far frequencies below the noise may differ from what was measured, see `Problem.trust`.
    tolerance : float
        Residual chi at which a run stops early.
    max_outside : float
        Starts with more of their projected energy outside the support rank last.
    threads : int
        CPU threads, 0 for all cores.
    batch : int
        Starts iterated together; 0 takes 1 on a CPU, where an image then stays in cache, and all of a
        measurement elsewhere.
    """

    n_starts: int
    n_keep: int
    short: Schedule
    long: Schedule
    final: Schedule = ()
    inherit: float = 0.8
    shifts: bool = True
    subpixel: bool = True
    hold_out: bool = True
    relaxation: float = 0.0
    tolerance: float = 0.0
    max_outside: float = 0.1
    threads: int = 0
    batch: int = 0


@dataclass
class _Run:
    """One start of one measurement on its way."""

    position: int
    start: int
    g: Tensor | None = None
    image: Tensor | None = None
    score: float = float("inf")
    residual: float = float("nan")
    free_score: float = float("nan")
    outside: float = float("nan")
    iterations: int = 0
    status: Status = Status.DONE


def initialise(
    problem: Problem,
    settings: MultiStart,
    *,
    seed: int,
    first_start: int = 0,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Candidates:
    """Candidates of every measurement, best first.

    Parameters
    ----------
    problem : Problem
        B measurements.
    settings : MultiStart
        How many starts, and what they run.
    seed : int
        Of the random starts.
    first_start : int
        Number of the first start; ensemble members use disjoint numbers.
    on_event, cancel
        Progress out, stop in.

    Returns
    -------
    Candidates
        ``(B, n_keep)``, sorted by score.
    """
    work = _Work(problem, settings, seed, on_event, cancel)
    runs = [_Run(b, first_start + k) for b in range(problem.batch) for k in range(settings.n_starts)]
    work.stage("short run", len(runs), settings.short)
    each(work.groups(runs), work.short, settings.threads)
    kept: list[_Run] = []
    for b in range(problem.batch):
        mine = sorted((run for run in runs if run.position == b), key=_order(settings))
        kept += mine[: settings.n_keep]
        for dropped in mine[settings.n_keep :]:
            dropped.g = dropped.image = None
    work.stage("long run", len(kept), settings.long)
    each(work.groups(kept), work.long, settings.threads)
    rows = [sorted((run for run in kept if run.position == b), key=_order(settings)) for b in range(problem.batch)]
    before: list[Tensor] | None = None
    if settings.final:
        try:
            before = [work.second_generation(row) for row in rows] if settings.inherit else None
            work.stage("final run", len(kept), settings.final)
            each(work.groups(kept), work.final, settings.threads)
            rows = [sorted(row, key=_order(settings)) for row in rows]
        except CancelledError:  # between the runs: what the long run found is kept
            for run in kept:
                run.status = Status.CANCELLED if run.status is Status.DONE else run.status
    spent = [sum(run.iterations for run in runs if run.position == b) for b in range(problem.batch)]
    return _candidates(rows, spent, before)


def random_start(constraints: Constraints, seed: int, index: int, start: int) -> Tensor:
    """The measured modulus with uniformly random phases, ``(y, x)``.

    The phases are drawn on the half spectrum of a real object and made Friedel-symmetric by the
    inverse transform itself.
    """
    pair = constraints.pair
    phases = generator(seed, index, _START, start).random(pair.spectrum_shape, dtype=np.float32)
    angle = torch.from_numpy(phases).to(constraints.pull.device) * (2 * torch.pi)
    return pair.inverse(torch.polar(constraints.pull.contiguous(), angle))


class _Work:
    """The two runs of a start, with what they share."""

    def __init__(
        self, problem: Problem, settings: MultiStart, seed: int, on_event: OnEvent | None, cancel: Cancel | None
    ) -> None:
        self.problem, self.settings, self.seed, self.on_event, self.cancel = problem, settings, seed, on_event, cancel
        self.held = self._constraints(hold_out=settings.hold_out)
        self.all = self._constraints(hold_out=False)
        self.multiplicity = problem.pair.multiplicity(problem.amplitude.device)
        self._lock = threading.Lock()

    def _constraints(self, *, hold_out: bool) -> list[Constraints]:
        relaxation = self.settings.relaxation
        return [
            self.problem.constraints(hold_out=hold_out, relaxation=relaxation, one=b) for b in range(self.problem.batch)
        ]

    def stage(self, name: str, n_runs: int, schedule: Schedule) -> None:
        """Start counting the iterations of a stage."""
        self._name, self._total, self._done = name, n_runs * total_iterations(schedule), 0

    def _ran(self, iterations: int, residual: Tensor, images: Tensor) -> None:
        """Tell of iterations that a group ran, and of the best of its images as it is now."""
        if self.on_event is None:
            return
        best = int(residual.argmin())
        score = float(residual.flatten()[best])
        image = images.flatten(0, -3)[best] if images.ndim > 2 else images
        with self._lock:
            self._done += iterations
            known = score if np.isfinite(score) else None
            self.on_event(Event(self._name, self._done, self._total, known, image=lambda: image.cpu().numpy()))

    def _aligned(self, done: int, total: int) -> None:
        if self.on_event is not None:
            self.on_event(Event("blind mean", done, total))

    def groups(self, runs: list[_Run]) -> list[list[_Run]]:
        """Runs of one measurement that are iterated together."""
        on_cpu = self.problem.amplitude.device.type == "cpu"
        size = self.settings.batch or (1 if on_cpu else len(runs))
        mine = [[run for run in runs if run.position == b] for b in range(self.problem.batch)]
        return [part[i : i + size] for part in mine for i in range(0, len(part), size)]

    def short(self, group: list[_Run]) -> None:
        """From random phases through the short schedule to a score."""
        constraints = self.held[group[0].position]
        for run in group:
            run.g = random_start(constraints, self.seed, self.problem.indices[run.position], run.start)
        self._iterate(constraints, self.settings.short, group)
        self._score(group)

    def long(self, group: list[_Run]) -> None:
        """Through the long schedule; the held-out pixels come back for its last part."""
        schedule, position = self.settings.long, group[0].position
        if not self.settings.hold_out:
            self._iterate(self.all[position], schedule, group)
            self._score(group)
            return
        total = total_iterations(schedule)
        head, tail = split(schedule, total - round(GIVEN_BACK * total))
        self._iterate(self.held[position], head, group)
        self._score(group)
        self._go_on(group, tail)

    def second_generation(self, row: list[_Run]) -> Tensor:
        """Start the final run of one measurement's candidates, best first, near the blind mean of the sound ones.

        Returns the candidates as they were, aligned, ``(K, h, w)``.
        """
        images = torch.stack([run.image for run in row if run.image is not None])
        aligned = self.problem.constrain(
            align(
                images,
                shifts=self.settings.shifts,
                subpixel=self.settings.subpixel,
                on_step=self._aligned,
                cancel=self.cancel,
            ).images
        )
        share = self.settings.inherit
        residual = torch.tensor([run.residual for run in row])
        sound = residual <= MISFIT * residual.min()
        mixed = share * aligned[sound.to(aligned.device)].mean(0) + (1 - share) * aligned
        for run, image in zip(row, mixed, strict=True):
            run.g = self.all[run.position].embed(image)
        return aligned

    def final(self, group: list[_Run]) -> None:
        """Through the final schedule with all pixels; scores that rank stay those of the long run."""
        self._go_on(group, self.settings.final)

    def _go_on(self, group: list[_Run], schedule: Schedule) -> None:
        """Iterate scored runs with all pixels; free scores, which mean nothing then, stay as they are."""
        before = [(run.score, run.free_score) for run in group]
        self._iterate(self.all[group[0].position], schedule, group)
        self._score(group)
        if self.settings.hold_out:
            for run, (score, free_score) in zip(group, before, strict=True):
                run.score, run.free_score = score, free_score

    def _iterate(self, constraints: Constraints, schedule: Schedule, group: list[_Run]) -> None:
        group = [run for run in group if run.status is not Status.DIVERGED]
        starts = [run.g for run in group if run.g is not None]
        if not starts or not schedule:
            return
        g = starts[0] if len(starts) == 1 else torch.stack(starts)
        reported = 0

        def on_check(done: int, residual: Tensor, images: Tensor) -> None:
            nonlocal reported
            self._ran((done - reported) * len(group), residual, images)
            reported = done

        out = iterate(
            constraints, schedule, g, tolerance=self.settings.tolerance, on_check=on_check, cancel=self.cancel
        )
        self._ran((total_iterations(schedule) - reported) * len(group), out.residual, out.image)
        several = g.ndim == 3
        for k, run in enumerate(group):
            done = int(out.iterations[k] if several else out.iterations)
            if done or run.image is None:
                run.g, run.image = (out.iterate[k], out.image[k]) if several else (out.iterate, out.image)
            run.iterations += done
            if bool(out.diverged[k] if several else out.diverged):
                run.status = Status.DIVERGED
            elif out.status is not Status.DONE and run.status is not Status.DIVERGED:
                run.status = out.status

    def _score(self, group: list[_Run]) -> None:
        for run in group:
            if run.image is not None:
                self._score_one(run, run.image)

    def _score_one(self, run: _Run, image: Tensor) -> None:
        problem, b = self.problem, run.position
        constraints = self.all[b]
        modulus = problem.modulus(constraints.embed(image), b)
        amplitude, measured, held = problem.amplitude[b, 0], problem.measured[b, 0], problem.held_out[b, 0]
        power, misfit = amplitude.square() * self.multiplicity, (modulus - amplitude).square_() * self.multiplicity
        run.residual = float(((misfit * measured).sum() / (power * measured).sum()).sqrt())
        run.outside = self._outside(constraints, image)
        if self.settings.hold_out:
            run.free_score = float(((misfit * held).sum() / (power * held).sum()).sqrt())
        run.score = run.free_score if self.settings.hold_out else run.residual
        if not np.isfinite(run.score):
            run.score = float("inf")

    def _outside(self, constraints: Constraints, image: Tensor) -> float:
        """Share of the energy of ``P_M`` of the estimate that falls where the support forbids it."""
        projected = constraints.modulus(constraints.embed(image))
        total = float(projected.abs().square().sum())
        part = projected[constraints.box]
        if constraints.inside is not None:
            part = part * constraints.inside
        return 1.0 - float(part.abs().square().sum()) / total if total > 0 else 1.0


def _order(settings: MultiStart) -> Callable[[_Run], tuple[bool, float, int]]:
    """Sort key: sound starts before those that fail a guard, each by score, ties by number."""

    def key(run: _Run) -> tuple[bool, float, int]:
        bad = settings.hold_out and not run.outside <= settings.max_outside
        return bad, run.score, run.start

    return key


def _candidates(rows: list[list[_Run]], spent: list[int], before: list[Tensor] | None) -> Candidates:
    def table(name: str) -> Tensor:
        return torch.tensor([[getattr(run, name) for run in row] for row in rows])

    images = torch.stack([torch.stack([run.image for run in row if run.image is not None]) for row in rows])
    return Candidates(
        images,
        table("score"),
        table("residual"),
        table("free_score"),
        table("outside"),
        table("start"),
        table("iterations"),
        torch.tensor(spent),
        tuple(tuple(run.status.name for run in row) for row in rows),
        images if before is None else torch.stack(before),
    )

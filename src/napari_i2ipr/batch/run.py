"""From a source to a target: look at what is there, do what is left, finish."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_i2ipr.batch import cluster, estimate, fingerprint, finish, local, resume, target, units
from napari_i2ipr.batch.journal import Journal, Mark
from napari_i2ipr.batch.report import BatchEvent, BatchReport, Row
from napari_i2ipr.errors import CancelledError
from napari_i2ipr.io import check_output
from napari_i2ipr.progress import Event
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from napari_i2ipr.batch.request import Planned, Request
    from napari_i2ipr.progress import Cancel, OnEvent

STAGE = "patterns"
"""Stage of the events that count patterns."""


class _Progress:
    """Counts what is done and says so."""

    def __init__(self, total: int, kept: int, on_event: OnEvent | None) -> None:
        self.total, self.kept, self.worked, self.on_event = total, kept, 0, on_event
        self.started = time.monotonic()
        self.peak_bytes = 0

    def say(self, stage: str, message: str = "") -> None:
        """Something that is no pattern."""
        if self.on_event is not None:
            self.on_event(BatchEvent(stage, self.kept + self.worked, self.total, message=message))

    def row(self, row: Row) -> None:
        """One pattern more."""
        self.worked += 1
        memory = estimate.resident_bytes()
        self.peak_bytes = max(self.peak_bytes, memory)
        if self.on_event is None:
            return
        seconds = time.monotonic() - self.started
        done = self.kept + self.worked
        score = row.scores.get("r_factor")
        self.on_event(
            BatchEvent(
                STAGE,
                done,
                self.total,
                score,
                "" if row.good else f"pattern {row.index}: {row.status}, {row.notes[-1]}",
                row=row,
                frames_per_minute=60 * self.worked / seconds if seconds else None,
                seconds_left=seconds / self.worked * (self.total - done),
                memory_bytes=memory,
            )
        )


def run(
    request: Request,
    *,
    overwrite: bool,
    go_on: bool,
    strict: bool,
    on_event: OnEvent | None,
    cancel: Cancel | None,
) -> BatchReport:
    """Do what is left of a request; parameters and errors as for `reconstruct_batch`."""
    if on_event is not None:
        on_event(Event("looking at what is there", 0, 1))
    begun = target.partial_of(request.target).exists()
    if not overwrite and not begun and request.target.exists():  # complete: no lock, it may lie where nobody can write
        state = resume.find(request.target, request.identity, overwrite=False, resume=go_on, cancel=cancel)
        if state is not None and state.sealed:
            return _report(request, state, _Progress(state.plan.n_frames, state.plan.n_frames, None), None)
    check_output(request.target, overwrite=True)  # that there is a place at all, before a lock is made in it
    with resume.locked(request.target):
        state = resume.find(request.target, request.identity, overwrite=overwrite, resume=go_on, cancel=cancel)
        layout = request.layout()
        planned = request.planned(state, layout)
        left = planned.plan.n_frames - (state.frames(state.done) if state is not None else 0)
        target.require_space(request.target, estimate.disk_bytes(planned.plan, left))
        if state is None:
            geometry, replaces = request.source.geometry, request.target.exists()
            state = resume.begin(request.target, planned.plan, geometry, request.identity, replaces=replaces)
        elif state.store == request.target:
            state = resume.reopen(request.target, state)
        progress = _Progress(planned.plan.n_frames, state.frames(state.done), on_event)
        work = _Work(request, state, planned, layout, progress, strict=strict, cancel=cancel)
        if work.done():
            with suppress(CancelledError):  # what is written last is then written by the next run
                state = _finish(request, state, progress, cancel)
        return _report(request, state, progress, layout)


@dataclass(frozen=True, eq=False)
class _Work:
    """The units that are left, and where they are done."""

    request: Request
    state: resume.State
    planned: Planned
    layout: units.Layout
    progress: _Progress
    strict: bool
    cancel: Cancel | None

    def done(self) -> bool:
        """Do them; false when stopped."""
        try:
            if self.state.todo:
                if self.request.scheduler is None:
                    self._here()
                else:
                    self._elsewhere()
        except CancelledError:
            return False
        return True

    @property
    def job(self) -> units.Job:
        """What all units share."""
        request = self.request
        return units.Job(
            plan=self.state.plan,
            config=request.config,
            store=self.state.store,
            identity=fingerprint.digest(request.identity),
            device=request.device,
            prepare=request.prepare,
            strict=self.strict,
        )

    def mark(self, mark: Mark) -> None:
        """A unit is written."""
        with target.writing(self.state.store):
            Journal(self.state.store).append(mark)

    def _here(self) -> None:
        """With the threads of this process."""
        job, source = self.job, self.request.source
        plan = job.plan

        def read(unit: int) -> tuple[int, list[units.Frame]]:
            return unit, units.read(source.window(plan.region(unit)), plan.numbers(unit), job.prepare)

        def compute(given: tuple[int, list[units.Frame]]) -> units.Computed:
            return units.compute(job, *given, self.layout, on_row=self.progress.row, cancel=self.cancel)

        def write(computed: units.Computed) -> None:
            self.mark(target.write_unit(job, computed, program_version()))

        local.run_units(self.state.todo, read, compute, write, ahead=self.planned.ahead)

    def _elsewhere(self) -> None:
        """On the workers of a cluster."""
        request, job = self.request, self.job
        if request.local:
            job = replace(job, config=cluster.spread(job.config, cluster.workers_of(request.scheduler)))

        def done(mark: Mark) -> None:
            self.mark(mark)
            for row in mark.rows:
                self.progress.row(row)

        limit = self.planned.limit if request.memory is not None else None
        with cluster.connected(request.scheduler, limit) as client:
            cluster.run_units(
                client, job, request.source, self.state.todo, done, pinned=request.local, cancel=self.cancel
            )


def _finish(request: Request, state: resume.State, progress: _Progress, cancel: Cancel | None) -> resume.State:
    """Write what is written last, and give the store its name."""
    store, plan = state.store, state.plan
    progress.say("pyramid")
    target.sweep(store)
    finish.write_pyramid(store, plan, cancel)
    progress.say("table")
    table = _table(request, state)
    finish.write_table(store, plan, table, request.config.seed)
    words = target.read_words(store) or {}
    batch = {**words["batch"], "replaces": False, "seal": finish.seal(store, plan)}
    batch |= {"frames": plan.n_frames, "statuses": table.statuses(), "made": table.made}
    provenance = {
        "input": request.source.provenance,
        "config": request.config.to_dict(),
        "device": ", ".join(sorted({made["device"] for made in table.made})),
        "weights": request.weights,
        "versions": finish.versions(),
        "notes": list(table.problems()),
    }
    finish.write_words(store, plan, table, request.source, batch=batch, provenance=provenance)
    resume.finished(request.target, state)
    everything = frozenset(range(plan.n_units))
    return resume.State(request.target, plan, everything, state.damaged, sealed=True)


def _table(request: Request, state: resume.State) -> finish.Table:
    marks = Journal(state.store).marks(fingerprint.digest(request.identity))
    return finish.Table.of(marks, state.plan.n_frames)


def _report(request: Request, state: resume.State, progress: _Progress, layout: units.Layout | None) -> BatchReport:
    table = _table(request, state)
    return BatchReport(
        target=state.store,
        complete=state.sealed,
        frames=state.plan.n_frames,
        worked=progress.worked,
        kept=progress.kept,
        redone=state.frames(state.damaged) if progress.worked else 0,
        statuses=table.statuses(),
        mean=table.means(),
        problems=table.problems(),
        noted=sum(bool(table.good[i]) for i in table.notes),
        seconds=time.monotonic() - progress.started,
        memory_bytes=progress.peak_bytes,
        device=", ".join(sorted({made["device"] for made in table.made})),
        layout=layout.to_dict() if layout is not None else {},
    )


def plan(request: Request, *, overwrite: bool, timed: bool, cancel: Cancel | None = None) -> estimate.Estimate:
    """What there is to do and what it takes; parameters and errors as for `napari_i2ipr.batch.plan_batch`."""
    units.stop_if_asked(cancel)  # opening the source may have taken a while
    state = resume.find(request.target, request.identity, overwrite=overwrite, cancel=cancel)
    layout = request.layout()
    planned = request.planned(state, layout)
    pieces, workers = planned.plan, cluster.workers_of(request.scheduler)
    done = state.frames(state.done) if state is not None else 0
    left = pieces.n_frames - done
    seconds = None
    if timed and left:
        unit = state.todo[0] if state is not None else 0
        window = request.source.window(tuple(slice(i.start, i.start + 1) for i in pieces.region(unit)))
        seconds = estimate.frame_seconds(
            units.read(window, pieces.numbers(unit)[:1], request.prepare), request.config, layout, cancel
        )
    needed = planned.sizes.needed(pieces.unit_frames, planned.ahead)
    return estimate.Estimate(
        frames=pieces.n_frames,
        units=pieces.n_units,
        unit_frames=pieces.unit_frames,
        done=done,
        memory_bytes=needed if request.scheduler is None else estimate.resident_bytes() + workers * needed,
        memory_limit=estimate.host_limit(request.memory, request.config.compute.memory_fraction),
        disk_bytes=estimate.disk_bytes(pieces, left),
        disk_free=target.free_bytes(request.target),
        seconds=None if seconds is None else seconds * left / workers,
        seconds_a_frame=seconds,
        ahead=planned.ahead,
        device=str(layout.device),
        target=request.target,
        images={image.name: (*pieces.lead, *pieces.box[2:]) for image in pieces.images},
    )

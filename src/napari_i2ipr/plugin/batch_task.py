"""What runs in the background for the Batch widget: the plan of a queue, the queue itself, a look at what is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_i2ipr.data import Status
from napari_i2ipr.errors import CancelledError, I2IPRError
from napari_i2ipr.plugin.batch_queue import PARTIAL, Board, ItemState, ItemStatus
from napari_i2ipr.plugin.batch_words import EXISTS, done_before, here, report_words
from napari_i2ipr.plugin.state import Progress
from napari_i2ipr.plugin.worker import forget, load_torch, sentence, spare_one

if TYPE_CHECKING:
    from napari_i2ipr.batch import BatchReport, Estimate
    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Cancel, Event

STAGES = {
    "looking at what is there": "looking at what is there",
    "pyramid": "writing smaller copies for viewers",
    "table": "writing the table of scores",
}
"""Plain words for what the engine says beside patterns."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """One source and its result.

    Attributes
    ----------
    source : str or Measurement
        What is reconstructed; None where there is a problem.
    target : Path or None
        Name of the result.
    problem : str
        Why it cannot be run, known before.
    """

    source: Any
    target: Path | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Ask:
    """How every item is reconstructed.

    Attributes
    ----------
    config : Config
        All settings.
    options : dict
        Of `reconstruct_batch`: device, axes, mask, support, prepare, memory, overwrite.
    strict : bool
        Whether the first problem ends the run.
    """

    config: Config
    options: dict[str, Any] = field(default_factory=dict)
    strict: bool = False

    @property
    def here(self) -> Config:
        """The settings for this window, which keeps a core to itself; no result depends on that."""
        if self.config.compute.threads:
            return self.config
        return self.config.replace(compute={"threads": spare_one()})


@dataclass(frozen=True, eq=False)
class Planned:
    """What a plan found, item by item: an estimate, or the sentence why there is none; None where it was stopped.

    `status` tells whether it was.
    """

    found: tuple[Estimate | str | None, ...]
    status: Status = Status.DONE


@dataclass(frozen=True, eq=False)
class PlanTask:
    """The plans of all items; one pattern of every shape is run for a moment to know the time."""

    works: tuple[Work, ...]
    ask: Ask

    def __str__(self) -> str:
        return "plan of a batch"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Planned:
        """Make them; imports torch, so never call it in the main thread."""
        on_progress(Progress("starting"))
        load_torch()
        found: list[Estimate | str | None] = []
        speeds: dict[tuple[Any, ...], float | None] = {}
        for number, work in enumerate(self.works):
            on_progress(Progress("planning", number / len(self.works), frame=number, frames=len(self.works)))
            try:
                found.append(self._one(work, speeds, cancel))
            except CancelledError:
                rest = (None,) * (len(self.works) - number)
                return Planned((*found, *rest), Status.CANCELLED)
            except Exception as error:  # noqa: BLE001 - one item must not keep the others from their plan
                found.append(_said(error, f"plan of {work.target}"))
        return Planned(tuple(found))

    def _one(self, work: Work, speeds: dict[tuple[Any, ...], float | None], cancel: Cancel) -> Estimate | str:
        from napari_i2ipr.batch import plan_batch

        if work.problem or work.target is None:
            return work.problem
        options = self.ask.options
        estimate = plan_batch(work.source, work.target, self.ask.here, **options, timed=False, cancel=cancel)
        shape = tuple(size[-2:] for size in estimate.images.values())
        if estimate.done < estimate.frames and speeds.get(shape) is None:
            estimate = plan_batch(work.source, work.target, self.ask.here, **options, cancel=cancel)
            speeds[shape] = estimate.seconds_a_frame
        speed = speeds.get(shape)
        seconds = None if speed is None else speed * (estimate.frames - estimate.done)
        return replace(estimate, seconds=seconds, seconds_a_frame=speed)


@dataclass(frozen=True, eq=False)
class Ended:
    """How a run ended: `status` is CANCELLED after a stop; `reports` has those of the items that were run."""

    status: Status
    reports: dict[int, BatchReport]


@dataclass(frozen=True, eq=False)
class BatchTask:
    """A queue, ready to run: item after item, an item that fails ends only itself."""

    works: tuple[Work, ...]
    ask: Ask
    board: Board

    def __str__(self) -> str:
        return f"batch of {len(self.works)}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Ended:
        """Run it; imports torch, so never call it in the main thread."""
        on_progress(Progress("starting"))
        self.board.put(0, state=ItemState.RUNNING, began=monotonic(), message="getting ready")
        load_torch()
        reports: dict[int, BatchReport] = {}
        for number, work in enumerate(self.works):
            if cancel.is_set():
                break
            on_progress(Progress("running", number / len(self.works), frame=number, frames=len(self.works)))
            report = self._one(number, work, cancel)
            if report is not None:
                reports[number] = report
            if self.ask.strict and self.board[number].state is ItemState.FAILED:
                break
        if cancel.is_set() and self.board[0].state is ItemState.RUNNING:  # stopped before anything was begun
            self.board.put(0, state=ItemState.STOPPED, began=None, message="stopped before it began")
        return Ended(Status.CANCELLED if cancel.is_set() else Status.DONE, reports)

    def _one(self, number: int, work: Work, cancel: Cancel) -> BatchReport | None:
        """Run one item and write on the board how it ended."""
        from napari_i2ipr.batch import reconstruct_batch

        began, state = monotonic(), ItemState.FAILED
        self.board.put(number, state=ItemState.RUNNING, began=began, bad=0, message="opening the patterns")
        report = None
        try:
            if work.problem or work.target is None:
                said = work.problem
            else:
                report = reconstruct_batch(
                    work.source,
                    work.target,
                    self.ask.here,
                    **self.ask.options,
                    strict=self.ask.strict,
                    on_event=lambda event: self._on_event(number, event),
                    cancel=cancel,
                )
                state = _state_of(report)
                said = report_words(report)
                dealt = report.good + report.bad
                self.board.put(number, done=dealt, total=report.frames, bad=report.bad)
        except CancelledError:
            state, said = ItemState.STOPPED, "stopped: what was done is kept, Run goes on from there"
        except Exception as error:  # noqa: BLE001 - it ends this item, not the queue
            said = _said(error, f"batch of {work.target}")
        rest = {"began": None, "per_minute": None, "seconds_left": None, "message": said}
        self.board.put(number, state=state, seconds=monotonic() - began, **rest)
        return report

    def _on_event(self, number: int, event: Event) -> None:
        """What the engine says, from any of its threads."""
        row = getattr(event, "row", None)
        if row is None:
            self.board.put(number, message=STAGES.get(event.stage, event.stage))
            return
        if not row.good:
            self.board.count_bad(number)
        self.board.put(
            number,
            done=event.done,
            total=event.total,
            per_minute=getattr(event, "frames_per_minute", None),
            seconds_left=getattr(event, "seconds_left", None),
            memory_bytes=getattr(event, "memory_bytes", 0),
            message=here(event.message) or _last(row.index, event.score),
        )


@dataclass(frozen=True)
class LookTask:
    """What is there already of some results: by number what to say of it, and patterns done of how many."""

    targets: dict[int, Path]

    def __call__(self) -> dict[int, ItemStatus]:
        """Look; imports torch where a run has begun one, so never call it in the main thread."""
        return {number: self._one(target) for number, target in self.targets.items()}

    def _one(self, target: Path) -> ItemStatus:
        if not target.with_name(target.name + PARTIAL).is_dir():
            return ItemStatus(message=EXISTS if target.exists() else "")
        load_torch()
        from napari_i2ipr.batch import open_batch

        try:
            view = open_batch(target)
        except (I2IPRError, OSError):  # the run says what is wrong with it
            return ItemStatus(message=EXISTS)
        done, total = int(view.done.sum()), view.plan.n_frames
        return ItemStatus(done=done, total=total, message=done_before(done, total))


def _last(number: int, score: float | None) -> str:
    """What is said of the last pattern."""
    return f"pattern {number} is done" + ("" if score is None else f", R-factor {score:.3f}")


def _state_of(report: BatchReport) -> ItemState:
    if not report.complete:
        return ItemState.STOPPED
    return ItemState.DONE if report.good else ItemState.FAILED


def _said(error: Exception, what: str) -> str:
    """One sentence for the user; the trace of what is no error of ours goes to the log."""
    if isinstance(error, I2IPRError):
        log.warning("%s: %s", what, error)
    else:
        log.error("%s failed", what, exc_info=error)
    forget(error)
    return here(sentence(error))

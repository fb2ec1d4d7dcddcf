"""A batch in words: its plan, its progress, its report."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from napari_i2ipr.cli._terminal import number
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from napari_i2ipr.batch import BatchReport, Estimate
    from napari_i2ipr.progress import Event, OnEvent

LINE_SECONDS = 10.0
"""Time between two lines of progress, where nobody watches a bar."""

MOST_PROBLEMS = 5
"""Patterns without an image that are named on the way; the table has them all."""


@contextmanager
def progress() -> Iterator[OnEvent]:
    """Progress on standard error: a bar where a person watches, a line every `LINE_SECONDS` elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, words="")
        problems = _Problems(bar.console.print)

        def show(event: Event) -> None:
            problems(event)
            bar.update(task, description=event.stage, total=event.total, completed=event.done, words=_rate(event))

        yield show


class _Problems:
    """Names the first patterns without an image."""

    def __init__(self, say: Any) -> None:
        self._say, self._left = say, MOST_PROBLEMS

    def __call__(self, event: Event) -> None:
        if event.message and self._left:
            self._left -= 1
            more = " (further ones are in the table only)" if not self._left else ""
            self._say(f"warning: {' '.join(event.message.split())}{more}")


class _Lines:
    """A line for the first and the last pattern, and one from time to time."""

    def __init__(self) -> None:
        self._next = 0.0
        self._lock = threading.Lock()
        self._problems = _Problems(lambda text: typer.echo(text, err=True))

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._problems(event)
            if getattr(event, "row", None) is None:
                return
            if event.done == event.total or time.monotonic() >= self._next:
                self._next = time.monotonic() + LINE_SECONDS
                typer.echo(f"{event.done}/{event.total} patterns, {_rate(event)}", err=True)


def _rate(event: Event) -> str:
    """Rate, time left, score and memory, as far as they are known."""
    rate, left = getattr(event, "frames_per_minute", None), getattr(event, "seconds_left", None)
    memory = getattr(event, "memory_bytes", 0)
    parts = [
        f"{number(rate, 3)} per minute" if rate else "",
        f"{_duration(left)} left" if left else "",
        f"R-factor {number(event.score, 3)}" if event.score is not None else "",
        _size(memory) if memory else "",
    ]
    return ", ".join(filter(None, parts))


def headline(report: BatchReport, source: str) -> str:
    """What happened, in one sentence."""
    if not report.complete:
        return f"reconstructed {report.worked} patterns of {source}"
    if not report.worked:
        return f"nothing to do: {report.target} is complete, with the same patterns, settings and weights"
    return f"reconstructed {source} into {report.target}"


def report_values(report: BatchReport) -> dict[str, Any]:
    """The report as `--json` prints it."""
    return {
        **asdict(report),
        "target": str(report.target),
        "problems": list(report.problems),
        "status": "COMPLETE" if report.complete else "STOPPED",
        "good": report.good,
        "bad": report.bad,
        "frames_per_minute": report.frames_per_minute,
        "version": program_version(),
    }


def report_rows(report: BatchReport) -> dict[str, str]:
    """The report for a reader."""
    statuses = ", ".join(f"{count} {name}" for name, count in report.statuses.items())
    mean, layout = report.mean, report.layout
    rate = f", {number(report.frames_per_minute, 3)} per minute" if report.frames_per_minute else ""
    kept = f"{report.kept} were done before, " if report.kept else ""
    redone = f", {report.redone} of them again because their data were damaged" if report.redone else ""
    return {
        "patterns": f"{report.frames}: {statuses}",
        "this run": f"{kept}{report.worked} done in {_duration(report.seconds)}{rate}{redone}" if report.worked else "",
        "R-factor": f"{number(mean.get('r_factor'))} in the mean",
        "free score": f"{number(mean.get('free_score'))} in the mean",
        "no image": "; ".join(report.problems) + (" ..." if report.bad > len(report.problems) else ""),
        "notes": f"on {report.noted} patterns, see scores/scores.csv in the result" if report.noted else "",
        "device": f"{report.device}, {layout['threads']} threads" if layout else report.device,
        "memory": f"{_size(report.memory_bytes)} at most" if report.memory_bytes else "",
    }


def plan_values(found: Estimate) -> dict[str, Any]:
    """The plan as `--json` prints it."""
    return {**asdict(found), "target": str(found.target), "version": program_version()}


def plan_rows(found: Estimate) -> dict[str, str]:
    """The plan for a reader."""
    left = found.frames - found.done
    images = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in found.images.items())
    one = f" ({number(found.seconds_a_frame, 3)} s a pattern, from a short run of one)" if found.seconds else ""
    ahead = "the next one is read in advance" if found.ahead else "none is read in advance"
    return {
        "patterns": f"{found.frames}, {found.done} of them done" if found.done else str(found.frames),
        "units": f"{found.units} of {found.unit_frames} patterns at most, {ahead}",
        "images": images,
        "memory": f"{_size(found.memory_bytes)} of {_size(found.memory_limit)} allowed",
        "disk": f"{_size(found.disk_bytes)} at most, {_size(found.disk_free)} free",
        "device": found.device,
        "time": (f"about {_duration(found.seconds)}{one}" if found.seconds else "unknown: no pattern was timed")
        if left
        else "nothing is left to do",
    }


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _duration(seconds: float) -> str:
    for unit, factor in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds:.3g} s"

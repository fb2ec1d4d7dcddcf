"""A batch in plain words: its plan, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_i2ipr.plugin.estimate import size
from napari_i2ipr.plugin.state import duration

if TYPE_CHECKING:
    from napari_i2ipr.batch import BatchReport, Estimate
    from napari_i2ipr.plugin.batch_queue import ItemStatus

AXES, MEMORY, OVERWRITE, STRICT = "Axes", "Memory", "Overwrite earlier results", "Stop at the first problem"
CENTRE, VALUES, INVERT, ALLOW = (
    "Centre y, x (px)",
    "The files hold",
    "Mask: non-zero is good",
    "Accept over 90 % masked",
)
"""Labels of fields, which sentences name."""

EXISTS = "there is a result of this name: Run looks at it, and does what is missing"
"""Said of a source whose result exists."""

_OPTIONS = {
    "check the sign of the mask (--invert-mask), or allow it explicitly": (
        f"tick {INVERT!r} if its sign is wrong, or {ALLOW!r}"
    ),
    "check the sign of the mask (--invert-mask)": f"choose another mask, or tick {INVERT!r}",
    "--intensity keeps them": f"set {VALUES!r} to keep them",
    "--center Y,X tells it": f"give it in {CENTRE!r}",
    "leave out --strict to go on": f"untick {STRICT!r} to go on",
    "allow more (--memory)": f"allow more in {MEMORY!r}",
    "correct --memory": f"correct {MEMORY!r}",
    'give e.g. "--axes t,y,x"': f"write e.g. t,y,x in {AXES!r}",
    "give it up (--overwrite)": f"tick {OVERWRITE!r}",
    "allow overwriting (--overwrite)": f"tick {OVERWRITE!r}",
    "run the same command again": "press Run again",
    "choose another target": "give the result another name",
}
"""What the library says of the command line, and the same in this window."""


def here(said: str) -> str:
    """A sentence of the library, with fields of the form in place of options of the command line."""
    for option, words in _OPTIONS.items():
        said = said.replace(option, words)
    return said


def done_before(done: int, total: int) -> str:
    """What an earlier run has done."""
    if done == total:
        return "all patterns were done before: Run finishes the result, if it is not complete"
    return f"{done} of {total} patterns were done before: Run goes on from there" if done else ""


def report_words(report: BatchReport) -> str:
    """How an item ended, in one sentence."""
    more = " ..." if report.bad > 1 else ""
    problems = f"{report.bad} without an image ({report.problems[0]}{more})" if report.bad else ""
    if not report.complete:
        kept = report.good + report.bad  # without those of the unit that was given up
        said = f"stopped: {kept} of {report.frames} patterns are kept, Run goes on from there"
        return f"{said}; {problems}" if problems else said
    if not report.good:
        return f"none of the patterns could be reconstructed: {report.problems[0]}"
    score = report.mean.get("r_factor")
    mean = ("R-factor {:.3f}" if report.frames == 1 else "R-factor {:.3f} on the average").format(score or 0.0)
    parts = [mean if score is not None else "", problems]
    if not report.worked:
        parts.insert(0, "it was complete already, with the same patterns and settings")
    elif report.kept:
        parts.insert(0, f"{report.kept} patterns were done before")
    if report.redone:
        parts.append(f"{report.redone} patterns were done again because their data were damaged")
    return "; ".join(filter(None, parts))


def plan_words(found: Sequence[Estimate | str | None]) -> list[str]:
    """What a queue will take, a line each.

    Parameters
    ----------
    found : sequence
        Estimate of every item, or the sentence why there is none, or None where the plan was stopped before.
    """
    plans = [one for one in found if one is not None and not isinstance(one, str)]
    wrong = sum(isinstance(one, str) for one in found)
    lines = []
    if wrong:
        lines.append(f"{_many(wrong, 'source')} cannot be run: the table says why.")
    if not plans:
        return lines
    frames, done = sum(plan.frames for plan in plans), sum(plan.done for plan in plans)
    begun = f", {done} of them done already" if done else ""
    lines.insert(0, f"{_many(frames, 'pattern')} from {_many(len(plans), 'source')}{begun}.")
    lines.append(_time(plans, frames - done))
    memory, limit = max(plan.memory_bytes for plan in plans), min(plan.memory_limit for plan in plans)
    lines.append(f"Memory: {size(memory)} at most, {size(limit)} allowed.")
    disk, free = sum(plan.disk_bytes for plan in plans), min(plan.disk_free for plan in plans)
    lines.append(f"Disk: {size(disk)} at most, {size(free)} free.")
    units, most = sum(plan.units for plan in plans), max(plan.unit_frames for plan in plans)
    lines.append(f"Saved in {_many(units, 'unit')} of {_many(most, 'pattern')} at most; a stop costs the one at work.")
    return lines


def _time(plans: Sequence[Estimate], left: int) -> str:
    if not left:
        return "Nothing is left to do."
    timed = [plan for plan in plans if plan.frames > plan.done]
    if any(plan.seconds is None for plan in timed):
        return "Time: not known, for no pattern could be tried."
    seconds = sum(plan.seconds or 0.0 for plan in timed)
    return f"Time: about {duration(seconds)}, {duration(seconds / left)} a pattern, on the {plans[0].device}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@dataclass(frozen=True)
class Overall:
    """How far a queue has come: share, 0 ... 1, and words."""

    fraction: float
    words: str


def overall(statuses: Sequence[ItemStatus], planned: Iterable[int | None]) -> Overall:
    """How far a queue has come.

    Parameters
    ----------
    statuses : sequence of ItemStatus
        Of all items.
    planned : iterable of int or None
        Patterns of every item by its plan, 0 for one that cannot be run; None where there is no plan.
    """
    counted = [status.total or total for status, total in zip(statuses, planned, strict=True)]
    known, totals = None not in counted, [total or 0 for total in counted]
    ended = [status.state.value in ("done", "failed") for status in statuses]
    shares = [
        1.0 if end else status.done / total if total else 0.0
        for status, total, end in zip(statuses, totals, ended, strict=True)
    ]
    now = next((status for status in statuses if status.state.value == "running"), None)
    parts = [f"source {sum(ended) + 1} of {len(statuses)}"] if len(statuses) > 1 and now is not None else []
    if known and sum(totals):
        counts = [total if end else status.done for status, total, end in zip(statuses, totals, ended, strict=True)]
        fraction = sum(counts) / sum(totals)
        parts.append(f"{sum(counts)} of {_many(sum(totals), 'pattern')}")
    else:
        fraction = sum(shares) / max(len(shares), 1)
        if now is not None and now.total:
            parts.append(f"{now.patterns} patterns")
    if now is not None and now.per_minute:
        parts.append(f"{now.per_minute:.3g} a minute")
        left = now.seconds_left or 0.0
        if known:
            rest = sum(t - status.done for status, t, end in zip(statuses, totals, ended, strict=True) if not end)
            left = 60 * rest / now.per_minute
        more = "" if known or len(statuses) == 1 else " for this one"
        parts.append(f"about {duration(left)} left{more}" if left else "finishing")
        parts.append(size(now.memory_bytes) if now.memory_bytes else "")
    return Overall(fraction, " · ".join(filter(None, parts)))

"""What a widget knows of its run: a state, its progress and one sentence, all evented."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from psygnal import SignalGroupDescriptor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RunState(Enum):
    """Where a run stands; the value is a word for the user."""

    IDLE = "ready"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    CRASHED = "failed"


class Point(NamedTuple):
    """One misfit on its way: where in the pattern it was met, and in which stage."""

    fraction: float
    misfit: float
    stage: str


class Trace:
    """The misfits met in one pattern, thinned out where there are many; filled in one thread and read in another."""

    most = 600

    def __init__(self) -> None:
        self._lock, self._points = threading.Lock(), list[Point]()

    def add(self, point: Point) -> None:
        """Keep a point."""
        with self._lock:
            self._points.append(point)
            if len(self._points) > self.most:  # the last one is the state of affairs
                self._points = [*self._points[:-1:2], self._points[-1]]

    @property
    def points(self) -> list[Point]:
        """All that were kept, in order."""
        with self._lock:
            return list(self._points)


@dataclass(frozen=True)
class Progress:
    """One look at a run.

    Attributes
    ----------
    stage : str
        What is being done.
    fraction : float
        Share of the whole run that is done, 0 ... 1.
    score : float or None
        Lowest misfit met in this stage so far.
    seconds_left : float or None
        Estimated time to the end, once it can be told.
    stage_fraction : float
        Share of the stage that is done, 0 ... 1.
    frame, frames : int
        Pattern that is worked on, from 0, and how many there are.
    member, members : int
        Candidate set that is worked on, from 0, and how many there are.
    image : ndarray of uint8 or None
        The best estimate of the moment, small and ready to be shown.
    trace : Trace
        The misfits of the pattern so far.
    """

    stage: str = ""
    fraction: float = 0.0
    score: float | None = None
    seconds_left: float | None = None
    stage_fraction: float = 0.0
    frame: int = 0
    frames: int = 1
    member: int = 0
    members: int = 1
    image: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    trace: Trace = field(default_factory=Trace, compare=False, repr=False)


@dataclass
class RunStatus:
    """State of the current or last run; a change of a field emits the event of its name.

    Widgets connect to ``status.events.state`` and the like. All fields are written in the main thread.

    Attributes
    ----------
    state : RunState
        Where the run stands.
    progress : Progress
        How far it has come.
    message : str
        One sentence for the user: how it ended, or what to do about it.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    state: RunState = RunState.IDLE
    progress: Progress = field(default_factory=Progress)
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.state is RunState.RUNNING


def duration(seconds: float) -> str:
    """A time as one reads it: 0.4 s, 12 s, 3 min, 2 h."""
    if seconds < 1:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"

"""What a widget knows of its run: a state, its progress and one sentence, all evented."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from psygnal import SignalGroupDescriptor


class RunState(Enum):
    """Where a run stands; the value is a word for the user."""

    IDLE = "ready"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    CRASHED = "failed"


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
    """

    stage: str = ""
    fraction: float = 0.0
    score: float | None = None
    seconds_left: float | None = None


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
    progress: Progress = Progress()
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.state is RunState.RUNNING

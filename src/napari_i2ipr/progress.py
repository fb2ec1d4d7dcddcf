"""Progress events and cancellation: the same two objects for library, command line and plugin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One step of progress.

    Attributes
    ----------
    stage : str
        What is being done, e.g. ``"short run"``.
    done, total : int
        Work units finished and in all within the stage.
    score : float or None
        Current score of the work (R-factor-like, lower is better), when known.
    message : str
        A sentence for the user, empty most of the time.
    frame, frames : int
        Pattern that is worked on, from 0, and how many there are.
    image : callable or None
        Gives the estimate at hand as an array ``(h, w)``; to be called before the event's receiver returns.
    """

    stage: str
    done: int
    total: int
    score: float | None = None
    message: str = ""
    frame: int = 0
    frames: int = 1
    image: Callable[[], Any] | None = field(default=None, compare=False, repr=False)


OnEvent = Callable[[Event], None]


class Cancel:
    """A stop flag shared between the asking thread and the working one."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the work to stop at the next chance (at most 0.2 s away)."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

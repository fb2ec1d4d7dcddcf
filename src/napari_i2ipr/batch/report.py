"""What is said of a batch: a row for each pattern, events on the way, a report at the end."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_i2ipr.data import Status
from napari_i2ipr.progress import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GOOD = ("DONE", "CONVERGED", "OUT_OF_DOMAIN")
"""Statuses of patterns that have an image."""

OUTCOMES: dict[str, str] = {
    "PENDING": "not reconstructed yet",
    **{status.name: status.value for status in Status if status is not Status.CANCELLED},
    "EMPTY": "nothing was ever written, or nothing was counted",
    "REFUSED": "it cannot be reconstructed from",
    "UNREADABLE": "it cannot be read",
}
"""Every status of a pattern and what it means; its place is its code in the table. PENDING is the code 0."""


@dataclass(frozen=True)
class Row:
    """The outcome of one pattern.

    Attributes
    ----------
    index : int
        Number of the pattern in the flattened leading axes.
    status : str
        One of `OUTCOMES`.
    seconds : float
        Time of preparation and reconstruction.
    scores : dict
        Numbers of `Reconstruction.scores`; empty for patterns without an image.
    uncertainty_kind : str
        As of `Reconstruction`.
    notes : tuple of str
        What was mended or guessed, or why there is no image.
    """

    index: int
    status: str
    seconds: float = 0.0
    scores: dict[str, Any] = field(default_factory=dict)
    uncertainty_kind: str = ""
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether it has an image."""
        return self.status in GOOD

    def to_dict(self) -> dict[str, Any]:
        """The row in JSON's types; numbers that are not finite are None."""
        return {**asdict(self), "scores": {key: _finite(value) for key, value in self.scores.items()}}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Row:
        """The row of such a dictionary."""
        return cls(**{**found, "notes": tuple(found["notes"])})


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class BatchEvent(Event):
    """Progress of a batch: `done` of `total` patterns, and the row of the last one.

    Attributes
    ----------
    row : Row or None
        The pattern that was just finished; its files are written a little later.
    frames_per_minute : float or None
        Rate of this run.
    seconds_left : float or None
        Estimate from this rate.
    memory_bytes : int
        Memory of this process.
    """

    row: Row | None = None
    frames_per_minute: float | None = None
    seconds_left: float | None = None
    memory_bytes: int = 0


@dataclass(frozen=True)
class BatchReport:
    """How a batch ended.

    Attributes
    ----------
    target : Path
        Where the result lies: the target, or what is there of it while it is not complete.
    complete : bool
        Whether every pattern has been dealt with and the target has its final name.
    frames : int
        Patterns of the source.
    worked : int
        Patterns of this run.
    kept : int
        Patterns that were done before.
    redone : int
        Patterns that were done before and found damaged.
    statuses : dict
        Number of patterns of each status.
    mean : dict
        Means of the scores over the patterns that have them.
    problems : tuple of str
        The first few reasons why patterns have no image.
    noted : int
        Patterns of which something was mended or guessed.
    seconds : float
        Duration of this run.
    memory_bytes : int
        Largest memory of this process that was seen.
    device : str
        Where it was computed.
    layout : dict
        Starts iterated together and threads, as they were at the end (smaller after the memory had not sufficed).
    """

    target: Path
    complete: bool
    frames: int
    worked: int = 0
    kept: int = 0
    redone: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    mean: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    noted: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0
    device: str = ""
    layout: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> int:
        """Patterns that have an image."""
        return sum(self.statuses.get(name, 0) for name in GOOD)

    @property
    def bad(self) -> int:
        """Patterns that were dealt with and have none."""
        return sum(count for name, count in self.statuses.items() if name not in (*GOOD, "PENDING"))

    @property
    def frames_per_minute(self) -> float | None:
        """Rate of this run; None when it did nothing."""
        return 60 * self.worked / self.seconds if self.worked and self.seconds else None

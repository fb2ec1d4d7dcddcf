"""What a batch works on: sources, the names of their results, and how far each has come."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_i2ipr.errors import InputError
from napari_i2ipr.io import READERS
from napari_i2ipr.plugin.layers import measurement_of
from napari_i2ipr.plugin.parameters import file_of
from napari_i2ipr.plugin.state import duration

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement

ENDING = ".zarr"
PARTIAL = ".partial"
"""What the engine adds to the name of a result that is not complete."""

SUFFIXES = tuple(suffix for row in READERS for suffix in row.suffixes if suffix != ENDING)
"""Endings of files that are read."""


class ItemState(Enum):
    """Where an item stands; the value is a word for the user."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class ItemStatus:
    """How far an item has come.

    Attributes
    ----------
    state : ItemState
        Where it stands.
    done, total : int
        Patterns dealt with, and all of them; `total` is 0 while that is not known.
    bad : int
        Patterns without an image.
    seconds : float
        Time of the last run.
    began : float or None
        When the run began that is at work on it, by `time.monotonic`.
    per_minute, seconds_left : float or None
        Patterns a minute, and the time to its end, while it runs.
    memory_bytes : int
        Memory of the program at the last pattern.
    message : str
        One sentence for the user.
    """

    state: ItemState = ItemState.WAITING
    done: int = 0
    total: int = 0
    bad: int = 0
    seconds: float = 0.0
    began: float | None = None
    per_minute: float | None = None
    seconds_left: float | None = None
    memory_bytes: int = 0
    message: str = ""

    @property
    def words(self) -> str:
        """The state in words."""
        return f"{self.state.value}, {self.bad} missing" if self.bad else self.state.value

    @property
    def patterns(self) -> str:
        """Patterns that are done of how many."""
        return f"{self.done} of {self.total}" if self.total else ""

    @property
    def time(self) -> str:
        """How long it took, or has taken by now."""
        seconds = self.seconds if self.began is None else time.monotonic() - self.began
        return duration(seconds) if seconds else ""


class Board:
    """The status of every item of a run: written by its threads, read by the window.

    Parameters
    ----------
    statuses : sequence of ItemStatus
        Where they begin.
    """

    def __init__(self, statuses: Sequence[ItemStatus]) -> None:
        self._lock, self._statuses, self._changed = threading.Lock(), list(statuses), set[int]()

    def put(self, number: int, **changes: Any) -> None:
        """Change some fields of an item's status."""
        with self._lock:
            self._statuses[number] = replace(self._statuses[number], **changes)
            self._changed.add(number)

    def count_bad(self, number: int) -> None:
        """One pattern more without an image."""
        self.put(number, bad=self[number].bad + 1)

    def __getitem__(self, number: int) -> ItemStatus:
        with self._lock:
            return self._statuses[number]

    def take(self) -> dict[int, ItemStatus]:
        """What has changed since it was asked for last."""
        with self._lock:
            found = {number: self._statuses[number] for number in sorted(self._changed)}
            self._changed.clear()
            return found


class LayerSource:
    """An image layer as a source: its data are taken when the run begins, and it is not kept alive.

    Parameters
    ----------
    layer : napari.layers.Image
        Pattern or stack.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = weakref.ref(layer)
        self.name = str(layer.name)

    def is_of(self, layer: Any) -> bool:
        """Whether it is this layer."""
        return self._layer() is layer

    def measurement(self) -> Measurement:
        """What the layer shows; nothing is read.

        Raises
        ------
        InputError
            When it is gone, or can be no pattern.
        """
        layer = self._layer()
        if layer is None:
            raise InputError(f"the layer {self.name!r}, which is no longer open", do="remove it from the list")
        return measurement_of(layer)


Source = str | LayerSource
"""A path, ``file.h5::/path`` for a dataset in it, or a layer."""


def source_of(layer: Any) -> Source:
    """The file that a layer shows, where this package reads files of that kind; the layer itself where not."""
    path = file_of(layer)
    if path is not None and path.partition("::")[0].lower().endswith((*SUFFIXES, ENDING)):
        return path
    return LayerSource(layer)


def name_of(source: Source) -> str:
    """What a source is called in the list."""
    if isinstance(source, LayerSource):
        return source.name
    file, mark, dataset = source.partition("::")
    return Path(file).name + mark + dataset


def stem_of(source: Source) -> str:
    """A name for files, made from that of a source."""
    name = source.name if isinstance(source, LayerSource) else Path(source.partition("::")[0]).name
    for endings in ((*SUFFIXES, ENDING), (".ome",)):
        if name.lower().endswith(endings):
            name = name.rpartition(".")[0]
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("_.") or "patterns"


@dataclass(eq=False)
class Item:
    """One source of the queue.

    Attributes
    ----------
    source : str or LayerSource
        What is reconstructed.
    chosen : str
        Name or path of its result, where the user gave one.
    status : ItemStatus
        How far it has come.
    looked_for : Path or None
        The result of which it was looked up whether there is one already.
    """

    source: Source
    chosen: str = ""
    status: ItemStatus = field(default_factory=ItemStatus)
    looked_for: Path | None = None

    @property
    def name(self) -> str:
        """For the list."""
        return name_of(self.source)


class Queue:
    """The items, and where their results go."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.folder = ""

    def add(self, sources: Iterable[Source]) -> list[Item]:
        """Add sources that are not there yet; what was added."""
        known = {item.source for item in self.items if isinstance(item.source, str)}
        added = []
        for source in sources:
            if isinstance(source, str):
                if source in known:
                    continue
                known.add(source)
            added.append(Item(source))
        self.items += added
        return added

    def rename(self, number: int, name: str) -> None:
        """Give an item's result a name, or a path; an empty one brings the usual name back.

        Raises
        ------
        InputError
            When it can be no name.
        """
        name = name.strip()
        if name and (Path(name).name in ("", "..") or "\0" in name):
            raise InputError(f"the name {name!r} for a result", expected="a name that ends in .zarr")
        self.items[number].chosen = name

    def targets(self) -> list[Path | None]:
        """The result of every item, each with a name of its own; None where a layer has no folder to go to."""
        taken: set[str] = set()
        found: list[Path | None] = []
        folder = os.path.abspath(os.path.expanduser(self.folder)) if self.folder else ""  # noqa: PTH100, PTH111
        for item in self.items:
            place = _place(item, folder)
            if place in taken:
                stem, ending = os.path.splitext(place)  # noqa: PTH122
                place = next(name + ending for name in numbered(stem) if name + ending not in taken)
            taken.add(place)
            found.append(Path(place) if place else None)
            taken.discard("")
        return found


def _place(item: Item, folder: str) -> str:
    """Path of an item's result; empty where it has no folder. By os.path: pathlib takes long for thousands."""
    source = item.source
    if not folder and isinstance(source, str):
        folder = os.path.dirname(os.path.abspath(source.partition("::")[0]))  # noqa: PTH100, PTH120
    name = os.path.expanduser(item.chosen) or f"{stem_of(source)}_reconstruction{ENDING}"  # noqa: PTH111
    if not name.lower().endswith(ENDING):
        name += ENDING
    return os.path.join(folder, name) if folder or os.path.isabs(name) else ""  # noqa: PTH117, PTH118


def numbered(name: str) -> Iterator[str]:
    """The name itself, then the name with a number: NAME, NAME-2, NAME-3 ..."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))

"""The marks of what is done: one line of JSON for each unit, appended after its shards are written.

A line holds the unit, the identity it was made under, the hash of every shard and the rows of its frames. The last
line of a unit counts. A line that was cut off by a crash is no line.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.batch.report import Row
from napari_i2ipr.io.result_store import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Mark:
    """That a unit is done.

    Attributes
    ----------
    unit : int
        Its number.
    identity : str
        Of the source, settings and weights that it was made with.
    hashes : dict
        SHA-256 of the unit's shard by image; None for a shard without any value, which has no file.
    rows : tuple of Row
        The rows of its frames.
    interval_scales : dict or None
        As of `Reconstruction`, empty where its frames differ, None where there are no images.
    made : dict
        Device, layout and version.
    """

    unit: int
    identity: str
    hashes: dict[str, str | None]
    rows: tuple[Row, ...]
    interval_scales: dict[str, float] | None
    made: dict[str, Any]

    def to_line(self) -> str:
        """The mark as a line."""
        values = {**self.__dict__, "rows": [row.to_dict() for row in self.rows]}
        return json.dumps(values, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Mark:
        """The mark of such a line.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        values = json.loads(line)
        return cls(**{**values, "rows": tuple(Row.from_dict(row) for row in values["rows"])})


class Journal:
    """The file of marks of a store.

    Parameters
    ----------
    store : Path
        The store, complete or not.
    """

    def __init__(self, store: Path) -> None:
        self.path = store / SCORES / "units.jsonl"

    def marks(self, identity: str) -> Iterator[Mark]:
        """The last mark of every unit made under this identity, in the order of the file."""
        last = self._last(identity)
        wanted = set(last.values())
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            for number, line in enumerate(file):
                if number in wanted:
                    yield Mark.from_line(line.decode())

    def _last(self, identity: str) -> dict[int, int]:
        """Line number of the last mark of every unit."""
        found: dict[int, int] = {}
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            for number, line in enumerate(file):
                with suppress(KeyError, TypeError, ValueError):
                    mark = Mark.from_line(line.decode())
                    if line.endswith(b"\n") and mark.identity == identity:
                        found[mark.unit] = number
        return found

    def append(self, mark: Mark) -> None:
        """Add a mark; a line that a crash left unfinished is cut off first.

        It survives the end of the process at once, a power failure once the system has written it: what is lost or
        outlives its shards then is found by the hashes.

        Raises
        ------
        OSError
            If the file system refuses; the file then ends with the last whole line.
        """
        line = mark.to_line().encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            end = self._whole(file.tell())
            file.truncate(end)
            try:
                file.write(line)
                file.flush()
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise

    def _whole(self, size: int) -> int:
        """Length of the whole lines."""
        if size == 0:
            return 0
        with self.path.open("rb") as file:
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return size
            file.seek(0)
            return file.read().rfind(b"\n") + 1

"""What is written once every unit is done: the pyramid, the table of scores, the words. Each can be done again."""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.report import GOOD, OUTCOMES
from napari_i2ipr.batch.target import hash_shard, level_shapes, opened, write_shard, writing
from napari_i2ipr.batch.units import stop_if_asked
from napari_i2ipr.data import Reconstruction, Status
from napari_i2ipr.io import result_store
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_i2ipr.batch.journal import Mark
    from napari_i2ipr.batch.plan import Plan
    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.progress import Cancel

CODES = {name: code for code, name in enumerate(OUTCOMES)}
"""The code of every status in the table."""

_SUMMED = ("image_iterations", "solver_seconds", "refine_seconds")


@dataclass
class Table:
    """The rows of all frames, by column.

    Attributes
    ----------
    status : ndarray
        Codes of `OUTCOMES`, ``(frames,)``.
    seconds : ndarray
        Time of each frame.
    scores : dict
        Scores by name, ``(frames,)``, NaN where there is none.
    notes : dict
        Notes by frame, of the frames that have any.
    kinds : dict
        Kinds of uncertainty by frame.
    scales : list
        The different scales of intervals.
    """

    status: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    scales: list[dict[str, float]] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, marks: Iterable[Mark], frames: int) -> Table:
        """The table of marked units."""
        table = cls(np.zeros(frames, np.uint8), np.full(frames, np.nan))
        for mark in marks:
            table.add(mark)
        return table

    def add(self, mark: Mark) -> None:
        """Enter the rows of a unit."""
        for row in mark.rows:
            self.status[row.index], self.seconds[row.index] = CODES[row.status], row.seconds
            for name, value in row.scores.items():
                column = self.scores.setdefault(name, np.full(len(self.status), np.nan))
                column[row.index] = np.nan if value is None else value
            if row.notes:
                self.notes[row.index] = row.notes
            if row.good:
                self.kinds[row.index] = row.uncertainty_kind
        if mark.interval_scales is not None and mark.interval_scales not in self.scales:
            self.scales.append(mark.interval_scales)
        made = {key: value for key, value in mark.made.items() if key != "layout"}
        if made not in self.made:
            self.made.append(made)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which frames have an image."""
        return np.isin(self.status, [CODES[name] for name in GOOD])

    def statuses(self) -> dict[str, int]:
        """Number of frames of each status that occurs."""
        counts = np.bincount(self.status, minlength=len(OUTCOMES))
        return {name: int(count) for name, count in zip(OUTCOMES, counts, strict=True) if count}

    def means(self) -> dict[str, float]:
        """Means of the scores over the frames that have them; iterations and seconds are sums."""
        found = {}
        for name, column in self.scores.items():
            have = column[np.isfinite(column)]
            if have.size:
                found[name] = float(have.sum() if name in _SUMMED else have.mean())
        return found

    def problems(self, most: int = 5) -> tuple[str, ...]:
        """The first reasons why frames have no image."""
        bad = np.flatnonzero(~self.good & (self.status > 0))[:most]
        names = list(OUTCOMES)
        return tuple(f"pattern {i}: {names[self.status[i]]}, {self.notes[int(i)][-1]}" for i in bad)


def write_pyramid(store: Path, plan: Plan, cancel: Cancel | None = None) -> None:
    """Fill the levels below full resolution by means over 2 x 2 pixels, unit by unit.

    An odd last row or column has no part in it. The phase is that of the mean complex number, the uncertainty the mean
    of the standard deviations: for looking at, not for calculating with.

    Raises
    ------
    CancelledError
        When stopped.
    """
    levels = len(level_shapes(plan.box))
    with writing(store):
        for image in plan.images if levels > 1 else ():
            if not image.shown:
                continue
            full = opened(store, f"{'reconstruction' if image.name == 'phase' else image.name}/0")
            for unit in range(plan.n_units):
                stop_if_asked(cancel)
                values = np.asarray(full[(*plan.region(unit), ...)])
                for level in range(1, levels):
                    values = halved(values)
                    shown = np.angle(values) if image.name == "phase" else values
                    write_shard(store, f"{image.name}/{level}", plan, unit, shown.astype(np.float32))


def halved(images: NDArray[Any]) -> NDArray[Any]:
    """Means over 2 x 2 pixels of images ``(..., h, w)``."""
    h, w = images.shape[-2] // 2, images.shape[-1] // 2
    pairs = images[..., : 2 * h, : 2 * w].reshape(*images.shape[:-2], h, 2, w, 2)
    return np.asarray(pairs.mean((-3, -1), dtype=images.dtype))


def write_table(store: Path, plan: Plan, table: Table, seed: int) -> None:
    """Write the table as zarr arrays, a column each, and as ``scores.csv``."""
    import zarr

    columns: dict[str, NDArray[Any]]
    columns = {"status": table.status, "seconds": table.seconds, "seed": np.full(len(table.status), seed, np.uint64)}
    columns |= dict(sorted(table.scores.items()))
    with writing(store):
        group = zarr.open_group(str(store / result_store.SCORES), mode="r+")
        group.attrs.update({"names": sorted(table.scores), "statuses": OUTCOMES})
        for name, column in columns.items():
            group.create_array(name, data=column, overwrite=True)
        file = store / result_store.SCORES / "scores.csv"
        with file.open("w", newline="", encoding="utf-8") as text:
            writer = csv.writer(text)
            writer.writerow(["pattern", *plan.lead_axes, *columns, "uncertainty_kind", "notes"])
            names = list(OUTCOMES)
            for i in range(len(table.status)):
                place = (int(p) for p in np.unravel_index(i, plan.lead))
                cells = [names[table.status[i]], *(_cell(column[i]) for column in list(columns.values())[1:])]
                writer.writerow([i, *place, *cells, table.kinds.get(i, ""), "; ".join(table.notes.get(i, ()))])


def _cell(value: Any) -> str:
    if isinstance(value, np.integer):
        return str(int(value))
    return "" if math.isnan(value) else f"{float(value):.9g}"


def seal(store: Path, plan: Plan) -> str:
    """Hash of the pyramid and the table: what no unit vouches for."""
    digest = hashlib.sha256()
    for image in plan.images:
        for level in range(1, len(level_shapes(plan.box)) if image.shown else 0):
            for unit in range(plan.n_units):
                digest.update(repr(hash_shard(store, f"{image.name}/{level}", plan, unit)).encode())
    table = store / result_store.SCORES / "scores.csv"
    digest.update(table.read_bytes() if table.is_file() else b"")
    return digest.hexdigest()


def write_words(
    store: Path, plan: Plan, table: Table, source: Source, *, batch: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Make a reconstruction of the store: the attributes that say all but the arrays."""
    import zarr

    shape = (*source.lead_shape, *plan.box[2:])
    kept = len(source.lead_shape) == len(source.lead)
    lead_axes = source.lead_axes if kept else tuple(f"axis_{i}" for i in range(len(source.lead_shape)))
    nothing = np.broadcast_to(np.float32(0), shape)
    kinds = sorted(set(table.kinds.values()))
    statuses = [Status[name] for name in table.statuses() if name in GOOD]
    result = Reconstruction(
        nothing,
        nothing,
        plan.box,
        plan.frame_shape,
        status=max(statuses, key=[Status[name] for name in GOOD].index, default=Status.DIVERGED),
        uncertainty_kind=kinds[0] if len(kinds) == 1 else "mixed" if kinds else "spread of candidates",
        interval_scales=table.scales[0] if len(table.scales) == 1 else {},
        scores=table.means(),
        geometry=source.geometry,
        axes=(*lead_axes, "y", "x"),
        provenance=provenance,
    )
    with writing(store):
        root = zarr.open_group(str(store), mode="r+")
        root.attrs[result_store.KEY] = {**result_store.words_of(result), "batch": batch}


def versions() -> dict[str, str]:
    """Versions of what made the result."""
    import torch
    import zarr

    return {
        "napari-i2ipr": program_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "zarr": zarr.__version__,
    }

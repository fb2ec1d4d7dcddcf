"""What a batch will take: memory, disk, time. From these the size of a unit is chosen."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.target import level_shapes
from napari_i2ipr.batch.units import stop_if_asked
from napari_i2ipr.errors import ConfigError, InputError, OutOfMemoryError
from napari_i2ipr.physics import memory as physics_memory
from napari_i2ipr.pipeline import reconstruct_frame
from napari_i2ipr.solvers.recipe import total_iterations

if TYPE_CHECKING:
    from pathlib import Path

    from napari_i2ipr.batch.plan import Plan
    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.batch.units import Frame, Layout
    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Cancel

LIBRARIES_BYTES = 96 * 2**20
"""What is still loaded once the work begins: codecs, dask's scheduler, torch's threads."""

PREPARED_BYTES = 5
"""Of a prepared pixel: float32 and its mask."""

PREPARING_BYTES = 40
"""Of a pixel while it is prepared: float64 copies and their masks."""

MARGIN = 1.4
"""Allocators keep more than is asked of them; measured with 1024 x 1024 px patterns."""


@dataclass(frozen=True)
class Estimate:
    """What a batch will take, before it is begun.

    Attributes
    ----------
    frames, units, unit_frames : int
        Patterns, units, and patterns of a whole unit.
    done : int
        Patterns that an earlier run has finished.
    memory_bytes : int
        Of this process at its peak, what it holds already included; with local workers, of all of them.
    memory_limit : int
        What it is held to.
    disk_bytes, disk_free : int
        Needed for what is left to do, before compression; free where the target lies.
    seconds : float or None
        Of what is left to do; None when no pattern could be timed.
    seconds_a_frame : float or None
        What that is based on.
    ahead : int
        Units that are read in advance.
    images : dict
        Shape of every image of the target.
    device : str
        Where it is computed.
    """

    frames: int
    units: int
    unit_frames: int
    done: int
    memory_bytes: int
    memory_limit: int
    disk_bytes: int
    disk_free: int
    seconds: float | None
    seconds_a_frame: float | None
    ahead: int
    device: str
    target: Path
    images: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Bytes of everything that lies in memory at some time.

    Attributes
    ----------
    base : int
        What the process holds before.
    stored : int
        A frame as it is read.
    prepared : int
        A frame once it is prepared.
    image : int
        A frame in all images.
    work : int
        The reconstruction of one frame.
    chunk : int
        Frames of a stored piece, which is read whole.
    """

    base: int
    stored: int
    prepared: int
    image: int
    work: int
    chunk: int

    @classmethod
    def of(cls, source: Source, plan: Plan, config: Config, layout: Layout) -> Sizes:
        """Sizes for a source and settings on a device."""
        px, ready = math.prod(source.frame_shape), math.prod(plan.frame_shape)
        per_frame = sum(a is not None and len(a.shape) > 2 for a in (source.bad_pixels, source.support))
        on_host = layout.device.type == "cpu"
        workers = layout.threads * layout.batch
        members = config.initialisation.n_starts
        work = physics_memory.needed_bytes(plan.frame_shape, members, workers, refined=config.refine.enabled)
        return cls(
            base=resident_bytes() + LIBRARIES_BYTES,
            stored=px * (np.dtype(source.intensity.dtype).itemsize + 2 * per_frame),
            prepared=ready * (PREPARED_BYTES + per_frame),
            image=plan.frame_bytes,
            work=(work if on_host else 0) + 2 * px * PREPARING_BYTES,  # of a frame that is read, and one at work
            chunk=math.prod(source.chunk),
        )

    def needed(self, frames: int, ahead: int) -> int:
        """Bytes with units of so many frames, of which `ahead` are read in advance."""
        reading = max(frames, self.chunk) * self.stored + frames * (self.stored + self.prepared)
        waiting = (1 + ahead) * frames * self.prepared
        writing = 4 * frames * self.image  # computed, being written, encoded, read back
        return self.base + int(MARGIN * (reading + waiting + writing + self.work))


def unit_size(sizes: Sizes, most: int, limit: int, *, fixed: bool = False) -> tuple[int, int]:
    """Frames of a unit, and units read ahead, that keep within a limit.

    Parameters
    ----------
    sizes : Sizes
        What there is.
    most : int
        Frames at most.
    limit : int
        Bytes of the whole process.
    fixed : bool
        Whether the size of a unit is given.

    Raises
    ------
    OutOfMemoryError
        When not even one frame fits.
    """
    smallest = most if fixed else 1
    for ahead in (1, 0):
        fitting = [k for k in range(most, smallest - 1, -1) if sizes.needed(k, ahead) <= limit]
        if fitting:
            return fitting[0], ahead
    least = sizes.needed(smallest, 0)
    raise OutOfMemoryError(
        f"a memory limit of {limit / 1e6:.0f} MB",
        expected=f"at least {least / 1e6:.0f} MB, {sizes.base / 1e6:.0f} MB of them for the program itself",
        do="allow more (--memory), use fewer threads, or bin the patterns",
    )


def parse_memory(given: int | str | None) -> int | None:
    """Bytes of ``"4GB"``, ``"500 MiB"`` or a number.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if given is None:
        return None
    from dask.utils import parse_bytes

    try:
        value = int(parse_bytes(given))
    except (ValueError, TypeError):
        value = 0
    if value <= 0:
        raise ConfigError(f"the memory {given!r}", expected="a size such as 4GB or 500MB", do="correct --memory")
    return value


def resident_bytes() -> int:
    """Memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def host_limit(given: int | None, fraction: float) -> int:
    """Bytes this process may hold: as given, and never more than its share of what is free."""
    import psutil

    free = resident_bytes() + int(fraction * psutil.virtual_memory().available)
    return free if given is None else min(given, free)


def disk_bytes(plan: Plan, frames: int) -> int:
    """Bytes of so many frames in all images and levels, uncompressed, and of the table."""
    shapes = level_shapes(plan.box)
    levels = sum(h * w for h, w in shapes) / math.prod(shapes[0])
    return int(frames * (plan.frame_bytes * levels + 2048)) + 2**20


def frame_seconds(frames: list[Frame], config: Config, layout: Layout, cancel: Cancel | None = None) -> float | None:
    """Time of one frame, from a short run of one of these; None when none of them can be used.

    The run has as many starts as threads and 40 iterations; the time of an iteration and of a view of the refinement
    are taken from it.

    Raises
    ------
    CancelledError
        When stopped.
    """
    n = min(layout.threads, config.initialisation.n_starts)
    short = {"n_starts": n, "n_keep": n, "short": "HIO:20", "long": "HIO:20", "final": ""}
    trial = layout.applied(config.replace(members=1, initialisation=short, refine={"views": 1}))
    for frame in frames:
        if frame.measurement is None:
            continue
        try:
            reconstruct_frame(frame.measurement, frame.number, trial, layout.device, cancel=cancel)  # what comes once
            stop_if_asked(cancel)
            started = time.perf_counter()
            scores = reconstruct_frame(frame.measurement, frame.number, trial, layout.device, cancel=cancel).scores
            stop_if_asked(cancel)
        except InputError:
            continue
        return _scaled(scores, time.perf_counter() - started, config) + frame.seconds
    return None


def _scaled(scores: dict[str, Any], seconds: float, config: Config) -> float:
    """From the scores of the trial to the time of the whole."""
    init = config.initialisation
    kept = min(init.n_keep, init.n_starts)
    after = total_iterations(init.long_schedule) + total_iterations(init.final_schedule)
    iterations = config.members * (init.n_starts * total_iterations(init.short_schedule) + kept * after)
    solving = scores["solver_seconds"] / max(scores["image_iterations"], 1)
    refining = scores.get("refine_seconds", 0.0)
    rest = max(seconds - scores["solver_seconds"] - refining, 0.0)
    return float(rest + solving * iterations + refining * config.members * config.refine.views)

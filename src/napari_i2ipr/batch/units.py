"""One unit of work: frames in, arrays and rows out. What it gives depends on the frames and the settings only."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.report import Row
from napari_i2ipr.data import Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, InputError, OutOfMemoryError
from napari_i2ipr.io import READ_ERRORS
from napari_i2ipr.physics.device import device_named
from napari_i2ipr.pipeline import reconstruct_frame
from napari_i2ipr.prepare import condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_i2ipr.batch.arrays import Region
    from napari_i2ipr.batch.plan import Box, Plan
    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Cancel, OnEvent

_NUMBERS = (bool, int, float)


@dataclass(frozen=True)
class Job:
    """What all units share; crosses process borders.

    Attributes
    ----------
    plan : Plan
        The pieces.
    config : Config
        All settings.
    store : Path
        Where the units are written.
    identity : str
        Short word for source, settings and weights.
    device : str
        As for `reconstruct`.
    prepare : dict
        Options of `condition`.
    strict : bool
        Whether a pattern without an image stops the batch.
    """

    plan: Plan
    config: Config
    store: Path
    identity: str
    device: str = "auto"
    prepare: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True)
class Frame:
    """One pattern, prepared, or the reason why there is none."""

    number: int
    measurement: Measurement | None
    status: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Computed:
    """Arrays by image name, ``(*block, h, w)``, none where no frame has an image, and the rows of a unit, in order."""

    unit: int
    arrays: dict[str, NDArray[Any]]
    rows: list[Row]
    interval_scales: dict[str, float] | None
    layout: dict[str, int]
    device: str


def stop_if_asked(cancel: Cancel | None) -> None:
    """End here when a stop was asked for.

    Raises
    ------
    CancelledError
        When it was.
    """
    if cancel is not None and cancel.is_set():
        raise CancelledError("a stop", do="run it again")


class Layout:
    """How the work is laid out: as the settings say, halved whenever the memory does not suffice, never more again.

    None of it changes a result.
    """

    def __init__(self, config: Config, device: str) -> None:
        from napari_i2ipr.physics.memory import available_cores

        self.device = device_named(device)
        on_cpu = self.device.type == "cpu"
        self.batch = config.compute.batch or (1 if on_cpu else config.initialisation.n_starts)
        self.threads = config.compute.threads or available_cores()

    def applied(self, config: Config) -> Config:
        """The settings with this layout."""
        compute = config.compute.model_copy(update={"batch": self.batch, "threads": self.threads})
        return config.model_copy(update={"compute": compute})

    def halve(self) -> bool:
        """Take half of it; false when there is nothing left to halve."""
        if self.batch > 1:
            self.batch //= 2
        elif self.threads > 1 and self.device.type == "cpu":
            self.threads //= 2
        else:
            return False
        return True

    def to_dict(self) -> dict[str, int]:
        """The layout as numbers by name."""
        return {"batch": self.batch, "threads": self.threads}

    def run(self, config: Config, work: Callable[[Config], Reconstruction]) -> Reconstruction:
        """Do the work, with less at once each time the memory does not suffice.

        Raises
        ------
        OutOfMemoryError
            When it does not even for one start at a time.
        """
        while True:
            try:
                return work(self.applied(config))
            except OutOfMemoryError as error:
                said = error
            if not self.halve():
                raise said
            _free(self.device.type)


def _free(kind: str) -> None:
    gc.collect()
    if kind == "cuda":
        import torch

        torch.cuda.empty_cache()


def read(window: Source, numbers: list[int], prepare: Mapping[str, Any]) -> list[Frame]:
    """Read and prepare the frames of a unit; what cannot be read or used is named, not raised.

    Parameters
    ----------
    window : Source
        The unit's frames.
    numbers : list of int
        Their numbers in the whole source.
    prepare : mapping
        Options of `condition`.
    """
    everything: Region = tuple(slice(0, n) for n in window.lead)
    try:
        found: list[Measurement | None] = [*window.frames(everything)]
        reasons = [""] * len(found)
    except READ_ERRORS:
        found, reasons = _one_by_one(window)
    frames = []
    for position, number in enumerate(numbers):
        one = found[position]
        found[position] = None  # the raw frame goes as soon as it is prepared
        frames.append(_prepared(number, one, reasons[position], window.fill, prepare))
    return frames


def _one_by_one(window: Source) -> tuple[list[Measurement | None], list[str]]:
    """Every frame by itself, so that a damaged piece costs its own frames only."""
    found: list[Measurement | None] = []
    reasons = []
    for at in np.ndindex(window.lead):
        try:
            found += window.frames(tuple(slice(i, i + 1) for i in at))
            reasons.append("")
        except READ_ERRORS as error:
            found.append(None)
            reasons.append(" ".join(f"it cannot be read: {str(error) or type(error).__name__}".split())[:300])
    return found, reasons


def _prepared(number: int, one: Measurement | None, reason: str, fill: float, prepare: Mapping[str, Any]) -> Frame:
    started = time.perf_counter()
    if one is None:
        return Frame(number, None, "UNREADABLE", (reason,))
    if _is_empty(one.intensity, fill):
        return Frame(number, None, "EMPTY", ("nothing was written or counted: all pixels are the same",))
    try:
        ready, notes = condition(one, **prepare)
    except InputError as error:
        return Frame(number, None, "REFUSED", (str(error),))
    return Frame(number, ready, "", notes, time.perf_counter() - started)


def _is_empty(frame: NDArray[Any], fill: float) -> bool:
    """Whether a frame holds zeros, NaN or the fill value only."""
    first = frame.flat[0]
    if first != first:  # noqa: PLR0124 - NaN, of whichever type
        return bool(np.isnan(frame).all())
    return bool(first in (0, fill) and (frame == first).all())


def compute(
    job: Job,
    unit: int,
    frames: list[Frame],
    layout: Layout,
    *,
    on_row: Callable[[Row], None] | None = None,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Computed:
    """Reconstruct the frames of a unit.

    Parameters
    ----------
    job : Job
        What all units share.
    unit : int
        Number of the unit.
    frames : list of Frame
        As `read` gives them; emptied on the way.
    layout : Layout
        Device and layout, shared by all units of a process.
    on_row : callable, optional
        Told of every finished frame.
    on_event, cancel
        As for `reconstruct`.

    Raises
    ------
    CancelledError
        When stopped: a unit is done as a whole or not at all.
    InputError
        For the first pattern without an image, if that was asked for.
    OutOfMemoryError
        When the memory does not suffice for one start at a time.
    """
    plan = job.plan
    block = tuple(part.stop - part.start for part in plan.region(unit))
    arrays: dict[str, NDArray[Any]] = {}
    rows: list[Row] = []
    scales: list[dict[str, float]] = []
    for position, at in enumerate(np.ndindex(block)):
        frame, frames[position] = frames[position], Frame(-1, None)
        row, result = _one(job, frame, layout, on_event, cancel)
        if job.strict and not row.good:
            raise InputError(f"pattern {row.index}, {row.status}: {row.notes[-1]}", do="leave out --strict to go on")
        if result is not None and row.good:
            if not arrays:
                arrays = {image.name: _blank(image.dtype, block, image.candidates, plan.box) for image in plan.images}
            _place(arrays, at, result, plan.box)
            scales.append(result.interval_scales)
        rows.append(row)
        if on_row is not None:
            on_row(row)
    same = scales[0] if scales and all(one == scales[0] for one in scales) else {} if scales else None
    return Computed(unit, arrays, rows, same, layout.to_dict(), str(layout.device))


def _one(
    job: Job, frame: Frame, layout: Layout, on_event: OnEvent | None, cancel: Cancel | None
) -> tuple[Row, Reconstruction | None]:
    """Row and result of one frame; no result for those without an image."""
    stop_if_asked(cancel)
    if frame.measurement is None:
        return Row(frame.number, frame.status, notes=frame.notes), None
    started, measurement = time.perf_counter(), frame.measurement
    try:
        result = layout.run(
            job.config,
            lambda config: reconstruct_frame(
                measurement, frame.number, config, layout.device, on_event=on_event, cancel=cancel
            ),
        )
    except InputError as error:
        return Row(frame.number, "REFUSED", notes=(*frame.notes, str(error))), None
    if result.status is Status.CANCELLED:
        raise CancelledError("a stop", do="run it again")
    notes = (*frame.notes, *result.provenance["notes"])
    status = result.status
    if not (np.isfinite(result.image).all() and np.isfinite(result.uncertainty).all()):
        status = Status.DIVERGED
    if status is Status.DIVERGED:
        notes = (*notes, "the iteration left the finite numbers")
    scores = {name: value for name, value in result.scores.items() if isinstance(value, _NUMBERS)}
    seconds = frame.seconds + time.perf_counter() - started
    return Row(frame.number, status.name, seconds, scores, result.uncertainty_kind, notes), result


def _blank(dtype: str, block: tuple[int, ...], candidates: int, box: Box) -> NDArray[Any]:
    shape = (*block, *((candidates,) if candidates else ()), *box[2:])
    return np.full(shape, np.nan + (1j * np.nan if dtype == "complex64" else 0), dtype)


def _place(arrays: dict[str, NDArray[Any]], at: tuple[int, ...], result: Reconstruction, box: Box) -> None:
    """Put a result into the common box, zero around its own."""
    images = {
        "reconstruction": result.image,
        "amplitude": np.abs(result.image),
        "uncertainty": result.uncertainty,
        "classical": result.classical,
        "candidates": result.candidate_images,
    }
    if "phase" in arrays:
        images["phase"] = np.angle(result.image)
    y, x = result.box[0] - box[0], result.box[1] - box[1]
    h, w = result.box[2:]
    for name, array in arrays.items():
        image = images[name]
        if image is not None:
            frame = array[at]
            frame[...] = 0
            frame[..., y : y + h, x : x + w] = image

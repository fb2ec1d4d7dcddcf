"""Problem -> candidates -> align -> aggregate -> Reconstruction, frame by frame."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.aggregate import aggregate, consistency, joined, table
from napari_i2ipr.config import Config
from napari_i2ipr.data import Candidate, Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, DataWarning, I2IPRError, InputError, OutOfMemoryError
from napari_i2ipr.physics import memory
from napari_i2ipr.physics.problem import Candidates, Problem
from napari_i2ipr.physics.support import autocorrelation_support, half_box
from napari_i2ipr.prepare import condition
from napari_i2ipr.progress import Event
from napari_i2ipr.solvers.multistart import MultiStart, initialise
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_i2ipr.progress import Cancel, OnEvent


DEFAULT = Config()
"""The default settings: preset ``balanced``."""


def reconstruct(
    measurement: Measurement,
    config: Config = DEFAULT,
    *,
    device: str = "auto",
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Reconstruction:
    """Reconstruct one pattern, or every pattern of a stack, blind.

    Parameters
    ----------
    measurement : Measurement
        Intensities ``(..., y, x)``, zero frequency at ``n // 2``.
    config : Config
        All settings; the default preset is ``"balanced"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    on_event : callable, optional
        Called with progress events, from worker threads.
    cancel : Cancel, optional
        Set it to stop; what has been found so far is returned.

    Returns
    -------
    Reconstruction
        Image and uncertainty in the object's own units, ``(..., h, w)``, h x w the bounding box of
        the support.

    Raises
    ------
    InputError
        When a pattern cannot be used.
    CancelledError
        When stopped before there was anything to return.
    OutOfMemoryError
        When the memory does not suffice.

    Warns
    -----
    DataWarning
        When the data were mended or guessed at.

    Notes
    -----
    The classical half of I2I-PR (Kaya & Oktem, arXiv 2507.09609), made blind: candidates are oriented
    to each other. One flip by 180 degrees of the whole image stays unknowable.
    """
    where = _device(device)
    memory.check(measurement.frame_shape, config.initialisation.n_starts, where, config.compute.memory_fraction)
    with _memory_errors():
        parts = _frames(measurement, config, where, on_event, cancel)
    return _assembled(measurement, config, where, parts)


def _frames(
    measurement: Measurement, config: Config, device: torch.device, on_event: OnEvent | None, cancel: Cancel | None
) -> list[_Part]:
    """The frames one after another; those that a stop left out are missing at the end."""
    parts: list[_Part] = []
    for index in range(measurement.n_frames):
        say = _numbered(on_event, index, measurement.n_frames)
        try:
            part = _reconstruct_frame(measurement.frame(index), index, config, device, on_event=say, cancel=cancel)
        except CancelledError:
            if not parts:
                raise
            break
        parts.append(part)
    return parts


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Say in our words that the memory did not suffice; torch tells it in three ways."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, I2IPRError) or (type(error) is RuntimeError and "allocate memory" not in str(error)):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise OutOfMemoryError(said, do="choose another device, fewer starts, or a smaller crop") from None


@dataclass(frozen=True)
class _Part:
    """The outcome of one frame, in numpy and object units."""

    image: np.ndarray[Any, Any]
    uncertainty: np.ndarray[Any, Any]
    images: np.ndarray[Any, Any]
    rows: list[Candidate]
    scores: dict[str, Any]
    status: Status
    notes: tuple[str, ...]
    box: tuple[int, int, int, int]


def _reconstruct_frame(
    frame: Measurement,
    index: int,
    config: Config,
    device: torch.device,
    *,
    on_event: OnEvent | None,
    cancel: Cancel | None,
) -> _Part:
    frame, notes = condition(frame)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=3)
    problem = _problem(frame, index, config, device)
    started = time.perf_counter()
    sets = [_candidate_set(problem, config, member, on_event, cancel) for member in range(config.members)]
    seconds = time.perf_counter() - started
    if all(bool((c.iterations == 0).all()) for c in sets):
        raise CancelledError("a stop before the first iteration", do="run it again")
    pool = joined(sets)
    if on_event is not None:
        on_event(Event("align", 0, 1))
    aligned, weights, mean, spread = aggregate(problem, pool, config)
    scale = float(problem.scale[0])
    scores = consistency(problem, pool, mean)
    scores |= {"image_iterations": int(sum(int(c.spent[0]) for c in sets)), "solver_seconds": seconds}
    alpha = float(problem.alpha[0]) * scale
    scores["alpha"] = None if math.isnan(alpha) else alpha
    rows = table(pool, aligned, weights, config)
    images = (aligned.images * scale).cpu().numpy()
    rows_box, columns_box = problem.box
    return _Part(
        (mean * scale).cpu().numpy(),
        (spread * scale).cpu().numpy(),
        images,
        rows,
        scores,
        _worst(Status[name] for c in sets for name in c.status[0]),
        notes,
        (rows_box.start, columns_box.start, rows_box.stop - rows_box.start, columns_box.stop - columns_box.start),
    )


def _problem(frame: Measurement, index: int, config: Config, device: torch.device) -> Problem:
    """The conditioned frame on the device, zero frequency at the corner: the one door that converts."""
    centred = np.asarray(frame.intensity, np.float32) * np.float32(frame.intensity_scale)
    bad = np.zeros(centred.shape, bool) if frame.bad_pixels is None else np.asarray(frame.bad_pixels, bool)
    intensity = torch.from_numpy(np.fft.ifftshift(np.where(bad, 0, centred))).to(device)
    measured = torch.from_numpy(np.fft.ifftshift(~bad)).to(device)
    if frame.support is not None:
        support = torch.from_numpy(np.asarray(frame.support, bool))
    elif config.support == "auto":
        support = autocorrelation_support(intensity.cpu(), measured.cpu())
    else:
        support = half_box(frame.frame_shape)
    if not bool(support.any()):
        raise InputError("an empty support", expected="non-zero where the object may be", do="check the support file")
    alpha = None if frame.alpha is None else torch.tensor([frame.alpha], dtype=torch.float32, device=device)
    return Problem.build(
        intensity[None],
        measured[None],
        support.to(device),
        real=config.object == "real",
        nonnegative=config.nonnegative,
        alpha=alpha,
        seed=config.seed,
        indices=(index,),
        friedel=config.initialisation.friedel == "intensity",
    )


def _candidate_set(
    problem: Problem, config: Config, member: int, on_event: OnEvent | None, cancel: Cancel | None
) -> Candidates:
    init = config.initialisation
    settings = MultiStart(
        init.n_starts,
        min(init.n_keep, init.n_starts),
        init.short_schedule,
        init.long_schedule,
        init.final_schedule,
        init.inherit,
        config.alignment.shifts,
        config.alignment.subpixel,
        hold_out=init.ranking == "free",
        relaxation=init.relaxation,
        tolerance=init.tolerance,
        max_outside=config.aggregation.max_outside,
        threads=config.compute.threads,
        batch=config.compute.batch,
    )
    return initialise(
        problem, settings, seed=config.seed, first_start=member * init.n_starts, on_event=on_event, cancel=cancel
    )


def _assembled(measurement: Measurement, config: Config, device: torch.device, parts: list[_Part]) -> Reconstruction:
    """One reconstruction of all frames; frames not reached after a stop are NaN."""
    lead = measurement.lead_shape
    missing = measurement.n_frames - len(parts)

    box = _union([part.box for part in parts])

    def stacked(name: str) -> np.ndarray[Any, Any]:
        arrays = [_widened(getattr(part, name), part.box, box) for part in parts]
        arrays += [np.full_like(arrays[0], np.nan)] * missing
        return np.stack(arrays).reshape(*lead, *arrays[0].shape)

    items = [part.scores for part in parts]
    scores = dict(items[0]) if not lead else {**_mean_scores(items), "items": items}
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    return Reconstruction(
        image=stacked("image"),
        uncertainty=stacked("uncertainty"),
        box=box,
        frame_shape=measurement.frame_shape,
        status=Status.CANCELLED if missing else _worst(part.status for part in parts),
        scores=scores,
        candidates=[row for part in parts for row in part.rows],
        candidate_images=stacked("images") if config.keep_candidates else None,
        geometry=measurement.geometry,
        axes=measurement.axes,
        provenance={
            "input": measurement.provenance,
            "notes": notes,
            "config": config.to_dict(),
            "device": str(device),
            "versions": _versions(),
        },
    )


def _union(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """The smallest box ``(y0, x0, h, w)`` that holds all; supports found by themselves may differ."""
    y0, x0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return y0, x0, max(box[0] + box[2] for box in boxes) - y0, max(box[1] + box[3] for box in boxes) - x0


def _widened(
    images: np.ndarray[Any, Any], own: tuple[int, int, int, int], box: tuple[int, int, int, int]
) -> np.ndarray[Any, Any]:
    """Images ``(..., h, w)`` of one box in a larger one, zero around them."""
    before = own[0] - box[0], own[1] - box[1]
    after = box[2] - own[2] - before[0], box[3] - own[3] - before[1]
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + list(zip(before, after, strict=True)))


def _mean_scores(items: list[dict[str, Any]]) -> dict[str, Any]:
    summed = ("image_iterations", "solver_seconds")
    means: dict[str, Any] = {}
    for name in items[0]:
        values = [item[name] for item in items if item[name] is not None]
        means[name] = (sum(values) / (1 if name in summed else len(values))) if values else None
    return means


def _worst(statuses: Iterable[Status]) -> Status:
    order = [Status.DONE, Status.CONVERGED, Status.DIVERGED, Status.CANCELLED]
    return max(statuses, key=order.index)


def _versions() -> dict[str, str]:
    return {"napari-i2ipr": program_version(), "torch": torch.__version__, "numpy": np.__version__}


def _numbered(on_event: OnEvent | None, index: int, total: int) -> OnEvent | None:
    """Name the frame in the events of a stack."""
    if on_event is None or total == 1:
        return on_event
    return lambda event: on_event(replace(event, stage=f"pattern {index + 1} of {total}: {event.stage}"))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {name!r} ({str(error).splitlines()[0]})", expected="a device of this machine", do='use "cpu"'
        ) from None
    return device

"""Problem -> candidates -> align -> aggregate -> refine -> Reconstruction, frame by frame."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_i2ipr.aggregate import aggregate, consistency, fewer, independent, joined, shells, table
from napari_i2ipr.assembly import Part, assembled, worst
from napari_i2ipr.beam import fitted_blur
from napari_i2ipr.config import Config
from napari_i2ipr.data import Candidate, Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, DataWarning, I2IPRError, InputError, OutOfMemoryError
from napari_i2ipr.modes import modes
from napari_i2ipr.physics import memory
from napari_i2ipr.physics.device import device_named
from napari_i2ipr.physics.problem import Candidates, Problem
from napari_i2ipr.physics.support import autocorrelation_support, half_box
from napari_i2ipr.prepare import condition
from napari_i2ipr.progress import Event
from napari_i2ipr.refinement import Outcome, refined, weights_used
from napari_i2ipr.shells import correlation
from napari_i2ipr.solvers.multistart import MultiStart, initialise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_i2ipr.physics.symmetry import Alignment
    from napari_i2ipr.progress import Cancel, OnEvent


DEFAULT = Config()
"""The default settings: preset ``balanced``."""

CPU = torch.device("cpu")
"""Where `complete` works unless told."""


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
    I2I-PR (Kaya & Oktem, arXiv 2507.09609), made blind: candidates are oriented to each other, and
    real objects refined by a network with data consistency. One flip by 180 degrees of the whole image
    stays unknowable.
    """
    where = device_named(device)
    _check_memory(measurement, config, where)
    with _memory_errors():
        weights = weights_used(config)  # weights that are not there are found out before the work
        parts = _frames(measurement, config, where, on_event, cancel)
    return assembled(measurement, config, where, parts, weights)


def _frames(
    measurement: Measurement, config: Config, device: torch.device, on_event: OnEvent | None, cancel: Cancel | None
) -> list[Part]:
    """The frames one after another; those that a stop left out are missing at the end."""
    parts: list[Part] = []
    for index in range(measurement.n_frames):
        if parts and _stopped(cancel):
            break
        say = _numbered(on_event, index, measurement.n_frames)
        try:
            found = initial(measurement.frame(index), index, config, device, on_event=say, cancel=cancel)
            part = _finished(found, config, on_event=say, cancel=cancel)
            _warn(part, found)
        except CancelledError:
            if not parts:
                raise
            break
        parts.append(part)
    return parts


def reconstruct_frame(
    frame: Measurement,
    index: int,
    config: Config,
    device: torch.device,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Reconstruction:
    """One pattern of a stack, exactly as `reconstruct` makes it of the whole stack.

    Parameters
    ----------
    frame : Measurement
        One pattern ``(y, x)``.
    index : int
        Its number in the stack, which fixes its random numbers.
    config, on_event, cancel
        As for `reconstruct`.
    device : torch.device
        Where it is computed.

    Returns
    -------
    Reconstruction
        Of the one pattern; what was mended or guessed is in its provenance (``notes``) and not a warning.

    Raises
    ------
    InputError, CancelledError, OutOfMemoryError
        As for `reconstruct`.
    """
    _check_memory(frame, config, device)
    with _memory_errors():
        weights = weights_used(config)
        ready, notes = condition(frame)
        found = initial(ready, index, config, device, on_event=on_event, cancel=cancel)
        part = _finished(replace(found, notes=notes), config, on_event=on_event, cancel=cancel)
    return assembled(frame, config, device, [part], weights)


def _check_memory(measurement: Measurement, config: Config, device: torch.device) -> None:
    n_starts, fraction = config.initialisation.n_starts, config.compute.memory_fraction
    memory.check(measurement.frame_shape, n_starts, device, fraction, refined=config.refine.enabled)


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
class Initial:
    """What the classical half found for one frame: the rest of the pipeline starts from it.

    Attributes
    ----------
    problem : Problem
        The conditioned frame.
    sets : list of Candidates
        The candidate set of every ensemble member.
    seconds : float
        Time that the solvers took.
    notes : tuple of str
        What was mended or guessed.
    pixel : tuple of float
        Pixel ``(y, x)`` of the object in metres; 1 where it is unknown.
    fingerprint : str
        Of the conditioned frame, see `Measurement.fingerprint`.
    stopped : bool
        Whether candidate sets are missing after a stop.
    """

    problem: Problem
    sets: list[Candidates]
    seconds: float
    notes: tuple[str, ...]
    pixel: tuple[float, float] = (1.0, 1.0)
    fingerprint: str = ""
    stopped: bool = False


def initial(
    frame: Measurement,
    index: int,
    config: Config,
    device: torch.device,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Initial:
    """Condition one frame and make its candidate sets.

    Parameters
    ----------
    frame : Measurement
        One pattern ``(y, x)``.
    index : int
        Its number in the stack, which fixes its random numbers.
    config, device, on_event, cancel
        As for `reconstruct`.
    """
    frame, notes = condition(frame)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=4)
    problem = as_problem(frame, index, config, device)
    started = time.perf_counter()
    if config.coherence.fit:
        problem = fitted_blur(problem, config, on_event=on_event, cancel=cancel)
    sets: list[Candidates] = []
    while len(sets) < config.members and not (sets and _stopped(cancel)):
        sets.append(candidate_set(problem, config, len(sets), on_event, cancel))
    seconds = time.perf_counter() - started
    if all(bool((c.iterations == 0).all()) for c in sets):
        raise CancelledError("a stop before the first iteration", do="run it again")
    pixel = frame.geometry.object_pixel_m(frame.frame_shape) or (1.0, 1.0)
    return Initial(problem, sets, seconds, notes, pixel, frame.fingerprint(), stopped=len(sets) < config.members)


def complete(
    measurement: Measurement, found: list[Initial], config: Config, device: torch.device = CPU
) -> Reconstruction:
    """Align, average and refine what `initial` found for every frame of a measurement.

    Parameters
    ----------
    measurement : Measurement
        The patterns.
    found : list of Initial
        One for each frame.
    config, device
        As for `reconstruct`.
    """
    parts = [_finished(one, config, on_event=None, cancel=None) for one in found]
    for part, one in zip(parts, found, strict=True):
        _warn(part, one)
    return assembled(measurement, config, device, parts, weights_used(config))


def _warn(part: Part, found: Initial) -> None:
    """Say what came up after `initial`, which said its own."""
    for note in part.notes[len(found.notes) :]:
        warnings.warn(note, DataWarning, stacklevel=4)


def _finished(found: Initial, config: Config, *, on_event: OnEvent | None, cancel: Cancel | None) -> Part:
    problem, sets = found.problem, found.sets
    pool, notes = joined(sets), found.notes
    if on_event is not None:
        on_event(Event("align", 0, 1))
    statuses = [Status[name] for c in sets for name in c.status[0]] + [Status.CANCELLED] * found.stopped
    try:
        aligned, weights, mean, spread = aggregate(problem, pool, config, on_event=on_event, cancel=cancel)
    except CancelledError:
        whole, pool = pool, fewer(pool)
        aligned, weights, mean, spread = aggregate(problem, pool, config)
        if pool is not whole:
            statuses.append(Status.CANCELLED)
            notes += (
                f"stopped: only the best {pool.images.shape[1]} of {whole.images.shape[1]} candidates are averaged",
            )
    if on_event is not None:
        on_event(Event("align", 1, 1, image=lambda: mean.cpu().numpy()))
    scale = float(problem.scale[0])
    scores = consistency(problem, pool, mean)
    scores |= {
        "refined": False,
        "r_factor_classical": scores["r_factor"],
        "image_iterations": int(sum(int(c.spent[0]) for c in sets)),
        "solver_seconds": found.seconds,
    }
    alpha = float(problem.alpha[0]) * scale
    scores["alpha"] = None if math.isnan(alpha) else alpha
    starts = independent(sets, pool, aligned, config)
    scores["reproducibility"] = correlation(starts.cpu().numpy())
    scores["first_mode"] = float(modes(aligned.images.cpu().numpy(), weights.tolist()).shares[0])
    rows = table(pool, aligned, weights, config)
    outcome = Outcome(mean, spread, status=worst(statuses))
    if outcome.status is not Status.CANCELLED:
        outcome = refined(problem, _sound_sets(aligned, rows), outcome, config, on_event=on_event, cancel=cancel)
    rows_box, columns_box = problem.box
    return Part(
        (outcome.image * scale).cpu().numpy(),
        (outcome.sigma * scale).cpu().numpy(),
        (mean * scale).cpu().numpy(),
        outcome.kind,
        outcome.scales,
        (aligned.images * scale).cpu().numpy(),
        rows,
        {**scores, **outcome.scores},
        outcome.status,
        (*notes, *outcome.notes),
        (rows_box.start, columns_box.start, rows_box.stop - rows_box.start, columns_box.stop - columns_box.start),
        shells(problem, starts, aligned.images, outcome.image, found.pixel),
        found.fingerprint,
    )


def _sound_sets(aligned: Alignment, rows: list[Candidate]) -> list[Tensor]:
    """The aligned candidates that are averaged, ``(K, h, w)`` for each member that has any."""
    sound: dict[int, list[int]] = {}
    for k, row in enumerate(rows):
        if row.weight > 0:
            sound.setdefault(row.member, []).append(k)
    return [aligned.images[chosen] for _, chosen in sorted(sound.items())]


def as_problem(frame: Measurement, index: int, config: Config, device: torch.device) -> Problem:
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
        alpha=alpha,
        seed=config.seed,
        indices=(index,),
        **config.problem_options(),
    )


def candidate_set(
    problem: Problem, config: Config, member: int, on_event: OnEvent | None, cancel: Cancel | None
) -> Candidates:
    """One member's candidates, from starts of its own, as the configuration says."""
    init = config.initialisation
    settings = MultiStart(
        init.n_starts,
        min(init.n_keep, init.n_starts),
        init.short_schedule,
        *config.coherence.ended(init.long_schedule, init.final_schedule),
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


def _stopped(cancel: Cancel | None) -> bool:
    return cancel is not None and cancel.is_set()


def _numbered(on_event: OnEvent | None, index: int, total: int) -> OnEvent | None:
    """Name the frame in the events of a stack."""
    if on_event is None or total == 1:
        return on_event
    said = f"pattern {index + 1} of {total}: "
    return lambda event: on_event(replace(event, stage=said + event.stage, frame=index, frames=total))

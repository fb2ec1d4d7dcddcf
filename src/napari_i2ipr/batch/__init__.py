"""A volume of patterns in, volumes of images and uncertainties out; no crash costs more than the unit in work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_i2ipr.batch import run
from napari_i2ipr.batch.estimate import Estimate
from napari_i2ipr.batch.report import GOOD, OUTCOMES, BatchEvent, BatchReport, Row
from napari_i2ipr.batch.request import asked
from napari_i2ipr.batch.view import BatchView, open_batch
from napari_i2ipr.pipeline import DEFAULT

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_i2ipr.config import Config
    from napari_i2ipr.progress import Cancel, OnEvent

__all__ = [
    "GOOD",
    "OUTCOMES",
    "BatchEvent",
    "BatchReport",
    "BatchView",
    "Estimate",
    "Row",
    "open_batch",
    "plan_batch",
    "reconstruct_batch",
]


def reconstruct_batch(
    source: Any,
    target: str | os.PathLike[str],
    config: Config = DEFAULT,
    *,
    scheduler: Any = None,
    device: str = "auto",
    axes: Sequence[str] | str | None = None,
    mask: Any = None,
    support: Any = None,
    prepare: Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    unit: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    strict: bool = False,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> BatchReport:
    """Reconstruct every pattern of a volume into an OME-Zarr store; the same call again goes on where it stopped.

    Parameters
    ----------
    source : path, Measurement or array
        Zarr store, file (``file.h5::/path``), folder or ``"*.tif"``; any array or dask array ``(..., y, x)``.
    target : path
        Name of the store, ``.zarr``; ``.zarr.partial`` until it is complete.
    config, device, on_event, cancel
        As for `reconstruct`; events that count patterns are `BatchEvent`.
    scheduler : str or distributed.Client, optional
        ``"local:N"``: N processes here; else the address of a dask scheduler. None: this process.
    axes : str or sequence of str, optional
        Names of the source's axes, such as ``"scan,y,x"``.
    mask, support : path or array, optional
        One for all, ``(y, x)``, or one a pattern. A support may be ``"half"`` or ``"auto"``.
    prepare : mapping, optional
        Options of `napari_i2ipr.prepare.condition` for every pattern, such as ``{"center": (127, 128)}``.
    memory : int or str, optional
        What may be held on this machine, such as ``"8GB"``; else a share of what is free.
    unit : int, optional
        Patterns at most that are read, written and marked as done together.
    resume, overwrite, strict : bool
        Go on with unfinished work; replace an earlier result; stop at the first pattern without an image.

    Returns
    -------
    BatchReport
        What was done, also after a stop.

    Raises
    ------
    InputError, FormatError, ConfigError, OutputError, OutOfMemoryError
        With what has to be done; patterns that are done stay done.
    CancelledError
        When stopped before there was anything to report.
    """
    options = {"axes": axes, "mask": mask, "support": support, "prepare": prepare, "memory": memory, "unit": unit}
    request = asked(source, target, config, scheduler=scheduler, device=device, **options)
    return run.run(request, overwrite=overwrite, go_on=resume, strict=strict, on_event=on_event, cancel=cancel)


def plan_batch(
    source: Any,
    target: str | os.PathLike[str],
    config: Config = DEFAULT,
    *,
    overwrite: bool = False,
    timed: bool = True,
    cancel: Cancel | None = None,
    **options: Any,
) -> Estimate:
    """What `reconstruct_batch` with the same arguments would do, without doing it; nothing is written.

    Parameters
    ----------
    source, target, config, overwrite, cancel, **options
        As for `reconstruct_batch`.
    timed : bool
        Whether one pattern is run for a moment to estimate the time.

    Raises
    ------
    InputError, FormatError, ConfigError, OutputError, OutOfMemoryError
        As for `reconstruct_batch`.
    CancelledError
        When stopped.
    """
    request = asked(source, target, config, **options)
    return run.plan(request, overwrite=overwrite, timed=timed, cancel=cancel)

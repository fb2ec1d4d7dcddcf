"""Units on the workers of dask.distributed: a worker reads, computes and writes a unit and sends back its mark.

Source and target must lie where every worker sees them under the same path.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_i2ipr.batch import target, units
from napari_i2ipr.errors import CancelledError, ConfigError, OutOfMemoryError
from napari_i2ipr.progress import Cancel
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from napari_i2ipr.batch.journal import Mark
    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.batch.units import Job
    from napari_i2ipr.config import Config

POLL_SECONDS = 0.2
"""Time from a stop to its being noticed, at most."""

AHEAD = 2
"""Units in the hands of each worker: the one at work and the next."""

PATIENCE_SECONDS = 60.0
"""Time that workers have to come to an end."""

STOP = "stop"
"""File in the store that asks the workers to stop."""


@contextmanager
def connected(scheduler: Any, memory: int | None) -> Iterator[Any]:
    """A client of the scheduler that is meant.

    Parameters
    ----------
    scheduler : str or distributed.Client
        ``"local:N"`` starts N workers here, one process with one thread each, and ends them afterwards. Any
        other text is the address of a scheduler, ``"tcp://host:8786"``, or a scheduler file.
    memory : int or None
        Bytes that each local worker may hold.

    Raises
    ------
    ConfigError
        If there is no such scheduler, or dask.distributed is not installed.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError(
            "a cluster without dask.distributed", do='install it: pip install "napari-i2ipr[cluster]"'
        ) from None
    if not isinstance(scheduler, str):
        yield scheduler
        return
    if scheduler.startswith("local:"):
        count = workers_of(scheduler)
        limit: Any = "auto" if memory is None else memory
        with (
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                memory_limit=limit,
                resources={"GPU": 1},
                preload=["napari_i2ipr.batch.worker"],
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler_file=scheduler) if scheduler.endswith(".json") else Client(scheduler)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no scheduler at {scheduler} ({str(error) or type(error).__name__})",
            expected="the address of a running dask scheduler, e.g. tcp://host:8786",
            do="start one, or use --cluster local:N",
        ) from None
    with client:
        yield client


def workers_of(scheduler: Any) -> int:
    """Workers of ``"local:N"``; 1 where it is not known.

    Raises
    ------
    ConfigError
        If N is no positive number.
    """
    if not isinstance(scheduler, str) or not scheduler.startswith("local:"):
        return 1
    text = scheduler.removeprefix("local:")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"the cluster {scheduler!r}", expected="local:N with the number of workers N, e.g. local:2")
    return int(text)


def run_units(
    client: Any,
    job: Job,
    source: Source,
    todo: Iterable[int],
    done: Callable[[Mark], None],
    *,
    pinned: bool,
    cancel: Cancel | None = None,
) -> None:
    """Have every unit done by some worker; a unit whose worker dies is done by another.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    job : Job
        What all units share.
    source : Source
        The patterns.
    todo : iterable of int
        Units.
    done : callable
        Told of every unit, in the order in which they end.
    pinned : bool
        Whether a worker takes the GPU of its own number.
    cancel : Cancel, optional
        Set it to stop: units at work are given up.

    Raises
    ------
    CancelledError
        When stopped.
    Exception
        The first error of a unit.
    """
    stop = job.store / STOP
    stop.unlink(missing_ok=True)
    waiting = iter(todo)
    flying: set[Any] = set()
    options = {"pure": False, **_resources(client)}
    try:
        while True:
            room = AHEAD * max(len(client.nthreads()), 1) - len(flying)
            for _, unit in zip(range(room), waiting, strict=False):
                window, numbers = source.window(job.plan.region(unit)), job.plan.numbers(unit)
                flying.add(client.submit(_work, job, unit, window, numbers, pinned, **options))
            if not flying:
                return
            for future in _finished(flying):
                flying.remove(future)
                mark = _result(future)
                if mark is not None:
                    done(mark)
            if cancel is not None and cancel.is_set():
                raise CancelledError("a stop", do="run it again")
    finally:
        if flying:
            _give_up(client, flying, stop, done)
        stop.unlink(missing_ok=True)


def _resources(client: Any) -> dict[str, Any]:
    """A GPU for every unit where the workers say that they have any."""
    workers = client.scheduler_info()["workers"].values()
    return {"resources": {"GPU": 1}} if any("GPU" in info.get("resources", {}) for info in workers) else {}


def _finished(flying: set[Any]) -> set[Any]:
    from distributed import wait

    try:
        return set(wait(flying, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return set()


def _result(future: Any) -> Mark | None:
    from distributed import KilledWorker

    try:
        mark: Mark | None = future.result()
    except KilledWorker:
        raise OutOfMemoryError(
            "a unit of which every worker died",
            expected="workers with enough memory",
            do="give them more, or make the units smaller",
        ) from None
    return mark


def _give_up(client: Any, flying: set[Any], stop: Path, done: Callable[[Mark], None]) -> None:
    """Ask the workers to stop; units that are being written come to their end and count."""
    stop.touch()
    end = time.monotonic() + PATIENCE_SECONDS
    while flying and time.monotonic() < end and client.nthreads():
        for future in _finished(flying):
            flying.remove(future)
            if future.status == "finished" and future.result() is not None:
                done(future.result())
    client.cancel(list(flying), force=True)


class _FileCancel(Cancel):
    """A stop flag that is a file, looked for from time to time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._next = path, 0.0

    def is_set(self) -> bool:
        if not super().is_set() and time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            if self._path.exists():
                self.set()
        return super().is_set()


@lru_cache(maxsize=8)
def _layout(device: str, config: str) -> units.Layout:
    """The layout of this process: what it learnt of its memory holds for all units that follow."""
    from napari_i2ipr.config import Config

    return units.Layout(Config.from_yaml(config), device)


def _work(job: Job, unit: int, window: Source, numbers: list[int], pinned: bool) -> Mark | None:
    """One unit on a worker; None when stopped."""
    cancel = _FileCancel(job.store / STOP)
    if cancel.is_set():
        return None
    layout = _layout(_own_device(job.device) if pinned else job.device, job.config.model_dump_json())
    frames = units.read(window, numbers, job.prepare)
    try:
        computed = units.compute(job, unit, frames, layout, cancel=cancel)
    except CancelledError:
        return None
    return target.write_unit(job, computed, program_version())


def _own_device(device: str) -> str:
    """Of the GPUs of this machine the one with the number of this worker."""
    import torch
    from distributed import get_worker

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{int(get_worker().name) % count}" if count > 1 else device


def spread(config: Config, count: int) -> Config:
    """The settings with the cores of this machine shared among so many workers, where they leave that open."""
    from napari_i2ipr.physics.memory import available_cores

    if config.compute.threads or count == 1:
        return config
    return config.replace(compute={"threads": max(available_cores() // count, 1)})

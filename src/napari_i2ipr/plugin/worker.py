# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Work in another thread: a job with progress and cancel, and the runner that a widget talks to."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib.util
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import current_viewer
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal
from superqt.utils import FunctionWorker
from superqt.utils._qthreading import WorkerBaseSignals

from napari_i2ipr.data import Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, I2IPRError
from napari_i2ipr.physics.memory import available_cores
from napari_i2ipr.plugin.layers import in_memory
from napari_i2ipr.plugin.meter import Meter, work
from napari_i2ipr.plugin.state import Progress, RunState, RunStatus, duration
from napari_i2ipr.progress import Cancel, Event

if TYPE_CHECKING:
    from napari_i2ipr.config import Config

PROGRESS_HZ = 15
"""Most progress signals a second."""


PREVIEW_SCHEDULES = {"short": "HIO:40", "long": "HIO:90 ER:10", "final": "HIO:60 ER:40"}
"""What the starts of a preview run."""

_EXIT_WAIT_MS = 10_000

log = logging.getLogger(__name__)


class JobSignals(WorkerBaseSignals):
    """Signals of a job, delivered in the main thread."""

    progress = Signal(object)
    aborted = Signal()


class Job(FunctionWorker):
    """A task in a thread of the pool that reports progress and can be cancelled.

    A napari ``FunctionWorker`` rather than a generator: it lets no ``RuntimeError`` disappear, and what
    the task cleans up runs when it is cancelled. Cancel through `stop` to get what was found so far;
    `quit`, which napari calls when it closes, throws that away.

    Parameters
    ----------
    task : callable
        Called as ``task(on_progress=..., cancel=...)``; ``str(task)`` names it to the user.
    """

    def __init__(self, task: Callable[..., Any]) -> None:
        super().__init__(task)
        self.signals = JobSignals()
        self.cancel = Cancel()
        self._next_signal = 0.0

    def stop(self) -> None:
        """Ask the task to end and return what it has."""
        self.cancel.set()

    def quit(self) -> None:
        """Ask the task to end; nothing is returned."""
        self.cancel.set()
        super().quit()

    def work(self) -> Any:
        """Run the task; called in the thread."""
        task: Callable[..., Any] = self._func
        try:
            return task(on_progress=self._relay, cancel=self.cancel)
        except CancelledError:
            self.signals.aborted.emit()
            return None
        except Exception as error:
            if isinstance(error, I2IPRError):
                log.warning("%s: %s", task, error)
            else:
                log.exception("%s failed", task)
            forget(error)
            raise
        finally:
            self._func = _nothing  # type: ignore[assignment]  # napari keeps the job in a list, but not its data
            release_device_memory()

    def _relay(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_signal and not self.abort_requested:
            self._next_signal = now + 1 / PROGRESS_HZ
            self.signals.progress.emit(progress)


@dataclass(frozen=True, eq=False)
class ReconstructTask:
    """A reconstruction, ready to run.

    Attributes
    ----------
    name : str
        Of the input, for the user.
    measurement : Measurement
        Input; masks and support may still be lazy.
    config : Config
        Settings.
    device : str
        Where to compute.
    frame : int or None
        Number of the only pattern to reconstruct; all of them where it is None.
    """

    name: str
    measurement: Measurement
    config: Config
    device: str = "auto"
    frame: int | None = None

    def __str__(self) -> str:
        return f"reconstruction of {self.name}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Reconstruction:
        """Run it; imports torch, so never call it in the main thread."""
        on_progress(Progress("starting"))
        load_torch()
        from napari_i2ipr.pipeline import reconstruct
        from napari_i2ipr.refine.ensemble import torch_threads

        if cancel.is_set():
            raise CancelledError("a stop before the first iteration", do="run it again")
        config, measurement = self.config, self.measurement
        if config.compute.threads == 0:
            config = config.replace(compute={"threads": spare_one()})
        if self.frame is not None:
            one = measurement.frame(self.frame)
            measurement = replace(one, provenance={**one.provenance, "frame": self.frame})
        meter = Meter(work(config, measurement.n_frames), config.members)

        def on_event(event: Event) -> None:
            on_progress(meter.update(event))

        with torch_threads(config.compute.threads):
            found = reconstruct(in_memory(measurement), config, device=self.device, on_event=on_event, cancel=cancel)
        return _as_asked(found, self.config)


class Runner(QObject):
    """Runs one job at a time and keeps its status; lives in the main thread.

    Parameters
    ----------
    parent : QObject
        Owner, usually a widget.
    """

    delivered = Signal(object)
    """What the job returned, complete or partial."""

    failed = Signal(str)
    """The sentence to show when it failed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.status = RunStatus()
        self._job: Job | None = None
        self._links: list[tuple[Any, Callable[..., Any]]] = []
        self._started = 0.0
        self.seconds = 0.0

    def start(self, task: Callable[..., Any]) -> None:
        """Start a task; does nothing while another one runs."""
        if self._job is not None:
            return
        job = create_worker(task, _worker_class=Job, _ignore_errors=True, _start_thread=False)
        if current_viewer() is not None:  # what napari 0.9.2 connects then fails under PySide6
            job.errored.disconnect()
        self._job, self._started = job, time.monotonic()
        self._links = [
            (job.progress, self._on_progress),
            (job.returned, self._on_returned),
            (job.aborted, self._on_aborted),
            (job.errored, self._on_errored),
            (job.warned, self._on_warned),
            (job.finished, self._on_finished),
        ]
        for signal, slot in self._links:
            signal.connect(slot)
        _wait_at_exit()
        self.status.message = ""
        self.status.progress = Progress("starting")
        self.status.state = RunState.RUNNING
        job.start()

    def cancel(self) -> None:
        """Stop the job; what it has found so far is delivered."""
        if self._job is not None:
            self._job.stop()
            self.status.progress = replace(self.status.progress, stage="stopping", seconds_left=None)

    def close(self) -> None:
        """Stop the job and hear no more of it."""
        if self._job is not None:
            self._job.quit()
        self._release()

    def _release(self) -> None:
        for signal, slot in self._links:
            with suppress(RuntimeError, TypeError):  # already gone
                signal.disconnect(slot)
        self._links, self._job = [], None

    def _on_progress(self, progress: Progress) -> None:
        if self._job is not None and not self._job.cancel.is_set():
            self.status.progress = progress

    def _on_returned(self, result: Any) -> None:
        if result is None:
            return
        stopped = getattr(result, "status", None) is Status.CANCELLED
        self.seconds = time.monotonic() - self._started
        took = duration(self.seconds)
        self._end(self.status.progress.fraction if stopped else 1.0)
        said = f"Stopped after {took}; the best estimate so far is shown." if stopped else f"Done in {took}."
        self.status.message = said
        self.delivered.emit(result)
        self.status.state = RunState.STOPPED if stopped else RunState.DONE

    def _end(self, fraction: float) -> None:
        """Empty the bars; what was seen of the run stays in sight."""
        now = self.status.progress
        self.status.progress = replace(now, stage="", fraction=fraction, seconds_left=None, frames=1, score=None)

    def _on_aborted(self) -> None:
        self._end(0.0)
        self.status.message = "Stopped before there was anything to show."
        self.status.state = RunState.STOPPED

    def _on_errored(self, error: Exception) -> None:
        self._end(0.0)
        self.status.message = sentence(error)
        self.status.state = RunState.CRASHED
        self.failed.emit(self.status.message)

    def _on_warned(self, args: tuple[Any, ...]) -> None:
        log.warning("%s: %s", args[1].__name__, args[0])

    def _on_finished(self) -> None:
        self._release()
        if self.status.running:
            self.status.state = RunState.STOPPED


def preview_of(config: Config) -> Config:
    """The settings of a quick look: one set of a few short starts, not refined."""
    init = config.initialisation
    quick = {"n_starts": min(init.n_starts, 4), "n_keep": min(init.n_keep, 2)} | PREVIEW_SCHEDULES
    return config.replace(members=1, initialisation=quick, refine={"enabled": False}, keep_candidates=False)


def spare_one() -> int:
    """Threads for a job on the processor: one core stays with the window."""
    return max(available_cores() - 1, 1)


def _as_asked(found: Reconstruction, config: Config) -> Reconstruction:
    """The result with the settings that were asked for, which the number of cores has no part in."""
    return replace(found, provenance=found.provenance | {"config": config.to_dict()})


def _nothing(**_: Any) -> None:
    """The task of a job that is over."""


def forget(error: BaseException) -> None:
    """Drop the local variables that an error's traces hold on to, among them arrays on the device."""
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__context__


def sentence(error: BaseException) -> str:
    """One plain sentence of what went wrong and the next step.

    Parameters
    ----------
    error : BaseException
        Whatever the job raised.
    """
    if isinstance(error, I2IPRError):
        parts = [f"Got {error.got}"]
        if error.expected:
            parts.append(f"expected {error.expected}")
        said = ", ".join(parts)
        return f"{said}: {error.do}." if error.do else f"{said}."
    first = (str(error).strip().splitlines() or ["no further word"])[0]
    if isinstance(error, MemoryError) or "out of memory" in first.lower():
        return "The memory did not suffice: compute on the cpu, choose a quicker preset or a smaller crop."
    return (
        f"This failed ({type(error).__name__}: {first}): try it again, "
        "and if it fails on the cpu too, report it with the log."
    )


def load_torch() -> None:
    """Import torch without freezing the window.

    Python holds its lock while it links torch's library, which takes 0.2 s at best and seconds from a
    cold disk. On Linux the linker is therefore called first through ctypes, which lets go of the lock;
    the import then finds the library in place. Where that fails, the import does it all itself.
    """
    found = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if found is not None and found.origin is not None and sys.platform.startswith("linux"):
        link = ctypes.CDLL(None).dlopen
        link.argtypes, link.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        folder = Path(found.origin).parent / "lib"
        for name in ("libtorch_cpu.so", "libtorch.so"):
            link(os.fsencode(folder / name), os.RTLD_NOW)
    importlib.import_module("torch")


@cache
def _wait_at_exit() -> None:
    """Let running jobs end before Python does: a thread that outlives Qt ends the process the hard way."""

    def wait() -> None:
        with suppress(RuntimeError):
            Job.await_workers(_EXIT_WAIT_MS)

    atexit.register(wait)


def release_device_memory() -> None:
    """Give cached memory of an accelerator back; does nothing where torch was not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda"):
        return
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        gc.collect()
        torch.mps.empty_cache()

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Memory and time of a run before it is started, without torch and without making the window wait."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_i2ipr.physics.memory import needed_bytes
from napari_i2ipr.plugin.meter import COSTS, evaluations, work
from napari_i2ipr.plugin.state import duration

if TYPE_CHECKING:
    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Reconstruction

FFT_PAIR = {"real": 2.6, "complex": 4.7}
"""What an iteration takes, in pairs of numpy's transforms of real frames: measured at 128 ... 512 px, one core."""

_MEASURED_PX = 512
_PAUSE_MS = 150

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to be estimated.

    Attributes
    ----------
    frame_shape : tuple of int
        Shape ``(y, x)`` of a pattern.
    n_frames : int
        Number of patterns.
    config : Config
        Settings.
    device : str
        Where it is to run.
    """

    frame_shape: tuple[int, int]
    n_frames: int
    config: Config
    device: str

    @property
    def pixels(self) -> int:
        """Pixels of a pattern."""
        return self.frame_shape[0] * self.frame_shape[1]

    @property
    def on(self) -> str:
        """Kind of device it will run on, as far as that is known before torch is loaded."""
        torch = sys.modules.get("torch")
        if self.device != "auto":
            return self.device.partition(":")[0]
        return "cuda" if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_available() else "cpu"

    @property
    def key(self) -> str:
        """Runs with one key have one speed."""
        return f"{self.on} {self.config.object} {workers(self.config) if self.on == 'cpu' else ''}".strip()


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes
    ----------
    seconds : float or None
        None while it is not known.
    bytes_needed, bytes_free : int
        Memory; free is that of the computer, 0 where the device has its own and torch is not loaded yet.
    fraction : float
        Share of the free memory that may be used.
    """

    seconds: float | None
    bytes_needed: int
    bytes_free: int
    fraction: float = 1.0

    @property
    def fits(self) -> bool:
        """Whether the memory suffices, as far as it is known."""
        return self.bytes_free == 0 or self.bytes_needed <= self.fraction * self.bytes_free

    def __str__(self) -> str:
        free = f" of {size(self.bytes_free)} free" if self.bytes_free else ""
        if not self.fits:
            return f"Needs about {size(self.bytes_needed)}{free}: crop or bin the pattern, or take fewer starts."
        when = "time not known before the first run" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"{when[:1].upper()}{when[1:]} · {size(self.bytes_needed)}{free} memory"


def size(n_bytes: float) -> str:
    """Bytes as one reads them."""
    return f"{n_bytes / 2**30:.1f} GB" if n_bytes > 0.95 * 2**30 else f"{max(n_bytes / 2**20, 1):.0f} MB"


def workers(config: Config) -> int:
    """Threads that a run on the processor uses."""
    from napari_i2ipr.plugin.worker import spare_one

    return config.compute.threads or spare_one()


def memory_needed(plan: Plan) -> int:
    """Bytes of the computation and of what it returns, without those of torch itself."""
    init, config = plan.config.initialisation, plan.config
    kept = config.members * min(init.n_keep, init.n_starts)
    one = plan.pixels // 4 * (8 if config.object == "complex" else 4)
    returned = plan.n_frames * one * (3 + (kept if config.keep_candidates else 0))
    computed = needed_bytes(plan.frame_shape, init.n_starts, workers(config), refined=evaluations(config) > 0)
    return computed + kept * one + returned


def memory_free(device: str) -> int:
    """Bytes free on the device now; 0 where that cannot be told before torch is loaded."""
    if device == "cuda":
        torch: Any = sys.modules.get("torch")
        with suppress(AttributeError, RuntimeError):  # not loaded, or no such device
            return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_initialized() else 0
        return 0
    import psutil

    return int(psutil.virtual_memory().available)


def measure(frame_shape: tuple[int, int]) -> float:
    """Seconds of a pair of transforms of a frame, the quickest of some; large frames are scaled up from small ones."""
    shape = tuple(min(n, _MEASURED_PX) for n in frame_shape)
    image, quickest = np.random.default_rng(0).random(shape, dtype=np.float32), float("inf")
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.fft.irfft2(np.fft.rfft2(image), s=shape)
        quickest = min(quickest, time.perf_counter() - start)
        time.sleep(0.001)  # the window comes first
    return quickest * frame_shape[0] * frame_shape[1] / (shape[0] * shape[1])


class Speeds:
    """Speeds of runs on this computer, in seconds per image-iteration and pixel, kept from session to session.

    Parameters
    ----------
    file : Path or None
        Where they are kept; None keeps them nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file, self._known = file, dict[str, float]()
        if file is not None:
            with suppress(OSError, TypeError, ValueError):  # a damaged file is as good as none
                found = dict(json.loads(file.read_text(encoding="utf-8")))
                self._known = {str(key): float(value) for key, value in found.items() if float(value) > 0}

    def of(self, plan: Plan) -> float | None:
        """Seconds per image-iteration of a run like this; None before there was one."""
        known = self._known.get(plan.key)
        return None if known is None else known * plan.pixels

    def learn(self, plan: Plan, result: Reconstruction) -> None:
        """Remember how long a run took that went to its end."""
        scores = result.scores
        seconds = sum(scores.get(name) or 0.0 for name in ("solver_seconds", "refine_seconds"))
        done = scores.get("image_iterations") or 0
        if scores.get("refine_seconds"):
            done += COSTS["refine"] * evaluations(plan.config, plan.n_frames)
        if not seconds > 0 or not done:
            return
        self._known[plan.key] = seconds / done / plan.pixels
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            except OSError as error:
                log.info("the speed of this computer was not kept: %s", error)


def speed_file() -> Path:
    """Where speeds are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("napari-i2ipr", appauthor=False) / "speed.json"


class Estimator(QObject):
    """Estimates plans; what takes time is done in another thread, and only the last plan counts.

    Parameters
    ----------
    parent : QObject
        Owner, usually a widget.
    """

    estimated = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.speeds = Speeds(speed_file())
        self._pairs: dict[tuple[int, int], float] = {}
        self._plan: Plan | None = None
        self._worker: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._estimate)

    def ask(self, plan: Plan | None) -> None:
        """Estimate this soon; None for nothing."""
        self._plan = plan
        self._timer.start()

    def close(self) -> None:
        """Estimate no more."""
        self._timer.stop()
        self._plan = None
        if self._worker is not None:
            with suppress(RuntimeError, TypeError):
                self._worker.returned.disconnect(self._on_measured)
            self._worker = None

    def _estimate(self) -> None:
        plan = self._plan
        if plan is None:
            self.estimated.emit(None)
            return
        speed = self.speeds.of(plan)
        if speed is None and plan.on == "cpu":
            pair = self._pairs.get(plan.frame_shape)
            if pair is None:
                self._measure(plan.frame_shape)
            else:
                speed = pair * FFT_PAIR[plan.config.object] / workers(plan.config)
        seconds = None if speed is None else speed * work(plan.config, plan.n_frames)
        fraction = plan.config.compute.memory_fraction
        self.estimated.emit(Estimate(seconds, memory_needed(plan), memory_free(plan.on), fraction))

    def _measure(self, frame_shape: tuple[int, int]) -> None:
        if self._worker is None:
            task: Callable[[], Any] = _Measured(frame_shape)
            self._worker = create_worker(task, _start_thread=False)
            self._worker.returned.connect(self._on_measured)
            self._worker.start()

    def _on_measured(self, found: tuple[tuple[int, int], float]) -> None:
        self._worker = None
        self._pairs[found[0]] = found[1]
        self._estimate()


@dataclass(frozen=True)
class _Measured:
    """The measurement of one frame shape, as the worker calls it."""

    frame_shape: tuple[int, int]

    def __call__(self) -> tuple[tuple[int, int], float]:
        return self.frame_shape, measure(self.frame_shape)

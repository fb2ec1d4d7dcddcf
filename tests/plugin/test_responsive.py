"""The window answers while a job runs, and a stop is quick; bounds are three times what an idle machine must hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer

from napari_i2ipr import io
from napari_i2ipr.config import PRESETS
from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin.state import RunState
from napari_i2ipr.plugin.worker import spare_one

Opened = Callable[..., tuple[Any, Any]]

SLACK = 3
"""For machines that do other things as well."""

USUAL_S, LONGEST_S, STOP_S = 0.1, 0.3, 1.0


@contextmanager
def heartbeat() -> Iterator[list[float]]:
    """Times at which the window answered, by a timer that should tick every 10 ms."""
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(10)
    try:
        yield ticks
    finally:
        timer.stop()


def big(shape: tuple[int, int] = (256, 256)) -> Measurement:
    """A pattern of a usual size."""
    rng = np.random.default_rng(1)
    field = np.zeros(shape, np.float32)
    y, x = shape[0] // 4, shape[1] // 4
    field[y:-y, x:-x] = rng.random((shape[0] - 2 * y, shape[1] - 2 * x), dtype=np.float32)
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(field, norm="ortho"))) ** 2
    return Measurement(rng.poisson(intensity * 50).astype(np.float32))


@pytest.mark.slow
def test_the_window_answers_while_a_job_runs(
    qtbot: QtBot, open_widget: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Solvers, alignment and the shipped network, with curve and picture drawn."""
    import_module("napari_i2ipr.pipeline")  # the first import of torch has a test of its own
    settings = {"n_starts": 12, "n_keep": 6, "short": "HIO:40", "long": "HIO:180 ER:20", "final": "HIO:150 ER:50"}
    monkeypatch.setitem(PRESETS, "fast", {"initialisation": settings})
    _, widget = open_widget(big())
    stages: set[str] = set()
    widget.runner.status.events.progress.connect(lambda progress: stages.add(progress.stage))
    seen: list[int] = []
    with heartbeat() as ticks:
        widget.runner.delivered.connect(lambda _: seen.append(len(ticks)))  # after this layers are added
        widget.run()
        qtbot.waitUntil(lambda: widget.runner._job is None, timeout=240_000)
    assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()
    assert {"short run", "long run", "final run", "refine"} <= stages
    assert widget.panel.live.curve.points
    assert widget.panel.live.picture._image is not None
    gaps = np.diff(ticks[: seen[0]])
    usual, longest = float(np.percentile(gaps, 99)), float(gaps.max())
    print(f"{len(gaps)} heartbeats: 99 % within {1000 * usual:.0f} ms, all within {1000 * longest:.0f} ms")
    assert len(gaps) > 50
    assert usual <= SLACK * USUAL_S
    assert longest <= SLACK * LONGEST_S


LONG = {
    "short run": {"n_starts": 3, "n_keep": 2, "short": "HIO:2000000", "long": "ER:5", "final": ""},
    "long run": {"n_starts": 3, "n_keep": 2, "short": "HIO:5", "long": "HIO:2000000", "final": ""},
    "blind mean": {"n_starts": 60, "n_keep": 60, "short": "HIO:5", "long": "ER:5", "final": "ER:5"},
    "align": {"n_starts": 60, "n_keep": 60, "short": "HIO:5", "long": "ER:5", "final": ""},
    "refine": {"n_starts": 2, "n_keep": 2, "short": "HIO:5", "long": "ER:5", "final": ""},
}
"""Settings that make a stage long."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", LONG)
def test_cancel_acts_within_a_second(
    qtbot: QtBot, open_widget: Opened, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    import_module("napari_i2ipr.pipeline")
    refine = {"enabled": stage == "refine", "steps": 64, "views": 8}
    monkeypatch.setitem(PRESETS, "fast", {"initialisation": LONG[stage], "refine": refine})
    viewer, widget = open_widget(big())
    reached: list[float] = []

    def look(progress: Any) -> None:
        if progress.stage == stage and not reached:
            reached.append(time.perf_counter())
            widget.panel.cancel_button.click()

    widget.runner.status.events.progress.connect(look)
    ended: list[float] = []
    widget.runner.status.events.message.connect(lambda said: said and ended.append(time.perf_counter()))
    widget.run()
    if stage == "short run":  # says nothing of itself before its first hundred iterations
        qtbot.waitUntil(lambda: bool(reached), timeout=60_000)
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert widget.runner.status.state is RunState.STOPPED, widget.panel.message.text()
    assert len(viewer.layers) > 1, "what was found is kept"
    took = ended[0] - reached[0]
    print(f"stopped in {stage!r} after {took:.2f} s")
    assert took <= SLACK * STOP_S


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_job_leaves_nothing_behind(
    qtbot: QtBot, open_widget: Opened, measurement: Measurement, tmp_path: Path
) -> None:
    """No thread, no open file, no changed setting of torch; the stack is read from its file."""
    import torch

    stack = replace(measurement, intensity=np.stack([measurement.intensity] * 3), axes=("t", "y", "x"))
    io.write(replace(stack, bad_pixels=None), tmp_path / "stack.cxi")
    _, widget = open_widget(io.read(tmp_path / "stack.cxi"))
    process, left = psutil.Process(), []
    for _ in range(2):
        widget.run()
        qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
        assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()
        qtbot.wait(100)
        files = {file.path for file in process.open_files() if file.path.startswith(str(tmp_path))}
        left.append((threading.active_count(), files, torch.get_num_threads()))
    assert left[0] == left[1]
    assert left[1][1] == set()


@pytest.mark.usefixtures("tiny")
def test_a_core_is_left_to_the_window(qtbot: QtBot, open_widget: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_i2ipr import pipeline
    from napari_i2ipr.plugin import worker

    monkeypatch.setattr(worker, "available_cores", lambda: 3)
    assert spare_one() == 2
    seen: list[tuple[int, int]] = []
    real = pipeline.reconstruct

    def spy(measurement: Any, config: Any, **options: Any) -> Any:
        import torch

        seen.append((config.compute.threads, torch.get_num_threads()))
        return real(measurement, config, **options)

    monkeypatch.setattr(pipeline, "reconstruct", spy)
    viewer, widget = open_widget()
    widget.run()
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert seen == [(2, 2)]
    words = viewer.layers[-1].metadata["napari_i2ipr"]
    assert words["provenance"]["config"]["compute"]["threads"] == 0, "what was asked for"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["ours", "python", "torch", "any"])
def test_errors_become_one_sentence(
    qtbot: QtBot, open_widget: Opened, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import torch
    from napari.utils.notifications import notification_manager

    from napari_i2ipr import pipeline
    from napari_i2ipr.errors import OutOfMemoryError

    error, said = {
        "ours": (OutOfMemoryError("work of 9 GiB", expected="at most 3 GiB", do="crop it"), "Got work of 9 GiB"),
        "python": (MemoryError(), "The memory did not suffice"),
        "torch": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "The memory did not suffice"),
        "any": (KeyError("x"), "This failed (KeyError"),
    }[kind]

    def broken(*_: Any, **__: Any) -> None:
        raise error

    _, widget = open_widget()
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "reconstruct", broken)
        widget.run()
        qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert widget.panel.message.text().startswith(said)
    assert notification_manager.records[-1].message == widget.panel.message.text()
    assert "\n" not in widget.panel.message.text()
    assert widget.panel.run_button.isEnabled()
    assert widget.panel.preview_button.isEnabled()

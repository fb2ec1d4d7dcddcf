"""Jobs: progress that is not too much, cancel, errors that nobody swallows."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.errors import CancelledError, InputError, OutOfMemoryError
from napari_i2ipr.plugin.state import Progress, RunState
from napari_i2ipr.plugin.worker import PROGRESS_HZ, Runner, sentence
from napari_i2ipr.progress import Cancel

pytestmark = pytest.mark.usefixtures("no_job_left")


def test_result_is_delivered(qtbot: QtBot) -> None:
    delivered: list[Any] = []
    runner = Runner()
    runner.delivered.connect(delivered.append)
    runner.start(lambda **_: "a result")
    assert runner.status.running
    qtbot.waitUntil(lambda: not runner.status.running, timeout=30_000)
    assert delivered == ["a result"]
    assert runner.status.state is RunState.DONE
    assert runner.status.progress.fraction == 1


def test_progress_is_throttled(qtbot: QtBot) -> None:
    seen: list[float] = []

    def task(*, on_progress: Callable[[Progress], None], cancel: Cancel) -> str:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            on_progress(Progress("short run", 0.5))
        return "done"

    runner = Runner()
    runner.start(task)
    job = runner._job
    job.progress.connect(lambda _: seen.append(time.monotonic()))
    qtbot.waitUntil(lambda: runner._job is None, timeout=30_000)
    assert 2 <= len(seen) <= PROGRESS_HZ + 1


@pytest.mark.parametrize("error", [RuntimeError("device lost"), ValueError("no"), KeyError("k"), MemoryError()])
def test_every_error_arrives(qtbot: QtBot, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    def task(*, on_progress: Callable[[Progress], None], cancel: Cancel) -> None:
        raise error

    said: list[str] = []
    runner = Runner()
    runner.failed.connect(said.append)
    with caplog.at_level(logging.ERROR):
        runner.start(task)
        qtbot.waitUntil(lambda: runner._job is None, timeout=30_000)
    assert runner.status.state is RunState.CRASHED
    assert said == [runner.status.message] == [sentence(error)]
    assert "Traceback" in caplog.text
    runner.start(lambda **_: "again")
    qtbot.waitUntil(lambda: runner.status.state is RunState.DONE, timeout=30_000)


def test_failed_job_lets_go_of_its_data(qtbot: QtBot) -> None:
    data = np.zeros(10)
    gone = weakref.ref(data)

    def task(*, on_progress: Callable[[Progress], None], cancel: Cancel, held: list[Any]) -> None:
        listened.wait(30)
        inner = held.pop()
        try:
            inner.reshape(3, 3)
        except ValueError as error:
            raise OutOfMemoryError("too much") from error

    kept: list[Exception] = []
    listened = threading.Event()
    runner = Runner()
    runner.start(partial(task, held=[data]))
    del data
    runner._job.errored.connect(kept.append)
    listened.set()
    qtbot.waitUntil(lambda: runner._job is None and bool(kept), timeout=30_000)
    assert gone() is None


def test_cancel_before_anything(qtbot: QtBot) -> None:
    def task(*, on_progress: Callable[[Progress], None], cancel: Cancel) -> None:
        while not cancel.is_set():
            time.sleep(0.01)
        raise CancelledError("a stop before the first iteration")

    runner = Runner()
    runner.start(task)
    runner.cancel()
    qtbot.waitUntil(lambda: runner._job is None, timeout=30_000)
    assert runner.status.state is RunState.STOPPED
    assert "nothing" in runner.status.message or "before" in runner.status.message


def test_closed_runner_hears_no_more(qtbot: QtBot) -> None:
    def task(*, on_progress: Callable[[Progress], None], cancel: Cancel) -> str:
        while not cancel.is_set():
            time.sleep(0.01)
        return "too late"

    delivered: list[Any] = []
    runner = Runner()
    runner.delivered.connect(delivered.append)
    runner.start(task)
    runner.close()
    qtbot.wait(200)
    assert delivered == []
    assert runner._links == []


def test_one_at_a_time(qtbot: QtBot) -> None:
    def slow(*, on_progress: Callable[[Progress], None], cancel: Cancel) -> str:
        time.sleep(0.2)
        return "first"

    delivered: list[Any] = []
    runner = Runner()
    runner.delivered.connect(delivered.append)
    runner.start(slow)
    runner.start(lambda **_: "second")
    qtbot.waitUntil(lambda: runner._job is None, timeout=30_000)
    assert delivered == ["first"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            InputError("an empty array", expected="a pattern", do="check the file"),
            "Got an empty array, expected a pattern: check the file.",
        ),
        (InputError("an empty array"), "Got an empty array."),
        (OutOfMemoryError("3 GB free", expected="5 GB", do="crop it"), "Got 3 GB free, expected 5 GB: crop it."),
    ],
)
def test_our_errors_as_sentences(error: Exception, said: str) -> None:
    assert sentence(error) == said


def test_other_errors_as_sentences() -> None:
    assert "memory" in sentence(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"))
    said = sentence(RuntimeError("device lost\nsecond line"))
    assert "RuntimeError: device lost" in said
    assert "second line" not in said

"""The three stages of a unit: where they run, in which order, and what a stop leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from napari_i2ipr.batch.local import run_units


def test_the_callers_thread_computes_and_no_other_stage_runs_there() -> None:
    threads: dict[str, set[int]] = {"read": set(), "compute": set(), "write": set()}
    written = []

    def stage(name: str, value: int) -> int:
        threads[name].add(threading.get_ident())
        return value

    def write(value: int) -> None:
        written.append(stage("write", value))

    run_units(range(20), lambda unit: stage("read", unit), lambda unit: stage("compute", unit), write)
    assert written == list(range(20))
    assert threads["compute"] == {threading.get_ident()}
    assert len(threads["read"]) == len(threads["write"]) == 1
    assert len(set.union(*threads.values())) == 3


def test_the_first_error_of_the_computing_is_raised_and_what_was_computed_is_written() -> None:
    written: list[int] = []

    def compute(unit: int) -> int:
        if unit == 3:
            raise ValueError("three")
        return unit

    with pytest.raises(ValueError, match="three"):
        run_units(range(9), lambda unit: unit, compute, written.append)
    assert written == [0, 1, 2]


@pytest.fixture
def ctrl_c_counts() -> Iterator[None]:
    """A process that was started in the background may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_counts")
@pytest.mark.parametrize("stage", ["waiting", "computing"])
def test_ctrl_c_ends_it_and_what_was_computed_is_written(stage: str) -> None:
    """Whether it comes while the caller waits for a read or while it computes."""
    written: list[int] = []

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.05)

    def read(unit: int) -> int:
        if unit == 5 and stage == "waiting":
            time.sleep(0.3)  # until there is nothing left to compute
            interrupt()
        return unit

    def compute(unit: int) -> int:
        if unit == 5 and stage == "computing":
            interrupt()
        return unit

    with pytest.raises(KeyboardInterrupt):
        run_units(range(9), read, compute, written.append)
    assert written == list(range(5))

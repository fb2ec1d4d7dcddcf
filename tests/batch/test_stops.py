"""A stop is heard wherever it comes, and the threads of a batch end with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr.batch import plan_batch, reconstruct_batch
from napari_i2ipr.config import Config
from napari_i2ipr.errors import CancelledError
from napari_i2ipr.progress import Cancel, Event

Volume = Callable[..., Path]


@pytest.fixture
def stopped() -> Cancel:
    cancel = Cancel()
    cancel.set()
    return cancel


def test_a_plan_is_stopped(volume: Volume, tiny: Config, tmp_path: Path, stopped: Cancel) -> None:
    source = volume(2)
    assert plan_batch(source, tmp_path / "t.zarr", tiny, cancel=Cancel()).frames == 2
    with pytest.raises(CancelledError):
        plan_batch(source, tmp_path / "t.zarr", tiny, cancel=stopped)


def test_the_look_at_what_is_done_is_stopped(volume: Volume, tiny: Config, tmp_path: Path, stopped: Cancel) -> None:
    """Hashing a large result takes long."""
    source, target = volume(2), tmp_path / "t.zarr"
    reconstruct_batch(source, target, tiny)
    with pytest.raises(CancelledError):
        reconstruct_batch(source, target, tiny, cancel=stopped)
    again = reconstruct_batch(source, target, tiny)
    assert (again.complete, again.worked) == (True, 0)


def test_the_pyramid_is_stopped_and_written_later(
    volume: Volume, tiny: Config, tmp_path: Path, image: Callable[..., Any]
) -> None:
    cancel = Cancel()

    def on_event(event: Event) -> None:
        if event.stage == "pyramid":
            cancel.set()

    source, target = volume(2, frame=(264, 264)), tmp_path / "t.zarr"
    report = reconstruct_batch(source, target, tiny, on_event=on_event, cancel=cancel)
    assert (report.complete, report.worked) == (False, 2)
    assert not target.exists()
    report = reconstruct_batch(source, target, tiny)
    assert (report.complete, report.worked, report.kept) == (True, 0, 2)
    assert np.isfinite(image(target, level=1)).all()


def test_no_thread_stays_in_a_program_that_goes_on(volume: Volume, tiny: Config, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as caller:
        caller.submit(int).result()
        before = threading.active_count()
        report = caller.submit(reconstruct_batch, volume(3), tmp_path / "t.zarr", tiny).result()
        assert report.complete
        assert threading.active_count() == before

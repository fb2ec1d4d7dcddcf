"""Killed, stopped, limited from outside: the same command again completes the very same result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr.batch import reconstruct_batch
from napari_i2ipr.config import Config

Volume = Callable[..., Path]
Settings = Callable[..., Path]
Start = Callable[..., Any]
Image = Callable[..., np.ndarray]

SLOW = "HIO:400"
"""Tens of milliseconds a pattern: long enough to be caught in the middle."""


def settings_of(path: Path) -> Config:
    return Config.from_yaml(path.read_text())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_in_the_middle(
    *, tmp_path: Path, volume: Volume, settings: Settings, start: Start, units_done: Any, wait_for: Any, image: Image
) -> None:
    source, target, config = volume(24), tmp_path / "out.zarr", settings(SLOW)
    known = reconstruct_batch(source, tmp_path / "known.zarr", settings_of(config))
    process = start(source, target, "--config", config, "--unit", 4)
    wait_for(lambda: units_done(target) >= 2, process)
    process.kill()
    process.communicate()
    assert not target.exists()
    done = 4 * units_done(target)
    assert 8 <= done < 24
    process = start(source, target, "--config", config, "--unit", 4, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["kept"], report["worked"], report["status"]) == (done, 24 - done, "COMPLETE")
    for name in ("reconstruction", "uncertainty"):
        np.testing.assert_array_equal(image(target, name), image(known.target, name))
    assert not list(target.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(
    *,
    number: signal.Signals,
    tmp_path: Path,
    volume: Volume,
    settings: Settings,
    start: Start,
    units_done: Any,
    wait_for: Any,
    image: Image,
) -> None:
    source, target, config = volume(24), tmp_path / "out.zarr", settings(SLOW)
    process = start(source, target, "--config", config, "--unit", 2)
    wait_for(lambda: units_done(target) >= 1, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert 1 <= units_done(target) < 12
    report = reconstruct_batch(source, target, settings_of(config))
    assert report.complete
    assert report.kept >= 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_full_disk(
    *, tmp_path: Path, volume: Volume, settings: Settings, start: Start, units_done: Any, image: Image
) -> None:
    """The limit on the size of files stands for it: the journal reaches it after some units."""
    import resource

    source, target, config = volume(24), tmp_path / "out.zarr", settings()
    limit = 9000  # bytes: a shard has 4 kB, the journal 0.5 kB a pattern

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(source, target, "--config", config, "--unit", 2, preexec_fn=limited)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 5, err
    assert "cannot be written" in err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert 1 <= units_done(target) < 12
    report = reconstruct_batch(source, target, settings_of(config))
    assert report.complete
    assert report.kept >= 2
    known = reconstruct_batch(source, tmp_path / "known.zarr", settings_of(config))
    np.testing.assert_array_equal(image(target), image(known.target))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_run_on_the_same_target(
    *, tmp_path: Path, volume: Volume, settings: Settings, start: Start, units_done: Any, wait_for: Any
) -> None:
    source, target, config = volume(24), tmp_path / "out.zarr", settings("HIO:8000")
    first = start(source, target, "--config", config, "--unit", 1)
    wait_for(lambda: units_done(target) >= 1, first)
    second = start(source, target, "--config", config)
    _, err = second.communicate(timeout=60)
    assert first.poll() is None
    assert second.returncode == 2
    assert "another run" in err
    first.kill()
    first.communicate()
    done = units_done(target)
    third = start(source, target, "--config", config)  # the lock of a dead process is no lock
    wait_for(lambda: units_done(target) > done, third)


PEAK = """
import resource, sys
from pathlib import Path
import dask.array as da
import numpy as np
from napari_i2ipr.batch import reconstruct_batch
from napari_i2ipr.config import Config
from napari_i2ipr.errors import OutOfMemoryError

frames, side, target, memory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
config = Config().replace(
    initialisation={"n_starts": 1, "short": "HIO:2", "n_keep": 1, "long": "HIO:3", "final": ""},
    compute={"threads": 1},
    refine={"enabled": False},
)

def frame(block_info=None):
    k = block_info[None]["chunk-location"][0]
    if side > 500 and k % 200:
        return np.full((1, side, side), np.nan, np.float32)  # read in full, and refused
    return np.random.default_rng(k).random((1, side, side), np.float32)

chunks = ((1,) * frames, (side,), (side,))
volume = da.map_blocks(frame, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
report = reconstruct_batch(volume, target, config, memory=memory or None)
assert report.complete and report.frames == frames
status = Path("/proc/self/status")
if status.exists():  # what getrusage says begins with the memory of the process that started this one
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(frames: int, side: int, target: Path, memory: int = 0) -> int:
    """Peak memory of a batch in a process of its own, in bytes."""
    command = [sys.executable, "-c", PEAK, str(frames), str(side), str(target), str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="memory of a process")
def test_a_volume_of_ten_times_the_limit(tmp_path: Path) -> None:
    side, limit = 1024, 900_000_000  # half of it is taken by the libraries
    frames = 10 * limit // (4 * side * side) + 1
    assert peak(frames, side, tmp_path / "out.zarr", limit) <= limit


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="memory of a process")
def test_memory_does_not_grow_with_the_volume(tmp_path: Path) -> None:
    few, many = (peak(n, 48, tmp_path / f"{n}.zarr") for n in (64, 512))
    assert many <= 1.1 * few

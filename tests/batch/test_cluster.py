"""Workers of dask.distributed: the same result, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr.batch import plan_batch, reconstruct_batch
from napari_i2ipr.config import Config
from napari_i2ipr.errors import ConfigError, InputError, OutputError
from napari_i2ipr.progress import Cancel, Event

distributed = pytest.importorskip("distributed")

Patterns = Callable[..., np.ndarray]
Image = Callable[..., np.ndarray]
Volume = Callable[..., Path]

WHOLE_LEVEL = "HIO:400"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two local workers for the tests of this file; no test ends them."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", resources={"GPU": 1}
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_equal_to_one_process(client: Any, tmp_path: Path, volume: Volume, tiny: Config, image: Image) -> None:
    source = volume(13)
    known = reconstruct_batch(source, tmp_path / "known.zarr", tiny, unit=8)
    said: list[Event] = []
    report = reconstruct_batch(source, tmp_path / "out.zarr", tiny, unit=2, scheduler=client, on_event=said.append)
    assert report.complete
    assert report.statuses == {"DONE": 13}
    assert sorted(event.row.index for event in said if getattr(event, "row", None)) == list(range(13))
    for name in ("reconstruction", "uncertainty"):
        np.testing.assert_array_equal(image(report.target, name), image(known.target, name))
    again = reconstruct_batch(source, tmp_path / "out.zarr", tiny)
    assert (again.worked, again.complete) == (0, True)


@pytest.mark.slow
def test_bad_patterns_and_arrays_in_memory(client: Any, tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data = patterns(6)
    data[3] = np.nan
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=2, scheduler=client)
    assert report.statuses == {"DONE": 5, "EMPTY": 1}
    with pytest.raises(InputError, match="pattern 3"):
        reconstruct_batch(data, tmp_path / "strict.zarr", tiny, unit=2, scheduler=client, strict=True)


@pytest.mark.slow
def test_a_stop(client: Any, tmp_path: Path, volume: Volume, tiny: Config, image: Image) -> None:
    source, target = volume(16), tmp_path / "out.zarr"
    slow, cancel = tiny.replace(initialisation={"long": WHOLE_LEVEL}), Cancel()

    def hear(event: Event) -> None:
        if getattr(event, "row", None) is not None:
            cancel.set()

    report = reconstruct_batch(source, target, slow, unit=1, scheduler=client, on_event=hear, cancel=cancel)
    assert not report.complete
    assert 0 < report.worked < 16
    assert not (tmp_path / "out.zarr.partial" / "stop").exists()
    report = reconstruct_batch(source, target, slow, scheduler=client)
    assert report.complete
    known = reconstruct_batch(source, tmp_path / "known.zarr", slow)
    np.testing.assert_array_equal(image(target), image(known.target))


@pytest.mark.slow
def test_an_error_of_a_worker_is_ours(client: Any, tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(4), tmp_path / "out.zarr"

    def spoil(event: Event) -> None:
        if getattr(event, "row", None) is None:
            return
        shard = target.with_name("out.zarr.partial") / "uncertainty" / "0"
        if shard.is_dir():
            shard.rename(shard.with_name("elsewhere"))
            shard.write_text("a file where a directory was")

    with pytest.raises(OutputError, match="run the same command again"):
        reconstruct_batch(source, target, tiny, unit=1, scheduler=client, on_event=spoil)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_that_is_killed(tmp_path: Path, volume: Volume, tiny: Config, image: Image) -> None:
    source, target = volume(12), tmp_path / "out.zarr"
    slow = tiny.replace(initialisation={"long": WHOLE_LEVEL})
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill(event: Event) -> None:
            if getattr(event, "row", None) is not None and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        report = reconstruct_batch(source, target, slow, unit=1, scheduler=client, on_event=kill)
        assert killed
    assert report.complete
    assert report.statuses == {"DONE": 12}
    known = reconstruct_batch(source, tmp_path / "known.zarr", slow)
    np.testing.assert_array_equal(image(target), image(known.target))


@pytest.mark.slow
def test_a_cluster_of_its_own(
    tmp_path: Path, volume: Volume, settings: Callable[..., Path], start: Callable[..., Any], image: Image
) -> None:
    source, target, config = volume(6), tmp_path / "out.zarr", settings()
    process = start(source, target, "--config", config, "--cluster", "local:2", "--unit", 2, "--memory", "4GB")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    known = reconstruct_batch(source, tmp_path / "known.zarr", Config.from_yaml(config.read_text()))
    np.testing.assert_array_equal(image(target), image(known.target))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_a_terminal_reaches_all_processes(
    *, tmp_path: Path, volume: Volume, settings: Any, start: Any, units_done: Any, wait_for: Any
) -> None:
    source, target, config = volume(24), tmp_path / "out.zarr", settings("HIO:2000")
    options = ("--config", config, "--cluster", "local:2", "--unit", 1)
    process = start(source, target, *options, start_new_session=True)
    wait_for(lambda: units_done(target) >= 1, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    assert "run the same command again" in err
    assert 1 <= units_done(target) < 24


@pytest.mark.parametrize("scheduler", ["local:none", "local:0", "tcp://127.0.0.1:1"])
def test_clusters_that_are_none(scheduler: str, tmp_path: Path, volume: Volume, tiny: Config) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}), pytest.raises(ConfigError):
        reconstruct_batch(volume(2), tmp_path / "out.zarr", tiny, scheduler=scheduler)


def test_the_memory_is_shared_among_local_workers(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    data = patterns(8)
    one = plan_batch(data, tmp_path / "out.zarr", tiny, scheduler="local:1", timed=False)
    two = plan_batch(data, tmp_path / "out.zarr", tiny, scheduler="local:2", timed=False)
    assert two.memory_bytes > 1.5 * one.memory_bytes


def test_without_distributed_the_message_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from napari_i2ipr.batch import cluster\n"
        "from napari_i2ipr.errors import ConfigError\n"
        "try:\n"
        "    cluster.connected('local:1', None).__enter__()\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "napari-i2ipr[cluster]" in done.stdout, done.stderr

"""Speed and memory of the batch engine, as ratios measured in one run.

The engine against a bare loop of ``reconstruct`` over the same frames in memory; its peak memory with few and with many
frames, each in a process of its own; two local workers against one, a thread each. ``run.py --batch`` writes the table.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_i2ipr import Config, Measurement, reconstruct, reconstruct_batch
from napari_i2ipr.physics.memory import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_PX = 64
"""Frames of the memory table, whose number and not whose size counts."""

WORKER_PX = 256
"""Frames of the table of workers."""


def frames(count: int, side: int) -> np.ndarray:
    """Patterns of smooth random objects of half the frame, with Poisson noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    found = np.zeros((count, side, side), np.float32)
    inside = slice(side // 4, side // 4 + side // 2)
    for k in range(count):
        image = np.zeros((side, side))
        image[inside, inside] = np.clip(gaussian_filter(rng.standard_normal((side // 2,) * 2), 2), 0, None)
        pattern = np.abs(np.fft.fftshift(np.fft.fft2(image))) ** 2
        found[k] = rng.poisson(pattern * (1e6 / pattern.sum()))
    return found


def loop(stack: np.ndarray, config: Config) -> float:
    """Seconds of a bare loop."""
    started = time.perf_counter()
    for frame in stack:
        reconstruct(Measurement(frame), config)
    return time.perf_counter() - started


def engine(stack: np.ndarray, config: Config, scheduler: object = None) -> float:
    """Seconds of the engine, from the first look at the source to the final name of the target."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        report = reconstruct_batch(stack, Path(folder) / "out.zarr", config, scheduler=scheduler)
        seconds = time.perf_counter() - started
    assert report.complete
    assert report.good == len(stack)
    return seconds


def in_turns(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds):
        order = list(contestants) if round_ % 2 else list(contestants)[::-1]
        for name in order:
            times[name].append(contestants[name]())
    return times


def overhead_table(count: int, rounds: int) -> list[str]:
    """The engine against the bare loop, preset ``fast``."""
    config, stack = Config.from_preset("fast"), frames(count, 256)
    loop(stack[:2], config)
    engine(stack[:2], config)
    times = in_turns({"loop": lambda: loop(stack, config), "engine": lambda: engine(stack, config)}, rounds)
    ratios = [e / b for e, b in zip(times["engine"], times["loop"], strict=True)]
    percent = [100 * (ratio - 1) for ratio in (min(ratios), statistics.median(ratios), max(ratios))]
    bare, whole = (statistics.median(times[name]) for name in ("loop", "engine"))
    return [
        f"{count} frames of 256 x 256 px in memory, preset `fast`, {rounds} rounds in turns:",
        "",
        "| bare loop s | engine s | overhead % (median of the rounds' ratios) | from - to % |",
        "|---|---|---|---|",
        f"| {bare:.1f} | {whole:.1f} | {percent[1]:.1f} | {percent[0]:.1f} - {percent[2]:.1f} |",
    ]


def memory_child(count: int) -> None:
    """Reconstruct a volume of so many small frames and print the peak memory in MiB."""
    import zarr

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.zarr"
        shape = (count, SMALL_PX, SMALL_PX)
        array = zarr.create_array(str(source), shape=shape, dtype="float32", chunks=(1, SMALL_PX, SMALL_PX))
        for k, frame in enumerate(frames(64, SMALL_PX)):
            array[k::64] = np.broadcast_to(frame, (len(range(k, count, 64)), SMALL_PX, SMALL_PX))
        config = Config.from_preset(
            "fast",
            initialisation={"n_starts": 2, "n_keep": 2, "short": "HIO:5", "long": "HIO:20", "final": ""},
            compute={"threads": 1},
            refine={"enabled": False},
        )
        report = reconstruct_batch(source, Path(folder) / "out.zarr", config)
        assert report.frames == count
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def memory_table(counts: tuple[int, ...]) -> list[str]:
    """Peak memory of processes with few and with many frames."""
    script = str(Path(__file__).resolve().with_name("run.py"))
    peaks = []
    for count in counts:
        command = [sys.executable, script, "--batch-memory-child", str(count)]
        peaks.append(float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)))
    lines = [f"| frames of {SMALL_PX} x {SMALL_PX} px | peak memory MiB | of the first |", "|---|---|---|"]
    return lines + [f"| {n} | {peak:.0f} | {peak / peaks[0]:.3f} |" for n, peak in zip(counts, peaks, strict=True)]


def worker_table(count: int, rounds: int) -> list[str]:
    """Frames per minute of one and of two local workers with a thread each, preset ``fast``."""
    from distributed import Client, LocalCluster

    config, stack = Config.from_preset("fast", compute={"threads": 1}), frames(count, WORKER_PX)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2) * rounds:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            engine(stack[: 4 * workers], config, client)
            rates[workers].append(60 * count / engine(stack, config, client))
    one, two = (statistics.median(rates[n]) for n in (1, 2))
    return [
        f"{count} frames of {WORKER_PX} x {WORKER_PX} px, preset `fast`, workers of one thread, started before:",
        "",
        "| workers | frames per minute | of one |",
        "|---|---|---|",
        f"| 1 | {one:.1f} | 1.00 |",
        f"| 2 | {two:.1f} | {two / one:.2f} |",
    ]


def table(count: int, rounds: int, counts: tuple[int, ...]) -> str:
    """The whole benchmark as Markdown."""
    warnings.simplefilter("ignore")
    machine = f"Machine: {platform.machine()}, {available_cores()} cores, torch {torch.__version__}."
    lines = [machine, "", *overhead_table(count, rounds), "", *memory_table(counts), "", *worker_table(count, rounds)]
    return "\n".join(lines) + "\n"

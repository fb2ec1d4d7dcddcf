"""Small volumes of patterns, cheap settings, and the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_i2ipr.config import Config

SETTINGS: dict[str, Any] = {
    "initialisation": {"n_starts": 2, "short": "HIO:3", "n_keep": 1, "long": "HIO:5", "final": ""},
    "compute": {"threads": 1},
    "refine": {"enabled": False},
}


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> Config:
    """Settings of a few milliseconds a pattern."""
    return Config().replace(**SETTINGS)


@pytest.fixture(scope="session")
def patterns() -> Callable[..., np.ndarray]:
    """Makes patterns ``(*lead, y, x)`` of random objects of half the frame, different each."""

    def make(*lead: int, frame: tuple[int, int] = (48, 48)) -> np.ndarray:
        ny, nx = frame
        objects = np.zeros((int(np.prod(lead)), ny, nx))
        y0, x0 = (ny - ny // 2) // 2, (nx - nx // 2) // 2
        inside = np.random.default_rng(0).random((len(objects), ny // 2, nx // 2))
        objects[:, y0 : y0 + ny // 2, x0 : x0 + nx // 2] = inside
        spectra = np.fft.fftshift(np.fft.fft2(objects, norm="ortho"), axes=(-2, -1))
        return (np.abs(spectra) ** 2).astype(np.float32).reshape(*lead, ny, nx)

    return make


@pytest.fixture
def volume(tmp_path: Path, patterns: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes ``source.zarr``, a frame a chunk."""

    def make(*lead: int, frame: tuple[int, int] = (48, 48), chunk: tuple[int, ...] | None = None, **more: Any) -> Path:
        data = patterns(*lead, frame=frame)
        path = tmp_path / "source.zarr"
        chunks = (chunk or (1,) * len(lead)) + frame
        array = zarr.create_array(str(path), shape=data.shape, dtype=data.dtype, chunks=chunks, **more)
        array[...] = data
        return path

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Writes the settings as YAML; the long schedule sets how long a pattern takes."""

    def make(long: str = "HIO:5") -> Path:
        section = {**SETTINGS["initialisation"], "long": long}
        path = tmp_path / "settings.yaml"
        path.write_text(Config().replace(**{**SETTINGS, "initialisation": section}).to_yaml())
        return path

    return make


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``i2ipr batch`` in a process of its own; ends what is left of it."""
    begun: list[subprocess.Popen[str]] = []

    def make(*arguments: object, **more: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "napari_i2ipr.cli", "batch", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more
        )
        begun.append(process)
        return process

    yield make
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def image() -> Callable[..., np.ndarray]:
    """Reads an image of a target."""

    def read(target: Path, name: str = "reconstruction", level: int = 0) -> np.ndarray:
        return np.asarray(zarr.open_array(str(target / name / str(level)), mode="r")[...])

    return read


@pytest.fixture(scope="session")
def units_done() -> Callable[[Path], int]:
    """Counts the marks of an unfinished target."""

    def count(target: Path) -> int:
        journal = target.with_name(target.name + ".partial") / "scores" / "units.jsonl"
        return len(journal.read_bytes().splitlines()) if journal.is_file() else 0

    return count


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """Waits until something is so; fails if the process ends before."""

    def wait(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None:
                raise AssertionError(f"it ended with {process.returncode}: {process.communicate()}")
            assert time.monotonic() < end, "it took too long"
            time.sleep(0.02)

    return wait

"""A volume from the command line to a viewer: killed twice on the way, complete and correct in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import zarr

from napari_i2ipr import io
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement, Reconstruction
from napari_i2ipr.pipeline import reconstruct

FRAMES, SIDE = 256, 96
GEOMETRY = Geometry(wavelength_m=1.5e-9, distance_m=0.8, pixel_size_m=(2e-5, 1e-5))
SETTINGS = """
initialisation: {n_starts: 2, short: "HIO:5", n_keep: 1, long: "HIO:100", final: ""}
compute: {threads: 1}
refine: {enabled: false}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9"),
]


class Volume(NamedTuple):
    """The target, what it should hold, and what the last run said."""

    target: Path
    known: Reconstruction
    said: str


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, patterns: Callable[..., np.ndarray]) -> Volume:
    folder = tmp_path_factory.mktemp("volume")
    measurement = Measurement(patterns(FRAMES, frame=(SIDE, SIDE)), geometry=GEOMETRY, axes=("t", "y", "x"))
    io.write(measurement, folder / "source.zarr")
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS)
    target = folder / "out.zarr"
    command = [sys.executable, "-m", "napari_i2ipr.cli", "batch", "source.zarr", "out.zarr", "--config", str(settings)]
    begun = 0
    for _ in range(2):
        begun = killed_after(command, folder, target, begun + 2)
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Volume(target, reconstruct(measurement, Config.from_yaml(SETTINGS)), done.stdout)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def killed_after(command: list[str], folder: Path, target: Path, units: int) -> int:
    """Kill the command once so many units are marked; how many there are then."""
    journal = target.with_name("out.zarr.partial") / "scores" / "units.jsonl"

    def marked() -> int:
        return journal.read_bytes().count(b"\n") if journal.is_file() else 0

    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 200
        while marked() < units:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    return marked()


def test_every_pattern_is_there_and_right(volume: Volume) -> None:
    result = io.read_result(volume.target)
    np.testing.assert_array_equal(result.image, volume.known.image)
    np.testing.assert_array_equal(result.uncertainty, volume.known.uncertainty)
    assert result.image.shape == (FRAMES, SIDE // 2, SIDE // 2)
    assert result.pixel_m == volume.known.pixel_m
    assert "were done before" in volume.said
    assert sorted(p.name for p in volume.target.parent.iterdir()) == ["out.zarr", "settings.yaml", "source.zarr"]


def test_the_metadata_are_those_of_the_format(volume: Volume) -> None:
    from yaozarrs import validate_zarr_store

    for name in ("reconstruction", "uncertainty"):
        validate_zarr_store(str(volume.target / name))
    array = zarr.open_array(str(volume.target / "reconstruction" / "0"), mode="r")
    assert array.chunks == (1, SIDE // 2, SIDE // 2)
    assert array.shards is not None


@pytest.mark.parametrize("name", ["reconstruction", "uncertainty"])
def test_a_viewer_reads_it(volume: Volume, name: str) -> None:
    """With the reader of napari-ome-zarr: `tox run -e ome-zarr`."""
    reader = pytest.importorskip("napari_ome_zarr")
    read = reader.napari_get_reader(str(volume.target / name))
    assert read is not None
    layers: list[Any] = read(str(volume.target / name))
    data, words = layers[0][:2]
    data = data[0] if isinstance(data, list) else data
    known = volume.known.image if name == "reconstruction" else volume.known.uncertainty
    np.testing.assert_array_equal(np.asarray(data), known)
    y, x = (1e6 * length for length in volume.known.pixel_m or ())
    assert list(words["scale"]) == pytest.approx([1, y, x])
    assert [str(unit) for unit in words["units"]][-2:] == ["micrometer", "micrometer"]

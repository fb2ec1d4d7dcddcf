"""``i2ipr napari``: torch first, files and samples in the window, clear words where something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_i2ipr import io
from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import ConfigError, FormatError
from napari_i2ipr.plugin import start

SCRIPT = """
import sys
import warnings
warnings.simplefilter("ignore")
from qtpy.QtCore import QTimer
from napari_i2ipr.cli import main
import napari

seen = []
def look():
    viewer = napari.current_viewer()
    if viewer is None or len(viewer.layers) < 4:
        QTimer.singleShot(100, look)
        return
    seen.extend(layer.name for layer in viewer.layers)
    viewer.close()

from qtpy.QtWidgets import QApplication
run = napari.run
napari.run = lambda: (QTimer.singleShot(0, look), run())
sys.argv = ["i2ipr", "napari", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(seen)
"""
"""Starts the command, looks at the window from its event loop, and closes it."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.slow
def test_the_command(tmp_path: Path, measurement: Measurement) -> None:
    pattern = io.write(measurement, tmp_path / "pattern.cxi")
    tifffile.imwrite(tmp_path / "picture.tif", measurement.intensity)
    done = run("-c", SCRIPT, str(pattern), str(tmp_path / "picture.tif"), "--sample", "cell")
    assert done.returncode == 0, done.stderr
    names = ["pattern", "bad pixels (pattern)", "picture", "cell pattern", "cell truth"]
    assert done.stdout.strip().splitlines()[-1] == str(names)


@pytest.mark.slow
def test_torch_comes_before_qt() -> None:
    """On Windows torch fails to load after Qt; the command's module itself loads neither."""
    code = (
        "import sys\n"
        "from napari_i2ipr.plugin import start\n"
        "assert not {'torch', 'napari', 'qtpy'} & set(sys.modules)\n"
        "start.open_window(show=False).close()\n"
        "order = list(sys.modules)\n"
        "print(order.index('torch') < min(order.index('napari'), order.index('qtpy')))\n"
    )
    done = run("-W", "ignore", "-c", code)
    assert done.stdout.split() == ["True"], done.stderr


def test_window_with_files(
    tmp_path: Path, measurement: Measurement, monkeypatch: pytest.MonkeyPatch, make_napari_viewer_proxy: object
) -> None:
    """Every file is read by this package, also one that napari would open as a picture."""
    import napari

    monkeypatch.setattr(napari, "Viewer", lambda show: make_napari_viewer_proxy(show=show))  # type: ignore[operator]
    np.save(tmp_path / "frame.npy", measurement.intensity)
    viewer = start.open_window([str(tmp_path / "frame.npy")], "photo", show=False)
    assert [layer.name for layer in viewer.layers] == ["frame", "photo pattern", "photo truth"]
    assert viewer.layers[0].gamma == 0.2
    viewer.close()
    (tmp_path / "bad.cxi").write_text("no HDF5")
    with pytest.raises(FormatError, match=r"bad\.cxi"):
        start.open_window([str(tmp_path / "bad.cxi")], show=False)


def test_unknown_sample() -> None:
    assert start.sample_keys() == ["cell", "photo", "stack", "beamstop"]
    with pytest.raises(ConfigError, match="one of cell, photo, stack, beamstop"):
        start.open_window(sample="no such", show=False)

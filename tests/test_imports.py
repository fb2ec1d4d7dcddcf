"""Importing is quick, settings need no torch, and the public names are frozen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_i2ipr

PUBLIC = [
    "Config",
    "Geometry",
    "I2IPRError",
    "Measurement",
    "Reconstruction",
    "read",
    "reconstruct",
    "reconstruct_batch",
    "simulate",
    "write",
]

MANIFEST = PluginManifest.from_file(Path(napari_i2ipr.__file__).with_name("napari.yaml"))
TARGETS = sorted(
    {
        str(command.python_name).partition(":")[0]
        for command in MANIFEST.contributions.commands or ()
        if command.python_name
    }
)


def run_python(code: str, *arguments: str) -> str:
    """Standard output of `code` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(module: str) -> set[str]:
    """Names of all modules that importing `module` loads in a fresh interpreter."""
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    return set(run_python(code, module).split())


@pytest.mark.parametrize(
    "module", ["napari_i2ipr", "napari_i2ipr.cli", "napari_i2ipr.io", "napari_i2ipr.config", *TARGETS]
)
def test_light(module: str) -> None:
    """What is imported at start-up loads neither torch nor dask."""
    if module.startswith("napari_i2ipr.plugin") and importlib.util.find_spec("napari") is None:
        pytest.skip("napari is not installed")
    loaded = loaded_by(module)
    heavy = {"torch", "dask.array", "distributed", "matplotlib"}
    if "napari" not in loaded:  # napari.layers itself loads the small core of dask, without arrays
        heavy.add("dask")
    assert not loaded & heavy


def test_faces_open_without_qt() -> None:
    loaded = loaded_by("napari_i2ipr") | loaded_by("napari_i2ipr.cli") | loaded_by("napari_i2ipr.plugin.reader")
    assert not loaded & {"napari", "qtpy", "magicgui", "superqt"}


def test_settings_need_no_torch() -> None:
    """Forms and `--help` are made from settings, so these open where torch cannot be imported at all."""
    run_python(
        "import sys; sys.modules['torch'] = None\n"
        "from napari_i2ipr.config import Config\n"
        "from napari_i2ipr.prepare import Preparation\n"
        "from napari_i2ipr.solvers import METHODS\n"
        "Config(), Preparation()\n"
        "assert all(method() is not None for method in METHODS.values())\n"
    )


def test_public_names_are_frozen() -> None:
    assert sorted(napari_i2ipr.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(napari_i2ipr))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name(name: str) -> None:
    value = getattr(napari_i2ipr, name)
    assert value.__name__ == name
    assert value.__doc__


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = napari_i2ipr.no_such_name

"""``i2ipr doctor``: what is installed here, and what it will run on."""

from __future__ import annotations

import os
import platform

from napari_i2ipr.cli._terminal import guarded, print_table
from napari_i2ipr.version import program_version

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "matplotlib", "dask", "zarr", "h5py", "hdf5plugin", "tifffile")
"""Distributions whose versions matter when something goes wrong; `fabio` reads EDF."""

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
"""Qt bindings, by the name of their distribution."""


@guarded
def doctor() -> None:
    """Say what is installed and what it runs on."""
    rows = {
        "napari-i2ipr": program_version(),
        "Python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _version(name) or "missing: install napari-i2ipr again" for name in (*LIBRARIES, "fabio")},
        **_devices(),
        **_windows(),
        "weights": _weights(),
    }
    print_table(rows)


def _weights() -> str:
    """The shipped weights of the learned refinement and their sizes."""
    from napari_i2ipr.refine.weights import DEFAULT, shipped

    found = [
        f"{name} ({path.stat().st_size / 1e6:.1f} MB{', the default' if name == DEFAULT else ''})"
        for name, path in shipped().items()
    ]
    return ", ".join(found) or "none shipped: install napari-i2ipr again, or give a file with --weights"


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    """What there is to compute on, and what `--device auto` takes."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = {
        "CPU": f"{cores} core{'' if cores == 1 else 's'} for this process, "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    }
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        rows[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    if torch.backends.mps.is_available():
        rows["mps"] = "Apple GPU; used when asked for with --device mps"
    rows["--device auto"] = "cuda" if torch.cuda.is_available() else "cpu"
    return rows


def _windows() -> dict[str, str]:
    """Whether the napari plugin can open here."""
    napari = _version("napari")
    found = [f"{name} {version}" for name in BINDINGS if (version := _version(name))]
    missing = 'not installed; the plugin needs it: pip install "napari-i2ipr[all]"'
    return {
        "napari": napari or missing,
        "Qt": ", ".join(found) or missing,
    }

"""A napari window for ``i2ipr napari``: torch first, then Qt, then the files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_i2ipr.errors import ConfigError

if TYPE_CHECKING:
    import napari.viewer

INSTALL = 'pip install "napari-i2ipr[all]"'
"""What installs napari and a Qt binding."""

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
"""Packages of which one must be there for a window."""

PLUGIN = "napari-i2ipr"


def require_napari() -> None:
    """Say how to install napari where it is missing.

    Raises
    ------
    ConfigError
        When napari or a Qt binding is missing.
    """
    missing = [] if find_spec("napari") else ["napari"]
    if not any(find_spec(name) for name in BINDINGS):
        missing.append("Qt binding")
    if missing:
        raise ConfigError(f"no {' and no '.join(missing)} in this environment", do=f"install it: {INSTALL}")


def sample_keys() -> list[str]:
    """Names of the samples, as the manifest has them."""
    from npe2 import PluginManifest

    found = PluginManifest.from_file(Path(__file__).parents[1] / "napari.yaml").contributions.sample_data
    return [sample.key for sample in found or ()]


def open_window(files: Sequence[str] = (), sample: str | None = None, *, show: bool = True) -> napari.viewer.Viewer:
    """A viewer with files and a sample in it; torch is loaded before Qt, as Windows wants it.

    Parameters
    ----------
    files : sequence of str
        Patterns and results of any format that `napari_i2ipr.read` knows; each is read by this package.
    sample : str, optional
        One of `sample_keys`.
    show : bool
        Whether the window is seen.

    Returns
    -------
    napari.viewer.Viewer
        Call ``napari.run()`` to work with it.

    Raises
    ------
    ConfigError
        When napari is missing, or there is no such sample.
    I2IPRError
        When a file cannot be read; the window is closed again.
    """
    require_napari()
    if sample is not None and sample not in sample_keys():
        raise ConfigError(f"the sample {sample!r}", expected="one of " + ", ".join(sample_keys()))
    import_module("torch")
    import napari

    from napari_i2ipr.plugin.opening import add_file

    viewer = napari.Viewer(show=show)
    with ExitStack() as unless_all_opened:
        unless_all_opened.callback(viewer.close)
        for file in files:
            add_file(viewer, file)
        if sample is not None:
            viewer.open_sample(PLUGIN, sample)
        unless_all_opened.pop_all()
    return viewer


def run(files: Sequence[str], sample: str | None) -> None:
    """Open the window and stay until it is closed; parameters and errors as for `open_window`."""
    open_window(files, sample)
    import napari

    napari.run()

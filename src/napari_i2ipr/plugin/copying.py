"""A run as a command line and as Python: text that repeats it elsewhere."""

from __future__ import annotations

import os
import pprint
import shlex
import subprocess
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_i2ipr.config import Config

OPTIONS: dict[str, tuple[str, Any]] = {
    "members": ("--members", None),
    "seed": ("--seed", None),
    "object": ("--complex", "complex"),
    "keep_candidates": ("--candidates", True),
    "refine.enabled": ("--no-refine", False),
    "refine.weights": ("--weights", None),
    "refine.sampler": ("--sampler", None),
    "refine.steps": ("--steps", None),
    "refine.views": ("--views", None),
    "refine.fallback": ("--no-fallback", "never"),
}
"""Options of the command by setting; a switch with the value that it stands for, others with None."""

QUOTE = subprocess.list2cmdline if os.name == "nt" else shlex.join
"""Words as a line for the shell."""

SETTINGS_FILE = "settings.yaml"
"""Stands for a file of parameters that is yet to be saved."""


@dataclass(frozen=True)
class Asked:
    """What a form asks for, in words that outlive the viewer.

    Attributes
    ----------
    layer : str
        Name of the pattern's layer.
    config : Config
        All settings.
    device : str
        Where to compute.
    path : str or None
        File of the pattern, ``file.h5::/path`` for a dataset in it; None where it is in no file.
    frame : int or None
        Number of the only pattern to reconstruct.
    detector : tuple of int or None
        Axes of the layer that are the detector's, where they are not the last two.
    mask, region : str or None
        Layers with the bad pixels and the support, where these are not the file's own.
    drops_support : bool
        Whether the support in the file is not used.
    settings_file : str or None
        A file that holds just these parameters.
    """

    layer: str
    config: Config
    device: str = "auto"
    path: str | None = None
    frame: int | None = None
    detector: tuple[int, int] | None = None
    mask: str | None = None
    region: str | None = None
    drops_support: bool = False
    settings_file: str | None = None

    @property
    def stem(self) -> str:
        """A name for files, made from that of the pattern."""
        name = Path(self.path.partition("::")[0]).stem if self.path else self.layer
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("_") or "pattern"


def changes(config: Config) -> dict[str, Any]:
    """What differs from the preset, in sections, and the preset's name: all that `Config.from_dict` needs."""

    def differing(mine: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in mine.items():
            inner = differing(value, usual[name]) if isinstance(value, dict) else value
            if inner if isinstance(value, dict) else value != usual[name]:
                found[name] = inner
        return found

    return {"preset": config.preset, **differing(config.to_dict(), Config.from_preset(config.preset).to_dict())}


def as_command(asked: Asked) -> tuple[str, list[str]]:
    """The run as a command line, quoted for the shell, and what has to be done before it works.

    Parameters
    ----------
    asked : Asked
        The run.
    """
    todo: list[str] = []
    words = ["i2ipr", "reconstruct", asked.path or f"{asked.stem}.cxi", f"{asked.stem}_reconstruction.zarr"]
    if asked.path is None:
        todo.append(f"save the layer {asked.layer!r} as {words[2]} (File > Save Selected Layers)")
    options = options_of(asked.config)
    if options is None:
        words += ["--config", asked.settings_file or SETTINGS_FILE]
        if asked.settings_file is None:
            todo.append(f"save the parameters as {SETTINGS_FILE}: not all of them have an option of their own")
    else:
        words += options
    if asked.mask is not None:
        words += ["--mask", "mask.tif"]
        todo.append(f"save the layer {asked.mask!r} as mask.tif")
    if asked.region is not None:
        words += ["--support", "support.tif"]
        todo.append(f"save the layer {asked.region!r} as support.tif, as Labels as large as the pattern")
    elif asked.drops_support or (asked.config.support != "half" and options is not None):
        words += ["--support", asked.config.support]
    if asked.device != "auto":
        words += ["--device", asked.device]
    if asked.frame is not None:
        todo.append(f"save pattern {asked.frame + 1} alone: the command reconstructs all patterns of a file")
    if asked.detector is not None:
        todo.append("save the patterns with the detector's axes last: the command takes the last two")
    return QUOTE(words), todo


def options_of(config: Config, known: Container[str] = OPTIONS) -> list[str] | None:
    """The settings as options of a command; None where there are settings without one.

    Parameters
    ----------
    config : Config
        The settings.
    known : container of str
        Settings that the command has options for, of `OPTIONS`.
    """
    if config.preset == "custom":
        return None
    found = ["--preset", config.preset]
    for path, value in _flat(changes(config)).items():
        if path in ("preset", "support"):
            continue
        option, stands_for = OPTIONS.get(path, ("", None))
        if not option or path not in known or (stands_for is not None and value != stands_for):
            return None
        found += [option] if stands_for is not None else [option, str(value)]
    return found


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def as_python(asked: Asked) -> tuple[str, list[str]]:
    """The run as a piece of Python, and what has to be known to run it.

    It reads the file where everything comes from one, and takes the layers of the open viewer otherwise.

    Parameters
    ----------
    asked : Asked
        The run.
    """
    from_file = asked.path is not None and asked.mask is None and asked.region is None and asked.detector is None
    lines = _from_file(asked) if from_file else _from_viewer(asked)
    if asked.frame is not None:
        lines.append(f"measurement = measurement.frame({asked.frame})")
    settings = pprint.pformat(changes(asked.config), width=96, sort_dicts=False).replace("\n", "\n    ")
    lines += [
        "config = i2ipr.Config.from_dict(",
        f"    {settings}",
        ")",
        f"result = i2ipr.reconstruct(measurement, config, device={asked.device!r})",
        "print(result.status.value, result.scores)",
        f'i2ipr.write(result, "{asked.stem}_reconstruction.zarr")',
    ]
    todo = [] if from_file else ["run it in napari's console, with these layers open"]
    return "\n".join(lines) + "\n", todo


def _from_file(asked: Asked) -> list[str]:
    lines = ["import napari_i2ipr as i2ipr", "", f"measurement = i2ipr.read({asked.path!r})"]
    if asked.drops_support:
        lines.insert(0, "from dataclasses import replace\n")
        lines.append("measurement = replace(measurement, support=None)")
    return lines


def _from_viewer(asked: Asked) -> list[str]:
    """Lines that make the measurement of the layers as the widget does it."""
    lines = ["import napari", "import napari_i2ipr as i2ipr", "from napari_i2ipr.plugin.layers import measurement_of"]
    needed = [] if asked.mask is None and asked.region is None else ["labels_of"] if asked.region is None else []
    if asked.region is not None:
        lines[-1] = "from napari_i2ipr.plugin.layers import ObjectGrid, measurement_of"
        needed = ["support_of"] if asked.mask is None else ["labels_of", "support_of"]
    if needed:
        lines.append(f"from napari_i2ipr.plugin.regions import {', '.join(needed)}")
    lines += ["", "layers = napari.current_viewer().layers"]
    options = [] if asked.detector is None else [f"detector={asked.detector!r}"]
    if asked.mask is not None:
        options.append(f"bad_pixels=labels_of(layers[{asked.mask!r}])")
    call = f"measurement_of({', '.join([f'layers[{asked.layer!r}]', *options])})"
    lines.append(f"measurement = {call}")
    if asked.region is not None:
        grid = "measurement.frame_shape, ObjectGrid.of(measurement)"
        lines.append(f"support = support_of(layers[{asked.region!r}], {grid})")
        lines.append(f"measurement = {call[:-1]}, support=support)")
    elif not asked.drops_support:
        lines += [
            f"own = layers[{asked.layer!r}].metadata.get('napari_i2ipr', {{}}).get('support')",
            f"measurement = {call[:-1]}, support=own)",
        ]
    return lines

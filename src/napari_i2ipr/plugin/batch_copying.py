"""A batch as command lines and as Python: text that repeats it elsewhere."""

from __future__ import annotations

import pprint
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_i2ipr.plugin.copying import QUOTE, SETTINGS_FILE, changes, options_of

if TYPE_CHECKING:
    from napari_i2ipr.config import Config

SETTINGS = ("seed", "object", "keep_candidates", "refine.enabled", "refine.weights")
"""Settings that the command has options for."""


@dataclass(frozen=True)
class AskedBatch:
    """What the form asks for, in words that outlive the viewer.

    Attributes
    ----------
    works : tuple
        Source and target of every item, as texts; a layer that is in no file has the name it should be saved under.
    config : Config
        All settings.
    options : dict
        Arguments of `reconstruct_batch`; layers as the names of the files they should be saved as.
    strict : bool
        Whether the first problem ends it.
    todo : tuple of str
        What has to be saved before.
    settings_file : str or None
        A file that holds just these parameters.
    """

    works: tuple[tuple[str, str], ...]
    config: Config
    options: dict[str, Any] = field(default_factory=dict)
    strict: bool = False
    todo: tuple[str, ...] = ()
    settings_file: str | None = None


def as_command(asked: AskedBatch) -> tuple[str, list[str]]:
    """The batch as a command line for every source, quoted for the shell, and what has to be done before."""
    todo = list(asked.todo)
    settings = options_of(asked.config, SETTINGS)
    if settings is None:
        settings = ["--config", asked.settings_file or SETTINGS_FILE]
        if asked.settings_file is None:
            todo.append(f"save the parameters as {SETTINGS_FILE}: not all of them have an option of their own")
    rest = [*settings, *_words(asked)]
    lines = [QUOTE(["i2ipr", "batch", source, target, *rest]) for source, target in asked.works]
    return "\n".join(lines), todo


def _words(asked: AskedBatch) -> list[str]:
    """Options of the command beside the settings."""
    given = {**asked.options, **asked.options.get("prepare", {})}
    found: list[str] = []
    for name in ("device", "axes", "mask", "support", "memory"):
        if given.get(name) not in (None, "auto" if name == "device" else None):
            found += [f"--{name}", str(given[name])]
    if given.get("center") is not None:
        found += ["--center", "{:g},{:g}".format(*given["center"])]
    if given.get("amplitude") is not None:
        found.append("--amplitude" if given["amplitude"] else "--intensity")
    for name in ("invert_mask", "allow_masked", "overwrite"):
        found += [f"--{name.replace('_', '-')}"] if given.get(name) else []
    return [*found, "--strict"] if asked.strict else found


def as_python(asked: AskedBatch) -> tuple[str, list[str]]:
    """The batch as a piece of Python, and what has to be done before."""
    options = {name: value for name, value in asked.options.items() if name != "prepare" and value}
    prepare = {name: value for name, value in asked.options.get("prepare", {}).items() if value not in (None, False)}
    if asked.options.get("prepare", {}).get("amplitude") is False:
        prepare["amplitude"] = False
    options |= {"prepare": prepare} if prepare else {}
    options |= {"strict": True} if asked.strict else {}
    lines = [
        "from napari_i2ipr import Config, reconstruct_batch",
        "",
        f"config = Config.from_dict({_nice(changes(asked.config))})",
        f"sources = {_nice(dict(asked.works))}",
        f"options = {_nice(options)}",
        "for source, target in sources.items():",
        "    report = reconstruct_batch(source, target, config, **options)",
        "    print(report.target, report.statuses)",
    ]
    return "\n".join(lines) + "\n", list(asked.todo)


def _nice(value: Any) -> str:
    return pprint.pformat(value, width=96, sort_dicts=False)

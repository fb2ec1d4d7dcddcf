"""Settings of a run: a file or a preset, and the options that change them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_i2ipr.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from napari_i2ipr.config import Config


def read_settings(file: Path | None, preset: str | None, *, schedule: str | None = None, **changes: Any) -> Config:
    """The settings of a file or of a preset, with changes.

    Parameters
    ----------
    file : Path or None
        YAML; what it leaves out comes from its preset.
    preset : str or None
        Name of a preset, where there is no file.
    schedule : str or None
        The whole run of the kept starts, in text; there is no final run then.
    **changes
        Top-level fields; those that are None stay as they are.

    Raises
    ------
    ConfigError
        If a setting is unknown or out of range, or both a file and a preset are given.
    FormatError
        If the file cannot be read.
    """
    from napari_i2ipr.config import DEFAULT_PRESET, Config
    from napari_i2ipr.solvers.recipe import parse_schedule

    if file is not None and preset is not None:
        raise ConfigError("--config and --preset", expected="one of them", do="put the preset's name into the file")
    settings = Config.from_preset(preset or DEFAULT_PRESET) if file is None else Config.from_yaml(text(file))
    wanted = {name: value for name, value in changes.items() if value is not None}
    if schedule is not None:
        parse_schedule(schedule)
        wanted["initialisation"] = {"long": schedule, "final": ""}
    return settings.replace(**wanted) if wanted else settings


def text(file: Path) -> str:
    """The text of a settings file.

    Raises
    ------
    FormatError
        If the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise FormatError(
            f"the settings file {file}, which cannot be read ({error.strerror or error})", do="check the path"
        ) from None
    except UnicodeDecodeError:
        raise FormatError(
            f"the settings file {file}, which is not text", expected="YAML", do="`i2ipr config` prints an example"
        ) from None

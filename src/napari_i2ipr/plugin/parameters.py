# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Parameters to and from files, and a run as text for the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QSizePolicy, QWidget

from napari_i2ipr.config import Config
from napari_i2ipr.errors import FormatError, I2IPRError, OutputError
from napari_i2ipr.plugin.copying import as_command, as_python
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.panel import Link
from napari_i2ipr.plugin.worker import sentence

if TYPE_CHECKING:
    from napari_i2ipr.plugin.inputs import InputForm
    from napari_i2ipr.plugin.settings import SettingsForm

AsText = Callable[[Any], tuple[str, list[str]]]
"""Makes a text of what a form asks for, and says what has to be done before it works."""

_KINDS = "Parameters (*.yaml *.yml);;All files (*)"


class Host(Protocol):
    """The widget whose parameters these are."""

    settings: SettingsForm

    def fill(self, config: Config) -> None:
        """Show a configuration in all fields."""

    def asked(self) -> Any:
        """What the form asks for; an `I2IPRError` where it cannot be run."""

    def say(self, words: str, *, wrong: bool = False) -> None:
        """Say something to the user."""


class ParameterButtons(QWidget):
    """Save, load, copy as command, copy as Python.

    Parameters
    ----------
    host : Host
        The widget whose parameters these are; it connects `links`.
    command, python : callable
        What makes a text, and what has to be done before it works, of what the host's form asks for.
    """

    def __init__(self, host: Host, command: AsText = as_command, python: AsText = as_python) -> None:
        super().__init__()
        self._host, self._command, self._python = host, command, python
        self._saved: tuple[Config, Path] | None = None
        self.load_button = _button(
            "Load…", "Read parameters from a file (YAML), as this form or `i2ipr config` wrote it."
        )
        self.save_button = _button(
            "Save…",
            "Write the parameters to a file (YAML), which the commands of i2ipr read too (--config).",
        )
        self.command_button = _button(
            "Copy as command", "Copy this run as a line for a terminal: the same result without napari."
        )
        self.python_button = _button(
            "Copy as Python", "Copy this run as a few lines of Python: for scripts, or many files."
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for place, button in enumerate((self.load_button, self.save_button, self.command_button, self.python_button)):
            grid.addWidget(button, place // 2, place % 2)
        self.links: list[Link] = [
            (self.load_button.clicked, self._ask_load),
            (self.save_button.clicked, self._ask_save),
            (self.command_button.clicked, self.copy_as_command),
            (self.python_button.clicked, self.copy_as_python),
        ]

    def _ask_load(self, _checked: bool = False) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load parameters", "", _KINDS)
        if name:
            self.load(Path(name))

    def _ask_save(self, _checked: bool = False) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save parameters", "settings.yaml", _KINDS)
        if name:
            path = Path(name)
            self.save(path if path.suffix else path.with_suffix(".yaml"))

    def load(self, path: Path) -> None:
        """Fill the form from a file; a file that cannot be used changes nothing and says why."""
        try:
            config = load(path)
        except I2IPRError as error:
            self._host.say(sentence(error), wrong=True)
            return
        self._saved = (config, path)
        self._host.fill(config)
        self._host.say(f"Parameters of {path.name} are in the form.")

    def save(self, path: Path) -> None:
        """Write what the form says to a file."""
        try:
            config = self._host.settings.config()
            save(config, path)
        except I2IPRError as error:
            self._host.say(sentence(error), wrong=True)
            return
        self._saved = (config, path)
        self._host.say(f"Parameters saved as {path.name}.")

    def file_with(self, config: Config) -> str | None:
        """The file that was saved or loaded last, where it holds just these parameters."""
        if self._saved is None or self._saved[0] != config:
            return None
        return str(self._saved[1].absolute())

    def copy_as_command(self, _checked: bool = False) -> None:
        """Put the run as a command line on the clipboard."""
        self._copy(self._command, "The command")

    def copy_as_python(self, _checked: bool = False) -> None:
        """Put the run as Python on the clipboard."""
        self._copy(self._python, "The Python")

    def _copy(self, make: AsText, what: str) -> None:
        try:
            text, todo = make(self._host.asked())
        except I2IPRError as error:
            self._host.say(sentence(error), wrong=True)
            return
        QGuiApplication.clipboard().setText(text)
        before = f" Before it works: {'; '.join(todo)}." if todo else ""
        self._host.say(f"{what} is on the clipboard.{before}")


def _button(words: str, tooltip: str) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tooltip)
    button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return button


def save(config: Config, path: Path) -> None:
    """Write parameters.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        path.write_text(config.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}, which cannot be written ({error.strerror or error})", do="choose another folder"
        ) from error


def load(path: Path) -> Config:
    """Read parameters.

    Raises
    ------
    FormatError
        If the file cannot be read.
    ConfigError
        If a setting is unknown or out of range.
    """
    try:
        return Config.from_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{path}, which cannot be read ({error.strerror or error})", do="check the path") from error
    except UnicodeDecodeError:
        raise FormatError(f"{path}, which is not text", expected="YAML", do="choose a file of parameters") from None


def file_of(layer: Any) -> str | None:
    """The file that a layer shows, with the dataset in it; None where it was made or changed in the viewer."""
    path = getattr(layer.source, "path", None)
    if not path or "://" in str(path):
        return None
    dataset = (words_of(layer).get("provenance") or {}).get("dataset")
    whole = str(Path(str(path).partition("::")[0]).absolute())
    return f"{whole}::{dataset}" if dataset else whole


def own_mask(inputs: InputForm) -> bool:
    """Whether the chosen mask is the one that came with the pattern, with nothing painted into it."""
    import numpy as np

    chosen, layer = inputs.bad_pixels.value, inputs.pattern.value
    if chosen is None:
        return True
    mine, group = words_of(layer), words_of(chosen).get("group")
    if mine.get("group") is None or mine["group"] != group:
        return False
    shown, known = chosen.data, mine.get("bad_pixels")
    if not isinstance(shown, np.ndarray) or not isinstance(known, np.ndarray):
        return True  # lazy masks cannot be painted on
    return bool(np.array_equal(shown != 0, known))

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""All settings as a form: every field of `Config`, the common ones in front, the others folded away."""

from __future__ import annotations

from functools import reduce
from typing import Any

from magicgui.widgets import CheckBox, ComboBox
from psygnal import Signal
from pydantic import ValidationError
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_i2ipr.config import DEFAULT_PRESET, PRESETS, Config
from napari_i2ipr.errors import ConfigError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.folded import Cell, Folded, add_row, form_layout

COMMON = ("object", "members", "refine.enabled", "refine.steps", "refine.views", "seed", "keep_candidates")
"""Settings that are seen at once, where a widget does not choose others; `preset` and `support` have fields of their
own."""

OF_THE_DATA = ("object", "seed", "support", "nonnegative", "keep_candidates")
"""Settings that a preset says nothing about, so that choosing one leaves them as they are."""

OF_THE_EXPERIMENT = ("max_phase_deg", "coherence.blur_px", "coherence.lorentz", "coherence.fit")
"""Settings of object and beam that stay when a preset is chosen, as they were filled in."""

OF_THE_COMPUTER = ("compute.memory_fraction",)
"""Settings that belong to the user's computer, whatever the preset."""

_ELSEWHERE = ("preset", "support")
WRONG = "Correct what is marked in red."
"""Said while there is anything to correct."""


class SettingsForm:
    """The fields of `Config`, what they say, and what is wrong with it.

    A change that can be used emits `changed` with the configuration; one that cannot, with None.

    Parameters
    ----------
    common : tuple of str
        Settings that the widget shows itself; all others are folded away.
    """

    changed = Signal(object)

    def __init__(self, common: tuple[str, ...] = COMMON) -> None:
        self.common = common
        rows = [row for row in form.leaves(Config) if row[0] not in _ELSEWHERE]
        self.fields = {path: form.Field(path, model, form.field(model, name, path)) for path, model, name in rows}
        self.cells = {path: Cell(field.widget.native) for path, field in self.fields.items()}
        self.preset = ComboBox(choices=list(PRESETS), value=DEFAULT_PRESET, label=form.label("preset"))
        self.preset.tooltip = "How much work to spend on a better result; the default suits most patterns."
        form.shrinkable(self.preset)
        self.support = "half"
        self.advanced = Folded("Advanced", "Every other setting, with the names that files and the command line use.")
        self._labels: dict[str, QWidget] = {}
        self._filling = False
        self._fill_advanced()
        for field in self.fields.values():
            field.widget.changed.connect(self._on_change)
        self.preset.changed.connect(self._on_preset)
        self.check()

    def __getitem__(self, path: str) -> form.Field:
        return self.fields[path]

    def begin_with(self, preset: str, memory_fraction: float) -> None:
        """Take what the user prefers as the beginning."""
        self.preset.value = preset
        self.fields["compute.memory_fraction"].show(memory_fraction)

    def close_down(self) -> None:
        """Let go of the fields' signals."""
        for field in self.fields.values():
            field.widget.changed.disconnect()
        self.preset.changed.disconnect()
        self.changed.disconnect()

    def _fill_advanced(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        sections: dict[str, list[str]] = {}
        for path in self.fields:
            if path not in self.common:
                sections.setdefault(path.rpartition(".")[0], []).append(path)
        for section, paths in sections.items():
            if section:
                title = QLabel(form.label(section))
                title.setStyleSheet("font-weight: bold;")
                title.setToolTip((Config.model_fields[section].annotation.__doc__ or "").splitlines()[0])
                column.addWidget(title)
            rows = form_layout()
            for path in paths:
                self.add_to(rows, path)
            column.addLayout(rows)
        self.advanced.addWidget(inside)

    def add_to(self, rows: Any, path: str) -> None:
        """A row for a setting; a switch carries its own words, and a text, which may be long, lies below its label."""
        field, cell = self.fields[path], self.cells[path]
        if isinstance(field.widget, CheckBox):
            rows.addRow(cell)
            self._labels[path] = field.widget.native
            return
        below = field.is_text
        label = add_row(rows, field.widget.label, field.widget.tooltip or "", None if below else cell)
        if below:
            rows.addRow(cell)
        self._labels[path] = label

    # -- values ---------------------------------------------------------------------------------------

    def config(self) -> Config:
        """What the form says.

        Raises
        ------
        ConfigError
            When some of it cannot be used; the fields say what.
        """
        config = self.check()
        if config is None:
            wrong = next(path for path, cell in self.cells.items() if cell.said.text())
            said = f"{form.label(wrong)}: {self.cells[wrong].said.text()}"
            raise ConfigError(said[:1].lower() + said[1:], do="correct what is marked in red")
        return config

    def check(self) -> Config | None:
        """Look at all fields and say at each what is wrong; the configuration, if nothing is."""
        values: dict[str, Any] = {"preset": self.preset.value, "support": self.support}
        wrong: dict[str, str] = {}
        for path, field in self.fields.items():
            try:
                value = field.read()
            except ConfigError as error:
                wrong[path] = f"Got {error.got}: expected {error.expected}"
                continue
            *section, name = path.split(".")
            reduce(lambda into, key: into.setdefault(key, {}), section, values)[name] = value
        config = None
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            for one in error.errors():
                path = ".".join(str(part) for part in one["loc"])
                wrong.setdefault(path, self.fields[path].complaint(one))
        for path, cell in self.cells.items():
            cell.say(wrong.get(path, ""))
        self._mark(config, wrong)
        return None if wrong else config

    def _mark(self, config: Config | None, wrong: dict[str, str]) -> None:
        """Embolden what differs from the preset, count it, grey out what has no effect."""
        self._set_usable()
        if config is not None:
            usual = Config.from_preset(self.preset.value)
            differing = [path for path in self._labels if _at(config, path) != _at(usual, path)]
            for path, label in self._labels.items():
                label.setStyleSheet(
                    "font-weight: bold;" if path in differing and path not in (*OF_THE_DATA, *OF_THE_COMPUTER) else ""
                )
            hidden = [path for path in differing if path not in (*self.common, *OF_THE_COMPUTER)]
            said = f" ({len(hidden)} changed)" if hidden else ""
        else:
            said = ""
        said = f" ({len(wrong)} to correct)" if set(wrong) - set(self.common) else said
        self.advanced.entitle("Advanced" + said)

    def _set_usable(self) -> None:
        real, refined = self.fields["object"].widget.value == "real", self.fields["refine.enabled"].widget.value
        for path, cell in self.cells.items():
            if path.startswith("refine."):
                cell.setEnabled(real and (bool(refined) or path == "refine.enabled"))
        self.cells["nonnegative"].setEnabled(real)
        self.cells["max_phase_deg"].setEnabled(not real)

    def show(self, config: Config) -> None:
        """Fill in a configuration."""
        self._filling = True
        try:
            if config.preset not in self.preset.choices:
                self.preset.choices = [*PRESETS, config.preset]
            self.preset.value = config.preset
            self.support = config.support
            for path, field in self.fields.items():
                field.show(_at(config, path))
        finally:
            self._filling = False
        self._on_change()

    def _on_change(self, _value: Any = None) -> None:
        if not self._filling:
            self.changed.emit(self.check())

    def _on_preset(self, preset: str) -> None:
        if self._filling:
            return
        kept = {path: self.fields[path].widget.value for path in OF_THE_DATA if path in self.fields}
        stay = {path: self.fields[path].widget.value for path in (*OF_THE_EXPERIMENT, *OF_THE_COMPUTER)}
        self.show(Config.from_preset(preset, support=self.support, **kept))
        for path, value in stay.items():
            self.fields[path].widget.value = value


def _at(config: Config, path: str) -> Any:
    """The value of a setting by path."""
    return reduce(getattr, path.split("."), config)

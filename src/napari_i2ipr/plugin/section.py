# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""A section of the settings that can be switched on and off, folded away under its switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_i2ipr.plugin import form

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget
    from pydantic import BaseModel

SWITCH = "enabled"
"""Field of such a section that turns it on."""


class SectionForm(QWidget):
    """Fields made from a section of `Config`; the switch is always seen, the others when unfolded.

    Parameters
    ----------
    model : type of BaseModel
        The section; has a field `SWITCH`.
    title : str
        Above the fields that are folded away.
    """

    def __init__(self, model: type[BaseModel], title: str) -> None:
        super().__init__()
        self.fields: dict[str, ValueWidget[Any]] = {name: form.field(model, name) for name in model.model_fields}
        self.switch = self.fields[SWITCH]
        self.folded, inside = QCollapsible(title), QWidget()
        rows = QFormLayout(inside)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.setContentsMargins(0, 0, 0, 0)
        for name, widget in self.fields.items():
            if name != SWITCH:
                label = QLabel(widget.label)
                label.setToolTip(widget.tooltip or "")
                rows.addRow(label, widget.native)
        self.folded.addWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.switch.native)
        outer.addWidget(self.folded)

    @property
    def values(self) -> dict[str, Any]:
        """What the fields say, by name."""
        return {name: widget.value for name, widget in self.fields.items()}

    def show_values(self, section: BaseModel) -> None:
        """Bring the values of a section into the fields."""
        for name, widget in self.fields.items():
            widget.value = getattr(section, name)

    def set_usable(self, *, usable: bool) -> None:
        """Grey the section out where it has no effect, and its fields where it is switched off."""
        self.setEnabled(usable)
        self.folded.setEnabled(bool(self.switch.value))

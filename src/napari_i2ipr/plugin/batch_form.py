# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The fields of the Batch widget beside the settings: what all sources share, and how the run behaves."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FileEdit, LineEdit
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtWidgets import QWidget

from napari_i2ipr.config import Config
from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.batch_words import ALLOW, AXES, CENTRE, INVERT, MEMORY, OVERWRITE, STRICT, VALUES
from napari_i2ipr.plugin.docked import renew
from napari_i2ipr.plugin.folded import Folded, add_row, form_layout
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.regions import labels_of

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QFormLayout

OWN, FILE = "own", "file"
"""Choices of mask and support beside words and layers: what came with the patterns, and a file."""

_VALUES = {"auto": None, "intensities": False, "amplitudes": True}


class BatchForm:
    """Fields that all sources share; they follow the Labels layers of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.viewer = viewer
        self.data = Folded("Data", "Axes, bad pixels, support, centre: for patterns whose files do not tell.")
        self._rows: dict[str, tuple[QFormLayout, Any]] = {}
        self._make_folder()
        self._make_data()
        self._make_work()
        self._fields = (
            *(self.folder, self.axes, self.mask, self.mask_file, self.support, self.support_file),
            *(self.centre, self.values, self.invert, self.allow),
            *(self.device, self.memory, self.overwrite, self.strict),
        )
        self.links = [(field.changed, self._on_change) for field in self._fields]

    # -- fields ---------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        self.folder = file_edit("d", "Results in", "beside each source")
        self.folder.tooltip = (
            "Folder for the results, a store for every source: NAME_reconstruction.zarr. Empty: beside each source."
        )

    def _make_data(self) -> None:
        self.axes = LineEdit(label=AXES)
        self.axes.tooltip = (
            "Names of the source's axes, with commas: y and x are the detector's, the others number the patterns.\n"
            "Empty: as the file says, otherwise the last two are y and x."
        )
        self.axes.native.setPlaceholderText("e.g. scan,y,x")
        self.mask = ComboBox(choices=self._masks, label="Bad pixels")
        self.mask.tooltip = (
            "What was not measured, non-zero = bad: the mask in each file, a Labels layer, or a file; one for all\n"
            "patterns (y, x), or of the source's shape. Missing and saturated pixels are found in any case."
        )
        self.mask_file = file_edit("r", "Mask file", "TIFF, NPY, HDF5 ...")
        self.mask_file.tooltip = "File with the bad pixels, non-zero = bad; file.h5::/path names a dataset."
        self.support = ComboBox(choices=self._supports, label=form.label("support"))
        self.support.tooltip = (
            "Where the object may be (its support): what each file says, a part of the frame, a Labels layer as large\n"
            "as the frame, or a file."
        )
        self.support_file = file_edit("r", "Support file", "TIFF, NPY, HDF5 ...")
        self.support_file.tooltip = "File with the support, non-zero = inside; file.h5::/path names a dataset."
        self.centre = LineEdit(label=CENTRE)
        self.centre.tooltip = "Zero frequency of all patterns, in pixels, such as 127.5, 128. Empty: the middle pixel."
        self.centre.native.setPlaceholderText("the middle pixel")
        self.values = ComboBox(choices=list(_VALUES), label=VALUES)
        self.values.tooltip = "Intensities (counts) or amplitudes (their roots); auto looks at the numbers and says so."
        self.invert = CheckBox(text=INVERT)
        self.invert.tooltip = "Whether the mask has 1 where a pixel is good, as in Hawk, ptypy and cdtools."
        self.allow = CheckBox(text=ALLOW)
        self.allow.tooltip = "Take patterns of which more than 90 % is masked, too."
        for box in (self.mask, self.support, self.values):
            form.shrinkable(box)

    def _make_work(self) -> None:
        devices = ["auto", "cpu", "mps" if sys.platform == "darwin" else "cuda"]
        wanted = preferences().device
        self.device = ComboBox(choices=devices, value=wanted if wanted in devices else "auto", label="Compute on")
        self.device.tooltip = "auto takes a graphics card (cuda) where there is one, otherwise the processor (cpu)."
        self.memory = LineEdit(label=MEMORY)
        self.memory.tooltip = (
            "What napari may hold on this computer in all, such as 8GB; the patterns may be many times as large.\n"
            "Empty: the share of the free memory that is set under Advanced."
        )
        self.memory.native.setPlaceholderText("a share of what is free")
        self.overwrite = CheckBox(text=OVERWRITE)
        self.overwrite.tooltip = (
            "Begin anew where a result was made from other patterns or with other settings; it is replaced once the\n"
            "new one is complete. Otherwise such a source is refused."
        )
        self.strict = CheckBox(text=STRICT)
        self.strict.tooltip = "End at the first pattern without an image, or source that fails; otherwise go on."

    # -- rows -----------------------------------------------------------------------------------------

    def add_folder_to(self, rows: QFormLayout) -> None:
        """Add the row of the folder to a form."""
        add_row(rows, self.folder.label, self.folder.tooltip or "", self.folder.native)

    def add_work_to(self, rows: QFormLayout) -> None:
        """Add the rows about computing to a form."""
        for field in (self.device, self.memory):
            add_row(rows, field.label, field.tooltip or "", field.native)
        for box in (self.overwrite, self.strict):
            rows.addRow(box.native)

    def fill_data(self) -> None:
        """Lay out the section on data."""
        inside = QWidget()
        rows = form_layout(inside)
        for field in (
            *(self.axes, self.mask, self.mask_file, self.support, self.support_file, self.centre, self.values),
        ):
            add_row(rows, field.label, field.tooltip or "", field.native)
            self._rows[field.label] = (rows, field.native)
        for box in (self.invert, self.allow):
            rows.addRow(box.native)
        self.data.addWidget(inside)
        self._show_rows()

    def _show_rows(self) -> None:
        for box, field in ((self.mask, self.mask_file), (self.support, self.support_file)):
            rows, native = self._rows[field.label]
            rows.setRowVisible(native, box.value == FILE)

    # -- choices --------------------------------------------------------------------------------------

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        for box in (self.mask, self.support):
            renew(box)

    def _layers(self) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Labels)]

    def _masks(self, _box: Any = None) -> list[tuple[str, Any]]:
        return [("as in each file", OWN), ("a file ...", FILE), *self._layers()]

    def _supports(self, _box: Any = None) -> list[tuple[str, Any]]:
        words = [("as in each file, else central half", OWN), *form.choices(Config, "support")]
        return [*words, ("a file ...", FILE), *self._layers()]

    def _on_change(self, _value: Any = None) -> None:
        self._show_rows()
        changed = sum(
            field.value not in usual
            for field, usual in (
                *((one, ("",)) for one in (self.axes, self.centre)),
                *((one, (OWN,)) for one in (self.mask, self.support)),
                *((one, (False,)) for one in (self.invert, self.allow)),
                (self.values, ("auto",)),
            )
        )
        self.data.entitle("Data" + (f" ({changed} changed)" if changed else ""))
        self.changed.emit()

    def show_support(self, support: str) -> None:
        """Take over the support of a configuration: the outline, or what it was where it says nothing of it."""
        if support == "auto":
            self.support.value = "auto"
        elif self.support.value == "auto":
            self.support.value = OWN

    # -- what is asked for ----------------------------------------------------------------------------

    @property
    def config_support(self) -> str:
        """The support as a setting, for sources without one of their own."""
        return "auto" if isinstance(self.support.value, str) and self.support.value == "auto" else "half"

    def options(self) -> dict[str, Any]:
        """Arguments of `reconstruct_batch`.

        Raises
        ------
        InputError
            When a field cannot be used.
        """
        return {
            "device": self.device.value,
            "axes": self.axes.value.strip() or None,
            "mask": self._array(self.mask, self.mask_file),
            "support": self._array(self.support, self.support_file),
            "prepare": {
                "amplitude": _VALUES[self.values.value],
                "center": self._centre(),
                "invert_mask": self.invert.value,
                "allow_masked": self.allow.value,
            },
            "memory": self.memory.value.strip() or None,
            "overwrite": self.overwrite.value,
        }

    def _array(self, box: ComboBox, file: FileEdit) -> Any:
        """What the engine takes: a word, a path, an array, or None for what is in the files."""
        chosen = box.value
        if not isinstance(chosen, str):
            return labels_of(chosen)
        if chosen != FILE:
            return None if chosen == OWN else chosen
        if file.value is None:
            raise InputError(
                f"no {file.label.lower()}", expected="a file", do="choose one, or leave it as in each file"
            )
        return os.fspath(file.value)

    def _centre(self) -> tuple[float, float] | None:
        text = self.centre.value.strip()
        if not text:
            return None
        try:
            y, x = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"{CENTRE} = {text!r}", expected="two numbers", do="write e.g. 127.5, 128") from None
        return y, x


def file_edit(mode: str, label: str, hint: str) -> FileEdit:
    """A field for a file (``"r"``) or a folder (``"d"``) that may be empty; `hint` is seen while it is."""
    field = FileEdit(mode=mode, label=label, nullable=True)
    field.choose_btn.text = "..."
    field.choose_btn.tooltip = "Choose it."
    field.choose_btn.native.setMaximumWidth(32)
    field.line_edit.native.setPlaceholderText(hint)
    return field

# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The form of the Prepare widget: layers, centre and settings, as a `PrepareTask`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, FloatSpinBox
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.docked import renew
from napari_i2ipr.plugin.layers import ObjectGrid, is_pattern, measurement_of, words_of
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.prepare_fields import FOLDED, LABELS, field, value_of
from napari_i2ipr.plugin.prepare_task import PrepareTask
from napari_i2ipr.plugin.regions import labels_of, support_of
from napari_i2ipr.prepare.settings import Preparation

if TYPE_CHECKING:
    import napari.viewer

FILE, HALF, OUTLINE = "file", "half", "auto"
"""Choices of the support beside layers."""

ALL, SHOWN, SUM = "all", "shown", "sum"
"""Choices of what is taken of a stack."""

AUTO, KEEP, GIVEN = "auto", "keep", "given"
"""How the centre is known."""

_PREPARATION = "preparation"


class PrepareForm(QWidget):
    """Fields of a preparation; they follow the layers of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._make_inputs()
        self._make_centre()
        self.fields: dict[str, Any] = {name: field(name) for name in LABELS}
        self.masked = QLabel()
        self.masked.setWordWrap(True)
        self.masked.setToolTip("Share of the frame that this mask covers; pixels found to be bad come on top.")
        self._lay_out()

    def _make_inputs(self) -> None:
        self.pattern = ComboBox(choices=self._patterns, label="Pattern")
        self.pattern.tooltip = "Image layer with what the detector saw, or a stack of it; it is not changed."
        self.frames = ComboBox(choices=self._frames, label="Patterns")
        self.frames.tooltip = "All patterns of the stack with one centre, the one that the slider shows, or their sum."
        self.mask = ComboBox(choices=self._masks, label="Bad pixels")
        self.mask.tooltip = (
            "Labels layer: everything painted counts as not measured. A mask that marks what was counted is noticed."
        )
        self.support = ComboBox(choices=self._supports, label="Object lies in")
        self.support.tooltip = (
            "Where the object may be (its support): half the frame, the outline that the autocorrelation tells,\n"
            "or what you drew in a Labels or Shapes layer."
        )
        for box in (self.pattern, self.frames, self.mask, self.support):
            form.shrinkable(box)

    def _make_centre(self) -> None:
        ways = [("by symmetry", AUTO), ("set by hand", GIVEN), ("middle of the frame", KEEP)]
        self.way = ComboBox(choices=ways, value=AUTO, label="Centre")
        self.way.tooltip = (
            "Where the zero frequency lies. By symmetry: the point about which the pattern is symmetric.\n"
            "By hand: drag the point in the picture, or type the pixel."
        )
        self.y, self.x = (FloatSpinBox(min=0, max=1e6, step=0.5, label=axis) for axis in "yx")
        for axis, box in zip("yx", (self.y, self.x), strict=True):
            box.native.setDecimals(1)
            box.native.setMinimumWidth(50)
            box.native.setButtonSymbols(box.native.ButtonSymbols.NoButtons)
            box.tooltip = f"Centre along {axis}, in pixels of the stored frame counted from 0, in halves."

    def _lay_out(self) -> None:
        rows, folded = _rows(), QWidget()
        self.rows, more = rows, _rows(folded)
        add = self._add
        for box in (self.pattern, self.frames, self.mask):
            add(rows, box.label, box.tooltip, box.native)
        self.mask_row = _side_by_side(self.fields["invert_mask"].native, self.masked)
        add(rows, "", self.fields["invert_mask"].tooltip, self.mask_row)
        add(rows, self.way.label, self.way.tooltip, self.way.native)
        self.centre_row = _side_by_side(QLabel("y"), self.y.native, QLabel("  x"), self.x.native, stretch=(0, 1, 0, 1))
        add(rows, "... at pixel", self.y.tooltip, self.centre_row)
        for name in LABELS:
            if name not in FOLDED and name != "invert_mask":
                add(rows, LABELS[name], self.fields[name].tooltip, self.fields[name].native)
        add(rows, self.support.label, self.support.tooltip, self.support.native)
        for name in FOLDED:
            add(more, LABELS[name], self.fields[name].tooltip, self.fields[name].native)
        # The icons of superqt are painted in the colours of the moment, which a dark theme swallows.
        self.folded = QCollapsible("", expandedIcon=" ", collapsedIcon=" ")
        self.folded.toggleButton().setIconSize(QSize(1, 1))
        self.folded.setDuration(0)
        self.folded.addWidget(folded)
        self.folded.toggled.connect(self._show_title)
        self._show_title()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 4, 0)
        outer.setSpacing(2)
        outer.addLayout(rows)
        outer.addWidget(self.folded)
        outer.addStretch()

    def _show_title(self, _open: bool | None = None) -> None:
        self.folded.setText(f"{'▾' if self.folded.isExpanded() else '▸'} Rarely needed")

    @staticmethod
    def _add(rows: QFormLayout, words: str, tooltip: str | None, native: QWidget) -> None:
        label = QLabel(words)
        label.setToolTip(tooltip or "")
        native.setSizePolicy(QSizePolicy.Policy.Ignored, native.sizePolicy().verticalPolicy())
        native.setMinimumWidth(60)
        rows.addRow(label, native)

    # -- choices ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Follow the layer list."""
        fresh = self.pattern.value is None
        for box in (self.pattern, self.mask, self.support):
            renew(box)
        if fresh:
            self.pattern.value = self.likely()

    def likely(self) -> Any:
        """The pattern that is prepared most likely: the last that was not yet."""
        found = [layer for _, layer in self._patterns()]
        return next((one for one in reversed(found) if one is not None and not is_prepared(one)), found[-1])

    def _patterns(self, _box: Any = None) -> list[tuple[str, Any]]:
        found = [layer for layer in self.viewer.layers if isinstance(layer, Image) and is_pattern(layer)]
        return [(layer.name, layer) for layer in found] or [("none is open", None)]

    def _frames(self, _box: Any = None) -> list[tuple[str, str]]:
        layer = self.pattern.value
        if layer is None or layer.ndim < 3:
            return [("the only one", ALL)]
        count = self.count
        return [(f"all {count}, one centre", ALL), ("the one shown now", SHOWN), (f"the sum of all {count}", SUM)]

    def _masks(self, _box: Any = None) -> list[tuple[str, Any]]:
        known = self.pattern.value is not None and words_of(self.pattern.value).get("bad_pixels") is not None
        found = [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
        drawn = [(layer.name, layer) for layer in found if words_of(layer).get("kind") != "support"]
        return [("as the file says" if known else "none; found by itself", None), *drawn]

    def _supports(self, _box: Any = None) -> list[tuple[str, Any]]:
        layer = self.pattern.value
        known = layer is not None and words_of(layer).get("support") is not None
        drawn = [one for one in self.viewer.layers if isinstance(one, Labels | Shapes)]
        return [
            *([("as the file says", FILE)] if known else []),
            ("half the frame", HALF),
            ("its autocorrelation's outline", OUTLINE),
            *((one.name, one) for one in drawn if words_of(one).get("kind") != "bad pixels"),
        ]

    def take_in(self) -> None:
        """Choose what came with the pattern: its mask, its support, all of its stack."""
        layer = self.pattern.value
        for box in (self.frames, self.mask, self.support, self.way, self.y, self.x):
            with box.changed.blocked():
                self._renewed(box, layer)
        several = layer is not None and layer.ndim > 2
        self.rows.setRowVisible(self.frames.native, several)
        outliers = self.fields["outlier_sigma"].native
        outliers.setEnabled(several)
        self.show_inputs()

    def _renewed(self, box: Any, layer: Any) -> None:
        if box in (self.frames, self.mask, self.support):
            box.reset_choices()
        if box is self.mask:
            group = None if layer is None else words_of(layer).get("group")
            mine = [mask for _, mask in self._masks()[1:] if group and words_of(mask).get("group") == group]
            box.value = mine[0] if mine else None
        elif box is self.support:
            box.value = self._supports()[0][1]
        elif box is self.frames:
            box.value = ALL
        elif box is self.way:
            box.value = AUTO
        elif layer is not None:
            n = shape_of(layer)[-2 if box is self.y else -1]
            box.max, box.value = n - 1, n // 2

    def show_inputs(self) -> None:
        """Show what counts."""
        with_mask = self.mask.value is not None or self._masks()[0][0] == "as the file says"
        self.fields["invert_mask"].enabled = with_mask
        if not with_mask:
            self.fields["invert_mask"].value = False
        self.fields["fit"].enabled = self.way.value != KEEP

    # -- what is asked for ----------------------------------------------------------------------------

    @property
    def centre(self) -> tuple[float, float]:
        """The pixel ``(y, x)`` in the fields."""
        return float(self.y.value), float(self.x.value)

    @centre.setter
    def centre(self, wanted: tuple[float, float]) -> None:
        for box, value in zip((self.y, self.x), wanted, strict=True):
            with box.changed.blocked():
                box.value = min(max(value, 0.0), box.max)

    @property
    def count(self) -> int:
        """Patterns in the layer."""
        layer = self.pattern.value
        return 1 if layer is None else int(np.prod(shape_of(layer)[:-2], dtype=np.int64))

    @property
    def shown(self) -> int:
        """Number of the pattern that the sliders show."""
        layer = self.pattern.value
        lead = shape_of(layer)[:-2]
        if not lead:
            return -1
        point = layer.world_to_data(self.viewer.dims.point[-layer.ndim :])[: len(lead)]
        index = [int(np.clip(round(float(at)), 0, n - 1)) for at, n in zip(point, lead, strict=True)]
        return int(np.ravel_multi_index(index, lead))

    def settings(self) -> Preparation:
        """What the fields say, checked.

        Raises
        ------
        ConfigError
            When a value is wrong.
        """
        values = {name: value_of(name, widget) for name, widget in self.fields.items()}
        values["center"] = "{:g},{:g}".format(*self.centre) if self.way.value == GIVEN else self.way.value
        values["sum_frames"] = self.frames.value == SUM
        values["frame"] = self.shown if self.frames.value == SHOWN else -1
        return Preparation.from_dict(values)

    def task(self) -> PrepareTask:
        """What the form asks for; nothing of the pattern is read.

        Raises
        ------
        I2IPRError
            When it cannot be prepared.
        """
        layer, support = self.pattern.value, self.support.value
        if layer is None:
            raise InputError("no pattern", expected="an image layer", do="open a diffraction pattern or a sample")
        if is_prepared(layer):
            raise InputError(
                f"{layer.name!r}, which was prepared before",
                expected="the pattern as it was stored",
                do="choose that layer, or reconstruct this one as it is",
            )
        bad = None if self.mask.value is None else labels_of(self.mask.value)
        found = measurement_of(layer, bad_pixels=bad)
        if support == FILE:
            found = measurement_of(layer, bad_pixels=bad, support=words_of(layer)["support"])
        elif support not in (HALF, OUTLINE):
            drawn = support_of(support, found.frame_shape, ObjectGrid.of(found))
            found = measurement_of(layer, bad_pixels=bad, support=drawn)
        fraction = preferences().memory_fraction
        return PrepareTask(layer.name, found, self.settings(), support == OUTLINE, fraction)


def shape_of(layer: Any) -> tuple[int, ...]:
    """Shape of a layer's data at full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def is_prepared(layer: Any) -> bool:
    """Whether a layer came out of a preparation."""
    return _PREPARATION in (words_of(layer).get("provenance") or {})


def _rows(parent: QWidget | None = None) -> QFormLayout:
    rows = QFormLayout() if parent is None else QFormLayout(parent)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setVerticalSpacing(3)
    return rows


def _side_by_side(*parts: QWidget, stretch: tuple[int, ...] = (0, 1)) -> QWidget:
    found = QWidget()
    row = QHBoxLayout(found)
    row.setContentsMargins(0, 0, 0, 0)
    for part, share in zip(parts, stretch, strict=True):
        row.addWidget(part, share)
    return found

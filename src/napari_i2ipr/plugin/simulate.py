# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The Simulate widget: any image becomes the pattern that a detector would see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, SpinBox
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout

from napari_i2ipr.errors import ConfigError, I2IPRError, InputError
from napari_i2ipr.plugin import form
from napari_i2ipr.plugin.docked import DockedWidget, look_at, renew
from napari_i2ipr.plugin.known import known_layers
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.objects import MAX_PX, MIN_PX
from napari_i2ipr.plugin.panel import RunPanel
from napari_i2ipr.plugin.preferences import preferences
from napari_i2ipr.plugin.samples import ALPHA, PHOTONS
from napari_i2ipr.plugin.simulation_task import SimulationTask
from napari_i2ipr.plugin.worker import sentence
from napari_i2ipr.simulation_options import OPTIONS

if TYPE_CHECKING:
    import napari.viewer
    from magicgui.widgets.bases import ValueWidget

    from napari_i2ipr.plugin.simulation_task import Simulated

LABELS = {
    "alpha": "Alpha",
    "photons": "Photons",
    "oversampling": "Oversampling",
    "beamstop_px": "Beamstop radius (px)",
    "saturation": "Saturation level",
    "dead_pixels": "Dead pixels",
    "seed": "Random seed",
}
"""The settings of `simulate` that the widget has, in words."""

_START_PX = 256
_LARGEST = 1e9
_THIS, _ALL = "this", "all"


class SimulateWidget(DockedWidget):
    """Simulates the pattern of an image layer in the background and adds it, with the object as hidden layer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.panel = RunPanel(self.runner.status)
        self.panel.run_button.setText("Simulate")
        self.panel.run_button.setToolTip("Make the pattern in the background; the image is not changed.")
        self.panel.cancel_button.setToolTip("Stop before the next pattern; nothing is added.")
        for text in (self.panel.stage, self.panel.message):
            text.setToolTip("")
        for unused in (self.panel.preview_button, self.panel.estimate):
            unused.hide()
        self._source: Layer | None = None
        self._make_fields()
        self._lay_out()
        self._connect()
        self.image.value = self._images()[-1][1]
        self._on_change()

    # -- what is asked for ----------------------------------------------------------------------

    def _make_fields(self) -> None:
        self.image = ComboBox(choices=self._images, label="Image")
        self.image.tooltip = "Image layer that is the object; colours become luminance. It is not changed."
        self.frames = ComboBox(choices=self._frames, label="Slices")
        self.frames.tooltip = "Of a stack: the slice that is shown now, or all of them, each with a pattern of its own."
        self.size = SpinBox(min=MIN_PX, max=MAX_PX, value=_START_PX, label="Object size (px)")
        self.size.tooltip = f"Longest side of the object, {MIN_PX} ... {MAX_PX} pixels."
        ways = [("cropping", "crop"), ("resizing", "resize")]
        self.fit = ComboBox(choices=ways, value="crop", label="To that size by")
        self.fit.tooltip = "Cropping takes the middle of the image; resizing takes all of it."
        noises = [("photons", "photons"), ("alpha", "alpha"), ("none", "none")]
        self.noise = ComboBox(choices=noises, value="photons", label="Noise")
        self.noise.tooltip = (
            "Photons: Poisson noise of this exposure. Alpha: the noise model of the I2I-PR paper. "
            "None: the ideal pattern."
        )
        self.fields = {name: option_field(name) for name in LABELS}
        self.fields["photons"].value, self.fields["alpha"].value = f"{PHOTONS:.0e}".replace("e+0", "e"), f"{ALPHA:g}"
        self.plan = QLabel()
        self.plan.setWordWrap(True)
        for box in (self.image, self.frames, self.fit, self.noise):
            form.shrinkable(box)

    def _lay_out(self) -> None:
        self.rows = QFormLayout()
        self.rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for widget in (self.image, self.frames, self.size, self.fit, self.noise, *self.fields.values()):
            name = QLabel(widget.label)
            name.setToolTip(widget.tooltip or "")
            self.rows.addRow(name, widget.native)
        outer = QVBoxLayout(self)
        outer.addLayout(self.rows)
        outer.addWidget(self.plan)
        outer.addWidget(self.panel)
        outer.addStretch()
        self.setMinimumWidth(280)

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self.link(
            *((event, self.refresh) for event in (layers.inserted, layers.removed, layers.reordered, layers.renamed)),
            (self.viewer.dims.events.current_step, self._on_change),
            (self.image.changed, self._on_image),
            *((box.changed, self._on_change) for box in (self.frames, self.size, self.fit, self.noise)),
            *((box.changed, self._on_change) for box in self.fields.values()),
            (self.panel.run_button.clicked, self.run),
            (self.panel.cancel_button.clicked, self.cancel),
            (self.runner.delivered, self._on_result),
            (self.runner.failed, self._on_failed),
        )
        self._links += self.panel.links

    # -- choices ------------------------------------------------------------------------------------

    def refresh(self, _event: Any = None) -> None:
        """Follow the layer list."""
        fresh = self.image.value is None
        renew(self.image)
        if fresh:
            self.image.value = self._images()[-1][1]

    def _images(self, _box: Any = None) -> list[tuple[str, Any]]:
        found = [one for one in self.viewer.layers if isinstance(one, Image) and words_of(one).get("kind") != "pattern"]
        return [(layer.name, layer) for layer in found] or [("none is open", None)]

    def _frames(self, _box: Any = None) -> list[tuple[str, str]]:
        layer = self.image.value if hasattr(self, "image") else None
        if layer is None or layer.ndim < 3:
            return [("the only one", _THIS)]
        count = int(np.prod(layer_shape(layer)[: layer.ndim - 2]))
        return [("the one shown now", _THIS), (f"all {count}", _ALL)]

    def _on_image(self, _layer: Any = None) -> None:
        self.frames.reset_choices()
        self._on_change()

    def _on_change(self, _value: Any = None) -> None:
        """Show the fields that count, and say what will be made."""
        several = self.image.value is not None and self.image.value.ndim > 2
        shown: dict[ValueWidget[Any], bool] = {self.frames: several}
        shown |= {self.fields[name]: self.noise.value == name for name in ("photons", "alpha")}
        for widget, wanted in shown.items():
            self.rows.setRowVisible(widget.native, wanted)
        try:
            said, ready = self.task().sentence(), True
        except I2IPRError as error:
            said, ready = sentence(error), False
        self.plan.setText(said)
        self.panel.set_ready(ready=ready)

    # -- running --------------------------------------------------------------------------------------

    def task(self) -> SimulationTask:
        """What the form asks for.

        Raises
        ------
        I2IPRError
            When it cannot be run.
        """
        layer = self.image.value
        if layer is None:
            raise InputError("no image", expected="an image layer", do="open one, e.g. with File > Open Sample")
        where: tuple[int, ...] = ()
        if self.frames.value != _ALL and layer.ndim > 2:
            where = self._slice(layer)
        labels = tuple(str(label) for label in layer.axis_labels)
        named = not where and len(set(labels)) == layer.ndim and not any(label.startswith("-") for label in labels)
        return SimulationTask(
            layer.name,
            layer.data[0] if layer.multiscale else layer.data,
            where=where,
            rgb=layer.rgb,
            size=self.size.value,
            fit=self.fit.value,
            axes=(*labels[:-2], "y", "x") if named else (),
            memory_fraction=preferences().memory_fraction,
            settings=self._settings(),
        )

    def _settings(self) -> dict[str, Any]:
        """Arguments of `simulate`."""
        unused = {"photons", "alpha"} - {self.noise.value}
        return {name: option_value(name, box) for name, box in self.fields.items() if name not in unused}

    def _slice(self, layer: Any) -> tuple[int, ...]:
        """Index of the slice that is shown, in the axes before y and x."""
        point = layer.world_to_data(self.viewer.dims.point[-layer.ndim :])[: layer.ndim - 2]
        shape = layer_shape(layer)
        return tuple(int(np.clip(round(float(at)), 0, n - 1)) for at, n in zip(point, shape, strict=False))

    def run(self, _checked: bool = False) -> None:
        """Start with what the form says."""
        if self.runner.status.running:
            return
        try:
            task = self.task()
        except I2IPRError as error:
            self.runner.status.message = sentence(error)
            show_error(self.runner.status.message)
            return
        self._source = self.image.value
        self.runner.start(task)

    def cancel(self, _checked: bool = False) -> None:
        """Stop before the next pattern."""
        self.runner.cancel()

    def _on_result(self, made: Simulated) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.visible = False
        added = [Layer.create(*one) for one in known_layers(made.truth, made.measurement, made.name)]
        for layer in added:
            self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = added[0]
        look_at(self.viewer, added[:1])
        notes = [f"{note[:1].upper()}{note[1:]}." for note in made.notes]
        said = f"Done. The object is the hidden layer {added[1].name!r}; the image was hidden, not changed."
        self.runner.status.message = " ".join([said, *notes])

    def _on_failed(self, said: str) -> None:
        self._source = None
        show_error(said)


def layer_shape(layer: Any) -> tuple[int, ...]:
    """Shape of a layer's data at full resolution, without colours."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape[: layer.ndim])


def option_field(name: str) -> ValueWidget[Any]:
    """A field for a setting of `simulate`, with its default, range, unit and meaning.

    Parameters
    ----------
    name : str
        One of `OPTIONS`. Without a default the field is text, empty for none.
    """
    option = OPTIONS[name]
    value = option.default
    common: dict[str, Any] = {"name": name, "label": LABELS[name]}
    widget: ValueWidget[Any]
    if value is None:
        widget = LineEdit(value="", **common)
        widget.native.setPlaceholderText("none")
    elif option.whole:
        widget = SpinBox(value=value, min=int(option.low), max=int(min(option.high, _LARGEST)), **common)
    else:
        widget = FloatSpinBox(value=value, min=option.low, max=min(option.high, _LARGEST), step=0.5, **common)
    unit = f" In {option.unit}." if option.unit else ""
    empty = " Empty: none." if value is None and name == "saturation" else ""
    widget.tooltip = f"{option.text}{unit} Takes {option.words()}.{empty}"
    return widget


def option_value(name: str, widget: ValueWidget[Any]) -> Any:
    """What a field says, checked; None for an empty one that may be empty.

    Raises
    ------
    ConfigError
        When it is no number, or out of range.
    """
    value: Any = widget.value
    if isinstance(value, str):
        if not value.strip() and name == "saturation":
            return None
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(
                f"{LABELS[name]} = {value!r}", expected=OPTIONS[name].words(), do="type 1e8, say"
            ) from None
    if not OPTIONS[name].allows(value):
        raise ConfigError(f"{LABELS[name]} = {value:g}", expected=OPTIONS[name].words(), do="correct it")
    return value

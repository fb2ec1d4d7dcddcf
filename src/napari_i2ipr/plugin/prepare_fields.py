# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Form fields of a preparation, made from `Preparation`: one source for defaults, ranges, choices and tooltips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.plugin import form
from napari_i2ipr.prepare.settings import BACKGROUND_WORDS, SIZE_WORDS, Preparation

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

LABELS = {
    "size": "New size (px)",
    "fit": "Centre it by",
    "binning": "Bin (px)",
    "background": "Background",
    "saturation": "Saturated from",
    "grow_px": "Mask around these (px)",
    "hot_dead": "Hot and dead pixels",
    "bin_share": "Bad share of a bin",
    "gap_tolerance": "Fill gaps to an error of",
    "gain": "Units per photon",
    "amplitude": "Values are",
    "fft_order": "Zero frequency is",
    "invert_mask": "Invert",
    "allow_masked": "Mostly masked frames",
    "outlier_sigma": "Outliers of a sum (sigma)",
}
"""The settings of `Preparation` that have a field of their own, in words."""

FOLDED = (
    "grow_px",
    "hot_dead",
    "bin_share",
    "gap_tolerance",
    "gain",
    "amplitude",
    "fft_order",
    "allow_masked",
    "outlier_sigma",
)
"""Those that are rarely needed."""

WORDS = {
    ("amplitude", "auto"): "guessed",
    ("amplitude", "yes"): "amplitudes",
    ("amplitude", "no"): "intensities",
    ("fft_order", "auto"): "guessed",
    ("fft_order", "yes"): "in the corner",
    ("fft_order", "no"): "not in the corner",
    ("fit", "crop"): "cropping",
    ("fit", "pad"): "padding with free pixels",
    ("background", "none"): "none",
    ("background", "auto"): "level of the dimmest part",
    ("background", "radial"): "round, about the centre",
    ("size", "auto"): "all there is, FFT-friendly",
    ("size", "keep"): "all there is",
}
"""Plain words for choices: (field, choice) -> words."""

_TYPED = "typed"
_WORDED = {"background": (BACKGROUND_WORDS, "this level", "stored units"), "size": (SIZE_WORDS, "this", "N or NY,NX")}
_ZERO = {"saturation": "found by itself", "gain": "estimated"}
_SWITCHES = {"hot_dead": "find", "allow_masked": "accept", "invert_mask": "Invert"}


class WordOrNumber:
    """A choice between words and a number, with a line for the number.

    Parameters
    ----------
    name : str
        A setting of `Preparation` that is text: ``"background"`` or ``"size"``.
    """

    changed = Signal(str)

    def __init__(self, name: str) -> None:
        words, typed, hint = _WORDED[name]
        self.name, self.label, self.tooltip = name, LABELS[name], tooltip(name)
        ways = [*((WORDS[(name, word)], word) for word in words), (typed, _TYPED)]
        self.choice = ComboBox(choices=ways, value=Preparation.model_fields[name].default)
        self.number = LineEdit(value="")
        self.number.native.setPlaceholderText(hint)
        self.choice.tooltip = self.number.tooltip = self.tooltip
        form.shrinkable(self.choice)
        self.native = QWidget()
        row = QHBoxLayout(self.native)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.choice.native, 2)
        row.addWidget(self.number.native, 1)
        self.number.native.hide()
        self.choice.changed.connect(self._on_choice)
        self.number.changed.connect(self._on_number)

    @property
    def value(self) -> str:
        """The word, or what was typed."""
        return str(self.number.value if self.choice.value == _TYPED else self.choice.value)

    @value.setter
    def value(self, wanted: str) -> None:
        words = _WORDED[self.name][0]
        if wanted not in words:
            self.number.value = wanted
        self.choice.value = wanted if wanted in words else _TYPED

    def _on_choice(self, chosen: str) -> None:
        self.number.native.setVisible(chosen == _TYPED)
        self.changed.emit(self.value)

    def _on_number(self, _text: str) -> None:
        self.changed.emit(self.value)


def tooltip(name: str) -> str:
    """What a setting means and which values it takes, from its description."""
    info = Preparation.model_fields[name]
    bounds: dict[str, Any] = {}
    for item in info.metadata:
        bounds |= {key: getattr(item, key) for key in ("ge", "lt", "le") if hasattr(item, key)}
    if "ge" not in bounds:
        return str(info.description)
    high = bounds.get("le", bounds.get("lt"))
    takes = f"{bounds['ge']:g} or more" if high is None else f"{bounds['ge']:g} ... {high:g}"
    return f"{info.description} Takes {takes}."


def field(name: str) -> Any:
    """A field for a setting of `Preparation`, with its default, range and meaning.

    Parameters
    ----------
    name : str
        One of `LABELS`. Numbers whose 0 stands for a guess are text, empty for the guess.
    """
    if name in _WORDED:
        return WordOrNumber(name)
    info = Preparation.model_fields[name]
    common: dict[str, Any] = {"name": name, "label": LABELS[name], "value": info.default}
    widget: ValueWidget[Any]
    if info.annotation is bool:
        widget = CheckBox(**{**common, "label": _SWITCHES[name]})
    elif get_origin(info.annotation) is Literal:
        words = [(WORDS[(name, value)], value) for value in get_args(info.annotation)]
        widget = ComboBox(choices=words, **common)
        form.shrinkable(widget)
    elif info.annotation is int:
        least, most = (next(getattr(m, key) for m in info.metadata if hasattr(m, key)) for key in ("ge", "le"))
        widget = SpinBox(min=least, max=most, **common)
    elif name in _ZERO:
        widget = LineEdit(**{**common, "value": ""})
        widget.native.setPlaceholderText(_ZERO[name])
    else:
        most = next((m.le for m in info.metadata if hasattr(m, "le")), 0.99)
        widget = FloatSpinBox(min=0, max=most, step=0.05 if most <= 1 else 0.5, **common)
    widget.tooltip = tooltip(name)
    return widget


def value_of(name: str, widget: Any) -> Any:
    """What a field says, as `Preparation` takes it.

    Raises
    ------
    ConfigError
        When a number is needed and something else was typed.
    """
    found = widget.value
    if name not in _ZERO:
        return found
    try:
        return float(found) if found.strip() else 0.0
    except ValueError:
        raise ConfigError(f"{LABELS[name]} = {found!r}", expected="a number", do="type 65535, say") from None

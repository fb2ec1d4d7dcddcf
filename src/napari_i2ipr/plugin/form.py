"""Form fields made from `Config`: one source for defaults, ranges, choices and tooltips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget
    from pydantic import BaseModel
    from qtpy.QtWidgets import QComboBox

LABELS = {
    "enabled": "Refine",
    "fallback": "If it fits badly",
    "members": "Candidate sets",
    "object": "Object",
    "preset": "Preset",
    "sampler": "Sampler",
    "seed": "Random seed",
    "steps": "Network steps",
    "support": "Object lies in",
    "views": "Flips and turns",
    "weights": "Weights",
}
"""Plain words for fields, where the name itself is not plain enough."""

WORDS = {
    ("support", "half"): "central half",
    ("support", "auto"): "auto outline",
    ("sampler", "evolving"): "evolving replicas",
    ("sampler", "indi"): "InDI, as in the paper",
    ("fallback", "auto"): "take the classical mean",
    ("fallback", "never"): "take it all the same",
}
"""Plain words for choices: (field, choice) -> words."""

_EXACT = 2**53


def label(name: str) -> str:
    """Label of a field."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def tooltip(model: type[BaseModel], name: str) -> str:
    """What a field means, from its description."""
    return model.model_fields[name].description or label(name)


def choices(model: type[BaseModel], name: str) -> list[tuple[str, str]]:
    """Choices of a field as (words, value), from its type."""
    annotation = model.model_fields[name].annotation
    if get_origin(annotation) is not Literal:
        raise TypeError(f"the field {name!r} has no list of choices")
    return [(WORDS.get((name, value), value), value) for value in get_args(annotation)]


def field(model: type[BaseModel], name: str) -> ValueWidget[Any]:
    """A widget for a switch, an integer, a text or a choice of a settings model, with range, default and tooltip.

    Parameters
    ----------
    model : type of BaseModel
        `Config` or one of its sections.
    name : str
        The field.
    """
    info = model.model_fields[name]
    common: dict[str, Any] = {"name": name, "label": label(name), "value": info.default}
    widget: ValueWidget[Any]
    if info.annotation is bool:
        widget = CheckBox(**common)
    elif info.annotation is int:
        least, most = _range(info.metadata)
        widget = SpinBox(min=least, max=most, **common)
    elif info.annotation is str:
        widget = LineEdit(**common)
    else:
        widget = ComboBox(choices=choices(model, name), **common)
        shrinkable(widget)
    widget.tooltip = tooltip(model, name)
    return widget


def shrinkable(box: ComboBox) -> None:
    """Let long entries of a combo box not widen the window."""
    native: QComboBox = box.native
    native.setSizeAdjustPolicy(native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    native.setMinimumContentsLength(14)


def _range(metadata: list[Any]) -> tuple[int, int]:
    """Bounds of an integer field, at most what the spin box counts exactly (in double precision)."""
    bounds: dict[str, int] = {}
    for item in metadata:
        bounds |= {key: getattr(item, key) for key in ("ge", "gt", "le", "lt") if hasattr(item, key)}
    least = bounds.get("ge", bounds.get("gt", -1) + 1)
    return least, min(bounds.get("le", bounds.get("lt", _EXACT + 1) - 1), _EXACT)

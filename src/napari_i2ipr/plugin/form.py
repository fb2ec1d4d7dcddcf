"""Form fields made from `Config`: one source for defaults, ranges, choices and tooltips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox
from pydantic import BaseModel

from napari_i2ipr.errors import ConfigError, I2IPRError

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget
    from qtpy.QtWidgets import QComboBox

LABELS = {
    "aggregation": "Average",
    "aggregation.weights": "Weights",
    "alignment.shifts": "Search shifts",
    "alignment.subpixel": "Below a pixel too",
    "coherence": "Partial coherence",
    "coherence.blur_px": "Blur by the beam (px)",
    "coherence.fit": "Find the blur first",
    "coherence.lorentz": "Lorentzian share",
    "compute.batch": "Together (0: auto)",
    "compute.memory_fraction": "Most of free memory",
    "compute.threads": "Threads (0: auto)",
    "initialisation": "Random starts",
    "initialisation.final": "Final run",
    "initialisation.friedel": "Average pairs of",
    "initialisation.inherit": "Share of their mean",
    "initialisation.long": "Run of the kept",
    "initialisation.n_keep": "How many are kept",
    "initialisation.n_starts": "How many",
    "initialisation.ranking": "Ranked by",
    "initialisation.relaxation": "Noise relaxation",
    "initialisation.short": "Run of every start",
    "initialisation.tolerance": "Stop at misfit",
    "max_phase_deg": "Largest phase (degrees)",
    "max_outside": "Most energy outside",
    "max_residual_ratio": "Worst misfit kept",
    "min_twin_margin": "Least twin margin",
    "keep_candidates": "Keep the candidates",
    "members": "Candidate sets",
    "nonnegative": "No negative values",
    "object": "Object",
    "preset": "Preset",
    "refine": "Learned refinement",
    "refine.enabled": "Refine with the network",
    "refine.fallback": "If it fits badly",
    "refine.sampler": "Sampler",
    "refine.steps": "Steps (0: auto)",
    "refine.views": "Flips and turns",
    "refine.weights": "Weights",
    "seed": "Random seed",
    "support": "Object lies in",
}
"""Plain words for fields by path, or by name; where there are none, the name itself is taken."""

WORDS = {
    ("support", "half"): "central half",
    ("support", "auto"): "auto outline",
    ("sampler", "evolving"): "evolving replicas",
    ("sampler", "indi"): "InDI, as in the paper",
    ("fallback", "auto"): "take the classical mean",
    ("fallback", "never"): "take it all the same",
    ("ranking", "free"): "held-out pixels",
    ("ranking", "residual"): "plain misfit",
    ("weights", "consistency"): "by misfit",
    ("friedel", "intensity"): "intensities",
    ("friedel", "amplitude"): "amplitudes",
}
"""Plain words for choices: (field, choice) -> words."""

_EXACT = 2**53


def label(path: str) -> str:
    """Label of a field or section, by path or name."""
    name = path.rpartition(".")[2]
    return LABELS.get(path, LABELS.get(name, name.replace("_", " ").capitalize()))


def tooltip(model: type[BaseModel], name: str) -> str:
    """What a field means, from its description; its name in files and on the command line."""
    return f"{model.model_fields[name].description or label(name)}\n({name})"


def choices(model: type[BaseModel], name: str) -> list[tuple[str, str]]:
    """Choices of a field as (words, value), from its type."""
    annotation = model.model_fields[name].annotation
    if get_origin(annotation) is not Literal:
        raise TypeError(f"the field {name!r} has no list of choices")
    return [(WORDS.get((name, value), value), value) for value in get_args(annotation)]


def field(model: type[BaseModel], name: str, path: str = "") -> ValueWidget[Any]:
    """A widget for a field of a settings model, with range, default and tooltip; numbers with a point are a text.

    Parameters
    ----------
    model : type of BaseModel
        `Config` or one of its sections.
    name : str
        The field.
    path : str
        Where it lies in `Config`, for its label.
    """
    info = model.model_fields[name]
    words = label(path or name)
    common: dict[str, Any] = {"name": name, "label": words, "value": info.default}
    widget: ValueWidget[Any]
    if info.annotation is bool:
        widget = CheckBox(text=words, name=name, value=info.default)
    elif info.annotation is int:
        least, most = _range(info.metadata)
        widget = SpinBox(min=least, max=most, **common)
    elif info.annotation is float:
        widget = LineEdit(**(common | {"value": number_text(info.default)}))
    elif info.annotation is str:
        widget = LineEdit(**common)
    else:
        widget = ComboBox(choices=choices(model, name), **common)
        shrinkable(widget)
    widget.tooltip = tooltip(model, name)
    return widget


@dataclass(frozen=True, eq=False)
class Field:
    """A setting and its widget.

    Attributes
    ----------
    path : str
        Where it lies in `Config`, e.g. ``"refine.steps"``.
    model : type of BaseModel
        `Config` or the section that holds it.
    widget : ValueWidget
        Where it is filled in.
    """

    path: str
    model: type[BaseModel]
    widget: ValueWidget[Any]

    @property
    def name(self) -> str:
        """Its name in the model."""
        return self.path.rpartition(".")[2]

    @property
    def is_text(self) -> bool:
        """Whether it is a text."""
        return isinstance(self.widget, LineEdit) and self.model.model_fields[self.name].annotation is not float

    def read(self) -> Any:
        """What was filled in.

        Raises
        ------
        ConfigError
            When it is no number, where one is wanted.
        """
        value = self.widget.value
        if self.model.model_fields[self.name].annotation is not float:
            return value
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"{value!r}", expected=self.range_in_words()) from None

    def show(self, value: Any) -> None:
        """Fill in a value."""
        is_number = self.model.model_fields[self.name].annotation is float
        self.widget.value = number_text(value) if is_number else value

    def range_in_words(self) -> str:
        """What numbers are allowed."""
        bounds = _bounds(self.model.model_fields[self.name].metadata)
        parts = [
            f"at least {bounds['ge']:g}" if "ge" in bounds else "",
            f"above {bounds['gt']:g}" if "gt" in bounds else "",
        ]
        parts += [
            f"at most {bounds['le']:g}" if "le" in bounds else "",
            f"below {bounds['lt']:g}" if "lt" in bounds else "",
        ]
        return " ".join(["a number", " and ".join(filter(None, parts))]).strip()

    def complaint(self, error: Any) -> str:
        """What is wrong with the value, in one sentence.

        Parameters
        ----------
        error : dict
            An entry of pydantic's ``ValidationError.errors()``.
        """
        inner = error.get("ctx", {}).get("error")
        if isinstance(inner, I2IPRError):
            return ": ".join(filter(None, (f"Got {inner.got}", f"expected {inner.expected}" if inner.expected else "")))
        if error["type"] == "string_too_short":
            return "Expected a text, got none."
        if self.model.model_fields[self.name].annotation in (int, float):
            return f"Got {number_text(error['input'])}: expected {self.range_in_words()}"
        return str(error["msg"])


def leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every setting of a model and its sections: path, model that holds it, name; in the model's order."""
    for name, info in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from leaves(info.annotation, here)
        else:
            yield here, model, name


def number_text(value: float) -> str:
    """A number as it is filled in."""
    return f"{value:.12g}"


def shrinkable(box: ComboBox) -> None:
    """Let long entries of a combo box not widen the window."""
    native: QComboBox = box.native
    native.setSizeAdjustPolicy(native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    native.setMinimumContentsLength(6)


def _bounds(metadata: list[Any]) -> dict[str, float]:
    bounds: dict[str, float] = {}
    for item in metadata:
        bounds |= {key: getattr(item, key) for key in ("ge", "gt", "le", "lt") if hasattr(item, key)}
    return bounds


def _range(metadata: list[Any]) -> tuple[int, int]:
    """Bounds of an integer field, at most what the spin box counts exactly (in double precision)."""
    bounds = _bounds(metadata)
    least = bounds.get("ge", bounds.get("gt", -1) + 1)
    return int(least), int(min(bounds.get("le", bounds.get("lt", _EXACT + 1) - 1), _EXACT))

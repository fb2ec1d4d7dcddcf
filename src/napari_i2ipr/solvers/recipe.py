"""Schedules as data: ``"HIO:700 ER+acc:300"`` in text, a list of stages in YAML."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.solvers import METHODS, WRAPPERS, Method
from napari_i2ipr.solvers._base import Span

_PART = re.compile(r"([A-Za-z]+)(?:\(([^()]*)\))?")
_PLUS = re.compile(r"\+(?![^()]*\))")
_STAGE = re.compile(r"([^:\s]+):(\d+)")


@dataclass(frozen=True)
class Stage:
    """So many iterations of one method; `first` and `total` tell which part of a stage that was cut it is."""

    method: Method
    iterations: int
    first: int = 0
    total: int = 0

    @property
    def span(self) -> Span:
        """Which steps of the whole stage these are."""
        return Span(self.first, self.total or self.iterations)


Schedule = tuple[Stage, ...]


def parse_schedule(value: str | Sequence[Any]) -> Schedule:
    """A schedule from text or from a list of stages.

    Parameters
    ----------
    value : str or sequence
        Stages in text, ``NAME[(field=number,...)][+acc[(...)]][+avg]:ITERATIONS``, separated by
        blanks; or a list whose items are such texts or mappings with one such key, e.g.
        ``[{"HIO(beta=0.8)": 700}, "ER+acc:300"]``.

    Raises
    ------
    ConfigError
        With the valid names when a method, wrapper or field is unknown.
    """
    if isinstance(value, str):
        items = re.split(r"\s+(?![^()]*\))", value.strip()) if value.strip() else []
    elif isinstance(value, Sequence):
        items = [_item_text(item) for item in value]
    else:
        raise ConfigError(f"{value!r} as a schedule", expected='text such as "HIO:700 ER+acc:300", or a list of stages')
    if not items:
        raise ConfigError("an empty schedule", expected='stages such as "HIO:700 ER+acc:300"')
    return tuple(_stage(item.replace(" ", "")) for item in items)


def schedule_text(schedule: Schedule) -> str:
    """The schedule in the text form that `parse_schedule` reads."""
    return " ".join(f"{_method_text(stage.method)}:{stage.iterations}" for stage in schedule)


def total_iterations(schedule: Schedule) -> int:
    """Iterations of all stages."""
    return sum(stage.iterations for stage in schedule)


def split(schedule: Schedule, first: int) -> tuple[Schedule, Schedule]:
    """The schedule cut after `first` iterations; either part may be empty."""
    head: list[Stage] = []
    tail: list[Stage] = []
    for stage in schedule:
        taken = min(stage.iterations, max(first, 0))
        first -= taken
        if taken in (0, stage.iterations):
            (head if taken else tail).append(stage)
            continue
        total = stage.span.total
        head.append(Stage(stage.method, taken, stage.first, total))
        tail.append(Stage(stage.method, stage.iterations - taken, stage.first + taken, total))
    return tuple(head), tuple(tail)


def wrapped(schedule: Schedule, name: str) -> Schedule:
    """The schedule with the wrapper of that name around every method."""
    return tuple(dataclasses.replace(stage, method=WRAPPERS[name](stage.method)) for stage in schedule)


def _item_text(item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, count),) = item.items()
        return f"{name}:{count}"
    raise ConfigError(f"the stage {item!r}", expected='"HIO:700" or {"HIO": 700}')


def _stage(text: str) -> Stage:
    match = _STAGE.fullmatch(text)
    if match is None or int(match[2]) < 1:
        raise ConfigError(
            f"the stage {text!r}", expected="NAME:ITERATIONS, iterations >= 1", do='write e.g. "HIO:700 ER+acc:300"'
        )
    method: Method | None = None
    for part in _PLUS.split(match[1]):
        name, fields = _part(part)
        if method is None:
            method = _make(METHODS, "method", name, fields)
        else:
            method = _make(WRAPPERS, "wrapper", name, fields, method)
    if method is None:
        raise ConfigError(f"the stage {text!r}", expected="a method name")
    return Stage(method, int(match[2]))


def _part(text: str) -> tuple[str, dict[str, float]]:
    match = _PART.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} in a schedule", expected="NAME or NAME(field=number)")
    fields: dict[str, float] = {}
    for pair in filter(None, (match[2] or "").split(",")):
        key, _, number = pair.partition("=")
        try:
            fields[key] = float(number)
        except ValueError:
            raise ConfigError(f"{pair!r} in a schedule", expected="field=number") from None
    return match[1], fields


def _make(
    table: Mapping[str, Any], what: str, name: str, fields: dict[str, Any], inner: Method | None = None
) -> Method:
    if name not in table:
        raise ConfigError(f"the {what} {name!r}", expected="one of " + ", ".join(table))
    kind = table[name]
    known = {f.name: f for f in dataclasses.fields(kind) if f.name != "method"}
    for key, number in fields.items():
        if key not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"the field {key!r} of {name}", expected=f"fields of {name}: {allowed}")
        if known[key].type == "int":
            if number != round(number):
                raise ConfigError(f"{key} = {number} of {name}", expected="a whole number")
            fields[key] = int(number)
    made: Method = kind(**fields) if inner is None else kind(inner, **fields)
    return made


def _method_text(method: Method) -> str:
    names = {kind: name for name, kind in [*METHODS.items(), *WRAPPERS.items()]}
    inner = getattr(method, "method", None)
    numbers = [
        f"{f.name}={getattr(method, f.name)!r}"
        for f in dataclasses.fields(method)
        if f.name != "method" and getattr(method, f.name) != f.default
    ]
    own = names[type(method)] + (f"({','.join(numbers)})" if numbers else "")
    return f"{_method_text(inner)}+{own}" if inner is not None else own

"""Settings as values: frozen, validated, unknown names refused, to and from YAML."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_i2ipr.errors import ConfigError


class Section(BaseModel):
    """Settings by name; every field has a type, a range and one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    shown_by: ClassVar[str] = "i2ipr config"
    """The command that prints every setting, named where one is wrong."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Settings from plain values; what is missing takes its default.

        Raises
        ------
        ConfigError
            When a name is unknown or a value out of range.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"a {type(values).__name__}", expected="settings by name")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            inner = first.get("ctx", {}).get("error")
            if isinstance(inner, ConfigError):
                got = f"{inner.got} as {where}" if where else inner.got
                raise ConfigError(got, expected=inner.expected, do=inner.do) from None
            raise ConfigError(
                f"the setting {where} = {first.get('input')!r}: {first['msg']}",
                do=f"`{cls.shown_by}` prints every setting with its default",
            ) from None

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Settings from YAML or JSON text."""
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"text that is not YAML ({str(error).splitlines()[0]})", do="check the file") from None
        return cls.from_dict({} if values is None else values)

    def to_yaml(self) -> str:
        """The settings as YAML, every field with its description as a comment."""
        lines: list[str] = []
        _write(self, lines, "")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values (JSON-able)."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    def replace(self, **changes: Any) -> Self:
        """A copy with fields changed; sections may be given as dicts of the fields that change."""
        return self.from_dict(merged(self.to_dict(), changes))


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Values with changes, section by section."""
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def _write(section: BaseModel, lines: list[str], indent: str) -> None:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            lines.append(f"{indent}{name}:  # {(type(value).__doc__ or '').splitlines()[0]}")
            _write(value, lines, indent + "  ")
        else:
            lines.append(f"{indent}{name}: {json.dumps(value)}  # {info.description}")

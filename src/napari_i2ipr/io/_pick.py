"""Which of a file's arrays is the pattern: the single plausible one, or an error that lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import MIN_FRAME_PX
from napari_i2ipr.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

Found = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Arrays by name: shape and type."""

_NOT_A_PATTERN = re.compile(r"mask|support|(^|[^a-z])(bad|flat|dark|error|weight|gain|background|offset)")


_PATTERN = re.compile(r"data|intensit|pattern|diff|count|frame|signal")
_DETECTOR = re.compile(r"detector|instrument|measurement|eiger|pilatus|jungfrau")


def plausible(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether an array could be a pattern or a mask: numbers, two axes or more, the last two long enough."""
    if dtype.kind not in "buifc" or len(shape) < 2 or 0 in shape:
        return False
    sides = shape[:2] if len(shape) == 3 and shape[-1] == 1 else shape[-2:]
    return min(sides) >= MIN_FRAME_PX


def candidates(found: Found, *, masks_too: bool = False) -> list[str]:
    """Names of the arrays that can be meant, the most probable first.

    Parameters
    ----------
    found : mapping
        Every array of the file.
    masks_too : bool
        Whether arrays named like a mask count as well; otherwise only when there is nothing else.
    """
    fitting = [name for name, (shape, dtype) in found.items() if plausible(shape, dtype)]
    named = [name for name in fitting if not _NOT_A_PATTERN.search(_leaf(name))]
    real = [name for name in named if found[name][1].kind != "c"]
    for choice in (fitting,) if masks_too else (named, real, fitting):
        if len(choice) == 1:
            return choice
    return sorted(fitting if masks_too else real or named or fitting, key=lambda name: _rank(name, found))


def pick(path: Path, found: Found, *, masks_too: bool = False) -> str:
    """Name of the single array that can be meant.

    Parameters
    ----------
    path : Path
        The file, for the message.
    found, masks_too
        See `candidates`.

    Raises
    ------
    FormatError
        If there is none or more than one; the message lists them.
    """
    choice = candidates(found, masks_too=masks_too)
    if len(choice) == 1:
        return choice[0]
    if not choice:
        raise FormatError(
            f"no image-like array in {path} (it holds {listing(found) or 'no arrays'})",
            expected=f"a numeric array with at least {MIN_FRAME_PX} x {MIN_FRAME_PX} px",
            do="check that this is the right file",
        )
    raise FormatError(
        f"{len(choice)} arrays in {path} that could be meant: {listing({name: found[name] for name in choice})}",
        expected="one",
        do=f"name it: {path}::{choice[0]}",
    )


def _leaf(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()


def _rank(name: str, found: Found) -> tuple[bool, bool, int]:
    """Sorts a pattern before other arrays: by what it and its groups are called, then by its size."""
    shape, _ = found[name]
    return not _PATTERN.search(_leaf(name)), not _DETECTOR.search(name.lower()), -int(np.prod(shape, dtype=np.int64))


def missing(path: Path, dataset: str, found: Found) -> FormatError:
    """The error for a dataset that is not there; it lists those that are."""
    return FormatError(
        f"no dataset {dataset!r} in {path}",
        expected=f"one of {listing(found)}" if found else "a file with datasets",
        do="correct the part behind '::'",
    )


def no_inner(path: Path, dataset: str | None, what: str) -> None:
    """Refuse a dataset name for a format that has no inner datasets."""
    if dataset:
        raise FormatError(
            f"the dataset name {dataset!r} for {path}",
            expected=f"none: there are no datasets in {what} files",
            do="leave it out",
        )


def listing(found: Found, limit: int = 12) -> str:
    """Names with shapes and types, at most `limit` of them."""
    parts = [f"{name} {shape} {dtype}" for name, (shape, dtype) in found.items()]
    more = f" and {len(parts) - limit} more" if len(parts) > limit else ""
    return ", ".join(parts[:limit]) + more

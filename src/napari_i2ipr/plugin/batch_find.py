"""What paths stand for that were chosen or dropped: files, stores, the files of folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_i2ipr import io
from napari_i2ipr.errors import I2IPRError, InputError
from napari_i2ipr.plugin.batch_queue import ENDING, SUFFIXES
from napari_i2ipr.plugin.worker import sentence

_STORES = ("zarr.json", ".zarray", ".zgroup")
_HDF5 = tuple(suffix for row in io.READERS if row.name == "HDF5" for suffix in row.suffixes)


@dataclass(frozen=True)
class FoundSources:
    """What was found.

    Attributes
    ----------
    sources : list of str
        Files and stores.
    problems : list of str
        A sentence for each path that holds nothing.
    unnamed : list of str
        HDF5 files of which no dataset was named.
    several : mapping
        Shape and type by name of the datasets that the first of them may mean; empty where it says itself.
    """

    sources: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    several: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FindTask:
    """Paths, and whether a folder among them is one source, a stack of its files."""

    paths: tuple[str, ...]
    as_stack: bool = False

    def __call__(self) -> FoundSources:
        """Look at names, and into the first HDF5 file."""
        sources, problems = list[str](), list[str]()
        for path in self.paths:
            try:
                sources += sources_in(path, as_stack=self.as_stack)
            except I2IPRError as error:
                problems.append(sentence(error))
        unnamed = [path for path in sources if path.lower().endswith(_HDF5) and Path(path).is_file()]
        return FoundSources(sources, problems, unnamed, _datasets(unnamed[0]) if unnamed else {})


def _datasets(path: str) -> Mapping[str, Any]:
    """The datasets that could be meant; none of a file that cannot be read, of which the run says so."""
    try:
        return io.datasets(path)
    except I2IPRError:
        return {}


def is_store(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return any((path / name).is_file() for name in _STORES)


def sources_in(path: str, *, as_stack: bool) -> list[str]:
    """What a path that was chosen or dropped stands for; names are looked at, nothing is opened.

    Parameters
    ----------
    path : str
        A file, a store, or a folder.
    as_stack : bool
        Whether a folder is one source, a stack of its files, rather than one source a file.

    Raises
    ------
    InputError
        When there are no patterns in a folder.
    """
    place = Path(path.partition("::")[0])
    if not place.is_dir() or is_store(place) or as_stack:
        return [path]
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and _fits(entry)]
    if not names:
        raise InputError(f"the folder {place}, which holds no files of a known format", do="choose another")
    return [str(place / name) for name in sorted(names)]


def _fits(entry: os.DirEntry[str]) -> bool:
    """Whether a file can be a source by its name; folders are stores that are no results of a batch."""
    name = entry.name.lower()
    if entry.is_dir():
        return name.endswith(ENDING) and not name.endswith(f"_reconstruction{ENDING}") and is_store(Path(entry.path))
    return name.endswith(SUFFIXES)

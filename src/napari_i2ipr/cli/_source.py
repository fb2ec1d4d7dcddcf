"""The pattern that a result was made from: found again where the result says, and known by its fingerprint."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_i2ipr.cli._pattern import PatternOptions, read_pattern
from napari_i2ipr.errors import DataWarning, I2IPRError, InputError

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction

RECORD = "pattern"
"""Key of `Reconstruction.provenance` under which `i2ipr reconstruct` keeps the file and the options for it."""


def record(file: str, options: PatternOptions) -> dict[str, Any]:
    """What a result must keep to find its pattern again."""
    return {"file": file, **{field.name: getattr(options, field.name) for field in fields(options)}}


@dataclass(frozen=True)
class Source:
    """The pattern behind a result, or why there is none.

    Attributes
    ----------
    measurement : Measurement or None
        Pattern or stack, as it was read.
    file : str
        Where it was read from.
    why : str
        A sentence on why there is none; empty where there is one.
    trusted : bool
        Whether the user named it.
    """

    measurement: Measurement | None
    file: str = ""
    why: str = ""
    trusted: bool = False


def source_of(result: Reconstruction, result_file: Path, given: str | None) -> Source:
    """The pattern that is given, else the one that the result names, where it is still there.

    Parameters
    ----------
    result : Reconstruction
        As it was read.
    result_file : Path
        Its file; the pattern may lie beside it.
    given : str or None
        What the user names; read with the options that the result was made with.

    Raises
    ------
    FormatError, InputError
        If the given pattern cannot be used.
    """
    options = _options(result)
    if given is not None:
        return Source(read_pattern(given, options)[0], given, trusted=True)
    known = result.provenance.get(RECORD, {}).get("file") or result.provenance.get("input", {}).get("source")
    if known in (None, "", "simulation"):
        return Source(None, why="the result names no file of its pattern: give it with --pattern")
    for file in _places(str(known), result_file):
        try:
            return Source(read_pattern(file, options)[0], file)
        except I2IPRError as error:
            return Source(None, why=f"the pattern {file} cannot be used ({error.got}): give it with --pattern")
    return Source(None, why=f"the pattern {known} is not there any more: give it with --pattern")


def frame_of(source: Source, result: Reconstruction, item: int, count: int) -> tuple[Measurement | None, str]:
    """One conditioned frame of the pattern of a result of `count` images, and why there is none.

    A pattern that the user did not name is used only if it is, pixel by pixel, the one that was reconstructed.

    Parameters
    ----------
    source : Source
        Where the pattern is.
    result : Reconstruction
        The one image, see `napari_i2ipr.evaluate.quality.single`.
    item, count : int
        Its number, and how many there are.

    Raises
    ------
    InputError
        If a named pattern has another number of frames, or a frame cannot be used.
    """
    from napari_i2ipr.prepare import condition

    measurement = source.measurement
    if measurement is None:
        return None, source.why
    if measurement.n_frames != count:
        why = f"{source.file} with {measurement.n_frames} pattern(s)"
        if source.trusted:
            raise InputError(
                why, expected=f"{count}, as many as the result has", do="give the pattern it was made from"
            )
        return None, f"the pattern has changed since: {source.file} holds {measurement.n_frames}, not {count}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # it was all said when the pattern was reconstructed
        frame, _ = condition(measurement.frame(item), allow_masked=_options(result).allow_masked)
    marks = result.provenance.get("fingerprints", [])
    if marks and frame.fingerprint() == marks[0]:
        return frame, ""
    if source.trusted:
        if marks and frame.shape == result.frame_shape:  # of another shape it is refused later
            warnings.warn(
                f"{source.file} is not the pattern that the result was made from: scores against it are those of a "
                "prediction",
                DataWarning,
                stacklevel=2,
            )
        return frame, ""
    if not marks:
        return None, f"nothing tells whether {source.file} is still the same pattern: give it with --pattern"
    return None, f"{source.file} has changed since the reconstruction: give the pattern with --pattern"


def _options(result: Reconstruction) -> PatternOptions:
    """The options that the pattern was read with."""
    known = result.provenance.get(RECORD, {})
    found = {field.name: known[field.name] for field in fields(PatternOptions) if known.get(field.name) is not None}
    if "center" in found:
        found["center"] = tuple(found["center"])
    return PatternOptions(**found)


def _places(known: str, result_file: Path) -> list[str]:
    """Where the pattern is: as it was named, from here or from beside the result; those that exist."""
    file, mark, dataset = known.partition("::")
    candidates = [Path(file), result_file.parent / file, result_file.parent / Path(file).name]
    return [f"{place}{mark}{dataset}" for place in candidates if place.exists()][:1]

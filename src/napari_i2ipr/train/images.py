"""Training images: where they come from, what they are, and which of them are held back for validation."""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

ENDINGS = (".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Pictures taken from folders and tars."""

MANIFEST = "MANIFEST.csv"
"""Beside the sources, optional: columns ``file`` (``tar:name``), ``source_repo`` and ``licence``."""


HELD_BACK = 5
"""One picture in so many is held back where none is on the validation list."""


@dataclass(frozen=True)
class Picture:
    """One training image and where it is from.

    Attributes
    ----------
    file : str
        ``source:name``, the source a tar or folder below the data folder.
    sha256 : str
        Of the encoded file.
    origin, licence : str
        From the manifest; ``"unknown"`` without one.
    pixels : ndarray
        Grey, uint8 ``(y, x)``.
    """

    file: str
    sha256: str
    origin: str
    licence: str
    pixels: NDArray[np.uint8]


def validation_files() -> dict[str, str]:
    """The images that are never trained on, ``{file: sha256}``, natural and microscopy in turn."""
    text = resources.files("napari_i2ipr.train").joinpath("validation.csv").read_text()
    return {row["file"]: row["sha256"] for row in csv.DictReader(io.StringIO(text))}


def pictures(data: Path, sources: Sequence[str], least_px: int) -> tuple[list[Picture], list[Picture]]:
    """The pictures to train on, and those held back for validation.

    Held back are those of the validation list, in its order; where the sources hold none of them, the
    fifth of the pictures with the lowest hashes.

    Parameters
    ----------
    data : Path
        Folder that holds the sources.
    sources : sequence of str
        Tars or folders below it.
    least_px : int
        Pictures with a shorter side are left out.

    Raises
    ------
    InputError
        If a source is missing or holds nothing that can be used.
    """
    there = _pictures(data, sources, least_px)
    by_hash = {picture.sha256: picture for picture in there}
    held_back = [digest for digest in validation_files().values() if digest in by_hash]
    if not held_back:
        held_back = sorted(by_hash)[: -(-len(by_hash) // HELD_BACK)]
    to_train = [picture for picture in there if picture.sha256 not in set(held_back)]
    return to_train, [by_hash[digest] for digest in held_back]


def _pictures(data: Path, sources: Sequence[str], least_px: int) -> list[Picture]:
    known = _manifest(data)
    found: list[Picture] = []
    for source in sources:
        before = len(found)
        for name, content in sorted(_files(data / source)):
            digest = hashlib.sha256(content).hexdigest()
            file = f"{source}:{name}"
            pixels = decode(content, file)
            if min(pixels.shape) >= least_px:
                found.append(Picture(file, digest, *known.get(file, ("unknown", "unknown")), pixels))
        if len(found) == before:
            raise InputError(f"no picture in {data / source}", expected=f"pictures of at least {least_px} px", do="")
    return found


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """An encoded picture as 8-bit grey."""
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{name}, which cannot be read ({error})", expected="a picture", do="remove it") from None


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in ENDINGS:
                yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    if not source.is_file():
        raise InputError(f"no {source}", expected="a tar or a folder of pictures", do="give the data folder")
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                content = archive.extractfile(member) if Path(member.name).suffix.lower() in ENDINGS else None
                if content is not None:
                    yield member.name, content.read()
    except tarfile.TarError as error:
        raise InputError(f"{source}, which is no tar ({error})", expected="a tar or a folder of pictures") from None


def _manifest(data: Path) -> dict[str, tuple[str, str]]:
    path = data / MANIFEST
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["file"]: (row["source_repo"], row["licence"]) for row in csv.DictReader(file)}

"""Shared by the quality benchmarks: images of the validation split and of the test sets, and scoring."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_i2ipr.train.images import validation_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
"""Side of the images in pixels; frames are twice as large."""


@dataclass(frozen=True)
class Case:
    """One image of a benchmark."""

    name: str
    set: str
    image: NDArray[np.uint8]


def data_folder(given: str | None) -> Path:
    """The data folder from ``--data`` or the environment variable I2IPR_DATA."""
    folder = given or os.environ.get("I2IPR_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("error: got no data folder; give --data DIR or set I2IPR_DATA")
    return Path(folder)


def grey(data: bytes) -> NDArray[np.uint8]:
    """The centre crop of an encoded image, 8-bit grey."""
    image = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    y, x = ((n - SIDE) // 2 for n in image.shape)
    return np.ascontiguousarray(image[y : y + SIDE, x : x + SIDE])


def validation_cases(data: Path, first: int, count: int) -> list[Case]:
    """`count` images of the validation split from position `first` on, checked against their hashes."""
    rows = list(validation_files().items())[first : first + count]
    cases = []
    for file, digest in rows:
        tar, name = file.split(":")
        with tarfile.open(data / "train" / tar) as archive:
            member = archive.extractfile(name)
            if member is None:
                sys.exit(f"error: {file} is not a file")
            content = member.read()
        if hashlib.sha256(content).hexdigest() != digest:
            sys.exit(f"error: {file} is not the file that was listed")
        cases.append(Case(name, tar.removesuffix(".tar"), grey(content)))
    return cases


def test_cases(data: Path, sets: tuple[str, ...], limit: int | None) -> list[Case]:
    """The test images of the named sets, at most `limit` of each. For reporting only."""
    return [
        Case(f"{name}/{path.name}", name, grey(path.read_bytes()))
        for name in sets
        for path in sorted((data / "test" / name).glob("*.png"))[:limit]
    ]

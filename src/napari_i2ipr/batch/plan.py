"""The frozen plan of a batch: which frames make a unit, and what is written of them.

A unit is a block of whole frames, one shard in every image of the target: it is read, reconstructed, written and
marked as done as a whole, and no two units ever write to the same file.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.arrays import Region, values
from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_i2ipr.batch.source import Source
    from napari_i2ipr.config import Config

MOST_FRAMES = 32
"""Frames of a unit at most, unless told: so many are done again after a crash."""

UNITS_A_WORKER = 4
"""A small source is cut into so many units for each worker at least."""

Box = tuple[int, int, int, int]
"""``(y0, x0, h, w)`` in the DC-centred frame."""


@dataclass(frozen=True)
class Image:
    """One image of the target.

    Attributes
    ----------
    name : str
        Its group in the store.
    dtype : str
        ``"float32"`` or ``"complex64"``.
    candidates : int
        Length of the axis of candidates, 0 without one.
    """

    name: str
    dtype: str = "float32"
    candidates: int = 0

    @property
    def shown(self) -> bool:
        """Whether viewers can show it."""
        return self.dtype != "complex64"


@dataclass(frozen=True)
class Plan:
    """What is done in which pieces.

    Attributes
    ----------
    lead : tuple of int
        Shape of the leading axes; empty for a single pattern.
    lead_axes : tuple of str
        Their names.
    block : tuple of int
        Frames of a unit along each of them.
    frame_shape : tuple of int
        Shape ``(y, x)`` of a pattern once it is prepared.
    box : tuple of int
        Where the images lie in the frame, ``(y0, x0, h, w)``; every support lies within it.
    images : tuple of Image
        What is written.
    """

    lead: tuple[int, ...]
    lead_axes: tuple[str, ...]
    block: tuple[int, ...]
    frame_shape: tuple[int, int]
    box: Box
    images: tuple[Image, ...]

    @property
    def n_frames(self) -> int:
        """Number of patterns."""
        return math.prod(self.lead)

    @property
    def grid(self) -> tuple[int, ...]:
        """Units along each leading axis."""
        return tuple(-(-n // k) for n, k in zip(self.lead, self.block, strict=True))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return math.prod(self.grid)

    @property
    def unit_frames(self) -> int:
        """Frames of a whole unit."""
        return math.prod(self.block)

    def cell(self, unit: int) -> tuple[int, ...]:
        """Place of a unit in the grid."""
        return tuple(int(i) for i in np.unravel_index(unit, self.grid))

    def region(self, unit: int) -> Region:
        """The frames of a unit."""
        starts = (i * k for i, k in zip(self.cell(unit), self.block, strict=True))
        return tuple(slice(s, min(s + k, n)) for s, k, n in zip(starts, self.block, self.lead, strict=True))

    def numbers(self, unit: int) -> list[int]:
        """Numbers of a unit's frames in the flattened leading axes, in the order of its region."""
        region = self.region(unit)
        places = np.ndindex(tuple(part.stop - part.start for part in region))
        starts = [part.start for part in region]
        return [int(np.ravel_multi_index(np.add(starts, at).astype(int), self.lead)) if at else 0 for at in places]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in all images, full resolution."""
        _, _, h, w = self.box
        return sum(np.dtype(image.dtype).itemsize * h * w * max(image.candidates, 1) for image in self.images)

    def to_dict(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        found: dict[str, Any] = asdict(self)
        return {key: [*value] if isinstance(value, tuple) else value for key, value in found.items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Plan:
        """The plan of such a dictionary."""
        numbers = {key: tuple(int(i) for i in found[key]) for key in ("lead", "block", "frame_shape", "box")}
        images = tuple(Image(**image) for image in found["images"])
        return cls(lead_axes=tuple(found["lead_axes"]), images=images, **numbers)  # type: ignore[arg-type]


def make_plan(source: Source, config: Config, frame_shape: tuple[int, int], most: int) -> Plan:
    """The plan for a source.

    Parameters
    ----------
    source : Source
        The patterns.
    config : Config
        Says which images there are.
    frame_shape : tuple of int
        Shape ``(y, x)`` of a prepared pattern.
    most : int
        Frames of a unit at most.

    Raises
    ------
    InputError
        If a support does not fit the frame, or is empty.
    """
    block = block_of(source.lead, source.chunk, most)
    return Plan(source.lead, source.lead_axes, block, frame_shape, common_box(source, frame_shape), images_of(config))


def block_of(lead: Sequence[int], chunk: Sequence[int], most: int) -> tuple[int, ...]:
    """Block of at most so many frames: whole last axes first, then whole stored chunks where they fit.

    Parameters
    ----------
    lead, chunk : sequence of int
        Shape of the leading axes, and of a stored chunk along them.
    most : int
        Frames, at least 1.
    """
    block: list[int] = []
    left = max(most, 1)
    for n, c in zip(reversed(lead), reversed(chunk), strict=True):
        size = n if n <= left else (left // c * c or left)
        block.append(size)
        left = left // n if n <= left else 1
    return tuple(reversed(block))


def most_frames(n_frames: int, workers: int) -> int:
    """Frames of a unit at most, where nothing else is said."""
    return max(1, min(MOST_FRAMES, -(-n_frames // (UNITS_A_WORKER * workers))))


def images_of(config: Config) -> tuple[Image, ...]:
    """The images of a result with these settings."""
    main = "complex64" if config.object == "complex" else "float32"
    images = [Image("reconstruction", main)]
    if config.object == "complex":
        images += [Image("amplitude"), Image("phase")]
    images.append(Image("uncertainty"))
    if config.refines:
        images.append(Image("classical"))
    if config.keep_candidates:
        kept = config.members * min(config.initialisation.n_keep, config.initialisation.n_starts)
        images.append(Image("candidates", main, kept))
    return tuple(images)


def common_box(source: Source, frame_shape: tuple[int, int]) -> Box:
    """The box that holds the supports of all frames.

    Supports that are found from the patterns lie within the centred half of the frame. Supports of single frames are
    all read for it.
    """
    support = source.support
    if support is None:
        ny, nx = frame_shape
        h, w = ny // 2, nx // 2
        return (ny - h) // 2, (nx - w) // 2, h, w
    if tuple(support.shape[-2:]) != tuple(frame_shape):
        raise InputError(
            f"a support of {support.shape[-2]} x {support.shape[-1]} px for frames of "
            f"{frame_shape[0]} x {frame_shape[1]} px",
            expected="a support of the prepared frame",
            do="give it for the cropped frame, or leave the centre out",
        )
    inside = _anywhere(support)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if rows.size == 0:
        raise InputError("an empty support", expected="non-zero where the object may be", do="check the support file")
    y0, x0 = int(rows[0]), int(columns[0])
    return y0, x0, int(rows[-1]) + 1 - y0, int(columns[-1]) + 1 - x0


def _anywhere(support: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where any frame's support is."""
    lead = tuple(int(n) for n in support.shape[:-2])
    inside = np.zeros(support.shape[-2:], bool)
    for at in np.ndindex(lead):
        one = values(support, tuple(slice(i, i + 1) for i in at))[(0,) * len(lead)]
        inside |= np.nan_to_num(one) != 0
    return inside

"""A simulation that is ready to run: what is taken of a layer, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement, data_range
from napari_i2ipr.errors import OutOfMemoryError
from napari_i2ipr.plugin.objects import Fit, make_object, object_shape
from napari_i2ipr.plugin.state import Progress
from napari_i2ipr.plugin.worker import load_torch
from napari_i2ipr.simulation import frame_shape, photons_of_alpha
from napari_i2ipr.simulation_options import OPTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.progress import Cancel, Event

GLANCE_PX = 2**20
"""Pixels that may be looked at in the main thread."""

_BYTES = 12
"""Per pixel of all patterns: what is kept, and what is shown of it."""

_BYTES_ONE = 80
"""Per pixel of the one that is being made: double precision, complex, several times."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """What a simulation gives.

    Attributes
    ----------
    measurement : Measurement
        The pattern or stack; nothing of the truth is in it.
    truth : ndarray
        The object or stack of objects.
    name : str
        Name for the layers.
    notes : list of str
        What was done to the image, for the user.
    """

    measurement: Measurement
    truth: NDArray[Any]
    name: str
    notes: list[str]


@dataclass(frozen=True, eq=False)
class SimulationTask:
    """An image and how to simulate its pattern.

    Attributes
    ----------
    name : str
        Of the image layer.
    image : array-like
        Its data ``(..., y, x)`` or ``(..., y, x, 3 or 4)``; may be lazy, read when the task runs.
    where : tuple of int
        Index of the slice to take in the axes before y and x; empty for all.
    rgb : bool
        Whether the last axis holds colours.
    size : int
        Longest side of the object, in pixels.
    fit : str
        ``"crop"`` or ``"resize"``.
    axes : tuple of str
        Names of the axes of what is taken; empty for the usual ones.
    memory_fraction : float
        Share of the free memory that may be used.
    settings : dict
        For `simulate`.
    """

    name: str
    image: Any
    where: tuple[int, ...] = ()
    rgb: bool = False
    size: int = 256
    fit: Fit = "crop"
    axes: tuple[str, ...] = ()
    memory_fraction: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"simulation of {self.name}"

    @property
    def taken(self) -> tuple[int, ...]:
        """Shape ``(..., y, x)`` of what is taken of the image."""
        shape = tuple(int(n) for n in self.image.shape)[len(self.where) :]
        return shape[:-1] if self.rgb else shape

    @property
    def object_shape(self) -> tuple[int, int]:
        """Shape ``(y, x)`` of the object."""
        return object_shape((self.taken[-2], self.taken[-1]), self.size, self.fit)

    @property
    def pattern_shape(self) -> tuple[int, int]:
        """Shape ``(y, x)`` of the pattern."""
        return frame_shape(self.object_shape, self.settings.get("oversampling", OPTIONS["oversampling"].default))

    def photons(self) -> float | None:
        """About how many photons the pattern will hold; None without noise, or where that takes a longer look."""
        alpha, photons = self.settings.get("alpha"), self.settings.get("photons")
        if photons is not None or not alpha:
            return photons
        if not isinstance(self.image, np.ndarray) or self.rgb or math.prod(self.taken) > GLANCE_PX:
            return None
        values = self.image[self.where]
        if not np.isfinite(values).all() or data_range(values) <= 0:
            return None
        if values.min() < 0:
            values = values - float(values.min())
        return photons_of_alpha(values, alpha) * math.prod(self.object_shape) / math.prod(self.taken[-2:])

    def sentence(self) -> str:
        """What will be made, for the user."""
        (ny, nx), (h, w), lead = self.pattern_shape, self.object_shape, self.taken[:-2]
        count = math.prod(lead)
        what = f"a {ny} x {nx} pattern" if not lead else f"{count} patterns of {ny} x {nx} px"
        of = f"a {h} x {w} object" if not lead else f"objects of {h} x {w} px"
        y, x = self.taken[-2:]
        how = "" if (y, x) == (h, w) else (", the middle of " if self.fit == "crop" else ", resized from ")
        how += f"{y} x {x} px" if how else ""
        photons = self.photons()
        light = "" if photons is None else f"; about {_power(photons)} photons" + (" each" if lead else "")
        light = light or ("; no noise" if not self.settings.get("alpha") else "")
        size = f" ({4 * count * ny * nx / 2**30:.1f} GiB)" if count * ny * nx > 2**27 else ""
        return f"Makes {what}{size} of {of}{how}{light}."

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Simulated:
        """Run it; imports torch, so never call it in the main thread.

        Raises
        ------
        I2IPRError
            When the image cannot be simulated, or memory does not suffice.
        """
        on_progress(Progress("starting"))
        load_torch()
        from napari_i2ipr.simulation import simulate

        self._check_memory()
        image, notes = make_object(np.asarray(self.image[self.where]), rgb=self.rgb, size=self.size, fit=self.fit)

        def on_event(event: Event) -> None:
            on_progress(Progress(f"simulating pattern {event.done} of {event.total}", event.done / event.total))

        measurement = simulate(image, **self.settings, on_event=on_event, cancel=cancel)
        origin = {"layer": self.name, "slice": list(self.where), "fit": self.fit, "notes": notes}
        provenance = {**measurement.provenance, "image": origin}
        measurement = replace(measurement, provenance=provenance, axes=self.axes)
        return Simulated(measurement, image, self.name, notes)

    def _check_memory(self) -> None:
        import psutil

        ny, nx = self.pattern_shape
        needed = (_BYTES * math.prod(self.taken[:-2]) + _BYTES_ONE) * ny * nx
        free = psutil.virtual_memory().available
        if needed > self.memory_fraction * free:
            raise OutOfMemoryError(
                f"patterns that take {needed / 2**30:.1f} GiB",
                expected=f"at most {self.memory_fraction * free / 2**30:.1f} GiB ({self.memory_fraction:.0%} of what "
                "is free)",
                do="take one slice, a smaller object or less oversampling",
            )


def _power(number: float) -> str:
    """A number as it is typed: 1.2e8."""
    if number < 1e4:
        return f"{number:.0f}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"

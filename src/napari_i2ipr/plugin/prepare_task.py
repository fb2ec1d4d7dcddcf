"""A preparation that is ready to run, the look at what it will give, and the search for the centre."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.errors import CancelledError, OutOfMemoryError
from napari_i2ipr.plugin.layers import in_memory
from napari_i2ipr.plugin.prepare_fields import LABELS
from napari_i2ipr.plugin.state import Progress
from napari_i2ipr.plugin.worker import load_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare import Preparation, PreparationReport
    from napari_i2ipr.progress import Cancel, Event

_STEPS = ("looking through the patterns", "reading the frames", "finding the centre", "preparing")

_BYTES, _BYTES_ONE = 24, 120
"""Per pixel of all patterns, which are kept, and of the one that is being prepared."""

_OPTIONS = {
    "check the sign of the mask (--invert-mask), or allow it explicitly": (
        f"tick {LABELS['invert_mask']!r} if its sign is wrong, or accept {LABELS['allow_masked'].lower()}"
    ),
    "check the sign of the mask (--invert-mask)": f"choose another mask, or tick {LABELS['invert_mask']!r}",
    "--intensity keeps them": f"set {LABELS['amplitude']!r} to keep them",
    "--background auto": LABELS["background"],
    "--center Y,X tells it": "drag the point there",
    "give the support as a file": "draw the support",
}
"""What the library says of the command line, and the same in this window."""


def in_this_window(said: str) -> str:
    """A sentence of the library, with fields of the form in place of options of the command line."""
    for option, here in _OPTIONS.items():
        said = said.replace(option, here)
    return said


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a preparation gives.

    Attributes
    ----------
    measurement : Measurement
        Prepared patterns, with the support where one was asked for.
    report : PreparationReport
        What was done.
    """

    measurement: Measurement
    report: PreparationReport


@dataclass(frozen=True, eq=False)
class PrepareTask:
    """Patterns and how to prepare them.

    Attributes
    ----------
    name : str
        Of the layer.
    measurement : Measurement
        As it comes from the layers; read when the task runs.
    settings : Preparation
        What to do.
    outline : bool
        Whether the autocorrelation is to give the support.
    memory_fraction : float
        Share of the free memory that may be used.
    """

    name: str
    measurement: Measurement
    settings: Preparation
    outline: bool = False
    memory_fraction: float = 1.0

    def __str__(self) -> str:
        return f"preparation of {self.name}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Prepared:
        """Run it; imports torch, so never call it in the main thread.

        Raises
        ------
        I2IPRError
            When the patterns cannot be prepared, or memory does not suffice.
        """
        on_progress(Progress("starting"))
        self._check_memory()
        load_torch()
        from napari_i2ipr.prepare import prepare

        done, report = prepare(in_memory(self.measurement), self.settings, on_event=_relay(on_progress), cancel=cancel)
        if self.outline:
            on_progress(Progress("finding the support", 1.0))
            done, report = _outlined(done, report, cancel)
        if cancel.is_set():
            raise CancelledError("a stop during the preparation", do="run it again")
        return Prepared(done, report)

    def _check_memory(self) -> None:
        import psutil

        ny, nx = self.measurement.frame_shape
        needed = (_BYTES * self.measurement.n_frames + _BYTES_ONE) * ny * nx
        if self.settings.frame >= 0:
            needed = (_BYTES + _BYTES_ONE) * ny * nx
        free = psutil.virtual_memory().available
        if needed > self.memory_fraction * free:
            raise OutOfMemoryError(
                f"patterns that take {needed / 2**30:.1f} GiB to prepare",
                expected=f"at most {self.memory_fraction * free / 2**30:.1f} GiB ({self.memory_fraction:.0%} of what "
                "is free)",
                do="take one pattern of the stack",
            )


@dataclass(frozen=True, eq=False)
class Found:
    """The centre of a pattern, or the common one of a stack.

    Attributes
    ----------
    centre : tuple of float
        Pixel ``(y, x)``.
    by_symmetry : bool
        Whether it was found.
    said : str
        For the user.
    """

    centre: tuple[float, float]
    by_symmetry: bool
    said: str


@dataclass(frozen=True, eq=False)
class CentreTask:
    """The search for the centre by symmetry; of a stack for the common one. `task` says of what."""

    task: PrepareTask

    def __str__(self) -> str:
        return f"centre of {self.task.name}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Found:
        """Run it, in a thread.

        Raises
        ------
        I2IPRError
            When there is nothing to look at.
        """
        on_progress(Progress("finding the centre"))
        load_torch()
        from napari_i2ipr.prepare.intake import Intake
        from napari_i2ipr.prepare.placement import placed

        settings = self.task.settings.replace(center="auto", size="auto", binning=1)
        intake = Intake.of(in_memory(self.task.measurement), settings, on_event=_relay(on_progress), cancel=cancel)
        place = placed(intake)
        if cancel.is_set():
            raise CancelledError("a stop during the search", do="run it again")
        y, x = place.center
        found = place.source == "symmetry" and place.seen is not None
        sure = f"The pattern is symmetric about ({y:g}, {x:g})" if found else ""
        if found and place.seen is not None:
            sure += f": correlation {place.seen.correlation:.2f}, 1 = perfect. Drag the point to correct it."
        notes = [f"{note[:1].upper()}{note[1:]}." for note in place.notes]
        return Found(place.center, found, in_this_window(" ".join([sure, *notes]).strip()))


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a look at the preparation found.

    Attributes
    ----------
    report : PreparationReport
        Of the preparation of one pattern.
    pixel_m : tuple of float or None
        Pixel ``(y, x)`` of the object.
    given : float or None
        Share of the frame that the mask covers, after its sign was mended.
    inverted : bool
        Whether the sign was mended without being asked to.
    one_of : int
        Patterns there are; the look was at one of them.
    alpha : float or None
        About the noise level on the scale of the I2I-PR paper; where the pattern does not tell the object's size,
        for one that fills half the frame.
    moved : bool
        Whether the zero frequency came from the corner, so that the centre is no pixel of the layer.
    """

    report: PreparationReport
    pixel_m: tuple[float, float] | None
    given: float | None
    inverted: bool
    one_of: int = 1
    alpha: float | None = None
    moved: bool = False

    @property
    def mask_words(self) -> str:
        """For beside the switch of the mask."""
        if self.given is None:
            return "no mask"
        share = f"{100 * self.given:.2g} % masked"
        return f"{share}; its sign looked wrong and was inverted" if self.inverted else share

    def lines(self) -> list[str]:
        """What will be reconstructed, for the user."""
        report = self.report
        y, x = report.shape[-2:]
        found = [] if self.one_of == 1 else [f"Of the pattern shown, one of {self.one_of}:"]
        bins = f", bins of {report.binning} x {report.binning}" if report.binning > 1 else ""
        found += [f"Frame: {y} x {x} px{bins}, {100 * report.masked:.2g} % masked", f"Object: {self._object()}"]
        if report.oversampling is not None:
            by = "" if report.oversampling_by == "support" else "about "
            oy, ox = report.oversampling
            found.append(f"Oversampling: {by}{oy:.1f} x {ox:.1f}")
        if report.photons is None:
            found.append("Photons and noise: not told by the pattern")
        else:
            noise = "" if self.alpha is None else f"; noise alpha about {self.alpha:.2g}"
            count = f"{report.photons:.2g}".replace("e+0", "e").replace("e+", "e")
            found.append(f"Photons: about {count} measured{noise}")
        cy, cx = report.center_px
        how = {"symmetry": "by symmetry", "given": "as set", "stored": "as the file says", "kept": "middle kept"}
        found.append(f"Centre: ({cy:g}, {cx:g}), {how[report.center_source]}")
        return found

    def notes(self) -> list[str]:
        """What else should be known, a sentence each."""
        return [in_this_window(f"{note[:1].upper()}{note[1:]}.") for note in self.report.notes]

    def _object(self) -> str:
        sampling, shape = self.report.oversampling, self.report.shape[-2:]
        size = [n / s for n, s in zip(shape, sampling or (2.0, 2.0), strict=True)]
        about = "at most " if sampling is None else "" if self.report.oversampling_by == "support" else "about "
        words = f"{about}{size[0]:.0f} x {size[1]:.0f} px"
        if self.pixel_m is None:
            words += " (no lengths known)"
        else:
            y, x = self.pixel_m
            alike = math.isclose(y, x, rel_tol=1e-3)
            words += f" = {_length(*(n * p for n, p in zip(size, self.pixel_m, strict=True)))}"
            words += f", pixel {_length(y) if alike else _length(y, x)}"
        return (
            words if sampling is not None else f"{words}; the pattern does not tell its size, half the frame is taken"
        )


@dataclass(frozen=True, eq=False)
class LookTask:
    """A preparation of one pattern whose layers nobody keeps. `one_of` patterns there are."""

    task: PrepareTask
    one_of: int = 1

    def __str__(self) -> str:
        return f"look at {self.task.name}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Outlook:
        """Run it, in a thread.

        Raises
        ------
        I2IPRError
            When the pattern cannot be prepared.
        """
        from napari_i2ipr.prepare import PREPARED

        source = self.task.measurement
        done = self.task(on_progress=on_progress, cancel=cancel)
        record = done.measurement.provenance.get(PREPARED, {})
        masked = None if source.bad_pixels is None else record.get("given_px")
        return Outlook(
            done.report,
            done.measurement.geometry.object_pixel_m(done.measurement.frame_shape),
            None if masked is None else masked / math.prod(source.frame_shape),
            bool(record.get("invert_mask")) and not self.task.settings.invert_mask,
            self.one_of,
            _alpha(done.report),
            bool(record.get("fft_order")),
        )


def _alpha(report: PreparationReport) -> float | None:
    from napari_i2ipr.prepare.photons import paper_alpha

    if report.alpha_paper is not None or report.photons is None:
        return report.alpha_paper
    y, x = report.shape[-2:]
    return paper_alpha(report.photons, y * x / 4)


def _outlined(done: Measurement, report: PreparationReport, cancel: Cancel) -> tuple[Measurement, PreparationReport]:
    """The same with the support that the autocorrelations of the patterns tell, and the oversampling it means."""
    import torch

    from napari_i2ipr.physics.support import autocorrelation_support
    from napari_i2ipr.prepare.sampling import oversampling

    support: NDArray[np.bool_] = np.zeros(done.frame_shape, bool)
    for index in range(done.n_frames):
        if cancel.is_set():
            raise CancelledError("a stop during the preparation", do="run it again")
        frame = done.frame(index)
        values, bad = np.asarray(frame.intensity, np.float32), np.asarray(frame.bad_pixels)
        corner = torch.from_numpy(np.fft.ifftshift(np.where(bad, 0, values)))
        support |= autocorrelation_support(corner, torch.from_numpy(np.fft.ifftshift(~bad))).numpy()
    sides = np.ix_(*(np.flatnonzero(support.any(axis)) for axis in (1, 0)))
    support[sides] = True
    found = oversampling(np.zeros(support.shape), ~support, support)
    return replace(done, support=support), replace(report, oversampling=found, oversampling_by="support")


def _relay(on_progress: Callable[[Progress], None]) -> Callable[[Event], None]:
    """From events of the library to progress."""

    def on_event(event: Event) -> None:
        step = _STEPS.index(event.stage) if event.stage in _STEPS else 0
        total = max(event.total, 1)
        share = (step + event.done / total) / len(_STEPS)
        several = f" ({event.done + 1} of {event.total})" if total > 1 else ""
        on_progress(Progress(f"{event.stage}{several}", share))

    return on_event


def _length(*sides_m: float) -> str:
    """Lengths in the unit that suits them: 4.5 x 4.2 um."""
    units = ((1e-6, "nm", 1e9), (1e-3, "um", 1e6), (math.inf, "mm", 1e3))
    unit, factor = next((unit, factor) for top, unit, factor in units if max(sides_m) < top)
    return " x ".join(f"{side * factor:.3g}" for side in sides_m) + f" {unit}"

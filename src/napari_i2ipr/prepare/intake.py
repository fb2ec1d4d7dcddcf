"""The patterns of a measurement as they enter a preparation: chosen, recognised, dark and flat corrected, summed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.prepare.conditioning import PREPARED, px, recognise, recognise_again
from napari_i2ipr.prepare.detector import around, dark_of, flat_of
from napari_i2ipr.prepare.frames import sum_frames
from napari_i2ipr.prepare.work import REASONS, Work
from napari_i2ipr.progress import Event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare.photons import Gain
    from napari_i2ipr.prepare.settings import Preparation
    from napari_i2ipr.progress import Cancel, OnEvent

_YES_NO = {"yes": True, "no": False, "auto": None}


@dataclass
class Intake:
    """Patterns one by one, each a fresh `Work`; a single one, or a sum, is kept.

    Attributes
    ----------
    measurement : Measurement
        The chosen patterns.
    settings : Preparation
        All settings.
    dark, flat : tuple or None
        Correction and bad pixels, in the order in which the patterns are stored.
    on_event, cancel
        As for `prepare`.
    answers : dict
        What was guessed from the brightest pattern of a stack, the same for all.
    reference : int
        The brightest pattern.
    summed : int
        Patterns in the sum; 1 without.
    dropped : tuple of int
        Patterns that were left out of it.
    outliers : int
        Values of others that were left out.
    gain : Gain or None
        By how repeated patterns vary.
    notes : list of str
        What is to be said of all patterns.
    """

    measurement: Measurement
    settings: Preparation
    dark: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
    flat: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
    on_event: OnEvent | None = None
    cancel: Cancel | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    reference: int = 0
    summed: int = 1
    dropped: tuple[int, ...] = ()
    outliers: int = 0
    gain: Gain | None = None
    notes: list[str] = field(default_factory=list)
    _kept: Work | None = None

    @classmethod
    def of(
        cls,
        measurement: Measurement,
        settings: Preparation,
        *,
        dark: NDArray[Any] | None = None,
        flat: NDArray[Any] | None = None,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> Intake:
        """The patterns that the settings choose.

        Raises
        ------
        InputError
            If there is no such pattern, or the frames of corrections do not fit.
        """
        chosen = _chosen(measurement, settings)
        shape = chosen.frame_shape
        found = cls(
            chosen,
            settings,
            None if dark is None else dark_of(dark, shape),
            None if flat is None else flat_of(flat, shape),
            on_event,
            cancel,
        )
        found.answers = {
            "amplitude": _YES_NO[settings.amplitude],
            "fft_order": _YES_NO[settings.fft_order],
            "invert_mask": settings.invert_mask,
        }
        if chosen.n_frames > 1:
            found.reference = found._brightest()
            known = found._recognised(found.reference)
            found.notes += [f"pattern {found.reference}: {note}" for note in known.notes]
            found.answers |= {name: known.record.get(name, found.answers[name]) for name in found.answers}
        if settings.sum_frames:
            found._sum()
        return found

    def __len__(self) -> int:
        return 1 if self.settings.sum_frames else self.measurement.n_frames

    def work(self, index: int) -> Work:
        """Pattern `index`; of a single one always the same object."""
        if len(self) > 1:
            return self._recognised(index)
        if self._kept is None:
            self._kept = self._recognised(0)
        return self._kept

    def say(self, stage: str, done: int) -> None:
        """Tell how far it is, and stop where that is asked for.

        Raises
        ------
        CancelledError
            If so.
        """
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("a stop during the preparation", do="run it again")
        if self.on_event is not None:
            self.on_event(Event(stage, done, self.measurement.n_frames))

    def mean(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Mean of the patterns over those that measured a pixel, and where none did."""
        if len(self) == 1:
            work = self.work(0)
            return work.values, work.bad
        total, count = np.zeros(self.measurement.frame_shape), np.zeros(self.measurement.frame_shape, np.intp)
        for index in range(len(self)):
            self.say("finding the centre", index)
            work = self._recognised(index)
            good = work.why == 0
            total[good] += work.values[good]
            count += good
        return total / np.maximum(count, 1), count == 0

    def _brightest(self) -> int:
        """Number of the pattern with most light."""
        light = []
        for index in range(self.measurement.n_frames):
            self.say("looking through the patterns", index)
            values = np.nan_to_num(np.asarray(self.measurement.frame(index).intensity, np.float64), posinf=0, neginf=0)
            bad = self.measurement.frame(index).bad_pixels
            light.append(float(values.sum() if bad is None else values[~np.asarray(bad, bool)].sum()))
        return int(np.argmax(light))

    def _recognised(self, index: int) -> Work:
        frame = self.measurement.frame(index)
        work, settings = Work.of(frame), self.settings
        try:
            if PREPARED in frame.provenance:
                recognise_again(work)
            else:
                recognise(work, **self.answers, saturation=settings.saturation or None)
        except InputError as error:
            if self.measurement.n_frames == 1:
                raise
            raise InputError(
                f"{error.got} as pattern {index} of {self.measurement.n_frames}",
                expected=error.expected,
                do="choose a pattern, or leave this one out",
            ) from None
        if settings.grow_px:
            work.drop(around(work.why, REASONS.index("saturated"), settings.grow_px), "around saturated")
        self._correct(work)
        return work

    def _correct(self, work: Work) -> None:
        """Subtract the dark frame and divide by the flat field, in the order of the work."""
        if self.dark is None and self.flat is None:
            return
        if work.record.get("amplitude"):
            raise InputError(
                "amplitudes with a dark frame or a flat field", expected="intensities", do="correct before the root"
            )
        n = 0
        for correction, divide in ((self.dark, False), (self.flat, True)):
            if correction is None:
                continue
            values, bad = correction
            if work.record.get("fft_order"):
                values, bad = np.fft.fftshift(values), np.fft.fftshift(bad)
            work.values = work.values / values if divide else work.values - values
            n += work.drop(bad, "dark or flat")
        if n:
            work.notes.append(f"{px(n)} hot in the dark frame or blind in the flat field: masked")

    def _sum(self) -> None:
        """Put the sum in place of the patterns."""
        source, works, blank = self.measurement, {}, []
        for index in range(source.n_frames):
            self.say("reading the frames", index)
            try:
                works[index] = self._recognised(index)
            except InputError:
                blank.append(index)
        found = sum_frames(
            np.stack([work.values for work in works.values()]),
            np.stack([work.bad for work in works.values()]),
            self.settings.outlier_sigma,
        )
        numbers = list(works)
        first = works[self.reference]
        common = np.min([work.why for work in works.values()], axis=0)
        first.values, first.why = found.values, np.where(found.bad, common, 0).astype(np.uint8)
        first.drop(found.bad, "unsteady")
        first.notes = []
        self.dropped = tuple(sorted([*blank, *(numbers[at] for at in found.dropped)]))
        self.summed, self.outliers, self.gain = source.n_frames - len(self.dropped), found.rejected, found.gain
        self.measurement = replace(
            source.frame(self.reference), intensity=found.values, intensity_scale=source.intensity_scale / self.summed
        )
        self._kept, self.reference = first, 0
        if self.dropped:
            names = ", ".join(map(str, self.dropped))
            self.notes.append(f"{len(self.dropped)} of {source.n_frames} frames unlike the others, left out: {names}")
        if self.outliers:
            self.notes.append(f"{self.outliers:,} values of single frames far from the median frame, left out")


def _chosen(measurement: Measurement, settings: Preparation) -> Measurement:
    if settings.frame >= 0:
        if settings.frame >= measurement.n_frames:
            raise InputError(
                f"pattern {settings.frame} of {measurement.n_frames}",
                expected=f"0 to {measurement.n_frames - 1}",
                do="they are counted from 0",
            )
        measurement = measurement.frame(settings.frame)
    if settings.sum_frames and measurement.n_frames < 2:
        raise InputError("one pattern to sum", expected="a stack", do="leave the sum out")
    return measurement

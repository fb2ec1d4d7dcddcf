"""From a detector's frames to a pattern that can be reconstructed, step by step, with a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.prepare import photons
from napari_i2ipr.prepare.conditioning import PREPARED
from napari_i2ipr.prepare.frame import support_in
from napari_i2ipr.prepare.intake import Intake
from napari_i2ipr.prepare.piece import Piece, Told, piece
from napari_i2ipr.prepare.placement import Placement, placed
from napari_i2ipr.prepare.report import PreparationReport
from napari_i2ipr.prepare.settings import Preparation
from napari_i2ipr.prepare.work import REASONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement
    from napari_i2ipr.progress import Cancel, OnEvent

PREPARATION = "preparation"
"""Key of `Measurement.provenance` under which `prepare` keeps settings and report."""

DEFAULT = Preparation()
"""The default settings."""

LEAST_OVERSAMPLING = 2.0
"""Below this, a pattern does not determine its object."""


def prepare(
    measurement: Measurement,
    settings: Preparation = DEFAULT,
    *,
    dark: NDArray[Any] | None = None,
    flat: NDArray[Any] | None = None,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> tuple[Measurement, PreparationReport]:
    """Prepare measured patterns for reconstruction.

    Parameters
    ----------
    measurement : Measurement
        One pattern, or a stack of them with one centre; left as it is.
    settings : Preparation
        What to do.
    dark, flat : ndarray, optional
        Dark frame and flat field ``(y, x)``, or several of each to be averaged; stored units, in the order in which
        the patterns are stored. The dark frame is not subtracted from the flat field.
    on_event : callable, optional
        Called with progress events.
    cancel : Cancel, optional
        Set it to stop.

    Returns
    -------
    tuple
        Intensities >= 0 in float32, zero frequency at ``n // 2``, with every bad pixel masked, and what was done.
        `reconstruct` takes it without a further guess. What was prepared before comes back as it is.

    Raises
    ------
    InputError
        If there is nothing to reconstruct from, or a request contradicts the frame or an earlier preparation.
    CancelledError
        If it was stopped.
    """
    known = measurement.provenance.get(PREPARATION)
    if known is not None:
        _require_same(known["settings"], settings, corrected=dark is not None or flat is not None)
        return measurement, PreparationReport.from_dict(known["report"])
    intake = Intake.of(measurement, settings, dark=dark, flat=flat, on_event=on_event, cancel=cancel)
    place = placed(intake)
    pieces, told = [], None
    for index in range(len(intake)):
        intake.say("preparing", index)
        done, tells = piece(intake, index, place)
        pieces.append(done)
        told = tells or told
    assert told is not None  # noqa: S101 - the brightest is among them
    report = _report(measurement, intake, place, pieces, told)
    return _assembled(intake, place, pieces, report), report


def _require_same(known: dict[str, Any], settings: Preparation, *, corrected: bool) -> None:
    """Refuse what would undo or repeat an earlier preparation; defaults ask for nothing."""
    usual = DEFAULT.to_dict()
    asked = {name: value for name, value in settings.to_dict().items() if value not in (usual[name], known.get(name))}
    if corrected:
        asked["dark or flat"] = "a frame"
    for name, value in asked.items():
        was = f" with {name} = {known[name]}" if name in known else ""
        raise InputError(
            f"{name} = {value} for a pattern that was prepared{was}",
            expected="the pattern as it was stored",
            do="start again from the original file",
        )


def _scale(intake: Intake, place: Placement) -> float:
    """Object units squared per stored unit: a crop keeps the object in its units, and so does a bin."""
    rows, columns = place.sides
    area = rows.length * rows.binning * columns.length * columns.binning
    return float(intake.measurement.intensity_scale * area / np.prod(intake.measurement.frame_shape))


def _assembled(intake: Intake, place: Placement, pieces: list[Piece], report: PreparationReport) -> Measurement:
    source, settings = intake.measurement, intake.settings
    lead = () if settings.sum_frames else source.lead_shape
    shape = (*lead, *pieces[0].values.shape)
    bad = np.stack([one.why != 0 for one in pieces])
    alike = bool((bad == bad[0]).all())
    pixel = source.geometry.pixel_size_m
    b = settings.binning
    geometry = source.geometry if pixel is None else replace(source.geometry, pixel_size_m=(pixel[0] * b, pixel[1] * b))
    reference = pieces[intake.reference]
    return replace(
        source,
        intensity=np.stack([one.values for one in pieces]).astype(np.float32).reshape(shape),
        bad_pixels=bad[0] if alike else bad.reshape(shape),
        support=None if source.support is None else support_in(source.support, *place.sides),
        geometry=geometry,
        intensity_scale=_scale(intake, place),
        alpha=report.alpha,
        provenance={
            **source.provenance,
            PREPARED: {**source.provenance.get(PREPARED, {}), **reference.record, "notes": list(report.notes)},
            PREPARATION: {"settings": settings.to_dict(), "report": report.to_dict()},
        },
    )


def _report(
    measurement: Measurement, intake: Intake, place: Placement, pieces: list[Piece], told: Told
) -> PreparationReport:
    settings, gain = intake.settings, told.gain
    shape = pieces[0].values.shape
    counts = np.sum([np.bincount(one.why.ravel(), minlength=len(REASONS)) for one in pieces], axis=0)
    level = float(np.mean([one.values[one.why == 0].sum() for one in pieces]))
    found: dict[str, Any] = {
        "photons": None if gain is None else level / gain.value,
        "alpha": photons.alpha_of_gain(gain.value, _scale(intake, place)) if gain else None,
        "gain": None if gain is None else gain.value,
        "gain_source": "" if gain is None else gain.source,
    }
    if gain is None and intake.measurement.alpha == 0:
        found["alpha"] = 0.0
    if gain is not None and told.oversampling is not None:
        size = [n / s for n, s in zip(shape, told.oversampling, strict=True)]
        found["alpha_paper"] = photons.paper_alpha(level / gain.value, size[0] * size[1])
    return PreparationReport(
        shape=(*(() if settings.sum_frames else intake.measurement.lead_shape), *shape),
        stored_shape=measurement.shape,
        center_px=place.center,
        center_source=place.source,
        center_correlation=None if place.seen is None else place.seen.correlation,
        center_spread_px=None if place.seen is None or not place.seen.found else place.seen.spread_px,
        center_stored_px=place.stored,
        remainder_px=(place.sides[0].remainder, place.sides[1].remainder),
        masked=float(counts[1:].sum() / counts.sum()),
        masked_px={REASONS[at]: int(n) for at, n in enumerate(counts) if at and n},
        filled_px=sum(one.filled for one in pieces),
        negative_px=sum(one.record["negative_px"] for one in pieces),
        background=float(np.mean([one.level for one in pieces])),
        frames_summed=intake.summed,
        frames_dropped=intake.dropped,
        outliers=intake.outliers,
        binning=settings.binning,
        oversampling=told.oversampling,
        oversampling_by="autocorrelation" if intake.measurement.support is None else "support",
        notes=_notes(intake, place, pieces, told),
        **found,
    )


def _notes(intake: Intake, place: Placement, pieces: list[Piece], told: Told) -> tuple[str, ...]:
    """Everything to be said; of a stack what was said of its brightest pattern."""
    notes = [*intake.notes, *place.notes]
    if len(pieces) == 1:
        notes += pieces[0].notes
    b, rest = intake.settings.binning, max(abs(side.remainder) for side in place.sides)
    if rest > 0.25:
        helps = "bins of 2 bring it to 0.25 px or less" if b == 1 else "another binning may bring it nearer"
        notes.append(
            f"the zero frequency lies {rest:g} px beside a pixel; counts are never interpolated, so it stays: a phase "
            f"ramp of {rest:g} px over the object; {helps}"
        )
    if told.oversampling is not None and min(told.oversampling) < LEAST_OVERSAMPLING:
        y, x = told.oversampling
        cause = f"binning {b} x {b}" if b > 1 else "the frame"
        notes.append(
            f"{cause} leaves an oversampling of {y:.1f} x {x:.1f}, below 2: the pattern is no longer sufficient"
        )
    return tuple(dict.fromkeys(notes))

"""A verdict in words: what speaks for an image, and what to distrust in it.

No number tells a right image from a wrong one. The plain residual least of all: a loose support fits better.
The rules here look for what a wrong image cannot hide: starts that disagree, energy that does not stay inside the
support, a mixture with the twin, frequencies that nobody measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.data import Status
from napari_i2ipr.evaluate.resolution import ENOUGH_STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_i2ipr.data import Reconstruction
    from napari_i2ipr.evaluate.agreement import Agreement
    from napari_i2ipr.evaluate.resolution import Curve

GRADES = ("good", "use with care", "do not trust")
"""From best to worst."""

FITS, MISFIT = 0.15, 0.3
"""R-factors up to which an image fits, and above which it does not, if noise does not explain them."""

AGREE, DISAGREE = 0.9, 0.6
"""Correlations of independent starts from which they agree, and below which they do not."""

MAX_OUTSIDE = 0.1
"""Share of the energy outside the support above which the support or the centre is wrong."""

MIN_TWIN_MARGIN = 0.1
"""Median twin margin below which an image is a mixture with its twin."""

NOISY = 3.0
"""Log-likelihoods above this are model errors, not noise."""

_FINE, _CARE, _BAD = range(3)
"""How much a remark weighs: it praises or informs; take care; do not trust."""


@dataclass(frozen=True)
class Verdict:
    """What to think of an image.

    Attributes
    ----------
    grade : str
        One of `GRADES`.
    summary : str
        One sentence.
    good, distrust : tuple of str
        Sentences: what speaks for it, and what to distrust.
    """

    grade: str
    summary: str
    good: tuple[str, ...]
    distrust: tuple[str, ...]


@dataclass(frozen=True)
class _Remark:
    """A sentence, whether it praises, and the index of the best grade that is left with it."""

    text: str
    good: bool
    weight: int = _FINE


def judge(
    reconstruction: Reconstruction,
    scores: Mapping[str, float],
    n_starts: int,
    curves: Mapping[str, Curve],
    agreement: Agreement | None = None,
) -> Verdict:
    """The verdict on one image; see `napari_i2ipr.evaluate.quality.assess`, which gathers what it needs."""
    remarks = [
        *_of_status(reconstruction),
        *_of_fit(scores, agreement, refined=bool(reconstruction.scores.get("refined"))),
        *_of_starts(scores, n_starts, curves),
        *_of_constraints(reconstruction, scores),
        *_of_gaps(reconstruction),
        *_of_uncertainty(reconstruction),
    ]
    worst = max((remark.weight for remark in remarks), default=_FINE)
    reasons = [remark.text for remark in remarks if not remark.good and remark.weight == worst > _FINE]
    praised = [remark.text for remark in remarks if remark.good]
    grade = GRADES[worst]
    why = "; ".join((reasons or praised)[:2])
    return Verdict(
        grade,
        f"{grade.capitalize()}: {why}." if why else f"{grade.capitalize()}.",
        tuple(praised),
        tuple(remark.text for remark in remarks if not remark.good),
    )


def length(curve: Curve, px: float) -> str:
    """A length in object pixels in words, with nanometres where the geometry is known."""
    return f"{px:.3g} px" + ("" if curve.pixel_m is None else f" ({px * curve.pixel_m * 1e9:.3g} nm)")


def _of_status(result: Reconstruction) -> Iterator[_Remark]:
    weights = {Status.DIVERGED: _BAD, Status.CANCELLED: _CARE, Status.OUT_OF_DOMAIN: _CARE}
    if result.status in weights:
        yield _Remark(result.status.value, False, weights[result.status])


def _of_fit(scores: Mapping[str, float], agreement: Agreement | None, *, refined: bool) -> Iterator[_Remark]:
    r, noise, words = scores.get("r_factor", math.nan), math.nan, ""
    if agreement is not None:
        r, noise = agreement.r_factor, agreement.r_factor_noise
        words = "" if math.isnan(noise) else f" (noise alone gives {noise:.3g})"
    explained = 0.0 if math.isnan(noise) else noise
    if math.isnan(r):
        return
    if r <= max(FITS, 1.3 * explained):
        yield _Remark(f"it fits the pattern: R-factor {r:.3g}{words}", True)
    elif r > max(MISFIT, 2 * explained):
        yield _Remark(
            f"it does not explain the pattern: R-factor {r:.3g}{words}; check centre, mask and support, and "
            "whether the object is complex",
            False,
            _BAD if r > max(0.5, 3 * explained) else _CARE,
        )
    else:
        yield _Remark(f"it fits the pattern only in part: R-factor {r:.3g}{words}", False)
    if agreement is not None and agreement.log_likelihood > NOISY:
        yield _Remark(
            f"the misfit is {agreement.log_likelihood:.3g} times what the noise explains: "
            + ("the refinement smooths, or " if refined else "")
            + "background, partial coherence or the support are not modelled well enough",
            False,
        )


def _of_starts(scores: Mapping[str, float], n_starts: int, curves: Mapping[str, Curve]) -> Iterator[_Remark]:
    r = scores.get("reproducibility", math.nan)
    if math.isnan(r) or n_starts < 2:
        yield _Remark("nothing is known of independent starts: whether another one gives the same image", False, _CARE)
        return
    found, detail = curves.get("reproducibility"), ""
    if found is not None and math.isfinite(found.crossing):
        detail = f"; details finer than a period of {length(found, found.full_period_px)} differ from start to start"
    if r >= AGREE:
        yield _Remark(f"{n_starts} independent starts find the same image: correlation {r:.3g}", True)
    elif r >= DISAGREE:
        yield _Remark(f"independent starts agree only in part: correlation {r:.3g}{detail}", False, _CARE)
    else:
        yield _Remark(f"independent starts find different images: correlation {r:.3g}{detail}", False, _BAD)
    if n_starts < ENOUGH_STARTS:
        yield _Remark(
            f"only {n_starts} independent starts were kept: the PRTF of random phases is about {n_starts**-0.5:.2g} "
            f"then, so that its 1/e crossing needs at least {ENOUGH_STARTS} (preset balanced keeps 10)",
            False,
        )


def _of_constraints(result: Reconstruction, scores: Mapping[str, float]) -> Iterator[_Remark]:
    outside = scores.get("outside", math.nan)
    if outside > MAX_OUTSIDE:
        yield _Remark(
            f"{outside:.1%} of the energy falls outside the support: it is too tight, or the centre is off",
            False,
            _CARE,
        )
    averaged = [row.twin_margin for row in result.candidates if row.weight > 0]
    if averaged and float(np.median(averaged)) < MIN_TWIN_MARGIN:
        yield _Remark("it may be a mixture of the object and its twin (or the object is symmetric)", False, _CARE)
    dropped = len(result.candidates) - len(averaged)
    if dropped > len(averaged):
        yield _Remark(f"{dropped} of {len(result.candidates)} candidates were dropped as wrong", False, _CARE)


def _of_gaps(result: Reconstruction) -> Iterator[_Remark]:
    """Low frequencies that were not measured and that are wider than one Fourier mode of the object."""
    shells = result.shells
    if shells is None:
        return
    seen = shells.measured >= 0.5 * shells.pixels
    first = int(seen.argmax()) if seen.any() else len(seen) - 1
    edge = float(shells.frequency[first])
    if edge * max(result.image.shape[-2:]) >= 1:
        yield _Remark(
            f"periods longer than {1 / edge:.3g} px were not measured (beamstop): slow changes across the object are "
            "guessed",
            False,
        )


def _of_uncertainty(result: Reconstruction) -> Iterator[_Remark]:
    if result.uncertainty_kind == "calibrated":
        limit = result.scores.get("chi_ratio_limit")
        ratio = result.scores.get("chi_ratio")
        if isinstance(limit, float) and isinstance(ratio, float) and ratio <= limit:
            yield _Remark(
                f"the refined image fits as well as the classical one (misfit {ratio:.3g} times, {limit:.3g} is usual)",
                True,
            )
        yield _Remark(
            "the uncertainty was calibrated on simulated images; it knows nothing of a wrong support, centre or mask",
            False,
        )
    else:
        yield _Remark(
            "the uncertainty is the spread of candidates that began near their common mean: often smaller than the "
            "error",
            False,
        )

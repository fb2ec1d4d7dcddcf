"""Everything that can be said of a reconstruction without a truth, as values: scores, curves, verdict.

The report, the command line and the napari widget show what is here; nothing of it draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate import resolution
from napari_i2ipr.evaluate.agreement import Agreement, against
from napari_i2ipr.evaluate.verdict import Verdict, judge

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.resolution import Curve

STORED = (
    "r_factor",
    "chi",
    "r_factor_best",
    "r_factor_classical",
    "free_score",
    "outside",
    "reproducibility",
    "chi_ratio",
    "alpha",
)
"""Scores that a reconstruction brings with it, by name; `Reconstruction.scores` may lack some."""


_READ_AT = {
    "prtf": "prtf_resolution",
    "prtf_phase": "prtf_phase_resolution",
    "prtf_corrected": "prtf_corrected_resolution",
    "frc": "frc_resolution",
    "frc_classical": "frc_classical_resolution",
    "reproducibility": "reproducible_to",
}
"""Names in JSON of the periods at which curves cross their thresholds."""


@dataclass(frozen=True)
class Quality:
    """What is known of the quality of one image.

    Attributes
    ----------
    scores : dict
        The numbers of `STORED` that there are, as taken at reconstruction; for real objects these compare with
        the mean of Friedel mates. NaN where a score could not be taken.
    n_starts : int
        Independent starts behind the curves and the reproducibility; 0 where the result does not say.
    curves : dict of Curve
        See `napari_i2ipr.evaluate.resolution.curves`; ``frc`` is added where two halves were reconstructed.
    agreement : Agreement or None
        The comparison with the pattern as it was measured; None without the pattern.
    verdict : Verdict
        All this in words.
    """

    scores: dict[str, float]
    n_starts: int
    curves: dict[str, Curve]
    agreement: Agreement | None
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """The same as dictionaries, lists and numbers, for JSON."""
        found: dict[str, Any] = {**self.scores, "n_starts": self.n_starts}
        if self.agreement is not None:
            names = ("r_factor", "chi", "log_likelihood", "r_factor_noise", "photons", "counted_by", "measured")
            found["pattern"] = {name: getattr(self.agreement, name) for name in names}
        for name, one in self.curves.items():
            if name in _READ_AT:
                found[_READ_AT[name]] = period(one)
        found["verdict"] = {
            "grade": self.verdict.grade,
            "summary": self.verdict.summary,
            "good": list(self.verdict.good),
            "distrust": list(self.verdict.distrust),
        }
        found["curves"] = {
            name: {key: getattr(one, key).tolist() for key in ("frequency", "value", "n", "threshold")}
            for name, one in self.curves.items()
        }
        return found


def period(one: Curve) -> dict[str, Any]:
    """Where a curve crosses its threshold, as full and half periods in pixels and nanometres."""
    full_m = one.full_period_m
    return {
        "full_period_px": one.full_period_px,
        "half_period_px": one.half_period_px,
        "full_period_nm": None if full_m is None else full_m * 1e9,
        "half_period_nm": None if full_m is None else full_m * 0.5e9,
        "limited_by_edge": one.limited_by_edge,
    }


def assess(reconstruction: Reconstruction, frame: Measurement | None = None) -> Quality:
    """Scores, curves and a verdict of one image.

    Parameters
    ----------
    reconstruction : Reconstruction
        One image; `single` takes one of a stack.
    frame : Measurement, optional
        The pattern it came from, one frame, conditioned (`napari_i2ipr.prepare.condition`). Scores against every pixel
        of the pattern need it.

    Raises
    ------
    InputError
        When it is a stack, was not reconstructed, or the pattern is of another size.
    """
    if reconstruction.image.ndim != 2:
        raise InputError(
            f"a stack of shape {reconstruction.image.shape}", expected="one image", do="take one of its items"
        )
    if not np.isfinite(reconstruction.image).all():
        raise InputError("an image of NaN", expected="a pattern that was reconstructed", do="choose another item")
    scores = {name: _number(reconstruction.scores[name]) for name in STORED if name in reconstruction.scores}
    curves = resolution.curves(reconstruction)
    agreement = None if frame is None else against(reconstruction, frame)
    n_starts = 0 if reconstruction.shells is None else reconstruction.shells.n_starts
    return Quality(scores, n_starts, curves, agreement, judge(reconstruction, scores, n_starts, curves, agreement))


def single(reconstruction: Reconstruction, item: int = 0) -> Reconstruction:
    """One image of a reconstruction, with what belongs to it; a single one comes back as it is.

    Parameters
    ----------
    reconstruction : Reconstruction
        One image or a stack.
    item : int
        Number in the flattened leading axes, from 0.

    Raises
    ------
    InputError
        When there are not so many.
    """
    lead = reconstruction.image.shape[:-2]
    count = math.prod(lead)
    if not 0 <= item < count:
        raise InputError(f"item {item}", expected=f"0 to {count - 1}" if count > 1 else "0, there is one image")
    if not lead:
        return reconstruction

    def take(array: Any, axes: int) -> Any:
        return None if array is None else array.reshape(-1, *array.shape[-axes:])[item]

    items = reconstruction.scores.get("items", [])
    done = max(len(items), 1)
    rows = len(reconstruction.candidates) // done
    marks = reconstruction.provenance.get("fingerprints", [])
    return replace(
        reconstruction,
        image=take(reconstruction.image, 2),
        uncertainty=take(reconstruction.uncertainty, 2),
        classical=take(reconstruction.classical, 2),
        candidate_images=take(reconstruction.candidate_images, 3),
        shells=None if reconstruction.shells is None else reconstruction.shells.item(item),
        scores=dict(items[item]) if item < len(items) else {},
        candidates=reconstruction.candidates[item * rows : (item + 1) * rows],
        axes=reconstruction.axes[-2:],
        provenance={**reconstruction.provenance, "fingerprints": marks[item : item + 1]},
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan

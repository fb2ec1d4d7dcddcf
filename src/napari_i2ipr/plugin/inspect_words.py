"""What the Inspect widget says: verdict, scores, and what lies under the cursor; values in, words out."""

from __future__ import annotations

import html
import math
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_i2ipr.evaluate.quality import period

if TYPE_CHECKING:
    from napari_i2ipr.data import Reconstruction
    from napari_i2ipr.evaluate.quality import Quality
    from napari_i2ipr.evaluate.resolution import Curve
    from napari_i2ipr.evaluate.verdict import Verdict
    from napari_i2ipr.plugin.inspect_runs import Run

COLOURS = {"good": "#2e9e5b", "use with care": "#c98a12", "do not trust": "#d64545"}
"""Of the verdict's grades; readable on dark and on light."""

NONE = (
    "There is no result to inspect. Reconstruct a pattern (Plugins > I2I-PR Phase Retrieval > Reconstruct), "
    "or open a result that was saved (.zarr or .cxi)."
)
"""What to do where there is nothing."""

NO_IMAGES = (
    "This result holds the numbers of its candidates but not their images. To look at single candidates and to "
    "average them again, reconstruct with 'Keep the candidates' ticked (on the command line: i2ipr reconstruct "
    "--candidates)."
)
"""How to get the images of candidates."""

LEVEL = 0.9
"""Of the interval at the cursor."""


class Row(NamedTuple):
    """A score in the list: its name, its value in words, what it means."""

    name: str
    value: str
    meaning: str


SCORES = {
    "r_factor": (
        "R-factor",
        (
            "Share of the measured amplitudes that the image does not explain: 0 is a perfect fit. No unit. Noise "
            "keeps it above 0, and a loose support lowers it for wrong images too."
        ),
    ),
    "r_factor_classical": (
        "R-factor, classical mean",
        "The same for the plain average of the candidates, before the trained network refined it. No unit.",
    ),
    "r_factor_best": ("R-factor, best candidate", "The same for the candidate with the best score. No unit."),
    "chi": (
        "Residual chi",
        "Root of the squared misfit of the amplitudes over their energy: 0 is a perfect fit. No unit.",
    ),
    "free_score": (
        "Free score",
        (
            "Residual at measured pixels that the best candidate was not fitted to: it catches over-fitting. No unit, "
            "lower is better."
        ),
    ),
    "outside": (
        "Energy outside",
        (
            "Share of the best candidate's energy that falls outside the support; much of it says that the support is "
            "too tight or the centre is off."
        ),
    ),
    "reproducibility": (
        "Starts agree",
        "Median correlation of the images that independent random starts find: 1 means that all find the same.",
    ),
    "chi_ratio": (
        "Refined misfit",
        "How many times worse the refined image fits than the classical mean, or than noise explains; near 1 is usual.",
    ),
    "alpha": ("Noise level", "Noise of the pattern as alpha of the I2I-PR paper, in the units of the object."),
}
"""Name and meaning of the stored scores."""

_SHARES = ("outside",)
_TIMES = ("chi_ratio",)


def scores(quality: Quality) -> list[Row]:
    """The scores there are, with units, in words."""
    found = []
    for name, (label, meaning) in SCORES.items():
        value = quality.scores.get(name, math.nan)
        if math.isfinite(value):
            said = f"{value:.3g} times" if name in _TIMES else f"{value:.3g}"
            if name in _SHARES:
                said = f"{100 * value:.2f} %"
            found.append(Row(label, said, meaning))
    if quality.n_starts:
        meaning = "How many independent random starts the agreement and the PRTF are taken from."
        found.append(Row("Independent starts", str(quality.n_starts), meaning))
    resolution = quality.curves.get("prtf")
    if resolution is not None:
        meaning = (
            "Where the phase-retrieval transfer function (PRTF) falls below 1/e: the full period of the finest "
            "structure to which independent starts find the same phases."
        )
        found.append(Row("PRTF resolution", resolution_in_words(resolution), meaning))
    return found


def resolution_in_words(one: Curve) -> str:
    """Full period at which a curve crosses its threshold, in object pixels, with nanometres where these are known."""
    if math.isnan(one.crossing):
        return "cannot be read"
    at = period(one)
    size = f"{at['full_period_px']:.3g} px"
    if at["full_period_nm"] is not None:
        size += f" = {at['full_period_nm']:.3g} nm"
    return f"{size} (edge of the pattern)" if one.limited_by_edge else size


def verdict_html(verdict: Verdict) -> str:
    """The verdict's sentence with its grade in colour."""
    grade, _, why = verdict.summary.partition(":")
    colour = COLOURS.get(verdict.grade, "gray")
    said = f": {html.escape(why.strip())}" if why else ""
    return f'<b style="color:{colour}">{html.escape(grade.rstrip("."))}</b>{said}'


def remarks_html(verdict: Verdict, warnings: list[str]) -> str:
    """What speaks for the image, what to distrust in it, and what was mended or guessed, as lists."""
    parts = []
    for title, sentences in (
        ("What speaks for it", verdict.good),
        ("What to distrust", verdict.distrust),
        ("Notes of the run", warnings),
    ):
        if sentences:
            rows = "".join(f"<li>{html.escape(sentence_of(one))}</li>" for one in sentences)
            parts.append(f"<b>{title}</b><ul style='margin:2px 0 8px -22px'>{rows}</ul>")
    return "".join(parts)


def wrapped(text: str) -> str:
    """A tooltip in lines of a readable length, which Qt does not see to for plain text."""
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, 90))


def sentence_of(text: Any) -> str:
    """With a capital and a full stop."""
    words = str(text).strip()
    return f"{words[:1].upper()}{words[1:]}" + ("" if words.endswith((".", "!", "?")) else ".")


def status_line(result: Reconstruction) -> str:
    """How it ended, and of what kind image and uncertainty are."""
    done = "Refined by the trained network" if result.scores.get("refined") else "Average of candidates, not refined"
    return f"{done}; uncertainty: {result.uncertainty_kind}. Ended: {result.status.value}."


def at_cursor(run: Run, item: int, pixel: tuple[int, int] | None) -> str:
    """Value, standard deviation and interval of one pixel."""
    if pixel is None:
        return "Move the mouse over the reconstruction to read its value and uncertainty."
    result, (y, x) = run.result, pixel
    lead = np.unravel_index(item, result.image.shape[:-2]) if result.image.ndim > 2 else ()
    where = (*(int(i) for i in lead), y, x)
    value, sigma = result.image[where], float(result.uncertainty[where])
    place = f"pixel x {x}, y {y} of the image"
    if not (np.isfinite(value) and math.isfinite(sigma)):
        return f"<b>{place}</b>: not reconstructed"
    if np.iscomplexobj(result.image):
        said = f"amplitude {abs(value):.4g}, phase {np.angle(value):.3f} rad ± {sigma:.2g}"
        return f"<b>{place}</b>: {said} (standard deviation of the complex value)"
    said = f"{float(value):.4g} ± {sigma:.2g} (standard deviation)"
    scale = result.interval_scales.get(f"{LEVEL:g}")
    if scale is None:
        return f"<b>{place}</b>: {said}; no {100 * LEVEL:.0f} % interval, as this uncertainty is not calibrated"
    low, high = float(value) - scale * sigma, float(value) + scale * sigma
    return f"<b>{place}</b>: {said}; {100 * LEVEL:.0f} % interval {low:.4g} to {high:.4g}"

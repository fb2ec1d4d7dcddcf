"""All that is said of a reconstruction without a truth: values, verdict, report."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from napari_i2ipr import io
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.evaluate import assess, single
from napari_i2ipr.evaluate.halves import compare_halves
from napari_i2ipr.evaluate.quality import Quality
from napari_i2ipr.evaluate.report import save_report
from napari_i2ipr.evaluate.report.words import parameters, score_rows
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.prepare import condition
from napari_i2ipr.progress import Cancel

SETTINGS = Config.from_dict(
    {
        "initialisation": {"n_starts": 9, "short": "HIO:20", "n_keep": 8, "long": "HIO:60 ER:20", "final": "ER:20"},
        "compute": {"threads": 1},
        "refine": {"enabled": False},
    }
)
GEOMETRY = Geometry(1e-9, 1.0, (5e-5, 5e-5))


def pattern(photons: float = 1e7, *, seed: int = 0, is_complex: bool = False) -> Measurement:
    """Counts of an object that fills a tight support: easy to recover."""
    rng = np.random.default_rng(seed)
    support = np.zeros((64, 64), bool)
    support[20:44, 22:42] = True
    support[20:30, 22:30] = False
    image = np.zeros((64, 64), complex)
    image[support] = rng.random(int(support.sum())) + 0.2
    if is_complex:
        image *= np.exp(2j * gaussian_filter(rng.standard_normal((64, 64)), 2))
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(image))) ** 2
    counts = rng.poisson(intensity * (photons / intensity.sum())).astype(np.float32)
    counts[31:34, 31:34] = 0
    bad = np.zeros((64, 64), bool)
    bad[31:34, 31:34] = True
    return Measurement(counts, bad_pixels=bad, support=support, geometry=GEOMETRY)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return condition(pattern())[0]


@pytest.fixture(scope="module")
def result(measured: Measurement) -> Reconstruction:
    return reconstruct(measured, SETTINGS, device="cpu")


@pytest.fixture(scope="module")
def quality(result: Reconstruction, measured: Measurement) -> Quality:
    return assess(result, measured)


def test_a_good_reconstruction_is_called_good(quality: Quality) -> None:
    assert quality.verdict.grade == "good"
    assert quality.scores["reproducibility"] > 0.9
    assert quality.n_starts == 8
    assert quality.curves["prtf"].value[3:20].min() > 0.9
    assert quality.agreement is not None
    assert quality.agreement.log_likelihood < 3
    assert any("8 independent starts" in line for line in quality.verdict.good)


def test_without_the_pattern(result: Reconstruction, quality: Quality) -> None:
    alone = assess(result)
    assert alone.agreement is None
    assert alone.scores == quality.scores
    assert alone.curves.keys() == quality.curves.keys()
    assert alone.verdict.grade == "good"


def test_stored_misfit_is_the_stored_r_factor(result: Reconstruction) -> None:
    """The shells hold what the R-factor is made of, up to the corners that lie beyond the last shell."""
    shells = result.shells
    assert shells is not None
    weight = np.nan_to_num(shells.measured)
    r_factor = (np.nan_to_num(shells.misfit) * weight).sum() / (np.nan_to_num(shells.amplitude) * weight).sum()
    assert r_factor == pytest.approx(result.scores["r_factor"], rel=0.2)


def test_wrong_support_is_not_called_good() -> None:
    """A support that cuts the object off: it must show."""
    whole = pattern()
    assert whole.support is not None
    cut = whole.support.copy()
    cut[36:] = False
    found = assess(reconstruct(replace(whole, support=cut), SETTINGS, device="cpu"))
    assert found.verdict.grade != "good"


def test_noise_is_not_called_good() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (64, 64)).astype(np.float32)
    noise = Measurement(counts, support=pattern().support)
    found = assess(reconstruct(noise, SETTINGS, device="cpu"))
    assert found.verdict.grade != "good"


def test_json(quality: Quality) -> None:
    plain = quality.plain()
    again = json.loads(json.dumps(plain))
    assert again["prtf_resolution"].keys() == {
        "full_period_px", "half_period_px", "full_period_nm", "half_period_nm", "limited_by_edge"
    }  # fmt: skip
    pixel_nm = 1e9 * 1e-9 / (64 * 5e-5)
    for name in ("prtf_resolution", "prtf_phase_resolution", "prtf_corrected_resolution", "reproducible_to"):
        period = plain[name]
        assert period["full_period_px"] == 2 * period["half_period_px"]
        assert period["full_period_nm"] == pytest.approx(period["full_period_px"] * pixel_nm)
    assert plain["pattern"]["log_likelihood"] > 0
    assert plain["verdict"]["grade"] == "good"
    assert len(plain["curves"]["prtf"]["value"]) == 33


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [
        ({"status": Status.DIVERGED}, "do not trust", "finite"),
        ({"status": Status.CANCELLED}, "use with care", "stopped"),
        ({"status": Status.OUT_OF_DOMAIN}, "use with care", "unlike"),
        ({"scores": {"reproducibility": 0.3}}, "do not trust", "different images"),
        ({"scores": {"reproducibility": 0.8}}, "use with care", "only in part"),
        ({"scores": {"r_factor": 0.4}}, "use with care", "does not explain"),
        ({"scores": {"r_factor": 0.7}}, "do not trust", "does not explain"),
        ({"scores": {"outside": 0.2}}, "use with care", "outside the support"),
        ({"shells": None, "scores": {"reproducibility": math.nan}}, "use with care", "nothing is known"),
        ({"twin_margin": 0.02}, "use with care", "twin"),
        ({"weight": 0.0}, "use with care", "dropped"),
    ],
)
def test_what_is_distrusted(result: Reconstruction, change: dict[str, Any], grade: str, words: str) -> None:
    change = dict(change)
    scores = {**result.scores, **change.pop("scores", {})}
    rows = result.candidates
    if "twin_margin" in change:
        rows = [replace(row, twin_margin=change["twin_margin"]) for row in rows]
    if "weight" in change:
        rows = [replace(row, weight=0.0 if i else 1.0) for i, row in enumerate(rows)]
    kept = {name: value for name, value in change.items() if name in ("status", "shells")}
    verdict = assess(replace(result, scores=scores, candidates=rows, **kept)).verdict
    assert verdict.grade == grade
    assert any(words in line for line in verdict.distrust)
    assert words in verdict.summary


def test_gap_in_the_centre(result: Reconstruction) -> None:
    """Three pixels are less than a mode of this object; eleven are more."""
    assert not any("not measured" in line for line in assess(result).verdict.distrust)
    assert result.shells is not None
    measured = result.shells.measured.copy()
    measured[:6] = 0
    found = assess(replace(result, shells=replace(result.shells, measured=measured)))
    assert any("periods longer than 10.7 px were not measured" in line for line in found.verdict.distrust)


def test_few_starts_say_so(result: Reconstruction) -> None:
    assert result.shells is not None
    found = assess(replace(result, shells=replace(result.shells, n_starts=4)))
    assert any("only 4 independent starts" in line for line in found.verdict.distrust)
    assert math.isnan(found.curves["prtf"].crossing)
    assert "needs 8" in score_rows(result, found)["PRTF 1/e"]


def test_single(measured: Measurement) -> None:
    stack = replace(
        measured,
        intensity=np.stack([np.asarray(pattern(seed=s).intensity) for s in range(2)]),
        axes=("t", "y", "x"),
    )
    both = reconstruct(stack, SETTINGS, device="cpu")
    assert both.shells is not None
    assert both.shells.prtf.shape == (2, 33)
    with pytest.raises(InputError, match="one image"):
        assess(both)
    second = single(both, 1)
    assert second.image.shape == both.image.shape[-2:]
    assert second.scores == both.scores["items"][1]
    assert second.candidates == both.candidates[8:]
    assert second.provenance["fingerprints"] == [both.provenance["fingerprints"][1]]
    assert second.axes == ("y", "x")
    frame, _ = condition(stack.frame(1))
    assert frame.fingerprint() == second.provenance["fingerprints"][0]
    assert assess(second, frame).scores["r_factor"] == both.scores["items"][1]["r_factor"]
    with pytest.raises(InputError, match="0 to 1"):
        single(both, 2)
    assert single(second) is second
    with pytest.raises(InputError, match="NaN"):
        assess(replace(second, image=np.full_like(second.image, np.nan)))


@pytest.mark.parametrize("is_complex", [False, True])
def test_starts_of_all_members_are_compared(is_complex: bool) -> None:
    """Members are brought to one orientation for that, and complex objects to one phase."""
    changes = {"members": 2, "object": "complex" if is_complex else "real"}
    found = assess(reconstruct(pattern(is_complex=is_complex), SETTINGS.replace(**changes), device="cpu"))
    assert found.n_starts == 16
    assert found.curves["prtf_phase"].value[3:8].min() > 0.9
    if not is_complex:
        assert found.verdict.grade == "good"


def test_fingerprint(measured: Measurement) -> None:
    mark = measured.fingerprint()
    assert len(mark) == 16
    changed = np.array(measured.intensity)
    changed[5, 5] += 1
    assert replace(measured, intensity=changed).fingerprint() != mark
    assert replace(measured, bad_pixels=None).fingerprint() != mark
    assert replace(measured, intensity=np.asarray(measured.intensity, np.float64)).fingerprint() == mark
    behind = np.array(measured.intensity)
    behind[31:34, 31:34] = 7  # nobody measured it
    assert replace(measured, intensity=behind).fingerprint() == mark


def test_frc_of_halves(result: Reconstruction, measured: Measurement) -> None:
    found = compare_halves(result, measured, SETTINGS, device="cpu")
    assert found.frc_classical is None
    assert found.photons == pytest.approx(np.asarray(measured.intensity).sum(), rel=0.01)
    assert found.frc.value[1:8].min() > 0.9
    assert not np.array_equal(*(half.image for half in found.reconstructions))
    weak = condition(pattern(2e4))[0]
    worse = compare_halves(reconstruct(weak, SETTINGS, device="cpu"), weak, SETTINGS, device="cpu")
    assert np.nanmean(worse.frc.value[6:]) < np.nanmean(found.frc.value[6:])


@pytest.mark.parametrize("looks", [0, 40])
def test_frc_that_is_stopped(
    result: Reconstruction, measured: Measurement, after: Callable[[int], Cancel], looks: int
) -> None:
    with pytest.raises(CancelledError):
        compare_halves(result, measured, SETTINGS, device="cpu", cancel=after(looks))


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("with pattern", ".html"),
        ("with pattern", ".png"),
        ("alone", ".svg"),
        ("complex", ".png"),
        ("old", ".html"),
        ("old", ".png"),
    ],
)
def test_report(tmp_path: Path, result: Reconstruction, measured: Measurement, kind: str, ending: str) -> None:
    frame: Measurement | None = measured if kind == "with pattern" else None
    if kind == "complex":
        result = replace(result, image=result.image * np.exp(1j * result.image).astype(np.complex64))
    if kind == "old":
        result = replace(result, shells=None, scores={}, candidates=[], provenance={}, geometry=Geometry())
    file = tmp_path / f"r{ending}"
    save_report(file, result, assess(result, frame), frame, title="a <title> & more")
    check(file)


def check(file: Path) -> None:
    """A picture with something on it, valid XML, or HTML that needs no other file."""
    if file.suffix == ".png":
        with Image.open(file) as drawn:
            assert drawn.size == (1240, 1753)
            assert len(np.unique(np.asarray(drawn.convert("L")))) > 50
        return
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".svg":
        assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314 - our own file
        return
    assert "a &lt;title&gt; &amp; more" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert text.count("<svg") == text.count("</svg>") == 1
    Balanced().run(text)


class Balanced(HTMLParser):
    """Fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def run(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_of_another_kind(tmp_path: Path, result: Reconstruction, quality: Quality) -> None:
    with pytest.raises(InputError, match=r"\.html, \.png, \.svg"):
        save_report(tmp_path / "r.pdf", result, quality)


def test_parameters(result: Reconstruction) -> None:
    known = parameters(result)
    assert known["object pixel"] == "312.5 x 312.5 nm"
    assert known["starts"] == "1 sets of 9, 8 kept"
    assert known["schedule"] == "HIO:20 | HIO:60 ER:20 | ER:20"


@pytest.mark.slow
@pytest.mark.parametrize(("dilation", "grade"), [(0, "good"), (5, "use with care")])
def test_measured_pattern(data_dir: Path, dilation: int, grade: str) -> None:
    """With a support that is 5 px too wide the fit is as good and the image is wrong: it must not be called good."""
    folder = data_dir / "diffraction" / "esrf_logo_id10"
    support = io.read_array(folder / "mask_logo5mu_20sec.edf") != 0
    if dilation:
        support = binary_dilation(support, iterations=dilation)
    seen = condition(replace(io.read(folder / "logo5mu_20sec.edf"), support=support))[0]
    found = assess(reconstruct(seen, Config.from_preset("fast"), device="cpu"), seen)
    assert found.verdict.grade == grade
    assert found.agreement is not None
    assert found.agreement.r_factor < 0.15
    assert (found.scores["reproducibility"] > 0.9) == (grade == "good")

"""The options of the learned refinement, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.refine.uncertainty import Calibration

Run = Callable[..., Any]
MakeWeights = Callable[..., Path]

CALIBRATION = Calibration(raw=(1e-9, 1e3), expected=(1e-9, 1e3), scales={"0.9": 1.25}, images=20)


def rows(text: str) -> dict[str, str]:
    """Rows of a table, by name."""
    lines = [line.split("  ", 1) for line in text.splitlines() if "  " in line]
    return {name: words.strip() for name, words in lines}


def test_refined(pattern: Path, refining: Path, run: Run, make_weights: MakeWeights) -> None:
    sampling = Sampling(sampler="indi", steps=3)
    weights = make_weights(calibration=CALIBRATION, max_chi_ratio=1e6, sampling=sampling)
    options = ["--config", refining, "--weights", weights, "--views", 2, "--steps", 3, "--sampler", "indi"]
    done = run("reconstruct", pattern, "r.zarr", *options)
    assert (done.code, done.err) == (0, "")
    said = rows(done.out)
    assert said["refinement"].startswith("by tiny, misfit ")
    assert "(at most 1e+06 is usual)" in said["refinement"]
    assert "classical mean" in said["R-factor"]
    assert "calibrated: 1.25 times it either way is the 90 % interval" in said["uncertainty"]
    result = io.read_result("r.zarr")
    assert result.provenance["config"]["refine"] == {
        "enabled": True,
        "weights": str(weights),
        "sampler": "indi",
        "steps": 3,
        "views": 2,
        "fallback": "auto",
    }
    assert result.interval_scales == {"0.9": 1.25}
    assert result.classical is not None
    assert rows(run("info", "r.zarr").out)["refinement"] == said["refinement"]
    scored = run("evaluate", "r.zarr", "--truth", "image.png")
    assert "1.25 standard deviations either way" in scored.out
    assert run("evaluate", "r.zarr", "--truth", "image.png", "--json").json["half_width_90"] == 1.25


def test_json_of_a_refined_result(pattern: Path, refining: Path, run: Run, make_weights: MakeWeights) -> None:
    done = run("reconstruct", pattern, "r.cxi", "--config", refining, "--weights", make_weights(), "--json")
    assert (done.code, done.err) == (0, "")
    values = done.json
    assert values["refined"] is True
    assert values["refine_seconds"] > 0
    assert values["status"] == "DONE"
    assert values["uncertainty_kind"] == "raw"
    assert len(values["weights_sha256"]) == 64
    assert values["chi_ratio_limit"] is None
    again = run("info", "r.cxi", "--json").json
    assert {name: again[name] for name in ("refined", "weights_sha256")} == {
        name: values[name] for name in ("refined", "weights_sha256")
    }
    assert "raw: the weights hold no calibration" in run("info", "r.cxi").out


def test_off_and_skipped(pattern: Path, refining: Path, run: Run, make_weights: MakeWeights) -> None:
    done = run("reconstruct", pattern, "off.zarr", "--config", refining, "--no-refine")
    assert (done.code, done.err) == (0, "")
    assert rows(done.out)["refinement"] == "off: the classical mean is the result"
    options = ["--config", refining, "--weights", make_weights(), "--complex"]
    done = run("reconstruct", pattern, "complex.zarr", *options)
    assert (done.code, done.err) == (0, "")
    assert rows(done.out)["refinement"].startswith("skipped (complex object)")


def test_out_of_domain_is_a_warning_and_no_failure(
    pattern: Path, refining: Path, run: Run, make_weights: MakeWeights
) -> None:
    options = ["--config", refining, "--weights", make_weights(max_chi_ratio=1e-6)]
    done = run("reconstruct", pattern, "r.zarr", *options)
    assert done.code == 0
    assert done.err.startswith("warning: the refined image fits the data ")
    assert len(done.err.splitlines()) == 1
    assert rows(done.out)["refinement"].startswith("fell back to the classical mean, misfit ")
    assert "unlike those it was trained on" in rows(done.out)["status"]
    done = run("reconstruct", pattern, "never.zarr", *options, "--no-fallback", "--json")
    assert done.code == 0
    assert "do not rely on it" in done.err
    assert (done.json["status"], done.json["refined"]) == ("OUT_OF_DOMAIN", True)


def test_stack(folder: Path, refining: Path, run: Run, make_weights: MakeWeights, counts: Callable[..., Any]) -> None:
    np.save("p.npy", np.stack([counts(0), counts(1)]))
    done = run("reconstruct", "p.npy", "r.zarr", "--config", refining, "--weights", make_weights())
    assert done.code == 0, done.err
    assert rows(done.out)["refinement"].startswith("by tiny (2 of 2 images), misfit ")
    values = run("info", "r.zarr", "--json").json
    assert values["refined"] == 1
    assert values["refine_seconds"] == sum(item["refine_seconds"] for item in values["items"])


def test_stopped_before_the_refinement(pattern: Path, refining: Path, run: Run, make_weights: MakeWeights) -> None:
    """A stop in the classical half leaves the score ``refined`` out."""
    assert run("reconstruct", pattern, "r.zarr", "--config", refining, "--weights", make_weights()).code == 0
    document = json.loads(Path("r.zarr/zarr.json").read_text())
    words = document["attributes"]["napari_i2ipr"]
    words["scores"] = {name: words["scores"][name] for name in ("r_factor", "image_iterations", "solver_seconds")}
    words["status"] = "CANCELLED"
    Path("r.zarr/zarr.json").write_text(json.dumps(document))
    assert rows(run("info", "r.zarr").out)["refinement"].startswith("stopped before its end")
    assert run("info", "r.zarr", "--json").json["refined"] is False


def test_a_result_from_before_the_refinement(result: Path, run: Run) -> None:
    document = json.loads((result / "zarr.json").read_text())
    words = document["attributes"]["napari_i2ipr"]
    del words["scores"]["refined"], words["interval_scales"], words["provenance"]["weights"]
    del words["provenance"]["config"]["refine"]
    (result / "zarr.json").write_text(json.dumps(document))
    assert "refinement" not in rows(run("info", result).out)
    values = run("info", result, "--json").json
    assert (values["refined"], values["refine_seconds"], values["weights_sha256"]) == (False, 0.0, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "nothing.safetensors"], "no weights 'nothing.safetensors'"),
        (["--weights", "pattern.cxi"], "pattern.cxi"),
        (["--sampler", "cold"], "refine.sampler"),
        (["--views", "9"], "refine.views"),
        (["--steps", "-1"], "refine.steps"),
    ],
    ids=str,
)
def test_bad_options(pattern: Path, refining: Path, run: Run, options: list[str], said: str) -> None:
    done = run("reconstruct", pattern, "r.zarr", "--config", refining, *options)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert said in done.err
    assert not Path("r.zarr").exists()

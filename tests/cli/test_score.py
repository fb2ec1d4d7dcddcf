"""``i2ipr score``: with and without the pattern at hand, one image and stacks, reports, bad input."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_i2ipr import io

Run = Callable[..., Any]
Make = Callable[..., np.ndarray]

KEYS = {
    "result",
    "status",
    "r_factor",
    "chi",
    "free_score",
    "outside",
    "reproducibility",
    "n_starts",
    "prtf_resolution",
    "prtf_phase_resolution",
    "prtf_corrected_resolution",
    "reproducible_to",
    "curves",
    "verdict",
    "pattern",
    "pattern_missing",
}
PATTERN_KEYS = {"file", "r_factor", "chi", "log_likelihood", "r_factor_noise", "photons", "counted_by", "measured"}


def refused(done: Any, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: got ")
    for word in words:
        assert word in line


def test_in_words(result: Path, run: Run) -> None:
    done = run("score", result)
    assert (done.code, done.err) == (0, "")
    for word in ("R-factor", "log-likelihood", "reproducibility", "What to distrust:", "2 independent starts"):
        assert word in done.out
    assert "Not compared" not in done.out


@pytest.mark.parametrize("name", ["r.zarr", "r.cxi"])
def test_json(pattern: Path, settings: Path, run: Run, name: str) -> None:
    assert run("reconstruct", pattern, name, "--config", settings).code == 0
    done = run("score", name, "--json")
    assert (done.code, done.err) == (0, "")
    values = done.json
    assert values.keys() >= KEYS
    assert values["pattern"].keys() == PATTERN_KEYS
    assert values["pattern"]["file"] == str(pattern)
    assert values["pattern"]["measured"] == 64 * 64
    assert values["pattern_missing"] is None
    assert values["r_factor"] == io.read_result(name).scores["r_factor"]
    assert values["verdict"]["grade"] in {"good", "use with care", "do not trust"}
    assert values["prtf_resolution"]["full_period_px"] is None  # two starts are too few
    assert len(values["curves"]["prtf"]["frequency"]) == 33


def test_json_and_words_agree_with_and_without_the_pattern(result: Path, pattern: Path, run: Run) -> None:
    with_pattern = run("score", result, "--json").json
    pattern.unlink()
    done = run("score", result, "--json")
    assert (done.code, done.err) == (0, "")
    alone = done.json
    assert alone["pattern"] is None
    assert "pattern.cxi is not there any more: give it with --pattern" in alone["pattern_missing"]
    for name in ("r_factor", "curves", "reproducibility", "prtf_corrected_resolution"):
        assert alone[name] == with_pattern[name]
    said = run("score", result)
    assert said.code == 0
    assert "Not compared with the pattern pixel by pixel" in said.out


def test_pattern_in_another_place(result: Path, pattern: Path, run: Run) -> None:
    expected = run("score", result, "--json").json["pattern"]
    Path("elsewhere").mkdir()
    moved = Path("elsewhere") / pattern
    pattern.rename(moved)
    named = run("score", result, "--pattern", moved, "--json")
    assert (named.code, named.err) == (0, "")
    assert named.json["pattern"] == {**expected, "file": str(moved)}
    shutil.move(result, Path("elsewhere") / result)
    beside = run("score", Path("elsewhere") / result, "--json").json  # a folder that was moved as a whole
    assert beside["pattern"] == {**expected, "file": str(moved)}


def test_pattern_that_has_changed(result: Path, pattern: Path, run: Run) -> None:
    seen = io.read(pattern)
    changed = np.array(seen.intensity)
    changed[3, 4] += 5
    io.write(replace(seen, intensity=changed), pattern, overwrite=True)
    values = run("score", result, "--json").json
    assert values["pattern"] is None
    assert "has changed since" in values["pattern_missing"]
    done = run("score", result, "--pattern", pattern, "--json")
    assert done.code == 0
    assert "warning: pattern.cxi is not the pattern that the result was made from" in done.err
    assert done.json["pattern"]["r_factor"] > 0


def test_options_of_the_reconstruction_are_kept(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    """Mask, support, centre and amplitudes are those of the reconstruction, without being named again."""
    np.save("p.npy", np.sqrt(counts()))
    bad = np.zeros((64, 64), np.uint8)
    bad[40:44, 10:14] = 1
    np.save("bad.npy", bad)
    support = np.zeros((63, 64), np.uint8)
    support[15:47, 15:48] = 1
    np.save("inside.npy", support)
    options = ("--amplitude", "--center", "31,32", "--mask", "bad.npy", "--support", "inside.npy")
    assert run("reconstruct", "p.npy", "r.zarr", "--config", settings, *options).code == 0
    done = run("score", "r.zarr", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["pattern"]["measured"] == 63 * 64 - 16
    Path("bad.npy").unlink()
    values = run("score", "r.zarr", "--json").json
    assert values["pattern"] is None
    assert "bad.npy" in values["pattern_missing"]


def test_stack(folder: Path, settings: Path, run: Run, picture: Make) -> None:
    np.save("images.npy", np.stack([picture(0), picture(1)]))
    assert run("simulate", "images.npy", "p.zarr", "--alpha", 3).code == 0
    assert run("reconstruct", "p.zarr", "r.zarr", "--config", settings).code == 0
    items = run("score", "r.zarr", "--json").json["items"]
    assert [item["item"] for item in items] == [0, 1]
    assert all(item["pattern"].keys() == PATTERN_KEYS for item in items)
    assert items[0]["r_factor"] != items[1]["r_factor"]
    assert run("score", "r.zarr", "--item", 1, "--json").json["r_factor"] == items[1]["r_factor"]
    done = run("score", "r.zarr")
    assert done.out.count("What to distrust:") == 2
    refused(run("score", "r.zarr", "--report", "r.html"), 2, "--item")
    refused(run("score", "r.zarr", "--item", 2), 2, "0 to 1")
    assert run("score", "r.zarr", "--item", 1, "--report", "r.html").code == 0
    assert "item 1" in Path("r.html").read_text(encoding="utf-8")
    np.save("one.npy", picture(0))
    run("simulate", "one.npy", "one.zarr", "--alpha", 3)
    refused(run("score", "r.zarr", "--pattern", "one.zarr"), 2, "1 pattern(s)", "2")


def test_a_stack_that_was_stopped(folder: Path, settings: Path, run: Run, picture: Make) -> None:
    np.save("images.npy", np.stack([picture(0), picture(1)]))
    run("simulate", "images.npy", "p.zarr", "--alpha", 3)
    run("reconstruct", "p.zarr", "r.zarr", "--config", settings)
    whole = io.read_result("r.zarr")
    assert whole.shells is not None
    image = whole.image.copy()
    image[1] = np.nan
    scores = {**whole.scores, "items": whole.scores["items"][:1]}
    io.write(replace(whole, image=image, scores=scores, candidates=whole.candidates[:2]), "s.zarr")
    items = run("score", "s.zarr", "--json").json["items"]
    assert items[0]["verdict"]["grade"]
    assert items[1] == {"item": 1, "status": "not reconstructed"}
    refused(run("score", "s.zarr", "--item", 1), 2, "NaN")


@pytest.mark.parametrize("name", ["r.html", "r.png", "r.svg"])
def test_report(result: Path, run: Run, name: str) -> None:
    done = run("score", result, "--report", name)
    assert (done.code, done.err) == (0, "")
    assert f"report: {name}" in done.out
    assert Path(name).stat().st_size > 10_000
    if name.endswith(".png"):
        with Image.open(name) as drawn:
            assert drawn.height > drawn.width
    refused(run("score", result, "--report", name), 2, "existing output", "--overwrite")
    assert run("score", result, "--report", name, "--overwrite", "--json").json.keys() >= KEYS
    assert not [item for item in Path.cwd().iterdir() if item.name.startswith(".")]


def test_frc(pattern: Path, result: Path, run: Run) -> None:
    done = run("score", result, "--frc", "--device", "cpu", "--report", "r.png", "--json")
    assert done.code == 0, done.err
    values = done.json
    assert values["frc_resolution"].keys() == values["prtf_resolution"].keys()
    assert values["curves"]["frc"]["value"][1] > 0.9
    assert values["curves"]["frc"]["threshold"][1] > 0.5
    pattern.unlink()
    refused(run("score", result, "--frc"), 2, "--frc without the pattern", "pattern.cxi")


def test_frc_of_what_has_no_photons(image: Path, settings: Path, run: Run) -> None:
    assert run("simulate", image, "clean.cxi").code == 0
    assert run("reconstruct", "clean.cxi", "r.zarr", "--config", settings).code == 0
    refused(run("score", "r.zarr", "--frc"), 2, "cannot be counted")
    assert run("score", "r.zarr", "--json").json["pattern"]["log_likelihood"] is None


def test_result_of_an_older_version(result: Path, run: Run) -> None:
    """No shells, no fingerprint, no options: what there is is said, what is missing too."""
    old = io.read_result(result)
    known = {k: v for k, v in old.provenance.items() if k not in ("fingerprints", "pattern")}
    scores = {k: v for k, v in old.scores.items() if k != "reproducibility"}
    io.write(replace(old, shells=None, provenance=known, scores=scores), "old.cxi")
    values = run("score", "old.cxi", "--json").json
    assert values["n_starts"] == 0
    assert values["curves"] == {}
    assert values["r_factor"] == old.scores["r_factor"]
    assert "nothing tells whether" in values["pattern_missing"]
    assert values["verdict"]["grade"] == "use with care"
    named = run("score", "old.cxi", "--pattern", "pattern.cxi", "--report", "old.png", "--json")
    assert (named.code, named.err) == (0, "")
    assert named.json["pattern"]["r_factor"] > 0


def test_result_without_a_file_of_its_pattern(folder: Path, run: Run, picture: Make) -> None:
    from napari_i2ipr.config import Config
    from napari_i2ipr.pipeline import reconstruct
    from napari_i2ipr.simulation import simulate

    tiny = {"n_starts": 2, "short": "HIO:5", "n_keep": 2, "long": "HIO:5", "final": ""}
    settings = Config.from_dict({"initialisation": tiny, "refine": {"enabled": False}})
    io.write(reconstruct(simulate(picture(), alpha=3.0), settings, device="cpu"), "r.zarr")
    assert "names no file" in run("score", "r.zarr", "--json").json["pattern_missing"]


def test_bad_input(pattern: Path, result: Path, run: Run) -> None:
    np.save("small.npy", np.add.outer(np.arange(32.0), np.arange(32.0)))
    Path("broken.cxi").write_bytes(Path(pattern).read_bytes()[:700])
    run("reconstruct", pattern, "pictures.tif", "--config", "tiny.yaml")
    for arguments, words in (
        ((pattern,), ("holds a measurement", "expected a reconstruction")),
        (("nothing.zarr",), ("no file at nothing.zarr",)),
        (("pictures.tif",), ("pictures of a reconstruction",)),
        (("broken.cxi",), ("broken.cxi",)),
        ((result, "--pattern", "nothing.cxi"), ("no file at nothing.cxi",)),
        ((result, "--pattern", result), ("reconstruction", "measured pattern")),
        ((result, "--pattern", "small.npy"), ("32 x 32 px", "64 x 64 px")),
        ((result, "--report", "r.pdf"), (".html",)),
        ((result, "--item", 1), ("0, there is one image",)),
    ):
        refused(run("score", *arguments), 2, *words)
    refused(run("score", result, "--report", "nowhere/r.html"), 5, "nowhere")
    assert run("score", result, "--item", "x").code == 2


def test_numbers_are_numbers(result: Path, run: Run) -> None:
    """What is not a number is null, so that any JSON reader takes it."""
    text = run("score", result, "--json").out
    assert "NaN" not in text
    assert "Infinity" not in text
    values = run("score", result, "--json").json
    assert all(math.isfinite(v) for v in values["curves"]["prtf"]["frequency"])

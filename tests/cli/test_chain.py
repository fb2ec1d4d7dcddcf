"""simulate -> info -> reconstruct -> evaluate, as the README shows it, with every option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from napari_i2ipr import io
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.solvers.recipe import total_iterations

Run = Callable[..., Any]
Make = Callable[..., np.ndarray]

RECONSTRUCT_KEYS = {
    "status",
    "output",
    "device",
    "seed",
    "preset",
    "image_iterations",
    "solver_seconds",
    "refined",
    "refine_seconds",
    "r_factor",
    "r_factor_best",
    "free_score",
    "weights_sha256",
    "version",
}
EVALUATE_KEYS = {"psnr", "ssim", "psnr_flip_only", "ssim_flip_only", "coverage_90", "mean_z2", "spearman"}


def test_the_chain(folder: Path, image: Path, settings: Path, run: Run) -> None:
    done = run("simulate", image, "p.cxi", "--alpha", 3, "--seed", 1)
    assert done.code == 0
    assert "64 x 64 px" in done.out
    assert run("info", "p.cxi").code == 0
    done = run("reconstruct", "p.cxi", "r.zarr", "--config", settings)
    assert (done.code, done.err) == (0, "")
    assert "R-factor" in done.out
    assert run("info", "r.zarr").code == 0
    done = run("evaluate", "r.zarr", "--truth", image)
    assert (done.code, done.err) == (0, "")
    assert "PSNR" in done.out
    assert {p.name for p in folder.iterdir()} == {"image.png", "tiny.yaml", "p.cxi", "r.zarr"}


def test_json_of_reconstruct(pattern: Path, settings: Path, run: Run) -> None:
    done = run("reconstruct", pattern, "r.cxi", "--config", settings, "--seed", 7, "--no-refine", "--json")
    assert (done.code, done.err) == (0, "")
    values = done.json
    assert values.keys() >= RECONSTRUCT_KEYS
    assert values["status"] == "DONE"
    assert values["output"] == "r.cxi"
    assert values["seed"] == 7
    assert values["preset"] == "balanced"
    assert values["device"] == "cpu" or values["device"].startswith("cuda")
    assert values["weights_sha256"] is None
    assert values["refined"] is False
    assert values["refine_seconds"] == 0.0
    assert values["image_iterations"] == 3 * 5 + 2 * 25
    assert 0 < values["r_factor"] < 1
    assert values["solver_seconds"] > 0


def test_json_of_evaluate(result: Path, image: Path, run: Run) -> None:
    done = run("evaluate", result, "--truth", image, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json.keys() >= EVALUATE_KEYS
    assert all(isinstance(done.json[name], float) for name in EVALUATE_KEYS)


def test_json_of_info(pattern: Path, result: Path, run: Run) -> None:
    values = run("info", pattern, "--json").json
    assert values["kind"] == "measurement"
    assert values["shape"] == [64, 64]
    assert values["usable"] is True
    assert values["alpha"] > 0
    values = run("info", result, "--json").json
    assert values["kind"] == "reconstruction"
    assert values["shape"] == [32, 32]
    assert values.keys() >= RECONSTRUCT_KEYS
    assert values["provenance"]["command"].startswith("i2ipr")


def test_info_says_why_a_pattern_is_not_usable(folder: Path, run: Run) -> None:
    np.save("zeros.npy", np.zeros((32, 32), np.float32))
    done = run("info", "zeros.npy")
    assert done.code == 0
    assert "not usable" in done.out
    assert run("info", "zeros.npy", "--json").json["usable"] is False


def test_stack(folder: Path, settings: Path, run: Run, picture: Make) -> None:
    np.save("images.npy", np.stack([picture(0), picture(1)]))
    assert run("simulate", "images.npy", "p.zarr", "--alpha", 3, "--truth", "truth.tif").code == 0
    values = run("reconstruct", "p.zarr", "r.zarr", "--config", settings, "--json", "--figure", "r.png").json
    assert values.keys() >= RECONSTRUCT_KEYS
    assert len(values["items"]) == 2
    assert values["mean"]["r_factor"] == pytest.approx(np.mean([item["r_factor"] for item in values["items"]]))
    assert values["image_iterations"] == sum(item["image_iterations"] for item in values["items"])
    for truth in ("images.npy", "truth.tif", "images.npy"):
        scores = run("evaluate", "r.zarr", "--truth", truth, "--json").json
        assert len(scores["items"]) == 2
        assert scores["mean"].keys() >= EVALUATE_KEYS
        assert scores.keys() >= EVALUATE_KEYS
    assert run("evaluate", "r.zarr", "--truth", "images.npy").code == 0
    assert run("info", "r.zarr").code == 0
    Image.fromarray(picture(0)).save("one.png")
    assert len(run("evaluate", "r.zarr", "--truth", "one.png", "--json").json["items"]) == 2


def test_options_reach_every_frame_of_a_stack(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    np.save("p.npy", np.sqrt(np.stack([counts(0), counts(1)])))
    done = run("reconstruct", "p.npy", "r.zarr", "--config", settings, "--amplitude", "--center", "31,32", "--json")
    assert done.code == 0, done.err
    assert "cropped" in done.err
    assert done.err.count("warning: ") == len(done.err.splitlines()) == len(set(done.err.splitlines()))
    assert done.json["notes"]
    assert io.read_result("r.zarr").frame_shape == (63, 64)


def test_the_same_seed_gives_the_same_result(pattern: Path, settings: Path, run: Run) -> None:
    for name, seed in (("a.zarr", 3), ("b.zarr", 3), ("c.zarr", 4)):
        assert run("reconstruct", pattern, name, "--config", settings, "--seed", seed).code == 0
    a, b, c = (io.read_result(f"{name}.zarr").image for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_truth_is_not_in_the_pattern(folder: Path, image: Path, run: Run, picture: Make) -> None:
    run("simulate", image, "p.npz", "--truth", "truth.npy", "--photons", 1e6)
    np.testing.assert_array_equal(np.load("truth.npy"), picture())
    with np.load("p.npz") as arrays:
        assert {arrays[name].shape for name in arrays.files} <= {(64, 64), ()}
    pattern = io.read("p.npz")
    assert pattern.intensity.sum() == pytest.approx(1e6, rel=0.01)


def test_oversampling(image: Path, run: Run) -> None:
    assert run("simulate", image, "p.zarr", "--oversampling", 3).code == 0
    pattern = io.read("p.zarr")
    assert pattern.shape == (96, 96)
    assert pattern.support is not None


def test_settings_from_a_preset_and_options(pattern: Path, settings: Path, run: Run) -> None:
    done = run("config", "--preset", "fast")
    assert done.code == 0
    Path("fast.yaml").write_text(done.out, encoding="utf-8")
    options = ["--schedule", "HIO:10 ER+acc:4", "--members", 2, "--complex", "--candidates", "--device", "cpu"]
    assert run("reconstruct", pattern, "r.zarr", "--config", settings, *options).code == 0
    result = io.read_result("r.zarr")
    used = result.provenance["config"]
    assert used["initialisation"]["long"] == "HIO:10 ER+acc:4"
    assert used["members"] == 2
    assert used["object"] == "complex"
    assert np.iscomplexobj(result.image)
    assert result.candidate_images is not None
    assert run("evaluate", "r.zarr", "--truth", "image.png").code == 0
    done = run("reconstruct", pattern, "f.zarr", "--config", "fast.yaml", "--schedule", "ER:2", "--no-refine", "--json")
    assert done.json["preset"] == "fast"
    fast = Config.from_preset("fast").initialisation
    assert done.json["image_iterations"] == fast.n_starts * total_iterations(fast.short_schedule) + fast.n_keep * 2


def support_of(path: str) -> Any:
    y0, x0, h, w = io.read_result(path).box
    return y0, x0, h, w


def test_support(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    own, other = np.zeros((64, 64), bool), np.zeros((64, 64), np.int16)
    own[20:40, 18:44] = True
    other[10:50, 12:50] = 7
    np.save("support.npy", other)
    np.save("lead.npy", other[None])
    io.write(Measurement(counts(), support=own), "p.cxi")
    boxes = {
        (): (20, 18, 20, 26),
        ("half",): (16, 16, 32, 32),
        ("support.npy",): (10, 12, 40, 38),
        ("lead.npy",): (10, 12, 40, 38),
    }
    for option, box in boxes.items():
        given = ["--support", *option] if option else []
        done = run("reconstruct", "p.cxi", "r.zarr", "--config", settings, "--overwrite", *given)
        assert done.code == 0, done.err
        assert support_of("r.zarr") == box
    done = run("reconstruct", "p.cxi", "r.zarr", "--config", settings, "--overwrite", "--support", "auto")
    assert done.code == 0, done.err
    assert support_of("r.zarr") != (20, 18, 20, 26)


def test_mask(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    bad = np.zeros((64, 64), np.uint8)
    bad[28:37] = 3  # both of each Friedel pair: one alone would be replaced by its mate
    np.save("bad.npy", bad)
    np.save("good.npy", bad == 0)
    np.save("p.npy", counts())
    images = []
    for options in ([], ["--mask", "bad.npy"], ["--mask", "good.npy", "--invert-mask"]):
        done = run("reconstruct", "p.npy", "r.zarr", "--config", settings, "--overwrite", *options)
        assert (done.code, done.err) == (0, "")
        images.append(io.read_result("r.zarr").image)
    np.testing.assert_array_equal(images[1], images[2])
    assert not np.array_equal(images[0], images[1])


def test_mostly_masked_needs_an_explicit_yes(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    bad = np.ones((64, 64), bool)
    bad[28:37, 28:37] = False
    np.save("bad.npy", bad)
    np.save("p.npy", counts())
    arguments = ["reconstruct", "p.npy", "r.zarr", "--config", settings, "--mask", "bad.npy"]
    assert run(*arguments).code == 2
    assert not Path("r.zarr").exists()
    assert run(*arguments, "--allow-masked", "--figure", "r.png").code == 0


def test_amplitudes(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    np.save("p.npy", counts())
    np.save("a.npy", np.sqrt(counts()))
    for name, option in (("p", "--intensity"), ("a", "--amplitude")):
        assert run("reconstruct", f"{name}.npy", f"{name}.zarr", "--config", settings, option).code == 0
    p, a = io.read_result("p.zarr").image, io.read_result("a.zarr").image
    np.testing.assert_allclose(a, p, atol=1e-2 * float(p.max()))


def test_dataset_in_a_file(folder: Path, settings: Path, run: Run, counts: Make) -> None:
    with h5py.File("scan.h5", "w") as file:
        file["a/first"] = counts(0)
        file["a/second"] = counts(1)
    done = run("reconstruct", "scan.h5::/a/second", "r.zarr", "--config", settings)
    assert done.code == 0, done.err
    assert run("info", "scan.h5::/a/second", "--json").json["shape"] == [64, 64]


def test_figure(pattern: Path, settings: Path, run: Run) -> None:
    arguments = ["reconstruct", pattern, "r.zarr", "--config", settings, "--figure", "r.png"]
    assert run(*arguments).code == 0
    with Image.open("r.png") as drawn:
        assert drawn.size[0] > drawn.size[1] > 300
    before = Path("r.png").stat().st_mtime_ns
    assert run(*arguments).code == 2
    assert Path("r.png").stat().st_mtime_ns == before
    assert run(*arguments, "--overwrite").code == 0
    assert not list(Path().glob(".*"))

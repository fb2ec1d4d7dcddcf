"""``i2ipr prepare``: from a detector's file to one that ``i2ipr reconstruct`` takes as it is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from napari_i2ipr import read
from napari_i2ipr.phantoms import cell
from napari_i2ipr.prepare import Preparation
from napari_i2ipr.simulation import simulate


@pytest.fixture
def raw(folder: Path) -> Path:
    """``raw.tif`` and ``stop.npy``: a detector's frame with its faults, centre at (40, 52), and its beamstop."""
    ideal = simulate(cell(32, 0), oversampling=3).intensity.astype(float)[8:, : -2 * 3]
    rng = np.random.default_rng(0)
    values = np.minimum(rng.poisson(ideal * 1e7 / ideal.sum() + 25), 50_000).astype(np.uint16)
    stop = np.hypot(np.arange(88)[:, None] - 40, np.arange(90) - 48) < 3
    values[stop] = 25
    tifffile.imwrite("raw.tif", values)
    np.save("stop.npy", stop)
    return Path("raw.tif")


def test_from_the_detector_to_a_reconstruction(raw: Path, run, settings: Path) -> None:
    done = run("prepare", raw, "pattern.cxi", "--mask", "stop.npy", "--background", "auto")
    assert done.code == 0, done.err
    words = done.out.splitlines()
    assert words[0] == "prepared raw.tif into pattern.cxi"
    assert words[1].startswith("81 x 81, centre (40.0, 48.0) by symmetry, ")
    assert words[-1].startswith("noise level: ")
    prepared = read("pattern.cxi")
    assert prepared.shape == (81, 81)
    assert prepared.bad_pixels.sum() == np.load("stop.npy").sum()
    assert prepared.provenance["preparation"]["settings"]["background"] == "auto"
    made = run("reconstruct", "pattern.cxi", "result.cxi", "--config", settings, "--json")
    assert made.code == 0
    assert made.json["notes"] == []
    assert made.err == ""
    assert made.json["alpha"] == pytest.approx(prepared.alpha)
    info = run("info", "pattern.cxi", "--json").json
    assert info["usable"]
    assert info["notes"] == []
    again = run("prepare", "pattern.cxi", "again.cxi")
    assert again.code == 0
    np.testing.assert_array_equal(read("again.cxi").intensity, prepared.intensity)


def test_json(raw: Path, run) -> None:
    done = run("prepare", raw, "p.npz", "--mask", "stop.npy", "--center", "39.5,48", "--bin", 2, "--crop", 32, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["shape"] == [32, 32]
    assert found["center_px"] == [39.5, 48]
    assert found["center_source"] == "given"
    assert found["remainder_px"] == [0, -0.25]
    assert found["output"] == "p.npz"
    assert found["settings"]["binning"] == 2
    assert found["words"].startswith("32 x 32, binned 2 x 2, centre (39.5, 48.0) as given, off its pixel by (0, -0.25)")
    assert isinstance(found["notes"], list)


def test_every_option_reaches_the_settings(raw: Path, run) -> None:
    np.save("dark.npy", np.full((3, 88, 90), 20.0))
    np.save("flat.npy", np.full((88, 90), 2.0))
    np.save("support.npy", np.pad(np.ones((30, 30)), [(29, 29), (30, 30)]))
    options = {
        "--outlier-sigma": ("outlier_sigma", 4.0),
        "--background": ("background", "3"),
        "--saturation": ("saturation", 40_000.0),
        "--grow": ("grow_px", 1),
        "--gain": ("gain", 2.0),
        "--center": ("center", "40,48"),
        "--crop": ("size", "keep"),
        "--bin": ("binning", 2),
        "--bin-share": ("bin_share", 0.5),
        "--interpolate-gaps": ("gap_tolerance", 0.1),
    }
    flags = {
        "--intensity": ("amplitude", "no"),
        "--centred": ("fft_order", "no"),
        "--allow-masked": ("allow_masked", True),
        "--no-hot-dead": ("hot_dead", False),
        "--pad": ("fit", "pad"),
    }
    arguments = [text for name, (_, value) in options.items() for text in (name, value)]
    files = ["--mask", "stop.npy", "--dark", "dark.npy", "--flat", "flat.npy", "--support", "support.npy"]
    done = run("prepare", raw, "p.cxi", *arguments, *flags, *files, "--json")
    assert done.code == 0, done.err
    wanted = dict([*options.values(), *flags.values()])
    assert {name: done.json["settings"][name] for name in wanted} == wanted
    assert done.json["gain_source"] == "given"
    assert done.json["oversampling_by"] == "support"
    covered = {*wanted, "frame", "sum_frames", "invert_mask"}
    assert covered == set(Preparation.model_fields)


def test_settings_from_a_file(raw: Path, run) -> None:
    printed = run("config", "--prepare")
    assert yaml.safe_load(printed.out) == Preparation().to_dict()
    Path("mine.yaml").write_text("background: 25\nbinning: 3\n", encoding="utf-8")
    done = run("prepare", raw, "p.cxi", "--config", "mine.yaml", "--bin", 2, "--json")
    assert done.code == 0, done.err
    assert (done.json["background"], done.json["binning"]) == (25, 2)
    assert run("config", "--prepare", "--preset", "fast").code == 2


def test_stacks(folder: Path, run) -> None:
    ideal = simulate(cell(32, 0), oversampling=3).intensity.astype(float)
    frames = np.random.default_rng(0).poisson(ideal * 1e6 / ideal.sum(), (4, *ideal.shape)).astype(np.float32)
    frames[2, 10, 10] = 1e6
    np.save("stack.npy", frames)
    summed = run("prepare", "stack.npy", "sum.cxi", "--sum-frames", "--json").json
    assert (summed["frames_summed"], summed["outliers"], summed["gain_source"]) == (4, 1, "repeated frames")
    one = run("prepare", "stack.npy", "one.cxi", "--frame", 1, "--json").json
    assert one["shape"] == [96, 96]
    every = run("prepare", "stack.npy", "all.zarr", "--json").json
    assert every["shape"] == [4, 96, 96]
    assert read("all.zarr").shape == (4, 96, 96)


def test_the_centre_of_the_file_is_said(raw: Path, run) -> None:
    with h5py.File("raw.nxs", "w") as file:
        file["entry/data/data"] = tifffile.imread(raw)
        file["entry/instrument/detector/beam_center_y"] = 61.0
        file["entry/instrument/detector/beam_center_x"] = 30.5
    with h5py.File("hawk.h5", "w") as file:
        file["intensities"] = tifffile.imread(raw)
        file["image_center"] = [61.0, 30.5, 0.0]
    for name in ("raw.nxs", "hawk.h5"):
        done = run("prepare", name, "p.cxi", "--mask", "stop.npy", "--overwrite")
        assert done.code == 0, done.err
        assert "centre (40.0, 48.0) by symmetry (the file says (61.0, 30.5))" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["raw.tif", "p.tif"], "a name that ends in"),
        (["raw.tif", "raw.tif"], "as input and as output"),
        (["raw.tif", "old.cxi"], "existing output"),
        (["missing.tif", "p.cxi"], "missing.tif"),
        (["raw.tif", "p.cxi", "--center", "here"], "the centre 'here'"),
        (["raw.tif", "p.cxi", "--center", "900,4"], "the centre (900.0, 4.0)"),
        (["raw.tif", "p.cxi", "--bin", "0"], "binning"),
        (["raw.tif", "p.cxi", "--bin", "30"], "binned 30 x 30"),
        (["raw.tif", "p.cxi", "--crop", "wide"], "the size 'wide'"),
        (["raw.tif", "p.cxi", "--background", "some"], "the background 'some'"),
        (["raw.tif", "p.cxi", "--background", "1e9"], "no positive count|zeros only"),
        (["raw.tif", "p.cxi", "--frame", "3"], "pattern 3 of 1"),
        (["raw.tif", "p.cxi", "--sum-frames"], "one pattern to sum"),
        (["raw.tif", "p.cxi", "--mask", "small.npy"], "check --mask"),
        (["raw.tif", "p.cxi", "--dark", "small.npy"], "a dark frame of shape"),
        (["raw.tif", "p.cxi", "--flat", "nothing.npy"], "nothing.npy"),
        (["raw.tif", "p.cxi", "--support", "small.npy"], "check --support"),
        (["raw.tif", "p.cxi", "--config", "none.yaml"], "none.yaml"),
        (["raw.tif", "p.cxi", "--config", "wrong.yaml"], "i2ipr config --prepare"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(raw: Path, run, arguments: list[str], words: str) -> None:
    np.save("small.npy", np.ones((4, 4)))
    Path("old.cxi").write_bytes(b"something")
    Path("wrong.yaml").write_text("colour: red", encoding="utf-8")
    before = raw.read_bytes()
    done = run("prepare", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: got ")
    assert len(done.err.splitlines()) == 1
    assert any(word in done.err for word in words.split("|"))
    assert raw.read_bytes() == before
    assert not Path("p.cxi").exists()


def test_nothing_is_overwritten_unasked(raw: Path, run) -> None:
    assert run("prepare", raw, "p.cxi").code == 0
    assert run("prepare", raw, "p.cxi").code == 2
    assert run("prepare", raw, "p.cxi", "--overwrite").code == 0
    assert run("prepare", raw, "no/folder/p.cxi").code == 5


def test_most_masked_needs_a_yes(raw: Path, run) -> None:
    most = np.ones((88, 90), bool)
    most[30:50, 40:60] = False
    np.save("most.npy", most)
    refused = run("prepare", raw, "p.cxi", "--mask", "most.npy", "--center", "keep")
    assert refused.code == 2
    assert "--invert-mask" in refused.err
    assert run("prepare", raw, "p.cxi", "--mask", "most.npy", "--center", "keep", "--allow-masked").code == 0
    turned = run("prepare", raw, "q.cxi", "--mask", "most.npy", "--invert-mask", "--center", "keep", "--json")
    assert turned.json["masked"] < 0.1

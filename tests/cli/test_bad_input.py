"""What cannot be used is refused in one line, with its exit code, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_i2ipr import io, pipeline
from napari_i2ipr.data import Measurement

Run = Callable[..., Any]

RNG = np.random.default_rng(0)


def whole(shape: tuple[int, ...] = (64, 64)) -> np.ndarray:
    frame = np.zeros((64, 64))
    frame[16:48, 16:48] = np.add.outer(np.arange(32) ** 2, 5 * np.arange(32)) % 97
    one = np.abs(np.fft.fftshift(np.fft.fft2(frame))).astype(np.float32) ** 2
    return np.broadcast_to(one[: shape[-2], : shape[-1]], shape).copy()


def refused(done: Any, code: int, *words: str) -> None:
    """One line, starting with ``error:``, and no traceback."""
    assert done.code == code, done.err
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: got ")
    assert "Traceback" not in line
    for word in words:
        assert word in line


def listing(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


NAN = np.full((64, 64), np.nan)
PATTERNS = {
    "constant": (np.full((64, 64), 7.0), "constant"),
    "all zero": (np.zeros((64, 64)), "zeros"),
    "all NaN": (NAN, "NaN"),
    "complex": (whole() * 1j, "complex"),
    "one-dimensional": (whole()[0], "(64,)"),
    "too small": (whole((12, 64)), "at least 16 px"),
    "no pixels": (np.zeros((0, 64, 64)), ""),
    "text": (np.array([["a"] * 20] * 20), ""),
    "bad frame in a stack": (np.stack([whole(), 0 * whole()]), "zeros"),
}


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(folder: Path, settings: Path, run: Run, name: str, json: bool) -> None:
    array, word = PATTERNS[name]
    np.save("p.npy", array)
    before = listing(folder)
    done = run("reconstruct", "p.npy", "r.zarr", "--config", settings, *(["--json"] if json else []))
    refused(done, 2, word)
    assert listing(folder) == before


def files(folder: Path) -> None:
    """Damaged, foreign and unsuitable files."""
    np.save("good.npy", whole())
    Path("empty.npy").touch()
    Path("empty.cxi").touch()
    Path("truncated.npy").write_bytes(Path("good.npy").read_bytes()[:500])
    Path("text.h5").write_text("these are not the data", encoding="utf-8")
    Path("unknown.xyz").write_bytes(RNG.bytes(999))
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    Path("wrong.yaml").write_text("initialization: {}", encoding="utf-8")
    Path("number.yaml").write_text("42", encoding="utf-8")
    Path("broken.yaml").write_text("a: [1", encoding="utf-8")
    Path("folder").mkdir()
    with h5py.File("scan.h5", "w") as file:
        file["a/data"] = whole()
    np.save("shape.npy", np.ones((64, 63), bool))
    np.save("none.npy", np.zeros((64, 64), bool))
    np.save("all.npy", np.ones((64, 64), bool))
    most = np.ones((64, 64), bool)
    most[28:37, 28:37] = False
    np.save("most.npy", most)
    np.save("complex.npy", np.ones((64, 64), complex))
    io.write(Measurement(whole()), "ours.cxi")


BAD_ARGUMENTS = {
    "missing file": (["nothing.cxi"], "no file"),
    "empty file": (["empty.npy"], "empty"),
    "empty CXI": (["empty.cxi"], "empty"),
    "truncated file": (["truncated.npy"], "truncated.npy"),
    "text as HDF5": (["text.h5"], "text.h5"),
    "unknown format": (["unknown.xyz"], "unknown format"),
    "a folder": (["folder"], "folder"),
    "missing dataset": (["scan.h5::/b/data"], "/b/data"),
    "mask of another shape": (["good.npy", "--mask", "shape.npy"], "(64, 63)", "shape.npy"),
    "missing mask": (["good.npy", "--mask", "nothing.npy"], "nothing.npy"),
    "complex mask": (["good.npy", "--mask", "complex.npy"], "complex"),
    "all masked": (["good.npy", "--mask", "none.npy", "--invert-mask"], "masked"),
    "mostly masked": (["good.npy", "--mask", "most.npy"], "masked"),
    "no mask to invert": (["good.npy", "--invert-mask"], "mask"),
    "support of another shape": (["good.npy", "--support", "shape.npy"], "(64, 63)", "shape.npy"),
    "empty support": (["good.npy", "--support", "none.npy"], "empty support"),
    "missing support": (["good.npy", "--support", "nothing.npy"], "nothing.npy"),
    "centre in words": (["good.npy", "--center", "middle"], "middle"),
    "centre of one number": (["good.npy", "--center", "32"], "32"),
    "centre outside": (["good.npy", "--center", "32,99"], "99"),
    "centre not a number": (["good.npy", "--center", "nan,32"], "nan"),
    "unknown preset": (["good.npy", "--preset", "quick"], "quick", "balanced"),
    "unknown method": (["good.npy", "--schedule", "HOI:3"], "HOI", "HIO"),
    "empty schedule": (["good.npy", "--schedule", ""], "schedule"),
    "no members": (["good.npy", "--members", "0"], "members"),
    "negative seed": (["good.npy", "--seed", "-1"], "seed"),
    "unknown device": (["good.npy", "--device", "abacus"], "abacus"),
    "file and preset": (["good.npy", "--config", "tiny.yaml", "--preset", "fast"], "--config and --preset"),
    "missing settings": (["good.npy", "--config", "nothing.yaml"], "nothing.yaml"),
    "binary settings": (["good.npy", "--config", "binary.yaml"], "not text"),
    "unknown setting": (["good.npy", "--config", "wrong.yaml"], "initialization"),
    "settings of one number": (["good.npy", "--config", "number.yaml"], "int"),
    "broken settings": (["good.npy", "--config", "broken.yaml"], "YAML"),
    "figure of another format": (["good.npy", "--figure", "r.jpg"], ".png"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_arguments(folder: Path, settings: Path, run: Run, name: str) -> None:
    files(folder)
    (pattern, *options), *words = BAD_ARGUMENTS[name]
    before = listing(folder)
    refused(run("reconstruct", pattern, "r.zarr", *options), 2, *words)
    assert listing(folder) == before


OUTPUTS = {
    "existing": (["ours.zarr"], 2, "--overwrite"),
    "not ours": (["text.txt.zarr", "--overwrite"], 2, "did not write"),
    "ending": (["r.jpeg"], 2, ".zarr"),
    "no ending": (["r"], 2, ".zarr"),
    "the pattern itself": (["ours.cxi", "--overwrite"], 2, "input"),
    "missing directory": (["nowhere/r.zarr"], 5, "nowhere"),
    "below a file": (["ours.cxi/r.zarr"], 5, "ours.cxi"),
    "figure exists": (["r.zarr", "--figure", "old.png"], 2, "old.png"),
    "figure in a missing directory": (["r.zarr", "--figure", "nowhere/r.png"], 5, "nowhere"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_checked_before_the_work(
    folder: Path, settings: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    io.write(Measurement(whole()), "ours.cxi")
    io.write(Measurement(whole()), "ours.zarr")
    Path("text.txt.zarr").mkdir()
    Path("text.txt.zarr/mine").touch()
    Path("old.png").touch()

    def no_work(*_: object, **__: object) -> None:
        pytest.fail("the work began")

    monkeypatch.setattr(pipeline, "reconstruct", no_work)
    before = listing(folder)
    arguments, code, word = OUTPUTS[name]
    refused(run("reconstruct", "ours.cxi", *arguments, "--config", settings), code, word)
    assert listing(folder) == before


def test_memory(pattern: Path, run: Run) -> None:
    Path("little.yaml").write_text("compute: {memory_fraction: 1.0e-9}", encoding="utf-8")
    refused(run("reconstruct", pattern, "r.zarr", "--config", "little.yaml"), 4, "GiB")
    assert not Path("r.zarr").exists()


def test_memory_error_of_a_library(pattern: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "reconstruct", hungry)
    refused(run("reconstruct", pattern, "r.zarr"), 4, "memory")


SIMULATE = {
    "missing image": (["nothing.png", "p.cxi"], 2, "nothing.png"),
    "both noises": (["image.png", "p.cxi", "--alpha", 3, "--photons", 1e6], 2, "--alpha and --photons"),
    "negative noise": (["image.png", "p.cxi", "--alpha", -1], 2, "alpha"),
    "undersampled": (["image.png", "p.cxi", "--oversampling", 0.5], 2, "oversampling"),
    "ending": (["image.png", "p.png"], 2, ".cxi"),
    "over the image": (["image.npz", "image.npz", "--overwrite"], 2, "input"),
    "negative image": (["negative.npy", "p.cxi"], 2, "negative"),
    "zeros": (["zeros.npy", "p.cxi"], 2, "zeros"),
    "truth's ending": (["image.png", "p.cxi", "--truth", "t.jpg"], 2, ".npy"),
    "truth over the image": (["image.npy", "p.cxi", "--truth", "image.npy", "--overwrite"], 2, "input"),
    "missing directory": (["image.png", "nowhere/p.cxi"], 5, "nowhere"),
    "missing directory of the truth": (["image.png", "p.cxi", "--truth", "nowhere/t.npy"], 5, "nowhere"),
}


@pytest.mark.parametrize("name", SIMULATE)
def test_simulate(folder: Path, image: Path, run: Run, name: str, picture: Callable[..., np.ndarray]) -> None:
    np.save("image.npy", picture())
    np.savez("image.npz", picture())
    np.save("negative.npy", picture() / 1.0 - 99)
    np.save("zeros.npy", np.zeros((32, 32)))
    before = listing(folder)
    arguments, code, word = SIMULATE[name]
    refused(run("simulate", *arguments), code, word)
    assert listing(folder) == before


EVALUATE = {
    "missing result": (["nothing.zarr", "--truth", "image.png"], "nothing.zarr"),
    "pattern as result": (["pattern.cxi", "--truth", "image.png"], "pattern.cxi"),
    "missing truth": (["result.zarr", "--truth", "nothing.png"], "nothing.png"),
    "constant truth": (["result.zarr", "--truth", "constant.npy"], "constant"),
    "large truth": (["result.zarr", "--truth", "large.npy"], "65 x 65"),
    "two truths": (["result.zarr", "--truth", "two.npy"], "one truth"),
}


@pytest.mark.parametrize("name", EVALUATE)
def test_evaluate(result: Path, run: Run, name: str, picture: Callable[..., np.ndarray]) -> None:
    np.save("constant.npy", np.full((32, 32), 3.0))
    np.save("large.npy", picture(side=65))
    np.save("two.npy", np.stack([picture()] * 2))
    arguments, word = EVALUATE[name]
    refused(run("evaluate", *arguments), 2, word)


@pytest.mark.parametrize("arguments", [["info", "nothing.h5"], ["config", "--preset", "quick"]])
def test_small_commands(folder: Path, run: Run, arguments: list[str]) -> None:
    refused(run(*arguments), 2)


@pytest.mark.parametrize(
    "arguments",
    [["reconstruct"], ["reconstruct", "a", "b", "--nonsense"], ["nonsense"], ["simulate", "a", "b", "--seed", "x"]],
)
def test_usage(folder: Path, run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err


MENDED = {
    "negative counts": "negative",
    "NaN": "NaN",
    "amplitudes": "amplitudes",
    "FFT order": "FFT order",
    "mask of the wrong sign": "sign",
}


@pytest.mark.parametrize("name", MENDED)
def test_accepted_with_one_warning(folder: Path, settings: Path, run: Run, name: str) -> None:
    """Mended or guessed at: one line says what was done, and the result keeps it."""
    frame = whole() + 20
    options: list[str] = []
    match name:
        case "negative counts":
            frame[3, 5:9] = -2
        case "NaN":
            frame[3, 5:9] = np.nan
        case "amplitudes":
            frame = np.sqrt(RNG.poisson(frame / 50)).astype(np.float32)
        case "FFT order":
            frame = np.fft.ifftshift(frame)
        case _:
            good = np.ones(frame.shape, bool)
            good[3, 5:9] = False
            frame[~good] = 0
            np.save("good.npy", good)
            options = ["--mask", "good.npy"]
    np.save("p.npy", frame)
    done = run("reconstruct", "p.npy", "r.zarr", "--config", settings, *options, "--json")
    assert done.code == 0, done.err
    (line,) = done.err.splitlines()
    assert line.startswith("warning: ")
    assert MENDED[name] in line
    assert done.json["notes"] == [line.removeprefix("warning: ")]
    assert io.read_result("r.zarr").provenance["notes"] == done.json["notes"]

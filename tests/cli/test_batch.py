"""``i2ipr batch`` as it is typed: what it says, its exit codes, its options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_i2ipr import io
from napari_i2ipr.batch import open_batch
from napari_i2ipr.cli import _batch_words
from napari_i2ipr.progress import Event

Run = Callable[..., Any]
Make = Callable[..., np.ndarray]


@pytest.fixture
def stack(folder: Path, counts: Make) -> Path:
    """``stack.zarr``: five patterns of 64 x 64 px, the fourth without a count."""
    array = zarr.create_array("stack.zarr", shape=(5, 64, 64), dtype="float32", chunks=(1, 64, 64))
    for k in (0, 1, 2, 4):
        array[k] = counts(k)
    return Path("stack.zarr")


def test_a_volume(stack: Path, settings: Path, run: Run, folder: Path) -> None:
    done = run("batch", stack, "out.zarr", "--config", settings)
    assert done.code == 0
    assert done.out.splitlines()[0] == f"reconstructed stack.zarr into {folder / 'out.zarr'}"
    assert "5: 4 DONE, 1 EMPTY" in done.out
    assert "pattern 3: EMPTY" in done.out
    assert "warning: pattern 3: EMPTY" in done.err
    assert "5/5 patterns" in done.err
    assert "per minute" in done.err
    assert run("info", "out.zarr").code == 0
    assert "5 images of 32 x 32 px" in run("info", "out.zarr").out
    again = run("batch", stack, "out.zarr", "--config", settings)
    assert again.code == 0
    assert again.out.startswith("nothing to do")


def test_json(stack: Path, settings: Path, run: Run) -> None:
    done = run("batch", stack, "out.zarr", "--config", settings, "--seed", 3, "--unit", 2, "--json")
    assert done.code == 0
    values = done.json
    assert values["status"] == "COMPLETE"
    assert (values["frames"], values["worked"], values["kept"], values["good"], values["bad"]) == (5, 5, 0, 4, 1)
    assert values["statuses"] == {"DONE": 4, "EMPTY": 1}
    assert 0 < values["mean"]["r_factor"] < 1
    assert values["memory_bytes"] > 0
    assert io.read_result("out.zarr").provenance["config"]["seed"] == 3


def test_the_plan(stack: Path, settings: Path, run: Run, folder: Path) -> None:
    before = {p.name for p in folder.iterdir()}
    done = run("batch", stack, "out.zarr", "--config", settings, "--plan", "--unit", 2)
    assert done.code == 0
    for words in ("3 of 2 patterns at most", "reconstruction 5 x 32 x 32", "MB", "free", "about"):
        assert words in done.out
    values = run("batch", stack, "out.zarr", "--config", settings, "--plan", "--json").json
    assert values["frames"] == 5
    assert values["seconds"] > 0
    assert {p.name for p in folder.iterdir()} == before
    run("batch", stack, "out.zarr", "--config", settings)
    assert "nothing is left to do" in run("batch", stack, "out.zarr", "--config", settings, "--plan").out


def test_options_reach_the_patterns(stack: Path, settings: Path, run: Run, folder: Path) -> None:
    mask, support = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    mask[:2] = 1
    support[20:44, 18:46] = 1
    np.save("mask.npy", 1 - mask)
    np.save("support.npy", support)
    options = ("--mask", "mask.npy", "--invert-mask", "--support", "support.npy", "--intensity", "--axes", "scan,y,x")
    done = run("batch", stack, "out.zarr", "--config", settings, *options, "--candidates", "--strict", "--overwrite")
    assert done.code == 2
    assert "pattern 3, EMPTY" in done.err
    done = run("batch", stack, "out.zarr", "--config", settings, *options, "--candidates", "--memory", "8GB")
    assert done.code == 0, done.err
    view = open_batch("out.zarr")
    assert view.plan.box == (20, 18, 24, 28)
    assert view.plan.lead_axes == ("scan",)
    assert view.images["candidates"].shape == (5, 2, 24, 28)


def test_a_centre(stack: Path, settings: Path, run: Run) -> None:
    assert run("batch", stack, "out.zarr", "--config", settings, "--center", "31,32").code == 0
    assert open_batch("out.zarr").plan.frame_shape == (63, 64)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--memory", "much"), 2, "4GB"),
        (("--memory", "50MB"), 4, "at least"),
        (("--axes", "y,x"), 2, "axes"),
        (("--cluster", "2"), 2, "local:N"),
        (("--cluster", "local:x"), 2, "local:N"),
        (("--cluster", "local:2", "--scheduler", "tcp://h:1"), 2, "one of them"),
        (("--mask", "nowhere.npy"), 2, "nowhere.npy"),
        (("--weights", "nowhere"), 2, "nowhere"),
        (("--device", "abacus"), 2, "abacus"),
        (("--preset", "fast"), 2, "--config and --preset"),
        (("--unit", "0"), 2, "--unit"),
    ],
)
def test_bad_options(*, stack: Path, settings: Path, run: Run, options: Any, code: int, words: str) -> None:
    refine = Path(settings).read_text().replace("enabled: false", "enabled: true")
    config = settings
    if "--weights" in options:
        config = Path("refining.yaml")
        config.write_text(refine)
    done = run("batch", stack, "out.zarr", "--config", config, *options)
    assert done.code == code
    assert words in done.err
    assert not Path("out.zarr").exists()
    assert not Path("out.zarr.partial").exists()


def test_bad_names(stack: Path, settings: Path, run: Run) -> None:
    assert run("batch", "nowhere.zarr", "out.zarr", "--config", settings).code == 2
    assert run("batch", stack, "out.tif", "--config", settings).code == 2
    assert run("batch", stack, "nowhere/out.zarr", "--config", settings).code == 5
    assert run("batch", stack, stack, "--config", settings).code == 2


def test_other_settings_need_overwrite(stack: Path, settings: Path, run: Run) -> None:
    assert run("batch", stack, "out.zarr", "--config", settings).code == 0
    done = run("batch", stack, "out.zarr", "--config", settings, "--seed", 1)
    assert done.code == 2
    assert "settings.seed: 0 -> 1" in done.err
    assert run("batch", stack, "out.zarr", "--config", settings, "--seed", 1, "--overwrite").code == 0


def test_a_volume_of_nothing_but_bad_patterns(folder: Path, settings: Path, run: Run) -> None:
    np.save("zeros.npy", np.zeros((3, 64, 64), np.float32))
    for _ in range(2):
        done = run("batch", "zeros.npy", "out.zarr", "--config", settings)
        assert done.code == 2
        assert "none of the patterns" in done.err


def test_lines_are_not_one_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    from napari_i2ipr.batch import BatchEvent, Row

    with _batch_words.progress() as say:
        for done in range(1, 101):
            row = Row(done, "DONE")
            rate = {"frames_per_minute": 30.0, "seconds_left": 120.0, "memory_bytes": 5_000_000}
            say(BatchEvent("patterns", done, 100, 0.1234, row=row, **rate))
        say(Event("table", 100, 100))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1/100 patterns, 30 per minute, 2 min left, R-factor 0.123, 5 MB"
    assert lines[-1].startswith("100/100 patterns")
    assert len(lines) == 2


def test_only_the_first_bad_patterns_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with _batch_words.progress() as say:
        for done in range(20):
            say(Event("patterns", done, 20, None, f"pattern {done}: EMPTY, nothing"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == _batch_words.MOST_PROBLEMS
    assert "table" in lines[-1]


def test_the_report_is_json_of_plain_values(stack: Path, settings: Path, run: Run) -> None:
    text = run("batch", stack, "out.zarr", "--config", settings, "--json").out
    assert json.loads(text)["target"] == os.fspath(Path("out.zarr").absolute())

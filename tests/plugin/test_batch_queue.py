"""The queue of a batch, its words and its text, without a window."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.layers import Image

from napari_i2ipr import io
from napari_i2ipr.batch import BatchReport, Estimate
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin import batch_copying
from napari_i2ipr.plugin.batch_copying import SETTINGS, AskedBatch, as_command, as_python
from napari_i2ipr.plugin.batch_find import FindTask, sources_in
from napari_i2ipr.plugin.batch_queue import Board, ItemState, ItemStatus, LayerSource, Queue, name_of, stem_of
from napari_i2ipr.plugin.batch_words import here, overall, plan_words, report_words
from napari_i2ipr.plugin.copying import OPTIONS

RUNNING, DONE, WAITING, FAILED = ItemState.RUNNING, ItemState.DONE, ItemState.WAITING, ItemState.FAILED


# -- names -----------------------------------------------------------------------------------------------


def test_results_lie_beside_their_sources_and_never_share_a_name(tmp_path: Path) -> None:
    queue = Queue()
    sources = [str(tmp_path / name) for name in ("a.h5::/x/data", "a.tif", "b.ome.zarr", "sub/a.cxi")]
    assert len(queue.add([*sources, sources[1]])) == 4
    names = ["a_reconstruction.zarr", "a_reconstruction-2.zarr", "b_reconstruction.zarr"]
    assert queue.targets() == [*(tmp_path / name for name in names), tmp_path / "sub" / names[0]]
    queue.folder = str(tmp_path / "out")
    assert [path.name for path in queue.targets() if path] == [*names, "a_reconstruction-3.zarr"]
    assert all(path and path.parent == tmp_path / "out" for path in queue.targets())


def test_a_result_has_the_name_it_was_given(tmp_path: Path) -> None:
    queue = Queue()
    queue.add([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")])
    for given, made in [
        ("mine", tmp_path / "mine.zarr"),
        ("v1.2", tmp_path / "v1.2.zarr"),
        ("deep/x.ZARR", tmp_path / "deep" / "x.ZARR"),
        (str(tmp_path / "z"), tmp_path / "z.zarr"),
        ("  ", tmp_path / "a_reconstruction.zarr"),
    ]:
        queue.rename(0, given)
        assert queue.targets()[0] == made
    queue.rename(0, "b_reconstruction")
    assert queue.targets()[1] == tmp_path / "b_reconstruction-2.zarr"
    for nonsense in ("/", "..", "a/.."):
        with pytest.raises(InputError, match="name"):
            queue.rename(0, nonsense)


@pytest.mark.parametrize(
    ("source", "name", "stem"),
    [
        ("/x/scan 1.nxs::/entry/data", "scan 1.nxs::/entry/data", "scan_1"),
        ("/x/frames", "frames", "frames"),
        ("/x/a.b.OME.ZARR", "a.b.OME.ZARR", "a.b"),
        ("/x/.zarr", ".zarr", "patterns"),
    ],
)
def test_names(source: str, name: str, stem: str) -> None:
    assert (name_of(source), stem_of(source)) == (name, stem)


def test_what_a_folder_stands_for(tmp_path: Path) -> None:
    for name in ("b.tif", "a.h5", "note.txt", ".hidden.tif", "c.TIFF"):
        (tmp_path / name).touch()
    for name in ("v.zarr", "v_reconstruction.zarr"):
        zarr.create_array(str(tmp_path / name), shape=(2, 16, 16), dtype="float32")
    (tmp_path / "no.zarr").mkdir()
    (tmp_path / "v.zarr.partial").mkdir()
    assert [Path(one).name for one in sources_in(str(tmp_path), as_stack=False)] == [
        "a.h5",
        "b.tif",
        "c.TIFF",
        "v.zarr",
    ]
    assert sources_in(str(tmp_path), as_stack=True) == [str(tmp_path)]
    store = str(tmp_path / "v.zarr")
    assert sources_in(store, as_stack=False) == [store]
    assert sources_in("/nowhere.h5::/data", as_stack=False) == ["/nowhere.h5::/data"]
    with pytest.raises(InputError, match="no files of a known format"):
        sources_in(str(tmp_path / "no.zarr"), as_stack=False)
    found = FindTask((str(tmp_path / "no.zarr"), str(tmp_path)))()
    assert len(found.sources) == 4
    assert found.problems[0].startswith("Got the folder ")
    assert ([Path(path).name for path in found.unnamed], found.several) == (["a.h5"], {})  # which is empty


def test_a_layer_is_not_kept_alive() -> None:
    layer = Image(np.ones((2, 32, 32)), name="some")
    source = LayerSource(layer)
    assert source.is_of(layer)
    assert source.measurement().shape == (2, 32, 32)
    del layer
    gc.collect()
    with pytest.raises(InputError, match="no longer open"):
        source.measurement()


# -- words -----------------------------------------------------------------------------------------------


def test_the_board_tells_each_change_once() -> None:
    board = Board([ItemStatus()] * 3)
    board.put(1, state=RUNNING, done=2)
    board.count_bad(1)
    assert board.take() == {1: ItemStatus(RUNNING, done=2, bad=1)}
    assert board.take() == {}
    assert board[1].words == "running, 1 missing"


def test_overall_with_and_without_a_plan() -> None:
    done = ItemStatus(DONE, done=4, total=4)
    now = ItemStatus(RUNNING, done=1, total=4, per_minute=30.0, seconds_left=6.0, memory_bytes=2**31)
    found = overall([done, now, ItemStatus()], [4, 4, 12])
    assert (found.fraction, found.words) == (
        5 / 20,
        "source 2 of 3 · 5 of 20 patterns · 30 a minute · about 30 s left · 2.0 GB",
    )
    found = overall([done, now, ItemStatus()], [None] * 3)
    assert found.fraction == pytest.approx(1.25 / 3)
    assert found.words == "source 2 of 3 · 1 of 4 patterns · 30 a minute · about 6 s left for this one · 2.0 GB"
    found = overall([replace(now, memory_bytes=0)], [None])
    assert found.words == "1 of 4 patterns · 30 a minute · about 6 s left"
    broken = ItemStatus(FAILED, message="Got ...")
    assert overall([broken, now], [None, None]).fraction == pytest.approx(0.625)
    assert overall([ItemStatus(), now], [0, 4]).words.startswith("source 1 of 2 · 1 of 4 patterns")
    assert overall([], []).fraction == 0


def estimate(**changes: Any) -> Estimate:
    usual = {
        "frames": 16,
        "units": 4,
        "unit_frames": 4,
        "done": 0,
        "seconds": 32.0,
        "seconds_a_frame": 2.0,
        "memory_bytes": 2**30,
        "memory_limit": 2**32,
        "disk_bytes": 2**24,
        "disk_free": 2**35,
        "ahead": 1,
        "device": "cpu",
        "target": Path("t.zarr"),
    }
    return Estimate(**{**usual, **changes})


def test_a_plan_in_words() -> None:
    assert plan_words([estimate()]) == [
        "16 patterns from 1 source.",
        "Time: about 32 s, 2 s a pattern, on the cpu.",
        "Memory: 1.0 GB at most, 4.0 GB allowed.",
        "Disk: 16 MB at most, 32.0 GB free.",
        "Saved in 4 units of 4 patterns at most; a stop costs the one at work.",
    ]
    lines = plan_words([estimate(done=10, seconds=12.0), estimate(done=16, seconds=None), "Got nothing.", None])
    assert lines[:3] == [
        "32 patterns from 2 sources, 26 of them done already.",
        "1 source cannot be run: the table says why.",
        "Time: about 12 s, 2 s a pattern, on the cpu.",
    ]
    assert "Nothing is left to do." in plan_words([estimate(done=16, seconds=None)])
    assert "not known" in plan_words([estimate(seconds=None)])[1]
    assert plan_words(["Got nothing."]) == ["1 source cannot be run: the table says why."]


def test_reports_in_words() -> None:
    report = BatchReport(
        Path("t.zarr"), complete=True, frames=3, worked=3, statuses={"DONE": 3}, mean={"r_factor": 0.1}
    )
    assert report_words(report) == "R-factor 0.100 on the average"
    assert report_words(replace(report, worked=0, kept=3)).startswith("it was complete already")
    assert report_words(replace(report, worked=1, kept=2)).startswith("2 patterns were done before; R-factor")
    problems = ("pattern 1: EMPTY, nothing was counted",)
    bad = replace(report, statuses={"DONE": 2, "EMPTY": 1}, problems=problems)
    assert report_words(bad).endswith("; 1 without an image (pattern 1: EMPTY, nothing was counted)")
    none = replace(report, statuses={"EMPTY": 3}, problems=problems)
    assert report_words(none).startswith("none of the patterns could be reconstructed: pattern 1")
    stopped = replace(report, complete=False, worked=2, kept=1, statuses={"PENDING": 1, "DONE": 2})
    assert report_words(stopped) == "stopped: 2 of 3 patterns are kept, Run goes on from there"


def test_no_option_of_the_command_line_is_said(repository: Path) -> None:
    """Whatever the engine says of an option has words of this window."""
    said: list[str] = []
    for folder in ("batch", "prepare"):
        for file in (repository / "src" / "napari_i2ipr" / folder).glob("*.py"):
            lines = file.read_text().splitlines()
            said += [line for line in lines if "--" in line and any(word in line for word in ("do=", "notes.append"))]
    said = [line for line in said if "--cluster" not in line and "--background" not in line]
    assert len(said) > 5
    assert not [line for line in map(here, said) if "--" in line]


# -- as text ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder to write to, and quoting of a POSIX shell, whatever the system."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_copying, "QUOTE", shlex.join)


FEW = Config.from_preset(
    "fast", seed=5, object="complex", keep_candidates=True, refine={"enabled": False, "weights": "a b"}
)
PREPARE = {"amplitude": False, "center": (20.5, 24.0), "invert_mask": True, "allow_masked": True}
EVERYTHING: dict[str, Any] = {
    "device": "cpu",
    "axes": "scan,y,x",
    "mask": "/a b/m.npy",
    "support": "auto",
    "memory": "4GB",
    "prepare": PREPARE,
    "overwrite": True,
}


def test_every_option_gives_back_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options are those of the command, and mean what the form says."""
    from typer.testing import CliRunner

    from napari_i2ipr.cli import batch as command
    from napari_i2ipr.cli.app import app

    seen: list[Any] = []
    monkeypatch.setattr(command, "_run", lambda *given, **_: seen.append(given))
    asked = AskedBatch((("/a b/p.zarr", "/o/it's.zarr"), ("q.tif", "q.zarr")), FEW, EVERYTHING, strict=True)
    text, todo = as_command(asked)
    assert todo == []
    assert all(OPTIONS[path][0] in text for path in SETTINGS if path != "refine.weights")
    for line in text.splitlines():
        assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0
    sources = [(source, str(target)) for source, target, *_ in seen]
    assert sources == list(asked.works)
    _, _, settings, options = seen[0]
    assert settings == FEW.replace(refine={"weights": "default"})  # without refinement they do not count
    assert options == {**EVERYTHING, "unit": None, "scheduler": None, "strict": True}


def test_plain_command_and_settings_by_file() -> None:
    usual = {"device": "auto", "axes": None, "mask": None, "support": None, "memory": None, "overwrite": False}
    asked = AskedBatch((("p.zarr", "o.zarr"),), Config(), usual)
    assert as_command(asked) == ("i2ipr batch p.zarr o.zarr --preset balanced", [])
    more = replace(asked, config=Config(members=2), todo=("save the layer",))
    text, todo = as_command(more)
    assert text.endswith("--config settings.yaml")
    assert [one.split(":")[0] for one in todo] == ["save the layer", "save the parameters as settings.yaml"]
    assert as_command(replace(more, settings_file="s.yaml"))[0].endswith("--config s.yaml")


def test_python_runs(tmp_path: Path, make_weights: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).poisson(5, (2, 32, 32)).astype(np.float32)
    io.write(Measurement(values), tmp_path / "p.zarr")
    init = {"n_starts": 2, "short": "HIO:2", "n_keep": 1, "long": "HIO:2", "final": ""}
    config = Config(initialisation=init, refine={"enabled": False}, compute={"threads": 1})
    options = {"device": "cpu", "axes": None, "memory": "8GB", "prepare": {"amplitude": False, "center": None}}
    text, todo = as_python(AskedBatch((("p.zarr", "o.zarr"),), config, options, strict=True))
    assert todo == []
    exec(text, {})  # noqa: S102 - that it can be run is what is tested
    assert io.read_result("o.zarr").image.shape == (2, 16, 16)
    assert "'amplitude': False" in text
    assert "center" not in text

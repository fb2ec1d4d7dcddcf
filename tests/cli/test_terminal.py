"""Help, version, doctor, Ctrl-C, progress: what a person at a terminal sees."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from napari_i2ipr import io, phantoms
from napari_i2ipr.cli import _terminal
from napari_i2ipr.config import PRESETS, Config
from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.progress import Cancel, Event

Run = Callable[..., Any]

COMMANDS = ["reconstruct", "simulate", "evaluate", "info", "config", "demo", "doctor"]


def python_m(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "napari_i2ipr.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **more)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from napari_i2ipr.cli import main\n"
        "sys.argv = ['i2ipr', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    text, _, modules = done.stdout.rstrip().rpartition("\n")
    assert all(name in text for name in COMMANDS)
    heavy = {"torch", "dask", "numpy", "scipy", "matplotlib", "skimage", "pydantic", "zarr", "h5py"}
    assert not heavy & set(modules.split())


def test_as_a_module(folder: Path) -> None:
    done = python_m("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("i2ipr ")
    done = python_m("reconstruct", "nothing.cxi", "r.zarr")
    assert done.returncode == 2
    assert done.stderr.startswith("error: got ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert "Usage: i2ipr" in done.out


@pytest.mark.parametrize("preset", PRESETS)
def test_config(run: Run, preset: str) -> None:
    done = run("config", "--preset", preset)
    assert (done.code, done.err) == (0, "")
    assert yaml.safe_load(done.out)["preset"] == preset
    assert Config.from_yaml(done.out) == Config.from_preset(preset)


def test_config_without_a_preset(run: Run) -> None:
    assert run("config").out == Config().to_yaml()


def test_doctor(run: Run) -> None:
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    rows = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert {"napari-i2ipr", "Python", "torch", "CPU", "--device auto", "napari", "Qt", "weights"} <= rows.keys()
    assert re.fullmatch(r".*i2ipr-1 \(\d+\.\d MB, the default\).*", rows["weights"])


def test_verbose_shows_where_an_error_came_from(folder: Path, run: Run) -> None:
    done = run("-v", "info", "nothing.cxi")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in run("info", "nothing.cxi").err


def test_verbose_names_the_stages(pattern: Path, settings: Path, run: Run) -> None:
    done = run("-v", "reconstruct", pattern, "r.zarr", "--config", settings, "--json")
    assert done.code == 0
    assert "long run" in done.err
    assert done.json["status"] == "DONE"


def test_a_warning_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    @_terminal.guarded
    def command() -> None:
        warnings.simplefilter("always")
        for text in ("one\n  thing", "one thing", "another"):
            warnings.warn(text, UserWarning, stacklevel=1)

    command()
    assert capsys.readouterr().err == "warning: one thing\nwarning: another\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a\nb", expected="c", do="d"), 2, "error: got a b; expected c; d\n"),
        (CancelledError("a stop"), 3, "error: got a stop\n"),
        (MemoryError(), 4, "error: got too little memory; crop or bin the data\n"),
        (KeyboardInterrupt(), 3, "error: got a stop (Ctrl-C); run it again\n"),
    ],
)
def test_errors_become_exit_codes(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    import typer

    @_terminal.guarded
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as end:
        command()
    assert end.value.exit_code == code
    assert capsys.readouterr().err == line


def test_a_bug_is_not_hidden() -> None:
    @_terminal.guarded
    def command() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        command()


def test_ctrl_c_sets_the_flag_and_twice_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _terminal.stoppable() as cancel:
        assert not cancel.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert cancel.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


STAGES = {
    "short run": ('short: "HIO:10000000"', False),
    "long run": ('long: "HIO:10000000"', True),
}


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(pattern: Path, stage: str) -> None:
    """What was found is kept once the selected starts run on; before that nothing is written."""
    line, kept = STAGES[stage]
    Path("endless.yaml").write_text(
        f'initialisation: {{n_starts: 2, n_keep: 2, short: "HIO:100", {line}}}'
        if "long" in line
        else f"initialisation: {{n_starts: 2, {line}}}",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "napari_i2ipr.cli", "-v", "reconstruct", pattern, "r.zarr", "--config"]
    with subprocess.Popen(
        [*command, "endless.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as work:
        assert work.stderr is not None
        for said in work.stderr:
            if said.startswith(stage):
                break
        work.send_signal(signal.SIGINT)
        _, err = work.communicate(timeout=100)
    assert work.returncode == 3, err
    assert Path("r.zarr").exists() is kept
    assert not list(Path().glob(".*"))
    if kept:
        assert "best estimate so far is in r.zarr" in err
        assert io.read_result("r.zarr").status.name == "CANCELLED"
    else:
        assert "nothing was written" in err.splitlines()[-1]


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with _terminal.progress() as on_event:
        assert on_event is not None
        on_event(Event("short run", 1, 10))
        on_event(Event("short run", 10, 10, 0.25))
        on_event(Event("long run", 3, 10, 0.125))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "long run" in shown.err
    assert "misfit 0.1250" in shown.err


def test_progress_is_quiet_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    _terminal.be_verbose(False)
    with _terminal.progress() as on_event:
        assert on_event is None
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def default_weights(make_weights: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put small weights in the place of the shipped ones, which may find a test's picture unlike their own."""
    from napari_i2ipr.refine import weights

    def use(**card: Any) -> None:
        path = make_weights(**card)
        monkeypatch.setattr(weights, "shipped", lambda: {weights.DEFAULT: path})

    return use


def test_demo(
    folder: Path,
    run: Run,
    picture: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    default_weights: Callable[..., None],
) -> None:
    """With a small picture in the place of the large one; the README's test runs it as it is."""
    monkeypatch.setattr(phantoms, "cell", picture)
    default_weights()
    np.save("truth.npy", picture())
    for _ in range(2):
        done = run("demo", "--output", "made/here")
        assert (done.code, done.err) == (0, "")
        assert "refined them with a trained network" in done.out
        rows = dict(line.split("  ", 1) for line in done.out.splitlines() if "PSNR " in line)
        assert {"classical mean", "refined"} <= {name.strip() for name in rows}
        found = {p.name for p in Path("made/here").iterdir()}
        assert found == {"pattern.cxi", "reconstruction.zarr", "reconstruction.cxi", "figure.png"}
    scores = [
        run("evaluate", f"made/here/reconstruction{end}", "--truth", "truth.npy").out for end in (".cxi", ".zarr")
    ]
    assert scores[0] == scores[1]
    assert run("info", "made/here/pattern.cxi").code == 0


def test_demo_where_the_refinement_does_not_suit(
    folder: Path,
    run: Run,
    picture: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    default_weights: Callable[..., None],
) -> None:
    monkeypatch.setattr(phantoms, "cell", picture)
    default_weights(max_chi_ratio=1e-6)
    done = run("demo")
    assert done.code == 0
    assert [line.split(": ")[0] for line in done.err.splitlines()] == ["warning"]
    assert "the mean is the result" in done.out
    assert "What the refinement brought" not in done.out


def test_demo_is_stopped(folder: Path, run: Run, picture: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantoms, "cell", picture)

    @contextmanager
    def stopped() -> Iterator[Cancel]:
        cancel = Cancel()
        cancel.set()
        yield cancel

    monkeypatch.setattr(_terminal, "stoppable", stopped)
    done = run("demo")
    assert done.code == 3
    assert len(done.err.splitlines()) == 1
    assert {p.name for p in Path("demo-output").iterdir()} == {"pattern.cxi"}


def test_demo_into_a_file(folder: Path, run: Run) -> None:
    Path("file").touch()
    done = run("demo", "--output", "file")
    assert done.code == 5
    assert done.err.startswith("error: got ")

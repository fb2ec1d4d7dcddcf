"""Everything the README shows is run: in order, in one empty folder, by a reader who copies and pastes.

``console`` and ``python`` blocks are executed here. ``sh`` blocks make an environment and so cannot run inside one;
they are compared with what continuous integration runs and with the environments that exist.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

DEMO = "python3 -m venv .venv && .venv/bin/python -m pip install tox && .venv/bin/tox run -e demo"
TEST = "python3 -m venv .venv && .venv/bin/python -m pip install tox && .venv/bin/tox run"
STEP_SECONDS = 600


class Block(NamedTuple):
    """A fenced block: the line it starts at, its language and its text."""

    line: int
    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]


def console_commands(text: str) -> list[str]:
    """Commands of a console block: the lines after `$`, with their continuations; the rest is output."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def run(command: str | list[str], folder: Path, where: str) -> None:
    """Run one step as a shell of this environment would, and show all of its output if it fails."""
    environment = os.environ | {
        "MPLBACKEND": "Agg",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=STEP_SECONDS,
    )
    assert done.returncode == 0, f"{where}: {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(3 * STEP_SECONDS)
def test_every_step_runs(repository: Path, tmp_path: Path) -> None:
    steps = 0
    for block in blocks(repository / "README.md"):
        where = f"README.md:{block.line}"
        if block.language == "python":
            run([sys.executable, "-c", block.text], tmp_path, where)
            steps += 1
        elif block.language == "console":
            for command in console_commands(block.text):
                run(command, tmp_path, where)
                steps += 1
    assert steps


def test_languages(repository: Path) -> None:
    """A block in any other language would be shown but never run."""
    allowed = {"bibtex", "console", "python", "sh"}
    assert {block.language for block in blocks(repository / "README.md")} <= allowed


def test_the_two_commands(repository: Path) -> None:
    shown = {block.text.strip() for block in blocks(repository / "README.md") if block.language == "sh"}
    assert {DEMO, TEST.rpartition(" && ")[2]} <= shown
    assert TEST in (repository / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_environments_exist(repository: Path) -> None:
    tox = configparser.ConfigParser()
    tox.read(repository / "tox.ini", encoding="utf-8")
    sections = " ".join(tox.sections())
    text = (repository / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"tox run -e (\w+)", text):
        assert f"testenv:{name}" in sections, name

"""Everything that README and docs show is run: page by page, in order, in one empty folder, as one who copies it would.

``console`` and ``python`` blocks are executed here; the ``python`` blocks of a page share their names, as in a
notebook. ``sh`` blocks make an environment and so cannot run inside one; those of the README are compared with what
continuous integration runs and with the environments that exist. ``text`` and ``yaml`` blocks are not commands; a block
whose first line is ``# needs ...`` needs what a test has not, such as a cluster.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from napari_i2ipr.solvers import METHODS, WRAPPERS

DEMO = "python3 -m venv .venv && .venv/bin/python -m pip install tox && .venv/bin/tox run -e demo"
TEST = "python3 -m venv .venv && .venv/bin/python -m pip install tox && .venv/bin/tox run"
PAGE_SECONDS = 1200
PRELUDE = """
import subprocess as __subprocess

def __run(command):
    print("$", command, flush=True)
    __subprocess.run(command, shell=True, check=True, stdin=__subprocess.DEVNULL)

"""


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


def script_of(page: Path) -> str:
    """The page as one Python script: its ``python`` blocks as they stand, its commands between them."""
    parts = []
    for block in blocks(page):
        if block.text.startswith("# needs "):
            continue
        if block.language == "python":
            parts.append(f"print('--- line {block.line}', flush=True)\n{block.text}")
        elif block.language == "console":
            parts += [f"__run({command!r})\n" for command in console_commands(block.text)]
    return PRELUDE + "".join(parts) if parts else ""


def pages(repository: Path) -> list[Path]:
    """The README and every page of the documentation that is not the README itself."""
    return [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]


PAGES = [path.name for path in pages(Path(__file__).parents[1])]


@pytest.mark.slow
@pytest.mark.timeout(PAGE_SECONDS)
@pytest.mark.parametrize("name", [path.name for path in pages(Path(__file__).parents[1]) if script_of(path)])
def test_every_step_runs(repository: Path, tmp_path: Path, name: str) -> None:
    page = next(path for path in pages(repository) if path.name == name)
    environment = os.environ | {
        "MPLBACKEND": "Agg",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script_of(page)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", PAGES)
def test_languages(repository: Path, name: str) -> None:
    """A block in any other language would be shown but never run."""
    page = next(path for path in pages(repository) if path.name == name)
    only_shown = {"bibtex", "sh"} if name == "README.md" else {"text", "yaml"}
    runnable = [block for block in blocks(page) if not block.text.startswith("# needs ")]
    assert {block.language for block in runnable} <= {"console", "python"} | only_shown


def test_every_page_is_in_the_navigation(repository: Path) -> None:
    navigation = (repository / "mkdocs.yml").read_text(encoding="utf-8")
    for name in PAGES[1:]:
        assert f": {name}\n" in navigation, name


def test_the_reference_has_every_public_name(repository: Path) -> None:
    import napari_i2ipr

    described = re.findall(r"^::: [\w.]+\.(\w+)$", (repository / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert set(napari_i2ipr.__all__) <= set(described)


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


def test_every_method_and_wrapper_has_a_line(repository: Path) -> None:
    page = (repository / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = [re.match(r"\| `\+?([A-Za-z]+)(?:\(([^)]*)\))?` \|", row) for row in rows]
    shown = {match[1]: match[2] for match in named if match}
    assert list(shown) == [*METHODS, *WRAPPERS]
    for name, kind in (METHODS | WRAPPERS).items():
        fields = [f"{f.name}={f.default:g}" for f in dataclasses.fields(kind) if f.name != "method"]
        assert [field.strip() for field in (shown[name] or "").split(",") if field] == fields

"""Files and functions stay short, and no file is a drawer for everything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FILE_LINES = 400
FUNCTION_LINES = 60
DRAWERS = {"common", "helpers", "misc", "util", "utils"}

SOURCE = Path(__file__).resolve().parents[1] / "src" / "napari_i2ipr"
FILES = sorted(SOURCE.rglob("*.py"))


def file_id(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_there_are_files_to_check() -> None:
    assert SOURCE / "__init__.py" in FILES


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= FILE_LINES, f"{file_id(path)} has {lines} lines, more than {FILE_LINES}: split it"

    too_long = [
        f"{node.name} (line {node.lineno}, {length} lines)"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not too_long, f"functions longer than {FUNCTION_LINES} lines: {', '.join(too_long)}"


def test_no_drawers() -> None:
    found = [file_id(path) for path in SOURCE.rglob("*") if path.stem.strip("_") in DRAWERS]
    assert not found, f"give their contents a home by meaning: {found}"

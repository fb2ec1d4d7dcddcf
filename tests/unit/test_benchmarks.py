"""The benchmarks can be started; what they measure is not a matter for tests."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def _names() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("benchmarks_run", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", _names())
def test_a_benchmark_finds_all_that_it_imports(name: str) -> None:
    done = subprocess.run([sys.executable, str(RUN), name, "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout or "--limit" in done.stdout


def test_an_unknown_benchmark_is_answered_with_the_names() -> None:
    done = subprocess.run([sys.executable, str(RUN), "beauty"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected one of" in done.stderr

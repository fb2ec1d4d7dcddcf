"""Run one of the benchmarks: `python benchmarks/run.py quality|speed [options of that benchmark]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = ("quality", "speed")


def main(arguments: list[str]) -> int:
    """Hand the options on to the chosen benchmark and return its exit code."""
    name, *options = arguments or [""]
    if name not in BENCHMARKS:
        print(f"got {name or 'no benchmark'!r}; expected one of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return subprocess.run([sys.executable, str(HERE / name / "run.py"), *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

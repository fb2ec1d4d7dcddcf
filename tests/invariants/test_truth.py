"""Ground truth cannot reach the inference path: nothing on it imports what may see a truth."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import napari_i2ipr
from napari_i2ipr.data import Measurement

ROOT = Path(napari_i2ipr.__file__).parent
PACKAGE = "napari_i2ipr"
SEES_TRUTH = ("evaluate", "train", "simulation", "simulate")


def file_of(module: str) -> Path | None:
    """Source of a module of the package, None for anything else."""
    if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
        return None
    path = ROOT.joinpath(*module.split(".")[1:])
    return next((f for f in (path / "__init__.py", path.with_suffix(".py")) if f.is_file()), None)


def imported_by(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, functions and type checking included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PACKAGE):
            found.add(node.value)  # import_module("napari_i2ipr....")
    return {name for name in found if file_of(name)}


def reached_from(module: str) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None or name in reached or name == PACKAGE:
            continue
        reached.add(name)
        waiting += imported_by(path)
        waiting.append(name.rpartition(".")[0])
    return reached


def test_the_walk_sees_imports_inside_functions_and_packages() -> None:
    reached = reached_from(f"{PACKAGE}.pipeline")
    assert {f"{PACKAGE}.{name}" for name in ("config", "solvers.recipe", "physics.symmetry", "errors")} <= reached
    assert f"{PACKAGE}.evaluate.align" in reached_from(f"{PACKAGE}.evaluate")


def test_the_inference_path_imports_nothing_that_sees_a_truth() -> None:
    for module in reached_from(f"{PACKAGE}.pipeline"):
        assert module.split(".")[1] not in SEES_TRUTH, f"the inference path imports {module}"


def test_neither_the_pipeline_nor_a_measurement_has_a_place_for_a_truth() -> None:
    names = [*inspect.signature(napari_i2ipr.reconstruct).parameters, *inspect.signature(Measurement).parameters]
    assert "measurement" in names
    assert not [name for name in names if "truth" in name or "reference" in name]

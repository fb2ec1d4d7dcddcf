"""The pictures of the documentation: one script takes all of them, every widget is in them, they are small."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from npe2 import PluginManifest
from PIL import Image

MOST_BYTES = 300_000
MOST_IN_ALL = 2_500_000


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    """docs/screenshots.py, which tox runs."""
    spec = importlib.util.spec_from_file_location("screenshots", repository / "docs" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def widgets(repository: Path) -> set[str]:
    """Names of the widgets in the manifest."""
    manifest = PluginManifest.from_file(repository / "napari.yaml")
    return {widget.display_name for widget in manifest.contributions.widgets or []}


def test_every_widget_has_a_scene(repository: Path, script: ModuleType) -> None:
    assert widgets(repository)
    assert widgets(repository) <= set(script.SCENES)
    assert script.main(["no such scene"]) == 2


def test_the_pictures_are_those_of_the_script(repository: Path, script: ModuleType) -> None:
    """Those of all widgets that there are: a new widget needs its pictures, ``tox run -e screenshots``."""
    played = [script.SCENES[name] for name in (*widgets(repository), script.PREFERENCES)]
    taken = [f"{name}.png" for scene in played for name in scene.pictures]
    assert len(taken) == len(set(taken))
    assert {path.name for path in (repository / "docs" / "images").iterdir()} == set(taken)


def test_small(repository: Path, script: ModuleType) -> None:
    pictures = sorted((repository / "docs" / "images").glob("*.png"))
    sizes = {path.name: path.stat().st_size for path in pictures}
    assert max(sizes.values()) < MOST_BYTES, sizes
    assert sum(sizes.values()) < MOST_IN_ALL, sizes
    for path in pictures:
        with Image.open(path) as image:
            assert image.width <= script.WINDOW[0], path.name
            assert image.height <= script.WINDOW[1], path.name


def test_every_picture_is_used(repository: Path) -> None:
    pages = [repository / "README.md", *(repository / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    unused = [path.name for path in (repository / "docs" / "images").iterdir() if f"images/{path.name})" not in text]
    assert not unused

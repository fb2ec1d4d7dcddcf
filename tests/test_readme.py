"""What the README shows exists: its sections, its links, its pictures; so do those of the documentation.

The README is also the page of the plugin on napari's hub: its level-2 headings are the side bar there.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

HEADINGS = [
    "What it is",
    "For whom",
    "Install",
    "Quick start",
    "Formats",
    "Parameters",
    "Batch",
    "How to read the uncertainty",
    "GPU and memory",
    "Troubleshooting",
    "Limits",
    "Cite",
    "Licence",
]
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (Path(__file__).parents[1] / "docs").glob("*.md"))]


def links(page: Path) -> list[tuple[bool, str]]:
    """Links of a page outside its code: whether it is a picture, and where it leads."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [(bool(mark), target) for mark, target in LINK.findall(text)]


def test_sections(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(repository: Path, name: str) -> None:
    page = repository / name
    for _, target in links(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.is_file(), f"{name}: {target}"
        if anchor:
            found = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in found}, target


def test_pictures_of_the_readme(repository: Path) -> None:
    """The hub and the package index show only pictures with an absolute address; so once there is one, it is used."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project["urls"].get("Repository")
    pictures = [target for is_picture, target in links(repository / "README.md") if is_picture]
    assert pictures
    for target in pictures:
        assert target.startswith("https://") == (address is not None), target
        assert (repository / "docs" / target.rpartition("docs/")[2]).is_file(), target

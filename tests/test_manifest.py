"""The manifest is one file, valid, found where it is installed, and every target in it exists."""

from __future__ import annotations

from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path

import pytest
from npe2 import PluginManifest

NAME = "napari-i2ipr"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    """The manifest as napari finds it: through the installed distribution's entry point."""
    return PluginManifest.from_distribution(NAME)


def test_one_file(repository: Path) -> None:
    link = repository / "napari.yaml"
    real = repository / "src" / "napari_i2ipr" / "napari.yaml"
    assert link.is_symlink()
    assert link.samefile(real)
    assert not link.readlink().is_absolute()


def test_installed_is_the_checkout(repository: Path, manifest: PluginManifest) -> None:
    checkout = PluginManifest.from_file(repository / "napari.yaml")
    assert manifest.contributions == checkout.contributions


def test_names(manifest: PluginManifest) -> None:
    assert manifest.name == NAME
    commands = manifest.contributions.commands or []
    assert commands
    assert all(command.id.startswith(f"{NAME}.") for command in commands)


def test_targets_exist(manifest: PluginManifest) -> None:
    pytest.importorskip("napari")
    manifest.validate_imports()


def test_every_command_is_used(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    used = [
        item.command
        for kind in (contributions.readers, contributions.sample_data, contributions.widgets)
        for item in kind or []
    ]
    assert sorted(used) == sorted(command.id for command in contributions.commands or [])


def test_reader_claims_are_narrow(manifest: PluginManifest) -> None:
    patterns = {pattern for reader in manifest.contributions.readers or [] for pattern in reader.filename_patterns}
    assert patterns == {"*.cxi", "*.h5", "*.hdf5", "*.nxs", "*.edf"}


def test_distribution() -> None:
    fields = metadata(NAME)
    assert "Framework :: napari" in fields.get_all("Classifier", [])
    assert fields["License-Expression"] == "BSD-3-Clause"
    base = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in base if line.lower().startswith(("napari", "pyqt", "pyside", "superqt"))]
    assert files("napari_i2ipr").joinpath("py.typed").is_file()

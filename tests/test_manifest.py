"""The manifest is one file, valid, found where it is installed, and every target in it exists."""

from __future__ import annotations

from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path

import pytest
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

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
    for command in manifest.contributions.commands or []:
        assert command.python_name
        assert callable(import_python_name(command.python_name)), command.python_name


def test_every_command_is_used(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    kinds = (contributions.readers, contributions.writers, contributions.sample_data, contributions.widgets)
    used = {item.command for kind in (*kinds, *contributions.menus.values()) for item in kind or []}
    assert used == {command.id for command in contributions.commands or []}


def test_reader_claims_are_narrow(manifest: PluginManifest) -> None:
    """No endings of ordinary pictures, for which napari would ask its user which reader to take."""
    (reader,) = manifest.contributions.readers or []
    ours = {"*.cxi", "*.nxs", "*.edf", "*.cbf", "*.mat", "*.mrc"}
    assert set(reader.filename_patterns) == ours | {"*.h5", "*.hdf5", "*.npz"}
    assert reader.accepts_directories  # for result stores; the reader refuses every other folder


def test_claims_are_formats(manifest: PluginManifest) -> None:
    """Every ending that is claimed can be read or written."""
    from napari_i2ipr import io
    from napari_i2ipr.data import Reconstruction

    (reader,) = manifest.contributions.readers or []
    known = {suffix for row in io.READERS for suffix in row.suffixes}
    assert {pattern.removeprefix("*") for pattern in reader.filename_patterns} <= known
    for writer in manifest.contributions.writers or []:
        assert writer.layer_types == ["image+", "labels*"]
        for ending in writer.filename_extensions:
            io.check_output(f"out{ending}", Reconstruction)


def test_samples_and_widgets(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    assert [sample.key for sample in contributions.sample_data or []] == ["cell", "photo", "stack", "beamstop"]
    shown = ["Prepare diffraction data", "Reconstruct", "Inspect", "Batch", "Simulate"]
    assert [widget.display_name for widget in contributions.widgets or []] == shown


def test_menus(manifest: PluginManifest) -> None:
    """Every widget hangs in a menu of napari's, and every menu is one that napari opens to plugins."""
    menus = manifest.contributions.menus
    hung = {item.command for items in menus.values() for item in items}
    assert {widget.command for widget in manifest.contributions.widgets or []} <= hung
    pytest.importorskip("napari")
    from napari._app_model.constants._menus import is_menu_contributable

    assert all(is_menu_contributable(menu) for menu in menus)


def test_distribution() -> None:
    fields = metadata(NAME)
    assert "Framework :: napari" in fields.get_all("Classifier", [])
    assert fields["License-Expression"] == "BSD-3-Clause"
    base = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in base if line.lower().startswith(("napari", "pyqt", "pyside", "superqt"))]
    assert files("napari_i2ipr").joinpath("py.typed").is_file()

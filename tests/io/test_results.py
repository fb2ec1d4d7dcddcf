"""Reconstructions written and read again, and what other programs see in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Candidate, Geometry, Measurement, Reconstruction, Status
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs
from napari_i2ipr.shells import CURVES, Shells

RNG = np.random.default_rng(3)
NM_PIXEL = Geometry(wavelength_m=1e-10, distance_m=2.0, pixel_size_m=(5e-5, 1e-4))
ROW = Candidate(0, 3, 0.1, 0.2, float("nan"), 0.05, 0.9, True, (1.0, -2.5), 1.0, 900, "CONVERGED")


def shells(lead: tuple[int, ...]) -> Shells:
    table = RNG.random((*lead, len(CURVES), 21)).astype(np.float32)
    table[..., 3] = np.nan
    return Shells.from_table(np.arange(21) / 41, 10, table)


def result(lead: tuple[int, ...] = (), *, is_complex: bool = False, candidates: bool = True) -> Reconstruction:
    image = RNG.random((*lead, 20, 31)).astype(np.float32)
    if is_complex:
        image = (image * np.exp(1j * RNG.random(image.shape))).astype(np.complex64)
    return Reconstruction(
        image=image,
        uncertainty=RNG.random((*lead, 20, 31)).astype(np.float32),
        box=(10, 11, 20, 31),
        frame_shape=(41, 62),
        status=Status.CONVERGED,
        uncertainty_kind="calibrated",
        interval_scales={"0.5": 0.6, "0.9": 1.0 / 0.7},
        classical=image * np.float32(0.5) if candidates else None,
        scores={"r_factor": 0.1 / 3.0, "free_score": float("nan"), "items": [{"r_factor": 0.5, "n": 3}]},
        candidates=[ROW, replace(ROW, start=4, free_score=0.3)],
        candidate_images=np.stack([image, image * 2, -image], axis=len(lead)) if candidates else None,
        shells=shells(lead) if candidates else None,
        geometry=NM_PIXEL,
        axes=(*(f"scan_{i}" for i in range(len(lead))), "y", "x"),
        provenance={
            "config": {"preset": "fast"},
            "weights": {"name": "x", "sha256": "00ff"},
            "command": "i2ipr reconstruct a b",
        },
    )


def assert_same(got: Reconstruction, expected: Reconstruction) -> None:
    for name in ("image", "uncertainty", "candidate_images", "classical"):
        ours, theirs = getattr(got, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    for name in (
        "box",
        "frame_shape",
        "status",
        "uncertainty_kind",
        "interval_scales",
        "geometry",
        "axes",
        "provenance",
    ):
        assert getattr(got, name) == getattr(expected, name), name
    assert (got.shells is None) == (expected.shells is None)
    if got.shells is not None and expected.shells is not None:
        np.testing.assert_array_equal(got.shells.table(), expected.shells.table())
        np.testing.assert_array_equal(got.shells.frequency, expected.shells.frequency)
        assert got.shells.n_starts == expected.shells.n_starts
    assert repr(got.scores) == repr(expected.scores)  # NaN is not equal to itself
    assert repr(got.candidates) == repr(expected.candidates)


@pytest.mark.parametrize("suffix", [".zarr", ".cxi"])
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("lead", [(), (2,), (1,), (2, 3), (2, 1, 2, 2)], ids=str)
def test_round_trip(tmp_path: Path, suffix: str, is_complex: bool, lead: tuple[int, ...]) -> None:
    expected = result(lead, is_complex=is_complex, candidates=len(lead) != 1)
    path = io.write(expected, tmp_path / f"out{suffix}")
    assert io.is_result(path)
    assert_same(io.read_result(path), expected)
    with pytest.raises(FormatError, match="i2ipr evaluate"):
        io.read(path)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.filterwarnings("ignore::yaozarrs._validation_warning.ValidationWarning")
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 1, 2, 2)], ids=str)
def test_valid_ome_zarr(tmp_path: Path, is_complex: bool, lead: tuple[int, ...]) -> None:
    """The store and each of its images are valid OME-Zarr 0.5."""
    import yaozarrs

    path = io.write(result(lead, is_complex=is_complex), tmp_path / "out.zarr")
    yaozarrs.validate_zarr_store(str(path))
    images = [
        "reconstruction",
        "uncertainty",
        "classical",
        "candidates",
        *(["amplitude", "phase"] if is_complex else []),
    ]
    assert sorted(item.name for item in path.iterdir()) == sorted([*images, "OME", "shells", "zarr.json"])
    for name in images:
        yaozarrs.validate_zarr_store(str(path / name))
    listed = json.loads((path / "OME" / "zarr.json").read_text())["attributes"]["ome"]["series"]
    real = ["reconstruction", "uncertainty", "classical", "candidates"]
    assert listed == (["amplitude", "phase", "uncertainty"] if is_complex else real)


def test_store_layout(tmp_path: Path) -> None:
    """Arrays, units and attributes lie where the format says."""
    import zarr

    expected = result((2,))
    root = zarr.open_group(str(io.write(expected, tmp_path / "out.zarr")), mode="r")
    words = root.attrs["napari_i2ipr"]
    assert words["schema_version"] == 1
    assert words["kind"] == "reconstruction"
    assert words["scores"]["free_score"] is None
    assert words["provenance"]["weights"]["sha256"] == "00ff"
    assert words["interval_scales"] == {"0.5": 0.6, "0.9": 1.0 / 0.7}
    for name in ("reconstruction", "uncertainty", "classical"):
        array = root[f"{name}/0"]
        assert (array.dtype, array.shape, array.chunks) == (np.float32, (2, 20, 31), (1, 20, 31))
        axes = root[name].attrs["ome"]["multiscales"][0]["axes"]
        assert [axis["name"] for axis in axes] == ["scan_0", "y", "x"]
        assert [axis.get("unit") for axis in axes] == [None, "nanometer", "nanometer"]
    scale = root["reconstruction"].attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    height, width = expected.pixel_m or (0.0, 0.0)
    np.testing.assert_allclose(scale[0]["scale"], [1.0, height * 1e9, width * 1e9])
    np.testing.assert_array_equal(root["uncertainty/0"][...], expected.uncertainty)


@pytest.mark.parametrize(
    ("distance_m", "unit"), [(None, None), (0.2, "nanometer"), (200.0, "micrometer"), (5e5, "millimeter")]
)
def test_units(tmp_path: Path, distance_m: float | None, unit: str | None) -> None:
    import zarr

    known = Geometry(wavelength_m=1e-10, distance_m=distance_m, pixel_size_m=(5e-6, 5e-6))
    path = io.write(replace(result(), geometry=known), tmp_path / "out.zarr")
    scales = zarr.open_group(str(path), mode="r")["reconstruction"].attrs["ome"]["multiscales"][0]
    assert [axis.get("unit") for axis in scales["axes"]] == [unit, unit]
    if unit is None:
        assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 1.0]
    assert io.read_result(path).geometry == known


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("t", "y", "x"), "t"),
        (("y", "y", "x"), "axis_0"),
        (("candidate", "y", "x"), "axis_0"),
        (("y", "x"), "axis_0"),
        (("z", "y", "x"), "z"),
    ],
)
def test_axis_names(tmp_path: Path, axes: tuple[str, ...], expected: str) -> None:
    import yaozarrs
    import zarr

    path = io.write(replace(result((2,)), axes=axes), tmp_path / "out.zarr")
    yaozarrs.validate_zarr_store(str(path))
    stored = zarr.open_group(str(path), mode="r")["reconstruction"].attrs["ome"]["multiscales"][0]["axes"]
    assert stored[0]["name"] == expected
    assert stored[0].get("type") == ("time" if expected == "t" else None)
    assert io.read_result(path).axes == axes


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_cxi_for_other_programs(tmp_path: Path, is_complex: bool) -> None:
    import h5py

    expected = result(is_complex=is_complex)
    expected.image[2, 3] = np.nan
    with h5py.File(io.write(expected, tmp_path / "out.cxi")) as file:
        image = file["entry_1/image_1"]
        np.testing.assert_array_equal(image["data"][()], expected.image)
        np.testing.assert_array_equal(image["data_error"][()], expected.uncertainty)
        assert np.flatnonzero(image["mask"][()]).tolist() == [2 * 31 + 3]
        assert image["data_space"].asstr()[()] == "real"
        assert image["data_type"].asstr()[()] == "electron density"
        assert image["is_fft_shifted"][()] == 0
        height, width = expected.pixel_m or (0.0, 0.0)
        np.testing.assert_allclose(image["image_size"][()], [31 * width, 20 * height])
        process = image["process_1"]
        assert process["program"].asstr()[()] == "napari-i2ipr"
        assert process["command"].asstr()[()] == "i2ipr reconstruct a b"
        assert json.loads(process["configuration"].asstr()[()]) == {"preset": "fast"}
        assert process["version"].asstr()[()]
        assert (image.attrs["NX_class"], image.attrs["signal"]) == ("NXdata", "data")
        assert file["entry_1"].attrs["default"] == "image_1"
        assert file["entry_1/data_1/data"] == image["data"]


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_tiff(tmp_path: Path, is_complex: bool) -> None:
    """Pages for any image program, with the words in the description."""
    import tifffile

    expected = result(is_complex=is_complex)
    path = io.write(expected, tmp_path / "out.tif")
    pages = tifffile.imread(path)
    image = [np.abs(expected.image), np.angle(expected.image)] if is_complex else [expected.image]
    np.testing.assert_array_equal(pages, np.stack([*image, expected.uncertainty]).astype(np.float32))
    with tifffile.TiffFile(path) as tif:
        words = json.loads(tif.pages.first.description)["napari_i2ipr"]
    assert words["status"] == "CONVERGED"
    assert io.is_result(path)
    with pytest.raises(FormatError, match="i2ipr evaluate"):
        io.read(path)
    with pytest.raises(FormatError, match="zarr"):
        io.read_result(path)


def test_infinite_scores_become_nan(tmp_path: Path) -> None:
    path = io.write(replace(result(), scores={"psnr": float("inf")}), tmp_path / "out.zarr")
    assert np.isnan(io.read_result(path).scores["psnr"])
    assert "Infinity" not in (path / "zarr.json").read_text()


@pytest.mark.parametrize("suffix", [".zarr", ".cxi"])
def test_measurements_are_no_results(tmp_path: Path, suffix: str) -> None:
    path = io.write(Measurement(np.ones((16, 16))), tmp_path / f"pattern{suffix}")
    assert not io.is_result(path)
    with pytest.raises(FormatError, match="measurement"):
        io.read_result(path)


@pytest.mark.parametrize("suffix", [".zarr", ".cxi"])
def test_a_result_from_before_the_refinement(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a classical mean nor scales of intervals: None and nothing."""
    plain = _attrs.reconstruction_plain

    def before(whole: Reconstruction) -> dict[str, Any]:
        return {name: value for name, value in plain(whole).items() if name != "interval_scales"}

    monkeypatch.setattr(_attrs, "reconstruction_plain", before)
    path = io.write(replace(result(), classical=None), tmp_path / f"out{suffix}")
    found = io.read_result(path)
    assert found.classical is None
    assert found.interval_scales == {}


@pytest.mark.parametrize("suffix", [".zarr", ".cxi"])
def test_newer_layout(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_i2ipr.io._attrs.SCHEMA_VERSION", 2)
    path = io.write(result(), tmp_path / f"out{suffix}")
    monkeypatch.undo()
    with pytest.raises(FormatError, match="newer"):
        io.read_result(path)


@pytest.mark.parametrize("gone", ["reconstruction", "uncertainty", "zarr.json"])
def test_incomplete_store(tmp_path: Path, gone: str) -> None:
    path = io.write(result(), tmp_path / "out.zarr")
    (path / gone).rename(tmp_path / "gone")
    with pytest.raises(FormatError):
        io.read_result(path)


@pytest.mark.parametrize("key", ["box", "scores", "candidates", "status", "schema_version", "kind"])
def test_incomplete_words(tmp_path: Path, key: str) -> None:
    path = io.write(result(), tmp_path / "out.zarr")
    document = json.loads((path / "zarr.json").read_text())
    del document["attributes"]["napari_i2ipr"][key]
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(FormatError):
        io.read_result(path)

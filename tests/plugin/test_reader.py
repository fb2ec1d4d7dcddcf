"""The reader: refuses what is foreign at once, and reads what is ours."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_i2ipr import io
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import FormatError
from napari_i2ipr.plugin.chooser import DatasetChooser
from napari_i2ipr.plugin.display import looks_like_pattern
from napari_i2ipr.plugin.layers import measurement_of, words_of
from napari_i2ipr.plugin.reader import NOTHING, get_reader, read_layers

h5py = pytest.importorskip("h5py")

Viewer = Callable[..., Any]


@pytest.fixture
def several(tmp_path: Path, measurement: Measurement) -> str:
    """An HDF5 file that does not say which of its arrays is the pattern."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["entry/a_picture"] = np.ones((64, 64), np.float32)
        file["entry/instrument/detector/data"] = measurement.intensity
        file["entry/mask"] = np.ones((40, 48), np.uint8)
        file["entry/object"] = np.ones((32, 32), np.complex64)
    return str(path)


def answer(button: QDialogButtonBox.StandardButton, row: int | None = None) -> list[tuple[str, ...]]:
    """Answer the next dialog; the list fills with what it offers."""
    offered: list[tuple[str, ...]] = []

    def click() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, DatasetChooser):
            QTimer.singleShot(50, click)
            return
        items = [box.tree.topLevelItem(i) for i in range(box.tree.topLevelItemCount())]
        offered.extend(tuple(item.text(column) for column in range(3)) for item in items)
        if row is not None:
            box.tree.setCurrentItem(items[row])
        box.buttons.button(button).click()

    QTimer.singleShot(0, click)
    return offered


def test_foreign_files(tmp_path: Path) -> None:
    import zarr

    text = tmp_path / "notes.txt"
    text.write_text("nothing for us")
    for name in ("fake.h5", "fake.edf", "fake.mat", "fake.mrc", "fake.npz"):
        (tmp_path / name).write_text("not what it says")
    zarr.create_array(str(tmp_path / "theirs.zarr"), shape=(64, 64), dtype="u2", chunks=(64, 64))
    zarr.create_group(str(tmp_path / "group.zarr"), attributes={"napari_i2ipr": "not a header"})
    (tmp_path / "empty.zarr").mkdir()
    started = time.perf_counter()
    for path in (*tmp_path.iterdir(), tmp_path / "missing.h5", tmp_path / "missing.cxi", tmp_path):
        assert get_reader(str(path)) is None, path
    assert time.perf_counter() - started < 1


def test_lists_are_refused(tmp_path: Path) -> None:
    assert get_reader([str(tmp_path / "a.cxi"), str(tmp_path / "b.cxi")]) is None


def test_sniffing_is_light(tmp_path: Path, measurement: Measurement) -> None:
    """Whether a file is ours is told without torch, dask, Qt and napari, and within a blink."""
    path = io.write(measurement, tmp_path / "pattern.cxi")
    code = (
        "import sys, time; from napari_i2ipr.plugin.reader import get_reader; t = time.perf_counter()\n"
        "assert get_reader(sys.argv[1]) and get_reader('x.txt') is None; took = time.perf_counter() - t\n"
        "heavy = {'torch', 'dask', 'dask.array', 'napari', 'qtpy', 'zarr', 'tifffile', 'mrcfile', 'fabio'}\n"
        "print(sorted(heavy & set(sys.modules)), took < 2)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_pattern(tmp_path: Path, measurement: Measurement) -> None:
    path = str(io.write(measurement, tmp_path / "pattern.cxi"))
    for given in (path, [path]):
        (data, meta, kind), (mask, _, mask_kind) = get_reader(given)(given)
        assert (kind, mask_kind) == ("image", "labels")
        np.testing.assert_array_equal(data, measurement.intensity)
        np.testing.assert_array_equal(mask, measurement.bad_pixels)
        assert meta["name"] == "pattern"
        words = meta["metadata"]["napari_i2ipr"]
        assert words["geometry"]["distance_m"] == 1.0
        assert words["centre_px"] == (20, 24)


def test_centre_of_the_file(tmp_path: Path, measurement: Measurement) -> None:
    path = tmp_path / "nexus.nxs"
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = measurement.intensity
        for axis, value in (("x", 21.5), ("y", 18.25)):
            file[f"entry/instrument/detector/beam_center_{axis}"] = value
            file[f"entry/instrument/detector/beam_center_{axis}"].attrs["units"] = "pixel"
    meta = read_layers(str(path))[0][1]
    assert meta["metadata"]["napari_i2ipr"]["centre_px"] == (18.25, 21.5)


def test_stack_stays_in_its_file(tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    """Frames are read when the slider asks for them, and no file stays open."""
    frames = np.stack([measurement.intensity * (i + 1) for i in range(4)])
    path = io.write(replace(measurement, intensity=frames, axes=("t", "y", "x")), tmp_path / "stack.cxi")
    viewer = make_napari_viewer_proxy()
    viewer.open(path, plugin="napari-i2ipr")
    layer = viewer.layers[0]
    assert not isinstance(layer.data, np.ndarray)
    assert layer.data.shape == (4, 40, 48)
    assert layer.axis_labels == ("t", "y", "x")
    for index in (0, 3):
        viewer.dims.set_current_step(0, index)
        np.testing.assert_array_equal(layer.data[index], frames[index])
        assert layer.get_value((index, 20, 24), world=False) == frames[index, 20, 24]
    assert str(path) not in {file.path for file in psutil.Process().open_files()}
    np.testing.assert_array_equal(measurement_of(layer).frame(2).intensity, frames[2])


@pytest.mark.parametrize("name", ["pattern.cxi", "pattern.npz", "pattern.zarr"])
def test_our_patterns(tmp_path: Path, measurement: Measurement, name: str, make_napari_viewer_proxy: Viewer) -> None:
    path = io.write(measurement, tmp_path / name)
    viewer = make_napari_viewer_proxy()
    viewer.open(path, plugin="napari-i2ipr")
    assert [layer.name for layer in viewer.layers] == ["pattern", "bad pixels (pattern)"]
    np.testing.assert_array_equal(viewer.layers[0].data, measurement.intensity)
    assert words_of(viewer.layers[0])["provenance"]["source"] == str(path)
    assert viewer.layers[0].gamma == 0.2
    assert viewer.layers[0].colormap.name.startswith("log")


def test_edf_by_napari(tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    from fabio.edfimage import EdfImage

    header = {"Center_1": "20.5", "Center_2": "19"}
    EdfImage(data=measurement.intensity, header=header).write(str(tmp_path / "frame.edf"))
    viewer = make_napari_viewer_proxy()
    viewer.open(tmp_path / "frame.edf", plugin=None)  # nobody else reads it, so nobody is asked
    np.testing.assert_array_equal(viewer.layers[0].data, measurement.intensity)
    assert words_of(viewer.layers[0])["centre_px"] == (19.0, 20.5)


@pytest.mark.parametrize("ending", ["cbf", "mat"])
def test_dropped_files(tmp_path: Path, measurement: Measurement, ending: str, make_napari_viewer_proxy: Viewer) -> None:
    from fabio.cbfimage import CbfImage
    from scipy.io import savemat

    counts = np.asarray(measurement.intensity).astype(np.int32)
    path = tmp_path / f"frame.{ending}"
    if ending == "mat":
        savemat(path, {"counts": counts})
    else:
        CbfImage(data=counts).write(str(path))
    viewer = make_napari_viewer_proxy()
    viewer.open(path, plugin=None)  # nobody else reads it, so nobody is asked
    np.testing.assert_array_equal(viewer.layers[0].data, counts)
    assert words_of(viewer.layers[0])["kind"] == "pattern"


def test_mrc(tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    """A pattern is shown as one, a micrograph as the picture it is."""
    mrcfile = pytest.importorskip("mrcfile")
    rng = np.random.default_rng(1)
    pictures = {"pattern.mrc": np.stack([measurement.intensity] * 3), "picture.mrc": rng.poisson(30, (64, 64))}
    for name, data in pictures.items():
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(data.astype(np.float32))
    viewer = make_napari_viewer_proxy()
    for name in pictures:
        viewer.open(tmp_path / name, plugin=None)
    pattern, picture = viewer.layers
    assert words_of(pattern)["kind"] == "pattern"
    assert not isinstance(pattern.data, np.ndarray)
    np.testing.assert_array_equal(pattern.data[2], measurement.intensity)
    assert (words_of(picture), picture.gamma, picture.colormap.name) == ({}, 1, "gray")
    assert not {file.path for file in psutil.Process().open_files()} & {str(tmp_path / name) for name in pictures}


def test_pictures_and_patterns(measurement: Measurement) -> None:
    from skimage.data import camera, coins

    rng = np.random.default_rng(3)
    pictures = [camera(), coins(), rng.normal(0, 1, (64, 64)), rng.poisson(4, (128, 128)), np.zeros((32, 32))]
    assert not any(looks_like_pattern(picture) for picture in pictures)
    sparse = (rng.random((128, 128)) < 0.02).astype(np.float32)
    assert all(looks_like_pattern(frame) for frame in (measurement.intensity, sparse, measurement.intensity + 10))


def test_chooser(several: str, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    """The most probable dataset is marked; masks and complex arrays are not offered."""
    viewer = make_napari_viewer_proxy()
    offered = answer(QDialogButtonBox.StandardButton.Open)
    viewer.open(several, plugin="napari-i2ipr")
    assert [name for name, _, _ in offered] == ["/entry/instrument/detector/data", "/entry/a_picture"]
    assert offered[0][1:] == ("40 x 48", "float32")
    np.testing.assert_array_equal(viewer.layers[0].data, measurement.intensity)
    assert words_of(viewer.layers[0])["provenance"]["dataset"] == "/entry/instrument/detector/data"

    answer(QDialogButtonBox.StandardButton.Open, row=1)
    viewer.open(several, plugin="napari-i2ipr")
    assert viewer.layers[-1].data.shape == (64, 64)
    before = len(viewer.layers)
    answer(QDialogButtonBox.StandardButton.Cancel)
    viewer.open(several, plugin="napari-i2ipr")
    assert len(viewer.layers) == before


def test_no_window_to_ask_in(several: str) -> None:
    code = "import sys; from napari_i2ipr.plugin.reader import get_reader; get_reader(sys.argv[1])(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, several], capture_output=True, text=True, check=False)
    assert "2 arrays" in done.stderr
    assert "::/entry/instrument/detector/data" in done.stderr


def test_bad_files(tmp_path: Path, measurement: Measurement, qtbot: QtBot, make_napari_viewer_proxy: Viewer) -> None:
    """Code gets the error; a person gets one sentence in the window, and the window goes on."""
    from napari.utils.notifications import notification_manager

    path = io.write(measurement, tmp_path / "cut.cxi")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FormatError, match=r"cut\.cxi"):
        read_layers(str(path))
    viewer = make_napari_viewer_proxy()
    notification_manager.records.clear()
    opened: list[Any] = []
    QTimer.singleShot(0, lambda: opened.append(viewer.open(str(path), plugin=None)))
    qtbot.waitUntil(lambda: bool(opened), timeout=20_000)
    assert opened == [[]]
    assert not viewer.layers
    (said,) = [record.message for record in notification_manager.records]
    assert said.startswith("Got ")
    assert said.endswith(".")
    assert "cut.cxi" in said
    assert "Traceback" not in said
    notification_manager.records.clear()


def test_opened_by_napari(tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    path = io.write(measurement, tmp_path / "pattern.cxi")
    viewer = make_napari_viewer_proxy()
    viewer.open(path, plugin="napari-i2ipr")
    assert [layer.name for layer in viewer.layers] == ["pattern", "bad pixels (pattern)"]
    np.testing.assert_array_equal(viewer.layers[0].data, measurement.intensity)
    assert words_of(viewer.layers[0])["provenance"]["source"] == str(path)


def test_ordinary_pictures_are_left_to_napari(tmp_path: Path, make_napari_viewer_proxy: Viewer) -> None:
    """For .tif and .npy napari has one reader, its own, and asks nobody."""
    import tifffile
    from napari.plugins._npe2 import get_readers

    picture = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    tifffile.imwrite(tmp_path / "picture.tif", picture)
    np.save(tmp_path / "picture.npy", picture)
    viewer = make_napari_viewer_proxy()
    for name in ("picture.tif", "picture.npy"):
        assert "napari-i2ipr" not in get_readers(str(tmp_path / name))
        assert get_reader(str(tmp_path / name)) is not None  # `i2ipr napari` and the menu read them as patterns
    assert not viewer.layers


@pytest.fixture
def result(measurement: Measurement) -> Reconstruction:
    rng = np.random.default_rng(2)
    return Reconstruction(
        image=rng.random((20, 24)).astype(np.float32),
        uncertainty=rng.random((20, 24)).astype(np.float32),
        box=(10, 12, 20, 24),
        frame_shape=(40, 48),
        scores={"r_factor": 0.1},
        geometry=measurement.geometry,
        provenance={"config": {"seed": 3}},
    )


@pytest.mark.parametrize("name", ["result.cxi", "result.zarr"])
def test_result(tmp_path: Path, result: Reconstruction, name: str) -> None:
    path = str(io.write(result, tmp_path / name))
    uncertainty, image = get_reader(path)(path)
    np.testing.assert_array_equal(uncertainty[0], result.uncertainty)
    np.testing.assert_array_equal(image[0], result.image)
    assert image[1]["name"] == "reconstruction (result)"
    assert image[1]["metadata"]["napari_i2ipr"]["provenance"]["config"] == {"seed": 3}


def test_result_with_nonsense_in_its_looks(tmp_path: Path, result: Reconstruction) -> None:
    """A file may be anybody's: looks of the wrong type are left out, not passed on."""
    layers = {"reconstruction": {"name": 3, "colormap": "no such", "contrast_limits": [2.0, 1.0], "gamma": "x"}}
    odd = {"run": "one", "source": None, "layers": {**layers, "uncertainty": 5}}
    path = str(io.write(replace(result, provenance={"napari": odd}), tmp_path / "odd.zarr"))
    assert get_reader(path)(path)[-1][1]["name"] == "reconstruction (odd)"
    assert get_reader(path)(path)[-1][1]["colormap"] == "gray"


def test_nothing_is_a_word_of_napari() -> None:
    from npe2.io_utils import _is_null_layer_sentinel

    assert _is_null_layer_sentinel(NOTHING)


def test_measured(data_dir: Path, make_napari_viewer_proxy: Viewer) -> None:
    viewer = make_napari_viewer_proxy()
    for path in sorted((data_dir / "diffraction").rglob("*.edf")):
        viewer.open(path, plugin=None)
    assert viewer.layers

"""The table of formats in the documentation says what the readers and writers do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Measurement, Reconstruction

STACK = np.random.default_rng(3).integers(1, 900, (3, 20, 24)).astype(np.int32)
FRAME = STACK[0]
HEADER = (
    "# Detector: PILATUS 100K, S/N 1-0001\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Count_cutoff 1048500 counts\r\n"
    "# Wavelength 0.97 A\r\n# Detector_distance 0.3 m\r\n# Beam_xy (11.50, 9.25) pixels"
)


def rows(repository: Path) -> dict[str, dict[str, str]]:
    """The table below the heading *Formats*: cells by column, by format."""
    text = (repository / "docs" / "files.md").read_text(encoding="utf-8").partition("\n## Formats\n")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = cells
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def nexus(path: Path) -> None:
    import h5py

    number = "_1" if path.suffix == ".cxi" else ""
    instrument = f"entry{number}/instrument{number}"
    with h5py.File(path, "w") as file:
        detector = file.create_group(f"{instrument}/detector{number}")
        detector["data"] = STACK
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = 1.5, 75e-6, 75e-6
        detector["beam_center_x"], detector["beam_center_y"], detector["saturation_value"] = 11.5, 9.25, 60_000
        detector["mask" if number else "pixel_mask"] = (FRAME > 850).astype(np.uint32)
        file[f"{instrument}/source{number}/wavelength"] = 1e-10


def mat5(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"data": np.moveaxis(STACK, 0, -1)})


def mat7(path: Path) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file["data"] = STACK.swapaxes(1, 2)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, STACK, photometric="minisblack", metadata=None)


def pilatus_tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.where(FRAME > 850, -1, FRAME), description=HEADER, metadata=None)


def edf(path: Path) -> None:
    from fabio.edfimage import EdfImage

    words = {"WaveLength": "1e-10", "SampleDistance": "1.5", "PSize_1": "5e-5", "PSize_2": "5e-5"}
    image = EdfImage(data=STACK[0], header={**words, "Center_1": "11.5", "Center_2": "9.25"})
    for frame in STACK[1:]:
        image.append_frame(data=frame)
    image.write(str(path))


def cbf(path: Path) -> None:
    from fabio.cbfimage import CbfImage

    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": HEADER}
    CbfImage(data=np.where(FRAME > 850, -2, FRAME).astype(np.int32), header=header).write(str(path))


def img(path: Path) -> None:
    from fabio.dtrekimage import DtrekImage

    words = {"WAVELENGTH": "0.97", "DISTANCE": "300.0", "PIXEL_SIZE": "0.172", "CCD_IMAGE_SATURATION": "65535"}
    DtrekImage(data=FRAME.astype(np.uint16), header=words).write(str(path))


def mrc(path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile comes with the extra `all`")
    with mrcfile.new(path) as file:
        file.set_data(STACK.astype(np.int16))


def zarr(path: Path) -> None:
    from zarr import create_array

    create_array(str(path), data=STACK)


def picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(FRAME.astype(np.uint8)).save(path)


MAKERS: dict[str, dict[str, Callable[[Path], None]]] = {
    "CXI": {"a.cxi": nexus},
    "MAT": {"a.mat": mat5, "b.mat": mat7},
    "HDF5": {"a.nxs": nexus},
    "TIFF": {"a.tif": tiff, "b.tif": pilatus_tiff},
    "EDF": {"a.edf": edf},
    "CBF": {"a.cbf": cbf},
    "IMG/Fit2D": {"a.img": img},
    "MRC": {"a.mrc": mrc},
    "NPY/NPZ": {"a.npy": lambda path: np.save(path, STACK), "a.npz": lambda path: np.savez(path, counts=STACK)},
    "zarr": {"a.zarr": zarr},
    "picture": {"a.png": picture},
}


def test_every_row(repository: Path) -> None:
    table = rows(repository)
    assert list(table) == [known.name for known in io.READERS] == list(MAKERS)
    for known in io.READERS:
        assert table[known.name]["endings"].replace("`", "").split() == list(known.suffixes)
        kinds = {Measurement: "pattern", Reconstruction: "result"}
        written = [
            f"{word} ({' '.join(f'`{suffix}`' for suffix in endings)})"
            for kind, word in kinds.items()
            if (endings := [suffix for suffix in known.suffixes if suffix in io.WRITERS[kind]])
        ]
        assert table[known.name]["written"] == (", ".join(written) or "-")


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_what_is_found(repository: Path, tmp_path: Path, name: str) -> None:
    """How stacks are held, and what is known beside the counts, of files that other programs write."""
    cell = rows(repository)[name]
    held, known = set(), set()
    for file, make in MAKERS[name].items():
        make(tmp_path / file)
        got = io.read(tmp_path / file)
        if got.lead_shape:
            assert got.shape == STACK.shape
            held.add("in memory" if isinstance(got.intensity, np.ndarray) else "in the file")
        known |= found(got)
    assert {word for word in ("in the file", "in memory") if word in cell["stacks"]} == held
    words = set() if cell["known beside the counts"] == "-" else set(cell["known beside the counts"].split(", "))
    assert words == known


def found(got: Measurement) -> set[str]:
    values: dict[str, Any] = {
        "wavelength": got.geometry.wavelength_m,
        "distance": got.geometry.distance_m,
        "pixel size": got.geometry.pixel_size_m,
        "centre": got.provenance.get("center_px"),
        "saturation": got.provenance.get("saturation_value"),
        "bad pixels": got.bad_pixels,
    }
    return {name for name, value in values.items() if value is not None}


def test_where_results_are_read(repository: Path) -> None:
    """What is written as a result is read as one, pictures apart, which are for other programs."""
    for row in rows(repository).values():
        assert ("result" in row["read"]) == ("result" in row["written"] and ".tif" not in row["written"])
        assert "pattern" in row["read"]

"""TIFF, EDF, NumPy, zarr and pictures as other programs write them, and the measured data."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Geometry
from napari_i2ipr.errors import FormatError, InputError

RNG = np.random.default_rng(5)
FRAME = RNG.integers(0, 250, (20, 24)).astype(np.uint8)
STACK = RNG.integers(0, 60000, (4, 20, 24)).astype(np.uint16)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (STACK, {"photometric": "minisblack"}),
        (STACK, {"photometric": "minisblack", "compression": "zlib"}),
        (STACK, {"imagej": True}),
        (STACK, {"bigtiff": True, "photometric": "minisblack", "metadata": None}),
        (STACK, {"byteorder": ">", "photometric": "minisblack"}),
        (STACK.astype(np.int32), {"photometric": "minisblack", "tile": (16, 16)}),
        (STACK.astype(np.float32), {"ome": True, "photometric": "minisblack", "metadata": {"axes": "TYX"}}),
        (STACK[:3], {"photometric": "rgb", "planarconfig": "separate"}),
        (STACK.reshape(2, 2, 20, 24), {"photometric": "minisblack"}),
    ],
    ids=["plain", "zlib", "imagej", "big", "big-endian", "tiles", "ome", "planes", "four axes"],
)
def test_tiff_stacks(tmp_path: Path, data: np.ndarray, options: dict[str, object]) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, **options)
    got = io.read(path)
    assert not isinstance(got.intensity, np.ndarray)
    assert got.shape == data.shape
    assert np.dtype(got.intensity.dtype) == data.dtype.newbyteorder("=")
    np.testing.assert_array_equal(np.asarray(got.intensity), data)
    np.testing.assert_array_equal(got.frame(got.n_frames - 1).intensity, data.reshape(-1, 20, 24)[-1])
    assert got.axes[-2:] == ("y", "x")
    if "ome" in options:
        assert got.axes == ("t", "y", "x")


def test_tiff_pages_and_frames(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in STACK:
            writer.write(frame, contiguous=False, metadata=None)
    np.testing.assert_array_equal(np.asarray(io.read(path).intensity), STACK)
    tifffile.imwrite(tmp_path / "b.tif", STACK[:1], metadata=None)
    np.testing.assert_array_equal(io.read(tmp_path / "b.tif").intensity, STACK[0])


@pytest.mark.parametrize("imagej", [False, True])
def test_tiff_with_lost_pages(tmp_path: Path, imagej: bool) -> None:
    """A file cut between two pages would otherwise be read as a shorter stack."""
    import tifffile

    path = tmp_path / "a.tif"
    if imagej:
        tifffile.imwrite(path, STACK, imagej=True)
    else:
        with tifffile.TiffWriter(path) as writer:
            for frame in STACK:
                writer.write(frame, contiguous=False, metadata=None)
    whole = path.read_bytes()
    for keep in range(8, len(whole) - 8, 511):
        path.write_bytes(whole[:keep])
        with pytest.raises(FormatError):
            np.asarray(io.read(path).intensity)


def test_tiff_that_names_more_frames(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0])
    path.write_bytes(path.read_bytes().replace(b"[20, 24]", b"[40, 24]"))
    with pytest.raises(FormatError, match="frames it names"):
        io.read(path)


def test_tiff_pages_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\x00" + struct.pack("<IHI", 8, 0, 8))
    with pytest.raises(FormatError):
        io.read(path)


def test_colours(tmp_path: Path) -> None:
    """A pattern in colour is refused; an image is turned to grey, whichever file it is in."""
    import tifffile
    from PIL import Image

    colours = RNG.integers(0, 255, (20, 24, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(colours).convert("L"))
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", colours.astype(np.uint16), photometric="rgb")
    Image.fromarray(colours).save(tmp_path / "a.png")
    for attempt, name in ((io.read, "a.tif"), (io.read, "b.tif"), (io.read_image, "b.tif")):
        with pytest.raises(FormatError, match="colour"):
            attempt(tmp_path / name)
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(io.read_image(tmp_path / name), grey)


def test_pictures(tmp_path: Path) -> None:
    from PIL import Image

    deep = (FRAME.astype(np.uint16) << 8) + 7
    flat = Image.fromarray(FRAME)
    flat.save(tmp_path / "grey.png")
    flat.convert("P").save(tmp_path / "palette.png")
    flat.convert("LA").save(tmp_path / "alpha.png")
    Image.fromarray(FRAME > 100).save(tmp_path / "bits.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    flat.save(tmp_path / "exact.webp", lossless=True)
    for name in ("grey.png", "palette.png", "alpha.png", "exact.webp"):
        got = io.read_image(tmp_path / name)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, FRAME)
    np.testing.assert_array_equal(io.read_array(tmp_path / "bits.png") != 0, FRAME > 100)
    np.testing.assert_array_equal(io.read_image(tmp_path / "deep.png"), deep)
    assert io.read(tmp_path / "deep.png").intensity.dtype == np.uint16


def test_a_picture_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.fromarray(FRAME).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(FormatError, match="picture"):
        io.read_image(tmp_path / "a.png")


def edf(path: Path, frames: np.ndarray, header: dict[str, str] | None = None) -> Path:
    from fabio.edfimage import EdfImage

    image = EdfImage(data=frames[0], header=header)
    for frame in frames[1:]:
        image.append_frame(data=frame)
    image.write(str(path))
    return path


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, Geometry()),
        (
            {"WaveLength": "1e-10", "SampleDistance": "4.5", "PSize_1": "5e-05", "PSize_2": "6e-05"},
            Geometry(1e-10, 4.5, (6e-5, 5e-5)),
        ),
        ({"PSize_1": "55_um", "SampleDistance": "2500 mm"}, Geometry(distance_m=2.5, pixel_size_m=(55e-6, 55e-6))),
        ({"WaveLength": "unknown", "PSize_1": "", "SampleDistance": "-1"}, Geometry()),
    ],
)
def test_edf_headers(tmp_path: Path, header: dict[str, str], expected: Geometry) -> None:
    got = io.read(edf(tmp_path / "a.edf", STACK[:1], header))
    np.testing.assert_array_equal(got.intensity, STACK[0])
    assert got.geometry.distance_m == expected.distance_m
    assert got.geometry.wavelength_m == expected.wavelength_m
    assert got.geometry.pixel_size_m == (pytest.approx(expected.pixel_size_m) if expected.pixel_size_m else None)


def test_edf_frames(tmp_path: Path) -> None:
    np.testing.assert_array_equal(io.read(edf(tmp_path / "a.edf", STACK)).intensity, STACK)


def test_edf_of_a_numbered_series(tmp_path: Path) -> None:
    """A number in the name of a file does not make fabio read another one."""
    for number in (0, 1):
        edf(tmp_path / f"shot_{number:03d}.edf", STACK[number : number + 1])
    np.testing.assert_array_equal(io.read(tmp_path / "shot_001.edf").intensity, STACK[1])
    np.testing.assert_array_equal(io.read_array(tmp_path / "shot_000.edf"), STACK[0])


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(STACK.astype(">u2")))
    got = io.read(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
    assert got.intensity.dtype == np.uint16
    np.save(tmp_path / "one.npy", STACK[:1])
    np.testing.assert_array_equal(io.read(tmp_path / "one.npy").intensity, STACK[0])
    np.savez(tmp_path / "a.npz", iobs=STACK[:1], mask=FRAME, support=FRAME, note=np.array("x"))
    got = io.read(tmp_path / "a.npz")
    np.testing.assert_array_equal(got.intensity, STACK[0])
    assert (got.bad_pixels, got.support) == (None, None)
    np.testing.assert_array_equal(io.read_array(f"{tmp_path / 'a.npz'}::mask"), FRAME)
    np.savez(tmp_path / "b.npz", one=FRAME, two=STACK)
    with pytest.raises(FormatError, match=r"two \(4, 20, 24\) uint16, one \(20, 24\) uint8"):
        io.read(tmp_path / "b.npz")
    with pytest.raises(FormatError, match="one"):
        io.read(tmp_path / "b.npz", "three")


def test_images_to_simulate(tmp_path: Path) -> None:
    """Objects may be complex; words may not."""
    np.save(tmp_path / "a.npy", FRAME * 1j)
    np.testing.assert_array_equal(io.read_image(tmp_path / "a.npy"), FRAME * 1j)
    with pytest.raises(InputError, match="complex"):
        io.read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.full((20, 20), "x"))
    with pytest.raises(InputError, match="numbers"):
        io.read_image(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(FormatError):
        io.read_image(tmp_path / "c.npy")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path: Path, version: int) -> None:
    import zarr

    array = zarr.create_array(str(tmp_path / "a.zarr"), data=STACK, chunks=(2, 10, 24), zarr_format=version)
    assert array.shape == STACK.shape
    got = io.read(tmp_path / "a.zarr")
    assert not isinstance(got.intensity, np.ndarray)
    np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
    group = zarr.create_group(str(tmp_path / "g.zarr"), zarr_format=version)
    group.create_array("scan/frames", data=STACK)
    group.create_array("scan/mask", data=FRAME)
    np.testing.assert_array_equal(np.asarray(io.read(tmp_path / "g.zarr").intensity), STACK)
    np.testing.assert_array_equal(io.read_array(f"{tmp_path / 'g.zarr'}::scan/mask"), FRAME)
    np.testing.assert_array_equal(io.read_array(tmp_path / "g.zarr", "/scan/frames"), STACK)
    assert io.read(tmp_path / "g.zarr" / "scan" / "frames").shape == STACK.shape
    group.create_array("more", data=STACK)
    with pytest.raises(FormatError, match=r"more \(4, 20, 24\) uint16"):
        io.read(tmp_path / "g.zarr")
    with pytest.raises(FormatError, match="scan/frames"):
        io.read(tmp_path / "g.zarr", "none")
    with pytest.raises(FormatError, match="none"):
        io.read(tmp_path / "a.zarr", "none")


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(tmp_path: Path, version: int) -> None:
    """Of a pyramid the full resolution is read, with the names of its axes."""
    import zarr

    scales = {
        "axes": [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
        "datasets": [{"path": "full"}, {"path": "half"}],
    }
    attributes = {"multiscales": [scales]} if version == 2 else {"ome": {"version": "0.5", "multiscales": [scales]}}
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=version, attributes=attributes)
    group.create_array("full", data=STACK)
    group.create_array("half", data=STACK[:, ::2, ::2])
    got = io.read(tmp_path / "a.zarr")
    np.testing.assert_array_equal(np.asarray(got.intensity), STACK)
    assert got.axes == ("t", "y", "x")
    assert got.provenance["dataset"] == "full"
    del group["full"]
    with pytest.raises(FormatError):
        io.read(tmp_path / "a.zarr")


def test_ome_zarr_of_one_frame(tmp_path: Path) -> None:
    import zarr

    scales = {"axes": [{"name": name} for name in "tczyx"], "datasets": [{"path": "0"}]}
    group = zarr.create_group(str(tmp_path / "a.zarr"), attributes={"ome": {"multiscales": [scales]}})
    group.create_array("0", data=STACK[None, None, :1])
    np.testing.assert_array_equal(io.read(tmp_path / "a.zarr").intensity, STACK[0])


def test_too_small_and_one_dimensional(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((15, 15)))
    np.save(tmp_path / "b.npy", np.ones(1000))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(InputError) as caught:
            io.read(tmp_path / name)
        assert caught.value.exit_code == 2


def test_measured_edf(data_dir: Path) -> None:
    """The ESRF logo: a float32 frame, and its support as int8."""
    folder = data_dir / "diffraction" / "esrf_logo_id10"
    got = io.read(folder / "logo5mu_20sec.edf")
    assert (got.shape, got.intensity.dtype) == ((512, 512), np.float32)
    assert got.intensity.max() == 841233
    support = io.read_array(folder / "mask_logo5mu_20sec.edf")
    assert (support.shape, support.dtype, int(np.count_nonzero(support))) == ((512, 512), np.int8, 7577)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("hawk_ring/ring.h5", (98, 98), "float32"),
        ("nadia_partial/part_data.tiff", (2048, 2048), "uint16"),
        ("situ_optical/meas.bmp", (801, 801), "uint8"),
        ("xfel_spi_pnccd/frames_adu.npz", (9, 260, 257), "float32"),
        ("xfel_spi_pnccd/pat_mask.npy", (123, 123), "bool"),
        ("bcdi_au_34idc/dark.tif", (512, 512), "int32"),
    ],
)
def test_measured_files(data_dir: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    got = io.read(data_dir / "diffraction" / name)
    assert (got.shape, got.intensity.dtype) == (shape, np.dtype(dtype))

"""Files of detectors: CBF and TIFF of Dectris, EDF with several frames, IMG, Fit2D masks."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fabio.cbfimage import CbfImage
from fabio.dtrekimage import DtrekImage
from fabio.edfimage import EdfImage
from fabio.fit2dmaskimage import Fit2dMaskImage

from napari_i2ipr import io
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.prepare import condition

RNG = np.random.default_rng(7)
FRAME = RNG.integers(0, 90_000, (20, 24)).astype(np.int32)
STACK = RNG.integers(0, 900, (4, 20, 24)).astype(np.uint16)
HEADER = """# Detector: PILATUS 300K, S/N 3-0100
# 2026-03-01T10:20:30.400
# Pixel_size 172e-6 m x 100e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.9970000 s
# Tau = 199.1e-09 s
# Count_cutoff 126634 counts
# Threshold_setting: 4024 eV
# N_excluded_pixels = 3
# Wavelength 1.5406 A
# Energy_range (0, 0) eV
# Detector_distance 2.4 m
# Beam_xy (11.50, 9.25) pixels
""".replace("\n", "\r\n")
GEOMETRY = Geometry(1.5406e-10, 2.4, (100e-6, 172e-6))


def cbf(path: Path, frame: np.ndarray, words: str = HEADER) -> Path:
    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": words}
    CbfImage(data=frame, header=header).write(str(path))
    return path


def same_lengths(found: Geometry, expected: Geometry) -> None:
    assert found.wavelength_m == pytest.approx(expected.wavelength_m)
    assert found.distance_m == pytest.approx(expected.distance_m)
    assert found.pixel_size_m == pytest.approx(expected.pixel_size_m)


def flagged() -> np.ndarray:
    frame = FRAME.copy()
    frame[3, 4], frame[:, 10:12] = -2, -1
    return frame


def test_cbf(tmp_path: Path) -> None:
    got = io.read(cbf(tmp_path / "a.cbf", flagged()))
    np.testing.assert_array_equal(got.intensity, flagged())
    np.testing.assert_array_equal(got.bad_pixels, flagged() < 0)
    same_lengths(got.geometry, GEOMETRY)
    assert got.provenance["center_px"] == [9.25, 11.5]
    assert got.provenance["saturation_value"] == 126634
    np.testing.assert_array_equal(io.read_array(tmp_path / "a.cbf"), flagged())


def test_cbf_in_gzip(tmp_path: Path) -> None:
    cbf(tmp_path / "a.cbf", FRAME)
    packed = gzip.compress((tmp_path / "a.cbf").read_bytes())
    (tmp_path / "a.cbf.gz").write_bytes(packed)
    np.testing.assert_array_equal(io.read(tmp_path / "a.cbf.gz").intensity, FRAME)
    (tmp_path / "a.cbf.gz").write_bytes(packed[:-20])
    with pytest.raises(FormatError, match="truncated gzip"):
        io.read(tmp_path / "a.cbf.gz")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("# Wavelength 0.9 A\r\n# Wavelength 0.8 A", {"wavelength_m": 0.9e-10}),
        ("# Wavelength 0.1 nm", {"wavelength_m": 1e-10}),
        ("# Detector_distance 300 mm", {"distance_m": 0.3}),
        ("# Beam_xy (0.00, 0.00) pixels\r\n# Count_cutoff -1 counts", {}),
        ("# Pixel_size large x larger\r\n# Wavelength of light\r\n# Detector_distance", {}),
    ],
)
def test_header_words(tmp_path: Path, words: str, expected: dict[str, Any]) -> None:
    got = io.read(cbf(tmp_path / "a.cbf", FRAME, f"# Detector: EIGER\r\n{words}"))
    known = {name: value for name, value in vars(got.geometry).items() if value is not None}
    assert known == pytest.approx(expected)
    assert not {"center_px", "saturation_value"} & set(got.provenance)


def test_cbf_of_other_kinds(tmp_path: Path) -> None:
    content = cbf(tmp_path / "a.cbf", FRAME).read_bytes()
    for old, new, words in (
        (b"x-CBF_BYTE_OFFSET", b"x-CBF_CANONICAL", "compressed by x-CBF_CANONICAL"),
        (b"X-Binary-Size-Padding: 1", b"X-Binary-Size-Third-Dimension: 4", "4 frames"),
        (b"Dimension: 24", b"Dimension: 2400000", "truncated"),
        (b"X-Binary-Size-Second", b"X-Binary-Sine-Second", "no sizes"),
        (b"\x0c\x1a\x04\xd5", b"\x0c\x1a\x04\xd6", "no binary section"),
        (content[-200:-199], bytes([content[-200] ^ 1]), "checksum"),
    ):
        changed = content[:-200] + new + content[-199:] if words == "checksum" else content.replace(old, new)
        (tmp_path / "b.cbf").write_bytes(changed)
        with pytest.raises(FormatError, match=words):
            io.read(tmp_path / "b.cbf")


def test_pilatus_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", flagged(), description=HEADER, metadata=None)
    got = io.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(got.bad_pixels, flagged() < 0)
    same_lengths(got.geometry, GEOMETRY)
    assert got.provenance["center_px"] == [9.25, 11.5]
    tifffile.imwrite(tmp_path / "b.tif", flagged())
    assert io.read(tmp_path / "b.tif").bad_pixels is None


def test_counts_at_the_cutoff_are_masked(tmp_path: Path) -> None:
    """The level that the file names counts, where the type could hold more."""
    frame = RNG.poisson(50, (32, 32)).astype(np.int32)
    frame[4, 5], frame[9, 9], frame[20, 20] = 126634, 127000, 126633
    pattern, notes = condition(io.read(cbf(tmp_path / "a.cbf", frame)), amplitude=False)
    assert np.argwhere(np.asarray(pattern.bad_pixels)).tolist() == [[4, 5], [9, 9]]
    assert any("126634" in note for note in notes)
    plain, _ = condition(Measurement(frame), amplitude=False)
    assert not np.asarray(plain.bad_pixels).any()


def edf(path: Path, frames: np.ndarray) -> Path:
    image = EdfImage(data=frames[0])
    for frame in frames[1:]:
        image.append_frame(data=frame)
    image.write(str(path))
    return path


def test_edf_stacks_stay_in_the_file(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", STACK)
    stack = io.read(path).intensity
    assert not isinstance(stack, np.ndarray)
    np.testing.assert_array_equal(stack[2, 3:9], STACK[2, 3:9])
    (tmp_path / "a.edf.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(io.read(tmp_path / "a.edf.gz").intensity, STACK)


def test_edf_cut_between_or_in_frames(tmp_path: Path) -> None:
    """Fewer frames than were written are never taken for all of them; bytes behind the last one do no harm."""
    whole = edf(tmp_path / "a.edf", STACK).read_bytes()
    each = len(whole) // len(STACK)
    for keep in (len(whole) - 1, len(whole) - 500, 3 * each + 40, 3 * each + 700):
        (tmp_path / "b.edf").write_bytes(whole[:keep])
        with pytest.raises(FormatError):
            np.asarray(io.read(tmp_path / "b.edf").intensity)
    (tmp_path / "b.edf").write_bytes(whole + b"\x00" * 40)
    np.testing.assert_array_equal(io.read(tmp_path / "b.edf").intensity, STACK)


def test_edf_of_unlike_frames(tmp_path: Path) -> None:
    image = EdfImage(data=STACK[0])
    image.append_frame(data=STACK[1, :17])
    image.write(str(tmp_path / "a.edf"))
    with pytest.raises(InputError, match="different shapes"):
        io.read(tmp_path / "a.edf")


@pytest.mark.parametrize("axes", [2, 3])
def test_edf_by_hand(tmp_path: Path, axes: int) -> None:
    """A header without sizes of blocks, and one with three axes; big-endian."""
    values = STACK if axes == 3 else STACK[0]
    words = "{\nHeaderID = EH:000001:000000:000000 ;\nByteOrder = HighByteFirst ;\nDataType = UnsignedShort ;\n"
    words += "".join(f"Dim_{axis} = {n} ;\n" for axis, n in enumerate(values.shape[::-1], start=1))
    (tmp_path / "a.edf").write_bytes(words.encode().ljust(1022) + b"}\n" + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(io.read(tmp_path / "a.edf").intensity, values)


def test_edf_that_would_be_read_in_a_circle(tmp_path: Path) -> None:
    content = edf(tmp_path / "a.edf", STACK[:2]).read_bytes()
    (tmp_path / "b.edf").write_bytes(content.replace(b"Size = 960", b"Size =-999"))
    with pytest.raises(FormatError):
        io.read(tmp_path / "b.edf")


def test_img(tmp_path: Path) -> None:
    words = {"WAVELENGTH": "0.9793", "DISTANCE": "250.0", "PIXEL_SIZE": "0.1026", "CCD_IMAGE_SATURATION": "65535"}
    DtrekImage(data=STACK[0], header=words).write(str(tmp_path / "a.img"))
    got = io.read(tmp_path / "a.img")
    np.testing.assert_array_equal(got.intensity, STACK[0])
    same_lengths(got.geometry, Geometry(0.9793e-10, 0.25, (102.6e-6, 102.6e-6)))
    assert got.provenance["saturation_value"] == 65535
    DtrekImage(data=STACK[0], header={"SOURCE_WAVELENGTH": "1 1.5406"}).write(str(tmp_path / "b.img"))
    assert io.read(tmp_path / "b.img").geometry.wavelength_m == pytest.approx(1.5406e-10)


def test_fit2d_mask(tmp_path: Path) -> None:
    bad = FRAME > 80_000
    Fit2dMaskImage(data=bad.astype(np.uint8)).write(str(tmp_path / "a.msk"))
    np.testing.assert_array_equal(io.read_array(tmp_path / "a.msk"), bad)

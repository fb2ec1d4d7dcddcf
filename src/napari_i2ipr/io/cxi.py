"""CXI 1.6, the exchange format of coherent imaging: patterns in and out.

The data lie at ``/entry_1/instrument_1/detector_1/data``, linked from ``/entry_1/data_1/data``; lengths
are in metres, energies in joules; a mask holds bits of which 0x1000 alone ("has signal") is good.
What CXI has no place for (support, scale, noise level, provenance) lies in ``/entry_1/i2ipr_1``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs, _lengths, hdf5
from napari_i2ipr.io._guard import FOREIGN, writing
from napari_i2ipr.io._lazy import LazyStack, frame_index, open_stack, whole
from napari_i2ipr.io._nexus import instrument, text
from napari_i2ipr.io._ours import CXI_GROUP, refuse_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_i2ipr.io._pick import Found

CXI_VERSION = 160
HAS_SIGNAL = 0x1000
INVALID = 0x1
DETECTOR = "entry_1/instrument_1/detector_1"
IMAGE = "entry_1/image_1"
_PLACES = ("entry_1/data_1/data", f"{DETECTOR}/data", f"{IMAGE}/data")


def sniff(path: Path) -> bool:
    """Whether the file is HDF5 and named ``.cxi`` or laid out as CXI."""
    if not hdf5.has_signature(path):
        return False
    if path.suffix.lower() == ".cxi":
        return True
    try:
        import h5py

        with h5py.File(path, "r") as file:
            return "cxi_version" in file or any(place in file for place in _PLACES)
    except FOREIGN:
        return False


def read(path: Path, dataset: str | None = None) -> Measurement:
    """Read a pattern or a stack of them.

    Parameters
    ----------
    path : Path
        CXI file, also one that is not quite to the letter (scalars or arrays of one, one pixel side only).
    dataset : str, optional
        Path of the data in the file.

    Returns
    -------
    Measurement
        Intensities as stored, bad pixels of the mask bits, lengths in metres; stacks stay in the file.

    Raises
    ------
    FormatError
        If the file cannot be read or holds a reconstruction.
    """
    refuse_result(path)
    with hdf5.opened(path) as file:
        name = _locate(file, path, dataset)
        _refuse_object(file, path, name)
        group = file.get(CXI_GROUP)
        ours = group is not None and group.attrs.get("kind") == "measurement"
        intensity = hdf5.load(file, path, name, keep_single=ours)
        bad = _bad_pixels(file, path, name, tuple(intensity.shape))
        if ours:
            return _with_ours(path, group, intensity, bad)
        found = instrument(file, near=name)
    provenance = found.provenance(str(path), "cxi", name)
    return Measurement(intensity, bad_pixels=bad, geometry=found.geometry, provenance=provenance)


def datasets(path: Path) -> Found:
    """The datasets among which `read` cannot decide, the most probable first; none where it can."""
    with hdf5.opened(path) as file:
        return {} if _usual_place(file) else hdf5.undecided(file)


def read_array(path: Path, dataset: str | None = None) -> NDArray[Any] | LazyStack:
    """Read the data, or a named dataset, without any meaning."""
    with hdf5.opened(path) as file:
        return hdf5.load(file, path, _locate(file, path, dataset))


def write(measurement: Measurement, path: Path) -> None:
    """Write patterns, frame by frame.

    Parameters
    ----------
    measurement : Measurement
        What to write; lazy stacks are read one frame at a time.
    path : Path
        New file.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import h5py

    words = _attrs.measurement_plain(measurement)
    with writing(path, "CXI"), h5py.File(path, "w") as file:
        start_file(file)
        detector = _group(file, DETECTOR, "NXdetector")
        file["entry_1/instrument_1"].attrs["NX_class"] = "NXinstrument"
        data = detector.create_dataset(
            "data",
            shape=measurement.shape,
            dtype=np.dtype(measurement.intensity.dtype).newbyteorder("="),
            chunks=(1,) * len(measurement.lead_shape) + measurement.frame_shape,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for number in range(measurement.n_frames):
            data[frame_index(number, measurement.lead_shape)] = np.asarray(measurement.frame(number).intensity)
        if measurement.bad_pixels is not None:
            bits = (np.asarray(measurement.bad_pixels) != 0).astype(np.uint32) * np.uint32(INVALID)
            detector.create_dataset("mask", data=bits, compression="gzip", compression_opts=1, shuffle=True)
        _write_geometry(file, measurement)
        shown = _group(file, "entry_1/data_1", "NXdata")
        shown.attrs["signal"] = "data"
        shown.attrs["interpretation"] = "image"
        for key in ("data", "mask"):
            if key in detector:
                shown[key] = h5py.SoftLink(f"/{DETECTOR}/{key}")
        file["entry_1"].attrs["default"] = "data_1"
        extra = write_words(file, words)
        if measurement.support is not None:
            extra.create_dataset("support", data=np.asarray(measurement.support) != 0, compression="gzip")


def start_file(file: Any) -> None:
    """Version, creator and the first entry of a new CXI file."""
    file["cxi_version"] = CXI_VERSION
    file.attrs["NX_class"] = "NXroot"
    file.attrs["creator"] = _attrs.PROGRAM
    file.attrs["default"] = "entry_1"
    _group(file, "entry_1", "NXentry")


def write_words(file: Any, words: dict[str, Any]) -> Any:
    """Our own group with what CXI has no place for; returned for arrays to be added."""
    group = _group(file, CXI_GROUP, "NXcollection")
    group.attrs["kind"] = words["kind"]
    group.attrs["schema_version"] = words["schema_version"]
    group["attributes"] = json.dumps(words)
    return group


def read_words(group: Any, kind: str, path: Path) -> dict[str, Any]:
    """What `write_words` wrote.

    Raises
    ------
    FormatError
        If it is of another kind or a newer layout.
    """
    words: dict[str, Any] = json.loads(text(group["attributes"][()]))
    _attrs.check_header(words, kind, str(path))
    return words


def _group(file: Any, name: str, nx_class: str) -> Any:
    group = file.require_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _write_geometry(file: Any, measurement: Measurement) -> None:
    known = measurement.geometry
    y, x = known.pixel_size_m or (None, None)
    lengths = {"distance": known.distance_m, "y_pixel_size": y, "x_pixel_size": x}
    for name, value in lengths.items():
        if value is not None:
            file[f"{DETECTOR}/{name}"] = float(value)
            file[f"{DETECTOR}/{name}"].attrs["units"] = "m"
    if known.wavelength_m is not None:
        source = _group(file, "entry_1/instrument_1/source_1", "NXsource")
        source["wavelength"] = float(known.wavelength_m)
        source["wavelength"].attrs["units"] = "m"
        source["energy"] = _lengths.PLANCK_J_S * _lengths.LIGHT_M_S / known.wavelength_m
        source["energy"].attrs["units"] = "J"


def _locate(file: Any, path: Path, dataset: str | None) -> str:
    """Path of the data: the named ones, CXI's places, or whatever HDF5 file it is."""
    place = _usual_place(file) if dataset is None else None
    return place or hdf5.locate(file, path, dataset)


def _usual_place(file: Any) -> str | None:
    """The first of CXI's places for data at which there are some."""
    import h5py

    for place in _PLACES:
        try:
            node = file.get(place)
        except (KeyError, OSError):
            continue
        if isinstance(node, h5py.Dataset):
            return f"/{place}"
    return None


def _refuse_object(file: Any, path: Path, name: str) -> None:
    """A complex image or one in real space is a result, not a pattern."""
    image = file.get(IMAGE)
    data = file[name]
    space = ""
    if image is not None and "data" in image and "data_space" in image and image["data"] == data:
        space = text(image["data_space"][()])
    if data.dtype.kind == "c" or space == "real":
        raise FormatError(
            f"{'complex data' if data.dtype.kind == 'c' else 'an image in real space'} at {name} in {path}",
            expected="measured intensities",
            do="give the diffraction pattern, not a reconstruction",
        )


def _bad_pixels(file: Any, path: Path, name: str, shape: tuple[int, ...]) -> Any:
    """The mask beside the data or at the detector, as bad pixels; None when there is none that fits."""
    for place in (f"{name.rpartition('/')[0]}/mask", f"/{DETECTOR}/mask"):
        mask = file.get(place)
        if mask is None or not hasattr(mask, "shape") or mask.ndim < 2 or mask.dtype.kind not in "buif":
            continue
        if tuple(mask.shape[-2:]) != shape[-2:]:
            continue
        found = open_stack(path, place, mask.shape, np.dtype(bool), _mask_frames, keep_single=len(shape) > 2)
        if found.shape not in (shape, shape[-2:]) and found.size == int(np.prod(shape[-2:])):
            return np.asarray(found).reshape(shape[-2:])
        return found
    return None


def _mask_frames(path: Path, dataset: str, numbers: Sequence[int]) -> Iterator[NDArray[np.bool_]]:
    for frame in hdf5.frames(path, dataset, numbers):
        yield bad_of_bits(frame)


def bad_of_bits(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Bad pixels of CXI mask bits: any bit set but "has signal" (0x1000).

    Parameters
    ----------
    mask : ndarray
        Bits per pixel; of other types non-zero is bad.
    """
    if mask.dtype.kind in "iu" and mask.dtype.itemsize >= 2:
        mask = mask & ~np.asarray(HAS_SIGNAL, dtype=mask.dtype)
    bad: NDArray[np.bool_] = np.asarray(mask) != 0
    return bad


def _with_ours(path: Path, group: Any, intensity: Any, bad: Any) -> Measurement:
    """A measurement that this package wrote, exactly as it was."""
    words = read_words(group, "measurement", path)
    support = group.get("support")
    return Measurement(
        intensity,
        bad_pixels=bad,
        support=None if support is None else whole(path, support).astype(bool),
        geometry=_attrs.geometry_from(words["geometry"]),
        intensity_scale=float(words["intensity_scale"]),
        alpha=words["alpha"],
        axes=tuple(words["axes"]),
        provenance=_attrs.provenance_from(words["provenance"], str(path), "cxi"),
    )

"""What goes in and what comes out, in numpy: geometry, measurement, reconstruction.

Conventions (see ``docs/conventions.md``): axes ``(..., y, x)``; SI units with the unit in the
name; patterns are intensities, float32, with the zero frequency at index ``n // 2``; a non-zero
entry of ``bad_pixels`` is a pixel that was not measured.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.shells import Shells

MIN_FRAME_PX = 16
"""Smallest frame side that is accepted, in pixels."""


class Status(Enum):
    """How a reconstruction ended; the value is a sentence for the user."""

    DONE = "all iterations were done"
    CONVERGED = "the tolerance was reached"
    OUT_OF_DOMAIN = "the refined image fits these data worse than it should; they are unlike those it was trained on"
    CANCELLED = "stopped by the user; the best estimate so far is returned"
    DIVERGED = "the iteration left the finite numbers; the last finite estimate is returned"


@dataclass(frozen=True)
class Geometry:
    """Experiment geometry of a far-field pattern.

    Attributes
    ----------
    wavelength_m : float or None
        Wavelength in metres.
    distance_m : float or None
        Distance from sample to detector in metres.
    pixel_size_m : tuple of float or None
        Detector pixel ``(y, x)`` in metres.
    """

    wavelength_m: float | None = None
    distance_m: float | None = None
    pixel_size_m: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        values = [self.wavelength_m, self.distance_m, *(self.pixel_size_m or ())]
        if any(v is not None and not (np.isfinite(v) and v > 0) for v in values):
            raise InputError(
                f"the geometry {values}", expected="positive lengths in metres", do="correct it or leave it out"
            )

    def object_pixel_m(self, frame_shape: tuple[int, int]) -> tuple[float, float] | None:
        """Pixel of the reconstruction, ``wavelength * distance / (N * detector pixel)`` per axis.

        Parameters
        ----------
        frame_shape : tuple of int
            Shape ``(y, x)`` of the pattern in pixels.

        Returns
        -------
        tuple of float or None
            Pixel ``(y, x)`` in metres; None when a length is unknown.
        """
        if self.wavelength_m is None or self.distance_m is None or self.pixel_size_m is None:
            return None
        path = self.wavelength_m * self.distance_m
        ny, nx = frame_shape
        return path / (ny * self.pixel_size_m[0]), path / (nx * self.pixel_size_m[1])


@dataclass(frozen=True)
class Measurement:
    """What the detector saw: one pattern or a stack of them.

    Attributes
    ----------
    intensity : ndarray
        Intensities, shape ``(..., y, x)``, zero frequency at ``n // 2``. May be lazy (dask, h5py,
        zarr); it is read frame by frame.
    bad_pixels : ndarray of bool or None
        Non-zero = not measured; shape ``(y, x)`` or that of `intensity`.
    support : ndarray of bool or None
        Where the object may be, frame-sized ``(y, x)``, DC-centred frame, non-zero = inside.
    geometry : Geometry
        Lengths of the experiment; empty when unknown.
    intensity_scale : float
        Object units squared per stored intensity unit: ``intensity * intensity_scale`` is the
        squared modulus of the unitary DFT of the object (Parseval).
    alpha : float or None
        Noise level of the I2I-PR paper when known, for an object in its own units:
        ``counts = intensity * intensity_scale / (4 alpha^2)``. Estimated when None.
    axes : tuple of str
        Names of the axes, e.g. ``("t", "y", "x")``.
    provenance : dict
        Where the data come from and what was done to them; JSON-able.
    """

    intensity: Any
    bad_pixels: NDArray[np.bool_] | None = None
    support: NDArray[np.bool_] | None = None
    geometry: Geometry = Geometry()
    intensity_scale: float = 1.0
    alpha: float | None = None
    axes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in getattr(self.intensity, "shape", ()))
        if len(shape) < 2:
            raise InputError(
                f"an array of {len(shape)} dimension(s)",
                expected="a pattern with axes (..., y, x)",
                do="give a two-dimensional pattern or a stack of them",
            )
        if np.dtype(self.intensity.dtype).kind not in "buif":
            raise InputError(
                f"data of type {self.intensity.dtype}",
                expected="real intensities",
                do="give the measured intensities, not a complex result",
            )
        if 0 in shape:
            raise InputError(f"an empty array of shape {shape}", expected="at least one pattern", do="check the file")
        if min(shape[-2:]) < MIN_FRAME_PX:
            raise InputError(
                f"frames of {shape[-2]} x {shape[-1]} px",
                expected=f"at least {MIN_FRAME_PX} px a side",
                do="check which axes are the detector's (the last two)",
            )
        _check_shape("a mask", self.bad_pixels, (shape[-2:], shape))
        _check_shape("a support", self.support, (shape[-2:],))
        if not (np.isfinite(self.intensity_scale) and self.intensity_scale > 0):
            raise InputError(f"intensity_scale {self.intensity_scale}", expected="a positive number")
        if self.alpha is not None and not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(f"alpha {self.alpha}", expected="a number >= 0")
        if self.axes and len(self.axes) != len(shape):
            raise InputError(f"the axes {self.axes}", expected=f"a name for each of {len(shape)} axes")
        if not self.axes:
            lead = tuple(f"axis_{i}" for i in range(len(shape) - 2))
            object.__setattr__(self, "axes", (*lead, "y", "x"))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(..., y, x)`` of the intensities."""
        return tuple(int(n) for n in self.intensity.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape ``(y, x)`` of one pattern."""
        return self.shape[-2], self.shape[-1]

    @property
    def lead_shape(self) -> tuple[int, ...]:
        """Shape of the axes before the detector's; empty for a single pattern."""
        return self.shape[:-2]

    @property
    def n_frames(self) -> int:
        """Number of patterns."""
        return int(np.prod(self.lead_shape, dtype=np.int64))

    def frame(self, index: int) -> Measurement:
        """One pattern as a two-dimensional measurement, read into memory.

        Parameters
        ----------
        index : int
            Position in the flattened leading axes, 0 ... ``n_frames - 1``.
        """
        where = np.unravel_index(index, self.lead_shape) if self.lead_shape else ()
        bad = self.bad_pixels
        if bad is not None and np.ndim(bad) > 2:
            bad = np.asarray(bad[where])
        return replace(self, intensity=np.asarray(self.intensity[where]), bad_pixels=bad, axes=("y", "x"))

    def fingerprint(self) -> str:
        """Sixteen letters that tell this pattern from others, by its counts and their mask; reads all of it."""
        found = hashlib.blake2b(repr(self.shape).encode(), digest_size=8)
        bad = np.zeros(self.shape, bool) if self.bad_pixels is None else np.asarray(self.bad_pixels, bool)
        found.update(np.where(bad, np.float32(0), np.asarray(self.intensity, np.float32)).tobytes())
        found.update(np.packbits(bad).tobytes())
        return found.hexdigest()


def _check_shape(what: str, array: Any, allowed: tuple[tuple[int, ...], ...]) -> None:
    if array is not None and tuple(np.shape(array)) not in allowed:
        raise InputError(
            f"{what} of shape {tuple(np.shape(array))}",
            expected="shape " + " or ".join(str(shape) for shape in dict.fromkeys(allowed)),
            do="give it in the frame of the pattern",
        )


@dataclass(frozen=True)
class Candidate:
    """One start's outcome as reported: numbers only, the image lies in `Reconstruction.candidates`.

    Attributes
    ----------
    member, start : int
        Ensemble member and number of the start within it (fixes its random numbers).
    score : float
        What it was ranked by, lower is better.
    residual : float
        chi over valid pixels of the delivered candidate.
    free_score : float
        Residual on the held-out pixels before they were given back; NaN where none were held out.
    outside : float
        Share of the projected energy outside the support, 0 ... 1.
    twin_margin : float
        How decided its orientation is, 0 (a mixture with its twin) ... 1.
    flipped : bool
        Whether it was turned by 180 degrees to match the others.
    shift_px : tuple of float
        Shift ``(y, x)`` applied to match the others, in pixels.
    weight : float
        Weight in the aggregate; the weights of a reconstruction sum to 1.
    iterations : int
        Iterations done, short and long run.
    status : str
        `Status` name.
    """

    member: int
    start: int
    score: float
    residual: float
    free_score: float
    outside: float
    twin_margin: float
    flipped: bool
    shift_px: tuple[float, float]
    weight: float
    iterations: int
    status: str


@dataclass(frozen=True)
class Reconstruction:
    """Image, uncertainty, status, scores and provenance of one pattern or a stack.

    Attributes
    ----------
    image : ndarray
        Reconstructed object, ``(..., h, w)``, float32 or complex64, in the object's own units; the
        bounding box of the support.
    uncertainty : ndarray
        Standard deviation per pixel, same shape, real, same units.
    uncertainty_kind : str
        ``"spread of candidates"``, ``"calibrated"``, ``"raw"`` (refined with weights that hold no
        calibration), or ``"mixed"`` for stacks whose frames differ in it (``scores["items"]`` tells).
    interval_scales : dict
        Half width of calibrated intervals in standard deviations by level, see `interval`.
    classical : ndarray or None
        The classical mean, shape of `image`, when `image` is refined or could have been.
    box : tuple of int
        ``(y0, x0, h, w)``: where `image` lies in the DC-centred frame.
    frame_shape : tuple of int
        Shape ``(y, x)`` of the pattern.
    status : Status
        How it ended (the worst of the frames).
    scores : dict
        Numbers by name; for a stack also ``"items"``, a list of such dicts in frame order.
    candidates : list of Candidate
        One row per kept candidate, frame after frame.
    candidate_images : ndarray or None
        ``(..., K, h, w)``, aligned, when asked for.
    shells : Shells or None
        What independent starts and the image are worth at each spatial frequency.
    geometry : Geometry
        Passed on from the measurement.
    axes : tuple of str
        Names of the axes of `image`.
    provenance : dict
        Config, seeds, versions, device, input and timings; JSON-able.
    """

    image: NDArray[Any]
    uncertainty: NDArray[np.float32]
    box: tuple[int, int, int, int]
    frame_shape: tuple[int, int]
    status: Status = Status.DONE
    uncertainty_kind: str = "spread of candidates"
    interval_scales: dict[str, float] = field(default_factory=dict)
    classical: NDArray[Any] | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    candidate_images: NDArray[Any] | None = None
    shells: Shells | None = None
    geometry: Geometry = Geometry()
    axes: tuple[str, ...] = ("y", "x")
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def pixel_m(self) -> tuple[float, float] | None:
        """Pixel ``(y, x)`` of the image in metres, None when the geometry is unknown."""
        return self.geometry.object_pixel_m(self.frame_shape)

    def interval(self, level: float = 0.9) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lower and upper bound, each of the shape of `image`, that hold the truth in a share `level` of the pixels.

        The share is an average over pixels and images of the kind that was calibrated on; which way up
        the image is lies outside it.

        Parameters
        ----------
        level : float
            A level of `interval_scales`: 0.5, 0.68, 0.8, 0.9 or 0.95 with the shipped weights.

        Raises
        ------
        InputError
            If the uncertainty is not calibrated, or not at this level.
        """
        scale = self.interval_scales.get(f"{level:g}")
        if scale is None:
            raise InputError(
                f"the level {level:g} of an uncertainty of kind {self.uncertainty_kind!r}",
                expected="one of " + (", ".join(self.interval_scales) or "none, it is not calibrated"),
                do="refine with weights that hold a calibration",
            )
        half = scale * self.uncertainty
        return self.image - half, self.image + half


def data_range(image: NDArray[Any]) -> float:
    """Range of an image for noise levels and PSNR: 255 for 8-bit data, otherwise max - min.

    Parameters
    ----------
    image : ndarray
        Image of any shape; for complex images the modulus counts.
    """
    if image.dtype == np.uint8:
        return 255.0
    values = np.abs(image) if np.iscomplexobj(image) else image
    return float(np.max(values)) - float(np.min(values))

"""Wirtinger flow and its spectral initialiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import UNKNOWN, Method, Span, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass
class _Descent:
    steps: int
    known: Tensor
    intensity: Tensor
    brightest: Tensor


@dataclass(frozen=True)
class WF(Method):
    """Wirtinger flow (Candes, Li & Soltanolkotabi, IEEE Trans. Inf. Theory 61, 1985 (2015)) within the support.

    ``g <- P_S (g - mu_t F^-1[(|G|^2 - I) G] / I_max)``, gradient descent on the squared misfit of intensities, with the
    paper's steps ``mu_t = min(1 - exp(-t / tau0), mu_max)``; t counts the steps of the stage. The paper divides by the
    mean intensity, which its random vectors never exceed by much. The brightest frequency of a diffraction pattern
    does, thousandfold, and the descent explodes; so the brightest one, ``I_max``, takes the mean's place here.

    For patterns of random or coded illumination, and as the reference that the literature compares with. Not for
    ordinary diffraction patterns: weak frequencies, which hold the detail, move by a share ``I / I_max`` of what they
    should, and from random phases it stays in the first local minimum.

    Attributes
    ----------
    mu_max : float
        Largest step, 0 < mu_max <= 1; below 1 the brightest frequency is stable.
    tau0 : float
        Steps after which the step size has grown to 63 %, > 0.
    """

    mu_max: float = 0.4
    tau0: float = 330.0

    def __post_init__(self) -> None:
        require("mu_max", self.mu_max, 0, 1, above=True)
        require("tau0", self.tau0, 0, above=True)

    @property
    def is_image(self) -> bool:
        """Yes: the iterate lies in the support."""
        return True

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> _Descent:
        """The measured intensities, and how many steps were done before."""
        known = (constraints.free < 1).to(constraints.free.dtype)
        intensity = constraints.amplitude.square() * known
        return _Descent(span.first, known, intensity, intensity.amax((-2, -1), keepdim=True))

    def step(self, g: Tensor, constraints: Constraints, memory: _Descent) -> Tensor:
        """One update of `g` in place; returns the old `g`."""
        old = g.clone()
        memory.steps += 1
        mu = min(1 - math.exp(-memory.steps / self.tau0), self.mu_max)
        spectrum = constraints.pair.forward(g)
        misfit = constraints.intensity(spectrum).sub_(memory.intensity).mul_(memory.known).div_(memory.brightest)
        g.sub_(constraints.pair.inverse(spectrum.mul_(constraints.spread(misfit))), alpha=mu)
        g.copy_(constraints.object(g))
        return old


@dataclass(frozen=True)
class Spectral(Method):
    """Spectral initialiser (Candes, Li & Soltanolkotabi 2015, Algorithm 1): power iterations of ``A^H diag(I) A``.

    ``g <- lambda v / ||v||`` with ``v = 1_S F^-1[I F g]``, 1_S the support and ``lambda^2 = sum I``, the object's
    energy: towards the leading eigenvector of the matrix within the support, from whatever `g` the stage begins
    with. Pixels that were not measured count as dark. The paper takes 50 iterations: ``SPECTRAL:50 WF:500``.

    With random measurement vectors that eigenvector lies near the object. With one Fourier pattern it does not: the
    matrix is the convolution with the object's autocorrelation, and its leading eigenvector is a smooth blob: those of
    five unlike objects of 128 px correlate by 0.995 or more with each other, and hardly with the objects. It is there
    for comparison. All starts end in the same blob, so that a multi-start has no use for it.
    """

    @property
    def settles(self) -> bool:
        """No: an object is no eigenvector of its own matrix."""
        return False

    @property
    def is_image(self) -> bool:
        """Yes: the iterate lies in the support."""
        return True

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns the old `g`."""
        from napari_i2ipr.physics.projections import inner, total

        old = g.clone()
        intensity = constraints.amplitude.square()
        spectrum = constraints.pair.forward(g).mul_(intensity * (constraints.free < 1))
        v = constraints.pair.inverse(spectrum)
        part = v[..., constraints.box[0], constraints.box[1]]
        part = part if constraints.inside is None else part * constraints.inside
        if not part.is_complex():
            part = part * (1 - 2 * (total(part) < 0).to(part.dtype))[..., None, None]
        energy = total(intensity * constraints.known())
        length = (energy / inner(part, part).clamp(min=1e-30)).sqrt()
        g.copy_(constraints.embed(part * length[..., None, None]))
        return old

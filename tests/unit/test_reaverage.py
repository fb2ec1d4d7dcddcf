"""Averaging again from kept candidates, without a solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import reaverage
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement, Reconstruction
from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.evaluate.quality import assess, single
from napari_i2ipr.io import read_result, write
from napari_i2ipr.phantoms import cell
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.progress import Cancel
from napari_i2ipr.reaverage import FOUND_SUPPORT, KEY, NOT_REFINED, average_again
from napari_i2ipr.simulation import simulate

QUICK = {"n_starts": 5, "short": "HIO:5", "n_keep": 4, "long": "HIO:30 ER:5", "final": "HIO:5 ER:5"}
LAX = {"min_twin_margin": 0.0, "max_outside": 1.0, "max_residual_ratio": 1000.0}
"""All candidates are averaged: of two alone, the one nearer to their mean is a matter of rounding."""


@pytest.fixture(scope="module")
def pattern() -> Measurement:
    """A noisy pattern, its pixels not square."""
    made = simulate(cell(32, 1), photons=1e6, seed=1)
    return replace(made, geometry=Geometry(1e-10, 1.0, (50e-6, 100e-6)))


@pytest.fixture(scope="module")
def config(make_weights: Callable[..., Path]) -> Config:
    """Four candidates of each of two sets, refined with small weights that suit everything."""
    refine = {"weights": str(make_weights()), "views": 1}
    return Config.from_preset(
        "fast", members=2, initialisation=QUICK, refine=refine, aggregation=LAX, keep_candidates=True
    )


@pytest.fixture(scope="module")
def result(pattern: Measurement, config: Config) -> Reconstruction:
    """The result of a run."""
    return reconstruct(pattern, config, device="cpu")


def averaged(result: Reconstruction) -> list[int]:
    return [k for k, row in enumerate(result.candidates) if row.weight > 0]


def close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4 * float(np.abs(other).max()))


def test_same_candidates_same_result(result: Reconstruction, pattern: Measurement) -> None:
    """The run's own choice gives the run's own result: problem, support, weights and refinement are the same."""
    again = average_again(result, {0: averaged(result)}, [pattern])
    for name in ("image", "uncertainty", "classical"):
        close(getattr(again, name), getattr(result, name))
    for name in ("r_factor", "chi", "r_factor_classical", "r_factor_best", "outside", "reproducibility"):
        assert again.scores[name] == pytest.approx(result.scores[name], rel=1e-3)
    assert again.scores["refined"]
    assert (again.uncertainty_kind, again.status) == (result.uncertainty_kind, result.status)
    assert again.shells is not None
    assert result.shells is not None
    close(again.shells.misfit[1:], result.shells.misfit[1:])
    assert [row.weight for row in again.candidates] == pytest.approx([row.weight for row in result.candidates])


def test_fewer(result: Reconstruction, pattern: Measurement) -> None:
    before = np.array(result.image)
    again = average_again(result, {0: [0, 2, 5]}, [pattern])
    assert again.candidate_images is not None
    close(again.classical, again.candidate_images[[0, 2, 5]].mean(0))
    assert averaged(again) == [0, 2, 5]
    assert sum(row.weight for row in again.candidates) == pytest.approx(1)
    assert not np.allclose(again.image, before)
    np.testing.assert_array_equal(result.image, before)
    assert again.provenance[KEY] == [{"item": 0, "kept": [0, 2, 5], "dropped": [1, 3, 4, 6, 7], "refined": True}]
    assert any("averaged again from 3 of 8" in note for note in again.provenance["notes"])
    # what is known of independent starts is no better for leaving some out by hand
    assert again.scores["reproducibility"] == result.scores["reproducibility"]
    np.testing.assert_array_equal(again.shells.prtf, result.shells.prtf)  # type: ignore[union-attr]


def test_saved_and_averaged_once_more(result: Reconstruction, pattern: Measurement, tmp_path: Path) -> None:
    write(average_again(result, {0: [0, 2, 5]}, [pattern]), str(tmp_path / "again.cxi"))
    opened = read_result(str(tmp_path / "again.cxi"))
    assert averaged(opened) == [0, 2, 5]
    back = average_again(opened, {0: averaged(result)}, [pattern])
    close(back.image, result.image)
    assert [one["kept"] for one in back.provenance[KEY]] == [[0, 2, 5], averaged(result)]


def test_without_the_pattern(result: Reconstruction, pattern: Measurement) -> None:
    other = replace(pattern, intensity=np.asarray(pattern.intensity)[::-1])
    again = average_again(result, {0: [0, 1, 2]}, [other])
    images = np.asarray(result.candidate_images)[:3]
    close(again.image, images.mean(0))
    close(again.uncertainty, images.std(0))
    assert again.uncertainty_kind == "spread of candidates"
    assert again.interval_scales == {}
    assert not again.scores["refined"]
    assert "r_factor" not in again.scores
    assert NOT_REFINED in again.provenance["notes"]
    assert np.isnan(again.shells.misfit).all()  # type: ignore[union-attr]
    assert "R-factor" not in assess(again).verdict.summary


def test_drawn_support(config: Config, pattern: Measurement) -> None:
    inside = np.zeros(pattern.frame_shape, bool)
    inside[18:44, 20:46] = True
    drawn = reconstruct(replace(pattern, support=inside), config.replace(members=1), device="cpu")
    again = average_again(drawn, {0: averaged(drawn)}, [pattern])  # which does not know of the support
    close(again.image, drawn.image)
    assert FOUND_SUPPORT in again.provenance["notes"]
    own = average_again(drawn, {0: averaged(drawn)}, [replace(pattern, support=inside)])
    close(own.image, drawn.image)
    assert FOUND_SUPPORT not in own.provenance["notes"]
    assert again.scores["r_factor"] == pytest.approx(drawn.scores["r_factor"], rel=1e-3)


def test_stack_changes_one_pattern(config: Config, pattern: Measurement) -> None:
    frames = np.stack([pattern.intensity, np.asarray(pattern.intensity)[::-1]])
    stack = replace(pattern, intensity=frames, bad_pixels=None, axes=("t", "y", "x"))
    result = reconstruct(stack, config.replace(members=1, refine={"enabled": False}), device="cpu")
    again = average_again(result, {1: [0, 1]}, [stack])
    np.testing.assert_array_equal(again.image[0], result.image[0])
    close(again.image[1], np.asarray(result.candidate_images)[1, :2].mean(0))
    assert averaged(single(again, 1)) == [0, 1]
    assert single(again, 0).candidates == single(result, 0).candidates
    assert again.scores["items"][0] == result.scores["items"][0]
    both = [one["r_factor"] for one in again.scores["items"]]
    assert again.scores["r_factor"] == pytest.approx(np.mean(both))


def test_complex(pattern: Measurement, config: Config) -> None:
    result = reconstruct(pattern, config.replace(object="complex", members=1), device="cpu")
    again = average_again(result, {0: [0, 1, 2]}, [pattern])
    images = np.asarray(result.candidate_images)[:3]
    close(again.image, images.mean(0))
    close(again.uncertainty, np.sqrt((np.abs(images - images.mean(0)) ** 2).mean(0)))
    assert NOT_REFINED not in again.provenance["notes"]


@pytest.mark.parametrize(("keep", "word"), [([0], "at least 2"), ([0, 8], "0 to 7"), ([-1, 0], "0 to 7")])
def test_bad_choice(result: Reconstruction, keep: list[int], word: str) -> None:
    with pytest.raises(InputError, match=word):
        average_again(result, {0: keep})


def test_refusals(result: Reconstruction) -> None:
    with pytest.raises(InputError, match="images of its candidates"):
        average_again(replace(result, candidate_images=None), {0: [0, 1]})
    stop = Cancel()
    stop.set()
    with pytest.raises(CancelledError):
        average_again(result, {0: [0, 1]}, cancel=stop)


def test_consistency_weights(result: Reconstruction) -> None:
    words = result.provenance["config"]
    weighted = replace(
        result, provenance=result.provenance | {"config": words | {"aggregation": {"weights": "consistency"}}}
    )
    rows = average_again(weighted, {0: [0, 1]}).candidates
    expected = (result.candidates[1].residual / result.candidates[0].residual) ** 2
    assert rows[0].weight / rows[1].weight == pytest.approx(expected)
    assert reaverage.LEAST == 2

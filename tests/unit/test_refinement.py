"""The learned stage: when it refines and when it does not, what it then delivers, and that data decide."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement, Reconstruction, Status
from napari_i2ipr.errors import DataWarning, InputError
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.prepare import PREPARED, condition
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.refine.uncertainty import Calibration
from napari_i2ipr.refine.weights import Checked
from napari_i2ipr.refinement import Outcome, misfit_ratio, noise_chi, refined, run, well_measured_chi

MakeWeights = Callable[..., Path]

CLASSICAL = Config.from_dict(
    {
        "initialisation": {"n_starts": 4, "n_keep": 3, "short": "HIO:20", "long": "HIO:60 ER:20", "final": ""},
        "compute": {"threads": 1},
        "refine": {"enabled": False},
    }
)
TINY_LIMIT = 1e-6
"""No image fits that much better than the classical mean."""

DOUBLED = Calibration(raw=(1e-9, 1e3), expected=(4e-9, 4e3), scales={"0.5": 0.7, "0.9": 2.0}, images=20)
"""Says that errors are twice as large as the raw variance has it."""


def refining(weights: Path, **changes: Any) -> Config:
    return CLASSICAL.replace(refine={"enabled": True, "weights": str(weights), "steps": 0, "views": 2, **changes})


def measured(seeds: tuple[int, ...] = (0,), factor: float = 1.0, frame: tuple[int, int] = (33, 40)) -> Measurement:
    """Noisy patterns of which nothing needs to be guessed or mended."""
    ny, nx = frame
    patterns = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = np.zeros(frame)
        x[ny // 4 : ny // 4 + ny // 2, nx // 4 : nx // 4 + nx // 2] = rng.uniform(size=(ny // 2, nx // 2))
        clean = np.abs(np.fft.fftshift(np.fft.fft2(x, norm="ortho"))) ** 2
        noisy = clean + 0.1 * np.sqrt(clean) * rng.normal(size=frame)
        patterns.append(np.float32(factor) * np.clip(noisy, 0, None).astype(np.float32))
    known = condition(Measurement(patterns[0]), amplitude=False, fft_order=False)[0].provenance[PREPARED]
    stack = np.stack(patterns) if len(seeds) > 1 else patterns[0]
    return Measurement(stack, provenance={PREPARED: known})


def assert_classical(found: Reconstruction) -> None:
    assert found.uncertainty_kind == "spread of candidates"
    assert found.interval_scales == {}
    assert found.scores["refined"] is False
    assert found.scores["r_factor"] == found.scores["r_factor_classical"]
    with pytest.raises(InputError, match="not calibrated"):
        found.interval()


def test_off(make_weights: MakeWeights) -> None:
    found = reconstruct(measured(), CLASSICAL, device="cpu")
    assert_classical(found)
    assert found.classical is None
    assert found.provenance["weights"] is None
    assert "refine_skipped" not in found.scores


def test_complex_objects_are_skipped(make_weights: MakeWeights) -> None:
    config = refining(make_weights()).replace(object="complex")
    found = reconstruct(measured(), config, device="cpu")
    assert_classical(found)
    assert found.scores["refine_skipped"] == "complex object"
    assert found.classical is None
    assert found.provenance["weights"] is None
    assert np.iscomplexobj(found.image)


def test_refined_with_weights_without_calibration(make_weights: MakeWeights) -> None:
    classical = reconstruct(measured(), CLASSICAL, device="cpu")
    events: list[Event] = []
    config = refining(make_weights()).replace(members=2)
    found = reconstruct(measured(), config, device="cpu", on_event=events.append)
    assert found.status is Status.DONE
    assert found.scores["refined"] is True
    assert found.scores["refine_seconds"] > 0
    assert found.scores["chi_ratio"] > 0
    assert found.scores["chi_ratio_limit"] is None
    assert found.scores["r_factor"] != found.scores["r_factor_classical"]
    assert found.uncertainty_kind == "raw"
    assert (found.image >= 0).all()
    assert (found.uncertainty > 0).all()
    assert found.image.shape == found.uncertainty.shape == found.classical.shape
    assert found.image.dtype == found.uncertainty.dtype == found.classical.dtype == np.float32
    assert not np.array_equal(found.image, found.classical)
    assert found.provenance["weights"]["name"] == "tiny"
    assert len(found.provenance["weights"]["sha256"]) == 64
    told = [event for event in events if event.stage == "refine"]
    assert [event.done for event in told] == list(range(1, 9)), "2 sets x 2 views x 2 steps"
    assert {event.total for event in told} == {8}
    alone = reconstruct(measured(), refining(make_weights()), device="cpu")
    assert np.array_equal(alone.classical, classical.image)


def test_calibrated_intervals(make_weights: MakeWeights) -> None:
    raw = reconstruct(measured(), refining(make_weights()), device="cpu")
    found = reconstruct(measured(), refining(make_weights(calibration=DOUBLED)), device="cpu")
    assert found.uncertainty_kind == "calibrated"
    assert found.interval_scales == DOUBLED.scales
    assert np.array_equal(found.image, raw.image)
    np.testing.assert_allclose(found.uncertainty, 2 * raw.uncertainty, rtol=1e-4)
    low, high = found.interval(0.9)
    np.testing.assert_allclose(low, found.image - 2 * found.uncertainty)
    np.testing.assert_allclose(high, found.image + 2 * found.uncertainty)
    narrow_low, narrow_high = found.interval(0.5)
    np.testing.assert_allclose(narrow_high - narrow_low, 1.4 * found.uncertainty, rtol=1e-4)
    with pytest.raises(InputError, match=r"0\.5, 0\.9"):
        found.interval(0.95)
    with pytest.raises(InputError, match=r"'raw'.*not calibrated"):
        raw.interval()


def test_data_unlike_the_trained_ones_fall_back(make_weights: MakeWeights) -> None:
    weights = make_weights(max_chi_ratio=TINY_LIMIT, calibration=DOUBLED)
    with pytest.warns(DataWarning, match="the classical mean is returned"):
        found = reconstruct(measured(), refining(weights), device="cpu")
    assert_classical(found)
    assert found.status is Status.OUT_OF_DOMAIN
    assert np.array_equal(found.image, found.classical)
    assert found.scores["chi_ratio"] > found.scores["chi_ratio_limit"] == TINY_LIMIT
    assert found.scores["refine_seconds"] > 0
    assert any("the classical mean is returned" in note for note in found.provenance["notes"])
    assert np.array_equal(found.uncertainty, reconstruct(measured(), CLASSICAL, device="cpu").uncertainty)


def test_never_fall_back(make_weights: MakeWeights) -> None:
    weights = make_weights(max_chi_ratio=TINY_LIMIT, calibration=DOUBLED)
    with pytest.warns(DataWarning, match="do not rely on it"):
        found = reconstruct(measured(), refining(weights, fallback="never"), device="cpu")
    usual = reconstruct(measured(), refining(make_weights(calibration=DOUBLED)), device="cpu")
    assert found.status is Status.OUT_OF_DOMAIN
    assert found.scores["refined"] is True
    assert found.uncertainty_kind == "calibrated"
    assert np.array_equal(found.image, usual.image)
    assert np.array_equal(found.uncertainty, usual.uncertainty)


def test_a_generous_limit_changes_nothing(make_weights: MakeWeights) -> None:
    found = reconstruct(measured(), refining(make_weights(max_chi_ratio=1e6)), device="cpu")
    assert (found.status, found.scores["refined"], found.scores["chi_ratio_limit"]) == (Status.DONE, True, 1e6)


def test_what_validation_images_of_the_nearest_size_said_counts(make_weights: MakeWeights) -> None:
    """The objects are 16 x 20 px."""
    tenfold = DOUBLED.model_copy(update={"expected": (1e-7, 1e5)})
    small = Checked(side_px=24, calibration=tenfold, max_chi_ratio=1e6)
    weights = make_weights(side_px=256, calibration=DOUBLED, max_chi_ratio=TINY_LIMIT, other_sizes=(small,))
    found = reconstruct(measured(), refining(weights), device="cpu")
    assert (found.status, found.scores["chi_ratio_limit"]) == (Status.DONE, 1e6)
    alike = reconstruct(measured(), refining(make_weights(calibration=tenfold)), device="cpu")
    assert np.array_equal(found.uncertainty, alike.uncertainty)


def test_the_ratio_is_the_one_of_the_well_measured_frequencies(
    make_weights: MakeWeights, make_problem: Callable[..., Any]
) -> None:
    problem, truth = make_problem((33, 40), alpha=0.05)
    image = truth[0, 0][problem.box]
    assert 0 < well_measured_chi(problem, image) < 0.3
    assert well_measured_chi(problem, image) < well_measured_chi(problem, torch.ones_like(image))


def test_the_noise_alone_explains_the_misfit_of_the_truth(make_problem: Callable[..., Any]) -> None:
    problem, truth = make_problem((65, 64), alpha=0.05)
    expected = noise_chi(problem)
    assert 0 < expected < 1
    assert problem.agreement(truth[0, 0][problem.box])[1] == pytest.approx(expected, rel=0.1)
    unknown = dataclasses.replace(problem, alpha=torch.full_like(problem.alpha, torch.nan))
    assert noise_chi(unknown) == 0


def test_a_classical_mean_that_fits_the_noise_is_no_better_than_the_noise_allows(
    make_problem: Callable[..., Any],
) -> None:
    problem, truth = make_problem((65, 64), alpha=0.05)
    image = truth[0, 0][problem.box]
    worse = image * torch.linspace(0.5, 1.5, image.shape[-1])
    assert misfit_ratio(problem, image, image) == pytest.approx(1, rel=0.1)
    assert misfit_ratio(problem, image, worse) == pytest.approx(
        well_measured_chi(problem, image) / well_measured_chi(problem, worse)
    )
    assert misfit_ratio(problem, worse, image) > 1
    exact = dataclasses.replace(problem, alpha=torch.zeros_like(problem.alpha))
    assert misfit_ratio(exact, worse, image) == pytest.approx(
        well_measured_chi(exact, worse) / well_measured_chi(exact, image)
    )


def test_frames_of_a_stack_fall_back_one_by_one(make_weights: MakeWeights) -> None:
    patterns = measured((0, 1))
    free = reconstruct(patterns, refining(make_weights(calibration=DOUBLED)), device="cpu")
    ratios = [item["chi_ratio"] for item in free.scores["items"]]
    assert ratios[0] != ratios[1]
    assert (free.uncertainty_kind, free.interval_scales) == ("calibrated", DOUBLED.scales)
    assert free.scores["refined"] == 1
    weights = make_weights(calibration=DOUBLED, max_chi_ratio=float(np.mean(ratios)))
    with pytest.warns(DataWarning, match="classical mean"):
        found = reconstruct(patterns, refining(weights), device="cpu")
    assert found.status is Status.OUT_OF_DOMAIN
    assert (found.uncertainty_kind, found.interval_scales) == ("mixed", {})
    assert found.scores["refined"] == 0.5
    for i, item in enumerate(found.scores["items"]):
        kept = bool(ratios[i] < np.mean(ratios))
        assert item["refined"] is kept
        assert np.array_equal(found.image[i], free.image[i] if kept else found.classical[i])


@pytest.mark.parametrize("done", [1, 3])
def test_a_stop_while_refining_returns_the_classical_mean(make_weights: MakeWeights, done: int) -> None:
    cancel = Cancel()

    def stop(event: Event) -> None:
        if event.stage == "refine" and event.done == done:
            cancel.set()

    found = reconstruct(measured(), refining(make_weights()), device="cpu", on_event=stop, cancel=cancel)
    assert_classical(found)
    assert found.status is Status.CANCELLED
    assert np.array_equal(found.image, found.classical)
    assert np.array_equal(found.image, reconstruct(measured(), CLASSICAL, device="cpu").image)


def test_a_stop_before_the_refinement_skips_it(make_weights: MakeWeights) -> None:
    cancel, stages = Cancel(), []

    def stop(event: Event) -> None:
        stages.append(event.stage)
        if event.stage == "long run":
            cancel.set()

    found = reconstruct(measured(), refining(make_weights()), device="cpu", on_event=stop, cancel=cancel)
    assert found.status is Status.CANCELLED
    assert "refine" not in stages
    assert found.uncertainty_kind == "spread of candidates"


def test_weights_that_are_not_there_are_found_out_before_the_work() -> None:
    events: list[Event] = []
    config = refining(Path("nothing.safetensors"))
    with pytest.raises(InputError, match="no weights"):
        reconstruct(measured(), config, device="cpu", on_event=events.append)
    assert events == []


@pytest.mark.parametrize("factor", [4.0**5, 4.0**-3])
def test_a_brighter_pattern_gives_a_brighter_refined_image(make_weights: MakeWeights, factor: float) -> None:
    config = refining(make_weights(calibration=DOUBLED))
    first = reconstruct(measured(), config, device="cpu")
    other = reconstruct(measured(factor=factor), config, device="cpu")
    assert np.array_equal(other.image, first.image * np.float32(factor**0.5))
    assert np.array_equal(other.classical, first.classical * np.float32(factor**0.5))
    np.testing.assert_allclose(other.uncertainty, first.uncertainty * factor**0.5, rtol=1e-6)
    assert other.scores["chi_ratio"] == first.scores["chi_ratio"]


@pytest.mark.parametrize("sampler", ["evolving", "indi"])
def test_the_order_of_the_candidates_does_not_matter(
    make_weights: MakeWeights, make_problem: Callable[..., Any], sampler: str
) -> None:
    problem, truth = make_problem((33, 40), alpha=0.05)
    noise = 0.3 * torch.randn((5, *truth[0, 0][problem.box].shape), generator=torch.Generator().manual_seed(2))
    candidates = problem.constrain(truth[0, 0][problem.box] + noise)
    classical = Outcome(candidates.mean(0), candidates.std(0, correction=0))
    config = refining(make_weights(), sampler=sampler)
    first = refined(problem, [candidates], classical, config)
    other = refined(problem, [candidates[[3, 0, 4, 2, 1]]], classical, config)
    assert first.scores["refined"] is True
    torch.testing.assert_close(other.image, first.image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.sigma, first.sigma, rtol=1e-4, atol=1e-5)


def test_steps_are_those_of_the_weights_unless_given(
    make_weights: MakeWeights, make_problem: Callable[..., Any]
) -> None:
    from napari_i2ipr.refine.indi import Sampling
    from napari_i2ipr.refine.weights import load

    problem, truth = make_problem((33, 40))
    candidates = truth[0, 0][problem.box].expand(2, -1, -1)
    weights = load(str(make_weights(sampling=Sampling(steps=3))))
    for steps, total in ((0, 3), (1, 1), (5, 5)):
        events: list[Event] = []
        config = refining(weights.path, steps=steps, views=1)
        found = run(weights, problem, [candidates], config, on_event=events.append)
        assert [event.done for event in events] == list(range(1, total + 1))
        assert found.members.shape == (1, *candidates.shape[1:])


@pytest.mark.parametrize("other", [{"steps": 3}, {"sampler": "indi"}], ids=str)
def test_the_limit_holds_for_the_sampling_that_it_was_found_with(
    make_weights: MakeWeights, other: dict[str, Any]
) -> None:
    weights = make_weights(max_chi_ratio=TINY_LIMIT)
    found = reconstruct(measured(), refining(weights, **other), device="cpu")
    assert (found.status, found.scores["refined"], found.scores["chi_ratio_limit"]) == (Status.DONE, True, None)
    assert found.scores["chi_ratio"] > TINY_LIMIT


def test_a_reconstruction_without_warnings(make_weights: MakeWeights) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(measured(frame=(45, 38)), refining(make_weights(), views=8, steps=1), device="cpu")

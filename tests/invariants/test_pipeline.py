"""What holds for every reconstruction, from the measurement to the delivered numbers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr import aggregate, pipeline
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement, Reconstruction, Status
from napari_i2ipr.errors import CancelledError, DataWarning, InputError, OutOfMemoryError
from napari_i2ipr.physics.symmetry import align
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.prepare import PREPARED, condition
from napari_i2ipr.progress import Cancel, Event
from napari_i2ipr.solvers import multistart

Array = np.ndarray[Any, Any]

QUICK = Config.from_dict(
    {
        "initialisation": {
            "n_starts": 4,
            "n_keep": 3,
            "short": "HIO:20",
            "long": "HIO:60 ER:20",
            "final": "HIO+avg:20",
        },
        "compute": {"threads": 1},
        "keep_candidates": True,
        "refine": {"enabled": False},
    }
)
"""The classical half."""

THOROUGH = QUICK.replace(initialisation={"long": "HIO:700 ER+acc:300", "final": ""})


@pytest.fixture(params=["classical", "refined"])
def quick(request: pytest.FixtureRequest, make_weights: Callable[..., Path]) -> Config:
    """What holds of the classical half holds of the whole, with a network of several channels."""
    if request.param == "classical":
        return QUICK
    weights = str(make_weights(widths=(16, 32)))
    return QUICK.replace(refine={"enabled": True, "weights": weights, "steps": 2, "views": 2})


def half_support(frame: tuple[int, int]) -> Array:
    support = np.zeros(frame, bool)
    sides = [slice((n - n // 2) // 2, (n - n // 2) // 2 + n // 2) for n in frame]
    support[sides[0], sides[1]] = True
    return support


def tight_support(frame: tuple[int, int]) -> Array:
    """Half the frame without a corner: no twin fits, so that no orientation is left open."""
    support = half_support(frame)
    support[: 2 * frame[0] // 5, : 2 * frame[1] // 5] = False
    return support


def drawn(frame: tuple[int, int], seed: int = 0, kind: str = "real", support: Array | None = None) -> Array:
    """An object, every pixel by itself, in a frame."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=frame)
    if kind == "signed":
        x -= 0.4
    if kind == "complex":
        x = x * np.exp(2j * rng.uniform(size=frame))
    return x * (half_support(frame) if support is None else support)


def pattern(x: Array, noise: float = 0.0, seed: int = 0) -> Array:
    """DC-centred intensities of the unitary transform."""
    clean = np.abs(np.fft.fftshift(np.fft.fft2(x, norm="ortho"), axes=(-2, -1))) ** 2
    noisy = clean + 2 * noise * np.sqrt(clean) * np.random.default_rng(seed).normal(size=clean.shape)
    return np.clip(noisy, 0, None).astype(np.float32)


def measure(intensity: Array, **options: Any) -> Measurement:
    """A measurement, one pattern or a stack, of which nothing needs to be guessed or mended."""
    provenance = options.pop("provenance", {})
    first = Measurement(intensity.reshape(-1, *intensity.shape[-2:])[0])
    known = condition(first, amplitude=False, fft_order=False)[0].provenance[PREPARED]
    return Measurement(intensity, provenance={**provenance, PREPARED: known}, **options)


def boxed(x: Array, box: tuple[int, int, int, int]) -> Array:
    y0, x0, h, w = box
    return x[..., y0 : y0 + h, x0 : x0 + w]


def psnr_db(image: Array, truth: Array) -> float:
    """In dB, after the better of the two orientations and, for complex images, the best phase."""
    best = -np.inf
    for turned in (image, np.conj(image[::-1, ::-1])):
        overlap = np.vdot(turned, truth)
        phase = overlap / abs(overlap) if np.iscomplexobj(image) else 1.0
        error = np.mean(np.abs(phase * turned - truth) ** 2)
        best = max(best, 10 * np.log10(np.abs(truth).max() ** 2 / max(float(error), 1e-30)))
    return float(best)


def untimed(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name not in ("solver_seconds", "refine_seconds", "items")}


def assert_same_bits(first: Reconstruction, second: Reconstruction) -> None:
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.uncertainty, second.uncertainty)
    assert untimed(first.scores) == untimed(second.scores)
    assert repr(first.candidates) == repr(second.candidates)


def one_of(stack: Reconstruction, index: int) -> Array:
    return stack.image.reshape(-1, *stack.image.shape[-2:])[index]


@pytest.mark.parametrize("frame", [(33, 40), (40, 33), (35, 31), (32, 32)], ids=str)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(frame: tuple[int, int], quick: Config) -> None:
    measurement = measure(pattern(drawn(frame), noise=0.05))
    first = reconstruct(measurement, quick, device="cpu")
    assert_same_bits(first, reconstruct(measurement, quick, device="cpu"))
    assert not np.array_equal(first.image, reconstruct(measurement, quick.replace(seed=1), device="cpu").image)
    assert first.status is Status.DONE
    assert first.image.shape == first.uncertainty.shape == (frame[0] // 2, frame[1] // 2)
    assert first.box == ((frame[0] - frame[0] // 2) // 2, (frame[1] - frame[1] // 2) // 2, frame[0] // 2, frame[1] // 2)
    assert (first.image.dtype, first.uncertainty.dtype) == (np.float32, np.float32)
    assert (first.image >= 0).all()
    assert (first.uncertainty >= 0).all()


@pytest.mark.parametrize("changes", [{"threads": 2}, {"threads": 3}, {"batch": 2}, {"batch": 4}], ids=str)
def test_the_lay_out_of_the_work_changes_no_bit(changes: dict[str, int], quick: Config) -> None:
    measurement = measure(pattern(drawn((33, 40)), noise=0.05))
    first = reconstruct(measurement, quick, device="cpu")
    assert_same_bits(first, reconstruct(measurement, quick.replace(compute=changes), device="cpu"))


def test_the_thread_setting_of_torch_changes_no_bit_and_is_kept(quick: Config) -> None:
    measurement = measure(pattern(drawn((133, 140)), noise=0.05))
    config = quick.replace(initialisation={"n_starts": 3, "n_keep": 3, "long": "HIO:30", "final": "HIO+avg:10"})
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(reconstruct(measurement, config, device="cpu"))
        assert torch.get_num_threads() == threads
    for other in found[1:]:
        assert_same_bits(found[0], other)


def test_the_first_pattern_of_a_stack_is_that_pattern_alone(quick: Config) -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(3)])
    stack = reconstruct(measure(patterns), quick, device="cpu")
    alone = reconstruct(measure(patterns[0]), quick, device="cpu")
    assert np.array_equal(stack.image[0], alone.image)
    assert np.array_equal(stack.uncertainty[0], alone.uncertainty)
    assert untimed(stack.scores["items"][0]) == untimed(alone.scores)


def test_a_pattern_of_a_stack_depends_on_its_data_and_number_only() -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(3)])
    others = np.stack([patterns[2], patterns[1], patterns[0]])
    first, second = (reconstruct(measure(p), QUICK, device="cpu") for p in (patterns, others))
    assert np.array_equal(first.image[1], second.image[1])
    assert not np.array_equal(first.image[0], second.image[2]), "starts of different patterns must differ"


def test_leading_axes_are_kept() -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(4)])
    flat = reconstruct(measure(patterns), QUICK, device="cpu")
    square = reconstruct(measure(patterns.reshape(2, 2, 33, 40)), QUICK, device="cpu")
    assert square.image.shape == square.uncertainty.shape == (2, 2, 16, 20)
    assert square.candidate_images is not None
    assert square.candidate_images.shape == (2, 2, 3, 16, 20)
    assert square.axes == ("axis_0", "axis_1", "y", "x")
    assert np.array_equal(square.image.reshape(flat.image.shape), flat.image)
    assert len(square.scores["items"]) == 4
    assert len(square.candidates) == 12
    mean = np.mean([item["r_factor"] for item in square.scores["items"]])
    assert square.scores["r_factor"] == pytest.approx(mean)
    total = sum(item["image_iterations"] for item in square.scores["items"])
    assert square.scores["image_iterations"] == total == 4 * (4 * 20 + 3 * 100)


def test_a_brighter_pattern_gives_a_brighter_image_and_nothing_else() -> None:
    intensity = pattern(drawn((33, 40)), noise=0.05)
    first = reconstruct(measure(intensity), QUICK, device="cpu")
    for factor in (4.0**5, 4.0**-3):
        brighter = reconstruct(measure(intensity * np.float32(factor)), QUICK, device="cpu")
        assert np.array_equal(brighter.image, first.image * np.float32(factor**0.5))
        assert np.array_equal(brighter.uncertainty, first.uncertainty * np.float32(factor**0.5))
        scaled = reconstruct(measure(intensity * np.float32(factor), intensity_scale=1 / factor), QUICK, device="cpu")
        assert_same_bits(scaled, first)


def test_the_image_has_the_units_of_the_object() -> None:
    x = 1000 * drawn((41, 45))
    found = reconstruct(measure(pattern(x)), THOROUGH, device="cpu")
    assert psnr_db(found.image, boxed(x, found.box)) > 40
    assert found.image.max() == pytest.approx(x.max(), rel=0.01)


@pytest.mark.parametrize("frame", [(48, 40), (41, 45)], ids=str)
def test_a_perfect_pattern_gives_the_object(frame: tuple[int, int]) -> None:
    x = drawn(frame)
    config = THOROUGH.replace(initialisation={"n_starts": 8, "n_keep": 4})
    found = reconstruct(measure(pattern(x)), config, device="cpu")
    assert psnr_db(found.image, boxed(x, found.box)) > 40
    assert found.scores["r_factor"] < 1e-3
    assert found.scores["chi"] < 1e-3
    assert found.scores["free_score"] < 1e-2
    assert found.uncertainty.max() < 0.05


@pytest.mark.parametrize("kind", ["complex", "signed"])
def test_a_perfect_pattern_gives_an_object_without_sign(kind: str) -> None:
    """The candidates differ by a global phase or sign, which the mean must not cancel."""
    frame = (48, 40)
    support = tight_support(frame)
    x = drawn(frame, kind=kind, support=support)
    options: dict[str, Any] = {"object": "complex"} if kind == "complex" else {"nonnegative": False}
    config = THOROUGH.replace(initialisation={"long": "HIO:1500 ER+acc:200"}, **options)
    found = reconstruct(measure(pattern(x), support=support), config, device="cpu")
    truth = boxed(x, found.box)
    assert found.candidate_images is not None
    best = max(psnr_db(sign * image, truth) for image in found.candidate_images for sign in (1, -1))
    assert best > 40, "no candidate found the object, so that the mean proves nothing"
    assert found.image.dtype == (np.complex64 if kind == "complex" else np.float32)
    assert max(psnr_db(sign * found.image, truth) for sign in (1, -1)) > 40
    assert found.scores["r_factor"] < 0.05


def test_bad_pixels_are_recovered_and_their_values_never_read(quick: Config) -> None:
    x = drawn((48, 40))
    intensity = pattern(x)
    bad = np.zeros(intensity.shape, bool)
    bad[22:26, 18:22] = True
    bad[5, 7:12] = True
    found = reconstruct(measure(intensity, bad_pixels=bad), THOROUGH, device="cpu")
    assert psnr_db(found.image, boxed(x, found.box)) > 40
    first = reconstruct(measure(intensity, bad_pixels=bad), quick, device="cpu")
    for junk in (0.0, 12345.0):
        other = reconstruct(measure(np.where(bad, np.float32(junk), intensity), bad_pixels=bad), quick, device="cpu")
        assert_same_bits(other, first)


def test_the_input_is_not_changed(quick: Config) -> None:
    intensity = pattern(drawn((33, 40)), noise=0.05)
    bad, support = np.zeros((33, 40), np.uint8), half_support((33, 40))
    bad[3, 4] = 7
    before = intensity.copy(), bad.copy(), support.copy()
    reconstruct(measure(intensity, bad_pixels=bad, support=support), quick, device="cpu")
    for now, then in zip((intensity, bad, support), before, strict=True):
        assert np.array_equal(now, then)


def test_image_and_uncertainty_are_the_weighted_mean_and_deviation_of_the_candidates() -> None:
    for weights in ("equal", "consistency"):
        config = QUICK.replace(aggregation={"weights": weights}, members=2)
        found = reconstruct(measure(pattern(drawn((33, 40)), noise=0.05)), config, device="cpu")
        assert found.candidate_images is not None
        assert found.candidate_images.shape == (6, 16, 20)
        w = np.array([row.weight for row in found.candidates])
        assert w.sum() == pytest.approx(1.0)
        assert (w >= 0).all()
        assert np.count_nonzero(w) >= 2
        mean = np.tensordot(w, found.candidate_images, 1)
        deviation = np.sqrt(np.tensordot(w, (found.candidate_images - mean) ** 2, 1))
        np.testing.assert_allclose(found.image, mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.uncertainty, deviation, rtol=1e-3, atol=1e-5)
        assert found.uncertainty_kind == "spread of candidates"


def test_ensemble_members_use_starts_of_their_own() -> None:
    measurement = measure(pattern(drawn((33, 40)), noise=0.05))
    found = reconstruct(measurement, QUICK.replace(members=3), device="cpu")
    assert [row.member for row in found.candidates] == [0] * 3 + [1] * 3 + [2] * 3
    starts = [row.start for row in found.candidates]
    assert len(set(starts)) == 9
    assert all(row.start // 4 == row.member for row in found.candidates)
    assert found.scores["image_iterations"] == 3 * (4 * 20 + 3 * 100)
    alone = reconstruct(measurement, QUICK, device="cpu")
    assert [(row.start, row.score) for row in found.candidates[:3]] == [(r.start, r.score) for r in alone.candidates]


def test_the_r_factor_is_that_of_the_delivered_image_over_valid_pixels() -> None:
    frame = (33, 40)
    intensity = pattern(drawn(frame))
    bad = np.zeros(frame, bool)
    bad[3, 4:8] = bad[-3, -8:-3] = True
    config = QUICK.replace(object="complex", initialisation={"ranking": "residual"})
    found = reconstruct(measure(intensity, bad_pixels=bad), config, device="cpu")
    full = np.zeros(frame, complex)
    y0, x0, h, w = found.box
    full[y0 : y0 + h, x0 : x0 + w] = found.image
    modulus = np.abs(np.fft.fftshift(np.fft.fft2(full, norm="ortho")))[~bad]
    amplitude = np.sqrt(intensity[~bad].astype(float))
    scale = (modulus @ amplitude) / (modulus @ modulus)
    r_factor = np.abs(scale * modulus - amplitude).sum() / amplitude.sum()
    assert found.scores["r_factor"] == pytest.approx(r_factor, rel=1e-3)
    assert found.scores["free_score"] is None


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("lead", [(), (2,)], ids=["one", "stack"])
def test_scores_and_provenance_are_json(kind: str, lead: tuple[int, ...], quick: Config) -> None:
    geometry = Geometry(1e-10, 2.0, (5e-5, 5e-5))
    intensity = np.broadcast_to(pattern(drawn((33, 40)), noise=0.05), (*lead, 33, 40))
    config = quick.replace(object=kind, initialisation={"ranking": "residual"})
    found = reconstruct(measure(intensity, geometry=geometry, provenance={"file": "a.cxi"}), config, device="cpu")
    assert json.loads(json.dumps(found.scores, allow_nan=False)) == found.scores
    assert json.loads(json.dumps(found.provenance, allow_nan=False)) == found.provenance
    assert found.provenance["input"]["file"] == "a.cxi"
    assert Config.from_dict(found.provenance["config"]) == config
    assert found.provenance["device"] == "cpu"
    assert {"torch", "numpy", "napari-i2ipr"} <= set(found.provenance["versions"])
    assert found.geometry == geometry
    assert found.pixel_m == geometry.object_pixel_m((33, 40))


def test_a_known_noise_level_is_passed_on_in_object_units() -> None:
    intensity = pattern(drawn((33, 40)), noise=0.05)
    found = reconstruct(measure(intensity, alpha=0.05), QUICK, device="cpu")
    assert found.scores["alpha"] == pytest.approx(0.05)


def test_progress_names_the_pattern_and_counts_to_the_end() -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(2)])
    events: list[Event] = []
    watched = reconstruct(measure(patterns), QUICK, device="cpu", on_event=events.append)
    assert np.array_equal(watched.image, reconstruct(measure(patterns), QUICK, device="cpu").image)
    stages = list(dict.fromkeys(event.stage for event in events))
    assert any("1 of 2" in stage and "short" in stage for stage in stages)
    assert any("2 of 2" in stage and "long" in stage for stage in stages)
    for stage in stages:
        mine = [event for event in events if event.stage == stage]
        assert all(0 <= event.done <= event.total for event in mine)
        if "run" in stage:
            assert mine[-1].done == mine[-1].total


def test_a_stop_before_the_start_is_an_error() -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError):
        reconstruct(measure(pattern(drawn((33, 40)))), QUICK, device="cpu", cancel=cancel)


class StopAt:
    """Sets the flag at the first event whose stage holds a text and whose count is reached."""

    def __init__(self, text: str, done: int = 1) -> None:
        self.text, self.done, self.cancel = text, done, Cancel()

    def __call__(self, event: Event) -> None:
        if self.text in event.stage and event.done >= self.done:
            self.cancel.set()


def test_a_stop_mid_way_returns_what_was_found() -> None:
    x = drawn((48, 40))
    config = QUICK.replace(initialisation={"long": "HIO:3000", "final": ""})
    stop = StopAt("long run", 5000)
    found = reconstruct(measure(pattern(x)), config, device="cpu", on_event=stop, cancel=stop.cancel)
    assert found.status is Status.CANCELLED
    assert np.isfinite(found.image).all()
    assert found.scores["image_iterations"] < 4 * 20 + 3 * 3000
    assert psnr_db(found.image, boxed(x, found.box)) > 20, "the best so far was lost"
    assert "CANCELLED" in {row.status for row in found.candidates}


def test_a_stop_in_a_stack_keeps_the_finished_patterns() -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(3)])
    whole = reconstruct(measure(patterns), QUICK, device="cpu")
    stop = StopAt("1 of 3: align", 0)
    found = reconstruct(measure(patterns), QUICK, device="cpu", on_event=stop, cancel=stop.cancel)
    assert found.status is Status.CANCELLED
    assert found.image.shape == whole.image.shape
    assert np.array_equal(found.image[0], whole.image[0])
    assert np.isnan(found.image[1:]).all()
    assert np.isnan(found.uncertainty[1:]).all()
    assert len(found.scores["items"]) == 1
    assert len(found.candidates) == 3


@pytest.mark.parametrize("stage", ["blind mean", "align"])
def test_a_stop_while_candidates_are_aligned_keeps_the_best(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no time for all of them: those that are averaged are the best."""
    monkeypatch.setattr(aggregate.fewer, "__defaults__", (0.0,))
    measurement = measure(pattern(drawn((48, 40)), noise=0.05))
    whole = reconstruct(measurement, QUICK, device="cpu")
    stop = StopAt(stage)
    with pytest.warns(DataWarning, match="only the best 2 of 3 candidates are averaged"):
        found = reconstruct(measurement, QUICK, device="cpu", on_event=stop, cancel=stop.cancel)
    assert found.status is Status.CANCELLED
    assert np.isfinite(found.image).all()
    assert found.scores["r_factor"] < 0.5
    assert [row.start for row in found.candidates] == [row.start for row in whole.candidates[:2]]
    assert sum(row.weight for row in found.candidates) == pytest.approx(1)
    assert any("only the best 2 of 3" in note for note in found.provenance["notes"])
    skipped = stage == "blind mean"
    assert {row.iterations for row in found.candidates} == {100 if skipped else 120}


def test_a_stop_between_candidate_sets_leaves_the_others_out() -> None:
    config = QUICK.replace(members=3, initialisation={"final": ""})
    stop = StopAt("long run", 3 * 80)
    found = reconstruct(
        measure(pattern(drawn((33, 40)), noise=0.05)), config, device="cpu", on_event=stop, cancel=stop.cancel
    )
    assert found.status is Status.CANCELLED
    assert {row.member for row in found.candidates} == {0}
    assert all(row.iterations == 100 for row in found.candidates)


def test_a_stop_is_no_reason_to_refine(quick: Config) -> None:
    stop = StopAt("align")
    found = reconstruct(measure(pattern(drawn((33, 40)))), quick, device="cpu", on_event=stop, cancel=stop.cancel)
    assert found.scores["refined"] is False
    assert (found.status is Status.CANCELLED) == quick.refine.enabled


def test_events_carry_the_estimate_of_the_moment(quick: Config) -> None:
    measurement = measure(np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(2)]))
    seen: list[tuple[str, int, int, tuple[int, ...]]] = []

    def look(event: Event) -> None:
        if event.image is not None:
            image = event.image()
            assert np.isfinite(image).all()
            seen.append((event.stage.rpartition(": ")[2], event.frame, event.frames, image.shape))

    found = reconstruct(measurement, quick, device="cpu", on_event=look)
    stages = {"short run", "long run", "final run", "align"} | ({"refine"} if quick.refine.enabled else set())
    assert {one[0] for one in seen} == stages
    assert {one[1] for one in seen} == {0, 1}
    assert {one[2:] for one in seen} == {(2, found.image.shape[-2:])}


def test_a_stop_while_a_pattern_is_prepared_keeps_the_finished_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = np.stack([pattern(drawn((33, 40), seed), noise=0.05) for seed in range(3)])
    measurement, cancel, seen = measure(patterns), Cancel(), []

    def slow(frame: Measurement, *args: Any, **options: Any) -> Any:
        seen.append(frame)
        if len(seen) == 2:
            cancel.set()
        return condition(frame, *args, **options)

    monkeypatch.setattr(pipeline, "condition", slow)
    found = reconstruct(measurement, QUICK, device="cpu", cancel=cancel)
    assert found.status is Status.CANCELLED
    assert np.isfinite(found.image[0]).all()
    assert np.isnan(found.image[1:]).all()


@pytest.mark.parametrize("members", [1, 3])
def test_starts_that_never_ran_get_no_weight(members: int) -> None:
    measurement = measure(pattern(drawn((33, 40)), noise=0.05))
    config = QUICK.replace(members=members, initialisation={"short": "HIO:200", "final": ""})
    stop = StopAt("short run", 200) if members == 1 else StopAt("long run", 200)
    found = reconstruct(measurement, config, device="cpu", on_event=stop, cancel=stop.cancel)
    assert found.status is Status.CANCELLED
    idle = [row for row in found.candidates if row.iterations == 0]
    assert all(row.weight == 0 for row in idle)
    assert found.scores["r_factor"] < 0.5


def test_patterns_of_a_stack_may_differ_in_size_of_object() -> None:
    frame = (64, 60)
    small, large = np.zeros(frame, bool), np.zeros(frame, bool)
    small[20:32, 20:30] = True
    large[10:36, 10:34] = True
    patterns = np.stack([pattern((0.5 + drawn(frame, support=s)) * s) for s in (small, large)])
    config = QUICK.replace(support="auto")
    alone = [reconstruct(measure(p), config, device="cpu") for p in patterns]
    assert alone[0].image.shape != alone[1].image.shape
    together = reconstruct(measure(patterns), config, device="cpu")
    h, w = together.image.shape[-2:]
    assert h >= max(found.image.shape[0] for found in alone)
    assert w >= max(found.image.shape[1] for found in alone)
    assert np.isfinite(together.image).all()


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="device"):
        reconstruct(measure(pattern(drawn((33, 40)))), QUICK, device=name)


@pytest.mark.parametrize(("shifts", "subpixel"), [(False, True), (True, False)])
def test_the_alignment_settings_hold_wherever_candidates_are_aligned(
    monkeypatch: pytest.MonkeyPatch, shifts: bool, subpixel: bool
) -> None:
    asked: list[tuple[Any, Any]] = []

    def spy(images: torch.Tensor, **options: Any) -> Any:
        asked.append((options.get("shifts"), options.get("subpixel")))
        return align(images, **options)

    for module in (aggregate, multistart):
        monkeypatch.setattr(module, "align", spy)
    config = QUICK.replace(alignment={"shifts": shifts, "subpixel": subpixel})
    reconstruct(measure(pattern(drawn((33, 40)), noise=0.05)), config, device="cpu")
    assert len(asked) == 2, "once for the final run, once for the aggregate"
    assert set(asked) == {(shifts, subpixel)}


def test_an_empty_support_is_refused() -> None:
    with pytest.raises(InputError, match="empty support"):
        reconstruct(measure(pattern(drawn((33, 40))), support=np.zeros((33, 40), bool)), QUICK, device="cpu")


def test_work_that_does_not_fit_in_memory_is_refused_before_it_starts() -> None:
    huge = QUICK.replace(compute={"memory_fraction": 1e-9})
    with pytest.raises(OutOfMemoryError, match="GiB"):
        reconstruct(measure(pattern(drawn((33, 40)))), huge, device="cpu")


def test_every_candidate_is_reported_in_the_order_of_its_images() -> None:
    found = reconstruct(measure(pattern(drawn((33, 40)), noise=0.05)), QUICK, device="cpu")
    scores = [row.score for row in found.candidates]
    assert scores == sorted(scores)
    for row in found.candidates:
        assert row.status == "DONE"
        assert row.iterations == 120
        assert 0 <= row.outside <= 1
        assert -1 <= row.twin_margin <= 1
        assert row.free_score == row.score
        assert dataclasses.asdict(row)["shift_px"] == row.shift_px
    best = found.candidates[0]
    assert (best.flipped, best.shift_px) == (False, (0.0, 0.0))

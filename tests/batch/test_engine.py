"""What comes out: the same as of a bare loop, whatever the units; every pattern accounted for."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_i2ipr import io
from napari_i2ipr.batch import BatchEvent, open_batch, plan_batch, reconstruct_batch
from napari_i2ipr.config import Config
from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import ConfigError, InputError, OutOfMemoryError
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.progress import Cancel, Event

Patterns = Callable[..., np.ndarray]
Image = Callable[..., np.ndarray]
Volume = Callable[..., Path]

GEOMETRY = Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(2e-5, 1e-5))


@pytest.mark.parametrize("unit", [1, 3, 8])
def test_equal_to_the_bare_loop(
    *, image: Image, tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns, unit: int
) -> None:
    known = reconstruct(Measurement(patterns(11)), tiny)
    report = reconstruct_batch(volume(11), tmp_path / "out.zarr", tiny, unit=unit)
    assert report.complete
    assert report.statuses == {"DONE": 11}
    np.testing.assert_array_equal(image(report.target), known.image)
    np.testing.assert_array_equal(image(report.target, "uncertainty"), known.uncertainty)
    result = io.read_result(report.target)
    assert result.box == known.box
    assert [item["r_factor"] for item in result.scores["items"]] == [i["r_factor"] for i in known.scores["items"]]
    assert result.scores["r_factor"] == pytest.approx(known.scores["r_factor"])


@pytest.mark.slow
def test_equal_with_the_refinement(tmp_path: Path, tiny: Config, patterns: Patterns, make_weights: Any) -> None:
    config = tiny.replace(refine={"enabled": True, "weights": str(make_weights())})
    measurement = Measurement(patterns(3), geometry=GEOMETRY)
    known = reconstruct(measurement, config)
    report = reconstruct_batch(measurement, tmp_path / "out.zarr", config, unit=2)
    result = io.read_result(report.target)
    for name in ("image", "uncertainty", "classical"):
        np.testing.assert_array_equal(getattr(result, name), getattr(known, name))
    assert result.uncertainty_kind == known.uncertainty_kind
    assert result.provenance["weights"] == known.provenance["weights"]
    assert result.geometry == GEOMETRY


def test_complex_objects_and_candidates(image: Image, tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    config = tiny.replace(object="complex", keep_candidates=True, initialisation={"n_keep": 2})
    known = reconstruct(Measurement(patterns(3)), config)
    report = reconstruct_batch(patterns(3), tmp_path / "out.zarr", config, unit=2)
    np.testing.assert_array_equal(image(report.target), known.image)
    np.testing.assert_array_equal(image(report.target, "amplitude"), np.abs(known.image))
    np.testing.assert_array_equal(image(report.target, "phase"), np.angle(known.image))
    np.testing.assert_array_equal(image(report.target, "candidates"), known.candidate_images)


@pytest.mark.parametrize(
    ("lead", "unit", "block"),
    [
        ((), None, ()),
        ((1,), None, (1,)),
        ((7,), 3, (3,)),
        ((3, 5), 5, (1, 5)),
        ((3, 5), 11, (2, 5)),
        ((2, 2, 3), 4, (1, 1, 3)),
    ],
)
def test_leading_axes_are_kept(
    *,
    image: Image,
    tmp_path: Path,
    tiny: Config,
    patterns: Patterns,
    lead: tuple[int, ...],
    unit: int | None,
    block: tuple[int, ...],
) -> None:
    data = patterns(*lead) if lead else patterns(1)[0]
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=unit)
    known = reconstruct(Measurement(data), tiny)
    np.testing.assert_array_equal(image(report.target), known.image)
    assert open_batch(report.target).plan.block == block


def test_more_leading_axes_than_an_image_may_have(
    image: Image, tmp_path: Path, tiny: Config, patterns: Patterns
) -> None:
    data = patterns(2, 1, 2, 2)
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=3)
    assert image(report.target).shape == (8, 24, 24)
    np.testing.assert_array_equal(io.read_result(report.target).image, reconstruct(Measurement(data), tiny).image)


@pytest.mark.parametrize("frame", [(47, 51), (48, 33)])
def test_odd_frames_in_prime_numbers(
    image: Image, tmp_path: Path, tiny: Config, patterns: Patterns, frame: tuple[int, int]
) -> None:
    data = patterns(5, frame=frame)
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=2)
    np.testing.assert_array_equal(image(report.target), reconstruct(Measurement(data), tiny).image)


def test_bad_patterns_are_recorded_and_the_rest_goes_on(
    image: Image, tmp_path: Path, tiny: Config, patterns: Patterns
) -> None:
    data = patterns(7)
    data[1] = np.nan
    data[2] = 0
    data[4] = 5
    mask = np.zeros(data.shape, bool)
    mask[5] = True
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=3, mask=mask)
    assert report.complete
    assert report.statuses == {"DONE": 3, "EMPTY": 2, "REFUSED": 2}
    assert (report.good, report.bad) == (3, 4)
    bad = np.isnan(image(report.target)).all((1, 2))
    assert bad.tolist() == [False, True, True, False, True, True, False]
    assert (np.isnan(image(report.target, "uncertainty")).all((1, 2)) == bad).all()
    assert np.isfinite(image(report.target)[~bad]).all()
    rows = open_batch(report.target).rows
    assert rows[4].status == "REFUSED"
    assert "constant" in rows[4].notes[-1]
    assert "all pixels masked" in rows[5].notes[-1]
    assert len(report.problems) == 4


def test_a_diverged_pattern_is_nan(
    image: Image, tmp_path: Path, tiny: Config, patterns: Patterns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_i2ipr.batch import units
    from napari_i2ipr.data import Status

    def diverging(frame: Measurement, index: int, *rest: Any, **more: Any) -> Any:
        from dataclasses import replace

        from napari_i2ipr.pipeline import reconstruct_frame

        result = reconstruct_frame(frame, index, *rest, **more)
        return replace(result, status=Status.DIVERGED) if index == 1 else result

    monkeypatch.setattr(units, "reconstruct_frame", diverging)
    report = reconstruct_batch(patterns(3), tmp_path / "out.zarr", tiny)
    assert report.statuses == {"DONE": 2, "DIVERGED": 1}
    assert np.isnan(image(report.target)).all((1, 2)).tolist() == [False, True, False]


def test_strict_stops_and_keeps_what_is_done(tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data = patterns(6)
    data[4] = np.nan
    with pytest.raises(InputError, match="pattern 4, EMPTY"):
        reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=2, strict=True)
    assert open_batch(tmp_path / "out.zarr").done.tolist() == [True] * 4 + [False] * 2
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, unit=2)
    assert (report.kept, report.worked, report.complete) == (4, 2, True)


def test_a_support_for_each_pattern(image: Image, tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data, support = patterns(3), np.zeros((3, 48, 48), np.uint8)
    for k, (y0, y1, x0, x1) in enumerate([(12, 36, 14, 34), (16, 30, 12, 36), (12, 36, 12, 30)]):
        support[k, y0:y1, x0:x1] = 1
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, support=support)
    assert open_batch(report.target).plan.box == (12, 12, 24, 24)
    found = image(report.target)
    known = reconstruct(Measurement(data[0], support=support[0] != 0), tiny)
    np.testing.assert_array_equal(found[0, :, 2:22], known.image)
    assert not found[0, :, :2].any()
    assert not found[1, :4].any()
    assert not found[2, :, 18:].any()


@pytest.mark.parametrize("support", ["half", "auto"])
def test_supports_by_name(image: Image, tmp_path: Path, tiny: Config, patterns: Patterns, support: str) -> None:
    data = patterns(2, frame=(64, 64))
    known = reconstruct(Measurement(data), tiny.replace(support=support))
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, support=support)
    y, x = known.box[0] - 16, known.box[1] - 16
    found = image(report.target)[:, y : y + known.box[2], x : x + known.box[3]]
    np.testing.assert_array_equal(found, known.image)


def test_preparation_reaches_every_pattern(tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data = np.sqrt(patterns(3, frame=(50, 50)))
    options = {"amplitude": True, "center": (24, 25), "fft_order": None}
    report = reconstruct_batch(data, tmp_path / "out.zarr", tiny, prepare=options)
    view = open_batch(report.target)
    assert view.plan.frame_shape == (49, 50)
    assert report.statuses == {"DONE": 3}
    assert any("cropped" in note for note in view.rows[0].notes)
    with pytest.raises(ConfigError, match="no_such"):
        reconstruct_batch(data, tmp_path / "out2.zarr", tiny, prepare={"no_such": 1})


def test_scale_units_pyramid_and_provenance(image: Image, tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data = patterns(2, frame=(264, 300))
    measurement = Measurement(data, geometry=GEOMETRY, axes=("t", "y", "x"))
    report = reconstruct_batch(measurement, tmp_path / "out.zarr", tiny, unit=1)
    root = zarr.open_group(str(report.target), mode="r")
    scales = root["reconstruction"].attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in scales["axes"]] == ["t", "y", "x"]
    assert [axis.get("unit") for axis in scales["axes"]] == [None, "micrometer", "micrometer"]
    y, x = GEOMETRY.object_pixel_m((264, 300))
    for level, dataset in enumerate(scales["datasets"]):
        expected = [1, y * 1e6 * 2**level, x * 1e6 * 2**level]
        assert dataset["coordinateTransformations"][0]["scale"] == pytest.approx(expected)
    full, half = image(report.target), image(report.target, level=1)
    assert (full.shape, half.shape) == ((2, 132, 150), (2, 66, 75))
    np.testing.assert_allclose(half, full.reshape(2, 66, 2, 75, 2).mean((2, 4)), rtol=1e-5)
    words = root.attrs["napari_i2ipr"]
    assert words["kind"] == "reconstruction"
    assert words["provenance"]["config"] == tiny.to_dict()
    assert {"torch", "zarr", "napari-i2ipr"} <= set(words["provenance"]["versions"])
    assert set(words["batch"]["identity"]) == {"source", "settings", "weights"}
    assert root["OME"].attrs["ome"]["series"] == ["reconstruction", "uncertainty"]


def test_the_table(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    report = reconstruct_batch(volume(2, 3), tmp_path / "out.zarr", tiny.replace(seed=2**62))
    table = zarr.open_group(str(report.target / "scores"), mode="r")
    with (report.target / "scores" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pattern"] for row in rows] == [str(i) for i in range(6)]
    assert [(row["axis_0"], row["axis_1"]) for row in rows[:4]] == [("0", "0"), ("0", "1"), ("0", "2"), ("1", "0")]
    assert {row["status"] for row in rows} == {"DONE"}
    assert {row["seed"] for row in rows} == {str(2**62)}
    np.testing.assert_allclose(table["r_factor"][...], [float(row["r_factor"]) for row in rows], rtol=1e-6)
    assert all(float(row["seconds"]) > 0 and float(row["free_score"]) > 0 for row in rows)
    names = list(table.attrs["statuses"])
    assert [names[code] for code in table["status"][...]] == ["DONE"] * 6


def test_events_tell_of_every_pattern(tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    said: list[Event] = []
    reconstruct_batch(patterns(5), tmp_path / "out.zarr", tiny, unit=2, on_event=said.append)
    rows = [event for event in said if isinstance(event, BatchEvent) and event.row is not None]
    assert [event.done for event in rows] == [1, 2, 3, 4, 5]
    assert {event.total for event in rows} == {5}
    assert [event.row.index for event in rows if event.row] == [0, 1, 2, 3, 4]
    assert rows[-1].seconds_left == 0
    assert all(event.memory_bytes > 0 and event.score and event.frames_per_minute for event in rows)


def stop_after(count: int) -> tuple[Cancel, Callable[[Event], None]]:
    """A stop once so many patterns are done."""
    cancel = Cancel()

    def hear(event: Event) -> None:
        if getattr(event, "row", None) is not None and event.done >= count:
            cancel.set()

    return cancel, hear


def test_a_stop_keeps_whole_units(
    image: Image, tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns
) -> None:
    source, target = volume(9), tmp_path / "out.zarr"
    cancel, hear = stop_after(5)
    report = reconstruct_batch(source, target, tiny, unit=2, cancel=cancel, on_event=hear)
    assert not report.complete
    assert report.target == tmp_path / "out.zarr.partial"
    assert not target.exists()
    assert report.statuses == {"PENDING": 5, "DONE": 4}
    view = open_batch(target)
    assert view.done.tolist() == [True] * 4 + [False] * 5
    assert not view.complete
    known = reconstruct(Measurement(patterns(9)), tiny)
    np.testing.assert_array_equal(view.images["reconstruction"][:4], known.image[:4])
    assert np.isnan(view.images["reconstruction"][4:]).all()
    again = reconstruct_batch(source, target, tiny)
    assert (again.kept, again.worked, again.complete) == (4, 5, True)
    np.testing.assert_array_equal(image(target), known.image)
    assert open_batch(target).complete


def test_memory_errors_halve_the_layout_and_are_remembered(
    image: Image, tmp_path: Path, tiny: Config, patterns: Patterns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_i2ipr import pipeline
    from napari_i2ipr.batch import units

    tried: list[int] = []

    def work(frame: Measurement, index: int, config: Config, *rest: Any, **more: Any) -> Any:
        tried.append(config.compute.batch)
        if config.compute.batch > 1:
            raise OutOfMemoryError("more than there is")
        return pipeline.reconstruct_frame(frame, index, config, *rest, **more)

    monkeypatch.setattr(units, "reconstruct_frame", work)
    config = tiny.replace(compute={"batch": 4})
    report = reconstruct_batch(patterns(3), tmp_path / "out.zarr", config)
    assert tried == [4, 2, 1, 1, 1]
    assert report.layout == {"batch": 1, "threads": 1}
    np.testing.assert_array_equal(image(report.target), reconstruct(Measurement(patterns(3)), config).image)


def test_memory_that_never_suffices_is_an_error(
    tmp_path: Path, tiny: Config, patterns: Patterns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_i2ipr.batch import units

    def work(*_: Any, **__: Any) -> Any:
        raise OutOfMemoryError("more than there is")

    monkeypatch.setattr(units, "reconstruct_frame", work)
    with pytest.raises(OutOfMemoryError, match="more than there is"):
        reconstruct_batch(patterns(2), tmp_path / "out.zarr", tiny)


def test_the_plan_writes_nothing(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(20), tmp_path / "out.zarr"
    found = plan_batch(source, target, tiny, unit=6)
    assert (found.frames, found.units, found.unit_frames, found.done) == (20, 4, 6, 0)
    assert found.images == {"reconstruction": (20, 24, 24), "uncertainty": (20, 24, 24)}
    assert found.disk_bytes > 20 * 2 * 24 * 24 * 4
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.zarr"]


def test_the_plan_knows_what_is_done(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(8), tmp_path / "out.zarr"
    cancel, hear = stop_after(3)
    reconstruct_batch(source, target, tiny, unit=2, cancel=cancel, on_event=hear)
    assert plan_batch(source, target, tiny).done == 2
    reconstruct_batch(source, target, tiny)
    found = plan_batch(source, target, tiny)
    assert (found.done, found.seconds) == (8, None)


def test_the_time_estimate_is_of_the_right_size(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    config = tiny.replace(initialisation={"n_starts": 8, "short": "HIO:50", "n_keep": 4, "long": "HIO:100"})
    data = patterns(6, frame=(96, 96))
    found = plan_batch(data, tmp_path / "out.zarr", config)
    report = reconstruct_batch(data, tmp_path / "out.zarr", config)
    assert found.seconds is not None
    assert report.seconds / 4 < found.seconds < report.seconds * 4


def test_a_limit_makes_units_smaller(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    data = da.zeros((64, 512, 512), chunks=(1, 512, 512), dtype=np.float32)
    free = plan_batch(data, tmp_path / "out.zarr", tiny, unit=32, timed=False)
    assert free.unit_frames == 32
    tight = plan_batch(data, tmp_path / "out.zarr", tiny, unit=32, memory=free.memory_bytes * 8 // 10, timed=False)
    assert tight.unit_frames < 32
    assert tight.memory_bytes <= tight.memory_limit
    with pytest.raises(OutOfMemoryError, match="at least"):
        plan_batch(data, tmp_path / "out.zarr", tiny, memory="100MB", timed=False)
    with pytest.raises(ConfigError, match="much"):
        plan_batch(data, tmp_path / "out.zarr", tiny, memory="much", timed=False)


def test_a_name_that_is_no_store(tmp_path: Path, patterns: Patterns, tiny: Config) -> None:
    with pytest.raises(InputError, match=r"\.zarr"):
        reconstruct_batch(patterns(1), tmp_path / "out.cxi", tiny)


def test_the_marks_are_readable(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    report = reconstruct_batch(volume(3), tmp_path / "out.zarr", tiny, unit=2)
    lines = (report.target / "scores" / "units.jsonl").read_text().splitlines()
    assert [json.loads(line)["unit"] for line in lines] == [0, 1]

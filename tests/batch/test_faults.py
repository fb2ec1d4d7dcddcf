"""What goes wrong on the way costs the unit in work, and never the result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_i2ipr import io
from napari_i2ipr.batch import open_batch, reconstruct_batch
from napari_i2ipr.batch.journal import Journal
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import FormatError, InputError, OutputError
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.progress import Cancel, Event

Patterns = Callable[..., np.ndarray]
Image = Callable[..., np.ndarray]
Volume = Callable[..., Path]


def begin(source: Any, target: Path, config: Config, patterns_done: int, **options: Any) -> None:
    """A run that is stopped once so many patterns are done."""
    cancel = Cancel()

    def hear(event: Event) -> None:
        if getattr(event, "row", None) is not None and event.done >= patterns_done:
            cancel.set()

    assert not reconstruct_batch(source, target, config, cancel=cancel, on_event=hear, **options).complete


def shards(store: Path) -> list[Path]:
    return sorted(p for p in (store / "reconstruction" / "0" / "c").rglob("*") if p.is_file())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


DAMAGES: list[Callable[[Path], None]] = [truncate, flip, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_of_an_unfinished_target_is_redone(
    *, image: Image, damage: Callable[[Path], None], tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns
) -> None:
    source, target = volume(9), tmp_path / "out.zarr"
    begin(source, target, tiny, 7, unit=2)
    damage(shards(tmp_path / "out.zarr.partial")[1])
    report = reconstruct_batch(source, target, tiny)
    assert (report.kept, report.worked, report.redone) == (4, 5, 2)
    np.testing.assert_array_equal(image(target), reconstruct(Measurement(patterns(9)), tiny).image)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_of_a_complete_target_is_redone(
    *, image: Image, damage: Callable[[Path], None], tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns
) -> None:
    source, target = volume(5), tmp_path / "out.zarr"
    reconstruct_batch(source, target, tiny, unit=2)
    damage(shards(target)[2])
    report = reconstruct_batch(source, target, tiny)
    assert (report.kept, report.worked, report.redone, report.complete) == (4, 1, 1, True)
    np.testing.assert_array_equal(image(target), reconstruct(Measurement(patterns(5)), tiny).image)
    assert not (tmp_path / "out.zarr.partial").exists()
    assert reconstruct_batch(source, target, tiny).worked == 0


def test_a_lost_table_is_written_again(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(3), tmp_path / "out.zarr"
    table = reconstruct_batch(source, target, tiny).target / "scores" / "scores.csv"
    before = table.read_text()
    table.unlink()
    report = reconstruct_batch(source, target, tiny)
    assert (report.worked, report.complete) == (0, True)
    assert table.read_text() == before


def test_a_torn_mark_is_no_mark(image: Image, tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns) -> None:
    source, target = volume(6), tmp_path / "out.zarr"
    begin(source, target, tiny, 5, unit=2)
    journal = Journal(tmp_path / "out.zarr.partial").path
    content = journal.read_bytes()
    assert content.count(b"\n") == 2
    journal.write_bytes(content[:-20])
    report = reconstruct_batch(source, target, tiny)
    assert (report.kept, report.worked) == (2, 4)
    assert Journal(target).path.read_bytes().count(b"\n") == 3
    np.testing.assert_array_equal(image(target), reconstruct(Measurement(patterns(6)), tiny).image)


def test_a_complete_target_is_left_alone(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(3), tmp_path / "out.zarr"
    reconstruct_batch(source, target, tiny)
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    report = reconstruct_batch(source, target, tiny.replace(compute={"threads": 2}))
    assert (report.complete, report.worked, report.kept) == (True, 0, 3)
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*")} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zarr", "source.zarr"]


@pytest.mark.parametrize("complete", [False, True])
def test_other_settings_are_refused(complete: bool, tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(4), tmp_path / "out.zarr"
    if complete:
        reconstruct_batch(source, target, tiny)
    else:
        begin(source, target, tiny, 3, unit=1)
    other = tiny.replace(initialisation={"n_starts": 3})
    with pytest.raises(InputError, match=r"settings\.initialisation\.n_starts: 2 -> 3"):
        reconstruct_batch(source, target, other)
    report = reconstruct_batch(source, target, other, overwrite=True)
    assert (report.complete, report.worked) == (True, 4)
    assert io.read_result(target).provenance["config"]["initialisation"]["n_starts"] == 3


def test_other_weights_are_refused(
    tmp_path: Path, volume: Volume, tiny: Config, make_weights: Callable[..., Path]
) -> None:
    source, target = volume(2), tmp_path / "out.zarr"
    first, second = str(make_weights()), str(make_weights(widths=(4, 4)))
    refined = tiny.replace(refine={"enabled": True, "weights": first})
    reconstruct_batch(source, target, refined)
    with pytest.raises(InputError, match=r"\(weights\)"):
        reconstruct_batch(source, target, refined.replace(refine={"weights": second}))


@pytest.mark.parametrize("content", [True, False])
def test_a_source_that_changed_is_refused(content: bool, tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(5), tmp_path / "out.zarr"
    begin(source, target, tiny, 3, unit=1)
    chunk = source / "c" / "3" / "0" / "0"
    if content:
        zarr.open_array(str(source))[3] = 1 + np.arange(48 * 48, dtype=np.float32).reshape(48, 48)
    else:
        os.utime(chunk, (1, 1))
    with pytest.raises(InputError, match=r"source\.files"):
        reconstruct_batch(source, target, tiny)


def test_an_array_that_changed_is_refused(tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    data, target = patterns(40), tmp_path / "out.zarr"
    begin(data, target, tiny, 3, unit=1)
    data[17, 5, 5] += 1
    with pytest.raises(InputError, match=r"source\.content"):
        reconstruct_batch(data, target, tiny)
    with pytest.raises(InputError, match=r"source\.mask"):
        reconstruct_batch(patterns(40), target, tiny, mask=np.eye(48))


def test_overwriting_keeps_the_old_result_until_the_new_one_is_complete(
    image: Image, tmp_path: Path, volume: Volume, tiny: Config
) -> None:
    source, target = volume(4), tmp_path / "out.zarr"
    reconstruct_batch(source, target, tiny)
    before, other = image(target), tiny.replace(seed=1)
    begin(source, target, other, 2, unit=1, overwrite=True)
    np.testing.assert_array_equal(image(target), before)
    report = reconstruct_batch(source, target, other, overwrite=True)
    assert report.complete
    assert 0 < report.kept < 4
    assert not np.array_equal(image(target), before)


def test_starting_anew_on_request(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(4), tmp_path / "out.zarr"
    begin(source, target, tiny, 3, unit=1)
    report = reconstruct_batch(source, target, tiny, resume=False)
    assert (report.kept, report.worked) == (0, 4)


def test_foreign_things_are_not_touched(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source = volume(2)
    foreign = tmp_path / "out.zarr"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(InputError):
            reconstruct_batch(source, foreign, tiny, overwrite=overwrite)
    assert (foreign / "thesis.tex").read_text() == "all of it"
    other = tmp_path / "other.zarr.partial"
    other.mkdir()
    (other / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="did not write"):
        reconstruct_batch(source, tmp_path / "other.zarr", tiny, overwrite=True)
    with pytest.raises(InputError):
        reconstruct_batch(source, source, tiny, overwrite=True)
    with pytest.raises(FormatError, match="no batch"):
        open_batch(source)


@pytest.mark.skipif(sys.platform != "linux", reason="a file system that nobody can write to")
def test_a_place_that_cannot_be_written_to(volume: Volume, tiny: Config) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        reconstruct_batch(volume(2), "/proc/out.zarr", tiny)


def test_no_directory(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    with pytest.raises(OutputError):
        reconstruct_batch(volume(2), tmp_path / "nowhere" / "out.zarr", tiny)


def test_a_disk_that_is_too_small_is_found_before_the_work(
    tmp_path: Path, volume: Volume, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_i2ipr.batch import target

    monkeypatch.setattr(target, "free_bytes", lambda _: 1000)
    with pytest.raises(OutputError, match="free at"):
        reconstruct_batch(volume(2), tmp_path / "out.zarr", tiny)
    assert not (tmp_path / "out.zarr.partial").exists()


def test_a_store_that_fails_stops_the_run_and_can_be_gone_on_with(
    *, image: Image, tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_i2ipr.batch import target as stores

    source, target, real, count = volume(6), tmp_path / "out.zarr", stores.write_shard, 0

    def full(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(stores, "write_shard", full)
    with pytest.raises(OutputError, match=r"No space left on device.*run the same command again"):
        reconstruct_batch(source, target, tiny, unit=2)
    monkeypatch.undo()
    report = reconstruct_batch(source, target, tiny)
    assert (report.kept, report.worked) == (2, 4)
    np.testing.assert_array_equal(image(target), reconstruct(Measurement(patterns(6)), tiny).image)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_truncated_chunk_costs_its_own_patterns(
    *, image: Image, compressed: bool, tmp_path: Path, volume: Volume, tiny: Config, patterns: Patterns
) -> None:
    source = volume(7, chunk=(2,), compressors="auto" if compressed else None)
    truncate(source / "c" / "1" / "0" / "0")
    report = reconstruct_batch(source, tmp_path / "out.zarr", tiny, unit=4)
    assert report.statuses == {"DONE": 5, "UNREADABLE": 2}
    known = reconstruct(Measurement(patterns(7)), tiny).image
    known[2:4] = np.nan
    np.testing.assert_array_equal(image(report.target), known)
    assert "cannot be read" in open_batch(report.target).rows[2].notes[0]


@pytest.mark.parametrize("fill", [0, np.nan, 65535.0])
def test_missing_chunks_are_empty_patterns(fill: float, tmp_path: Path, tiny: Config, patterns: Patterns) -> None:
    source = tmp_path / "source.zarr"
    array = zarr.create_array(str(source), shape=(5, 48, 48), dtype="float32", chunks=(1, 48, 48), fill_value=fill)
    array[:3] = patterns(5)[:3]
    report = reconstruct_batch(source, tmp_path / "out.zarr", tiny)
    assert report.statuses == {"DONE": 3, "EMPTY": 2}


def test_one_run_at_a_time(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    source, target = volume(3), tmp_path / "out.zarr"
    refused: list[str] = []

    def meanwhile(event: Event) -> None:
        if getattr(event, "row", None) is not None and not refused:
            with pytest.raises(InputError) as caught:
                reconstruct_batch(source, target, tiny)
            refused.append(str(caught.value))

    report = reconstruct_batch(source, target, tiny, unit=1, on_event=meanwhile)
    assert report.complete
    assert "another run" in refused[0]
    assert not list(tmp_path.glob(".*lock"))


def test_a_lock_that_was_left_behind_holds_nobody_up(tmp_path: Path, volume: Volume, tiny: Config) -> None:
    (tmp_path / ".out.zarr.lock").write_text("")
    assert reconstruct_batch(volume(2), tmp_path / "out.zarr", tiny).complete

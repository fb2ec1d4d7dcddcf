"""Schedules: text and lists in, values out, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.solvers import METHODS, WRAPPERS
from napari_i2ipr.solvers.acceleration import Accelerated, Averaged
from napari_i2ipr.solvers.er import ER
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.raar import RAAR
from napari_i2ipr.solvers.recipe import Stage, parse_schedule, schedule_text, split, total_iterations

numbers = st.floats(min_value=1e-6, max_value=1.0)


def hyper_parameters(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a method or wrapper."""
    whole = {"axis": st.integers(0, 1)}
    fields = [field for field in dataclasses.fields(kind) if field.name != "method"]
    return st.fixed_dictionaries(
        {f.name: whole.get(f.name, st.integers(1, 10**9)) if f.type == "int" else numbers for f in fields}
    )


@st.composite
def methods(draw: st.DrawFn) -> Any:
    """Any method with any fields in any nest of wrappers."""
    kind = draw(st.sampled_from(list(METHODS.values())))
    method = kind(**draw(hyper_parameters(kind)))
    for wrapper in draw(st.lists(st.sampled_from(list(WRAPPERS.values())), max_size=3)):
        method = wrapper(method, **draw(hyper_parameters(wrapper)))
    return method


schedules = st.lists(st.builds(Stage, methods(), st.integers(1, 10**6)), min_size=1, max_size=5).map(tuple)


@settings(deadline=None, max_examples=150)
@given(schedules)
def test_text_gives_the_schedule_back(schedule: tuple[Stage, ...]) -> None:
    assert parse_schedule(schedule_text(schedule)) == schedule


@settings(deadline=None, max_examples=150)
@given(schedules)
def test_a_list_of_stages_in_text_is_the_same_schedule(schedule: tuple[Stage, ...]) -> None:
    assert parse_schedule([schedule_text((stage,)) for stage in schedule]) == schedule


@settings(deadline=None, max_examples=150)
@given(schedules, st.integers(-5, 6 * 10**6))
def test_a_split_keeps_every_iteration_in_order(schedule: tuple[Stage, ...], first: int) -> None:
    head, tail = split(schedule, first)
    assert total_iterations(head) == min(max(first, 0), total_iterations(schedule))
    assert total_iterations(head) + total_iterations(tail) == total_iterations(schedule)
    assert all(stage.iterations > 0 for stage in head + tail)
    joined = head + tail
    if head and tail and len(joined) > len(schedule):
        cut = len(head)
        both = Stage(head[-1].method, head[-1].iterations + tail[0].iterations)
        joined = (*head[:-1], both, *joined[cut + 1 :])
    assert joined == schedule


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("HIO:700 ER+acc:300", (Stage(HIO(), 700), Stage(Accelerated(ER()), 300))),
        ("  HIO:1\n ER:2 ", (Stage(HIO(), 1), Stage(ER(), 2))),
        ("HIO(beta=0.7):5", (Stage(HIO(beta=0.7), 5),)),
        ("HIO( beta = 0.7 ):5", (Stage(HIO(beta=0.7), 5),)),
        ("RAAR+avg:5", (Stage(Averaged(RAAR()), 5),)),
        ("ER+acc(gamma=1, every=2)+avg:5", (Stage(Averaged(Accelerated(ER(), 1.0, 2)), 5),)),
        (["HIO:700", {"ER+acc": 300}], (Stage(HIO(), 700), Stage(Accelerated(ER()), 300))),
        ([{"HIO(beta=0.8)": 7}], (Stage(HIO(beta=0.8), 7),)),
    ],
)
def test_what_a_schedule_means(given_value: Any, expected: tuple[Stage, ...]) -> None:
    assert parse_schedule(given_value) == expected


def test_whole_number_fields_are_whole() -> None:
    (stage,) = parse_schedule("ER+acc(every=2):5")
    assert isinstance(stage.method, Accelerated)
    assert isinstance(stage.method.every, int)


@pytest.mark.parametrize(
    ("given_value", "listed"),
    [
        ("XYZ:5", list(METHODS)),
        ("acc:5", list(METHODS)),
        ("ER+xyz:5", list(WRAPPERS)),
        ("ER+HIO:5", list(WRAPPERS)),
        ("HIO(gamma=1):5", ["beta"]),
        ("ER(beta=1):5", ["none"]),
        ("ER+acc(beta=1):5", ["gamma", "every"]),
        ("ER+acc(method=1):5", ["gamma", "every"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_valid_ones(given_value: str, listed: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schedule(given_value)
    for name in listed:
        assert name in caught.value.expected
    assert "method=" not in str(caught.value.expected)


@pytest.mark.parametrize(
    "given_value",
    [
        "",
        "   ",
        [],
        "HIO",
        "HIO:",
        "HIO:0",
        "HIO:-3",
        "HIO:1.5",
        ":5",
        "+acc:5",
        "HIO::5",
        "HIO(:5",
        "HIO(beta):5",
        "HIO(beta=):5",
        "HIO(beta=high):5",
        [{"HIO": 1, "ER": 2}],
        [{"HIO": 1.5}],
        [5],
        [None],
    ],
    ids=repr,
)
def test_what_is_no_schedule_is_refused(given_value: Any) -> None:
    with pytest.raises(ConfigError, match=r"got .*expected"):
        parse_schedule(given_value)


@pytest.mark.parametrize("given_value", [None, 5, 5.0, True, {"HIO": 700}], ids=repr)
def test_neither_text_nor_list_is_refused(given_value: Any) -> None:
    with pytest.raises(ConfigError, match=r"got .*expected"):
        parse_schedule(given_value)


@pytest.mark.parametrize(
    "text",
    [
        "HIO(beta=0):5",
        "HIO(beta=-0.5):5",
        "HIO(beta=1.5):5",
        "HIO(beta=nan):5",
        "HIO(beta=inf):5",
        "RAAR(beta=0):5",
        "RAAR(beta=2):5",
        "DM(beta=0):5",
        "DM(beta=9):5",
        "DM(beta=nan):5",
        "ER+acc(gamma=-1):5",
        "ER+acc(gamma=inf):5",
        "ER+acc(every=0):5",
        "ER+acc(every=-4):5",
        "ER+acc(every=2.5):5",
    ],
)
def test_a_number_out_of_its_documented_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"beta|gamma|every"):
        parse_schedule(text)


def test_defaults_are_left_out_of_the_text() -> None:
    text = "HIO:700 HIO(beta=0.7):5 ER+acc(every=2):300 RAAR+acc+avg:9"
    assert schedule_text(parse_schedule(text)) == text


def test_iterations_are_summed_over_stages() -> None:
    assert total_iterations(parse_schedule("HIO:700 ER+acc:300 HIO:700 ER+acc:77")) == 1777
    assert total_iterations(()) == 0

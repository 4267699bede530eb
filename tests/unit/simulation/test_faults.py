from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.simulation.test_traffic import PETAL_WIDTH, rng

from driftbell.errors import ConfigError
from driftbell.records import Value
from driftbell.simulation.faults import (
    GRAMMAR,
    Fault,
    FaultKind,
    Row,
    apply_faults,
    check_faults,
    parse_fault,
    parse_faults,
)
from driftbell.simulation.traffic import iris_rows

ROWS: list[dict[str, Value]] = [{"a b": 1.0, "c": 10.0}, {"a b": 2.0, "c": 20.0}, {"a b": None, "c": 30.0}]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("shift:a b=+3", [(4.0, 10.0), (5.0, 20.0), (None, 30.0)]),
        ("shift:c=-10", [(1.0, 0.0), (2.0, 10.0), (None, 20.0)]),
        ("scale:a b=1.5", [(1.5, 10.0), (3.0, 20.0), (None, 30.0)]),
        ("stuck:a b", [(1.0, 10.0), (1.0, 20.0), (1.0, 30.0)]),
        ("stuck:a b=5.1", [(5.1, 10.0), (5.1, 20.0), (5.1, 30.0)]),
        ("nulls:c", [(1.0, None), (2.0, None), (None, None)]),
        ("nulls:c=0", [(1.0, 10.0), (2.0, 20.0), (None, 30.0)]),
        ("swap:a b,c", [(10.0, 1.0), (20.0, 2.0), (30.0, None)]),
    ],
)
def test_each_fault(text: str, wanted: list[tuple[float | None, float | None]]) -> None:
    before = [dict(row) for row in ROWS]
    changed = apply_faults(ROWS, [parse_fault(text)], rng())
    assert [tuple(row.values()) for row in changed] == wanted
    assert before == ROWS


def test_nulls_take_their_share_of_the_rows() -> None:
    rows = apply_faults(iris_rows(1000, rng()), [parse_fault(f"nulls:{PETAL_WIDTH}=0.3")], rng(1))
    assert 250 < sum(row[PETAL_WIDTH] is None for row in rows) < 350


def test_faults_add_up_in_their_order() -> None:
    faults = [parse_fault("shift:c=1"), parse_fault("scale:c=2"), parse_fault("shift:c=1")]
    assert [row["c"] for row in apply_faults(ROWS, faults, rng())] == [23.0, 43.0, 63.0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('shift:"petal length (cm)"=+3', Fault(FaultKind.SHIFT, "petal length (cm)", 3.0)),
        ("shift:petal length (cm)=+3", Fault(FaultKind.SHIFT, "petal length (cm)", 3.0)),
        (" shift : a = -1e-3 ", Fault(FaultKind.SHIFT, "a", -0.001)),
        ("shift:a=b:c=3", Fault(FaultKind.SHIFT, "a=b:c", 3.0)),
        ('stuck:"a=1"', Fault(FaultKind.STUCK, "a=1")),
        ("stuck:a=1", Fault(FaultKind.STUCK, "a", 1.0)),
        ("nulls:a", Fault(FaultKind.NULLS, "a")),
        ("nulls:a=0.3", Fault(FaultKind.NULLS, "a", 0.3)),
        ("swap:a b, c d", Fault(FaultKind.SWAP, "a b", other="c d")),
        ('swap:"a, b","c"', Fault(FaultKind.SWAP, "a, b", other="c")),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shfit:a=1", "unknown fault 'shfit': did you mean 'shift'?"),
        ("", "unknown fault ''"),
        ("rot:a=1", "unknown fault 'rot'; a fault is"),
        ("shift", "cannot read the fault 'shift'"),
        ("shift:a", "cannot read the fault 'shift:a'"),
        ("shift:a=", "cannot read the fault 'shift:a='"),
        ("shift:=3", "cannot read the fault 'shift:=3'"),
        ('shift:"a=3', "cannot read the fault"),
        ("stuck:", "cannot read the fault 'stuck:'"),
        ("swap:a", "cannot read the fault 'swap:a'"),
        ("swap:a,", "cannot read the fault 'swap:a,'"),
        ("shift:a=three", "fault 'shift': 'three' is not a number"),
        ("scale:a=nan", "fault 'scale': 'nan' is not a number"),
        ("scale:a=1e999", "'1e999' is not a number"),
        ("nulls:a=30", "fault 'nulls': the share of rows must be from 0 to 1, got 30"),
        ("nulls:a=-0.1", "must be from 0 to 1, got -0.1"),
    ],
)
def test_a_bad_fault_is_explained_with_the_grammar(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_fault(text)
    assert message in str(raised.value)
    assert "shift:NAME=+3" in str(raised.value)


@given(st.text(max_size=40))
def test_any_text_is_a_fault_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert parse_fault(f"shift:{text}").feature


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "shift:petal lenght (cm)=3",
            "unknown feature 'petal lenght (cm)': did you mean 'petal length (cm)'?",
        ),
        ("nulls:height", "unknown feature 'height'; the features are sepal length (cm), sepal width (cm)"),
        ("swap:petal length (cm),width", "unknown feature 'width'"),
    ],
)
def test_an_unknown_feature_is_explained_with_the_grammar(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        apply_faults(iris_rows(3, rng()), [parse_fault(text)], rng())
    assert message in str(raised.value)
    assert "shift:NAME=+3" in str(raised.value)


@pytest.mark.parametrize("cell", ["red", True])
def test_only_numbers_can_be_shifted(cell: bool | str) -> None:
    with pytest.raises(ConfigError, match="fault 'shift': 'a' must hold numbers"):
        apply_faults([{"a": cell}], [parse_fault("shift:a=1")], rng())


@pytest.mark.parametrize(
    ("fault", "frozen"),
    [
        ("stuck:plan=team", "team"),
        ("stuck:plan=01067", "01067"),
        ("stuck:plan=5", "5"),
        ("stuck:plan", "pro"),
        ("stuck:active=False", False),
        ("stuck:age=5.10", 5.1),
    ],
)
def test_a_feature_is_frozen_at_a_value_of_its_type(fault: str, frozen: object) -> None:
    rows: list[Row] = [
        {"plan": None, "age": 1.0, "active": True},
        {"plan": "pro", "age": 2.0, "active": False},
    ]
    parsed = parse_fault(fault)
    changed = apply_faults(rows, [parsed], rng())
    assert [row[parsed.feature] for row in changed] == [frozen] * 2
    assert parse_fault(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("fault", "words"),
    [("stuck:age=team", "'age' holds numbers"), ("stuck:active=5", "'active' is true or false")],
)
def test_a_feature_cannot_be_frozen_at_a_value_of_another_type(fault: str, words: str) -> None:
    rows: list[Row] = [{"age": 1.0, "active": True}]
    with pytest.raises(ConfigError, match=words):
        apply_faults(rows, [parse_fault(fault)], rng())


def test_all_faults_that_cannot_be_read_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_faults(["shfit:a=1", "shift:a=2", "shift:a"])
    assert str(error.value) == (
        f"unknown fault 'shfit': did you mean 'shift'?; cannot read the fault 'shift:a'; {GRAMMAR}"
    )


def test_all_faults_that_cannot_be_applied_are_named_at_once() -> None:
    faults = parse_faults(["stuck:agee", "shift:city=2", "swap:x,y", "stuck:age"])
    with pytest.raises(ConfigError) as error:
        check_faults([{"age": 3.0, "city": "A"}] * 3, faults)
    assert str(error.value) == (
        "fault 'stuck:agee': unknown feature 'agee': did you mean 'age'?; "
        "fault 'shift': 'city' must hold numbers, got 'A'; "
        "fault 'swap:x,y': unknown feature 'x' and unknown feature 'y'; the features are age and city; "
        f"{GRAMMAR}"
    )

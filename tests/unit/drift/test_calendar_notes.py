"""Drift of columns that time moves on is noted as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import driftbell
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.drift.logged_columns import typed_columns
from driftbell.records import Scope, Verdict

ROWS = np.arange(600)
RNG = np.random.default_rng(0)
TIMES = 1.7e9 + RNG.integers(0, 10**6, 600)


@pytest.mark.parametrize(
    ("name", "reference", "current", "note"),
    [
        ("mnth", 1 + ROWS // 55 % 11, np.full(200, 12), "month: new values come with time"),
        ("hr", ROWS % 24, np.full(200, 7), "hour: new values come with time"),
    ],
)
def test_new_values_of_the_calendar_have_a_note(
    name: str, reference: np.ndarray, current: np.ndarray, note: str
) -> None:
    (column,) = compare({name: reference}, {name: current})
    assert column.p_value < 0.001
    assert column.note.endswith(f"; {note}")
    (same,) = compare({name: reference}, {name: RNG.permutation(reference)})
    assert note not in same.note


@pytest.mark.parametrize(
    ("name", "reference", "current"),
    [
        ("mnth", 1 + ROWS // 55 % 11, np.full(200, 12_000)),
        ("hr", ROWS % 24, np.full(200, 99)),
        ("ts", TIMES, 1e3 * TIMES),
    ],
)
def test_impossible_values_do_not_come_with_time(
    name: str, reference: np.ndarray, current: np.ndarray, tmp_path: Path
) -> None:
    (column,) = compare({name: reference}, {name: current})
    assert column.p_value < 0.001
    parquet.write_table(pa.table({name: current}), tmp_path / "current.parquet")
    parquet.write_table(pa.table({name: reference}), tmp_path / "reference.parquet")
    tables = (str(tmp_path / f"{side}.parquet") for side in ("reference", "current"))
    (counted,) = driftbell.check(*tables, exact_rows=100).columns
    for note in (column.note, counted.reason):
        assert "new values" not in note
        assert "grow" not in note


COUNTED = np.arange(5000.0, 5600)


@pytest.mark.parametrize(
    ("name", "reference", "current", "note"),
    [
        ("order_no", COUNTED, COUNTED[-1] + np.arange(1.0, 201), "counter: values continue to grow"),
        ("order_no", RNG.permutation(COUNTED), np.arange(9000.0, 9200), "counter: values continue to grow"),
        (
            "order_id",
            np.sort(RNG.integers(0, 500, 600)),
            np.arange(500, 700),
            "counter: values continue to grow",
        ),
        ("n", COUNTED, np.arange(200.0), "counter: values continue to grow"),  # it has started again
        ("ts", TIMES, 1.7e9 + 10**6 + np.arange(200.0), "time: values continue to grow"),
    ],
)
@pytest.mark.parametrize("newest", [0, 50])
def test_a_counter_is_not_compared_and_named_once(
    name: str, reference: np.ndarray, current: np.ndarray, note: str, newest: int
) -> None:
    values = RNG.normal(size=600)
    prepared = prepare(typed_columns({name: reference.astype(float), "x": values}))
    window = {name: current.astype(float), "x": values[:200]}
    counter, other = compare(prepared, typed_columns(window, prepared.decided), newest=newest)
    assert (counter.note, counter.scope, other.scope) == (note, Scope.NULLS, Scope.VALUES)
    judgement = judge([counter, other], rows=200, strong=0.001, unit="predictions")
    assert judgement.verdict is Verdict.OK
    assert judgement.sentence == (
        "No drift: the only compared column of the last 200 predictions looks like the reference. "
        f"1 column not compared: {name} ({note})."
    )
    assert [column.drifted for column in judgement.columns] == [False, False]


@pytest.mark.parametrize(
    "current", [np.full(200, 5100.0), np.where(np.arange(200) % 2 == 0, np.nan, np.arange(200.0))]
)
def test_a_counter_that_is_stuck_or_missing_has_drifted(current: np.ndarray) -> None:
    (counter,) = compare(
        prepare(typed_columns({"order_no": COUNTED})), typed_columns({"order_no": current}), newest=50
    )
    assert judge([counter], rows=200).columns[0].drifted
    assert ("grow" in counter.note) == bool(np.isnan(current).any())


def test_a_counter_is_compared_if_the_user_says_that_it_is_a_number() -> None:
    (counter,) = compare(
        {"order_no": COUNTED.astype(int)},
        {"order_no": 1000 + COUNTED.astype(int)},
        columns={"order_no": "numeric"},
    )
    assert counter.scope is Scope.VALUES
    assert counter.p_value < 0.001


def test_other_columns_have_no_such_note() -> None:
    (column,) = compare({"visits": RNG.poisson(3, 600)}, {"visits": RNG.poisson(7, 200)})
    assert "time" not in column.note
    assert "grow" not in column.note

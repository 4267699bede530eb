"""Drift of columns that time moves on is noted as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import driftbell
from driftbell.drift.compare import compare

ROWS = np.arange(600)
RNG = np.random.default_rng(0)
TIMES = 1.7e9 + RNG.integers(0, 10**6, 600)


@pytest.mark.parametrize(
    ("name", "reference", "current", "note"),
    [
        ("mnth", 1 + ROWS // 55 % 11, np.full(200, 12), "month: new values come with time"),
        ("hr", ROWS % 24, np.full(200, 7), "hour: new values come with time"),
        (
            "ts",
            1.7e9 + RNG.integers(0, 10**6, 600),
            1.7e9 + 10**6 + np.arange(200),
            "time: values continue to grow",
        ),
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


def test_other_columns_have_no_such_note() -> None:
    (column,) = compare({"visits": RNG.poisson(3, 600)}, {"visits": RNG.poisson(7, 200)})
    assert "time" not in column.note
    assert "grow" not in column.note

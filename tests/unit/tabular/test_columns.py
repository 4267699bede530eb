"""Tables of every library become the same columns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftbell.errors import InputError
from driftbell.records import Kind
from driftbell.tabular.columns import as_column, as_columns, kind_of

CELLS: dict[str, list[Any]] = {
    "number": [1.5, None, -2.0],
    "count": [1, 2, 3],
    "name": ["a", None, "b"],
    "flag": [True, False, True],
    "time": [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), None],
}


def arrays(cells: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: np.array(values, dtype=object) for name, values in cells.items()}


CONSTRUCTORS: list[Callable[[dict[str, list[Any]]], Any]] = [
    dict,
    arrays,
    pd.DataFrame,
    pl.DataFrame,
    pa.table,
]


@pytest.mark.parametrize("table", CONSTRUCTORS, ids=["lists", "arrays", "pandas", "polars", "pyarrow"])
def test_tables_of_every_library_have_the_same_columns(table: Callable[..., Any]) -> None:
    columns = as_columns(table(CELLS))
    assert list(columns) == list(CELLS)
    np.testing.assert_array_equal(columns["number"], [1.5, np.nan, -2.0])
    np.testing.assert_array_equal(columns["count"], [1.0, 2.0, 3.0])
    assert columns["name"].tolist() == ["a", None, "b"]
    assert columns["flag"].tolist() == [True, False, True]
    assert columns["time"].tolist()[2] is None
    assert [kind_of(column) for column in columns.values()] == [
        Kind.NUMERIC,
        Kind.NUMERIC,
        Kind.CATEGORICAL,
        Kind.BOOLEAN,
        Kind.DATETIME,
    ]


def test_nullable_and_categorical_columns_of_pandas_are_read() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["x", None]),
            "s": pd.array(["x", None], dtype="string"),
            7: [1, 2],
        }
    )
    columns = as_columns(frame)
    np.testing.assert_array_equal(columns["n"], [1.0, np.nan])
    assert columns["c"].tolist() == columns["s"].tolist() == ["x", None]
    np.testing.assert_array_equal(columns["7"], [1.0, 2.0])


@pytest.mark.parametrize("table", [[1, 2], 5, None, np.zeros((2, 2)), pd.Series([1.0])])
def test_an_object_that_is_not_a_table_is_an_input_error(table: Any) -> None:
    with pytest.raises(InputError, match="must be a mapping of columns or a data frame, got"):
        as_columns(table)


def test_columns_of_different_lengths_are_an_input_error() -> None:
    with pytest.raises(InputError, match="differ in length: a has 1, b has 2"):
        as_columns({"a": [1], "b": [1, 2]})


def test_a_column_with_two_dimensions_is_an_input_error() -> None:
    with pytest.raises(InputError, match="column 'a' must have one dimension, got 2"):
        as_columns({"a": np.zeros((2, 2))})


def test_dates_are_a_column_of_datetimes() -> None:
    assert kind_of(as_column([date(2026, 1, 1), None])) is Kind.DATETIME


def test_driftbell_imports_narwhals_for_tables_of_other_libraries_only() -> None:
    code = (
        "import sys, driftbell.tabular.columns as columns; columns.as_columns({'a': [1]}); "
        "print('narwhals' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr

"""Tables of every library become the same typed columns; the reference or the user decides their kinds."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftbell.errors import ConfigError, InputError
from driftbell.records import Kind
from driftbell.tabular.typed_column import TypedColumn, read_columns, same_precision

CELLS: dict[str, list[Any]] = {
    "number": [1.5, None, -2.0],
    "count": [1, 2, 3],
    "name": ["a", None, "b"],
    "flag": [True, False, True],
    "time": [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), None],
}


class Capsule:
    """A table with nothing but the Arrow PyCapsule protocol."""

    def __init__(self, cells: dict[str, list[Any]]) -> None:
        self._table = pa.table(cells)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def rows(cells: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


TABLES: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "lists": dict,
    "tuples": lambda c: {k: tuple(v) for k, v in c.items()},
    "arrays of objects": lambda c: {k: np.array(v, dtype=object) for k, v in c.items()},
    "rows": rows,
    "iterator of rows": lambda c: iter(rows(c)),
    "pandas": pd.DataFrame,
    "pandas, nullable": lambda c: pd.DataFrame(c).convert_dtypes(),
    "pandas, Arrow": lambda c: pa.table(c).to_pandas(types_mapper=pd.ArrowDtype),
    "series of pandas": lambda c: {k: pd.Series(v) for k, v in c.items()},
    "Polars": pl.DataFrame,
    "Polars, lazy": pl.LazyFrame,
    "Arrow": pa.table,
    "Arrow batch": lambda c: pa.table(c).to_batches()[0],
    "capsule": Capsule,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_library_have_the_same_columns(name: str) -> None:
    columns = read_columns(TABLES[name](CELLS))
    assert list(columns) == list(CELLS)
    np.testing.assert_array_equal(columns["number"].values, [1.5, np.nan, -2.0])
    np.testing.assert_array_equal(columns["count"].values, [1.0, 2.0, 3.0])
    assert columns["count"].values.dtype == np.float64
    assert columns["name"].values.tolist() == ["a", None, "b"]
    assert columns["flag"].values.tolist() == [True, False, True]
    times = ["2026-01-01T12:00", "2026-01-02T00:00", "NaT"]
    np.testing.assert_array_equal(columns["time"].values, np.array(times, dtype="datetime64[us]"))
    kinds = [Kind.NUMERIC, Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN, Kind.DATETIME]
    assert [c.kind for c in columns.values()] == kinds
    stored = ["numbers", "numbers", "text", "booleans", "dates"]
    assert [c.stored_as for c in columns.values()] == stored
    assert not any(c.unreadable or c.set_by_user for c in columns.values())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, "got None"),
        (5, "got int"),
        ([1, 2], "got list"),
        ([[1, 2], [3, 4]], "got list"),
        (np.zeros((2, 2)), "got ndarray"),
        (pd.Series([1.0]), "got Series"),
        (pl.Series([1.0]), "got Series"),
        (pa.array([1]), "got"),
        ({"a": 1}, "column 'a' must be a sequence of cells, got int"),
        ({"a": "abc"}, "column 'a' must be a sequence of cells, got str"),
        ({"a": None}, "column 'a' must be a sequence of cells, got NoneType"),
        ({"a": np.zeros((2, 2))}, "column 'a' must have one dimension, got 2"),
        ({"a": [1], "b": [1, 2]}, "differ in length: a has 1 and b has 2"),
        ({0: [1], "0": [2]}, "duplicate column name '0'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "duplicate column name 'a'"),
        (pd.DataFrame([[1, 2]], columns=[0, "0"]), "duplicate column name '0'"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "duplicate column name 'a'"),
    ],
)
def test_an_object_that_is_no_table_is_an_input_error(table: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_columns(table)
    assert words in str(caught.value)


def test_a_path_is_read_as_a_file(tmp_path: Any) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    for path in (tmp_path / "t.csv", str(tmp_path / "t.csv")):
        assert read_columns(path)["a"].values.tolist() == [1.0]
    with pytest.raises(ConfigError, match="cannot read a,b"):
        read_columns("a,b")


PRECISIONS: list[tuple[Any, str]] = [
    (np.array([0.1, 0.2], dtype=np.float32), "float32"),
    (np.array([0.1, 0.2], dtype=np.float16), "float16"),
    (np.array([1, 2], dtype=np.int16), "int16"),
    ([0.1, 0.2], "float64"),
    ([1, 2], "int64"),
    (["0.1", "0.2"], "float64"),
    ([Decimal("0.1"), Decimal("0.2")], "float64"),
    (pd.array([0.1, None], dtype="Float32"), "float32"),
    (pd.Series([0.1, None], dtype=pd.ArrowDtype(pa.float32())), "float32"),
    (pl.Series([0.1, None], dtype=pl.Float32), "float32"),
    (pa.array([0.1, None], pa.float32()), "float32"),
]


@pytest.mark.parametrize(("cells", "precision"), PRECISIONS)
def test_the_precision_of_the_source_is_kept(cells: Any, precision: str) -> None:
    x = read_columns({"x": cells})["x"]
    assert x.precision == np.dtype(precision)
    assert x.values.dtype == np.float64


def test_numbers_are_equal_at_the_coarser_precision() -> None:
    cells = np.random.default_rng(0).choice([0.1, 0.2, 0.3], 50)
    double, single = (read_columns({"x": cells.astype(t)})["x"] for t in (np.float64, np.float32))
    assert not np.array_equal(double.values, single.values)
    for a, b in ((double, single), (single, double)):
        first, second = same_precision(a, b)
        np.testing.assert_array_equal(first.values, second.values)
    assert same_precision(double, double) == (double, double)


OTHER: dict[str, tuple[Any, Kind, list[Any], str]] = {
    "durations": (pd.to_timedelta([1, 2], unit="s"), Kind.NUMERIC, [1.0, 2.0], "durations"),
    "Python's durations": ([timedelta(seconds=3), None], Kind.NUMERIC, [3.0, np.nan], "durations"),
    "lists": ([[0.1, 0.2], [0.3]], Kind.NESTED, [[0.1, 0.2], [0.3]], "lists"),
    "arrays": ([np.zeros(1), None], Kind.NESTED, [np.zeros(1), None], "lists"),
    "days": ([date(2026, 1, 1), None], Kind.DATETIME, [datetime(2026, 1, 1), None], "dates"),  # noqa: DTZ001
    "mixed numbers and text": ([1, "2", 3.0, "4.5"], Kind.NUMERIC, [1.0, 2.0, 3.0, 4.5], "mixed types"),
    "mixed": ([1, "a", True, None], Kind.CATEGORICAL, ["1", "a", "True", None], "mixed types"),
    "one list among numbers": (
        [1.5, [2.5], None, 3.5, 4.5],
        Kind.CATEGORICAL,
        ["1.5", "[2.5]", None, "3.5", "4.5"],
        "mixed types",
    ),
    "numbers among lists": ([[1], 2, [3]], Kind.NESTED, [[1], 2, [3]], "mixed types"),
    "bytes among text": (["a", b"a", "b"], Kind.CATEGORICAL, ["a", "b'a'", "b"], "mixed types"),
    "arrays of one number": ([np.array(1.5), 2.5], Kind.NUMERIC, [1.5, 2.5], "numbers"),
    "numbers of many types": (
        [Decimal("0.5"), Fraction(1, 4), np.float32(0.5), np.int8(2)],
        Kind.NUMERIC,
        [0.5, 0.25, 0.5, 2.0],
        "numbers",
    ),
    "nulls of many types": (
        pd.Series([1.5, None, np.nan, pd.NA, pd.NaT], dtype=object),
        Kind.NUMERIC,
        [1.5, *[np.nan] * 4],
        "numbers",
    ),
    "dates and text": (
        [datetime(2026, 1, 1, 6, tzinfo=UTC), "2026-01-02"],
        Kind.DATETIME,
        [datetime(2026, 1, 1, 6), datetime(2026, 1, 2)],  # noqa: DTZ001
        "mixed types",
    ),
    "1 in every type": (["1", 1, 1.0, "a"], Kind.CATEGORICAL, ["1", "1", "1", "a"], "mixed types"),
    "blanks and cases": (["a", "a ", "A"], Kind.CATEGORICAL, ["a", "a ", "A"], "text"),
    "category of numbers": (pd.Categorical([10115, 80331]), Kind.CATEGORICAL, ["10115", "80331"], "numbers"),
    "NumPy's booleans": ([np.bool_(True), None], Kind.BOOLEAN, [True, None], "booleans"),
    "huge": ([10**400, -(10**400)], Kind.NUMERIC, [np.inf, -np.inf], "numbers"),
    "half a surrogate pair": (["\ud800", "b"], Kind.CATEGORICAL, ["\ufffd", "b"], "text"),
}


@pytest.mark.parametrize("name", OTHER)
def test_cells_of_other_types_are_read(name: str) -> None:
    cells, kind, values, stored_as = OTHER[name]
    x = read_columns({"x": cells})["x"]
    assert (x.kind, x.stored_as) == (kind, stored_as)
    assert [None if v is None or v != v else v for v in x.values.tolist()] == [
        None if v is None or v != v else v for v in values
    ]


N, C, B, D, ID, T = (Kind(k) for k in ("numeric", "categorical", "boolean", "datetime", "identifier", "text"))
APPLIED: list[tuple[Kind, list[Any], list[Any], int, tuple[str, ...]]] = [
    (N, ["n/a", "x", "1,5", "2,5"], [None, None, 1.5, 2.5], 1, ("x",)),
    (N, ["a", "b", "a", "c", "d"], [None] * 5, 5, ("a", "b", "c")),
    (N, [True, False, None], [1.0, 0.0, None], 0, ()),
    (N, ["true", "False"], [1.0, 0.0], 0, ()),
    (N, [[1], None], [None, None], 1, ("[1]",)),
    (N, [datetime(2026, 1, 1)], [None], 1, ("2026-01-01T00:00:00.000000",)),  # noqa: DTZ001
    (C, [1, 2.0, None], ["1", "2", None], 0, ()),
    (C, [0.5, 1e300], ["0.5", "1e+300"], 0, ()),
    (C, ["1.0", "2", "01"], ["1", "2", "01"], 0, ()),
    (C, [2**62 + 1], [str(2**62 + 1)], 0, ()),
    (C, [True, None], ["True", None], 0, ()),
    (C, [date(2026, 1, 1)], ["2026-01-01"], 0, ()),
    (C, [[1]], [None], 1, ("[1]",)),
    (B, [1, 0, 2], [True, False, None], 1, ("2",)),
    (B, ["yes", "N", "0", "perhaps"], [True, False, False, None], 1, ("perhaps",)),
    (B, ["WAHR", "Faux", "VERO", "verdadero", "falso"], [True, False, True, True, False], 0, ()),
    (D, ["2026-01-01", "soon"], ["2026-01-01T00:00:00.000000", None], 1, ("soon",)),
    (D, ["20260131"], ["2026-01-31T00:00:00.000000"], 0, ()),
    (D, [1767225600], ["2026-01-01T00:00:00.000000"], 0, ()),
    (D, [1767225600000.0, None], ["2026-01-01T00:00:00.000000", None], 0, ()),
    (ID, [1, 2], ["1", "2"], 0, ()),
    (T, ["a b", " "], ["a b", None], 0, ()),
    (Kind.NESTED, [1], [None], 1, ("1",)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "cells", "values", "unreadable", "examples"), APPLIED)
def test_the_kind_of_the_reference_is_applied(
    kind: Kind, cells: list[Any], values: list[Any], unreadable: int, examples: tuple[str, ...]
) -> None:
    x = read_columns({"x": cells}, kinds={"x": kind})["x"]
    actual = [str(v) if isinstance(v, np.datetime64) else v for v in x.values]
    assert [None if v is None or v != v or v == "NaT" else v for v in actual] == values
    assert (x.kind, x.unreadable, x.examples) == (kind, unreadable, examples)


def test_the_order_of_day_and_month_is_decided_on_the_reference() -> None:
    reference = read_columns({"t": ["01/31/2026", "02/01/2026"]})
    current = read_columns({"t": ["03/04/2026"]}, kinds=reference)
    assert reference["t"].date_order == current["t"].date_order == "month first"
    assert str(current["t"].values[0]) == "2026-03-04T00:00:00.000000"
    alone = read_columns({"t": ["03/04/2026"]}, kinds={"t": Kind.DATETIME})["t"]
    assert (alone.unreadable, alone.examples) == (1, ("03/04/2026",))


def test_the_user_sets_kinds() -> None:
    table = {"zip": [10115, 80331, 1.5], "day": ["20260131", "x", "20260201"], "n": ["1", "2.5", "x"]}
    kinds = {"zip": "categorical", "day": "datetime", "n": "integer"}
    columns = read_columns(table, columns=kinds)
    assert [c.kind for c in columns.values()] == [Kind.CATEGORICAL, Kind.DATETIME, Kind.NUMERIC]
    assert all(c.set_by_user for c in columns.values())
    assert columns["zip"].values.tolist() == ["10115", "80331", "1.5"]
    assert (columns["day"].unreadable, columns["day"].examples) == (1, ("x",))
    assert (columns["n"].unreadable, columns["n"].examples) == (2, ("2.5", "x"))


def test_columns_are_selected_by_names_and_patterns() -> None:
    table: dict[str, list[int]] = {name: [1] for name in ("id", "row_a", "row_b", "age", "x[1]")}
    assert list(read_columns(table, exclude=["id", "row_*"])) == ["age", "x[1]"]
    assert list(read_columns(table, include=["age", "row_*"], exclude=["row_b"])) == ["row_a", "age"]
    assert list(read_columns(table, include=["x[1]"])) == ["x[1]"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": {"agee": "text"}}, "column: the table has no column 'agee': did you mean 'age'?"),
        ({"columns": {"age": "number"}}, "unknown kind 'number' of column 'age'"),
        ({"exclude": ["zzz"]}, "exclude: the table has no column 'zzz': the columns are age and zip"),
        ({"exclude": ["row_*"]}, "exclude: the table has no column 'row_*'"),
        ({"exclude": ["*"]}, "exclude, include: no column of the table is left"),
        ({"include": ["zipp"]}, "did you mean 'zip'?"),
    ],
)
def test_an_option_without_its_column_is_refused(options: dict[str, Any], words: str) -> None:
    table = {"age": [1], "zip": ["a"]}
    with pytest.raises(ConfigError) as caught:
        read_columns(table, **options)
    assert words in str(caught.value)
    if "number" not in words:
        assert list(read_columns({"age": [1]}, kinds={}, **options)) in (["age"], [])


def test_the_users_null_words_are_null_in_every_kind() -> None:
    table = {"n": ["1", "-999", "2"], "c": ["a", "missing", "b"]}
    columns = read_columns(table, nulls=["-999", "missing"])
    np.testing.assert_array_equal(columns["n"].values, [1, np.nan, 2])
    assert columns["c"].values.tolist() == ["a", None, "b"]
    assert not columns["n"].unreadable


def test_columns_that_are_read_stay_as_they_are() -> None:
    columns = read_columns({"x": ["1", "2"], "y": [1, 2]})
    assert read_columns(columns) == columns
    assert read_columns(columns, kinds=columns) == columns
    again = read_columns(columns, kinds={"x": Kind.CATEGORICAL})
    assert again["x"].values.tolist() == ["1", "2"]


def test_columns_with_a_role_are_no_identifiers() -> None:
    table = {"answer": list(range(30)), "when": [f"2026-01-{i:02}" for i in range(1, 31)]}
    assert {c.kind for c in read_columns(table).values()} == {Kind.IDENTIFIER}
    used = read_columns(table, roles=table)
    assert [c.kind for c in used.values()] == [Kind.NUMERIC, Kind.DATETIME]


def kind_of(cells: Any, name: str = "x") -> Kind | None:
    return read_columns({name: cells})[name].kind


def test_identifiers_are_told_from_amounts() -> None:
    rng = np.random.default_rng(0)
    assert kind_of(np.arange(5)) is Kind.NUMERIC  # too few to tell
    assert kind_of(np.arange(100)) is Kind.IDENTIFIER
    assert kind_of(rng.permutation(1000)[:700]) is Kind.IDENTIFIER
    assert kind_of(rng.integers(0, 10**6, 500)) is Kind.NUMERIC
    assert kind_of(rng.choice(10**9, 500, replace=False)) is Kind.NUMERIC
    assert kind_of(rng.choice(10**9, 500, replace=False), "user_id") is Kind.IDENTIFIER
    assert kind_of(rng.integers(0, 5, 500), "store_id") is Kind.NUMERIC
    assert kind_of(np.sort(rng.normal(size=500))) is Kind.NUMERIC
    assert kind_of(1.7e9 + np.arange(500.0)) is Kind.IDENTIFIER  # seconds since 1970
    assert kind_of([f"{i:032x}" for i in rng.choice(10**9, 500, replace=False)]) is Kind.IDENTIFIER
    assert kind_of([f"user{i}" for i in rng.integers(0, 400, 500)]) is Kind.TEXT
    assert kind_of(rng.choice(["a", "b"], 500)) is Kind.CATEGORICAL


def test_numbers_need_neither_polars_nor_narwhals() -> None:
    code = (
        "import sys; from driftbell.tabular.typed_column import read_columns; import numpy as np; "
        "read_columns({'a': [1, 2.5], 'b': np.zeros(2), 'c': [True, None]}); "
        "print({'polars', 'narwhals'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.datetimes(),
    st.timedeltas(), st.decimals(), st.binary(max_size=3), st.lists(st.integers(), max_size=2),
    st.complex_numbers(), st.times(), st.uuids(),
    st.sampled_from(["NA", "true", "1,5", "5%", "2026-01-31", "01/02/2026", "$5"]),
)  # fmt: skip


@given(st.lists(ANY, max_size=12), st.sampled_from([None, *Kind]))
def test_any_cells_are_read_and_every_cell_is_accounted_for(cells: list[Any], kind: Kind | None) -> None:
    x: TypedColumn = read_columns({"x": cells}, kinds={"x": kind})["x"]
    assert len(x.values) == len(cells)
    assert 0 <= x.unreadable <= len(cells)
    assert bool(x.examples) == bool(x.unreadable)
    if x.kind is Kind.NUMERIC:
        assert x.values.dtype == np.float64
        assert x.precision is not None
    elif x.kind is Kind.DATETIME:
        assert x.values.dtype == np.dtype("datetime64[us]")
    else:
        assert x.values.dtype == object
    again = read_columns({"x": cells}, kinds={"x": x})["x"]
    assert (again.kind, again.unreadable) == (x.kind, x.unreadable)


@example([b"", complex(0, math.nan)])
@given(st.lists(ANY, min_size=1, max_size=12))
def test_the_kind_of_the_reference_reads_the_reference_again(cells: list[Any]) -> None:
    x = read_columns({"x": cells})["x"]
    again = read_columns({"x": cells}, kinds={"x": x.kind})["x"]
    assert again.values.dtype == x.values.dtype
    assert repr(again.values.tolist()) == repr(x.values.tolist())  # a complex NaN equals no other


@pytest.mark.parametrize("dtype", ["int16", "int64", "uint8", "float32", "float64"])
def test_null_words_are_null_in_stored_numbers(dtype: str) -> None:
    table = {"x": np.array([1, 2, 99] * 20, dtype=dtype)}
    x = read_columns(table, nulls=["99", "none", "99.5"])["x"]
    assert (x.kind, x.precision, x.unreadable) == (Kind.NUMERIC, np.dtype(dtype), 0)
    np.testing.assert_array_equal(x.values, [1, 2, np.nan] * 20)
    word = read_columns(table, nulls=["99"], columns={"x": "categorical"})["x"]
    assert word.values.tolist()[:3] == ["1", "2", None] if "int" in dtype else word.values[2] is None


def test_a_null_word_is_rounded_like_the_numbers() -> None:
    x = read_columns({"x": np.array([1, -99.9] * 20, dtype=np.float32)}, nulls=["-99.9", "1e300", "nan"])["x"]
    np.testing.assert_array_equal(x.values, [1, np.nan] * 20)


def test_a_window_has_examples_of_its_own_unreadable_cells() -> None:
    cells = [1.5, "x", 2.5, "error", "$3", None, [4]] * 3
    column = read_columns({"n": cells}, kinds={"n": Kind.NUMERIC})["n"]
    assert (column.unreadable, column.examples) == (9, ("x", "error", "[4]"))
    window = column.window(2, 7)
    assert (window.unreadable, window.examples, window.unreadable_rows.tolist()) == (
        2,
        ("error", "[4]"),
        [1, 4],
    )
    turned = column.reorder(range(len(cells))[::-1]).window(0, 2)
    assert (turned.unreadable, turned.examples) == (1, ("[4]",))

"""Text in a column of numbers is read where that is certain, else named; its rows count as missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import driftbell
from driftbell.records import Kind, Verdict
from driftbell.tabular.typed_column import read_columns

ROWS = 1000
Table = dict[str, list[Any]]


def table(rows: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(60, 10, rows).round(1), rng.normal(0, 1, rows).round(3)
    score = 1 / (1 + np.exp(-3 * ((a - 60) / 10 + 0.3 * b)))
    label = (rng.random(rows) < score).astype(int)
    predicted = (score > 0.5).astype(int)
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "score": score.tolist(),
        "prediction": predicted.tolist(),
        "label": label.tolist(),
    }


def with_cells(cells: list[Any], write: Callable[[Any], Any], share: float, first: int = 0) -> list[Any]:
    """Write a share of the cells, evenly spaced, in another way."""
    step = round(1 / share)
    return [write(v) if i >= first and i % step == 0 else v for i, v in enumerate(cells)]


READ: dict[str, Callable[[Any], Any]] = {
    "plain text": str,
    "exponent and blank": lambda v: f"{v:e} ",
    "currency": lambda v: f"${v}",
    "decimal comma": lambda v: str(v).replace(".", ","),
    "blank and decimal comma": lambda v: f" {v} ".replace(".", ","),
    "decimal": lambda v: Decimal(str(v)),
    "NumPy": np.float64,
}

NAMED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "percent": (lambda v: f"{v} %", "(percent sign)"),
    "unit": (lambda v: f"{v} kg", "(unit)"),
    "boolean": (lambda v: True, "'True' (true or false)"),
    "date": (lambda v: "2026-01-31", "'2026-01-31' (date)"),
    "list": (lambda v: [v], "(list or structure)"),
    "bytes": (lambda v: str(v).encode(), "(bytes)"),
    "word": (lambda v: "error", "such as 'error'. Write"),
}

NULL = ("n/a", "", None, float("nan"), "NULL")


@pytest.mark.parametrize("share", [0.01, 0.25, 0.6, 0.95])
@pytest.mark.parametrize("name", READ)
def test_numbers_in_text_that_are_certain_are_read(name: str, share: float) -> None:
    """Texts alone decide how texts are read: numbers beside them are numbers, whatever their share is."""
    reference, current = table(ROWS, 0), table(ROWS, 1)
    known = current["a"]
    rows = np.random.default_rng(2).random(ROWS) < share
    current["a"] = [READ[name](v) if row else v for v, row in zip(known, rows, strict=True)]
    np.testing.assert_allclose(read_columns(current, kinds={"a": Kind.NUMERIC})["a"].values, known)
    check = driftbell.check(reference, current)
    assert check.columns[0].comparison.unreadable == (0, 0)
    assert (check.verdict, "Not read" in check.sentence) == (Verdict.OK, False)


@pytest.mark.parametrize("share", [0.01, 0.25])
@pytest.mark.parametrize("name", NAMED)
def test_other_cells_are_named_with_their_share_and_an_example(name: str, share: float) -> None:
    write, words = NAMED[name]
    reference, current = table(ROWS, 0), table(ROWS, 1)
    current["a"] = with_cells(current["a"], write, share)
    check = driftbell.check(reference, current)
    assert check.columns[0].comparison.unreadable == (0, share * ROWS)
    assert f"a in {share * ROWS:,.0f} of 1,000 cells ({share:.1%}) such as " in check.sentence
    assert words in check.sentence
    assert check.sentence.endswith("Write these cells like the others of the column.")
    assert check.verdict is (Verdict.WARNING if share > 0.02 else Verdict.OK)


@pytest.mark.parametrize("cell", NULL, ids=repr)
def test_words_that_mean_null_are_null(cell: Any) -> None:
    reference, current = table(ROWS, 0), table(ROWS, 1)
    current["a"] = with_cells(current["a"], lambda _: cell, 0.25)
    comparison = driftbell.check(reference, current).columns[0].comparison
    assert (comparison.null_shares, comparison.unreadable) == ((0.0, 0.25), (0, 0))


@pytest.mark.parametrize(
    ("cells", "numbers", "unreadable"),
    [
        ([60.5, "66,1", 61], [60.5, 66.1, 61.0], 0),
        ([60.5, "1 234,5", "7,25", 61], [60.5, 1234.5, 7.25, 61.0], 0),
        ([60.5, "1.234,5", 61], [60.5, 1234.5, 61.0], 0),
        ([60.5, "1,234.5", 61], [60.5, 1234.5, 61.0], 0),
        ([60.5, "$12", "13,5", 61], [60.5, 12.0, 13.5, 61.0], 0),
        ([0.5, "12 %", 0.25], [0.5, None, 0.25], 1),
        ([60.5, "1e3 ", "inf", True], [60.5, 1000.0, np.inf, None], 1),
        ([60.5, "66.1", "66,1", "67.1"], [60.5, 66.1, None, 67.1], 1),
        ([1.234, 949.0, "1.234"], [1.234, 949.0, 1.234], 0),
    ],
)
def test_texts_among_numbers_have_the_convention_of_the_texts(
    cells: list[Any], numbers: list[Any], unreadable: int
) -> None:
    column = read_columns({"a": cells}, kinds={"a": Kind.NUMERIC})["a"]
    assert [None if v != v else v for v in column.values.tolist()] == numbers
    assert (column.unreadable, column.remark) == (unreadable, "")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%b %d, %Y"])
@pytest.mark.parametrize("kind", [None, Kind.DATETIME])
def test_dates_in_text_among_dates_are_read(kind: Kind | None, form: str, share: float) -> None:
    rng = np.random.default_rng(3)
    known = [datetime(2026, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 300, 200)]  # noqa: DTZ001
    rows = rng.random(200) < share
    cells = [day.strftime(form) if row else day for day, row in zip(known, rows, strict=True)]
    column = read_columns({"x": cells}, kinds={"x": kind} if kind else None)["x"]
    assert (column.kind, column.unreadable) == (Kind.DATETIME, 0)
    assert column.values.tolist() == known


def test_cells_of_the_reference_are_named() -> None:
    reference, current = table(ROWS, 0), table(ROWS, 1)
    texts = [str(v) for v in reference["a"]]
    reference["a"] = with_cells(texts, lambda v: "66,1", 0.01)
    sentence = driftbell.check(reference, current).sentence
    assert (
        "missing: in the reference, a in 10 of 1,000 cells (1.0%) such as '66,1' (decimal comma)." in sentence
    )
    reference["a"] = with_cells(texts, lambda v: "66,1", 0.25)
    reason = driftbell.check(reference, current).columns[0].reason
    assert "in the reference, numbers are compared as texts because of cells such as '66,1' among" in reason


@pytest.mark.parametrize("name", ["unit", "list", "boolean"])
def test_a_backtest_counts_their_rows_as_missing(name: str) -> None:
    """Unreadable cells and nulls of the same rows have the same estimated loss."""
    write, words = NAMED[name]
    reference, stream = table(2000, 0), table(3000, 1)
    results = []
    for change in (write, lambda _: None):
        cells = with_cells(stream["a"], change, 0.25, 1500)
        checks = driftbell.backtest(
            reference, {**stream, "a": cells}, prediction="prediction", probabilities={1: "score"}
        )
        results.append(list(checks))
    for check, with_nulls in zip(*results, strict=True):
        assert (check.estimated_loss, check.interval) == (with_nulls.estimated_loss, with_nulls.interval)
        assert ("Not read, and counted as missing: a in 125 of 500 cells" in check.sentence) == (
            check.index > 2
        )
        assert (words in check.sentence) == (check.index > 2)
    assert results[0][-1].verdict is Verdict.ALARM
    assert results[0][-1].estimated_loss > 0.05

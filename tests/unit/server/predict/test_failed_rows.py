"""The value that a model fails on is found by predicting the row without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np
import pytest

from driftbell.errors import InputError, PredictError
from driftbell.records import Value
from driftbell.server.predict.failed_rows import FailedRows, masked_reason
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema

SCHEMA = infer_schema(
    as_columns(
        {
            "age": np.array([31.0, 40.0, 50.0]),
            "city": np.array(["Bern", "Genf", "Bern"], dtype=object),
            "plan": np.array(["free", "paid", None], dtype=object),
            "store": np.array([1.0, 2.0, 3.0]),
        }
    )
)
GOOD: list[Value] = [31.0, "Bern", "free", 1.0]
ERROR = PredictError("model 'm' failed with ValueError")


class Encoder:
    """A model that fails on unknown cities, plans or stores, and counts its calls."""

    def __init__(self, *bad: Callable[[Sequence[Value]], bool]) -> None:
        self.bad = bad or (
            lambda row: row[1] not in ("Bern", "Genf"),
            lambda row: row[2] not in ("free", "paid", None),
            lambda row: row[3] not in (1.0, 2.0, 3.0),
        )
        self.calls = 0

    def __call__(self, rows: list[list[Value]]) -> None:
        self.calls += 1
        if any(check(row) for row in rows for check in self.bad):
            raise ERROR


def problems(
    model: Encoder, *rows: list[Value], batch: bool = False
) -> list[tuple[str, str, str, int | None]]:
    found = FailedRows(SCHEMA, model).explain(rows, ERROR, batch=batch)
    if isinstance(found, PredictError):
        return []
    return [(p.field, p.reason, p.value, p.row) for p in found.problems]


def test_an_unknown_category_is_named_with_its_value() -> None:
    found = FailedRows(SCHEMA, Encoder()).explain([[31.0, "Wien", "free", 1.0]], ERROR, batch=False)
    assert isinstance(found, InputError)
    assert str(found) == "'city' has the unknown value 'Wien': the model knows Bern and Genf"
    assert found.example == {"age": 31.0, "city": "Wien", "plan": "free", "store": 1.0}
    typo = FailedRows(SCHEMA, Encoder()).explain([[31.0, "Bernn", "free", 1.0]], ERROR, batch=False)
    assert str(typo) == "'city' has the unknown value 'Bernn': did you mean 'Bern'?"


def unknown(categories: list[str], value: str) -> str:
    schema = infer_schema(as_columns({"x": np.array(categories, dtype=object)}))
    model = Encoder(lambda row: row[0] not in categories)
    return str(FailedRows(schema, model).explain([[value]], ERROR, batch=False))


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%Y-%m-%d %H:%M", "%d %b %Y"])
def test_dates_as_text_are_described_by_the_first_and_the_last(form: str) -> None:
    dates = [(date(2024, 1, 31) + timedelta(days=d)).strftime(form) for d in range(949)]
    shuffled = [dates[i] for i in np.random.default_rng(0).permutation(949)]
    expected = (
        f"'x' has the unknown value '2024/01': the reference has dates from '{dates[0]}' to '{dates[-1]}'"
    )
    assert unknown(shuffled, "2024/01") == expected


def test_of_many_categories_only_some_are_listed() -> None:
    text = unknown([f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"], "1")
    assert text == "'x' has the unknown value '1': the model knows 64 values, such as aa, ab and ac"


def test_every_unknown_category_of_a_row_is_named() -> None:
    assert problems(Encoder(), [31.0, "Wien", "gold", 1.0]) == [
        ("city", "unknown_category", "Wien", None),
        ("plan", "unknown_category", "gold", None),
    ]


def test_a_new_category_that_the_model_can_use_is_not_blamed() -> None:
    only_plans = Encoder(lambda row: row[2] == "gold")
    assert problems(only_plans, [31.0, "Wien", "gold", 1.0]) == [("plan", "unknown_category", "gold", None)]


def test_a_number_that_the_model_cannot_use_is_named() -> None:
    assert problems(Encoder(), [31.0, "Bern", "free", 4.0]) == [("store", "unusable_value", "4", None)]
    assert problems(Encoder(lambda row: row[0] == -1.0), [-1.0, *GOOD[1:]]) == [
        ("age", "unusable_value", "-1", None)
    ]
    assert problems(Encoder(lambda row: row[2] is None), [31.0, "Bern", None, 1.0]) == [
        ("plan", "unusable_value", "null", None)
    ]


@pytest.mark.parametrize("place", [0, 1, 7, 199])
def test_rows_of_a_batch_are_named_by_index(place: int) -> None:
    rows: list[list[Value]] = [list(GOOD) for _ in range(200)]
    rows[place] = [31.0, "Wien", "free", 1.0]
    assert problems(Encoder(), *rows, batch=True) == [("city", "unknown_category", "Wien", place)]
    rows[place] = [31.0, "Bern", "free", 9.0]
    model = Encoder()
    assert problems(model, *rows, batch=True) == [("store", "unusable_value", "9", place)]
    assert model.calls < 30


@pytest.mark.parametrize(
    "bad", [lambda row: True, lambda row: row[0] == 5.0 or row[3] == 9.0], ids=["always", "two values"]
)
def test_without_a_single_cause_the_error_stays(bad: Callable[[Sequence[Value]], bool]) -> None:
    assert problems(Encoder(bad), [5.0, "Bern", "free", 9.0]) == []


def test_a_confirmed_value_costs_no_further_call() -> None:
    model = Encoder()
    failed = FailedRows(SCHEMA, model)
    failed.explain([[31.0, "Wien", "free", 1.0]], ERROR, batch=False)
    calls = model.calls
    failed.explain([[40.0, "Wien", "paid", 2.0]], ERROR, batch=False)
    assert model.calls == calls == 2


def test_many_unknown_values_are_not_all_tried() -> None:
    model = Encoder()
    rows: list[list[Value]] = [[31.0, f"city {i}", "free", 1.0] for i in range(100)]
    assert len(problems(model, *rows, batch=True)) == 10
    assert model.calls == 20


def test_the_logged_reason_has_no_value_of_a_feature() -> None:
    error = PredictError("model 'm' failed")
    error.__cause__ = KeyError("'city' BERN 31.0 [40] \"secret\" 5 columns")
    reason = masked_reason(error, [[31.0, "Bern", "free", 40.0]], SCHEMA.names)
    assert "BERN" not in reason
    assert not {"31", "40", "secret"} & set(reason.replace("[", " ").split())

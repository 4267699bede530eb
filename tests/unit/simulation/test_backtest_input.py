"""Columns, tables and arguments of a backtest: whatever they hold, there is a verdict or a clear error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.unit.simulation.test_backtest import (
    BOTH,
    OPTIONS,
    REFERENCE,
    STREAM,
    changed,
    equal_tables_fitted_once,
    run,
    without,
)

from driftbell.errors import ConfigError, InputError
from driftbell.records import Verdict
from driftbell.simulation.backtest import backtest


@pytest.fixture(scope="module", autouse=True)
def _fit_equal_tables_once() -> Iterator[None]:
    with equal_tables_fitted_once():
        yield


BAD_FEATURES: dict[str, Any] = {
    "constant": np.ones,
    "nan": lambda n: np.where(np.arange(n) % 3, np.arange(n), np.nan),
    "all null": lambda n: [None] * n,
    "infinite": lambda n: np.where(np.arange(n) % 7, np.arange(n), np.inf),
    "minus infinite": lambda n: np.where(np.arange(n) % 7, np.arange(n), -np.inf),
    "huge": lambda n: np.arange(n) * 1e300,
    "boolean": lambda n: [i % 3 == 0 for i in range(n)],
    "boolean with nulls": lambda n: [None if i % 5 == 0 else i % 3 == 0 for i in range(n)],
    "mixed": lambda n: ["a" if i % 2 else i for i in range(n)],
    "lists": lambda n: [[i % 3] for i in range(n)],
    "keys": lambda n: [f"key {i}" for i in range(n)],
    "dates": lambda n: [date(2026, 1, 1 + i % 28) for i in range(n)],
    "one value but one": lambda n: [float(i == 0) for i in range(n)],
}


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("kind", list(BAD_FEATURES))
def test_features_of_any_kind(kind: str, alone: bool) -> None:
    make = BAD_FEATURES[kind]
    reference, stream = ({**t, "odd": make(len(t["y"]))} for t in (REFERENCE, STREAM))
    if alone:
        reference, stream = without(reference, "x", "city"), without(stream, "x", "city")
    for probabilities in (BOTH, None):
        checks = run(reference, stream, probabilities=probabilities)
        assert all(c.verdict is not Verdict.ALARM for c in checks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(BAD_FEATURES))
def test_features_that_change_their_kind(kind: str) -> None:
    odd = BAD_FEATURES[kind]
    for reference, stream in (
        ({**REFERENCE, "x": odd(300)}, STREAM),
        (REFERENCE, {**STREAM, "x": odd(200)}),
        (REFERENCE, {**STREAM, "city": odd(200)}),
    ):
        assert len(run(reference, stream)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("used", [(), ("x",), ("city",)])
@pytest.mark.parametrize("task", ["classes", "regression"])
def test_few_features_or_none(used: tuple[str, ...], task: str) -> None:
    gone = {"x", "city", *BOTH.values()} - set(used)
    tables = [without(t, *gone) for t in (REFERENCE, STREAM)]
    if task == "regression":
        noise = np.random.default_rng(0).normal(size=300)
        tables = [{**t, "answer": noise[: len(t["y"])], "y": noise[: len(t["y"])] * 2} for t in tables]
    assert len(run(*tables, probabilities=None)) == 2


def test_columns_that_only_one_table_has() -> None:
    checks = run(stream=without(STREAM, "city"))
    assert all(c.verdict is not Verdict.OK and "city" in c.sentence for c in checks)
    assert run(stream={**STREAM, "more": [1] * 200}) == run()


def test_unseen_categories_and_nulls_are_named() -> None:
    for cell in ("N/A", None):
        checks = run(stream={**STREAM, "city": [cell] * 200})
        assert "city" in checks[-1].columns


@pytest.mark.slow
def test_tables_of_other_libraries_and_rows() -> None:
    import pyarrow as pa

    expected = run()
    assert run(pd.DataFrame(REFERENCE), pd.DataFrame(STREAM)) == expected
    assert run(pa.table(REFERENCE), pa.table(STREAM)) == expected
    rows = [dict(zip(STREAM, cells, strict=True)) for cells in zip(*STREAM.values(), strict=True)]
    assert run(stream=rows) == expected
    assert run(stream=iter(rows)) == expected
    categories = pd.DataFrame(STREAM).astype({"city": "category", "answer": "category"})
    assert run(stream=categories) == expected


@pytest.mark.parametrize("given", [3, [1, 2], None])
def test_other_objects_than_tables_are_an_error(given: Any) -> None:
    with pytest.raises(InputError, match="the stream: a table must be a mapping of columns or a data frame"):
        run(stream=given)


@pytest.mark.parametrize(
    ("stream", "options", "message"),
    [
        (without(STREAM, "answer"), {}, "the stream has no column 'answer': the columns are x, city"),
        (
            STREAM,
            {"prediction": "answers"},
            "the reference has no column 'answers': did you mean 'answer'?",
        ),
        (without(STREAM, "p yes"), {}, "the stream has no column 'p yes'"),
        (STREAM, {"prediction": "anwser"}, "the reference has no column 'anwser'"),
        (STREAM, {"label": "truth"}, "neither table has a column 'truth'"),
        (STREAM, {"timestamp": "when"}, "the reference has no column 'when'"),
        (STREAM, {"label": "answer"}, "column 'answer' has two roles"),
        (STREAM, {"probabilities": {"no": "p no", "yes": "p no"}}, "column 'p no' has two roles"),
        (STREAM, {"probabilities": {1: "p no", "1": "p yes"}}, "names a class twice"),
        (
            STREAM,
            {"probabilities": {"no": "city", "yes": "p yes"}},
            "column 'city' of the reference, row 0: a prob",
        ),
        (
            STREAM,
            {"probabilities": {"no": "p no", "ja": "p yes"}},
            "'yes' is not one of the classes no and ja",
        ),
        (STREAM, {"probabilities": {"ja": "p yes"}}, "'ja' is no class; the classes are no and yes"),
        (changed(STREAM, "answer", 5, None), {}, "column 'answer' of the stream, row 5: null"),
        (changed(STREAM, "answer", 5, "oui"), {}, "row 5: 'oui' is not one of the classes no and yes"),
        (changed(STREAM, "p yes", 5, None), {}, "column 'p yes' of the stream, row 5: .* got null"),
        (changed(STREAM, "p yes", 5, 70.0), {}, "column 'p yes' of the stream, row 5: .* got 70"),
        ({**STREAM, "x": [1.0]}, {}, "the columns differ in length"),
        (
            {**STREAM, "answer": [f"name {i}" for i in range(200)]},
            {"probabilities": None},
            "too many for classes",
        ),
        (STREAM, {"window_rows": 0}, "window_rows must be"),
        (STREAM, {"window_rows": 2.5}, "window_rows must be"),
        (STREAM, {"label_delay": -1}, "label_delay must be"),
        (STREAM, {"seed": -1}, "seed must be"),
        (STREAM, {"smallest_loss": 0.0}, "smallest_loss must be"),
        (STREAM, {"smallest_loss": float("nan")}, "smallest_loss must be"),
    ],
)
def test_invalid_arguments_are_errors_at_the_call(stream: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        backtest(REFERENCE, stream, **{**OPTIONS, **options})


@pytest.mark.parametrize("options", [{"budget": "often"}, {"every": "5"}, {"every": "0s"}])
def test_invalid_budgets(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        backtest(REFERENCE, STREAM, **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acuracy"}, "no metric 'acuracy': did you mean 'accuracy'"),
        ({"metric": "rmse"}, "'rmse' is no metric of a classifier"),
        ({"metric": "pinball"}, "needs alarms.quantile"),
        ({"metric": "pinball", "quantile": 1.5}, "quantile must be above 0 and below 1, got 1.5"),
        ({"costs": {"ja": {"no": 1.0}}}, "the model has no class 'ja'"),
        (
            {"costs": {"yes": {"no": -1.0}}},
            "the cost of 'no' for the true class 'yes' must be a",
        ),
        ({"costs": 0.0}, "cost of one unit of error must be a number above 0, got 0.0"),
        ({"costs": 2.0}, "the model is a classifier"),
        ({"currency": "EUR"}, "alarms.currency needs costs"),
        ({"smallest_loss": "20%"}, "is a share of an error"),
    ],
)
def test_invalid_metrics(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backtest(REFERENCE, STREAM, **{**OPTIONS, **options})


def test_errors_name_the_row_of_the_unsorted_table() -> None:
    times = list(range(200, 0, -1))
    with pytest.raises(InputError, match="row 5: null"):
        run(
            {**REFERENCE, "when": range(300)},
            changed({**STREAM, "when": times}, "answer", 5, None),
            timestamp="when",
        )


def test_the_storage_precision_of_a_stream_is_no_change() -> None:
    rng = np.random.default_rng(0)

    def table(rows: int, precision: Any) -> dict[str, Any]:
        x = rng.choice([0.1, 0.2, 0.3], rows)
        answers = np.where(x > 0.15, "yes", "no")
        return {"x": x.astype(precision), "answer": answers.tolist(), "y": answers.tolist()}

    reference, stream = table(300, np.float64), table(800, np.float32)
    checks = list(
        backtest(
            reference, stream, budget="1 per 1000 checks", prediction="answer", label="y", window_rows=200
        )
    )
    assert [c.verdict for c in checks] == [Verdict.OK] * 4


def test_identifiers_are_no_features_and_a_path_is_a_table(tmp_path: Any) -> None:
    for name, table in (("past", REFERENCE), ("now", STREAM)):
        frame = pd.DataFrame(table | {"id": range(len(table["y"]))})
        frame.to_csv(tmp_path / f"{name}.csv.gz", index=False, sep=";")
    checks = run(tmp_path / "past.csv.gz", str(tmp_path / "now.csv.gz"))
    assert [c.verdict for c in checks] == [c.verdict for c in run()]
    assert not any("id" in c.columns for c in checks)


def test_an_invalid_budget_is_named() -> None:
    with pytest.raises(ConfigError, match="budget must be false alarms per time or per checks, such as"):
        run(stream=STREAM, budget="1 per month")

"""Backtests of any table: clear errors that name the column, or sensible verdicts."""

from __future__ import annotations

import functools
import importlib
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble
import sklearn.metrics
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import driftbell
from driftbell.degradation.model_columns import MAX_INTEGER_CLASSES, class_name
from driftbell.degradation.reference_models import ReferenceModels, fit_reference_models
from driftbell.errors import InputError
from driftbell.records import Verdict
from driftbell.simulation.backtest import backtest
from driftbell.simulation.backtest_checks import BacktestCheck


def test_scores_that_all_move_together_are_a_small_loss_of_roc_auc() -> None:
    """Their places among the scores of the reference change, but hardly their ranks."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=6000), rng.normal(size=6000)
    truth = np.where(1.5 * x + rng.logistic(size=6000) > 1, "yes", "no")
    moved = np.arange(6000) >= 4000
    p = 1 / (1 + np.exp(-(1.5 * x - 1 - moved * (2 + 2 * noise))))
    rows = {"x": x, "p": p, "answer": np.where(p > 0.5, "yes", "no"), "truth": truth}
    options: dict[str, Any] = {"prediction": "answer", "probabilities": {"yes": "p"}, "label": "truth"}
    reference, stream = ({k: v[part] for k, v in rows.items()} for part in (slice(2000), slice(2000, None)))
    *_, last = backtest(reference, stream, metric="roc_auc", **options)
    parts = slice(2000), slice(4000, None)
    before, after = (sklearn.metrics.roc_auc_score(truth[part] == "yes", p[part]) for part in parts)
    assert last.reference_metric == "ROC AUC"
    assert last.reference_score == pytest.approx(before)
    assert last.verdict is Verdict.ALARM
    assert last.interval is not None
    assert last.interval[0] <= before - after <= last.interval[1]
    assert last.interval[1] - last.interval[0] < 0.1


def table(
    n: int = 300,
    seed: int = 0,
    *,
    names: tuple[Any, ...] = ("no", "yes"),
    wrong: float = 0.1,
    offset: float = 0.0,
) -> dict[str, Any]:
    """Return rows on which a model of x and city is right in nine of ten."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    city = rng.choice(["bern", "chur", "davos"], n)
    truth = np.minimum(
        (x + (city == "chur") > 0) * (len(names) - 1) + rng.integers(0, len(names) - 1, n), len(names) - 1
    )
    answer = np.where(np.arange(n) * 7 % 10 < 10 * wrong, (truth + 1) % len(names), truth)
    rows: dict[str, Any] = {"x": x + offset, "city": city.tolist()}
    rows["answer"] = [names[i] for i in answer]
    rows["y"] = [names[i] for i in truth]
    sure = np.where(rng.random(n) < 0.5, 0.9, 0.7)
    for place, name in enumerate(names):
        rows[f"p {name}"] = np.where(answer == place, sure, (1 - sure) / max(len(names) - 1, 1))
    return rows


REFERENCE, STREAM = table(), table(200, 1)
BOTH = {"no": "p no", "yes": "p yes"}
OPTIONS: dict[str, Any] = {
    "budget": "1 per 1000 checks",
    "prediction": "answer",
    "probabilities": BOTH,
    "label": "y",
    "window_rows": 100,
}


@contextmanager
def equal_tables_fitted_once() -> Iterator[None]:
    """Reuse the models of equal tables, and grow fewer trees, which takes most of the time."""
    fits: dict[bytes, ReferenceModels] = {}

    def fit(*args: Any, **options: Any) -> ReferenceModels:
        key = pickle.dumps((args, options))
        if key not in fits:
            fits[key] = fit_reference_models(*args, **options)
        return fits[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("driftbell.degradation.detector"), "fit_reference_models", fit)
        for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
            patch.setattr(sklearn.ensemble, kind.__name__, functools.partial(few_trees, kind))
        yield


def few_trees(kind: Any, *, max_iter: int, **options: Any) -> Any:
    return kind(max_iter=min(max_iter, 20), **options)


@pytest.fixture(scope="module", autouse=True)
def _fit_equal_tables_once() -> Iterator[None]:
    with equal_tables_fitted_once():
        yield


def run(reference: Any = REFERENCE, stream: Any = STREAM, **options: Any) -> list[BacktestCheck]:
    checks = list(backtest(reference, stream, **{**OPTIONS, **options}))
    for index, check in enumerate(checks):
        assert check.index == index
        assert np.isfinite(check.score)
        assert check.score >= 0
        check.to_json()
    return checks


def verdicts(*args: Any, **options: Any) -> list[str]:
    return [c.verdict.value for c in run(*args, **options)]


def without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in names}


def changed(given: dict[str, Any], name: str, row: int, cell: Any) -> dict[str, Any]:
    return {**given, name: [cell if i == row else v for i, v in enumerate(given[name])]}


def test_the_public_name_is_a_function_whatever_is_imported() -> None:
    importlib.import_module("driftbell.simulation")
    assert driftbell.backtest is backtest
    assert not isinstance(driftbell.backtest, type(driftbell))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("driftbell.backtest")


def test_unchanged_rows_are_ok_and_a_useless_model_raises_an_alarm() -> None:
    assert verdicts() == ["ok", "ok"]
    checks = run(stream=table(400, 2, wrong=0.9))
    assert [c.verdict for c in checks[1:]] == [Verdict.ALARM] * 3
    assert checks[-1].score >= 1
    assert checks[-1].interval is not None
    assert checks[-1].estimated_loss is not None
    assert checks[-1].interval[0] < checks[-1].estimated_loss < checks[-1].interval[1]
    assert 0.5 < checks[-1].estimated_loss < 1
    assert checks[-1].evidence["labels"] > 1
    assert max(checks[-1].evidence.values()) == pytest.approx(checks[-1].score, abs=1e-3)


def test_late_labels_delay_the_alarm() -> None:
    stream = table(400, 2)
    stream["y"] = ["yes" if y == "no" else "no" for y in stream["y"]]  # neither answers nor features show it
    at_once = [c.verdict for c in run(stream=stream)].index(Verdict.ALARM)
    late = [c.verdict for c in run(stream=stream, label_delay=2)].index(Verdict.ALARM)
    assert late == at_once + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [(0, 1), (False, True), (0.0, 1.0), ("0", "1"), ("a=b", "c"), ("no", "yes", "maybe"), tuple(range(30))],
)
@pytest.mark.parametrize("given", ["all", "one", "none"])
def test_classes_of_any_type(names: tuple[Any, ...], given: str) -> None:
    if given == "one" and len(names) > 2:
        pytest.skip("one probability is enough for two classes only")
    columns = {n: f"p {n}" for n in names}
    used = {"all": columns, "one": {names[1]: columns[names[1]]}, "none": {}}[given]
    unused = set(columns.values()) - set(used.values())
    reference, stream = (without(t, *unused) for t in (table(names=names), table(100, 1, names=names)))
    # so many whole numbers may also be amounts
    task = None if used or len(names) <= MAX_INTEGER_CLASSES else "classification"
    checks = run(reference, stream, probabilities=used, task=task)
    assert checks[0].verdict in (Verdict.OK, Verdict.WARNING)


def test_classes_have_one_name_in_both_tables_and_in_the_options() -> None:
    reference = table(names=(0, 1))
    stream = {
        **STREAM,
        "answer": [v == "yes" for v in STREAM["answer"]],
        "y": [float(v == "yes") for v in STREAM["y"]],
    }
    stream |= {"p 0": STREAM["p no"], "p 1": STREAM["p yes"]}
    assert verdicts(reference, stream, probabilities={"0": "p 0", 1.0: "p 1"}) == ["ok", "ok"]
    assert class_name("01") == "01"
    assert class_name("1.50") == "1.50"
    assert class_name(np.float64(2)) == class_name("2.0") == class_name(2) == "2"


def test_without_labels_in_the_stream_the_estimate_remains() -> None:
    for stream in (without(STREAM, "y"), {**STREAM, "y": [None] * 200}):
        checks = run(stream=stream)
        assert [c.verdict for c in checks] == [Verdict.OK] * 2
        assert all("estimate" in c.evidence and "labels" not in c.evidence for c in checks)


def test_a_reference_with_no_or_few_labels() -> None:
    assert verdicts(without(REFERENCE, "y")) == ["ok", "ok"]
    few = {**REFERENCE, "y": [v if i < 5 else None for i, v in enumerate(REFERENCE["y"])]}
    assert run(few) == run(without(REFERENCE, "y"))
    assert verdicts(without(REFERENCE, "y"), without(STREAM, "y"), label=None) == ["ok", "ok"]


def test_some_labels_are_null() -> None:
    half = {**REFERENCE, "y": [v if i % 3 else None for i, v in enumerate(REFERENCE["y"])]}
    stream = {**STREAM, "y": [v if i % 3 else float("nan") for i, v in enumerate(STREAM["y"])]}
    assert verdicts(half, stream) == ["ok", "ok"]


def test_a_label_unknown_to_the_model_counts_as_an_error() -> None:
    labels = [*STREAM["y"][:5], *["perhaps"] * 195]
    checks = run(stream={**STREAM, "y": labels})
    assert checks[-1].verdict is Verdict.ALARM
    assert checks[-1].estimated_loss == pytest.approx(0.9, abs=0.05)
    assert "195 of 200 labels equal no predicted class" in checks[-1].notes[0]


def test_a_regression() -> None:
    def amounts(n: int, seed: int, noise: float = 1.0) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n)
        return {"x": x, "answer": 10 * x, "y": 10 * x + rng.normal(0, noise, n)}

    options: dict[str, Any] = {"probabilities": None}
    assert verdicts(amounts(300, 0), amounts(200, 1), **options) == ["ok", "ok"]
    worse = run(amounts(300, 0), amounts(200, 1, 5.0), **options)
    assert worse[-1].verdict is Verdict.ALARM
    assert worse[-1].estimated_loss is not None
    assert worse[-1].estimated_loss > 2
    assert "mean absolute error 0.7" in worse[-1].sentence
    for name in ("answer", "y"):
        with pytest.raises(InputError, match=rf"column '{name}' of the stream, row 7: .* to 1e\+15"):
            run(amounts(300, 0), changed(amounts(200, 1), name, 7, np.inf), **options)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["numbers", "texts", "offsets", "datetimes", "dates", "pandas"])
def test_time_orders_the_stream(how: str) -> None:
    days = [date(2026, 1, 1) + timedelta(days=i) for i in range(300)]
    times: dict[str, list[Any]] = {
        "numbers": list(range(300)),
        "texts": [d.isoformat() for d in days],
        "offsets": [f"{d.isoformat()}T23:30:00{'+02:00' if d.day % 2 else 'Z'}" for d in days],
        "datetimes": [datetime(d.year, d.month, d.day, tzinfo=UTC if d.day % 2 else None) for d in days],
        "dates": list(days),
        "pandas": list(pd.to_datetime([d.isoformat() for d in days])),
    }
    stream = {**table(300, 3, wrong=0.9), "when": times[how]}
    sorted_ones = run({**REFERENCE, "when": times[how]}, stream, timestamp="when")
    assert sorted_ones[-1].verdict is Verdict.ALARM
    order = np.random.default_rng(0).permutation(300)
    shuffled = {k: [v[i] for i in order] for k, v in stream.items()}
    assert run({**REFERENCE, "when": times[how]}, shuffled, timestamp="when") == sorted_ones
    sentence = sorted_ones[-1].sentence
    assert ("since row" in sentence) == (how == "numbers")
    assert how == "numbers" or "since 2026-" in sentence


def test_without_times_the_change_point_is_a_row() -> None:
    stream = {k: [*v, *table(200, 4, wrong=0.9)[k]] for k, v in table(300, 3).items()}
    sentence = run(stream=stream)[-1].sentence
    since = re.search(r"since row (\d+) \(between \d+ and \d+\)", sentence)
    assert since is not None
    assert since[1] == "300"
    assert "2000" not in sentence


def test_without_times_all_times_of_a_sentence_are_rows() -> None:
    stream = table(200, 1, offset=3.0)
    few = {**stream, "y": [y if i % 4 == 1 else None for i, y in enumerate(stream["y"])]}
    *_, last = run(stream=few, window_rows=100)
    assert "since row 0 (between 0 and 99)" in last.sentence
    assert "The newest 50 labels, of rows until row 197, show no loss." in last.sentence
    assert "of suspected rows (x, since row 0)" in last.sentence
    *_, labelled = run(stream=stream, window_rows=100)
    assert labelled.verdict is Verdict.WARNING
    assert "The 200 labels of rows from row 0 to row 199 show no certain loss: " in labelled.sentence
    assert "UTC" not in last.sentence + labelled.sentence


@pytest.mark.parametrize(
    ("cell", "message"),
    [(None, "must not be null"), ("yesterday", "is not a time"), (True, "is not a time")],
)
def test_a_cell_that_is_not_a_time_is_an_error(cell: Any, message: str) -> None:
    when = [f"2026-01-{1 + i % 28:02}" for i in range(300)]
    stream = changed({**STREAM, "when": when[:200]}, "when", 3, cell)
    with pytest.raises(InputError, match=f"column 'when' of the stream, row 3: .*{message}"):
        run({**REFERENCE, "when": when}, stream, timestamp="when")


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "count"), [(50, 4), (60, 3), (200, 1), (30, 6), (7, 28), (1, 200)])
def test_windows_of_any_size(rows: int, count: int) -> None:
    checks = run(window_rows=rows)
    assert len(checks) == count
    assert all(c.verdict is not Verdict.ALARM for c in checks)


def test_small_windows_are_collected() -> None:
    checks = run(window_rows=30)
    assert [c.rows for c in checks] == [30, 60, 30, 60, 30, 60]
    assert "needs 50, has 30" in checks[0].sentence
    assert ["estimate" in c.evidence for c in checks[:2]] == [False, True]


def test_a_stream_shorter_than_a_window_is_an_error() -> None:
    with pytest.raises(InputError, match="the stream needs at least 500 rows, has 200"):
        run(window_rows=500)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [20, 25, 40, 60])
@pytest.mark.parametrize("task", ["all", "none", "regression", "unlabelled"])
def test_small_references(rows: int, task: str) -> None:
    reference, stream, options = table(rows), STREAM, {}
    if task == "regression":
        reference, stream = (
            {**t, "answer": t["x"], "y": np.asarray(t["x"]) + 1.5} for t in (reference, stream)
        )
    if task in ("none", "regression"):
        options = {"probabilities": None}
    if task == "unlabelled":
        options = {"label": None}
    assert len(run(reference, stream, **options)) == 2


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_a_reference_that_is_too_small_is_an_error(rows: int) -> None:
    with pytest.raises(InputError, match=r"the reference (has no rows|needs at least 20 rows, has)"):
        run(table(rows) if rows else {k: [] for k in REFERENCE})


@pytest.mark.parametrize("probabilities", [BOTH, {"yes": "p yes"}, None])
def test_a_single_class(probabilities: Any) -> None:
    reference = {**REFERENCE, "answer": ["yes"] * 300, "y": ["yes"] * 300}
    stream = {**STREAM, "answer": ["yes"] * 200, "y": ["yes"] * 200}
    assert verdicts(reference, stream, probabilities=probabilities)[0] in ("ok", "warning")
    assert len(run(reference, STREAM, probabilities=probabilities)) == 2


@pytest.mark.slow
def test_a_seed_repeats_and_a_budget_per_time_is_the_same_as_one_per_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("driftbell.degradation.detector")
    monkeypatch.setattr(module, "fit_reference_models", fit_reference_models)  # fits each time
    stream = table(300, 5, offset=0.7)
    assert run(stream=stream) == run(stream=stream)
    per_time = run(stream=stream, budget="1 per 10000m", every="10m")
    assert (
        per_time
        == run(stream=stream)
        == run(stream=stream, budget="1 per 10000m", every=timedelta(minutes=10))
    )

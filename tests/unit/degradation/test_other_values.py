"""If the other values of a column have moved too, labels of its suspected part say nothing about these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.degradation_tasks import START, Stream, amounts, answers, evidence, some, table

from driftbell.degradation.label_coverage import LabelRows, is_part
from driftbell.degradation.suspicion_changes import suspicion_after
from driftbell.records import Degradation, Suspicion, Verdict

Table = dict[str, np.ndarray]
ROWS = 500


def renamed(t: Table) -> Table:
    return t | {"d": np.where(t["d"] == "x", "z", t["d"]).astype(object)}


WHOLE: dict[str, Callable[[Table], Table]] = {
    "outside": lambda t: t | {"b": 5 * t["b"]},
    "outside, little": lambda t: t | {"c": 4 * t["c"]},
    "null": lambda t: some(t | {"b": 3 * t["b"]}, np.nan, "b", every=1),
    "frozen": lambda t: some(t | {"a": 1.3 * t["a"]}, 9.3, every=1),
    "unseen": lambda t: some(renamed(t), "N/A", "d", every=1),
}
PART: dict[str, Callable[[Table], Table]] = {
    "outside": lambda t: some(t, 99.0),
    "null": lambda t: some(t, np.nan, "b"),
    "frozen": lambda t: some(t, 9.3, every=1),
    "unseen": lambda t: some(t, "N/A", "d"),
    "unseen, of one": lambda t: t | {"d": np.where(t["d"] == "x", "X", t["d"]).astype(object)},
}


def suspicion(change: Callable[[Table], Table], seed: int = 3) -> Suspicion:
    charts, (columns, truth) = evidence("labelled", 4000), table(ROWS, seed)
    columns = change(columns)
    stream = Stream(charts)
    stream.see(columns, truth, answers(columns))
    found = stream.state.suspicion
    assert found
    return found


@pytest.mark.parametrize("change", WHOLE.values(), ids=WHOLE)
def test_all_rows_are_suspected_if_the_other_values_have_moved(change: Callable[[Table], Table]) -> None:
    assert not is_part(suspicion(change))


@pytest.mark.parametrize("change", PART.values(), ids=PART)
@pytest.mark.parametrize("seed", range(5))
def test_a_part_is_suspected_if_the_other_values_are_as_before(
    change: Callable[[Table], Table], seed: int
) -> None:
    found = suspicion(change, seed)
    assert is_part(found)
    assert "any" not in {c.kind for c in found.conditions}


def asked(kind: str, change: Callable[[Table], Table], blocks: int = 7) -> list[tuple[Degradation, float]]:
    """Return the results and true losses while the labels of the rows that are asked for come in."""
    charts = evidence(kind, 4000)
    stream, results = Stream(charts), []
    known: dict[str, Any] = {}
    wanted: tuple[str, ...] = ()
    for number in range(blocks):
        columns, truth = table(ROWS, 3000 + number)
        if kind == "regression":
            truth = amounts(columns, number)[1]
        columns = change(columns)
        given = amounts(columns, number)[0] if kind == "regression" else answers(columns)
        errors = np.abs(given.values - truth)
        if kind != "regression":
            errors = (given.values != truth).astype(float)
        rows = [known[key] for key in wanted]

        def features(places: Any, rows: list[Any] = rows) -> Any:
            kinds = {"a": float, "b": float, "c": float, "d": object}
            return {name: np.array([rows[i][2][name] for i in places], kinds[name]) for name in kinds}

        labels = LabelRows(np.array([r[0] for r in rows]), [r[1] for r in rows], features=features)
        times = stream.times(ROWS)
        degradation = stream.see(columns, truth, given, labels=labels)
        for i, time in enumerate(times):
            known[f"id-{time:%j%H%M}"] = (errors[i], time, {n: c[i] for n, c in columns.items()})
        wanted = degradation.to_label[:50]
        results.append((degradation, float(errors.mean()) - charts.baselines["labels"].mean))
    return results


@pytest.mark.parametrize("kind", ["labelled", "regression"])
@pytest.mark.parametrize("name", ["outside", "outside, little", "unseen"])
def test_labels_of_the_rows_asked_for_do_not_acquit_the_others(kind: str, name: str) -> None:
    """Of five times the values of a column, those out of range are answered right, and all others wrong."""
    results = asked(kind, WHOLE[name])
    assert all(degradation.verdict is not Verdict.WARNING for degradation, _ in results)
    newest, _ = results[-1]
    true = float(np.mean([loss for _, loss in results]))
    assert newest.verdict is Verdict.ALARM
    loss = newest.estimated_loss
    assert loss
    assert loss.low < true < loss.high


def test_a_part_becomes_all_rows_when_its_other_values_move() -> None:
    charts, (columns, _) = evidence("labelled", 4000), table(ROWS, 3)
    part = suspicion(PART["outside"])
    moved = some(columns | {"a": 1.3 * columns["a"]}, 99.0)
    after = suspicion_after(charts, part, charts.examine(moved, answers(moved)), START)
    assert after
    assert after.rows == 0
    assert "any" in {c.kind for c in after.conditions}

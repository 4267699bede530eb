"""What labels say beside an estimate, about other rows, and with names that are no class of the model."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, Stream, amounts, answers, evidence, table

from driftbell.degradation.label_coverage import LabelRows
from driftbell.records import Degradation, Verdict

Table = dict[str, np.ndarray]


def nulls(share: float, name: str = "a") -> Callable[[Table], Table]:
    def change(columns: Table) -> Table:
        rows = np.random.default_rng(1).random(len(columns[name])) < share
        return columns | {name: np.where(rows, np.nan, columns[name])}

    return change


def see(
    stream: Stream,
    seed: int,
    change: Callable[[Table], Table] = lambda t: t,
    *,
    labels: int = 0,
    unknown: dict[str, int] | None = None,
) -> Degradation:
    """Count a block of 500 rows, some of them with labels."""
    columns, truth = table(500, seed)
    columns = change(columns)
    given = answers(columns)
    errors = (given.values != truth).astype(float)[:labels]
    wrong = sum((unknown or {}).values())
    errors[:wrong] = 1.0
    rows = LabelRows(errors, stream.times(500)[:labels], unknown=unknown or {})
    return stream.see(columns, truth, given, labels=rows)


def test_an_estimated_loss_has_what_the_labels_of_the_same_rows_measure_beside_it() -> None:
    stream = Stream(evidence())
    for seed in (1, 2, 3):
        see(stream, seed, labels=500)
    alarms = [see(stream, seed, nulls(0.5), labels=250) for seed in (301, 302)]
    assert all("estimated without labels" in alarm.sentence for alarm in alarms)
    shown = re.search(r"The 250 labels of rows from (.*?) UTC to (.*?) UTC show", alarms[0].sentence)
    assert shown
    assert shown.groups() == ("2026-01-02 01:00", "2026-01-02 05:09")
    (other,) = Stream(evidence()).run(1, change=FAULTS["nulls"][2])
    assert other.verdict is Verdict.ALARM
    assert "labels of rows" not in other.sentence


def test_with_a_label_for_every_row_a_loss_is_measured_and_not_estimated() -> None:
    stream = Stream(evidence(), labelled=True)
    stream.run(3)
    results = stream.run(5, change=nulls(0.8), seed=300)
    assert any(r.verdict is Verdict.ALARM for r in results)
    for result in results:
        assert "estimated without labels" not in result.sentence
        if result.verdict is Verdict.ALARM:
            assert "by its labels" in result.sentence


def test_labels_of_all_older_rows_do_not_decide_about_a_new_fault() -> None:
    """The older fault has a label for every row, the newer one none: the estimate alone is about it."""
    stream = Stream(evidence())
    see(stream, 1, labels=500)
    for seed in (2, 3, 4, 5):
        see(stream, seed, nulls(0.3), labels=500)
    new = see(stream, 6, lambda t: t | {"b": np.full(500, 0.3)})
    assert new.verdict is Verdict.ALARM
    assert "estimated without labels" in new.sentence
    assert "No label is of suspected rows (b" in new.sentence


def test_a_measured_loss_of_older_rows_is_not_ascribed_to_a_newly_suspected_column() -> None:
    stream = Stream(evidence())
    see(stream, 1, labels=500)
    old = see(stream, 2, FAULTS["nulls"][2], labels=500, unknown={"other": 90})
    assert old.verdict is Verdict.ALARM
    assert "suspect columns: a (null 0.0% → 80.0%)" in old.sentence.partition(". ")[0]
    assert "Only" not in old.sentence
    new = see(stream, 3, lambda t: t | {"b": np.full(500, 0.3)})
    estimated, _, rest = new.sentence.partition(". The newest ")
    assert "estimated without labels, since 2026-01-01 16:40 UTC" in estimated
    assert "; suspect columns: b (frozen at 0.3 in 100% of the newest 500 rows)" in estimated
    assert rest.startswith("500 labels, of rows until 2026-01-01 16:39 UTC, show a loss: ")
    assert "No label is of suspected rows (b" in rest


def test_labels_that_are_no_class_are_named_in_the_alarm() -> None:
    stream = Stream(evidence())
    see(stream, 1, labels=500)
    results = [see(stream, s, labels=500, unknown={"refund": 60, "Yes": 20, "n/a": 2}) for s in (2, 3)]
    assert results[-1].verdict is Verdict.ALARM
    assert (
        " 164 labels since then are no class of the model and count as wrong: "
        "'refund' (120), 'Yes' (40) and 'n/a' (4)." in results[-1].sentence
    )
    while any(stream.state.labels.sums):
        see(stream, 20 + stream.row, labels=500)
    assert stream.state.unknown_labels == {}


def test_a_newest_loss_is_said_where_labels_contradict_an_estimate_on_the_whole() -> None:
    stream = Stream(evidence(), labelled=True)
    stream.run(2)
    harmless = nulls(0.3)
    for seed in (300, 400, 500, 600):
        result = stream.run(1, change=harmless, seed=seed)[0]
    columns, _ = table(100, 7)
    columns = harmless(columns)
    given = answers(columns)
    wrong = np.where(np.arange(100) % 4, given.values, 1 - given.values)
    result = stream.see(columns, wrong, given)
    assert "performance did not" not in result.sentence


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("labelled", "from the model's confidence"),
        ("unlabelled", "from the model's confidence"),
        ("no probabilities", "from the errors on similar rows of the reference"),
        ("regression", "from the errors on similar rows of the reference"),
    ],
)
def test_evidence_says_where_an_estimate_is_from(kind: str, note: str) -> None:
    charts = evidence(kind)
    stream = Stream(charts)
    if kind == "regression":
        columns, truth = table(500, 50)
        given, truth = amounts(columns, 3)
        result = stream.see(columns, truth, given)
    else:
        (result,) = stream.run(1)
    assert [e.note for e in result.evidence if e.source == "estimate"] == [note]

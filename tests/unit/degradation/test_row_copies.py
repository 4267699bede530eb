"""Copies of rows count once, and nothing else is a copy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, START, amounts, answers, evidence, table

from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers
from driftbell.degradation.row_copies import RowCopies
from driftbell.degradation.update import Rows, update
from driftbell.records import EvidenceState, Verdict

ROWS = 500
Table = dict[str, np.ndarray]
FIVE_TIMES = np.repeat(np.arange(100), 5)


def taken(columns: Table, places: np.ndarray) -> Table:
    return {name: column[places] for name, column in columns.items()}


def copies_in(columns: Table, given: Answers | None = None) -> list[int] | None:
    charts = evidence()
    matrix = charts.learned.encoder(columns, len(columns["a"]))
    copies = charts.copies(matrix, given or answers(columns))
    return None if copies is None else np.flatnonzero(copies).tolist()


def rows_of(columns: Table, block: int = 0) -> Rows:
    return Rows(columns, answers(columns), [START + timedelta(days=block)] * len(columns["a"]))


def test_rows_that_were_sent_five_times_are_copies_of_the_first() -> None:
    columns = taken(table(100, 1)[0], FIVE_TIMES)
    assert copies_in(columns) == [i for i in range(ROWS) if i % 5]


def test_a_retry_may_follow_after_other_rows_and_have_nulls() -> None:
    columns = table(400, 2)[0]
    columns["a"] = np.where(np.arange(400) % 7 == 0, np.nan, columns["a"])
    places = np.concatenate([[i, i + 1, i + 2, i + 3, i] for i in range(0, 400, 4)])
    assert copies_in(taken(columns, places)) == list(range(4, ROWS, 5))


def test_the_same_features_with_another_answer_are_no_copy() -> None:
    columns = taken(table(100, 3)[0], FIVE_TIMES)
    numbers = Answers(answers(columns).values + 0.001 * np.arange(ROWS))
    assert copies_in(columns, numbers) is None


@pytest.mark.parametrize("rows", [150, 20])
def test_rows_drawn_with_replacement_are_no_copies(rows: int) -> None:
    """Their order is random, so they are independent draws, though from few rows."""
    rng = np.random.default_rng(4)
    assert all(
        copies_in(taken(table(rows, seed)[0], rng.integers(0, rows, ROWS))) is None for seed in range(50)
    )


def test_frozen_features_are_no_copies() -> None:
    columns = table(ROWS, 5)[0]
    frozen = {name: column[np.zeros(ROWS, dtype=int)] for name, column in columns.items()}
    assert copies_in(frozen) is None
    half = {name: np.concatenate([columns[name][:250], frozen[name][:250]]) for name in columns}
    assert copies_in(half) is None


def test_equal_rows_are_no_copies_where_the_reference_has_many() -> None:
    charts = evidence()
    learned = replace(charts.learned)
    learned.usual = np.round(charts.learned.usual[:, :1])
    learned.usual_answers = charts.learned.usual_answers
    matrix = np.repeat(learned.usual[:100], 5, axis=0)
    given = learned.usual_answers.take(FIVE_TIMES)
    assert RowCopies(learned)(matrix, given) is None


@pytest.mark.parametrize("change", ["unchanged", "stuck"])
def test_a_block_with_copies_is_as_much_evidence_as_its_different_rows(change: str) -> None:
    charts, columns = evidence(), table(100, 6)[0]
    columns = FAULTS[change][2](columns) if change in FAULTS else columns
    state, degradation = update(charts, EvidenceState(), rows_of(taken(columns, FIVE_TIMES)), LabelRows())
    once, _ = update(charts, EvidenceState(), rows_of(columns), LabelRows())
    assert (state.rows, once.rows) == (ROWS, 100)
    assert msgspec.structs.replace(state, rows=100, different=1.0) == once
    note = degradation.evidence[0].note
    assert note.endswith("; 80% of the newest rows are copies of earlier ones and count once"), note


def test_labels_of_copies_count_once() -> None:
    """Each of 100 rows has five labels: 500 labels are as much evidence as 100."""
    charts, (columns, truth) = evidence(), table(100, 7)
    errors = (answers(columns).values != truth).astype(float)
    copied = LabelRows(np.repeat(errors, 5), [START] * ROWS)
    state, _ = update(charts, EvidenceState(), rows_of(taken(columns, FIVE_TIMES)), copied)
    assert state.labelled == ROWS
    assert sum(block.rows for block in state.labels.blocks) == 100
    loss = sum(block.rows * block.loss for block in state.labels.blocks) / 100
    assert loss == pytest.approx(errors.mean() - charts.baselines["labels"].mean)


def test_few_labels_of_copies_count_nearly_all() -> None:
    """An eighth of the predictions has a label: a row and its four copies have 1.5 labels, if any."""
    charts, (columns, truth) = evidence(), table(100, 8)
    errors = (answers(columns).values != truth).astype(float)
    state = EvidenceState(rows=2000, labelled=200)
    state, _ = update(
        charts, state, rows_of(taken(columns, FIVE_TIMES)), LabelRows(errors, [START] * len(errors))
    )
    share = 300 / 2500
    assert [block.rows for block in state.labels.blocks] == [round(100 / (1 + 4 * share))]


def test_months_of_copies_raise_no_alarm_and_a_loss_does() -> None:
    charts, state = evidence(), EvidenceState()
    for block in range(40):
        columns, truth = table(100, 3000 + block)
        errors = np.repeat((answers(columns).values != truth).astype(float), 5)
        rows = rows_of(taken(columns, FIVE_TIMES), block)
        state, degradation = update(charts, state, rows, LabelRows(errors, rows.times))
        assert degradation.verdict is not Verdict.ALARM, block
    for block in range(40, 45):
        columns = taken(FAULTS["stuck"][2](table(100, 3000 + block)[0]), FIVE_TIMES)
        state, degradation = update(charts, state, rows_of(columns, block), LabelRows())
    assert degradation.verdict is Verdict.ALARM


def test_numbers_of_a_regression_are_copies_as_well() -> None:
    charts, columns = evidence("regression"), taken(table(100, 9)[0], FIVE_TIMES)
    given = Answers(amounts(columns, 1)[0].values)
    copies = charts.copies(charts.learned.encoder(columns, ROWS), given)
    assert copies is not None
    assert int(copies.sum()) == 400

"""A suspected part of the rows whose share or loss changes, or that some blocks lack by chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import START, answers, some, table
from tests.unit.degradation.test_suspected_labels import CHARTS, UNSEEN, Asked

from driftbell.degradation.block import Block
from driftbell.degradation.blocks import add_estimate
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.part_labels import MAX_LABEL_BLOCKS, newest_part_labels, with_label_block
from driftbell.degradation.suspicion_changes import suspicion_after
from driftbell.degradation.update import Rows, update
from driftbell.records import BlindSpot, ColumnCondition, EvidenceState, Suspicion, Verdict


def labelled(*batches: tuple[int, float]) -> Suspicion:
    """Return a suspicion with batches of labels, each with its mean error."""
    suspicion = Suspicion(START, UNSEEN, rows=1000, suspected=100)
    for labels, error in batches:
        errors = np.repeat([1.0, 0.0], [round(labels * error), labels - round(labels * error)])
        blocks = with_label_block(suspicion, errors, [START] * labels)
        suspicion = msgspec.structs.replace(
            suspicion,
            labels=suspicion.labels + labels,
            errors=suspicion.errors + errors.sum(),
            label_blocks=blocks,
        )
    return suspicion


def test_labels_before_a_change_of_the_error_do_not_count() -> None:
    for batches, labels, error in (
        (((50, 0.1), (50, 0.1)), 100, 0.1),
        (((200, 1.0), (50, 0.1)), 50, 0.1),
        (((200, 1.0), (40, 0.1)), 240, 0.85),
        (((50, 0.1), (50, 1.0)), 50, 1.0),
    ):
        number, mean = newest_part_labels(labelled(*batches), 0.3, 50)
        assert number == labels
        assert mean == pytest.approx(error)
    many = labelled(*[(30, 0.1)] * 60)
    assert len(many.label_blocks) == MAX_LABEL_BLOCKS
    assert sum(b.rows for b in many.label_blocks) == many.labels == 1800


def test_a_state_without_blocks_of_labels_counts_its_totals() -> None:
    before = Suspicion(START, UNSEEN, labels=60, errors=30.0, rows=1000, suspected=100)
    assert newest_part_labels(before, 0.5, 50) == (60, 0.5)
    blocks = with_label_block(before, np.zeros(40), [START] * 40)
    assert [(b.rows, b.loss) for b in blocks] == [(60, 0.5), (40, 0.0)]


def test_an_alarm_closes_if_the_part_becomes_harmless_while_it_lasts() -> None:
    asked = Asked(wrong=True)
    asked.see(1, changed=False)
    assert [asked.see(seed) for seed in range(2, 7)][-1].verdict is Verdict.ALARM
    asked.wrong = False
    after = [asked.see(seed) for seed in range(7, 10)]
    assert [d.verdict for d in after] == [Verdict.ALARM, Verdict.OK, Verdict.OK]


def test_the_loss_follows_a_larger_share() -> None:
    asked = Asked(wrong=True, every=25)
    asked.see(1, changed=False)
    for seed in range(2, 8):
        asked.see(seed)
    asked.every = 3
    loss = asked.see(8).estimated_loss
    assert loss
    usual = 1 - CHARTS.baselines["labels"].mean
    assert loss.low <= 0.334 * usual <= loss.high + 0.001


def test_an_incomplete_block_without_the_part_does_not_end_it() -> None:
    asked = Asked(wrong=True)
    asked.see(1, changed=False)
    for seed in range(2, 5):
        asked.see(seed)
    columns, _ = table(60, 5)
    rows = Rows(columns, answers(columns), asked.stream.times(60))
    state, degradation = update(CHARTS, asked.stream.state, rows, LabelRows(), complete=False)
    assert degradation.verdict is Verdict.ALARM
    assert state.suspicion
    before = asked.stream.state.suspicion
    assert before
    assert state.suspicion == msgspec.structs.replace(before, elsewhere=state.suspicion.elsewhere)
    assert state.ended == ()


def test_small_blocks_may_lack_the_part_by_chance() -> None:
    """A part of 4 % lasts through 100 rows without it, and has ended after 150."""
    suspicion = Suspicion(START, UNSEEN, labels=60, errors=60.0, rows=1000, suspected=40)
    columns, _ = table(50, 3)
    block: Block = CHARTS.examine(columns, answers(columns))
    once = suspicion_after(CHARTS, suspicion, block, START)
    assert once
    assert (once.absent, once.labels) == (50, 60)
    twice = suspicion_after(CHARTS, once, block, START)
    assert twice
    assert suspicion_after(CHARTS, twice, block, START) is None
    changed = some(columns, "N/A", "d", of=10, every=1)
    again = suspicion_after(CHARTS, twice, CHARTS.examine(changed, answers(changed)), START)
    assert again
    assert (again.absent, again.labels) == (0, 60)


def test_rows_of_a_condition_that_is_over_stay_suspected() -> None:
    """Their labels, which were asked for, are not those of other rows."""
    both = (ColumnCondition("a", "null"), *UNSEEN)
    suspicion = Suspicion(START, both, rows=1000, suspected=150)
    columns = some(table(500, 3)[0], "N/A", "d", of=10, every=1)
    block = CHARTS.examine(columns, answers(columns))
    after = suspicion_after(CHARTS, suspicion, block, START + timedelta(hours=1))
    assert after
    assert {(c.column, c.kind) for c in after.conditions} == {("a", "null"), ("d", "unseen")}
    assert EvidenceState(suspicion=after).suspicion == after


def test_values_out_of_range_stay_the_part_although_the_column_seems_moved() -> None:
    """Labels of a twentieth of the rows are not those of all, or the other way round."""
    outside, moved = ColumnCondition("a", "outside", 2.0, 18.0), ColumnCondition("a", "any")
    part = Suspicion(START, (outside,), labels=60, errors=30.0, rows=1000, suspected=50)
    columns, _ = table(500, 3)
    known = {"a": columns["a"] * 1.8 + 32}
    block = CHARTS.examine(columns | known, answers(columns | known))
    faults = block.diagnosis.faults if block.diagnosis else ()
    assert [fault.kind for fault in faults] == [moved.kind]
    same = suspicion_after(CHARTS, part, block, START)
    assert same
    assert [c.kind for c in same.conditions] == ["outside"]
    assert same.labels == 60
    elsewhere = msgspec.structs.replace(part, elsewhere=0.05)
    new = suspicion_after(CHARTS, elsewhere, block, START)
    assert new
    assert moved in new.conditions
    assert new.labels == 0
    far = some(columns, 99.0, of=20, every=1)
    block = replace(CHARTS.examine(far, answers(far)), blind=None)
    all_rows = Suspicion(START, (moved, outside), labels=100, errors=30.0, rows=1000, suspected=1000)
    after = suspicion_after(CHARTS, all_rows, block, START)
    assert after
    assert [c.kind for c in after.conditions if c.column == "a"] == ["any", "outside"]
    few = msgspec.structs.replace(all_rows, labels=99)
    later = suspicion_after(CHARTS, few, block, START)
    assert later
    assert [c.kind for c in later.conditions if c.column == "a"] == ["outside"]
    assert later.labels == 0


def test_a_block_may_follow_an_incomplete_first_one_with_a_suspicion() -> None:
    """The state has a suspicion then, and no block yet, whether the reason for it lasts or has ended."""
    state = EvidenceState(suspicion=Suspicion(START, UNSEEN, rows=60, suspected=6))
    columns, _ = table(500, 5)
    block = CHARTS.examine(columns, answers(columns))
    for lasting in (None, BlindSpot(0.01, "d", "unseen", 0.05, UNSEEN)):
        given = replace(block, blind=None, lasting=lasting)
        assert add_estimate(CHARTS, state, given, [START] * 500).estimate.blocks
    rows = Rows(columns, answers(columns), [START] * 500)
    after, _ = update(CHARTS, state, rows, LabelRows())
    assert after.estimate.blocks
    assert after.ended == ()

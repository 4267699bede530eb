"""An open alarm has one change point: a change of its loss afterwards, or its end, is another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from tests.degradation_tasks import START, Stream, answers, evidence, some, table

from driftbell.degradation.claims import RECOVERED
from driftbell.degradation.label_coverage import LabelRows
from driftbell.records import Degradation, Verdict

BLOCK = 500
FIRST, SECOND, REPAIRED, END = 4, 8, 12, 16


def some_rows(cells: dict[str, np.ndarray], places: Sequence[int]) -> dict[str, np.ndarray]:
    return {name: column[list(places)] for name, column in cells.items()}


def results(share: float, *, delay: int = 0, second: bool = False) -> list[Degradation]:
    """Return the results of blocks with a frozen feature from `FIRST` to `REPAIRED`, and labels of a share.

    Args:
        share: of the rows, which have a label.
        delay: of the labels, in blocks.
        second: whether a category is new as well from `SECOND` on.
    """
    stream, waiting, found = Stream(evidence("labelled", 4000)), [], []
    for block in range(END):
        columns, truth = table(BLOCK, 900 + block)
        if FIRST <= block < REPAIRED:
            columns = some(columns, 9.3, every=4)
            if second and block >= SECOND:
                columns = some(columns, "N/A", "d", every=3)
        given, times = answers(columns), stream.times(BLOCK)
        rows = np.flatnonzero(np.random.default_rng(block + 77).random(BLOCK) < share)
        errors = (given.values != truth).astype(float)[rows]
        cells = {name: cells[rows] for name, cells in columns.items()}
        waiting.append((errors, [times[i] for i in rows], cells))
        labels = LabelRows()
        if block >= delay:
            wrong, when, known = waiting[block - delay]
            labels = LabelRows(wrong, when, features=partial(some_rows, known))
        found.append(stream.see(columns, truth, given, labels=labels))
    return found


def block_of(degradation: Degradation) -> float:
    assert degradation.change_point
    return (degradation.change_point.time - START).total_seconds() / 60 / BLOCK


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("share", "delay"), [(1.0, 0), (0.1, 0), (0.1, 2)])
def test_the_change_point_stays_that_of_the_fault(share: float, delay: int, second: bool) -> None:
    alarms = [d for d in results(share, delay=delay, second=second) if d.verdict is Verdict.ALARM]
    assert len(alarms) >= REPAIRED - FIRST
    assert max(abs(block_of(d) - FIRST) for d in alarms) < 0.5
    for degradation in alarms:
        change = degradation.change_point
        assert change
        assert change.low <= change.time <= change.high


def test_a_loss_since_a_later_change_says_so_beside_the_change_of_the_alarm() -> None:
    first, second = (results(1.0, second=second)[SECOND + 2] for second in (False, True))
    opened = "The alarm was opened by an earlier change, at 2026-01-02 09:20 UTC."
    assert "since 2026-01-02 09:20 UTC" in first.sentence
    assert opened not in first.sentence
    assert "since 2026-01-03 18:40 UTC" in second.sentence
    assert second.sentence.endswith(opened)
    assert first.change_point == second.change_point


@pytest.mark.parametrize("fault", [lambda a: np.full(len(a), 9.3), lambda a: 100 * a])
def test_labels_of_rows_after_a_repair_do_not_contradict_the_loss_before(
    fault: Callable[[np.ndarray], np.ndarray],
) -> None:
    stream = Stream(evidence("labelled", 4000))
    stream.run(2)
    *_, before = stream.run(3, rows=300, change=lambda t: t | {"a": fault(t["a"])}, seed=300)
    assert before.verdict is Verdict.ALARM
    stream.labelled = True
    (after,) = stream.run(1, rows=300, seed=200)
    assert after.verdict is Verdict.WARNING
    assert after.sentence.startswith(
        f"{RECOVERED}. The evidence falls, and there is no alarm. Before, the model lost "
    )
    assert before.estimated_loss
    lost = f"{100 * before.estimated_loss.value:.1f} points of accuracy"
    assert lost in after.sentence
    assert "The 300 labels of rows from " in after.sentence
    (later,) = stream.run(1, rows=300, seed=400)
    assert later.verdict is Verdict.OK

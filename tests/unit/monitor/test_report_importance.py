"""Which checks' reports stay longest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.degradations import ALARM, NOON, OK

from driftbell.alarms.lifecycle import alarm_after
from driftbell.monitor.report_importance import report_importance
from driftbell.publish.report_rotation import CHANGED, LASTING_ALARM, UNCHANGED
from driftbell.records import Check, CheckKind, Judgement, Verdict
from driftbell.records.alarms import FALSE, Annotation
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_memory

SERVED = {"model": "m", "version": "1"}


@pytest.fixture
def log() -> Iterator[SqlStore]:
    store = open_memory()
    yield store
    store.close()


def run(log: SqlStore, number: int, verdict: Verdict) -> int:
    """Return the importance of a check's reports, and save the check."""
    degradation = ALARM if verdict is Verdict.ALARM else replace(OK, verdict=verdict)
    judgement = Judgement(verdict, "It is so.", degradation=degradation)
    time = NOON + number * timedelta(minutes=5)
    check = Check(f"c{number}", time, CheckKind.AUTOMATIC, "m", "1", "r", 50, 1, 50, judgement)
    importance = report_importance(log, check)
    lease = log.coordination.take_lease("test", now=time, seconds=60, next_run=None)
    assert lease
    log.checks.save(check, lease, None, alarm_after(check, log.alarms.current(**SERVED)))
    return importance


def test_changes_and_alarms_are_more_important_than_unchanged_checks(log: SqlStore) -> None:
    verdicts = [Verdict.OK, Verdict.OK, Verdict.WARNING, Verdict.ALARM, Verdict.ALARM, Verdict.OK, Verdict.OK]
    assert [run(log, number, verdict) for number, verdict in enumerate(verdicts)] == [
        UNCHANGED,
        UNCHANGED,
        CHANGED,
        CHANGED,
        LASTING_ALARM,
        CHANGED,
        UNCHANGED,
    ]


def test_an_alarm_that_opens_after_an_annotated_one_is_a_change(log: SqlStore) -> None:
    run(log, 0, Verdict.ALARM)
    log.alarms.annotate("c0", Annotation(FALSE, "me", "nothing was wrong", NOON + timedelta(minutes=1)))
    assert log.alarms.current(**SERVED) is None
    assert run(log, 1, Verdict.ALARM) == CHANGED
    assert run(log, 2, Verdict.ALARM) == LASTING_ALARM


def test_the_first_verdict_is_a_change_if_it_is_an_alarm(log: SqlStore) -> None:
    assert run(log, 0, Verdict.UNKNOWN) == UNCHANGED
    assert run(log, 1, Verdict.OK) == UNCHANGED
    assert run(log, 2, Verdict.UNKNOWN) == CHANGED
    assert run(log, 3, Verdict.ALARM) == CHANGED

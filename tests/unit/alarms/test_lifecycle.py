"""An alarm from opening to closing: evidence carried between checks, and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from tests.life import MODEL_VERSION, NOON, CountingDetector, Life, reference

from driftbell.records import (
    CheckKind,
    Degradation,
    EvidenceState,
    Label,
    LabelledPrediction,
    Verdict,
    Window,
)
from driftbell.store.sqlite import open_sqlite


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    log = open_sqlite(tmp_path / "log.sqlite")
    lease = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert lease is not None
    yield Life(log, lease, tmp_path / "reports")
    log.close()


def test_every_row_and_every_label_is_counted_once(life: Life) -> None:
    for number in range(3):
        ids = life.traffic(50)
        life.store.labels.add([Label(i, "old", life.now) for i in ids[:10]])
        state = life.check(0).state.evidence
        assert (state.rows, state.labelled) == (50 * (number + 1), 10 * (number + 1))
        assert state.seq == 50 * (number + 1)
    life.checker.preview()
    assert life.check(0).state.evidence.rows == 150, "a preview counts nothing"


def test_drift_alone_opens_no_alarm(life: Life) -> None:
    life.check(200)
    check = life.check(200, shift=-20)
    assert "age" in check.judgement.drifted_columns
    assert check.judgement.verdict is Verdict.WARNING
    assert life.open() is None
    assert life.notified() == []


def test_without_a_detector_degradation_is_not_monitored(life: Life) -> None:
    life.checker = replace(life.checker, detector=None)
    assert life.check(50).judgement.degradation is None


def test_an_alarm_opens_once_and_closes_when_the_evidence_is_gone(life: Life) -> None:
    opened = life.open_alarm()
    assert opened.opened == life.now
    assert (opened.sentence[:11], opened.columns) == ("Worse since", ("age",))
    assert opened.first > 200, "the change point, not the window"
    life.check(100, shift=20)
    later = life.open()
    assert later is not None
    assert (later.id, later.opened, later.first) == (opened.id, opened.opened, opened.first)
    assert later.sentence != opened.sentence
    assert later.last == opened.last + 100
    life.check(200)
    assert life.open() is None
    (closed,) = life.store.alarms.newest(10)
    assert (closed.id, closed.closed, closed.sentence) == (opened.id, life.now, later.sentence)
    assert life.notified() == [Verdict.ALARM, life.store.checks.newest(1)[0].judgement.verdict]


def test_a_check_that_cannot_judge_changes_neither_alarm_nor_evidence(life: Life) -> None:
    opened = life.open_alarm()
    before = life.store.checks.newest(1)[0].state
    life.checker = replace(life.checker, detector=CountingDetector(broken=True))
    with structlog.testing.capture_logs() as lines:
        check = life.check(100)
    assert any(line["event"] == "drift check failed" for line in lines)
    assert check.judgement.verdict in (Verdict.UNKNOWN, Verdict.WARNING)
    assert check.judgement.sentence.startswith("Cannot judge whether the model performs worse")
    assert check.error == "ValueError in the check"
    assert check.judgement.columns, "the other question is answered"
    assert check.state.evidence == before.evidence
    assert life.open() == opened
    life.checker = replace(life.checker, detector=CountingDetector())
    assert life.check(0).state.evidence.rows == 500, "what came meanwhile is not lost"


def test_false_closes_the_alarm_and_restarts_the_evidence(life: Life) -> None:
    opened = life.annotate(life.open_alarm(), "false")
    assert opened.closed == life.now
    seen = life.store.checks.newest(1)[0].state.evidence.seq
    check = life.check(0)
    assert check.judgement.degradation is not None
    assert check.judgement.degradation.verdict is Verdict.OK
    assert (check.state.evidence.seq, check.state.evidence.rows) == (seen, 0)
    assert life.open() is None
    assert life.store.alarms.totals(**MODEL_VERSION) == {"false": 1}
    assert life.notified()[0] is Verdict.ALARM
    assert len(life.notified()) == 2, "the end is notified"
    assert life.check(0).state.evidence.rows == 0, "an annotation is taken in once"
    life.check(200, shift=20)
    assert life.open() is not None, "new evidence opens another alarm"


def test_expected_makes_the_current_data_the_baseline(life: Life) -> None:
    opened = life.annotate(life.open_alarm(), "expected")
    check = life.check(0)
    assert check.judgement.verdict is Verdict.OK, check.judgement.sentence
    assert check.reference not in ("r1", "")
    report = (life.checker.folder.path / check.reports[0]).read_text()
    assert report.startswith(check.reference)
    assert f"{401 - opened.first} rows" in report
    check = life.check(200, shift=20)
    assert check.judgement.verdict is Verdict.OK, "the new data are normal"
    assert life.open() is None
    life.checker = replace(life.checker)
    assert life.check(200, shift=20).reference == check.reference, "after a restart too"
    assert "age" in life.check(200).judgement.drifted_columns, "and the old ones are a change"


def test_annotating_as_false_revokes_expected(life: Life) -> None:
    opened = life.annotate(life.open_alarm(), "expected")
    assert life.check(0).reference != "r1"
    life.annotate(opened, "false")
    check = life.check(0)
    assert check.reference == "r1"
    assert "age" in check.judgement.drifted_columns


def test_a_baseline_of_few_rows_waits_for_more(life: Life) -> None:
    life.check(200)
    life.check(40, shift=30)
    opened = life.open()
    assert opened is not None
    life.annotate(opened, "expected")
    waiting = life.check(0)
    assert waiting.judgement.verdict is Verdict.UNKNOWN
    assert "needs 100 predictions" in waiting.judgement.sentence
    assert f"has {241 - opened.first}." in waiting.judgement.sentence
    assert life.check(100, shift=30).judgement.verdict is not Verdict.UNKNOWN
    assert life.check(100, shift=30).judgement.verdict is Verdict.OK


def test_another_reference_restarts_the_evidence_at_the_same_position(life: Life) -> None:
    life.annotate(life.open_alarm(), "expected")
    life.check(0)
    life.checker = replace(life.checker, reference=replace(reference(), version="r2"))
    check = life.check(10)
    assert check.reference == "r2"
    assert check.state.evidence.rows == 10


def test_a_silenced_alarm_notifies_only_its_end(life: Life) -> None:
    opened = life.open_alarm()
    life.annotate(opened, "silenced", life.now + timedelta(minutes=17))
    assert life.open() is not None, "it stays open"
    life.check(200)
    assert len(life.notified()) == 2, "the end is notified"
    life.check(200, shift=20)
    again = life.open()
    assert again is not None
    assert again.id != opened.id
    assert len(life.notified()) == 2, "another alarm during the silence is not notified"
    life.check(100, shift=20)
    assert len(life.notified()) == 2
    life.check(100, shift=20)
    assert life.notified()[2:] == [Verdict.ALARM], "it is notified after the silence"


def test_an_annotation_during_a_check_opens_no_new_alarm(life: Life) -> None:
    opened = life.open_alarm()

    class Slow(CountingDetector):
        def advance(
            self, state: EvidenceState, window: Window, labels: Sequence[LabelledPrediction]
        ) -> tuple[EvidenceState, Degradation]:
            life.annotate(opened, "false")
            return super().advance(state, window, labels)

    life.checker = replace(life.checker, detector=Slow())
    assert life.check(100, shift=20).judgement.verdict is Verdict.ALARM
    assert [a.id for a in life.store.alarms.newest(10)] == [opened.id]
    assert life.open() is None


def test_another_budget_makes_another_check(life: Life) -> None:
    first = life.check(50)
    life.checker = replace(life.checker, detector_settings="2 per 1000 checks, 0.02")
    life.checker(CheckKind.AUTOMATIC, life.now.isoformat(), life.lease)
    assert len(life.store.checks.newest(10)) == 2
    assert life.store.checks.newest(10)[1].id == first.id


def test_warnings_about_the_reference_are_saved_with_each_check(life: Life) -> None:
    life.checker = replace(life.checker, warnings=("too good",))
    assert life.check(50).state.warnings == ("too good",)

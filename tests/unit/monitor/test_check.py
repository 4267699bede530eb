from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
import structlog
from tests import degradations as degradations

from driftbell.alarms.metric import AlarmMetric
from driftbell.alarms.notifications import NotificationRules
from driftbell.errors import LeaseLostError, ReportError, StoreError
from driftbell.monitor.check import Checker
from driftbell.monitor.check_log import log_check
from driftbell.monitor.model_metrics import MetricsReader
from driftbell.monitor.state import CarriedState, for_reference
from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT, ReportFolder
from driftbell.records import (
    Check,
    CheckKind,
    Columns,
    Degradation,
    EvidenceState,
    Label,
    Lease,
    Prediction,
    Reference,
    Verdict,
    Window,
    probability_column,
)
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RNG = np.random.default_rng(0)
FEATURES = as_columns({"age": RNG.normal(40, 10, 200), "city": ["Rome", "Oslo"] * 100})
SECRET = "5.123457"


def old_or_young() -> FakeModel:
    """Return a model that answers "old" above forty."""
    return FakeModel(
        infer_schema(FEATURES),
        ("old", "young"),
        lambda columns: np.where(columns["age"] > 40, 0, 1),
        name="m",
        inline=False,
    )


class Page:
    """Report of one line; can be made to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        if self._error:
            raise self._error
        return f"{check.judgement.sentence} {sorted(window)}".encode()


def reference() -> Reference:
    model = old_or_young()
    outputs = model.predict(FEATURES)
    assert outputs.probabilities is not None
    answers = as_columns({"prediction": [model.classes[i] for i in outputs.values]})
    for label, column in zip(model.classes, outputs.probabilities.T, strict=True):
        answers[probability_column(label)] = column
    roles = {"age": "feature", "city": "feature", "prediction": "prediction"}
    roles |= {probability_column(label): "probability" for label in model.classes}
    return Reference({**FEATURES, **answers}, roles, "r1")


def predictions(n: int, *, shift: float = 0.0, start: int = 0) -> list[Prediction]:
    ages = np.random.default_rng(1).normal(40 + shift, 10, n)
    return [
        Prediction(
            id=f"id{start + i:06}",
            time=NOON,
            model="m",
            version="v1",
            features={"age": float(age), "city": ("Rome", "Oslo")[i % 2]},
            output="old" if age > 40 else "young",
            probabilities={"old": float(age > 40), "young": float(age <= 40)},
            latency_ms=1.0,
        )
        for i, age in enumerate(ages)
    ]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    result = open_sqlite(tmp_path / "log.sqlite")
    yield result
    result.close()


@pytest.fixture
def lease(log: SqlStore) -> Lease:
    result = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert result is not None
    return result


@pytest.fixture
def checker(log: SqlStore, tmp_path: Path) -> Checker:
    return Checker(
        store=log,
        model=old_or_young(),
        reference=reference(),
        folder=ReportFolder(tmp_path / "reports", keep=10),
        sinks={MAIN_REPORT: Page(), OWN_REPORT: Page()},
        window_rows=100,
        minimum_rows=10,
        false_discovery_rate=0.05,
        clock=lambda: NOON,
    )


def test_a_check_is_saved_with_its_verdict_and_reports(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(150, shift=20))
    check = checker(CheckKind.TRIGGERED, "now", lease)
    assert check.judgement.verdict is Verdict.WARNING
    assert check.judgement.drifted_columns[0] == "age"
    assert check.rows == 100
    assert (check.first, check.last) == (51, 150)
    assert (check.model, check.version, check.reference) == ("m", "v1", "r1")
    assert check.reports == ("drift_report_20260131_120000.html", "driftbell_report_20260131_120000.html")
    assert check.error == ""
    assert check.duration > 0
    assert checker.store.checks.newest(10) == [check]
    assert check.judgement.sentence in (checker.folder.path / check.reports[0]).read_text()


def test_unchanged_traffic_is_ok(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    assert checker(CheckKind.AUTOMATIC, "now", lease).judgement.verdict is Verdict.OK


def test_the_same_check_twice_is_one_check(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(50))
    first = checker(CheckKind.AUTOMATIC, "12:00", lease)
    again = checker(CheckKind.AUTOMATIC, "12:00", lease)
    assert again.id == first.id
    assert [c.id for c in checker.store.checks.newest(10)] == [first.id]
    assert checker.store.checks.totals().by_verdict == {"ok": 1}


@pytest.mark.parametrize("change", ["occasion", "window", "rows", "minimum", "rate", "version", "reference"])
def test_other_settings_make_another_check(checker: Checker, lease: Lease, change: str) -> None:
    checker.store.predictions.append(predictions(50))
    first = checker(CheckKind.AUTOMATIC, "12:00", lease)
    occasion = "12:05" if change == "occasion" else "12:00"
    model = old_or_young()
    match change:
        case "window":
            checker.store.predictions.append(predictions(1, start=99))
        case "rows":
            checker = replace(checker, window_rows=99)
        case "minimum":
            checker = replace(checker, minimum_rows=11)
        case "rate":
            checker = replace(checker, false_discovery_rate=0.1)
        case "version":
            model.version = "v2"
            checker = replace(checker, model=model)
        case "reference":
            checker = replace(checker, reference=replace(checker.reference, version="r2"))
    assert checker(CheckKind.AUTOMATIC, occasion, lease).id != first.id
    assert len(checker.store.checks.newest(10)) == 2


@pytest.mark.parametrize("rows", [0, 7, 9])
def test_too_few_rows_are_unknown_and_write_no_report(checker: Checker, lease: Lease, rows: int) -> None:
    checker.store.predictions.append(predictions(rows))
    check = checker(CheckKind.MANUAL, "now", lease)
    assert check.judgement.verdict is Verdict.UNKNOWN
    assert f"needs 10, has {rows}" in check.judgement.sentence
    assert check.reports == ()
    assert check.error == ""
    assert not checker.folder.path.exists()


def test_predictions_of_another_version_are_not_in_the_window(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append([replace(p, version="v0") for p in predictions(50)])
    assert checker(CheckKind.MANUAL, "now", lease).rows == 0


def test_a_manual_check_has_a_manual_report(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(50))
    check = checker(CheckKind.MANUAL, "now", lease)
    assert check.reports[0] == "drift_report_manual_20260131_120000.html"


@pytest.mark.parametrize("error", [ReportError("no paper"), ValueError(f"cannot draw {SECRET}")])
def test_a_failed_report_affects_neither_the_verdict_nor_the_other_report(
    checker: Checker, lease: Lease, error: Exception
) -> None:
    checker.store.predictions.append(predictions(50, shift=20))
    checker = replace(checker, sinks={MAIN_REPORT: Page(error), OWN_REPORT: Page()})
    with structlog.testing.capture_logs() as lines:
        check = checker(CheckKind.TRIGGERED, "now", lease)
    assert check.judgement.verdict is Verdict.WARNING
    assert check.reports == ("driftbell_report_20260131_120000.html",)
    assert check.error == ("no paper" if isinstance(error, ReportError) else "ValueError in the check")
    assert checker.store.checks.totals().failed == 1
    assert any(line["event"] == "drift report failed" and line["log_level"] == "error" for line in lines)


@pytest.mark.parametrize("degradation", [degradations.ALARM, None])
def test_the_log_line_contains_drift_and_the_degradation(
    checker: Checker, lease: Lease, degradation: Degradation | None
) -> None:
    check = checker(CheckKind.TRIGGERED, "now", lease)
    check = replace(check, judgement=replace(check.judgement, degradation=degradation))
    with structlog.testing.capture_logs() as lines:
        log_check(check)
    (line,) = lines
    assert "drift" in line["event"]
    known = ("alarm", 1.8, 0.042, ["petal length (cm)", "sepal width (cm)"])
    expected = known if degradation else (None, None, None, [])
    assert (
        line["degradation"],
        line["degradation_score"],
        line["estimated_loss"],
        line["suspects"],
    ) == expected


def test_an_unwritable_folder_does_not_affect_the_verdict(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(50))
    checker.folder.path.write_text("in the way")
    check = checker(CheckKind.TRIGGERED, "now", lease)
    assert check.judgement.verdict is Verdict.OK
    assert check.reports == ()
    assert "cannot write the report" in check.error
    assert checker.store.checks.newest(1) == [check]


@pytest.mark.parametrize("features", [f'["{SECRET}"]', f"{{{SECRET}", SECRET, "null"])
def test_a_check_that_crashes_is_saved_as_unknown_and_logs_no_value(
    checker: Checker, lease: Lease, log: SqlStore, features: str
) -> None:
    log.predictions.append(predictions(50))
    with log.connections.engine.begin() as connection:
        connection.execute(sa.text("UPDATE predictions SET features = :f WHERE seq = 7"), {"f": features})
    with structlog.testing.capture_logs() as lines:
        check = checker(CheckKind.AUTOMATIC, "now", lease)
    assert check.judgement.verdict is Verdict.UNKNOWN
    assert "failed" in check.judgement.sentence
    assert check.error.endswith("in the check")
    assert SECRET not in check.error
    assert check.reports == ()
    assert log.checks.newest(1) == [check]
    assert log.checks.totals().failed == 1
    (line,) = [line for line in lines if line["event"] == "drift check failed"]
    assert line["log_level"] == "error"
    assert SECRET not in json.dumps([line for line in lines if "exc_info" not in line], default=str)


def test_an_unreadable_store_is_an_error_and_saves_no_check(
    checker: Checker, lease: Lease, log: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Window:
        raise StoreError("the disk is away")

    monkeypatch.setattr(log.predictions, "window", fail)
    with pytest.raises(StoreError, match="the disk is away"):
        checker(CheckKind.AUTOMATIC, "now", lease)
    assert log.checks.newest(1) == []


def test_a_check_under_a_lost_lease_is_not_saved(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(50))
    checker.store.coordination.take_lease(
        "another", now=NOON + timedelta(minutes=2), seconds=60, next_run=None
    )
    with pytest.raises(LeaseLostError):
        checker(CheckKind.AUTOMATIC, "now", lease)
    assert checker.store.checks.newest(1) == []


def test_the_time_of_a_check_precedes_the_reading_of_its_window(
    checker: Checker, lease: Lease, log: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    read_window = log.predictions.window

    def window(rows: int, *, model: str, version: str) -> Window:
        order.append("window")
        return read_window(rows, model=model, version=version)

    monkeypatch.setattr(log.predictions, "window", window)

    def clock() -> datetime:
        order.append("clock")
        return NOON

    replace(checker, clock=clock)(CheckKind.AUTOMATIC, "now", lease)
    assert order == ["clock", "window"]


def test_predictions_that_arrive_during_a_check_are_those_of_the_next_one(
    checker: Checker, lease: Lease, log: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []
    read_window = log.predictions.window

    class Detector:
        def advance(
            self, state: EvidenceState, window: Window, labels: object
        ) -> tuple[EvidenceState, Degradation]:
            counted.append((window.first, window.last))
            return msgspec.structs.replace(state, seq=window.last), degradations.OK

    def window(rows: int, *, model: str, version: str) -> Window:
        result = read_window(rows, model=model, version=version)
        log.predictions.append(predictions(30, start=result.last, shift=20))
        return result

    log.predictions.append(predictions(60))
    monkeypatch.setattr(log.predictions, "window", window)
    watching: Any = replace(checker, detector=Detector())  # type: ignore[arg-type]
    assert [watching(CheckKind.AUTOMATIC, name, lease).rows for name in ("first", "second")] == [60, 90]
    assert counted == [(1, 60), (61, 90)]


def test_predictions_that_have_a_label_are_not_to_be_labelled(
    checker: Checker, log: SqlStore, lease: Lease
) -> None:
    log.predictions.append(predictions(60))
    ids = [p.id for p in log.predictions.window(60, model="m", version="v1").predictions]
    log.labels.add([Label(ids[i], "old", NOON) for i in (0, 2)])

    class Detector:
        def advance(self, state: EvidenceState, *_: object) -> tuple[EvidenceState, Degradation]:
            return state, replace(degradations.ALARM, to_label=tuple(ids[:4]))

    watching: Any = replace(checker, detector=Detector())  # type: ignore[arg-type]
    check = watching(CheckKind.AUTOMATIC, "now", lease)
    assert check.judgement.degradation.to_label == (ids[1], ids[3])


def test_the_log_line_contains_drift_and_the_drifted_columns(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(50, shift=20))
    with structlog.testing.capture_logs() as lines:
        check = checker(CheckKind.AUTOMATIC, "now", lease)
    (line,) = lines
    assert "drift" in line["event"]
    assert line["log_level"] == "warning"
    assert line["verdict"] == "warning"
    assert line["sentence"] == check.judgement.sentence
    assert line["drifted_columns"] == list(check.judgement.drifted_columns)


def test_preview_saves_and_writes_nothing(checker: Checker) -> None:
    checker.store.predictions.append(predictions(50, shift=20))
    result = checker.preview()
    check, columns = result.check, result.columns
    assert check.judgement.verdict is Verdict.WARNING
    assert columns.keys() == checker.reference.columns.keys()
    assert checker.store.checks.newest(1) == []
    assert not checker.folder.path.exists()


def test_drift_alone_sends_no_notification(checker: Checker, log: SqlStore, lease: Lease) -> None:
    log.predictions.append(predictions(100, shift=40))
    notifying = replace(checker, notifies=NotificationRules(timedelta()))
    assert notifying(CheckKind.AUTOMATIC, "now", lease).judgement.drifted_columns
    assert log.notifications.last(model="m", version="v1") is None
    assert log.notifications.pending() == []


def test_another_metric_of_alarms_restarts_the_evidence(
    checker: Checker, log: SqlStore, lease: Lease
) -> None:
    log.predictions.append(predictions(100))
    evidence = EvidenceState(seq=40, rows=40, data_quality=0.5)
    first = msgspec.structs.replace(checker(CheckKind.AUTOMATIC, "1", lease).state, evidence=evidence)
    assert first.reference == "r1"
    carried = CarriedState(first)
    assert for_reference(carried, "r1") is carried
    costs = replace(checker, metrics=MetricsReader(AlarmMetric("cost", unit_cost=2.0)))
    second = costs(CheckKind.AUTOMATIC, "2", lease).state
    assert second.reference != "r1"
    assert second.reference.startswith("r1 cost")
    restarted = for_reference(carried, second.reference).state.evidence
    assert (restarted.seq, restarted.rows, restarted.data_quality) == (40, 0, None)


def later(checker: Checker, log: SqlStore, lease: Lease, shift: float, start: int, **changes: Any) -> Check:
    """Store a new window for the checker, and check it."""
    log.predictions.append(predictions(100, shift=shift, start=start))
    moved = replace(checker, strong=1e-12, clock=lambda: NOON + start * timedelta(minutes=1), **changes)
    return moved(CheckKind.AUTOMATIC, str(start), lease)


def test_weak_evidence_is_listed_once_it_has_lasted_for_two_windows(
    checker: Checker, log: SqlStore, lease: Lease
) -> None:
    first = later(checker, log, lease, 6, 0)
    assert first.judgement.verdict is Verdict.OK
    assert first.judgement.sentence.startswith("No drift so far")
    again = replace(checker, strong=1e-12)(CheckKind.AUTOMATIC, "again", lease)
    assert again.judgement.drifted_columns == ()
    assert "age" in later(checker, log, lease, 6, 100).judgement.drifted_columns


def test_weak_evidence_that_pauses_starts_again(checker: Checker, log: SqlStore, lease: Lease) -> None:
    results = [later(checker, log, lease, shift, 100 * i) for i, shift in enumerate([6, 0, 6, 6])]
    assert ["age" in c.judgement.drifted_columns for c in results] == [False, False, False, True]


def test_evidence_against_another_reference_does_not_count(
    checker: Checker, log: SqlStore, lease: Lease
) -> None:
    later(checker, log, lease, 6, 0)
    other = replace(checker.reference, version="r2")
    assert later(checker, log, lease, 6, 100, reference=other).judgement.drifted_columns == ()


def test_a_change_of_the_newest_rows_is_detected_in_a_long_window(
    checker: Checker, log: SqlStore, lease: Lease
) -> None:
    log.predictions.append(predictions(450))
    log.predictions.append(predictions(50, shift=20, start=450))
    check = replace(checker, window_rows=500, strong=1e-4)(CheckKind.AUTOMATIC, "now", lease)
    assert "age" in check.judgement.drifted_columns
    (age,) = (c for c in check.judgement.columns if c.column == "age")
    assert age.reason.startswith("Drift: newest 50 rows: median ")


def test_without_a_cooldown_there_is_no_notification(checker: Checker, log: SqlStore, lease: Lease) -> None:
    log.predictions.append(predictions(100, shift=40))
    assert checker(CheckKind.AUTOMATIC, "now", lease).judgement.verdict is Verdict.WARNING
    assert log.notifications.pending() == []

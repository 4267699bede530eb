"""Every version that answers requests is checked, each with its own checker and state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.life import NOON, Life, model

from driftbell.alarms.verdict import REPLACED
from driftbell.errors import ConfigError, StoreError
from driftbell.models.versions_in_use import LATE_LABELS, SWITCH_TIME
from driftbell.monitor.check import Checker
from driftbell.monitor.version_checks import MAX_CHECKERS, VersionChecks
from driftbell.records import Alarm, Check, CheckKind, Label, Verdict
from driftbell.records.versions import CHALLENGER, CHAMPION, AliasChange
from driftbell.store.sqlite import open_sqlite

LONG_AGO = NOON - timedelta(days=40)


class Service(Life):
    """A service whose monitor checks its versions."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.error: Exception | None = None
        self.opened: list[str] = []
        self.alias(CHAMPION, "v1", LONG_AGO)
        state = self.store.versions.state
        self.checks = VersionChecks(self.checker, lambda: state(self.now, model="m"), self._open)

    def _open(self, version: str) -> Checker:
        if self.error:
            raise self.error
        self.opened.append(version)
        return replace(self.checker, model=model(version))

    def alias(self, alias: str, version: str | None, since: datetime | None = None, **traffic: Any) -> None:
        since = since or self.now
        change = AliasChange("m", alias, version, since, "ada", "a test", "v1", **traffic)
        self.store.versions.set_alias(change)

    def champion(self, version: str) -> None:
        self.alias(CHAMPION, version)

    def label(self, ids: list[str], value: str) -> None:
        self.store.labels.add([Label(one, value, self.now) for one in ids])

    def round(self, kind: CheckKind = CheckKind.AUTOMATIC, minutes: float = 5) -> list[Check]:
        """Run the checks of one time, and return them; that of the champion is the first."""
        self.now += timedelta(minutes=minutes)
        known = {check.id for check in self.store.checks.newest(100)}
        first = self.checks(kind, self.now.isoformat(), self.lease)
        new = [check for check in self.store.checks.newest(100)[::-1] if check.id not in known]
        assert new[0].id == first.id
        return new

    def checked(self, **options: Any) -> list[str]:
        return [check.version for check in self.round(**options)]

    def alarm(self, version: str) -> Alarm | None:
        return self.store.alarms.current(model="m", version=version)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    store = open_sqlite(tmp_path / "log.sqlite")
    lease = store.coordination.take_lease("a", now=NOON, seconds=30, next_run=None)
    assert lease
    yield Service(store, lease, tmp_path / "reports")
    store.close()


def test_the_champion_is_followed_and_the_version_before_is_checked_once_more(service: Service) -> None:
    service.traffic(20)
    assert service.checked() == ["v1"]
    service.traffic(30)
    service.champion("v2")
    service.now += timedelta(minutes=1)
    service.traffic(40, version="v2")
    second, first = service.round()
    assert (first.version, first.rows, second.version, second.rows) == ("v1", 50, "v2", 40)
    assert service.checked() == ["v2"]
    assert service.opened == ["v2"]
    service.champion("v1")
    assert service.checked() == ["v1"]
    assert service.opened == ["v2"]


def test_a_challenger_is_checked_beside_the_champion_with_its_own_evidence(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(200)
    service.traffic(200, version="v2")
    assert service.checked() == ["v1", "v2"]
    service.traffic(200)
    service.traffic(200, shift=20, version="v2")
    champion, challenger = service.round()
    verdicts = [check.judgement.degradation.verdict for check in (champion, challenger)]
    assert verdicts == [Verdict.OK, Verdict.ALARM]
    assert service.alarm("v1") is None
    assert service.alarm("v2") is not None
    assert service.notified() == [Verdict.ALARM]
    assert service.checked() == ["v1", "v2"]  # without new predictions too


def test_a_shadow_has_no_check(service: Service) -> None:
    service.alias(CHALLENGER, "v2", share=1.0, is_shadow=True)
    service.traffic(20)
    assert service.checked() == ["v1"]


def test_the_latest_report_is_that_of_the_champion(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(50)
    service.traffic(60, version="v2")
    champion, challenger = service.round()
    folder = service.checker.folder
    latest = folder.path / "drift_report_latest.html"
    assert latest.read_bytes() == (folder.path / champion.reports[0]).read_bytes()
    assert {file.name for file in folder.files()} == {*champion.reports, *challenger.reports}


def test_a_replaced_version_closes_its_alarm_and_says_why(service: Service) -> None:
    service.traffic(200)
    service.round()
    service.traffic(200, shift=20)
    service.round()
    opened = service.alarm("v1")
    assert opened
    service.champion("v2")
    service.round()
    [closed] = service.store.alarms.newest(5, version="v1")
    assert closed.closed == service.now
    assert closed.sentence == opened.sentence
    assert closed.closing_reason == "Version v2 answers requests instead of this one."


def test_the_last_predictions_of_a_replaced_version_raise_no_alarm(service: Service) -> None:
    service.traffic(200)
    service.round()
    service.traffic(200, shift=20)
    service.champion("v2")
    _, last = service.round()
    assert last.version == "v1"
    degradation = last.judgement.degradation
    assert degradation
    assert (last.judgement.verdict, degradation.verdict) == (Verdict.WARNING, Verdict.WARNING)
    assert REPLACED in last.judgement.sentence
    assert service.alarm("v1") is None
    assert service.notified() == []
    assert last.reports == ()


def test_late_labels_of_a_replaced_version_are_measured(service: Service) -> None:
    ids = service.traffic(200, shift=10)
    service.round()
    service.champion("v2")
    service.now += timedelta(minutes=1)
    others = service.traffic(60, version="v2")
    service.round()
    service.label(ids[:100], "young")
    service.label(others[:40], "old")
    second, first = service.round()
    old, new = first.judgement, second.judgement
    assert old.metrics and new.metrics  # noqa: PT018
    assert (old.metrics.labels, new.metrics.labels) == (100, 40)
    assert first.state.evidence.labelled == 100
    assert service.checked() == ["v2"]


def test_labels_of_a_version_that_was_replaced_long_ago_are_not_measured(service: Service) -> None:
    ids = service.traffic(100)
    service.round()
    service.champion("v2")
    service.now += LATE_LABELS + timedelta(minutes=1)
    service.label(ids, "old")
    assert service.checked() == ["v2"]


def test_a_process_that_lags_behind_the_registry_keeps_its_version_monitored(service: Service) -> None:
    service.traffic(200)
    service.round()
    service.champion("v2")
    service.now += SWITCH_TIME
    service.traffic(1)
    service.round(minutes=1)
    service.traffic(200, shift=20)
    champion, lagging = service.round(minutes=1)
    assert (champion.version, lagging.version) == ("v2", "v1")
    assert lagging.judgement.verdict is Verdict.ALARM
    assert service.alarm("v1") is not None


def test_a_challenger_that_was_removed_is_replaced(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(200)
    service.traffic(200, version="v2")
    service.round()
    service.traffic(200, shift=20, version="v2")
    service.round()
    assert service.alarm("v2")
    service.traffic(20, version="v2")
    service.alias(CHALLENGER, None)
    _, last = service.round(minutes=1)
    assert (last.version, last.reports) == ("v2", ())
    assert service.alarm("v2") is None


def test_the_checks_of_one_time_are_bounded_and_take_turns(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    for version in ("v3", "v4", "v5"):
        service.traffic(10, version=version)
    rounds = [service.checked() for _ in range(4)]
    assert rounds == [["v1", "v2", "v5"], ["v1", "v2", "v4"], ["v1", "v2", "v3"], ["v1", "v2"]]
    assert all(len(versions) <= MAX_CHECKERS for versions in rounds)
    assert service.opened == ["v2", "v5", "v4", "v3"]


def test_a_manual_check_is_one_of_the_champion(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(20, version="v2")
    assert service.checked(kind=CheckKind.MANUAL) == ["v1"]
    assert service.checked(kind=CheckKind.TRIGGERED) == ["v1", "v2"]


def test_a_restarted_monitor_goes_on_from_the_state_of_each_version(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(200)
    service.traffic(100, version="v2")
    service.round()
    state = service.store.versions.state
    service.checks = VersionChecks(service.checker, lambda: state(service.now, model="m"), service._open)
    service.traffic(10, version="v2")
    champion, challenger = service.round()
    assert (champion.state.evidence.rows, challenger.state.evidence.rows) == (200, 110)


def test_without_a_registry_the_model_of_the_settings_is_checked_alone(service: Service) -> None:
    service.checks = VersionChecks(
        service.checker, lambda: service.store.versions.state(service.now, model="other"), service._open
    )
    service.traffic(20, version="v2")
    assert service.checked() == ["v1"]
    assert service.opened == []


@pytest.mark.parametrize("error", [ConfigError("no reference"), ZeroDivisionError()])
def test_a_champion_that_cannot_be_opened_leaves_the_version_before(
    service: Service, error: Exception
) -> None:
    service.error = error
    service.champion("v2")
    service.traffic(20)
    assert service.checked() == ["v1"]
    service.error = None
    assert service.checked() == ["v2"]


def test_another_version_that_cannot_be_opened_hides_none(service: Service) -> None:
    service.error = ConfigError("no reference")
    service.alias(CHALLENGER, "v2")
    assert service.checked() == ["v1"]
    service.error = None
    assert service.checked() == ["v1", "v2"]


def test_damaged_predictions_of_one_version_hide_no_check(service: Service) -> None:
    service.alias(CHALLENGER, "v2")
    service.traffic(20)
    [*_, last] = service.traffic(20, version="v2")
    service.round()
    damaged = sa.text("UPDATE predictions SET features = 'no JSON' WHERE id = :id")
    with service.store.connections.write() as connection:
        connection.execute(damaged, {"id": last})
    champion, challenger = service.round()
    assert (champion.error, challenger.judgement.verdict) == ("", Verdict.UNKNOWN)
    assert challenger.error
    service.label([last], "old")
    service.champion("v3")
    assert [check.version for check in service.round()] == ["v3", "v2"]


def test_an_outage_of_the_store_is_not_hidden(service: Service) -> None:
    service.error = StoreError("the database is down")
    service.champion("v2")
    with pytest.raises(StoreError):
        service.round()

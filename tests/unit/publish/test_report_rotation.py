"""Rotation of reports: what is deleted first, and what stays."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT, ReportFolder
from driftbell.publish.report_rotation import CHANGED, LASTING_ALARM, UNCHANGED

FRIDAY = datetime(2026, 1, 30, 17, 0, tzinfo=UTC)
MINUTES = timedelta(minutes=5)
EVIDENTLY, OWN = 4000, 57
MARK_BYTES = 60
PAIR = EVIDENTLY + OWN + 2 * MARK_BYTES


def check(
    folder: ReportFolder,
    number: int,
    importance: int = UNCHANGED,
    *,
    manual: bool = False,
    requested: bool | None = None,
) -> tuple[str, ...]:
    return folder.save(
        {MAIN_REPORT: b"e" * EVIDENTLY, OWN_REPORT: b"o" * OWN},
        time=FRIDAY + number * MINUTES,
        manual=manual,
        requested=requested,
        importance=importance,
    )


def names(folder: ReportFolder) -> set[str]:
    return {f.name for f in folder.files()}


def size(folder: ReportFolder) -> int:
    return sum(f.size for f in folder.files())


@pytest.mark.parametrize("importance", [LASTING_ALARM, CHANGED])
def test_the_report_of_an_alarm_outlives_a_weekend_of_unchanged_checks(
    tmp_path: Path, importance: int
) -> None:
    folder = ReportFolder(tmp_path, keep=5, max_size=10 * PAIR)
    alarm = check(folder, 0, importance)
    for number in range(1, 60):
        check(folder, number)
    assert set(alarm) <= names(folder)
    assert len(names(folder)) == 2 + 2 * 5


def test_evidently_pages_of_unchanged_checks_go_first(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=100, max_size=8 * PAIR)
    for number in range(30):
        check(folder, number)
    evidently = [n for n in names(folder) if n.startswith(MAIN_REPORT)]
    own = [n for n in names(folder) if n.startswith(OWN_REPORT)]
    assert len(own) == 30
    assert 1 <= len(evidently) <= 6
    assert max(evidently).endswith("20260130_192500.html"), "the newest ones stay"
    assert size(folder) <= 8 * PAIR * 3 / 4


def test_the_size_bounds_alarms_too_but_last(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=100, max_size=8 * PAIR)
    changes = [check(folder, number, CHANGED) for number in range(3)]
    for number in range(3, 40):
        check(folder, number, LASTING_ALARM)
    assert {name for pair in changes for name in pair} <= names(folder)
    for number in range(40, 60):
        check(folder, number, CHANGED)
    assert size(folder) <= 8 * PAIR * 3 / 4
    assert all(n.startswith(OWN_REPORT) for n in names(folder) if n in {p for pair in changes for p in pair})


@pytest.mark.parametrize("manual", [True, False])
def test_a_loop_of_requested_reports_leaves_the_history(tmp_path: Path, manual: bool) -> None:
    folder = ReportFolder(tmp_path, keep=10, max_size=16 * PAIR)
    history = {name for number in range(10) for name in check(folder, number)}
    for number in range(10, 60):
        check(folder, number, manual=manual, requested=True)
    assert history <= names(folder)
    requested = [f for f in folder.files() if f.name not in history]
    assert sum(f.size for f in requested) <= 16 * PAIR / 4
    check(folder, 60)
    assert len({f.time for f in folder.files()} & {FRIDAY + n * MINUTES for n in range(10)}) == 9


def test_reports_leave_with_the_retention(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=10, days=2)
    old = check(folder, 0, CHANGED)
    check(folder, 2 * 288)
    assert set(old) <= names(folder)
    check(folder, 3 * 288 + 1)
    assert not set(old) & names(folder)


def test_without_retention_alarms_stay_for_ever(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=1)
    old = check(folder, 0, CHANGED)
    check(folder, 5000 * 288)
    assert set(old) <= names(folder)


def test_importance_is_in_the_file_and_survives_a_copy_of_the_folder(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "reports", keep=2)
    alarm = check(folder, 0, CHANGED)
    shutil.copytree(folder.path, tmp_path / "restored")
    assert {p.name for p in folder.path.iterdir()} == {
        *alarm,
        "drift_report_latest.html",
        "driftbell_report_latest.html",
    }
    restored = ReportFolder(tmp_path / "restored", keep=2)
    for number in range(1, 9):
        check(restored, number)
    assert set(alarm) <= names(restored)


def test_an_unchanged_scheduled_report_is_written_as_it_is(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=2)
    for manual in (False, True):
        main, own = check(folder, manual, manual=manual)
        assert (tmp_path / main).read_bytes() == b"e" * EVIDENTLY
        assert (tmp_path / own).read_bytes() == b"o" * OWN


def test_the_newest_report_stays_however_small_the_limit(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, keep=1, max_size=10)
    for number in range(3):
        assert set(check(folder, number)) == names(folder)

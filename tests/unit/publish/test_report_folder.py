from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from driftbell.errors import ReportError
from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT, ReportFolder

NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def folder(tmp_path: Path) -> ReportFolder:
    return ReportFolder(tmp_path / "reports", keep=3)


def save(
    folder: ReportFolder, content: str = "x", time: datetime = NOON, *, manual: bool = False
) -> tuple[str, ...]:
    return folder.save(
        {MAIN_REPORT: content.encode(), OWN_REPORT: b"own " + content.encode()}, time=time, manual=manual
    )


def test_file_names_follow_the_contract(folder: ReportFolder) -> None:
    assert save(folder) == ("drift_report_20260131_120000.html", "driftbell_report_20260131_120000.html")
    assert save(folder, time=NOON + SECOND, manual=True)[0] == "drift_report_manual_20260131_120001.html"
    assert {p.name for p in folder.path.iterdir()} == {
        "drift_report_20260131_120000.html",
        "driftbell_report_20260131_120000.html",
        "drift_report_manual_20260131_120001.html",
        "driftbell_report_manual_20260131_120001.html",
        "drift_report_latest.html",
        "driftbell_report_latest.html",
    }


def test_the_time_in_the_name_is_utc(folder: ReportFolder) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert save(folder, time=there)[0] == "drift_report_20260131_120000.html"


@pytest.mark.parametrize("manual", [False, True])
def test_the_latest_report_is_the_newest_of_either_kind(folder: ReportFolder, manual: bool) -> None:
    save(folder, "old", manual=not manual)
    names = save(folder, "new", NOON + SECOND, manual=manual)
    for name, latest in zip(names, ("drift_report_latest.html", "driftbell_report_latest.html"), strict=True):
        path = folder.open(latest)
        assert path is not None
        assert path.read_bytes() == (folder.path / name).read_bytes()
        assert b"new" in path.read_bytes()


def test_reports_of_the_same_second_sort_as_they_were_written(folder: ReportFolder) -> None:
    names = [save(folder, str(i), manual=i == 1)[0] for i in range(3)]
    assert names == [
        "drift_report_20260131_120000.html",
        "drift_report_manual_20260131_120001.html",
        "drift_report_20260131_120002.html",
    ]
    assert [f.name for f in folder.files() if f.name.startswith(MAIN_REPORT)] == names[::-1]


def test_the_report_just_written_is_never_removed(folder: ReportFolder) -> None:
    for i in range(20):
        (name, _) = save(folder, str(i), NOON + i * SECOND / 10)
        assert folder.open(name) is not None
        assert len({f.time for f in folder.files()}) <= 3
    (early, _) = save(folder, time=NOON - timedelta(days=1))
    assert folder.open(early) is not None


def test_a_name_from_a_wrong_clock_does_not_affect_the_next_ones(folder: ReportFolder) -> None:
    save(folder, time=NOON + timedelta(days=900))
    assert save(folder)[0] == "drift_report_20260131_120000.html"


def test_only_the_reports_of_the_newest_checks_are_kept(folder: ReportFolder) -> None:
    for i in range(6):
        save(folder, str(i), NOON + i * SECOND)
    stamps = ["20260131_120005", "20260131_120004", "20260131_120003"]
    assert [f.name for f in folder.files()] == [
        f"{p}_{s}.html" for s in stamps for p in (OWN_REPORT, MAIN_REPORT)
    ]
    assert folder.open("drift_report_20260131_120002.html") is None


def test_the_list_has_time_kind_and_size(folder: ReportFolder) -> None:
    save(folder, "12345", manual=True)
    own, main = folder.files()
    assert (main.name, main.time, main.manual, main.size) == (
        "drift_report_manual_20260131_120000.html",
        NOON.replace(microsecond=0),
        True,
        5,
    )
    assert own.size == 9


def test_a_missing_folder_has_no_reports(folder: ReportFolder) -> None:
    assert folder.files() == []
    assert folder.open("drift_report_latest.html") is None


def test_a_failed_write_leaves_no_file(folder: ReportFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, "whole")
    before = {p.name: p.read_bytes() for p in folder.path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("driftbell.atomic_write.os.fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        save(folder, "half", NOON + SECOND)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.path.iterdir()} == before


def test_partial_files_of_a_killed_process_are_removed_with_the_next_report(folder: ReportFolder) -> None:
    folder.path.mkdir()
    part = folder.path / ".drift_report_20260131_115959.html.part"
    part.write_text("half")
    assert folder.files() == []
    assert folder.open(part.name) is None
    save(folder)
    assert not part.exists()


def test_a_folder_that_cannot_be_created_is_a_report_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportError, match="cannot write the report"):
        save(ReportFolder(tmp_path / "file" / "reports", keep=3))


def test_without_hard_links_the_latest_is_a_copy(
    folder: ReportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    save(folder, "copied")
    latest = folder.open("drift_report_latest.html")
    assert latest is not None
    assert latest.read_bytes() == b"copied"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.html",
        "../drift_report_latest.html",
        "..",
        ".",
        "",
        "secret.html",
        "/etc/passwd",
        "drift_report_latest.html\0",
        "drift_report_latest.html\n",
        "drift_report_latest.html/",
        "drift_report_20260131_120000.html/../../secret.html",
        "DRIFT_REPORT_LATEST.HTML",
        ".drift_report_latest.html.part",
        "drift_report_20260131_120000.htm",
    ],
)
def test_only_reports_can_be_opened(folder: ReportFolder, name: str) -> None:
    save(folder)
    (folder.path.parent / "secret.html").write_text("secret")
    (folder.path.parent / "drift_report_latest.html").write_text("secret")
    (folder.path / "secret.html").write_text("secret")
    assert folder.open(name) is None


@pytest.mark.parametrize("name", ["drift_report_latest.html", "drift_report_20260131_120000.html"])
def test_a_symbolic_link_is_not_followed(folder: ReportFolder, name: str) -> None:
    folder.path.mkdir()
    (folder.path.parent / "secret").write_text("secret")
    (folder.path / name).symlink_to(folder.path.parent / "secret")
    assert folder.open(name) is None


@pytest.mark.parametrize("name", ["drift_report_20261341_000000.html", "drift_report_00000000_000000.html"])
def test_a_file_without_a_valid_date_is_not_listed(folder: ReportFolder, name: str) -> None:
    save(folder)
    (folder.path / name).write_text("foreign")
    assert len(folder.files()) == 2
    save(folder, time=NOON + SECOND)
    assert (folder.path / name).read_text() == "foreign"

"""The doctor's checks of the data folder, each with a fault of its kind."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.store.test_damage import cut_off, filled, noise, zeros

from driftbell.config.settings import Settings
from driftbell.ops.clocks import clock_finding
from driftbell.ops.data_checks import check_data
from driftbell.ops.stack import Finding, State

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LINE = (
    b'{"id": "a", "time": "2026-01-31 12:00:00", "model": "m", "version": "v", "features": {}, '
    b'"output": "x", "probabilities": {}, "latency_ms": 1.0}\n'
)
USAGE = namedtuple("USAGE", "total used free")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a prediction log and two lines in a journal."""
    folder = tmp_path / "data"
    (folder / "journal").mkdir(parents=True)
    filled(folder / "log.sqlite")
    (folder / "journal" / "1-a.jsonl").write_bytes(2 * LINE)
    (folder / "journal").chmod(0o700)
    for path in (folder / "log.sqlite", folder / "journal" / "1-a.jsonl"):
        path.chmod(0o600)
    return folder


def check(folder: Path, umask: str = "077") -> dict[str, Finding]:
    return {f.component: f for f in check_data(Settings(data_dir=folder, umask=umask), now=NOW)}


def test_the_size_of_the_database_has_its_write_ahead_log(data: Path) -> None:
    size = (data / "log.sqlite").stat().st_size
    wal = data / "log.sqlite-wal"
    wal.write_bytes(bytes(3_700_000))
    wal.chmod(0o600)
    assert f"({(size + 3_700_000) / 1e6:.1f} MB)" in check(data)["database"].message


def test_a_healthy_data_folder(data: Path) -> None:
    findings = check(data)
    assert {name: f.state for name, f in findings.items() if name != "disk"} == {
        "database": State.OK,
        "journal": State.OK,
        "files": State.OK,
    }
    assert findings["journal"].message.startswith("2 predictions wait")


@pytest.mark.parametrize("damage", [zeros, noise, cut_off])
def test_a_damaged_database(data: Path, damage: Callable[[Path, int], None]) -> None:
    damage(data / "log.sqlite", 4096)
    finding = check(data)["database"]
    assert finding.state is State.WRONG
    assert "restore" in finding.fix


def test_a_file_that_is_no_database(data: Path) -> None:
    (data / "log.sqlite").write_bytes(b"no database at all" * 1000)
    assert check(data)["database"].state is State.WRONG


def test_no_data_folder_and_no_log(tmp_path: Path) -> None:
    (finding,) = check_data(Settings(data_dir=tmp_path / "none"), now=NOW)
    assert finding.state is State.SKIPPED
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty")["database"].state is State.SKIPPED


def test_unreadable_lines_of_the_journal(data: Path) -> None:
    with (data / "journal" / "1-a.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")
    finding = check(data)["journal"]
    assert (finding.state, finding.message) == (State.WARNING, "1 of 3 lines cannot be read")
    (data / "journal" / "invalid").mkdir(mode=0o700)
    (data / "journal" / "invalid" / "0f.jsonl").write_bytes(b"\0\n")
    assert "invalid/0f.jsonl" in check(data)["journal"].message


def test_many_waiting_lines(data: Path) -> None:
    (data / "journal" / "1-a.jsonl").write_bytes(10_001 * LINE)
    finding = check(data)["journal"]
    assert finding.state is State.WARNING
    assert "10,001 predictions wait" in finding.message


def test_files_that_others_may_read(data: Path) -> None:
    (data / "log.sqlite").chmod(0o644)
    finding = check(data)["files"]
    assert finding.state is State.WARNING
    assert "log.sqlite (mode 644, umask 077)" in finding.message
    assert check(data, umask="022")["files"].state is State.OK


@pytest.mark.parametrize(
    ("free", "state"), [(10**7, State.WRONG), (5 * 10**8, State.WARNING), (10**10, State.OK)]
)
def test_a_full_disk(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: State) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: USAGE(10**12, 10**12 - free, free))
    assert check(data)["disk"].state is state


@pytest.mark.parametrize(("seconds", "words"), [(5, "5.0 s ahead"), (-90, "90.0 s behind"), (1.5, None)])
def test_a_clock_that_differs(seconds: float, words: str | None) -> None:
    finding = clock_finding("the service", NOW + timedelta(seconds=seconds), NOW)
    assert (finding is None) == (words is None)
    assert finding is None or (words or "") in finding.message

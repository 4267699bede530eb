"""Backup and restore: whole or not at all, private, and nothing damaged comes back."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.command_line import driftbell
from tests.conftest import wait_until
from tests.model_keys import ModelKey

from driftbell import __version__
from driftbell.config.settings import Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError, StoreError
from driftbell.journal.file import Journal
from driftbell.journal.line import encode_line
from driftbell.ops.backup import back_up, restore
from driftbell.records import CheckKind, Prediction
from driftbell.store.snapshot import copy_store
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.store.tables import HEAD

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
IRIS: ModelKey = {"model": "iris", "version": "v1"}


def predictions(count: int, first: int = 0) -> list[Prediction]:
    return [
        Prediction(f"id-{n}", NOW + timedelta(seconds=n), "iris", "v1", {"x": float(n)}, "a", {"a": 1.0}, 1.0)
        for n in range(first, first + count)
    ]


def filled(tmp_path: Path) -> Settings:
    """A data folder with 300 predictions, a model of two files and a report with its `latest` link."""
    data = tmp_path / "data"
    (data / "models" / "iris" / "v1").mkdir(parents=True)
    (data / "models" / "iris" / "v1" / "model.skops").write_bytes(os.urandom(3_000_000))
    (data / "models" / "iris" / "größe ü.json").write_text("{}")
    (data / "reports").mkdir()
    (data / "reports" / "drift_report_20260131_120000.html").write_text("<p>report")
    os.link(
        data / "reports" / "drift_report_20260131_120000.html", data / "reports" / "drift_report_latest.html"
    )
    (data / "reports" / ".drift_report_latest.html.part").write_text("half")
    with contextlib.closing(open_sqlite(data / "log.sqlite")) as log:
        log.predictions.append(predictions(300))
        log.coordination.request_check(CheckKind.MANUAL, NOW)
    return Settings(data_dir=data)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return filled(tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def opened(settings: Settings) -> contextlib.closing[SqlStore]:
    return contextlib.closing(open_sqlite(settings.log_path))


def test_what_is_on_its_way_to_the_log_is_saved(settings: Settings, tmp_path: Path) -> None:
    """In the journal of a process that lives, and of one that is gone; what the log has comes once."""
    lives = Journal(settings.journals_dir)
    lives.write([encode_line(p) + b"\n" for p in predictions(20, first=290)])
    gone = settings.journals_dir / "1-0.jsonl"
    gone.write_bytes(b"".join(encode_line(p) + b"\n" for p in predictions(5, first=310)) + b'{"id": "ha')
    before = files(settings.journals_dir)
    saved = back_up(settings, tmp_path / "saved", now=NOW)
    assert saved.rows["predictions"] == 315
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "log.sqlite",
        "manifest.json",
        "models",
        "reports",
    ]
    assert files(settings.journals_dir) == before
    lives.close()
    with opened(settings) as log:
        assert log.predictions.count(**IRIS) == 300
    new = Settings(data_dir=tmp_path / "new")
    restore(new, tmp_path / "saved")
    with opened(new) as log:
        ids = [p.id for p in log.predictions.window(400, **IRIS).predictions]
        assert sorted(ids) == sorted(f"id-{n}" for n in range(315))


def test_what_was_saved_comes_back(settings: Settings, tmp_path: Path) -> None:
    saved = back_up(settings, tmp_path / "saved", now=NOW)
    elsewhere = Settings(data_dir=tmp_path / "new" / "data")
    assert restore(elsewhere, tmp_path / "saved") == saved
    for folder in ("models", "reports"):
        before = {n: c for n, c in files(settings.data_dir / folder).items() if not n.endswith(".part")}
        assert files(elsewhere.data_dir / folder) == before
    with opened(settings) as old, opened(elsewhere) as new:
        assert new.predictions.window(500, **IRIS) == old.predictions.window(500, **IRIS)
        assert new.coordination.pending_request() == old.coordination.pending_request()
        new.predictions.append(predictions(1, first=300))
        assert new.predictions.count(**IRIS) == 301
    assert [p.name for p in elsewhere.data_dir.rglob(".restoring")] == []


def test_manifest_tells_what_there_is(settings: Settings, tmp_path: Path) -> None:
    saved = back_up(settings, tmp_path / "saved", now=NOW)
    written = json.loads((tmp_path / "saved" / "manifest.json").read_text("utf-8"))
    assert (written["driftbell"], written["schema"], written["time"]) == (
        __version__,
        HEAD,
        "2026-01-31T12:00:00+00:00",
    )
    assert written["rows"] == {
        "predictions": 300,
        "checks": 0,
        "check_requests": 1,
        "leases": 0,
        "notifications": 0,
        "labels": 0,
        "alarms": 0,
        "archives": 0,
        "outcomes": 0,
        "pruned": 0,
        "refused_rows": 0,
        "api_keys": 0,
        "ended_sessions": 0,
        "shadow_predictions": 0,
        "slice_marks": 0,
        "time_slices": 0,
        **dict.fromkeys(("model_versions", "model_aliases", "model_files", "promotions"), 0),
        "server_workers": 0,
    }
    assert set(written["files"]) == set(files(tmp_path / "saved")) - {"manifest.json"}
    assert saved.sentence.startswith("300 predictions, 0 checks, 2 reports, 3.")


def test_only_the_owner_can_read_a_backup(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "saved").rglob("*") if p.is_file()}
    assert modes == {0o600}
    folders = [tmp_path / "saved", *(p for p in (tmp_path / "saved").rglob("*") if p.is_dir())]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}


def test_a_restored_report_is_as_readable_as_a_written_one(settings: Settings, tmp_path: Path) -> None:
    """The report viewer is another user."""
    back_up(settings, tmp_path / "saved", now=NOW)
    restore(Settings(data_dir=tmp_path / "new", umask="022"), tmp_path / "saved")
    for name in ("reports", "reports/drift_report_latest.html"):
        restored, written = tmp_path / "new" / name, settings.data_dir / name
        assert restored.stat().st_mode == written.stat().st_mode


def test_the_source_is_only_read(settings: Settings, tmp_path: Path) -> None:
    before = files(settings.data_dir)
    back_up(settings, tmp_path / "saved", now=NOW)
    after = files(settings.data_dir)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {".lock", "log.sqlite-wal", "log.sqlite-shm"}


def test_a_log_without_models_and_reports_is_saved_and_restored(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    open_sqlite(settings.log_path).close()
    back_up(settings, tmp_path / "saved", now=NOW)
    restored = restore(Settings(data_dir=tmp_path / "new"), tmp_path / "saved")
    assert restored.sentence.startswith("0 predictions, 0 checks, 0 reports")


def test_an_open_transaction_of_a_writer_neither_blocks_nor_shows(settings: Settings, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(settings.log_path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM predictions")
        saved = back_up(settings, tmp_path / "saved", now=NOW)
        writer.execute("ROLLBACK")
    assert saved.rows["predictions"] == 300


def test_a_log_that_stays_locked_is_an_error_and_not_a_wait_for_ever(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.store.snapshot.LOCKED_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(settings.log_path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            copy_store(settings.log_path, tmp_path / "copy")


def test_the_target_must_be_new_or_empty(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    back_up(settings, tmp_path / "empty", now=NOW)
    for taken in (tmp_path / "empty", settings.log_path):
        with pytest.raises(ConfigError, match="already exists"):
            back_up(settings, taken, now=NOW)
    for inner in (settings.reports_dir / "x", settings.data_dir / "models"):
        with pytest.raises(ConfigError, match="in a folder that is backed up"):
            back_up(settings, inner, now=NOW)
    (tmp_path / "next.part").mkdir()
    with pytest.raises(ConfigError, match=r"next\.part exists"):
        back_up(settings, tmp_path / "next", now=NOW)
    assert (tmp_path / "next.part").exists()
    assert not (tmp_path / "next").exists()


def test_a_data_folder_may_hold_its_own_backups(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, settings.data_dir / "backup" / "one", now=NOW)
    two = back_up(settings, settings.data_dir / "backup" / "two", now=NOW)
    assert not [name for name in two.files if "backup" in name]


def test_nothing_to_save_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no prediction log .*--data-dir"):
        back_up(Settings(data_dir=tmp_path / "nowhere"), tmp_path / "saved", now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_linked_folder_is_not_left_out_silently(settings: Settings, tmp_path: Path) -> None:
    (settings.data_dir / "models" / "other").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="other is a link to a folder"):
        back_up(settings, tmp_path / "saved", now=NOW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_damaged_log_is_not_backed_up(settings: Settings, tmp_path: Path) -> None:
    content = bytearray(settings.log_path.read_bytes())
    content[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    settings.log_path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        back_up(settings, tmp_path / "saved", now=NOW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


# the command line


def run(*args: object, largest_file: int) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that cannot write larger files."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [sys.executable, "-m", "driftbell", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
        env={k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")},
    )


def test_commands_print_one_line_or_json(settings: Settings, tmp_path: Path) -> None:
    saved, new = str(tmp_path / "saved"), str(tmp_path / "new")
    done = driftbell("backup", saved, "--data-dir", str(settings.data_dir), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path}/saved: 300 predictions, 0 checks, 2 reports, 3.")
    done = driftbell("restore", saved, "--data-dir", new, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["rows"]["predictions"] == 300
    done = driftbell("restore", saved, "--data-dir", new, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "move it away" in done.stderr


def test_a_terminated_backup_leaves_no_partial_folder(settings: Settings, tmp_path: Path) -> None:
    part = tmp_path / "saved.part"
    with exclusive_setup(settings.data_dir):  # it waits for this when the log is copied
        process = subprocess.Popen(
            [sys.executable, "-m", "driftbell", "backup", tmp_path / "saved", "--data-dir", settings.data_dir]
        )
        wait_until((part / "log.sqlite").exists, 60, "a half")
        process.terminate()
        assert process.wait(30) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("largest", [20_000, 1_000_000], ids=["full at the log", "full at the model"])
def test_a_full_disk_leaves_no_half(settings: Settings, tmp_path: Path, largest: int) -> None:
    """A limit on the size of files fails a write as a full disk does."""
    done = run("backup", tmp_path / "saved", "--data-dir", settings.data_dir, largest_file=largest)
    assert done.returncode == 2
    assert done.stderr.startswith("driftbell: cannot ")
    assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
    back_up(settings, tmp_path / "saved", now=NOW)
    done = run("restore", tmp_path / "saved", "--data-dir", tmp_path / "new", largest_file=largest)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert set(files(tmp_path / "new")) <= {".lock", ".running"}

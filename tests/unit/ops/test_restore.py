"""Restore: nothing damaged comes back, and a folder that holds something is left alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.ops.test_backup import NOW, files, filled

from driftbell.config.settings import Settings
from driftbell.data_folder import mark_in_use
from driftbell.errors import ConfigError, DriftbellError
from driftbell.ops.backup import back_up, restore, verify
from driftbell.ops.backup_manifest import Manifest
from driftbell.store.snapshot import read_facts
from driftbell.store.tables import HEAD


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return filled(tmp_path)


def truncated(saved: Path) -> str:
    with (saved / "models/iris/v1/model.skops").open("r+b") as file:
        file.truncate(1000)
    return "models/iris/v1/model.skops was changed"


def flipped(saved: Path) -> str:
    with (saved / "log.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    return "log.sqlite was changed"


def linked(saved: Path) -> str:
    secret = saved.parent / "secret"
    model = saved / "models/iris/v1/model.skops"
    secret.write_bytes(model.read_bytes())  # of the same content, so that only a look at the link can tell
    model.unlink()
    model.symlink_to(secret)
    return r"model\.skops is a link"


def linked_folder(saved: Path) -> str:
    (saved / "models").rename(saved.parent / "elsewhere")
    (saved / "models").symlink_to(saved.parent / "elsewhere")
    return "models is a link"


def linked_log(saved: Path) -> str:
    (saved / "log.sqlite").rename(saved.parent / "other.sqlite")
    (saved / "log.sqlite").symlink_to(saved.parent / "other.sqlite")
    return r"log\.sqlite is a link"


def linked_manifest(saved: Path) -> str:
    (saved / "manifest.json").rename(saved.parent / "other.json")
    (saved / "manifest.json").symlink_to(saved.parent / "other.json")
    return r"manifest\.json is a link"


def missing(saved: Path) -> str:
    (saved / "reports/drift_report_latest.html").unlink()
    return r"incomplete: reports/drift_report_latest.html is missing"


def without_manifest(saved: Path) -> str:
    (saved / "manifest.json").unlink()
    return r"manifest\.json is missing"


def half_a_manifest(saved: Path) -> str:
    (saved / "manifest.json").write_text((saved / "manifest.json").read_text("utf-8")[:200])
    return r"manifest\.json cannot be read"


def rewritten(change: Callable[[dict], None], message: str) -> Callable[[Path], str]:
    def damage(saved: Path) -> str:
        body = json.loads((saved / "manifest.json").read_text("utf-8"))
        change(body)
        (saved / "manifest.json").write_text(json.dumps(body))
        return message

    return damage


def signed(saved: Path, statement: str) -> None:
    """Change the log and make the manifest fit, so that only a look into the log can tell."""
    with contextlib.closing(sqlite3.connect(saved / "log.sqlite")) as log, log:
        log.execute(statement)
    content = (saved / "log.sqlite").read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    rewritten(lambda b: b["files"].update({"log.sqlite": entry}), "")(saved)


def of_the_future(saved: Path) -> str:
    signed(saved, "UPDATE driftbell_version SET version_num = '9999'")
    return f"newer driftbell .9999., this one knows {HEAD}"


def of_another_log(saved: Path) -> str:
    signed(saved, "DELETE FROM predictions WHERE seq > 100")
    return "does not match log.sqlite"


def no_log_at_all(saved: Path) -> str:
    signed(saved, "DROP TABLE driftbell_version")
    return "damaged, or no log of driftbell"


def deep_manifest(saved: Path) -> str:
    (saved / "manifest.json").write_text("[" * 200_000)
    return "manifest.json cannot be read"


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        deep_manifest,
        flipped,
        linked,
        linked_folder,
        linked_log,
        linked_manifest,
        missing,
        without_manifest,
        half_a_manifest,
        of_the_future,
        of_another_log,
        no_log_at_all,
        rewritten(lambda b: b.update(format=3, driftbell="9.9"), r"newer driftbell, 9\.9"),
        rewritten(lambda b: b["files"].pop("log.sqlite"), "cannot be read"),
        rewritten(lambda b: b.pop("rows"), "cannot be read"),
        rewritten(lambda b: b["files"].update({"../x": b["files"]["log.sqlite"]}), "cannot be read"),
        rewritten(lambda b: b["files"].update({"reports/.x": b["files"]["log.sqlite"]}), "cannot be read"),
        rewritten(
            lambda b: b["files"].update({"models/../../x": b["files"]["log.sqlite"]}), "cannot be read"
        ),
        rewritten(lambda b: b["files"].update({"/tmp/x": b["files"]["log.sqlite"]}), "cannot be read"),
        rewritten(lambda b: b["files"].update({".lock": b["files"]["log.sqlite"]}), "cannot be read"),
        rewritten(lambda b: b.update(files=[]), "cannot be read"),
    ],
)
def test_a_damaged_backup_changes_nothing(
    settings: Settings, tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    message = damage(tmp_path / "saved")
    before = files(tmp_path / "saved")
    with pytest.raises(DriftbellError, match=message) as error:
        restore(Settings(data_dir=tmp_path / "new"), tmp_path / "saved")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()
    assert files(tmp_path / "saved") == before


def test_a_backup_with_older_tables_is_restored_and_migrated_at_the_start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    monkeypatch.setattr("driftbell.store.snapshot.HEAD", "0999")
    assert verify(tmp_path / "saved").schema == HEAD < "0999"


# where a backup may come back to


def test_a_data_folder_that_holds_something_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    for name in ("log.sqlite", "log.sqlite-wal", "models/mine", "reports/mine.html"):
        new = tmp_path / name.replace("/", "-")
        (new / name).parent.mkdir(parents=True)
        (new / name).write_text("mine")
        with pytest.raises(
            ConfigError, match=f"contains .*{name.split('/')[-1]}: choose another .*, or move it"
        ):
            restore(Settings(data_dir=new), tmp_path / "saved")
        assert {n: c for n, c in files(new).items() if not n.startswith(".")} == {name: b"mine"}


def test_a_folder_that_is_worked_on_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    new = Settings(data_dir=tmp_path / "new")
    with (
        mark_in_use(new.data_dir),
        mark_in_use(new.data_dir),
        pytest.raises(ConfigError, match="stop it first"),
    ):
        restore(new, tmp_path / "saved")
    assert isinstance(restore(new, tmp_path / "saved"), Manifest)


def test_a_restore_that_fails_midway_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(settings, tmp_path / "saved", now=NOW)
    new = Settings(data_dir=tmp_path / "new")
    put = Path.replace

    def broken(self: Path, target: Path) -> Path:
        if target == new.log_path:
            raise OSError(28, "No space left on device")
        return put(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(ConfigError, match="No space left"):
        restore(new, tmp_path / "saved")
    assert set(files(new.data_dir)) == {".lock", ".running"}
    monkeypatch.undo()
    restore(new, tmp_path / "saved")
    assert read_facts(new.log_path).rows["predictions"] == 300

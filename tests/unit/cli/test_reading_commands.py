"""Commands that only read create nothing, and files of all commands have the modes of `driftbell up`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.command_line import driftbell

from driftbell.cli import cli
from driftbell.config.settings import Settings
from driftbell.ops.backup import back_up, restore
from driftbell.records.api_keys import new_api_key
from driftbell.testing import ManualClock
from driftbell.wiring.gate import logged_past
from driftbell.wiring.offline import rehearsal
from driftbell.wiring.store import open_store

NEEDS_A_LOG = {
    "check": ("check",),
    "check --log": ("check", "--log"),
    "report": ("report", "drift.html"),
    "metrics": ("metrics", "-o", "metrics.csv"),
    "alarms list": ("alarms", "list"),
    "alarms annotate": ("alarms", "annotate", "a1", "expected", "--author", "ada", "--reason", "x"),
    "alarms label-sheet": ("alarms", "label-sheet", "a1", "sheet.csv"),
    "models list": ("models", "list"),
    "models show": ("models", "show", "v1"),
    "models compare": ("models", "compare"),
    "models promote": ("models", "promote", "v1"),
    "models rollback": ("models", "rollback"),
    "models challenge": ("models", "challenge", "v1", "--share", "0.1"),
    "models challenge --stop": ("models", "challenge", "--stop"),
    "keys list": ("keys", "list"),
    "keys revoke": ("keys", "revoke", "shop"),
    "backup": ("backup", "saved"),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


@pytest.mark.parametrize("name", NEEDS_A_LOG)
def test_a_reading_command_without_a_log_says_so_and_creates_nothing(name: str, empty_folder: Path) -> None:
    done = run(*NEEDS_A_LOG[name])
    assert done.exit_code != 0
    text = f"{done.exception} {done.output}"
    assert "there is no prediction log" in text
    assert "driftbell-data/log.sqlite" in text
    assert [*empty_folder.iterdir()] == []


def test_check_in_an_empty_folder_ends_with_2_as_check_log_does(empty_folder: Path) -> None:
    for args in (("check",), ("check", "--log")):
        done = driftbell(*args, cwd=empty_folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "there is no prediction log: driftbell-data/log.sqlite does not exist" in done.stderr
    assert [*empty_folder.iterdir()] == []


def test_a_gate_and_a_rehearsal_without_a_log_create_none(empty_folder: Path) -> None:
    settings = Settings(data_dir=empty_folder / "data")
    assert logged_past(settings, rehearsal(settings)) is None
    assert not settings.log_path.exists()
    assert_private(settings.data_dir)


def test_files_of_every_command_have_the_modes_of_the_service(empty_folder: Path) -> None:
    done = driftbell("keys", "create", "shop", "--scope", "predict", cwd=empty_folder)
    assert done.returncode == 0, done.stderr
    assert_private(empty_folder / "driftbell-data")


def test_the_store_and_a_restored_folder_have_the_modes_of_the_umask(empty_folder: Path) -> None:
    settings = Settings(data_dir=empty_folder / "data")
    now = ManualClock()()
    with closing(open_store(settings)) as store:
        store.keys.add(new_api_key("shop", ("predict",), now=now, expires=None)[0])
        assert_private(settings.data_dir)
    back_up(settings, empty_folder / "saved", now=now, further={})
    restored = settings.model_copy(update={"data_dir": empty_folder / "restored"})
    restore(restored, empty_folder / "saved")
    assert_private(restored.data_dir)
    wider = settings.model_copy(update={"data_dir": empty_folder / "wider", "umask": "027"})
    open_store(wider).close()
    assert stat.S_IMODE(wider.log_path.stat().st_mode) == 0o640
    assert stat.S_IMODE((wider.data_dir).stat().st_mode) == 0o700
    assert os.umask(0o022) == 0o022  # it is set for the data folder only


def assert_private(folder: Path) -> None:
    """Assert that other users may not use any file or folder."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}

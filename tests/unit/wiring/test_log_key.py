"""The key of hashes in the log: created once, hidden, never printed, and never silently another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.wiring.log_key import FILE_NAME, ID_FILE, log_key

KEY = "k3y5" * 16


def settings(folder: Path, file: Path | None = None, **log: Any) -> Settings:
    return Settings.model_validate({"data_dir": folder, "columns": {"log_key_file": file}, "log": log})


def test_it_is_created_once_and_hidden(tmp_path: Path) -> None:
    key = log_key(settings(tmp_path))
    assert len(key) == 64
    assert log_key(settings(tmp_path)) == key
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert key.decode() not in (tmp_path / ID_FILE).read_text()


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    key = log_key(settings(tmp_path))
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(ConfigError, match=r"log\.key is missing: .* remove .*log\.key\.id to start anew"):
        log_key(settings(tmp_path))
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / ID_FILE).unlink()
    assert log_key(settings(tmp_path)) != key


def test_another_key_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    log_key(settings(tmp_path))
    (tmp_path / "mounted").write_text(KEY)
    for configured in (settings(tmp_path), settings(tmp_path, tmp_path / "mounted")):
        (tmp_path / FILE_NAME).write_text(KEY[::-1])
        with pytest.raises(ConfigError, match="has another key than before") as caught:
            log_key(configured)
        assert KEY not in str(caught.value)


def test_a_configured_key_may_move_into_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "mounted").write_text(f"{KEY}\n")
    assert log_key(settings(tmp_path / "data", tmp_path / "mounted")) == KEY.encode()
    (tmp_path / "mounted").rename(tmp_path / "data" / FILE_NAME)
    assert log_key(settings(tmp_path / "data")) == KEY.encode()


def test_a_short_key_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("k3y5")
    with pytest.raises(ConfigError, match=r"columns\.log_key_file: short must have at least 32 characters"):
        log_key(settings(tmp_path, tmp_path / "short"))
    with pytest.raises(ConfigError, match=r"columns\.log_key_file: cannot read"):
        log_key(settings(tmp_path, tmp_path / "none"))


def test_services_on_postgresql_must_be_given_one_key(tmp_path: Path) -> None:
    url = "postgresql://ann@localhost/db"
    with pytest.raises(ConfigError, match=r"columns\.log_key_file is missing: services that share the log"):
        log_key(settings(tmp_path, url=url))
    (tmp_path / "mounted").write_text(KEY)
    assert log_key(settings(tmp_path, tmp_path / "mounted", url=url)) == KEY.encode()

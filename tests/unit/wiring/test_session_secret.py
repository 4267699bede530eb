"""The secret of the sessions: created once, hidden, and never printed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.wiring.session_secret import FILE_NAME, session_secret


def settings(folder: Path, file: Path | None = None) -> Settings:
    return Settings.model_validate({"data_dir": folder, "auth": {"session_secret_file": file}})


def test_whoever_starts_first_creates_it_hidden_and_all_read_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    read: list[bytes] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait(30)
        read.append(session_secret(settings(folder)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(read) == 8
    assert len(set(read)) == 1
    assert len(read[0]) == 64
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert session_secret(settings(folder)) == read[0]
    assert session_secret(settings(tmp_path / "other")) != read[0]
    assert [f.name for f in folder.iterdir() if f.name.endswith(".part")] == []


def test_a_copied_file_is_hidden_again(tmp_path: Path) -> None:
    secret = session_secret(settings(tmp_path))
    (tmp_path / FILE_NAME).chmod(0o644)
    assert session_secret(settings(tmp_path)) == secret
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_removed_file_is_replaced_by_another_secret(tmp_path: Path) -> None:
    secret = session_secret(settings(tmp_path))
    (tmp_path / FILE_NAME).unlink()
    assert session_secret(settings(tmp_path)) != secret


def test_a_configured_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mounted"
    file.write_text("s" * 64 + "\n")
    file.chmod(0o444)
    assert session_secret(settings(tmp_path / "data", file)) == b"s" * 64
    assert not (tmp_path / "data").exists()
    assert file.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"auth\.session_secret_file: cannot read .*secret: No such file"),
        (b"", r"auth\.session_secret_file: secret must have at least 32 characters: write one with `openssl"),
        (b"s3cr3t-value", "at least 32 characters"),
        (b" \n" * 100, "at least 32 characters"),
        (b"\xff" * 64, "is not UTF-8 text"),
    ],
)
def test_a_file_without_a_secret_is_refused_by_its_name(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        session_secret(settings(tmp_path / "data", file))
    assert "s3cr3t-value" not in str(refused.value)


def test_an_emptied_file_of_the_data_folder_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("")
    with pytest.raises(ConfigError, match=rf"remove {tmp_path / FILE_NAME}, a start creates it"):
        session_secret(settings(tmp_path))


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot write"):
        session_secret(settings(tmp_path / "data"))

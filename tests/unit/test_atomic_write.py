"""A file is replaced as a whole, or stays as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftbell.atomic_write import write_atomically, write_output


def test_a_file_is_created_and_replaced_without_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"first", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_content_and_removes_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("driftbell.atomic_write.os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "report.html", tmp_path / "newest.html"
    file.write_text("old")
    link.symlink_to(file)
    write_output(link, b"new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(pipe, b"page")
        assert os.read(reader, 10) == b"page"
    finally:
        os.close(reader)
    write_output(Path("/dev/null"), b"page")
    assert not Path("/dev/null").is_file()
    with pytest.raises(OSError, match="No space"):
        write_output(Path("/dev/full"), b"page")


@pytest.mark.parametrize("name", ["missing/report.html", "."])
def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"No such file|directory"):
        write_output(tmp_path / name, b"page")


def test_the_shell_keeps_its_own_file(tmp_path: Path) -> None:
    """Standard output may be a file, which must not be replaced while the shell writes to it."""
    program = (
        "from pathlib import Path; from driftbell.atomic_write import write_output; "
        "print('text', flush=True); write_output(Path('/dev/stdout'), b'page')"
    )
    out = tmp_path / "out"
    with out.open("ab") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
        inode = os.fstat(file.fileno()).st_ino
    assert out.stat().st_ino == inode
    assert "page" in out.read_text()

"""Checks of large tables as whole processes: interrupted at any moment, and of folders with broken files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

CHECK = [sys.executable, "-m", "driftbell", "check", "--fail-on", "never"]
ROWS = 250_000


def frame(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {f"x{i}": rng.normal(size=rows) for i in range(6)} | {"city": rng.choice(["a", "b"], rows)}
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a reference, and folders of eight and of many names of one large file."""
    folder = tmp_path_factory.mktemp("tables")
    frame(1000).write_parquet(folder / "past.parquet")
    frame(1000).write_csv(folder / "past.csv")
    (folder / "now").mkdir()
    (folder / "one").mkdir()
    large = folder / "one" / "0.parquet"
    frame(ROWS, 1).write_parquet(large)
    for i in range(8):
        os.link(large, folder / "now" / f"{i}.parquet")
    (folder / "many").mkdir()
    for i in range(64):  # so that a check is not over before it is interrupted
        os.link(large, folder / "many" / f"{i}.parquet")
    frame(2 * ROWS, 1).write_csv(folder / "now.csv")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["many", "now.csv"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_check_leaves_nothing_behind(
    tables: Path, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    before = sorted(tables.rglob("*"))
    process = subprocess.Popen(
        [*CHECK, "--html", "page.html", tables / "past.csv", tables / name],
        cwd=here,
        env={**os.environ, "TMPDIR": str(temporary), "HOME": str(here)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while process.poll() is None and not _reads(process.pid, tables / name):
        pass
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in errors
    assert not [*here.iterdir(), *temporary.iterdir()]
    assert sorted(tables.rglob("*")) == before
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def _reads(pid: int, source: Path) -> bool:
    """Return whether a process has a file open that is the source, or in it."""
    try:
        opened = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(path.startswith(str(source)) for path in opened)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_files(tables: Path) -> None:
    one, eight = (_memory(tables / "past.parquet", tables / name) for name in ("one", "now"))
    assert eight < 1.25 * one


def _memory(*files: Path) -> int:
    """Return the largest resident memory of a check, in KB."""
    process = subprocess.Popen([*CHECK, *files], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.parametrize("defect", ["cut off", "other type", "defective pages"])
def test_a_broken_file_of_a_large_folder_is_named(tmp_path: Path, defect: str) -> None:
    now = tmp_path / "now"
    now.mkdir()
    frame(1000).write_parquet(tmp_path / "past.parquet")
    for i in range(4):
        frame(80_000, i).write_parquet(now / f"{i}.parquet")
    data = (now / "2.parquet").read_bytes()
    if defect == "cut off":
        (now / "2.parquet").write_bytes(data[: len(data) // 2])
    elif defect == "other type":
        frame(80_000).with_columns(pl.col("x3").cast(pl.String)).write_parquet(now / "2.parquet")
    else:
        middle = len(data) // 2
        (now / "2.parquet").write_bytes(data[:middle] + b"\xff" * 200_000 + data[middle + 200_000 :])
    result = subprocess.run(
        [*CHECK, tmp_path / "past.parquet", now], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("driftbell: cannot read")
    assert str(now / "2.parquet") in result.stderr
    assert len(result.stderr.splitlines()) == 1

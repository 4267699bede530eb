"""The fake Docker honors `since`, as Docker does: a collector that restarts gets later lines only."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
from tests.stack.fake_docker import Container, docker, docker_time, nanoseconds


def read_lines(url: str, since: str, count: int) -> list[bytes]:
    """Read frames from the log of a container until there are so many lines."""
    data = b""
    with httpx.stream("GET", url, params={"follow": "1", "timestamps": "1", "since": since}) as answer:
        for chunk in answer.iter_raw():
            data += chunk
            if data.count(b"\n") >= count:
                break
    return re.findall(rb"Z ([^\n]*)\n", data)


def test_only_lines_since_a_time_are_sent(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("first\nsecond\n")
    container = Container("ml_service", output)
    with docker(container) as api:
        url = f"http{api.url.removeprefix('tcp')}/v1.51/containers/{container.id}/logs"
        assert read_lines(url, "0", 2) == [b"first", b"second"]
        moment = time.time_ns()
        with output.open("a") as file:
            file.write("third\n")
        assert read_lines(url, f"{moment // 10**9}.{moment % 10**9:09d}", 1) == [b"third"]
        assert read_lines(url, "", 3) == [b"first", b"second", b"third"]
        assert api.since == [moment]


def test_times_are_as_docker_writes_them() -> None:
    assert docker_time(1_700_000_000_123_456_789) == b"2023-11-14T22:13:20.123456789Z"
    assert nanoseconds("1700000000.000000001") == 1_700_000_000_000_000_001
    assert nanoseconds("1700000000") == 1_700_000_000_000_000_000

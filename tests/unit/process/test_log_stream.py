"""A log stream with a reader that reads, stalls or ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from tests.conftest import wait_until

from driftbell.process.log_stream import LogStream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    stream = LogStream(pipe[1])
    lines = [f"line {i} ä\n" for i in range(1000)]
    for line in lines:
        assert stream.write(line) == len(line)
    assert stream.drain(20)
    assert os.read(pipe[0], 65536).decode() == "".join(lines)
    assert stream.dropped == 0


def test_a_stalled_reader_blocks_nobody_and_dropped_lines_are_counted(pipe: tuple[int, int]) -> None:
    counted: list[int] = []
    stream = LogStream(pipe[1], max_bytes=300_000, on_drop=counted.append)
    for _ in range(10_000):
        stream.write("x" * 99 + "\n")
    stream.write("a\nb\n")
    assert not stream.drain(0.05)
    assert 10_000 * 100 - 300_000 - 65536 - 100 <= 100 * (stream.dropped - 2) <= 10_000 * 100 - 300_000 + 100
    assert sum(counted) == stream.dropped
    received = bytearray()
    while len(received) < (10_002 - stream.dropped) * 100 - 200:  # the reader goes on
        received += os.read(pipe[0], 65536)
    assert stream.drain(20)
    stream.write("again\n")
    assert stream.drain(20)
    assert os.read(pipe[0], 65536).endswith(b"again\n")


def test_logging_goes_on_after_an_error_of_the_descriptor() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = LogStream(writer)
    stream.write("nobody reads this\n")  # EPIPE
    assert stream.drain(20)
    os.close(writer)
    stream.write("nor this\n")  # EBADF
    assert stream.drain(20)
    assert stream.dropped == 2
    assert "log" in {thread.name for thread in threading.enumerate()}


def test_a_descriptor_that_does_not_block_is_tried_again(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    stream = LogStream(pipe[1])
    stream.write("x" * 200_000 + "\n")
    received = bytearray()
    while len(received) < 200_001:
        received += os.read(pipe[0], 65536)
    wait_until(lambda: stream.drain(0.1), 20, "the end of the line")
    assert bytes(received) == b"x" * 200_000 + b"\n"


def test_an_error_of_the_writing_thread_costs_its_lines_only(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = LogStream(pipe[1])
    real = stream._write
    errors = iter([MemoryError()])

    def write(data: bytes) -> None:
        for error in errors:
            raise error
        real(data)

    with capture_logs() as lines:
        monkeypatch.setattr(stream, "_write", write)
        stream.write("lost\n")
        wait_until(lambda: stream.drain(0.1) and lines)
        stream.write("written\n")
        assert stream.drain(20)
    assert os.read(pipe[0], 65536) == b"written\n"
    assert [line["thread"] for line in lines] == ["log"]

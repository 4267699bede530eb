"""Requests and answers find each other in any order, in every process, and never wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driftbell.errors import StoreError
from driftbell.journal import waiting_room
from driftbell.journal.waiting_room import ANSWER, MAX_SECONDS, REQUEST, Half, WaitingRoom

SENT, ANSWERED = Half(b"{}", "2026-01-31T12:00:00Z"), Half(b"[1]", "")


def test_the_second_half_gets_the_first_one_in_either_order(tmp_path: Path) -> None:
    room = WaitingRoom(tmp_path / "room")
    assert not room.exists
    assert room.put("a", REQUEST, SENT, 0.0) is None
    assert room.put("b", ANSWER, ANSWERED, 0.0) is None
    assert room.put("a", ANSWER, ANSWERED, 1.0) == SENT
    assert room.put("b", REQUEST, SENT, 1.0) == ANSWERED
    assert room.put("a", ANSWER, ANSWERED, 2.0) == SENT, "not finished: it can be repeated"
    assert room.finish("a", 2.0)
    assert not room.finish("a", 2.0)
    assert room.put("a", ANSWER, ANSWERED, 3.0) is None
    assert room.put("a", REQUEST, SENT, 3.0) is None
    room.close()
    room.close()


def test_what_waits_too_long_is_counted_once_by_its_id(tmp_path: Path) -> None:
    room = WaitingRoom(tmp_path / "room")
    room.put("alone", REQUEST, SENT, 0.0)
    room.put("both", REQUEST, SENT, 0.0)
    room.put("both", ANSWER, ANSWERED, 0.0)
    room.finish("done", 0.0)
    assert room.expire(MAX_SECONDS) == 0
    assert room.expire(MAX_SECONDS + 1) == 2
    assert room.expire(MAX_SECONDS + 1) == 0
    assert room.put("done", REQUEST, SENT, 500.0) is None
    assert room.put("done", ANSWER, ANSWERED, 500.0) == SENT


def test_its_size_is_bounded_and_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = WaitingRoom(tmp_path / "room")
    monkeypatch.setattr(waiting_room, "MAX_HALVES", 3)
    for number in range(5):
        room.put(str(number), REQUEST, SENT, float(number))
    assert room.expire(5.0) == 2
    assert room.put("2", ANSWER, ANSWERED, 5.0) == SENT
    room.finish("2", 5.0)
    monkeypatch.setattr(waiting_room, "MAX_BYTES", 10)
    assert room.expire(5.0) == 0
    room.put("large", REQUEST, Half(b"x" * 11, ""), 6.0)
    assert room.expire(6.0) == 3
    assert room.put("large", ANSWER, ANSWERED, 6.0) is None


def test_processes_share_the_file(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        own = WaitingRoom(tmp_path / "room")
        os._exit(0 if own.put("a", REQUEST, SENT, 0.0) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    room = WaitingRoom(tmp_path / "room")
    assert room.put("a", ANSWER, ANSWERED, 0.0) == SENT


def test_a_file_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    room = WaitingRoom(tmp_path / "missing" / "room")
    with pytest.raises(StoreError, match="missing/room"):
        room.put("a", REQUEST, SENT, 0.0)
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(StoreError, match="cannot be joined"):
        WaitingRoom(tmp_path / "text").put("a", REQUEST, SENT, 0.0)

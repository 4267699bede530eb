"""A fault at each call of the write path: no answered prediction is lost, none is stored twice."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from tests.contract.builders import IRIS, prediction
from tests.faults import CRASH_STATUS, KINDS, Faults, injected

from driftbell.errors import OverloadedError, StoreError
from driftbell.journal import file as journal_file
from driftbell.journal import mover as journal_mover
from driftbell.journal.line import encode_line
from driftbell.records import Prediction
from driftbell.server.http.metrics import Metrics
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

LINES_A_REQUEST = 3
ROTATED_BYTES = 1000
METRICS = Metrics()
NUMBERS = itertools.count()


class NoThread:
    """Stands for the mover's thread: the story makes its passes itself, so that calls have an order."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self) -> NoThread:
        return self

    def is_alive(self) -> bool:
        return False

    def join(self, seconds: float | None = None) -> None:
        pass


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(monkeypatch)


def prepare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_mover, "SupervisedThread", NoThread)
    patch.setattr(journal_mover, "SCAN_SECONDS", 0.0)
    patch.setattr(journal_file, "ROTATED_BYTES", ROTATED_BYTES)
    patch.setattr(journal_file, "READ_BYTES", 700)
    patch.setattr(structlog._config._CONFIG, "default_processors", [LogCapture()])


@dataclass
class Client:
    """Sends predictions, and knows which were answered.

    Attributes:
        sent: every prediction.
        answered: ids of those that were answered.
        refused: number of requests that were refused.
    """

    note: Callable[[str], None] = lambda _: None
    sent: list[Prediction] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    refused: int = 0

    def send(self, writer: JournalWriter, *, power: bool = False) -> None:
        """Send one request; only the errors that are answered with 503 may be raised."""
        first = len(self.sent)
        rows = [prediction(first + i) for i in range(LINES_A_REQUEST)]
        self.sent += rows
        try:
            writer.write([encode_line(row) + b"\n" for row in rows])
            if power:
                writer._journal.sync(writer._journal.written_bytes)
        except (StoreError, OverloadedError):
            self.refused += 1
            return
        for row in rows:
            self.answered.append(row.id)
            self.note(row.id)


def story(place: Path, client: Client, *, spool: bool) -> None:
    """Serve twice: the first process leaves a journal, the second moves it, rotates, and ends in order."""
    for ends_in_order in (False, True):
        service = started(place, spool=spool)
        if service is None:  # it refused to start; somebody starts it again
            service = started(place, spool=spool)
        assert service, "a single fault keeps the service from starting twice"
        store, writer = service
        mover, journal = writer._mover, writer._journal
        client.send(writer, power=True)
        mover._pass()
        client.send(writer)
        client.send(writer)
        mover._pass()  # rotates
        client.send(writer)  # stays in the journal of the first process
        if ends_in_order:
            mover._pass()
        journal.close()
        store.close()


def started(place: Path, *, spool: bool) -> tuple[SqlStore, JournalWriter] | None:
    store = None
    try:
        store = open_sqlite(place / "log.sqlite")
        return store, JournalWriter(store, place / "journal", METRICS, spool=spool)
    except StoreError:
        if store:
            store.close()
        return None


def recovered(place: Path, client: Client) -> None:
    """Start once more without faults: check the store, and that nothing remains in the journal."""
    store, writer = started(place, spool=False)
    writer._mover._pass()
    writer._mover._pass()
    assert writer.failure is None
    stored = Counter(p.id for p in store.predictions.window(1000, **IRIS).predictions)
    assert set(client.answered) <= stored.keys(), "lost"
    assert max(stored.values(), default=1) == 1, "doubled"
    by_id = {p.id: p for p in client.sent}
    assert stored.keys() <= by_id.keys()
    for stored_row in store.predictions.window(1000, **IRIS).predictions:
        assert stored_row == by_id[stored_row.id]
    writer._journal.close()
    store.close()
    rest = [path for path in (place / "journal").iterdir() if path.suffix != ".new"]
    assert rest == []


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory if possible, since each story flushes files to the disk."""
    shared = Path("/dev/shm")
    gc.freeze()  # so that collections between the stories look at the story's objects only
    try:
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
            yield Path(folder)
    finally:
        gc.unfreeze()


@pytest.fixture(scope="module")
def template(memory: Path) -> Path:
    """A migrated, empty store."""
    place = memory / "template"
    place.mkdir()
    open_sqlite(place / "log.sqlite").close()
    return place


@pytest.fixture
def places(template: Path, memory: Path) -> Iterator[Path]:
    """A new folder with an empty store, again and again."""
    return (Path(shutil.copytree(template, memory / str(number))) for number in NUMBERS)


def test_the_story_has_every_call_of_the_write_path(places: Iterator[Path]) -> None:
    place, client = next(places), Client()
    with injected(Faults(place)) as faults:
        story(place, client, spool=False)
    calls = {call for kind in KINDS.values() for call in kind} - {"flock", "fstat"}
    assert calls <= set(faults.calls), "a call that is never made is never tested"
    assert client.refused == 0
    assert len(client.answered) == len(client.sent)
    recovered(place, client)
    shutil.rmtree(place)


ERRORS = [kind for kind in KINDS if kind != "crash"]


@pytest.mark.parametrize(("kind", "spool"), [*((kind, False) for kind in ERRORS), ("error before", True)])
def test_a_call_that_fails_loses_nothing_and_leaks_nothing(
    places: Iterator[Path], kind: str, spool: bool
) -> None:
    number, struck = 0, True
    while struck:
        number += 1
        place, client = next(places), Client()
        descriptors = len(os.listdir("/proc/self/fd"))
        faults = Faults(place, kind, number)
        try:
            with injected(faults):
                story(place, client, spool=spool)
            recovered(place, client)
            if len(os.listdir("/proc/self/fd")) != descriptors:
                gc.collect()  # a connection may be part of a cycle
            assert len(os.listdir("/proc/self/fd")) == descriptors
            assert client.refused <= 4
        except BaseException as error:
            error.add_note(f"{kind} at call {number} ({faults.struck})")
            raise
        struck = bool(faults.struck)
        shutil.rmtree(place)
    assert number > 3


def crash(place: Path, number: int) -> None:
    """Live the story in a process that is ended by a fault."""
    note = os.open(place / "answered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    client = Client(lambda id: note_down(note, id))
    with pytest.MonkeyPatch.context() as patch, injected(Faults(place / "data", "crash", number)):
        prepare(patch)
        story(place / "data", client, spool=False)


def note_down(fd: int, id: str, write: Callable[..., Any] = os.write) -> None:
    write(fd, f"{id}\n".encode())


def test_a_process_that_ends_at_a_call_loses_nothing(template: Path, memory: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports this module once instead of in each process
    number, status = 0, CRASH_STATUS
    sent = [prediction(i) for i in range(100)]
    while status == CRASH_STATUS:
        number += 1
        place = memory / f"crash{number}"
        shutil.copytree(template, place / "data")
        process = context.Process(target=crash, args=(place, number))
        process.start()
        process.join(60)
        status = process.exitcode
        assert status in (0, CRASH_STATUS), f"crash at call {number}"
        with suppress(FileNotFoundError):
            answered = (place / "answered").read_text().split()
            recovered(place / "data", Client(sent=sent, answered=answered))
        shutil.rmtree(place)
    assert number > 20

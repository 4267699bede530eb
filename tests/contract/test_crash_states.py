"""Journal, mover and store as a state machine: processes crash between any two steps, and at torn lines.

`bench/failures.py` kills real processes; here a crash leaves the files as they are and drops the rest.
More runs: `HYPOTHESIS_EXAMPLES=2000 pytest tests/contract/test_crash_states.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.contract.builders import IRIS, NOW, label, prediction
from tests.faults import KINDS, Faults, injected

from driftbell.errors import StoreError
from driftbell.journal import file as journal_file
from driftbell.journal.file import Journal, read_journals
from driftbell.journal.line import encode_line
from driftbell.journal.mover import append_chunk, move_orphans
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "10"))
ERRORS = sorted(kind for kind in KINDS if kind not in ("crash", "EINTR"))


class CrashStates(RuleBasedStateMachine):
    """One server process at a time, a store, and files of processes that have died."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        self.place = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        shutil.copytree(self.template, self.place, dirs_exist_ok=True)
        self.sent = 0
        self.answered: set[str] = set()
        self.labelled: set[str] = set()
        self.deleted: set[str] = set()
        self.store: SqlStore
        self.journal: Journal
        self.start()

    def start(self) -> None:
        self.store = open_sqlite(self.place / "log.sqlite")
        self.journal = Journal(self.place / "journal")

    def teardown(self) -> None:
        self.end()
        shutil.rmtree(self.place)

    def end(self) -> None:
        for file in self.journal._files:
            os.close(file.fd)
        self.store.close()

    def write(self, rows: int) -> None:
        numbers = range(self.sent, self.sent + rows)
        self.sent += rows
        self.journal.write([encode_line(prediction(number)) + b"\n" for number in numbers])
        self.answered |= {f"id-{number}" for number in numbers}

    def move(self) -> None:
        while chunk := self.journal.read():
            append_chunk(self.store.predictions, chunk, self.place / "journal" / "invalid")
            self.journal.mark_moved(len(chunk), chunk.count(b"\n"))

    @rule(rows=st.integers(1, 4))
    def answer(self, rows: int) -> None:
        self.write(rows)

    @rule(rows=st.integers(1, 4), kind=st.sampled_from(ERRORS), number=st.integers(1, 3))
    def answer_during_a_fault(self, rows: int, kind: str, number: int) -> None:
        with injected(Faults(self.place, kind, number)):
            try:
                self.write(rows)
            except StoreError:
                return

    @rule()
    def move_all(self) -> None:
        self.move()
        assert self.journal.waiting_bytes == 0

    @rule(kind=st.sampled_from(ERRORS), number=st.integers(1, 8))
    def move_during_a_fault(self, kind: str, number: int) -> None:
        with injected(Faults(self.place, kind, number)):
            try:
                self.move()
            except (StoreError, OSError):  # the mover repeats it after both
                return

    @rule()
    def die_between_store_and_journal(self) -> None:
        """The store has lines that the journal does not know to be moved."""
        if chunk := self.journal.read():
            append_chunk(self.store.predictions, chunk)
        self.die(0)

    @rule(torn=st.integers(0, 400))
    def die(self, torn: int) -> None:
        """Crash, in the middle of a line that is written; then another process starts."""
        self.end()
        last = self.journal._files[-1].path
        line = encode_line(prediction(10_000)) + b"\n"
        with last.open("ab") as file:
            file.write(line[: min(torn, len(line) - 1)])
        self.start()

    @rule(kind=st.sampled_from(ERRORS), number=st.integers(1, 8))
    def move_orphans_during_a_fault(self, kind: str, number: int) -> None:
        with injected(Faults(self.place, kind, number)):
            try:
                move_orphans(self.store, self.place / "journal")
            except StoreError:
                return

    @rule()
    def move_orphans(self) -> None:
        move_orphans(self.store, self.place / "journal")

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def label_arrives(self, data: Any) -> None:
        """A label of a prediction that is not moved yet is refused, and sent again."""
        number = data.draw(st.integers(0, self.sent - 1))
        receipt = self.store.labels.add([label(number)])
        known = f"id-{number}" in self.stored()
        assert bool(receipt.unknown) is not known
        if known:
            self.labelled.add(f"id-{number}")

    @rule()
    def delete_expired(self) -> None:
        """Retention deletes all that is stored, once no journal has a line."""
        self.move()
        move_orphans(self.store, self.place / "journal")
        lease = self.store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
        before = NOW + timedelta(days=1)
        before = before.replace(hour=0, minute=0, second=0, microsecond=0)
        self.deleted |= self.stored()
        while archive := self.store.retention.plan(before, 100, lease, now=NOW, to_file=False):
            while self.store.retention.delete(archive, 100, lease):
                pass
        assert self.stored() == set()

    def stored(self) -> set[str]:
        rows = [p.id for p in self.store.predictions.window(10_000, **IRIS).predictions]
        assert len(set(rows)) == len(rows), "doubled"
        return set(rows)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        waiting = {
            line.split(b'"', 4)[3].decode()
            for chunk in read_journals(self.place / "journal")
            for line in chunk.splitlines()
            if line.startswith((b'{"id":"', b'{"id": "'))
        }
        stored = self.stored()
        assert self.answered - self.deleted <= stored | waiting, "lost"
        assert stored <= {f"id-{number}" for number in range(self.sent)}
        labels = self.store.labels.newest(10_000, **IRIS)
        assert {one.prediction.id for one in labels} == self.labelled - self.deleted
        for row in self.store.predictions.window(10_000, **IRIS).predictions:
            assert row == prediction(int(row.id.removeprefix("id-")))


def test_no_order_of_crashes_loses_or_doubles_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "ROTATED_BYTES", 1000)
    monkeypatch.setattr(journal_file, "READ_BYTES", 700)
    open_sqlite(tmp_path / "log.sqlite").close()
    CrashStates.template = tmp_path
    run_state_machine_as_test(
        CrashStates,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            derandomize=EXAMPLES == 10,
            suppress_health_check=list(HealthCheck),
        ),
    )

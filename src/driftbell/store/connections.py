"""Transactions on one database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.store.errors import is_damage, translate_errors


class Connections:
    """Reading and writing transactions; database errors are raised as `StoreError`.

    Args:
        engine: its `begin` event starts a reading transaction if the option `driftbell_reads` is set.
        check_writable: called before each writing transaction; raises `StoreError` to refuse it.

    Attributes:
        damage: the first error that means damaged data; None before one.
    """

    def __init__(self, engine: sa.Engine, check_writable: Callable[[], None] = lambda: None) -> None:
        self.engine = engine
        self.damage: StoreError | None = None
        self._check_writable = check_writable
        self._snapshot = threading.local()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a writing transaction, committed at the end; one runs at a time."""
        self._check_writable()
        with self._note_damage(), translate_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a reading transaction: a consistent snapshot; within `snapshot`, use its transaction."""
        shared: sa.Connection | None = getattr(self._snapshot, "connection", None)
        if shared is not None:
            with self._note_damage(), translate_errors():
                yield shared
            return
        with (
            self._note_damage(),
            translate_errors(),
            self.engine.connect().execution_options(driftbell_reads=True) as connection,
        ):
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read in one transaction, in this thread: see `driftbell.ports.Store.snapshot`."""
        with self.read() as connection:
            outer = getattr(self._snapshot, "connection", None)
            self._snapshot.connection = connection
            try:
                yield
            finally:
                self._snapshot.connection = outer

    @contextmanager
    def _note_damage(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            if self.damage is None and is_damage(error.__cause__):
                self.damage = error
            raise

"""Transactions on one database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from driftbell.store.errors import translate_errors


class Connections:
    """Reading and writing transactions; database errors are raised as `StoreError`.

    Args:
        engine: its `begin` event starts a reading transaction if the option `driftbell_reads` is set.
        check_writable: called before each writing transaction; raises `StoreError` to refuse it.
    """

    def __init__(self, engine: sa.Engine, check_writable: Callable[[], None] = lambda: None) -> None:
        self.engine = engine
        self._check_writable = check_writable

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a writing transaction, committed at the end; one runs at a time."""
        self._check_writable()
        with translate_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a reading transaction: a consistent snapshot."""
        with (
            translate_errors(),
            self.engine.connect().execution_options(driftbell_reads=True) as connection,
        ):
            yield connection

"""The daily look for damage: only damage ends it, not a store that cannot be read for a moment."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.conftest import wait_until

from driftbell.errors import StoreError
from driftbell.testing import memory_store
from driftbell.wiring import model_service


def test_a_store_that_cannot_be_read_is_not_called_damaged_and_is_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_service, "VERIFY_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(model_service, "VERIFY_SECONDS", 0.001)
    store: Any = memory_store()
    calls = 0

    def verify() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            store.connections.damage = StoreError("page 7")
        raise StoreError("page 7" if calls >= 3 else "too many open files")

    monkeypatch.setattr(store, "verify", verify)
    with capture_logs() as lines:
        model_service.verify_daily(store)
        wait_until(lambda: any(line["log_level"] == "error" for line in lines))
    assert [(line["event"], line["error"]) for line in lines] == [
        ("prediction log cannot be checked for damage", "too many open files"),
        ("prediction log cannot be checked for damage", "too many open files"),
        ("prediction log is damaged", "page 7"),
    ]
    assert calls == 3
    store.close()

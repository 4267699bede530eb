"""Requests for checks while no monitor answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.degradations import NOON

from driftbell.errors import StoreError
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import CheckKind
from driftbell.server.api.monitor import MonitorView
from driftbell.server.http.problems import Refused
from driftbell.store.sql import SqlStore
from driftbell.tabular.columns import as_column
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel, memory_store


def request_check(store: SqlStore, folder: Path) -> None:
    view = MonitorView(
        store,
        ReportFolder(folder, keep=5),
        served=lambda: FakeModel(infer_schema({"x": as_column([1.0])}), ["a"], lambda columns: [0]),
        window_rows=500,
        clock=lambda: NOON,
    )
    asyncio.run(view.request_check(CheckKind.TRIGGERED, wait=False))


def test_without_a_monitor_a_request_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="start one with `driftbell monitor`"):
        request_check(memory_store(), tmp_path)


def test_a_log_that_cannot_be_written_is_named_and_not_a_missing_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreError("the prediction log cannot be used: disk full")

    store = memory_store()
    monkeypatch.setattr(store, "ping", fail)
    with pytest.raises(StoreError, match="disk full"):
        request_check(store, tmp_path)

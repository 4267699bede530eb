"""A running monitor archives what is too old at its start, beside the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from tests.conftest import CHEAP_MONITOR, EXAMPLE, predict, running, wait_until

from driftbell.records import Label, Prediction
from driftbell.store.sqlite import open_sqlite

pytestmark = pytest.mark.service


def test_old_predictions_move_to_the_archive_and_new_ones_stay(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(days=9)
    (tmp_path / "data").mkdir()
    log = open_sqlite(tmp_path / "data" / "log.sqlite")
    log.predictions.append(
        [Prediction(f"old{i}", old, "iris", "gone", EXAMPLE, "setosa", {}, 1.0) for i in range(700)]
    )
    log.labels.add([Label("old0", "virginica", old)])
    log.close()
    archive = tmp_path / "archive"
    settings = {"RETENTION__DAYS": "7", "RETENTION__ARCHIVE": str(archive), "CHECK__EVERY": "off"}
    with running("up", tmp_path / "data", **CHEAP_MONITOR, **settings) as service:
        new = predict(service.url, [EXAMPLE] * 3)
        wait_until(lambda: service.metric("driftbell_expired_predictions_total", archived="true") == 700, 60)
        assert set(service.logged_ids()) == {p["id"] for p in new}
        assert service.metric("driftbell_archive_failing") == 0
        table = ds.dataset(archive, partitioning="hive").to_table()
        assert set(table["id"].to_pylist()) == {f"old{i}" for i in range(700)}
        assert table["label"].to_pylist().count("virginica") == 1
        assert table["sepal length (cm)"].to_pylist() == [EXAMPLE["sepal length (cm)"]] * 700
        wait_until(lambda: service.events("predictions archived"), 60, "the line of the archive")
        (line,) = service.events("predictions archived")
        assert (line["rows"], line["day"]) == (700, old.date().isoformat())

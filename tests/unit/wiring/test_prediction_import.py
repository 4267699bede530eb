"""Import of predictions from captured requests, inference tables and queries: once, with reasons."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.command_line import driftbell
from tests.external import applicants, settings

from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError
from driftbell.store.sqlite import open_sqlite
from driftbell.wiring.import_sources import ImportOptions
from driftbell.wiring.prediction_import import ImportResult, import_predictions


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    applicants(300, seed=0).to_parquet(tmp_path / "reference.parquet")
    variables = {f"DRIFTBELL_{name}": value for name, value in settings(tmp_path).items()}
    return load(environment={**variables, "DRIFTBELL_DATA_DIR": str(tmp_path / "data")}).settings


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.predictions, result.known, result.labels, result.refused


def line(name: str, row: Any, *, label: str | None = None, predicts: bool = True) -> str:
    event: dict[str, Any] = {"eventMetadata": {"eventId": name, "inferenceTime": "2026-03-01T08:00:00Z"}}
    if predicts:
        region = "" if row.region is None else row.region
        event["captureData"] = {
            "endpointInput": {"data": f"{row.income},{row.debt},{region}", "encoding": "CSV"},
            "endpointOutput": {"data": f"{row.p_yes}\n", "encoding": "CSV"},
        }
    if label is not None:
        event["groundTruthData"] = {"data": label, "encoding": "CSV"}
    return json.dumps(event)


def test_a_folder_of_captures_grows_and_gets_its_labels(configured: Settings, tmp_path: Path) -> None:
    rows = list(applicants(6, seed=1).itertuples())
    folder = tmp_path / "captures" / "2026" / "03"
    folder.mkdir(parents=True)
    (folder / "08.jsonl").write_text("\n".join(line(f"e{i}", row) for i, row in enumerate(rows[:3])))
    source = str(tmp_path / "captures")
    assert counts(import_predictions(configured, source, ImportOptions())) == (3, 0, 0, 0)
    (folder / "09.jsonl").write_text(
        "\n".join([*(line(f"e{i + 3}", r) for i, r in enumerate(rows[3:])), "{"])
    )
    second = import_predictions(configured, source, ImportOptions())
    assert counts(second) == (3, 3, 0, 1)
    ((message, place),) = second.places.items()
    assert (second.messages[message], place) == (1, "line 4")
    (folder / "labels.jsonl").write_text(
        "\n".join(line(f"e{i}", None, label=row.default, predicts=False) for i, row in enumerate(rows))
        + "\n"
        + line("other", None, label="no", predicts=False)
    )
    third = import_predictions(configured, source, ImportOptions())
    assert counts(third) == (0, 6, 6, 1)
    assert third.messages["labels without a prediction in the log"] == 1
    assert counts(import_predictions(configured, f"{source}/*/*/labels.jsonl", ImportOptions())) == (
        0,
        0,
        0,
        0,
    )
    with closing(open_sqlite(configured.log_path)) as store:
        stored = store.predictions.get("e4")
        assert stored is not None
        assert (stored.features["income"], stored.output) == (rows[4].income, rows[4].predicted)
        assert stored.probabilities["yes"] == rows[4].p_yes
        refused = store.refusals.since("2000-01-01", model="credit", version=stored.version)
        assert [(entry.refusal.reason, entry.refusal.refused) for entry in refused] == [("unreadable", 1)]


def test_merged_labels_and_predictions_come_together(configured: Settings, tmp_path: Path) -> None:
    rows = list(applicants(3, seed=2).itertuples())
    path = tmp_path / "merged.jsonl"
    path.write_text("\n".join(line(f"m{i}", row, label=row.default) for i, row in enumerate(rows)))
    assert counts(import_predictions(configured, str(path), ImportOptions())) == (3, 0, 3, 0)
    assert counts(import_predictions(configured, str(path), ImportOptions())) == (0, 3, 0, 0)


def test_an_inference_table_of_databricks_is_recognised(configured: Settings, tmp_path: Path) -> None:
    rows = applicants(4, seed=3)
    names = ["income", "debt", "region"]
    request = {"dataframe_records": rows[names].iloc[:2].to_dict("records")}
    table = pd.DataFrame(
        {
            "databricks_request_id": ["d1", "d2", "d3"],
            "timestamp_ms": [1772352000250] * 3,
            "status_code": [200, 200, 400],
            "execution_time_ms": [4, 5, 6],
            "request": [json.dumps(request), "broken", json.dumps(request)],
            "response": [json.dumps({"predictions": rows.predicted.iloc[:2].tolist()})] * 3,
            "request_metadata": [[("endpoint_name", "credit")]] * 3,
        }
    )
    table.to_parquet(tmp_path / "payload.parquet")
    first = import_predictions(configured, str(tmp_path / "payload.parquet"), ImportOptions())
    assert counts(first) == (2, 0, 0, 3)  # one unreadable request, and one of two rows with status 400
    assert set(first.places.values()) == {"row 1", "row 2"}
    again = import_predictions(configured, str(tmp_path / "pay*.parquet"), ImportOptions())
    assert counts(again) == (0, 2, 0, 3)
    with closing(open_sqlite(configured.log_path)) as store:
        stored = store.predictions.get("d1-1")
        assert stored is not None
        assert (stored.features["debt"], stored.latency_ms) == (rows.debt.iloc[1], 2.0)
        assert stored.time.isoformat() == "2026-03-01T08:00:00.250000+00:00"


def test_the_rows_of_a_query_are_imported(configured: Settings, tmp_path: Path) -> None:
    table = applicants(20, seed=4).assign(order=range(20))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        table.to_sql("scored", shop, index=False)
    url = f"sqlite:///{tmp_path}/shop.db"
    options = ImportOptions(id_column="order", query='SELECT * FROM scored WHERE "order" < 15')
    assert counts(import_predictions(configured, url, options)) == (15, 0, 15, 0)
    everything = ImportOptions(id_column="order", query="SELECT * FROM scored")
    assert counts(import_predictions(configured, url, everything)) == (5, 15, 5, 0)
    with pytest.raises(ConfigError, match="a database needs a query: pass --query"):
        import_predictions(configured, url, ImportOptions())
    with pytest.raises(ConfigError, match="--query needs a database"):
        import_predictions(configured, str(tmp_path / "reference.parquet"), everything)


def test_options_of_tables_do_not_fit_captures(configured: Settings, tmp_path: Path) -> None:
    row = next(applicants(1, seed=1).itertuples())
    (tmp_path / "captures").mkdir()
    (tmp_path / "captures" / "a.jsonl").write_text(line("e", row))
    (tmp_path / "captures" / "b.jsonl").write_text('{"income": 1}')
    with pytest.raises(ConfigError, match="--id is for tables: SageMaker's data capture has ids"):
        import_predictions(configured, str(tmp_path / "captures/a.jsonl"), ImportOptions(id_column="order"))
    with pytest.raises(ConfigError, match=r"captured requests and other files, such as .*b.jsonl"):
        import_predictions(configured, str(tmp_path / "captures"), ImportOptions())
    (tmp_path / "bad.jsonl").write_text(line("e", row).replace("CSV", "ZIP"))
    with pytest.raises(ConfigError, match="no row is valid: its encoding 'ZIP'"):
        import_predictions(configured, str(tmp_path / "bad.jsonl"), ImportOptions())


def test_the_command_prints_counts_and_reasons(tmp_path: Path) -> None:
    applicants(300, seed=0).to_parquet(tmp_path / "reference.parquet")
    rows = list(applicants(2, seed=1).itertuples())
    text = "\n".join([*(line(f"e{i}", row, label=row.default) for i, row in enumerate(rows)), "{}", "{}"])
    (tmp_path / "capture.jsonl").write_text(text.replace("{}", '{"captureData": 1}'))
    environment = {**settings(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    done = driftbell("import", "capture.jsonl", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    expected = "capture.jsonl: 2 new predictions, 0 already known, 2 new labels, 2 rows refused\n"
    assert done.stdout == expected
    assert "2 × it has no 'eventMetadata' (first: line 3)" in done.stderr
    url = "postgresql://app:secret@127.0.0.1:9/shop"
    failed = driftbell("import", url, "--query", "SELECT 1", cwd=tmp_path, **environment)
    assert failed.returncode == 2
    assert "secret" not in failed.stdout + failed.stderr

"""`columns.log` on real services: marked values stand nowhere in what driftbell writes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops import io as skops_io
from tests import command_line, postgres
from tests.conftest import Running, monitored, running, starting, wait_until
from tests.external import applicants, logged
from tests.external import settings as external_settings
from tests.ports import free_port

pytestmark = pytest.mark.service

MARKER = "MARKER-7Q"
NUMBER = 31415.926535
MARKS = (MARKER, "31415.926", "MARKER", base64.b64encode(MARKER.encode()).decode()[:8])
PLAIN = {"REPORTS__EVIDENTLY": "off"}
LOG = "email=hash,plan=hash,income=bucket,note=drop"
FEATURES = ("age", "income", "email", "plan", "note")


def customers(rows: int, seed: int, *, plan: str = "", rich: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows).round(1),
            "income": rng.normal(30000 + rich, 5000, rows).round(2),
            "email": [f"user{i}@example.org" for i in rng.integers(0, 40, rows)],
            "plan": np.where(rng.random(rows) < 0.3, plan or "basic", rng.choice(["basic", "plus"], rows)),
            "note": rng.choice(["called", "wrote"], rows),
        }
    )


def fitted(folder: Path) -> dict[str, str]:
    """Write a model that refuses unknown plans, and return its settings."""
    table = customers(400, 0)
    label = np.where(table["income"] + 100 * table["age"] > 34000, "yes", "no")
    encoded = make_column_transformer(
        (StandardScaler(), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["email", "note"]),
        (OneHotEncoder(), ["plan"]),
    )
    joblib.dump(make_pipeline(encoded, LogisticRegression()).fit(table, label), folder / "model.joblib")
    customers(400, 1).assign(
        bought=lambda t: np.where(t["income"] + 100 * t["age"] > 34000, "yes", "no")
    ).to_csv(folder / "reference.csv", index=False)
    return {
        "MODEL__PATH": str(folder / "model.joblib"),
        "MODEL__SHA256": hashlib.sha256((folder / "model.joblib").read_bytes()).hexdigest(),
        "MODEL__REFERENCE": str(folder / "reference.csv"),
        "MODEL__TARGET": "bought",
        "CHECK__EVERY": "off",
    }


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records"))


def marked(number: int) -> dict[str, Any]:
    return {
        "age": 41.0,
        "income": NUMBER,
        "email": f"{MARKER}-{number}@example.org",
        "plan": "plus",
        "note": f"{MARKER} says hello",
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return fitted(tmp_path_factory.mktemp("customers"))


@pytest.fixture(scope="module")
def service(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("masked")
    with running("up", folder / "data", COLUMNS__LOG=LOG, **settings) as found:
        monitored(found)
        yield found


@pytest.fixture
def data(service: Running, tmp_path: Path) -> Path:
    """A data folder in which the model has been loaded before."""
    shutil.copytree(service.data_dir / "models" / "onnx", tmp_path / "data" / "models" / "onnx")
    return tmp_path / "data"


def checked(service: Running) -> dict[str, Any]:
    return httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).raise_for_status().json()


def contents(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and decoded contents of Parquet and SQLite files."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"PAR1"):
        yield repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    if data.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                yield repr(connection.execute(f'SELECT * FROM "{name}"').fetchall()).encode()


def places_of_marks(*folders: Path) -> list[str]:
    """Return the files that contain a marked value."""
    found = []
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            for content in contents(path):
                found += [f"{path}: {mark}" for mark in MARKS if mark.encode() in content]
    return found


def arrow(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def send_by_every_door(url: str) -> list[str]:
    """Send marked rows to the served model by each door, and return their ids."""
    answers = [
        httpx.post(f"{url}/predict", json=marked(1)),
        httpx.post(f"{url}/predict", json={**marked(2), "id": "own-2", "metadata": {"note": MARKER}}),
        httpx.post(f"{url}/predict/batch", json=[marked(3), marked(4)]),
        httpx.post(
            f"{url}/predict/batch",
            content=pd.DataFrame([marked(5)]).to_csv(index=False),
            headers={"content-type": "text/csv", "accept": "application/json"},
        ),
        httpx.post(
            f"{url}/predict/batch",
            content=arrow([marked(6)]),
            headers={"content-type": "application/vnd.apache.arrow.stream"},
        ),
        httpx.post(f"{url}/invocations", json={"dataframe_records": [marked(7)]}),
    ]
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "FP64" if name in ("age", "income") else "BYTES",
            "data": [v],
        }
        for name, v in marked(8).items()
    ]
    name = httpx.get(f"{url}/health").json()["model"]
    answers.append(httpx.post(f"{url}/v2/models/{name}/infer", json={"inputs": inputs}))
    assert {a.status_code for a in answers} == {200}, [a.text for a in answers]
    return ["own-2"]


def send_refused(url: str) -> None:
    """Send rows that are refused for a marked value, with the value in the answer to the caller alone."""
    unknown = httpx.post(f"{url}/predict", json={**marked(20), "plan": MARKER})
    assert unknown.status_code == 422
    assert MARKER in unknown.text
    wrong = httpx.post(f"{url}/predict", json={**marked(21), "income": MARKER})
    batch = httpx.post(f"{url}/predict/batch", json=[{**marked(22), "plan": f"{MARKER} 2"}])
    no_header = httpx.post(
        f"{url}/predict/batch", content=f"{MARKER},1\n{MARKER},2\n", headers={"content-type": "text/csv"}
    )
    not_json = httpx.post(
        f"{url}/predict", content=f'{{"email": {MARKER}', headers={"content-type": "application/json"}
    )
    extra = httpx.post(f"{url}/predict", json={**marked(23), MARKER: 1})
    assert {a.status_code for a in (wrong, batch, no_header, extra)} == {422}
    assert not_json.status_code == 400


PAGES = ("", "docs", "openapi.json", "metrics", "monitor/status", "monitor/checks", "reports", "alarms")


def test_a_marked_value_is_nowhere_in_what_is_written(service: Running, tmp_path: Path) -> None:
    url = service.url
    assert httpx.post(f"{url}/predict/batch", json=rows_of(customers(300, 2))).status_code == 200
    ids = send_by_every_door(url)
    assert httpx.post(f"{url}/labels", json={"prediction_id": ids[0], "label": "yes"}).is_success
    send_refused(url)
    check = checked(service)
    assert check["rows"] == 308
    assert check["reports"]
    assert httpx.get(f"{url}/monitor/generate_report", timeout=120).is_success
    assert MARKER not in json.dumps(check)
    refused = {(c["field"], c["value"]) for c in check["refused"]["causes"]}
    assert ("plan", "***") in refused
    assert ("income", "***") in refused
    for page in PAGES:
        text = httpx.get(f"{url}/{page}", follow_redirects=True, timeout=30).text
        assert not [mark for mark in MARKS if mark in text], page
    document = httpx.get(f"{url}/openapi.json").text
    assert "@example.org" not in document + httpx.get(url).text
    done = command_line.driftbell(
        "backup", str(tmp_path / "saved"), "--data-dir", str(service.data_dir), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: service.events("rows were refused"), 30, "the line of refused rows")
    assert places_of_marks(service.data_dir, tmp_path, service.output.parent) == []
    assert not list((tmp_path / "saved").rglob("log.key*"))
    assert (service.data_dir / "log.key").stat().st_mode & 0o777 == 0o600


OWN_MODEL = """
import logging, warnings
import numpy as np

seen = []

def predict(table):
    seen.extend(text for name in ("email", "note") for text in table[name] if "MARKER" in text)
    if (table["age"] == 99).any():  # it works again
        seen.clear()
    if seen:
        warnings.warn(f"odd {seen[0]}")
        logging.getLogger("own").warning("odd %s", seen[-1])
        raise KeyError(f"cannot use {seen}")
    return np.where(table["income"] > 30000, "yes", "no")
"""


def own_model(folder: Path) -> tuple[str, ...]:
    """Write a model of one's own code that writes values into each kind of message, and its settings."""
    (folder / "own_marks.py").write_text(OWN_MODEL)
    customers(400, 1).assign(bought=["yes", "no"] * 200).to_csv(folder / "reference.csv", index=False)
    (folder / "driftbell.toml").write_text(
        f"""[model]
path = "own_marks:predict"
reference = "{folder}/reference.csv"
target = "bought"
classes = ["no", "yes"]
[check]
every = "off"
"""
    )
    return "--config", str(folder / "driftbell.toml")


def test_what_a_failing_model_says_is_nowhere(tmp_path: Path) -> None:
    data, config = tmp_path / "data", own_model(tmp_path)
    with running("up", data, *config, COLUMNS__LOG=LOG, **PLAIN) as service:
        monitored(service)
        for door in ("predict", "predict/batch"):
            body = marked(1) if door == "predict" else [marked(2)]
            answer = httpx.post(f"{service.url}/{door}", json=body)
            assert answer.status_code == 500
            assert MARKER not in answer.text
        assert httpx.post(f"{service.url}/predict", json=rows_of(customers(1, 2))[0] | {"age": 99}).is_success
        assert MARKER not in json.dumps(checked(service))
        (first, _) = service.events("request failed")
        assert first["reason"] == "KeyError"
        assert service.events("own logged a message, which columns.log hides")
        for page in PAGES:
            assert MARKER not in httpx.get(f"{service.url}/{page}", follow_redirects=True).text, page
    assert places_of_marks(data) == []


def test_a_start_that_fails_at_the_reference_says_no_value(tmp_path: Path) -> None:
    config = own_model(tmp_path)
    reference = pd.read_csv(tmp_path / "reference.csv")
    reference.loc[0, ["email", "note"]] = f"{MARKER}@example.org", MARKER
    reference.to_csv(tmp_path / "reference.csv", index=False)
    for masks, is_shown in (("", True), (LOG, False)):
        done = subprocess.run(
            [sys.executable, "-m", "driftbell", "serve", "--data-dir", str(tmp_path / "data"), *config],
            env=os.environ | ({"DRIFTBELL_COLUMNS__LOG": masks} if masks else {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 2, done.stderr
        assert "cannot predict a row like the first one of its reference: KeyError" in done.stderr
        assert (MARKER in done.stdout + done.stderr) is is_shown


def test_each_form_is_logged(service: Running) -> None:
    row = {"age": 40.5, "income": 30000.0, "email": "a@example.org", "plan": "plus", "note": "called"}
    again = {**row, "income": 30001.0}
    ids = [httpx.post(f"{service.url}/predict", json=r).json()["id"] for r in (row, again)]
    wait_until(lambda: set(ids) <= set(service.logged_ids()), 30, "the predictions")
    first, second = (
        json.loads(service.sql(f"SELECT features FROM predictions WHERE id = '{name}'")[0][0]) for name in ids
    )
    assert first.keys() == {"age", "income", "email", "plan"}
    assert first == second
    assert first["age"] == 40.5
    assert first["income"] != 30000.0
    assert abs(first["income"] - 30000) < 1000
    assert first["email"].startswith("h")
    assert len(first["email"]) == 17


def assert_drift_is_found_in_what_is_kept_and_only_there(service: Running) -> None:
    other = rows_of(customers(500, 4, plan="plus", rich=6000))
    assert httpx.post(f"{service.url}/predict/batch", json=other, timeout=60).is_success
    check = checked(service)
    assert check["verdict"] in ("warning", "alarm")
    drifted = set(check["drifted_columns"])
    assert {"income", "plan"} <= drifted
    assert not drifted & {"age", "email", "note"}


def test_predictions_of_another_server_are_masked_in_the_log_and_where_they_wait(tmp_path: Path) -> None:
    applicants(300, seed=0).to_parquet(tmp_path / "reference.parquet")
    options = external_settings(tmp_path)
    log = {"COLUMNS__LOG": "region=hash,income=bucket"}
    with running("up", tmp_path / "data", **log, **PLAIN, **options) as service:
        monitored(service)
        table = applicants(300, seed=1)
        marked_row = {"income": NUMBER, "debt": 20.0, "region": MARKER}
        shares = {"yes": 0.5}
        items = [
            *logged(table, 0),
            {"features": marked_row, "prediction": "no", "probabilities": shares},
        ]
        answer = httpx.post(f"{service.url}/predictions", json=items, timeout=60)
        assert answer.json()["accepted"] == 301
        bad = {"features": {"income": MARKER, "debt": 1.0, "region": MARKER}, "prediction": MARKER}
        assert httpx.post(f"{service.url}/predictions", json=bad).status_code == 422
        body = {"instances": [[NUMBER, 20.0, MARKER]]}
        for name, kinds in (("waiting", ("request",)), ("whole", ("request", "response"))):
            for kind in kinds:
                head = {
                    "ce-id": name,
                    "ce-source": "http://localhost/",
                    "ce-specversion": "1.0",
                    "ce-type": f"org.kubeflow.serving.inference.{kind}",
                    "content-type": "application/json",
                }
                data = body if kind == "request" else {"predictions": [0.6]}
                sent = httpx.post(f"{service.url}/cloudevents", content=json.dumps(data), headers=head)
                assert sent.status_code == 204, sent.text
        wait_until(lambda: "whole" in service.logged_ids(), 30, "the prediction of an exchange")
        assert checked(service)["verdict"] in ("ok", "warning")
        assert "waiting" in str(
            sqlite3.connect(service.data_dir / "exchanges.sqlite").execute("SELECT id FROM halves").fetchall()
        )
    table.assign(region=MARKER, income=NUMBER).to_csv(tmp_path / "history.csv", index=False)
    command = "import", str(tmp_path / "history.csv"), "--data-dir", str(tmp_path / "data")
    done = command_line.driftbell(*command, cwd=tmp_path, **log, **options)
    assert done.returncode == 0, done.stderr
    before = len(service.logged_ids())
    assert command_line.driftbell(*command, cwd=tmp_path, **log, **options).returncode == 0
    assert len(service.logged_ids()) == before
    assert places_of_marks(tmp_path / "data") == []
    assert MARKER not in service.lines()


def test_the_archive_is_masked(settings: dict[str, str], data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with running("serve", data, COLUMNS__LOG=LOG, **settings) as service:
        assert httpx.post(f"{service.url}/predict/batch", json=[marked(1), marked(2)]).is_success
        wait_until(lambda: len(service.logged_ids()) == 2, 30, "the predictions")
    with sqlite3.connect(tmp_path / "data" / "log.sqlite") as log:
        log.execute("UPDATE predictions SET time = '2026-01-01 00:00:00.000000'")
    kept = {"RETENTION__DAYS": "7", "RETENTION__ARCHIVE": str(archive)}
    with running("up", data, COLUMNS__LOG=LOG, **PLAIN, **kept, **settings) as service:
        wait_until(lambda: not service.logged_ids(), 120, "the archive")
    table = pl.read_parquet(next(archive.rglob("*.parquet")))
    assert table.height == 2
    assert "note" not in table.columns
    assert table["email"].str.starts_with("h").all()
    assert places_of_marks(tmp_path) == []


def test_a_change_of_the_setting_starts_anew_and_a_lost_key_is_an_error(
    settings: dict[str, str], data: Path, tmp_path: Path
) -> None:
    with running("up", data, **PLAIN, **settings) as service:
        monitored(service)
        assert httpx.post(f"{service.url}/predict/batch", json=rows_of(customers(300, 5))).is_success
        assert checked(service)["rows"] == 300
    with running("up", data, COLUMNS__LOG=LOG, **PLAIN, **settings) as service:
        monitored(service)
        assert checked(service)["rows"] == 0
        assert httpx.post(f"{service.url}/predict/batch", json=rows_of(customers(300, 6))).is_success
        check = checked(service)
        assert (check["rows"], check["verdict"]) == (300, "ok"), check["sentence"]
        assert check["sentence"].endswith("1 column not compared: note (not logged, by columns.log).")
        assert any(text.startswith("columns.log was changed") for text in service.status()["warnings"])
        assert service.events("columns.log or its key was changed: drift detection starts anew")
        assert_drift_is_found_in_what_is_kept_and_only_there(service)
    key = data / "log.key"
    saved = key.read_text()

    def refused() -> str:
        done = command_line.driftbell(
            "serve", "--data-dir", str(data), cwd=tmp_path, COLUMNS__LOG=LOG, **settings
        )
        assert done.returncode == 2
        return done.stderr

    key.unlink()
    assert "log.key is missing" in refused()
    key.write_text("f" * 64 + "\n")
    assert "has another key than before" in refused()
    assert saved.strip() not in refused()


def test_a_promoted_version_logs_in_the_same_form(
    settings: dict[str, str], data: Path, tmp_path: Path
) -> None:
    names = ["age", "income"]
    table = customers(400, 8)
    label = np.where(table["age"] > 40, "yes", "no")
    two = make_pipeline(StandardScaler(), LogisticRegression()).fit(table[names], label)
    skops_io.dump(two, tmp_path / "two.skops")
    table[names].assign(bought=label).to_csv(tmp_path / "two.csv", index=False)
    with running("serve", data, COLUMNS__LOG=LOG, **settings) as service:
        done = command_line.driftbell(
            *(
                "models",
                "add",
                str(tmp_path / "two.skops"),
                "--reference",
                str(tmp_path / "two.csv"),
                "--json",
            ),
            cwd=tmp_path,
            DATA_DIR=str(data),
            COLUMNS__LOG=LOG,
            **settings,
        )
        assert done.returncode == 0, done.stderr
        version = json.loads(done.stdout)["version"]
        body = {"author": "ada", "reason": "a test", "schema_change": True}
        answer = httpx.post(f"{service.url}/models/{version}/promote", json=body, timeout=150)
        assert answer.status_code == 200, answer.text
        row = {"age": 40.0, "income": NUMBER}

        def answered() -> str:
            return str(httpx.post(f"{service.url}/predict", json=row).json().get("version"))

        wait_until(lambda: answered() == version, 30, "the switch")
        wait_until(service.logged_ids, 30, "the prediction")
        stored = json.loads(service.sql("SELECT features FROM predictions")[0][0])
        assert stored["age"] == 40.0
        assert stored["income"] != NUMBER
    assert places_of_marks(data) == []


class Database:
    """The database of a test: a file in the data folder, or one of a PostgreSQL server."""

    def __init__(self, data: Path, server: postgres.Server | None) -> None:
        self._file, self._server, self._name = data / "log.sqlite", server, ""
        self.settings: dict[str, str] = {}
        if server:
            url = server.empty_database()
            self._name = url.rpartition("/")[2].partition("?")[0]
            (data / "url").write_text(f"{url}\n")
            (data / "key").write_text(f"{'5e' * 32}\n")
            self.settings = {
                "LOG__URL_FILE": str(data / "url"),
                "COLUMNS__LOG_KEY_FILE": str(data / "key"),
            }
            done = command_line.driftbell("db", "upgrade", cwd=data, LOG__URL_FILE=str(data / "url"))
            assert done.returncode == 0, done.stderr

    def dump(self) -> bytes:
        """Return every value of every table."""
        if self._server is None:
            return b"".join(list(contents(self._file))[1:])  # its pages are overwritten at a checkpoint
        tables = self._server.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", self._name)
        rows = [self._server.run(f'SELECT * FROM "{name}"', self._name) for (name,) in tables]
        cells = (cell for table in rows for row in table for cell in row)
        return b"".join(cell if isinstance(cell, bytes) else repr(cell).encode() for cell in cells)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(request: pytest.FixtureRequest, data: Path) -> Database:
    is_server = request.param == "PostgreSQL"
    return Database(data, request.getfixturevalue("postgres_server") if is_server else None)


def test_the_registry_has_no_value_of_a_masked_feature(
    settings: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """Models and references are encrypted once, and versions are promoted, rolled back and compared."""
    data, names = tmp_path / "data", ["age", "income", "email"]
    reference = pd.read_csv(settings["MODEL__REFERENCE"])
    reference.loc[::7, ["income", "email", "note"]] = NUMBER, f"{MARKER}@example.org", "called"
    reference.to_csv(tmp_path / "one.csv", index=False)
    reference[[*names, "bought"]].to_csv(tmp_path / "two.csv", index=False)
    encoded = make_column_transformer(
        (StandardScaler(), names[:2]), (OneHotEncoder(handle_unknown="ignore"), names[2:])
    )
    two = make_pipeline(encoded, LogisticRegression()).fit(reference[names], reference["bought"])
    joblib.dump(two, tmp_path / "two.joblib")
    own = {**settings, **database.settings, "MODEL__REFERENCE": str(tmp_path / "one.csv"), **PLAIN}
    command = "models", "add", str(tmp_path / "two.joblib"), "--reference", str(tmp_path / "two.csv")
    with running("serve", data, **own) as service:
        wait_until(lambda: httpx.get(f"{service.url}/models").json()["versions"], 30, "the registration")
        done = command_line.driftbell(*command, "--trust", "--json", cwd=tmp_path, DATA_DIR=str(data), **own)
        assert done.returncode == 0, done.stderr
        version = json.loads(done.stdout)["version"]
    assert MARKER.encode() in database.dump()
    why = {"author": "ada", "reason": "a test", "schema_change": True}
    for _ in range(1 if database.settings else 2):  # the second start finds everything encrypted
        with running("up", data, COLUMNS__LOG=LOG, **own) as service:
            monitored(service)
            listed = httpx.get(f"{service.url}/models").json()["versions"]
            assert len({f["encrypted_with"] for v in listed for f in v["files"]}) == 1
            assert {len(v["files"]) for v in listed} == {2, 3}
            for change, champion in ((f"{version}/promote", version), ("rollback", listed[-1]["version"])):
                shutil.rmtree(data / "models" / "files", ignore_errors=True)
                answer = httpx.post(f"{service.url}/models/{change}", json=why, timeout=150)
                assert answer.status_code == 200, answer.text
                url = f"{service.url}/predict"
                row = {"age": 40.0, "income": NUMBER, "email": MARKER}
                body = row if champion == version else marked(1)
                wait_until(lambda: httpx.post(url, json=body).is_success, 30, "the switch")  # noqa: B023
            wait_until(lambda: len(service.status()["versions"]) == 2, 30, "the predictions")
            compared = httpx.get(f"{service.url}/models/compare", timeout=30)
            assert compared.status_code == 200, compared.text
            check = checked(service)
            assert check["rows"] >= 1
        assert not [mark for mark in MARKS if mark.encode() in database.dump()]
    if not database.settings:
        saved = tmp_path / "saved"
        done = command_line.driftbell(
            "backup", str(saved), cwd=tmp_path, DATA_DIR=str(data), COLUMNS__LOG=LOG, **own
        )
        assert done.returncode == 0, done.stderr
        assert places_of_marks(saved) == []


def test_a_proxy_logs_in_the_same_form(settings: dict[str, str], tmp_path: Path) -> None:
    customers(300, 10).assign(predicted=["yes", "no"] * 150).to_parquet(tmp_path / "reference.parquet")
    options = {
        "MODEL__NAME": "bought",
        "MODEL__REFERENCE": str(tmp_path / "reference.parquet"),
        "MODEL__PREDICTION": "predicted",
        "COLUMNS__LOG": LOG,
    }
    port = str(free_port())
    with (
        running("serve", tmp_path / "behind", COLUMNS__LOG=LOG, **settings) as upstream,
        starting("proxy", tmp_path / "data", "--upstream", upstream.url, "--port", port, **options) as proxy,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/driftbell/health").is_success, 60, "the proxy")
        for row in (marked(1), {**marked(2), "plan": MARKER}):
            httpx.post(f"{url}/predict", json=row)
        wait_until(lambda: proxy.sql("SELECT features FROM predictions"), 30, "the prediction")
        ((stored,),) = proxy.sql("SELECT features FROM predictions")
        assert json.loads(stored).keys() == {"age", "income", "email", "plan"}
    assert places_of_marks(tmp_path) == []

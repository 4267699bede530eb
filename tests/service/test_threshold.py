"""A classifier with a decision threshold answers, records and monitors the classes that it decides."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import ipc
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tests.command_line import driftbell
from tests.conftest import Running, running, wait_until

pytestmark = pytest.mark.service

ROWS = 1000
QUIET = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
ARROW = "application/vnd.apache.arrow.stream"
THRESHOLD = 0.8


def customers(rows: int, seed: int, classes: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "tenure": rng.integers(0, 72, rows),
            "charge": rng.normal(70, 25, rows).round(2),
            "calls": rng.poisson(1.5, rows),
        }
    )
    score = -1 - 0.12 * (table.tenure - 30) + 0.05 * (table.charge - 70) + 1.5 * (table.calls - 1.5)
    churned = rng.random(rows) < 1 / (1 + np.exp(-score))
    paused = (table.charge + rng.normal(0, 10, rows) > 80) & (classes == 3)
    return table, np.where(churned, "churn", np.where(paused, "pause", "stay"))


def decided(estimator: Any, table: pd.DataFrame) -> list[str]:
    """Return the literal rule of the setting on the library's own probabilities."""
    shares, names = estimator.predict_proba(table), np.array(estimator.classes_)
    others = np.where(names == "churn", -1, shares).argmax(axis=1)
    own = shares[:, list(names).index("churn")]
    return np.where(own >= THRESHOLD, "churn", names[others]).tolist()


def configured(folder: Path, estimator: Any, classes: int, engine: str = "auto") -> dict[str, str]:
    table, label = customers(1500, 0, classes)
    held_out, truth = customers(1500, 1, classes)
    joblib.dump(estimator.fit(table, label), folder / "churn.joblib")
    held_out.assign(label=truth).to_csv(folder / "held_out.csv", index=False)
    return {
        "MODEL__PATH": str(folder / "churn.joblib"),
        "MODEL__SHA256": hashlib.sha256((folder / "churn.joblib").read_bytes()).hexdigest(),
        "MODEL__REFERENCE": str(folder / "held_out.csv"),
        "MODEL__TARGET": "label",
        "MODEL__ENGINE": engine,
        "MODEL__THRESHOLD": f"churn={THRESHOLD}",
        **QUIET,
    }


def batch(service: Running, body: bytes, kind: str) -> httpx.Response:
    headers = {"Content-Type": kind}
    answer = httpx.post(f"{service.url}/predict/batch", content=body, headers=headers, timeout=60)
    return answer.raise_for_status()


def answered_in_each_way(service: Running, table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return class, class id and probability of `churn` of each row, by the way it is requested."""
    json_rows = table.to_json(orient="records").encode()
    rows = pd.read_json(io.BytesIO(json_rows)).to_dict("records")
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as pool:  # also as micro-batches
        single = list(pool.map(lambda r: client.post(f"{service.url}/predict", json=r).json(), rows))
    sink = pa.BufferOutputStream()
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    with ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    columns = ipc.open_stream(batch(service, bytes(sink.getvalue()), ARROW).content).read_all()
    as_csv = batch(service, table.to_csv(index=False).encode(), "text/csv").content
    split = batch(service, table.to_json(orient="split").encode(), "application/json")
    ways = {
        "single": single,
        "json": batch(service, json_rows, "application/json").json()["predictions"],
        "split": split.json()["predictions"],
    }
    found = {
        way: [
            {"class": p["class"], "class_id": p["class_id"], "churn": p["probabilities"]["churn"]}
            for p in predictions
        ]
        for way, predictions in ways.items()
    }
    for way, frame in ("arrow", columns.to_pandas()), ("csv", pd.read_csv(io.BytesIO(as_csv))):
        named = frame.rename(columns={"probability of churn": "churn"})
        found[way] = named[["class", "class_id", "churn"]].to_dict("records")
    return found


@pytest.mark.parametrize(
    ("estimator", "classes", "engine"),
    [
        (LogisticRegression(max_iter=3000), 2, "auto"),
        (RandomForestClassifier(10, random_state=0), 3, "auto"),  # many shares are the threshold itself
        (RandomForestClassifier(10, random_state=0), 3, "native"),
    ],
    ids=["logistic", "three classes", "native"],
)
def test_each_way_of_asking_gets_the_class_from_the_threshold_on(
    tmp_path: Path, estimator: Any, classes: int, engine: str
) -> None:
    settings = configured(tmp_path, estimator, classes, engine)
    table, _ = customers(ROWS, 2, classes)
    expected = decided(estimator, table)
    assert expected != estimator.predict(table).tolist()
    with running("serve", tmp_path / "data", **settings) as service:
        found = answered_in_each_way(service, table)
        names = [str(name) for name in estimator.classes_]
        for way, answers in found.items():
            assert [a["class"] for a in answers] == expected, way
            assert [names[a["class_id"]] for a in answers] == expected, way
            assert [a["churn"] >= THRESHOLD for a in answers] == [c == "churn" for c in expected], way
            shares = [a["churn"] for a in found["json"]]
            assert [a["churn"] for a in answers] == pytest.approx(shares, abs=1e-6), way
        answer = httpx.post(f"{service.url}/predict", json=table.to_dict("records")[0]).json()
        assert answer["version"].endswith(f"-churn-{THRESHOLD}")
        status = service.status()  # waits until all is in the log
        assert status["version"] == answer["version"]
        assert status["engine"] == ("native" if engine == "native" else "onnxruntime")
        logged = service.sql("SELECT output, count(*) FROM predictions GROUP BY output")
        counts = {name: 5 * expected.count(name) for name in names}
        assert dict(logged) == pytest.approx(counts, abs=1)  # and the row before this one
        metrics = httpx.get(f"{service.url}/metrics").text
        assert (
            f'driftbell_model_info{{engine="{status["engine"]}",model="churn",version="{answer["version"]}"}}'
            in metrics
        )


def test_unchanged_traffic_is_quiet_and_a_frozen_feature_raises_an_alarm(tmp_path: Path) -> None:
    estimator = RandomForestClassifier(60, min_samples_leaf=5, random_state=0)
    settings = configured(tmp_path, estimator, 2)
    with running("up", tmp_path / "data", **settings) as service:
        wait_until(lambda: httpx.get(f"{service.url}/health").json()["monitor"] == "running")

        def check(table: pd.DataFrame) -> dict[str, Any]:
            batch(service, table.to_json(orient="records").encode(), "application/json")
            answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
            assert isinstance(answer, dict)
            return answer

        right: list[float] = []
        for seed in range(10, 16):
            table, truth = customers(500, seed)
            right.append(np.mean(np.array(decided(estimator, table)) == truth))
            assert check(table)["verdict"] == "ok"
        performance = httpx.get(f"{service.url}/monitor/performance").json()
        estimate = performance["estimated"]["value"]
        print(f"estimated accuracy {estimate:.3f}, true accuracy {np.mean(right):.3f}")
        assert estimate == pytest.approx(np.mean(right), abs=0.03)
        alarms = [check(customers(500, seed)[0].assign(tenure=3))["verdict"] for seed in (20, 21)]
        assert "alarm" in alarms
        newest = httpx.get(f"{service.url}/monitor/checks").json()
        assert "tenure" in str(newest)


def test_a_threshold_that_the_model_cannot_have_stops_the_start(tmp_path: Path) -> None:
    settings = configured(tmp_path, LogisticRegression(max_iter=3000), 2)
    for name, message in (
        ("chrun", "model 'churn' has no class 'chrun', did you mean 'churn'? (classes: churn and stay)"),
        ("churn=1", "must be a probability above 0 and below 1"),
    ):
        settings["MODEL__THRESHOLD"] = name if "=" in name else f"{name}=0.8"
        done = driftbell("serve", "--data-dir", str(tmp_path / "data"), cwd=tmp_path, **settings)
        assert done.returncode == 2
        assert message in done.stderr

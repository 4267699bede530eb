"""Labels on a real service: late, corrected, repeated, unknown, wrong; and the performance that follows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.command_line import driftbell
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, monitored, predict, running

from driftbell.errors import StoreError
from driftbell.stats import wilson

pytestmark = pytest.mark.service

CLASSES = ["setosa", "versicolor", "virginica"]
ROWS = 40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(
        "up",
        tmp_path_factory.mktemp("labels"),
        CHECK__EVERY="off",
        **CHEAP_MONITOR,
        WINDOW__ROWS=str(ROWS),
    ) as found:
        monitored(found)
        yield found


@pytest.fixture
def ids(service: Running) -> list[str]:
    """New predictions of setosa."""
    return [answer["id"] for answer in predict(service.url, [EXAMPLE] * 10)]


def post(service: Running, body: Any, **how: Any) -> httpx.Response:
    return httpx.post(f"{service.url}/labels", timeout=30, **({"json": body} | how))


def pair(prediction_id: str, label: Any = "setosa") -> dict[str, Any]:
    return {"prediction_id": prediction_id, "label": label}


def receipt(accepted: int = 0, corrected: int = 0, duplicates: int = 0, *unknown: str) -> dict[str, Any]:
    counts = {"accepted": accepted, "corrected": corrected, "duplicates": duplicates}
    return {**counts, "unknown": list(unknown), "unknown_count": len(unknown), "empty": 0, "unseen": {}}


def performance(service: Running) -> dict[str, Any]:
    return httpx.get(f"{service.url}/monitor/performance", timeout=30).raise_for_status().json()


def taken(service: Running) -> dict[str, float]:
    results = ("accepted", "corrected", "duplicate", "unknown", "failed")
    return {r: service.metric("driftbell_labels_total", result=r) for r in results}


def test_without_labels_nothing_is_claimed(service: Running) -> None:
    found = performance(service)
    assert found["metric"] == "accuracy"
    assert found["realized"] == {"value": None, "low": None, "high": None, "rows": 0}
    assert found["labels"] == {
        "labelled": 0,
        "corrections": 0,
        "share": None,
        "window_rows": 0,
        "newest": None,
        "age_seconds": None,
    }
    assert sum(b["rows"] for b in found["calibration"]) == 0
    assert found["realized_at_checks"] == []


def test_one_label_is_taken_corrected_and_known_again(service: Running, ids: list[str]) -> None:
    before = taken(service)
    answers = [
        post(service, pair(ids[0], label))
        for label in ("setosa", "virginica", "virginica", 2, "setosa", 0, 1)
    ]
    assert {a.status_code for a in answers} == {200}
    assert [a.json() for a in answers] == [
        receipt(accepted=1),
        receipt(corrected=1),
        receipt(duplicates=1),
        receipt(duplicates=1),
        receipt(corrected=1),
        receipt(duplicates=1),
        receipt(corrected=1),
    ]
    written = service.sql("SELECT value, before FROM labels WHERE prediction_id = ? ORDER BY seq", ids[0])
    assert written == [
        ("setosa", None),
        ("virginica", "setosa"),
        ("setosa", "virginica"),
        ("versicolor", "setosa"),
    ]
    after = taken(service)
    assert {k: after[k] - before[k] for k in after} == {
        "accepted": 1,
        "corrected": 3,
        "duplicate": 3,
        "unknown": 0,
        "failed": 0,
    }


def test_many_labels_in_any_order_with_unknown_ids(service: Running, ids: list[str]) -> None:
    before = taken(service)
    body = [pair(i) for i in reversed(ids)] + [pair("nobody"), pair(ids[3], "virginica"), pair("nobody")]
    assert post(service, {"labels": body}).json() == receipt(10, 1, 0, "nobody")
    assert post(service, body[:10]).json() == receipt(0, 1, 9)
    after = taken(service)
    assert {k: after[k] - before[k] for k in after} == {
        "accepted": 10,
        "corrected": 2,
        "duplicate": 9,
        "unknown": 1,
        "failed": 0,
    }


def test_an_unknown_id_alone_is_not_found(service: Running) -> None:
    answer = post(service, pair("nobody"))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {
            "field": "prediction_id",
            "reason": "unknown_prediction",
            "message": "no prediction has the id 'nobody'",
        }
    ]
    assert service.metric("driftbell_rejected_inputs_total", reason="unknown_prediction") == 1


def test_of_very_many_unknown_ids_some_are_listed_and_all_counted(service: Running) -> None:
    found = post(service, [pair(f"nobody-{i}") for i in range(150)]).json()
    assert found["unknown"] == [f"nobody-{i}" for i in range(100)]
    assert found["unknown_count"] == 150


BAD: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no JSON": ({"content": "{"}, 400, "", "not valid JSON"),
    "empty": ({"content": ""}, 400, "", "empty"),
    "a form": ({"content": "{}", "headers": {"Content-Type": "text/plain"}}, 415, "", "application/json"),
    "too large": ({"content": b" " * 1_100_000}, 413, "", "server.body_limit"),
    "no labels": ({"json": {"labels": []}}, 422, "", "send at least one"),
    "a number": ({"json": 5}, 422, "", "a label must be"),
    "no id": ({"json": {"label": "setosa"}}, 422, "prediction_id", "'prediction_id' is missing"),
    "no class at all": (
        {"json": [pair("x", "rose"), pair("y", "lily")]},
        422,
        "label",
        "'rose' and 'lily' against 'setosa', 'versicolor' and 'virginica'",
    ),
    "an empty label": ({"json": pair("x", None)}, 422, "label", "'label' is empty"),
    "one wrong of many": ({"json": [pair("x"), pair("y", [])]}, 422, "label", "row 1: 'label' must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_and_counted(service: Running, name: str) -> None:
    how, status, field, says = BAD[name]
    rejected = service.metric("driftbell_rejected_inputs_total")
    headers = how.get("headers", {"Content-Type": "application/json"})
    answer = httpx.post(f"{service.url}/labels", **{**how, "headers": headers}, timeout=30)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert [e["field"] for e in answer.json().get("errors", [])] == (
        [field] if field or "a label" in says else []
    )
    assert service.metric("driftbell_rejected_inputs_total") == rejected + 1


def test_a_batch_with_one_bad_label_is_not_taken_at_all(service: Running, ids: list[str]) -> None:
    answer = post(service, [*(pair(i) for i in ids[:5]), pair(ids[5], {})])
    assert (answer.status_code, answer.json()["errors"][0]["row"]) == (422, 5)
    assert service.sql("SELECT count(*) FROM labels WHERE prediction_id = ?", ids[0]) == [(0,)]


def test_a_locked_log_is_503_and_nothing_is_acknowledged(service: Running, ids: list[str]) -> None:
    failed = taken(service)["failed"]
    script = (
        "import sqlite3, sys; log = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "log.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(service.data_dir / "log.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as blocker:
        assert blocker.stdout
        assert blocker.stdout.readline() == b"locked\n"
        answer = post(service, [pair(ids[0]), pair(ids[1])])
        assert blocker.stdin
        blocker.stdin.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"] == StoreError("").public
    assert taken(service)["failed"] == failed + 2
    assert post(service, [pair(ids[0]), pair(ids[1])]).json() == receipt(2)


def test_performance_as_known_now_and_as_known_then(service: Running) -> None:
    older, newer = ([a["id"] for a in predict(service.url, [EXAMPLE] * ROWS)] for _ in range(2))
    post(service, [pair(i) for i in older])
    check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status().json()
    post(service, [pair(i, "virginica" if n < 4 else "setosa") for n, i in enumerate(newer)])
    post(service, [pair(older[0], "versicolor"), pair(newer[-1], "versicolor")])
    found = performance(service)
    now, then = wilson(ROWS - 5, ROWS), wilson(ROWS, ROWS)
    assert found["realized"] == {"value": now.value, "low": now.low, "high": now.high, "rows": ROWS}
    (at_check,) = found["realized_at_checks"]
    realized = at_check.pop("metrics")
    assert realized["accuracy"] == {"value": then.value, "low": then.low, "high": then.high}
    assert "log_loss" in realized
    assert found["realized_at_checks"] == [
        {
            "check": check["id"],
            "time": check["time"],
            "value": then.value,
            "low": then.low,
            "high": then.high,
            "rows": ROWS,
        }
    ]
    assert found["confusion"]["virginica"] == {"setosa": 4, "versicolor": 0, "virginica": 0}
    assert found["confusion"]["setosa"]["setosa"] == ROWS - 5
    assert found["classes"]["setosa"] == {
        "rows": ROWS - 5,
        "answered": ROWS,
        "recall": 1.0,
        "precision": (ROWS - 5) / ROWS,
    }
    assert found["classes"]["virginica"] == {"rows": 4, "answered": 0, "recall": 0.0, "precision": None}
    assert list(found["classes"]) == list(found["confusion"]) == CLASSES
    assert found["labels"]["share"] == 1.0
    assert found["labels"]["window_rows"] == ROWS
    assert 0 <= found["labels"]["age_seconds"] < 60
    assert datetime.fromisoformat(found["labels"]["newest"]) <= datetime.now(UTC)
    assert found["labels"]["corrections"] >= 1
    filled = [b for b in found["calibration"] if b["rows"]]
    assert sum(b["rows"] for b in filled) == ROWS
    assert filled[-1]["right"] == now.value
    assert len(found["calibration"]) == 10


def test_new_predictions_lower_the_share_of_labels(service: Running, ids: list[str]) -> None:
    before = performance(service)["labels"]["share"]
    post(service, [pair(i) for i in ids[:5]])
    assert performance(service)["labels"]["share"] == pytest.approx(before + 5 / ROWS)


def test_a_file_is_sent_to_the_service_of_the_settings(
    service: Running, ids: list[str], tmp_path: Path
) -> None:
    rows = [f"{i},setosa" for i in ids] + ["nobody,setosa", f"{ids[0]},2"]
    (tmp_path / "truth.csv").write_text("\n".join(["prediction_id,label", *rows]), "utf-8")
    port = service.url.rpartition(":")[2]
    done = driftbell("labels", "truth.csv", cwd=tmp_path, SERVER__PORT=port, SERVER__HOST="0.0.0.0")
    assert (done.returncode, done.stdout) == (0, "truth.csv: 10 new, 1 corrected, 0 already known\n")
    assert done.stderr == "1 unknown prediction id: nobody\n"
    done = driftbell("labels", "truth.csv", "--url", service.url, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == receipt(0, 2, 9, "nobody")


def test_a_file_without_any_known_prediction_is_an_error(service: Running, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("prediction_id,label\nnobody,setosa\nnothing,setosa\n", "utf-8")
    done = driftbell("labels", "truth.csv", "--url", service.url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "truth.csv: 0 new, 0 corrected, 0 already known\n")
    unknown, error = done.stderr.splitlines()
    assert unknown == "2 unknown prediction ids: nobody, nothing"
    assert f"{service.url} has none of the predictions of truth.csv: check the column prediction_id" in error
    assert "(--url)" in error
    done = driftbell("labels", "truth.csv", "--url", service.url, "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["unknown_count"]) == (2, 2)


def test_a_wrong_label_in_a_file_is_told_with_its_line(
    service: Running, ids: list[str], tmp_path: Path
) -> None:
    lines = [json.dumps(pair(i)) for i in ids] + ["", json.dumps(pair("x", "x" * 201))]
    (tmp_path / "truth.jsonl").write_text("\n".join(lines), "utf-8")
    done = driftbell("labels", "truth.jsonl", "--url", service.url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "truth.jsonl line 12: 'label' has 201 characters and is no class" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_request_is_accepted(service: Running) -> None:
    found = post(service, [pair(f"{i:032x}") for i in range(10_000)])
    assert found.json()["unknown_count"] == 10_000


def test_a_label_that_is_no_class_of_the_model_is_a_wrong_answer(service: Running) -> None:
    ids = [answer["id"] for answer in predict(service.url, [EXAMPLE] * ROWS)]
    body = [pair(i) for i in ids[:-3]] + [pair(ids[-3], "rose"), pair(ids[-2], ""), pair(ids[-1], None)]
    assert post(service, body).json() == receipt(ROWS - 2) | {"empty": 2, "unseen": {"rose": 1}}
    assert post(service, pair(ids[-2], "rose")).json() == receipt(1) | {"unseen": {"rose": 1}}
    found = performance(service)
    assert found["confusion"]["rose"]["setosa"] == 2
    assert found["realized"]["rows"] == ROWS
    check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status().json()
    assert check["target_drift"]["unseen"] == {"rose": 2}
    page = httpx.get(service.url, timeout=30).text
    assert "2 of 39 labels are no class of the model and count as wrong answers: &#39;rose&#39; (2)" in page
    unseen = [pair(ids[-1], "rose"), pair(ids[-1], "lily")]
    assert post(service, unseen).status_code == 422
    accepted = httpx.post(f"{service.url}/labels?accept_unseen=true", json=unseen, timeout=30)
    assert accepted.json() == receipt(1, 1) | {"unseen": {"rose": 1, "lily": 1}}
    post(service, [pair(i) for i in ids])


def test_what_was_acknowledged_survives_the_death_of_every_process(service: Running, ids: list[str]) -> None:
    """The last test of this file: nothing is left of the service after it."""
    assert post(service, [pair(i) for i in ids]).json() == receipt(10)
    service.kill_tree()
    written = service.sql("SELECT prediction_id FROM labels ORDER BY seq DESC LIMIT 10")
    assert [row[0] for row in reversed(written)] == ids

"""Metrics on labels over HTTP equal scikit-learn's: two and three classes, unknown classes, corrections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression
from tests.conftest import CHEAP_MONITOR, Running, monitored, predict, running, total

pytestmark = pytest.mark.service

WINDOW = 100
NAMES = {2: ("no", "yes"), 3: ("high", "low", "mid")}
FEATURES = ["x", "y"]
Answers = list[dict[str, Any]]


def rows(count: int, classes: int, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Draw rows and their classes, which overlap."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    table = pd.DataFrame({"x": rng.normal(truth, 0.8), "y": rng.normal(-1.5 * (truth == 1), 1.0)}).round(3)
    return table, [NAMES[classes][i] for i in truth]


def write_classifier(folder: Path, classes: int) -> Path:
    """Write a classifier, its reference and its settings; return the file of the settings."""
    folder.mkdir(parents=True)
    model = LogisticRegression().fit(*rows(400, classes, 0))
    path = folder / "model.joblib"
    joblib.dump(model, path)
    table, truth = rows(300, classes, 1)
    table.assign(truth=truth).to_csv(folder / "reference.csv", index=False)
    (folder / "driftbell.toml").write_text(
        f"""[model]
path = "{path}"
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"
reference = "{folder / "reference.csv"}"
target = "truth"

[window]
rows = {WINDOW}
"""
    )
    return folder / "driftbell.toml"


@pytest.fixture(scope="module", params=[2, 3], ids=["two classes", "three classes"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, int]]:
    folder = tmp_path_factory.mktemp("metrics")
    config = write_classifier(folder / "model", request.param)
    settings = {**CHEAP_MONITOR, "CHECK__EVERY": "off"}
    with running("up", folder / "data", "--config", str(config), **settings) as service:
        monitored(service)
        yield service, request.param


def check(service: Running) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).raise_for_status()
    result: dict[str, Any] = answer.json()
    assert result["error"] is None
    return result


def label(service: Running, answers: Answers, truth: Sequence[str]) -> dict[str, Any]:
    labels = [{"prediction_id": a["id"], "label": t} for a, t in zip(answers, truth, strict=True)]
    receipt = httpx.post(f"{service.url}/labels", json=labels, timeout=30).raise_for_status()
    counts: dict[str, Any] = receipt.json()
    return counts


def expected(predicted: Sequence[str], truth: Sequence[str], probabilities: Any, names: Sequence[str]) -> Any:
    """Return scikit-learn's metrics; classes that are unknown to the model have no score of their own."""
    known = [i for i, name in enumerate(truth) if name in names]
    used = [n for n in names if n in {*predicted, *truth}]
    macro = {"labels": used, "average": "macro", "zero_division": 0.0}
    score, right = np.asarray(probabilities)[known], [truth[i] for i in known]
    score = score / score.sum(axis=1, keepdims=True)  # they may be rounded
    of_second = score[:, 1] if len(names) == 2 else score
    return {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "precision": sklearn_metrics.precision_score(truth, predicted, **macro),
        "recall": sklearn_metrics.recall_score(truth, predicted, **macro),
        "f1": sklearn_metrics.f1_score(truth, predicted, **macro),
        "roc_auc": sklearn_metrics.roc_auc_score(right, of_second, multi_class="ovr", labels=names),
        "log_loss": sklearn_metrics.log_loss(right, score, labels=names),
    }


def of_answers(answers: Answers, truth: Sequence[str], classes: int) -> Any:
    names = NAMES[classes]
    probabilities = [[a["probabilities"][name] for name in names] for a in answers]
    return expected([a["class"] for a in answers], truth, probabilities, names)


def exposed(service: Running, kind: str) -> dict[str, float]:
    """Return the metrics of one kind from a scrape; each has an interval around it."""
    samples = service.samples()
    values = {
        s.labels["metric"]: s.value
        for s in samples
        if s.name == "driftbell_performance" and s.labels["kind"] == kind
    }
    for name, value in values.items():
        low, high = (
            total(samples, f"driftbell_performance_{end}", metric=name, kind=kind) for end in ("low", "high")
        )
        assert low <= value <= high
        assert low < high
    return values


def labels_behind(service: Running) -> dict[str, float]:
    return {
        kind: service.metric("driftbell_performance_labels", kind=kind) for kind in ("reference", "realized")
    }


def test_metrics_are_scikit_learns_and_follow_unknown_classes_and_corrections(
    served: tuple[Running, int],
) -> None:
    service, classes = served
    folder = service.data_dir.parent / "model"
    table, truth = rows(250, classes, 2)
    answers = predict(service.url, table.to_dict("records"))

    none = check(service)  # without labels, only the reference is known
    assert exposed(service, "realized") == {}
    assert labels_behind(service) == {"reference": 300, "realized": 0}
    assert none["metric_labels"]["realized"] == 0
    assert "Metrics with labels" not in httpx.get(service.url).text
    model, (known, right) = joblib.load(folder / "model.joblib"), rows(300, classes, 1)
    on_reference = expected(model.predict(known).tolist(), right, model.predict_proba(known), NAMES[classes])
    assert exposed(service, "reference") == pytest.approx(on_reference, abs=1e-6)

    label(service, answers[:19], truth[:19])  # too few to measure anything
    few = check(service)
    assert exposed(service, "realized") == {}
    assert few["metric_labels"]["realized"] == 19
    assert "Not measured: needs 20 labels, has 19." in httpx.get(service.url).text

    label(service, answers[:200], truth[:200])  # late: the window has the rows from 150
    late = check(service)
    now = of_answers(answers[100:200], truth[100:200], classes)
    assert exposed(service, "realized") == pytest.approx(now, abs=1e-9)
    assert labels_behind(service) == {"reference": 300, "realized": WINDOW}
    assert (late["metric_labels"]["realized"], late["metric_labels"]["in_window"]) == (WINDOW, 50)
    assert set(exposed(service, "estimated")) <= {"accuracy"}
    assert late["degradation"]["performance"]["realized"]["value"] == pytest.approx(now["accuracy"])
    performance = httpx.get(f"{service.url}/monitor/performance").json()
    in_json = {name: metric["realized"]["value"] for name, metric in performance["metrics"].items()}
    assert in_json == pytest.approx(now, abs=1e-9)
    assert performance["realized"]["value"] == pytest.approx(now["accuracy"])
    at_checks = [c["metrics"] for c in performance["realized_at_checks"]]
    assert at_checks[0] == {name: metric["realized"] for name, metric in performance["metrics"].items()}
    assert at_checks[-1] == {}
    assert service.status()["last_check"]["metrics"] == performance["metrics"]
    page = httpx.get(service.url).text
    assert f"{100 * now['precision']:.1f}" in page[page.index("precision (macro)") :][:200]
    assert f"the newest {WINDOW} labelled predictions" in page
    report = httpx.get(f"{service.url}{late['reports'][0]}").text
    assert "recall (macro)" in report

    corrected = list(truth[100:200])  # a correction counts once, and an unknown class is a wrong answer
    corrected[:30] = [NAMES[classes][0]] * 30
    corrected[30:40] = ["never seen"] * 10
    receipt = label(service, answers[100:200], corrected)
    assert receipt["unseen"] == {"never seen": 10}
    assert receipt["corrected"] > 10
    after = check(service)
    assert exposed(service, "realized") == pytest.approx(
        of_answers(answers[100:200], corrected, classes), abs=1e-9
    )
    assert after["metric_labels"]["realized"] == WINDOW
    assert after["metrics"]["accuracy"]["realized"]["value"] < now["accuracy"]

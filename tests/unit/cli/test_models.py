"""`driftbell models compare` on a log of two versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from driftbell.cli import cli
from driftbell.errors import ConfigError
from driftbell.records import Label, Prediction, ShadowPrediction
from driftbell.records.versions import CHALLENGER, CHAMPION, AliasChange, ModelVersion
from driftbell.store.sqlite import open_sqlite

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(tmp_path))
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["models", "compare", *args], catch_exceptions=False)


def log(folder: Path, rows: int, accuracies: dict[str, float]) -> None:
    """Log predictions of several versions that share the traffic, and their labels."""
    rng, versions = np.random.default_rng(0), list(accuracies)
    predictions, labels = [], []
    for i in range(rows):
        version = versions[int(rng.integers(len(versions)))]
        output = "setosa" if rng.random() < accuracies[version] else "virginica"
        time = NOW + timedelta(minutes=i)
        predictions.append(
            Prediction(f"id-{i}", time, "iris", version, {"x": 1.0}, output, {"setosa": 0.5}, 2.0)
        )
        labels.append(Label(f"id-{i}", "setosa", time + timedelta(hours=1)))
    store = open_sqlite(folder / "log.sqlite")
    store.predictions.append(predictions)
    store.labels.add(labels)
    store.close()


def test_a_worse_version_is_named_with_both_performances(folder: Path) -> None:
    log(folder, 3000, {"v1": 0.9, "v2": 0.75})
    done = run("v1", "v2")
    assert done.exit_code == 1
    first, *sides, certain = done.output.splitlines()
    assert first.startswith("v2 performs worse than v1, by ")
    assert first.endswith(" of accuracy; certainty 99 %.")
    assert sides[0].startswith("  v1  accuracy ")
    assert "labels, 2026-03-01 08:0" in sides[0]
    assert certain.startswith("  certain since ")
    done = run("v2", "v1", "--json")
    assert done.exit_code == 0
    body = json.loads(done.output)
    assert body["verdict"] == "better"
    assert body["before"]["version"] == "v2"
    assert 0 < body["difference"]["low"] < 0.15 < body["difference"]["high"] < 0.3


def test_without_versions_the_two_that_received_labels_last_are_compared(folder: Path) -> None:
    log(folder, 300, {"v2": 0.9, "v3": 0.9})
    store = open_sqlite(folder / "log.sqlite")
    old = Prediction("old", NOW, "iris", "v1", {"x": 1.0}, "setosa", {"setosa": 0.5}, 2.0)
    store.predictions.append([old])
    store.labels.add([Label("old", "setosa", NOW)])
    store.close()
    done = run("--json")
    assert done.exit_code == 3
    body = json.loads(done.output)
    assert {body["before"]["version"], body["after"]["version"]} == {"v2", "v3"}
    assert body["verdict"] == "unknown"
    assert "more labels decide" in body["sentence"]


def register(folder: Path, version: str, *, champion: bool = False) -> None:
    store = open_sqlite(folder / "log.sqlite")
    store.versions.add(ModelVersion("iris", version, "", {}, (), (), ("a",), "classification", NOW, "ada"))
    if champion:
        store.versions.set_alias(AliasChange("iris", CHAMPION, version, NOW, "ada", "better", version))
    store.close()


def test_unknown_versions_and_a_log_of_one_version_are_errors(folder: Path) -> None:
    log(folder, 0, {})
    with pytest.raises(ConfigError, match="fewer than two versions of 'iris' in the log: no predictions"):
        run()
    log(folder, 5, {"3f6c2a9d10be": 1.0})
    with pytest.raises(ConfigError, match="fewer than two versions of 'iris' in the log: 3f6c2a9d10be"):
        run()
    with pytest.raises(ConfigError, match="'3f6c2a9d10b' of 'iris' has no predictions; did you mean"):
        run("3f6c2a9d10b", "3f6c2a9d10be")
    register(folder, "81d0c5e7b2aa")
    yet = "81d0c5e7b2aa.*has no predictions yet: .*`driftbell models promote 81d0c5e7b2aa`"
    with pytest.raises(ConfigError, match=f"fewer than two versions of 'iris' .*: 3f6c2a9d10be; {yet}"):
        run()
    with pytest.raises(ConfigError, match=f"version '{yet}"):
        run("3f6c2a9d10be", "81d0c5e7b2aa")
    register(folder, "81d0c5e7b2aa", champion=True)
    with pytest.raises(ConfigError, match="81d0c5e7b2aa is the champion and has no predictions yet"):
        run()
    with pytest.raises(ConfigError, match="compared with itself"):
        run("3f6c2a9d10be", "3f6c2a9d10be")
    one = CliRunner().invoke(cli, ["models", "compare", "3f6c2a9d10be"])
    assert one.exit_code == 2
    assert "name both versions" in one.output


def shadows(folder: Path, rows: int, champion: float, shadow: float, *, labels: bool = True) -> None:
    """Log predictions of v1 and of its shadow v2 for the same rows, and the labels of v1's."""
    rng = np.random.default_rng(0)
    store = open_sqlite(folder / "log.sqlite")
    names = np.array(["setosa", "virginica"])
    first, second = (names[(rng.random(rows) > accuracy).astype(int)] for accuracy in (champion, shadow))
    times = [NOW + timedelta(minutes=i) for i in range(rows)]
    features = {"x": 1.0}
    store.predictions.append(
        [
            Prediction(f"id-{i}", times[i], "iris", "v1", features, str(first[i]), {}, float(i % 100))
            for i in range(rows)
        ]
    )
    store.shadows.append(
        [
            ShadowPrediction(
                f"id-{i}", times[i], "iris", "v2", str(second[i]), {}, 1.5 if i % 7 == 0 else None
            )
            for i in range(rows)
        ]
    )
    if labels:
        store.labels.add([Label(f"id-{i}", "setosa", times[i]) for i in range(rows)])
    store.close()


def test_a_shadow_is_compared_on_the_rows_that_both_predicted(folder: Path) -> None:
    shadows(folder, 1000, 0.9, 0.8)
    done = run("v1", "v2")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0].startswith("v2 performs worse than v1, by ")
    assert "latency p50 49.5 ms, p95 94.0 ms" in lines[1]
    assert "latency p50 1.5 ms, p95 1.5 ms" in lines[2]
    assert "  both predicted the same 1,000 labelled rows" in lines
    assert lines[-4].startswith("  the same output for 7")
    assert lines[-3].split() == ["setosa", "virginica", "<-", "v2"]
    body = json.loads(run("v2", "v1", "--json").output)
    assert (body["verdict"], body["pairs"]) == ("better", 1000)
    assert body["before"]["median_latency_ms"] == 1.5
    agreement = body["agreement"]
    assert agreement["classes"] == ["setosa", "virginica"]
    assert sum(map(sum, agreement["matrix"])) == agreement["rows"] == 1000
    assert agreement["matrix"][0][0] + agreement["matrix"][1][1] == agreement["same"]


def test_without_labels_a_shadow_has_its_agreement(folder: Path) -> None:
    shadows(folder, 50, 1.0, 1.0, labels=False)
    done = run("v1", "v2")
    assert done.exit_code == 3
    lines = done.output.splitlines()
    assert lines[0] == "Cannot tell: there are no labels of v1 and v2."
    assert lines[3] == "  the same output for 100.00 % of 50 rows that both predicted"


def test_without_names_the_champion_and_the_challenger_are_compared(folder: Path) -> None:
    shadows(folder, 10, 1.0, 1.0)
    store = open_sqlite(folder / "log.sqlite")
    store.versions.settle("v1", NOW, model="iris")
    store.versions.set_alias(AliasChange("iris", CHALLENGER, "v2", NOW, "ada", "", "v1", 1.0, True))
    store.close()
    body = json.loads(run("--json").output)
    assert (body["before"]["version"], body["after"]["version"], body["pairs"]) == ("v1", "v2", 10)


def test_the_way_with_more_labels_is_used(folder: Path) -> None:
    log(folder, 400, {"v1": 0.9, "v2": 0.9})
    store = open_sqlite(folder / "log.sqlite")
    old = Prediction("a", NOW, "iris", "v1", {"x": 1.0}, "setosa", {}, 2.0)
    store.predictions.append([old])
    store.shadows.append([ShadowPrediction("a", NOW, "iris", "v2", "setosa", {})])
    store.labels.add([Label("a", "setosa", NOW)])
    store.close()
    body = json.loads(run("v1", "v2", "--json").output)
    assert (body["pairs"], body["agreement"]["rows"]) == (0, 1)
    assert body["after"]["labels"] > 100

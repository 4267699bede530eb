"""A user's own model, from the example: trained, served and monitored."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.conftest import running, wait_until

from driftbell.simulation.faults import Fault, FaultKind
from driftbell.simulation.traffic import simulate
from driftbell.tabular.features import read_features

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model.py"


def test_the_example_without_its_folder_prints_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    with pytest.raises(SystemExit, match=r"usage: .* FOLDER"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


@pytest.mark.service
def test_own_model_is_served_and_its_stuck_feature_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(folder)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    config = ("--config", str(folder / "driftbell.toml"))
    with running("up", tmp_path / "data", *config, CHECK__EVERY="off", REPORTS__EVIDENTLY="off") as service:
        wait_until(lambda: httpx.get(f"{service.url}/health").json()["monitor"] == "running")
        example = httpx.get(f"{service.url}/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
        row = example["content"]["application/json"]["example"]
        assert set(row) == {"age", "plan", "late"}
        answer = httpx.post(f"{service.url}/predict", json=row).json()
        assert answer["class"] in ("stays", "leaves")
        assert answer["model"] == "churn"
        bad = httpx.post(f"{service.url}/predict", json={"age": 40, "plan": 3, "late": "no"})
        assert [e["field"] for e in bad.json()["errors"]] == ["plan", "late"]

        reference = {k: v for k, v in read_features(folder / "reference.csv").items() if k != "label"}

        def send(normal: int, drifted: int) -> dict[str, object]:
            stuck = [Fault(FaultKind.STUCK, "age")]
            rng = np.random.default_rng(0)
            simulate(
                service.url,
                normal=normal,
                drifted=drifted,
                rate=None,
                faults=stuck,
                rng=rng,
                report=lambda _: None,
                reference=reference,
                concurrency=4,
            )
            check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
            assert isinstance(check, dict)
            return check

        assert send(200, 0)["verdict"] == "ok"
        alarm = send(0, 1000)  # a loss of some points, which one block leaves uncertain
        assert alarm["verdict"] == "alarm"
        features = {"age", "plan", "late"}
        drifted = alarm["drifted_columns"]
        assert isinstance(drifted, list)
        assert features & set(drifted) == {"age"}

"""Who labels the rows that a check asks for learns whether a suspected part of the rows costs anything."""

from __future__ import annotations

import csv
import io
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running
from tests.service.test_one_statement import checked, text_of
from tests.service.test_own_model import EXAMPLE

from driftbell.records import Value

pytestmark = pytest.mark.service

NEW, SHARE = "student", 0.08


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "model")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    return tmp_path / "model"


@pytest.fixture
def service(folder: Path, tmp_path: Path) -> Iterator[Running]:
    config = ("--config", str(folder / "driftbell.toml"))
    with running("up", tmp_path / "data", *config, CHECK__EVERY="off", REPORTS__EVIDENTLY="off") as result:
        monitored(result)
        yield result


def rows_of(folder: Path, seed: int, *, share: float = 0.0) -> list[dict[str, Value]]:
    """Return rows of the reference; a share of them has a new plan."""
    rng = np.random.default_rng(seed)
    with (folder / "reference.csv").open(encoding="utf-8") as file:
        reference = list(csv.DictReader(file))
    rows = [reference[i] for i in rng.integers(0, len(reference), 500)]
    part = set(rng.permutation(len(rows))[: round(share * len(rows))].tolist())
    return [
        {
            "age": float(row["age"]),
            "plan": NEW if i in part else row["plan"],
            "late": row["late"] in ("true", "True", "1"),
        }
        for i, row in enumerate(rows)
    ]


def filled_in(service: Running, check: dict[str, Any], *, wrong: bool) -> int:
    """Label the rows of the sheet of a check; return their number."""
    sheet = httpx.get(f"{service.url}/monitor/checks/{check['id']}/label-sheet", timeout=30)
    rows = list(csv.DictReader(io.StringIO(sheet.raise_for_status().text)))
    assert 0 < len(rows) <= 50, check["degradation"]["sentence"]
    assert {row["plan"] for row in rows} == {NEW}
    other = {"stays": "leaves", "leaves": "stays"}
    labels = [
        {
            "prediction_id": row["prediction_id"],
            "label": other[row["prediction"]] if wrong else row["prediction"],
        }
        for row in rows
    ]
    httpx.post(f"{service.url}/labels", json=labels, timeout=30).raise_for_status()
    return len(rows)


@pytest.mark.parametrize("wrong", [True, False])
def test_the_labels_that_are_asked_for_settle_what_a_check_cannot_tell(
    service: Running, folder: Path, *, wrong: bool
) -> None:
    predict(service.url, rows_of(folder, 1))
    assert checked(service)["degradation"]["verdict"] == "ok"
    labels, seed = 0, 2
    while True:
        predict(service.url, rows_of(folder, seed, share=SHARE))
        check = checked(service)
        degradation = check["degradation"]
        if degradation["verdict"] != "unknown":
            break
        assert labels < 100, degradation["sentence"]
        labels += filled_in(service, check, wrong=wrong)
        seed += 1
    assert labels
    loss = degradation["estimated_loss"]
    page = text_of(httpx.get(f"{service.url}/", timeout=30).text)
    mark = "These labels are more of suspected rows than of all"
    assert f"{mark}: the metrics are not those of all predictions." in page
    exposed = httpx.get(f"{service.url}/metrics", timeout=30).text
    assert "\ndriftbell_labels_of_suspected_rows 1.0\n" in exposed
    assert degradation["performance"]["chosen_until"]
    if wrong:
        assert degradation["verdict"] == "alarm"
        assert (
            f"This is the loss in the {labels} labels of suspected rows (plan, since "
            in (degradation["sentence"])
        )
        usual = 1 - degradation["performance"]["reference"]
        assert loss["value"] == pytest.approx(SHARE * (1 - usual), abs=0.01)
        assert degradation["sentence"] in page
    else:
        assert degradation["verdict"] == "ok", degradation["sentence"]
        assert loss["high"] < 0.05
        assert degradation["to_label"] == []

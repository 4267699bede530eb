"""Rehearsals: costly faults raise an alarm that names them; harmless ones do not; refusals are reported."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.command_line import driftbell
from tests.conftest import with_models

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.cli.backtest import _duration, _outcome_line
from driftbell.config import settings as config
from driftbell.degradation.detector import fit_detector
from driftbell.errors import ConfigError
from driftbell.models.native import NativeModel
from driftbell.models.reference import build_reference, reference_outputs
from driftbell.models.sklearn import loaded_estimator
from driftbell.records import Kind, Prediction
from driftbell.simulation.faults import Fault, FaultKind, parse_fault
from driftbell.simulation.rehearsal import Rehearsal, RehearsalOutcome, rehearse, rows_per_day
from driftbell.tabular.columns import as_column
from driftbell.tabular.schema import infer_schema
from driftbell.wiring import offline
from driftbell.wiring.store import open_store

LENGTH, WIDTH = "petal length (cm)", "petal width (cm)"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_models(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def iris(data_dir: Path) -> Rehearsal:
    return offline.rehearsal(
        config.load(None, overrides={"data_dir": str(data_dir)}, environment={}).settings
    )


@pytest.fixture(scope="module")
def holes() -> Rehearsal:
    """Return a rehearsal of a model with two features, one with nulls, on a held-out reference."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 2))
    y = (x[:, 0] + 0.3 * rng.normal(size=1200) > 0).astype(int)
    x[rng.random(1200) < 0.05, 0] = np.nan
    fitted = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(x[:600], y[:600])
    features = {"a": x[600:, 0], "b": x[600:, 1]}
    model = NativeModel(loaded_estimator(fitted), name="holes", version="1", schema=infer_schema(features))
    labels = as_column([str(v) for v in y[600:]], Kind.CATEGORICAL)
    reference = build_reference(model, features, labels=labels)
    detector = fit_detector(
        features,
        reference_outputs(reference, model.classes),
        labels,
        classes=model.classes,
        smallest_loss=SmallestLoss(0.02),
        checks_per_alarm=1000,
        block_rows=200,
    )
    return Rehearsal(model, reference, detector, 200)


def test_no_fault_raises_no_alarm(iris: Rehearsal) -> None:
    outcome = iris(None)
    assert (outcome.fault, outcome.detection_delay, outcome.rows, outcome.actual_loss) == (
        "",
        None,
        10_000,
        0.0,
    )


def test_a_costly_fault_raises_an_alarm_that_names_it(iris: Rehearsal) -> None:
    outcome = iris(Fault(FaultKind.SHIFT, LENGTH, 1.76))
    assert outcome.detection_delay is not None
    assert outcome.detection_delay == outcome.rows <= 1000
    assert outcome.columns[0] == LENGTH
    assert outcome.actual_loss is not None
    assert outcome.actual_loss > 0.2
    assert outcome.interval is not None
    assert outcome.estimated_loss is not None
    assert outcome.interval[0] < outcome.estimated_loss < outcome.interval[1]


def test_a_harmless_fault_raises_no_alarm(iris: Rehearsal) -> None:
    outcome = iris(Fault(FaultKind.STUCK, "sepal width (cm)"))
    assert (outcome.detection_delay, outcome.rows, outcome.estimated_loss, outcome.columns) == (
        None,
        10_000,
        None,
        (),
    )
    assert outcome.actual_loss == pytest.approx(0, abs=0.02)


def test_refused_rows_are_reported(iris: Rehearsal) -> None:
    outcome = iris(Fault(FaultKind.NULLS, LENGTH, 0.3))
    assert (outcome.detection_delay, outcome.rows) == (None, 0)
    assert "must not be null" in outcome.refused
    assert "must be a finite number" in iris(Fault(FaultKind.SCALE, LENGTH, 1e300)).refused


@pytest.mark.slow
def test_nulls_in_a_nullable_feature(holes: Rehearsal) -> None:
    defaults = [str(f) for f in holes.default_faults()]
    assert "nulls:a=0.3" in defaults
    assert "nulls:b=0.3" not in defaults
    outcome = holes(Fault(FaultKind.NULLS, "a", 0.5))
    assert outcome.detection_delay is not None
    assert outcome.columns == ("a",)
    assert holes(None).detection_delay is None


def test_without_labels_the_actual_loss_is_unknown(holes: Rehearsal) -> None:
    unlabelled = Rehearsal(
        holes.model, build_reference(holes.model, holes.reference.columns), holes.detector, holes.window_rows
    )
    assert unlabelled(Fault(FaultKind.SHIFT, "a", 1.0)).actual_loss is None


def test_the_usual_faults(iris: Rehearsal) -> None:
    defaults = [str(f) for f in iris.default_faults()]
    assert f"stuck:{LENGTH}" in defaults
    assert f"scale:{WIDTH}=1.8" in defaults
    assert f"shift:{LENGTH}=+1.76" in defaults
    assert defaults[-1].startswith("swap:petal")
    assert len(defaults) in (7, 10)  # of two features or of three
    for text in defaults:
        assert str(parse_fault(text)) == text


def test_a_feature_with_nulls_is_not_swapped_with_one_without(holes: Rehearsal) -> None:
    assert [f.kind for f in holes.default_faults() if f.kind is FaultKind.SWAP] == []
    assert not any(holes(fault).refused for fault in holes.default_faults())


def test_the_value_of_a_frozen_feature_is_reported(holes: Rehearsal) -> None:
    assert holes(Fault(FaultKind.STUCK, "a", 9.0)).frozen_at == 9.0
    assert isinstance(holes(Fault(FaultKind.STUCK, "a")).frozen_at, float)


@pytest.mark.slow
def test_no_fault_comes_first(holes: Rehearsal) -> None:
    outcome = list(rehearse(holes, [Fault(FaultKind.STUCK, "a", 9.0)]))
    assert [o.fault for o in outcome] == ["", "stuck:a=9"]
    assert outcome == list(rehearse(holes, [Fault(FaultKind.STUCK, "a", 9.0)]))


def test_a_fault_of_an_unknown_feature(iris: Rehearsal) -> None:
    with pytest.raises(ConfigError, match="did you mean 'petal length"):
        iris(Fault(FaultKind.STUCK, "petal lenth (cm)"))


@pytest.mark.parametrize(
    "text", ['shift:"a=b"=+3', "shift:x=-0.25", 'swap:"a,b",c', "nulls:x", "stuck:x=5.1", 'scale:" x"=2']
)
def test_faults_round_trip(text: str) -> None:
    assert str(parse_fault(text)) == text


def test_traffic_is_measured_in_the_prediction_log(tmp_path: Path) -> None:
    settings = config.load(None, overrides={"data_dir": str(tmp_path)}, environment={}).settings
    now = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    store = open_store(settings)
    assert rows_per_day(store, now) is None
    made = [
        Prediction(f"{i:03}", now - timedelta(hours=i), "m", "1", {"x": 1.0}, "a", {}, 1.0) for i in range(48)
    ]
    store.predictions.append(made)
    assert rows_per_day(store, now) == pytest.approx(48 / (47.5 / 24))
    store.close()


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (None, ""),
        (500, " (≈ 24 hours)"),
        (5000, " (≈ 2.4 hours)"),
        (50, " (≈ 10 days)"),
        (500_000, " (≈ 1.44 minutes)"),
    ],
)
def test_delays_are_formatted(rate: float | None, words: str) -> None:
    assert _duration(500, rate) == words


def command(data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return driftbell("rehearse", "--data-dir", str(data_dir), *args, cwd=data_dir)


@pytest.mark.slow
def test_the_command_prints_text(data_dir: Path, iris: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "rehearsal", lambda _: iris)  # fitting another one takes seconds
    faults = [f"shift:{LENGTH}=+1.76", f"nulls:{LENGTH}", "stuck:sepal width (cm)"]
    done = command(data_dir, *(word for f in faults for word in ("--fault", f)), "--rate", "5000")
    assert (done.returncode, done.stderr) == (0, "")
    without_fault, detected, refused, missed = done.stdout.splitlines()
    assert without_fault == "no fault: no alarm in 10,000 predictions"
    assert detected.startswith(f"shift:{LENGTH}=+1.76: alarm after ")
    for words in ("hours); estimated loss ", "; actual loss ", f"; suspect columns: {LENGTH}"):
        assert words in detected
    assert "the service rejects such rows" in refused
    assert re.match(
        r"stuck:sepal width \(cm\) \(frozen at [\d.]+\): no alarm in 10,000 predictions; actual loss ", missed
    )


def test_text_has_the_drawn_value_and_separated_thousands() -> None:
    drawn = RehearsalOutcome("stuck:plan", 3500, 3500, None, None, None, (), frozen_at="basic")
    assert _outcome_line(drawn, None) == "stuck:plan (frozen at basic): alarm after 3,500 predictions"
    given = replace(drawn, fault="stuck:plan=pro", frozen_at="pro")
    assert given.name == "stuck:plan=pro"


@pytest.mark.slow
def test_the_command_prints_json(data_dir: Path) -> None:
    done = command(data_dir, "--fault", f"stuck:{WIDTH}=0.2", "--window-rows", "100", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    quiet, seen = map(json.loads, done.stdout.splitlines())
    assert quiet["rows"] == 2000
    assert set(seen) == {*RehearsalOutcome.__dataclass_fields__, "hours"}
    assert seen["detection_delay"] > 0
    assert seen["hours"] is None  # nothing is in the store


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--fault", "shfit:x=1"), "shift"),
        (("--fault", "stuck:petal"), "unknown feature 'petal'"),
        (("--rate", "0"), "--rate"),
        (("--window-rows", "10"), "--window-rows"),
    ],
)
def test_invalid_options_are_named(
    data_dir: Path, iris: Rehearsal, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], words: str
) -> None:
    monkeypatch.setattr(offline, "rehearsal", lambda _: iris)
    done = command(data_dir, *args)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_losses_that_are_costs_have_their_currency(data_dir: Path) -> None:
    costs = {"setosa": {"virginica": 50.0}, "versicolor": {"virginica": 20.0}, "virginica": {"setosa": 50.0}}
    alarms = {"metric": "cost", "costs": costs, "currency": "EUR", "smallest_loss": 0.5}
    overrides = {"data_dir": str(data_dir)} | {f"alarms.{name}": value for name, value in alarms.items()}
    rehearsal = offline.rehearsal(config.load(None, overrides=overrides, environment={}).settings)
    outcome = rehearsal(parse_fault(f"shift:{LENGTH}=+3"))
    assert outcome.currency == "EUR"
    assert outcome.actual_loss is not None
    assert re.search(r"; actual loss -?[\d.,]+ EUR of cost per prediction", _outcome_line(outcome, None))

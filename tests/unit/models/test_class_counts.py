"""The classes with metrics of their own are those that a model predicts most often on its reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier
from skops import io as skops_io

from driftbell.config.settings import Settings
from driftbell.errors import PredictError
from driftbell.models.class_counts import MAX_CLASSES, MAX_ROWS, class_labels, count_classes
from driftbell.models.conversion_cache import file_sha256
from driftbell.ports import Model
from driftbell.records import Columns, Outputs, Training
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel
from driftbell.wiring.model import open_serving_model

NAMES = [f"fault {i:03}" for i in range(120)]
RARE, FREQUENT = NAMES[:70], NAMES[70:]
REFERENCE = [*RARE, *FREQUENT * 3]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftbell.wiring.model.try_model", lambda *_: None)


def names_with_series(model: Model) -> list[str]:
    labels = class_labels(model.classes, model.class_counts)
    return [name for name, label in labels.items() if label != "other"]


def write(folder: Path, **more: object) -> Settings:
    x = np.arange(len(NAMES), dtype=float)
    skops_io.dump(DecisionTreeClassifier().fit(np.tile(x, 3)[:, None], NAMES * 3), folder / "mine.skops")
    rows = "\n".join(f"{float(NAMES.index(name))},{name}" for name in REFERENCE)
    (folder / "rows.csv").write_text(f"a,y\n{rows}\n", "utf-8")
    path = folder / "mine.skops"
    own = {"path": path, "sha256": file_sha256(path), "reference": folder / "rows.csv", "target": "y"}
    return Settings.model_validate({"data_dir": folder / "data", "model": {**own, **more}})


@pytest.mark.parametrize("engine", ["auto", "native"])
@pytest.mark.usefixtures("in_this_process")
def test_a_served_model_knows_its_most_frequent_classes(tmp_path: Path, engine: str) -> None:
    settings = write(tmp_path, engine=engine)
    first = open_serving_model(settings)
    assert sum(first.class_counts) == len(REFERENCE)
    assert names_with_series(first) == FREQUENT
    assert open_serving_model(settings).class_counts == first.class_counts


def test_a_model_served_elsewhere_counts_its_recorded_predictions(tmp_path: Path) -> None:
    names = REFERENCE[20:]  # at most 100 classes
    rows = "\n".join(f"{float(i)},{name}" for i, name in enumerate(names))
    (tmp_path / "rows.csv").write_text(f"a,answer\n{rows}\n", "utf-8")
    model = {"name": "far", "reference": tmp_path / "rows.csv", "prediction": "answer"}
    opened = open_serving_model(Settings.model_validate({"data_dir": tmp_path / "data", "model": model}))
    assert names_with_series(opened) == FREQUENT


def numbered(columns: Columns) -> np.ndarray:
    return columns["a"].astype(int) % len(NAMES)


def training(rows: int, labels: list[str | None] | None = None) -> Training:
    return Training({"a": np.arange(float(rows))}, None if labels is None else np.array(labels, dtype=object))


def fake(classes: list[str], rule: object = numbered) -> FakeModel:
    return FakeModel(infer_schema({"a": [1.0, 2.0]}), classes, rule)  # type: ignore[arg-type]


def test_few_classes_are_not_counted() -> None:
    assert count_classes(fake(NAMES[:MAX_CLASSES]), training(10)) == ()


def test_of_a_large_reference_rows_at_equal_distances_are_predicted() -> None:
    counts = count_classes(fake(NAMES), training(5 * MAX_ROWS + 1))
    assert 0.8 * MAX_ROWS < sum(counts) <= MAX_ROWS


def test_labels_are_counted_where_predictions_are_unknown() -> None:
    labels = training(4, [NAMES[3], NAMES[3], None, "no class"])

    def fails(columns: Columns) -> np.ndarray:
        raise PredictError("no")

    for counts in (
        count_classes(fake(NAMES), labels, predicts=False),
        count_classes(fake(NAMES, fails), labels),
    ):
        assert (counts[3], sum(counts), len(counts)) == (2, 2, len(NAMES))
    assert count_classes(fake(NAMES), training(4), predicts=False) == ()
    known = Training({"a": np.arange(2.0)}, outputs=Outputs(np.array([7, 7])))
    assert count_classes(fake(NAMES, fails), known)[7] == 2


def test_equally_frequent_classes_keep_the_order_of_the_model() -> None:
    labels = class_labels(NAMES, [1] * len(NAMES))
    assert [name for name, label in labels.items() if label == name] == NAMES[:MAX_CLASSES]
    assert class_labels([]) == {"": ""}

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.unit.models.test_sklearn import sha256_of

from driftbell.errors import ModelError
from driftbell.models import iris
from driftbell.models.iris import iris_model, iris_training, is_iris_cached
from driftbell.models.native import NativeModel
from driftbell.models.reference import build_reference
from driftbell.records import Columns


@pytest.fixture(scope="module", autouse=True)
def _small_forest() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iris, "TREES", 40)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NativeModel, Columns]:
    folder = tmp_path_factory.mktemp("iris")
    model, features = iris_model(folder)
    return folder, model, features


@pytest.fixture
def cache(trained: tuple[Path, NativeModel, Columns], tmp_path: Path) -> Path:
    for file in trained[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def events_of(folder: Path) -> tuple[NativeModel, list[tuple[str, str]]]:
    with capture_logs() as events:
        model, _ = iris_model(folder)
    return model, [(e["event"], e["log_level"]) for e in events]


TRAINED = ("model trained", "info")
DAMAGED = ("cached model is damaged, training it anew", "warning")


def test_iris_knows_its_four_features_and_three_species(
    trained: tuple[Path, NativeModel, Columns],
) -> None:
    _, model, features = trained
    assert model.classes == ("setosa", "versicolor", "virginica")
    assert list(features) == list(model.schema.names)
    assert [len(column) for column in features.values()] == [150] * 4


def test_iris_answers_its_training_data(trained: tuple[Path, NativeModel, Columns]) -> None:
    _, model, features = trained
    outputs = model.predict(features)
    assert (outputs.values == np.repeat([0, 1, 2], 50)).mean() > 0.98
    assert outputs.probabilities.sum(axis=1) == pytest.approx(1)


def test_the_cache_is_used_again(cache: Path, trained: tuple[Path, NativeModel, Columns]) -> None:
    before = (cache / "model.skops").stat().st_mtime_ns
    model, events = events_of(cache)
    assert events == []
    assert model.version == trained[1].version
    assert (cache / "model.skops").stat().st_mtime_ns == before


def test_two_trainings_give_one_version(trained: tuple[Path, NativeModel, Columns], tmp_path: Path) -> None:
    folder, model, _ = trained
    time.sleep(
        max(0.0, (folder / "model.skops").stat().st_mtime + 2.1 - time.time())
    )  # zip keeps even seconds
    again, events = events_of(tmp_path / "new" / "folder")
    assert events == [TRAINED]
    assert sha256_of(tmp_path / "new" / "folder" / "model.skops") != sha256_of(folder / "model.skops")
    assert again.version == model.version


def test_another_forest_has_another_version(
    trained: tuple[Path, NativeModel, Columns], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.models.iris.SEED", 1)
    assert iris_model(tmp_path)[0].version != trained[1].version


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.skops", b"not a model"),
        ("reference.csv", b"a\n1\n"),
        ("truth.csv", b"species\nsetosa\n"),
        ("manifest.json", b"{"),
        ("manifest.json", b"{}"),
        ("manifest.json", b"[]"),
        ("manifest.json", b"\xff"),
    ],
)
def test_a_damaged_cache_is_trained_anew_with_a_warning(
    cache: Path, trained: tuple[Path, NativeModel, Columns], name: str, content: bytes
) -> None:
    (cache / name).write_bytes(content)
    assert not is_iris_cached(cache)
    model, events = events_of(cache)
    assert events == [DAMAGED, TRAINED]
    assert is_iris_cached(cache)
    assert model.version == trained[1].version
    assert events_of(cache)[1] == []


def test_a_cache_with_a_file_missing_is_trained_anew(cache: Path) -> None:
    (cache / "model.skops").unlink()
    assert TRAINED in events_of(cache)[1]


def test_a_cache_of_another_scikit_learn_is_trained_anew_without_a_warning(cache: Path) -> None:
    manifest = json.loads((cache / "manifest.json").read_text())
    (cache / "manifest.json").write_text(json.dumps({**manifest, "scikit-learn": "0.1"}))
    assert events_of(cache)[1] == [TRAINED]


def test_a_cache_of_a_release_without_labels_is_trained_anew_to_the_same_model(
    cache: Path, trained: tuple[Path, NativeModel, Columns]
) -> None:
    manifest = json.loads((cache / "manifest.json").read_text())
    del manifest["truth"]
    (cache / "truth.csv").unlink()
    (cache / "manifest.json").write_text(json.dumps(manifest))
    model, events = events_of(cache)
    assert events == [TRAINED]
    assert model.version == trained[1].version


def test_the_species_and_out_of_bag_probabilities_are_cached_next_to_the_features(
    trained: tuple[Path, NativeModel, Columns],
) -> None:
    folder, model, features = trained
    result = iris_training(folder)
    assert {name: column.tolist() for name, column in result.features.items()} == {
        name: column.tolist() for name, column in features.items()
    }
    assert result.labels.tolist() == np.repeat(model.classes, 50).tolist()
    assert result.out_of_sample.probabilities.sum(axis=1) == pytest.approx(1)
    right = np.array(model.classes)[result.out_of_sample.values] == result.labels
    assert 0.9 < right.mean() < 0.98, "five folds: the forest itself is right on each flower"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write the model to"):
        iris_model(tmp_path / "file" / "iris")


def test_the_reference_holds_the_features_and_the_models_answers(
    trained: tuple[Path, NativeModel, Columns],
) -> None:
    _, model, features = trained
    result = build_reference(model, features)
    assert list(result.roles.values()) == ["feature"] * 4 + ["prediction"] + ["probability"] * 3
    assert set(result.columns["prediction"].tolist()) == set(model.classes)
    assert {len(column) for column in result.columns.values()} == {150}

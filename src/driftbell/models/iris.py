"""Default model: a random forest on Fisher's Iris data, trained at the first start and cached."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray

from driftbell.atomic_write import write_atomically
from driftbell.errors import ConfigError, ModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import VERSION_DIGITS
from driftbell.records import Column, Columns, Kind, Outputs, Training
from driftbell.tabular.columns import as_column
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.schema import infer_schema

if TYPE_CHECKING:
    from driftbell.models.native import NativeModel  # a start with a cached conversion does without it

TREES = 100
SEED = 0
MODEL_FILE, REFERENCE_FILE, TRUTH_FILE = "model.skops", "reference.csv", "truth.csv"
MANIFEST_FILE = "manifest.json"
TREE_TYPE = "sklearn.tree._tree.Tree"
"""The one type in the cache that skops does not trust: its node numbers are used unchecked."""

logger = structlog.get_logger()


def iris_model(folder: Path) -> tuple[NativeModel, Columns]:
    """Load the Iris forest and its training data from a folder, or train and cache it there first.

    A cached model that is damaged, or was trained by another version of scikit-learn, is trained anew. The
    caller ensures that no other process does the same at the same time.

    Args:
        folder: contains `model.skops`, `reference.csv`, `truth.csv` and `manifest.json`.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        classes = _cached_classes(folder)
        if classes:
            return _load(folder, classes)
    except ModelError as error:
        logger.warning("cached model is damaged, training it anew", folder=str(folder), error=str(error))
    try:
        return _train(folder, version("scikit-learn"))
    except OSError as error:
        raise ModelError(f"cannot write the model to {folder}: {error.strerror}") from error


def is_iris_cached(folder: Path) -> bool:
    """Return whether `iris_model` would load the model from a folder and not train it anew."""
    with suppress(ModelError):
        return _cached_classes(folder) is not None
    return False


def _cached_classes(folder: Path) -> tuple[str, ...] | None:
    """Return the classes of a cached model; None if there is none that fits this release.

    Raises:
        ModelError: it is damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        expected = {"scikit-learn": version("scikit-learn"), "trees": TREES, "seed": SEED}
        complete = "truth" in manifest or "reference" not in manifest  # else an older release wrote it
        if not complete or any(manifest[key] != value for key, value in expected.items()):
            return None
        for key, name in (("reference", REFERENCE_FILE), ("model", MODEL_FILE), ("truth", TRUTH_FILE)):
            if file_sha256(folder / name) != manifest[key]:
                raise ModelError(f"{name} does not match its hash in {MANIFEST_FILE}")
        return tuple(manifest["classes"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(str(error)) from error


def iris_training(folder: Path) -> Training:
    """Read the training data that `iris_model` cached: features, species and out-of-bag probabilities.

    The forest has memorized its training data, so its own probabilities on them say nothing about its
    accuracy. The out-of-bag probabilities of a flower come from the trees that were not fitted on it.

    Raises:
        ModelError: the folder cannot be read.
    """
    try:
        features = _read_csv(folder / REFERENCE_FILE)
        truth = _read_csv(folder / TRUTH_FILE)
    except ConfigError as error:
        raise ModelError(str(error)) from error
    labels = as_column(truth.pop("species").tolist(), Kind.CATEGORICAL)
    probabilities = np.column_stack(list(truth.values()))
    return Training(features, labels, Outputs(probabilities.argmax(axis=1), probabilities))


def _train(folder: Path, release: str) -> tuple[NativeModel, Columns]:
    # scikit-learn and skops are needed at the first start only, and take a second to import
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from skops import io as skops_io

    data: Any = load_iris()
    forest = RandomForestClassifier(n_estimators=TREES, random_state=SEED, oob_score=True)
    out_of_bag = _pop_out_of_bag(forest.fit(data.data, data.target))
    classes = tuple(str(c) for c in data.target_names)
    species = [classes[i] for i in data.target]
    files = {
        MODEL_FILE: skops_io.dumps(forest),
        REFERENCE_FILE: _csv(data.feature_names, data.data.tolist()),
        TRUTH_FILE: _csv(("species", *classes), zip(species, *out_of_bag.T.tolist(), strict=True)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)
    manifest = {
        "scikit-learn": release,
        "trees": TREES,
        "seed": SEED,
        "classes": classes,
        "model": file_sha256(folder / MODEL_FILE),
        "reference": file_sha256(folder / REFERENCE_FILE),
        "truth": file_sha256(folder / TRUTH_FILE),
    }
    write_atomically(folder / MANIFEST_FILE, json.dumps(manifest, indent=1).encode("utf-8"))
    model, reference = _load(folder, classes)
    logger.info("model trained", model=model.name, version=model.version, trees=TREES, seed=SEED)
    return model, reference


def _pop_out_of_bag(forest: Any) -> NDArray[np.float64]:
    """Remove the out-of-bag probabilities from a forest, which predicts without them, and return them."""
    probabilities = np.asarray(forest.oob_decision_function_, dtype=np.float64)
    del forest.oob_decision_function_, forest.oob_score_
    forest.set_params(oob_score=False)
    return probabilities


def _read_csv(path: Path) -> dict[str, Column]:
    """Read a table that `_csv` wrote: numbers, and the names of the species.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    from driftbell.tabular.text_files import read_rows

    header, rows = read_rows(data, str(path), FileOptions(separator=",", header=True, encoding="utf-8"))
    columns = {}
    for i, name in enumerate(header):
        cells: list[Any] = [row[i] for _, row in rows]
        columns[name] = as_column(cells if name == "species" else list(map(float, cells)))
    return columns


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _load(folder: Path, classes: tuple[str, ...]) -> tuple[NativeModel, Columns]:
    from skops import io as skops_io  # imports scikit-learn, which a converted model does not need

    reference = _read_csv(folder / REFERENCE_FILE)
    path = folder / MODEL_FILE
    forest: Any = load_with(lambda: skops_io.load(path, trusted=[TREE_TYPE]), failure=f"cannot load {path}")
    digest = _content_hash(forest, classes)[:VERSION_DIGITS]
    schema = infer_schema(reference)
    from driftbell.models.native import NativeModel
    from driftbell.models.sklearn import loaded_estimator

    model = loaded_estimator(forest, source=str(path), classes=classes)
    return NativeModel(model, name="iris", version=digest, schema=schema), reference


def _content_hash(forest: Any, classes: tuple[str, ...]) -> str:
    """Return a hash of the trees and classes; the file's own differs, as it contains the time of training."""
    digest = hashlib.sha256(repr(classes).encode("utf-8"))
    for estimator in forest.estimators_:
        tree = estimator.tree_
        for part in (tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()

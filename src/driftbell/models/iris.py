"""The default model: a random forest on Fisher's Iris data, trained once and kept."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from driftbell.errors import ConfigError, ModelError
from driftbell.models.conversion_cache import hash_of
from driftbell.models.sklearn import VERSION_DIGITS, SklearnModel
from driftbell.records import Columns, Kind, Outputs, Training
from driftbell.tabular.columns import as_column, as_columns
from driftbell.tabular.files import read_table
from driftbell.tabular.schema import infer_schema

TREES = 100
SEED = 0
TRUTH = "truth.csv"
TREE_TYPE = "sklearn.tree._tree.Tree"
"""The one type in the cache that skops does not vouch for: its node numbers are used unchecked."""

logger = structlog.get_logger()


def iris_model(folder: Path) -> tuple[SklearnModel, Columns]:
    """Load the Iris forest and its training data from a folder, or train and keep it there first.

    A cached model that is damaged, or was trained by another scikit-learn, is trained anew. The caller
    makes sure that no other process does the same at the same time.

    Args:
        folder: where `model.skops`, `reference.csv`, `truth.csv` and `manifest.json` are kept.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        classes = _whole(folder)
        if classes:
            return _loaded(folder, classes)
    except ModelError as error:
        logger.warning("cached model is damaged, training it anew", folder=str(folder), error=str(error))
    try:
        return _train(folder, version("scikit-learn"))
    except OSError as error:
        raise ModelError(f"cannot write the model to {folder}: {error.strerror}") from error


def iris_is_whole(folder: Path) -> bool:
    """Tell whether `iris_model` would load what a folder has, and not train it anew."""
    with suppress(ModelError):
        return _whole(folder) is not None
    return False


def _whole(folder: Path) -> tuple[str, ...] | None:
    """Give the classes of a cached model; None where there is none that fits this release.

    Raises:
        ModelError: it is damaged.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        wanted = {"scikit-learn": version("scikit-learn"), "trees": TREES, "seed": SEED}
        known = "truth" in manifest or "reference" not in manifest  # else it is of an older release
        if not known or any(manifest[key] != value for key, value in wanted.items()):
            return None
        for key, name in (("reference", "reference.csv"), ("model", "model.skops"), ("truth", TRUTH)):
            if hash_of(folder / name) != manifest[key]:
                raise ModelError(f"{name} is not the one that was written with the model")
        return tuple(manifest["classes"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(str(error)) from error


def iris_training(folder: Path) -> Training:
    """Give what `iris_model` keeps in a folder: features, species, and probabilities that are out_of_sample.

    The forest knows the species of its training data by heart, so its own probabilities on them say
    nothing about how often it is right. Here each flower's come from those trees that have not seen it (out
    of bag).

    Raises:
        ModelError: the folder cannot be read.
    """
    try:
        features = as_columns(read_table(folder / "reference.csv"))
        truth = read_table(folder / TRUTH)
    except ConfigError as error:
        raise ModelError(str(error)) from error
    labels = as_column(truth.pop("species").tolist(), Kind.CATEGORICAL)
    probabilities = np.column_stack(list(truth.values()))
    return Training(features, labels, Outputs(probabilities.argmax(axis=1), probabilities))


def _train(folder: Path, release: str) -> tuple[SklearnModel, Columns]:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from skops import io as skops_io

    data: Any = load_iris()
    forest = RandomForestClassifier(n_estimators=TREES, random_state=SEED, oob_score=True)
    out_of_sample = _honest(forest.fit(data.data, data.target))
    classes = tuple(str(c) for c in data.target_names)
    folder.mkdir(parents=True, exist_ok=True)
    skops_io.dump(forest, folder / "model.skops")
    _write_csv(folder / "reference.csv", data.feature_names, data.data.tolist())
    species = [classes[i] for i in data.target]
    _write_csv(folder / TRUTH, ("species", *classes), zip(species, *out_of_sample.T.tolist(), strict=True))
    manifest = {
        "scikit-learn": release,
        "trees": TREES,
        "seed": SEED,
        "classes": classes,
        "model": hash_of(folder / "model.skops"),
        "reference": hash_of(folder / "reference.csv"),
        "truth": hash_of(folder / TRUTH),
    }
    written = folder / "manifest.json.new"
    written.write_text(json.dumps(manifest, indent=1), "utf-8")
    os.replace(written, folder / "manifest.json")
    model, reference = _loaded(folder, classes)
    logger.info("model trained", model=model.name, version=model.version, trees=TREES, seed=SEED)
    return model, reference


def _honest(forest: Any) -> NDArray[np.float64]:
    """Take the out-of-bag probabilities off a forest, which serves without them."""
    found = np.asarray(forest.oob_decision_function_, dtype=np.float64)
    del forest.oob_decision_function_, forest.oob_score_
    forest.set_params(oob_score=False)
    return found


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _loaded(folder: Path, classes: tuple[str, ...]) -> tuple[SklearnModel, Columns]:
    reference = as_columns(read_table(folder / "reference.csv"))
    schema = infer_schema(reference)
    from skops import io as skops_io

    try:
        forest = skops_io.load(folder / "model.skops", trusted=[TREE_TYPE])
    except Exception as error:  # a broken file can raise anything
        raise ModelError(f"model.skops cannot be loaded: {error}") from error
    digits = _content_hash(forest, classes)[:VERSION_DIGITS]
    return SklearnModel(forest, name="iris", version=digits, schema=schema, classes=classes), reference


def _content_hash(forest: Any, classes: tuple[str, ...]) -> str:
    """Hash what the forest answers by; its file has the time in it and differs after each training."""
    digest = hashlib.sha256(repr(classes).encode("utf-8"))
    for estimator in forest.estimators_:
        tree = estimator.tree_
        for part in (tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()

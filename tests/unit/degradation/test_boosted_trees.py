"""Fitted trees, evaluated together, predict what scikit-learn predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from driftbell.degradation import boosted_trees
from driftbell.degradation.boosted_trees import BoostedTrees
from driftbell.degradation.small_models import isotonic, one_thread

ROWS, FEATURES = 800, 7
EVERY = np.arange(FEATURES)


def matrix(seed: int, rows: int = ROWS) -> np.ndarray:
    """Draw related features: with nulls, repeated values, and a constant one."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(rows, FEATURES)) @ (np.eye(FEATURES) + 0.4)
    drawn[:, 3] = rng.integers(0, 4, rows)
    drawn[:, 4] = 7.0
    drawn[rng.random(drawn.shape) < 0.1] = np.nan
    return drawn


def target(features: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, 0.3, len(features))
    return np.nan_to_num(features[:, 0]) + np.isnan(features[:, 1]) + np.nan_to_num(features[:, 3]) + noise


def regressors(leaves: int = 8) -> tuple[list[Any], list[np.ndarray]]:
    """Fit a model without each of the first three features, and one of fewer trees."""
    features, columns = matrix(0), [np.delete(EVERY, j) for j in range(3)] + [EVERY]
    with one_thread():
        models = [
            HistGradientBoostingRegressor(max_iter=trees, max_leaf_nodes=leaves, early_stopping=False).fit(
                features[:, own], target(features)
            )
            for own, trees in zip(columns, (20, 20, 20, 5), strict=True)
        ]
    return models, columns


def classifier(classes: int) -> Any:
    features = matrix(0)
    edges = np.quantile(target(features), np.arange(1, classes) / classes)
    model = HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=12, early_stopping=False)
    with one_thread():
        return model.fit(features, np.digitize(target(features), edges))


@pytest.mark.parametrize("leaves", [8, 12])
@pytest.mark.parametrize("rows", [0, 1, 250, 1300])
def test_numbers_are_those_of_scikit_learn(leaves: int, rows: int) -> None:
    models, columns = regressors(leaves)
    trees, new = BoostedTrees(models, columns, matrix(0)[:20]), matrix(1, rows)
    assert trees.trees is not None
    predicted = trees.predict(new)
    assert predicted.shape == (len(models), rows)
    for model, own, values in zip(models, columns, predicted, strict=True):
        expected = model.predict(new[:, own]) if rows else np.empty(0)
        np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    model = classifier(classes)
    trees = BoostedTrees([model], [EVERY], matrix(0)[:20])
    assert trees.trees is not None
    np.testing.assert_allclose(trees.predict_proba(matrix(1)), model.predict_proba(matrix(1)), rtol=1e-12)


def slow(models: list[Any], columns: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> BoostedTrees:
    """Return trees that scikit-learn evaluates."""
    monkeypatch.setattr(boosted_trees, "MAX_BYTES", 0)
    return BoostedTrees(models, columns, matrix(0)[:20])


def test_columns_of_rows_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    models, columns = regressors()
    old, new = matrix(1, 300), matrix(2, 300)
    changed = old.copy()
    changed[:, [1, 3]] = new[:, [1, 3]]
    fast = BoostedTrees(models, columns, matrix(0)[:20])
    for trees in (fast, slow(models, columns, monkeypatch)):
        rows = trees.rows(old)
        both = rows.replaced(1, new[:, 1]).replaced(3, new[:, 3]), rows.with_columns(changed, [1, 3])
        for number, expected in enumerate(trees.predict(old)):
            assert np.array_equal(rows.predict(number), expected)
        for replaced in both:
            for number, expected in enumerate(fast.predict(changed)):
                np.testing.assert_allclose(replaced.predict(number), expected, rtol=1e-12)
        constant = rows.replaced(4, new[:, 0])  # no tree splits it
        assert np.array_equal(constant.predict(0), rows.predict(0))


def test_probabilities_of_replaced_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    model, old, changed = classifier(3), matrix(1, 300), matrix(1, 300)
    changed[:, 0] += 1
    fast = BoostedTrees([model], [EVERY], matrix(0)[:20])
    for trees in (fast, slow([model], [EVERY], monkeypatch)):
        replaced = trees.rows(old).with_columns(changed, [0]).predict_proba()
        np.testing.assert_allclose(replaced, model.predict_proba(changed), rtol=1e-12)


def test_other_models_and_trees_are_left_to_scikit_learn() -> None:
    features = matrix(0)
    forest = ExtraTreesClassifier(5, random_state=0).fit(features, np.arange(ROWS) % 3)
    models, columns = regressors(leaves=31)
    cells = np.column_stack([features[:, 0], np.arange(ROWS) % 3])
    of_categories = HistGradientBoostingRegressor(categorical_features=[1], max_leaf_nodes=8).fit(
        cells, np.arange(ROWS) % 3
    )
    assert BoostedTrees(models, columns, features[:20]).trees is None
    assert BoostedTrees([of_categories], [np.arange(2)], cells[:20]).trees is None
    left = BoostedTrees([forest], [EVERY], features[:20])
    assert left.trees is None
    assert np.array_equal(left.predict_proba(features), forest.predict_proba(features))


def test_trees_that_another_version_keeps_in_another_way_are_left_to_scikit_learn() -> None:
    (model, *_), (own, *_) = regressors()
    expected = model.predict(matrix(1)[:, own])
    for change in (changed_values, other_name):
        trees = BoostedTrees([change(model)], [own], matrix(0)[:20])
        assert trees.trees is None
        assert np.array_equal(trees.predict(matrix(1))[0], expected)


class Changed:
    """A model whose trees are not those that it predicts with."""

    def __init__(self, model: Any, **attributes: Any) -> None:
        self._model = model
        for name, value in attributes.items():
            setattr(self, name, value)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._model.predict(rows)


def changed_values(model: Any) -> Changed:
    return Changed(model, _predictors=model._predictors[1:], _baseline_prediction=model._baseline_prediction)


def other_name(model: Any) -> Changed:
    return Changed(model, _trees=model._predictors)


def test_calibration_is_that_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    expected = rng.random(500)
    errors = (rng.random(500) < expected).astype(float)
    new = np.concatenate([rng.random(200), [-1.0, 0.0, 1.0, 2.0], expected[:50]])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(expected, errors)
    assert np.array_equal(isotonic(expected, errors)(new), fitted.predict(new))

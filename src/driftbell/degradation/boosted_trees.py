"""Evaluate fitted gradient-boosted trees of scikit-learn: all trees of several models in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Indices = NDArray[np.intp]
Masks = NDArray[Any]

MAX_LEAVES, NARROW_LEAVES = 16, 8
"""Leaves of a tree, one bit each; with at most the second number, the value is looked up by all its bits."""

MAX_BYTES = 8_000_000
"""Largest size of all tables; larger models are left to scikit-learn."""

ALL = slice(None)
CHUNK = 512
"""Rows that are evaluated at once, which bounds the memory."""

SAME = 1e-9
"""Largest difference from scikit-learn's own predictions, relative to their size."""


class BoostedTrees:
    """Fitted models `HistGradientBoostingRegressor` or `HistGradientBoostingClassifier`, evaluated together.

    A call of scikit-learn on some hundred rows checks its input and visits each tree, which costs more than
    the trees. Here, all trees are evaluated at once, with the same sums. If scikit-learn keeps its trees in
    another way, or the trees are too large, its own predictions are used.

    Args:
        models: fitted ones; each a regressor, or a single classifier.
        columns: indices of the columns of the matrix that each model was fitted on.
        sample: some rows of the matrix, on which both ways must agree.

    Attributes:
        trees: the tables of all trees; None if scikit-learn predicts.
    """

    def __init__(self, models: Sequence[Any], columns: Sequence[Indices], sample: Matrix) -> None:
        self._models, self._columns = models, columns
        self.trees = _read(models, columns)
        if self.trees and len(sample) and not self._agrees(sample):
            self.trees = None

    def predict(self, matrix: Matrix) -> Matrix:
        """Return the prediction of each model for each row, shape (models, n)."""
        if self.trees is None:
            return self._slow_predict(matrix)
        return self.trees.sums(matrix)[:, 0]

    def predict_proba(self, matrix: Matrix) -> Matrix:
        """Return the probabilities of the classes of the only model, shape (n, classes)."""
        if self.trees is None:
            return self._slow_predict_proba(matrix)
        return probabilities(self.trees.sums(matrix)[0])

    def rows(self, matrix: Matrix) -> TreeRows:
        """Return rows of which the columns can be replaced."""
        return TreeRows(self, matrix)

    def _agrees(self, sample: Matrix) -> bool:
        rows = np.vstack([sample, np.full((1, sample.shape[1]), np.nan)])
        if hasattr(self._models[0], "predict_proba"):
            own, theirs = self.predict_proba(rows), self._slow_predict_proba(rows)
        else:
            own, theirs = self.predict(rows), self._slow_predict(rows)
        return own.shape == theirs.shape and bool(np.allclose(own, theirs, rtol=SAME, atol=SAME))

    def _slow_predict(self, matrix: Matrix) -> Matrix:
        pairs = zip(self._models, self._columns, strict=True)
        return np.array([model.predict(matrix[:, columns]) for model, columns in pairs])

    def _slow_predict_proba(self, matrix: Matrix) -> Matrix:
        return np.asarray(self._models[0].predict_proba(matrix[:, self._columns[0]]))


def probabilities(raw: Matrix) -> Matrix:
    """Return the probabilities of the classes, shape (n, classes).

    Args:
        raw: log-odds of the second of two classes, shape (1, n); or a number for each class, shape
            (classes, n), of which the softmax is taken.

    >>> probabilities(np.array([[0.0]])).tolist(), probabilities(np.array([[0.0], [0.0]])).tolist()
    ([[0.5, 0.5]], [[0.5, 0.5]])
    """
    if len(raw) == 1:
        second: Matrix = scipy.special.expit(raw[0])
        return np.column_stack([1 - second, second])
    shares = np.exp(raw - raw.max(axis=0))
    return np.asarray((shares / shares.sum(axis=0)).T)


class TreeRows:
    """Rows that can be evaluated again with other values of some columns, at a small part of the cost.

    Args:
        trees: the models.
        matrix: the rows, shape (n, d).
        places: of their values, see `_Trees.places`; None to search them at first use.
    """

    def __init__(
        self, trees: BoostedTrees, matrix: Matrix, places: Mapping[int, Indices] | None = None
    ) -> None:
        self._trees, self._matrix, self._places = trees, matrix, places
        self._remaining: Masks | None = None
        self._without: dict[int, Masks] = {}

    def predict(self, model: int) -> Vector:
        """Return the prediction of one of the models for each row, shape (n,)."""
        trees = self._trees.trees
        if trees is None:
            return np.asarray(self._trees.predict(self._matrix)[model])
        return np.asarray(trees.sums_of(self._leaves(trees), slice(model, model + 1))[0, 0])

    def predict_proba(self) -> Matrix:
        """Return the probabilities of the classes of the only model, shape (n, classes)."""
        trees = self._trees.trees
        if trees is None:
            return self._trees.predict_proba(self._matrix)
        return probabilities(trees.sums_of(self._leaves(trees))[0])

    def with_columns(self, matrix: Matrix, columns: Sequence[int]) -> TreeRows:
        """Return rows of which only some columns differ from these."""
        trees = self._trees.trees
        if trees is None:
            return TreeRows(self._trees, matrix)
        known = self._known_places(trees)
        changed = {column: trees.place(column, matrix[:, column]) for column in columns if column in known}
        return TreeRows(self._trees, matrix, {**known, **changed})

    def replaced(self, column: int, values: Vector) -> TreeRows:
        """Return the same rows with other values of a column, of which several may be tried."""
        matrix = self._matrix.copy()
        matrix[:, column] = values
        rows, trees = self.with_columns(matrix, [column]), self._trees.trees
        if trees is None or rows._places is None or column not in rows._places:
            return rows
        if column not in self._without:
            others = {k: v for k, v in rows._places.items() if k != column}
            self._without[column] = trees.remaining(others, len(matrix))
        changed = trees.remaining({column: rows._places[column]}, len(matrix))
        rows._remaining = self._without[column] & changed
        return rows

    def _known_places(self, trees: _Trees) -> Mapping[int, Indices]:
        if self._places is None:
            self._places = trees.places(self._matrix)
        return self._places

    def _leaves(self, trees: _Trees) -> Masks:
        if self._remaining is None:
            self._remaining = trees.remaining(self._known_places(trees), len(self._matrix))
        return self._remaining


@dataclass(frozen=True, slots=True)
class _Split:
    """An inner node of a tree: the bits of the leaves on its left, which `x > threshold` rules out."""

    tree: int
    column: int
    threshold: float
    left: int
    null_goes_left: bool


class _Trees:
    """Trees with a bit for each leaf.

    A row rules out the leaves on the left of each node with a condition `x <= threshold` that is false. Of
    the others, the first one is its leaf. For each column and each place of a value among its thresholds, a
    table has the remaining leaves of all trees, so a column costs one search and one AND for all trees.

    Source: C. Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
    regression trees", SIGIR 2015.

    Args:
        splits: of all trees.
        leaves: values of the leaves of each tree, from left to right.
        shape: models, trees of each, and outputs of a model; trees are in this order.
    """

    def __init__(
        self, splits: Sequence[_Split], leaves: Sequence[Sequence[float]], shape: tuple[int, int, int]
    ) -> None:
        self._shape = shape
        largest = max(map(len, leaves))
        self._narrow = largest <= NARROW_LEAVES
        bits = NARROW_LEAVES if self._narrow else MAX_LEAVES
        self._tables = _tables(splits, len(leaves), bits)
        values = np.zeros((len(leaves), bits))
        for tree, own in enumerate(leaves):
            values[tree, : len(own)] = own
        if self._narrow:
            values = values[:, _lowest_bits(NARROW_LEAVES)]
        self._values = np.ascontiguousarray(values).ravel()
        self._offsets = (np.arange(len(leaves)) * values.shape[1])[:, None]

    def sums(self, matrix: Matrix) -> Matrix:
        """Return the sum of all trees, shape (models, outputs, n)."""
        parts = [matrix[i : i + CHUNK] for i in range(0, max(len(matrix), 1), CHUNK)]
        sums = [self.sums_of(self.remaining(self.places(part), len(part))) for part in parts]
        return sums[0] if len(sums) == 1 else np.concatenate(sums, axis=2)

    def places(self, matrix: Matrix) -> dict[int, Indices]:
        """Return the places of all values among the thresholds, by the columns that trees use."""
        values = np.ascontiguousarray(matrix.T)
        return {column: self.place(column, values[column]) for column in self._tables}

    def place(self, column: int, values: Matrix) -> Indices:
        """Return the places of the values of a column that trees use."""
        thresholds, masks = self._tables[column]
        place = thresholds.searchsorted(values)
        null = np.isnan(values)
        if null.any():
            place[null] = len(masks) - 1
        return place

    def remaining(self, places: Mapping[int, Indices], rows: int) -> Masks:
        """Return the leaves of each row and tree that some columns leave, shape (rows, all trees)."""
        if not places:
            kind = np.uint8 if self._narrow else np.uint16
            return np.full((rows, len(self._offsets)), np.iinfo(kind).max, dtype=kind)
        masks = (self._tables[column][1].take(place, axis=0) for column, place in places.items())
        remaining = next(masks)
        for mask in masks:
            np.bitwise_and(remaining, mask, out=remaining)
        return remaining

    def sums_of(self, remaining: Masks, models: slice = ALL) -> Matrix:
        """Return the sums of the trees of some models, from the remaining leaves."""
        count, trees, outputs = self._shape
        first, stop, _ = models.indices(count)
        used = slice(first * trees * outputs, stop * trees * outputs)
        leaf: Masks = np.ascontiguousarray(remaining[:, used].T)
        if not self._narrow:
            leaf = _lowest_bits(MAX_LEAVES).take(leaf)
        values = self._values.take(np.add(leaf, self._offsets[used], dtype=np.intp))
        # one tree after the other, as scikit-learn adds them
        return np.asarray(values.reshape(stop - first, trees, outputs, len(remaining)).sum(axis=1))


def _tables(splits: Sequence[_Split], trees: int, bits: int) -> dict[int, tuple[Matrix, Masks]]:
    """Return the thresholds of each used column, and the remaining leaves of all trees by place.

    The last place is that of null.
    """
    kind = np.uint8 if bits == NARROW_LEAVES else np.uint16
    tables = {}
    for column in sorted({split.column for split in splits}):
        own = [split for split in splits if split.column == column]
        thresholds, places = np.unique([split.threshold for split in own], return_inverse=True)
        masks = np.full((len(thresholds) + 2, trees), np.iinfo(kind).max, dtype=kind)
        for split, place in zip(own, places.tolist(), strict=True):
            masks[place + 1, split.tree] &= ~kind(split.left)
            if not split.null_goes_left:
                masks[-1, split.tree] &= ~kind(split.left)
        np.bitwise_and.accumulate(masks[:-1], axis=0, out=masks[:-1])
        tables[column] = thresholds, masks
    return tables


@cache
def _lowest_bits(bits: int) -> NDArray[np.uint8]:
    """Return the index of the lowest bit of each number with so many bits; of none, 0."""
    numbers = np.arange(2**bits)
    lowest = np.where(numbers, numbers & -numbers, 1)
    return np.log2(lowest).astype(np.uint8)


def _read(models: Sequence[Any], columns: Sequence[Indices]) -> _Trees | None:
    """Return the trees of fitted models; None if they are unknown, too large, or split categories."""
    try:
        return _trees_of(models, columns)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None  # other models, or another version of scikit-learn


def _trees_of(models: Sequence[Any], columns: Sequence[Indices]) -> _Trees | None:
    trees, outputs = max(len(model._predictors) for model in models), len(models[0]._predictors[0])
    splits: list[_Split] = []
    leaves: list[list[float]] = []
    for model, own in zip(models, columns, strict=True):
        start = np.ravel(model._baseline_prediction).tolist()
        for number in range(trees):
            for k in range(outputs):
                values: list[float] = [0.0]
                if number < len(model._predictors):
                    values = _read_tree(model._predictors[number][k].nodes, own, len(leaves), splits)
                leaves.append(values if number else [start[k] + value for value in values])
                if len(values) > MAX_LEAVES:
                    return None
    places = len({(split.column, split.threshold) for split in splits})
    if places * len(leaves) * 2 > MAX_BYTES:
        return None
    return _Trees(splits, leaves, (len(models), trees, outputs))


def _read_tree(nodes: Any, columns: Indices, tree: int, splits: list[_Split]) -> list[float]:
    """Append the splits of a tree; return the values of its leaves from left to right."""
    names = ("is_leaf", "value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right")
    rows = list(zip(*(nodes[name].tolist() for name in names), strict=True))
    if nodes["is_categorical"].any():
        raise ValueError("splits of categories are not supported")
    values: list[float] = []

    def visit(place: int) -> None:
        is_leaf, value, feature, threshold, null_goes_left, left, right = rows[place]
        if is_leaf:
            values.append(value)
            return
        first = len(values)
        visit(left)
        bits = (1 << len(values)) - (1 << first)
        splits.append(_Split(tree, int(columns[feature]), threshold, bits, bool(null_goes_left)))
        visit(right)

    visit(0)
    return values

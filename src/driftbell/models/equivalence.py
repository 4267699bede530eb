"""Equivalence check: compare a converted model with the native one on known, random and threshold rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import PredictError
from driftbell.models.foreign_code import failure_reason
from driftbell.ports import Model
from driftbell.records import Column, Columns, Feature, Kind, Task
from driftbell.tabular.dtypes import is_integer
from driftbell.tabular.feature_value import MAX_NUMBER

MAX_REFERENCE_ROWS = 20_000
RANDOM_ROWS = 4_000
THRESHOLD_ROWS = 4_000
MIN_THRESHOLD_ROWS = 50
"""Minimum number of rows near the thresholds of each feature."""

BATCH_ROWS = 2_000
"""Rows near thresholds are predicted in tables of this size: a call has a cost for each column of a table."""

TOLERANCE = 1e-5
"""Largest accepted difference between two probabilities."""

RELATIVE_TOLERANCE = 1e-6
"""Largest accepted difference between two numbers of a regression, as a share of their size."""

TIE = 1e-6
"""Classes with native probabilities that differ by no more are tied: rounding decides between them."""

MIN_ABS_VALUE = 1e-30
"""Numbers closer to 0 are not tested: LightGBM and single precision read them as 0."""

NULL_SHARE = 0.1
"""Share of nulls in a random column if the reference's column has nulls."""

UNSEEN_CATEGORY = "a category that was never seen"


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Result of the check.

    Attributes:
        rows: number of rows compared.
        max_difference: the largest absolute difference between two probabilities.
        problem: description of the difference; "" if nothing does.
    """

    rows: int
    max_difference: float
    problem: str


def check_equivalence(
    native: Model,
    converted: Model,
    features: Columns,
    thresholds: Mapping[int, NDArray[np.float64]],
    *,
    argmax: bool = True,
) -> Equivalence:
    """Compare the predictions of a converted model with those of the native one.

    Args:
        native: the original model.
        converted: the model to check.
        features: the reference, n rows; of more than `MAX_REFERENCE_ROWS` an even sample is used.
        thresholds: split thresholds of trees, by the feature's position in the schema.
        argmax: whether the native model predicts the most probable class; either one of two tied classes
            is accepted then.
    """
    rows, differing, max_difference, first_difference = 0, 0, 0.0, ""
    for table in _test_tables(native.schema.features, features, thresholds):
        try:
            differs, difference = _differences(native, converted, table.columns, TIE if argmax else -1)
        except PredictError as error:
            problem = f"{table.kind} cannot be predicted: {failure_reason(error)}"
            return Equivalence(rows, max_difference, problem)
        rows += len(differs)
        differing += int(differs.sum())
        max_difference = max(max_difference, difference)
        if differs.any() and not first_difference:
            first_difference = table.kind_of(int(differs.argmax()))
    if not differing:
        return Equivalence(rows, max_difference, "")
    problem = (
        f"{differing:,} of {rows:,} rows differ, the first is {first_difference}; "
        f"{'numbers' if native.task is Task.REGRESSION else 'probabilities'} by up to {max_difference:.2g}"
    )
    return Equivalence(rows, max_difference, problem)


@dataclass(frozen=True, slots=True)
class _TestTable:
    """Rows to compare.

    Attributes:
        kind: what they are, as messages name it.
        columns: their values.
        features: of rows at thresholds, the feature of each row.
    """

    kind: str
    columns: Columns
    features: tuple[str, ...] = ()

    def kind_of(self, row: int) -> str:
        """Return what a row is."""
        return f"{self.kind} of '{self.features[row]}'" if self.features else self.kind


def _test_tables(
    features: tuple[Feature, ...], reference: Columns, thresholds: Mapping[int, NDArray[np.float64]]
) -> Iterator[_TestTable]:
    """Yield the tables to compare."""
    rng = np.random.default_rng(0)
    sample = _take(reference, _even_sample(len(next(iter(reference.values()))), MAX_REFERENCE_ROWS))
    yield _TestTable("a row of the reference", sample)
    yield _TestTable("a random row", _random_rows(features, sample, rng))
    yield _TestTable("a mix of the reference's values", _mixed_rows(sample, rng))
    usable = {}
    for position, feature_thresholds in sorted(thresholds.items()):
        size = np.abs(feature_thresholds)  # infinite ones separate nulls from values
        finite = feature_thresholds[(size >= MIN_ABS_VALUE) & (size < MAX_NUMBER)]
        if len(finite):
            usable[features[position].name] = finite
    count = max(MIN_THRESHOLD_ROWS, THRESHOLD_ROWS // max(len(thresholds), 1))
    width = max(BATCH_ROWS // count, 1)
    for first in range(0, len(usable), width):
        names = list(usable)[first : first + width]
        of_row = tuple(name for name in names for _ in range(count))
        rows = _take(sample, rng.integers(len(next(iter(sample.values()))), size=len(of_row)))
        for place, name in enumerate(names):
            cells = slice(place * count, (place + 1) * count)
            rows[name] = rows[name].astype(np.float64)
            rows[name][cells] = _near_thresholds(usable[name], count, rng)
        yield _TestTable("a row at a threshold", rows, of_row)


def _differences(
    native: Model, converted: Model, table: Columns, tie: float
) -> tuple[NDArray[np.bool_], float]:
    """Return which rows differ, and the largest difference between two probabilities."""
    expected, actual = native.predict(table), converted.predict(table)
    if native.task is Task.REGRESSION:
        distance = np.abs(expected.values - actual.values)
        scale = np.maximum(np.abs(expected.values), np.abs(expected.values).mean())
        return ~(distance <= RELATIVE_TOLERANCE * scale), float(distance.max(initial=0.0))
    differs = expected.values != actual.values
    if expected.probabilities is None or actual.probabilities is None:
        return differs | (expected.probabilities is not actual.probabilities), 0.0
    rows = np.arange(len(differs))
    lead = expected.probabilities[rows, expected.values] - expected.probabilities[rows, actual.values]
    differs &= ~(np.abs(lead) <= tie)
    distance = np.abs(expected.probabilities - actual.probabilities)
    distance[np.isnan(distance)] = np.inf
    return differs | (distance > TOLERANCE).any(axis=1), float(distance.max(initial=0.0))


def _even_sample(rows: int, max_rows: int) -> NDArray[np.intp]:
    return np.linspace(0, rows - 1, min(rows, max_rows)).round().astype(np.intp)


def _take(columns: Columns, index: NDArray[np.intp]) -> dict[str, Column]:
    return {name: column[index] for name, column in columns.items()}


def _random_rows(
    features: tuple[Feature, ...], sample: Columns, rng: np.random.Generator
) -> dict[str, Column]:
    """Return rows within the reference's range and beyond: uniform numbers, random and unseen categories."""
    table: dict[str, Column] = {}
    for feature in features:
        column = sample[feature.name]
        if feature.kind is not Kind.NUMERIC:
            cells = rng.choice(column, RANDOM_ROWS)
            if feature.kind is Kind.CATEGORICAL:
                cells[rng.random(RANDOM_ROWS) < NULL_SHARE] = UNSEEN_CATEGORY
            table[feature.name] = cells
            continue
        finite = column[np.isfinite(column)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        width = min(high - low, MAX_NUMBER) or max(1.0, abs(high))
        values = rng.uniform(max(low - width, -MAX_NUMBER), min(high + width, MAX_NUMBER), RANDOM_ROWS)
        if is_integer(feature.dtype):
            values = values.round()
        if feature.nullable:
            values[rng.random(RANDOM_ROWS) < NULL_SHARE] = np.nan
        table[feature.name] = values
    return table


def _mixed_rows(sample: Columns, rng: np.random.Generator) -> dict[str, Column]:
    """Return rows of the reference's values, each column shuffled: many lie on a grid, as thresholds do."""
    rows = len(next(iter(sample.values())))
    return {name: column[rng.integers(rows, size=RANDOM_ROWS)] for name, column in sample.items()}


def _near_thresholds(
    thresholds: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return numbers at a threshold, or next to it in either precision."""
    values = rng.choice(thresholds, count)
    single = values.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    choices = [
        values,
        np.nextafter(values, np.inf),
        np.nextafter(values, -np.inf),
        single.astype(np.float64),
        np.nextafter(single, up).astype(np.float64),
        np.nextafter(single, down).astype(np.float64),
        np.nextafter(np.nextafter(single, up), up).astype(np.float64),
        np.nextafter(np.nextafter(single, down), down).astype(np.float64),
    ]
    chosen = np.choose(rng.integers(len(choices), size=count), choices)
    return np.asarray(np.clip(chosen, -MAX_NUMBER, MAX_NUMBER))

"""Does a converted model answer as the native one, on known rows, random rows, and rows at thresholds?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import PredictError
from driftbell.ports import Model
from driftbell.records import Column, Columns, Feature, Kind
from driftbell.tabular.schema import LARGEST

MOST_ROWS = 20_000
RANDOM_ROWS = 4_000
NEAR_ROWS = 4_000
TOLERANCE = 1e-5
"""Probabilities may differ by as much."""

TIE = 1e-6
"""Classes that are as close in the native model are tied: rounding decides which one it says."""

SMALLEST = 1e-30
"""Numbers nearer to 0 are not tried: LightGBM and single precision read them as 0."""

NULLS = 0.1
"""Share of nulls in a random column whose reference has nulls."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came out.

    Attributes:
        rows: how many were compared.
        largest: the largest difference of two probabilities.
        problem: what is wrong, in words; "" where nothing is.
    """

    rows: int
    largest: float
    problem: str


def verify(
    native: Model,
    converted: Model,
    features: Columns,
    thresholds: Mapping[int, NDArray[np.float64]],
    *,
    most_probable: bool = True,
) -> Verified:
    """Compare a converted model with the native one.

    Args:
        native: what is right.
        converted: what is to be served.
        features: the reference, n rows; of many, some are taken.
        thresholds: where trees part the features, by the feature's place in the schema.
        most_probable: whether the native model answers the most probable class; where two are tied, either
            is right then.
    """
    rng = np.random.default_rng(0)
    known = _rows(features, _some(len(next(iter(features.values()))), MOST_ROWS))
    names = native.schema.names
    tables = {
        "a row of the reference": known,
        "a random row": _random(native.schema.features, known, rng),
        "a mix of the reference's values": _mixed(known, rng),
    }
    for place, all_cuts in sorted(thresholds.items()):
        size = np.abs(all_cuts)  # infinite ones part nulls from the rest
        cuts = all_cuts[(size >= SMALLEST) & (size < LARGEST)]
        if not len(cuts):
            continue
        count = max(50, NEAR_ROWS // len(thresholds))
        where = f"a row at a threshold of '{names[place]}'"
        tables[where] = _near(known, names[place], cuts, count, rng)
    rows, differ, largest, first = 0, 0, 0.0, ""
    for where, table in tables.items():
        try:
            wrong, most = _differences(native, converted, table, TIE if most_probable else -1)
        except PredictError as error:
            cause = error.__cause__
            return Verified(rows, largest, f"{where} cannot be answered: {type(cause).__name__}: {cause}")
        rows += len(wrong)
        differ += int(wrong.sum())
        largest = max(largest, most)
        if wrong.any() and not first:
            first = where
    if not differ:
        return Verified(rows, largest, "")
    words = f"{differ:,} of {rows:,} rows differ, the first is {first}; probabilities by up to {largest:.2g}"
    return Verified(rows, largest, words)


def _differences(
    native: Model, converted: Model, table: Columns, tie: float
) -> tuple[NDArray[np.bool_], float]:
    """Tell which rows differ, and by how much the probabilities of any row do."""
    before, after = native.predict(table), converted.predict(table)
    wrong = before.class_ids != after.class_ids
    if before.probabilities is None or after.probabilities is None:
        return wrong | (before.probabilities is not after.probabilities), 0.0
    rows = np.arange(len(wrong))
    lead = before.probabilities[rows, before.class_ids] - before.probabilities[rows, after.class_ids]
    wrong &= ~(np.abs(lead) <= tie)
    apart = np.abs(before.probabilities - after.probabilities)
    apart[np.isnan(apart)] = np.inf
    return wrong | (apart > TOLERANCE).any(axis=1), float(apart.max(initial=0.0))


def _some(rows: int, most: int) -> NDArray[np.intp]:
    """Take rows evenly."""
    return np.linspace(0, rows - 1, min(rows, most)).round().astype(np.intp)


def _rows(columns: Columns, index: NDArray[np.intp]) -> dict[str, Column]:
    return {name: column[index] for name, column in columns.items()}


def _random(features: tuple[Feature, ...], known: Columns, rng: np.random.Generator) -> dict[str, Column]:
    """Make rows within the reference's range and beyond: numbers uniform, names by chance, one never seen."""
    found: dict[str, Column] = {}
    for feature in features:
        column = known[feature.name]
        if feature.kind is not Kind.NUMERIC:
            cells = rng.choice(column, RANDOM_ROWS)
            if feature.kind is Kind.CATEGORICAL:
                cells[rng.random(RANDOM_ROWS) < NULLS] = "a name that was never seen"
            found[feature.name] = cells
            continue
        finite = column[np.isfinite(column)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        width = min(high - low, LARGEST) or max(1.0, abs(high))
        values = rng.uniform(max(low - width, -LARGEST), min(high + width, LARGEST), RANDOM_ROWS)
        if feature.nullable:
            values[rng.random(RANDOM_ROWS) < NULLS] = np.nan
        found[feature.name] = values
    return found


def _mixed(known: Columns, rng: np.random.Generator) -> dict[str, Column]:
    """Make rows of the reference's own values: many lie on a grid, and so do the thresholds between them."""
    rows = len(next(iter(known.values())))
    return {name: column[rng.integers(rows, size=RANDOM_ROWS)] for name, column in known.items()}


def _near(
    known: Columns, name: str, cuts: NDArray[np.float64], count: int, rng: np.random.Generator
) -> dict[str, Column]:
    """Take rows of the reference and put one feature at a threshold, or next to it in either precision."""
    rows = _rows(known, rng.integers(len(known[name]), size=count))
    at = rng.choice(cuts, count)
    single = at.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    steps = [
        at,
        np.nextafter(at, np.inf),
        np.nextafter(at, -np.inf),
        single.astype(np.float64),
        np.nextafter(single, up).astype(np.float64),
        np.nextafter(single, down).astype(np.float64),
        np.nextafter(np.nextafter(single, up), up).astype(np.float64),
        np.nextafter(np.nextafter(single, down), down).astype(np.float64),
    ]
    return {**rows, name: np.clip(np.choose(rng.integers(len(steps), size=count), steps), -LARGEST, LARGEST)}

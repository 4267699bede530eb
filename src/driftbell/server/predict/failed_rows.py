"""Why a model fails on valid rows: find the value that it cannot use, by predicting the row without it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from driftbell.errors import AnswerError, InputError, ModelError, PredictError
from driftbell.phrases import join_names, printable, suggest_name
from driftbell.records import FieldProblem, Kind, Value
from driftbell.records.refusals import MASK, UNKNOWN_CATEGORY, UNUSABLE_VALUE
from driftbell.tabular.feature_value import short_value
from driftbell.tabular.schema import Schema
from driftbell.tabular.text_times import read_times

MAX_TRIED = 10
"""Values of one request that are tried; further unknown ones are not blamed."""

MAX_CONFIRMED = 1000
"""Values that are remembered, so that the next row with one costs no call of the model."""

MAX_CATEGORIES = 10
"""Known categories that a message lists."""

MIN_DATES = 0.9
"""Share of the known values that are dates, from which a message names the first and last instead."""

MAX_MASKED_ROWS = 100
MAX_REASON = 300
"""Characters of the model's own message that are logged."""

Row = Sequence[Value]
Predict = Callable[[list[list[Value]]], object]
"""Predicts rows, or raises `PredictError`."""

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")


class FailedRows:
    """Finds the values that a model fails on.

    A category that is not in the reference is the first suspect. A value is blamed only if the model fails
    on its row, and does not fail once this value is replaced by one of the reference.

    Args:
        schema: features of the model.
        predict: calls the model.
        hides_reasons: whether the log has only the type of the model's own error, and not its message.
    """

    def __init__(self, schema: Schema, predict: Predict, *, hides_reasons: bool = False) -> None:
        self._schema = schema
        self._predict = predict
        self._hides_reasons = hides_reasons
        self._categories = {
            place: frozenset(feature.categories)
            for place, feature in enumerate(schema.features)
            if feature.kind is Kind.CATEGORICAL
        }
        self._known: dict[int, tuple[str, bool]] = {}
        self._usual = [schema.example[name] for name in schema.names]
        self._confirmed: dict[tuple[int, Value], None] = {}

    def explain(self, rows: Sequence[Row], error: PredictError, *, batch: bool) -> InputError | PredictError:
        """Return the problems of rows that the model failed on; the same error if the cause is not found.

        Args:
            rows: valid rows of one request.
            error: of the model.
            batch: whether the rows have an index in messages.
        """
        if is_outage(error):
            error.reason = self._reason(error, rows)
            return error
        problems = self._unknown_categories(rows, batch=batch) or self._unusable_value(rows, batch=batch)
        if problems:
            row = rows[problems[0].row or 0]
            return InputError(problems, example=dict(zip(self._schema.names, row, strict=True)))
        error.reason = self._reason(error, rows)
        return error

    def _reason(self, error: PredictError, rows: Sequence[Row]) -> str:
        if self._hides_reasons:
            return type(error.__cause__ or error).__name__
        return masked_reason(error, rows, self._schema.names)

    def _unknown_categories(self, rows: Sequence[Row], *, batch: bool) -> list[FieldProblem]:
        suspects = [
            (index, place)
            for index, row in enumerate(rows)
            for place, known in self._categories.items()
            if isinstance(row[place], str) and row[place] not in known
        ]
        by_row: dict[int, list[int]] = {}
        for index, place in suspects:
            by_row.setdefault(index, []).append(place)
        tried: set[tuple[int, Value]] = set()
        for index, place in suspects:
            value = place, rows[index][place]
            if value in self._confirmed or value in tried or len(tried) >= MAX_TRIED:
                continue
            tried.add(value)
            if self._is_cause(rows[index], place, by_row[index]):
                self._confirm(value)
        return [
            self._unknown_category(place, str(rows[index][place]), index if batch else None)
            for index, place in suspects
            if (place, rows[index][place]) in self._confirmed
        ]

    def _unknown_category(self, place: int, value: str, row: int | None) -> FieldProblem:
        feature = self._schema.features[place]
        if place not in self._known:
            self._known[place] = _describe_known(feature.categories)
        known, dates = self._known[place]
        near = "" if dates or len(value) > MAX_REASON else suggest_name(value, feature.categories)
        text = short_value(value)
        message = f"'{feature.name}' has the unknown value '{text}': {near or known}"
        return FieldProblem(feature.name, UNKNOWN_CATEGORY, message, row, value=text)

    def _is_cause(self, row: Row, place: int, suspects: Sequence[int]) -> bool:
        """Return whether the model fails with this value, and not with any suspect value replaced."""
        fixed = list(row)
        for other in suspects:
            fixed[other] = self._schema.features[other].categories[0]
        if self._fails([fixed]):
            return False
        fixed[place] = row[place]
        return self._fails([fixed])

    def _confirm(self, value: tuple[int, Value]) -> None:
        if len(self._confirmed) >= MAX_CONFIRMED:
            del self._confirmed[next(iter(self._confirmed))]
        self._confirmed[value] = None

    def _unusable_value(self, rows: Sequence[Row], *, batch: bool) -> list[FieldProblem]:
        """Find the first row that fails, and its only value that the model cannot use."""
        if self._fails([self._usual]):
            return []
        index = self._first_failing(rows)
        row = list(rows[index])
        if not self._fails([row]):
            return []
        low, high = (
            0,
            len(row),
        )  # with the first `high` values replaced it works, with the first `low` it fails
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails([[*self._usual[:middle], *row[middle:]]]):
                low = middle
            else:
                high = middle
        place = high - 1
        if self._fails([[*row[:place], self._usual[place], *row[place + 1 :]]]):
            return []
        feature = self._schema.features[place]
        text = short_value(row[place])
        message = f"the model fails on the value {text} of '{feature.name}'"
        number = index if batch else None
        return [FieldProblem(feature.name, UNUSABLE_VALUE, message, number, value=text)]

    def _first_failing(self, rows: Sequence[Row]) -> int:
        low, high = 0, len(rows)  # rows before `low` work, one of those before `high` fails
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails([list(row) for row in rows[low:middle]]):
                high = middle
            else:
                low = middle
        return low

    def _fails(self, rows: list[list[Value]]) -> bool:
        try:
            self._predict(rows)
        except PredictError:
            return True
        return False


def _describe_known(categories: Sequence[str]) -> tuple[str, bool]:
    """Return which values of a feature a model knows, and whether they are dates.

    >>> _describe_known(["a", "b"]), _describe_known(["2026-01-31", "2024-05-01", "2025-01-01"])
    (('the model knows a and b', False), ("the reference has dates from '2024-05-01' to '2026-01-31'", True))
    """
    import polars as pl

    times = read_times(pl.Series(categories, dtype=pl.String), digits=True).values
    places = np.flatnonzero(~np.isnat(times))
    if len(places) >= MIN_DATES * len(categories):
        ends = (categories[places[place]] for place in (times[places].argmin(), times[places].argmax()))
        first, last = (printable(text, 40) for text in ends)
        return f"the reference has dates from '{first}' to '{last}'", True
    texts = [printable(category, 40) for category in categories[:MAX_CATEGORIES]]
    if len(categories) <= MAX_CATEGORIES:
        return f"the model knows {join_names(texts, max_names=MAX_CATEGORIES)}", False
    return f"the model knows {len(categories)} values, such as {join_names(texts[:3])}", False


def is_outage(error: Exception) -> bool:
    """Return whether a model's server has failed, which no value of a row is to blame for."""
    cause = error.__cause__
    return isinstance(cause, ModelError) and not isinstance(cause, AnswerError)


def masked_reason(error: PredictError, rows: Sequence[Row], names: Iterable[str]) -> str:
    """Return type and message of a model's own error without values of features, for the log.

    >>> failed = PredictError("model 'm' failed")
    >>> failed.__cause__ = ValueError("Found unknown categories ['Wien'] in column 0, got 31.5")
    >>> masked_reason(failed, [["Wien", 31.5]], ["city", "age"])
    'ValueError: Found unknown categories [***] in column 0, got ***'
    """
    cause = error.__cause__
    if cause is None:
        return str(error)
    kept, some = set(names), rows[:MAX_MASKED_ROWS]
    text = str(cause)[: 10 * MAX_REASON]
    cells = list(itertools.chain.from_iterable(some))
    numbers = {float(v) for v in cells if isinstance(v, int | float)}
    hide_all = len(some) < len(rows)
    text = _QUOTED.sub(lambda m: m[0] if m[0][1:-1] in kept else MASK, text)
    for value in sorted({v for v in cells if isinstance(v, str) and v}, key=len, reverse=True):
        text = re.sub(re.escape(value), MASK, text, flags=re.IGNORECASE)
    text = _NUMBER.sub(lambda m: MASK if hide_all or float(m[0]) in numbers else m[0], text)
    return printable(f"{type(cause).__name__}: {text}", MAX_REASON)

"""Predictions that another service has made, as JSON or rows of a table: validation against the schema."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from driftbell.errors import InputError
from driftbell.phrases import join_names, printable
from driftbell.records import FieldProblem, Value
from driftbell.tabular.class_names import ClassNames
from driftbell.tabular.feature_value import json_type_of, short_value
from driftbell.tabular.outputs import MAX_OUTPUT, NumberTexts, parse_number
from driftbell.tabular.pass_through import read_id, read_metadata
from driftbell.tabular.schema import Schema

FIELDS = ("id", "time", "features", "prediction", "probabilities", "latency_ms", "metadata")
"""Fields of a logged prediction; `features` and `prediction` are required."""

MAX_AHEAD = timedelta(days=1)
"""A prediction from further in the future has a wrong clock or a wrong format of times."""

MIN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""A prediction from before has a wrong clock or a wrong format of times."""

MAX_LATENCY_MS = 86_400_000
"""A day; no model takes longer for a prediction."""

MAX_IGNORED = 100
"""Fields that are counted by name."""

ROUNDING = 1e-4
"""Tolerated rounding error of a probability below 0 or above 1."""


MAX_SUM_ERROR, ERROR_PER_CLASS = 0.01, 0.005
"""Tolerated difference of the sum of a row's probabilities from 1, for probabilities with two decimals."""


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One prediction of a model that is served elsewhere.

    Attributes:
        id: the user's id; "" if the row has none.
        time: time of the prediction (UTC); None if the row has none.
        values: values of the features, in the schema's order.
        output: the predicted class, or the text of the number.
        probabilities: one for each class in the model's order, or empty.
        latency_ms: time to predict, in milliseconds; 0 if it is unknown.
        metadata: values that are stored with the prediction; None if there are none.
    """

    id: str
    time: datetime | None
    values: list[Value]
    output: str
    probabilities: list[float]
    latency_ms: float
    metadata: Mapping[str, Value] | None = None


class LoggedRowReader:
    """Reads and validates predictions of a model that is served elsewhere.

    Fields that the model does not have are counted in `ignored`, at most `MAX_IGNORED` by name.

    Args:
        schema: the model's features, all of them nullable.
        classes: the model's classes; none for a regression.
    """

    def __init__(self, schema: Schema, classes: Sequence[str]) -> None:
        self._schema = schema
        self._names = frozenset(schema.names)
        self._classes = tuple(classes)
        self._find = ClassNames(classes, ids=False).find if classes else None
        self.ignored: Counter[str] = Counter()

    def read(self, item: Any, now: datetime, index: int | None = None) -> LoggedRow:
        """Return one validated row.

        Args:
            item: a JSON value.
            now: the current time (UTC).
            index: position of the row, for messages.

        Raises:
            InputError: holds every problem of the row.
        """
        if not isinstance(item, Mapping):
            message = f"a prediction must be a JSON object, got {json_type_of(item)}"
            raise InputError([FieldProblem("", "not_an_object", message, index)])
        problems: list[FieldProblem] = []

        def refuse(field: str, reason: str, message: str, value: Any = None) -> None:
            problems.append(FieldProblem(field, reason, message, index, short_value(value)))

        features = item.get("features")
        values: list[Value] = []
        if not isinstance(features, Mapping):
            what = "must be an object of the features by name"
            if features is None:
                refuse("features", "missing", f"'features' is missing: it {what}")
            else:
                refuse("features", "type", f"'features' {what}, got {json_type_of(features)}", features)
        else:
            known = {name: value for name, value in features.items() if name in self._names}
            self._ignore(name for name in features if name not in self._names)
            try:
                values = self._schema.validate(known, index)
            except InputError as error:
                problems += error.problems
        self._ignore(str(name) for name in item if name not in FIELDS)
        time = self._time(item.get("time"), now, refuse)
        output = self._output(item.get("prediction"), refuse)
        probabilities = self._probabilities(item.get("probabilities"), refuse)
        text, metadata = "", None
        try:
            text = read_id(item.get("id"))
        except ValueError as error:
            refuse("id", "type", f"'id' {error}", item["id"])
        try:
            metadata = read_metadata(item.get("metadata"))
        except ValueError as error:
            refuse("metadata", "type", f"'metadata' {error}", {})
        latency = item.get("latency_ms")
        duration = 0.0 if latency is None else parse_number(latency)
        if duration is None or not 0 <= duration <= MAX_LATENCY_MS or isinstance(latency, str):
            limits = f"0 to {MAX_LATENCY_MS:,} (a day)"
            refuse("latency_ms", "type", f"'latency_ms' must be a number of milliseconds, {limits}", latency)
        if problems:
            raise InputError(problems)
        return LoggedRow(text, time, values, output, probabilities, duration or 0.0, metadata)

    def _ignore(self, names: Any) -> None:
        for name in names:
            shown = printable(name)
            if shown in self.ignored or len(self.ignored) < MAX_IGNORED:
                self.ignored[shown] += 1

    def _time(self, value: Any, now: datetime, refuse: Any) -> datetime | None:
        if value is None:
            return None
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            refuse("time", "type", "'time' must be an ISO 8601 time such as '2026-01-31T12:00:00Z'", value)
            return None
        if time > now + MAX_AHEAD:
            refuse("time", "future", "'time' lies more than a day in the future: check the clock", str(value))
        if time < MIN_TIME:
            message = f"'time' lies before {MIN_TIME.year}: check the clock, or the unit of the times"
            refuse("time", "past", message, str(value))
        return time

    def _output(self, value: Any, refuse: Any) -> str:
        if self._find is None:
            number = parse_number(value)
            if number is None:
                limits = f"a number from -{MAX_OUTPUT:g} to {MAX_OUTPUT:g}"
                if value is None:
                    refuse(
                        "prediction", "missing", f"'prediction' is missing: send the model's answer, {limits}"
                    )
                else:
                    refuse("prediction", "type", f"'prediction' must be {limits}", value)
                return ""
            return NumberTexts()[number]
        name = self._find(value)
        if name is None:
            known = f"one of the classes {join_names(self._classes)}"
            if value is None:
                refuse("prediction", "missing", f"'prediction' is missing: send the model's answer, {known}")
            else:
                refuse("prediction", "unknown_class", f"'prediction' must be {known}", value)
        return name or ""

    def _probabilities(self, value: Any, refuse: Any) -> list[float]:
        """Return a probability for each class; of two classes, one is enough."""
        if value is None:
            return []
        if self._find is None or not isinstance(value, Mapping):
            text = "an object of a number by class" if self._find else "left out: the model is a regression"
            refuse("probabilities", "type", f"'probabilities' must be {text}", value)
            return []
        shares: dict[str, float] = {}
        for label, share in value.items():
            name, number = self._find(label), None if isinstance(share, str) else parse_number(share)
            if name is None or number is None or name in shares or not -ROUNDING <= number <= 1 + ROUNDING:
                known = join_names(self._classes)
                message = f"'probabilities' must have one number from 0 to 1 for the classes {known}"
                refuse("probabilities", "type", message, label if name is None else share)
                return []
            shares[name] = min(1.0, max(0.0, number))
        if len(shares) == 1 and len(self._classes) == 2:
            other = next(c for c in self._classes if c not in shares)
            shares[other] = 1 - next(iter(shares.values()))
        missing = [c for c in self._classes if c not in shares]
        if missing:
            refuse("probabilities", "missing", f"'probabilities' lacks the classes {join_names(missing)}", "")
            return []
        total = math.fsum(shares.values())
        if abs(total - 1) > MAX_SUM_ERROR + ERROR_PER_CLASS * len(shares):
            refuse(
                "probabilities", "type", f"'probabilities' must sum to 1, but their sum is {total:.4g}", value
            )
            return []
        return [shares[c] for c in self._classes]

"""Forms in which features are logged: the value, a keyed hash, a bucket, or nothing."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np

from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Column, Columns, Feature, FieldProblem, Kind, Reference, Value
from driftbell.records.refusals import MODEL_ERROR
from driftbell.tabular.column_options import words_by_column
from driftbell.tabular.columns import as_column, is_null

FULL, HASH, BUCKET, DROP = "full", "hash", "bucket", "drop"
FORMS = (FULL, HASH, BUCKET, DROP)

MASKED = "***"
"""Stands in messages and counts for a value that is not logged in full."""

MAX_BUCKETS, MIN_BUCKET_ROWS = 20, 10
"""Buckets of a column of numbers, and the fewest rows of the reference in one of them."""

RANGE_MARGIN = 0.1
"""Numbers outside the range of the reference by at most this share of it have a bucket of their own."""

EXAMPLES: Mapping[Kind, Value] = {
    Kind.NUMERIC: 1,
    Kind.CATEGORICAL: "text",
    Kind.BOOLEAN: True,
    Kind.DATETIME: "2026-01-31",
}
"""Examples in the description of the API, in place of a value of the reference."""

HASH_BYTES = 8
ID_DIGITS = 12

Convert = Callable[[Value], Value]


def parse_forms(value: object) -> dict[str, str]:
    """Return the form by column of a mapping, or of a text such as `email=hash,note=drop`.

    Raises:
        ValueError: it has another form, or a word is unknown.

    >>> parse_forms("email=hash,note=drop")
    {'email': 'hash', 'note': 'drop'}
    """
    forms = words_by_column(value, "what is logged by column, such as 'email=hash'")
    for name, form in forms.items():
        if form not in FORMS:
            hint = suggest_name(str(form), FORMS) or f"use one of {', '.join(FORMS)}"
            raise ValueError(f"column '{name}' has the unknown value '{form}': {hint}")
    return forms


def canonical_text(value: Value) -> str:
    """Return the text of a value that is hashed: equal numbers have the same one in every precision.

    >>> [canonical_text(value) for value in (7, 7.0, 0.1, 0.10000000149, True)]
    ['7', '7', '0.1', '0.1', 'true']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.7g}"
    return str(value)


class Hasher:
    """Replaces values by a keyed hash (BLAKE2b): equal values of one column have the same one.

    Args:
        key: the secret.
        column: the column's name; the hashes of two columns differ.

    >>> hasher = Hasher(b"secret", "city")
    >>> hasher("Wien") == hasher("Wien"), hasher("Wien") == hasher("Graz"), hasher(None)
    (True, False, None)
    """

    def __init__(self, key: bytes, column: str, *, times: bool = False) -> None:
        self._key = hashlib.blake2b(column.encode("utf-8", "surrogatepass"), key=key[:64]).digest()
        self._times = times

    def __call__(self, value: Value) -> Value:
        """Return the hash of a value; None for null."""
        if value is None or value != value:
            return None
        text = canonical_text(value)
        if self._times:
            text = _moment(text).isoformat()
        return f"h{self._digest(text).hex()}"

    def number(self, text: str) -> int:
        """Return the hash of a text as a number."""
        return int.from_bytes(self._digest(text))

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=HASH_BYTES
        ).digest()


class NumberBuckets:
    """Replaces numbers by one number of their bucket; the buckets have about as many rows of the reference.

    A number of the reference's range becomes the mean of the bucket's rows, to six digits. There are two
    buckets on each side of the range: up to a tenth of the range away from it, and farther.

    Args:
        values: the column of the reference, n rows; NaN is null.

    >>> buckets = NumberBuckets(np.arange(100.0))
    >>> buckets(0), buckets(7.5), buckets(99), buckets(12345.6), buckets(54321), buckets(None)
    (4.5, 4.5, 94.5, 139.5, 139.5, None)
    """

    def __init__(self, values: Column) -> None:
        present = np.sort(values[np.isfinite(values)])
        if not len(present):
            present = np.zeros(1)
        count = max(1, min(MAX_BUCKETS, len(present) // MIN_BUCKET_ROWS))
        places = np.unique(
            [np.searchsorted(present, present[i * len(present) // count]) for i in range(count)]
        )
        parts = np.split(present, places[places > 0])
        edges = [float(a[-1] / 2 + b[0] / 2) for a, b in pairwise(parts)]
        inside = [float(f"{part.mean():.6g}") for part in parts]
        low, high = float(present[0]), float(present[-1])
        margin = RANGE_MARGIN * (high - low)
        rounding = 1e-6 * max(abs(low), abs(high))  # a client may compute in single precision
        span = inside[-1] - inside[0] or abs(inside[0]) or 1.0
        self._edges = [
            low - margin - rounding,
            low - rounding,
            *edges,
            high + rounding,
            high + margin + rounding,
        ]
        ends = [inside[0] - span / 2, inside[0] - span / 20], [inside[-1] + span / 20, inside[-1] + span / 2]
        self._values = [*ends[0], *inside, *ends[1]]

    def __call__(self, value: Value) -> Value:
        """Return the number of a value's bucket; None for null."""
        if value is None or value != value:
            return None
        return self._values[bisect_right(self._edges, float(value))]

    @property
    def content(self) -> str:
        """The buckets as a text."""
        return repr((self._edges, self._values))


class TimeBuckets:
    """Replaces a time by another one of the same month, chosen by a keyed hash.

    So the months stay, as in the reference, and days of the month and times of day are lost.

    Args:
        hasher: chooses the day and the time of day.
    """

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher

    def __call__(self, value: Value) -> Value:
        """Return the other time in UTC as a text; a date stays a date. None for null."""
        if value is None or value != value:
            return None
        moment = _moment(str(value))
        number = self._hasher.number(moment.isoformat())
        days, rest = monthrange(moment.year, moment.month)[1], number // 31
        other = moment.replace(day=1 + number % days, hour=0, minute=0, second=0, microsecond=0)
        if moment.time() == time():
            return other.date().isoformat()
        return (other + timedelta(seconds=rest % 86400)).isoformat()


def _moment(text: str) -> datetime:
    """Return an ISO 8601 time in UTC without a zone."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


@dataclass(frozen=True, slots=True, eq=False)
class LoggedValues:
    """Form in which the rows of one model are logged.

    Attributes:
        features: the features that are logged, with the kind of their logged values.
        dropped: names of the features that are not logged.
        id: hash of the setting, the key and the buckets; another one is another meaning of the log.
        key: the secret, for other data that waits on disk.
        public: all features, with invented examples of those that are not logged in full.
    """

    features: tuple[Feature, ...]
    public: tuple[Feature, ...]
    dropped: tuple[str, ...]
    id: str
    key: bytes
    _kept: tuple[int, ...]
    _converted: tuple[tuple[int, Convert], ...]
    _convert: Mapping[str, Convert]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features that are logged, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def masked(self) -> frozenset[str]:
        """Names of the features that are not logged in full."""
        return frozenset({*self._convert, *self.dropped})

    def row(self, values: Sequence[Value]) -> list[Value]:
        """Return what is logged of one row, in the order of `names`.

        Args:
            values: in the order of the model's features.
        """
        row = list(values)
        for place, convert in self._converted:
            row[place] = convert(row[place])
        return row if len(self._kept) == len(row) else [row[place] for place in self._kept]

    def metadata(self, metadata: Mapping[str, Value] | None) -> Mapping[str, Value] | None:
        """Return metadata without the entries that have the name of a masked feature."""
        if not metadata or self.masked.isdisjoint(metadata):
            return metadata
        return {name: value for name, value in metadata.items() if name not in self.masked}

    def digest(self, content: str) -> str:
        """Return a keyed hash of any content."""
        text = content.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self.key[:64], digest_size=16).hexdigest()

    def problem(self, problem: FieldProblem) -> FieldProblem:
        """Return a problem of a refused row without the value of a masked feature.

        A value that belongs to no known feature may be one of a masked feature too.
        """
        known = problem.field in self.names and problem.field not in self._convert
        if known or not problem.value or problem.reason == MODEL_ERROR:
            return problem
        return replace(problem, value=MASKED)

    def reference(self, reference: Reference) -> Reference:
        """Return a reference as it would have been logged."""
        columns: dict[str, Column] = {}
        for name, column in reference.columns.items():
            if name not in self.dropped:
                columns[name] = self.column(name, column)
        kinds = {name: kind for name, kind in reference.kinds.items() if name in columns}
        kinds |= {
            f.name: Kind.CATEGORICAL for f in self.features if f.name in kinds and self._is_hash(f.name)
        }
        version = hashlib.sha256(f"{reference.version} {self.id}".encode()).hexdigest()
        return replace(
            reference,
            columns=columns,
            roles={name: role for name, role in reference.roles.items() if name in columns},
            version=version[: len(reference.version) or ID_DIGITS],
            kinds=kinds,
            bucketed=frozenset(n for n, c in self._convert.items() if isinstance(c, NumberBuckets)),
        )

    def column(self, name: str, column: Column) -> Column:
        """Return what is logged of a column of the reference."""
        convert = self._convert.get(name)
        if convert is None:
            return column
        cells = [None if is_null(v) else _plain(v) for v in column.tolist()]
        logged = [convert(cell) for cell in cells]
        if isinstance(convert, TimeBuckets):
            return as_column([None if v is None else _moment(str(v)) for v in logged], Kind.DATETIME)
        return as_column(logged, Kind.NUMERIC if isinstance(convert, NumberBuckets) else Kind.CATEGORICAL)

    def _is_hash(self, name: str) -> bool:
        return isinstance(self._convert.get(name), Hasher)


def _plain(value: object) -> Value:
    """Return a cell of the reference as a request has it."""
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, bool | int | float) else str(value)


def build_logged_values(
    features: Sequence[Feature], forms: Mapping[str, str], key: bytes, columns: Callable[[], Columns]
) -> LoggedValues | None:
    """Build what is logged of the rows of a model; None if it is everything.

    Args:
        features: the model's features, in order.
        forms: one of `FORMS` by column; other columns are logged in full.
        key: the secret of the hashes.
        columns: returns the reference, for buckets of numbers.

    Raises:
        ConfigError: a feature has no buckets, or all features are dropped.
    """
    kept: list[int] = []
    logged: list[Feature] = []
    dropped: list[str] = []
    convert: dict[str, Convert] = {}
    for place, feature in enumerate(features):
        form = forms.get(feature.name, FULL)
        if form == DROP:
            dropped.append(feature.name)
            continue
        kept.append(place)
        as_logged = feature
        if form == HASH:
            convert[feature.name] = Hasher(key, feature.name, times=feature.kind is Kind.DATETIME)
            as_logged = replace(
                feature, kind=Kind.CATEGORICAL, categories=(), dtype="", levels=(), example=None
            )
        elif form == BUCKET:
            convert[feature.name] = _buckets(feature, key, columns)
            as_logged = replace(feature, example=None)
        logged.append(as_logged)
    if not convert and not dropped:
        return None
    if not logged:
        raise ConfigError("columns.log drops every feature, so that nothing can be compared: keep one")
    numbers = {n: c.content for n, c in convert.items() if isinstance(c, NumberBuckets)}
    chosen = {f.name: forms.get(f.name, FULL) for f in features}
    content = repr((chosen, numbers, key_id(key)))
    masked = {*convert, *dropped}
    return LoggedValues(
        tuple(logged),
        tuple(replace(f, example=EXAMPLES[f.kind]) if f.name in masked else f for f in features),
        tuple(dropped),
        hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:ID_DIGITS],
        key,
        tuple(kept),
        tuple((place, convert[f.name]) for place, f in enumerate(features) if f.name in convert),
        convert,
    )


def key_id(key: bytes) -> str:
    """Return a name of a key that does not reveal it."""
    return hashlib.blake2b(b"driftbell log key", key=key[:64], digest_size=8).hexdigest()


def check_forms(names: Sequence[str], forms: Mapping[str, str], others: Mapping[str, str]) -> None:
    """Check that the columns of the setting are features.

    Args:
        names: the model's features.
        forms: the setting.
        others: the role of columns that are no features, such as the label.

    Raises:
        ConfigError: one is none.
    """
    for name in forms:
        if name in names:
            continue
        if name in others:
            raise ConfigError(
                f"columns.log: '{name}' is the {others[name]}, which is always logged: remove it there"
            )
        hint = suggest_name(name, names) or f"the features are {join_names(names, max_names=20)}"
        raise ConfigError(f"columns.log: the model has no feature '{name}': {hint}")


def _buckets(feature: Feature, key: bytes, columns: Callable[[], Columns]) -> Convert:
    if feature.kind is Kind.DATETIME:
        return TimeBuckets(Hasher(key, feature.name))
    if feature.kind is Kind.NUMERIC and not feature.has_number_categories:
        return NumberBuckets(np.asarray(columns()[feature.name], dtype=np.float64))
    what = "categories" if feature.has_number_categories else "text"
    what = "true and false" if feature.kind is Kind.BOOLEAN else what
    raise ConfigError(
        f"columns.log: '{feature.name}' has {what}, and only numbers and times have buckets: "
        'use "hash" or "drop"'
    )

"""Refused rows: rows that were sent and neither predicted nor logged, because of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from driftbell.records.data import Value

UNKNOWN_CATEGORY = "unknown_category"
"""Reason of a row with a category that the model refuses."""

UNUSABLE_VALUE = "unusable_value"
"""Reason of a row with another value that the model fails on."""

MODEL_ERROR = "model_error"
"""Reason of a row that the model failed on without a single value as the cause (500)."""

UNREADABLE = "unreadable"
"""Reason of a request, or of the answer of another server, from which no rows can be read."""

UNJOINED = "unjoined"
"""Reason of a request to another server without its answer, or of an answer without its request."""

DROPPED = "dropped"
"""Reason of a request to another server that was answered and not recorded, since too many waited."""

SAME_REQUEST = "same_request"
"""Reason of a row that was refused with a wrong row of its batch; it may be right, or was not checked."""

ADDRESS = "pass_through"
"""Reason of a request with the name of a feature as id or metadata in its address."""

REQUEST_REASONS = frozenset((UNREADABLE, UNJOINED, DROPPED, ADDRESS))
"""Reasons of whole requests with an unknown number of rows: each request counts as one row."""

OTHER_CAUSES = "other"
"""Reason under which rows are counted once a day has too many different causes."""


MASK = "***"
"""Mark in the place of a value of a feature, in the message of a model's own error."""


REASONS = {
    "extra": "unknown field",
    "not_an_object": "no object of features",
    "type": "value of another type",
    "null": "null",
    "missing": "missing",
    "not_finite": "infinite, too large or NaN",
    "unknown_class": "no class of the model",
    "future": "more than a day in the future",
    "past": "too far in the past",
    "own_id": "no valid id",
    "duplicate": "a column that is there more than once",
    "too_large": "too many rows at a time",
    "not_a_batch": "rows of another form",
    UNKNOWN_CATEGORY: "unknown value",
    UNUSABLE_VALUE: "value that the model fails on",
    MODEL_ERROR: "the model itself failed",
    UNREADABLE: "unreadable request or answer",
    UNJOINED: "request without an answer, or answer without a request",
    DROPPED: "answered and not recorded",
    ADDRESS: "a feature as id or metadata in the address",
    SAME_REQUEST: "in the same request",
    OTHER_CAUSES: "several causes",
}
"""Plain words of reasons; of others, the reason itself."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refused rows with one cause.

    Attributes:
        field: name of the feature; "" if it is none of the model's.
        reason: see `FieldProblem`.
        value: the refused value, shortened, or the name of an unknown field; "" if there is none, or it is
            one of too many.
        rows: number of rows of which this is the first value with its field and reason; their sum over all
            values is the number of rows with this field and reason.
        refused: number of rows of which this is the first cause; their sum over all causes is the number of
            refused rows.
        example: the newest such row, if all its values are valid by the schema; else None.
    """

    field: str
    reason: str
    value: str
    rows: int
    refused: int
    example: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class StoredRefusal:
    """Refused rows with one cause on one day.

    Attributes:
        seq: number of the entry in the store.
        day: the date (UTC), such as 2026-01-31.
        time: time of the newest such row (UTC).
        refusal: the cause, and the counts of that day.
    """

    seq: int
    day: str
    time: datetime
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class RefusalCause:
    """One cause of refused rows in the result of a check.

    Attributes:
        field: see `Refusal`.
        reason: see `Refusal`.
        value: the most frequent value.
        values: number of different values.
        rows: number of rows with this field and reason.
    """

    field: str
    reason: str
    value: str
    values: int
    rows: int

    @property
    def reason_text(self) -> str:
        """The reason in plain words."""
        return REASONS.get(self.reason, self.reason.replace("_", " "))

    @property
    def value_text(self) -> str:
        """The value for people, without marks."""
        return self.value.replace(MASK, "(a value)")


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """The rows that were refused since the last check.

    Attributes:
        rows: number of refused rows.
        predictions: number of rows that were predicted in the same time.
        causes: causes by field and reason, the most frequent one first.
        sentence: number, share and causes.
        limit: a larger share of refused rows is a warning.
    """

    rows: int
    predictions: int
    causes: tuple[RefusalCause, ...]
    sentence: str
    limit: float

    @property
    def requests(self) -> int:
        """Number of requests among the refused rows that count as one row each."""
        return sum(cause.rows for cause in self.causes if cause.reason in REQUEST_REASONS)

    @property
    def unit(self) -> str:
        """Name of the refused things: rows, or rows and requests."""
        return "rows and requests" if self.requests else "rows"

    @property
    def share(self) -> float:
        """Refused rows as a share of all rows that were sent."""
        return self.rows / (self.rows + self.predictions)

    @property
    def exceeded(self) -> bool:
        """True if the share is above the limit."""
        return self.share > self.limit

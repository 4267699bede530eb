"""Refused rows as data quality: the rows that were not logged since the last check, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from driftbell.phrases import count_of, printable
from driftbell.records import Judgement, Verdict
from driftbell.records.refusals import (
    ADDRESS,
    DROPPED,
    MODEL_ERROR,
    OTHER_CAUSES,
    REQUEST_REASONS,
    SAME_REQUEST,
    UNJOINED,
    UNKNOWN_CATEGORY,
    UNREADABLE,
    UNUSABLE_VALUE,
    RefusalCause,
    RefusedRows,
    StoredRefusal,
)

MAX_SHARE = 0.01
"""The default of the largest share of refused rows without a warning."""

MAX_CAUSES = 3
"""Causes that the sentence names."""

MAX_LISTED = 20
"""Causes in the result of a check."""

MAX_VALUE = 40
MAX_ERROR = 160
"""Characters of the model's own message, which has no values of features."""


def refused_since(
    stored: Sequence[StoredRefusal],
    before: Mapping[str, tuple[int, int]],
    predictions: int,
    max_share: float = MAX_SHARE,
    since: datetime | None = None,
) -> RefusedRows | None:
    """Return the rows that were refused since the last check; None if there are none.

    Args:
        stored: counts of the days since the last check.
        before: rows and refused rows at the last check, by number of the entry.
        predictions: number of predictions since then.
        max_share: a larger share of refused rows is a warning.
        since: time of the last check (UTC); None if there is none.
    """
    total = 0
    values: dict[tuple[str, str], dict[str, int]] = {}
    for entry in stored:
        refusal = entry.refusal
        counted, refused = before.get(str(entry.seq), (0, 0))
        new = max(refusal.rows - counted, 0)
        total += max(refusal.refused - refused, 0)
        # a value that is never the first of its rows has no rows of its own
        if new or str(entry.seq) not in before or (since is not None and entry.time > since):
            by_value = values.setdefault((refusal.field, refusal.reason), {})
            by_value[refusal.value] = by_value.get(refusal.value, 0) + new
    if not total:
        return None
    causes = []
    for (field, reason), by_value in values.items():
        # causes that are counted together may share rows
        count = min(sum(by_value.values()), total)
        if count:
            named = {value: n for value, n in by_value.items() if value}
            value = max(named, key=lambda v: named[v], default="")
            causes.append(RefusalCause(field, reason, value, len(by_value), count))
    causes.sort(key=lambda cause: (cause.reason == SAME_REQUEST, -cause.rows))
    causes = causes[:MAX_LISTED]
    result = RefusedRows(total, predictions, tuple(causes), "", max_share)
    return replace(result, sentence=refused_sentence(result))


def counted_refusals(stored: Sequence[StoredRefusal]) -> dict[str, tuple[int, int]]:
    """Return the counts that the next check subtracts; see `refused_since`."""
    return {str(entry.seq): (entry.refusal.rows, entry.refusal.refused) for entry in stored}


def with_refused(judgement: Judgement, refused: RefusedRows | None) -> Judgement:
    """Add refused rows to the judgement of a check.

    They are a warning if their share is above the limit, also where too few predictions remain to judge
    anything else; below it they are named in the sentence. They never close or raise an alarm.
    """
    if refused is None:
        return judgement
    verdict = judgement.verdict
    if refused.exceeded and verdict is not Verdict.ALARM:
        verdict = Verdict.WARNING
    sentence = f"{judgement.sentence} {refused.sentence}"
    return replace(judgement, verdict=verdict, sentence=sentence, refused=refused)


def refused_sentence(refused: RefusedRows, *, values: bool = True) -> str:
    """Return how many rows were refused since the last check, and why.

    Args:
        refused: the rows.
        values: whether the refused values are named, which are values of features.
    """
    total = refused.rows + refused.predictions
    one = "request" if refused.requests else "row"
    of = f"{refused.rows:,} of {total:,} {refused.unit}" if total > 1 else f"The only {one}"
    were = "was" if refused.rows == 1 else "were"
    causes = [_cause(cause, refused.rows, values=values) for cause in refused.causes[:MAX_CAUSES]]
    more = len(refused.causes) - len(causes)
    listed = "; ".join([*causes, *([f"and {count_of(more, 'more cause')}"] if more else [])])
    return f"{of} since the last check {were} refused and not logged: {listed}."


def _cause(cause: RefusalCause, refused: int, *, values: bool) -> str:
    """Return a cause in words, with its number of rows unless it is that of the only refused row."""
    counted = f" in {cause.rows:,} of them" if refused > 1 else ""
    if cause.reason == SAME_REQUEST:
        were = "was" if cause.rows == 1 else "were"
        return f"{cause.rows:,} more {were} in the same requests"
    if cause.reason in REQUEST_REASONS:
        return _requests(cause, refused, values=values)
    value = f"'{printable(cause.value, MAX_VALUE)}'" if values and cause.value else ""
    also = _others(cause) if value else ""
    name = f"'{printable(cause.field)}'"
    if cause.reason == MODEL_ERROR:
        error = printable(cause.value_text, MAX_ERROR)
        message = f" ({error}{also})" if values and cause.value else ""
        return f"the model itself failed{message}{counted}"
    if cause.reason == "extra":
        what = "unknown field" if cause.values == 1 else "unknown fields"
        return f"{what}{value and f' {value}'}{also}{counted}"
    if not cause.field:
        return f"{_NO_FIELD.get(cause.reason, cause.reason_text)}{counted}"
    return f"{_field_cause(cause, name, value, also)}{counted}"


def _others(cause: RefusalCause) -> str:
    """Return the number of further values of a cause; "" if it has one."""
    others = cause.values - 1
    kind = {MODEL_ERROR: "error", UNREADABLE: "cause", "extra": "field"}.get(cause.reason, "value")
    return f" and {count_of(others, f'other {kind}')}" if others else ""


def _requests(cause: RefusalCause, refused: int, *, values: bool) -> str:
    """Return a cause that whole requests have."""
    requests = "it" if refused == 1 else count_of(cause.rows, "request")
    match cause.reason:
        case str(reason) if reason == DROPPED:
            return f"{requests} got an answer that was not recorded"
        case str(reason) if reason == UNJOINED:
            return f"{requests} came without an answer, or as an answer without a request"
        case str(reason) if reason == ADDRESS:
            return f"{requests} named '{printable(cause.field)}' as id or metadata"
    why = f" ({printable(cause.value, MAX_ERROR)}{_others(cause)})" if values and cause.value else ""
    return f"{requests} could not be read{why}"


def _field_cause(cause: RefusalCause, name: str, value: str, also: str) -> str:
    such_as = f" ({value}{also})" if value else ""
    match cause.reason:
        case str(reason) if reason == UNKNOWN_CATEGORY and value:
            return f"{name} has the unknown value {value}{also}"
        case str(reason) if reason == UNKNOWN_CATEGORY:
            return f"{name} has an unknown value"
        case str(reason) if reason == UNUSABLE_VALUE:
            return f"{name} has a value that the model fails on{such_as}"
        case "type":
            return f"{name} has values of another type{such_as}"
        case "null" | "missing":
            return f"{name} is {cause.reason}"
    return f"{name}: {cause.reason_text}{such_as if cause.reason in _WITH_VALUE else ''}"


_WITH_VALUE = ("unknown_class", "future", "past", "range")
"""Reasons with the refused value in the sentence."""

_NO_FIELD: dict[str, str] = {
    "own_id": "no valid id, or one twice",
    "metadata": "no valid metadata",
    OTHER_CAUSES: "several causes",
}

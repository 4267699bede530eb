"""Refused rows as data quality: the rows that were not logged since the last check, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from driftbell.phrases import count_of, printable
from driftbell.records import Judgement, Verdict
from driftbell.records.refusals import (
    DROPPED,
    MODEL_ERROR,
    OTHER_CAUSES,
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
) -> RefusedRows | None:
    """Return the rows that were refused since the last check; None if there are none.

    Args:
        stored: counts of the days since the last check.
        before: rows and refused rows at the last check, by number of the entry.
        predictions: number of predictions since then.
        max_share: a larger share of refused rows is a warning.
    """
    total = 0
    rows: dict[tuple[str, str], int] = {}
    values: dict[tuple[str, str], dict[str, int]] = {}
    for entry in stored:
        refusal = entry.refusal
        counted, refused = before.get(str(entry.seq), (0, 0))
        new = refusal.rows - counted
        total += max(refusal.refused - refused, 0)
        if new > 0:
            key = refusal.field, refusal.reason
            rows[key] = rows.get(key, 0) + new
            by_value = values.setdefault(key, {})
            by_value[refusal.value] = by_value.get(refusal.value, 0) + new
    if not total:
        return None
    causes = []
    for (field, reason), count in sorted(rows.items(), key=lambda item: -item[1])[:MAX_LISTED]:
        by_value = values[field, reason]
        named = {value: n for value, n in by_value.items() if value}
        value = max(named, key=lambda v: named[v], default="")
        causes.append(RefusalCause(field, reason, value, len(by_value), count))
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
    of = f"{refused.rows:,} of {total:,} rows" if total > 1 else "The only row"
    were = "was" if refused.rows == 1 else "were"
    causes = [_cause(cause, values=values) for cause in refused.causes[:MAX_CAUSES]]
    more = len(refused.causes) - len(causes)
    listed = "; ".join([*causes, *([f"and {count_of(more, 'more cause')}"] if more else [])])
    return f"{of} since the last check {were} refused and not logged: {listed}."


def _cause(cause: RefusalCause, *, values: bool) -> str:
    value = f"'{printable(cause.value, MAX_VALUE)}'" if values and cause.value else ""
    others = cause.values - 1
    kind = "error" if cause.reason in (MODEL_ERROR, UNREADABLE) else "value"
    also = f" and {others} other {kind}{'s' if others > 1 else ''}" if value and others else ""
    name = f"'{printable(cause.field)}'"
    rows = f"in {cause.rows:,} of them"
    if cause.reason == MODEL_ERROR:
        error = printable(cause.value_text, MAX_ERROR)
        message = f" ({error}{also})" if values and cause.value else ""
        return f"the model itself failed{message} {rows}"
    if not cause.field:
        what = "several causes" if cause.reason == OTHER_CAUSES else _NO_FIELD.get(cause.reason, cause.reason)
        if value and cause.reason == UNREADABLE:
            return f"{what} ({printable(cause.value, MAX_ERROR)}{also}) {rows}"
        return f"{what} {value}{also} {rows}" if value and cause.reason == "extra" else f"{what} {rows}"
    such_as = f" ({value}{also})" if value else ""
    match cause.reason:
        case str(reason) if reason == UNKNOWN_CATEGORY and value:
            return f"{name} has the unknown value {value}{also} {rows}"
        case str(reason) if reason == UNKNOWN_CATEGORY:
            return f"{name} has an unknown value {rows}"
        case str(reason) if reason == UNUSABLE_VALUE:
            return f"{name} has a value that the model fails on{such_as} {rows}"
        case "type":
            return f"{name} has values of another type{such_as} {rows}"
        case "null" | "missing":
            return f"{name} is {cause.reason} {rows}"
    return f"{name}: {cause.reason_text}{such_as if cause.reason in _WITH_VALUE else ''} {rows}"


_WITH_VALUE = ("unknown_class", "future", "past", "range")
"""Reasons with the refused value in the sentence."""

_NO_FIELD = {
    "extra": "unknown fields",
    "not_an_object": "no object of features",
    UNREADABLE: "unreadable requests or answers",
    DROPPED: "requests that were answered and not recorded",
    UNJOINED: "requests without an answer, or answers without a request",
}

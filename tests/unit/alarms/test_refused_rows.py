"""Refused rows in the verdict and sentence of a check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driftbell.alarms.refused_rows import counted_refusals, refused_sentence, refused_since, with_refused
from driftbell.records import Judgement, Refusal, RefusedRows, StoredRefusal, Verdict

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def stored(*refusals: Refusal) -> list[StoredRefusal]:
    return [StoredRefusal(i, "2026-01-31", NOW, refusal) for i, refusal in enumerate(refusals, 1)]


WIEN = Refusal("city", "unknown_category", "Wien", 11, 11)
PARIS = Refusal("city", "unknown_category", "Paris", 2, 2)
TEXT = Refusal("age", "type", "n/a", 3, 1)


def result(*refusals: Refusal, predictions: int = 100) -> RefusedRows:
    refused = refused_since(stored(*refusals), {}, predictions)
    assert refused is not None
    return refused


def test_the_sentence_names_fields_values_and_numbers() -> None:
    refused = result(WIEN, PARIS, TEXT)
    assert refused.sentence == (
        "14 of 114 rows since the last check were refused and not logged: 'city' has the unknown "
        "value 'Wien' and 1 other value in 13 of them; 'age' has values of another type ('n/a') in 3 of them."
    )
    without_values = refused_sentence(refused, values=False)
    assert "Wien" not in without_values
    assert "n/a" not in without_values
    assert "'city' has an unknown value in 13 of them" in without_values


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal("age", "null", "", 1, 1), "'age' is null"),
        (Refusal("age", "missing", "", 1, 1), "'age' is missing"),
        (Refusal("age", "not_finite", "nan", 1, 1), "'age': infinite, too large or NaN"),
        (
            Refusal("prediction", "unknown_class", "rose", 1, 1),
            "'prediction': no class of the model ('rose')",
        ),
        (Refusal("time", "future", "2099-01-01", 1, 1), "'time': more than a day in the future ('2099"),
        (Refusal("zip", "odd_reason", "x", 1, 1), "'zip': odd reason"),
        (Refusal("", "extra", "agee", 1, 1), "unknown field 'agee'"),
        (
            Refusal("", "model_error", "ValueError: negative ***", 1, 1),
            "the model itself failed (ValueError: negative (a value))",
        ),
        (Refusal("", "own_id", "", 1, 1), "no valid id, or one twice"),
        (Refusal("", "unreadable", "not JSON", 1, 1), "it could not be read (not JSON)"),
        (Refusal("", "unjoined", "", 1, 1), "it came without an answer, or as an answer without a request"),
        (Refusal("", "dropped", "", 1, 1), "it got an answer that was not recorded"),
        (Refusal("age", "pass_through", "", 1, 1), "it named 'age' as id or metadata"),
        (Refusal("", "other", "", 1, 1), "several causes"),
        (Refusal("", "not_an_object", "", 1, 1), "no object of features"),
        (
            Refusal("s", "unusable_value", "4", 1, 1),
            "'s' has a value that the model fails on ('4')",
        ),
        (
            Refusal("city", "unknown_category", "a" * 100, 1, 1),
            f"the unknown value '{'a' * 39}…'",
        ),
    ],
)
def test_every_reason_has_words(refusal: Refusal, words: str) -> None:
    sentence = result(refusal).sentence
    assert words in sentence
    assert "of them" not in sentence


def test_only_rows_since_the_last_check_count() -> None:
    before = counted_refusals(stored(WIEN, TEXT))
    assert refused_since(stored(WIEN, TEXT), before, 5) is None
    more = Refusal("city", "unknown_category", "Wien", 12, 12)
    refused = refused_since(stored(more, TEXT), before, 0)
    assert refused is not None
    assert (refused.rows, refused.share) == (1, 1.0)
    assert refused.sentence == (
        "The only row since the last check was refused and not logged: 'city' has the unknown value 'Wien'."
    )


def test_rows_with_several_unknown_fields_are_counted_as_rows() -> None:
    fields = [Refusal("", "extra", f"x{i}", 3 * (i == 1), 3 * (i == 1)) for i in (1, 2, 3)]
    assert result(*fields, predictions=12).sentence == (
        "3 of 15 rows since the last check were refused and not logged: "
        "unknown fields 'x1' and 2 other fields in 3 of them."
    )


def test_a_value_that_is_never_the_first_of_its_rows_is_named_again_in_the_next_check() -> None:
    first, second = Refusal("", "extra", "x1", 2, 2), Refusal("", "extra", "x2", 0, 0)
    before = counted_refusals(stored(first, second))
    again = stored(Refusal("", "extra", "x1", 3, 3), second)
    old = refused_since(again, before, 9, since=NOW)
    new = refused_since(again, before, 9, since=NOW - timedelta(minutes=1))
    assert old is not None
    assert new is not None
    assert (old.causes[0].values, new.causes[0].values) == (1, 2)
    assert new.sentence.endswith(": unknown fields 'x1' and 1 other field.")


def test_causes_that_are_counted_together_never_have_more_rows_than_were_refused() -> None:
    both = result(TEXT, Refusal("", "other", "", 9, 2))
    assert [cause.rows for cause in both.causes] == [3, 3]


def test_requests_are_named_where_rows_cannot_be_counted() -> None:
    unread, tables = Refusal("", "unreadable", "not JSON", 2, 2), Refusal("age", "missing", "", 4000, 4000)
    rest = Refusal("", "same_request", "", 5000, 5000)
    assert result(unread, rest, tables, predictions=998).sentence == (
        "9,002 of 10,000 rows and requests since the last check were refused and not logged: 'age' is "
        "missing in 4,000 of them; 2 requests could not be read (not JSON); "
        "5,000 more were in the same requests."
    )
    alone = result(Refusal("", "unreadable", "not CSV", 1, 1), predictions=0)
    assert alone.sentence == (
        "The only request since the last check was refused and not logged: it could not be read (not CSV)."
    )


@pytest.mark.parametrize(
    ("verdict", "predictions", "expected"),
    [
        (Verdict.OK, 100, Verdict.WARNING),
        (Verdict.OK, 10_000, Verdict.OK),
        (Verdict.UNKNOWN, 0, Verdict.WARNING),
        (Verdict.UNKNOWN, 10_000, Verdict.UNKNOWN),
        (Verdict.ALARM, 0, Verdict.ALARM),
    ],
)
def test_a_share_above_one_percent_is_a_warning_and_never_silent(
    verdict: Verdict, predictions: int, expected: Verdict
) -> None:
    judged = with_refused(Judgement(verdict, "Before."), result(WIEN, predictions=predictions))
    assert judged.verdict is expected
    assert judged.sentence.startswith("Before. 11 of ")
    assert with_refused(judged, None) is judged


@pytest.mark.parametrize(("share", "exceeded"), [(0.0, True), (0.05, True), (0.1, False), (1.0, False)])
def test_the_largest_share_without_a_warning_can_be_set(share: float, exceeded: bool) -> None:
    refused = refused_since(stored(Refusal("age", "null", "", 10, 10)), {}, 90, share)
    assert refused is not None
    assert (refused.limit, refused.exceeded) == (share, exceeded)

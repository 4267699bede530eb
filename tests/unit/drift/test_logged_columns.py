"""Logged texts that are dates, and identifiers that are frozen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.drift.logged_columns import prepare_reference, typed_columns
from driftbell.records import Column, ColumnVerdict, Kind, Reference

ISO, GERMAN, BRITISH, ENGLISH = "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%b %d, %Y"


def texts(cells: list[str | None]) -> Column:
    return np.array(cells, dtype=object)


def days(form: str, rows: int, first: int, last: int) -> list[str]:
    numbers = np.random.default_rng(rows + last + 10_000).integers(first, last, rows)
    return [(date(2024, 1, 1) + timedelta(days=int(n))).strftime(form) for n in numbers]


def verdict(reference: list[str | None], window: list[str | None]) -> ColumnVerdict:
    prepared = prepare(typed_columns({"signup": texts(reference)}))
    comparisons = compare(prepared, typed_columns({"signup": texts(window)}, prepared.decided), newest=50)
    return judge(comparisons, rows=len(window)).columns[0]


@pytest.mark.parametrize("form", [ISO, GERMAN, BRITISH, ENGLISH])
def test_dates_as_text_are_compared_as_dates(form: str) -> None:
    reference = [*days(form, 990, 0, 700), *[None] * 10]
    for rows in (days(form, 500, 0, 700), days(form, 500, 700, 720), days(form, 500, 700, 712)):
        column = verdict(reference, rows)
        assert (column.comparison.kind, column.drifted) == (Kind.DATETIME, False)
    assert verdict(reference, days(form, 1, 0, 700) * 500).drifted
    assert verdict(reference, days(form, 500, -9000, -8000)).drifted
    broken = verdict(reference, [*["soon"] * 50, *days(form, 450, 0, 700)])
    assert broken.drifted
    assert "50 of 500 cells such as 'soon' are not dates" in broken.reason


OTHERS = (ISO, GERMAN, BRITISH, ENGLISH, "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%y", "%Y-%m-%dT00:00:00")


@pytest.mark.parametrize("form", [ISO, GERMAN, BRITISH, ENGLISH])
def test_dates_in_another_format_than_the_reference_are_drift(form: str) -> None:
    reference = [*days(form, 990, 0, 700), *[None] * 10]
    for other in OTHERS:
        window = [*days(other, 495, 0, 700), *[None] * 5]
        column = verdict(reference, window)
        assert column.drifted == (other != form)
        if other not in (form, "%m/%d/%Y"):  # of which some are dates with the day first
            assert column.comparison.unreadable == (0, 495)
            assert column.reason == (
                f"Drift: 495 of 500 cells such as '{window[0]}' and '{window[1]}' are not dates in the "
                f"format of the reference, such as '{reference[0]}'."
            )
    for share, drifted in ((5, False), (100, True), (400, True)):
        window = [*days("%Y/%m/%d", share, 0, 700), *days(form, 500 - share, 0, 700)]
        column = verdict(reference, window)
        assert (column.comparison.unreadable, column.drifted) == ((0, share), drifted)


def test_usual_formats_of_the_reference_are_all_read() -> None:
    reference = [*days(ISO, 700, 0, 700), *days(f"{ISO}T%H:%M:%S.5", 298, 0, 700), "2024-01-02 10:00", "?"]
    column = verdict(reference, [*days(ISO, 300, 0, 700), *days(f"{ISO}T%H:%M:%S", 200, 0, 700)])
    assert (column.comparison.unreadable, column.drifted) == ((2, 0), False)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%SZ"])
@pytest.mark.parametrize(("count", "step"), [(8, 1), (30, 1), (10, 7)])
def test_a_reference_of_some_days_has_dates_and_a_new_day_is_no_drift(
    form: str, count: int, step: int
) -> None:
    """A month of days is no column of 30 categories, of which every later day is a new one."""

    def cells(first: int, count: int) -> Column:
        places = np.random.default_rng(first).integers(0, count, 600)
        start = datetime(2026, 1, 18, tzinfo=UTC)
        return texts([f"{start + timedelta(days=first + step * int(i)):{form}}" for i in places])

    prepared = prepare(typed_columns({"day": cells(0, count)}))
    later = typed_columns({"day": cells(step * count, count)}, prepared.decided)
    (comparison,) = compare(prepared, later)
    assert comparison.kind is Kind.DATETIME
    assert judge([comparison], rows=600).drifted_columns == ()
    broken = typed_columns(
        {"day": texts([*["n/a"] * 60, *cells(step * count, count)[60:]])}, prepared.decided
    )
    judgement = judge(list(compare(prepared, broken)), rows=600)
    assert judgement.drifted_columns == ("day",)


def test_few_or_ambiguous_dates_stay_categories() -> None:
    months = texts([f"2026-{m:02}-01" for m in range(1, 13)] * 20)
    ambiguous = texts([f"{d:02}/{m:02}/2026" for d in range(1, 13) for m in range(1, 13)])
    times = texts([f"{h:02}:{m:02}" for h in range(10) for m in range(60)])
    for cells in (months, ambiguous, times):
        assert typed_columns({"x": cells})["x"].kind is Kind.CATEGORICAL


def test_an_identifier_that_is_frozen_has_drifted() -> None:
    reference: list[str | None] = [f"u{i}" for i in range(300)]
    frozen = verdict(reference, ["u1"] * 500)
    assert frozen.drifted
    assert frozen.reason.startswith("Drift: frozen at u1 in 500 of 500 rows; identifier")
    new = verdict(reference, [f"v{i}" for i in range(500)])
    assert (new.drifted, new.compared) == (False, False)
    repeated = verdict(reference, [*["u1"] * 4, *[f"v{i}" for i in range(496)]])
    assert not repeated.drifted
    assert "most frequent: u1 in 4 of 500 rows" in repeated.reason
    assert "frozen" not in repeated.reason


def test_a_frozen_identifier_of_a_table_is_listed_unless_its_user_set_the_kind() -> None:
    reference, window = {"id": list(range(1000, 1300))}, {"id": [1005] * 200}
    (column,) = compare(reference, window)
    assert column.note.startswith("frozen at 1005 in 200 of 200 rows")
    assert judge([column], rows=200).columns[0].drifted
    (column,) = compare(reference, window, columns={"id": "identifier"})
    assert not judge([column], rows=200).columns[0].drifted


def test_accepted_predictions_keep_counters_and_dates_of_the_reference() -> None:
    """A hundred accepted rows of one day, with gaps in their numbers, would make each later row drift."""

    def table(first: int, count: int, day: int) -> dict[str, Column]:
        rng = np.random.default_rng(first)
        start = date(2026, 1, 1) + timedelta(days=day)
        return {
            "order_no": first + np.cumsum(rng.integers(1, 4, count)).astype(float),
            "day": texts([(start + timedelta(days=int(i))).isoformat() for i in rng.integers(0, 30, count)]),
            "amount": rng.normal(50, 10, count),
        }

    roles = dict.fromkeys(("order_no", "day", "amount"), "feature")
    reference = Reference(table(0, 1000, 0), roles, "r")
    accepted = table(100_000, 120, 60) | {"day": texts(["2026-03-04"] * 60 + ["2026-03-05"] * 60)}
    accepted["order_no"] = np.random.default_rng(1).permutation(accepted["order_no"])
    baseline = Reference(accepted, roles, "b", replaced=reference)
    prepared = prepare_reference(baseline)
    later = typed_columns(table(200_000, 500, 90), prepared.decided)
    judgement = judge(list(compare(prepared, later)), rows=500)
    assert judgement.drifted_columns == ()
    assert "order_no (counter: values continue to grow)" in judgement.sentence
    moved = table(200_000, 500, 90)
    moved["amount"] = moved["amount"] + 20
    judgement = judge(list(compare(prepared, typed_columns(moved, prepared.decided))), rows=500)
    assert judgement.drifted_columns == ("amount",)

"""Features that time moves on are neither frozen nor suspect, through `update`."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.degradation_tasks import START, answers, table

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.update import Rows, update
from driftbell.records import Degradation, EvidenceState, Verdict

MONTHS = np.array(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov"], dtype=object)


def calendar(row: np.ndarray, *, months: int) -> dict[str, np.ndarray]:
    """Return a month, an hour, a time and a number of rows in the order of time, 110 a month."""
    return {
        "mnth": 1.0 + row // 110 % months,
        "hr": row % 24.0,
        "recorded": 1.7e9 + 600.0 * row,
        "instant": row + 1.0,
    }


def season(columns: dict[str, np.ndarray]) -> np.ndarray:
    return np.where(np.asarray(columns["mnth"]) > 6, 0.8, -0.8)


def seasonal(columns: dict[str, np.ndarray]) -> Answers:
    """Return the answers of a model that uses the month."""
    one = answers(columns).probabilities[:, 1]
    odds = np.log(one / (1 - one)) + season(columns)
    one = 1 / (1 + np.exp(-odds))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]))


def stream(order: np.ndarray, rows: np.ndarray, **change: np.ndarray) -> list[Degradation]:
    """Fit on 1,210 rows of eleven months, in this order, and check blocks of 200 of other rows."""
    columns, _ = table(1210, 0)
    columns |= calendar(np.arange(1210), months=11)
    columns = {name: cells[order] for name, cells in columns.items()}
    rng = np.random.default_rng(0)
    truth = (rng.random(1210) < seasonal(columns).probabilities[:, 1]).astype(float)
    learned = fit_reference_models(columns, seasonal(columns), truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0, block_rows=200)
    state, results = EvidenceState(), []
    for i in range(4):
        block, _ = table(200, 50 + i)
        block |= calendar(rows[200 * i : 200 * (i + 1)], months=12) | change
        times = [START + timedelta(minutes=200 * i + k) for k in range(200)]
        state, result = update(charts, state, Rows(block, seasonal(block), times), LabelRows())
        results.append(result)
    return results


@pytest.mark.parametrize("in_order", [True, False])
def test_a_new_month_and_growing_numbers_are_no_fault(in_order: bool) -> None:
    order = np.arange(1210) if in_order else np.random.default_rng(1).permutation(1210)
    december = np.repeat(np.arange(1210, 1320), 8)
    for result in stream(order, december):
        assert result.verdict in (Verdict.OK, Verdict.UNKNOWN)
        assert not {"mnth", "hr", "recorded", "instant"} & {s.column for s in result.suspects}
        assert not any(word in result.sentence for word in ("frozen", "mnth", "instant", "recorded"))


def test_another_fault_beside_the_calendar_is_the_only_suspect() -> None:
    december = np.repeat(np.arange(1210, 1320), 8)
    results = stream(np.arange(1210), december, a=np.full(200, 9.3))
    assert results[-1].verdict is Verdict.ALARM
    assert [s.column for s in results[-1].suspects] == ["a"]
    assert "frozen at 9.3" in results[-1].sentence


@pytest.mark.parametrize(
    ("name", "months", "new"),
    [
        ("when", MONTHS, "Dec"),
        ("month", np.arange(1, 12).astype(str).astype(object), "12"),
        ("when", np.array([f"2026-{m:02}-15" for m in range(1, 12)], dtype=object), "2026-12-15"),
    ],
)
def test_parts_of_the_calendar_in_text_have_no_new_categories(
    name: str, months: np.ndarray, new: str
) -> None:
    columns, truth = table(1100, 0)
    columns[name] = months[np.arange(1100) // 100]
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    block, _ = table(500, 3)
    block[name] = np.array([new] * 500, dtype=object)
    assert charts.examine(block, answers(block)).diagnosis is None
    block[name] = np.array([None] * 500, dtype=object)
    (fault,) = charts.examine(block, answers(block)).diagnosis.faults
    assert fault.words == "null 0.0% → 100.0%"


def test_a_month_that_cannot_be_is_an_alarm() -> None:
    december = np.repeat(np.arange(1210, 1320), 8)
    result = stream(np.arange(1210), december, mnth=np.full(200, -3.0))[-1]
    assert result.verdict is Verdict.ALARM
    words = "100% of the newest values are no month, such as -3"
    assert [(s.column, s.words) for s in result.suspects] == [("mnth", words)]


@pytest.mark.parametrize(
    ("value", "share", "words"),
    [
        (99.0, 0.01, None),
        (99.0, 0.1, "10% of the newest values are no hour, such as 99"),
        (12_000.0, 1.0, "100% of the newest values are no hour, such as 12,000"),
        (6.5, 1.0, "100% of the newest values are no hour, such as 6.5"),
    ],
)
def test_impossible_hours_are_broken_values(value: float, share: float, words: str | None) -> None:
    columns, truth = table(1210, 0)
    columns["hour"] = np.arange(1210) % 24.0
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    block, _ = table(500, 3)
    block["hour"] = np.arange(500) % 24.0
    block["hour"][: int(500 * share)] = value
    diagnosis = charts.examine(block, answers(block)).diagnosis
    assert (diagnosis and [fault.words for fault in diagnosis.faults]) == (words and [words])


@pytest.mark.parametrize(
    ("name", "known", "new", "is_fault"),
    [
        ("recorded", 1.7e9 + 600.0 * np.arange(1210), 1.71e9, False),
        ("recorded", 1.7e9 + 600.0 * np.arange(1210), 1.71e12, True),
        ("recorded", 1.7e9 + 600.0 * np.arange(1210), 0.0, True),
        ("day", 20_260_101.0 + np.arange(1210) // 110 * 100, 20_261_231.0, False),
        ("day", 20_260_101.0 + np.arange(1210) // 110 * 100, 31_122_026.0, True),
        ("year", 2015.0 + np.arange(1210) // 110, 2026.0, False),
        ("year", 2015.0 + np.arange(1210) // 110, 26.0, True),
        ("share of the day", np.arange(1210) % 48 / 48, 1.0, False),
        ("share of the day", np.arange(1210) % 48 / 48, 98.0, True),
        ("row", np.arange(1210.0), 9e9, False),
    ],
)
def test_times_in_another_unit_are_broken_values_and_later_ones_are_not(
    name: str, known: np.ndarray, new: float, is_fault: bool
) -> None:
    columns, truth = table(1210, 0)
    columns[name] = known
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    block, _ = table(500, 3)
    block[name] = np.full(500, new)
    diagnosis = charts.examine(block, answers(block)).diagnosis
    assert (diagnosis is not None) is is_fault
    assert list(charts.calendar) == [list(columns).index(name)]


@pytest.mark.parametrize(
    ("known", "new"),
    [
        (MONTHS, "December"),
        (MONTHS, "dec"),
        (MONTHS, "12"),
        (np.arange(1, 12).astype(str).astype(object), "13"),
    ],
)
def test_a_month_in_another_form_is_a_new_category(known: np.ndarray, new: str) -> None:
    columns, truth = table(1100, 0)
    columns["month"] = known.astype(object)[np.arange(1100) // 100 % len(known)]
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    block, _ = table(500, 3)
    block["month"] = np.array([new] * 500, dtype=object)
    (fault,) = charts.examine(block, answers(block)).diagnosis.faults
    assert new in fault.words
    assert fault.kind == "unseen"

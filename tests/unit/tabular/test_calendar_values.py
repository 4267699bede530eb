from __future__ import annotations

import numpy as np
import pytest

from driftbell.tabular.calendar_values import (
    calendar_kind,
    calendar_kind_of_categories,
    calendar_kind_of_texts,
    impossible_values,
    may_count_on,
    possible_texts,
)

DAYS = np.arange("2024-01-01", "2026-01-01", dtype="datetime64[D]")
MONTHS = DAYS.astype("datetime64[M]").astype(int) % 12 + 1.0
YEARS = 1970.0 + DAYS.astype("datetime64[Y]").astype(int)
DAY = 1.0 + (DAYS - DAYS.astype("datetime64[M]").astype("datetime64[D]")).astype(int)
WEEKDAY = (DAYS.astype(int) + 3) % 7.0
HOURS = np.arange(1000) // 3 % 24.0
RNG = np.random.default_rng(0)


def shuffled(values: np.ndarray) -> np.ndarray:
    return RNG.permutation(values)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x1", MONTHS, "month"),
        ("mnth", shuffled(MONTHS), "month"),
        ("PickupMonth", shuffled(MONTHS), "month"),
        ("x2", HOURS, "hour"),
        ("hr", shuffled(HOURS), "hour"),
        ("hour_of_day", shuffled(HOURS), "hour"),
        ("dayOfWeek", shuffled(WEEKDAY), "day of the week"),
        ("day_of_week", shuffled(WEEKDAY), "day of the week"),
        ("day", shuffled(DAY), "day of the month"),
        ("x3", YEARS, ""),
        ("year", shuffled(YEARS), "year"),
        ("yr", shuffled(YEARS - 2024), "year"),
        ("x4", 1.7e9 + 3600.0 * np.arange(500), "time"),
        ("x5", shuffled(1.7e12 + 3_600_000.0 * np.arange(500)), "time"),
        ("x6", shuffled(np.array([int(str(d).replace("-", "")) for d in DAYS], dtype=float)), "time"),
        ("period", np.arange(1000) % 48 / 47, "time of a cycle"),
        ("share", shuffled(np.arange(1000) % 48 / 47), ""),
        ("sensor", np.sin(np.arange(1000) / 10).round(2), ""),
        ("sawtooth", np.arange(1000) % 48 + RNG.normal(0, 0.1, 1000), ""),
        ("instant", np.arange(1.0, 501), "counter"),
        ("row", shuffled(np.arange(500.0)), "counter"),
        ("customer_id", shuffled(RNG.integers(10_000, 90_000, 800).astype(float)), "counter"),
        ("months_employed", shuffled(MONTHS), ""),
        ("day_charge", RNG.integers(1, 31, 500).astype(float), ""),
        ("rating", RNG.integers(1, 13, 500).astype(float), ""),
        ("visits", RNG.poisson(3, 500).astype(float), ""),
        ("flag", RNG.integers(0, 2, 500).astype(float), ""),
        ("age", np.sort(RNG.integers(18, 90, 500)).astype(float), ""),
        ("price", np.sort(np.round(RNG.lognormal(5, 1, 500))), ""),
        ("model_year", RNG.integers(1990, 2020, 500).astype(float), ""),
        ("temperature", 20 + 10 * np.sin(np.arange(500) / 40), ""),
        ("level", np.round(20 + 10 * np.sin(np.arange(500) / 40)), ""),
        ("revenue", RNG.lognormal(21, 0.5, 500).round(), ""),
        ("store_id", RNG.integers(1, 30, 500).astype(float), ""),
        ("month", np.full(100, np.nan), ""),
        ("empty", np.array([]), ""),
    ],
)
def test_a_part_of_the_calendar_is_known_by_its_values_and_by_order_or_name(
    name: str, values: np.ndarray, kind: str
) -> None:
    assert calendar_kind(name, values) == kind


@pytest.mark.parametrize(
    ("categories", "kind"),
    [
        (["Jan", "Feb", "Sept."], "month"),
        (["Monday", "TUESDAY"], "day of the week"),
        (["2026-01-02", "2026-01-03T10:00"], "time"),
        (["2025Q4", "2026Q1"], "time"),
        (["31.12.2026", "1.1.2027"], "time"),
        (["12/31/26", "1/2/27"], "time"),
        (["10:30", "9:05"], "time"),
        (["1.2.3", "2.0.1"], ""),
        (["10-20", "20-30"], ""),
        (["may", "basic"], ""),
        (["2026-13-02", "2026-01-03"], ""),
        (["north", "south"], ""),
    ],
)
def test_texts_of_the_calendar_are_known(categories: list[str], kind: str) -> None:
    assert calendar_kind_of_texts(categories) == kind


@pytest.mark.parametrize(
    ("kind", "values", "counts_on"),
    [
        ("day of the month", np.arange(1500) // 50 + 1.0, True),
        ("day of the month", shuffled(np.arange(1000) // 50 + 1.0), True),
        ("day of the month", DAY, False),
        ("day of the month", shuffled(DAY), False),
        ("month", np.arange(1200) // 100 + 1.0, True),
        ("month", shuffled(MONTHS), False),
        ("hour", 8.0 + np.arange(1000) % 10, False),
        ("season", shuffled(np.arange(1000) % 4 + 1.0), True),
        ("year", YEARS, False),
        ("time", 1.7e9 + np.arange(1000.0), False),
    ],
)
def test_a_part_of_the_calendar_that_never_starts_again_may_be_a_count(
    kind: str, values: np.ndarray, counts_on: bool
) -> None:
    assert may_count_on(kind, values) is counts_on
    known, new = (float(values.min()), float(values.max())), np.array([-3.0, 40.0, 12_000.0])
    if kind not in ("year", "time"):
        impossible = impossible_values(kind, known, new, counts_on=counts_on)
        assert impossible.tolist() == [True, not counts_on, True]


@pytest.mark.parametrize(
    ("known", "new", "is_possible"),
    [
        (["08", "09"], "10", True),
        (["11", "12"], "01", True),
        (["11", "12"], "1", True),
        (["08", "09"], "1", False),
        (["9", "10"], "01", False),
        (["Feb", "Mar"], "June", True),
        (["Feb", "Mar", "Jun"], "June", False),
        (["Jan.", "Feb."], "March", True),
        (["Jan.", "Feb."], "January", False),
        (["JAN", "FEB"], "MAY", True),
        (["JAN", "FEB"], "May", False),
    ],
)
def test_new_months_in_text_are_written_as_the_known_ones(
    known: list[str], new: str, is_possible: bool
) -> None:
    assert possible_texts("month", known, [new]).tolist() == [is_possible]


@pytest.mark.parametrize(
    ("known", "new", "kind", "is_possible"),
    [
        (["Q1", "Q2"], "Q3", "quarter", True),
        (["Q1", "Q2"], "Q5", "quarter", False),
        (["Q1", "Q2"], "q3", "quarter", False),
        (["Winter", "Spring"], "Summer", "season", True),
        (["Winter", "Spring"], "all", "season", False),
        (["2026-W01", "2026-W09"], "2026-W10", "time", True),
        (["2026W01", "2026W09"], "2026W54", "time", False),
        (["2026 Q1", "2026 Q2"], "2026 Q3", "time", True),
    ],
)
def test_quarters_seasons_and_weeks_in_text_are_parts_of_the_calendar(
    known: list[str], new: str, kind: str, is_possible: bool
) -> None:
    name = "quarter" if kind == "quarter" else "period"
    assert calendar_kind_of_categories(name, known, np.array([0.0, 1.0])) == kind
    assert calendar_kind_of_categories("income", ["Q1", "Q2"], np.array([0.0, 1.0])) == ""
    assert possible_texts(kind, known, [new]).tolist() == [is_possible]


@pytest.mark.parametrize(
    ("known", "value", "is_impossible"),
    [
        ((1.7e9, 2.15e9), 2.3e9, False),
        ((1.7e9, 2.15e9), 1.7e12, True),
        ((1.7e9, 2.15e9), 0.0, True),
        ((19_990_000.0, 20_500_000.0), 22_000_000.0, False),
        ((20_260_101.0, 20_260_531.0), 22_000_000.0, True),
    ],
)
def test_numbers_a_little_beyond_times_are_possible(
    known: tuple[float, float], value: float, is_impossible: bool
) -> None:
    assert impossible_values("time", known, np.array([value])).tolist() == [is_impossible]

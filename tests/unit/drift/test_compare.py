from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.errors import InputError
from driftbell.records import ColumnComparison, Kind, ResultKind, Scope
from driftbell.stats import js_noise, psi_noise
from driftbell.tabular.columns import as_column, is_null
from driftbell.tabular.null_words import NULL_WORDS

RNG = np.random.default_rng(4)
HEIGHT = RNG.normal(170, 10, 200)
PLAN = ["free", "paid", "trial", "free"] * 50
cells = st.floats() | st.none() | st.text(max_size=3) | st.booleans() | st.integers() | st.just(10**400)
column = st.lists(cells, max_size=25)


def one(
    reference: list[Any] | np.ndarray,
    window: list[Any] | np.ndarray,
) -> ColumnComparison:
    (comparison,) = compare({"x": reference}, {"x": window})
    return comparison


def value(result: ColumnComparison, statistic: str) -> float | None:
    return next(r.value for r in result.results if r.statistic == statistic)


def test_a_column_does_not_differ_from_itself() -> None:
    assert one(HEIGHT, HEIGHT).p_value == 1.0
    assert one(PLAN, PLAN).p_value == pytest.approx(1.0)


def test_a_shift_is_detected_and_described() -> None:
    result = one(HEIGHT, HEIGHT + 20)
    assert result.p_value < 1e-10
    assert result.note.startswith("median 170 → 190; ")
    assert "rows above the reference's maximum" in result.note


def test_a_median_of_zero_has_no_sign() -> None:
    assert one([-1.0, -0.0, -0.0, 1.0], [-0.0, 1.0, 1.0]).note == "median 0 → 1"


def test_a_change_of_shares_is_detected_and_described() -> None:
    result = one(PLAN, ["paid"] * 200)
    assert result.p_value < 1e-10
    assert result.note == "paid 25.0% → 100.0%; lost free 50.0% → 0.0%; lost trial 25.0% → 0.0%"


def weighted(result: ColumnComparison, weights: dict[str, float]) -> float:
    known = {r.statistic: r.value for r in result.results if r.kind is ResultKind.P_VALUE}
    assert known.keys() == weights.keys()
    return min(1.0, *(known[name] / weight for name, weight in weights.items()))


TESTS = {
    "Kolmogorov–Smirnov": 0.4,
    "rank sum": 0.4,
    "rows below the reference": 0.1,
    "rows above the reference": 0.1,
}


def test_the_p_value_is_the_smallest_after_each_is_divided_by_its_weight() -> None:
    result = one(HEIGHT, HEIGHT[:100] + 3)
    assert result.p_value == pytest.approx(weighted(result, TESTS))
    with_nulls = one([*HEIGHT, None], HEIGHT[:100] + 3)
    all_tests = {test: weight / 1.1 for test, weight in {**TESTS, "nulls": 0.1}.items()}
    assert with_nulls.p_value == pytest.approx(weighted(with_nulls, all_tests))
    assert sum(TESTS.values()) == sum(all_tests.values()) == pytest.approx(1.0)


def test_the_newest_rows_are_tested_separately_too() -> None:
    window = np.append(HEIGHT, HEIGHT[:20] + 30)
    (plain,) = compare({"x": HEIGHT}, {"x": window})
    (comparison,) = compare({"x": HEIGHT}, {"x": window}, newest=20)
    (alone,) = compare({"x": HEIGHT}, {"x": window[-20:]})
    assert comparison.p_value == pytest.approx(alone.p_value / 0.25)
    assert comparison.p_value < plain.p_value
    assert comparison.note == f"newest 20 rows: {alone.note}"
    assert value(comparison, "newest 20 rows alone") == alone.p_value
    (quiet,) = compare({"x": HEIGHT}, {"x": np.append(HEIGHT + 5, HEIGHT[:20])}, newest=20)
    assert quiet.note.startswith("median")
    (short,) = compare({"x": HEIGHT}, {"x": HEIGHT[:20]}, newest=20)
    assert short == one(HEIGHT, HEIGHT[:20])


@pytest.mark.parametrize("numeric", [True, False])
def test_a_null_rate_from_two_to_twenty_percent_is_drift(numeric: bool) -> None:
    def column(nulls: int) -> list[Any]:
        cells = list(HEIGHT.repeat(3)[:500]) if numeric else ["a", "b"] * 250
        return [None] * nulls + cells[nulls:]

    assert one(column(10), column(100)).p_value < 1e-10
    assert one(column(10), column(11)).p_value > 0.05


def test_values_between_two_heaps_are_a_large_difference() -> None:
    result = one([0.0, 1.0] * 100, [0.0, 0.5, 1.0, 1.0] * 50)
    assert value(result, "PSI") > 1
    assert value(result, "Jensen–Shannon") > 0.3


@pytest.mark.parametrize("reference", [HEIGHT, PLAN])
def test_effect_sizes_come_with_their_noise(reference: list[str] | np.ndarray) -> None:
    result = one(reference, reference[:50])
    noise = {r.statistic: r.noise for r in result.results if r.noise is not None}
    bins = 10 if reference is HEIGHT else 3
    chance = {"bins": bins, "n": 200, "m": 50}
    assert noise == {"PSI": psi_noise(**chance), "Jensen–Shannon": js_noise(**chance)}


def test_every_result_has_its_numbers_of_rows() -> None:
    result = one([*HEIGHT, None], HEIGHT[:50])
    ks = result.results[0]
    nulls = next(r for r in result.results if r.statistic == "nulls")
    assert (ks.n_reference, ks.n_window) == (200, 50)
    assert (nulls.n_reference, nulls.n_window) == (201, 50)


def test_a_few_outliers_are_detected_where_kolmogorov_smirnov_fails() -> None:
    result = one(HEIGHT, np.append(HEIGHT[:190], np.full(10, 400.0)))
    assert result.p_value < 0.01
    assert next(r.value for r in result.results if r.statistic == "Kolmogorov–Smirnov") < 0.06


def test_a_constant_reference_can_be_compared() -> None:
    assert one([5.0] * 50, [5.0] * 50).p_value == 1.0
    assert one([5.0] * 50, [5.0] * 25 + [6.0] * 25).p_value < 1e-5


def test_a_frozen_column_is_detected() -> None:
    result = one(HEIGHT, [170.0] * 50)
    assert result.p_value < 1e-5


def test_a_numeric_column_that_is_all_null_in_the_window_is_a_finding() -> None:
    result = one(HEIGHT, [None] * 50)
    assert result.p_value < 1e-5
    assert result.note == "no readable value in current; null 0.0% → 100.0%"
    assert [r.statistic for r in result.results] == ["nulls"]
    assert (result.scope, result.null_shares) == (Scope.INCOMPLETE, (0.0, 1.0))


def test_a_category_that_is_all_null_in_the_window_is_a_finding() -> None:
    result = one(PLAN, [None] * 50)
    assert result.p_value < 1e-5
    assert result.note == "null 0.0% → 100.0%"


def test_an_all_null_reference_differs_from_values_and_not_from_nulls() -> None:
    both = one([None] * 50, [None] * 50)
    assert (both.p_value, both.scope) == (None, Scope.NULLS)
    assert both.note == "every cell is null on both sides"
    assert one([None] * 50, HEIGHT[:50]).p_value < 1e-5
    assert one([math.nan] * 50, HEIGHT[:50]).p_value < 1e-5


def test_numbers_that_became_text_are_a_finding() -> None:
    result = one(HEIGHT, ["broken"] * 50)
    assert result.kind is Kind.NUMERIC
    assert result.p_value < 1e-5
    assert result.unreadable == (0, 50)
    assert "numbers in the reference, text in current: 50 of 50 cells such as 'broken'" in result.note


def test_text_that_became_numbers_is_a_finding() -> None:
    result = one(PLAN, [1.0, 2.0] * 25)
    assert result.p_value < 1e-5
    assert result.note.startswith("lost free 50.0% → 0.0%; new 1 0.0% → 50.0%; new 2 0.0% → 50.0%; ")
    assert "text in the reference, numbers in current" in result.note


def test_whole_numbers_and_their_texts_are_one_category() -> None:
    assert one(["1", "2"] * 50, [1.0, 2.0] * 25).p_value == pytest.approx(1.0)


def test_a_new_category_is_a_finding() -> None:
    result = one(PLAN, PLAN[:180] + ["gold"] * 20)
    assert result.p_value < 0.01
    assert result.note == "new gold 0.0% → 10.0%"


def test_a_new_category_beside_a_larger_change_is_still_mentioned() -> None:
    result = one(PLAN, ["paid"] * 95 + ["gold"] * 5)
    assert result.note == (
        "paid 25.0% → 95.0%; lost free 50.0% → 0.0%; lost trial 25.0% → 0.0%; new gold 0.0% → 5.0%"
    )


def test_infinite_values_are_a_finding() -> None:
    result = one(HEIGHT, [*HEIGHT[:40], *[np.inf] * 10])
    assert result.p_value < 1e-3
    assert "10 infinite values" in result.note
    assert math.isfinite(value(result, "Wasserstein in sigmas"))


@pytest.mark.parametrize("reference", [[np.inf, -np.inf] * 10, list(HEIGHT)])
@pytest.mark.parametrize("window", [[np.inf, -np.inf] * 10, [np.inf], [1.7e308, -1.7e308]])
def test_statistics_undefined_for_infinite_values_are_none(
    reference: list[float], window: list[float]
) -> None:
    result = one(reference, window)
    assert value(result, "Wasserstein in sigmas") is None
    assert 0 <= result.p_value <= 1


def test_a_missing_column_is_not_compared() -> None:
    known, missing = compare({"a": [1, 2], "b": [1, 2]}, {"a": [1, 2]})
    assert known.p_value == 1.0
    assert (missing.column, missing.p_value, missing.results) == ("b", None, ())
    assert missing.note == "the current data has no such column"


def test_an_extra_column_comes_last_with_a_role_of_its_own() -> None:
    *_, extra = compare({"a": [1, 2]}, {"z": [1, 2], "a": [1, 2]})
    assert (extra.column, extra.role, extra.p_value) == ("z", "extra", None)


def test_an_empty_window_cannot_be_compared() -> None:
    result = one(HEIGHT, [])
    assert (result.p_value, result.note) == (None, "there are no rows to compare")


def test_an_empty_reference_cannot_be_compared() -> None:
    assert one([], HEIGHT).p_value is None


def test_one_row_is_no_evidence() -> None:
    assert one(HEIGHT, [170.0]).p_value == 1.0
    assert one(PLAN, ["gold"]).p_value > 0.005
    assert one([1.0], [9.0]).p_value == 1.0


def test_columns_of_distinct_texts_are_compared_by_nulls_only() -> None:
    keys = [f"user-{i}" for i in range(200)]
    fresh = [f"user-{i}" for i in range(200, 300)]
    assert one(keys, fresh).p_value == 1.0
    assert one(keys, [None] * 50 + fresh[:50]).p_value < 1e-5
    assert one(keys, fresh).histogram is None


def test_dates_move_on_without_an_alarm() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    days = [start + timedelta(days=i) for i in range(100)]
    assert one(days[:50], days[50:]).p_value == 1.0


def test_a_long_tail_of_categories_is_no_drift_on_unchanged_data() -> None:
    rng, weights = np.random.default_rng(9), 1 / np.arange(1, 301)
    names = np.array([f"city-{i}" for i in range(300)])

    def draw(rows: int) -> np.ndarray:
        return rng.choice(names, rows, p=weights / weights.sum())

    assert np.mean([one(draw(1000), draw(500)).p_value <= 0.05 for _ in range(150)]) <= 0.05 + 0.055


def test_roles_are_passed_on() -> None:
    a, b = compare({"a": [1], "b": [1]}, {"a": [1], "b": [1]}, roles={"b": "prediction"})
    assert (a.role, b.role) == ("feature", "prediction")


def test_the_bins_of_two_windows_are_the_same() -> None:
    near, far = one(HEIGHT, HEIGHT + 1), one(HEIGHT, HEIGHT * 100)
    assert near.histogram.labels == far.histogram.labels
    assert near.histogram.reference == far.histogram.reference


def test_the_histogram_counts_every_row() -> None:
    result = one(HEIGHT, [*HEIGHT[:40], np.inf, -np.inf])
    assert sum(result.histogram.reference) == 200
    assert sum(result.histogram.window) == 42


@pytest.mark.parametrize(
    "table_of",
    [
        dict,
        pd.DataFrame,
        pa.table,
        lambda columns: {name: np.array(cells) for name, cells in columns.items()},
        lambda columns: {name: tuple(cells) for name, cells in columns.items()},
    ],
    ids=["lists", "pandas", "Arrow", "numpy", "tuples"],
)
def test_every_type_of_table_is_accepted(table_of: Any) -> None:
    columns = {"height": HEIGHT.tolist(), "plan": PLAN, "vip": [True, False] * 100}
    comparison = compare(columns, table_of(columns))
    assert [(c.column, c.kind) for c in comparison] == [
        ("height", Kind.NUMERIC),
        ("plan", Kind.CATEGORICAL),
        ("vip", Kind.BOOLEAN),
    ]
    assert [c.p_value for c in comparison] == [pytest.approx(1.0)] * 3


def test_the_nulls_of_pandas_are_nulls() -> None:
    table = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "s": pd.array(["a", None, "b"], dtype="string"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["a", None, "b"]),
            "t": pd.to_datetime(["2026-01-01", None, "2026-01-02"]),
        }
    )
    comparison = compare(table, table)
    kinds = [Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN, Kind.CATEGORICAL, Kind.DATETIME]
    assert [c.kind for c in comparison] == kinds
    assert [c.p_value for c in comparison] == [pytest.approx(1.0)] * 5


def test_unequal_lengths_are_rejected() -> None:
    with pytest.raises(InputError, match="differ in length"):
        compare({"a": [1, 2], "b": [1]}, {"a": [1]})


def test_a_column_of_two_dimensions_is_rejected() -> None:
    with pytest.raises(InputError, match="one dimension"):
        compare({"a": np.zeros((2, 2))}, {"a": [1]})


def mixed(rows: int, seed: int, shift: float = 0.0) -> dict[str, list[Any] | np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "height": rng.normal(170 + shift, 10, rows),
        "rounded": np.round(rng.normal(shift, 1, rows), 1),
        "rare null": [None if u < 0.05 else u for u in rng.random(rows)],
        "plan": rng.choice(["free", "paid", "trial"], rows).tolist(),
        "city": [f"city-{i}" for i in rng.geometric(0.1, rows)],
        "vip": (rng.random(rows) < 0.3).tolist(),
        "mixed": [1, 1.0, True, "1", None] * (rows // 5),
        "key": [f"user-{i}-{seed}" for i in range(rows)],
        "empty": [None] * rows,
    }


@pytest.mark.parametrize("newest", [0, 50])
def test_a_prepared_reference_gives_the_same_for_many_windows(newest: int) -> None:
    reference, roles = mixed(1000, 1), {"plan": "prediction"}
    before = prepare(reference, roles=roles)
    for seed, shift in ((2, 0.0), (3, 5.0), (4, 0.0)):
        window = mixed(500, seed, shift) | {"new": [1] * 500}
        comparison = compare(before, window, newest=newest)
        assert comparison == compare(reference, window, roles=roles, newest=newest)
        assert [c.role for c in comparison if c.column in ("plan", "new")] == ["prediction", "extra"]


@pytest.mark.slow
@given(column, column)
def test_a_prepared_reference_gives_the_same_for_any_values(reference: list[Any], window: list[Any]) -> None:
    assert compare(prepare({"x": reference}), {"x": window}) == (one(reference, window),)


def test_a_prepared_reference_does_not_change_with_its_table_or_its_windows() -> None:
    table = {"height": HEIGHT.copy()}
    before = prepare(table)
    first = compare(before, {"height": HEIGHT[:50]})
    table["height"] += 100
    compare(before, {"height": HEIGHT + 50})
    assert compare(before, {"height": HEIGHT[:50]}) == first


def test_the_roles_of_a_prepared_reference_are_its_own() -> None:
    with pytest.raises(ValueError, match="roles"):
        compare(prepare({"a": [1]}), {"a": [1]}, roles={"a": "prediction"})


def test_a_table_of_columns_gives_the_same_as_one_of_cells() -> None:
    reference, window = mixed(500, 5), mixed(100, 6)
    columns = [{name: as_column(cells) for name, cells in t.items()} for t in (reference, window)]
    assert compare(*columns, newest=20) == compare(reference, window, newest=20)


@given(column, column)
def test_no_column_raises_an_exception(reference: list[Any], window: list[Any]) -> None:
    result = one(reference, window)
    assert result.note
    nulls = all(is_null(v) or str(v).strip() in NULL_WORDS for v in [*reference, *window])
    assert (result.p_value is None) == (not reference or not window or nulls)
    assert result.p_value is None or 0 <= result.p_value <= 1
    assert all(r.value is None or math.isfinite(r.value) for r in result.results)


def test_a_rare_category_that_becomes_frequent_is_drift_even_among_thousands() -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"c{i}" for i in range(5000)])
    before, now, same = (names[rng.integers(0, 5000, rows)].tolist() for rows in (20_000, 2000, 2000))
    now[:200] = ["c4999"] * 200
    (changed,), (unchanged,) = (compare({"k": before}, {"k": rows}) for rows in (now, same))
    assert judge([changed], rows=2000).drifted_columns == ("k",)
    assert judge([unchanged], rows=2000).drifted_columns == ()
    assert "c4999 0.0% → 10.0%" in changed.note

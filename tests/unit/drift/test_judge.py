from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import (
    FALSE_CHECK_RATE,
    MAX_P_VALUE,
    PREDICTIONS,
    judge,
    persistent_columns,
    update_persistence,
)
from driftbell.drift.prepared import PreparedReference
from driftbell.models.iris import iris_model
from driftbell.models.reference import build_reference
from driftbell.records import ColumnComparison, Columns, Effect, Judgement, Kind, Scope, Verdict

SHIFTS = {"sepal length (cm)": 2.5, "sepal width (cm)": -1.0, "petal length (cm)": 3.0}


def column(
    name: str, p_value: float | None, role: str = "feature", note: str = "median 1 → 2"
) -> ColumnComparison:
    return ColumnComparison(name, role, Kind.NUMERIC, p_value, (), None, note)


def missing(name: str) -> ColumnComparison:
    return column(name, None, note="the current data has no such column")


def identifier(name: str, p_value: float = 1.0) -> ColumnComparison:
    return replace(column(name, p_value, note="an identifier"), scope=Scope.NULLS)


def extra(name: str) -> ColumnComparison:
    return column(name, None, role="extra", note="the reference has no such column")


def test_no_drift_is_ok() -> None:
    judgement = judge([column("a", 0.3), column("b", 0.9)], rows=500)
    assert judgement.verdict is Verdict.OK
    assert judgement.sentence == "No drift: all 2 columns of the 500 rows look like the reference."
    assert judgement.drifted_columns == ()
    assert [c.reason for c in judgement.columns] == ["No drift: median 1 → 2."] * 2


def test_drift_is_a_warning_that_names_the_column() -> None:
    judgement = judge([column("a", 1e-6), column("b", 0.9)], rows=500, unit=PREDICTIONS)
    assert [c.verdict for c in judgement.columns] == [Verdict.WARNING, Verdict.OK]
    assert judgement.verdict is Verdict.WARNING
    assert judgement.sentence == (
        "Drift in a: 1 of 2 columns of the last 500 predictions differ from the reference."
    )
    assert judgement.drifted_columns == ("a",)
    assert judgement.columns[0].reason == "Drift: median 1 → 2."


def test_drift_of_inputs_and_outputs_names_the_inputs() -> None:
    judgement = judge(
        [column("a", 1e-6), column("b", 1e-6), column("prediction", 1e-6, "prediction")], rows=50
    )
    assert judgement.sentence.startswith("Drift in a and b, and the predictions with them: 3 of 3 columns")


def test_drift_of_the_outputs_alone_says_so() -> None:
    judgement = judge([column("a", 0.9), column("prediction", 1e-6, "prediction")], rows=50)
    assert judgement.sentence.startswith("Drift in the predictions (prediction): 1 of 2 columns")


def test_many_drifted_columns_are_counted_and_not_all_listed() -> None:
    judgement = judge([column(f"c{i}", 1e-6) for i in range(12)], rows=50)
    assert "c0, c1, c2, c3, c4, c5, c6, c7 and 4 more: 12 of 12" in judgement.sentence


def test_too_few_rows_are_unknown() -> None:
    judgement = judge([column("a", 1e-6)], rows=9)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.sentence == "Cannot judge: needs 10, has 9 rows."


def test_the_minimum_of_rows_is_configurable() -> None:
    assert judge([column("a", 0.9)], rows=9, minimum_rows=9).verdict is Verdict.OK
    assert judge([column("a", 0.9)], rows=99, minimum_rows=100).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("comparisons", "rest"),
    [
        ([], ""),
        ([missing("a")], " 1 column not compared: a (the current data has no such column)."),
        ([extra("z")], " Not in the reference: z."),
        ([identifier("a")], " 1 column not compared: a (an identifier)."),
    ],
)
def test_nothing_to_compare_is_unknown(comparisons: list[ColumnComparison], rest: str) -> None:
    judgement = judge(comparisons, rows=50)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.sentence == f"Cannot judge: no column can be compared.{rest}"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["b"], "b (the current data has no such column)"),
        (["b", "c"], "b and c (the current data has no such column)"),
    ],
)
def test_a_missing_column_is_unknown(names: list[str], words: str) -> None:
    judgement = judge([column("a", 0.9), *map(missing, names)], rows=50)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.sentence == f"Cannot judge every column: {words}."
    assert judgement.columns[1].verdict is Verdict.UNKNOWN
    assert judgement.columns[1].reason == "Not compared: the current data has no such column."


def test_identifiers_are_named_beside_a_missing_column() -> None:
    judgement = judge([column("a", 0.9), missing("b"), identifier("id"), extra("z")], rows=50)
    assert judgement.sentence == (
        "Cannot judge every column: b (the current data has no such column). "
        "1 column not compared: id (an identifier). Not in the reference: z."
    )


def test_drift_beside_a_missing_column_is_a_warning_that_names_both() -> None:
    judgement = judge([column("a", 1e-6), missing("b")], rows=50)
    assert judgement.verdict is Verdict.WARNING
    assert judgement.sentence.endswith(
        "differ from the reference. 1 column not compared: b (the current data has no such column)."
    )


def test_an_extra_column_is_a_note_and_not_among_the_compared() -> None:
    judgement = judge([column("a", 0.9), extra("z")], rows=50)
    assert judgement.verdict is Verdict.OK
    assert judgement.sentence == (
        "No drift: the only compared column of the 50 rows looks like the reference. Not in the reference: z."
    )
    assert judgement.columns[1].verdict is Verdict.UNKNOWN


def test_an_identifier_is_not_among_the_compared_columns() -> None:
    judgement = judge([column("a", 0.9), column("b", 0.9), identifier("id"), identifier("key")], rows=50)
    assert judgement.verdict is Verdict.OK
    assert judgement.sentence == (
        "No drift: all 2 compared columns of the 50 rows look like the reference. "
        "2 columns not compared: id and key (an identifier)."
    )
    assert [c.compared for c in judgement.columns] == [True, True, False, False]
    assert judgement.columns[2].verdict is Verdict.UNKNOWN
    assert judgement.columns[2].reason == "Not compared: an identifier."


def test_new_nulls_of_an_identifier_are_drift() -> None:
    judgement = judge([column("a", 0.9), identifier("id", p_value=1e-9)], rows=50)
    assert judgement.drifted_columns == ("id",)
    assert judgement.sentence == "Drift in id: 1 of 2 columns of the 50 rows differ from the reference."


def test_a_change_that_is_detectable_but_negligible_is_not_drift() -> None:
    small = replace(column("a", 1e-12), effects=(Effect("chi-square", 1e-12, 0.005, 0.004),))
    (judged,) = judge([small], rows=200_000).columns
    assert (judged.verdict, judged.drifted) == (Verdict.OK, False)
    assert judged.reason == "No drift (p 1e-12, but only 0.5% of the rows differ): median 1 → 2."
    assert judge([small], rows=200_000, smallest_effect=0.003).drifted_columns == ("a",)
    by_column = {"a": 0.003}
    assert judge([small], rows=200_000, smallest_effect=by_column).drifted_columns == ("a",)
    assert not judge([small], rows=200_000, smallest_effect={"b": 0.003}).drifted_columns


def test_evidence_and_size_must_belong_to_the_same_change() -> None:
    effects = Effect("rank sum", 1e-12, 0.004, 0.003), Effect("nulls", 0.2, 0.2, 0.1)
    mixed = replace(column("a", 1e-12), effects=effects)
    assert judge([mixed], rows=500).drifted_columns == ()


def test_the_column_with_the_largest_change_is_named_first() -> None:
    changes = [("a", 0.1), ("b", 0.6), ("c", 0.3)]
    comparisons = [replace(column(n, 1e-9), effects=(Effect("x", 1e-9, s, s),)) for n, s in changes]
    assert judge(comparisons, rows=50).sentence.startswith("Drift in b, c and a: ")


def test_a_missing_column_outweighs_an_extra_one() -> None:
    assert judge([column("a", 0.9), missing("b"), extra("z")], rows=50).verdict is Verdict.UNKNOWN


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_the_adjustment_is_scipys_benjamini_hochberg(p_values: list[float], rate: float) -> None:
    judgement = judge(
        [column(f"c{i}", p) for i, p in enumerate(p_values)], rows=50, false_discovery_rate=rate
    )
    adjusted = scipy.stats.false_discovery_control(p_values)
    assert [c.adjusted_p_value for c in judgement.columns] == adjusted.tolist()
    strong = (np.array(p_values) <= MAX_P_VALUE) | (adjusted <= FALSE_CHECK_RATE)
    assert [c.drifted for c in judgement.columns] == ((adjusted <= rate) & strong).tolist()


def test_columns_that_cannot_be_judged_do_not_count_in_the_adjustment() -> None:
    alone = judge([column("a", 0.01)], rows=50)
    beside = judge([missing("x"), column("a", 0.01), extra("z")], rows=50)
    assert alone.columns[0].adjusted_p_value == beside.columns[1].adjusted_p_value == 0.01


def test_a_reference_of_a_few_rows_cannot_be_judged_against() -> None:
    judged = judge(compare({"x": [1.0]}, {"x": [1000.0] * 10}), rows=10)
    assert judged.verdict is Verdict.UNKNOWN
    assert judged.sentence == "Cannot judge: the reference needs 10, has 1 row."


@pytest.mark.parametrize("rows", [10, 24, 100])
@pytest.mark.parametrize("value", ["Z", None, "a"])
def test_a_window_of_one_category_alone_is_drift(value: str | None, rows: int) -> None:
    comparison = compare({"x": list("abcde") * 100}, {"x": [value] * rows})
    assert judge(comparison, rows=rows).drifted_columns == ("x",)


def test_the_deciding_number_comes_first_with_its_threshold() -> None:
    (comparison,) = compare({"a": [1.0, 2, 3] * 5}, {"a": [1.0, 2, 3] * 5})
    (judged,) = judge([comparison], rows=50, false_discovery_rate=0.02).columns
    deciding, *rest = judged.comparison.results
    assert (deciding.value, deciding.threshold) == (1.0, 0.02)
    assert tuple(rest) == comparison.results


@dataclass(frozen=True)
class Iris:
    """The flowers with the model's answers, as they are and with `SHIFTS`, from which windows are drawn."""

    reference: PreparedReference
    unchanged: Columns
    shifted: Columns


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iris:
    model, features = iris_model(tmp_path_factory.mktemp("iris"))
    reference = build_reference(model, features)
    shifted = {name: cells + SHIFTS.get(name, 0.0) for name, cells in features.items()}
    return Iris(
        prepare(reference.columns, roles=reference.roles),
        reference.columns,
        build_reference(model, shifted).columns,
    )


def judged(
    iris: Iris, rows: int, drifted: int, seed: int, newest: int = 0, strong: float | None = None
) -> Judgement:
    """Judge a window of flowers drawn at random, the newest of which have drifted."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(iris.unchanged["prediction"]), rows)
    has_drifted = np.arange(rows) >= rows - drifted
    window = {
        name: np.where(has_drifted, iris.shifted[name][drawn], cells[drawn])
        for name, cells in iris.unchanged.items()
    }
    return judge(compare(iris.reference, window, newest=newest), rows=rows, strong=strong)


@pytest.mark.slow
def test_at_most_one_of_twenty_unchanged_windows_of_iris_lists_drift(iris: Iris) -> None:
    windows = 300
    listed = [judged(iris, 500, 0, seed).drifted_columns != () for seed in range(windows)]
    assert np.mean(listed) <= 0.05


@pytest.mark.slow
def test_the_monitor_detects_a_tenth_of_drifted_rows_in_nearly_every_window(iris: Iris) -> None:
    listed = [judged(iris, 500, 50, seed, 50, 1 / 8640).drifted_columns != () for seed in range(200)]
    assert np.mean(listed) >= 0.95


def test_where_half_of_a_hundred_rows_drift_exactly_their_features_are_named(iris: Iris) -> None:
    named = {judged(iris, 100, 50, seed).drifted_columns for seed in range(50)}
    flower = [c.name for c in iris.reference.columns if c.role == "feature"]
    features = {tuple(c for c in columns if c in flower) for columns in named}
    assert features == {tuple(SHIFTS)}


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 8, 30])
def test_any_number_of_unchanged_columns_keeps_the_alarm_budget(columns: int) -> None:
    rng, runs = np.random.default_rng(columns), 150
    listed = 0
    for _ in range(runs):
        reference, window = (
            {f"c{i}": column for i, column in enumerate(rng.normal(size=(columns, rows)))}
            for rows in (150, 100)
        )
        listed += judge(compare(reference, window), rows=100).drifted_columns != ()
    assert listed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


# a row of checks

STRONG = 1e-3


def in_a_row(*p_values: Any, strong: float = STRONG, step: int = 100, rows: int = 100) -> list[Judgement]:
    """Judge checks of two columns, `a` with these p-values, each `step` rows after the previous one."""
    state: dict[str, Any] = {}
    result = []
    for number, p_value in enumerate(p_values):
        first = number * step + 1
        comparisons = [column("a", p_value), column("b", 0.9)]
        judgement = judge(
            comparisons,
            rows=rows,
            strong=strong,
            persistent=persistent_columns(state, first),
            unit=PREDICTIONS,
        )
        state = update_persistence(state, judgement, last=first + rows - 1)
        result.append(judgement)
    return result


def listed(*p_values: Any, **options: Any) -> list[bool]:
    return [j.drifted_columns == ("a",) for j in in_a_row(*p_values, **options)]


def test_strong_evidence_is_listed_at_once() -> None:
    (result,) = in_a_row(STRONG / 2)
    assert result.drifted_columns == ("a",)
    assert result.columns[0].threshold == STRONG
    assert result.columns[0].comparison.results[0].threshold == STRONG


def test_weak_evidence_is_noted_but_not_listed() -> None:
    (result,) = in_a_row(0.01)
    assert (result.verdict, result.drifted_columns) == (Verdict.OK, ())
    assert result.sentence == (
        "No drift so far in the last 100 predictions: weak evidence in a is listed if it lasts."
    )
    assert result.columns[0].verdict is Verdict.OK
    assert result.columns[0].reason == "Weak evidence (p 0.02), listed if it lasts: median 1 → 2."
    assert judge([column("a", 0.01)], rows=50).drifted_columns == (), "a single comparison has no later"
    assert judge([column("a", 0.001)], rows=50).drifted_columns == ("a",)


def test_weak_evidence_is_listed_with_the_second_window_that_shares_no_row_with_the_first() -> None:
    assert listed(0.01, 0.01) == [False, True]
    assert listed(*[0.01] * 6, step=25) == [False] * 4 + [True] * 2
    assert in_a_row(0.01, 0.01)[1].columns[0].threshold == 0.05


def test_evidence_that_pauses_starts_again() -> None:
    assert listed(0.01, 0.9, 0.01, 0.01) == [False, False, False, True]


def test_a_listed_column_stays_listed_while_evidence_lasts() -> None:
    assert listed(1e-9, 0.01, 0.01, 0.9, 0.01, step=25) == [True, True, True, False, False]


def test_a_check_that_cannot_judge_leaves_the_evidence_as_it_was() -> None:
    state = {"a": 100, "b": 0}
    assert update_persistence(state, judge([], rows=3), last=200) == state
    half = judge([column("a", 0.01), missing("b")], rows=50, strong=STRONG)
    assert update_persistence(state, half, last=200) == state


def test_the_same_rows_again_are_no_second_window() -> None:
    assert listed(*[0.01] * 5, step=0) == [False] * 5


def test_the_threshold_is_never_above_the_rate() -> None:
    assert listed(0.03, strong=0.5) == [False]


def test_a_monitor_lists_nothing_on_unchanged_data_and_a_small_shift_with_its_second_window() -> None:
    rng = np.random.default_rng(6)
    columns, rows, stories = 6, 300, 12
    false, first, second = 0, 0, 0
    for _ in range(stories):
        reference = {f"c{i}": rng.normal(size=1000) for i in range(columns)}
        for shift in (0.0, 0.35):
            state: dict[str, Any] = {}
            for number in range(2):
                window = {f"c{i}": rng.normal(shift * (i == 0), size=rows) for i in range(columns)}
                held = persistent_columns(state, number * rows + 1)
                judgement = judge(
                    compare(reference, window, newest=50), rows=rows, strong=1 / 8640, persistent=held
                )
                state = update_persistence(state, judgement, last=(number + 1) * rows)
                right = shift > 0 and "c0" in judgement.drifted_columns
                false += len(judgement.drifted_columns) - right
                first += right and number == 0
                second += right and number == 1
    assert false == 0
    assert first < second
    assert second >= 0.9 * stories


def unseen(reference: list[str], window: list[str]) -> Judgement:
    comparisons = compare({"plan": reference}, {"plan": window})
    return judge(comparisons, rows=len(window), unit=PREDICTIONS)


def test_categories_that_the_reference_lacks_are_counted_below_the_limit_of_drift() -> None:
    plans = ["a", "b", "c", "d"] * 500
    result = unseen(plans, plans[:497] + ["new"] * 3)
    assert (result.verdict, result.columns[0].comparison.unseen_rows) == (Verdict.OK, 3)
    assert result.sentence.endswith(" Categories that the reference lacks: plan in 3 of 500 rows.")
    many = unseen(plans, plans[:400] + ["new"] * 100)
    assert many.columns[0].drifted
    assert "lacks" not in many.sentence


def test_a_long_tail_of_rare_categories_is_not_counted_as_unseen() -> None:
    rng = np.random.default_rng(3)
    cities = [f"c{i}" for i in rng.zipf(1.5, 1500)]
    assert set(cities[1000:]) - set(cities[:1000])
    assert unseen(cities[:1000], cities[1000:]).columns[0].comparison.unseen_rows == 0

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftbell.degradation.compare_versions import agreement_of, compare_pairs, compare_versions
from driftbell.records.comparison import ComparisonVerdict, LabelledOutcome, ShadowPair, VersionComparison

START = datetime(2026, 1, 31, tzinfo=UTC)


def outcome(seq: int, output: str, label: str) -> LabelledOutcome:
    return LabelledOutcome(seq, START + timedelta(seconds=seq), output, label, 2.0 + seq % 3)


def classifiers(
    rows: int, accuracies: tuple[float, float], *, share: float = 0.5, seed: int = 0
) -> VersionComparison:
    rng = np.random.default_rng(seed)
    sides: tuple[list[LabelledOutcome], list[LabelledOutcome]] = ([], [])
    for seq in range(rows):
        side = int(rng.random() < share)
        sides[side].append(outcome(seq, "yes" if rng.random() < accuracies[side] else "no", "yes"))
    return compare_versions("m", ("v1", sides[0]), ("v2", sides[1]), is_regression=False, smallest_loss=0.02)


def regressions(rows: int, errors: tuple[float, float]) -> VersionComparison:
    rng = np.random.default_rng(0)
    sides: tuple[list[LabelledOutcome], list[LabelledOutcome]] = ([], [])
    for seq in range(rows):
        value = 100 + errors[seq % 2] * rng.standard_normal()
        sides[seq % 2].append(outcome(seq, repr(float(value)), "100"))
    return compare_versions("m", ("v1", sides[0]), ("v2", sides[1]), is_regression=True, smallest_loss=0.5)


@pytest.mark.parametrize(
    ("accuracies", "verdict", "word"),
    [((0.9, 0.8), "worse", "performs worse than v1"), ((0.8, 0.9), "better", "performs better than v1")],
)
def test_a_difference_of_ten_points_is_certain(
    accuracies: tuple[float, float], verdict: str, word: str
) -> None:
    comparison = classifiers(6000, accuracies)
    assert comparison.verdict.value == verdict
    assert word in comparison.sentence
    difference = comparison.difference
    assert difference is not None
    assert difference.low <= accuracies[1] - accuracies[0] <= difference.high
    assert comparison.decided is not None
    assert comparison.decided < 4000
    assert comparison.before.labels + comparison.after.labels == 6000
    assert comparison.before.median_latency_ms == 3.0


def test_equal_versions_are_undecided_until_the_interval_is_narrow() -> None:
    few = classifiers(400, (0.8, 0.8))
    assert few.verdict is ComparisonVerdict.UNKNOWN
    assert few.sentence.startswith("Cannot tell: the difference may still be up to ")
    assert "more labels decide a difference of 2.0 points" in few.sentence
    many = classifiers(60_000, (0.97, 0.97), seed=1)  # one seed in some hundred calls one better
    assert many.verdict is ComparisonVerdict.EQUAL
    assert many.sentence.startswith("v2 and v1 do not differ by more than ")
    assert many.decided is None


def test_a_small_share_of_traffic_is_enough() -> None:
    assert classifiers(20_000, (0.9, 0.75), share=0.05).verdict is ComparisonVerdict.WORSE


def test_versions_that_served_one_after_the_other_cannot_be_compared() -> None:
    first = [outcome(seq, "yes", "yes") for seq in range(1000)]
    second = [outcome(seq, "no", "yes") for seq in range(1000, 2000)]
    comparison = compare_versions("m", ("v1", first), ("v2", second), is_regression=False, smallest_loss=0.02)
    assert comparison.verdict is ComparisonVerdict.UNKNOWN


def test_a_version_without_labels_is_named() -> None:
    comparison = compare_versions(
        "m", ("v1", [outcome(1, "a", "a")]), ("v2", []), is_regression=False, smallest_loss=0.02
    )
    assert comparison.sentence == "Cannot tell: there are no labels of v2."
    assert comparison.after.performance is None
    assert comparison.difference is None


def test_errors_of_regressions_are_compared() -> None:
    worse = regressions(4000, (5.0, 7.0))
    assert worse.verdict is ComparisonVerdict.WORSE
    assert worse.metric == "mean absolute error"
    assert worse.difference is not None
    assert worse.difference.low > 0
    better = regressions(4000, (7.0, 5.0))
    assert better.verdict is ComparisonVerdict.BETTER
    assert regressions(4000, (5.0, 5.0)).verdict is ComparisonVerdict.EQUAL
    assert regressions(400, (5.0, 5.0)).verdict is ComparisonVerdict.UNKNOWN


def paired(rows: int, accuracies: tuple[float, float], *, seed: int = 0) -> VersionComparison:
    """Two classifiers that are wrong on mostly the same rows."""
    rng = np.random.default_rng(seed)
    pairs = []
    for seq in range(rows):
        difficulty = rng.random()
        first, second = ("yes" if difficulty < accuracy else "no" for accuracy in accuracies)
        pairs.append(ShadowPair(seq, START, first, second, "yes", 2.0, None))
    return compare_pairs("m", "v1", "v2", pairs, is_regression=False, smallest_loss=0.02)


def test_pairs_decide_with_fewer_labels_than_blocks() -> None:
    result = paired(2000, (0.9, 0.85))
    assert result.verdict is ComparisonVerdict.WORSE
    assert (result.pairs, result.blocks, result.before.labels) == (2000, 2000, 2000)
    assert result.difference is not None
    assert -0.09 < result.difference.low < -0.05 < result.difference.high < 0
    apart = classifiers(4000, (0.9, 0.85))
    assert result.decided is not None
    assert apart.decided is None or apart.decided > result.decided


def test_equal_pairs_are_equal() -> None:
    result = paired(3000, (0.9, 0.9))
    assert result.verdict is ComparisonVerdict.EQUAL
    assert result.decided is None


def test_pairs_of_a_regression_are_compared_by_their_errors() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for seq in range(1500):
        label, first, second = rng.normal(size=3)
        outputs = (str(label + first), str(label + first + second))
        pairs.append(ShadowPair(seq, START, *outputs, str(label), 2.0, None))
    result = compare_pairs("m", "v1", "v2", pairs, is_regression=True, smallest_loss=0.1)
    assert (result.verdict, result.metric) == (ComparisonVerdict.WORSE, "mean absolute error")
    agreement = agreement_of(pairs, is_regression=True)
    assert (agreement.rows, agreement.same, agreement.matrix) == (1500, 0, ())
    assert agreement.mean_difference == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from driftbell.stats import calibration, class_scores, confusion, wilson

CLASSES = ("a", "b", "c")


@st.composite
def shares(draw: st.DrawFn) -> tuple[int, int]:
    rows = draw(st.integers(1, 5000))
    return draw(st.integers(0, rows)), rows


@given(shares())
def test_wilson_is_scipys(share: tuple[int, int]) -> None:
    result = wilson(*share)
    expected = scipy.stats.binomtest(*share).proportion_ci(0.9, method="wilson")
    assert result.value == share[0] / share[1]
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= result.low <= result.value <= result.high <= 1


def test_wilson_covers_the_truth_nine_times_out_of_ten() -> None:
    results = [wilson(right, 200) for right in range(201)]
    coverage = [
        sum(
            chance
            for i, chance in zip(results, scipy.stats.binom.pmf(range(201), 200, p), strict=True)
            if i.low <= p <= i.high
        )
        for p in np.linspace(0.6, 0.98, 381)
    ]
    assert np.mean(coverage) == pytest.approx(0.9, abs=0.005)
    assert min(coverage) > 0.84


def test_a_larger_quantile_widens_the_interval() -> None:
    narrow, wide = wilson(9, 10), wilson(9, 10, z=1.96)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(("right", "rows"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_rejects_impossible_counts(right: int, rows: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson(right, rows)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    rows = draw(st.integers(0, 60))
    some = st.lists(st.sampled_from(CLASSES), min_size=rows, max_size=rows)
    return draw(some), draw(some)


@given(answers())
def test_confusion_and_class_scores_are_scikit_learns(result: tuple[list[str], list[str]]) -> None:
    labels, outputs = result
    counts = confusion(labels, outputs, CLASSES)
    if labels:
        assert (counts == metrics.confusion_matrix(labels, outputs, labels=CLASSES)).all()
    assert counts.shape == (3, 3)
    assert counts.sum() == len(labels)
    scored = class_scores(counts)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        labels or ["none"], outputs or ["none"], labels=CLASSES, zero_division=np.nan
    )
    for i, score in enumerate(scored):
        assert score.rows == support[i]
        assert score.answered == outputs.count(CLASSES[i])
        for mine, theirs in ((score.precision, precision[i]), (score.recall, recall[i])):
            assert math.isnan(theirs) if mine is None else mine == pytest.approx(theirs)


def test_confusion_rejects_unequal_lengths_and_unknown_classes() -> None:
    with pytest.raises(ValueError, match="1 labels for 0 outputs"):
        confusion(["a"], [], CLASSES)
    with pytest.raises(ValueError, match="'x' is not among the classes"):
        confusion(["a"], ["x"], CLASSES)


def test_calibration_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(2000)
    right = rng.random(2000) < p
    result = calibration(p, right)
    share, mean = calibration_curve(right, p, n_bins=10)
    assert [b.right for b in result] == pytest.approx(share)
    assert [b.probability for b in result] == pytest.approx(mean)
    assert [b.rows for b in result] == np.histogram(p, 10, (0, 1))[0].tolist()
    assert [(b.low, b.high) for b in result] == [(i / 10, (i + 1) / 10) for i in range(10)]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())), st.integers(1, 20))
def test_calibration_puts_every_row_in_one_bin(rows: list[tuple[float, bool]], bins: int) -> None:
    p, right = [r[0] for r in rows], [r[1] for r in rows]
    result = calibration(p, right, bins)
    assert len(result) == bins
    assert sum(b.rows for b in result) == len(rows)
    assert sum(b.rows * (b.right or 0) for b in result) == pytest.approx(sum(right))
    for b in result:
        assert (b.probability is None) == (b.right is None) == (b.rows == 0)
        assert b.probability is None or b.low - 1e-12 <= b.probability <= b.high + 1e-12


def test_calibration_includes_the_edges_and_ignores_rows_without_a_probability() -> None:
    result = calibration([0.0, 0.1, 1.0, math.nan], [True, True, False, True])
    assert [b.rows for b in result] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert calibration([], [])[0].rows == 0
    with pytest.raises(ValueError, match="same length"):
        calibration([0.5], [])

"""Values that a small reference lacks: their chance, and the answer that nobody can tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
import scipy
from sklearn.linear_model import LinearRegression

from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.rare_values import CHOICES, chance_of_excess, chance_outside, singletons
from driftbell.degradation.reference_models import Answers
from driftbell.degradation.update import Rows, update
from driftbell.records import Column, Columns, Degradation, EvidenceState, Outputs, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
SMALL, ROWS, FEATURES = 150, 500, 4


@pytest.mark.parametrize("name", ["norm", "t", "lognorm", "uniform"])
def test_unchanged_values_are_no_more_often_outside_than_stated(name: str) -> None:
    shape = {"t": (3,), "lognorm": (1.0,)}.get(name, ())
    draw, rng = getattr(scipy.stats, name)(*shape), np.random.default_rng(0)
    usual = np.sort(draw.rvs((1500, SMALL), random_state=rng), axis=1)
    now = draw.rvs((1500, ROWS), random_state=rng)
    chances = np.array([chance_outside(a, b) for a, b in zip(usual, now, strict=True)])
    for limit in (0.1, 0.01):
        assert np.mean(chances < limit) < limit + 2 * np.sqrt(limit / len(chances))


def test_a_new_extreme_may_be_chance_and_a_far_value_is_not() -> None:
    usual = np.sort(np.random.default_rng(1).normal(size=SMALL))
    now = np.random.default_rng(2).normal(size=ROWS)
    now[: ROWS // 33] = usual[-1] + 0.01 * np.arange(ROWS // 33)
    assert chance_outside(usual, now) > 1e-3
    now[: ROWS // 33] += 10
    assert chance_outside(usual, now) < 1e-5
    assert chance_outside(usual, -now) == pytest.approx(chance_outside(np.sort(-usual), now))
    assert chance_outside(usual, np.full(ROWS, np.nan)) == chance_outside(usual[:0], now) == 1.0


def test_the_first_new_extremes_have_the_chance_of_ranks() -> None:
    """Without a tail, as of a constant, the k largest of n + m are new with a chance of (m / (n + m))^k."""
    now = np.concatenate([np.ones(5), np.zeros(45)])
    assert chance_outside(np.zeros(SMALL), now) == pytest.approx(CHOICES * (50 / (50 + SMALL)) ** 5)


def test_the_chance_of_an_excess_is_that_of_fishers_test() -> None:
    table = [[12, 88], [3, 197]]
    exact = scipy.stats.fisher_exact(table, alternative="greater").pvalue
    assert chance_of_excess(12, 100, 3, 200) == pytest.approx(exact)


def test_singletons_estimate_the_share_of_unseen_categories() -> None:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 301)
    shares = [
        (
            singletons(known) / 1000,
            float(np.mean(~np.isin(rng.choice(300, 4000, p=share / share.sum()), known))),
        )
        for known in (rng.choice(300, 1000, p=share / share.sum()).astype(float) for _ in range(20))
    ]
    estimated, true = np.mean(shares, axis=0)
    assert estimated == pytest.approx(true, rel=0.15)


def table(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw three important features and an unimportant one, and labels."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, FEATURES))
    score = 3 * matrix[:, :3].sum(axis=1)
    return matrix, (score + rng.logistic(size=rows) > 0).astype(int)


def answers_of(matrix: np.ndarray) -> Answers:
    score = 3 * matrix[:, :3].sum(axis=1) + 0.1 * matrix[:, 3]
    one = 1 / (1 + np.exp(-np.clip(np.nan_to_num(score, nan=-9.0), -30, 30)))
    probabilities = np.column_stack([1 - one, one, np.zeros(len(one))])
    return Answers(probabilities.argmax(axis=1).astype(float), probabilities)


def named(matrix: np.ndarray, kind: Column | None = None) -> Columns:
    columns = {f"x{i}": matrix[:, i] for i in range(FEATURES)}
    return columns | {"kind": kind if kind is not None else some_kinds(len(matrix), 0)}


def some_kinds(rows: int, seed: int) -> Column:
    """Draw categories, a third of the rows with one of many rare ones."""
    rng = np.random.default_rng(seed)
    rare = rng.random(rows) < 1 / 3
    return np.where(rare, rng.integers(10, 300, rows), rng.integers(0, 3, rows)).astype(str).astype(object)


@cache
def detector(rows: int = SMALL) -> CusumDetector:
    matrix, truth = table(rows, 1)
    given = answers_of(matrix)
    outputs = Outputs(given.values.astype(np.intp), given.probabilities)
    labels = np.array([str(v) for v in truth], dtype=object)
    classes = ("0", "1", "2")
    return fit_detector(named(matrix), outputs, labels, classes=classes, checks_per_alarm=1000)


def seen(matrix: np.ndarray, given: Answers | None = None, kind: Column | None = None) -> Degradation:
    """Return the result for a block of rows after an unchanged one."""
    state, degradation = EvidenceState(), None
    usual, _ = table(ROWS, 2)
    for block, (rows, answers, kinds) in enumerate(
        ((usual, answers_of(usual), some_kinds(ROWS, 2)), (matrix, given or answers_of(matrix), kind))
    ):
        times = [START + timedelta(seconds=ROWS * block + i) for i in range(ROWS)]
        columns = named(rows, some_kinds(ROWS, 3) if kinds is None else kinds)
        ids = [str(i) for i in range(ROWS)]
        state, degradation = update(detector().charts, state, Rows(columns, answers, times, ids), LabelRows())
    assert degradation is not None
    return degradation


@pytest.mark.parametrize(("place", "words"), [(0, "outside the reference's range"), (3, "x3 seem broken")])
def test_far_values_of_a_small_reference_are_no_silent_no(place: int, words: str) -> None:
    """Also in a feature without importance, where the answers follow values that it never had."""
    matrix, _ = table(ROWS, 3)
    matrix[::14, place] = -400.0  # 7 % of the rows
    degradation = seen(matrix)
    assert degradation.verdict is Verdict.UNKNOWN
    assert words in degradation.sentence


def test_nulls_and_new_answers_of_a_small_reference_are_no_silent_no() -> None:
    matrix, _ = table(ROWS, 3)
    matrix[::18, 0] = np.nan
    assert "x0 seem broken" in seen(matrix).sentence
    matrix, _ = table(ROWS, 3)
    given = answers_of(matrix)
    assert given.probabilities is not None
    given.probabilities[::12] = [0.05, 0.0, 0.95]
    degradation = seen(matrix, Answers(given.probabilities.argmax(axis=1).astype(float), given.probabilities))
    assert degradation.verdict is Verdict.UNKNOWN
    assert "8% of the 500 rows" in degradation.sentence
    assert "have an answer that the model never gave on the reference" in degradation.sentence


def test_new_categories_are_reported_only_if_the_reference_has_few_rare_ones() -> None:
    """A third of the rows has a rare category, most of them new."""
    for seed in range(2):
        assert seen(table(ROWS, 10 + seed)[0], kind=some_kinds(ROWS, 10 + seed)).verdict is Verdict.OK


@pytest.mark.parametrize("far", [0, 25])
def test_far_values_of_a_regression_with_a_small_reference_have_an_unknown_loss(far: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(SMALL, FEATURES))
    truth = matrix @ np.arange(1, 5) + rng.normal(size=SMALL)
    model = LinearRegression().fit(matrix, truth)
    labels = np.empty(SMALL, dtype=object)
    labels[:] = truth.tolist()
    names = [f"x{i}" for i in range(FEATURES)]
    fitted = fit_detector(
        dict(zip(names, matrix.T, strict=True)),
        Outputs(model.predict(matrix)),
        labels,
        classes=(),
        checks_per_alarm=1000,
    )
    now = rng.normal(size=(ROWS, FEATURES))
    now[:far, 0] = 40.0  # 5 %, which is less than the chance of new extremes in four features
    encoded = fitted.charts.learned.encoder(dict(zip(names, now.T, strict=True)), ROWS)
    blind = fitted.charts.blind_spots.outside(encoded)
    assert (blind is not None) == bool(far)

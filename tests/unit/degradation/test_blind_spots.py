"""Alarms know what they cannot know: all features are examined, and labels count for the rows they cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from tests.degradation_tasks import Stream as TaskStream
from tests.degradation_tasks import answers, score, table

from driftbell.degradation.block import Block
from driftbell.degradation.blocks import add_estimate
from driftbell.degradation.column_changes import ColumnTests
from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.degradation.explain import DegradationEstimate, sentence
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.suspected_labels import are_unsettled
from driftbell.degradation.uncertain import with_blind_spots
from driftbell.degradation.update import Rows, update
from driftbell.records import (
    BlindSpot,
    ColumnCondition,
    Columns,
    Degradation,
    EvidenceState,
    Outputs,
    Verdict,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES, ROWS = 40, 500


class Stream:
    """Blocks of predictions, one second apart, and labels of some of them."""

    def __init__(self, detector: CusumDetector) -> None:
        self.charts, self.state, self.rows = detector.charts, EvidenceState(), 0

    def see(self, columns: Columns, answers: Answers, errors: np.ndarray | None = None) -> Degradation:
        times = [START + timedelta(seconds=self.rows + i) for i in range(len(answers))]
        self.rows += len(answers)
        labels = LabelRows()
        if errors is not None:
            labels = LabelRows(errors, times, features=lambda rows: {k: v[rows] for k, v in columns.items()})
        self.state, degradation = update(
            self.charts,
            self.state,
            Rows(columns, answers, times, [str(i) for i in range(len(times))]),
            labels,
        )
        return degradation


def equal_table(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw independent features of equal importance, and labels."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, FEATURES))
    score = matrix.sum(axis=1) / np.sqrt(FEATURES)
    return matrix, (4 * score + rng.logistic(size=rows) > 0).astype(int)


def named(matrix: np.ndarray) -> Columns:
    return {f"x{i}": matrix[:, i] for i in range(FEATURES)}


@cache
def equal() -> tuple[CusumDetector, LogisticRegression]:
    model = LogisticRegression(max_iter=500).fit(*equal_table(3000, 0))
    matrix, truth = equal_table(2000, 1)
    given = answers_of(model, matrix)
    labels = np.array([str(v) for v in truth], dtype=object)
    outputs = Outputs(given.values.astype(np.intp), given.probabilities)
    detector = fit_detector(named(matrix), outputs, labels, classes=("0", "1"), checks_per_alarm=1000)
    return detector, model


def answers_of(model: LogisticRegression, matrix: np.ndarray) -> Answers:
    probabilities = model.predict_proba(matrix)
    return Answers(probabilities.argmax(axis=1).astype(float), probabilities)


def seen(stream: Stream, matrix: np.ndarray, truth: np.ndarray, *, labelled: bool = False) -> Degradation:
    given = answers_of(equal()[1], matrix)
    return stream.see(named(matrix), given, (given.values != truth).astype(float) if labelled else None)


@pytest.mark.parametrize("place", [0, 17, 39])
@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1.0, 5.0)])
def test_a_fault_in_any_of_many_equal_features_is_never_a_silent_no(
    place: int, scale: float, shift: float
) -> None:
    stream = Stream(equal()[0])
    assert seen(stream, *equal_table(ROWS, 2)).verdict is Verdict.OK
    matrix, truth = equal_table(ROWS, 3)
    matrix[:, place] = scale * matrix[:, place] + shift
    degradation = seen(stream, matrix, truth)
    assert degradation.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
    assert f"x{place}" in degradation.sentence
    assert degradation.to_label


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_one_row_again_and_again_may_be_right(share: float) -> None:
    stream = Stream(equal()[0])
    matrix, truth = equal_table(ROWS, 2)
    rows = np.arange(ROWS) < share * ROWS
    matrix[rows], truth[rows] = matrix[0], truth[0]
    degradation = seen(stream, matrix, truth)
    assert degradation.verdict is Verdict.UNKNOWN
    assert f"100% of the {share * ROWS:.0f} rows until" in degradation.sentence
    assert "are one row again and again" in degradation.sentence


def test_unchanged_rows_have_no_blind_spot() -> None:
    stream = Stream(equal()[0])
    for seed in range(60):
        degradation = seen(stream, *equal_table(ROWS, 100 + seed))
        assert degradation.verdict is Verdict.OK
        loss = degradation.estimated_loss
        assert loss is not None
        assert loss.low < loss.value < loss.high


def test_labels_of_an_older_fault_do_not_acquit_a_new_one() -> None:
    """Feature 3 moves, with labels that show no loss; then feature 8 does, without any label."""
    stream = Stream(equal()[0])
    seen(stream, *equal_table(ROWS, 2), labelled=True)
    matrix, _ = equal_table(300, 3)
    matrix[:, 3] *= 100
    right = answers_of(equal()[1], matrix).values
    assert seen(stream, matrix, right, labelled=True).verdict is not Verdict.ALARM
    assert stream.state.suspicion is not None
    assert stream.state.suspicion.labels > 280  # a few values stay in the range
    matrix, truth = equal_table(ROWS, 4)
    matrix[:, 8] *= 100
    degradation = seen(stream, matrix, truth)
    assert degradation.verdict in (Verdict.ALARM, Verdict.UNKNOWN, Verdict.WARNING)
    assert "performance did not" not in degradation.sentence
    assert stream.state.suspicion is not None
    assert stream.state.suspicion.labels == 0
    assert "x8" in degradation.sentence


def test_only_labels_of_suspected_rows_decide() -> None:
    stream = Stream(equal()[0])
    seen(stream, *equal_table(ROWS, 2))
    matrix, _ = equal_table(1000, 3)
    matrix[:300, 8] = 60.0
    right = answers_of(equal()[1], matrix).values
    given = answers_of(equal()[1], matrix)
    stream.see(named(matrix[:ROWS]), given.take(slice(0, ROWS)))
    assert stream.state.suspicion is not None
    times = [START + timedelta(seconds=ROWS + i) for i in range(ROWS)]
    columns = named(matrix[:ROWS])
    labels = LabelRows(
        (given.values[:ROWS] != right[:ROWS]).astype(float),
        times,
        features=lambda rows: {k: v[rows] for k, v in columns.items()},
    )
    state, _ = update(
        stream.charts, stream.state, Rows({}, Answers(np.empty(0), np.empty((0, 2))), ()), labels
    )
    assert state.suspicion is not None
    assert state.suspicion.labels == 300


def prices(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size, place = rng.uniform(20, 200, rows), rng.integers(0, 4, rows)
    worth = np.array([0.0, 60_000.0, 150_000.0, 300_000.0])[place]
    return size, place, 2000 * size + worth + rng.normal(0, 30_000, rows)


def test_a_renamed_category_of_a_regression_is_no_silent_no() -> None:
    size, place, price = prices(3000, 0)
    model = HistGradientBoostingRegressor(max_iter=60, random_state=0).fit(
        np.column_stack([size, place]), price
    )
    names = np.array(["north", "south", "east", "west"], dtype=object)
    size, place, price = prices(2000, 1)
    given = model.predict(np.column_stack([size, place]))
    labels = np.empty(2000, dtype=object)
    labels[:] = price.tolist()
    detector = fit_detector(
        {"size": size, "place": names[place]}, Outputs(given), labels, classes=(), checks_per_alarm=1000
    )
    stream = Stream(detector)
    for seed, renamed in ((2, False), (3, True), (4, True)):
        size, place, price = prices(ROWS, seed)
        cells, codes = names[place], place.copy()
        if renamed:
            cells, codes = np.where(place == 3, "West", cells), np.where(place == 3, 0, codes)
        given = model.predict(np.column_stack([size, codes]))
        degradation = stream.see({"size": size, "place": cells}, Answers(given))
        error = float(np.abs(given - price).mean())
    if degradation.verdict is Verdict.ALARM and degradation.estimated_loss:
        mean = float(detector.charts.learned.errors.mean())
        assert degradation.estimated_loss.high > error - mean
    else:
        assert degradation.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
    assert "place" in degradation.sentence


def small(seed: int, rows: int, shift: float = 0.0) -> np.ndarray:
    """Draw related features, heavy tails and a feature with almost one value."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 12)) @ (np.eye(12) + 0.3 * np.random.default_rng(0).normal(size=(12, 12)))
    matrix[:, 0] = np.exp(2 * matrix[:, 0])
    matrix[:, 1] = np.where(rng.random(rows) < 0.97, 0.0, rng.gamma(2, 1, rows))
    matrix[:, 2] = matrix[:, 3] + 0.01 * matrix[:, 2]
    return matrix + shift * np.std(matrix, axis=0)


def test_features_that_move_little_each_are_found_together_in_a_small_reference() -> None:
    rng = np.random.default_rng(0)
    reference = small(1, 60)
    given = Answers(rng.integers(0, 2, 60).astype(float), None)
    columns = {f"x{i}": reference[:, i] for i in range(12)}
    tests = ColumnTests(fit_reference_models(columns, given, given.values, classes=2, seed=0))
    alone = [tests(small(seed, 500)).moved for seed in range(100, 300)]
    assert alone.count(()) >= 199
    moved = [tests(small(seed, 500, shift=0.4)).moved for seed in range(100, 120)]
    assert all(moved)


def test_features_that_move_together_are_put_back() -> None:
    rng = np.random.default_rng(5)
    learned = equal()[0].charts.learned
    tests = ColumnTests(learned)
    matrix = rng.normal(size=(ROWS, FEATURES))
    assert tests(matrix).moved == ()
    matrix[:, 4] += 1
    changes = tests(matrix)
    assert changes.moved == (4,)
    back = tests.without_move(matrix, changes.moved)
    assert abs(float(np.median(back[:, 4]))) < 0.2
    assert np.array_equal(np.argsort(back[:, 5]), np.argsort(matrix[:, 5]))


def block_of(column: str, high: float, *, likely: bool) -> Block:
    """Return a block of 500 rows that may have a loss by a moved column."""
    spot = BlindSpot(1.0, column, "moved", high, (ColumnCondition(column, "any"),))
    errors, rows = np.zeros(ROWS), np.arange(ROWS)
    blind = spot if likely else None
    return Block(
        ROWS, 0.0, "confidence", errors, rows, np.empty((0, 0)), errors, None, 0.0, blind, 0.0, high, spot
    )


@pytest.mark.parametrize(
    ("column", "highs", "expected"),
    [
        ("x3", (0.03, 0.015), (0.06, 0.045, 0.035)),  # the mean of the newest blocks
        ("x3", (-0.03, 0.0), (0.06, None, None)),  # no relevant loss fits any more
        ("x4", (0.05, 0.05), (0.06, None, None)),  # another column than before
    ],
)
def test_what_nobody_can_tell_stays_so_while_the_same_columns_have_moved(
    column: str, highs: tuple[float, ...], expected: tuple[float | None, ...]
) -> None:
    charts, state = equal()[0].charts, EvidenceState()
    assert charts.smallest_loss == pytest.approx(0.02)
    blocks = [block_of("x3", 0.06, likely=True), *(block_of(column, h, likely=False) for h in highs)]
    for i, block in enumerate(blocks):
        times = [START + timedelta(seconds=ROWS * i + j) for j in range(ROWS)]
        state = add_estimate(charts, state, block, times)
    losses = [b.blind.loss if b.blind else None for b in state.estimate.blocks]
    assert losses == pytest.approx(list(expected))
    since = state.suspicion.since if state.suspicion else None
    assert since == (START if expected[-1] else None)


@pytest.mark.parametrize(("loss", "expected"), [(0.03, Verdict.UNKNOWN), (0.01, Verdict.OK)])
def test_labels_that_show_a_loss_do_not_settle_what_an_estimate_cannot_tell(
    loss: float, expected: Verdict
) -> None:
    charts = equal()[0].charts
    times = [START + timedelta(seconds=j) for j in range(ROWS)]
    state = add_estimate(charts, EvidenceState(), block_of("x3", 0.06, likely=True), times)
    assert state.suspicion is not None
    errors = 150 * (charts.baselines[LABELS].mean + loss)
    labelled = msgspec.structs.replace(state.suspicion, labels=150, errors=errors)
    state = msgspec.structs.replace(state, suspicion=labelled)
    quiet, unsettled = DegradationEstimate(Verdict.OK, ESTIMATE, 0.0), are_unsettled(charts, state.suspicion)
    estimate = with_blind_spots(charts, state, quiet, unsettled=unsettled)
    assert estimate.verdict is expected
    words = sentence(estimate, (), "", loss_scale(charts))
    few = "6.0 points of accuracy may be lost, and the 150 labels of such rows are not enough to tell."
    assert words.endswith(few) is (expected is Verdict.UNKNOWN)


def test_features_that_moved_beside_a_frozen_one_are_no_silent_no() -> None:
    matrix, truth = equal_table(ROWS, 4)
    matrix[:, 7] = np.where(np.arange(ROWS) % 4, matrix[:, 7], 0.4)
    frozen = equal()[0].charts.examine(named(matrix), answers_of(equal()[1], matrix))
    matrix[:, 8] += 3
    block = equal()[0].charts.examine(named(matrix), answers_of(equal()[1], matrix))
    assert frozen.blind is None
    assert block.blind is not None
    assert block.blind.column == "x8"
    given = answers_of(equal()[1], matrix).values
    assert float(np.mean(given != truth)) > 0.2


def plans(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fee, plan = rng.normal(size=rows), rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    chance = 1 / (1 + np.exp(-2 * fee - np.array([-3.0, -1.0, 1.0, 3.0])[plan]))
    return fee, plan, (rng.random(rows) < chance).astype(float)


@pytest.mark.parametrize(("frozen", "expected"), [(None, Verdict.OK), (3, Verdict.UNKNOWN)])
def test_one_category_in_all_rows_is_no_silent_no(frozen: int | None, expected: Verdict) -> None:
    """The plan is frozen by mistake: the labels follow the plans before."""
    names = np.array(["basic", "pro", "team", "all"], dtype=object)
    fee, plan, truth = plans(3000, 0)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    model.fit(np.column_stack([fee, plan]), truth)

    def answered(fee: np.ndarray, plan: np.ndarray) -> Answers:
        probabilities = model.predict_proba(np.column_stack([fee, plan]))
        return Answers(probabilities.argmax(axis=1).astype(float), probabilities)

    fee, plan, truth = plans(3000, 1)
    given = answered(fee, plan)
    columns = {"fee": fee, "plan": names[plan]}
    learned = fit_reference_models(columns, given, truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)
    usual = float((given.values != truth).mean())
    fee, plan, truth = plans(500, 2)
    plan = plan if frozen is None else np.full(500, frozen)
    given = answered(fee, plan)
    times = [START + timedelta(seconds=i) for i in range(500)]
    rows = Rows({"fee": fee, "plan": names[plan]}, given, times)
    degradation = update(charts, EvidenceState(), rows, LabelRows())[1]
    assert degradation.verdict is expected
    if frozen is not None:
        loss = float((given.values != truth).mean()) - usual
        assert loss > 0.1
        assert "the values of plan are one category in all rows" in degradation.sentence
        assert degradation.estimated_loss is not None
        assert degradation.estimated_loss.low <= loss <= degradation.estimated_loss.high


@cache
def swinging(size: float) -> CusumCharts:
    """Fit on a reference with hard and easy rows in turns of 250, as far as `size` puts them apart."""
    columns, truth = table(2000, 0)
    hard = np.abs(score(columns))
    in_turns = np.repeat(np.tile([1.0, -1.0], 4), 250)
    drawn = np.random.default_rng(0).normal(size=2000) + size * in_turns
    order = np.empty(2000, dtype=np.intp)
    order[np.argsort(drawn)] = np.argsort(hard)
    columns, truth = {name: column[order] for name, column in columns.items()}, truth[order]
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.01, checks_per_alarm=200)


def test_swings_of_the_reference_hide_a_loss_until_labels_show_it() -> None:
    charts = swinging(3.0)
    assert charts.baselines[ESTIMATE].has_swings
    quiet = TaskStream(charts).run(2)[-1]
    assert quiet.verdict is Verdict.UNKNOWN
    assert quiet.estimated_loss is not None
    assert quiet.estimated_loss.high >= 5 * charts.smallest_loss
    bound = f"up to {100 * quiet.estimated_loss.high:.1f} points of accuracy may be lost"
    assert bound in quiet.sentence
    assert "the error on the reference rises and falls too much to judge the 500 rows" in quiet.sentence
    assert TaskStream(charts, labelled=True).run(2)[-1].verdict is Verdict.OK
    assert not swinging(0.0).baselines[ESTIMATE].has_swings
    assert TaskStream(swinging(0.0)).run(2)[-1].verdict is Verdict.OK

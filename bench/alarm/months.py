"""Simulated months: how many alarms open without a change, and how late after one, in many worlds.

Two watch the same rows: one looks every 50 rows, the other once a day. The alarms are those of the detector:
`decide` judges the charts of `CusumCharts`, whose baselines are drawn. A check whose scores are all below 1,
with no open alarm, has no alarm. So the scores of all checks are computed at once, and only checks that may
raise an alarm, or follow one, are judged. What the detector does before (examine the features) and after
(explain) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from alarm.worlds import BLOCK, CHANGE, CHANGE_SIZE, DAYS, OFTEN, Array, World, worse
from driftbell.degradation.block import Block
from driftbell.degradation.blocks import FEW_ROWS, add_estimate, add_labels, counted, judged_labels
from driftbell.degradation.cusum import ESTIMATE, LABELS, MAX_SUM, MIN_LABELS, CusumCharts
from driftbell.degradation.decision import decide
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models
from driftbell.degradation.usual_error import NEWEST_BLOCKS, allowance_change
from driftbell.records import EvidenceState, Verdict

STEPS = (OFTEN, BLOCK)
ROWS = BLOCK * DAYS
START = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = [START + timedelta(minutes=i) for i in range(ROWS)]
ROUNDING = 1e-6


@dataclass(frozen=True)
class Result:
    """What one who looks has seen.

    Attributes:
        rates: false alarms a month against each reference.
        delays: mean rows from a change to its alarm, against each reference.
    """

    rates: tuple[float, ...]
    delays: tuple[float, ...]

    @property
    def rate(self) -> tuple[float, float, float]:
        """Return the false alarms a month with their 95 % interval."""
        return _mean(self.rates)

    @property
    def delay(self) -> tuple[float, float, float]:
        """Return the delay in rows with its 95 % interval."""
        return _mean(self.delays)


def _mean(values: tuple[float, ...]) -> tuple[float, float, float]:
    mean = float(np.mean(values))
    error = 1.96 * float(np.std(values)) / math.sqrt(len(values))
    return mean, max(0.0, mean - error), mean + error


@cache
def _learned(*, labelled: bool, classes: int) -> ReferenceModels:
    """Return any fitted models: only their kind matters, since the baselines are drawn."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=60)
    chances = 1 / (1 + np.exp(-scores))
    answers, truth = Answers(scores), scores + rng.normal(size=60)
    if classes:
        answers = Answers((chances > 0.5).astype(float), np.column_stack([1 - chances, chances]))
        truth = (rng.random(60) < chances).astype(float)
    known = truth if labelled else None
    return fit_reference_models({"x": scores}, answers, known, classes=classes, seed=0)


def charts_of(world: World, expected: Array, errors: Array) -> CusumCharts:
    """Return the charts of a reference with these expected errors and errors, and one alarm a month."""
    return CusumCharts(
        _learned(labelled=world.share > 0, classes=2 if world.smallest else 0),
        smallest_loss=world.smallest or 0.1 * float(errors.mean()),
        checks_per_alarm=DAYS,
        block_rows=BLOCK,
        baseline=(expected, expected, errors),
    )


class Arrivals:
    """Rows with a label, and the number of those that have arrived.

    Args:
        world: with the share and the delay of labels.
    """

    def __init__(self, world: World) -> None:
        every = round(1 / world.share) if world.share else 1
        self.places = np.array(
            [i for i in range(ROWS) if world.share and i % OFTEN % every == 0], dtype=np.intp
        )
        self._delay = world.delay

    def until(self, row: int) -> int:
        """Return how many labels have arrived after so many rows."""
        return int(self.places.searchsorted(row - self._delay))

    def labels(self, errors: Array, start: int, stop: int) -> LabelRows:
        """Return some of the labels in the order of their arrival."""
        places = self.places[start:stop]
        return LabelRows(errors[places], [TIMES[i] for i in places])


def check_scores(charts: CusumCharts, arrivals: Arrivals, expected: Array, errors: Array) -> list[Array]:
    """Return the largest score of all charts at each check of `STEPS`, shape (months, checks)."""
    of_estimate = _estimate_scores(charts, expected)
    return [
        np.maximum(
            of_estimate[:, step // OFTEN - 1 :: step // OFTEN], _label_scores(charts, arrivals, errors, step)
        )
        for step in STEPS
    ]


def _estimate_scores(charts: CusumCharts, expected: Array) -> Array:
    """Return the score of the estimate after every 50 rows."""
    ratio = BLOCK // OFTEN
    parts = (expected - charts.baselines[ESTIMATE].mean).reshape(len(expected), DAYS, ratio, OFTEN)
    lost, rows = parts.sum(axis=3).cumsum(axis=2), OFTEN * np.arange(1, ratio + 1)
    (allowances, limits), (_, early) = (
        np.array(charts.limits(ESTIMATE, BLOCK, charts.rows_per_alarm(), early=of)).T[:, :, None, None]
        for of in (False, True)
    )
    sums, before = np.zeros((len(limits), len(expected), 1)), np.zeros(len(expected))
    scores = np.empty((len(expected), DAYS, ratio))
    for day in range(DAYS):
        now = np.maximum(0.0, sums + lost[:, day] - rows * allowances)
        scores[:, day] = np.maximum((now / early).max(axis=0), before[:, None])
        scores[:, day, -1] = before = (now[..., -1] / limits[..., 0]).max(axis=0)
        sums = np.minimum(now[..., -1:], MAX_SUM * limits)
    return scores.reshape(len(expected), -1)


def _label_scores(charts: CusumCharts, arrivals: Arrivals, errors: Array, step: int) -> Array:
    """Return the score of labels at each check: the largest of new blocks and of the labels that wait."""
    size = charts.label_rows
    scores = np.zeros((len(errors), ROWS // step))
    lost = np.zeros((len(errors), len(arrivals.places) + 1))
    known = counted(charts, errors[:, arrivals.places])
    np.cumsum(known - charts.baselines[LABELS].mean, axis=1, out=lost[:, 1:])
    sums: Array | float = 0.0
    score, done = np.zeros(len(errors)), 0
    for check, row in enumerate(range(step, ROWS + 1, step)):
        arrived, largest = arrivals.until(row), score
        for start in range(done, arrived - size + 1, size):
            done = start + size
            losses = lost[:, done] - lost[:, start] - size * _change(charts, errors, arrivals, start)
            sums, score = _added(charts, row, sums, losses, size, done)
            largest = np.maximum(largest, score)
        scores[:, check] = largest
        if arrived - done >= MIN_LABELS:
            change = _change(charts, errors, arrivals, done)
            waiting = lost[:, arrived] - lost[:, done] - (arrived - done) * change
            _, early = _added(charts, row, sums, waiting, arrived - done, arrived, early=True)
            scores[:, check] = np.maximum(largest, early)
    return scores


def _change(charts: CusumCharts, errors: Array, arrivals: Arrivals, counted: int) -> Array:
    """Return the change of the allowance by the labels that count as usual, after so many."""
    usual = counted - NEWEST_BLOCKS * charts.label_rows
    if usual <= 0:
        return np.zeros(len(errors))
    baseline = charts.baselines[LABELS]
    losses = errors[:, arrivals.places[:usual]].mean(axis=1) - baseline.mean
    return allowance_change(baseline, usual, losses, charts.smallest_loss)


def _added(
    charts: CusumCharts,
    row: int,
    sums: Array | float,
    lost: Array,
    rows: int,
    arrived: int,
    *,
    early: bool = False,
) -> tuple[Array, Array]:
    """Return the sums of the charts of labels after a block, and the scores."""
    counted = row // BLOCK * BLOCK
    share = min(1.0, max(arrived, 1) / counted) if counted >= FEW_ROWS else 1.0
    limits = charts.limits(LABELS, rows, charts.rows_per_alarm(share=share), early=early)
    allowances, thresholds = np.array(limits).T[:, :, None]
    now = np.maximum(0.0, sums + lost - rows * allowances)
    return np.minimum(now, MAX_SUM * thresholds), (now / thresholds).max(axis=0)


class Month:
    """One month of checks against one reference.

    Args:
        charts: of the reference.
        arrivals: of the labels.
        expected: expected error of each row.
        errors: its error.
    """

    def __init__(self, charts: CusumCharts, arrivals: Arrivals, expected: Array, errors: Array) -> None:
        self._charts, self._arrivals = charts, arrivals
        self._expected, self._errors = expected, errors
        self._state, self._rows, self._labels = EvidenceState(), 0, 0

    def alarms(self, step: int, may_alarm: NDArray[np.bool_] | None = None) -> Iterator[tuple[int, bool]]:
        """Yield the row and the alarm of each check.

        Args:
            step: rows between two checks.
            may_alarm: checks with a score of at least 1; the others are judged only while an alarm is open.
                None judges all.
        """
        for check, row in enumerate(range(step, ROWS + 1, step)):
            judge = may_alarm is None or bool(may_alarm[check]) or self._state.alarm
            complete = row - self._rows >= BLOCK
            if judge or complete:
                yield row, self._check(row, step, complete=complete, judge=judge)
            else:
                yield row, False

    def _check(self, row: int, step: int, *, complete: bool, judge: bool) -> bool:
        self._add_labels(row - step)
        state = judged = self._with_rows(row, complete=complete) if complete or judge else self._state
        self._state = state if complete else self._state

        def with_labels(state: EvidenceState) -> EvidenceState:
            return msgspec.structs.replace(
                judged, labels=state.labels, labelled=state.labelled, alarm=state.alarm
            )

        def is_alarm(state: EvidenceState) -> bool:
            return decide(self._charts, with_labels(state)).verdict is Verdict.ALARM

        largest = self._add_labels(row, is_alarm)
        if not judge:
            return False
        result = decide(self._charts, with_labels(judged_labels(self._charts, self._state, largest)))
        alarm = result.verdict is Verdict.ALARM
        self._state = msgspec.structs.replace(self._state, alarm=alarm, contradicted=result.contradicted)
        return alarm

    def _with_rows(self, row: int, *, complete: bool) -> EvidenceState:
        """Return the state with the rows that wait."""
        errors, times = self._expected[self._rows : row], TIMES[self._rows : row]
        loss = float(errors.mean()) - self._charts.baselines[ESTIMATE].mean
        block = Block(len(errors), loss, "confidence", errors, NONE, errors[:0], errors)
        self._rows = row if complete else self._rows
        return add_estimate(self._charts, self._state, block, times, early=not complete)

    def _add_labels(self, row: int, is_alarm: Callable[[EvidenceState], bool] | None = None) -> float:
        """Add the labels that have arrived; return the largest score of their blocks."""
        start, self._labels = self._labels, max(self._labels, self._arrivals.until(row))
        if start == self._labels:
            return 0.0
        labels = self._arrivals.labels(self._errors, start, self._labels)
        self._state, largest = add_labels(self._charts, self._state, labels, is_alarm)
        return largest


NONE = np.empty(0, dtype=np.intp)


def opened(alarms: Iterator[tuple[int, bool]]) -> int:
    """Return how many alarms open."""
    count, before = 0, False
    for _, now in alarms:
        count += now and not before
        before = now
    return count


def delay(alarms: Iterator[tuple[int, bool]]) -> int:
    """Return the rows from the change to the first check with an alarm."""
    return next((row for row, now in alarms if now and row > CHANGE), ROWS) - CHANGE


def simulate(world: World, seed: int, references: int, months: int) -> list[Result]:
    """Return the results of each of `STEPS` over references, each with some months, and one with a change."""
    rates: list[list[float]] = [[] for _ in STEPS]
    delays: list[list[float]] = [[] for _ in STEPS]
    arrivals = Arrivals(world)
    for number in range(references):
        rng = np.random.default_rng([seed, number])
        charts = charts_of(world, *(rows[0] for rows in world.draw(rng, 1, world.reference)))
        expected, errors = world.draw(rng, months + 1, ROWS)
        changed = worse(world, rng, expected[-1:], errors[-1:], CHANGE_SIZE * charts.smallest_loss)
        expected[-1:], errors[-1:] = changed
        all_scores = check_scores(charts, arrivals, expected, errors)
        for i, (step, scores) in enumerate(zip(STEPS, all_scores, strict=True)):
            may_alarm = np.maximum.accumulate(scores >= 1 - ROUNDING, axis=1)
            watched = [
                Month(charts, arrivals, expected[m], errors[m]).alarms(step, may_alarm[m])
                for m in range(months + 1)
            ]
            count = sum(opened(alarms) for m, alarms in enumerate(watched[:-1]) if may_alarm[m].any())
            rates[i].append(count / months)
            delays[i].append(delay(watched[-1]))
    return [Result(tuple(r), tuple(d)) for r, d in zip(rates, delays, strict=True)]

"""Simulated months: how many alarms open without a change, and how late after one, in many worlds.

Two watch the same rows: one looks every 50 rows, the other once a day.
The charts of the estimate and of the labels are computed as the detector computes them, with its own limits,
for many months at once. What the detector does before (examine columns) and after (explain) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from driftbell.degradation.chart_limits import ALLOWANCES, ChartBudget, ChartLimits
from driftbell.degradation.cusum import (
    BELOW,
    CLOSING_BLOCKS,
    LABEL_ROWS,
    MAX_SUM,
    MIN_LABELS,
    MIN_ROWS,
)
from driftbell.degradation.error_baseline import error_baseline

Array = NDArray[np.float64]
Rows = tuple[Array, Array]
"""The expected error of each row, and its error; shape (streams, rows)."""

BLOCK, DAYS, OFTEN = 500, 30, 50
"""Rows a day, which are a block; days of a month; rows between two checks of who looks often."""

STEPS = (OFTEN, BLOCK)
CHANGE = 5 * BLOCK
"""Rows of a month with a change before it."""

CHANGE_SIZE = 2.0
"""Its loss, in units of the smallest loss that matters."""

ONE_SIDED = 1.645


@dataclass(frozen=True)
class World:
    """A world without any change.

    Attributes:
        draw: draws rows of streams.
        reference: rows of the reference.
        share: of the rows with a label.
        delay: rows until a label arrives.
        smallest: the smallest loss that matters; None for a tenth of the mean error.
    """

    draw: Callable[[np.random.Generator, int, int], Rows]
    reference: int = 2000
    share: float = 1.0
    delay: int = 0
    smallest: float | None = 0.02


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


def classes(mean: float) -> Callable[[np.random.Generator, int, int], Rows]:
    """Return a world of independent rows with a mean error rate."""

    def draw(rng: np.random.Generator, streams: int, rows: int) -> Rows:
        chance = rng.beta(2 * mean, 2 * (1 - mean), (streams, rows))
        return chance, (rng.random((streams, rows)) < chance).astype(float)

    return draw


def with_chance(
    latent: Callable[[np.random.Generator, int, int], Array],
) -> Callable[[np.random.Generator, int, int], Rows]:
    """Return a world with the error rate 0.1 or so, and a normal score of each row that moves it."""

    def draw(rng: np.random.Generator, streams: int, rows: int) -> Rows:
        chance = np.asarray(ndtr(-1.35 + 0.5 * latent(rng, streams, rows)))
        return chance, (rng.random((streams, rows)) < chance).astype(float)

    return draw


def autoregressive(rho: float) -> Callable[[np.random.Generator, int, int], Rows]:
    """Return a world with an autoregressive score, AR(1)."""

    def latent(rng: np.random.Generator, streams: int, rows: int) -> Array:
        noise = rng.normal(0, math.sqrt(1 - rho**2), (streams, rows + 200))
        return np.asarray(lfilter([1.0], [1.0, -rho], noise, axis=1)[:, 200:])

    return with_chance(latent)


def season(rng: np.random.Generator, streams: int, rows: int) -> Array:
    """Return a score with a weekly season, from a random day on."""
    days = (np.arange(rows) / BLOCK)[None, :] + 7 * rng.random((streams, 1))
    return np.asarray(0.25 * np.sin(2 * np.pi * days / 7) + rng.normal(0, 0.9, (streams, rows)))


def batches(rng: np.random.Generator, streams: int, rows: int) -> Array:
    """Return a score that batches of 25 rows share in part."""
    shared = np.repeat(rng.normal(0, 0.7, (streams, -(-rows // 25))), 25, axis=1)[:, :rows]
    return np.asarray(shared + rng.normal(0, 0.7, (streams, rows)))


def bursts(rng: np.random.Generator, streams: int, rows: int) -> Array:
    """Return a score with bursts of 40 harder rows, one in 1,000 rows."""
    begins = (rng.random((streams, rows + 40)) < 1e-3).astype(float)
    inside = lfilter(np.ones(40), [1.0], begins, axis=1)[:, 40:] > 0
    return np.asarray(rng.normal(0, 1, (streams, rows)) + 2.0 * inside)


def skewed(rng: np.random.Generator, streams: int, rows: int) -> Rows:
    """Return absolute errors of a regression with a lognormal distribution."""
    scale = np.exp(rng.normal(0, 0.5, (streams, rows)))
    return scale, scale * np.exp(rng.normal(-0.32, 0.8, (streams, rows)))


def heavy(rng: np.random.Generator, streams: int, rows: int) -> Rows:
    """Return absolute errors of a regression with Student's t distribution of three degrees of freedom."""
    scale = np.exp(rng.normal(0, 0.3, (streams, rows)))
    return scale, scale * np.abs(rng.standard_t(3, (streams, rows))) / 1.1027


WORLDS = {
    "i.i.d.": World(classes(0.1)),
    "skewed errors (regression)": World(skewed, smallest=None),
    "few errors (0.5 %)": World(classes(0.005)),
    "reference of 200 rows": World(classes(0.1), reference=200),
    "AR(1), rho 0.3": World(autoregressive(0.3)),
    "AR(1), rho 0.6": World(autoregressive(0.6)),
    "AR(1), rho 0.9": World(autoregressive(0.9)),
    "weekly season": World(with_chance(season), reference=7000),
    "batches of 25 rows": World(with_chance(batches)),
    "bursts": World(with_chance(bursts)),
    "labels two days late": World(classes(0.1), delay=2 * BLOCK),
    "10 % labels": World(classes(0.1), share=0.1),
    "heavy tails (regression)": World(heavy, smallest=None),
    "ten classes (error 0.3)": World(classes(0.3)),
    "no labels": World(classes(0.1), share=0.0),
}


class Charts:
    """The charts of one source over many streams, with early looks at incomplete blocks.

    Args:
        errors: of the reference, shape (n,).
        budget: what the charts are allowed.
        unit: the largest error of a row.
        labels: whether the errors are measured.
        streams: number of streams.
    """

    def __init__(
        self, errors: Array, budget: ChartBudget, unit: float, *, labels: bool, streams: int
    ) -> None:
        self.base, self.budget, self.labels = error_baseline(errors, unit=unit), budget, labels
        self.rows = LABEL_ROWS if labels else BLOCK
        swinging = errors if labels and self.base.has_swings else None
        limits = ChartLimits(self.base, self.rows, budget, swinging)
        (self.allowances, self.thresholds), (_, self.early_thresholds) = (
            np.array(list(zip(*of, strict=True)))[..., None] for of in (limits(), limits(early=True))
        )
        self.sums = np.zeros((len(self.allowances), streams))
        self.pending, self.count = np.zeros(streams), 0
        self.since, self.lost = np.zeros(streams), np.zeros(streams)
        self.score, self.early = np.zeros(streams), np.zeros(streams)
        self.losses: list[Array] = []
        self.raised, self.lasting = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=int)
        self.over = np.ones(streams, dtype=bool)

    def add(self, errors: Array, rows: int) -> None:
        """Add the errors of some rows of each stream; `early` is the score of those that wait for a block."""
        self.pending, self.count = self.pending + errors - rows * self.base.mean, self.count + rows
        now = np.maximum(0.0, self.sums + self.pending - self.count * self.allowances)
        if self.count >= self.rows:
            self._complete(now)
            self.early = self.score
        elif self.count >= (MIN_LABELS if self.labels else MIN_ROWS):
            early = (now / self.early_thresholds).max(axis=0)
            self.early = self._shown(early, self.since + self.count, self.lost + self.pending)

    def _complete(self, now: Array) -> None:
        started = now[0] > 0
        self.since = np.where(started, self.since + self.count, 0.0)
        self.lost = np.where(started, self.lost + self.pending, 0.0)
        score = (now / self.thresholds).max(axis=0)
        self.sums = np.minimum(now, MAX_SUM * self.thresholds)
        self.losses = [self.pending / self.count, *self.losses][: CLOSING_BLOCKS * BLOCK // self.rows]
        self.raised |= score >= 1
        self.lasting += self.raised
        self.over = self._is_over()
        ended = self.raised & self.over & (self.sums == 0).all(axis=0)
        self.raised &= ~ended
        self.lasting[ended] = 0
        self.score = self._shown(score, self.since, self.lost)
        self.pending, self.count = np.zeros_like(self.pending), 0

    def _is_over(self) -> NDArray[np.bool_]:
        """Return where the newest blocks are clearly below the allowance; see `CusumCharts.is_below`."""
        over, open_ = np.zeros(self.sums.shape[1], dtype=bool), np.ones(self.sums.shape[1], dtype=bool)
        total = np.zeros_like(self.pending)
        for number, loss in enumerate(self.losses, 1):
            total = total + loss
            if number * self.rows < BLOCK:
                continue
            distance = total / number - self.allowances[0]
            is_clear = np.abs(distance) > BELOW * self.base.sampling_error(number * self.rows)
            decides = open_ & is_clear & ((number <= self.lasting) | (number * self.rows == BLOCK))
            over |= decides & (distance < 0)
            open_ &= ~decides
        return over

    def _shown(self, score: Array, rows: Array, lost: Array) -> Array:
        """Return the score, below 1 where the loss since the sum was zero is small or may be zero (90 %)."""
        rows = np.maximum(rows, 1.0)
        own = self.base.sampling_error(self.base.rows) if self.labels else self.base.own_error
        unit = self.base.sampling_error(1) if self.labels else self.base.standard_error(1)
        loss, error = lost / rows, np.hypot(unit / np.sqrt(rows), own)
        shows = (loss >= self.budget.smallest_loss) & (loss > ONE_SIDED * error)
        return np.asarray(np.where(shows, score, np.minimum(score, 0.99)))


class Watch:
    """Checks of some streams, every `step` rows."""

    def __init__(self, step: int, streams: int) -> None:
        self.step = step
        self.peak = np.zeros(streams)
        self.is_open = np.zeros(streams, dtype=bool)
        self.opened = 0
        self.first_after_change = np.full(streams, np.inf)

    def see(self, sources: list[Charts], row: int) -> None:
        """Look at the charts after so many rows, if it is time for a check."""
        for charts in sources:
            if not charts.count:
                self.peak = np.maximum(self.peak, charts.score)
        if row % self.step:
            return
        score = np.maximum(self.peak, np.max([c.early for c in sources], axis=0))
        self.peak = np.zeros_like(score)
        opens = ~self.is_open & (score >= 1)
        lasts = np.any([c.raised & ~c.over for c in sources], axis=0) | (score >= 1)
        self.is_open = (self.is_open & lasts) | opens
        self.opened += int(np.count_nonzero(opens))
        if row > CHANGE:
            alarmed = self.is_open & np.isinf(self.first_after_change)
            self.first_after_change[alarmed] = row - CHANGE


def watched(world: World, rng: np.random.Generator, months: int, *, change: bool) -> list[Watch]:
    """Return what each of `STEPS` has seen of some months, against one reference."""
    expected, errors = (a[0] for a in world.draw(rng, 1, world.reference))
    smallest = world.smallest or 0.1 * float(errors.mean())
    labelled = world.share > 0
    charts = len(ALLOWANCES) * (1 + labelled) + (labelled and error_baseline(errors).has_swings)
    unit = 1.0 if world.smallest else float(errors.max())
    rows = BLOCK * DAYS
    budgets = [ChartBudget(smallest, rows * share, charts) for share in (1.0, world.share) if share]
    references = [expected, errors][: len(budgets)]
    sources = [
        Charts(reference, budget, unit, labels=number > 0, streams=months)
        for number, (reference, budget) in enumerate(zip(references, budgets, strict=True))
    ]
    expected, errors = world.draw(rng, months, rows)
    if change:
        expected, errors = worse(world, rng, expected, errors, CHANGE_SIZE * smallest)
    watches = [Watch(step, months) for step in STEPS]
    every = round(1 / world.share) if labelled else 1
    for row in range(OFTEN, rows + 1, OFTEN):
        sources[0].add(expected[:, row - OFTEN : row].sum(axis=1), OFTEN)
        arrived = row - world.delay
        if labelled and arrived > 0:
            known = errors[:, arrived - OFTEN : arrived : every]
            sources[1].add(known.sum(axis=1), known.shape[1])
        for watch in watches:
            watch.see(sources, row)
    return watches


def worse(world: World, rng: np.random.Generator, expected: Array, errors: Array, loss: float) -> Rows:
    """Return months that lose performance at `CHANGE`: more wrong answers, or larger errors."""
    expected, errors = expected.copy(), errors.copy()
    after = slice(CHANGE, None)
    mean = float(errors.mean())
    if world.smallest is None:
        errors[:, after] *= 1 + loss / mean
        expected[:, after] *= 1 + loss / mean
    else:
        wrong = rng.random(errors[:, after].shape) < loss / (1 - mean)
        errors[:, after] = np.maximum(errors[:, after], wrong)
        expected[:, after] += loss
    return expected, errors


def simulate(world: World, seed: int, references: int, months: int) -> list[Result]:
    """Return the results of each of `STEPS` over references, each with some months."""
    rates: list[list[float]] = [[] for _ in STEPS]
    delays: list[list[float]] = [[] for _ in STEPS]
    for number in range(references):
        for i, watch in enumerate(
            watched(world, np.random.default_rng([seed, number]), months, change=False)
        ):
            rates[i].append(watch.opened / months)
        rng = np.random.default_rng([seed, number, 1])
        for i, watch in enumerate(watched(world, rng, max(1, months // 4), change=True)):
            missed = BLOCK * DAYS - CHANGE
            delays[i].append(float(np.minimum(watch.first_after_change, missed).mean()))
    return [Result(tuple(r), tuple(d)) for r, d in zip(rates, delays, strict=True)]

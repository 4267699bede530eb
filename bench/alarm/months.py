"""Simulated months without any change: how many alarms open, in many worlds and for two times of checks.

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

from driftbell.degradation.chart_limits import ALLOWANCES, MARGIN, ChartBudget, ChartLimits
from driftbell.degradation.cusum import BELOW, LABEL_ROWS, MAX_SUM
from driftbell.degradation.error_baseline import ErrorBaseline, error_baseline

Array = NDArray[np.float64]
Rows = tuple[Array, Array]
"""The expected error of each row, and its error; shape (streams, rows)."""

BLOCK, DAYS, OFTEN = 500, 30, 50
"""Rows a day, which are a block; days of a month; rows between two checks of who looks often."""

ONE_SIDED = 1.645


@dataclass(frozen=True)
class World:
    """A world without any change.

    Attributes:
        draw: draws rows of streams.
        reference: rows of the reference.
        share: of the rows with a label.
        smallest: the smallest loss that matters; None for a tenth of the mean error.
    """

    draw: Callable[[np.random.Generator, int, int], Rows]
    reference: int = 2000
    share: float = 1.0
    smallest: float | None = 0.02


@dataclass(frozen=True)
class Rate:
    """False alarms a month, with a 95 % interval over references."""

    months: int
    rate: float
    low: float
    high: float


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
    "10 % labels": World(classes(0.1), share=0.1),
    "heavy tails (regression)": World(heavy, smallest=None),
    "ten classes (error 0.3)": World(classes(0.3)),
    "no labels": World(classes(0.1), share=0.0),
}


class Charts:
    """The charts of one source over many streams, with early looks at incomplete blocks.

    Args:
        errors: of the reference, shape (n,).
        rows: of a block.
        budget: what the charts are allowed.
        unit: the largest error of a row.
        labels: whether the errors are measured.
        streams: number of streams.
    """

    def __init__(
        self, errors: Array, rows: int, budget: ChartBudget, unit: float, labels: bool, streams: int
    ) -> None:
        self.base, self.rows, self.budget = error_baseline(errors, unit=unit), rows, budget
        swinging = errors if labels and self.base.has_swings else None
        limits = ChartLimits(self.base, rows, budget, swinging)
        (self.allowances, self.thresholds), (_, self.early) = (
            np.array(list(zip(*of, strict=True)))[..., None] for of in (limits(), limits(early=True))
        )
        self.labels = labels
        self.sums = np.zeros((len(self.allowances), streams))
        self.pending, self.count = np.zeros(streams), 0
        self.since, self.lost = np.zeros(streams), np.zeros(streams)
        self.peak = np.zeros(streams)
        self.score, self.over = np.zeros(streams), np.ones(streams, dtype=bool)

    def add(self, errors: Array, rows: int, *, looks: bool) -> None:
        """Add the errors of some rows of each stream; incomplete blocks have a score if somebody looks."""
        self.pending, self.count = self.pending + errors - rows * self.base.mean, self.count + rows
        now = np.maximum(0.0, self.sums + self.pending - self.count * self.allowances)
        if self.count < self.rows:
            few = self.count < (20 if self.labels else 50)
            early = self.score if few or not looks else np.maximum(self.score, (now / self.early).max(axis=0))
            shows = self._shows(self.since + self.count, self.lost + self.pending)
            self.peak = np.maximum(self.peak, np.where(shows, early, 0.0))
            return
        started = now[0] > 0
        self.since = np.where(started, self.since + self.count, 0.0)
        self.lost = np.where(started, self.lost + self.pending, 0.0)
        self.score = (now / self.thresholds).max(axis=0)
        self.sums = np.minimum(now, MAX_SUM * self.thresholds)
        loss, below = self.pending / self.count, BELOW * self.base.sampling_error(self.count)
        limit = ALLOWANCES[0] * self.budget.smallest_loss + MARGIN * self.base.own_error
        self.over = loss + below < limit
        self.pending, self.count = np.zeros_like(self.pending), 0
        shown = np.where(self._shows(self.since, self.lost), self.score, np.minimum(self.score, 0.99))
        self.peak = np.maximum(self.peak, shown)

    def look(self) -> Array:
        """Return the largest score since the last look."""
        peak, self.peak = self.peak, np.zeros_like(self.peak)
        return peak

    def _shows(self, rows: Array, lost: Array) -> NDArray[np.bool_]:
        """Return where the loss since the sum was zero matters, and is not zero (90 %)."""
        rows = np.maximum(rows, 1.0)
        error = _error(self.base, rows, labels=self.labels)
        return np.asarray((lost / rows >= self.budget.smallest_loss) & (lost / rows > ONE_SIDED * error))


def _error(base: ErrorBaseline, rows: Array, *, labels: bool) -> Array:
    own = base.sampling_error(base.rows) if labels else base.own_error
    unit = base.sampling_error(1) if labels else base.standard_error(1)
    return np.asarray(np.hypot(unit / np.sqrt(rows), own))


def openings(world: World, rng: np.random.Generator, months: int, step: int) -> int:
    """Return the alarms that open in some months against one reference, with a check every `step` rows."""
    expected, errors = (a[0] for a in world.draw(rng, 1, world.reference))
    smallest = world.smallest or 0.1 * float(errors.mean())
    labelled = world.share > 0
    swings = labelled and error_baseline(errors).has_swings
    charts = len(ALLOWANCES) * (1 + labelled) + swings
    unit = 1.0 if world.smallest else float(errors.max())
    sources = [Charts(expected, BLOCK, ChartBudget(smallest, BLOCK * DAYS, charts), unit, False, months)]
    if labelled:
        budget = ChartBudget(smallest, BLOCK * DAYS * world.share, charts)
        sources.append(Charts(errors, LABEL_ROWS, budget, unit, True, months))
    rows = BLOCK * DAYS
    expected, errors = world.draw(rng, months, rows)
    every = max(1, round(1 / world.share)) if labelled else 1
    is_open, opened = np.zeros(months, dtype=bool), 0
    unit_rows = min(OFTEN, step)
    for stop in range(unit_rows, rows + 1, unit_rows):
        part = slice(stop - unit_rows, stop)
        looks = stop % step == 0
        sources[0].add(expected[:, part].sum(axis=1), unit_rows, looks=looks)
        if labelled:
            known = errors[:, part][:, ::every]
            sources[1].add(known.sum(axis=1), known.shape[1], looks=looks)
        if not looks:
            continue
        score = np.max([s.look() for s in sources], axis=0)
        opens = ~is_open & (score >= 1)
        over = np.all([s.over for s in sources], axis=0) & (np.max([s.score for s in sources], axis=0) < 1)
        is_open = (is_open & ~over) | opens
        opened += int(np.count_nonzero(opens))
    return opened


def false_alarms(world: World, seed: int, references: int, months: int, step: int) -> Rate:
    """Return the false alarms a month over references, each with some months; a check every `step` rows."""
    counts = [openings(world, np.random.default_rng([seed, i]), months, step) for i in range(references)]
    rates = np.array(counts) / months
    # Poisson within references, and the spread between them
    error = 1.96 * math.sqrt(max(rates.var() / references, rates.mean() / (references * months)))
    return Rate(
        references * months, float(rates.mean()), max(0.0, rates.mean() - error), rates.mean() + error
    )

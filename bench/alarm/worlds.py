"""Worlds without any change, for simulated months: streams of expected errors and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

Array = NDArray[np.float64]
Rows = tuple[Array, Array]
"""The expected error of each row, and its error; shape (streams, rows)."""

BLOCK, DAYS, OFTEN = 500, 30, 50
"""Rows a day, which are a block; days of a month; rows between two checks of who looks often."""

CHANGE = 5 * BLOCK
"""Rows of a month with a change before it."""

CHANGE_SIZE = 2.0
"""Its loss, in units of the smallest loss that matters."""

QUANTILES = 1 << 16
"""Chances of an error are drawn from this number of quantiles of their distribution: that is faster."""


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


def classes(mean: float) -> Callable[[np.random.Generator, int, int], Rows]:
    """Return a world of independent rows with a mean error rate."""
    ranks = (np.arange(QUANTILES) + 0.5) / QUANTILES
    chances = scipy.stats.beta.ppf(ranks, 2 * mean, 2 * (1 - mean))

    def draw(rng: np.random.Generator, streams: int, rows: int) -> Rows:
        chance = chances[rng.integers(0, QUANTILES, (streams, rows))]
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

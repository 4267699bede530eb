"""Features that are broken or moved as a faulty sensor moves them, and what the answers are worth then."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, Learned, Vector
from driftbell.records import Columns

LEVEL = 1e-6
"""A fault is believed where unchanged data would show it less often than this."""

MORE_ROWS = 0.03
"""A broken feature has at least this share of rows more than in the reference."""

BEYOND = 0.1
"""A value is out of range where it is beyond the reference's by this share of the range."""

GATE = 5.0
"""A feature has moved beside the others where its residuals have by so many standard errors."""

FIT = 1.0
"""A repair is believed where it leaves no more distance than this, in units of the 5 % point."""

EXPLAINED = 0.5
"""Repairs are believed where all features together are left with at most this share of their distances."""

MIN_ROWS = 40
MOST_REPAIRS = 3
LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one feature.

    Attributes:
        place: of the feature.
        rows: which rows have it.
        words: what the values look like.
        scale: with `offset`, how to undo it: true = (seen - offset) / scale; 0 where it can't be.
        offset: see there.
        excess: for broken values, their share of the rows beyond the usual.
        chance: how probable so many are by chance.
        odd: whether they are numbers out of range or frozen, which a move of the whole feature explains.
    """

    place: int
    rows: NDArray[np.bool_]
    words: str
    scale: float = 0.0
    offset: float = 0.0
    excess: float = 0.0
    chance: float = 1.0
    odd: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The faults of a block, and the expected error of each of its rows with them.

    Attributes:
        faults: what is wrong.
        errors: expected error of each row.
        unrepaired: the same with broken values alone, None where none are.
        broken: the features with values that are null, new, out of range or frozen, moved ones included.
    """

    faults: tuple[Fault, ...]
    errors: Vector
    unrepaired: Vector | None = None
    broken: tuple[Fault, ...] = ()

    @property
    def repairs(self) -> tuple[int, ...]:
        """The places of the features that have moved."""
        return tuple(f.place for f in self.faults if f.scale)


class DataFaultDetector:
    """Knows what the reference's features look like.

    Args:
        learned: from the reference.
    """

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        n = len(learned.usual)
        self._residuals = {
            j: np.sort(_present(learned.usual[:, j] - expected)) for j, expected in learned.expected.items()
        }
        self._center = {j: float(np.median(r)) for j, r in self._residuals.items() if len(r)}
        self._spread = {j: _spread(r) for j, r in self._residuals.items()}
        self._clumping = {
            j: overdispersion(learned.usual[:, j] - expected) for j, expected in learned.expected.items()
        }
        self._sorted = {j: np.sort(_present(learned.usual[:, j])) for j in self._residuals}
        self._rows = n

    def diagnose(self, columns: Columns, matrix: Matrix, answers: Answers) -> Diagnosis | None:
        """Detect data faults in a block.

        Args:
            columns: its features by name, n rows.
            matrix: the same, encoded.
            answers: the model's.

        Returns:
            None where there is no fault that is beyond doubt.
        """
        repairs = self._repairs(matrix)
        repaired = {f.place for f in repairs}
        every = [fault for j in self._learned.top for fault in self._broken(columns, matrix, j)]
        broken = [f for f in every if not (f.odd and f.place in repaired)]
        faults = (*repairs, *broken)
        if not faults:
            return None
        errors = self._errors(matrix, answers, repairs, broken)
        alone = errors if not repairs else self._errors(matrix, answers, [], broken) if broken else None
        return Diagnosis(faults, errors, alone, tuple(every))

    def _errors(self, matrix: Matrix, answers: Answers, repairs: list[Fault], broken: list[Fault]) -> Vector:
        right = matrix.copy()
        for fault in repairs:
            right[:, fault.place] = (matrix[:, fault.place] - fault.offset) / fault.scale
        errors = self._learned.error_by_features(right, answers)
        if broken:
            rows = np.logical_or.reduce([f.rows for f in broken])
            without = frozenset(f.place for f in broken)
            errors = np.where(rows, self._learned.error_by_features(right, answers, without), errors)
        return errors

    def _broken(self, columns: Columns, matrix: Matrix, j: int) -> list[Fault]:
        before, now = self._learned.usual[:, j], matrix[:, j]
        unseen = self._learned.encoder.unseen(columns, j)
        nulls = np.isnan(now)
        found = []
        if unseen is not None:
            new, cells = unseen
            nulls &= ~new
            most = Counter(c for c, is_new in zip(cells, new, strict=True) if is_new).most_common(1)
            words = f"new category '{_printable(most[0][0])}' {most[0][1] / len(now):.0%}" if most else ""
            found += self._more(j, new, self._learned.unseen.get(j, 0), words)
        usual = int(np.isnan(before).sum()) - self._learned.unseen.get(j, 0)
        words = f"null {usual / len(before):.1%} → {nulls.mean():.1%}"
        found += self._more(j, nulls, usual, words)
        if self._learned.encoder.numeric[j]:
            found += [replace(f, odd=True) for f in self._odd_numbers(before, now, j)]
        return found

    def _odd_numbers(self, before: Vector, now: Vector, j: int) -> list[Fault]:
        known = _present(before)
        values, counts = np.unique(now[~np.isnan(now)], return_counts=True)
        if not len(known) or not len(values):
            return []
        low, high = float(known.min()), float(known.max())
        beyond = BEYOND * (high - low)
        out = (now < low - beyond) | (now > high + beyond)
        outside = ((now < low) | (now > high)).mean()
        words = f"{outside:.0%} of the newest values outside {low:.4g} to {high:.4g}"
        found = self._more(j, out, 0, words)
        value = values[counts.argmax()]
        same = now == value
        words = f"frozen at {value:.4g} in {same.mean():.0%} of the rows"
        return found + self._more(j, same, int((before == value).sum()), words, least=0.08)

    def _more(
        self, j: int, rows: NDArray[np.bool_], before: int, words: str, least: float = MORE_ROWS
    ) -> list[Fault]:
        """Return a fault if significantly more rows have it than the upper limit of the usual rate."""
        seen, n = int(np.count_nonzero(rows)), len(rows)
        excess = seen / n - before / self._rows
        if excess < least:
            return []
        rate = scipy.stats.beta.ppf(0.99, before + 1, max(self._rows - before, 1))
        chance = float(scipy.stats.binom.sf(seen - 1, n, rate))
        return [Fault(j, rows, words, excess=excess, chance=chance)] if chance < LEVEL else []

    def _repairs(self, matrix: Matrix) -> list[Fault]:
        """Undo moves one after the other, each time the one after which all features look best."""
        if not any(self._moved(matrix, j) for j in self._residuals):
            return []
        moved, seen = matrix, self._seen(matrix)
        distances = self._distances(seen)
        first = sum(d**2 for d in distances.values())
        found: list[Fault] = []
        while len(found) < MOST_REPAIRS:
            best: tuple[float, Fault, Matrix, dict[int, Vector], dict[int, float]] | None = None
            for j in self._open(seen):
                if any(f.place == j for f in found) or not self._moved(moved, j):
                    continue
                for fault in self._candidates(moved, j, seen[j]):
                    tried = moved.copy()
                    tried[:, j] = (moved[:, j] - fault.offset) / fault.scale
                    known = _present(tried[:, j] - (moved[:, j] - seen[j]))
                    if self._distance(j, known) > FIT:
                        continue
                    after = self._seen(tried)
                    left = self._distances(after)
                    if any(left[k] > max(FIT, 1.1 * distances[k]) for k in left):
                        continue  # the others fitted it as it was
                    total = sum(d**2 for d in left.values())
                    if best is None or total < best[0]:
                        best = total, fault, tried, after, left
            if best is None or best[0] > 0.9 * sum(d**2 for d in distances.values()):
                break
            _, fault, moved, seen, distances = best
            found.append(fault)
        left_over = sum(d**2 for d in distances.values())
        return found if found and left_over <= max(EXPLAINED * first, 1.2 * len(distances)) else []

    def _moved(self, matrix: Matrix, j: int) -> bool:
        """Return whether a feature's own distribution changed; otherwise no repair is tried."""
        before, now = self._sorted[j], np.sort(_present(matrix[:, j]))
        if len(now) < MIN_ROWS or not len(before):
            return False
        return ks_distance(before, now) > float(1.36 * np.sqrt(1 / len(now) + 1 / len(before)))

    def _seen(self, matrix: Matrix) -> dict[int, Vector]:
        """Return the residual of each feature given the others, NaN for null."""
        return {j: matrix[:, j] - self._learned.expect(j, matrix) for j in self._residuals}

    def _open(self, seen: dict[int, Vector]) -> list[int]:
        found = []
        for j, residuals in seen.items():
            now = _present(residuals)
            if len(now) < MIN_ROWS or not self._spread[j] > 0:
                continue
            unit = np.sqrt((1 / len(now) + 1 / self._rows) * self._clumping[j])
            shift = (np.median(now) - self._center[j]) / (1.25 * self._spread[j] * unit)
            width = np.log(max(_spread(now), 1e-12) / self._spread[j]) / (1.6 * unit)
            if max(abs(shift), abs(width)) > GATE:
                found.append(j)
        return found

    def _candidates(self, matrix: Matrix, j: int, residuals: Vector) -> list[Fault]:
        """Return the moves that bring a feature back to where the others expect it."""
        now, expected = matrix[:, j], matrix[:, j] - residuals
        known = ~np.isnan(now)
        before = _present(self._learned.usual[:, j])
        middle, center = float(np.median(now[known])), self._center[j]
        shift = float(np.median((now - expected)[known]) - center)
        moves = [(1.0, shift)]
        for usual, at in (  # by itself, and as the others expect it
            (_spread(before), float(np.median(before))),
            (
                float(np.hypot(_spread(_present(expected)), self._spread[j])),
                float(np.nanmedian(expected)) + center,
            ),
        ):
            if usual > 0 and (scale := _spread(now[known]) / usual) > 0:
                moves.append((scale, middle - scale * at))
            if at and middle / at > 0:
                moves.append((middle / at, 0.0))
        every = np.ones(len(now), dtype=bool)
        return [Fault(j, every, _words(scale, offset), scale, offset) for scale, offset in moves]

    def _distances(self, seen: dict[int, Vector]) -> dict[int, float]:
        return {j: self._distance(j, _present(residuals)) for j, residuals in seen.items()}

    def _distance(self, j: int, now: Vector) -> float:
        """Return the Kolmogorov–Smirnov distance of a feature's residuals, in units of its 5 % point."""
        before = self._residuals[j]
        if not len(now) or not len(before):
            return 0.0
        point = float(1.36 * np.sqrt((1 / len(now) + 1 / len(before)) * self._clumping[j]))
        return ks_distance(before, np.sort(now)) / point


def _printable(category: object) -> str:
    """Show a value that a caller sent, which may be long, or hold what no database and no mail takes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(category)[:LONGEST_SHOWN])


def _words(scale: float, offset: float) -> str:
    if abs(scale - 1) < 0.02:
        return f"≈ {offset:+.3g} to all of before"
    return f"≈ {scale:.3g} × {f'{offset:+.3g} of ' if offset else ''}before: unit change?"


def _present(values: Vector) -> Vector:
    return values[~np.isnan(values)]


def _spread(values: Vector) -> float:
    """Measure the width: the middle 80 %, as a standard deviation of a normal distribution."""
    if not len(values):
        return 0.0
    low, high = np.quantile(values, [0.1, 0.9])
    return float((high - low) / 2.563)


def ks_distance(a: Vector, b: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance of two sorted samples."""
    every = np.concatenate([a, b])
    above = np.searchsorted(a, every, side="right") / len(a) - np.searchsorted(b, every, side="right") / len(
        b
    )
    return float(np.abs(above).max())


def overdispersion(values: Vector, blocks: int = 20) -> float:
    """Compare the variance of the means of stretches of time with what independent rows would give.

    Args:
        values: in their order of time, shape (n,); NaN is left out.
        blocks: number of stretches.

    Returns:
        1 for independent rows (never less), more where neighbours are alike.
    """
    values = _present(np.asarray(values, dtype=np.float64))
    size = len(values) // blocks
    if size < 2 or not values.var() > 0:
        return 1.0
    means = values[: size * blocks].reshape(blocks, size).mean(axis=1)
    found = float(means.var(ddof=1) * size / values.var())
    # chance alone gives up to this much in one of twenty references
    return found if found > float(scipy.stats.chi2.ppf(0.95, blocks - 1) / (blocks - 1)) else 1.0

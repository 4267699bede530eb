"""Comparison of two versions of a model that serve at the same time, by their labelled predictions."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.metric_texts import amount_text
from driftbell.records import Interval
from driftbell.records.comparison import (
    Agreement,
    ComparisonVerdict,
    LabelledOutcome,
    ShadowPair,
    VersionComparison,
    VersionSummary,
)
from driftbell.stats.confidence_sequence import confidence_sequence, first_exclusion
from driftbell.stats.paired_blocks import block_differences, blocks
from driftbell.stats.performance import mean_interval, wilson

LEVEL = 0.99
"""Probability that a comparison never says "better" or "worse" of two equal versions."""

SCALE_BLOCKS = 20
"""First blocks of a regression: they only set the scale of a difference."""

SCALE_FACTOR = 4.0
"""Largest difference of a block that counts in full, in multiples of the largest one that sets the scale."""

ACCURACY, ERROR = "accuracy", "mean absolute error"

Vector = NDArray[np.float64]


def compare_versions(
    model: str,
    before: tuple[str, Sequence[LabelledOutcome]],
    after: tuple[str, Sequence[LabelledOutcome]],
    *,
    is_regression: bool,
    smallest_loss: float,
) -> VersionComparison:
    """Compare two versions by the labels of their predictions, in the order in which these arrived.

    Labels of both versions are grouped in blocks of one time (see `block_differences`), so a change of the
    stream is not taken for a difference of the versions. The mean of the differences has the interval of a
    confidence sequence: it holds however often one looks, so the comparison may be stopped when it is
    certain. A difference of a regression counts at most `SCALE_FACTOR` times the largest one of the first
    `SCALE_BLOCKS` blocks, which are not counted themselves.

    Args:
        model: name of the model.
        before: the version that is compared with, and its labelled predictions.
        after: the other version, and its labelled predictions.
        is_regression: whether outputs are numbers.
        smallest_loss: smallest relevant difference of accuracy, or of the mean absolute error.
    """
    sides = [(version, sorted(outcomes, key=lambda o: o.seq)) for version, outcomes in (before, after)]
    scores = [_scores(outcomes, is_regression) for _, outcomes in sides]
    order = np.argsort([o.seq for _, outcomes in sides for o in outcomes], kind="stable")
    values = np.concatenate(scores)[order]
    in_second = np.repeat([False, True], [len(s) for s in scores])[order]
    first, second = (
        _summary(version, outcomes, score, is_regression)
        for (version, outcomes), score in zip(sides, scores, strict=True)
    )
    differences = block_differences(values, in_second)
    comparison, count = _comparison(
        (model, first, second), differences, is_regression=is_regression, smallest_loss=smallest_loss
    )
    decided = blocks(in_second)[count - 1].closed if count else None
    return _finished(comparison, decided=decided)


def compare_pairs(
    model: str,
    before: str,
    after: str,
    pairs: Sequence[ShadowPair],
    *,
    is_regression: bool,
    smallest_loss: float,
) -> VersionComparison:
    """Compare two versions that predicted the same rows, by their labels; see `compare_versions`.

    Each row gives one difference, so a difference is certain with fewer labels than if each answered
    other rows.

    Args:
        model: name of the model.
        before: the version of `ShadowPair.output`.
        after: the version of `ShadowPair.shadow_output`.
        pairs: labelled pairs.
        is_regression: whether outputs are numbers.
        smallest_loss: smallest relevant difference of accuracy, or of the mean absolute error.
    """
    rows = sorted(pairs, key=lambda pair: pair.seq)
    sides = [
        [LabelledOutcome(p.seq, p.time, output, p.label or "", latency) for p, output, latency in side]
        for side in (
            [(p, p.output, p.latency_ms) for p in rows],
            [(p, p.shadow_output, p.shadow_latency_ms) for p in rows],
        )
    ]
    scores = [_scores(outcomes, is_regression) for outcomes in sides]
    first, second = (
        _summary(version, outcomes, score, is_regression)
        for version, outcomes, score in zip((before, after), sides, scores, strict=True)
    )
    comparison, count = _comparison(
        (model, first, second),
        scores[1] - scores[0],
        is_regression=is_regression,
        smallest_loss=smallest_loss,
    )
    return _finished(replace(comparison, pairs=len(rows)), decided=count or None)


def agreement_of(pairs: Sequence[ShadowPair], *, is_regression: bool) -> Agreement:
    """Count how often two versions predict the same for a row.

    >>> from datetime import datetime
    >>> when = datetime(2026, 1, 31)
    >>> pairs = [ShadowPair(1, when, "no", shadow, None, 1.0, None) for shadow in ("no", "no", "yes")]
    >>> agreement_of(pairs, is_regression=False)
    Agreement(rows=3, same=2, classes=('no', 'yes'), matrix=((2, 1), (0, 0)), mean_difference=None)
    """
    if is_regression:
        differences = [abs(float(p.output) - float(p.shadow_output)) for p in pairs]
        mean = statistics.fmean(differences) if differences else None
        return Agreement(len(pairs), sum(d == 0 for d in differences), (), (), mean)
    counts = Counter((p.output, p.shadow_output) for p in pairs)
    classes = tuple(sorted({name for pair in counts for name in pair}))
    matrix = tuple(tuple(counts[row, column] for column in classes) for row in classes)
    return Agreement(len(pairs), sum(counts[name, name] for name in classes), classes, matrix, None)


def _comparison(
    names: tuple[str, VersionSummary, VersionSummary],
    differences: Vector,
    *,
    is_regression: bool,
    smallest_loss: float,
) -> tuple[VersionComparison, int]:
    """Return the comparison by differences, and after how many of them it was certain; 0 if it is not."""
    scale, skipped = _scale(differences) if is_regression else (1.0, 0)
    counted = np.clip(differences[skipped:] / scale, -1, 1)
    difference, certain = None, 0
    if len(counted):
        unscaled = confidence_sequence(counted, level=LEVEL)
        difference = Interval(*(scale * v for v in (unscaled.value, unscaled.low, unscaled.high)))
        exclusion = first_exclusion(counted, level=LEVEL)
        certain = skipped + exclusion[0] if exclusion else 0
    model, before, after = names
    comparison = VersionComparison(
        model=model,
        metric=ERROR if is_regression else ACCURACY,
        before=before,
        after=after,
        verdict=_verdict(difference, smallest_loss, is_regression),
        sentence="",
        blocks=len(counted),
        difference=difference,
        level=LEVEL,
        smallest_loss=smallest_loss,
        decided=None,
    )
    return comparison, certain


def _finished(comparison: VersionComparison, *, decided: int | None) -> VersionComparison:
    complete = replace(comparison, decided=decided)
    return replace(complete, sentence=_sentence(complete))


def is_rollback_due(comparison: VersionComparison) -> bool:
    """Return whether the other version is certainly worse by more than the smallest loss.

    That is the case if the whole interval of the difference lies beyond it. Let each difference, given those
    before it, be at most as bad on average as the smallest loss. Then the capital of the gambler who bets on
    worse ones (see `confidence_sequence`) is a nonnegative supermartingale that starts at 1, and by Ville's
    inequality it ever exceeds 2 / α with probability α / 2 at most. With `LEVEL` that is 0.5 %, over all
    looks together, if each look has the labels of the one before and more.

    Source: J. Ville, Étude critique de la notion de collectif (1939); S. R. Howard, A. Ramdas, J. McAuliffe,
    J. Sekhon, "Time-uniform Chernoff bounds via nonnegative supermartingales", Probability Surveys 17 (2020).
    """
    if comparison.difference is None:
        return False
    if comparison.metric == ERROR:
        return comparison.difference.low > comparison.smallest_loss
    return -comparison.difference.high > comparison.smallest_loss


def rollback_sentence(comparison: VersionComparison) -> str:
    """Describe whether a challenge is to end, with its numbers."""
    name = "accuracy" if comparison.metric == ACCURACY else "mae"
    limit = amount_text(name, comparison.smallest_loss)
    counts = (comparison.before.labels, comparison.after.labels)
    labels = "{:,} labels of the champion and {:,} of the challenger".format(*counts)
    if comparison.pairs:
        labels = f"{comparison.pairs:,} labels of both"
    if is_rollback_due(comparison):
        return f"{comparison.sentence} That is more than the smallest loss of {limit}, on {labels}."
    if comparison.difference is None:
        return f"Cannot tell yet whether the challenger is worse by more than {limit}: {labels}."
    return f"It is not certain that the challenger is worse by more than {limit}, on {labels}."


def mean_error(outcomes: Sequence[LabelledOutcome]) -> float:
    """Return the mean absolute error of a regression; 0 without labels."""
    return float(_scores(outcomes, is_regression=True).mean()) if outcomes else 0.0


def _scores(outcomes: Sequence[LabelledOutcome], is_regression: bool) -> Vector:
    """Return 1 or 0 for a right or wrong class, or the absolute error."""
    if is_regression:
        return np.array([abs(float(o.output) - float(o.label)) for o in outcomes], dtype=np.float64)
    return np.array([o.output == o.label for o in outcomes], dtype=np.float64)


def _scale(differences: Vector) -> tuple[float, int]:
    """Return the largest difference that counts in full, and how many blocks were used to find it."""
    first = np.abs(differences[:SCALE_BLOCKS])
    largest = float(first.max()) if len(first) else 0.0
    return (SCALE_FACTOR * largest or 1.0), min(SCALE_BLOCKS, len(differences))


def _verdict(difference: Interval | None, smallest: float, is_regression: bool) -> ComparisonVerdict:
    if difference is None:
        return ComparisonVerdict.UNKNOWN
    low, high = (difference.low, difference.high)
    if is_regression:
        low, high = -high, -low  # less error is better
    if low > 0:
        return ComparisonVerdict.BETTER
    if high < 0:
        return ComparisonVerdict.WORSE
    return ComparisonVerdict.EQUAL if max(-low, high) < smallest else ComparisonVerdict.UNKNOWN


def _summary(
    version: str, outcomes: Sequence[LabelledOutcome], scores: Vector, is_regression: bool
) -> VersionSummary:
    if not outcomes:
        return VersionSummary(version, 0, None, None, None, None, None)
    if is_regression:
        performance = mean_interval(len(scores), float(scores.sum()), float((scores**2).sum()), low=0.0)
    else:
        performance = wilson(int(scores.sum()), len(scores))
    times = [o.time for o in outcomes]
    latencies = [o.latency_ms for o in outcomes if o.latency_ms is not None]
    median, p95 = np.percentile(latencies, [50, 95]).tolist() if latencies else (None, None)
    return VersionSummary(version, len(outcomes), min(times), max(times), performance, median, p95)


def _sentence(c: VersionComparison) -> str:
    name = "accuracy" if c.metric == ACCURACY else "mae"
    after, before = c.after.version, c.before.version
    if c.difference is None:
        missing = [side.version for side in (c.before, c.after) if not side.labels]
        if missing:
            return f"Cannot tell: there are no labels of {' and '.join(missing)}."
        return "Cannot tell: too few labels of both versions arrived at the same time."
    low, high = sorted((abs(c.difference.low), abs(c.difference.high)))
    amount = f"{amount_text(name, abs(c.difference.value))} ({amount_text(name, low, high)})"
    percent = f"{100 * c.level:g} %"
    if c.verdict is ComparisonVerdict.BETTER:
        return f"{after} performs better than {before}, by {amount} of {c.metric}; certainty {percent}."
    if c.verdict is ComparisonVerdict.WORSE:
        return f"{after} performs worse than {before}, by {amount} of {c.metric}; certainty {percent}."
    largest = amount_text(name, high)
    if c.verdict is ComparisonVerdict.EQUAL:
        return (
            f"{after} and {before} do not differ by more than {largest} of {c.metric}; certainty {percent}."
        )
    more = _labels_needed(c)
    rest = f"; about {more:,} more labels decide a difference of {amount_text(name, c.smallest_loss)}"
    return f"Cannot tell: the difference may still be up to {largest} of {c.metric}{rest}."


def _labels_needed(c: VersionComparison) -> int:
    """Return roughly how many more labels shrink the interval to the smallest relevant difference."""
    assert c.difference is not None
    width = (c.difference.high - c.difference.low) / 2
    total = c.pairs or c.before.labels + c.after.labels
    return max(1, math.ceil(total * ((width / c.smallest_loss) ** 2 - 1)))

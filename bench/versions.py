"""Measure how often a comparison of two versions is wrong, and how soon it is certain.

It is looked at after each label. Beside it, on the same labels: a test of two shares at 1 % (pooled normal
approximation), once at a number of labels that was fixed before, and looked at after each label.

Then the same for the rollback of a challenger, which must be certainly worse by more than the smallest loss:
wrong rollbacks of challengers that are equal, or worse by just the smallest loss, and the labels until a
worse one is rolled back. A shadow predicts the same rows as the champion, another class for a tenth of them.

    python bench/versions.py [--tiny] [--rollback] [--pairs 10000] [--worse 300] [--seed 0]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.compare_versions import LEVEL
from driftbell.stats.confidence_sequence import first_exclusion
from driftbell.stats.paired_blocks import blocks, differences_of
from driftbell.stats.performance import wilson

Right = NDArray[np.float64]
Side = NDArray[np.bool_]
NORMAL_995 = 2.5758293035489004
MIN_LABELS = 30
SMALLEST_LOSS = 0.02
DISAGREEMENT = 0.1
"""Share of the rows for which a shadow predicts another class; one of both is right."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rollback", action="store_true", help="only the rollback of a challenger")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--worse", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs, worse = (4, 2) if options.tiny else (options.pairs, options.worse)
    if not options.rollback:
        print_comparisons(np.random.default_rng(options.seed), pairs, worse, 2000 if options.tiny else 30_000)
    print_wrong_rollbacks(np.random.default_rng(options.seed + 1), pairs)
    print_rollbacks(np.random.default_rng(options.seed + 2), worse)


def print_comparisons(rng: np.random.Generator, pairs: int, worse: int, rows: int) -> None:
    """Print how often a comparison of equal versions is wrong, and how soon one of others is certain."""
    tests: dict[str, Callable[[Right, Side], int | None]] = {
        "driftbell": ours,
        "test of two shares after each label": looked_at_always,
        "test of two shares once, at the end": looked_at_once,
    }
    print(
        f"equal versions, accuracy 0.8, 2,000 labels: share of {pairs:,} comparisons that call one better\n"
    )
    print("| share of the other version |", " | ".join(tests), "|")
    print("| --- |", " | ".join("---" for _ in tests), "|")
    for share in (0.5, 0.1):
        cells = []
        drawn = [draw(rng, 2000, share, (0.8, 0.8)) for _ in range(pairs)]
        for test in tests.values():
            wrong = wilson(sum(test(*pair) is not None for pair in drawn), pairs)
            cells.append(f"{wrong.value:.2%} ({wrong.low:.2%} to {wrong.high:.2%})")
        print(f"| {share:.0%} |", " | ".join(cells), "|")
    print(
        f"\na worse version, accuracy 0.8 before: median labels until certain, of {worse} comparisons "
        f"(at most {rows:,})\n"
    )
    print("| loss, points | share | driftbell | certain | fixed number of labels with the same power |")
    print("| --- | --- | --- | --- | --- |")
    for loss in (0.03, 0.05, 0.1):
        for share in (0.5, 0.1):
            ends = [ours(*draw(rng, rows, share, (0.8, 0.8 - loss))) for _ in range(worse)]
            certain = [end for end in ends if end is not None]
            power = max(0.5, len(certain) / worse)
            print(
                f"| {100 * loss:.0f} | {share:.0%} | {np.median([end or rows for end in ends]):,.0f} | "
                f"{len(certain) / worse:.0%} | {fixed_labels(loss, share, min(power, 0.99)):,.0f} |"
            )


def print_wrong_rollbacks(rng: np.random.Generator, pairs: int) -> None:
    """Print how often a challenger that is not worse by the smallest loss is rolled back."""
    print(
        f"\nrollbacks of a challenger that is not worse by the smallest loss, 2 points: accuracy 0.8 of the "
        f"champion, 2,000 labels, looked at after each, {pairs:,} challenges\n"
    )
    print("| challenger | share | rollbacks | 90 % interval |")
    print("| --- | --- | --- | --- |")
    for name, loss in (("equal", 0.0), ("worse by 2 points", SMALLEST_LOSS)):
        for share in (0.5, 0.1):
            drawn = (draw(rng, 2000, share, (0.8, 0.8 - loss)) for _ in range(pairs))
            count = sum(rolled_back(*pair, SMALLEST_LOSS) is not None for pair in drawn)
            rate = wilson(count, pairs)
            print(f"| {name} | {share:.0%} | {count} | {rate.low:.2%} to {rate.high:.2%} |", flush=True)
        shadows = (draw_shadow(rng, 2000, loss) for _ in range(pairs))
        count = sum(shadow_rolled_back(drawn, SMALLEST_LOSS) is not None for drawn in shadows)
        rate = wilson(count, pairs)
        print(f"| {name} | shadow | {count} | {rate.low:.2%} to {rate.high:.2%} |", flush=True)


def print_rollbacks(rng: np.random.Generator, challenges: int) -> None:
    """Print how many labels arrive until a worse challenger is rolled back."""
    print(
        "\na worse challenger, accuracy 0.8 of the champion: labels of both until the rollback, of "
        f"{challenges} challenges\n"
    )
    print(
        "| loss, points | smallest loss | share | median | 90 % | rolled back | fixed number of labels, "
        "power 50 % / 90 % |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for loss, smallest in ((0.03, 0.01), (0.03, 0.02), (0.05, 0.02), (0.1, 0.02), (0.2, 0.02)):
        for share in (0.5, 0.1, None):
            if share is None and loss > DISAGREEMENT:
                continue  # no shadow loses more than it disagrees
            if share == 0.1 and (loss, smallest) == (0.03, 0.02):
                continue  # each challenge would take a million labels
            fixed = [fixed_labels(loss, share, power, smallest) for power in (0.5, 0.9)]
            rows = round(3 * fixed[1])
            ends = []
            for _ in range(challenges):
                if share is None:
                    end = shadow_rolled_back(draw_shadow(rng, rows, loss), smallest)
                else:
                    end = rolled_back(*draw(rng, rows, share, (0.8, 0.8 - loss)), smallest)
                ends.append(np.inf if end is None else end)
            median, most = np.quantile(ends, [0.5, 0.9], method="inverted_cdf")
            texts = [f"{end:,.0f}" if end <= rows else f"over {rows:,}" for end in (median, most)]
            name = "shadow" if share is None else f"{share:.0%}"
            print(
                f"| {100 * loss:.0f} | {100 * smallest:.0f} | {name} | {' | '.join(texts)} | "
                f"{np.isfinite(ends).mean():.0%} | {fixed[0]:,.0f} / {fixed[1]:,.0f} |",
                flush=True,
            )


def rolled_back(right: Right, other: Side, smallest: float) -> int | None:
    """Return the number of labels until a challenger is rolled back; see `is_rollback_due`."""
    exclusion, closed = excluded(right, other, -smallest)
    return closed if exclusion < 0 else None


def shadow_rolled_back(differences: Right, smallest: float) -> int | None:
    """Return the number of labelled rows until a shadow is rolled back; see `compare_pairs`."""
    exclusion = first_exclusion(differences, -smallest, level=LEVEL)
    return exclusion[0] if exclusion and exclusion[1] < 0 else None


def draw_shadow(rng: np.random.Generator, rows: int, loss: float) -> Right:
    """Draw differences of right answers of a shadow and the champion: -1, 0 or 1 for each row."""
    worse = (DISAGREEMENT + loss) / 2
    return rng.choice([-1.0, 0.0, 1.0], p=[worse, 1 - DISAGREEMENT, DISAGREEMENT - worse], size=rows)


def draw(
    rng: np.random.Generator, rows: int, share: float, accuracies: tuple[float, float]
) -> tuple[Right, Side]:
    """Draw right and wrong answers of two versions, in the order of their labels."""
    other = rng.random(rows) < share
    return (rng.random(rows) < np.where(other, accuracies[1], accuracies[0])).astype(float), other


def ours(right: Right, other: Side) -> int | None:
    """Return the number of labels until driftbell is certain."""
    exclusion, closed = excluded(right, other, 0.0)
    return closed if exclusion else None


def excluded(right: Right, other: Side, difference: float) -> tuple[int, int]:
    """Return the side of a difference on which the true one certainly is, or 0, and the labels until then."""
    used = blocks(other)
    differences = differences_of(right, used)
    exclusion = first_exclusion(differences, difference, level=LEVEL) if used else None
    return (exclusion[1], used[exclusion[0] - 1].closed) if exclusion else (0, len(right))


def looked_at_always(right: Right, other: Side) -> int | None:
    """Return the number of labels until a test of two shares is significant, looked at after each label."""
    hits = np.flatnonzero(np.abs(z_scores(right, other))[MIN_LABELS:] > NORMAL_995)
    return int(hits[0]) + MIN_LABELS + 1 if len(hits) else None


def looked_at_once(right: Right, other: Side) -> int | None:
    """Return the number of labels if a test of two shares is significant with all of them."""
    return len(right) if abs(z_scores(right, other)[-1]) > NORMAL_995 else None


def z_scores(right: Right, other: Side) -> Right:
    """Return the statistic of a test of two shares after each label; 0 while one side has no label."""
    n1, n0 = np.cumsum(other), np.cumsum(~other)
    hits1, hits0 = np.cumsum(right * other), np.cumsum(right * ~other)
    pooled = (hits1 + hits0) / (n1 + n0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (hits1 / n1 - hits0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return np.asarray(np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0))


def fixed_labels(loss: float, share: float | None, power: float, smallest: float = 0.0) -> float:
    """Return the labels that a test of two shares at 1 % needs, if their number is fixed before.

    The test is of a difference of `smallest`, in both directions; without a share, of pairs of a shadow.
    """
    from scipy.special import ndtri

    if share is None:
        variance = DISAGREEMENT - loss**2
    else:
        variance = 0.16 / (1 - share) + (0.8 - loss) * (0.2 + loss) / share
    return float((NORMAL_995 + ndtri(power)) ** 2 * variance / (loss - smallest) ** 2)


if __name__ == "__main__":
    main()

"""The window against the reference, column by column: numbers only, no decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from driftbell.columns import as_columns
from driftbell.profile import NEW, ColumnLayout, ColumnProfile, finite, layout, numbers, profile, texts
from driftbell.records import Column, ColumnComparison, Histogram, Kind, Result, ResultKind
from driftbell.stats import (
    category_shares,
    exceedance,
    jensen_shannon,
    js_noise,
    kolmogorov_smirnov,
    normed_wasserstein,
    null_share,
    psi,
    psi_noise,
)

BEYOND, NULLS, NEWEST = 0.15, 0.1, 0.25
"""The weight of rows below (and above) the reference, of nulls where there are any, and of the newest rows.

Kolmogorov–Smirnov, and the window as a whole, have the rest of one. A p-value is divided by its weight, and
the smallest counts: weighted Bonferroni, as exact as the plain one. What is overwhelming where it occurs at
all needs little weight; small shifts need all that can be had.
"""


def compare(
    reference: Any, window: Any, *, roles: Mapping[str, str] | None = None, newest: int = 0
) -> tuple[ColumnComparison, ...]:
    """Compare every column of the window with the same column of the reference.

    Numeric columns: exact two-sample Kolmogorov–Smirnov, Rosenbaum's exceedance tests below and above the
    reference's range, Fisher's exact test on the nulls; and as effect sizes PSI and Jensen–Shannon
    distance on the reference's deciles and the Wasserstein distance in sigmas. Every other kind:
    chi-square over all categories, null and unseen ones among them, by permutation where some are rare;
    PSI and Jensen–Shannon. A column that is bad in any way is a finding, never an
    exception.

    A change that has just begun is thin in a long window. So the newest rows can be compared on their own
    too.

    A column's p-value is the smallest of its tests' after each is divided by its weight.

    Args:
        reference: a table: mapping of sequences, pandas, Polars or Arrow; n rows.
        window: likewise; m rows.
        roles: `prediction` or `probability` for columns that are not features.
        newest: so many rows at the end of the window are compared on their own too; 0 for none.

    Source: C. R. Genovese, K. Roeder, L. Wasserman, "False discovery control with p-value weighting",
    Biometrika 93 (2006).

    Returns:
        One comparison for each column of the reference, in its order; then one, without a p-value and
        with the role `extra`, for each column that only the window has.

    Raises:
        InputError: the columns of a table differ in length.

    >>> age, = compare({"age": [30, 40, 50]}, {"age": [31, 39, 52]})
    >>> age.p_value
    1.0
    """
    before, now = as_columns(reference), as_columns(window)
    roles = roles or {}
    bins = layout(before)
    known = [
        _column(name, roles.get(name, "feature"), before[name], now.get(name), bins[name], newest)
        for name in before
    ]
    extra = [
        ColumnComparison(name, "extra", Kind.CATEGORICAL, None, (), None, "the reference has no such column")
        for name in now
        if name not in before
    ]
    return (*known, *extra)


def _column(
    name: str, role: str, before: Column, now: Column | None, on: ColumnLayout, newest: int
) -> ColumnComparison:
    if now is None:
        return ColumnComparison(name, role, on.kind, None, (), None, "the window has no such column")
    if not len(now) or not len(before):
        return ColumnComparison(name, role, on.kind, None, (), None, "there are no rows to compare")
    old, new = profile(before, on), profile(now, on)
    histogram: Histogram | None = Histogram(on.labels, tuple(old.bars.tolist()), tuple(new.bars.tolist()))
    if not on.comparable:
        histogram = None
    p_value, results, note = _tested(before, now, on, old, new)
    if 0 < newest < len(now):
        end = now[-newest:]
        alone, _, says = _tested(before, end, on, old, profile(end, on))
        results.append(_p_value(f"newest {newest} rows alone", alone, len(before), newest))
        if alone < p_value:
            note = f"newest {newest} rows: {says}"
        p_value = min(1.0, p_value / (1 - NEWEST), alone / NEWEST)
    return ColumnComparison(name, role, on.kind, p_value, tuple(results), histogram, note)


def _tested(
    before: Column, now: Column, on: ColumnLayout, old: ColumnProfile, new: ColumnProfile
) -> tuple[float, list[Result], str]:
    if on.kind is Kind.NUMERIC:
        return _numeric(before, now, old, new)
    return _categorical(before, now, on, old, new) if on.comparable else _nulls_only(old, new)


def _numeric(
    before: Column, now: Column, old: ColumnProfile, new: ColumnProfile
) -> tuple[float, list[Result], str]:
    a, b = numbers(before), numbers(now)
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    n, m = len(a), len(b)
    nulls = null_share(old.nulls, old.rows, new.nulls, new.rows)
    results = []
    weighted = [nulls.p_value / NULLS]
    notes = []
    if m:
        ks, (below, above) = kolmogorov_smirnov(a, b), exceedance(a, b)
        # without a null on either side there is nothing that Fisher's test could find
        rest = 1 - 2 * BEYOND - (NULLS if old.nulls or new.nulls else 0)
        weighted += [ks.p_value / rest, below.p_value / BEYOND, above.p_value / BEYOND]
        results = [
            _distance("Kolmogorov–Smirnov", ks.statistic, n, m),
            _p_value("Kolmogorov–Smirnov", ks.p_value, n, m),
            _p_value("rows below the reference", below.p_value, n, m),
            _p_value("rows above the reference", above.p_value, n, m),
            *_effects(old, new),
            _distance("Wasserstein in sigmas", _wasserstein(a, b), n, m),
        ]
        notes.append(_moved(a, b))
        if below.statistic:
            notes.append(f"{below.statistic:.0f} of {m} rows below the reference's minimum {_short(a.min())}")
        if above.statistic:
            notes.append(f"{above.statistic:.0f} of {m} rows above the reference's maximum {_short(a.max())}")
        if not np.isfinite(b).all():
            notes.append(f"{np.count_nonzero(~np.isfinite(b))} infinite values")
    if old.nulls or new.nulls:
        results.append(_p_value("nulls", nulls.p_value, old.rows, new.rows))
        notes.append(f"null or not a number {old.nulls / old.rows:.1%} → {new.nulls / new.rows:.1%}")
    return min(1.0, *weighted), results, "; ".join(notes)


def _moved(a: Column, b: Column) -> str:
    """Say where the middle went; where the medians are alike, the means tell more."""
    a, b = finite(a), finite(b)
    if not len(a) or not len(b):
        return "no finite values on one side"
    medians = _short(np.median(a)), _short(np.median(b))
    if medians[0] != medians[1]:
        return f"median {medians[0]} → {medians[1]}"
    return f"mean {_short(a.mean())} → {_short(b.mean())}"


def _wasserstein(a: Column, b: Column) -> float | None:
    a, b = finite(a), finite(b)
    return normed_wasserstein(a, b) if len(a) and len(b) else None


def _categorical(
    before: Column, now: Column, on: ColumnLayout, old: ColumnProfile, new: ColumnProfile
) -> tuple[float, list[Result], str]:
    n, m = old.rows, new.rows
    # not the layout's bins: the reference is never in `(new)`, which would ring for any long tail
    a, b = Counter(texts(before)), Counter(texts(now))
    categories = list(a | b)
    test = category_shares([a[c] for c in categories], [b[c] for c in categories])
    results = [
        _distance("chi-square", test.statistic, n, m),
        _p_value("chi-square", test.p_value, n, m),
        *_effects(old, new),
    ]
    shares = zip(on.categories, old.counts / n, new.counts / m, strict=True)
    most = max(shares, key=lambda s: abs(s[2] - s[1]))
    notes = [f"{most[0]} {most[1]:.1%} → {most[2]:.1%}"]
    unseen = int(new.counts[on.categories.index(NEW)])
    if unseen and most[0] != NEW:
        notes.append(f"{unseen} of {m} rows have a category that the reference has not")
    return test.p_value, results, "; ".join(notes)


def _nulls_only(old: ColumnProfile, new: ColumnProfile) -> tuple[float, list[Result], str]:
    test = null_share(old.nulls, old.rows, new.nulls, new.rows)
    note = "values are all different or dates, so only nulls are compared"
    return test.p_value, [_p_value("nulls", test.p_value, old.rows, new.rows)], note


def _effects(old: ColumnProfile, new: ColumnProfile) -> list[Result]:
    """Tell how large the difference is, and how large it would be by chance."""
    used = (old.counts + new.counts) > 0
    a, b = old.counts[used], new.counts[used]
    n, m = int(a.sum()), int(b.sum())
    chance = {"n": n, "m": m, "bins": len(a)}
    return [
        Result("PSI", psi(a, b), ResultKind.DISTANCE, None, n, m, psi_noise(**chance)),
        Result("Jensen–Shannon", jensen_shannon(a, b), ResultKind.DISTANCE, None, n, m, js_noise(**chance)),
    ]


def _distance(statistic: str, value: float | None, n: int, m: int) -> Result:
    return Result(statistic, value, ResultKind.DISTANCE, None, n, m)


def _p_value(statistic: str, value: float, n: int, m: int) -> Result:
    return Result(statistic, value, ResultKind.P_VALUE, None, n, m)


def _short(value: float) -> str:
    return f"{value:.4g}"

"""Compare the window with the reference, column by column: statistics only, no decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from driftbell.tabular.columns import as_columns
from driftbell.tabular.profile import (
    NEW,
    ColumnLayout,
    ColumnProfile,
    count_categories,
    finite,
    layout,
    numbers,
    profile,
    tally,
)

EXCEEDANCE_WEIGHT, NULLS_WEIGHT, NEWEST_WEIGHT = 0.15, 0.1, 0.25
"""Weights of the tests below (and above) the reference's range, of nulls if there are any, of newest rows.

Kolmogorov–Smirnov, and the whole window, get the remaining weight, so that weights sum to 1. Each p-value is
divided by its weight, and the smallest counts (weighted Bonferroni). Tests with overwhelming evidence need
little weight; Kolmogorov–Smirnov on small shifts needs most.
"""

_NO_NUMBERS: Column = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedColumn:
    """One column of the reference, prepared for comparisons.

    Attributes:
        name: its name.
        role: `feature`, `prediction` or `probability`.
        rows: number of rows.
        layout: its bins.
        labels: a name for each bin in charts.
        profile: its counts on the bins.
        values: numeric: all numbers, infinite ones included, sorted.
        finite: numeric: the finite ones, see `finite`.
        center: numeric: median and mean of the finite ones as texts; None if there are none.
        texts: every other kind: count of each category.
    """

    name: str
    role: str
    rows: int
    layout: ColumnLayout
    labels: tuple[str, ...]
    profile: ColumnProfile
    values: Column
    finite: Column
    center: tuple[str, str] | None
    texts: Counter[str | None]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedReference:
    """A reference prepared for comparisons with many windows; see `prepare`."""

    columns: tuple[PreparedColumn, ...]


def prepare(reference: Any, *, roles: Mapping[str, str] | None = None) -> PreparedReference:
    """Prepare a reference for comparisons with many windows.

    Args:
        reference: a table, see `compare`.
        roles: see `compare`.

    Raises:
        InputError: the columns differ in length.

    >>> reference = prepare({"age": [30, 40, 50]})
    >>> [compare(reference, {"age": [a, a + 9]})[0].note for a in (20, 40)]
    ["median 40 → 24.5; 2 of 2 rows below the reference's minimum 30", 'median 40 → 44.5']
    """
    columns, roles = as_columns(reference), roles or {}
    layouts = layout(columns)
    return PreparedReference(
        tuple(_prepare_column(n, roles.get(n, "feature"), columns[n], layouts[n]) for n in columns)
    )


def _prepare_column(name: str, role: str, cells: Column, bins: ColumnLayout) -> PreparedColumn:
    values, texts = _NO_NUMBERS, Counter[str | None]()
    if bins.kind is Kind.NUMERIC:
        values, counts = cells[~np.isnan(cells)], profile(cells, bins)
    else:
        texts = count_categories(cells)
        counts = tally(texts, bins)
    values = np.sort(values)
    finite_values = finite(values)
    return PreparedColumn(
        name,
        role,
        len(cells),
        bins,
        bins.labels,
        counts,
        values,
        finite_values,
        _center(finite_values),
        texts,
    )


def compare(
    reference: Any | PreparedReference,
    window: Any,
    *,
    roles: Mapping[str, str] | None = None,
    newest: int = 0,
) -> tuple[ColumnComparison, ...]:
    """Compare every column of the window with the same column of the reference.

    Numeric columns: exact two-sample Kolmogorov–Smirnov, Rosenbaum's exceedance tests below and above the
    reference's range, Fisher's exact test on nulls; as effect sizes PSI and Jensen–Shannon distance on the
    reference's deciles, and the Wasserstein distance in standard deviations. Every other kind: chi-square
    over all categories, null and unseen ones included, by permutation if some are rare; PSI and
    Jensen–Shannon. A defective column is reported in its note, never by an exception.

    A change that has just begun affects few rows of a long window, so the newest rows can be tested
    separately as well.

    A column's p-value is the smallest of its tests' p-values, each divided by its weight.

    Args:
        reference: a table: mapping of sequences, pandas, Polars or Arrow; n rows. Or a prepared reference,
            which gives the same result and is much faster from the second window on.
        window: a table; m rows.
        roles: `prediction` or `probability` for columns that are not features; None with a prepared
            reference.
        newest: number of rows at the end of the window to test separately; 0 for none.

    Source: C. R. Genovese, K. Roeder, L. Wasserman, "False discovery control with p-value weighting",
    Biometrika 93 (2006).

    Returns:
        One comparison for each column of the reference, in its order; then one with the role `extra` and
        without a p-value for each additional column of the window.

    Raises:
        InputError: the columns of a table differ in length.
        ValueError: roles are passed with a prepared reference.

    Examples:
        >>> age, = compare({"age": [30, 40, 50]}, {"age": [31, 39, 52]})
        >>> age.p_value
        1.0
    """
    if isinstance(reference, PreparedReference) and roles is not None:
        raise ValueError("pass the roles of a prepared reference to prepare()")
    prepared = reference if isinstance(reference, PreparedReference) else prepare(reference, roles=roles)
    columns = as_columns(window)
    comparisons = [_compare_column(c, columns.get(c.name), newest) for c in prepared.columns]
    names = {column.name for column in prepared.columns}
    extra = [
        ColumnComparison(name, "extra", Kind.CATEGORICAL, None, (), None, "the reference has no such column")
        for name in columns
        if name not in names
    ]
    return (*comparisons, *extra)


def _compare_column(before: PreparedColumn, cells: Column | None, newest: int) -> ColumnComparison:
    name, role, kind = before.name, before.role, before.layout.kind
    if cells is None:
        return ColumnComparison(name, role, kind, None, (), None, "the window has no such column")
    if not len(cells) or not before.rows:
        return ColumnComparison(name, role, kind, None, (), None, "there are no rows to compare")
    if kind is Kind.NUMERIC:
        cells = numbers(cells)
    now = _prepare_rows(before, cells)
    histogram: Histogram | None = None
    if before.layout.comparable:
        bars = before.profile.bars, now.profile.bars
        histogram = Histogram(before.labels, tuple(bars[0].tolist()), tuple(bars[1].tolist()))
    p_value, results, note = _test(before, now, effect_sizes=True)
    if 0 < newest < len(cells):
        newest_rows = _prepare_rows(before, cells[-newest:])
        newest_p_value, _, newest_note = _test(before, newest_rows, effect_sizes=False)
        results.append(_p_value(f"newest {newest} rows alone", newest_p_value, before.rows, newest))
        if newest_p_value < p_value:
            note = f"newest {newest} rows: {newest_note}"
        p_value = min(1.0, p_value / (1 - NEWEST_WEIGHT), newest_p_value / NEWEST_WEIGHT)
    return ColumnComparison(name, role, kind, p_value, tuple(results), histogram, note)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one column of a window; attributes as in `PreparedColumn`."""

    profile: ColumnProfile
    values: Column
    texts: Counter[str | None]


def _prepare_rows(before: PreparedColumn, cells: Column) -> _Rows:
    if before.layout.kind is Kind.NUMERIC:
        return _Rows(profile(cells, before.layout), np.sort(cells[~np.isnan(cells)]), Counter())
    texts = count_categories(cells)
    return _Rows(tally(texts, before.layout), _NO_NUMBERS, texts)


def _test(before: PreparedColumn, now: _Rows, *, effect_sizes: bool) -> tuple[float, list[Result], str]:
    """Return p-value, results and note of some rows; effect sizes are optional, since they take time."""
    if before.layout.kind is Kind.NUMERIC:
        return _numeric(before, now, effect_sizes)
    return _categorical(before, now, effect_sizes) if before.layout.comparable else _nulls_only(before, now)


def _numeric(before: PreparedColumn, now: _Rows, effect_sizes: bool) -> tuple[float, list[Result], str]:
    old, new = before.profile, now.profile
    a, b = before.values, now.values
    n, m = len(a), len(b)
    nulls = null_share(old.nulls, old.rows, new.nulls, new.rows)
    results = []
    weighted = [nulls.p_value / NULLS_WEIGHT]
    notes = []
    if m:
        ks, (below, above) = kolmogorov_smirnov(a, b, ordered=True), exceedance(a, b)
        # without any null Fisher's test needs no weight
        rest = 1 - 2 * EXCEEDANCE_WEIGHT - (NULLS_WEIGHT if old.nulls or new.nulls else 0)
        weighted += [ks.p_value / rest, *(p / EXCEEDANCE_WEIGHT for p in (below.p_value, above.p_value))]
        results = [
            _distance("Kolmogorov–Smirnov", ks.statistic, n, m),
            _p_value("Kolmogorov–Smirnov", ks.p_value, n, m),
            _p_value("rows below the reference", below.p_value, n, m),
            _p_value("rows above the reference", above.p_value, n, m),
        ]
        finite_values = finite(b)
        if effect_sizes:
            distance = _wasserstein(before.finite, finite_values)
            results += [*_effect_sizes(old, new), _distance("Wasserstein in sigmas", distance, n, m)]
        notes.append(_center_note(before.center, _center(finite_values)))
        if below.statistic:
            notes.append(f"{below.statistic:.0f} of {m} rows below the reference's minimum {_short(a[0])}")
        if above.statistic:
            notes.append(f"{above.statistic:.0f} of {m} rows above the reference's maximum {_short(a[-1])}")
        infinite = np.count_nonzero(np.isinf(b))
        if infinite:
            notes.append(f"{infinite} infinite values")
    if old.nulls or new.nulls:
        results.append(_p_value("nulls", nulls.p_value, old.rows, new.rows))
        notes.append(f"null or not a number {old.nulls / old.rows:.1%} → {new.nulls / new.rows:.1%}")
    return min(1.0, *weighted), results, "; ".join(notes)


def _center(values: Column) -> tuple[str, str] | None:
    """Return median and mean of sorted values as texts."""
    if not len(values):
        return None
    half = len(values) // 2
    median = (values[half] + values[-half - 1]) / 2 + 0.0  # no minus before a zero
    return _short(median), _short(values.mean())


def _center_note(a: tuple[str, str] | None, b: tuple[str, str] | None) -> str:
    """Describe how the median changed, or the mean if the medians are equal."""
    if a is None or b is None:
        return "no finite values on one side"
    return f"median {a[0]} → {b[0]}" if a[0] != b[0] else f"mean {a[1]} → {b[1]}"


def _wasserstein(a: Column, b: Column) -> float | None:
    return normed_wasserstein(a, b, ordered=True) if len(a) and len(b) else None


def _categorical(before: PreparedColumn, now: _Rows, effect_sizes: bool) -> tuple[float, list[Result], str]:
    bins, old, new = before.layout, before.profile, now.profile
    n, m = old.rows, new.rows
    # not the layout's bins: `(new)` is empty in the reference, so any long tail would count as drift
    a, b = before.texts, now.texts
    categories = list(a | b)
    test = category_shares([a[c] for c in categories], [b[c] for c in categories])
    results = [
        _distance("chi-square", test.statistic, n, m),
        _p_value("chi-square", test.p_value, n, m),
        *(_effect_sizes(old, new) if effect_sizes else ()),
    ]
    shares = zip(bins.categories, old.counts / n, new.counts / m, strict=True)
    category, old_share, new_share = max(shares, key=lambda s: abs(s[2] - s[1]))
    notes = [f"{category} {old_share:.1%} → {new_share:.1%}"]
    unseen = int(new.counts[bins.categories.index(NEW)])
    if unseen and category != NEW:
        notes.append(f"{unseen} of {m} rows have a category that is not in the reference")
    return test.p_value, results, "; ".join(notes)


def _nulls_only(before: PreparedColumn, now: _Rows) -> tuple[float, list[Result], str]:
    old, new = before.profile, now.profile
    test = null_share(old.nulls, old.rows, new.nulls, new.rows)
    note = "almost all values are distinct, or dates, so only nulls are compared"
    return test.p_value, [_p_value("nulls", test.p_value, old.rows, new.rows)], note


def _effect_sizes(old: ColumnProfile, new: ColumnProfile) -> list[Result]:
    """Return PSI and Jensen–Shannon distance, each with its 95 % noise level."""
    used = (old.counts + new.counts) > 0
    a, b = old.counts[used], new.counts[used]
    n, m = int(a.sum()), int(b.sum())
    sizes = {"n": n, "m": m, "bins": len(a)}
    return [
        Result("PSI", psi(a, b), ResultKind.DISTANCE, None, n, m, psi_noise(**sizes)),
        Result("Jensen–Shannon", jensen_shannon(a, b), ResultKind.DISTANCE, None, n, m, js_noise(**sizes)),
    ]


def _distance(statistic: str, value: float | None, n: int, m: int) -> Result:
    return Result(statistic, value, ResultKind.DISTANCE, None, n, m)


def _p_value(statistic: str, value: float, n: int, m: int) -> Result:
    return Result(statistic, value, ResultKind.P_VALUE, None, n, m)


def _short(value: float) -> str:
    return f"{value:.4g}"

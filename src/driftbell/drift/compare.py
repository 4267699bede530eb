"""The window against the reference, column by column: numbers only, no decision."""

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
    counted,
    finite,
    layout,
    numbers,
    profile,
    tally,
)

BEYOND, NULLS, NEWEST = 0.15, 0.1, 0.25
"""The weight of rows below (and above) the reference, of nulls where there are any, and of the newest rows.

Kolmogorov–Smirnov, and the window as a whole, have the rest of one. A p-value is divided by its weight, and
the smallest counts: weighted Bonferroni, as exact as the plain one. What is overwhelming where it occurs at
all needs little weight; small shifts need all that can be had.
"""

_NO_NUMBERS: Column = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedColumn:
    """All that a column of the reference brings to every comparison.

    Attributes:
        name: its name.
        role: `feature`, `prediction` or `probability`.
        rows: all rows.
        on: its bins.
        labels: a name for each drawn bin.
        profile: its counts on them.
        values: numeric: what is a number, infinite or not, sorted.
        finite: numeric: of those, what `finite` leaves.
        middle: numeric: their median and mean in words; None where there are none.
        texts: every other kind: how often each category occurs.
    """

    name: str
    role: str
    rows: int
    on: ColumnLayout
    labels: tuple[str, ...]
    profile: ColumnProfile
    values: Column
    finite: Column
    middle: tuple[str, str] | None
    texts: Counter[str | None]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A reference that is ready to be compared with one window after the other; see `prepare`."""

    columns: tuple[PreparedColumn, ...]


def prepare(reference: Any, *, roles: Mapping[str, str] | None = None) -> Prepared:
    """Do once what `compare` does with the reference alone.

    Args:
        reference: a table, see `compare`.
        roles: likewise.

    Raises:
        InputError: the columns differ in length.

    >>> before = prepare({"age": [30, 40, 50]})
    >>> [compare(before, {"age": [a, a + 9]})[0].note for a in (20, 40)]
    ["median 40 → 24.5; 2 of 2 rows below the reference's minimum 30", 'median 40 → 44.5']
    """
    before, roles = as_columns(reference), roles or {}
    bins = layout(before)
    return Prepared(tuple(_prepared(n, roles.get(n, "feature"), before[n], bins[n]) for n in before))


def _prepared(name: str, role: str, cells: Column, on: ColumnLayout) -> PreparedColumn:
    values, texts = _NO_NUMBERS, Counter[str | None]()
    if on.kind is Kind.NUMERIC:
        values, old = cells[~np.isnan(cells)], profile(cells, on)
    else:
        texts = counted(cells)
        old = tally(texts, on)
    ordered = np.sort(values)
    known = finite(ordered)
    return PreparedColumn(name, role, len(cells), on, on.labels, old, ordered, known, _middle(known), texts)


def compare(
    reference: Any | Prepared, window: Any, *, roles: Mapping[str, str] | None = None, newest: int = 0
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
        reference: a table: mapping of sequences, pandas, Polars or Arrow; n rows. Or what `prepare` made
            of it, which is much quicker from the second window on and gives the same.
        window: a table; m rows.
        roles: `prediction` or `probability` for columns that are not features. A prepared reference has its
            own.
        newest: so many rows at the end of the window are compared on their own too; 0 for none.

    Source: C. R. Genovese, K. Roeder, L. Wasserman, "False discovery control with p-value weighting",
    Biometrika 93 (2006).

    Returns:
        One comparison for each column of the reference, in its order; then one, without a p-value and
        with the role `extra`, for each column that only the window has.

    Raises:
        InputError: the columns of a table differ in length.
        ValueError: roles are given for a prepared reference.

    Examples:
        >>> age, = compare({"age": [30, 40, 50]}, {"age": [31, 39, 52]})
        >>> age.p_value
        1.0
    """
    if isinstance(reference, Prepared) and roles is not None:
        raise ValueError("the roles of a prepared reference are given to prepare()")
    before = reference if isinstance(reference, Prepared) else prepare(reference, roles=roles)
    now = as_columns(window)
    known = [_column(column, now.get(column.name), newest) for column in before.columns]
    names = {column.name for column in before.columns}
    extra = [
        ColumnComparison(name, "extra", Kind.CATEGORICAL, None, (), None, "the reference has no such column")
        for name in now
        if name not in names
    ]
    return (*known, *extra)


def _column(before: PreparedColumn, now: Column | None, newest: int) -> ColumnComparison:
    name, role, on = before.name, before.role, before.on
    if now is None:
        return ColumnComparison(name, role, on.kind, None, (), None, "the window has no such column")
    if not len(now) or not before.rows:
        return ColumnComparison(name, role, on.kind, None, (), None, "there are no rows to compare")
    if on.kind is Kind.NUMERIC:
        now = numbers(now)
    whole = _window(before, now)
    histogram: Histogram | None = None
    if on.comparable:
        bars = before.profile.bars, whole.profile.bars
        histogram = Histogram(before.labels, tuple(bars[0].tolist()), tuple(bars[1].tolist()))
    p_value, results, note = _tested(before, whole, sizes=True)
    if 0 < newest < len(now):
        alone, _, says = _tested(before, _window(before, now[-newest:]), sizes=False)
        results.append(_p_value(f"newest {newest} rows alone", alone, before.rows, newest))
        if alone < p_value:
            note = f"newest {newest} rows: {says}"
        p_value = min(1.0, p_value / (1 - NEWEST), alone / NEWEST)
    return ColumnComparison(name, role, on.kind, p_value, tuple(results), histogram, note)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one column of a window, with the attributes that `PreparedColumn` has for the reference."""

    profile: ColumnProfile
    values: Column
    texts: Counter[str | None]


def _window(before: PreparedColumn, now: Column) -> _Rows:
    if before.on.kind is Kind.NUMERIC:
        return _Rows(profile(now, before.on), np.sort(now[~np.isnan(now)]), Counter())
    texts = counted(now)
    return _Rows(tally(texts, before.on), _NO_NUMBERS, texts)


def _tested(before: PreparedColumn, now: _Rows, *, sizes: bool) -> tuple[float, list[Result], str]:
    """Test some rows; with effect sizes among the results, or without, which is quicker."""
    if before.on.kind is Kind.NUMERIC:
        return _numeric(before, now, sizes)
    return _categorical(before, now, sizes) if before.on.comparable else _nulls_only(before, now)


def _numeric(before: PreparedColumn, now: _Rows, sizes: bool) -> tuple[float, list[Result], str]:
    old, new = before.profile, now.profile
    a, b = before.values, now.values
    n, m = len(a), len(b)
    nulls = null_share(old.nulls, old.rows, new.nulls, new.rows)
    results = []
    weighted = [nulls.p_value / NULLS]
    notes = []
    if m:
        ks, (below, above) = kolmogorov_smirnov(a, b, ordered=True), exceedance(a, b)
        # without a null on either side there is nothing that Fisher's test could find
        rest = 1 - 2 * BEYOND - (NULLS if old.nulls or new.nulls else 0)
        weighted += [ks.p_value / rest, below.p_value / BEYOND, above.p_value / BEYOND]
        results = [
            _distance("Kolmogorov–Smirnov", ks.statistic, n, m),
            _p_value("Kolmogorov–Smirnov", ks.p_value, n, m),
            _p_value("rows below the reference", below.p_value, n, m),
            _p_value("rows above the reference", above.p_value, n, m),
        ]
        known = finite(b)
        if sizes:
            moved = _wasserstein(before.finite, known)
            results += [*_effects(old, new), _distance("Wasserstein in sigmas", moved, n, m)]
        notes.append(_moved(before.middle, _middle(known)))
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


def _middle(values: Column) -> tuple[str, str] | None:
    """Return the median and the mean of sorted values as texts."""
    if not len(values):
        return None
    half = len(values) // 2
    median = (values[half] + values[-half - 1]) / 2 + 0.0  # no minus before a zero
    return _short(median), _short(values.mean())


def _moved(a: tuple[str, str] | None, b: tuple[str, str] | None) -> str:
    """Describe the change of the median, or of the mean if the medians are equal."""
    if a is None or b is None:
        return "no finite values on one side"
    return f"median {a[0]} → {b[0]}" if a[0] != b[0] else f"mean {a[1]} → {b[1]}"


def _wasserstein(a: Column, b: Column) -> float | None:
    return normed_wasserstein(a, b, ordered=True) if len(a) and len(b) else None


def _categorical(before: PreparedColumn, now: _Rows, sizes: bool) -> tuple[float, list[Result], str]:
    on, old, new = before.on, before.profile, now.profile
    n, m = old.rows, new.rows
    # not the layout's bins: the reference is never in `(new)`, which would ring for any long tail
    a, b = before.texts, now.texts
    categories = list(a | b)
    test = category_shares([a[c] for c in categories], [b[c] for c in categories])
    results = [
        _distance("chi-square", test.statistic, n, m),
        _p_value("chi-square", test.p_value, n, m),
        *(_effects(old, new) if sizes else ()),
    ]
    shares = zip(on.categories, old.counts / n, new.counts / m, strict=True)
    most = max(shares, key=lambda s: abs(s[2] - s[1]))
    notes = [f"{most[0]} {most[1]:.1%} → {most[2]:.1%}"]
    unseen = int(new.counts[on.categories.index(NEW)])
    if unseen and most[0] != NEW:
        notes.append(f"{unseen} of {m} rows have a category that the reference has not")
    return test.p_value, results, "; ".join(notes)


def _nulls_only(before: PreparedColumn, now: _Rows) -> tuple[float, list[Result], str]:
    old, new = before.profile, now.profile
    test = null_share(old.nulls, old.rows, new.nulls, new.rows)
    note = "values are all different or dates, so only nulls are compared"
    return test.p_value, [_p_value("nulls", test.p_value, old.rows, new.rows)], note


def _effects(old: ColumnProfile, new: ColumnProfile) -> list[Result]:
    """Return the effect sizes, each with its size by chance."""
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

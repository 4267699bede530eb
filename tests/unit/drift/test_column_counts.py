"""Counts of all kinds of columns: a monoid with JSON, and the statistics that come from it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from driftbell.drift.column_bins import column_bins, compare_counts, count_column_on, with_limits
from driftbell.drift.column_counts import decode_counts, encode_counts, merge_counts
from driftbell.drift.compare import compare, prepare
from driftbell.drift.times import HOUR, time_profile, time_profile_of_hours
from driftbell.tabular.typed_column import read_columns


def table(rows: Any, seed: Any, cities: Any = ("Rome", "Oslo", "Bern")) -> Any:
    rng = np.random.default_rng(seed)
    times = np.datetime64("2026-01-01", "s") + rng.integers(0, 40 * 86_400, rows)
    return {
        "x": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "city": [None if rng.random() < 0.05 else str(c) for c in rng.choice(cities, rows)],
        "flag": (rng.random(rows) < 0.4).tolist(),
        "time": times.astype("datetime64[us]"),
        "text": [" ".join(["word"] * int(k)) + f" {i}" for i, k in enumerate(rng.integers(3, 9, rows))],
        "mixed": [*map(str, rng.integers(0, 90, rows - 3)), "n/k", "n/k", "zz"],
        "id": [f"{seed}-{i}" for i in range(rows)],
    }


REFERENCE = read_columns(table(800, 0))
PREPARED = prepare(REFERENCE)
BINS = {
    column.name: column_bins(column, np.dtype(np.float32) if column.name == "x" else None)
    for column in PREPARED.columns
}


def counts_of(columns: Any) -> Any:
    return {name: count_column_on(columns[name], on) for name, on in BINS.items()}


def parts(columns: Any, number: Any, seed: Any) -> Any:
    rows = len(columns["x"].values)
    order = np.random.default_rng(seed).permutation(rows)
    shuffled = {name: column.reorder(order) for name, column in columns.items()}
    ends = [0, *sorted(random.Random(seed).sample(range(1, rows), number - 1)), rows]
    return [{name: column.window(a, b) for name, column in shuffled.items()} for a, b in pairwise(ends)]


def exact_json(counts: Any) -> Any:
    """Return JSON without what rounding errors and the choice of examples change."""
    text = encode_counts(counts)
    decoded = decode_counts(text)
    assert encode_counts(decoded) == text
    for column in decoded.values():
        for numbers in (column.numbers, *(column.texts.features if column.texts else ())):
            if numbers is not None:
                object.__setattr__(numbers, "total", 0.0)
                object.__setattr__(numbers, "rest", 0.0)
        object.__setattr__(column, "examples", ())
    return encode_counts(decoded)


@pytest.mark.parametrize("seed", range(5))
def test_merging_in_any_order_gives_the_same_counts(seed: Any) -> None:
    columns = read_columns(table(1500, 9), kinds=REFERENCE)
    pieces = [counts_of(part) for part in parts(columns, 2 + 3 * seed, seed)]
    random.Random(seed).shuffle(pieces)
    half = len(pieces) // 2
    tree = merge_counts(merge_counts(*pieces[:half]), merge_counts(*pieces[half:]))
    assert exact_json(tree) == exact_json(counts_of(columns))
    empty = {name: on.empty() for name, on in BINS.items()}
    assert (
        encode_counts(merge_counts(empty, tree))
        == encode_counts(tree)
        == encode_counts(merge_counts(tree, empty))
    )


def test_no_parts_have_no_columns() -> None:
    assert merge_counts() == {}


@pytest.mark.parametrize("cities", [("Rome", "Oslo", "Bern"), ("Rome", "Oslo", "Paris")])
def test_the_comparison_of_counts_is_that_of_the_rows(cities: Any) -> None:
    current = table(4000, 5, cities)
    before = counts_of(REFERENCE)
    bins = {name: with_limits(on, before[name]) for name, on in BINS.items()}
    columns = read_columns(current, kinds=REFERENCE)
    now = {name: count_column_on(columns[name], on) for name, on in bins.items()}
    exact = compare(PREPARED, current)
    binned = compare_counts(PREPARED.columns, bins, before, now)
    for a, b in zip(exact, binned, strict=True):
        assert (a.column, a.kind, a.scope, a.null_shares, a.unreadable) == (
            b.column,
            b.kind,
            b.scope,
            b.null_shares,
            b.unreadable,
        )
        assert (a.histogram, a.new_share, a.value_range, a.unseen_rows) == (
            b.histogram,
            b.new_share,
            b.value_range,
            b.unseen_rows,
        )
        old, new = ({r.statistic: r.value for r in c.results if r.kind == "distance"} for c in (a, b))
        for name in ("PSI", "Jensen–Shannon", "chi-square"):
            assert old.get(name) == new.get(name)
        if "Kolmogorov–Smirnov" in old and a.kind == "numeric":
            error = new["error of Kolmogorov–Smirnov"]
            assert new["Kolmogorov–Smirnov"] <= old["Kolmogorov–Smirnov"] + 1e-12
            assert old["Kolmogorov–Smirnov"] <= new["Kolmogorov–Smirnov"] + error + 1e-12
        assert (a.p_value > 0.01) == (b.p_value > 0.01)


def test_many_new_categories_are_compared_by_groups() -> None:
    past = read_columns({"city": [f"c{i % 60}" for i in range(900)]})
    prepared = prepare(past)
    on = column_bins(prepared.columns[0])
    before = count_column_on(past["city"], on)
    for cells, drifted in (
        ([f"c{i % 60}" for i in range(6000)], False),
        ([f"new {i}" if i % 3 == 0 else f"c{i % 60}" for i in range(6000)], True),
    ):
        now = count_column_on(read_columns({"city": cells}, kinds=past)["city"], on)
        (comparison,) = compare_counts(prepared.columns, {"city": on}, {"city": before}, {"city": now})
        assert (comparison.p_value < 0.001) == drifted
        assert comparison.new_share == pytest.approx(1 / 3 if drifted else 0.0)
        assert comparison.unseen_rows == (2000 if drifted else 0)


@pytest.mark.parametrize(("more", "share"), [(0, 1 / 3), (10, 1 / 3), (2000, None)])
def test_the_share_of_new_categories_is_unknown_if_the_sample_of_the_reference_lacks_many(
    more: int, share: float | None
) -> None:
    """The reference has further categories besides those of its sample, which the new rows have too."""
    sampled = read_columns({"city": [f"c{i % 60}" for i in range(900)]})
    prepared = prepare(sampled)
    on = column_bins(prepared.columns[0])
    others = [f"other {i}" for i in range(more)]
    whole = [f"c{i % 60}" for i in range(6000 - more)] + others
    cells = [*(f"new {i % 300}" for i in range(2000)), *others, *(f"c{i % 60}" for i in range(4000 - more))]
    before, now = (
        count_column_on(read_columns({"city": side}, kinds=sampled)["city"], on) for side in (whole, cells)
    )
    (comparison,) = compare_counts(prepared.columns, {"city": on}, {"city": before}, {"city": now})
    assert comparison.new_share == (share and pytest.approx(share))
    assert comparison.p_value < 0.001


def test_times_of_hours_have_the_cycles_of_the_times() -> None:
    times = np.datetime64("2026-01-01") + np.random.default_rng(1).integers(0, 30 * 86_400, 5000).astype(
        "timedelta64[s]"
    )
    exact = time_profile(times.astype("datetime64[us]"))
    hours, counts = np.unique(times.astype("datetime64[h]").astype(np.int64), return_counts=True)
    ends = int(exact.values[0]), int(exact.values[-1])
    binned = time_profile_of_hours(hours, counts, ends, timed=True)
    assert binned.rows == exact.rows
    assert binned.hours.tolist() == exact.hours.tolist()
    assert binned.hour_spread == pytest.approx(exact.hour_spread)
    assert binned.week.means.tolist() == exact.week.means.tolist()
    assert binned.week.spread == pytest.approx(exact.week.spread)
    assert binned.days_used == exact.days_used
    assert (binned.values[0], binned.values[-1]) == ends
    assert binned.rows_before(ends[0]) == binned.rows_after(ends[1]) == 0
    assert exact.rows_before(ends[1] - HOUR) <= binned.rows_before(ends[1]) < exact.rows
    half = int(exact.values[2500]) // HOUR * HOUR + HOUR // 2
    assert exact.rows_before(half - HOUR) <= binned.rows_before(half) <= exact.rows_before(half)
    assert exact.rows_after(half + HOUR) <= binned.rows_after(half) <= exact.rows_after(half)

"""Compare the window with the reference, column by column: statistics only, no decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from driftbell.drift.binned_tests import add_binned_distances, add_binned_numbers, add_binned_texts
from driftbell.drift.column_tests import (
    UNUSUAL,
    Tested,
    add_categories,
    add_cells,
    add_frozen,
    add_nulls,
    add_numbers,
    add_texts,
)
from driftbell.drift.measures import new_share, unseen_rows, value_range
from driftbell.drift.notes import other_date_format
from driftbell.drift.prepared import (
    ColumnRows,
    PreparedColumn,
    PreparedReference,
    column_rows,
    null_rows,
    prepare_column,
)
from driftbell.drift.time_tests import add_times, why_not_compared
from driftbell.phrases import join_names, name_difference, printable
from driftbell.progress import track
from driftbell.records import ColumnComparison, Effect, Histogram, Kind, Result, ResultKind, Scope
from driftbell.tabular.null_words import count_words
from driftbell.tabular.precision import coarser, rounded
from driftbell.tabular.typed_column import NO_ROWS, TypedColumn, read_columns

NEWEST_ROWS = ", newest rows"
"""End of the names of tests of the newest rows alone."""

NEWEST_WEIGHT = 0.25
"""Weight of the newest rows alone; the whole window has the rest."""

Newest: TypeAlias = tuple[list[Effect], str, Result]
"""Changes of the newest rows alone, their description, and their p-value."""


def prepare(
    reference: Any, *, roles: Mapping[str, str] | None = None, columns: Mapping[str, str] | None = None
) -> PreparedReference:
    """Prepare a reference for comparisons with many windows.

    Args:
        reference: a table, see `compare`.
        roles: see `compare`.
        columns: see `compare`.

    Raises:
        InputError: the columns differ in length.
        ConfigError: `columns` names no column, or an unknown kind.

    >>> reference = prepare({"age": [30, 40, 50]})
    >>> [compare(reference, {"age": [a, a + 9]})[0].note for a in (20, 40)]
    ["median 40 → 24.5; 2 of 2 rows below the reference's minimum 30", 'median 40 → 44.5']
    """
    roles, user_kinds = roles or {}, columns or {}
    typed = _typed(reference, None, user_kinds)
    return PreparedReference(
        tuple(prepare_column(n, roles.get(n, "feature"), c) for n, c in track(typed.items())), user_kinds
    )


def _typed(
    table: Any, decided: Mapping[str, TypedColumn] | None, user_kinds: Mapping[str, str]
) -> Mapping[str, TypedColumn]:
    typed = isinstance(table, Mapping) and table and all(isinstance(c, TypedColumn) for c in table.values())
    if typed and not user_kinds:
        return table  # type: ignore[no-any-return]
    return read_columns(table, kinds=decided, columns=user_kinds)


def compare(
    reference: Any | PreparedReference,
    window: Any,
    *,
    roles: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    newest: int = 0,
) -> tuple[ColumnComparison, ...]:
    """Compare every column of the window with the same column of the reference.

    The kind of each column, and whether the day or the month is first in its dates, is decided on the
    reference. Numbers: exact two-sample Kolmogorov–Smirnov test,
    rank-sum test, Rosenbaum's exceedance tests below and above the reference's range; for information PSI and
    Jensen–Shannon distance on the reference's deciles, and the Wasserstein distance in standard deviations.
    Numbers of different precision are compared in the coarser one. Categories and booleans: chi-square over
    all categories, null and unseen ones included, by permutation if some are rare; PSI and Jensen–Shannon.
    Dates: time of day, day of the week, rows before the reference's oldest or long after today, and times
    with far more rows than in the reference. Texts: length, emptiness and character classes. Every kind:
    Fisher's exact test on nulls, and on cells that are not of the kind. The note of an identifier, of lists,
    and of a column without a readable value says that it is not compared. A defective column is reported in
    its note, never by an exception.

    Each change has a size: a Kolmogorov–Smirnov distance, total variation distance or difference of shares,
    with the lower end of its 90 % interval.

    A change that has just begun affects few rows of a long window, so the newest rows can be tested
    separately as well.

    A column's p-value is the smallest of its tests' p-values, each divided by its weight.

    Args:
        reference: a table: mapping of sequences, pandas, Polars or Arrow; n rows; or columns from
            `read_columns`. Or a prepared reference, which gives the same result and is much faster from the
            second window on.
        window: a table; m rows.
        roles: `prediction` or `probability` for columns that are not features; None with a prepared
            reference.
        columns: kinds that you set, such as `{"zip": "categorical"}`: numeric, integer, categorical,
            boolean, datetime, text or identifier. None with a prepared reference.
        newest: number of rows at the end of the window to test separately; 0 for none.

    Source: C. R. Genovese, K. Roeder, L. Wasserman, "False discovery control with p-value weighting",
    Biometrika 93 (2006).

    Returns:
        One comparison for each column of the reference, in its order; then one with the role `extra` and
        without a p-value for each additional column of the window.

    Raises:
        InputError: the columns of a table differ in length.
        ConfigError: `columns` names no column of the reference, or an unknown kind.
        ValueError: roles or kinds are passed with a prepared reference.

    Examples:
        >>> age, = compare({"age": [30, 40, 50]}, {"age": [31, 39, 52]})
        >>> age.p_value
        1.0
    """
    if isinstance(reference, PreparedReference):
        if roles is not None or columns is not None:
            raise ValueError("pass the roles and columns of a prepared reference to prepare()")
        prepared = reference
    else:
        prepared = prepare(reference, roles=roles, columns=columns)
    cells = _typed(window, prepared.decided, prepared.user_kinds)
    comparisons = [
        _compare_column(c, cells[c.name], newest) if c.name in cells else missing_column(c, cells)
        for c in track(prepared.columns)
    ]
    names = {column.name for column in prepared.columns}
    extra = [extra_column(n, column, names) for n, column in cells.items() if n not in names]
    return (*comparisons, *extra)


def not_compared(
    name: str, role: str, kind: Kind | None, note: str, scope: Scope = Scope.INCOMPLETE
) -> ColumnComparison:
    """Return the comparison of a column that could not be compared, with the reason."""
    return ColumnComparison(name, role, kind or Kind.CATEGORICAL, None, (), None, note, scope)


def extra_column(name: str, column: TypedColumn, names: Iterable[str]) -> ColumnComparison:
    """Return the comparison of a column that the reference, with these names, does not have."""
    return not_compared(name, "extra", column.kind, _no_such_column("the reference", name, names))


def missing_column(before: PreparedColumn, names: Iterable[str]) -> ColumnComparison:
    """Return the comparison of a column that the current data, with these names, do not have."""
    note = _no_such_column("the current data", before.name, names)
    return not_compared(before.name, before.role, before.kind, note)


def _no_such_column(table: str, name: str, names: Iterable[str]) -> str:
    """Return that a table has no column of a name, and which other one it has that looks like it."""
    text = f"{table} has no such column"
    for other in names:
        if difference := name_difference(name, other):
            return f"{text}, but '{printable(other)}', which differs only in {difference}: rename one of both"
    return text


def _compare_column(before: PreparedColumn, typed: TypedColumn, newest: int) -> ColumnComparison:
    name, role, kind = before.name, before.role, before.kind
    rows = len(typed.values)
    if not rows or not before.cells.rows:
        return not_compared(name, role, kind, "there are no rows to compare")
    numbers = value_range(typed)
    before = before.without_running(numbers)
    before, typed = _same_precision(before, typed)
    alone = _newest(before, typed, newest) if 0 < newest < rows else None
    return compare_rows(before, _rows(before, typed), typed, numbers, newest=newest, alone=alone)


def compare_newest(before: PreparedColumn, typed: TypedColumn) -> Newest:
    """Test the newest rows of a window alone.

    Args:
        before: the reference.
        typed: the newest rows, at least one.
    """
    before, typed = _same_precision(before, typed)
    return _newest(before, typed, len(typed.values))


def compare_rows(
    before: PreparedColumn,
    now: ColumnRows,
    typed: TypedColumn,
    numbers: tuple[float, float] | None,
    *,
    newest: int = 0,
    alone: Newest | None = None,
) -> ColumnComparison:
    """Compare the counted rows of a column of the window with the reference.

    Args:
        before: the reference.
        now: rows of the window, counted on the bins of the reference.
        typed: how the cells of the window were read; its values are not used.
        numbers: smallest and largest number of the window; None without any.
        newest: number of rows of which `alone` are the changes.
        alone: the test of these rows.
    """
    before = before.without_running(numbers)
    name, role, kind, rows = before.name, before.role, before.kind, now.rows
    tested = Tested()
    scope = _test(before, now, tested, effect_sizes=True)
    add_cells(before, now, typed.stored_as, tested)
    if other_format := other_date_format(before.date_example, typed.date_example):
        tested.remarks.append(other_format)
    if before.calendar and not before.excluded and min(change.p_value for change in tested.changes) < UNUSUAL:
        tested.remarks += filter(None, [before.calendar_note(numbers)])
    remarks = {"in the reference": before.remark, "in current": typed.remark}
    if sides := [side for side, remark in remarks.items() if remark]:
        tested.remarks.append(f"{' and '.join(sides)}, {typed.remark or before.remark}")
    if before.null_words or typed.null_words:
        tested.remarks.append(_null_words(name, before.null_words, count_words(typed.null_words)))
    frozen = is_identifier(before) and add_frozen(before, now, tested)
    if scope is not Scope.VALUES:
        add_nulls(before, now, tested)
    if scope is Scope.NULLS and not now.readable and not before.cells.readable:
        nothing = not_compared(name, role, kind, "every cell is null on both sides", scope)
        return replace(nothing, null_shares=(1.0, 1.0))
    effects, note = _effects(tested), _note(tested)
    results = tested.results
    if scope is not Scope.VALUES and (before.excluded or not now.unreadable):
        why = _why_not(before, now)
        note = "; ".join(_nonempty([note, why] if frozen else [why, note]))
    if alone is not None:
        of_newest, newest_note, result = alone
        results.append(result)
        if min(e.p_value for e in of_newest) < min(e.p_value for e in effects):
            note = f"newest {newest:,} rows: {newest_note}"
        effects = [replace(e, p_value=min(1.0, e.p_value / (1 - NEWEST_WEIGHT))) for e in effects]
        effects += [
            replace(e, test=f"{e.test}{NEWEST_ROWS}", p_value=min(1.0, e.p_value / NEWEST_WEIGHT))
            for e in of_newest
        ]
    return ColumnComparison(
        name,
        role,
        kind or Kind.CATEGORICAL,
        min(e.p_value for e in effects),
        tuple(results),
        _histogram(before, now),
        note,
        scope,
        tuple(sorted(effects, key=lambda e: -e.size)),
        (before.cells.nulls / before.cells.rows, now.nulls / rows),
        (before.cells.unreadable, now.unreadable),
        new_share(before, now),
        numbers,
        unseen_rows(before, now),
        (now.examples or before.cells.examples)[:1],
    )


def _null_words(name: str, before: str, now: str) -> str:
    sides = {"in the reference": before, "in current": now}
    cells = join_names(f"{count} {side}" for side, count in sides.items() if count)
    return f"read as missing: {cells} (--keep-null-words '{printable(name)}' reads them as texts)"


def _same_precision(before: PreparedColumn, typed: TypedColumn) -> tuple[PreparedColumn, TypedColumn]:
    """Round both sides to the coarser precision."""
    if before.kind is not Kind.NUMERIC or typed.values.dtype.kind != "f":
        return before, typed
    dtype = coarser(before.precision, typed.precision)
    if dtype is None or before.precision == typed.precision:
        aligned = before.singles.align(typed.values) if before.singles else typed.values
        return before, replace(typed, values=aligned)
    return before.rounded(dtype), replace(typed, values=rounded(typed.values, dtype))


def _rows(before: PreparedColumn, typed: TypedColumn) -> ColumnRows:
    if before.kind is None:
        return null_rows(typed)
    rows = column_rows(replace(typed, kind=before.kind), before.layout)
    return before.bins.coarsen(rows, before.layout) if before.bins else rows


def _test(before: PreparedColumn, now: ColumnRows, tested: Tested, *, effect_sizes: bool) -> Scope:
    """Test the values of a column, and return what could be tested."""
    if before.excluded:
        return Scope.NULLS
    if all(c.nulls == c.rows for c in (before.cells, now)):
        return Scope.NULLS
    categories = before.kind in (Kind.CATEGORICAL, Kind.BOOLEAN)
    nothing = not before.cells.readable or not now.readable
    if nothing and not (categories and not now.unreadable):
        return Scope.INCOMPLETE
    if categories:
        add_categories(before, now, tested, effect_sizes=effect_sizes)
    elif before.kind is Kind.NUMERIC:
        if before.cells.binned is not None and now.binned is not None:
            add_binned_numbers(before.cells.binned, now.binned, tested)
            add_binned_distances(before.cells, now, tested)
        else:
            add_numbers(before, now, tested, effect_sizes=effect_sizes)
    elif before.kind is Kind.DATETIME:
        return Scope.VALUES if add_times(before, now, tested) else Scope.NULLS
    elif before.cells.binned_texts is not None and now.binned_texts is not None:
        add_binned_texts(before.cells.binned_texts, now.binned_texts, tested)
    else:
        add_texts(before, now, tested)
    return Scope.VALUES


def is_identifier(before: PreparedColumn) -> bool:
    """Return whether a column has almost all different values, and is not of a kind that the user set."""
    kinds = (Kind.IDENTIFIER, Kind.CATEGORICAL)
    return bool(before.excluded) and before.kind in kinds and not before.layout.comparable


def _why_not(before: PreparedColumn, now: ColumnRows) -> str:
    """Return why the values of a column were not compared."""
    if before.excluded:
        return before.excluded
    if before.cells.times is not None and now.times is not None and before.cells.readable and now.readable:
        return why_not_compared(before.cells.times, now.times)
    side = "current" if before.cells.readable else "the reference"
    return f"no readable value in {side}"


def _newest(before: PreparedColumn, typed: TypedColumn, newest: int) -> Newest:
    """Test the newest rows alone; without `unreadable_rows`, their unreadable cells count as nulls."""
    unreadable = int((typed.unreadable_rows >= len(typed.values) - newest).sum())
    examples = typed.examples if unreadable else ()
    newest_cells = replace(
        typed,
        values=typed.values[-newest:],
        unreadable=unreadable,
        examples=examples,
        unreadable_rows=NO_ROWS,
    )
    now = _rows(before, newest_cells)
    tested = Tested()
    scope = _test(before, now, tested, effect_sizes=False)
    add_cells(before, now, "", tested)
    if scope is not Scope.VALUES:
        add_nulls(before, now, tested)
    effects = _effects(tested)
    result = Result(
        f"newest {newest:,} rows alone",
        min(e.p_value for e in effects),
        ResultKind.P_VALUE,
        None,
        before.cells.rows,
        newest,
    )
    return effects, _note(tested), result


def _effects(tested: Tested) -> list[Effect]:
    """Return the changes with their p-values divided by their weights, which sum to 1."""
    total = sum(change.weight for change in tested.changes)
    return [
        Effect(c.test, min(1.0, c.p_value * total / c.weight), c.size.value, c.size.low, c.note)
        for c in tested.changes
    ]


def _note(tested: Tested) -> str:
    changes = sorted(tested.changes, key=lambda c: -c.size.value)
    return "; ".join(_nonempty([*(c.note for c in changes), *tested.remarks]))


def _nonempty(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]


def _histogram(before: PreparedColumn, now: ColumnRows) -> Histogram | None:
    if before.excluded or before.cells.profile is None or now.profile is None:
        return None
    bars = before.cells.profile.bars, now.profile.bars
    return Histogram(before.labels, tuple(bars[0].tolist()), tuple(bars[1].tolist()))

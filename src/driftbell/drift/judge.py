"""Decide which columns have drifted: where evidence is strong and the change is not negligible."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from driftbell.drift.unreadable_texts import unreadable_text
from driftbell.phrases import count_of, format_p_value, join_names, printable
from driftbell.records import (
    ColumnComparison,
    ColumnVerdict,
    Effect,
    Judgement,
    Result,
    ResultKind,
    Scope,
    Verdict,
)
from driftbell.stats import benjamini_hochberg

MINIMUM_ROWS = 10
FALSE_DISCOVERY_RATE = 0.05
SMALLEST_EFFECT = 0.02

MAX_P_VALUE, FALSE_CHECK_RATE = 0.001, 0.005
"""Strong evidence in a single comparison is a p-value of at most `MAX_P_VALUE`, or of at most
`FALSE_CHECK_RATE` after the adjustment for all columns."""

PREDICTIONS = "predictions"
"""The unit of rows in the log."""

EXTRA = "extra"
"""The role of a column that the reference lacks."""

TARGET = "target"
"""The role of the column with the labels, which is no feature of the model."""

MAX_REASON = 240
"""Characters of the reason why a column is not compared, in a sentence about all columns."""

MAX_TARGET_NOTE = 200
"""Characters of the description of a change of the target."""


def judge(
    comparisons: Sequence[ColumnComparison],
    *,
    rows: int,
    minimum_rows: int = MINIMUM_ROWS,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
    strong: float | None = None,
    persistent: Collection[str] = (),
    smallest_effect: float | Mapping[str, float] = SMALLEST_EFFECT,
    unit: str = "rows",
) -> Judgement:
    """Decide which columns have drifted, and the verdict of the check.

    A column has drifted if the evidence for a change is strong, and the change is larger than the smallest
    relevant one: the lower end of the 90 % interval of its size (a Kolmogorov–Smirnov distance, total
    variation distance, or difference of shares) exceeds `smallest_effect`. A change that is detectable but
    negligible is described in the column's reason.

    The p-values of all columns are adjusted by Benjamini and Hochberg's step-up procedure; evidence is strong
    if the adjusted p-value is at most its threshold. On changed data, on average at most that share of the
    listed columns is wrong (false discovery rate).

    A single comparison uses the rate as threshold; besides, the p-value must be at most 0.001, or the
    adjusted one at most 0.005. So from five columns on, at most one in 1,000 unchanged columns is listed. In
    a series of checks, a column's threshold is `strong`, the share of checks that may list a column falsely,
    or the rate if weak evidence on the column has lasted (see `persistent_columns`).

    Args:
        comparisons: the result of `compare`.
        rows: number of rows of the window.
        minimum_rows: with fewer rows in the window or the reference, the verdict is `unknown`.
        false_discovery_rate: between 0 and 1.
        strong: between 0 and 1; None for a single comparison.
        persistent: columns with lasting weak evidence, see `persistent_columns`.
        smallest_effect: largest negligible size of a change, as a share of the rows; one for all columns, or
            by column (0.02 for the others).
        unit: what the rows are, for sentences: "predictions" of the log, "rows", or "rows of the file".

    Returns:
        `warning` if a column has drifted; else `unknown` if no column, or not every one that should be, could
        be compared; else `ok`. Identifiers, lists and additional columns of the window are not compared; the
        sentence names them.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).

    Examples:
        >>> judge([], rows=7).sentence
        'Cannot judge: needs 10, has 7 rows.'
    """
    if rows < minimum_rows:
        noun, space, rest = unit.partition(" ")
        has = f"{count_of(rows, noun.removesuffix('s'))}{space}{rest}"
        return Judgement(Verdict.UNKNOWN, f"Cannot judge: needs {minimum_rows}, has {has}.")
    reference_rows = max((r.n_reference for c in comparisons for r in c.results), default=minimum_rows)
    if reference_rows < minimum_rows:
        return Judgement(
            Verdict.UNKNOWN,
            f"Cannot judge: the reference needs {minimum_rows}, has {count_of(reference_rows, 'row')}.",
        )
    sizes = {c.column: _smallest(c.column, smallest_effect) for c in comparisons}
    tested = [c for c in comparisons if c.p_value is not None]
    evidence = _adjusted({c.column: c.p_value for c in tested if c.p_value is not None}, single=False)
    relevant = _adjusted(
        {c.column: _relevant_p_value(c, sizes[c.column]) for c in tested}, single=strong is None
    )
    columns = tuple(
        _judge_column(
            c,
            evidence.get(c.column),
            relevant.get(c.column, 1.0),
            false_discovery_rate,
            None if c.column in persistent else strong,
            sizes[c.column],
        )
        for c in comparisons
    )
    verdict, sentence = _summarize(columns, rows, false_discovery_rate, unit, single=strong is None)
    sentence += _unseen(columns, rows) + unreadable_text(columns, with_reference=strong is None)
    return Judgement(verdict, sentence, columns)


def _smallest(column: str, smallest_effect: float | Mapping[str, float]) -> float:
    if isinstance(smallest_effect, Mapping):
        return smallest_effect.get(column, SMALLEST_EFFECT)
    return smallest_effect


def _adjusted(p_values: Mapping[str, float], *, single: bool) -> dict[str, float]:
    """Return adjusted p-values by column; of a single comparison, 1 where the evidence is not strong."""
    adjusted = benjamini_hochberg(list(p_values.values())).tolist() if p_values else []
    return {
        column: 1.0 if single and p_value > MAX_P_VALUE and q_value > FALSE_CHECK_RATE else q_value
        for (column, p_value), q_value in zip(p_values.items(), adjusted, strict=True)
    }


def _relevant_p_value(comparison: ColumnComparison, smallest_effect: float) -> float:
    """Return the smallest p-value of the changes that are not negligible, 1 without any."""
    if not comparison.effects:
        return comparison.p_value if comparison.p_value is not None else 1.0
    return min((e.p_value for e in comparison.effects if e.low > smallest_effect), default=1.0)


def _judge_column(
    comparison: ColumnComparison,
    adjusted: float | None,
    relevant: float,
    rate: float,
    strong: float | None,
    smallest_effect: float,
) -> ColumnVerdict:
    threshold = rate if strong is None else min(strong, rate)
    if adjusted is None:
        reason = f"Not compared: {comparison.note}."
        return ColumnVerdict(comparison, Verdict.UNKNOWN, None, threshold, reason, False, smallest_effect)
    drifted = relevant <= threshold
    n, m = (
        (comparison.results[0].n_reference, comparison.results[0].n_window) if comparison.results else (0, 0)
    )
    deciding = Result("all tests, adjusted for all columns", adjusted, ResultKind.P_VALUE, threshold, n, m)
    largest = max(comparison.effects, key=lambda e: e.low, default=None)
    word = "Drift" if drifted else "No drift"
    if not drifted and relevant <= rate:
        word = f"Weak evidence ({format_p_value(relevant)}), listed if it lasts"
    elif not drifted and largest and adjusted <= min(threshold, FALSE_CHECK_RATE):
        word = _negligible(adjusted, largest, smallest_effect)
    verdict = Verdict.WARNING if drifted else Verdict.OK
    if comparison.scope is not Scope.VALUES and not drifted:
        word, verdict = "Not compared", Verdict.UNKNOWN
    reason = f"{word}: {comparison.note}." if comparison.note else f"{word}."
    comparison = replace(comparison, results=(deciding, *comparison.results))
    return ColumnVerdict(comparison, verdict, adjusted, threshold, reason, drifted, smallest_effect, relevant)


def _negligible(p_value: float, effect: Effect, smallest_effect: float) -> str:
    """Describe a change that is detectable but too small to be listed, or too uncertain to be large."""
    if effect.size <= smallest_effect:
        return f"No drift ({format_p_value(p_value)}, but only {effect.size:.1%} of the rows differ)"
    return f"No drift ({format_p_value(p_value)}, but perhaps only {effect.low:.1%} of the rows differ)"


def _summarize(
    columns: Sequence[ColumnVerdict], rows: int, rate: float, unit: str, *, single: bool
) -> tuple[Verdict, str]:
    targets = [c for c in columns if c.comparison.role == TARGET]
    if targets:
        others = [c for c in columns if c not in targets]
        verdict, sentence = _summarize(others, rows, rate, unit, single=single)
        return _with_target(verdict, sentence, targets[0])
    compared = [c for c in columns if c.compared]
    drifted = sorted((c for c in compared if c.drifted), key=lambda c: -c.largest_change)
    extra = [c.column for c in columns if c.comparison.role == EXTRA]
    others = [c for c in columns if not c.compared and c.comparison.role != EXTRA]
    left_out = [c for c in others if c.comparison.scope is Scope.NULLS]
    incomplete = [c for c in others if c.comparison.scope is not Scope.NULLS]
    notes, kind = _notes(others, extra), "compared columns" if others or extra else "columns"
    where = f"the last {rows:,} {unit}" if unit == PREDICTIONS else f"the {rows:,} {unit}"
    if drifted:
        features = [c.column for c in drifted if c.comparison.role == "feature"]
        outputs = [c.column for c in drifted if c.comparison.role != "feature"]
        what = join_names(features) if features else f"the predictions ({join_names(outputs)})"
        them = "it" if len(features) == 1 else "them"
        also = f", and the predictions with {them}" if features and outputs else ""
        return Verdict.WARNING, (
            f"Drift in {what}{also}: {len(drifted)} of {len(compared)} {kind} of {where} differ from the "
            f"reference.{notes}"
        )
    if not compared:
        return Verdict.UNKNOWN, f"Cannot judge: no column can be compared.{notes}"
    if incomplete:
        return Verdict.UNKNOWN, f"Cannot judge every column: {_reasons(incomplete)}.{_notes(left_out, extra)}"
    weak = [] if single else [c for c in compared if _is_weak(c, rate)]
    if weak:
        names = join_names(c.column for c in weak)
        sentence = f"No drift so far in {where}: weak evidence in {names} is listed if it lasts."
    else:
        which = f"all {len(compared)} {kind}" if len(compared) > 1 else f"the only {kind[:-1]}"
        looks = "look" if len(compared) > 1 else "looks"
        sentence = f"No drift: {which} of {where} {looks} like the reference."
    return Verdict.OK, f"{sentence}{notes}"


def _with_target(verdict: Verdict, sentence: str, target: ColumnVerdict) -> tuple[Verdict, str]:
    """Return the summary of all columns, with the drift of the target as a sentence of its own."""
    if not target.drifted:
        return verdict, sentence
    note = printable(target.comparison.note, MAX_TARGET_NOTE)
    sentence = sentence.replace("No drift: ", "No drift in the other columns: ", 1)
    return Verdict.WARNING, f"{sentence} Drift in the target {printable(target.column)}: {note}."


def _is_weak(column: ColumnVerdict, rate: float) -> bool:
    return column.threshold < column.relevant_p_value <= rate


def _unseen(columns: Iterable[ColumnVerdict], rows: int) -> str:
    """Return a sentence on categories that the reference lacks, in columns without drift."""
    unseen = [c for c in columns if c.comparison.unseen_rows and not c.drifted]
    if not unseen:
        return ""
    unseen.sort(key=lambda c: -c.comparison.unseen_rows)
    counts = (f"{c.column} in {c.comparison.unseen_rows:,} of {rows:,} rows" for c in unseen)
    return f" Categories that the reference lacks: {join_names(counts)}."


def _notes(others: Iterable[ColumnVerdict], extra: Sequence[str]) -> str:
    """Return sentences about the columns that were not compared."""
    others = list(others)
    sentences = [f"{count_of(len(others), 'column')} not compared: {_reasons(others)}."] if others else []
    if extra:
        sentences.append(f"Not in the reference: {join_names(extra)}.")
    return "".join(f" {sentence}" for sentence in sentences)


def _reasons(columns: Sequence[ColumnVerdict]) -> str:
    """Return the names of columns that were not compared, by reason."""
    names_by_reason: dict[str, list[str]] = {}
    for column in columns:
        reason = column.comparison.note.partition(";")[0]
        names_by_reason.setdefault(printable(reason, MAX_REASON), []).append(column.column)
    return "; ".join(f"{join_names(names)} ({reason})" for reason, names in names_by_reason.items())


def persistent_columns(state: Mapping[str, int], first: int) -> frozenset[str]:
    """Return the columns on which weak evidence has lasted.

    Evidence has lasted if it is in every check since one with a window that shares no row with the current
    window.

    Args:
        state: from `update_persistence` after the previous check.
        first: sequence number of the oldest row of the current window.

    >>> persistent_columns({"age": 500, "city": 700}, first=600)
    frozenset({'age'})
    """
    return frozenset(column for column, last in state.items() if last < first)


def update_persistence(
    state: Mapping[str, int],
    judgement: Judgement,
    *,
    last: int,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
) -> dict[str, int]:
    """Return since when there is evidence on each column.

    Args:
        state: from the previous check; empty at the beginning.
        judgement: of the current check.
        last: sequence number of the newest row of the current window.
        false_discovery_rate: as in `judge`.

    Returns:
        For each column with evidence in all checks of a run up to now, the sequence number of the newest row
        of the first check of the run; 0 once the column has been listed, so that it stays listed for the rest
        of the run. A check that could not compare a column does not change its entry.
    """
    judged = {c.column: c for c in judgement.columns if c.adjusted_p_value is not None}
    after = {column: since for column, since in state.items() if column not in judged}
    for name, column in judged.items():
        if column.drifted:
            after[name] = 0
        elif column.relevant_p_value <= false_discovery_rate:
            after[name] = state.get(name, last)
    return after

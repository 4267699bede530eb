"""Decide which columns have drifted, from their p-values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from driftbell.phrases import join_names
from driftbell.records import ColumnComparison, ColumnVerdict, Judgement, Result, ResultKind, Verdict
from driftbell.stats import benjamini_hochberg

MINIMUM_ROWS = 10
FALSE_DISCOVERY_RATE = 0.05


def judge(
    comparisons: Sequence[ColumnComparison],
    *,
    rows: int,
    minimum_rows: int = MINIMUM_ROWS,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
    strong: float | None = None,
    persistent: Collection[str] = (),
) -> Judgement:
    """Decide which columns have drifted, and the verdict of the check.

    The p-values of all columns are adjusted by Benjamini and Hochberg's step-up procedure; a column has
    drifted if its adjusted p-value is at most its threshold. On unchanged data, at most that share of checks
    lists any column; on changed data, on average at most that share of the listed columns is wrong (false
    discovery rate).

    A single comparison uses the rate as threshold. In a series of checks, a column's threshold is `strong`,
    the share of checks that may list a column falsely, or the rate if weak evidence on the column has lasted
    (see `persistent_columns`).

    Args:
        comparisons: the result of `compare`.
        rows: number of rows of the window.
        minimum_rows: with fewer rows in the window or the reference, the verdict is `unknown`.
        false_discovery_rate: between 0 and 1.
        strong: between 0 and 1; None for a single comparison.
        persistent: columns with lasting weak evidence, see `persistent_columns`.

    Returns:
        `warning` if a column has drifted; else `unknown` if a column could not be compared; else `warning` if
        the window has additional columns; else `ok`.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).

    Examples:
        >>> judge([], rows=7).sentence
        'Cannot judge: needs 10, has 7 predictions.'
    """
    if rows < minimum_rows:
        return Judgement(Verdict.UNKNOWN, f"Cannot judge: needs {minimum_rows}, has {rows} predictions.")
    reference_rows = max((r.n_reference for c in comparisons for r in c.results), default=minimum_rows)
    if reference_rows < minimum_rows:
        return Judgement(
            Verdict.UNKNOWN, f"Cannot judge: the reference needs {minimum_rows}, has {reference_rows} rows."
        )
    judged = [c for c in comparisons if c.p_value is not None]
    if not judged:
        return Judgement(Verdict.UNKNOWN, "Cannot judge: no column of the window can be compared.")
    p_values = benjamini_hochberg([c.p_value for c in judged if c.p_value is not None])
    adjusted = dict(zip((c.column for c in judged), p_values, strict=True))
    columns = tuple(
        _judge_column(
            c, adjusted.get(c.column), false_discovery_rate, None if c.column in persistent else strong
        )
        for c in comparisons
    )
    verdict, sentence = _summarize(columns, rows, false_discovery_rate)
    return Judgement(verdict, sentence, columns)


def _judge_column(
    comparison: ColumnComparison, adjusted: float | None, rate: float, strong: float | None
) -> ColumnVerdict:
    threshold = rate if strong is None else min(strong, rate)
    if adjusted is None:
        verdict = Verdict.WARNING if comparison.role == "extra" else Verdict.UNKNOWN
        return ColumnVerdict(comparison, verdict, None, threshold, f"Not compared: {comparison.note}.")
    p_value = float(adjusted)
    drifted = p_value <= threshold
    n, m = (
        (comparison.results[0].n_reference, comparison.results[0].n_window) if comparison.results else (0, 0)
    )
    deciding = Result("all tests, adjusted for all columns", p_value, ResultKind.P_VALUE, threshold, n, m)
    comparison = replace(comparison, results=(deciding, *comparison.results))
    word = "Drift" if drifted else "No drift"
    if _is_weak(p_value, threshold, rate):
        word = f"Weak evidence (p {p_value:.2g}), listed if it lasts"
    reason = f"{word}: {comparison.note}." if comparison.note else f"{word}."
    verdict = Verdict.WARNING if drifted else Verdict.OK
    return ColumnVerdict(comparison, verdict, p_value, threshold, reason, drifted)


def _is_weak(p_value: float, threshold: float, rate: float) -> bool:
    return threshold < p_value <= rate


def _summarize(columns: Sequence[ColumnVerdict], rows: int, rate: float) -> tuple[Verdict, str]:
    compared = [c for c in columns if c.adjusted_p_value is not None]
    drifted = [c for c in compared if c.drifted]
    unknown = [c for c in columns if c.verdict is Verdict.UNKNOWN]
    extra = [c for c in columns if c.comparison.role == "extra"]
    weak = [c for c in compared if _is_weak(c.adjusted_p_value or 0.0, c.threshold, rate)]
    not_compared = f" Not compared: {join_names(c.column for c in unknown)}." if unknown else ""
    if drifted:
        features = [c.column for c in drifted if c.comparison.role == "feature"]
        outputs = [c.column for c in drifted if c.comparison.role != "feature"]
        what = join_names(features) if features else f"the predictions ({join_names(outputs)})"
        them = "it" if len(features) == 1 else "them"
        also = f", and the predictions with {them}" if features and outputs else ""
        return Verdict.WARNING, (
            f"Drift in {what}{also}: {len(drifted)} of {len(compared)} columns of the last {rows} "
            f"predictions differ from the reference.{not_compared}"
        )
    if unknown:
        missing = f"{join_names(c.column for c in unknown)} {'is' if len(unknown) == 1 else 'are'} missing"
        return Verdict.UNKNOWN, f"Cannot judge every column: {missing}."
    sentence = (
        f"No drift: all {len(compared)} columns of the last {rows} predictions look like the reference."
    )
    if weak:
        where = join_names(c.column for c in weak)
        sentence = (
            f"No drift so far in the last {rows} predictions: weak evidence in {where} is listed if it lasts."
        )
    if extra:
        return Verdict.WARNING, f"{sentence} Not in the reference: {join_names(c.column for c in extra)}."
    return Verdict.OK, sentence


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
        elif (column.adjusted_p_value or 0.0) <= false_discovery_rate:
            after[name] = state.get(name, last)
    return after

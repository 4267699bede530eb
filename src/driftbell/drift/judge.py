"""From numbers to a verdict and from verdicts to notifications: the only place where either is decided."""

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
    """Decide which columns have drifted, and what to call the whole.

    The p-values of all columns are adjusted by Benjamini and Hochberg's step-up procedure; a column has
    drifted where its adjusted p-value is at most its threshold. On unchanged data a threshold lists
    something in at most that share of checks; where something has changed, at most that share of the named
    columns is wrong on average.

    One comparison has one threshold, the rate. In a row of checks, a column's threshold is `strong`, the
    share of checks that may list something falsely; but the rate where weaker evidence on the column
    has lasted (see `persistent_columns`).

    Args:
        comparisons: what `compare` gave.
        rows: rows of the window.
        minimum_rows: with fewer, or with fewer in the reference, the verdict is `unknown`.
        false_discovery_rate: between 0 and 1.
        strong: between 0 and 1; None for a single comparison.
        persistent: columns whose weak evidence has lasted, see `persistent_columns`.

    Returns:
        `warning` where a column has drifted; else `unknown` where one could not be judged; else `warning`
        where the window has columns that the reference has not; else `ok`.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).

    Examples:
        >>> judge([], rows=7).sentence
        'Cannot judge: needs 10, has 7 predictions.'
    """
    if rows < minimum_rows:
        return Judgement(Verdict.UNKNOWN, f"Cannot judge: needs {minimum_rows}, has {rows} predictions.")
    known = max((r.n_reference for c in comparisons for r in c.results), default=minimum_rows)
    if known < minimum_rows:
        return Judgement(
            Verdict.UNKNOWN, f"Cannot judge: the reference needs {minimum_rows}, has {known} rows."
        )
    judged = [c for c in comparisons if c.p_value is not None]
    if not judged:
        return Judgement(Verdict.UNKNOWN, "Cannot judge: no column of the window can be compared.")
    adjusted = dict(
        zip(
            (c.column for c in judged),
            benjamini_hochberg([c.p_value for c in judged if c.p_value is not None]),
            strict=True,
        )
    )
    columns = tuple(
        _column(c, adjusted.get(c.column), false_discovery_rate, None if c.column in persistent else strong)
        for c in comparisons
    )
    verdict, sentence = _whole(columns, rows, false_discovery_rate)
    return Judgement(verdict, sentence, columns)


def _column(
    found: ColumnComparison, adjusted: float | None, rate: float, strong: float | None
) -> ColumnVerdict:
    threshold = rate if strong is None else min(strong, rate)
    if adjusted is None:
        verdict = Verdict.WARNING if found.role == "extra" else Verdict.UNKNOWN
        return ColumnVerdict(found, verdict, None, threshold, f"Not compared: {found.note}.")
    p_value = float(adjusted)
    drifted = p_value <= threshold
    n, m = (found.results[0].n_reference, found.results[0].n_window) if found.results else (0, 0)
    deciding = Result("all tests, adjusted for all columns", p_value, ResultKind.P_VALUE, threshold, n, m)
    found = replace(found, results=(deciding, *found.results))
    word = "Drift" if drifted else "No drift"
    if _is_weak(p_value, threshold, rate):
        word = f"Weak evidence (p {p_value:.2g}), listed if it lasts"
    reason = f"{word}: {found.note}." if found.note else f"{word}."
    verdict = Verdict.WARNING if drifted else Verdict.OK
    return ColumnVerdict(found, verdict, p_value, threshold, reason, drifted)


def _is_weak(p_value: float, threshold: float, rate: float) -> bool:
    return threshold < p_value <= rate


def _whole(columns: Sequence[ColumnVerdict], rows: int, rate: float) -> tuple[Verdict, str]:
    compared = [c for c in columns if c.adjusted_p_value is not None]
    drifted = [c for c in compared if c.drifted]
    unknown = [c for c in columns if c.verdict is Verdict.UNKNOWN]
    extra = [c for c in columns if c.comparison.role == "extra"]
    weak = [c for c in compared if _is_weak(c.adjusted_p_value or 0.0, c.threshold, rate)]
    tail = f" Not judged: {join_names(c.column for c in unknown)}." if unknown else ""
    if drifted:
        features = [c.column for c in drifted if c.comparison.role == "feature"]
        outputs = [c.column for c in drifted if c.comparison.role != "feature"]
        what = join_names(features) if features else f"the predictions ({join_names(outputs)})"
        them = "it" if len(features) == 1 else "them"
        also = f", and the predictions with {them}" if features and outputs else ""
        return Verdict.WARNING, (
            f"Drift in {what}{also}: {len(drifted)} of {len(compared)} columns of the last {rows} "
            f"predictions differ from the reference.{tail}"
        )
    if unknown:
        missing = f"{join_names(c.column for c in unknown)} {'is' if len(unknown) == 1 else 'are'} missing"
        return Verdict.UNKNOWN, f"Cannot judge every column: {missing}."
    same = f"No drift: all {len(compared)} columns of the last {rows} predictions look like the reference."
    if weak:
        where = join_names(c.column for c in weak)
        same = (
            f"No drift so far in the last {rows} predictions: weak evidence in {where} is listed if it lasts."
        )
    if extra:
        return Verdict.WARNING, f"{same} Not in the reference: {join_names(c.column for c in extra)}."
    return Verdict.OK, same


def persistent_columns(state: Mapping[str, int], first: int) -> frozenset[str]:
    """Return the columns with persistent evidence.

    It has where every check has found it since one whose window shares no row with the present one.

    Args:
        state: what `carry` gave after the check before.
        first: sequence number of the present window's oldest row.

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
    """Remember since when there is evidence on each column.

    Args:
        state: what this function gave after the check before; empty at the beginning.
        judgement: of the present check.
        last: sequence number of the present window's newest row.
        false_discovery_rate: the one of `judge`.

    Returns:
        By column, the sequence number of the newest row of the first check in the present unbroken run of
        checks with evidence on it; 0 where the column was listed, so that it stays so while the run lasts.
        A check that could not judge a column leaves it as it was.
    """
    judged = {c.column: c for c in judgement.columns if c.adjusted_p_value is not None}
    after = {column: since for column, since in state.items() if column not in judged}
    for name, column in judged.items():
        if column.drifted:
            after[name] = 0
        elif (column.adjusted_p_value or 0.0) <= false_discovery_rate:
            after[name] = state.get(name, last)
    return after

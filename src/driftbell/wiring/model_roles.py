"""Judge two tables with the columns of a model: its predictions, their probabilities, and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from driftbell.alarms.smallest_loss import SmallestLoss, parse_smallest_loss
from driftbell.alarms.verdict import combine
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import TARGET, judge
from driftbell.drift.limits import apply_limits, check_limits
from driftbell.errors import ConfigError
from driftbell.phrases import printable, suggest_column
from driftbell.progress import begin_stage
from driftbell.records import (
    Column,
    ColumnComparison,
    Degradation,
    Judgement,
    Kind,
    Limit,
    TablePerformance,
)
from driftbell.tabular.column_options import check_name
from driftbell.tabular.columns import is_null
from driftbell.tabular.profile import numbers
from driftbell.tabular.typed_column import TypedColumn

if TYPE_CHECKING:
    from driftbell.degradation.model_columns import ModelColumns

NAMES = ("reference", "current table")
"""Names of both tables in messages."""


@dataclass(frozen=True, slots=True)
class ModelRoles:
    """Columns of a model in two tables.

    Attributes:
        prediction: column of the predictions; None if there are none.
        label: column of the labels; None to compare the predictions without measuring the performance.
        probabilities: column of each class's probability.
        task: `classification` or `regression`; None to decide it on the predictions and labels.
        smallest_loss: smallest relevant loss; None is `default_loss`.
        default_loss: the smallest relevant loss of the settings.
        max_p_value: share of checks without a loss that may raise an alarm; None is 1 in 1,000.

    Raises:
        ConfigError: an option is missing that another one needs, or a value is out of range.
    """

    prediction: str | None = None
    label: str | None = None
    probabilities: Mapping[Any, str] = field(default_factory=dict)
    task: str | None = None
    smallest_loss: float | str | None = None
    default_loss: SmallestLoss = SmallestLoss()  # noqa: RUF009 - it is immutable
    max_p_value: float | None = None

    def __post_init__(self) -> None:
        check_name("prediction", self.prediction)
        check_name("label", self.label)
        if self.prediction is None and (self.label is not None or self.probabilities):
            raise ConfigError("labels and probabilities need the predictions: pass --prediction COL as well")
        if self.label is None and (self.task is not None or self.smallest_loss is not None):
            raise ConfigError("--task and --smallest-loss need labels: pass --label COL as well")
        try:
            parse_smallest_loss(self.smallest_loss)
        except ConfigError as error:
            raise ConfigError(f"--smallest-loss {error}, got {self.smallest_loss!r}") from error

    @property
    def read_as_role(self) -> tuple[str, ...]:
        """Columns that are read as predictions and labels, never as identifiers."""
        if self.prediction is None or self.label is None:
            return ()
        return (self.prediction, *self.probabilities.values(), self.label)

    @property
    def names(self) -> dict[str, str]:
        """Role of each column that is no feature."""
        roles = dict.fromkeys(self.probabilities.values(), "probability")
        if self.prediction is not None:
            roles[self.prediction] = "prediction"
        return roles if self.label is None else {**roles, self.label: TARGET}


def judge_tables(
    reference: Mapping[str, TypedColumn],
    current: Mapping[str, TypedColumn],
    roles: ModelRoles | None = None,
    *,
    rows: int,
    limits: Sequence[Limit] = (),
    **options: Any,
) -> tuple[Judgement, TablePerformance | None]:
    """Judge one table against another: drift and, with labels, the performance of the model.

    Args:
        reference: its columns.
        current: columns of the table that is compared with it.
        roles: columns of the model.
        rows: number of rows of the current table.
        limits: the user's own fixed limits.
        **options: passed to `judge`.

    Returns:
        The judgement, and the performance on both tables; None without labels.

    Raises:
        ConfigError: the reference has no such column, or a limit does not fit its column.
        InputError: predictions, labels or probabilities are invalid, see `ModelColumns`.
    """
    roles = roles or ModelRoles()
    if roles.label is None:
        check_names(roles.names, reference)
    measured = measure_performance(reference, current, roles)
    begin_stage("preparing the reference", 2 / 3, 5 / 6)
    prepared = prepare(measured.reference, roles=roles.names)
    check_limits(limits, prepared.columns)
    begin_stage("comparing the columns", 5 / 6, 1.0)
    comparisons = measured.with_null_shares(compare(prepared, measured.current))
    drift = apply_limits(judge(comparisons, rows=rows, **options), limits, rows=rows)
    return measured.combined(drift), measured.performance


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTables:
    """Two tables of which the performance of the model is measured, if they have labels.

    Attributes:
        reference: its columns, with classes as categories, and without missing labels.
        current: columns of the table that is compared with it.
        performance: the performance on both; None without labels.
        degradation: whether it is worse on the current one.
        null_shares: shares of the rows without a label.
    """

    reference: Mapping[str, TypedColumn]
    current: Mapping[str, TypedColumn]
    performance: TablePerformance | None = None
    degradation: Degradation | None = None
    null_shares: tuple[float, float] = (0.0, 0.0)

    def with_null_shares(self, comparisons: Iterable[ColumnComparison]) -> list[ColumnComparison]:
        """Return comparisons with the shares of missing labels, which are not in the compared columns."""
        return [
            replace(c, null_shares=self.null_shares) if c.role == TARGET and c.null_shares else c
            for c in comparisons
        ]

    def combined(self, drift: Judgement) -> Judgement:
        """Return a judgement of drift with that of the performance."""
        if self.degradation is None:
            return drift
        sentence = f"{self.degradation.sentence} {drift.sentence}"
        return replace(combine(drift, self.degradation), sentence=sentence)


def measure_performance(
    reference: Mapping[str, TypedColumn], current: Mapping[str, TypedColumn], roles: ModelRoles
) -> MeasuredTables:
    """Measure the performance of a model on two tables, if they have labels.

    Args:
        reference: its columns; those with a role suffice.
        current: columns of the table that is compared with it.
        roles: columns of the model.

    Raises:
        InputError: predictions, labels or probabilities are invalid, see `ModelColumns`.
    """
    if roles.prediction is None or roles.label is None:
        return MeasuredTables(reference, current)
    from driftbell.degradation.answer_checks import check_readable
    from driftbell.degradation.measured import MAX_P_VALUE, compare_performance
    from driftbell.degradation.model_columns import ModelColumns  # only a check with labels needs both

    for name, table in zip(NAMES, (reference, current), strict=True):
        check_readable(table, roles.read_as_role, name)
    columns = ModelColumns(
        _values(reference),
        _values(current),
        prediction=roles.prediction,
        probabilities=roles.probabilities,
        label=roles.label,
        task=roles.task,
        current_name=NAMES[1],
    )
    performance, degradation = compare_performance(
        columns,
        (_values(reference), _values(current)),
        NAMES,
        smallest_loss=roles.default_loss
        if roles.smallest_loss is None
        else parse_smallest_loss(roles.smallest_loss),
        max_p_value=roles.max_p_value or MAX_P_VALUE,
    )
    current = {n: c for n, c in current.items() if n != roles.label or n in reference}
    null_shares = _null_share(reference, roles.label), _null_share(current, roles.label)
    before, after = (
        {name: _comparable(name, column, columns) for name, column in table.items()}
        for table in (reference, current)
    )
    return MeasuredTables(before, after, performance, degradation, null_shares)


def _values(table: Mapping[str, TypedColumn]) -> dict[str, Column]:
    return {name: column.values for name, column in table.items()}


def _null_share(table: Mapping[str, TypedColumn], label: str) -> float:
    """Return the share of rows without a label; they are left out of the comparison."""
    cells = table[label].values.tolist() if label in table else []
    return sum(map(is_null, cells)) / len(cells) if cells else 0.0


def check_names(roles: Mapping[str, str], reference: Mapping[str, TypedColumn]) -> None:
    """Check that each column of the model is in the reference.

    Raises:
        ConfigError: one is not.
    """
    for name, role in roles.items():
        if name not in reference:
            hint = suggest_column(name, reference)
            raise ConfigError(f"the reference has no column '{printable(name)}' ({role}): {hint}")


def _comparable(name: str, column: TypedColumn, columns: ModelColumns) -> TypedColumn:
    """Return a column as it is compared: classes as categories, and labels without those that are missing."""
    if name not in (columns.prediction, columns.label):
        return column
    if columns.classes:
        column = TypedColumn(Kind.CATEGORICAL, columns.class_column(column.values), stored_as="")
    if name == columns.label:
        present = np.array([not is_null(cell) for cell in column.values.tolist()], dtype=bool)
        column = replace(column, values=column.values[present])
    if column.decided is not Kind.NUMERIC:
        return column
    values = numbers(column.values)
    words = [printable(v) for v in column.values[np.isnan(values)].tolist() if not is_null(v)]
    examples = tuple(dict.fromkeys(words))[:3]
    return replace(column, kind=Kind.NUMERIC, values=values, unreadable=len(words), examples=examples)

"""Check one table against another in Python, in a notebook or in a test."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from os import fspath
from typing import Any

from driftbell.alarms.limits import parse_limits
from driftbell.drift.judge import EXTRA, FALSE_DISCOVERY_RATE, MINIMUM_ROWS, SMALLEST_EFFECT
from driftbell.drift.smallest_effects import effects_by_column
from driftbell.engines.spark_tables import SparkTable, as_spark
from driftbell.errors import ConfigError, InputError
from driftbell.phrases import printable, suggest_column
from driftbell.records import ColumnVerdict, Judgement, LimitResult, Scope, TablePerformance, Verdict
from driftbell.tabular.column_options import ColumnOptions, as_mapping, check_roles
from driftbell.tabular.files import read_file
from driftbell.tabular.raw_table import RawTable, is_path, read_raw
from driftbell.tabular.typed_column import TypedColumn, count_rows, read_with_options
from driftbell.wiring.large_tables import EXACT_ROWS, Read, check_large, open_sides
from driftbell.wiring.model_roles import ModelRoles, judge_tables
from driftbell.wiring.profile_source import as_profile

MAX_REASON = 300
"""Characters of the reason of one column in the error of a test."""

LIBRARIES = ("polars", "pandas")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, repr=False)
class TableCheck:
    """Result of checking one table against another; a notebook shows it as a table.

    Attributes:
        judgement: the verdict, and the decision about each column.
        rows: number of rows of the reference and of the current table.
        names: names of both tables, such as their files.
        detected: what was detected in the files, by table.
        library: library of `to_frame`: "polars" or "pandas".
        time: when the check ran (UTC).
        performance: performance of the model on both tables; None without labels.
    """

    judgement: Judgement
    rows: tuple[int, int]
    names: tuple[str, str] = ("reference", "current")
    detected: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    library: str = "polars"
    time: datetime = field(default_factory=_now)
    performance: TablePerformance | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict.

        `alarm` if the model performs worse; else `warning` for drift or an exceeded limit; else `unknown` if
        not everything could be judged, or there are too few labels to measure the performance; else `ok`.
        """
        return self.judgement.verdict

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return self.judgement.sentence

    @property
    def columns(self) -> tuple[ColumnVerdict, ...]:
        """Decision about each column, in the order of the reference."""
        return self.judgement.columns

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the drifted columns."""
        return self.judgement.drifted_columns

    @property
    def exceeded_limits(self) -> tuple[LimitResult, ...]:
        """The exceeded limits."""
        return self.judgement.exceeded_limits

    def __repr__(self) -> str:
        return f"<TableCheck {self.verdict.value}: {self.sentence}>"

    def __str__(self) -> str:
        """Return verdict and sentence."""
        return f"{self.verdict.value.upper()}  {self.sentence}"

    def to_frame(self, library: str | None = None) -> Any:
        """Return a frame with one row for each column: verdict, p-value, size, shares of nulls and reason.

        Args:
            library: "polars" or "pandas"; None is pandas if the reference is a pandas frame, else Polars.

        Raises:
            ValueError: the library is another one.
        """
        from driftbell.publish.table_views import FRAME_COLUMNS, frame_row

        library = library or self.library
        if library not in LIBRARIES:
            raise ValueError(f"library must be one of {', '.join(LIBRARIES)}, got {library!r}")
        rows = [frame_row(column) for column in self.columns]
        if library == "pandas":
            import pandas as pd

            return pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
        import polars as pl

        return pl.DataFrame(rows, schema=dict(FRAME_COLUMNS))

    def to_json(self) -> str:
        """Return every statistic as JSON, as `driftbell check --json` prints it."""
        from driftbell.publish.table_views import judgement_json

        return judgement_json(self.judgement, self.detected, self.performance)

    def to_html(self) -> str:
        """Return a page of HTML with every statistic and distribution, without scripts or links to files.

        Raises:
            ReportError: the smallest possible page is too large.
        """
        from driftbell.publish.html_report import table_report

        page = table_report(
            self.judgement, names=self.names, rows=self.rows, time=self.time, performance=self.performance
        )
        return page.decode()

    def to_markdown(self) -> str:
        """Return the verdict and at most 20 columns as Markdown, such as for a pull request."""
        from driftbell.publish.table_documents import table_markdown

        return table_markdown(self.judgement, self.names, self.rows, self.performance)

    def _repr_html_(self) -> str:
        from driftbell.publish.notebook_view import notebook_html

        return str(notebook_html(self.judgement, self.performance))

    def assert_stable(self, *columns: str, ignore: Collection[str] = ()) -> None:
        """Raise an error if a column drifted, is beyond a limit, or could not be judged, or for an alarm.

        For tests. If there are labels, but too few to measure the performance, that is an error as well. The
        performance is not judged if columns are named. Identifiers, lists and additional columns of the
        current table are not compared; that is an error only for those that are named.

        Args:
            *columns: the columns that must be stable and compared; none for all.
            ignore: columns that may drift.

        Raises:
            AssertionError: the message has the sentence, and each column that drifted or was not compared.
            ConfigError: a name is no column.
        """
        __tracebackhide__ = True
        ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        names = [c.column for c in self.columns]
        for name in (*columns, *ignore) if names else ():
            if name not in names:
                hint = suggest_column(name, names)
                raise ConfigError(f"assert_stable: no column '{printable(name)}' was checked: {hint}")
        judged = [c for c in self.columns if c.column not in ignore and (not columns or c.column in columns)]
        failed = [c for c in judged if c.drifted or (not c.compared and _is_required(c, columns))]
        degradation = None if columns else self.judgement.degradation
        worse = degradation is not None and degradation.verdict is not Verdict.OK
        checked = {c.column for c in judged}
        limits = [r for r in self.judgement.limits if r.column in checked and r.exceeded is not False]
        if failed or worse or limits or not any(c.compared for c in judged):
            lines = [f"  {printable(c.column)}: {printable(c.reason, MAX_REASON)}" for c in failed]
            lines += [f"  {printable(r.column)}: limit: {printable(r.reason, MAX_REASON)}" for r in limits]
            raise AssertionError("\n".join([self.sentence, *lines]))


def _is_required(column: ColumnVerdict, columns: Collection[str]) -> bool:
    """Return whether a column must be compared: it is named, or is neither an identifier nor additional."""
    comparison = column.comparison
    return column.column in columns or (comparison.scope is not Scope.NULLS and comparison.role != EXTRA)


def check(
    reference: Any,
    current: Any,
    *,
    columns: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    nulls: Sequence[str] = (),
    keep_null_words: Sequence[str] = (),
    minimum_rows: int = MINIMUM_ROWS,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
    smallest_effect: float | Mapping[str, float] = SMALLEST_EFFECT,
    limits: Mapping[str, float] | None = None,
    prediction: str | None = None,
    label: str | None = None,
    probabilities: Mapping[Any, str] | None = None,
    task: str | None = None,
    smallest_loss: float | str | None = None,
    exact_rows: int = EXACT_ROWS,
) -> TableCheck:
    """Check one table against another, as `driftbell check REFERENCE CURRENT` does.

    Args:
        reference: a table: pandas, Polars (also lazy), Arrow, Spark, a mapping of columns, a list of
            mappings, or the path of a file or folder, or a pattern of files. The kinds of the columns are
            decided on it. Or a profile, see `profile`, or the path of its file.
        current: the table that is compared with it.
        columns: kinds of columns, such as `{"zip": "categorical"}`: numeric, integer, categorical, boolean,
            datetime, text or identifier.
        exclude: names or patterns such as `row_*` of columns that are not read.
        include: names or patterns of the columns that are read; empty for all.
        nulls: texts that mean null, in addition to the usual ones; also numbers, such as "-999".
        keep_null_words: names or patterns of columns in which the usual words, such as NA, are texts.
        minimum_rows: with fewer rows in one of the tables, the verdict is `unknown`.
        false_discovery_rate: between 0 and 1, see `judge`.
        smallest_effect: largest negligible size of a change, as a share of the rows; one for all columns, or
            by column.
        limits: your own limits by column and measure, such as `{"age.null_share": 0.1, "age.max": 120}`; a
            value beyond one is a warning. The measures are those of the section `[limits]` of the settings.
        prediction: column of the predictions.
        label: column of the labels (ground truth): then the performance on both tables is measured, and a
            loss raises an alarm. Labels may be null. Rows that the model was fitted on make the reference
            look too good.
        probabilities: column of each class's probability; for two classes, one column is enough.
        task: "classification" or "regression"; needed for more than 20 distinct integers.
        smallest_loss: smallest relevant loss, such as 0.02 of accuracy, or a share of an error, such as
            "10%"; these two are the defaults.
        exact_rows: Parquet and text files, and data frames of Spark, with more rows are compared by counts on
            bins, in bounded memory, except for predictions, probabilities and labels. Files are read in
            parts, and Spark counts on its executors.

    Raises:
        InputError: it is no table, a column name is duplicate, or the columns differ in length.
        ConfigError: a file cannot be read, or an option names no column of the reference.

    Examples:
        >>> before, now = {"age": [30, 40, 50] * 50}, {"age": [60, 70, 80] * 50}
        >>> result = check(before, now)
        >>> result.verdict.value, result.drifted_columns
        ('warning', ('age',))
        >>> check(before, before).assert_stable()
    """
    kinds = as_mapping("columns", columns)
    parsed_limits = parse_limits(as_mapping("limits", limits))
    options = ColumnOptions(kinds, exclude, include, nulls, keep_null_words=keep_null_words)
    classes = as_mapping("probabilities", probabilities)
    roles = ModelRoles(prediction, label, classes, task, smallest_loss)
    check_roles(roles.names, options)
    names = _name(reference, "reference"), _name(current, "current")
    detected: dict[str, Mapping[str, Any]] = {}
    reference = as_spark(reference, "the reference table")
    current = as_spark(current, "the current table")
    decision: dict[str, Any] = {
        "limits": parsed_limits,
        "minimum_rows": minimum_rows,
        "false_discovery_rate": false_discovery_rate,
        "unit": "rows of the file" if is_path(current) else "rows",
    }
    if (profile := as_profile(reference)) is not None:
        from driftbell.wiring.table_profile import judge_with_profile, select_profile

        profile = select_profile(profile, options)
        detected["reference"] = profile.facts
        present = _read(
            _whole(current, exact_rows), "current", profile.options, profile.decided, detected, ()
        )
        effects = effects_by_column(smallest_effect, list(profile.decided))
        judgement = judge_with_profile(profile, present, roles, smallest_effect=effects, **decision)
        return TableCheck(judgement, (profile.rows, count_rows(present)), names, detected)
    effect_of = partial(effects_by_column, smallest_effect)
    tables = open_sides(reference, current, exact_rows)
    if tables is not None:
        readers = (_reader(reference, "reference", options), _reader(current, "current", options))
        large = check_large(
            tables,
            readers,
            options,
            lambda _: roles,
            exact_rows=exact_rows,
            smallest_effect=effect_of,
            **decision,
        )
        return TableCheck(large.judgement, large.rows, names, large.detected, performance=large.performance)
    reference, current = _whole(reference, exact_rows), _whole(current, exact_rows)
    past = _read(reference, "reference", options, None, detected, roles.read_as_role)
    present = _read(current, "current", options, past, detected, roles.read_as_role)
    rows = count_rows(past), count_rows(present)
    judgement, performance = judge_tables(
        past,
        present,
        roles,
        rows=rows[1],
        smallest_effect=effect_of(list(past)),
        **decision,
    )
    library = "pandas" if type(reference).__module__.partition(".")[0] == "pandas" else "polars"
    return TableCheck(judgement, rows, names, detected, library, performance=performance)


def _reader(table: Any, side: str, options: ColumnOptions) -> Read:
    """Return a function that reads a whole table."""

    def read(kinds: Mapping[str, TypedColumn] | None) -> tuple[RawTable, dict[str, TypedColumn]]:
        raw = read_file(table) if is_path(table) else read_raw(table)
        return raw, _read(raw, side, options, kinds, {}, ())

    return read


def _whole(table: Any, exact_rows: int) -> Any:
    """Return the rows of a table of Spark, and any other table as it is."""
    return table.collect(exact_rows) if isinstance(table, SparkTable) else table


def _name(table: Any, side: str) -> str:
    """Return the path of a table, or its side for one in memory."""
    return fspath(table) if is_path(table) else side


def _read(
    table: Any,
    side: str,
    options: ColumnOptions,
    kinds: Mapping[str, TypedColumn] | None,
    detected: dict[str, Mapping[str, Any]],
    roles: Collection[str],
) -> dict[str, TypedColumn]:
    """Read one of the tables; errors name it."""
    raw = table
    if is_path(table):
        raw = read_file(table)
        detected[side] = raw.detected
    try:
        return read_with_options(raw, options, kinds, roles)
    except InputError as error:
        name = table if is_path(table) else f"the {side} table"
        problems = [replace(p, message=f"cannot read {name}: {p.message}") for p in error.problems]
        raise InputError(problems) from error

"""Profiles of tables: references for `check` that hold no rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from driftbell.atomic_write import write_atomically
from driftbell.drift.judge import judge
from driftbell.drift.limits import apply_limits, check_limits
from driftbell.drift.prepared import PreparedColumn
from driftbell.drift.profile_file import MAX_BYTES, MAX_ROWS, decode_profile, encode_profile
from driftbell.drift.profiled_column import ProfiledColumn, compare_profiled, outline, profile_column
from driftbell.errors import ConfigError
from driftbell.phrases import printable
from driftbell.records import Judgement, Kind, Limit
from driftbell.tabular.column_options import ColumnOptions, as_mapping, matches_any, select_columns
from driftbell.tabular.json_files import HEAD_BYTES, is_profile
from driftbell.tabular.number_bins import INTERVALS
from driftbell.tabular.typed_column import TypedColumn, count_rows, read_with_options
from driftbell.wiring.model_roles import ModelRoles, check_names


@dataclass(frozen=True, slots=True, eq=False)
class TableProfile:
    """A reference for `check` that holds counts on bins instead of rows; see `profile` and `load`."""

    _columns: tuple[ProfiledColumn, ...]
    _options: ColumnOptions = field(default_factory=ColumnOptions)

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return self._columns[0].rows if self._columns else 0

    @property
    def kinds(self) -> dict[str, Kind | None]:
        """Kind of each column; None if every cell is null."""
        return {column.name: column.kind for column in self._columns}

    @property
    def columns(self) -> tuple[ProfiledColumn, ...]:
        """Counts of each column."""
        return self._columns

    @property
    def options(self) -> ColumnOptions:
        """Options with which the table was read; the table that is compared is read with them as well."""
        return self._options

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for `detected`: what it is, the number of bins, and the share that an interval can hide."""
        intervals = [c.numbers.largest_interval for c in self._columns if c.numbers is not None]
        return {
            "format": f"profile, binned at {INTERVALS}",
            "largest_interval": round(max(intervals, default=0.0), 6),
        }

    @property
    def outlines(self) -> tuple[PreparedColumn, ...]:
        """The columns without their counts."""
        return tuple(map(outline, self._columns))

    @property
    def decided(self) -> dict[str, TypedColumn]:
        """Each column without cells, for reading the table that is compared."""
        return {column.name: column.decided for column in self._columns}

    def to_json(self) -> str:
        """Return the content of its file; the same table has the same content."""
        return encode_profile(self._columns, self._options).decode()

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file, which is complete or not changed at all.

        Raises:
            ConfigError: the file cannot be written.
        """
        if Path(path).is_dir():
            raise ConfigError(f"cannot write {path}: it is a folder: name a file")
        try:
            write_atomically(Path(path), encode_profile(self._columns, self._options))
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TableProfile:
        """Read it from a file.

        Raises:
            ConfigError: the file is no profile, has another version, is cut off, or contradicts itself.
        """
        try:
            size = Path(path).stat().st_size
            data = Path(path).read_bytes() if size <= MAX_BYTES else b""
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        if size > MAX_BYTES:
            raise ConfigError(f"cannot read {path}: a profile has at most {MAX_BYTES} bytes, it has {size}")
        if not is_profile(data[:HEAD_BYTES]):
            raise ConfigError(f"cannot read {path}: it is no profile: write one with `driftbell profile`")
        return cls(*decode_profile(data, str(path)))


def profile(
    table: Any,
    *,
    columns: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    nulls: Sequence[str] = (),
    keep_null_words: Sequence[str] = (),
) -> TableProfile:
    """Count a table on bins, for a reference of `check` that holds no rows.

    Numbers are counted on at most about 256 intervals of equal share and on frequent values; categories by
    name if they have at least 5 rows, and otherwise in groups; times by hour and weekday; texts by length and
    character classes.

    Args:
        table: see `check`.
        columns: kinds of columns, see `check`.
        exclude: names or patterns of columns that are not read.
        include: names or patterns of the columns that are read; empty for all.
        nulls: texts that mean null, in addition to the usual ones.
        keep_null_words: names or patterns of columns in which the usual words, such as NA, are texts.

    Raises:
        InputError: it is no table, a column name is duplicate, or the columns differ in length.
        ConfigError: a file cannot be read, or an option names no column.

    Examples:
        >>> import driftbell
        >>> reference = driftbell.profile({"age": [30, 40, 50] * 50})
        >>> driftbell.check(reference, {"age": [60, 70, 80] * 50}).drifted_columns
        ('age',)
    """
    kinds = as_mapping("columns", columns)
    options = ColumnOptions(kinds, exclude, include, nulls, keep_null_words=keep_null_words)
    return profile_columns(read_with_options(table, options), options)


def profile_columns(typed: Mapping[str, TypedColumn], options: ColumnOptions) -> TableProfile:
    """Count typed columns.

    Raises:
        ConfigError: there is no column or no row, or there are too many rows.
    """
    rows = count_rows(typed)
    if not rows:
        raise ConfigError("cannot profile a table without columns or rows")
    if rows > MAX_ROWS:
        raise ConfigError(f"cannot profile {rows} rows: a profile has at most {MAX_ROWS}: sample the table")
    return TableProfile(tuple(profile_column(name, column) for name, column in typed.items()), options)


def select_profile(reference: TableProfile, options: ColumnOptions) -> TableProfile:
    """Return a profile with the columns that options select, and with both options.

    Args:
        reference: the profile.
        options: the user's options.

    Raises:
        ConfigError: an option names no column, or sets another kind than the profile's.
    """
    own = reference.options
    names = select_columns(list(reference.kinds), _unapplied(options, reference), strict=True)
    for name, kind in options.kinds.items():
        known = own.kinds.get(name) or reference.kinds[name]
        if kind != known and name in names:
            raise ConfigError(
                f"column '{printable(name)}' is {known or 'null'} in the profile, not {kind}: set its kind "
                f"when the profile is written"
            )
    merged = ColumnOptions(
        own.kinds,
        (*own.exclude, *options.exclude),
        options.include or own.include,
        (*own.nulls, *options.nulls),
        keep_null_words=(*own.keep_null_words, *options.keep_null_words),
        always=options.always,
    )
    return TableProfile(tuple(c for c in reference.columns if c.name in names), merged)


def _unapplied(options: ColumnOptions, reference: TableProfile) -> ColumnOptions:
    """Return options without those that the profile was written with, and that fit none of its columns.

    So the settings of a folder, or the same options of the command line, fit a table and its profile.
    """
    own, names = reference.options, reference.kinds

    def rest(patterns: Sequence[str], applied: Sequence[str]) -> tuple[str, ...]:
        return tuple(p for p in patterns if p not in applied or matches_any(p, names))

    return replace(
        options,
        kinds={n: kind for n, kind in options.kinds.items() if n in names or own.kinds.get(n) != kind},
        exclude=rest(options.exclude, own.exclude),
        include=rest(options.include, own.include),
        keep_null_words=rest(options.keep_null_words, own.keep_null_words),
    )


def judge_with_profile(
    reference: TableProfile,
    current: Mapping[str, TypedColumn],
    roles: ModelRoles | None = None,
    *,
    limits: Sequence[Limit] = (),
    **decision: Any,
) -> Judgement:
    """Judge a table against a profile.

    Args:
        reference: the profile.
        current: columns of the table, read by the kinds and options of the profile.
        roles: columns of the model; without labels.
        limits: the user's own limits.
        **decision: settings of the decision, see `judge`.

    Raises:
        ConfigError: a limit or role does not fit the columns of the profile, or there are labels.
    """
    names = roles.names if roles else {}
    if roles and roles.label is not None:
        raise ConfigError(
            "a profile has no rows, so the performance on the reference cannot be measured: leave out the "
            "labels, or pass the table itself as the reference"
        )
    check_names(names, reference.decided)
    check_limits(limits, reference.outlines)
    rows = count_rows(current)
    comparisons = [
        replace(c, role=names.get(c.column, c.role)) for c in compare_profiled(reference.columns, current)
    ]
    judgement = judge(comparisons, rows=rows, **decision)
    return apply_limits(judgement, limits, rows=rows)

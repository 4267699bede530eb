"""Options of the user for the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from driftbell.errors import ConfigError
from driftbell.phrases import printable, suggest_column, suggest_name
from driftbell.records import Kind
from driftbell.tabular.null_words import PANDAS_WORDS

ALL_WORDS = frozenset(PANDAS_WORDS) - {""}
INTEGER = "integer"
KIND_NAMES = ("numeric", INTEGER, "categorical", "boolean", "datetime", "text", "identifier")
"""Kinds that a user may set; "integer" is numeric, and numbers with decimals are unreadable."""


MAPPINGS = {
    "columns": "{'zip': 'categorical'}",
    "probabilities": "{'yes': 'p_yes'}",
    "limits": "{'age.max': 120}",
}
"""Examples of options that are mappings."""


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """Options of the user for the columns of a table.

    Attributes:
        kinds: kind by column: one of `KIND_NAMES`.
        exclude: names or patterns such as `row_*` of columns that are not read.
        include: names or patterns of the columns that are read; empty for all.
        nulls: texts that mean null, in addition to the usual ones.
        dtypes: type by column in the table that a model is given, as pandas names it.
        known: by column, values of a model that usually mean null in a text file, such as "NA".
        keep_null_words: names or patterns of columns in which words such as NA are texts.
        always: names of columns that are read even if `exclude` or `include` leaves them out.

    A text is one name or word, and a number in `nulls` is its text.

    Raises:
        ConfigError: an option is something else than names or words.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    nulls: Sequence[str] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keep_null_words: Sequence[str] = ()
    always: Sequence[str] = ()

    def __post_init__(self) -> None:
        for option in ("exclude", "include", "nulls", "keep_null_words"):
            object.__setattr__(self, option, _words(option, getattr(self, option)))

    def keeps_null_words(self, name: str) -> bool:
        """Return whether only blank cells and the words in `nulls` are null in a column."""
        return name in _Patterns(self.keep_null_words)

    def known_words(self, name: str) -> frozenset[str]:
        """Return the words that are values in a column, although pandas reads them as null."""
        return ALL_WORDS if self.keeps_null_words(name) else self.known.get(name, frozenset())

    @property
    def typed(self) -> frozenset[str]:
        """Columns with a kind or type that is set."""
        return frozenset({*self.kinds, *self.dtypes})

    @property
    def user_kinds(self) -> dict[str, Kind]:
        """Kinds by column that are set; a column of the type `category` has categories."""
        categories = {name: Kind.CATEGORICAL for name, dtype in self.dtypes.items() if dtype == "category"}
        return categories | {name: _kind(word) for name, word in self.kinds.items()}


def parse_kinds(value: object) -> dict[str, str]:
    """Return the kind by column of a mapping, or of a text such as `zip=categorical,age=integer`.

    Raises:
        ValueError: it has another form, or a kind is unknown.
    """
    kinds = words_by_column(value, "kinds by column, such as 'zip=categorical'")
    for name, kind in kinds.items():
        if kind not in KIND_NAMES:
            hint = suggest_name(str(kind), KIND_NAMES) or f"use one of {', '.join(KIND_NAMES)}"
            raise ValueError(f"column '{name}' has the unknown kind '{kind}': {hint}")
    return kinds


def words_by_column(value: object, expected: str) -> dict[str, str]:
    """Return a mapping from columns to words, or the one that a text such as `zip=str,age=int64` means.

    A comma inside brackets, as in `at=datetime64[ns, UTC]`, belongs to the word.

    Args:
        value: the mapping or text.
        expected: what it must be, for the message.

    Raises:
        ValueError: it has another form.
    """
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in re.split(r",(?=[^,\]]*=)", value) if part.strip()]
        value = {name.strip(): word.strip() for name, _, word in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(n, str) and n for n in value):
        raise ValueError(f"must be {expected}")
    return dict(value)


def parse_names(value: object) -> tuple[str, ...]:
    """Return the names of a list, or of a text such as `id,row_*`.

    Raises:
        ValueError: it has another form.
    """
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("must be names or patterns of columns, such as 'id,row_*'")
    return tuple(name for name in names if name)


def select_columns(names: Sequence[str], options: ColumnOptions, *, strict: bool) -> list[str]:
    """Return the names of the columns that the options select.

    Args:
        names: all names.
        options: the user's options.
        strict: whether names in the options must be columns, as in the reference.

    Raises:
        ConfigError: a name or pattern fits no column, or a kind is unknown.
    """
    for name, kind in options.kinds.items():
        if kind not in KIND_NAMES:
            raise ConfigError(f"unknown kind '{kind}' of column '{name}': use one of {', '.join(KIND_NAMES)}")
    if strict:
        known = set(names)
        for option, patterns in (
            ("column", options.kinds),
            ("dtypes", options.dtypes),
            ("exclude", options.exclude),
            ("include", options.include),
            ("keep-null-words", options.keep_null_words),
        ):
            exact = option in ("column", "dtypes")
            for pattern in patterns:
                if pattern not in known and (exact or not matches_any(pattern, names)):
                    raise ConfigError(_no_such_column(option, pattern, names))
    included, excluded, always = map(_Patterns, (options.include, options.exclude, options.always))
    selected = [
        name
        for name in names
        if name in always or ((not options.include or name in included) and name not in excluded)
    ]
    if strict and names and not selected:
        raise ConfigError("exclude, include: no column of the table is left")
    return selected


def leaves_out(options: ColumnOptions, name: str) -> bool:
    """Return whether `exclude` or `include` of options leaves out a column."""
    is_included = not options.include or name in _Patterns(options.include)
    return name in _Patterns(options.exclude) or not is_included


def matches_any(pattern: str, names: Iterable[str]) -> bool:
    """Return whether a name or pattern of columns fits one of the names."""
    return any(n == pattern or (_is_glob(pattern) and fnmatchcase(n, pattern)) for n in names)


def _words(option: str, value: Any) -> tuple[str, ...]:
    """Return the names or words of an option."""
    words = (value,) if isinstance(value, str | Real) else value
    if isinstance(words, Iterable):
        words = tuple(_number(w) if option == "nulls" and isinstance(w, Real) else w for w in words)
        if all(isinstance(word, str) for word in words):
            return words
    what = "words" if option == "nulls" else "names of columns"
    raise ConfigError(f"{option} must be a list of {what}, got {printable(repr(value))}")


def _number(value: Real) -> str:
    return str(value).removesuffix(".0")


def as_mapping(option: str, value: Any) -> Mapping[Any, Any]:
    """Return the value of an option that must be a mapping; an empty one for None.

    Raises:
        ConfigError: it is not.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{option} must be a mapping such as {MAPPINGS[option]}, got {printable(repr(value))}"
        )
    return value


def check_name(option: str, value: Any) -> None:
    """Check that the value of an option is the name of a column, or None.

    Raises:
        ConfigError: it is something else, such as the cells of the column.
    """
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{option} must be the name of a column, got a {type(value).__name__}")


def check_roles(roles: Iterable[str | None], options: ColumnOptions) -> None:
    """Check that the options select the columns that have a role, such as the label, and keep their kinds.

    Raises:
        ConfigError: they contradict.
    """
    for role in filter(None, roles):
        name = printable(role)
        hint = f"but another option names '{name}' as prediction, probability, label or time"
        is_read = role in options.always
        if role in _Patterns(options.exclude) and not is_read:
            raise ConfigError(f"--exclude leaves out column '{name}', {hint}: remove one of both")
        if options.include and role not in _Patterns(options.include) and not is_read:
            raise ConfigError(f"--include leaves out column '{name}', {hint}: add it to --include")
        if (kind := options.kinds.get(role)) in ("text", "identifier"):
            raise ConfigError(
                f"--column: '{name}' cannot be of the kind '{kind}', {hint}: use numeric, categorical, "
                "boolean or datetime"
            )


class _Patterns:
    """Names and patterns of columns; many names cost no more than one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names = frozenset(patterns)
        self._globs = [pattern for pattern in patterns if _is_glob(pattern)]

    def __contains__(self, name: str) -> bool:
        return name in self._names or any(fnmatchcase(name, pattern) for pattern in self._globs)


def _is_glob(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def _no_such_column(option: str, pattern: str, names: Sequence[str]) -> str:
    return f"{option}: the table has no column '{pattern}': {suggest_column(pattern, names)}"


def user_kind(name: str, options: ColumnOptions) -> Kind | None:
    """Return the kind that the user set; None if there is none."""
    word = options.kinds.get(name)
    return None if word is None else _kind(word)


def _kind(word: str) -> Kind:
    return Kind.NUMERIC if word == INTEGER else Kind(word)

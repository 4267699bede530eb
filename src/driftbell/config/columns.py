"""Settings of how the columns of tables are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from driftbell.config.section import Section
from driftbell.phrases import suggest_name
from driftbell.tabular.column_options import KIND_NAMES, ColumnOptions


def parse_kinds(value: object) -> dict[str, str]:
    """Return the kind by column of a mapping, or of a text such as `zip=categorical,age=integer`.

    Raises:
        ValueError: it has another form, or a kind is unknown.
    """
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in re.split(r",(?=[^,]*=)", value) if part.strip()]
        value = {name.strip(): kind.strip() for name, _, kind in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(n, str) and n for n in value):
        raise ValueError("must be kinds by column, such as 'zip=categorical'")
    for name, kind in value.items():
        if kind not in KIND_NAMES:
            hint = suggest_name(str(kind), KIND_NAMES) or f"use one of {', '.join(KIND_NAMES)}"
            raise ValueError(f"column '{name}' has the unknown kind '{kind}': {hint}")
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


Kinds = Annotated[dict[str, str], BeforeValidator(parse_kinds)]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_names)]


class ColumnSettings(Section):
    """`[columns]`."""

    kinds: Kinds = Field(default_factory=dict)
    """Kinds of columns of tables, such as {zip = "categorical"}; without it, the reference decides them."""
    exclude: Names = ()
    """Columns of tables that are not read: names, or patterns such as 'row_*'."""
    include: Names = ()
    """Columns of tables that are read: names or patterns; without it, all are."""
    nulls: Names = ()
    """Further words of tables that mean null, such as '-999'; NA, NULL, NaN, None, '?', '-' always do."""

    @property
    def options(self) -> ColumnOptions:
        """The options of the reader."""
        return ColumnOptions(self.kinds, self.exclude, self.include, self.nulls)

"""Settings of how the columns of tables are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from driftbell.config.section import Section
from driftbell.hidden_values import hide_values
from driftbell.tabular.column_options import ColumnOptions, parse_kinds, parse_names
from driftbell.tabular.dtypes import parse_dtypes
from driftbell.tabular.logged_values import FULL, parse_forms

Kinds = Annotated[dict[str, str], BeforeValidator(parse_kinds)]
Dtypes = Annotated[dict[str, str], BeforeValidator(parse_dtypes)]
LoggedForms = Annotated[dict[str, str], BeforeValidator(parse_forms)]
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
    """Further words of tables that mean null, such as '-999'; NA, NULL, NaN, None, '?', '-' do by default."""
    keep_null_words: Names = ()
    """Columns in which NA, None and the like are texts and not null: names, or patterns such as 'region*'."""
    dtypes: Dtypes = Field(default_factory=dict)
    """Types of columns that the model is given, as pandas names them, such as {zip = "str"}."""
    log: LoggedForms = Field(default_factory=dict)
    """Form in which features are logged: 'full', 'hash', 'bucket' or 'drop', such as {email = "hash"}."""
    log_key_file: Path | None = None
    """A file with the secret key of `columns.log`, the same for all replicas; else one in `data_dir`."""

    def model_post_init(self, _: Any, /) -> None:
        """Hide values in messages of this process if a feature is not logged in full."""
        if self.masks_features:
            hide_values()

    @property
    def masks_features(self) -> bool:
        """True if a feature is not logged in full."""
        return any(form != FULL for form in self.log.values())

    @property
    def of_the_model(self) -> dict[str, Any]:
        """The settings that decide what a model is given, as JSON values."""
        return self.model_dump(mode="json", exclude={"log", "log_key_file"})

    @property
    def options(self) -> ColumnOptions:
        """The options of the reader."""
        return ColumnOptions(
            self.kinds,
            self.exclude,
            self.include,
            self.nulls,
            self.dtypes,
            keep_null_words=self.keep_null_words,
        )

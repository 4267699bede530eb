"""Notes of `driftbell init` on columns of texts that are read or compared as something else."""

from __future__ import annotations

from collections.abc import Iterator

from driftbell.drift.logged_columns import dates_in_text
from driftbell.phrases import join_names, printable
from driftbell.records import Columns, Feature, Kind
from driftbell.tabular.null_words import PANDAS_WORDS
from driftbell.tabular.raw_table import RawTable


def reading_notes(raw: RawTable, features: tuple[Feature, ...], table: Columns) -> Iterator[str]:
    """Yield notes on texts that are null, and on dates in text.

    Args:
        raw: the reference as it is in the file.
        features: the features of the model.
        table: the reference as it is read.
    """
    for feature in features:
        cells = raw.columns[feature.name]
        if cells.from_text and feature.kind is Kind.CATEGORICAL:
            yield from _null_words(feature, cells.data.to_list(), table[feature.name].tolist())
        if feature.kind is Kind.CATEGORICAL and dates_in_text(table[feature.name]) is not None:
            name = printable(feature.name)
            yield (
                f"'{name}' has dates as text: the model is given the text, and checks compare the dates. If "
                f"the model was trained on timestamps, pass --column '{name}=datetime'"
            )


def _null_words(feature: Feature, texts: list[str | None], values: list[object]) -> Iterator[str]:
    words = [t for t, v in zip(texts, values, strict=True) if t and v is None and t in PANDAS_WORDS]
    if words:
        names = join_names(sorted({f"'{word}'" for word in words}))
        yield (
            f"'{printable(feature.name)}': {len(words):,} cells {names} are null, as pandas reads them by "
            "default. If the model was trained on them as texts, write the reference as Parquet, which keeps "
            "them"
        )

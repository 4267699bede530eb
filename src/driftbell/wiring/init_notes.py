"""Notes of `driftbell init` on columns of texts that are read or compared as something else."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from driftbell.drift.logged_columns import dates_in_text
from driftbell.phrases import count_of, join_names, printable
from driftbell.records import Columns, Feature, Kind
from driftbell.tabular.null_words import PANDAS_WORDS
from driftbell.tabular.raw_table import RawTable


def reading_notes(
    raw: RawTable, features: tuple[Feature, ...], table: Columns, kinds: Collection[str] = ()
) -> Iterator[str]:
    """Yield notes on texts that are null, on dates in text, and on categories that are read as numbers.

    Args:
        raw: the reference as it is in the file.
        features: the features of the model.
        table: the reference as it is read.
        kinds: columns with a kind that the user has set.
    """
    for feature in features:
        cells = raw.columns[feature.name]
        if cells.from_text and feature.kind is Kind.CATEGORICAL:
            yield from _null_words(feature, cells.data.to_list(), table[feature.name].tolist())
        if feature.name in kinds:
            continue
        name = printable(feature.name)
        if feature.kind is Kind.NUMERIC and cells.is_category and feature.dtype != "category":
            yield (
                f"'{name}' is a category of pandas in the file, which pandas reads as {feature.dtype}: it is "
                f"compared as a number. To compare it as categories, pass --dtype '{name}=category'"
            )
        if feature.kind is Kind.CATEGORICAL and dates_in_text(table[feature.name]) is not None:
            yield (
                f"'{name}' has dates as text: the model is given the text, and checks compare the dates. If "
                f"the model was trained on timestamps, pass --column '{name}=datetime'; to compare the texts "
                f"as categories, --column '{name}=categorical'"
            )


def _null_words(feature: Feature, texts: list[str | None], values: list[object]) -> Iterator[str]:
    words = [t for t, v in zip(texts, values, strict=True) if t and v is None and t in PANDAS_WORDS]
    if words:
        names = join_names(sorted({f"'{word}'" for word in words}))
        cells = f"{count_of(len(words), 'cell')} {names} {'is' if len(words) == 1 else 'are'}"
        yield (
            f"'{printable(feature.name)}': {cells} null, as pandas reads them by "
            "default. If the model was trained on them as texts, write the reference as Parquet, which keeps "
            "them"
        )

"""Notes of `driftbell init` on columns of texts that are read or compared as something else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from driftbell.drift.logged_columns import MAX_DATE_CATEGORIES, dates_in_text
from driftbell.phrases import folded_name, join_names, name_difference, printable
from driftbell.records import Column, Feature, Kind
from driftbell.tabular.features import FeatureTable
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.text_times import unclear_dates


def reading_notes(
    raw: RawTable, features: tuple[Feature, ...], table: FeatureTable, kinds: Collection[str] = ()
) -> Iterator[str]:
    """Yield notes on texts that are null, on dates in text, and on categories that are read as numbers.

    Args:
        raw: the reference as it is in the file.
        features: the features of the model.
        table: the reference as it is read.
        kinds: columns with a kind that the user has set.
    """
    yield from _similar_names([feature.name for feature in features])
    for feature in features:
        cells, name = raw.columns[feature.name], printable(feature.name)
        if words := table.null_words.get(feature.name):
            yield (
                f"'{name}': {words} {'is' if words.startswith('1 ') else 'are'} null, as pandas reads them "
                f"by default. If the model was trained on them as texts, pass --keep-null-words '{name}'"
            )
        if feature.name in kinds:
            continue
        if feature.kind is Kind.NUMERIC and cells.is_category and feature.dtype != "category":
            yield (
                f"'{name}' is a category of pandas in the file, which pandas reads as {feature.dtype}: it is "
                f"compared as a number. To compare it as categories, pass --dtype '{name}=category'"
            )
        if feature.kind is Kind.CATEGORICAL and (dates := _unclear_dates(table.columns[feature.name])):
            yield (
                f"'{name}' has {dates}: the model is given the text as it is, and checks compare the texts. "
                "Write one format, such as 2026-04-03, to compare the dates"
            )
        if feature.kind is Kind.CATEGORICAL and dates_in_text(table.columns[feature.name]) is not None:
            yield (
                f"'{name}' has dates as text: the model is given the text, and checks compare the dates. If "
                f"the model was trained on timestamps, pass --column '{name}=datetime'; to compare the texts "
                f"as categories, --column '{name}=categorical'"
            )


def null_words_advice(table: FeatureTable) -> str:
    """Return "; " and what to do if a model may fail on words that are read as null; "" if there are none."""
    if not table.null_words:
        return ""
    cells = join_names(f"{words} of '{printable(name)}'" for name, words in table.null_words.items())
    names = ",".join(table.null_words)
    return (
        f"; {cells} are read as null, as pandas does by default: if the model was trained on the words, pass "
        f"--keep-null-words '{names}'"
    )


def _unclear_dates(column: Column) -> str:
    """Return why dates in a column of many different texts cannot be read; see `unclear_dates`."""
    texts = list(dict.fromkeys(value for value in column.tolist() if isinstance(value, str)))
    if len(texts) <= MAX_DATE_CATEGORIES:
        return ""
    import polars as pl

    return unclear_dates(pl.Series(texts, dtype=pl.String))


def _similar_names(names: Sequence[str]) -> Iterator[str]:
    """Yield a note on each pair of names that differ in what people hardly see."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(folded_name(name), name)
        if difference := name_difference(other, name):
            yield (
                f"the features '{printable(other)}' and '{printable(name)}' differ only in {difference}: if "
                "they are one, rename a column and fit the model again"
            )

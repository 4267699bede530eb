"""The configured model in its own library, and its reference, read as the model was fitted on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from driftbell.config.settings import Settings
from driftbell.drift.logged_columns import dates_in_text
from driftbell.errors import ConfigError, InputError, ModelError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.feature_names import with_names_of
from driftbell.models.frame import build_frame, with_stored_types, without_decimals
from driftbell.models.golden import golden_problem, golden_rows, read_golden
from driftbell.models.known_values import MIN_KNOWN, KnownValues, known_values
from driftbell.models.load import load_model
from driftbell.models.loaded import LoadedModel
from driftbell.models.native import NativeModel, check_example_row
from driftbell.models.remote import RemoteOptions
from driftbell.phrases import printable, suggest_column
from driftbell.ports import Model
from driftbell.records import Column, Feature, Kind
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.dtypes import decimal_places
from driftbell.tabular.features import FeatureTable, read_feature_table
from driftbell.tabular.null_words import PANDAS_WORDS
from driftbell.tabular.schema import Schema, infer_schema

OTHER_TYPES = ("str", "int64", "float64")
"""Types in which a column is read if its model does not know its values."""

MIN_KNOWN_OF_TYPE = 0.1
"""A model that knows at least this share of a column's values was fitted on its type."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NativeReading:
    """A model in its own library, and its reference.

    Attributes:
        model: the model.
        table: the features of the reference.
        labels: the column of the labels; None if no target is configured.
        other_types: types by column in which it is read because the model knows its values only then.
        unknown: columns with values that the model does not know.
    """

    model: NativeModel
    table: FeatureTable
    labels: Column | None
    other_types: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[UnknownValues, ...] = ()


@dataclass(frozen=True, slots=True)
class UnknownValues:
    """A column with values that a model does not know.

    Attributes:
        column: its name.
        known_share: share of its values that the model knows.
        examples: at most three values that the model knows.
        are_dates: whether the values are dates as text, each a category of its own.
    """

    column: str
    known_share: float
    examples: tuple[str, ...]
    are_dates: bool = False

    @property
    def has_other_type(self) -> bool:
        """True if the model was probably fitted on another type of the column."""
        return not self.are_dates and self.known_share < MIN_KNOWN_OF_TYPE


def open_native(settings: Settings, path: Path | str, reference: Path, name: str) -> NativeReading:
    """Load a model, read its reference with the types that it was fitted on, and log what is unusual.

    Raises:
        ConfigError: a file cannot be read, or is not a supported model.
    """
    options = settings.model
    remote = RemoteOptions(options.protocol, options.timeout.total_seconds())
    limit = options.load_timeout.total_seconds()
    loaded, version = load_model(path, options.sha256, options.classes, remote, limit)
    if loaded.description:
        logger.info("model is loaded", model=name, version=version, type=loaded.description)
    reading = read_native(settings, loaded, reference, name=name, version=version)
    log_null_words(reading.table, name)
    if reading.other_types:
        types = dict(reading.other_types)
        logger.info("columns are read as the model knows them", model=name, dtypes=types)
    for unknown in reading.unknown:
        if unknown.are_dates:  # a fact about the model, which `driftbell init` names once
            continue
        event, advice = "model does not know all values of a column", "use a reference like the training data"
        if unknown.has_other_type:
            event = "model does not know the values of a column: it may have been fitted on another type"
            advice = "set its type in [columns] dtypes"
        logger.warning(
            event,
            model=name,
            column=unknown.column,
            known_share=unknown.known_share,
            **({} if values_are_hidden() else {"examples": list(unknown.examples)}),
            advice=advice,
        )
    return reading


def log_null_words(table: FeatureTable, name: str) -> None:
    """Log the cells of texts in the reference that are null because pandas reads them so."""
    if table.null_words:
        logger.warning(
            "words of the reference are read as missing, as pandas reads the file by default",
            model=name,
            columns=dict(table.null_words),
            advice="if the model was trained on them as texts, name the columns in columns.keep_null_words",
        )


def read_native(
    settings: Settings, loaded: LoadedModel, reference: Path, *, name: str, version: str
) -> NativeReading:
    """Read the reference of a model with the types that it was fitted on.

    A column of values that the model's encoders do not know, such as postcodes that pandas reads as numbers,
    is read as another type if they know that one.

    Raises:
        ConfigError: the reference cannot be read, or does not fit the model.
    """
    options, target = settings.columns.options, settings.model.target
    table, labels = read_reference(reference, options, target)
    loaded = with_names_of(loaded, list(table.columns))
    known = _known(loaded)
    words = {name: values.categories for name, values in known.items()}
    kept = known_words(words | ({target: loaded.classes} if target else {}))
    if kept:
        options = replace(options, known=kept)
        table, labels = read_reference(reference, options, target)
    typed = options.typed
    schema = _typed_schema(loaded, table, reference, options)
    other = {
        name: dtype
        for name, values in known.items()
        if name in table.columns and name not in options.typed
        if (dtype := _better_type(name, values, table, schema, reference, options))
    }
    if other:
        options = replace(options, dtypes={**options.dtypes, **other})
        table, labels = read_reference(reference, options, target)
        schema = _typed_schema(loaded, table, reference, options)
    schema = Schema(
        tuple(
            replace(_prescribed(f, loaded, typed), null=_null(known.get(f.name)) or f.null)
            for f in schema.features
        )
    )
    build = partial(NativeModel, loaded, name=name, version=version, label_known=target is not None)
    model = _checked(build, schema)
    return NativeReading(model, table, labels, other, tuple(_unknown(model, table, known)))


def _checked(build: Callable[..., NativeModel], schema: Schema) -> NativeModel:
    """Return a model that predicts its example row, with decimals as floats if it takes no objects.

    Raises:
        ModelError: it fails on the row.
    """
    model = build(schema=schema)
    try:
        check_example_row(model)
    except ModelError:
        floats = without_decimals(schema)
        if floats == schema:
            raise
        model = build(schema=floats)
        check_example_row(model)
    return model


def read_reference(
    reference: Path, options: ColumnOptions, target: str | None
) -> tuple[FeatureTable, Column | None]:
    """Read the reference: the features, and the column of the labels.

    Raises:
        ConfigError: the file cannot be read, or has no such column.
    """
    table = read_feature_table(reference, options)
    labels = table.columns.pop(target, None) if target else None
    if target and labels is None:
        hint = suggest_column(target, table.columns)
        raise ConfigError(f"model.target: {reference} has no column '{printable(target)}': {hint}")
    return table, labels


def known_words(values: Mapping[str, Iterable[Any]]) -> dict[str, frozenset[str]]:
    """Return the values by column that a model knows although they usually mean null, such as "NA".

    >>> known_words({"country": ["DE", "NA"], "age": [1.0], "label": ["no", "yes"]})
    {'country': frozenset({'NA'})}
    """
    words = {name: frozenset(PANDAS_WORDS).intersection(known) for name, known in values.items()}
    return {name: kept for name, kept in words.items() if kept}


def options_of_model(options: ColumnOptions, model: Model, target: str | None) -> ColumnOptions:
    """Return options that read the reference as it was read for a cached model."""
    features = model.schema.features
    texts = {f.name: f.dtype for f in features if f.dtype in OTHER_TYPES}
    values = {f.name: f.categories for f in features} | ({target: model.classes} if target else {})
    return replace(options, dtypes={**texts, **options.dtypes}, known=known_words(values))


def check_golden(settings: Settings, model: Model) -> None:
    """Check a model against the golden answers that `driftbell init` has written, if they are configured.

    Raises:
        ModelError: it answers otherwise than its own library did.
    """
    path = settings.model.golden
    if path is None:
        return
    problem = golden_problem(model, read_golden(path, model.version))
    if problem:
        raise ConfigError(f"model '{model.name}' is not served as it was trained: {problem}. {_ADVICE}")
    logger.info("model answers as its own library did", model=model.name, golden=str(path))


_ADVICE = (
    "Check the types of its columns in the reference (`[columns] dtypes`), and that the libraries have the "
    "versions of the training; or run `driftbell init` again"
)


def warn_of_other_answers(reading: NativeReading, reference: Path) -> None:
    """Log a warning if the model answers the reference otherwise than when pandas reads the file."""
    rows = golden_rows(reading.model, reading.table.columns, reference, reading.table.detected)
    problem = golden_problem(reading.model, rows) if rows else ""
    if problem:
        logger.warning(
            "model may not be served as it was trained",
            model=reading.model.name,
            reason=problem,
            advice=_ADVICE,
        )


def _typed_schema(
    loaded: LoadedModel, table: FeatureTable, reference: Path, options: ColumnOptions
) -> Schema:
    schema = infer_schema(table.columns, table.dtypes)
    return with_stored_types(schema, reference, options.typed) if loaded.takes_frame else schema


def _known(loaded: LoadedModel) -> dict[str, KnownValues]:
    """Return what a model knows of the values of its features."""
    if not loaded.takes_frame:
        return {}
    known = known_values(loaded.estimator, loaded.feature_names)
    names = set(loaded.feature_names)
    known = {name if name in names else name.strip(): values for name, values in known.items()}
    return known | {name: KnownValues(frozenset(levels)) for name, levels in loaded.levels.items()}


def _prescribed(feature: Feature, loaded: LoadedModel, typed: Collection[str]) -> Feature:
    """Return a feature with the type that its model prescribes, unless the user has set another one.

    Raises:
        ModelError: neither the model nor the reference has its categories.
    """
    dtype = loaded.dtypes.get(feature.name)
    if dtype is None or (feature.name in typed and feature.dtype != dtype):
        return feature
    levels = loaded.levels.get(feature.name, feature.levels)
    if dtype == "category" and not levels:
        raise ModelError(
            f"the model does not hold the categories of '{feature.name}' (XGBoost before 3.1 does not write "
            "them, and newer ones cut texts that are not ASCII): set model.reference to a Parquet file in "
            f"which '{feature.name}' has the training's type, pandas.CategoricalDtype"
        )
    return replace(feature, dtype=dtype, levels=levels)


def _better_type(
    name: str,
    known: KnownValues,
    table: FeatureTable,
    schema: Schema,
    reference: Path,
    options: ColumnOptions,
) -> str:
    """Return the type in which a model knows the values of a column; "" if it knows them as they are."""
    if not known.categories or _known_share(name, known, table, schema) >= MIN_KNOWN:
        return ""
    feature = next(f for f in schema.features if f.name == name)
    for dtype in OTHER_TYPES if decimal_places(feature.dtype) is None else ("float64",):
        other = read_feature_table(reference, replace(options, dtypes={**options.dtypes, name: dtype}))
        try:
            typed = infer_schema({name: other.columns[name]}, other.dtypes)
        except InputError:  # no value is of this type
            continue
        if _known_share(name, known, other, typed) >= MIN_KNOWN:
            return dtype
    takes_texts = all(isinstance(value, str) for value in known.categories)
    return "str" if takes_texts and table.columns[name].dtype.kind in "iuf" else ""


def _known_share(name: str, known: KnownValues, table: FeatureTable, schema: Schema) -> float:
    feature = next(f for f in schema.features if f.name == name)
    return known.share(build_frame([feature], table.columns)[name].tolist())


def _null(known: KnownValues | None) -> str:
    return known.null if known else ""


def _unknown(
    model: NativeModel, table: FeatureTable, known: Mapping[str, KnownValues]
) -> Iterator[UnknownValues]:
    for feature in model.schema.features:
        values = known.get(feature.name)
        if values is None or not values.categories:
            continue
        share = values.share(build_frame([feature], table.columns)[feature.name].tolist())
        if share < MIN_KNOWN:
            examples = sorted(map(repr, values.categories))[:3]
            column = table.columns[feature.name]
            are_dates = feature.kind is Kind.CATEGORICAL and dates_in_text(column) is not None
            yield UnknownValues(feature.name, round(share, 3), tuple(examples), are_dates)

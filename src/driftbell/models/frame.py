"""pandas DataFrames with the types that a model was fitted on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal, localcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.records import Column, Columns, Feature, Kind
from driftbell.tabular.dtypes import NULLABLE, TIMES_OF_PANDAS, as_whole, decimal_places, is_integer
from driftbell.tabular.files import COMPRESSED_SUFFIXES
from driftbell.tabular.null_words import PANDAS_WORDS
from driftbell.tabular.schema import Schema

OFFSET = re.compile(r"(?:UTC)?([+-]\d\d):(\d\d)")
PYTZ_OFFSET = re.compile(r"pytz\.FixedOffset\((-?\d+)\)")

MAX_DIGITS = 400
"""Digits that hold any number of a feature with its decimal places."""

SEPARATORS = {"semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")
"""Suffixes of text files, of which pandas is given the separator that was detected."""

ARROW_SUFFIXES = {".parquet": "read_parquet", ".feather": "read_feather", ".arrow": "read_feather"}
"""Function of pandas that reads a file with types, by the suffix of the file."""


def _pandas() -> Any:
    import pandas  # imports slowly, and a converted model does not need it

    return pandas


def build_frame(features: Iterable[Feature], columns: Columns) -> Any:
    """Build a DataFrame of features, in their order and with their types.

    Args:
        features: the features of the model.
        columns: their values, n rows.
    """
    pd = _pandas()

    return pd.DataFrame({f.name: _series(f, columns[f.name]) for f in features})


def with_stored_types(schema: Schema, path: Path, typed: Collection[str] = ()) -> Schema:
    """Return a schema with the types, categories and nulls that pandas reads from a Parquet or Feather file.

    The schema is returned as it is if pandas cannot read such a file here, or it is of another format.

    Args:
        schema: features of the file.
        path: the file.
        typed: features with a type or kind that the user has set; they stay as they are.
    """
    reader = ARROW_SUFFIXES.get(path.suffix.lower())
    if reader is None:
        return schema
    pd = _pandas()

    try:
        frame = getattr(pd, reader)(path, columns=list(schema.names))
    except (ImportError, OSError, ValueError, KeyError):  # without pyarrow, or a file of another layout
        return schema
    return Schema(tuple(f if f.name in typed else _stored_type(f, frame[f.name]) for f in schema.features))


def text_options(detected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by which pandas reads a text file that it does not read by default.

    Args:
        detected: what was detected of the file; see `RawTable`.

    >>> text_options({"format": "text", "separator": "semicolon", "encoding": "cp1252", "decimal": ","})
    {'sep': ';', 'encoding': 'cp1252', 'decimal': ','}
    """
    if detected.get("format") != "text":
        return {}
    options: dict[str, Any] = {}
    if detected["separator"] in SEPARATORS:
        options["sep"] = SEPARATORS[detected["separator"]]
    if detected["encoding"] not in ("ascii", "utf-8", "utf-8-sig"):
        options["encoding"] = detected["encoding"]
    if detected["decimal"] == ",":
        options["decimal"] = ","
    if "skipped_lines" in detected:
        options["skiprows"] = detected["skipped_lines"]
    return options


def library_frame(path: Path, features: Sequence[Feature], options: Mapping[str, Any]) -> Any:
    """Return the columns of a file as pandas reads it; None if it cannot, or one is missing.

    Columns of the types `str` and `category` are read as such, since their users have to say so to pandas.

    Args:
        path: the file.
        features: the features; their types, categories and nulls.
        options: options of a text file; see `text_options`.
    """
    names = [f.name for f in features]
    categories = {f.name: _levels(f) for f in features if f.dtype == "category"}
    texts = [name for name, levels in categories.items() if all(isinstance(v, str) for v in levels)]
    dtypes = dict.fromkeys([*(f.name for f in features if f.dtype == "str"), *texts], "str")
    suffix = next((s for s in reversed(path.suffixes) if s.lower() not in COMPRESSED_SUFFIXES), "").lower()
    try:
        pd = _pandas()
    except ImportError:
        return None
    readers = {
        **{name: getattr(pd, reader) for name, reader in ARROW_SUFFIXES.items()},
        **dict.fromkeys(
            TEXT_SUFFIXES, partial(_read_csv, dtype=dtypes, **_null_options(features), **options)
        ),
        ".xlsx": partial(pd.read_excel, dtype=dtypes, **_null_options(features)),
        ".jsonl": partial(pd.read_json, lines=True),
    }
    try:
        frame = readers[suffix](path)
        frame = frame[names].copy()
        for name in dtypes:
            if str(frame[name].dtype) != "category":
                frame[name] = frame[name].astype("str").mask(frame[name].isna())
        for name in (f.name for f in features if f.dtype == "float64" and frame[f.name].dtype == object):
            frame[name] = frame[name].astype("float64")  # decimals, which its users have to convert
        for name, levels in categories.items():
            frame[name] = frame[name].astype("category").cat.set_categories(levels)
        for name in (f.name for f in features if f.null == "none" and f.dtype != "category"):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
        return frame
    except (ImportError, OSError, ValueError, KeyError):
        return None


def _read_csv(path: Path, *, dtype: Mapping[str, str], **options: Any) -> Any:
    """Return a text file as pandas reads it, and the names of its columns without spaces at their ends."""
    pd = _pandas()
    layout = {name: value for name, value in options.items() if name not in ("keep_default_na", "na_values")}
    names = {name: name.strip() for name in pd.read_csv(path, nrows=0, **layout).columns}
    by_name = {"dtype": dtype, "na_values": options.get("na_values", {})}
    for option, values in by_name.items():
        options[option] = {own: values[name] for own, name in names.items() if name in values}
    return pd.read_csv(path, **options).rename(columns=names)


def _null_options(features: Sequence[Feature]) -> dict[str, Any]:
    """Return options by which pandas reads null words as text where they are categories."""
    words = {f.name: sorted(set(PANDAS_WORDS).difference(f.categories)) for f in features}
    has_default = all(len(nulls) == len(set(PANDAS_WORDS)) for nulls in words.values())
    return {} if has_default else {"keep_default_na": False, "na_values": words}


def _stored_type(feature: Feature, series: Any) -> Feature:
    """Return a feature with the type of a pandas series."""
    dtype = str(series.dtype)
    if dtype == "category":
        levels = tuple(v.item() if isinstance(v, np.generic) else v for v in series.cat.categories.tolist())
        if all(isinstance(v, str | int | float | bool) for v in levels):
            return replace(feature, dtype=dtype, levels=levels)
        return feature
    if dtype == "object" and feature.kind is Kind.NUMERIC:
        exponents = [v.as_tuple().exponent for v in series if isinstance(v, Decimal) and v.is_finite()]
        places = max((-e for e in exponents if isinstance(e, int)), default=None)
        return replace(feature, dtype="float64" if places is None else f"decimal({max(0, places)})")
    if dtype == "object":
        has_none = any(v is None for v in series.tolist())
        return replace(feature, dtype=dtype, null="none" if has_none else "nan")
    return replace(feature, dtype=dtype)


def _series(feature: Feature, column: Column) -> Any:
    pd = _pandas()

    match feature.kind:
        case Kind.NUMERIC if feature.dtype == "category":
            return pd.Categorical(_objects(column), categories=_levels(feature))
        case Kind.NUMERIC if (places := decimal_places(feature.dtype)) is not None:
            return pd.Series([_decimal(v, places) for v in column.tolist()], dtype=object)
        case Kind.NUMERIC:
            return _numbers(feature.dtype, column)
        case Kind.DATETIME:
            return _times(feature.dtype, column)
        case Kind.BOOLEAN if feature.dtype == "boolean":
            return pd.array(_objects(column), dtype="boolean")
        case Kind.BOOLEAN if feature.dtype in ("", "bool") and None not in column.tolist():
            return column.astype(bool)
    if feature.dtype == "category":
        return pd.Categorical(_objects(column), categories=_levels(feature))
    if feature.dtype not in ("", "object", "bool", "str"):  # pandas 2 has texts and nulls of `str` as objects
        return pd.array(_objects(column), dtype=feature.dtype)
    objects = pd.Series(column, dtype=object)
    return objects.where(pd.notna(column), None if feature.null == "none" else np.nan)


def _levels(feature: Feature) -> list[Any]:
    """Return the categories of a feature, by default those of the reference, sorted as by pandas."""
    return list(feature.levels) or sorted(feature.categories)


def _objects(column: Column) -> list[Any]:
    return [None if v is None or v != v else v for v in column.tolist()]


def _numbers(dtype: str, column: Column) -> Any:
    pd = _pandas()

    if dtype in NULLABLE:
        return pd.array(_objects(column), dtype=dtype)
    if not is_integer(dtype):
        return column.astype(dtype or np.float64)
    whole = column if column.dtype.kind in "iu" else as_whole(column.tolist())
    limits = np.iinfo(dtype)
    if whole is None or (len(whole) and not (limits.min <= whole.min() and whole.max() <= limits.max)):
        return column
    return whole.astype(dtype)


def _decimal(value: float, places: int) -> Decimal | None:
    """Return a number as pandas reads a decimal of Parquet; one with more decimal places keeps them.

    >>> _decimal(1.1, 2), _decimal(1.125, 2), _decimal(float("nan"), 2)
    (Decimal('1.10'), Decimal('1.125'), None)
    """
    if value != value:
        return None
    number = Decimal(repr(value))
    with localcontext(prec=MAX_DIGITS):
        rounded = number.quantize(Decimal(1).scaleb(-places))
    return rounded if rounded == number else number


def without_decimals(schema: Schema) -> Schema:
    """Return a schema with decimals of Parquet as float64, for a model that takes no objects."""
    floats = (
        replace(f, dtype="float64") if decimal_places(f.dtype) is not None else f for f in schema.features
    )
    return Schema(tuple(floats))


def _zone(name: str) -> Any:
    """Return a time zone by its name in a type of pandas, which may be an offset such as `UTC+05:30`."""
    if match := OFFSET.fullmatch(name):
        return timezone(timedelta(hours=int(match[1]), minutes=int(match[1][0] + match[2])))
    if match := PYTZ_OFFSET.fullmatch(name):  # pandas before 3.0 reads offsets of Parquet files as these
        return import_module("pytz").FixedOffset(int(match[1]))
    return name


def _times(dtype: str, column: Column) -> Any:
    """Return ISO 8601 texts as timestamps or dates; without a zone in them or in the type, in UTC."""
    pd = _pandas()

    moments = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601", utc=True)
    if dtype == "object":  # dates of a Parquet file
        dates = moments.dt.date
        return dates.where(moments.notna(), None)
    unit, _, zone = dtype.removeprefix(TIMES_OF_PANDAS).strip("[]").partition(", ")
    moments = moments.dt.tz_convert(_zone(zone)) if zone else moments.dt.tz_localize(None)
    return moments.dt.as_unit(unit) if unit else moments

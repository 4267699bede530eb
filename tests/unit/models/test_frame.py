"""A model gets the table that it was fitted on: its dtypes, nulls and categories, by every way in."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from driftbell.models.frame import build_frame, with_stored_types
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.server.batch import arrow
from driftbell.server.batch.limit import Limit
from driftbell.server.batch.route import validated_rows
from driftbell.server.predict.fast_path import row_parser
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.features import read_feature_table
from driftbell.tabular.schema import infer_schema

ROWS = 120
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, ROWS)
WORDS = np.array(["a", "b", "c", "d"])[CODES]
HOLES = CODES == 3

COLUMNS: dict[str, Any] = {
    "int64": CODES + 1,
    "int8": (CODES + 1).astype(np.int8),
    "uint8": (CODES + 1).astype(np.uint8),
    "big integers": 2**60 + CODES,
    "negative": CODES - 2,
    "float64": CODES + 0.5,
    "float32": (CODES + 0.1).astype(np.float32),
    "whole floats": CODES + 1.0,
    "float with null": np.where(HOLES, np.nan, CODES + 0.5),
    "int with null": pd.array(
        [None if hole else int(code) for code, hole in zip(CODES, HOLES, strict=True)], dtype="Int64"
    ),
    "bool": CODES > 1,
    "nullable bool": pd.array(
        [None if hole else bool(code) for code, hole in zip(CODES, HOLES, strict=True)], dtype="boolean"
    ),
    "text": WORDS,
    "text with null": np.where(HOLES, None, WORDS.astype(object)),
    "string": pd.array(WORDS, dtype="string"),
    "digits": np.array(["10115", "20095", "80331", "50667"])[CODES],
    "zeros": np.array(["01067", "20095", "80331", "50667"])[CODES],
    "category": pd.Categorical(WORDS, categories=["d", "x", "a", "b", "c"]),
    "category with null": pd.Categorical(
        np.where(HOLES, None, WORDS.astype(object)), categories=["c", "b", "a"]
    ),
    "naive times": pd.to_datetime("2026-01-01") + pd.to_timedelta(CODES, unit="D"),
    "zoned times": (pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(CODES, unit="D")).tz_convert(
        "Asia/Tokyo"
    ),
    "int16": (CODES * 9000).astype(np.int16),
    "int32": (CODES * 10**9).astype(np.int32),
    "uint64": 2**63 - 4 + CODES.astype(np.uint64),
    "uint64 beyond int64": 2**63 + CODES.astype(np.uint64),
    "big integers with null": pd.array(
        [None if hole else 2**53 + 1 + int(code) for code, hole in zip(CODES, HOLES, strict=True)],
        dtype="Int64",
    ),
    "Float32": pd.array(
        [None if hole else code + 0.1 for code, hole in zip(CODES, HOLES, strict=True)], dtype="Float32"
    ),
    "float32 with null": np.where(HOLES, np.nan, CODES + 0.1).astype(np.float32),
    "text with nan": pd.Series(np.where(HOLES, None, WORDS.astype(object))).fillna(np.nan),
    "string with null": pd.array(np.where(HOLES, None, WORDS.astype(object)), dtype="string"),
    "words like booleans": np.array(["true", "false", "True", "yes"])[CODES],
    "words like numbers": np.array(["1", "1.0", "1e0", "one"])[CODES],
    "words like times": np.array(["2026-01-01", "2026-01-02", "2026-01-03", "later"])[CODES],
    "words with spaces": np.array([" a", "a", "a ", "ä\u00a0"])[CODES],
    "ordered category": pd.Categorical(WORDS, categories=["d", "c", "x", "b", "a"], ordered=True),
    "category of booleans": pd.Categorical(CODES > 1, categories=[True, False]),
    "category of floats": pd.Categorical(CODES + 0.5, categories=[3.5, 0.5, 1.5, 2.5]),
    "category of integers with null": pd.Categorical(
        [None if hole else int(code) for code, hole in zip(CODES, HOLES, strict=True)], categories=[2, 1, 0]
    ),
    "seconds": (pd.to_datetime("2026-01-01") + pd.to_timedelta(CODES, unit="s")).as_unit("s"),
    "microseconds": (pd.to_datetime("2026-01-01") + pd.to_timedelta(CODES, unit="us")).as_unit("us"),
    "nanoseconds": pd.to_datetime("2026-01-01") + pd.to_timedelta(CODES, unit="ns"),
    "times with null": pd.Series(pd.to_datetime("2026-01-01") + pd.to_timedelta(CODES, unit="D")).mask(HOLES),
    "utc times": pd.to_datetime("2026-03-29 00:30", utc=True) + pd.to_timedelta(CODES, unit="h"),
    "times over a clock change": (
        pd.to_datetime("2026-10-24 22:30", utc=True) + pd.to_timedelta(CODES, unit="h")
    ).tz_convert("Europe/Berlin"),
    "times of a fixed offset": (
        pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(CODES, unit="D")
    ).tz_convert("+05:30"),
    "decimals": [Decimal(f"{code}.10") for code in CODES],
    "decimals with null": [
        None if hole else Decimal(f"1234567.{code}05") for code, hole in zip(CODES, HOLES, strict=True)
    ],
    "dates": np.array([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3), date(2026, 1, 4)])[CODES],
}
"""Columns of four values, of which the model's own spelling decides the class."""


def spelling(frame: Any) -> Any:
    """Return each cell with its Python type, so that a model tells 3 from 3.0 and None from NaN."""
    return frame.map(lambda v: f"{type(v).__name__}:{v!r}").to_numpy(dtype=object)


def dtypes(frame: Any) -> Any:
    """Return the dtype of each column before its cells, with the codes of categories."""
    columns = []
    for name in frame.columns:
        column = frame[name]
        codes = column.cat.codes.tolist() if str(column.dtype) == "category" else [""] * len(column)
        columns.append(
            [f"{column.dtype}:{code}:{type(v).__name__}:{v!r}" for v, code in zip(column, codes, strict=True)]
        )
    return np.array(columns, dtype=object).T


def fitted_on(frame: Any, see: Callable[[Any], Any] = dtypes) -> Any:
    model = make_pipeline(
        FunctionTransformer(see), OneHotEncoder(handle_unknown="error"), LogisticRegression()
    )
    return model.fit(frame, np.array(["w", "x", "y", "z"])[CODES])


def written(frame: Any, path: Path) -> Path:
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".feather":
            frame.to_feather(path)
        case ".xlsx":
            frame.to_excel(path, index=False)
    return path


def read(path: Path) -> Any:
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".feather": pd.read_feather}
    return readers[path.suffix](path)


def native(estimator: Any, path: Path, options: ColumnOptions | None = None) -> NativeModel:
    table = read_feature_table(path, options)
    schema = infer_schema(table.columns, table.dtypes)
    schema = with_stored_types(schema, path, options.typed if options else ())
    return NativeModel(loaded_estimator(estimator), name="m", version="v", schema=schema)


def json_rows(frame: Any) -> list[dict[str, Any]]:
    """Return rows as a client sends them."""
    return msgspec.json.decode(
        frame.to_json(orient="records", date_format="iso", date_unit="ns", double_precision=15).encode()
    )


def own(estimator: Any, frame: Any) -> list[str]:
    return [str(v) for v in estimator.predict(frame)]


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv"])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_way_in_gives_the_table_that_pandas_reads(name: str, suffix: str, tmp_path: Path) -> None:
    path = written(pd.DataFrame({"x": COLUMNS[name], "other": np.arange(ROWS) % 7}), tmp_path / f"t{suffix}")
    frame = read(path)
    options = None
    if name == "zeros" and suffix == ".csv":
        options = ColumnOptions(dtypes={"x": "str"})
        frame = pd.read_csv(path, dtype={"x": str})
    estimator = fitted_on(frame)
    expected = own(estimator, frame)
    model = native(estimator, path, options)
    rows = json_rows(frame)
    batch = model.answer(validated_rows(model.schema, rows))[0]
    assert [model.classes[i] for i in batch] == expected
    parse = row_parser(model.schema)
    for row, answer in list(zip(rows, expected, strict=True))[:20]:
        values = parse(msgspec.json.encode(row)) or model.schema.validate(row)
        assert model.classes[model.answer([values])[0][0]] == answer
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    arrow_rows = arrow.read_rows(sink.getvalue(), arrow.FILE, model.schema, Limit(10**6, 10**7), 10).rows
    assert [model.classes[i] for i in model.answer(arrow_rows)[0]] == expected


def test_whole_numbers_through_texts_and_a_fraction_beside_them(tmp_path: Path) -> None:
    """`store` 1, 2, 3 through `astype(str)`: 3.0 would be another category, also if one row has 2.5."""
    frame = pd.DataFrame({"store": CODES + 1})
    estimator = fitted_on(frame, lambda x: x.astype(str))
    model = native(estimator, written(frame, tmp_path / "t.csv"))
    rows = [{"store": v} for v in (1, 3.0, 2)]
    assert [model.classes[i] for i in model.answer(validated_rows(model.schema, rows))[0]] == ["w", "y", "x"]
    lenient = make_pipeline(
        FunctionTransformer(lambda x: x.astype(str)),
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(),
    ).fit(frame, np.array(["w", "x", "y", "z"])[CODES])
    model = native(lenient, tmp_path / "t.csv")
    mixed = [{"store": v} for v in (1, 2.5, 2, 4)]
    expected = [own(lenient, pd.DataFrame({"store": [row["store"]]}))[0] for row in mixed]
    assert [model.classes[i] for i in model.answer(validated_rows(model.schema, mixed))[0]] == expected


def test_an_imputer_of_none_gets_none(tmp_path: Path) -> None:
    frame = pd.DataFrame({"plan": COLUMNS["text with null"]})
    estimator = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="none"),
        OneHotEncoder(),
        LogisticRegression(),
    ).fit(frame, np.array(["w", "x", "y", "z"])[CODES])
    model = native(estimator, written(frame, tmp_path / "t.parquet"))
    answers = model.answer(validated_rows(model.schema, json_rows(frame)))[0]
    assert [model.classes[i] for i in answers] == own(estimator, frame)


def test_lightgbm_gets_its_categories(tmp_path: Path) -> None:
    from lightgbm import LGBMClassifier

    frame = pd.DataFrame({"plan": COLUMNS["category with null"], "n": CODES % 2})
    estimator = LGBMClassifier(n_estimators=5, min_child_samples=1, verbose=-1).fit(frame, CODES)
    model = native(estimator, written(frame, tmp_path / "t.parquet"))
    outputs = model.predict(model.schema.columns(validated_rows(model.schema, json_rows(frame))))
    np.testing.assert_array_equal(outputs.probabilities, estimator.predict_proba(frame))


def test_categories_may_be_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"store": pd.Categorical(CODES + 1, categories=[4, 3, 2, 1])})
    estimator = fitted_on(frame)
    model = native(estimator, written(frame, tmp_path / "t.feather"))
    assert model.schema.features[0].levels == (4, 3, 2, 1)
    answers = model.answer(validated_rows(model.schema, json_rows(frame)))[0]
    assert [model.classes[i] for i in answers] == own(estimator, frame)


def test_a_frame_of_no_rows_has_the_types_too() -> None:
    schema = infer_schema({"n": [1.0], "t": ["a"]}, {"n": "int64", "t": "object"})
    frame = build_frame(schema.features, schema.columns([]))
    assert frame.dtypes.astype(str).to_dict() == {"n": "int64", "t": "object"}


def test_types_that_the_user_sets_win(tmp_path: Path) -> None:
    path = written(pd.DataFrame({"zip": COLUMNS["digits"].astype(int), "n": CODES}), tmp_path / "t.parquet")
    options = ColumnOptions(dtypes={"zip": "str", "n": "float32"})
    table = read_feature_table(path, options)
    assert table.dtypes == {"zip": "str", "n": "float32"}
    assert table.columns["zip"].tolist()[:2] == COLUMNS["digits"].tolist()[:2]
    schema = with_stored_types(infer_schema(table.columns, table.dtypes), path, options.typed)
    frame = build_frame(schema.features, table.columns)
    assert [type(v) for v in frame["zip"]] == [str] * ROWS
    assert frame["n"].dtype == np.float32

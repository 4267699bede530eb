"""A model gets the table that pandas reads from a workbook or from dates in a text file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from driftbell.models.frame import build_frame
from driftbell.models.golden import golden_problem, golden_reading
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.features import FeatureTable, read_feature_table
from driftbell.tabular.schema import infer_schema

ROWS = 120
RNG = np.random.default_rng(0)
DAYS = pd.to_datetime("2026-01-01") + pd.to_timedelta(RNG.integers(0, 90, ROWS), unit="D")
COUNTRIES = RNG.choice(["NA", "null", "N/A", "DE", "FR"], ROWS)
LABELS = np.where((COUNTRIES == "NA") ^ (RNG.random(ROWS) < 0.1), "yes", "no")


def cells_with_types(frame: Any) -> Any:
    columns = {name: [f"{frame[name].dtype}:{v!r}" for v in frame[name]] for name in frame.columns}
    return pd.DataFrame(columns).to_numpy(dtype=object)


def fitted(frame: Any) -> Any:
    """Return a model that answers otherwise if it is given another type or value."""
    return make_pipeline(
        FunctionTransformer(cells_with_types), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    ).fit(frame, LABELS)


def native(estimator: Any, table: FeatureTable) -> NativeModel:
    schema = infer_schema(table.columns, table.dtypes)
    return NativeModel(loaded_estimator(estimator), name="m", version="v", schema=schema)


@pytest.mark.parametrize("options", [{}, {"keep_default_na": False, "na_values": {"flag": [""]}}])
def test_null_words_booleans_and_times_of_a_workbook_are_those_of_pandas(
    options: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("openpyxl", reason="pandas needs openpyxl to read and write workbooks")
    path = tmp_path / "t.xlsx"
    flags = np.where(RNG.random(ROWS) < 0.2, None, (RNG.random(ROWS) < 0.5).astype(object))
    pd.DataFrame({"country": COUNTRIES, "flag": flags, "when": DAYS}).to_excel(path, index=False)
    frame = pd.read_excel(path, **options)
    estimator = fitted(frame)
    known = {"country": frozenset({"NA", "null", "N/A"})} if options else {}
    table = read_feature_table(path, ColumnOptions(known=known))
    model = native(estimator, table)
    pd.testing.assert_frame_equal(build_frame(model.schema.features, table.columns), frame)
    rows, reason = golden_reading(model, table.columns, path, table.detected)
    assert (len(rows), reason, golden_problem(model, rows)) == (ROWS, "", "")


def test_dates_of_a_text_file_have_the_unit_of_pandas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"when": DAYS.strftime("%Y-%m-%d")}).to_csv(path, index=False)
    frame = pd.read_csv(path, parse_dates=["when"])
    table = read_feature_table(path, ColumnOptions(kinds={"when": "datetime"}))
    model = native(fitted(frame), table)
    pd.testing.assert_frame_equal(build_frame(model.schema.features, table.columns), frame)
    values = model.schema.columns([["2026-01-31T00:00:00"]])
    assert build_frame(model.schema.features, values)["when"].dtype == frame["when"].dtype

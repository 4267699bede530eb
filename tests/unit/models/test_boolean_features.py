"""Boolean features of models that ONNX Runtime cannot run: the message names them and says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from driftbell.errors import ModelError
from driftbell.models.conversion_advice import not_numeric
from driftbell.models.conversion_cache import Conversion
from driftbell.models.convert import convert
from driftbell.models.native import NativeModel
from driftbell.models.onnx_file import load_onnx
from driftbell.models.sklearn import loaded_estimator
from driftbell.records import Feature, Kind
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema

RNG = np.random.default_rng(0)
AGE, PAID = RNG.normal(size=400).round(2), RNG.random(400) < 0.4
CHURN = ((AGE > 0) ^ PAID).astype(int)


def encoded(encoder: Any, last: Any) -> Any:
    steps = [("n", StandardScaler(), ["age"]), ("c", encoder, ["paid"])]
    return make_pipeline(ColumnTransformer(steps), last)


def conversion(estimator: Any, **columns: Any) -> Conversion:
    rows = pd.DataFrame({"age": AGE, "paid": PAID, **columns})
    features = as_columns(rows)
    fitted = estimator.fit(rows, CHURN)
    native = NativeModel(loaded_estimator(fitted), name="m", version="v", schema=infer_schema(features))
    return convert(native, features)


ONE_HOT = OneHotEncoder(handle_unknown="ignore")
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
ENCODER = (
    "'paid' is boolean, and an encoder of booleans has no conversion: pass it through instead "
    '("passthrough" in a ColumnTransformer), or fit the model on text'
)
OPERATOR = (
    "'paid' is boolean, which its converter takes as numbers only: fit the model on it as 0 and 1, in the "
    "reference as well"
)
TREES = (
    "'paid' is boolean, and the trees are converted with numbers only: fit the model on it as 0 and 1, in "
    "the reference as well"
)


@pytest.mark.parametrize(
    ("estimator", "reason", "right"),
    [
        (encoded(ONE_HOT, LogisticRegression()), ENCODER, PAID.astype(str).astype(object)),  # AssertionError
        (encoded(ONE_HOT, RandomForestClassifier(5)), ENCODER, PAID.astype(str).astype(object)),
        (
            encoded(ORDINAL, RandomForestClassifier(5)),
            ENCODER,
            PAID.astype(str).astype(object),
        ),  # InvalidGraph
        (LogisticRegression(), OPERATOR, PAID.astype(int)),  # InvalidInputLengthException
        (make_pipeline(StandardScaler(), LogisticRegression()), OPERATOR, PAID.astype(int)),
        (HistGradientBoostingClassifier(max_iter=5), TREES, PAID.astype(int)),
        (RandomForestClassifier(5), TREES, PAID.astype(int)),
    ],
)
def test_the_reason_names_the_feature_and_what_to_do(estimator: Any, reason: str, right: Any) -> None:
    """The model is converted if one does so."""
    assert conversion(estimator).reason == f"cannot be converted: {reason}"
    assert conversion(estimator, paid=right).model


def test_booleans_that_are_passed_through_are_converted() -> None:
    assert conversion(encoded("passthrough", LogisticRegression())).model


def test_other_features_of_trees_are_named() -> None:
    features = [Feature("paid", Kind.BOOLEAN), Feature("city", Kind.CATEGORICAL)]
    reason = "'paid' and 'city' are not numeric, and the trees are converted with numbers only"
    assert not_numeric(features) == reason


def saved(folder: Path, kind: int, names: list[str], width: int) -> Path:
    """Write a regression that is the sum of its inputs."""
    inputs = [helper.make_tensor_value_info(name, kind, [None, width]) for name in names]
    casts = [helper.make_node("Cast", [name], [f"{name}.f"], to=TensorProto.FLOAT) for name in names]
    last = helper.make_node("Sum", [f"{name}.f" for name in names], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([*casts, last], "g", inputs, [output])
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("kind", "names", "width", "columns", "message"),
    [
        (
            TensorProto.FLOAT,
            ["table"],
            2,
            {"age": AGE, "paid": PAID},
            "with numeric features only: the reference has 'paid' as boolean: write it there as 0 and 1, or "
            "export the model with boolean inputs",
        ),
        (
            TensorProto.FLOAT,
            ["age", "paid"],
            1,
            {"age": AGE, "paid": PAID},
            "takes 'paid' as float32: the reference has 'paid' as boolean: write it there as 0 and 1",
        ),
        (
            TensorProto.BOOL,
            ["paid"],
            1,
            {"paid": [None, *PAID.tolist()[1:]]},
            "takes 'paid' as bool, which cannot be null, and the reference has nulls there: fill them",
        ),
    ],
)
def test_an_onnx_file_names_the_feature_that_it_does_not_take(
    tmp_path: Path, kind: int, names: list[str], width: int, columns: Any, message: str
) -> None:
    features = as_columns(pd.DataFrame(columns))
    path = saved(tmp_path, kind, names, width)
    with pytest.raises(ModelError) as error:
        load_onnx(path, name="m", schema=infer_schema(features), features=features, sha256=None)
    assert message in str(error.value)


def test_an_onnx_file_with_a_boolean_input_is_served(tmp_path: Path) -> None:
    features = as_columns(pd.DataFrame({"paid": PAID}))
    path = saved(tmp_path, TensorProto.BOOL, ["paid"], 1)
    loaded = load_onnx(path, name="m", schema=infer_schema(features), features=features, sha256=None)
    assert loaded.model
    assert loaded.model.answer([[True], [False]]) == ([1.0, 0.0], None)

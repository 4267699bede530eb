"""Nulls in ONNX graphs: a text that stands for null, and imputation of doubles."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.known_values import encoder_categories, input_steps
from driftbell.records import Feature, Kind
from driftbell.tabular.columns import is_null

NULL_TEXT = "\ue000null"
"""The text that stands for null in a graph, since ONNX has no null among texts; no request can contain it."""


NO_TEXT = "\ue000nothing"
"""A text that is in no column: an imputer that is given texts must have one to look for."""


def with_text_nulls(estimator: Any, features: Iterable[Feature], names: list[str]) -> Any:
    """Return a copy of an estimator that takes `NULL_TEXT` for the nulls of its text features.

    Args:
        estimator: fitted on a DataFrame with these features.
        features: those that are texts and may be null.
        names: names of all features, in its order.

    Raises:
        ModelError: a step imputes these nulls together with those of other columns.
    """
    nulls = {f.name: f.null for f in features}
    if not nulls:
        return estimator
    estimator = copy.deepcopy(estimator)
    for step, columns in input_steps(estimator, names):
        chosen = [name for name in columns if name in nulls]
        if type(step).__name__ == "SimpleImputer" and chosen:
            missing = "none" if step.missing_values is None else "nan" if is_null(step.missing_values) else ""
            imputed = {name for name in chosen if nulls[name] == missing}
            if imputed and len({nulls[name] for name in chosen}) > 1:
                raise ModelError("an imputer takes None and NaN for null in different columns")
            step.missing_values = NULL_TEXT if imputed else NO_TEXT
        categories = encoder_categories(step)
        for i, name in enumerate(columns):
            if name in nulls and i < len(categories):
                cells = [NULL_TEXT if is_null(v) else v for v in np.asarray(categories[i], object).tolist()]
                categories[i] = np.array(cells, dtype=object)
    return estimator


def is_nullable_text(feature: Feature) -> bool:
    """Return whether a feature has nulls among texts, in a column of objects."""
    return feature.nullable and feature.kind is Kind.CATEGORICAL and feature.dtype in ("", "object", "str")


def register_imputer() -> None:
    """Register a converter that imputes doubles by a comparison, as ONNX Runtime has none."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.impute import SimpleImputer

    original = get_converter("SklearnSimpleImputer")
    if getattr(original, "of_doubles", False):
        return

    def convert(scope: Any, operator: Any, container: Any) -> None:
        if _imputes_doubles(operator):
            _impute_doubles(scope, operator, container)
        else:
            original(scope, operator, container)

    convert.of_doubles = True  # type: ignore[attr-defined]
    shape = get_shape_calculator("SklearnSimpleImputer")
    update_registered_converter(SimpleImputer, "SklearnSimpleImputer", shape, convert, overwrite=True)


def _imputes_doubles(operator: Any) -> bool:
    from skl2onnx.common.data_types import DoubleTensorType

    imputer = operator.raw_operator
    plain = is_null(imputer.missing_values) and not imputer.add_indicator
    statistics = np.asarray(imputer.statistics_)
    has_all = statistics.dtype.kind == "f" and not np.isnan(statistics).any()
    return plain and has_all and isinstance(operator.inputs[0].type, DoubleTensorType)


def _impute_doubles(scope: Any, operator: Any, container: Any) -> None:
    from onnx import TensorProto
    from skl2onnx.operator_converters.common import concatenate_variables

    values = concatenate_variables(scope, operator.inputs, container)
    statistics = np.asarray(operator.raw_operator.statistics_, dtype=np.float64)
    fill, null = (scope.get_unique_variable_name(name) for name in ("fill", "null"))
    container.add_initializer(fill, TensorProto.DOUBLE, [1, len(statistics)], statistics.tolist())
    container.add_node("IsNaN", [values], [null], op_version=13)
    container.add_node("Where", [null, fill, values], [operator.outputs[0].full_name], op_version=9)

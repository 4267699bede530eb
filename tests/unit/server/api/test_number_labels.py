"""Labels of a regression, and its performance."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.contract.builders import IRIS, NOW, label, prediction

from driftbell.errors import InputError
from driftbell.publish.label_sheet import _prediction_cell
from driftbell.server.api.label_body import NumberReader
from driftbell.server.api.performance import performance_view
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel, memory_store


@pytest.mark.parametrize(
    ("sent", "stored"), [(4, "4.0"), (4.5, "4.5"), ("4.50", "4.5"), (" -1e3 ", "-1000.0"), (1e100, "1e+100")]
)
def test_a_number_has_one_text(sent: Any, stored: str) -> None:
    assert NumberReader().read({"prediction_id": "p", "label": sent}).pairs == [("p", stored)]


@pytest.mark.parametrize("sent", ["cheap", True, "1_000", 1e101, float("inf"), [1], "nan", 10**400])
def test_other_labels_are_refused_with_their_row(sent: Any) -> None:
    rows = [{"prediction_id": "p", "label": 1}, {"prediction_id": "q", "label": sent}]
    with pytest.raises(InputError) as caught:
        NumberReader().read(rows)
    (problem,) = caught.value.problems
    assert (problem.field, problem.row) == ("label", 1)
    assert problem.message.startswith("'label' must be a number from -1e+100 to 1e+100")


def test_empty_labels_of_a_list_are_skipped() -> None:
    sent = NumberReader().read([{"prediction_id": "p", "label": 1}, {"prediction_id": "q", "label": None}])
    assert (sent.pairs, sent.empty, sent.unseen.total()) == ([("p", "1.0")], 1, 0)


def test_a_negative_prediction_of_a_label_sheet_is_no_formula() -> None:
    assert (_prediction_cell("-1.5"), _prediction_cell("=1+1")) == ("-1.5", "'=1+1")


def test_the_performance_is_the_error_on_the_newest_labels() -> None:
    model = FakeModel(
        infer_schema({"x": np.arange(20.0)}),
        (),
        lambda c: c["x"],
        name=IRIS["model"],
        version=IRIS["version"],
    )
    store = memory_store()
    try:
        empty = performance_view(store, model, window_rows=10, now=NOW)
        assert empty["metric"] == "mean absolute error"
        assert empty["realized"] == {"value": None, "low": None, "high": None, "rows": 0}
        store.predictions.append([replace(prediction(i), output=repr(float(i))) for i in range(1, 5)])
        store.labels.add([label(i, repr(i + error)) for i, error in enumerate((1.0, -2.0, 3.0, -2.0), 1)])
        view = performance_view(store, model, window_rows=10, now=NOW)
    finally:
        store.close()
    assert (view["realized"]["value"], view["realized"]["rows"]) == (2.0, 4)
    assert view["rmse"]["value"] == pytest.approx(np.sqrt(18 / 4))
    assert view["r2"]["value"] < 1
    assert "confusion" not in view


def test_an_enormous_prediction_leaves_a_readable_answer() -> None:
    model = FakeModel(
        infer_schema({"x": np.arange(20.0)}),
        (),
        lambda c: c["x"],
        name=IRIS["model"],
        version=IRIS["version"],
    )
    store = memory_store()
    try:
        store.predictions.append(
            [replace(prediction(i), output=("1e+100", "1.0")[i % 2]) for i in range(1, 5)]
        )
        store.labels.add([label(i, repr(i * 1e-9)) for i in range(1, 5)])
        view = performance_view(store, model, window_rows=10, now=NOW)
    finally:
        store.close()
    json.dumps(view, allow_nan=False)
    assert view["realized"]["value"] == pytest.approx(5e99)
    assert view["r2"] == {"value": None, "low": None, "high": None}

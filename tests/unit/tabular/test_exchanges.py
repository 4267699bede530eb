"""Requests to inference servers and their answers as predictions."""

from __future__ import annotations

from typing import Any

import pytest

from driftbell.tabular.exchanges import JsonFields, read_exchange, read_json_exchange

NAMES = ["age", "city"]
ROWS = [{"age": 31, "city": "Oslo"}, {"age": 42, "city": None}]
LISTS = [[31, "Oslo"], [42, None]]
TENSORS = [
    {"name": "age", "shape": [2], "datatype": "INT64", "data": [31, 42]},
    {"name": "city", "shape": [2, 1], "datatype": "BYTES", "data": ["Oslo", None]},
]


@pytest.mark.parametrize(
    "request_body",
    [
        {"instances": LISTS},
        {"instances": ROWS},
        {"inputs": LISTS},
        {"inputs": {"age": [31, 42], "city": ["Oslo", None]}},
        {"dataframe_split": {"columns": NAMES, "data": LISTS, "index": [0, 1]}},
        {"dataframe_records": ROWS},
        {"inputs": TENSORS},
    ],
)
def test_the_rows_of_every_protocol_are_the_same(request_body: Any) -> None:
    answer: dict[str, Any] = {"predictions": ["yes", "no"]}
    if "shape" in str(request_body):
        answer = {"outputs": [{"name": "label", "shape": [2], "datatype": "BYTES", "data": ["yes", "no"]}]}
    items = read_exchange(request_body, answer, NAMES, ["no", "yes"])
    assert items == [
        {"features": ROWS[0], "prediction": "yes"},
        {"features": ROWS[1], "prediction": "no"},
    ]


SHARES = [{"no": 0.25, "yes": 0.75}, {"no": 0.6, "yes": 0.4}]


@pytest.mark.parametrize(
    ("answer", "shares"),
    [
        ({"predictions": ["yes", "no"]}, None),
        ({"predictions": [1, 0]}, None),
        ({"predictions": [1.0, 0.0]}, None),
        ({"predictions": [[1], [0]]}, None),
        ({"predictions": [True, False]}, None),
        (["yes", "no"], None),
        ({"predictions": [[0.25, 0.75], [0.6, 0.4]]}, SHARES),
        ({"predictions": [0.75, 0.4]}, SHARES),
        ({"predictions": ["yes", "no"], "probabilities": [[0.25, 0.75], [0.6, 0.4]]}, SHARES),
        (
            {"predictions": [{"label": "yes", "probabilities": [0.25, 0.75]}, {"label": "no"}]},
            [SHARES[0], None],
        ),
        ({"predictions": [{"output": "yes"}, {"output": "no"}]}, None),
        ({"predictions": {"predictions": [{"0": "yes"}, {"0": "no"}]}}, None),
    ],
)
def test_labels_ids_and_probabilities_name_the_class(answer: Any, shares: Any) -> None:
    items = read_exchange({"instances": LISTS}, answer, NAMES, ["no", "yes"])
    assert [item["prediction"] for item in items] == ["yes", "no"]
    for item, expected in zip(items, shares or [None, None], strict=True):
        assert item.get("probabilities") == (expected and pytest.approx(expected))


def outputs(*tensors: tuple[str, str, list[int], list[Any]]) -> dict[str, Any]:
    keys = ("name", "datatype", "shape", "data")
    return {"outputs": [dict(zip(keys, tensor, strict=True)) for tensor in tensors]}


@pytest.mark.parametrize(
    ("answer", "has_shares"),
    [
        (outputs(("class", "BYTES", [2], ["yes", "no"])), False),
        (outputs(("predict", "INT64", [2, 1], [1, 0])), False),
        (outputs(("predict", "FP32", [2, 1], [1.0, 0.0])), False),
        (outputs(("predict_proba", "FP64", [2, 2], [0.25, 0.75, 0.6, 0.4])), True),
        (outputs(("predict_proba", "FP64", [2, 2], [[0.25, 0.75], [0.6, 0.4]])), True),
        (outputs(("score", "FP32", [2], [0.75, 0.4])), True),
        (
            outputs(
                ("id", "BYTES", [2], ["a", "b"]),
                ("predict_proba", "FP64", [2, 2], [0.25, 0.75, 0.6, 0.4]),
                ("predict", "INT64", [2], [1, 0]),
            ),
            True,
        ),
    ],
)
def test_outputs_of_tensors_name_the_class(answer: Any, has_shares: bool) -> None:
    items = read_exchange({"inputs": TENSORS}, answer, NAMES, ["no", "yes"])
    assert [item["prediction"] for item in items] == ["yes", "no"]
    if has_shares:
        assert [item["probabilities"] for item in items] == [pytest.approx(s) for s in SHARES]
    else:
        assert not any("probabilities" in item for item in items)


def test_names_that_are_numbers_win_over_probabilities() -> None:
    items = read_exchange({"instances": LISTS}, {"predictions": [1.0, 2]}, NAMES, ["1", "2"])
    assert [item["prediction"] for item in items] == ["1", "2"]


def test_a_regression_answers_numbers() -> None:
    answers = [{"predictions": [0.5, 7]}, {"predictions": [[0.5], [7]]}, [0.5, 7]]
    for answer in answers:
        items = read_exchange({"instances": LISTS}, answer, NAMES, [])
        assert [item["prediction"] for item in items] == [0.5, 7]
    tensors = outputs(("output", "FP32", [2, 1], [0.5, 7]))
    items = read_exchange({"inputs": TENSORS}, tensors, NAMES, [])
    assert [item["prediction"] for item in items] == [0.5, 7]


@pytest.mark.parametrize(
    ("request_body", "answer", "message"),
    [
        ([], {"predictions": []}, "one of dataframe_split"),
        ({"instances": [1]}, {"predictions": [1]}, "objects of values by name"),
        ({"instances": [[1]]}, {"predictions": [1]}, "row 0 has 1 values for the 2 columns"),
        ({"instances": LISTS}, {"predictions": ["no"]}, "1 predictions for 2 rows"),
        ({"instances": [{"Age": 1, "Town": 2}]}, {"predictions": ["no"]}, "none of .* features, but Age and"),
        ({"instances": LISTS}, {"error": "down"}, "no list of 'predictions'"),
        ({"instances": LISTS}, "down", "no list of 'predictions'"),
        ({"inputs": TENSORS}, {"predictions": []}, "no list of 'outputs'"),
        ({"inputs": TENSORS}, outputs(("y", "FP64", [1], [1])), "the output 'y' has 1 rows for 2"),
        ({"inputs": TENSORS}, outputs(("y", "FP64", [3], [1])), "shape .* that fits its data"),
        ({"inputs": TENSORS}, outputs(("y", "FP64", [2, 3], [1] * 6)), "no output with a prediction"),
    ],
)
def test_bodies_that_do_not_fit_are_named(request_body: Any, answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_exchange(request_body, answer, NAMES, ["no", "yes"])


@pytest.mark.parametrize(
    ("fields", "request_body", "answer"),
    [
        (JsonFields(), {"age": 31, "city": "Oslo"}, {"class": "yes"}),
        (JsonFields(), [{"age": 31, "city": "Oslo"}], [{"class": 1}]),
        (JsonFields(), [{"age": 31, "city": "Oslo"}], {"predictions": ["yes"]}),
        (JsonFields("row"), {"row": {"age": 31, "city": "Oslo"}, "user": 7}, "yes"),
        (JsonFields("rows"), {"rows": [{"age": 31, "city": "Oslo"}]}, {"output": [0.75]}),
        (JsonFields("row"), [{"row": {"age": 31, "city": "Oslo"}}], [{"result": [0.25, 0.75]}]),
        (JsonFields(prediction="y"), {"columns": NAMES, "data": [[31, "Oslo"]]}, {"y": ["yes"]}),
    ],
)
def test_plain_json_of_one_row_or_many_is_read(fields: JsonFields, request_body: Any, answer: Any) -> None:
    (item,) = read_json_exchange(fields, request_body, answer, NAMES, ["no", "yes"])
    assert (item["features"], item["prediction"]) == ({"age": 31, "city": "Oslo"}, "yes")


def test_plain_json_has_ids_and_probabilities_of_its_own() -> None:
    fields = JsonFields(probabilities="p", id="key")
    request = [{"age": 31, "key": "a"}, {"age": 42, "key": "b"}]
    answers: list[Any] = [
        [{"class": "yes", "p": [0.25, 0.75]}, {"class": "no", "p": {"no": 0.6, "yes": 0.4}}],
        {"predictions": ["yes", "no"], "p": [[0.25, 0.75], [0.6, 0.4]]},
    ]
    for answer in answers:
        items = read_json_exchange(fields, request, answer, NAMES, ["no", "yes"])
        assert [item["id"] for item in items] == ["a", "b"]
        assert [item["probabilities"] for item in items] == SHARES


@pytest.mark.parametrize(
    ("request_body", "answer", "message"),
    [
        ([{"age": 1}], [1, 2], "2 predictions for 1 rows"),
        ([{"age": 1}], {"class": "yes"}, "no list of predictions for 1 rows"),
        ({"Age": 1}, {"class": "yes"}, "none of the model's features, but Age"),
        ({}, {"class": "yes"}, "none of the model's features, but no field"),
    ],
)
def test_plain_json_that_does_not_fit_is_named(request_body: Any, answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_json_exchange(JsonFields(), request_body, answer, NAMES, ["no", "yes"])

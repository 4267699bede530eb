"""A request to an inference server and its answer, as predictions that `LoggedRowReader` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftbell.phrases import join_names
from driftbell.tabular.class_names import ClassNames
from driftbell.tabular.inference_tables import MLFLOW_KEYS, mlflow_table, row_objects, tensor_cells, v2_table

PREDICTION_FIELDS = (
    *("prediction", "predictions", "predicted", "predicted_label", "class", "label"),
    *("value", "result", "output"),
)
"""Fields of an answer that are looked up if none is named."""

PROBABILITY_FIELDS = ("probabilities", "probability", "scores")


@dataclass(frozen=True, slots=True)
class JsonFields:
    """Fields of plain JSON requests and answers: an object of one row, or a list of them.

    Attributes:
        features: field of a request with the features; None for the whole request.
        prediction: field of an answer with the prediction; None for the first of `PREDICTION_FIELDS`.
        probabilities: field of an answer with the probabilities; None if there is none.
        id: field of a request, or of an answer, with the user's own id; None if there is none.
        metadata: fields of a request, or of one of its rows, that are stored with the prediction and are no
            features.
    """

    features: str | None = None
    prediction: str | None = None
    probabilities: str | None = None
    id: str | None = None
    metadata: tuple[str, ...] = ()

    def read(self, request: Any, answer: Any) -> tuple[list[dict[str, Any]], bool]:
        """Return the predictions of a request and its answer, and whether the request is a list of rows.

        Raises:
            LookupError, TypeError, ValueError: they have another form.
        """
        items = request if isinstance(request, list) else self._features_of(request)
        results = self._prediction_of(answer)
        if isinstance(items, Mapping) and not isinstance(items.get("data"), list):
            return [self._item(items, results, request, answer)], False
        if isinstance(items, Mapping):  # columns and rows
            rows: list[Any] = list(row_objects(items))
            sources = rows
        else:
            rows = [self._features_of(item) for item in items] if items is request else list(items)
            sources = items
        if not isinstance(results, list) or len(results) != len(rows):
            count = len(results) if isinstance(results, list) else "no list of"
            raise ValueError(f"the answer has {count} predictions for {len(rows)} rows")
        listed = answer.get(self.probabilities or "") if isinstance(answer, Mapping) else None
        read = []
        for place, (row, source, result) in enumerate(zip(rows, sources, results, strict=True)):
            item = self._item(row, self._prediction_of(result), source, result)
            if isinstance(listed, list):
                item["probabilities"] = listed[place]
            read.append(item)
        return read, True

    def _features_of(self, item: Any) -> Any:
        """Return the features in a request, or in one row of it."""
        return item if self.features is None else item[self.features]

    def _prediction_of(self, answer: Any) -> Any:
        """Return the prediction in an answer, or in the answer of one row."""
        if not isinstance(answer, Mapping):
            return answer
        fields = PREDICTION_FIELDS if self.prediction is None else (self.prediction,)
        return next((answer[field] for field in fields if field in answer), None)

    def _item(self, row: Any, prediction: Any, request: Any, answer: Any) -> dict[str, Any]:
        others = {self.id, *self.metadata}
        features = {key: value for key, value in row.items() if key not in others}
        item: dict[str, Any] = {"features": features, "prediction": prediction}
        if self.metadata and isinstance(request, Mapping):
            item["metadata"] = {key: request[key] for key in self.metadata if key in request}
        if self.id is not None:
            bodies = (body for body in (request, answer) if isinstance(body, Mapping))
            own = next((body[self.id] for body in bodies if body.get(self.id) is not None), None)
            if own is not None:
                item["id"] = str(own)
        if self.probabilities is not None and isinstance(answer, Mapping):
            shares = answer.get(self.probabilities)
            if shares is not None:
                item["probabilities"] = shares
        return item


def read_json_exchange(
    fields: JsonFields, request: Any, answer: Any, names: Sequence[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the predictions of a plain JSON request and its answer; see `read_exchange`.

    Class ids and probabilities in the place of predictions are read as in the other protocols.

    Raises:
        LookupError, TypeError, ValueError: they have another form.

    >>> read_json_exchange(JsonFields(id="key"), {"a": 1, "key": 7}, {"class": 1}, ["a"], ["no", "yes"])
    [{'features': {'a': 1}, 'prediction': 'yes', 'id': '7'}]
    """
    items, _ = fields.read(request, answer)
    answers = _numbers_as_shares([_answer(item["prediction"], classes) for item in items], classes)
    for item, (value, shares) in zip(items, answers, strict=True):
        item["prediction"] = value
        given = by_class(item.pop("probabilities", None), classes)
        if given is not None or shares is not None:
            item["probabilities"] = shares if given is None else given
    return _with_features(items, frozenset(names))


Answer = tuple[Any, Any]
"""A prediction, and its probabilities by class or None."""


def read_exchange(
    request: Any, answer: Any, names: Sequence[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the predictions of a request and its answer, without ids and times.

    The bodies are those of MLflow's scoring server, KServe's V1 or the Open Inference Protocol V2.

    Args:
        request: the JSON value that was sent.
        answer: the JSON value of the answer.
        names: the model's features in its order.
        classes: the model's classes in the order of their ids; none for a regression.

    Raises:
        ValueError: a body has another shape, or their numbers of rows differ.

    >>> read_exchange({"instances": [[1.5, 2.5]]}, {"predictions": [[0.2, 0.8]]}, ["a", "b"], ["no", "yes"])
    [{'features': {'a': 1.5, 'b': 2.5}, 'prediction': 'yes', 'probabilities': {'no': 0.2, 'yes': 0.8}}]
    """
    if is_v2(request):
        rows = row_objects(v2_table(names, request))
        answers = _v2_answers(answer, len(rows), classes)
    else:
        rows = row_objects(mlflow_table(names, request))
        answers = answer_rows(answer, classes)
    if len(rows) != len(answers):
        raise ValueError(f"the answer has {len(answers)} predictions for {len(rows)} rows")
    return _with_features(
        [_item(row, *pair) for row, pair in zip(rows, answers, strict=True)], frozenset(names)
    )


def count_request_rows(request: Any, names: Sequence[str]) -> int:
    """Return the number of rows of a request; 1 if its form is not known.

    Args:
        request: the JSON value that was sent.
        names: the model's features in its order.

    >>> count_request_rows({"instances": [[1.5, 2.5], [3, 4]]}, ["a", "b"])
    2
    """
    rows = request
    try:
        if is_v2(request):
            rows = v2_table(names, request)
        elif is_inference(request):
            rows = mlflow_table(names, request)
    except ValueError:
        return 1
    rows = rows.get("data") if isinstance(rows, Mapping) else rows
    return max(len(rows), 1) if isinstance(rows, list) else 1


def is_v2(request: Any) -> bool:
    """Return whether a request has tensors of the Open Inference Protocol."""
    inputs = request.get("inputs") if isinstance(request, dict) else None
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict) and "shape" in inputs[0]


def is_inference(request: Any) -> bool:
    """Return whether a request has rows of a protocol that `read_exchange` reads."""
    return isinstance(request, dict) and any(key in request for key in MLFLOW_KEYS)


def answer_rows(answer: Any, classes: Sequence[str]) -> list[Answer]:
    """Return the predictions of an answer: a list, or an object with a list of `predictions`.

    A prediction is a label, a number, a list of the probabilities of all classes, the probability of the
    second of two classes, or an object with one of `PREDICTION_FIELDS`.

    Raises:
        ValueError: it has no such list.
    """
    values = answer.get("predictions") if isinstance(answer, Mapping) else answer
    if isinstance(values, Mapping) and isinstance(values.get("predictions"), list):  # MLflow's pyfunc tables
        values = values["predictions"]
    if not isinstance(values, list):
        raise ValueError("the answer has no list of 'predictions'")
    shares = answer.get("probabilities") if isinstance(answer, Mapping) else None
    answers = _numbers_as_shares([_answer(value, classes) for value in values], classes)
    if isinstance(shares, list) and len(shares) == len(answers):
        return [(value, by_class(share, classes)) for (value, _), share in zip(answers, shares, strict=True)]
    return answers


def by_class(shares: Any, classes: Sequence[str]) -> Any:
    """Return probabilities by class; those of a list are in the order of the classes."""
    if isinstance(shares, list) and len(shares) == len(classes):
        return dict(zip(classes, shares, strict=True))
    return shares


def _answer(value: Any, classes: Sequence[str]) -> Answer:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):
        shares = next((value[field] for field in PROBABILITY_FIELDS if field in value), None)
        field = next((field for field in PREDICTION_FIELDS if field in value), None)
        if field is None and len(value) == 1:
            field = next(iter(value))
        label, inner = _answer(value.get(field or ""), classes)
        by_name = by_class(shares, classes)
        return label, by_name if isinstance(by_name, Mapping) else inner
    if isinstance(value, list) and classes and len(value) == len(classes):
        return _most_probable(value, classes), by_class(value, classes)
    return value, None


def _most_probable(shares: Sequence[Any], classes: Sequence[str]) -> Any:
    """Return the class with the largest number; None if one of them is no number."""
    if not all(isinstance(share, int | float) for share in shares):
        return None
    return classes[max(range(len(shares)), key=shares.__getitem__)]


def _numbers_as_shares(answers: list[Answer], classes: Sequence[str]) -> list[Answer]:
    """Return class names for class ids, and for probabilities of the second of two classes."""
    if not classes:
        return answers
    names = ClassNames(classes)
    labels = [_class_of(value, names, classes) for value, _ in answers]
    if len(classes) == 2 and None in labels and all(_is_share(value) for value, _ in answers):
        return [
            (classes[int(value >= 0.5)], {classes[0]: 1 - value, classes[1]: value}) for value, _ in answers
        ]
    pairs = zip(answers, labels, strict=True)
    return [(value if label is None else label, shares) for (value, shares), label in pairs]


def _class_of(value: Any, names: ClassNames, classes: Sequence[str]) -> str | None:
    """Return the class that a label names; of two classes, a boolean is the first or the second."""
    label = names.find(value)
    return classes[value] if label is None and isinstance(value, bool) and len(classes) == 2 else label


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _v2_answers(answer: Any, rows: int, classes: Sequence[str]) -> list[Answer]:
    """Return the predictions of an answer of the Open Inference Protocol.

    Probabilities are the output of floats with as many columns as there are classes; the prediction is the
    first other output with one column, preferably of another type than float.

    Raises:
        ValueError: the outputs do not fit the rows.
    """
    outputs = answer.get("outputs") if isinstance(answer, Mapping) else None
    if not isinstance(outputs, list) or not all(isinstance(output, Mapping) for output in outputs):
        raise ValueError("the answer has no list of 'outputs'")
    shares: list[Any] | None = None
    values: dict[bool, list[Any]] = {}
    for output in outputs:
        cells, width = tensor_cells(output, "output")
        is_float = str(output.get("datatype")).startswith(("FP", "BF"))
        if len(cells) != rows * width:
            count = len(cells) // max(width, 1)
            raise ValueError(f"the output '{output.get('name')}' has {count} rows for {rows}")
        if width == len(classes) > 1 and is_float:
            shares = shares or [cells[i : i + width] for i in range(0, len(cells), width)]
        elif width == 1 and output.get("name") != "id":
            values.setdefault(is_float, cells)
    column = values.get(False, values.get(True))
    if shares is None and column is None:
        raise ValueError("the answer has no output with a prediction for each row")
    if column is None:
        return [_answer(row, classes) for row in shares or ()]
    answers = _numbers_as_shares([(value, None) for value in column], classes)
    if shares is None:
        return answers
    return [(value, by_class(row, classes)) for (value, _), row in zip(answers, shares, strict=True)]


def _with_features(items: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    """Return predictions that have a feature of the model.

    Raises:
        ValueError: one has none: the names are others, and all features would be null.
    """
    other = next((item["features"] for item in items if names.isdisjoint(item["features"])), None)
    if other is not None:
        fields = join_names([str(name)[:40] for name in other]) or "no field"
        raise ValueError(f"a row has none of the model's features, but {fields}")
    return items


def _item(row: dict[str, Any], prediction: Any, probabilities: Any) -> dict[str, Any]:
    item = {"features": row, "prediction": prediction}
    return item if probabilities is None else {**item, "probabilities": probabilities}

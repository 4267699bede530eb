"""Bodies of `POST /labels`: labels are matched with the classes of the model, empty ones are skipped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from driftbell.errors import InputError
from driftbell.phrases import join_names, printable
from driftbell.records import FieldProblem
from driftbell.server.http.problems import Refused, check_each
from driftbell.tabular.class_names import MAX_WHOLE, ClassNames, is_empty_label
from driftbell.tabular.feature_value import is_unicode_text
from driftbell.tabular.outputs import MAX_OUTPUT, parse_number
from driftbell.tabular.pass_through import MAX_ID_LENGTH

MAX_LABELS = 10_000
"""Labels of one request."""

MAX_LABEL_LENGTH = 200
"""Characters of a label that is no class of the model."""

MAX_NAME_LENGTH = 80
MAX_CLASSES = 20
"""Classes that a message lists."""

FIELDS = ("prediction_id", "label")

Pair = tuple[str, str]
"""A prediction's id and its true class."""


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """The labels of one request.

    Attributes:
        pairs: those that are not empty.
        is_single: whether the body is one label, not a list.
        empty: number of empty labels, which are skipped.
        unseen: labels that are no class of the model, each with its number; they count as wrong answers.
    """

    pairs: list[Pair]
    is_single: bool = False
    empty: int = 0
    unseen: Counter[str] = field(default_factory=Counter)


class LabelReader:
    """Reads the bodies of label requests.

    Args:
        names: class names of the model in the order of their ids.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.classes = ClassNames(names)

    def read(
        self, body: Any, *, accept_unseen: bool = False, others: Mapping[str, LabelReader] | None = None
    ) -> LabelRequest:
        """Check a body: one label, a list of labels, or `{"labels": [...]}`.

        Args:
            body: any JSON value.
            accept_unseen: accept a list in which no label is a class of the model.
            others: readers of the labels of some predictions instead of this one, by prediction id.

        Raises:
            InputError: labels are invalid; holds the problems of all labels.
            Refused: 422, there are no labels or too many, or a list has several labels and none of them is a
                class of the model. One label may be the first of a new class.
        """
        others = others or {}

        def read_pair(row: Any, index: int | None) -> Pair | None:
            return others.get(_id_in(row), self)._pair(row, index)

        if is_single(body):
            pair = read_pair(body, None)
            if pair is None:
                message = "'label' is empty: send the true class"
                raise InputError([FieldProblem("label", "empty", message)])
            return LabelRequest([pair], is_single=True, unseen=self._unseen([pair], others))
        rows = body["labels"] if isinstance(body, dict) else body
        if not isinstance(rows, list):
            raise Refused(422, "not_labels", f"'labels' must be a list of {_EXAMPLE}")
        if not rows:
            raise Refused(422, "empty_batch", "there are no labels: send at least one")
        if len(rows) > MAX_LABELS:
            raise Refused(422, "too_many", f"{len(rows)} labels: send at most {MAX_LABELS} at a time")
        pairs = [pair for pair in check_each(rows, read_pair) if pair is not None]
        unseen = self._unseen(pairs, others)
        if len(pairs) > 1 and unseen.total() == len(pairs) and not accept_unseen:
            readers = dict.fromkeys(others.get(prediction_id, self) for prediction_id, _ in pairs)
            names = dict.fromkeys(name for reader in readers for name in reader.classes.names)
            raise Refused(422, "no_class", _typo_message(unseen, tuple(names)), errors=[_no_class(unseen)])
        return LabelRequest(pairs, empty=len(rows) - len(pairs), unseen=unseen)

    def _unseen(self, pairs: Sequence[Pair], others: Mapping[str, LabelReader]) -> Counter[str]:
        return Counter(label for name, label in pairs if others.get(name, self)._is_unseen(label))

    def _is_unseen(self, label: str) -> bool:
        """Return whether a valid label is no class."""
        return label not in self.classes.names

    def _pair(self, row: Any, index: int | None) -> Pair | None:
        """Return one label; None if it is empty."""
        if not isinstance(row, dict):
            raise InputError([FieldProblem("", "not_an_object", f"a label must be {_EXAMPLE}", index)])
        problems = [
            FieldProblem(name, "missing", f"'{name}' is missing", index) for name in FIELDS if name not in row
        ]
        extra = [str(name)[:MAX_NAME_LENGTH] for name in row if name not in FIELDS]
        if extra:
            message = f"unknown field '{extra[0]}': a label has only 'prediction_id' and 'label'"
            problems.append(FieldProblem(extra[0], "extra", message, index))
        prediction_id, label = row.get("prediction_id"), row.get("label")
        if "prediction_id" in row and not _is_id(prediction_id):
            message = f"'prediction_id' must be the 'id' of a prediction: 1 to {MAX_ID_LENGTH} characters"
            problems.append(FieldProblem("prediction_id", "type", message, index))
        is_empty = is_empty_label(label)
        message = self._problem(label) if "label" in row and not is_empty else ""
        if message:
            problems.append(FieldProblem("label", "label", message, index))
        if problems:
            raise InputError(problems)
        return None if is_empty else (str(prediction_id), self._text(label))

    def _problem(self, label: Any) -> str:
        """Return why a label is not valid, else ""."""
        if not _is_label(label):
            return (
                f"'label' must be a text, a number or a boolean, such as one of the classes {self._listed()}"
            )
        name = self._text(label)
        if len(name) > MAX_LABEL_LENGTH and name not in self.classes.names:
            return f"'label' has {len(name)} characters and is no class of the model: {self._listed()}"
        return ""

    def _text(self, label: Any) -> str:
        """Return the text under which a valid label is stored."""
        return self.classes.name_of(label)

    def _listed(self) -> str:
        return _listed(tuple(self.classes.names))

    @property
    def example(self) -> Any:
        """A valid label."""
        return next(iter(self.classes.names))

    def _label_schemas(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the JSON Schemas of a single label, and of one in a list."""
        one: list[dict[str, Any]] = [
            {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_LENGTH, "pattern": _NOT_BLANK},
            {"type": "number", "minimum": -MAX_WHOLE, "maximum": MAX_WHOLE},
            {"type": "boolean"},
        ]
        # the service accepts other labels in a list too, unless none of them is a class of the model
        numbers = [int(n) if n == int(n) else n for n in self.classes.by_number]
        many: list[dict[str, Any]] = [
            {"type": "string", "enum": list(self.classes.names)},
            {"type": "number", "enum": numbers},
            {"type": "null"},
        ]
        return one, many

    def body_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the body."""
        one_label, many_labels = self._label_schemas()
        properties: dict[str, Any] = {
            "prediction_id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": _TEXT},
            "label": {"oneOf": one_label},
        }
        one = {
            "type": "object",
            "title": "Label",
            "properties": properties,
            "required": list(FIELDS),
            "additionalProperties": False,
        }
        in_list = {**one, "properties": {**properties, "label": {"oneOf": many_labels}}}
        many = {"type": "array", "title": "Labels", "minItems": 1, "maxItems": MAX_LABELS, "items": in_list}
        wrapped = {
            "type": "object",
            "title": "Many labels",
            "properties": {"labels": many},
            "required": ["labels"],
            "additionalProperties": False,
        }
        return {"oneOf": [one, wrapped, many]}


class NumberReader(LabelReader):
    """Reads the labels of a regression, which are numbers or texts with one.

    >>> NumberReader().read({"prediction_id": "0199f3b2", "label": "4.50"}).pairs
    [('0199f3b2', '4.5')]
    """

    example = 12.5

    def __init__(self) -> None:
        super().__init__(())

    def _is_unseen(self, label: str) -> bool:
        return False

    def _problem(self, label: Any) -> str:
        if parse_number(label) is not None:
            return ""
        got = f"'{printable(label, 30)}'" if isinstance(label, str) else type(label).__name__
        if isinstance(label, int | float) and not isinstance(label, bool):
            got = "one beyond it"
        return f"'label' must be a number from -{MAX_OUTPUT:g} to {MAX_OUTPUT:g}, got {got}"

    def _text(self, label: Any) -> str:
        return repr(parse_number(label))

    def _label_schemas(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        number = {"type": "number", "minimum": -MAX_OUTPUT, "maximum": MAX_OUTPUT}
        return [number], [number, {"type": "null"}]


_EXAMPLE = '{"prediction_id": "...", "label": "..."}'
_TEXT = r"^[^\u0000]+$"
_NOT_BLANK = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"


def is_single(body: Any) -> bool:
    """Return whether a body is one label, not a list of them."""
    return not isinstance(body, list) and not (isinstance(body, dict) and set(body) == {"labels"})


def prediction_ids(body: Any) -> Iterator[str]:
    """Yield the valid prediction ids of a body of labels, which may be invalid otherwise."""
    rows = [body] if is_single(body) else body["labels"] if isinstance(body, dict) else body
    if isinstance(rows, list) and len(rows) <= MAX_LABELS:
        yield from filter(None, map(_id_in, rows))


def _id_in(row: Any) -> str:
    """Return the prediction id of a label; "" if it is not valid."""
    name = row.get("prediction_id") if isinstance(row, dict) else None
    return name if _is_id(name) else ""


def _listed(names: Sequence[str]) -> str:
    return join_names((f"'{name}'" for name in names), max_names=MAX_CLASSES)


def _typo_message(unseen: Counter[str], classes: Sequence[str]) -> str:
    labels = join_names((f"'{printable(name, 30)}'" for name in unseen), max_names=MAX_CLASSES)
    return (
        f"none of the {unseen.total()} labels is a class of the model: {labels} against "
        f"{_listed(classes)}; if they are right, send them again with ?accept_unseen=true, and they count "
        "as wrong answers"
    )


def _no_class(unseen: Counter[str]) -> FieldProblem:
    name, count = unseen.most_common(1)[0]
    return FieldProblem("label", "no_class", f"'{printable(name, 80)}' ({count}) is no class of the model")


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return is_unicode_text(value)
    return isinstance(value, bool) or (isinstance(value, int | float) and _is_finite(value))


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _is_id(value: Any) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_LENGTH
        and not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    )

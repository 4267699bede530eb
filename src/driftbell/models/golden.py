"""Golden answers: what the model's own library answers on rows of the reference, as it reads them itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.atomic_write import write_output
from driftbell.errors import InputError, ModelError, PredictError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.answers import require_rows
from driftbell.models.foreign_code import call_model, error_text, failure_reason
from driftbell.models.frame import library_frame, text_options
from driftbell.models.known_values import MIN_KNOWN, known_values
from driftbell.models.native import NativeModel
from driftbell.phrases import count_of, join_names, printable
from driftbell.ports import Model
from driftbell.records import Columns, Feature, Kind, Outputs, Task, Value

MAX_ROWS, MIN_ROWS, MAX_CELLS = 200, 20, 20_000
"""Golden rows; fewer of a model with more than a hundred features."""

FORMAT = 1
TOLERANCE = 1e-5
"""Accepted difference between two probabilities, and relative difference between two numbers."""


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One row and the answer of the model's own library.

    Attributes:
        features: value by feature, as a client sends it.
        answer: the class, or the number of a regression.
        probabilities: by class; empty if the model gives none.
    """

    features: Mapping[str, Value]
    answer: str | float
    probabilities: Mapping[str, float]

    @property
    def is_finite(self) -> bool:
        """Return whether no number of the answer is NaN or infinite."""
        numbers = [*self.probabilities.values(), *([] if isinstance(self.answer, str) else [self.answer])]
        return all(map(math.isfinite, numbers))


def golden_rows(
    model: NativeModel, columns: Columns, path: Path, detected: Mapping[str, Any] | None = None
) -> list[GoldenRow] | None:
    """Return answers of the model's library on its own reading of the reference; see `golden_reading`.

    Returns:
        At most `MAX_ROWS` rows; None if pandas cannot read the file, or reads other rows or columns.
    """
    return golden_reading(model, columns, path, detected or {})[0] or None


def golden_reading(
    model: NativeModel, columns: Columns, path: Path, detected: Mapping[str, Any]
) -> tuple[list[GoldenRow], str]:
    """Return answers of the model's library on its own reading of the reference, or why there are none.

    Args:
        model: the model.
        columns: the reference as driftbell reads it, n rows.
        path: the file of the reference.
        detected: what was detected of the file, such as its separator, which pandas is given.

    Returns:
        At most `MAX_ROWS` rows and "", or no rows and the reason.

    Raises:
        AnswerError: the model does not answer one value for each row.
    """
    options = text_options(detected)
    frame = library_frame(path, _with_known_texts(model, columns), options)
    rows = len(next(iter(columns.values())))
    how = f"with {_shown(options)}" if options else "by default"
    if frame is None:
        return [], f"pandas cannot read the columns of {path} {how}"
    if len(frame) != rows:
        return [], f"pandas reads {count_of(len(frame), 'row')} of {path} {how}, and driftbell {rows}"
    chosen = chosen_rows(rows, len(columns))
    table = frame.iloc[chosen]
    given = table if model.loaded.takes_frame else table.to_numpy()
    try:
        outputs = call_model(model.name, model.loaded.predict, given)
    except PredictError as error:
        return [], f"the model cannot predict {path} as pandas reads it: {failure_reason(error)}"
    require_rows(outputs, len(table))
    own = model.schema.rows({name: column[chosen] for name, column in columns.items()})
    features = [dict(zip(model.schema.names, map(json_value, row), strict=True)) for row in own]
    answered = [row for row in _answered(features, outputs, model) if row.is_finite]
    return answered, "" if answered else f"the model answers NaN or infinite numbers to every row of {path}"


def chosen_rows(rows: int, columns: int) -> NDArray[np.intp]:
    """Return the rows of a reference that become golden rows: evenly spaced, with the first and the last."""
    count = min(rows, MAX_ROWS, max(MIN_ROWS, MAX_CELLS // columns))
    return np.unique(np.linspace(0, rows - 1, count).round().astype(np.intp))


def reading_note(path: Path, detected: Mapping[str, Any]) -> str:
    """Return by which options pandas has read the reference for golden answers; "" if by default."""
    options = text_options(detected)
    if not options:
        return ""
    how = _shown(options)
    return f"golden answers rest on {path} as pandas reads it with {how}, which driftbell has detected"


def _shown(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _with_known_texts(model: NativeModel, columns: Columns) -> list[Feature]:
    """Return the features, as texts where the model's encoders know the texts that driftbell reads.

    pandas reads postcodes as numbers by default, and a model that knows `01067` was not fitted on those.
    """
    if not model.loaded.takes_frame:
        return list(model.schema.features)
    known = known_values(model.loaded.estimator, model.loaded.feature_names)
    texts = {
        f.name
        for f in model.schema.features
        if f.dtype == "object" and f.kind is Kind.CATEGORICAL and f.name in known
        if known[f.name].categories and known[f.name].share(columns[f.name].tolist()) >= MIN_KNOWN
    }
    return [replace(f, dtype="str") if f.name in texts else f for f in model.schema.features]


def json_value(value: Any) -> Value:
    """Return a value of a feature as a client sends it."""
    text: Value = value.isoformat() if hasattr(value, "isoformat") else value
    return text


def _answered(features: Sequence[Mapping[str, Value]], outputs: Outputs, model: Model) -> Any:
    names = model.classes
    shares = outputs.probabilities
    for i, (row, value) in enumerate(zip(features, outputs.values.tolist(), strict=True)):
        answer = float(value) if model.task is Task.REGRESSION else names[value]
        yield GoldenRow(
            row, answer, {} if shares is None else dict(zip(names, shares[i].tolist(), strict=True))
        )


def golden_problem(model: Model, rows: Sequence[GoldenRow]) -> str:
    """Return how a model answers golden rows otherwise than its library did; "" if it does not.

    The rows take the way of a request: from JSON through the checks of the schema to the model.

    Raises:
        ModelError: the model fails on a row, or a row is no valid request.
    """
    try:
        values = [model.schema.validate(json.loads(json.dumps(row.features))) for row in rows]
        answers, probabilities = model.answer(values)
    except InputError as error:
        fields = join_names(dict.fromkeys(f"'{problem.field}'" for problem in error.problems))
        text = f"see {fields}" if values_are_hidden() else str(error)
        raise ModelError(f"a golden row does not fit the schema of model '{model.name}': {text}") from error
    except PredictError as error:
        raise ModelError(f"model '{model.name}' fails on its golden rows: {failure_reason(error)}") from error
    differing = [
        i
        for i, row in enumerate(rows)
        if _differs(model, row, answers[i], [] if probabilities is None else probabilities[i])
    ]
    if not differing:
        return ""
    first = differing[0]
    row, actual = rows[first], answers[first]
    if model.task is Task.REGRESSION:
        change = f"{actual:.6g} instead of {row.answer:.6g}"
    else:
        name = model.classes[actual]
        change = f"{name!r} instead of {row.answer!r}"
        if probabilities and row.probabilities:
            expected = row.probabilities.get(name, 0.0)
            change += (
                f" (probability of {name!r} {probabilities[first][actual]:.4g} instead of {expected:.4g})"
            )
    example = f"row {first + 1} of them" if values_are_hidden() else printable(dict(row.features), 300)
    return (
        f"{len(differing)} of {len(rows)} rows of the reference are answered otherwise than by the model's "
        f"own library, such as {example}: {change}"
    )


def _differs(model: Model, row: GoldenRow, answer: Any, probabilities: Sequence[float]) -> bool:
    if model.task is Task.REGRESSION:
        return not bool(np.isclose(answer, float(row.answer), rtol=TOLERANCE, atol=1e-9))
    expected = [row.probabilities.get(name, np.nan) for name in model.classes] if row.probabilities else []
    if expected and probabilities:
        if not np.allclose(probabilities, expected, atol=TOLERANCE, rtol=0):
            return True
        lead = row.probabilities.get(str(row.answer), 0.0) - expected[answer]
        return bool(model.classes[answer] != row.answer and abs(lead) > TOLERANCE)
    return bool(model.classes[answer] != row.answer)


def write_golden(path: Path, model: Model, rows: Sequence[GoldenRow]) -> None:
    """Write golden answers as JSON.

    Raises:
        ModelError: the file cannot be written.
    """
    key = "value" if model.task is Task.REGRESSION else "class"
    body = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "rows": [
            {"features": dict(r.features), key: r.answer, "probabilities": dict(r.probabilities)}
            for r in rows
        ],
    }
    try:
        write_output(path, f"{json.dumps(body, indent=1)}\n".encode())
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from error


def read_golden(path: Path, version: str) -> list[GoldenRow]:
    """Read golden answers.

    Args:
        path: the file.
        version: the version of the model that they must be from.

    Raises:
        ModelError: the file cannot be read, is not valid, or is from another model.
    """
    advice = "run `driftbell init` again"
    try:
        body = json.loads(path.read_text("utf-8"))
        if body["format"] != FORMAT:
            raise ModelError(f"{path} has golden answers of another format: {advice}")
        if body["version"] != version:
            raise ModelError(
                f"{path} has golden answers of version {body['version']}, the model is {version}: {advice}"
            )
        if not body["rows"]:
            raise ValueError("no rows")
        return [
            GoldenRow(
                dict(row["features"]),
                float(row["value"]) if "value" in row else str(row["class"]),
                {str(name): float(share) for name, share in row["probabilities"].items()},
            )
            for row in body["rows"]
        ]
    except OSError as error:
        raise ModelError(f"cannot read model.golden {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} has no golden answers ({error_text(error)}): {advice}") from error

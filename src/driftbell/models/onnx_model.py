"""A model in ONNX Runtime: needs numpy and onnxruntime, and no library that the model was trained with."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError, PredictError
from driftbell.models.foreign_code import call_model, failure_reason, first_call, load_with
from driftbell.records import Column, Columns, Kind, Outputs, Task, Value
from driftbell.tabular.columns import as_column
from driftbell.tabular.schema import Schema

INSTALL = "install driftbell[onnx]"

INLINE_SECONDS = 200e-6
"""A model that predicts one row faster runs on the event loop: a thread would cost as much."""

MAX_BOUND_ROWS = 64
"""Tables of up to this number of rows have buffers of their own, which makes a call twice as fast."""

TIMING_RUNS, MAX_TIMING_SECONDS = 30, 1.0

NUMBERS = {"float32": np.float32, "float64": np.float64}
KINDS = {
    "float32": {Kind.NUMERIC},
    "float64": {Kind.NUMERIC},
    "int64": {Kind.NUMERIC},
    "str": {Kind.CATEGORICAL},
    "bool": {Kind.BOOLEAN},
}
"""Kinds of features that each input type can hold."""

Answers = tuple[list[Any], list[list[float]] | None]


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """Inputs and outputs of a graph.

    Attributes:
        inputs: name and type of each input: one table of numbers, or one column a feature in the schema's
            order.
        table: whether there is one input, a table of n rows and all features.
        single: whether numbers are rounded to single precision before they become doubles, as the native
            model does.
        label: name of the output with the class; None if it is the most probable one.
        scores: name of the output with the probabilities, or the numbers of a regression; None if there is
            none.
        divisor: scores divided by it are probabilities.
        null_text: the text that stands for null; "" if no text may be null.
        one_row: whether it takes one row a call.
        second_only: whether the scores are the probability of the second of two classes alone.
    """

    inputs: tuple[tuple[str, str], ...]
    table: bool = True
    single: bool = False
    label: str | None = None
    scores: str | None = None
    divisor: float = 1
    null_text: str = ""
    one_row: bool = False
    second_only: bool = False

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Build it from its fields as JSON values.

        Raises:
            TypeError, KeyError: a field is unknown or missing.
        """
        inputs = tuple((str(name), str(kind)) for name, kind in fields["inputs"])
        return cls(**{**fields, "inputs": inputs})


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """An ONNX graph and how to call it.

    Attributes:
        content: the bytes of an .onnx file.
        signature: its inputs and outputs.
        thresholds: split thresholds of its trees, by the feature's position in the schema.
    """

    content: bytes
    signature: GraphSignature
    thresholds: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


class OnnxModel:
    """An ONNX graph as a `driftbell.ports.Model`.

    Args:
        graph: the graph and its signature.
        name: the model's name.
        version: content hash of the model.
        schema: its features.
        classes: labels by class id; none for a regression.

    Raises:
        ModelError: ONNX Runtime is missing or cannot load it.
    """

    engine = "onnxruntime"
    engine_reason = ""
    class_counts: tuple[int, ...] = ()

    def __init__(
        self,
        graph: OnnxGraph,
        *,
        name: str,
        version: str,
        schema: Schema,
        classes: tuple[str, ...],
    ) -> None:
        self.name = name
        self.version = version
        self.schema = schema
        self.classes = classes
        self.task = Task.CLASSIFICATION if classes else Task.REGRESSION
        self._signature = signature = graph.signature
        self._session = open_session(graph.content)
        self._run = self._run_rows if signature.one_row else self._session.run
        self._outputs = [name for name in (signature.scores, signature.label) if name]
        self._class_ids = {label: i for i, label in enumerate(classes)}
        self._first_input, kind = signature.inputs[0]
        self._number = np.float32 if signature.single else NUMBERS.get(kind, np.float64)
        self._widens = signature.single and kind == "float64"
        self._buffers: dict[int, _Buffers] = {}
        self._width = len(classes) or 1
        self._binds = (
            signature.table
            and not (signature.label or signature.one_row or signature.second_only)
            and self._is_bindable()
        )
        self._lock = threading.Lock()
        self.inline = self._row_seconds() <= INLINE_SECONDS

    def predict(self, columns: Columns) -> Outputs:
        """Predict the class of each row of a table; see `driftbell.ports.Model`."""
        return call_model(self.name, self._predict, columns)

    def _predict(self, columns: Columns) -> Outputs:
        with np.errstate(over="ignore"):
            inputs = self._column_inputs([columns[name] for name in self.schema.names])
        class_ids, scores = self._read_outputs(self._run(self._outputs, inputs))
        if scores is None:
            return Outputs(np.array(class_ids, dtype=np.intp), None)
        if self.task is Task.REGRESSION:
            return Outputs(np.asarray(scores, dtype=np.float64).ravel())
        probabilities = np.asarray(scores, dtype=np.float64)
        if self._signature.divisor != 1:
            probabilities = probabilities / self._signature.divisor
        if class_ids is None:
            return Outputs(probabilities.argmax(axis=1), probabilities)
        return Outputs(np.array(class_ids, dtype=np.intp), probabilities)

    def answer(self, rows: Sequence[Sequence[Value]]) -> Answers:
        """Predict a few valid rows with as little overhead as possible; see `driftbell.ports.Model`.

        Args:
            rows: values in the schema's order.

        Returns:
            The class id of each row, and the probability of each class by row; or the number of each row.

        Raises:
            PredictError: the graph failed.
        """
        return call_model(self.name, self._answer, rows)

    def _answer(self, rows: Sequence[Sequence[Value]]) -> Answers:
        if self._binds and len(rows) <= MAX_BOUND_ROWS:
            class_ids, probabilities = None, self._run_bound(rows)
        else:
            class_ids, scores = self._read_outputs(self._run(self._outputs, self._row_inputs(rows)))
            if scores is None:
                return class_ids or [], None
            if self.task is Task.REGRESSION:
                return scores.ravel().tolist(), None
            probabilities = scores.tolist()
        if self.task is Task.REGRESSION:
            return [row[0] for row in probabilities], None
        if class_ids is None:
            class_ids = [row.index(max(row)) for row in probabilities]
        if self._signature.divisor != 1:
            divisor = self._signature.divisor
            probabilities = [[score / divisor for score in row] for row in probabilities]
        return class_ids, probabilities

    def _run_rows(self, names: list[str], inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run a graph that takes one row a call."""
        count = len(next(iter(inputs.values())))
        rows = [self._session.run(names, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(count)]
        if not rows:
            return [np.zeros((0, self._width)) for _ in names]
        return [
            [cell for part in parts for cell in part] if isinstance(parts[0], list) else np.concatenate(parts)
            for parts in zip(*rows, strict=True)
        ]

    def _run_bound(self, rows: Sequence[Sequence[Value]]) -> list[list[float]]:
        """Run the graph on buffers that are reused, one thread at a time."""
        with self._lock:
            buffers = self._buffers.get(len(rows))
            if buffers is None:
                width = len(self.schema.features), self._width
                buffers = _Buffers(self._session, self._signature, len(rows), *width)
                self._buffers[len(rows)] = buffers
            return buffers.run(rows)

    def _is_bindable(self) -> bool:
        """Return whether the scores are a table of floats."""
        return any(
            o.name == self._signature.scores and o.type == "tensor(float)" and len(o.shape or ()) == 2
            for o in self._session.get_outputs()
        )

    def _row_inputs(self, rows: Sequence[Sequence[Value]]) -> dict[str, NDArray[Any]]:
        if self._signature.table:
            table = np.array(rows, dtype=self._number)
            return {self._first_input: table.astype(np.float64) if self._widens else table}
        columns = self.schema.columns(rows)
        return self._column_inputs([columns[name] for name in self.schema.names])

    def _column_inputs(self, columns: Sequence[Column]) -> dict[str, NDArray[Any]]:
        if self._signature.table:
            table = np.column_stack(columns).astype(self._number)
            return {self._first_input: table.astype(np.float64) if self._widens else table}
        inputs = zip(self._signature.inputs, columns, strict=True)
        null = self._signature.null_text
        return {name: _input_array(column, kind, null).reshape(-1, 1) for (name, kind), column in inputs}

    def _read_outputs(self, outputs: list[Any]) -> tuple[list[int] | None, NDArray[Any] | None]:
        """Return the class ids, if the graph has an output for the class, and the scores."""
        scores = outputs[0] if self._signature.scores else None
        if isinstance(scores, list):  # ZipMap: one dict of probability by class for each row
            scores = np.array([[by[k] for k in _ordered_keys(by, self.classes)] for by in scores])
        if self._signature.second_only and scores is not None:
            second = np.asarray(scores).reshape(-1, 1)
            scores = np.hstack([1 - second, second])
        if not self._signature.label:
            return None, scores
        return [self._class_ids[str(label)] for label in outputs[-1].ravel().tolist()], scores

    def _row_seconds(self) -> float:
        """Return the time of one prediction: the minimum of several, as the rest is other processes' time."""
        row = [self.schema.validate(self.schema.example)]
        try:
            first_call(self.name, lambda: self.answer(row))
            shortest, begin = float("inf"), time.perf_counter()
            for _ in range(TIMING_RUNS):
                started = time.perf_counter()
                self.answer(row)
                ended = time.perf_counter()
                shortest = min(shortest, ended - started)
                if ended - begin > MAX_TIMING_SECONDS:
                    break
        except PredictError as error:
            raise ModelError(
                f"model '{self.name}' cannot predict a row like the first one of its reference: "
                f"{failure_reason(error)}"
            ) from error
        return shortest


class _Buffers:
    """Input and output buffers of one table size, bound to a session, so calls allocate nothing."""

    def __init__(
        self, session: Any, signature: GraphSignature, rows: int, features: int, classes: int
    ) -> None:
        name, kind = signature.inputs[0]
        self._input = np.zeros((rows, features), dtype=NUMBERS[kind])
        self._single = np.zeros((rows, features), dtype=np.float32) if signature.single else self._input
        self._copies = self._single is not self._input
        self._scores = np.zeros((rows, classes), dtype=np.float32)
        self._run = session.run_with_iobinding
        self._binding = session.io_binding()
        self._binding.bind_cpu_input(name, self._input)
        self._binding.bind_output(
            signature.scores, "cpu", 0, np.float32, self._scores.shape, self._scores.ctypes.data
        )

    def run(self, rows: Sequence[Sequence[Value]]) -> list[list[float]]:
        self._single[:] = rows
        if self._copies:
            self._input[:] = self._single
        self._run(self._binding)
        scores: list[list[float]] = self._scores.tolist()
        return scores


def open_session(content: bytes, source: str = "the model") -> Any:
    """Open a graph in a session with one thread that does not spin: more threads slow a small graph down.

    Args:
        content: the bytes of an .onnx file.
        source: where it is from, for messages.

    Raises:
        ModelError: ONNX Runtime is missing or cannot load it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX Runtime is missing: pip install 'driftbell[onnx]'") from error
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # its errors are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return load_with(
        lambda: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]),
        failure=f"ONNX Runtime cannot load {source}",
        advise=_session_advice,
    )


def _session_advice(error: Exception) -> str:
    text = str(error)
    if "not a registered function/op" in text or "No Op registered" in text:
        return (
            "it has an operator that ONNX Runtime does not have: export it with standard operators, or serve "
            'a function that calls it, with model.path = "module:function"'
        )
    if "opset" in text.lower():
        return "export it for an older opset, or install a newer onnxruntime"
    return ""


def _input_array(column: Column, kind: str, null_text: str) -> NDArray[Any]:
    """Return a column as an array of an input's type."""
    if kind in NUMBERS:
        return column.astype(NUMBERS[kind])
    if kind == "int64":
        whole = column.astype(np.int64)
        if not np.array_equal(whole, column):
            raise ValueError("the model accepts whole numbers only")
        return whole
    if kind == "bool":
        return column.astype(bool)
    cells = column.tolist()
    if null_text:
        cells = [null_text if cell is None else cell for cell in cells]
    return as_column(cells, Kind.CATEGORICAL)


def _ordered_keys(by_class: Mapping[Any, float], classes: Sequence[str]) -> list[Any]:
    keys = {str(key): key for key in by_class}
    return [keys[label] for label in classes]

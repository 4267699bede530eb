"""A model in ONNX Runtime; it needs numpy and onnxruntime, and nothing that the model was made with."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError, PredictError
from driftbell.records import Column, Columns, Kind, Outputs, Value
from driftbell.tabular.columns import as_column
from driftbell.tabular.schema import Schema

INSTALL = "install driftbell[onnx]"

CHEAP_SECONDS = 200e-6
"""A model that answers one row in less may do so on the event loop: a thread would cost as much."""

BOUND_ROWS = 64
"""Tables of up to so many rows have buffers of their own, which makes a call twice as fast."""

NUMBERS = {"float32": np.float32, "float64": np.float64}
KINDS = {
    "float32": {Kind.NUMERIC},
    "float64": {Kind.NUMERIC},
    "int64": {Kind.NUMERIC},
    "str": {Kind.CATEGORICAL},
    "bool": {Kind.BOOLEAN},
}
"""Which features each type of an input can hold."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a graph is asked, and what its answers mean.

    Attributes:
        inputs: name and type of each input: one table of all numbers, or a column each in the schema's order.
        table: whether there is one input, a table of n rows and all features.
        single: whether numbers are rounded to single precision before they become doubles, as the native
            model does.
        label: the output with the class; None where it is the most probable one.
        scores: the output with the probabilities; None where there are none.
        divisor: by which the scores become probabilities.
    """

    inputs: tuple[tuple[str, str], ...]
    table: bool = True
    single: bool = False
    label: str | None = None
    scores: str | None = None
    divisor: float = 1

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            TypeError, KeyError: it is none.
        """
        inputs = tuple((str(name), str(kind)) for name, kind in found["inputs"])
        return cls(**{**found, "inputs": inputs})


class OnnxModel:
    """See `driftbell.ports.Model`.

    Args:
        content: the graph, an .onnx file's bytes.
        recipe: how it is asked.
        name: what people call it.
        version: content hash.
        schema: its features.
        classes: labels by class id.

    Raises:
        ModelError: ONNX Runtime is missing or cannot load it.
    """

    engine = "onnxruntime"
    engine_reason = ""

    def __init__(
        self,
        content: bytes,
        recipe: Recipe,
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
        self._recipe = recipe
        self._session = open_session(content)
        self._run = self._session.run
        self._wanted = [o for o in (recipe.scores, recipe.label) if o]
        self._ids = {label: i for i, label in enumerate(classes)}
        self._first, kind = recipe.inputs[0]
        self._number = np.float32 if recipe.single else NUMBERS.get(kind, np.float64)
        self._doubled = recipe.single and kind == "float64"
        self._bound: dict[int, _Bound] = {}
        self._binds = recipe.table and not recipe.label and self._scores_type() == "tensor(float)"
        self._lock = threading.Lock()
        self.inline = self._seconds() <= CHEAP_SECONDS

    def predict(self, columns: Columns) -> Outputs:
        """Answer a table."""
        try:
            with np.errstate(over="ignore"):
                feed = self._feed([columns[name] for name in self.schema.names])
            ids, scores = self._parts(self._run(self._wanted, feed))
            if scores is None:
                return Outputs(np.array(ids, dtype=np.intp), None)
            probabilities = np.asarray(scores, dtype=np.float64)
            if self._recipe.divisor != 1:
                probabilities = probabilities / self._recipe.divisor
            found = probabilities.argmax(axis=1) if ids is None else np.array(ids, dtype=np.intp)
            return Outputs(found, probabilities)
        except Exception as error:  # a user's graph may raise anything
            raise PredictError(f"model '{self.name}' failed with {type(error).__name__}") from error

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[int], list[list[float]] | None]:
        """Answer rows that are valid, as fast as can be.

        Args:
            rows: values in the schema's order.

        Returns:
            The class id of each row, and the probability of each class by row.

        Raises:
            PredictError: it could not.
        """
        try:
            if self._binds and len(rows) <= BOUND_ROWS:
                ids, found = None, self._scores_of(rows)
            else:
                ids, scores = self._parts(self._run(self._wanted, self._feed_of(rows)))
                if scores is None:
                    return ids or [], None
                found = scores.tolist()
        except Exception as error:  # a user's graph may raise anything
            raise PredictError(f"model '{self.name}' failed with {type(error).__name__}") from error
        if ids is None:
            ids = [row.index(max(row)) for row in found]
        if self._recipe.divisor != 1:
            divisor = self._recipe.divisor
            found = [[score / divisor for score in row] for row in found]
        return ids, found

    def _scores_of(self, rows: Sequence[Sequence[Value]]) -> list[list[float]]:
        """Ask with buffers that are made once; they are for one thread at a time."""
        with self._lock:
            bound = self._bound.get(len(rows))
            if bound is None:
                width = len(self.schema.features), len(self.classes)
                bound = self._bound[len(rows)] = _Bound(self._session, self._recipe, len(rows), *width)
            return bound.ask(rows)

    def _scores_type(self) -> str:
        return next((o.type for o in self._session.get_outputs() if o.name == self._recipe.scores), "")

    def _feed_of(self, rows: Sequence[Sequence[Value]]) -> dict[str, NDArray[Any]]:
        if self._recipe.table:
            table = np.array(rows, dtype=self._number)
            return {self._first: table.astype(np.float64) if self._doubled else table}
        columns = self.schema.columns(rows)
        return self._feed([columns[name] for name in self.schema.names])

    def _feed(self, columns: Sequence[Column]) -> dict[str, NDArray[Any]]:
        if self._recipe.table:
            table = np.column_stack(columns).astype(self._number)
            return {self._first: table.astype(np.float64) if self._doubled else table}
        inputs = zip(self._recipe.inputs, columns, strict=True)
        return {name: _cells(column, kind).reshape(-1, 1) for (name, kind), column in inputs}

    def _parts(self, outputs: list[Any]) -> tuple[list[int] | None, NDArray[Any] | None]:
        """Take class ids, where the graph gives the class, and scores from what the graph gave."""
        scores = outputs[0] if self._recipe.scores else None
        if isinstance(scores, list):  # ZipMap: a probability by class and row
            scores = np.array([[by[k] for k in _sorted_as(by, self.classes)] for by in scores])
        if not self._recipe.label:
            return None, scores
        return [self._ids[str(label)] for label in outputs[-1].ravel().tolist()], scores

    def _seconds(self) -> float:
        """Measure one row, the shortest of some: the rest is other processes' time."""
        row = [self.schema.validate(self.schema.example)]
        shortest = float("inf")
        for _ in range(30):
            started = time.perf_counter()
            try:
                self.answer(row)
            except PredictError as error:
                cause = error.__cause__
                raise ModelError(
                    f"model '{self.name}' cannot answer a row like its reference's first: "
                    f"{type(cause).__name__}: {cause}"
                ) from error
            shortest = min(shortest, time.perf_counter() - started)
        return shortest


class _Bound:
    """A table and its scores in memory that ONNX Runtime reads and writes where they are."""

    def __init__(self, session: Any, recipe: Recipe, rows: int, features: int, classes: int) -> None:
        name, kind = recipe.inputs[0]
        self._table = np.zeros((rows, features), dtype=NUMBERS[kind])
        self._single = np.zeros((rows, features), dtype=np.float32) if recipe.single else self._table
        self._copied = self._single is not self._table
        self._scores = np.zeros((rows, classes), dtype=np.float32)
        self._run = session.run_with_iobinding
        self._binding = session.io_binding()
        self._binding.bind_cpu_input(name, self._table)
        self._binding.bind_output(
            recipe.scores, "cpu", 0, np.float32, self._scores.shape, self._scores.ctypes.data
        )

    def ask(self, rows: Sequence[Sequence[Value]]) -> list[list[float]]:
        self._single[:] = rows
        if self._copied:
            self._table[:] = self._single
        self._run(self._binding)
        found: list[list[float]] = self._scores.tolist()
        return found


def open_session(content: bytes) -> Any:
    """Open a graph on one thread that never spins: more of them cost more than they bring.

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
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a broken graph can raise anything
        raise ModelError(f"ONNX Runtime cannot load the model: {_first_line(error)}") from error


def _cells(column: Column, kind: str) -> NDArray[Any]:
    """Make a column what an input of a type takes."""
    if kind in NUMBERS:
        return column.astype(NUMBERS[kind])
    if kind == "int64":
        whole = column.astype(np.int64)
        if not np.array_equal(whole, column):
            raise ValueError("the model takes whole numbers only")
        return whole
    if kind == "bool":
        return column.astype(bool)
    return as_column(column.tolist(), Kind.CATEGORICAL)


def _sorted_as(by_class: Mapping[Any, float], classes: Sequence[str]) -> list[Any]:
    keys = {str(key): key for key in by_class}
    return [keys[label] for label in classes]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"

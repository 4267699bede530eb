"""A PyTorch program that is called with a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """An input of a program.

    Attributes:
        name: its name.
        dtype: type of its elements, as NumPy names it.
        rank: 1 for shape (n,), 2 for shape (n, number of features).
        width: number of features; None if any number is accepted.
    """

    name: str
    dtype: str
    rank: int
    width: int | None


@dataclass(frozen=True, slots=True)
class TorchProgram:
    """A program and how it is called.

    Attributes:
        torch: the library.
        module: the callable program.
        spec: the tree of its arguments.
        inputs: one table of all features, or one input a feature.
        rows: the least and the largest number of rows that a call takes; None for any.
        width: number of scores a row; 0 for an output of shape (n,).
    """

    torch: Any
    module: Any
    spec: Any
    inputs: tuple[ProgramInput, ...]
    rows: tuple[int, int | None]
    width: int

    @property
    def takes_table(self) -> bool:
        """Return whether the only input is a table of all features."""
        return len(self.inputs) == 1 and self.inputs[0].rank == 2

    def scores(self, table: Any) -> NDArray[np.float64]:
        """Return the scores of n rows.

        Args:
            table: an array of shape (n, number of features), or a DataFrame with a column an input.

        Raises:
            ValueError: a value is no number, or no whole number where the input has integers.
        """
        if self.takes_table:
            return self.run([_table_array(table, self.inputs[0].dtype)])
        return self.run([_column_array(table[i.name], i) for i in self.inputs])

    def run(self, arrays: Sequence[Array]) -> NDArray[np.float64]:
        """Return the scores of n rows, with as many calls as the program's number of rows requires."""
        count, (_, limit) = len(arrays[0]), self.rows
        size = limit or max(count, 1)
        parts = [self._call([a[i : i + size] for a in arrays]) for i in range(0, count, size)]
        return np.concatenate(parts) if parts else np.zeros((0, self.width) if self.width else 0)

    def _call(self, arrays: list[Array]) -> NDArray[np.float64]:
        count, missing = len(arrays[0]), self.rows[0] - len(arrays[0])
        if missing > 0:  # the last row again
            arrays = [np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for a in arrays]
        tree = self.torch.utils._pytree
        tensors = [self.torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]
        args, kwargs = tree.tree_unflatten(tensors, self.spec)
        with self.torch.no_grad():
            (scores,) = tree.tree_leaves(self.module(*args, **kwargs))
        numbers: NDArray[np.float64] = scores.double().numpy()
        return numbers[:count]


def _table_array(table: Any, dtype: str) -> Array:
    if table.dtype.kind in "biuf":
        return _as_dtype(table, dtype, "the table")
    for i, column in enumerate(table.T):
        _require_numbers(column.tolist(), f"feature {i + 1} of {table.shape[1]}")
    return _as_dtype(table.astype(np.float64), dtype, "the table")


def _column_array(series: Any, spec: ProgramInput) -> Array:
    is_plain = isinstance(series.dtype, np.dtype)
    column = series.to_numpy() if is_plain else series.to_numpy(object, na_value=np.nan)
    if column.dtype.kind not in "biuf":
        column = column.astype(object)
        _require_numbers(column.tolist(), f"'{spec.name}'")
        column = column.astype(np.float64)
    column = _as_dtype(column, spec.dtype, f"'{spec.name}'")
    return column[:, np.newaxis] if spec.rank == 2 else column


def _require_numbers(values: Sequence[Any], name: str) -> None:
    if not all(v is None or isinstance(v, int | float) for v in values):
        raise ValueError(
            f"{name} has texts or dates, and a PyTorch program takes numbers: serve a function that encodes "
            'them and calls the model, with model.path = "module:function", or an ONNX model that does'
        )


def _as_dtype(values: Array, dtype: str, name: str) -> Array:
    """Return numbers in the type of an input.

    Raises:
        ValueError: one is no whole number, or null, and the input has integers.
    """
    with np.errstate(over="ignore"):
        if dtype.startswith("float") or values.dtype.kind == "b":
            return values.astype(dtype)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values % 1 == 0)).all():
        raise ValueError(f"{name} of the program takes whole numbers without null")
    lowest, highest = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if len(values) and not (lowest <= values.min() and values.max() <= highest):
        raise ValueError(f"{name} of the program takes numbers from {lowest} to {highest}")
    return values.astype(dtype)

"""Join the cells of a column that several files, or parts of a file, store in different types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from driftbell.tabular.cells import Cells, Form


def join_cells(parts: Sequence[Cells]) -> Cells:
    """Join the cells of parts of a column, of one form or nulls; at least one part.

    Durations and times of day are joined with other numbers in seconds, since each part was read by its own
    type.
    """
    import polars as pl

    typed = [cells for cells in parts if cells.form is not Form.NULLS]
    if not typed:
        return replace(parts[0], data=np.concatenate([cells.data for cells in parts]))
    model = typed[0]
    filled = [
        cells.data if cells.form is not Form.NULLS else _nulls(len(cells), model.form) for cells in parts
    ]
    data = pl.concat(filled) if model.form is Form.TEXTS else np.concatenate(filled)
    precisions = [cells.precision for cells in typed if cells.precision is not None]
    return replace(model, data=data, precision=np.result_type(*precisions) if precisions else None)


def _nulls(rows: int, form: Form) -> Any:
    import polars as pl

    match form:
        case Form.TEXTS:
            return pl.Series([None] * rows, dtype=pl.String)
        case Form.NUMBERS:
            return np.full(rows, np.nan)
        case Form.TIMES:
            return np.full(rows, "NaT", dtype="datetime64[us]")
    return np.full(rows, None, dtype=object)

"""Workbooks of Excel and LibreOffice: one sheet is a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from driftbell.errors import ConfigError, InputError, MissingExtraError
from driftbell.phrases import join_names
from driftbell.tabular.cells import Form, read_series
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.raw_table import RawTable, check_names, first_line
from driftbell.tabular.text_layout import rows_above_header

MAX_TITLE_ROWS = 20
"""Rows above the names of the columns, such as a title."""

MAX_EXACT = 2**53


def read_workbook(data: bytes, source: str, options: FileOptions) -> RawTable:
    """Read a sheet of a workbook.

    Args:
        data: the file's bytes.
        source: the file's name for messages.
        options: the user's options; a sheet of None is the first.

    Raises:
        ConfigError: it is no workbook, has no such sheet, or a column name is duplicate.
        MissingExtraError: the extra `excel` is not installed.
    """
    try:
        import fastexcel
    except ImportError as error:
        raise MissingExtraError(f"cannot read {source}: a workbook", "excel") from error
    try:
        sheet = options.sheet
        book = fastexcel.read_excel(data)
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise ConfigError(
                f"cannot read {source}: --sheet: it has only {join_names(names)}, not '{sheet}'"
            )
        name = sheet or names[0]
        top = max(MAX_TITLE_ROWS, options.header_row or 0)
        rows = book.load_sheet(name, header_row=None, n_rows=top, dtypes="string").to_polars().rows()
        position = _header_row(rows, options)
        if position is None:
            row = f"has no row {options.header_row} (--header-row)" if options.header_row else "is empty"
            raise ConfigError(f"cannot read {source}: the sheet '{name}' {row}")
        has_header = options.header is not False
        names_row = rows[position] if has_header else [None] * len(rows[position])
        header = [str(v).strip() if v else f"column {i}" for i, v in enumerate(names_row, 1)]
        check_names(header)
        frame = book.load_sheet(name, header_row=None, skip_rows=position + has_header).to_polars()
    except fastexcel.FastExcelError as error:
        raise ConfigError(f"cannot read {source}: it is no valid workbook ({first_line(error)})") from error
    except InputError as error:
        raise ConfigError(f"cannot read {source}: {error}") from error
    columns = {n: _cells(n, s) for n, s in zip(header, frame.get_columns(), strict=False)}
    if not frame.columns:
        columns = {n: _cells(n, _empty()) for n in header}
    detected: dict[str, Any] = {"format": "workbook", "sheet": name}
    if position:
        detected["skipped_rows"] = position
    unnamed = [n for n, v in zip(header, names_row, strict=True) if not v]
    if has_header and len(unnamed) > 1:
        detected["columns_without_name"] = join_names(unnamed)
    return RawTable(columns, source, detected)


def _header_row(rows: Sequence[Sequence[Any]], options: FileOptions) -> int | None:
    """Return the row of the names, or without names the first row.

    Above it are titles, which have their one cell in the first column, empty rows, and names of groups.
    """
    if options.header_row is not None:
        return options.header_row - 1 if options.header_row <= len(rows) else None
    for position, row in enumerate(rows):
        filled = [i for i, cell in enumerate(row) if cell is not None and str(cell).strip()]
        if filled and (filled != [0] or len(row) == 1):
            if options.header is False:
                return position
            texts = [["" if cell is None else str(cell) for cell in row] for row in rows[position:]]
            return position + rows_above_header(texts)
    return None


def _empty() -> Any:
    import polars as pl

    return pl.Series("", [], dtype=pl.String)


def _cells(name: str, series: Any) -> Any:
    """Return cells; a column of texts was mixed, and workbooks store whole numbers as floats.

    Booleans with nulls have the precision in which pandas reads those of a workbook.
    """
    import polars as pl

    series = series.alias("")  # see `exact_names`
    if series.dtype == pl.Float64:
        whole = ((series == series.floor()) & (series.abs() < MAX_EXACT)).all()
        series = series.cast(pl.Int64) if whole else series
    cells = read_series(name, series, from_text=series.dtype == pl.String)
    if cells.form is Form.BOOLEANS and series.null_count():
        return replace(cells, precision=np.dtype(np.float64))
    return cells

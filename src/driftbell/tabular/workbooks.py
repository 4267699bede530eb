"""Workbooks of Excel and LibreOffice: one sheet is a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbell.errors import ConfigError, InputError, MissingExtraError
from driftbell.phrases import join_names
from driftbell.tabular.cells import read_series
from driftbell.tabular.raw_table import RawTable, check_names, first_line

MAX_TITLE_ROWS = 20
"""Rows above the names of the columns, such as a title."""

MAX_EXACT = 2**53


def read_workbook(data: bytes, source: str, sheet: str | None) -> RawTable:
    """Read a sheet of a workbook.

    Args:
        data: the file's bytes.
        source: the file's name for messages.
        sheet: name of the sheet; None reads the first.

    Raises:
        ConfigError: it is no workbook, has no such sheet, or a column name is duplicate.
        MissingExtraError: the extra `excel` is not installed.
    """
    try:
        import fastexcel
    except ImportError as error:
        raise MissingExtraError(f"cannot read {source}: a workbook", "excel") from error
    try:
        book = fastexcel.read_excel(data)
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise ConfigError(
                f"cannot read {source}: --sheet: it has only {join_names(names)}, not '{sheet}'"
            )
        name = sheet or names[0]
        rows = (
            book.load_sheet(name, header_row=None, n_rows=MAX_TITLE_ROWS, dtypes="string").to_polars().rows()
        )
        position = _header_row(rows)
        if position is None:
            raise ConfigError(f"cannot read {source}: the sheet '{name}' is empty")
        header = [str(v).strip() if v else f"column {i}" for i, v in enumerate(rows[position], 1)]
        check_names(header)
        frame = book.load_sheet(name, header_row=None, skip_rows=position + 1).to_polars()
    except fastexcel.FastExcelError as error:
        raise ConfigError(f"cannot read {source}: it is no valid workbook ({first_line(error)})") from error
    except InputError as error:
        raise ConfigError(f"cannot read {source}: {error}") from error
    columns = {n: _cells(n, s) for n, s in zip(header, frame.get_columns(), strict=False)}
    if not frame.columns:
        columns = {n: _cells(n, _empty()) for n in header}
    detected = {"format": "workbook", "sheet": name} | ({"skipped_rows": position} if position else {})
    return RawTable(columns, source, detected)


def _header_row(rows: Sequence[Sequence[Any]]) -> int | None:
    """Return the first row that is no title, which has its one cell in the first column, and is not empty."""
    for position, row in enumerate(rows):
        filled = [i for i, cell in enumerate(row) if cell is not None and str(cell).strip()]
        if filled and (filled != [0] or len(row) == 1):
            return position
    return None


def _empty() -> Any:
    import polars as pl

    return pl.Series("", [], dtype=pl.String)


def _cells(name: str, series: Any) -> Any:
    """Return cells; a column of texts was mixed, and workbooks store whole numbers as floats."""
    import polars as pl

    if series.dtype == pl.Float64:
        whole = ((series == series.floor()) & (series.abs() < MAX_EXACT)).all()
        series = series.cast(pl.Int64) if whole else series
    return read_series(name, series, from_text=series.dtype == pl.String)

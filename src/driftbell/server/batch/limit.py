"""The largest table that one batch request may hold."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.server.http.problems import Refused


@dataclass(frozen=True, slots=True)
class Limit:
    """Upper bounds of a table.

    Attributes:
        cells: rows times columns.
        size: bytes after decompression.

    >>> Limit(cells=1000, size=8000).check(rows=250, columns=4, size=8000)
    """

    cells: int
    size: int

    def check(self, *, rows: int, columns: int, size: int) -> None:
        """Check a table against the bounds.

        Raises:
            Refused: 413, the table has too many cells or bytes.
        """
        max_rows = self.cells // max(columns, 1)
        if rows > max_rows:
            detail = (
                f"the body has {rows} rows of {columns} columns, and the limit is {max_rows} rows: "
                "send fewer rows at a time, or raise server.body_limit"
            )
            raise Refused(413, "too_large", detail)
        if size > self.size:
            detail = (
                f"the body expands to more than {self.size} bytes: send fewer rows at a time, "
                "or raise server.body_limit"
            )
            raise Refused(413, "too_large", detail)

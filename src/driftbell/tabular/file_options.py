"""Options of reading a file."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Options of reading a file; None detects the value.

    Attributes:
        separator: separator of the cells in a text file; " " for any number of spaces.
        decimal: decimal mark of numbers in text, "." or ",".
        encoding: encoding of a text file, such as "cp1252".
        header: whether the first line of a text file has the names of the columns.
        header_row: line of a text file, or row of a workbook, with the names of the columns, from 1.
        sheet: sheet of a workbook; None reads the first.
        query: query of a database.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    header_row: int | None = None
    sheet: str | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if self.header_row is not None and self.header is False:
            raise ConfigError("--header-row names the row of the header, and --no-header says there is none")
        names = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
        if self.separator is not None:
            separator = names.get(self.separator, self.separator)
            if len(separator) != 1 or not separator.isascii() or separator in '"\n\r':
                raise ConfigError(f"--separator must be one character, or 'tab', got '{self.separator}'")
            object.__setattr__(self, "separator", separator)
        if self.decimal not in (None, ".", ","):
            raise ConfigError(f"--decimal must be '.' or ',', got '{self.decimal}'")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise ConfigError(f"--encoding: Python has no encoding '{self.encoding}'") from error

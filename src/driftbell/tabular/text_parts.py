"""Text files with separated cells that are read in parts: the same cells as those of the whole file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from driftbell.errors import ConfigError
from driftbell.tabular.compression import compression_of
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import (
    ARROW,
    EXCEL_SUFFIXES,
    FEATHER_1,
    JSON_SUFFIXES,
    PARQUET,
    SAMPLE_ROWS,
    SQLITE,
    XLS,
    ZIP,
    file_decimal,
    suffix_of,
)
from driftbell.tabular.json_files import is_profile
from driftbell.tabular.text_files import (
    BOMS,
    NAMES,
    QUOTES_IN_CELLS,
    SAMPLE_BYTES,
    check_rows,
    first_lines,
    has_quotes,
    layout_facts,
    line_offset,
    plain_layout,
    read_cells,
)
from driftbell.tabular.text_layout import SINGLE, Layout, detect_layout
from driftbell.tabular.text_lines import NEWLINE, QUOTE, check_lines

PART_BYTES = 1 << 24
"""Bytes of a file that are read at a time."""

SHORTEST_LINE = 2
"""Bytes of the shortest line that has a cell."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """Consecutive lines of a file.

    Attributes:
        start, end: place of their bytes in the file.
        line: number of lines before.
        rows: number of rows.
    """

    start: int
    end: int
    line: int
    rows: int


@dataclass(frozen=True, eq=False)
class TextParts:
    """A text file in UTF-8 of which the lines are known.

    Attributes:
        path: the file.
        layout: its layout.
        sample: its first lines.
        has_quote: whether it has a quote.
        quoted: whether quotes enclose cells.
        parts: its lines below the header.
        decimal: decimal mark of numbers; None if each column decides it.
        detected: facts about the file, as `read_file` detects them.
    """

    path: Path
    layout: Layout
    sample: str
    has_quote: bool
    quoted: bool
    parts: tuple[TextPart, ...] = ()
    decimal: str | None = None
    detected: dict[str, Any] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def frame(self, part: TextPart) -> Any:
        """Return the cells of some lines as a Polars frame of texts.

        Raises:
            ConfigError: they cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(part.start)
                data = file.read(part.end - part.start)
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror or error}") from error
        body, rows = self.lines(data, part.line)
        frame = read_cells(body, self.layout, str(self.path), quoted=self.quoted)
        check_rows(frame, rows, str(self.path))
        return frame

    def head(self, rows: int) -> Any:
        """Return the cells of the first rows as a Polars frame of texts, and of more rows after them.

        Raises:
            ConfigError: they cannot be read.
        """
        import polars as pl

        frames: list[Any] = []
        for part in self.parts:
            frames.append(self.frame(part))
            if sum(map(len, frames)) >= rows:
                break
        return pl.concat(frames)

    def lines(self, data: bytes, line: int) -> tuple[bytes, int]:
        """Return whole lines as they are parsed, and their number.

        Raises:
            ConfigError: one has more or fewer cells than the header.
        """
        if not self.has_quote:
            data, _ = plain_layout(_unix(data), self.sample, self.layout)
        else:
            data = _unix(data)
        return check_lines(data, replace(self.layout, data_line=line), str(self.path), quoted=self.quoted)


def open_parts(path: Path, options: FileOptions, min_rows: int) -> TextParts | None:
    """Find the lines of a text file, without keeping its cells.

    Returns:
        None if the file is none, has at most `min_rows` rows, or is one that only `read_file` reads, or
        explains why it cannot: in another encoding, with spaces between the cells or before quotes, with
        unnamed columns or empty rows at the end, or with lines of other lengths.
    """
    if options.encoding is not None or not path.is_file():
        return None
    try:
        if path.stat().st_size < min_rows * SHORTEST_LINE:
            return None
        with path.open("rb") as file:
            return _open(path, file, options, min_rows)
    except (OSError, ConfigError):
        return None


def _open(path: Path, file: BinaryIO, options: FileOptions, min_rows: int) -> TextParts | None:
    raw = file.read(SAMPLE_BYTES + 1)
    marked = raw.startswith(codecs.BOM_UTF8)
    if not _may_be_text(path, raw) or b"\0" in raw[:4096]:
        return None
    if not marked and any(raw.startswith(mark) for mark, _ in BOMS):
        return None
    start = len(codecs.BOM_UTF8) if marked else 0
    file.seek(start)
    head = file.read(2 * SAMPLE_BYTES)
    sample, is_whole = first_lines(_unix(head))
    layout = detect_layout(sample, is_whole, str(path), options)
    if layout.unnamed or layout.separator == " ":
        return None
    first_row = line_offset(head, layout.data_line)
    file.seek(start + first_row)
    has_quote, quoted = _examine(file, head[:first_row], layout.separator)
    if has_quote and layout.separator != SINGLE and f'{layout.separator} "' in sample:
        return None
    table = TextParts(path, layout, sample, has_quote, quoted)
    file.seek(start + first_row)
    table = replace(table, parts=tuple(_parts(file, start + first_row, table)))
    if table.rows <= min_rows or not any(table.frame(table.parts[-1]).row(-1)):
        return None
    separator = NAMES.get(layout.separator, layout.separator)
    decimal = file_decimal(table.head(SAMPLE_ROWS), separator, options, has_quotes=has_quote)
    facts = layout_facts(layout, "utf-8-sig" if marked else "utf-8")
    facts["decimal"] = decimal or "decided by each column"
    if has_quote and not quoted:
        facts["quotes"] = QUOTES_IN_CELLS
    return replace(table, decimal=decimal, detected=facts)


def _may_be_text(path: Path, head: bytes) -> bool:
    """Return whether a file with these first bytes is read as text with separated cells, uncompressed."""
    marks = (PARQUET, ARROW, FEATHER_1, SQLITE, ZIP, XLS)
    suffixes = {".parquet", ".arrow", ".feather", ".ipc", *EXCEL_SUFFIXES}
    markup = head[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    other = head.startswith(marks) or compression_of(head) is not None or is_profile(head[:512]) or markup
    return not other and path.suffix.lower() not in suffixes and suffix_of(path) not in JSON_SUFFIXES


def _examine(file: BinaryIO, head: bytes, separator: str) -> tuple[bool, bool]:
    """Return whether a file has a quote, and whether some cell begins with one.

    Args:
        file: at its first row.
        head: the lines before.
        separator: the separator.

    Raises:
        ConfigError: the file is not UTF-8, or its lines do not end with a line feed.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    has_quote, has_feed, has_return = b'"' in head, b"\n" in head, b"\r" in head
    quoted, before = False, b""
    try:
        decoder.decode(head)
        while data := file.read(PART_BYTES):
            if not data.isascii() or decoder.getstate()[0]:
                decoder.decode(data)
            has_feed, has_return = has_feed or b"\n" in data, has_return or b"\r" in data
            has_quote = has_quote or b'"' in data
            quoted = quoted or has_quotes(before + data, separator)
            before = data[-SAMPLE_BYTES:].rpartition(b"\n")[2]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ConfigError("another encoding") from error
    if has_return and not has_feed:
        raise ConfigError("lines end with a carriage return")
    return has_quote, quoted


def _parts(file: BinaryIO, place: int, table: TextParts) -> Iterator[TextPart]:
    """Yield the parts of a file from its first row on.

    Raises:
        ConfigError: a line has more or fewer cells than the header, or a quote is not closed.
    """
    line, rest = table.layout.data_line, b""
    while True:
        data = file.read(PART_BYTES)
        block = rest + data
        size = _whole_lines(block, quoted=table.quoted) if data else len(block)
        if not size and data:
            rest = block
            continue
        if block[:size].strip():
            _, rows = table.lines(block[:size], line)
            if rows:
                yield TextPart(place, place + size, line, rows)
        if not data:
            return
        line, place, rest = line + block.count(b"\n", 0, size), place + size, block[size:]


def _whole_lines(block: bytes, *, quoted: bool) -> int:
    """Return the number of bytes up to the last line feed that is in no quotes; 0 without any."""
    if not quoted:
        return block.rfind(b"\n") + 1
    data = np.frombuffer(block, dtype=np.uint8)
    inside = np.cumsum(data == QUOTE, dtype=np.uint8) & 1
    ends = np.flatnonzero((data == NEWLINE) & (inside == 0))
    return int(ends[-1]) + 1 if len(ends) else 0


def _unix(data: bytes) -> bytes:
    return re.sub(rb"\r\n", b"\n", data) if b"\r" in data else data

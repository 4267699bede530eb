"""Text files with separated cells: detect encoding, separator and header, and read all cells as text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import Any

from driftbell.errors import ConfigError
from driftbell.phrases import join_names
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.text_layout import SINGLE, Layout, detect_layout
from driftbell.tabular.text_lines import check_lines

SAMPLE_BYTES = 256 * 1024
CHUNK_BYTES = 1 << 22
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", SINGLE: "none"}
"""Names of separators in messages."""
QUOTES_IN_CELLS = "part of the cells"


@dataclass(frozen=True, slots=True, eq=False)
class TextTable:
    """Cells of a text file.

    Attributes:
        frame: Polars frame of strings; empty cells are null.
        first_line: line number of the first row.
        detected: what was detected.
    """

    frame: Any
    first_line: int
    detected: dict[str, Any]


def read_text_table(data: bytes, source: str, options: FileOptions) -> TextTable:
    """Read the bytes of a text file with separated cells.

    Args:
        data: the decompressed bytes.
        source: the file's name for messages.
        options: the user's options.

    Raises:
        ConfigError: the bytes are no text, the separator is ambiguous, a column name is duplicate, or a row
            has more or fewer cells than the header.
    """
    text, encoding = _as_utf8(data, source, options.encoding)
    if not text or text.isspace():
        raise ConfigError(f"cannot read {source}: the file is empty; the first line must name every column")
    sample, is_whole = first_lines(text)
    layout = detect_layout(sample, is_whole, source, options)
    text, layout = plain_layout(text, sample, layout)
    body = text[line_offset(text, layout.data_line) :]
    quoted = has_quotes(body, layout.separator)
    body, rows = check_lines(body, layout, source, quoted=quoted)
    frame = read_cells(body, layout, source, quoted=quoted)
    check_rows(frame, rows, source)
    frame, dropped = _without_empty_ends(frame, layout)
    detected = layout_facts(layout, encoding)
    if len(unnamed := [name for name in layout.unnamed if name in frame.columns]) > 1:
        detected["columns_without_name"] = join_names(unnamed)
    if dropped:
        detected["skipped_rows"] = dropped
    if not quoted and b'"' in body:
        detected["quotes"] = QUOTES_IN_CELLS
    return TextTable(frame, layout.data_line + 1, detected)


def layout_facts(layout: Layout, encoding: str) -> dict[str, Any]:
    """Return what was detected in a text file."""
    detected: dict[str, Any] = {
        "format": "text",
        "separator": NAMES.get(layout.separator, layout.separator),
        "encoding": encoding,
        "header": layout.header,
    }
    return detected | ({"skipped_lines": layout.skipped} if layout.skipped else {})


def check_rows(frame: Any, rows: int, source: str) -> None:
    """Check that a frame has as many rows as its text has lines.

    Raises:
        ConfigError: it has not, since a quote begins or ends inside a cell.
    """
    if len(frame) != rows:
        raise ConfigError(f"cannot read {source}: a quote inside a cell is not doubled: check its quotes")


def has_quotes(body: bytes, separator: str) -> bool:
    """Return whether some cell begins with a quote; all other quotes are characters, such as inches."""
    return b'"' in body and re.search(rb'(?:^|[\n%s]) *"' % re.escape(separator.encode()), body) is not None


def read_cells(body: bytes, layout: Layout, source: str, *, quoted: bool) -> Any:
    """Return checked lines as a Polars frame of texts.

    Raises:
        ConfigError: the quotes of a line are wrong.
    """
    import polars as pl

    schema = dict.fromkeys(layout.names, pl.String)
    if not body or body == b"\n":
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_csv(
            body,
            has_header=False,
            separator=layout.separator,
            quote_char='"' if quoted else None,
            schema=schema,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().partition("\n\n")[0].replace("\n", " ")[:200]
        raise ConfigError(f"cannot read {source}: {reason}: check its quotes") from error


def _as_utf8(data: bytes, source: str, encoding: str | None) -> tuple[bytes, str]:
    """Return text with line feeds in UTF-8, and the name of its encoding.

    Raises:
        ConfigError: the text cannot be decoded, or has no line breaks although the file has their bytes.
    """
    name = encoding or _encoding(data, source)
    try:
        if name in ("ascii", "utf-8"):
            text = data
            if encoding:
                data.decode(name)
        elif name == "utf-8-sig":
            text = data.removeprefix(codecs.BOM_UTF8)
        else:
            text = data.decode(name).removeprefix("\ufeff").encode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read {source} as {name}: {error.reason}: pass another --encoding"
        ) from error
    if encoding and b"\n" in data and b"\n" not in text:
        raise ConfigError(f"cannot read {source} as {name}: it has no line breaks: pass another --encoding")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n") if b"\n" in text else text.replace(b"\r", b"\n")
    return text, name


def _encoding(data: bytes, source: str) -> str:
    for mark, name in BOMS:
        if data.startswith(mark):
            return name
    head = data[:4096]
    if b"\0" in head:
        for part, name in ((head[1::2], "utf-16-le"), (head[::2], "utf-16-be")):
            if part.count(0) > 0.7 * len(part) and head.count(0) < 0.7 * len(head):
                return name
        raise ConfigError(f"cannot read {source}: it is neither text nor a known format (it has null bytes)")
    if data.isascii():
        return "utf-8"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), CHUNK_BYTES):
            decoder.decode(data[start : start + CHUNK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        _check_one_encoding(data, source)
        undefined = any(byte in data for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d"))
        return "latin-1" if undefined else "cp1252"
    return "utf-8"


def _check_one_encoding(data: bytes, source: str) -> None:
    """Check that a file that is not UTF-8 has no UTF-8 either.

    Raises:
        ConfigError: more characters are valid UTF-8 than not.
    """
    text = data.decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    if len(text.encode("ascii", "ignore")) < len(text) - 2 * invalid:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        raise ConfigError(
            f"cannot read {source}: line {line} is not UTF-8, but other lines are: convert the file to one "
            "encoding, or pass --encoding"
        )


def first_lines(text: bytes) -> tuple[str, bool]:
    """Return the first lines, and whether they are the whole file."""
    if len(text) <= SAMPLE_BYTES:
        return text.decode("utf-8", "replace"), True
    head = text[:SAMPLE_BYTES]
    return head[: head.rfind(b"\n") + 1].decode("utf-8", "replace") or head.decode("utf-8", "replace"), False


def line_offset(text: bytes, lines: int) -> int:
    """Return the position after the given number of lines."""
    position = 0
    for _ in range(lines):
        end = text.find(b"\n", position)
        if end < 0:
            return len(text)
        position = end + 1
    return position


def plain_layout(text: bytes, sample: str, layout: Layout) -> tuple[bytes, Layout]:
    """Rewrite runs of spaces, and spaces before quotes, which Polars does not read."""
    separator = layout.separator
    if separator == " ":
        if b'"' not in text:
            lines = (line.strip() for line in re.sub(rb"[ \t]+", b" ", text).split(b"\n"))
            return b"\n".join(lines), layout
    elif separator == SINGLE:
        return text, layout
    elif b'"' not in text:
        before = " " + separator
        if separator == "|" and sample.count(before) >= 0.8 * sample.count(separator):
            return re.sub(rb" *\| *", b"|", text), layout  # cells padded with spaces
        padded = separator + " "
        if sample.count(separator) > sample.count(padded) or not sample.count(padded):
            return text, layout
        return text.replace(padded.encode(), separator.encode()), layout  # a space after every separator
    elif f'{separator} "' not in sample:
        return text, layout
    out = io.StringIO(newline="")
    start = line_offset(text, layout.data_line)
    rest = text[start:].replace(b"\t", b" ") if separator == " " else text[start:]
    stripped = "\n".join(line.strip(" ") for line in rest.decode("utf-8").split("\n"))
    reader = csv.reader(io.StringIO(stripped, newline=""), delimiter=separator, skipinitialspace=True)
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(reader)
    return text[:start] + out.getvalue().encode("utf-8"), layout


def _without_empty_ends(frame: Any, layout: Layout) -> tuple[Any, int]:
    """Drop empty columns without a name, and empty rows at the end, which spreadsheets write."""
    import polars as pl

    empty = [name for name in layout.unnamed if frame[name].null_count() == len(frame)]
    frame = frame.drop(empty)
    if not len(frame) or len(frame.columns) < 2 or frame[-1, 0] is not None:
        return frame, 0
    present = frame.select(pl.any_horizontal(pl.all().is_not_null()).alias("present"))["present"]
    last = present.arg_true()
    rows = int(last[-1]) + 1 if len(last) else 0
    return frame.head(rows), len(frame) - rows


def read_rows(
    data: bytes, source: str, options: FileOptions
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the cells of a small text file row by row.

    Returns:
        The header, and each row with its line number; empty lines are skipped.

    Raises:
        ConfigError: see `read_text_table`.
    """
    text, _ = _as_utf8(data, source, options.encoding)
    if not text or text.isspace():
        return [], []
    layout = detect_layout(*first_lines(text), source, options)
    start = line_offset(text, layout.data_line)
    check_lines(text[start:], layout, source, quoted=has_quotes(text[start:], layout.separator))
    reader = csv.reader(
        io.StringIO(text[start:].decode("utf-8"), newline=""), delimiter=layout.separator, strict=True
    )
    try:
        rows = [(layout.data_line + reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        line = layout.data_line + reader.line_num
        raise ConfigError(f"cannot read {source}: line {line}: {error}") from error
    return list(layout.names), rows

"""Check that every line of a text file has as many cells as its header."""

from __future__ import annotations

import numpy as np

from driftbell.errors import ConfigError
from driftbell.phrases import count_of
from driftbell.tabular.text_layout import SINGLE, Layout

CHUNK_BYTES = 1 << 23
NEWLINE, QUOTE = 10, 34


def check_lines(body: bytes, layout: Layout, source: str, *, quoted: bool) -> tuple[bytes, int]:
    """Check the lines of a file below its header, and return them without blank lines, and their number.

    Args:
        body: the lines, in UTF-8 with line feeds.
        layout: separator, names of the columns, and the number of lines before.
        source: the file's name for messages.
        quoted: whether quotes may enclose separators and line feeds.

    Raises:
        ConfigError: a line has more or fewer cells than the header, or a quote is not closed.
    """
    if not body.endswith(b"\n"):
        body += b"\n"
    bytes_ = np.frombuffer(body, dtype=np.uint8)
    expected = len(layout.names) - 1
    separator = ord(layout.separator)
    inside, open_line, blank, line_start, carried, total = 0, 0, [], 0, 0, 0
    for start in range(0, len(bytes_), CHUNK_BYTES):
        chunk = bytes_[start : start + CHUNK_BYTES]
        ends, marks = chunk == NEWLINE, chunk == separator
        if quoted:
            quotes = chunk == QUOTE
            within = (np.cumsum(quotes, dtype=np.uint8) + np.uint8(inside)) & 1
            ends &= within == 0
            marks &= within == 0
            inside = int(within[-1])
            if quotes.any():
                open_line = start + int(np.flatnonzero(quotes)[-1])
        end_at = np.flatnonzero(ends)
        mark_at = np.flatnonzero(marks) if layout.separator != SINGLE else np.zeros(0, dtype=np.int64)
        before = np.searchsorted(mark_at, end_at)
        counts = np.diff(before, prepend=0)
        if len(counts):
            counts[0] += carried
        carried = len(mark_at) - (int(before[-1]) if len(before) else -carried)
        starts = np.concatenate([[line_start], end_at[:-1] + start + 1]) if len(end_at) else end_at
        lengths = end_at + start - starts
        suspicious = np.flatnonzero((counts != expected) | (lengths == 0))
        for i in suspicious.tolist():
            first, last = int(starts[i]), int(end_at[i]) + start
            if not body[first:last].strip():
                blank.append((first, last + 1))
                continue
            raise ConfigError(_ragged(body, first, last, int(counts[i]) + 1, layout, source))
        if len(end_at):
            line_start = int(end_at[-1]) + start + 1
            total += len(end_at)
    if inside:
        line = layout.data_line + body.count(b"\n", 0, open_line) + 1
        raise ConfigError(
            f"cannot read {source}: the quote on line {line} is not closed (unexpected end): "
            "the file may be cut off"
        )
    if not blank:
        return body, total
    keep = np.ones(len(bytes_), dtype=np.bool_)
    for first, last in blank:
        keep[first:last] = False
    return bytes_[keep].tobytes(), total - len(blank)


def _ragged(body: bytes, first: int, last: int, cells: int, layout: Layout, source: str) -> str:
    line = layout.data_line + body.count(b"\n", 0, first) + 1
    text = body[first:last].decode("utf-8", "replace")[:80]
    is_last = not body[last:].strip()
    hint = "the file may be cut off" if is_last else "check the separator (--separator) and quotes"
    return (
        f"cannot read {source}: line {line} has {count_of(cells, 'cell')}, "
        f"the header {len(layout.names)}: {hint}; "
        f"it is {text!r}"
    )

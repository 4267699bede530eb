"""Detect the separator and the header of a text file with separated cells."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from driftbell.errors import ConfigError
from driftbell.phrases import join_names
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.null_words import NULL_WORDS

SEPARATORS = (",", ";", "\t", "|")
SINGLE = "\x1f"
"""Separator of a file with one column: a character that is in no text."""

MAX_SAMPLE_ROWS = 500
MAX_PREAMBLE = 20
"""Lines before the header, such as a title."""

MAX_GROUP_ROWS = 3
"""Rows with names of groups of columns above the header."""

MIN_CONSISTENT = 0.8
SHOWN_LINES, SHOWN_CHARACTERS = 3, 100
NUMBER = re.compile(r"[+-]?[$€£]?\s?(\d[\d.,' \u00a0\u202f]*|[.,]\d+)([eE][+-]?\d+)?\s?[%$€£]?")
"""Roughly a number."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a text file.

    Attributes:
        separator: the separator, or `SINGLE`.
        names: names of the columns.
        header: whether they are in the file.
        data_line: number of lines before the first row.
        skipped: number of lines before the header.
        unnamed: columns without a name in the header.
    """

    separator: str
    names: tuple[str, ...]
    header: bool
    data_line: int
    skipped: int = 0
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Split:
    """First records of a file, split by one separator.

    Attributes:
        separator: the separator.
        records: cells, with the number of lines up to the record's end.
        width: the most frequent number of cells.
        share: share of the records with that number.
        first: index of the first record with that number of cells and more than one text in them.
    """

    separator: str
    records: list[tuple[int, list[str]]]
    width: int
    share: float
    first: int

    @property
    def is_exact(self) -> bool:
        """True if all records have as many cells as the first."""
        return self.first == 0 and self.share == 1

    @property
    def lacks_one_name(self) -> bool:
        """True if the first record has one cell less than all others, as R writes row names."""
        widths = [len(record) for _, record in self.records]
        return len(widths) > 2 and widths[0] > 1 and set(widths[1:]) == {widths[0] + 1}

    @property
    def number_share(self) -> float:
        """Share of the cells below the first record that look like numbers."""
        cells = [c for _, record in self.records[self.first + 1 :] for c in record]
        return sum(is_number(c) for c in cells) / max(1, len(cells))


def is_number(cell: str) -> bool:
    """Return whether a cell looks like a number."""
    return NUMBER.fullmatch(cell.strip()) is not None


def detect_layout(sample: str, is_whole: bool, source: str, options: FileOptions) -> Layout:
    """Detect the layout of a text file from its first lines.

    Args:
        sample: the first lines.
        is_whole: whether they are the whole file.
        source: the file's name for messages.
        options: the user's options.

    Raises:
        ConfigError: the separator is ambiguous, or a column name is duplicate.
    """
    skipped = 0
    if options.header_row is not None:
        return _layout_at(sample, is_whole, source, options)
    declared = re.match(r"sep=(.)\n", sample)
    separator = options.separator
    if declared:
        skipped, sample, separator = 1, sample[declared.end() :], separator or declared[1]
    comments = re.match(r"(?:[ \t]*\n|#[^\n]*\n)*", sample)
    if comments and comments.end() and sample[comments.end() :].strip():
        sample, skipped = _without_comments(sample, comments[0], skipped)
    if not _split(sample, separator or SINGLE, is_whole).records:
        raise ConfigError(f"cannot read {source}: the file is empty; the first line must name every column")
    split = _split(sample, separator, is_whole) if separator else _detect(sample, is_whole, source)
    return _layout(split, skipped, source, options)


def _layout_at(sample: str, is_whole: bool, source: str, options: FileOptions) -> Layout:
    """Detect the layout of a text file with the header in a line that the user names."""
    skipped = (options.header_row or 1) - 1
    sample = "".join(sample.splitlines(keepends=True)[skipped:])
    if not sample.strip():
        raise ConfigError(f"cannot read {source}: --header-row: the file has no line {options.header_row}")
    split = (
        _split(sample, options.separator, is_whole)
        if options.separator
        else _detect(sample, is_whole, source)
    )
    split = replace(split, first=0)
    return _layout(split, skipped, source, replace(options, header=True))


def _without_comments(sample: str, comments: str, skipped: int) -> tuple[str, int]:
    """Skip blank lines and comments; the last comment may be the header, if it is split as the next line."""
    lines = comments.split("\n")[:-1]
    following = sample[len(comments) :].partition("\n")[0]
    last = lines[-1]
    for separator in (*SEPARATORS, " "):
        if last.startswith("#") and last.count(separator) == following.count(separator) > 0:
            kept = len(last) + 1
            return sample[len(comments) - kept :], skipped + len(lines) - 1
    return sample[len(comments) :], skipped + len(lines)


def _split(sample: str, separator: str, is_whole: bool) -> _Split:
    spaces = separator == " "
    text = re.sub(r"(?m)^[ \t]+|[ \t]+$", "", sample).replace("\t", " ") if spaces else sample
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    records = []
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append((reader.line_num, record))
            if len(records) > MAX_SAMPLE_ROWS:
                break
    except csv.Error:  # a field larger than the limit: a quote is not closed
        pass
    if not is_whole and len(records) > 1:
        records.pop()
    widths = Counter(len(record) for _, record in records)
    width = max(widths, key=lambda w: (widths[w], w), default=1)
    filled = [len(r) == width and (width < 3 or sum(bool(c.strip()) for c in r) > 1) for _, r in records]
    first = filled.index(True) if True in filled else 0
    share = widths[width] / len(records) if records else 0.0
    return _Split(separator, records, width, share, first)


def _detect(sample: str, is_whole: bool, source: str) -> _Split:
    single = _split(sample, SINGLE, is_whole)
    splits = [s for s in (_split(sample, c, is_whole) for c in SEPARATORS) if s.width > 1]
    exact = [s for s in splits if s.is_exact]
    if len(exact) > 1:
        exact.sort(key=lambda s: s.number_share, reverse=True)
        if exact[0].number_share - exact[1].number_share < 0.05:
            raise ConfigError(_ambiguous(sample, source, [s.separator for s in exact]))
    spaces = _split(sample, " ", is_whole)
    if exact and exact[0].separator == "\t" and spaces.is_exact and spaces.number_share >= 0.5:
        return max(exact[0], spaces, key=lambda s: s.width)  # columns padded with spaces and tabs
    if exact:
        return exact[0]
    if _is_number_column(single):
        return single
    if (
        (spaces.is_exact or spaces.lacks_one_name)
        and spaces.width > 1
        and spaces.number_share > 0
        and not _is_dates(single)
    ):
        return spaces
    aligned = [s for s in splits if s.first == 0 and len(s.records[0][1]) == s.width and s.share >= 0.5]
    headed = [s for s in splits if len(s.records[0][1]) > 1]
    below_title = [s for s in splits if 0 < s.first <= MAX_PREAMBLE and s.width > 2 and _is_header_below(s)]
    for group in (aligned, below_title, headed):
        if group:
            return max(group, key=lambda s: (s.share, s.number_share))
    consistent = [s for s in splits if s.share >= MIN_CONSISTENT and len(s.records) > 2]
    if consistent:
        raise ConfigError(_ambiguous(sample, source, [s.separator for s in consistent]))
    if _is_aligned(single):
        raise ConfigError(
            f"cannot read {source}: its columns are aligned by spaces, and cells with spaces or without text "
            "are ambiguous: write it as CSV, or pass --separator for one column"
        )
    return single


def _is_aligned(single: _Split) -> bool:
    """Return whether most lines have several parts with two spaces or more between them."""
    counts = [len(re.findall(r"\S {2,}(?=\S)", record[0])) for _, record in single.records]
    return len(counts) > 1 and counts[0] > 1 and sum(n > 1 for n in counts) >= MIN_CONSISTENT * len(counts)


def _is_number_column(single: _Split) -> bool:
    """Return whether commas and spaces are parts of numbers: the header has no separator."""
    (_, header), *rows = single.records
    cells = [record[0].strip() for _, record in rows]
    marks = [*SEPARATORS, *(" " if any(" " in cell for cell in cells) else "")]
    return bool(cells) and all(map(is_number, cells)) and not any(mark in header[0].strip() for mark in marks)


def _is_dates(single: _Split) -> bool:
    return all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", record[0]) for _, record in single.records[1:])


def _is_header_below(split: _Split) -> bool:
    """Return whether titles of one cell stand before the header, and all other records have its width."""
    before = [record for _, record in split.records[: split.first]]
    after = [record for _, record in split.records[split.first :]]
    titles = all(sum(bool(cell.strip()) for cell in record) <= 1 for record in before)
    return titles and len(after) > 1 and all(len(record) == split.width for record in after)


def _ambiguous(sample: str, source: str, separators: Sequence[str]) -> str:
    names = join_names({",": "','", ";": "';'", "\t": "tab", "|": "'|'"}[s] for s in separators)
    lines = "\n".join(f"  {line[:SHOWN_CHARACTERS]}" for line in sample.splitlines()[:SHOWN_LINES])
    return (
        f"cannot read {source}: the separator may be {names}, or there is none: pass --separator. "
        f"The first lines are:\n{lines}"
    )


def _layout(split: _Split, skipped: int, source: str, options: FileOptions) -> Layout:
    records = split.records
    position = split.first if split.separator == SINGLE or split.first == 0 or _is_header_below(split) else 0
    if options.header_row is None and options.header is not False:
        position += rows_above_header([record for _, record in records[position:]])
    start = records[position - 1][0] if position else 0
    line, first = records[position]
    if split.separator != SINGLE and len(first) == split.width - 1:
        first = _with_missing_name(first, [record for _, record in records[position + 1 :]])
    header = _has_header(split, position) if options.header is None else options.header
    if not header:
        names = tuple(f"column {i}" for i in range(1, len(first) + 1))
        return Layout(split.separator, names, False, skipped + start, skipped + start)
    below = records[position + 1 : position + 2]
    if below and _is_ruler(below[0][1]):
        line = below[0][0]
    names, unnamed = _names(first)
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        texts = join_names(f"'{name}'" for name in duplicates)
        padded = [name for name in first if name != name.strip() and name.strip() in duplicates]
        spaces = f" (spaces at the ends of a name do not count, as of '{padded[0]}')" if padded else ""
        raise ConfigError(
            f"cannot read {source}: duplicate column name {texts}{spaces}: the first line must name every "
            "column, each once; if it has no names, pass --no-header"
        )
    return Layout(split.separator, names, True, skipped + line, skipped + start, unnamed)


def rows_above_header(records: Sequence[Sequence[str]]) -> int:
    """Return the number of rows with names of groups of columns above the header.

    Such a row has empty cells or the same name twice, and below it is a row of different texts above a column
    of numbers.

    >>> rows_above_header([["", "Sales", ""], ["day", "amount", "pieces"], ["2026-01-31", "5.2", "3"]])
    1
    """
    for position in range(1, min(MAX_GROUP_ROWS, len(records) - 2) + 1):
        if not _is_group_row(records[position - 1]):
            break
        names = [cell.strip() for cell in records[position]]
        if _is_group_row(names) or any(map(is_number, names)) or len(names) != len(records[0]):
            continue
        columns = zip(*(row for row in records[position + 1 :] if len(row) == len(names)), strict=True)
        if any(2 * sum(map(is_number, column)) > len(column) for column in columns):
            return position
    return 0


def _is_group_row(record: Sequence[str]) -> bool:
    """Return whether a cell is empty, or two are the same."""
    cells = [cell.strip() for cell in record]
    return len(set(cells)) < len(cells) or any(cell in NULL_WORDS for cell in cells)


def _is_ruler(record: list[str]) -> bool:
    """Return whether a record is the line of dashes below the header of Markdown, sqlcmd and others."""
    cells = [cell.strip() for cell in record if cell.strip()]
    dashes = len(cells) > 1 and all(re.fullmatch(r":?-{2,}:?", cell) for cell in cells)
    return dashes and max(map(len, cells)) > 3  # `--` may also mean null


def _with_missing_name(header: list[str], rows: list[list[str]]) -> list[str]:
    """Add an empty name to a header with one name less than all rows have cells.

    It is the last one if the last cells are empty, or the first one if the first cells are all different, as
    row names of R are.
    """
    if len(header) < 2 or not rows or any(len(row) != len(header) + 1 for row in rows):
        return header
    if not any(row[-1].strip() for row in rows):
        return [*header, ""]
    return ["", *header] if len({row[0] for row in rows}) == len(rows) > 1 else header


def _names(cells: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns, and those that were empty, which are numbered."""
    names = [cell.strip() or f"column {i}" for i, cell in enumerate(cells, 1)]
    return tuple(names), tuple(name for name, cell in zip(names, cells, strict=True) if not cell.strip())


def _has_header(split: _Split, position: int) -> bool:
    """Return whether the first record has names.

    Names are no numbers, except numbers in order such as years, and are no values of their own columns.
    """
    cells = [cell.strip() for cell in split.records[position][1]]
    rows = [record for _, record in split.records[position + 1 :] if len(record) == len(cells)]
    columns = list(zip(*rows, strict=True))
    repeated = [
        bool(cell) and cell in map(str.strip, column) for cell, column in zip(cells, columns, strict=False)
    ]
    if sum(repeated) >= max(2, len(cells) / 2):
        return False
    numbers = [cell for cell in cells if is_number(cell)]
    if not numbers:
        return not (len(cells) > 1 and all(cell in NULL_WORDS for cell in cells))
    if all(re.fullmatch(r"(19|20)\d\d", cell) for cell in numbers) and len(numbers) < len(cells):
        return True
    if all(re.fullmatch(r"\d+", cell) for cell in numbers):
        values = [int(cell) for cell in numbers]
        steps = {b - a for a, b in pairwise(values)}
        in_order = len(steps) == 1 and (min(steps) == 1 or (len(values) > 2 and min(steps) > 0))
        return in_order and not _continues(split, position)
    return False


def _continues(split: _Split, position: int) -> bool:
    """Return whether the next record also has integers in order, as rows of such numbers have."""
    following = [record for _, record in split.records[position + 1 : position + 3]]
    return bool(following) and all(re.fullmatch(r"\d+", c.strip()) for record in following for c in record)

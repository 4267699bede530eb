"""CSV bodies of `/predict/batch`, read as the text files of a reference are, and answers as CSV."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from driftbell.errors import ConfigError, InputError
from driftbell.phrases import printable
from driftbell.records import Feature, FieldProblem, Kind, Value, probability_column
from driftbell.server.batch.limit import Limit
from driftbell.server.http.content_encoding import compression_hint
from driftbell.server.http.problems import MAX_PROBLEMS, Refused, check_each, refused_together
from driftbell.server.pass_through import Batch, read_passed, rows_of_columns
from driftbell.tabular.feature_value import short_value, wrong_type
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.null_words import NULL_WORDS, PANDAS_WORDS
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema

CSV = "text/csv"

SEPARATORS = (",", ";", "\t", "|")

MAX_HEADER_BYTES = 256 * 1024

ENCODINGS = {
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "iso8859-1", "iso8859-2", "iso8859-15"),
    *("cp1250", "cp1251", "cp1252"),
}
"""Encodings as `codecs.lookup` names them; Python has others that are slow, or no encodings of text."""

ACCEPTED = "utf-16, iso-8859-1, iso-8859-2, iso-8859-15, cp1250, cp1251 and cp1252"

BOOLEAN_WORDS = {"true": True, "false": False}

OPTION_HINTS = {
    "pass another --encoding": "name its encoding in 'Content-Type: text/csv; charset=…'",
    "; if it has no names, pass --no-header": "",
    "check the separator (--separator) and quotes": "check the separator and quotes",
    "the file": "the body",
}
"""Options of the command line in messages of the reader, and what to do about a request instead."""


NO_FIELDS = PassThroughFields()


def read_csv_rows(
    body: bytes, charset: str, schema: Schema, limit: Limit, fields: PassThroughFields = NO_FIELDS
) -> Batch:
    """Read and check a table of text with one header row.

    Numbers, `true` and `false` are read as JSON has them; numbers may have a decimal comma where cells are
    separated by semicolons. An empty cell is null, as are null words such as `NA`,
    unless they are a category of the reference.

    Args:
        body: the request's body.
        charset: the encoding that `Content-Type` names, or UTF-8.
        schema: the features of the model.
        limit: the largest table.
        fields: columns that are passed through as they are, as texts.

    Raises:
        InputError: columns or cells do not fit the schema, or own ids or metadata are not valid.
        Refused: 400 the body is not CSV, 413 it is too large, 415 unknown encoding, 422 there are no rows.
    """
    if not body.strip(b"\xef\xbb\xbf\0\r\n\t "):
        raise Refused(400, "empty_body", "the body is empty: its first line must name every column")
    hint = compression_hint(body)
    if hint:
        raise Refused(400, "not_csv", hint)
    table = _read_table(body, charset, schema, fields.of_table().named)
    if not len(table.frame):
        raise Refused(422, "empty_batch", "the batch has no rows: send at least one")
    with refused_together(len(table.frame)):
        return _read_rows(table, len(body), schema, limit, fields)


def _read_rows(table: Any, size: int, schema: Schema, limit: Limit, fields: PassThroughFields) -> Batch:
    frame, named = table.frame, fields.of_table().named
    _check_header(schema, list(frame.columns), named)
    limit.check(rows=len(frame), columns=len(frame.columns), size=size)
    decimal = _decimal_mark(table)
    cells = {
        f.name: _values(f, frame[f.name].to_list(), decimal)
        if f.name in frame.columns
        else [None] * len(frame)
        for f in schema.features
    }
    columns = schema.read_columns(cells)
    if columns is not None:
        rows = schema.rows(columns)
    else:
        objects = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        rows = check_each(objects, lambda row, index: _checked(schema, row, index))
    if not named:
        return Batch(rows)
    passed = {name: frame[name].to_list() for name in named if name in frame.columns}
    return Batch(rows, read_passed(rows_of_columns(passed, len(rows)), fields.of_table()))


def _read_table(body: bytes, charset: str, schema: Schema, named: Sequence[str]) -> Any:
    from driftbell.tabular.text_files import read_text_table  # imports Polars, which JSON does not need

    encoding = _encoding(body, charset)
    separator, names = _header(body, encoding or "utf-8-sig", schema)
    try:
        _check_header(schema, names, named)  # before the rows are read: each unknown column would cost memory
    except (InputError, Refused) as error:
        error.rows = _count_rows(body, encoding or "utf-8-sig", separator)
        raise
    options = FileOptions(encoding=encoding, header=True, separator=separator)
    try:
        table = read_text_table(body, "the body", options)
    except ConfigError as error:
        detail = str(error).removeprefix("cannot read ")
        for option, advice in OPTION_HINTS.items():
            detail = detail.replace(option, advice)
        raise Refused(400, "not_csv", f"the body cannot be read as CSV: {detail}") from error
    if table.detected.get("skipped_lines"):
        raise Refused(400, "not_csv", "the first line of the body must name every column")
    empty = table.detected.get("skipped_rows", 0)
    if empty:
        raise Refused(
            400, "not_csv", f"the last rows of the body have no value in any cell ({empty}): leave them out"
        )
    return table


def _encoding(body: bytes, charset: str) -> str | None:
    """Return the encoding of a body; None for UTF-8.

    Raises:
        Refused: 400 the body is not UTF-8 and no other encoding is named, 415 unknown encoding.
    """
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        name = ""
    if name not in ENCODINGS:
        detail = (
            f"the charset '{printable(charset)}' is not accepted: send CSV in UTF-8, or in one of {ACCEPTED}"
        )
        raise Refused(415, "content_type", detail)
    if name != "utf-8":
        return name
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        detail = (
            f"line {line} of the body is not UTF-8: send CSV in UTF-8, or name its encoding in "
            f"'Content-Type: text/csv; charset=…' ({ACCEPTED})"
        )
        raise Refused(400, "not_csv", detail) from error
    return None


def _header(body: bytes, encoding: str, schema: Schema) -> tuple[str, list[str]]:
    """Return the separator by which the first line has most of the features, and its names."""
    text = body[:MAX_HEADER_BYTES].decode(encoding, "replace").removeprefix("\ufeff")
    features = set(schema.names)
    best: tuple[int, int, str, list[str]] | None = None
    for order, separator in enumerate(SEPARATORS):
        try:
            names = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        except csv.Error:
            continue
        names = [name.strip() for name in names]
        if len(body) > MAX_HEADER_BYTES and "\n" not in text:
            names = names[:-1]  # it may be cut off
        rank = (len(features.intersection(names)), -order)
        if best is None or rank > best[:2]:
            best = (*rank, separator, names)
    return best[2:] if best else (",", [])


def _count_rows(body: bytes, encoding: str, separator: str) -> int | None:
    """Return the number of rows after the header; None if they cannot be counted."""
    if b'"' not in body and encoding == "utf-8-sig" and b"\n\n" not in body and b"\r" not in body:
        return max(1, body.rstrip(b"\n").count(b"\n"))
    try:
        text = io.StringIO(body.decode(encoding, "replace"), newline="")
        return max(1, sum(1 for row in csv.reader(text, delimiter=separator) if any(row)) - 1)
    except csv.Error:
        return None


def _check_header(schema: Schema, names: list[str], named: Sequence[str]) -> None:
    """Check the names of the columns, of which some are passed through.

    Raises:
        InputError: columns are missing or unknown.
        Refused: 400, two columns have the same name.
    """
    duplicates = [name for name, count in Counter(names).items() if count > 1 and name]
    if duplicates:
        detail = f"the column '{printable(duplicates[0])}' is there more than once"
        raise Refused(400, "duplicate", detail)
    problems = schema.header_problems([name for name in names if name not in named])
    for position, problem in enumerate(problems):
        if problem.message.startswith(("unknown field '':", "unknown field 'column 1':")):
            message = "the first column has no name: leave it out, in pandas with to_csv(index=False)"
            problems[position] = replace(problem, message=message)
    if problems:
        raise InputError(problems)


def _decimal_mark(table: Any) -> str:
    """Return the decimal mark: a comma only where it does not separate the cells."""
    from driftbell.tabular.text_numbers import decimal_mark

    separator = table.detected["separator"]
    if separator == "comma":
        return "."
    return decimal_mark(table.frame.get_columns(), semicolons=separator == "semicolon") or "."


class _Unreadable(str):
    """A cell that is not of the feature's kind."""

    __slots__ = ()


def _values(feature: Feature, texts: list[str | None], decimal: str) -> list[Any]:
    """Return cells as JSON values."""
    match feature.kind:
        case Kind.NUMERIC:
            return [None if t is None else _number(t.strip(), decimal) for t in texts]
        case Kind.BOOLEAN:
            return [None if t is None else _boolean(t.strip()) for t in texts]
    null = frozenset(PANDAS_WORDS).difference(feature.categories)
    return [None if t in null else t for t in texts]


def _number(text: str, decimal: str) -> float | _Unreadable | None:
    if text in NULL_WORDS:
        return None
    plain = text.replace(",", ".") if decimal == "," else text
    try:
        if not plain.isascii() or "_" in plain:
            return _Unreadable(text)
        return float(plain) if "." in plain or not plain.lstrip("+-").isdigit() else _whole(plain)
    except ValueError:
        return _Unreadable(text)


def _whole(text: str) -> int | float:
    """Return a whole number; one of hundreds of digits is infinite."""
    return int(text) if len(text) <= 300 else float(text)


def _boolean(text: str) -> bool | _Unreadable | None:
    if text in NULL_WORDS:
        return None
    value = BOOLEAN_WORDS.get(text.lower())
    return _Unreadable(text) if value is None else value


def _checked(schema: Schema, row: dict[str, Any], index: int) -> list[Value]:
    """Check one row.

    Raises:
        InputError: holds the problems of the row.
    """
    problems: list[FieldProblem] = []
    for feature in schema.features:
        if isinstance(cell := row[feature.name], _Unreadable):
            problem = wrong_type(feature, f"'{printable(cell)}'", index)
            problems.append(replace(problem, value=short_value(str(cell))))
    if problems:
        raise InputError(problems[:MAX_PROBLEMS])
    return schema.validate(row, index)


def write_csv_answers(views: Sequence[dict[str, Any]]) -> bytes:
    """Write answers as a table of text: id, what is predicted, and the probability of each class.

    Args:
        views: at least one prediction, as JSON has it.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    first = views[0]
    names = [name for name in first if name not in ("id", "probabilities")]
    classes = list(first.get("probabilities", {}))
    writer.writerow(["id", *names, *map(probability_column, classes)])
    for view in views:
        probabilities = view.get("probabilities", {})
        row = [view["id"], *(view[name] for name in names), *(probabilities[c] for c in classes)]
        writer.writerow([repr(value) if isinstance(value, float) else value for value in row])
    return out.getvalue().encode()

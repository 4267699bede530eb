"""Tables in JSON: lines of objects, an array of objects, or columns as pandas writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driftbell.errors import ConfigError, InputError
from driftbell.tabular.raw_table import RawTable, read_raw

PROFILE = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"driftbell_profile"\s*:')
"""Beginning of a profile, which is JSON but no table; see `driftbell profile`."""

HEAD_BYTES = 200
"""Bytes that are enough to recognize a profile."""


def is_profile(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a profile."""
    return PROFILE.match(head) is not None


def read_json(data: bytes, source: str) -> RawTable:
    """Read a table in JSON.

    Args:
        data: UTF-8; one object a line, an array of objects, or columns by name.
        source: the file's name for messages.

    Raises:
        ConfigError: it is not JSON, or no table.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        table = _table(data, source)
        if isinstance(table, list) and not table:
            raise ConfigError(f"cannot read {source}: it has no rows")
        return read_raw(_without_types(table) if b'{"$' in data or b'{ "$' in data else table)
    except InputError as error:
        raise ConfigError(f"cannot read {source}: {error}") from error


def _table(data: bytes, source: str) -> Any:
    import msgspec

    text = data.strip()
    if text.startswith(b"[") or b"\n" not in text:
        content = _decode(text, source, "")
        if isinstance(content, dict) and not any(isinstance(v, list | dict) for v in content.values()):
            return [content]
    else:
        try:
            content = _parse(text)  # one object over several lines
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _lines(text, source)
    if isinstance(content, dict) and isinstance(content.get("data"), list):  # pandas' orients table and split
        names, rows = content.get("columns"), content["data"]
        if isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return {str(name): [row[i] for row in rows] for i, name in enumerate(names)}
        return rows
    if isinstance(content, dict) and content and all(isinstance(v, dict) for v in content.values()):
        return {name: list(cells.values()) for name, cells in content.items()}
    return content


def _without_types(table: Any) -> Any:
    """Return rows with plain cells for the typed ones of MongoDB, such as {"$oid": "5f"}."""
    if isinstance(table, list):
        return [{k: _plain(v) for k, v in row.items()} if isinstance(row, dict) else row for row in table]
    if isinstance(table, dict):
        return {
            k: [_plain(v) for v in cells] if isinstance(cells, list) else cells for k, cells in table.items()
        }
    return table


def _plain(cell: Any) -> Any:
    """Return the content of a typed cell, and all other cells as they are."""
    if not isinstance(cell, dict) or len(cell) != 1:
        return cell
    name, value = next(iter(cell.items()))
    if name in ("$numberInt", "$numberLong", "$numberDouble", "$numberDecimal"):
        return _number(value)
    if name == "$date":
        inner = _plain(value)  # a text, or milliseconds since 1970
        return _moment(inner) if isinstance(inner, int | float) else inner
    return value if name in ("$oid", "$uuid", "$symbol") else cell


def _moment(milliseconds: float) -> Any:
    """Return a time; the number as text if it is beyond the years 1 to 9999, so that it is no date."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _number(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError):
        try:
            return float(value)
        except (TypeError, ValueError):
            return value


def _lines(text: bytes, source: str) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            row = _decode(line, source, f"line {number}: ")
            if not isinstance(row, dict):
                raise ConfigError(f"cannot read {source}: line {number} must be an object of cells by name")
            rows.append(row)
    return rows


def _decode(text: bytes, source: str, place: str) -> Any:
    import msgspec

    try:
        return _parse(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {source}: {place}it is not valid JSON ({error})") from error
    except RecursionError as error:
        raise ConfigError(
            f"cannot read {source}: {place}its lists or objects are nested too deeply"
        ) from error


def _parse(text: bytes) -> Any:
    """Parse JSON, also with NaN and Infinity, as Python and JavaScript write them."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        try:
            return json.loads(text)
        except ValueError:
            pass
        raise

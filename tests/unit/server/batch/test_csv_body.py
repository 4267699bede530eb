"""CSV bodies give the same rows as JSON, or a problem that names the column and the row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.batch.test_route import SCHEMA, good_rows

from driftbell.errors import InputError
from driftbell.records import Feature, Kind
from driftbell.server.batch.csv_body import read_csv_rows, write_csv_answers
from driftbell.server.batch.limit import Limit
from driftbell.server.batch.route import validated_rows
from driftbell.server.http.problems import Refused
from driftbell.tabular.schema import Schema

LIMIT = Limit(cells=500_000, size=8_000_000)
HEADER = "age,height,plan,active,since\n"
ROW = "31,1.5,basic,true,2026-01-31\n"
VALUES = [31.0, 1.5, "basic", True, "2026-01-31"]


def read(body: str | bytes, charset: str = "utf-8", schema: Schema = SCHEMA) -> list[list[Any]]:
    raw = body.encode() if isinstance(body, str) else body
    return read_csv_rows(raw, charset, schema, LIMIT).rows


def problem(body: str | bytes, charset: str = "utf-8") -> tuple[int, str]:
    with pytest.raises((Refused, InputError)) as raised:
        read(body, charset)
    error = raised.value
    return (error.status, error.detail) if isinstance(error, Refused) else (422, str(error))


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(SCHEMA.names)
    for row in rows:
        values = [row[name] for name in SCHEMA.names]
        cells = ["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in values]
        writer.writerow([repr(c) if isinstance(c, float) else c for c in cells])
    return out.getvalue()


@given(
    rows=st.lists(good_rows, min_size=1, max_size=6),
    plans=st.lists(st.sampled_from(["basic", "a,b", 'say "hi"', "two\nlines", "größe;x", "007"]), min_size=6),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_rows_are_those_of_json(rows: list[dict[str, Any]], plans: list[str], separator: str) -> None:
    rows = [row | {"plan": plan} for row, plan in zip(rows, plans, strict=False)]
    assert read(as_csv(rows, separator)) == validated_rows(SCHEMA, rows)


def test_order_of_columns_line_ends_and_missing_nullable_columns() -> None:
    assert read("active,age\r\nFALSE,-1e3\r\nTrue,2\r\n") == [
        [-1000.0, None, None, False, None],
        [2.0, None, None, True, None],
    ]
    assert read(HEADER + ROW.rstrip("\n")) == [VALUES]


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (codecs.BOM_UTF8 + (HEADER + ROW).encode(), "utf-8"),
        ((HEADER + ROW).encode("utf-16"), "utf-8"),
        ((HEADER + ROW).encode("utf-16"), "utf-16"),
        ((HEADER + ROW).encode("latin-1"), "iso-8859-1"),
    ],
)
def test_encodings(body: bytes, charset: str) -> None:
    assert read(body, charset) == [VALUES]


def test_a_named_encoding_is_used() -> None:
    body = (HEADER + ROW.replace("basic", "größe")).encode("cp1252")
    assert read(body, "windows-1252")[0][2] == "größe"
    status, detail = problem(body)
    assert (status, "line 2 of the body is not UTF-8" in detail, "charset=…" in detail) == (400, True, True)


def test_a_decimal_comma_only_between_semicolons() -> None:
    assert read((HEADER + ROW).replace(",", ";").replace("1.5", "1,5"))[0][:2] == [31.0, 1.5]
    assert "'1,5'" in problem(HEADER + ROW.replace("1.5", '"1,5"'))[1]


def test_nulls() -> None:
    rows = read(HEADER + "1,NA,,true,\n2,NaN,NA,false,\n")
    assert rows == [[1.0, None, None, True, None], [2.0, None, None, False, None]]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "the body is empty: its first line must name every column"),
        ("\n \n", 400, "the body is empty"),
        (codecs.BOM_UTF8, 400, "the body is empty"),
        (HEADER, 422, "no rows"),
        (ROW, 422, "'age' is missing"),
        ("agee,height,plan,active,since\n" + ROW, 422, "unknown field 'agee': did you mean 'age'?"),
        ("height,plan,active,since\n1.5,basic,true,\n", 422, "'age' is missing"),
        ("age,age,height,plan,active,since\n1," + ROW, 400, "'age' is there more than once"),
        (",age,height,plan,active,since\n0," + ROW, 422, "to_csv(index=False)"),
        (HEADER + "31,1.5,basic,true\n", 400, "line 2 has 4 cells, the header 5"),
        (HEADER + ROW + '31,1.5,"basic,true,\n', 400, "the quote on line 3 is not closed"),
        (HEADER + ROW + "old,1.5,basic,true,\n", 422, "'age' must be a number, got 'old'"),
        (HEADER + ROW + ",1.5,basic,true,\n", 422, "'age' must not be null"),
        (HEADER + ROW + "1_0,1.5,basic,true,\n", 422, "'age' must be a number, got '1_0'"),
        (HEADER + ROW + "inf,1.5,basic,true,\n", 422, "'age' must be a finite number"),
        (HEADER + ROW + "-1e308,1.5,basic,true,\n", 422, "3.4e38 in size, got -1e+308"),
        (HEADER + ROW + "-inf,1.5,basic,true,\n", 422, "got -Infinity or a number beyond -1.8e308"),
        (HEADER + ROW + "1,1.5,basic,maybe,\n", 422, "'active' must be true or false, got 'maybe'"),
        (HEADER + ROW + "1,1.5,basic,true,yesterday\n", 422, "'since' must be an ISO 8601 date"),
        (HEADER + ROW + ",,,,\n,,,,\n", 400, "the last rows of the body have no value in any cell (2)"),
        (HEADER + ROW + "1,1.5,a\0b,true,\n", 400, "null bytes"),
        (HEADER + ROW * 400 + "1,1.5,a\0b,true,\n", 422, "'plan' must be valid Unicode text without NUL"),
        (b"\0" * 100, 400, "the body is empty"),
        (gzip.compress((HEADER + ROW).encode(), mtime=0), 400, "Content-Encoding: gzip"),
        ('[{"age": 1}]', 422, "'age' is missing"),
        ("title\n" + HEADER + ROW, 422, "'age' is missing"),
    ],
)
def test_what_is_not_valid_is_refused(body: str | bytes, status: int, says: str) -> None:
    actual, detail = problem(body)
    assert actual == status
    assert says in detail
    assert "--" not in detail


def test_problems_have_their_rows() -> None:
    with pytest.raises(InputError) as raised:
        read(HEADER + ROW + "x,1.5,basic,true,\n" + ROW + "1,y,basic,true,\n")
    problems = [(p.row, p.field, p.value) for p in raised.value.problems]
    assert problems == [(1, "age", "x"), (3, "height", "y")]


@pytest.mark.parametrize("charset", ["klingon", "zlib", "punycode", "unicode_escape", "idna"])
def test_another_encoding_is_refused(charset: str) -> None:
    status, detail = problem(HEADER + ROW, charset)
    assert (status, "iso-8859-1" in detail) == (415, True)


def test_a_header_of_many_columns_is_refused_at_once() -> None:
    assert "more unknown fields" in problem(",".join(f"c{i}" for i in range(100_000)) + "\n")[1]


def test_one_feature() -> None:
    schema = Schema((Feature("age", Kind.NUMERIC),))
    assert read("age\n1\n2.5\n", schema=schema) == [[1.0], [2.5]]


def test_more_rows_than_the_limit_are_refused() -> None:
    with pytest.raises(Refused, match="the limit is 2 rows"):
        read_csv_rows((HEADER + ROW * 3).encode(), "utf-8", SCHEMA, Limit(cells=10, size=1000))


def test_answers_are_a_table_with_one_header() -> None:
    views = [
        {"class": "a,b", "class_id": 0, "probabilities": {"a,b": 0.1, "c": 0.9}, "id": "1"},
        {"class": "c", "class_id": 1, "probabilities": {"a,b": 1e-17, "c": 1.0}, "id": "2"},
    ]
    rows = list(csv.DictReader(io.StringIO(write_csv_answers(views).decode())))
    assert [(r["id"], r["class"], r["class_id"]) for r in rows] == [("1", "a,b", "0"), ("2", "c", "1")]
    assert float(list(rows[1].values())[3]) == 1e-17
    assert write_csv_answers([{"value": 1.5, "id": "7"}]) == b"id,value\n7,1.5\n"

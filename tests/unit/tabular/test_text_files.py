# ruff: noqa: E501 - one case a line
"""Text files are read with the right kinds, nulls, unreadable cells and values, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.errors import ConfigError
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.typed_column import TypedColumn, read_columns

NAN = float("nan")
AMOUNTS = [float(100 + i % 7) + 0.25 for i in range(30)]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass(frozen=True)
class Case:
    """A text file, and the column `x` that is read from it."""

    text: str | bytes
    kind: str | None
    values: list[Any]
    nulls: int = 0
    unreadable: int = 0
    reason: str = ""
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()
    detected: dict[str, Any] = field(default_factory=dict)


def column(*cells: str, more: str = "") -> str:
    return "x\n" + "".join(f"{cell}\n" for cell in cells) + more


def quoted(*cells: str) -> str:
    return "x,y\n" + "".join(f'"{cell}",1\n' for cell in cells)


ONES = ["1"] * 19
CASES: dict[str, Case] = {
    "whole numbers": Case(column("1", "2", "3"), "numeric", [1, 2, 3]),
    "numbers with exponents": Case(column("1e3", "-.5", "+2.5E-1", "inf"), "numeric", [1e3, -0.5, 0.25, np.inf]),
    "numbers with spaces": Case("x,y\n 1 , a\n  2.5,b\n", "numeric", [1, 2.5]),
    "one NA": Case(column(*ONES, "NA"), "numeric", [1] * 19 + [NAN], nulls=1),
    **{
        f"one {word!r}": Case(f"x,y\n1,a\n2,a\n3,b\n{word},b\n", "numeric", [1, 2, 3, NAN], nulls=1)
        for word in ("N/A", "NULL", "null", "None", "?", "-", "#N/A", "", "  ", "NaN", "nan", "<NA>", "n/a", "--", "\\N")
    },
    "one unreadable cell in 20": Case(column(*ONES, "oops"), "numeric", [1] * 19 + [NAN], unreadable=1),
    "half numbers": Case(column("1", "2", "a", "b"), "categorical", ["1", "2", "a", "b"], reason="50% of the cells are numbers"),
    "thousands": Case(quoted("1,234.5", "2,000.0"), "numeric", [1234.5, 2000]),
    "thousands without decimals": Case(quoted("1,234", "12,000"), "numeric", [1234, 12000]),
    "Indian thousands": Case(quoted("12,34,567.5", "2,000.5"), "numeric", [1234567.5, 2000.5]),
    "decimal comma": Case("x;y\n1,5;a\n2,25;b\n", "numeric", [1.5, 2.25], detected={"separator": "semicolon", "decimal": ","}),
    "decimal comma, thousands": Case("x;y\n1.234,56;a\n12,5;b\n", "numeric", [1234.56, 12.5]),
    "decimal comma, thousands only": Case("x;z\n1.234;1,5\n2.000;2,5\n", "numeric", [1234, 2000]),
    "decimal comma in one column": Case(column("1,5", "2,5"), "numeric", [1.5, 2.5]),
    "spaces between thousands": Case("x;y\n12 345,67;a\n1 000;b\n", "numeric", [12345.67, 1000]),
    "no-break spaces": Case("x;y\n12\u00a0345,67;a\n1\u202f000;b\n", "numeric", [12345.67, 1000]),
    "apostrophes": Case("x;y\n12'345.50;a\n1’000;b\n", "numeric", [12345.5, 1000]),
    "dollars": Case(quoted("$1,234.50", "-$2.00", "$3"), "numeric", [1234.5, -2, 3]),
    "euros": Case("x;y\n1.234,50 €;a\n-2,00 €;b\n", "numeric", [1234.5, -2]),
    "percent": Case(column("12%", "0.5 %"), "numeric", [0.12, 0.005]),
    "thousands and millions": Case(column("1.5K", "2M", "-0.25B", "7", "$3.5k"), "numeric", [1500, 2e6, -0.25e9, 7, 3500]),
    "decimal comma and millions": Case("x;y\n1,5M;a\n20 K;b\n", "numeric", [1.5e6, 20_000]),
    "sizes of models": Case(column("7B", "13B", "70B"), "categorical", ["7B", "13B", "70B"]),
    "seats": Case(column("7B", "13A", "1.5 K"), "categorical", ["7B", "13A", "1.5 K"], reason="67% of the cells are numbers"),
    "parentheses": Case(column("(5.00)", "7.25"), "numeric", [-5, 7.25]),
    "minus sign": Case(column("−5", "7"), "numeric", [-5, 7]),
    "two currencies": Case(column("$5", "$6", "€7"), "categorical", ["$5", "$6", "€7"], reason="67% of the cells are numbers"),
    "underscores": Case(column("1_000", "2_000"), "categorical", ["1_000", "2_000"]),
    "postcodes": Case("x,y\n01234,1\n99999,2\n", "categorical", ["01234", "99999"], reason="leading zeros"),
    "zeros before decimals": Case(column("00.50", "01.25"), "numeric", [0.5, 1.25]),
    "booleans": Case(column("true", "FALSE", "True"), "boolean", [True, False, True]),
    "booleans with null": Case("x,y\ntrue,1\nNA,2\n", "boolean", [True, None], nulls=1),
    "yes and no": Case(column("yes", "no"), "categorical", ["yes", "no"]),
    "0 and 1": Case(column("0", "1"), "numeric", [0, 1]),
    "ISO days": Case(column("2026-01-31", "2026-02-01"), "datetime", [day("2026-01-31"), day("2026-02-01")]),
    "ISO times": Case(column("2026-01-31T12:00:00Z", "2026-01-31 12:00:00.5+02:00"), "datetime", [day("2026-01-31T12:00:00"), day("2026-01-31T10:00:00.500000")]),
    "days with points": Case(column("31.01.2026", "1.2.2026 10:30"), "datetime", [day("2026-01-31"), day("2026-02-01T10:30")]),
    "days first": Case(column("31/01/2026", "01/02/2026"), "datetime", [day("2026-01-31"), day("2026-02-01")]),
    "months first": Case(column("01/31/2026 3:04 PM", "02/01/2026 12:00 AM"), "datetime", [day("2026-01-31T15:04"), day("2026-02-01")]),
    "names of months": Case(column("31-Jan-2026", "1 February 2026"), "datetime", [day("2026-01-31"), day("2026-02-01")]),
    "American names": Case("x;y\nJan 31, 2026;1\nFebruary 1, 2026;2\n", "datetime", [day("2026-01-31"), day("2026-02-01")]),
    "ambiguous days": Case(column("01/02/2026", "03/04/2026"), "categorical", ["01/02/2026", "03/04/2026"], reason="either number may be the day"),
    "a day that does not exist": Case(column(*["2026-01-31"] * 10, "2026-02-30"), "datetime", [day("2026-01-31")] * 10 + [None], unreadable=1),
    "durations": Case(column("0 days 00:05:00", "-1 days +23:00:00", "1 day, 0:00:01.5"), "numeric", [300, -3600, 86401.5]),
    "running numbers": Case(column(*map(str, range(1, 31))), "identifier", [str(i) for i in range(1, 31)], reason="running numbers"),
    "running numbers beside decimal commas": Case("x;z\n" + "".join(f"{i};{i},5\n" for i in range(1, 31)), "identifier", [str(i) for i in range(1, 31)], reason="running numbers"),
    "running numbers with thousands": Case(quoted(*(f"1,{i:03}" for i in range(30))), "identifier", [f"1,{i:03}" for i in range(30)], reason="running numbers"),
    "Markdown": Case("| x | y |\n|---:|----|\n| 1 | a |\n| 2 | b |\n", "numeric", [1, 2]),
    "padded cells": Case("x      | y  \nRome   | 1  \nNew York | 2\n", "categorical", ["Rome", "New York"]),
    "dashes below the header": Case("x  ,name\n---,------\n1,a\n2,b\n", "numeric", [1, 2]),
    "shuffled row numbers": Case(column(*(str(i * 7 % 30) for i in range(30))), "identifier", [str(i * 7 % 30) for i in range(30)], reason="all different"),
    "running times": Case(column(*(f"2026-01-{i:02}" for i in range(1, 31))), "identifier", [f"2026-01-{i:02}" for i in range(1, 31)], reason="running times"),
    "keys": Case(column(*(f"k{i * 7 % 30}" for i in range(30))), "identifier", [f"k{i * 7 % 30}" for i in range(30)], reason="all different"),
    "free text": Case(column(*(f"the word {i} of it" for i in range(30))), "text", [f"the word {i} of it" for i in range(30)], reason="free text"),
    "words": Case(column(*["a", "b", "c"] * 10), "categorical", ["a", "b", "c"] * 10),
    "amounts of many digits": Case(column(*map(str, AMOUNTS)), "numeric", AMOUNTS),
    "only nulls": Case("x,y\nNA,1\n,2\n", None, [None, None], nulls=2),
    "tab": Case("x\ty\n1\ta\n2\tb\n", "numeric", [1, 2], detected={"separator": "tab"}),
    "pipe": Case("x|y\n1|a\n2|b\n", "numeric", [1, 2], detected={"separator": "pipe"}),
    "spaces": Case("x  y\n 1   a\n20   b\n", "numeric", [1, 20], detected={"separator": "space"}),
    "spaces and quotes": Case('x y z\n1 "a b" 2\n20 "c d" 3\n', "numeric", [1, 20], columns=("x", "y", "z")),
    "spaces before quotes": Case('x, "y, z"\n1, "a, b"\n2, "c"\n', "numeric", [1, 2], columns=("x", "y, z")),
    "UTF-8 with a mark": Case("x,größe\n1,ä\n", "numeric", [1], encoding="utf-8-sig", columns=("x", "größe")),
    "UTF-16": Case("x,größe\n1,ä\n2,ö\n", "numeric", [1, 2], encoding="utf-16", columns=("x", "größe")),
    "UTF-16 without a mark": Case("x,größe\n1,ä\n2,ö\n", "numeric", [1, 2], encoding="utf-16-le", columns=("x", "größe")),
    "CP1252": Case("größe,x\n1,€\n2,ä\n", "categorical", ["€", "ä"], encoding="cp1252", detected={"encoding": "cp1252"}),
    "Latin-1": Case(b"gr\xf6\xdfe,x\n1,\x81\xe4\n", "categorical", ["\x81ä"], detected={"encoding": "latin-1"}),
    "Windows line ends": Case("x,y\r\n1,a\r\n2,b\r\n", "numeric", [1, 2]),
    "old Mac line ends": Case("x,y\r1,a\r2,b\r", "numeric", [1, 2]),
    "no line end": Case("x,y\n1,a\n2,b", "numeric", [1, 2]),
    "blank lines": Case("\n\nx,y\n1,a\n\n2,b\n\n", "numeric", [1, 2]),
    "line feeds in quotes": Case('y,x\n1,"a\nb"\n2,"c ""d"""\n', "categorical", ["a\nb", 'c "d"']),
    "inches": Case('y,x\n1,5" pipe\n2,6" pipe\n', "categorical", ['5" pipe', '6" pipe']),
    "no header": Case("5.1,setosa\n4.9,setosa\n", None, [], columns=("column 1", "column 2"), detected={"header": False}),
    "years as names": Case("x,2024,2025\na,1.5,2\nb,2.5,3\n", "categorical", ["a", "b"], columns=("x", "2024", "2025")),
    "row numbers of pandas": Case(",x\n0,a\n1,b\n", "categorical", ["a", "b"], columns=("column 1", "x")),
    "declared separator": Case("sep=;\nx;y\n1;2\n", "numeric", [1], columns=("x", "y")),
    "comments": Case("# made by hand\n# in May\nx,y\n1,2\n", "numeric", [1], detected={"skipped_lines": 2}),
    "a title above": Case("Report 2026;;\n;;\nx;y;z\n1;a;2,5\n2;b;3,5\n;;\n", "numeric", [1, 2], columns=("x", "y", "z")),
    "a separator at the end of each row": Case("x,y\n1,a,\n2,b,\n3,a,\n", "numeric", [1, 2, 3], columns=("x", "y")),
    "row names of R": Case('"x","y"\n"1",1.5,"a"\n"2",2,"b"\n"3",3,"b"\n', "numeric", [1.5, 2, 3], columns=("column 1", "x", "y")),
    "row names of R, spaces": Case('"x" "y"\n"1" 1.5 "a"\n"2" 2 "b"\n"3" 3 "b"\n', "numeric", [1.5, 2, 3], columns=("column 1", "x", "y")),
    "nulls of PostgreSQL": Case("x\ty\n1\tt\n\\N\tf\n", "numeric", [1, NAN], nulls=1),
    "pandas' booleans with NaN": Case("x,y\nTrue,1\n,2\nFalse,3\n", "boolean", [True, None, False], nulls=1),
    "a line feed in a name": Case('"the\nfirst",x\n1,2\n3,4\n', "numeric", [2, 4], columns=("the\nfirst", "x")),
    "a space after every separator": Case("y, x\n1, a b\n2, c\n", "categorical", ["a b", "c"]),
    "a space after some separators": Case("y,x\n1, a\n2,b\n", "categorical", [" a", "b"]),
    "spaces and a tab": Case('18.0   8\t"ford"\n15.0  12\t"fiat"\n', None, [], columns=("column 1", "column 2", "column 3")),
    "accounting": Case(quoted("$ (1,234.50)", "$2.00"), "numeric", [-1234.5, 2]),
    "three decimals": Case(quoted("0,125", "1,250"), "numeric", [0.125, 1.25]),
    "commas between semicolons": Case("x;y\n1,234;a\n2,500;b\n", "numeric", [1.234, 2.5]),
    "no header, numbers in order": Case("39, a, 77516\n50, b, 83311\n", None, [], columns=("column 1", "column 2", "column 3")),
    "no header, only texts": Case("p,x,s\ne,x,s\np,b,s\n", None, [], columns=("column 1", "column 2", "column 3")),
    "numbers in quotes": Case('"x","y"\n"1","a"\n"2.5","b"\n', "numeric", [1, 2.5]),
    "one cell a line": Case("x\nabc\n\ndef\n", "categorical", ["abc", "def"]),
    "only a header": Case("x,y\n", None, []),
    "a nameless last column": Case("x,y,\n1,a,\n2,b,\n", "numeric", [1, 2], columns=("x", "y")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_text_file_is_read(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = tmp_path / "table.csv"
    path.write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode(case.encoding))
    raw = read_file(path)
    columns = read_columns(raw)
    if case.columns:
        assert tuple(columns) == case.columns
    assert {key: raw.detected[key] for key in case.detected} == case.detected
    if "x" in columns:
        check_column(columns["x"], case)


def check_column(x: TypedColumn, case: Case) -> None:
    assert (None if x.kind is None else x.kind.value) == case.kind
    values = x.values.tolist()
    if case.kind == "numeric":
        np.testing.assert_allclose(values, case.values, rtol=1e-15)
    else:
        assert values == case.values
    assert sum(v is None or v != v for v in values) == case.nulls + case.unreadable
    assert x.unreadable == case.unreadable == len(x.examples)
    assert case.reason in x.reason
    assert x.stored_as


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "only quotes": ('""', "the file is empty"),
    "only blank lines": ("\n \n", "the file is empty"),
    "duplicate name": ("a,a\n1,2\n", "duplicate column name 'a'"),
    "no header line of this length": ("a,b\n1,2,3\n1,2,3\n4,5,6\n", "line 2 has 3 cells, the header 2"),
    "a short line": ("a,b\n1,2\n3\n4,5\n", "line 3 has 1 cell, the header 2"),
    "a long line": ("a,b\n1,2,3\n", "line 2 has 3 cells, the header 2"),
    "a short last line": ("a,b\n1,2\n3", "line 3 has 1 cell, the header 2: the file may be cut off"),
    "a quote that is not closed": ('a,b\n1,"x\n2,y\n', "the quote on line 2 is not closed"),
    "a quote inside quotes": ('a,b\n1,"5" pipe"\n2,"6"\n', "the quote on line 3 is not closed"),
    "two separators": ("a;b,c\nx;y,z\n", "the separator may be"),
    "commas without a header": ("text\nHello, you\nBye, me\nYes, you\nNo, me\nAh, so\n", "--separator"),
    "no text": (bytes(range(256)) * 4, "neither text nor a known format"),
    "web page": ("<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "database": (b"SQLite format 3\0" + b"\0" * 100, "--query"),
    "Feather 1": (b"FEA1" + b"\0" * 100, "Feather version 1"),
    "Parquet of garbage": (b"PAR1 garbage PAR1", "no valid Parquet file"),
    "columns aligned by spaces": (
        "id  city       note\n1   Rome       a b\n2   New York   c d\n",
        "aligned by spaces",
    ),
    "UTF-8 and Latin-1": (
        "city,x\nKöln,1\nŁódź,2\n".encode() + "Münster,3\n".encode("latin-1"),
        "line 4 is not UTF-8",
    ),
    "gzip cut off": (gzip.compress(b"a,b\n1,2\n" * 100)[:-20], "corrupt or cut off"),
    "xz of garbage": (lzma.compress(b"a,b\n" * 100)[:40], "corrupt or cut off"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_named_with_its_error(name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert words in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_an_ambiguous_separator_shows_the_first_lines_and_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b,c\nx;y,z\n")
    with pytest.raises(ConfigError, match="pass --separator") as caught:
        read_file(path)
    assert "  a;b,c\n  x;y,z" in str(caught.value)
    assert list(read_file(path, FileOptions(separator=";")).columns) == ["a", "b,c"]


def test_options_replace_what_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("ä;1.234\nö;2.000\n".encode("cp437"))
    options = FileOptions(separator=";", encoding="cp437", header=False, decimal=",")
    columns = read_columns(read_file(path, options))
    assert columns["column 1"].values.tolist() == ["ä", "ö"]
    assert columns["column 2"].values.tolist() == [1234.0, 2000.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"separator": "ab"}, "--separator"),
        ({"separator": '"'}, "--separator"),
        ({"decimal": ";"}, "--decimal"),
        ({"encoding": "klingon"}, "--encoding"),
    ],
)
def test_an_invalid_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FileOptions(**options)


def test_an_encoding_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n\xff\n")
    with pytest.raises(ConfigError, match="--encoding"):
        read_file(tmp_path / "t.csv", FileOptions(encoding="utf-8"))
    (tmp_path / "t.csv").write_text("a\nö\n", "utf-8")
    with pytest.raises(ConfigError, match="--encoding"):
        read_file(tmp_path / "t.csv", FileOptions(encoding="ascii"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "cp037"])
def test_an_encoding_that_joins_all_lines_is_an_error(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,2\n" * 20)
    with pytest.raises(ConfigError, match=rf"t\.csv as {encoding}: .* pass another --encoding"):
        read_file(tmp_path / "t.csv", FileOptions(encoding=encoding))


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize(
    ("name", "compress"),
    [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress), ("zstd", zstd)],
)
def test_compressed_text_is_read(name: str, compress: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv.z"
    path.write_bytes(compress('x,y\n1,"a\nb"\n2,ä\n'.encode()))
    raw = read_file(path)
    assert raw.detected["compression"] == name
    assert read_columns(raw)["y"].values.tolist() == ["a\nb", "ä"]


def test_the_only_file_of_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", "x,y\n1,2\n")
    assert read_columns(read_file(tmp_path / "t.zip"))["x"].values.tolist() == [1.0]
    with zipfile.ZipFile(tmp_path / "t.zip", "a") as archive:
        archive.writestr("u.csv", "x,y\n1,2\n")
    with pytest.raises(ConfigError, match="the archive has 2 files"):
        read_file(tmp_path / "t.zip")


CELL = st.text(st.characters(exclude_characters="\r\0", codec="utf-8"), max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_text_that_python_writes_is_read_with_the_same_cells(
    rows: list[tuple[str, str]], separator: str
) -> None:
    import csv
    import io

    from driftbell.tabular.text_files import read_text_table

    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("first", "second"), *rows])
    options = FileOptions(separator=separator, header=True, encoding="utf-8")
    frame = read_text_table(out.getvalue().encode(), "t.csv", options).frame
    while rows and not any(rows[-1]):
        rows.pop()
    assert [tuple(cell or "" for cell in row) for row in frame.rows()][: len(rows)] == rows


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=20))
def test_numbers_are_read_exactly(values: list[float]) -> None:
    x = read_columns({"x": [repr(v) for v in values]})["x"]
    assert x.values.tolist() == values


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=20),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]),
)
def test_numbers_with_separators_are_read(cents: list[int], marks: tuple[str, str]) -> None:
    thousands, decimal = marks
    texts = [
        f"{value / 100:,.2f}".replace(",", "#").replace(".", decimal).replace("#", thousands)
        for value in cents
    ]
    x = read_columns({"x": [*texts, f"1{thousands}000{thousands}000{decimal}25"]})["x"]
    np.testing.assert_allclose(x.values[:-1], np.array(cents) / 100, rtol=1e-12)
    assert not x.unreadable

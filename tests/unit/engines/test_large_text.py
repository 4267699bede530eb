"""Text files that are counted in parts: hostile cells are counted as if the file was read whole."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import driftbell
from driftbell.drift.column_bins import column_bins, count_column_on
from driftbell.drift.column_counts import ColumnCounts, encode_counts
from driftbell.drift.compare import prepare
from driftbell.engines import large_text
from driftbell.engines.count_parts import CountPlan
from driftbell.engines.large_text import open_text
from driftbell.errors import ConfigError
from driftbell.tabular import text_parts
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.typed_column import read_columns

ROWS = 3000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_parts, "PART_BYTES", 5000)
    monkeypatch.setattr(large_text, "MAX_WHOLE_CELLS", 2 * ROWS)


def cells(seed: int, rows: int = ROWS) -> dict[str, list[str]]:
    """Return columns of texts such as people write them."""
    rng = np.random.default_rng(seed)
    number, whole = rng.normal(50, 20, rows), rng.integers(0, 2000, rows)
    days = [
        f"{d:02}/{m:02}/2026"
        for d, m in zip(rng.integers(1, 29, rows), rng.integers(1, 13, rows), strict=True)
    ]

    def some(words: list[str], share: float, texts: list[str]) -> list[str]:
        where = rng.random(rows) < share
        return [str(rng.choice(words)) if w else t for w, t in zip(where, texts, strict=True)]

    plain = [f"{x:.3f}" for x in number]
    return {
        "plain": some(["", "NA", " null ", "inf", "-inf", "1e3"], 0.05, plain),
        "spaced": [f" {x} " for x in whole],
        "words": some(["n/k", "unclear"], 0.04, plain),
        "coded": some(["-999", ""], 0.05, [str(x) for x in whole]),
        "late unit": [f"{x:.1f} kg" if i > rows - 40 else f"{x:.1f}" for i, x in enumerate(number)],
        "kilos": [f"{x:.1f} kg" for x in number],
        "thousands": [f"{x:,.2f}" for x in number * 100],
        "percent": [f"{x:.1f}%" for x in number],
        "price": some(["€ 5.00", "-"], 0.03, [f"€ {x:.2f}" for x in np.abs(number)]),
        "limit": some(["<5", "> 90"], 0.03, [f"{x:.1f}" for x in number]),
        "first null": ["" if i < rows // 2 else t for i, t in enumerate(plain)],
        "first words": ["true" if i < rows // 3 else t for i, t in enumerate(plain)],
        "date": some(["", "never"], 0.02, days),
        "moment": [f"2026-01-{1 + i % 28:02} 10:{i % 60:02}:00" for i in range(rows)],
        "city": some(['New "York"', "a, b", "two\nlines", "Köln", "NA", ""], 0.3, ["Rome"] * rows),
        "grade": [str(x) for x in rng.choice(["1.0", "1", "2", "A"], rows)],
        "flag": some(["yes", "YES", ""], 0.4, ["no"] * rows),
        "comment": [" ".join(["word"] * int(k)) + f" {i}" for i, k in enumerate(rng.integers(3, 9, rows))],
        "id": [f"{seed}-{i}" for i in range(rows)],
        "zip": [f"{x:05}" for x in rng.integers(0, 300, rows)],
        "nothing": [""] * rows,
    }


def german(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the columns of plain numbers with decimal commas, and points between thousands."""
    swap = str.maketrans(".,", ",.")
    return {
        n: [t.translate(swap) for t in c] for n, c in columns.items() if n not in ("date", "moment", "grade")
    }


def text(columns: dict[str, list[str]], **options: Any) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", **options)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue().encode()


def exact(counts: dict[str, ColumnCounts]) -> dict[str, Any]:
    return {
        name: (c.rows, c.nulls, c.unreadable, c.stored_as, *encode_counts({"": c}).split(b'"total"')[:1])
        for name, c in counts.items()
    }


def both(
    tmp_path: Path, past: bytes, now: bytes, columns: ColumnOptions, options: FileOptions | None = None
) -> tuple[Any, Any, Any]:
    """Return the counts of a file in parts, and of the file as it is read whole."""
    (tmp_path / "past.csv").write_bytes(past)
    (tmp_path / "now.csv").write_bytes(now)
    text_parts.PART_BYTES = len(now) // 15
    options = options or FileOptions()
    reading: dict[str, Any] = {
        "columns": columns.kinds,
        "nulls": columns.nulls,
        "keep_null_words": columns.keep_null_words,
    }
    reference = read_columns(read_file(tmp_path / "past.csv", options), **reading)
    bins = {c.name: column_bins(c) for c in prepare(reference).columns}
    raw = read_file(tmp_path / "now.csv", options)
    whole = read_columns(raw, kinds=reference, **reading)
    expected = {name: count_column_on(whole[name], on) for name, on in bins.items()}
    parts = open_text(str(tmp_path / "now.csv"), options, 100)
    assert parts is not None
    assert len(parts.table.parts) > 10
    assert parts.total == raw.rows
    detected = {k: v for k, v in raw.detected.items() if k != "thousands_or_decimals"}
    assert parts.detected == detected
    return parts.count(CountPlan(bins, columns)), expected, parts


OPTIONS = [
    ColumnOptions(),
    ColumnOptions(nulls=("-999", "n/k"), keep_null_words=("city",)),
    ColumnOptions(
        kinds={"zip": "categorical", "spaced": "integer", "first words": "numeric", "grade": "numeric"}
    ),
]


@pytest.mark.parametrize(("columns", "ending"), [*((o, "\n") for o in OPTIONS), (OPTIONS[1], "\r\n")])
def test_cells_are_counted_as_those_of_the_whole_file(tmp_path: Path, columns: Any, ending: str) -> None:
    past, now = (text(cells(seed)).replace(b"\n", ending.encode()) for seed in (0, 1))
    counts, expected, _ = both(tmp_path, past, now, columns)
    assert exact(counts) == exact(expected)


@pytest.mark.parametrize("decimal", [None, ","])
def test_decimal_commas(tmp_path: Path, decimal: str | None) -> None:
    past, now = (text(german(cells(seed)), delimiter=";") for seed in (0, 1))
    options = FileOptions(decimal=decimal)
    counts, expected, parts = both(tmp_path, past, b"\xef\xbb\xbf" + now, ColumnOptions(), options)
    assert exact(counts) == exact(expected)
    assert parts.table.decimal == ","


def test_unquoted_cells_inches_blank_lines_and_padding(tmp_path: Path) -> None:
    plain = {n: c for n, c in cells(0).items() if n in ("plain", "words", "kilos", "grade", "zip")}
    past = text(plain)
    inches = text(
        plain | {"size": [f'{i % 9}" wide' for i in range(ROWS)]}, quoting=csv.QUOTE_NONE, quotechar=None
    )
    padded = past.replace(b",", b", ")
    blank = past.replace(b"\n", b"\n\n")
    for now in (inches, padded, blank, past.replace(b",", b"\t"), past.removesuffix(b"\n")):
        counts, expected, _ = both(tmp_path, now, now, ColumnOptions())
        assert exact(counts) == exact(expected)


def test_a_sample_has_rows_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{i},a{i}\n" for i in range(4000)))
    parts = open_text(str(tmp_path / "a.csv"), FileOptions(), 100)
    assert parts is not None
    values = [int(v) for v in parts.sample(200).columns["x"].data.to_list()]
    assert (len(values), len(set(values)), min(values), max(values)) == (200, 200, 0, 3999)
    assert len(parts.sample(9999).columns["y"].data) == 4000


WHOLE = {
    "latin": b"x,y\n" + "Köln,1\n".encode("latin-1") * 500,
    "utf-16": ("x,y\n" + "Rome,1\n" * 500).encode("utf-16"),
    "carriage returns": b"x,y\r" + b"1,2\r" * 500,
    "no name": b"x,,y\n" + b"1,2,3\n" * 500,
    "empty end": b"x,y\n" + b"1,2\n" * 500 + b",\n" * 3,
    "spaces": b"x y\n" + b"1 2\n" * 500,
    "padded quotes": b"x,y\n" + b'1, "2"\n' * 500,
    "short line": b"x,y\n" + b"1,2\n" * 500 + b"3\n",
    "open quote": b"x,y\n" + b'1,"2"\n' * 500 + b'3,"4\n',
    "few rows": b"x,y\n" + b"1,2\n" * 99,
    "json": b'{"x": 1}\n' * 500,
}


@pytest.mark.parametrize("name", WHOLE)
def test_other_files_are_read_whole(tmp_path: Path, name: str) -> None:
    file = tmp_path / ("a.jsonl" if name == "json" else "a.csv")
    file.write_bytes(WHOLE[name])
    assert open_text(str(file), FileOptions(), 100) is None
    assert open_text(str(tmp_path / "missing.csv"), FileOptions(), 100) is None


def test_a_quote_inside_a_cell_is_named_as_in_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x,y\n" + b'1,"2"\n' * 3000 + b'1,3"4\n1,5"6\n' + b'1,"2"\n' * 3000)
    with pytest.raises(ConfigError) as whole:
        read_file(file)
    with pytest.raises(ConfigError) as parts:
        driftbell.check(file, file, exact_rows=1000)
    for error in (whole.value, parts.value):
        assert str(error).startswith(f"cannot read {file}: ")
        assert str(error).endswith("check its quotes")


def test_a_check_of_a_large_text_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, rows, shift in (("a.csv", 900, 0.0), ("b.csv", 6000, 0.4)):
        frame = pl.DataFrame(
            {
                "same": rng.normal(size=rows),
                "moved": rng.normal(shift, 1, rows),
                "city": rng.choice(["x", "y"], rows),
            }
        )
        frame.write_csv(tmp_path / name)
    past, now = str(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    for first, second in ((past, now), (now, past), (now, now)):
        exactly, binned = (driftbell.check(first, second, exact_rows=n) for n in (10**6, 1000))
        assert binned.drifted_columns == exactly.drifted_columns == (("moved",) if first != second else ())
        assert binned.rows == exactly.rows
        assert binned.detected["current"]["binned"] == 256
        for a, b in zip(exactly.columns, binned.columns, strict=True):
            assert a.comparison.null_shares == b.comparison.null_shares
            assert a.comparison.unreadable == b.comparison.unreadable

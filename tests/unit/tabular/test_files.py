from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from driftbell.errors import ConfigError
from driftbell.tabular.files import read_table


def read_csv(tmp_path: Path, text: str, encoding: str = "utf-8") -> dict[str, np.ndarray]:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def test_numbers_strings_and_booleans_are_distinguished(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "n,t,b\n1,x,true\n2.5,y,FALSE\n")
    assert table["n"].tolist() == [1.0, 2.5]
    assert table["t"].tolist() == ["x", "y"]
    assert table["b"].tolist() == [True, False]


def test_an_empty_cell_is_null(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "n,t,b\n1,x,true\n,,\n")
    assert np.isnan(table["n"][1])
    assert table["t"].tolist() == ["x", None]
    assert table["b"].tolist() == [True, None]


def test_a_column_with_one_text_is_text(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "a\n1\nx\n")["a"].tolist() == ["1", "x"]


def test_digits_with_underscores_are_names(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "a\n1_000\n2_000\n")["a"].tolist() == ["1_000", "2_000"]


def test_quotes_commas_and_line_ends_follow_rfc_4180(tmp_path: Path) -> None:
    table = read_csv(tmp_path, 'a,"b, c"\r\n"x ""y""","line 1\nline 2"\r\n')
    assert table["a"].tolist() == ['x "y"']
    assert table["b, c"].tolist() == ["line 1\nline 2"]


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    assert list(read_csv(tmp_path, "größe,b\n1,2\n", "utf-8-sig")) == ["größe", "b"]


def test_empty_lines_are_not_rows(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "a,b\n1,2\n\n3,4\n\n")["a"].tolist() == [1.0, 3.0]


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert {k: len(v) for k, v in read_csv(tmp_path, "a,b\n").items()} == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must name every column"),
        ("\n1\n", "must name every column"),
        ("a,a\n1,2\n", "must name every column, each once"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, the header 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells, the header 2"),
        ('a\n"x"y\n', "expected after"),
        ('a\n"x\n', "unexpected end"),
    ],
)
def test_an_invalid_csv_file_is_named_with_its_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_csv(tmp_path, text)
    assert "table.csv" in str(caught.value)


def test_another_encoding_than_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="utf-8"):
        read_csv(tmp_path, "größe\n1\n", "latin-1")


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read_table(tmp_path / name)


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"folder\.csv"):
        read_table(folder)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        read_table(tmp_path / "table.xlsx")


def test_parquet_keeps_kinds_and_nulls(tmp_path: Path) -> None:
    path = tmp_path / "TABLE.PARQUET"
    moment = datetime(2026, 1, 1)  # noqa: DTZ001 - a naive column
    columns = {"n": [1, None], "t": ["x", None], "b": [True, None], "m": [moment, None]}
    parquet.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table["n"][0] == 1.0
    assert np.isnan(table["n"][1])
    assert [table[name].tolist() for name in "tbm"] == [["x", None], [True, None], [moment, None]]


def test_parquet_dictionaries_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"t": pa.array(["x", "y", None]).dictionary_encode()}), path)
    assert read_table(path)["t"].tolist() == ["x", "y", None]


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(ConfigError, match=r"table\.parquet"):
        read_table(path)


def test_parquet_columns_need_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(ConfigError, match=r"table\.parquet"):
        read_table(path)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'driftbell\[parquet\]'"):
        read_table(tmp_path / "table.parquet")


def test_the_second_table_is_read_by_the_kinds_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "before.csv").write_text("n,flag,code\n1,true,01\n2,maybe,A1\n")
    (tmp_path / "now.csv").write_text("n,flag,code\n3,true,01\nn/a,false,02\n")
    before = read_table(tmp_path / "before.csv")
    now = read_table(tmp_path / "now.csv", like=before)
    assert now["n"].tolist() == [3.0, "n/a"]
    assert now["flag"].tolist() == ["true", "false"]
    assert now["code"].tolist() == ["01", "02"]


def test_numbers_with_leading_zeros_are_names(tmp_path: Path) -> None:
    (tmp_path / "zip.csv").write_text("zip,share\n01234,0.5\n99999,0\n")
    table = read_table(tmp_path / "zip.csv")
    assert table["zip"].tolist() == ["01234", "99999"]
    assert table["share"].tolist() == [0.5, 0.0]


def test_the_index_of_pandas_is_not_a_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1, 2]}, index=[7, 3]).to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet")) == ["a"]

"""Parquet, JSON, workbooks, folders and patterns are read with the right kinds, or refused by name."""

from __future__ import annotations

import os
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from driftbell.errors import ConfigError, InputError, MissingExtraError
from driftbell.records import Kind
from driftbell.tabular import zone_setting
from driftbell.tabular.features import read_feature_table, read_features
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.typed_column import read_columns

NAN = float("nan")


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
TYPES: dict[str, tuple[pa.Array, str, list[Any], str]] = {
    "int64": (pa.array([1, None, 3]), "numeric", [1, NAN, 3], "numbers"),
    "uint8": (pa.array([1, 2], pa.uint8()), "numeric", [1, 2], "numbers"),
    "float32": (pa.array([0.5, None], pa.float32()), "numeric", [0.5, NAN], "numbers"),
    "decimal": (pa.array([Decimal("1.50"), None]), "numeric", [1.5, NAN], "numbers"),
    "boolean": (pa.array([True, None]), "boolean", [True, None], "booleans"),
    "text": (pa.array(["x", None, "NA"]), "categorical", ["x", None, None], "text"),
    "numbers as text": (pa.array(["1", "2.5"]), "numeric", [1, 2.5], "text"),
    "dictionary": (pa.array(["x", "y", None]).dictionary_encode(), "categorical", ["x", "y", None], "text"),
    "days": (pa.array([date(2026, 1, 31)]), "datetime", [day("2026-01-31")], "dates"),
    "times": (pa.array([MOMENT, None]), "datetime", [day("2026-01-31T12:00:00"), None], "dates"),
    "durations": (pa.array([timedelta(seconds=90)]), "numeric", [90], "durations"),
    "times of day": (pa.array([time(0, 1)]), "numeric", [60], "times of day"),
    "lists": (pa.array([[1.0, 2.0], None]), "nested", [[1.0, 2.0], None], "lists"),
    "structures": (pa.array([{"a": 1}]), "nested", [{"a": 1}], "structures"),
    "bytes": (pa.array([b"x"]), "nested", [b"x"], "bytes"),
    "nulls": (pa.nulls(2), "", [None, None], "nulls"),
}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows"])
def test_the_types_of_a_file_are_read(name: str, suffix: str, tmp_path: Path) -> None:
    array, kind, values, stored_as = TYPES[name]
    table, path = pa.table({"x": array}), tmp_path / f"T.{suffix.upper()}"
    if suffix == "parquet":
        parquet.write_table(table, path)
    elif suffix == "arrow":
        feather.write_feather(table, path, compression="uncompressed")
    else:
        path = tmp_path / "t.arrow"
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    x = read_columns(path)["x"]
    assert (x.kind.value if x.kind else "") == kind
    assert [None if v != v else v for v in x.values.tolist()] == [None if v != v else v for v in values]
    assert x.stored_as == stored_as


def test_parquet_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": list(range(1000))}), path)
    whole = path.read_bytes()
    for size in (3, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=r"t\.parquet: it is no valid Parquet file, or is cut off"):
            read_file(path)


def test_duplicate_names_in_parquet_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"t\.parquet: duplicate column name"):
        read_file(tmp_path / "t.parquet")


def test_the_index_of_pandas_is_not_a_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1, 2]}, index=[7, 3]).to_parquet(tmp_path / "t.parquet")
    assert list(read_file(tmp_path / "t.parquet").columns) == ["a"]


def test_a_folder_and_a_pattern_are_one_table(tmp_path: Path) -> None:
    for month, values in ((1, [1, None]), (2, [2.5])):
        folder = tmp_path / "days" / f"month={month}"
        folder.mkdir(parents=True)
        pl.DataFrame({"x": values, "y": ["a"] * len(values)}).write_parquet(folder / "part.parquet")
    (tmp_path / "days" / "_SUCCESS").touch()
    columns = read_columns(tmp_path / "days")
    np.testing.assert_array_equal(columns["x"].values, [1, np.nan, 2.5])
    assert columns["month"].values.tolist() == [1.0, 1.0, 2.0]
    assert list(read_columns(str(tmp_path / "days" / "*" / "*.parquet"))) == ["x", "y"]


def test_files_of_different_types_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": ["a"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=r"column 'x' has numbers in .*a\.parquet and text in .*b\.parquet"):
        read_file(tmp_path)
    pl.DataFrame({"y": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=r"b\.parquet has no column 'x'"):
        read_file(tmp_path)
    (tmp_path / "c.csv").write_text("x\n1\n")
    with pytest.raises(ConfigError, match=r"files of different types \(\.csv and \.parquet\)"):
        read_file(tmp_path)


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet", "none-*.csv"):
        with pytest.raises(ConfigError, match=name.replace("*", r"\*")):
            read_file(tmp_path / name)
    with pytest.raises(ConfigError, match="the folder has no files"):
        read_file(tmp_path)


def test_no_part_of_a_folder_is_skipped_silently(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    (tmp_path / "days/1.csv").write_text("x,y\n1,2\n")
    assert read_file(tmp_path / "days").rows == 1
    (tmp_path / "days/2.csv").symlink_to(tmp_path / "lost.csv")
    with pytest.raises(ConfigError, match=r"2\.csv: No such file"):
        read_file(tmp_path / "days")
    (tmp_path / "days/2.csv").unlink()
    (tmp_path / "days/more").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="more: it is a link to a folder"):
        read_file(tmp_path / "days")


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 1, "y": "a"}\n\n{"y": null, "x": 2.5}\n',
        '[{"x": 1, "y": "a"}, {"x": 2.5}]',
        '{"x": {"0": 1, "1": 2.5}, "y": {"0": "a", "1": null}}',
        '{"x": [1, 2.5],\n "y": ["a", null]}',
        '{"columns": ["x", "y"], "index": [0, 1], "data": [[1, "a"], [2.5, null]]}',
        '{"schema": {}, "data": [{"x": 1, "y": "a"}, {"x": 2.5, "y": null}]}',
    ],
)
def test_json_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    columns = read_columns(tmp_path / "t.jsonl")
    assert columns["x"].values.tolist() == [1.0, 2.5]
    assert columns["y"].values.tolist() == ["a", None]


@pytest.mark.parametrize(
    "text",
    ['{"x": NaN}\n{"x": -Infinity}\n', '[{"x": NaN},\n {"x": -Infinity}]', '{"x": [NaN,\n -Infinity]}'],
)
def test_json_with_numbers_that_python_writes_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    values = read_columns(tmp_path / "t.json")["x"].values
    assert np.isnan(values[0])
    assert values[1] == -np.inf


def test_a_date_of_mongodb_beyond_the_calendar_is_unreadable(tmp_path: Path) -> None:
    rows = ['{"day": {"$date": 1e30}}', *['{"day": {"$date": 1769860800000}}'] * 19]
    (tmp_path / "t.json").write_text("\n".join(rows))
    column = read_columns(tmp_path / "t.json")["day"]
    assert (column.kind, column.unreadable, column.examples) == (Kind.DATETIME, 1, ("1e+30",))


def test_typed_cells_of_mongodb_are_read(tmp_path: Path) -> None:
    row = (
        '{"_id": {"$oid": "5f"}, "n": {"$numberLong": "7"}, "x": {"$numberDecimal": "1.50"}, '
        '"day": {"$date": "2026-01-31T12:00:00Z"}, "old": {"$date": {"$numberLong": "1769860800000"}}, '
        '"bad": {"$numberLong": "?"}, "place": {"lat": 1}}\n'
    )
    (tmp_path / "t.json").write_text(row * 2)
    columns = read_columns(tmp_path / "t.json")
    values = {name: column.values.tolist()[0] for name, column in columns.items()}
    noon = day("2026-01-31T12:00:00")
    expected = {"_id": "5f", "n": 7, "x": 1.5, "day": noon, "old": noon, "bad": None, "place": {"lat": 1}}
    assert values == expected
    assert columns["place"].stored_as == "structures"


def test_a_type_that_polars_does_not_have_is_refused(tmp_path: Path) -> None:
    wide = pa.table({"x": pa.array([Decimal("1.50")], pa.decimal256(50, 2))})
    parquet.write_table(wide, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="its types are not supported"):
        read_file(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="cannot read the Table"):
        read_columns(wide)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"x": 1}\n{"x": 2\n', "line 2: it is not valid JSON"),
        ('{"x": 1}\n5\n', "line 2 must be an object"),
        ("[]", "has no rows"),
        ("[1, 2]", "must be a mapping of columns"),
        ('{"x": [1], "y": [1, 2]}', "differ in length"),
        ("[NaN, 1", "it is not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "its lists or objects are nested too deeply"),
        ('{"x": 1}\n{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: its lists or objects are nested"),
    ],
)
def test_json_that_is_no_table_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_file(tmp_path / "t.json")
    assert "t.json" in str(caught.value)


def test_a_workbook_needs_its_extra_or_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(ConfigError, match=r"t\.xlsx"):
        read_file(tmp_path / "t.xlsx")
    try:
        import fastexcel  # noqa: F401
    except ImportError:
        (tmp_path / "t.xls").write_bytes(b"\xd0\xcf\x11\xe0 no workbook")
        with pytest.raises(MissingExtraError, match=r"pip install 'driftbell\[excel\]'"):
            read_file(tmp_path / "t.xls")


def test_the_features_of_a_model_keep_their_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "n,price,name,day,flag,zip\n1,$5,None,2026-01-31,true,01234\nNA,$6,x,2026-02-01,false,2\n"
    )
    columns = read_features(path)
    np.testing.assert_array_equal(columns["n"], [1, np.nan])
    assert columns["price"].tolist() == ["$5", "$6"]
    assert columns["name"].tolist() == [None, "x"]
    assert columns["day"].tolist() == ["2026-01-31", "2026-02-01"]
    assert columns["flag"].tolist() == [True, False]
    assert columns["zip"].tolist() == ["01234", "2"]


def test_the_sheets_of_a_workbook_are_tables(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    write_workbook(path, {"first": [["Report"], [], ["x", "y"], [1, "a"], [2.5, "NA"]], "empty": []})
    raw = read_file(path)
    assert raw.detected == {"format": "workbook", "sheet": "first", "skipped_rows": 2}
    columns = read_columns(raw)
    assert columns["x"].values.tolist() == [1.0, 2.5]
    assert columns["y"].values.tolist() == ["a", None]
    with pytest.raises(ConfigError, match="--sheet: it has only first and empty, not 'second'"):
        read_file(path, FileOptions(sheet="second"))
    with pytest.raises(ConfigError, match="the sheet 'empty' is empty"):
        read_file(path, FileOptions(sheet="empty"))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ConfigError, match=r"t\.xlsx"):
        read_file(path)


def test_booleans_of_a_workbook_with_nulls_have_the_type_of_pandas(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    write_workbook(path, {"first": [["x", "y"], [True, False], [None, True], [False, True]]})
    table = read_feature_table(path)
    assert table.dtypes == {"x": "float64", "y": "bool"}
    assert table.columns["x"].tolist() == [True, None, False]


def _cell(place: str, value: Any) -> str:
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'


def write_workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> None:
    """Write the smallest workbook that Excel reads."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    package = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        books, links = "", ""
        for number, (name, rows) in enumerate(sheets.items(), 1):
            books += f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>'
            links += (
                f'<Relationship Id="r{number}" Type="{office}/worksheet" Target="worksheets/{number}.xml"/>'
            )
            data = ""
            for i, row in enumerate(rows, 1):
                cells = (_cell(f"{'ABCD'[j]}{i}", v) for j, v in enumerate(row) if v is not None)
                data += f'<row r="{i}">{"".join(cells)}</row>'
            archive.writestr(
                f"xl/worksheets/{number}.xml", f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>"
            )
        archive.writestr(
            "xl/workbook.xml", f'<workbook {main} xmlns:r="{office}"><sheets>{books}</sheets></workbook>'
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{links}</Relationships>',
        )
        root = f'<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr(
            "_rels/.rels", f'<Relationships xmlns="{package}/relationships">{root}</Relationships>'
        )


@pytest.mark.parametrize("before", [None, "0"])
def test_a_zone_that_is_an_offset_is_read_and_the_process_keeps_its_setting(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(zone_setting.NAME, raising=False)
    if before is not None:
        monkeypatch.setenv(zone_setting.NAME, before)
    times = pa.array([0, 1], pa.timestamp("s", tz="+05:30"))
    for suffix, write in ((".parquet", parquet.write_table), (".feather", feather.write_feather)):
        path = tmp_path / f"t{suffix}"
        write(pa.table({"at": times}), path)
        assert len(read_file(path).columns["at"]) == 2
    assert os.environ.get(zone_setting.NAME) == before
    first, second = zone_setting.any_time_zone(), zone_setting.any_time_zone()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ.get(zone_setting.NAME) == "1"
    second.__exit__(None, None, None)
    assert os.environ.get(zone_setting.NAME) == before

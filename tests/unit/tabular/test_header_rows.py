"""Headers below other rows, in text files and workbooks."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.tabular.test_files import write_workbook

from driftbell.cli import cli
from driftbell.errors import ConfigError
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file

GROUPS = [
    ["", "", "Umsatz", ""],
    ["Stamm", "", "Umsatz", ""],
    ["–", "–", "Umsatz", "–"],
    ["A", "A", "B", "B"],
]
NAMES = ["Datum", "Region", "Betrag", "Stück"]
ROWS = [[f"2026-01-{i:02}", "NS"[i % 2], f"{i},5", str(i)] for i in range(1, 29)]


def write(path: Path, above: list[list[str]]) -> Path:
    if path.suffix == ".xlsx":
        pytest.importorskip("fastexcel")
        rows = [[day, region, float(i), i] for i, (day, region, _, _) in enumerate(ROWS)]
        write_workbook(path, {"first": [*above, NAMES, *rows]})
    else:
        path.write_text("\n".join(map(";".join, [*above, NAMES, *ROWS])) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_header_is_the_last_row_above_the_data(tmp_path: Path, group: list[str], suffix: str) -> None:
    raw = read_file(write(tmp_path / f"t{suffix}", [group]))
    assert list(raw.columns) == NAMES
    assert raw.rows == len(ROWS)


def test_two_rows_of_groups_are_skipped(tmp_path: Path) -> None:
    raw = read_file(write(tmp_path / "t.csv", [["A", "", "B", "B"], ["", "C", "D", ""]]))
    assert list(raw.columns) == NAMES


def test_a_first_row_of_texts_is_data_where_no_column_has_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,,c\nx,y,z\np,q,r\nx,q,z\n")
    assert list(read_file(path).columns) == ["a", "column 2", "c"]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_the_user_names_the_row_of_the_header(tmp_path: Path, suffix: str) -> None:
    above = [["note", "by", "the", "office"], ["1", "2", "3", "4"]]
    path = write(tmp_path / f"t{suffix}", above)
    raw = read_file(path, FileOptions(header_row=3))
    assert list(raw.columns) == NAMES
    assert raw.rows == len(ROWS)
    with pytest.raises(ConfigError, match="--header-row"):
        read_file(path, FileOptions(header_row=900))


def test_a_workbook_without_a_header(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    write_workbook(path, {"first": [[1, "a"], [2, "b"], [3, "c"]]})
    raw = read_file(path, FileOptions(header=False))
    assert list(raw.columns) == ["column 1", "column 2"]
    assert raw.rows == 3


def test_no_header_and_its_row_contradict() -> None:
    with pytest.raises(ConfigError, match="--header-row"):
        FileOptions(header=False, header_row=2)


def test_a_header_without_names_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,,\n" + "1,2,3,x\n" * 30)
    result = CliRunner().invoke(cli, ["check", str(path), str(path)])
    assert "the header has no name for column 3 and column 4" in result.stderr
    assert "--header-row" in result.stderr

"""Numbers with a unit, a mark or quotes in text files, as a user would check them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import driftbell
from driftbell.tabular.typed_column import read_columns

Write = Callable[[str, float, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, middle: float, form: str) -> str:
        rows = "".join(form.format(middle + i % 97 / 10) + f",{i % 3}\n" for i in range(300))
        (tmp_path / name).write_text(f"v,w\n{rows}", "utf-8")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("form", ["{:.1f} kg", "{:.1f}°C", "{:.1f} km/h", "{:.1f}‰", "{:.1f}MB", "{:.1f} lb"])
def test_numbers_with_a_unit_are_compared_as_numbers(write: Write, form: str) -> None:
    reference = write("a.csv", 300, form)
    assert driftbell.check(reference, write("b.csv", 600, form)).verdict == "warning"
    assert driftbell.check(reference, write("c.csv", 300, form)).verdict == "ok"


@pytest.mark.parametrize(
    ("before", "after"), [("{:.1f} kg", "{:.1f} lb"), ("{:.1f} $", "{:.1f} €"), ("{:.1f}", "{:.1f} kg")]
)
@pytest.mark.parametrize("profiled", [False, True])
def test_another_unit_is_not_read_as_the_same_number(
    write: Write, tmp_path: Path, before: str, after: str, profiled: bool
) -> None:
    reference = write("a.csv", 300, before)
    current = write("b.csv", 300, after)
    if profiled:
        driftbell.profile(reference).save(str(tmp_path / "a.json"))
        reference = str(tmp_path / "a.json")
    result = driftbell.check(reference, current)
    assert result.verdict == "warning"
    assert "300 of 300 cells such as '300.0 " in result.to_markdown()


def test_a_unit_may_be_missing_in_the_current_table(write: Write) -> None:
    assert driftbell.check(write("a.csv", 300, "{:.1f} kg"), write("b.csv", 300, "{:.1f}")).verdict == "ok"


def test_names_of_digits_and_letters_are_no_numbers() -> None:
    columns = read_columns({"house": [f"{i % 9}A" for i in range(60)], "size": ["10 kg", "20 kg"] * 30})
    assert [column.kind for column in columns.values()] == ["categorical", "categorical"]


def test_the_value_and_the_unit_are_read() -> None:
    weight = read_columns({"weight": ["1.5 kg", "2 kg", "1,200.5 kg", None]})["weight"]
    assert weight.values[:3].tolist() == [1.5, 2.0, 1200.5]
    assert weight.unit == "kg"


ARABIC = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
CELLS: dict[str, Callable[[float], str]] = {
    "approximate": lambda v: f"~{v:.1f}",
    "at most": lambda v: f"<= {v:.1f}",
    "some censored": lambda v: f"<{v:.1f}" if int(v * 10) % 3 else f"{v:.1f}",
    "top-coded": lambda v: f"{v * 10:.0f}+",
    "quoted": lambda v: f"'{v:.1f}'",
    "spreadsheet text": lambda v: f"'{v:.1f}",
    "arabic digits": lambda v: f"{v:.1f}".translate(ARABIC),
    "full-width digits": lambda v: f"{v:.1f}".translate(FULL_WIDTH),
    "unit without decimals": lambda v: f"{v * 100:.0f} km",
    "scale without decimals": lambda v: f"{v * 10:.0f}k",
    "censored with a unit": lambda v: f">{v * 100:.0f} km",
}


@pytest.mark.parametrize("form", CELLS)
@pytest.mark.parametrize("profiled", [False, True])
def test_a_change_of_numbers_in_any_form_is_drift(tmp_path: Path, form: str, profiled: bool) -> None:
    tables = [{"v": [CELLS[form](start + i % 97 / 10) for i in range(300)]} for start in (30, 60)]
    reference: object = tables[0]
    if profiled:
        driftbell.profile(tables[0]).save(str(tmp_path / "a.json"))
        reference = str(tmp_path / "a.json")
    result = driftbell.check(reference, tables[1])
    assert result.verdict == "warning"
    assert result.columns[0].comparison.kind == "numeric"
    assert driftbell.check(reference, tables[0]).verdict == "ok"


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        ("~98.6", 98.6),
        ("< 101.7", 101.7),
        ("'86.5'", 86.5),
        ("٨٦٫٥", 86.5),
        ("８６．５", 86.5),
        ("≥1,200.5", 1200.5),
    ],
)
def test_the_number_in_a_cell_is_read(cells: str, value: float) -> None:
    assert read_columns({"v": [cells] * 30})["v"].values.tolist() == [value] * 30


def test_a_mark_is_unreadable_where_the_reference_has_none() -> None:
    reference, current = ({"v": [f"{mark}{i % 97 / 10}" for i in range(300)]} for mark in ("", "<"))
    assert "300 of 300 cells such as '<0.0'" in driftbell.check(reference, current).columns[0].reason


def test_a_row_says_that_marks_are_left_out() -> None:
    table = {"v": [f"<{i % 97 / 10}" for i in range(300)]}
    assert "limits and approximations such as <5" in driftbell.check(table, table).columns[0].reason


def test_quoted_postcodes_are_no_numbers() -> None:
    assert read_columns({"zip": [f"'{i % 30:05d}'" for i in range(300)]})["zip"].kind == "categorical"


def test_a_row_says_that_texts_are_compared_by_their_form() -> None:
    reference, current = ({"note": [f"{a}{i % 250:03d} {a} text" for i in range(300)]} for a in "ab")
    result = driftbell.check(reference, current)
    assert result.verdict == "ok"
    assert "compared as text" in result.columns[0].reason


@pytest.mark.parametrize("words", ["tf", "TF", ("WAHR", "FALSCH"), ("vrai", "faux")])
def test_true_and_false_in_other_spellings_are_booleans(words: tuple[str, str]) -> None:
    yes, no = words
    reference = {"on": [yes if i % 3 else no for i in range(300)]}
    for other in (["true", "false"], ["True", "False"], [yes, no]):
        same = {"on": [other[0] if i % 3 else other[1] for i in range(300)]}
        assert driftbell.check(reference, same).verdict == "ok"
        flipped = {"on": [other[1] if i % 3 else other[0] for i in range(300)]}
        assert driftbell.check(reference, flipped).verdict == "warning"

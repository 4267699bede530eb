"""Numbers with a unit in text files, as a user would check them."""

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

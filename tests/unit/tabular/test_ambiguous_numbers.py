"""Numbers of several currencies, sorted amounts, and points that may separate thousands."""

from pathlib import Path

import numpy as np
import pytest

import driftbell
from driftbell.records import Kind, Verdict
from driftbell.tabular.files import read_file
from driftbell.tabular.typed_column import TypedColumn, read_columns

AMOUNTS = np.random.default_rng(3).lognormal(7, 0.8, 600)
LATER = np.random.default_rng(4).lognormal(7, 0.8, 600)


def only(cells: list[object]) -> TypedColumn:
    return read_columns({"a": cells})["a"]


def money(amounts: np.ndarray, factor: float = 1) -> list[object]:
    return [f"{'$' if i % 3 else '€'}{factor * v:.2f}" for i, v in enumerate(amounts)]


def weights(amounts: np.ndarray, factor: float = 1) -> list[object]:
    return [f"{factor * v:.1f} {'kg' if i % 3 else 'g'}" for i, v in enumerate(amounts)]


@pytest.mark.parametrize("write", [money, weights])
def test_the_numbers_of_the_most_frequent_unit_are_compared(write) -> None:  # type: ignore[no-untyped-def]
    column = only(write(AMOUNTS))
    assert column.kind is Kind.NUMERIC
    assert column.unreadable == 200
    same = driftbell.check({"a": write(AMOUNTS)}, {"a": write(LATER)})
    assert same.verdict is Verdict.OK
    assert "200 of 600 cells" in same.columns[0].reason
    assert driftbell.check({"a": write(AMOUNTS)}, {"a": write(LATER, 3)}).verdict is Verdict.WARNING


def test_texts_with_many_endings_stay_identifiers() -> None:
    cells: list[object] = [f"{i}.5 {chr(97 + i % 26)}{chr(97 + i % 25)}" for i in range(600)]
    assert only(cells).kind is Kind.IDENTIFIER


@pytest.mark.parametrize("reverse", [False, True])
def test_sorted_amounts_are_no_running_numbers(reverse: bool) -> None:
    amounts: list[object] = [*sorted((int(v * 1000) for v in AMOUNTS), reverse=reverse)]
    assert only(amounts).kind is Kind.NUMERIC


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([17 + i for i in range(600)], "running numbers"),
        ([3 * i + i % 2 for i in range(600)], "running numbers"),
        ([i + i // 7 for i in range(600, 0, -1)], "running numbers"),
        (np.cumsum(np.random.default_rng(1).integers(1, 900, 600)) + 1_700_000_000, "running times"),
    ],
)
def test_counters_and_times_are_running_numbers(numbers: list[object], reason: str) -> None:
    column = only([int(str(n)) for n in numbers])
    assert column.kind is Kind.IDENTIFIER
    assert column.reason.startswith(reason)


def test_points_separate_thousands_in_a_file_with_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a;b\n1.234;x\n949;y\n12.000;z\n")
    assert read_columns(path)["a"].values.tolist() == [1234, 949, 12000]


def test_points_separate_decimals_where_a_number_has_other_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a;b\n1.234;x\n949;y\n12.01;z\n")
    assert read_columns(path)["a"].values.tolist() == [1.234, 949, 12.01]


def test_points_that_may_separate_thousands_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1.234,1\n949,2\n" * 20)
    column = read_columns(path)["a"]
    assert column.values.tolist()[:2] == [1.234, 949]
    assert read_file(path).detected["thousands_or_decimals"] == "a"
    (reason, _) = (c.reason for c in driftbell.check(path, path).columns)
    assert "in the reference and in current, numbers such as 1.234 may also be thousands" in reason

"""Lists of names in messages, and suggestions for misspelled ones."""

import pytest

from driftbell.phrases import MAX_NAME_LENGTH, join_names, suggest_name


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_names_are_joined_and_the_rest_is_counted(names: list[str], text: str) -> None:
    assert join_names(names, max_names=3) == text


def test_a_long_name_is_cut() -> None:
    assert join_names(["x" * 200]) == "x" * (MAX_NAME_LENGTH - 1) + "…"


def test_control_characters_of_a_name_are_escaped() -> None:
    assert join_names(["two\nlines", "\x1b[31mred"]) == "two\\nlines and \\x1b[31mred"


def test_the_most_similar_name_is_suggested_and_nothing_where_none_is_similar() -> None:
    assert suggest_name("petal lenght", ["petal width", "petal length"]) == "did you mean 'petal length'?"
    assert suggest_name("x" * 100_000, ["petal width"]) == ""

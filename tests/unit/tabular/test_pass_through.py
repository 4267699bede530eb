"""Own ids and metadata of clients: what is accepted, and what a message says about the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.errors import InputError
from driftbell.tabular.pass_through import (
    MAX_ID_LENGTH,
    PassThrough,
    PassThroughFields,
    pass_through_fields,
    read_id,
    read_metadata,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("Bestellung 12/ü", "Bestellung 12/ü"),
        ("x" * 128, "x" * 128),
        (0, "0"),
        (-7, "-7"),
        (1e15, "1" + "0" * 15),
    ],
)
def test_an_id_is_a_text_or_a_whole_number(value: Any, text: str) -> None:
    assert read_id(value) == text
    assert read_id(None) == ""


@pytest.mark.parametrize(
    "value",
    ["", "x" * 129, "a\nb", "a\0", "\ud800", "a\x85b", 1.5, 1e20, -(10**19), float("nan"), True, [], {}],
)
def test_any_other_id_is_refused_with_the_rule(value: Any) -> None:
    with pytest.raises(ValueError, match=f"must be a text of 1 to {MAX_ID_LENGTH} characters without"):
        read_id(value)


def test_metadata_are_kept_as_they_are_without_nulls() -> None:
    metadata = {"shop": "Zürich", "basket": 3, "price": 1.5, "test": False, "empty": ""}
    assert read_metadata({**metadata, "gone": None}) == metadata
    assert read_metadata({}) is read_metadata(None) is read_metadata({"gone": None}) is None
    assert read_metadata({"n": 10**18}) == {"n": 10**18}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Bern", "must be an object of texts, numbers and booleans, got a string"),
        ({"a": ["secret"]}, "the value of 'a' is an array"),
        ({"a": {"b": "secret"}}, "the value of 'a' is an object"),
        ({"a": float("inf")}, "the value of 'a' is no number of at most 1e.18 in size: send a text"),
        ({"a": float("nan")}, "the value of 'a' is no number"),
        ({"a": 2**63}, "the value of 'a' is no number"),
        ({"a": "secret\0"}, "the value of 'a' is not valid Unicode"),
        ({"\ud800": 1}, "must have names of at most 64 characters, without NUL"),
        ({"n" * 65: 1}, "must have names of at most 64 characters"),
        ({str(i): i for i in range(21)}, "must have at most 20 values, got 21"),
        ({"a": "secret" * 40}, "the value of 'a' has 240 characters, and at most 128 are accepted"),
    ],
)
def test_other_metadata_are_refused_without_their_values(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_metadata(value)
    assert "secret" not in str(caught.value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)


@given(st.dictionaries(st.text(max_size=8), SCALARS, max_size=25))
def test_accepted_metadata_are_json(value: dict[str, Any]) -> None:
    try:
        metadata = read_metadata(value)
    except ValueError:
        return
    text = json.dumps(metadata or {}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    assert json.loads(text) == (metadata or {})
    assert metadata is None or set(metadata.items()) <= set(value.items())


def test_features_are_never_passed_through() -> None:
    assert pass_through_fields(["age"]) == PassThroughFields("id", "metadata")
    assert pass_through_fields(["id", "metadata"]) == PassThroughFields()
    assert pass_through_fields(["id", "metadata"], "key", ["a", "b"]) == PassThroughFields(
        "key", "", ("a", "b"), ("key", "a", "b")
    )
    assert pass_through_fields(["age"], "metadata") == PassThroughFields("metadata", "", (), ("metadata",))
    assert pass_through_fields(["age"], None, ["id"]) == PassThroughFields("", "", ("id",), ("id",))
    for own_id, metadata in (("age", []), (None, ["age"])):
        with pytest.raises(InputError, match="'age' is a feature of the model, and cannot be passed through"):
            pass_through_fields(["age"], own_id, metadata)
    with pytest.raises(InputError, match="at most 20 fields, got 21"):
        pass_through_fields(["age"], None, map(str, range(21)))


def test_tables_have_only_the_columns_that_a_request_names() -> None:
    assert pass_through_fields(["age"]).of_table().names == frozenset()
    assert pass_through_fields(["age"], None, ["shop"]).of_table().names == {"shop"}
    assert pass_through_fields(["age"], "id").of_table().names == {"id"}


def test_one_field_may_be_the_id_and_metadata() -> None:
    fields = pass_through_fields(["age"], "order", ["order", "shop"])
    assert fields.read({"order": 12, "shop": "a"}) == PassThrough("12", {"order": 12, "shop": "a"})
    with pytest.raises(InputError, match="'shop' is missing: the address names it as id or metadata"):
        fields.read({"order": 12})


def test_every_problem_of_a_row_is_reported() -> None:
    with pytest.raises(InputError) as caught:
        pass_through_fields(["age"]).read({"id": "", "metadata": []}, 3)
    assert [(p.field, p.reason, p.row) for p in caught.value.problems] == [
        ("id", "own_id", 3),
        ("metadata", "metadata", 3),
    ]

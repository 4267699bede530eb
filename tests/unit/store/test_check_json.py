"""Journal lines are exact, and checks are read from JSON as they were written."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import StoreError
from driftbell.journal.line import LineEncoder, encode_line, time_text
from driftbell.records import Check, CheckKind, CheckState, Prediction
from driftbell.store.check_json import check_from_json, check_to_json

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

TIME = time_text(NOON)


def encode_both(names: list[str], values: list[Any], shares: list[float]) -> tuple[bytes, bytes]:
    """Return the line of one prediction by both encoders."""
    classes = ["a", "b"][: len(shares)]
    encoder = LineEncoder("m", "v", names, classes)
    features = dict(zip(names, values, strict=True))
    prediction = Prediction("id", NOON, "m", "v", features, "a", dict(zip(classes, shares, strict=True)), 1.5)
    return encoder.line("id", TIME, values, "a", shares, 1.5), encode_line(prediction)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ([], []),
        (["length (cm)", "größe", "日"], [1.5, None, True]),
        (['"', "\\", "\n", "\0"], ["ü\n\"'", -0.0, False, 1e300]),
        (["x", "y"], [float("nan"), float("-inf")]),
        (["half a pair"], ["\ud800"]),
        (["half a pair", "x"], ["\ud800", float("nan")]),
        (["\ud800"], [1.0]),
        ([f"f{i}" for i in range(40, 0, -1)], [float(i) for i in range(40)]),
        (["numpy", "whole"], [np.float64(0.1), np.int64(3)]),
    ],
)
def test_both_encoders_return_the_same_line(names: list[str], values: list[Any]) -> None:
    for shares in ([], [0.25, 0.75]):
        line, other = encode_both(names, values, shares)
        assert line == other
        assert b"\n" not in line
        result = json.loads(line, parse_constant=pytest.fail)
        sent = [None if isinstance(v, float) and not np.isfinite(v) else v for v in values]
        assert result["features"] == dict(zip(names, sent, strict=True))
        assert list(result["features"]) == names
        assert result["probabilities"] == dict(zip("ab", shares, strict=False))


def test_a_line_contains_every_column_of_the_table() -> None:
    line = LineEncoder("m", "v", ["x"], ["a", "b"]).line("id", TIME, [0.1], "a", [1.0, 0.0], 2.0)
    assert line == (
        b'{"id":"id","time":"2026-01-31 12:00:00.000000","model":"m","version":"v","features":{"x":0.1},'
        b'"output":"a","probabilities":{"a":1.0,"b":0.0},"latency_ms":2.0}'
    )


def test_an_invalid_value_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="object cannot be logged"):
        LineEncoder("m", "v", ["x"], []).line("id", TIME, [object()], "a", [], 2.0)  # type: ignore[list-item]


def stored() -> dict[str, Any]:
    cells = np.arange(50.0) + 0.5  # integers would be a counter
    judgement = judge(compare({"x": cells, "y": cells}, {"x": cells + 90, "y": cells}), rows=50)
    check = Check("id", NOON, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)
    return json.loads(json.dumps(check_to_json(check)))


def test_a_check_is_read_from_json() -> None:
    result = check_from_json(stored())
    assert result.judgement.drifted_columns == ("x",)
    assert json.loads(json.dumps(check_to_json(result))) == stored()


def test_an_unreadable_state_is_dropped_and_the_check_is_read() -> None:
    result = check_from_json({**stored(), "state": "from another release"})
    assert result.judgement.drifted_columns == ("x",)
    assert result.state == CheckState()


def test_a_check_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="verdict"):
        check_from_json({**stored(), "judgement": {"verdict": "fine", "sentence": ""}})

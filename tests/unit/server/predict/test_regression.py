"""Predictions of a regression: their answers, their lines, and numbers that are not finite."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from driftbell.errors import PredictError
from driftbell.records import Columns, Value
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.tracing import Tracing
from driftbell.server.predict.answers import answer_schema
from driftbell.server.predict.predictor import Predictor
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEMA = infer_schema({"x": np.arange(20.0)})


class Lines:
    """Recorder that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def record(self, lines: list[bytes]) -> None:
        self.lines += map(json.loads, lines)

    async def close(self) -> None:
        """Do nothing."""


def reciprocal(columns: Columns) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(1 / columns["x"])


def predictor(lines: Lines, rule: Any = reciprocal, *, inline: bool = True) -> Predictor:
    model = FakeModel(SCHEMA, (), rule, name="price", inline=inline)
    return Predictor(model, lines, Metrics(), Tracing(), queue_limit=100, clock=lambda: NOON)


@pytest.mark.parametrize("inline", [True, False])
def test_a_number_is_answered_and_recorded_as_a_text(inline: bool) -> None:
    lines = Lines()

    async def run() -> bytes:
        served = predictor(lines, inline=inline)
        answer = await served.answer([3.0], 0.0)
        await served.close()
        return answer

    answer = json.loads(asyncio.run(run()))
    assert set(answer) == {"value", "id", "model", "version"}
    assert answer["value"] == 1 / 3
    (line,) = lines.lines
    assert (line["output"], line["probabilities"], line["id"]) == (repr(1 / 3), {}, answer["id"])


@pytest.mark.parametrize("inline", [True, False])
def test_an_infinite_prediction_is_never_recorded_and_its_neighbors_are(inline: bool) -> None:
    lines = Lines()
    rows: list[list[Value]] = [[2.0], [0.0], [4.0]]

    async def run() -> list[Any]:
        served = predictor(lines, inline=inline)
        answers = await asyncio.gather(*(served.answer(row, 0.0) for row in rows), return_exceptions=True)
        await served.close()
        return list(answers)

    answers = asyncio.run(run())
    assert isinstance(answers[1], PredictError)
    assert str(answers[1]).startswith("model 'price' predicted inf, but a prediction must be a number")
    assert [json.loads(answers[i])["value"] for i in (0, 2)] == [0.5, 0.25]
    assert sorted(line["output"] for line in lines.lines) == ["0.25", "0.5"]


def test_a_model_that_predicts_no_number_fails_with_the_reason() -> None:
    lines = Lines()

    async def run() -> None:
        served = predictor(lines, lambda columns: np.full(len(columns["x"]), np.nan))
        try:
            await served.predict([[1.0], [2.0]], 0.0)
        finally:
            await served.close()

    with pytest.raises(PredictError, match="model 'price' predicted nan for row 0, but a prediction must be"):
        asyncio.run(run())
    assert lines.lines == []


def test_openapi_describes_a_number() -> None:
    schema = answer_schema(())
    assert list(schema["properties"]) == schema["required"] == ["value", "id", "model", "version"]
    assert schema["properties"]["value"] == {"type": "number"}
    assert "class" in answer_schema(("a", "b"))["properties"]

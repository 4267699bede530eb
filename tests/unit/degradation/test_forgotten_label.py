"""Columns of a model that were named wrongly or not at all."""

from typing import Any

import numpy as np
import pytest

import driftbell
from driftbell.errors import InputError

RNG = np.random.default_rng(0)
N = 400


def classifier(true: float = 0.85) -> dict[str, list[Any]]:
    y = RNG.choice(["no", "yes"], N)
    other = np.where(y == "no", "yes", "no")
    answer = np.where(RNG.random(N) < true, y, other)
    return {"x": RNG.normal(size=N).tolist(), "answer": answer.tolist(), "churned": y.tolist()}


def regression(noise: float = 1.0) -> dict[str, list[Any]]:
    x = RNG.normal(20, 5, N)
    y = 3 * x + RNG.normal(0, noise, N)
    return {"x": x.tolist(), "answer": (3 * x).tolist(), "y": y.tolist()}


def notes(table: dict[str, list[Any]], **options: Any) -> tuple[str, ...]:
    first = next(iter(driftbell.backtest(table, table, prediction="answer", window_rows=200, **options)))
    return tuple(first.notes)


def test_a_forgotten_label_is_named() -> None:
    (note,) = notes(classifier())
    assert note.startswith("the predictions follow column 'churned', which is compared as a feature")
    assert "(--label churned)" in note
    (note,) = notes(regression())
    assert "(--label y)" in note


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (classifier(), {"label": "churned"}),
        (classifier(0.5), {}),
        (regression(), {"label": "y"}),
        (regression(noise=30.0), {}),
        ({k: v for k, v in regression().items() if k != "y"}, {}),  # x alone decides, at another scale
    ],
)
def test_other_columns_are_features(table: dict[str, list[Any]], options: dict[str, Any]) -> None:
    assert notes(table, **options) == ()


def test_a_probability_of_no_class_names_the_classes() -> None:
    table = classifier() | {"p": [0.5] * N}
    with pytest.raises(InputError, match="'1' is no class; the classes are no and yes"):
        driftbell.check(table, table, prediction="answer", label="churned", probabilities={"1": "p"})


def test_a_regression_has_no_probabilities() -> None:
    table = regression()
    with pytest.raises(InputError, match="a regression has no probabilities of classes: leave out"):
        driftbell.check(table, table, prediction="answer", label="y", probabilities={"yes": "x"})

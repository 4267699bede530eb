from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tests.degradation_tasks import answers, table

from driftbell.degradation.label_shift import LabelShift
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models, one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def careful(columns: dict[str, np.ndarray], *, probabilities: bool = True) -> Answers:
    """Answer 1 only with high confidence, so that the second class has more errors."""
    model_answers = answers(columns)
    values = (model_answers.probabilities[:, 1] > 0.85).astype(float)
    return Answers(values, model_answers.probabilities if probabilities else None)


@pytest.fixture(scope="module", params=[True, False], ids=["probabilities", "answers alone"])
def fitted(request: pytest.FixtureRequest) -> tuple[ReferenceModels, bool]:
    columns, truth = table(1500, 0)
    learned = fit_reference_models(
        columns, careful(columns, probabilities=request.param), truth, classes=2, seed=0
    )
    return learned, request.param


def estimated(fitted: tuple[ReferenceModels, bool], columns: dict[str, np.ndarray]) -> float | None:
    learned, has = fitted
    given = careful(columns, probabilities=has)
    return LabelShift(learned).loss(learned.encoder(columns, len(given)), given)


@pytest.mark.parametrize("ones", [0.2, 0.7, 0.85])
def test_the_loss_by_label_shift_is_near_the_actual_loss(
    fitted: tuple[ReferenceModels, bool], ones: float
) -> None:
    columns, truth = table(1000, 5, ones=ones)
    real = np.mean(careful(columns).values != truth) - fitted[0].errors.mean()
    assert estimated(fitted, columns) == pytest.approx(real, abs=0.06)


def test_unchanged_shares_are_no_label_shift(fitted: tuple[ReferenceModels, bool]) -> None:
    assert [estimated(fitted, table(500, seed)[0]) for seed in range(20, 40)] == [None] * 20


def test_another_change_is_no_label_shift(fitted: tuple[ReferenceModels, bool]) -> None:
    columns, _ = table(500, 5)
    assert estimated(fitted, columns | {"a": columns["a"] * 1.8 + 32}) is None
    assert estimated(fitted, columns | {"b": columns["b"] + 3}) is None


def test_an_answer_of_an_unknown_class_is_no_label_shift(fitted: tuple[ReferenceModels, bool]) -> None:
    learned, has = fitted
    columns, _ = table(500, 5, ones=0.9)
    given = careful(columns, probabilities=has)
    given.values[7] = -1.0
    assert LabelShift(learned).loss(learned.encoder(columns, 500), given) is None


def test_shares_are_compared_with_those_of_the_baseline(fitted: tuple[ReferenceModels, bool]) -> None:
    learned, has = fitted
    usual, _ = table(600, 5, ones=0.9)
    moved = learned.with_usual(usual, careful(usual, probabilities=has))
    assert estimated((moved, has), table(500, 6, ones=0.9)[0]) is None
    assert estimated((moved, has), table(500, 6, ones=0.3)[0]) < -0.05


def test_classes_that_are_rare_in_the_reference_are_no_label_shift() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(30, 600, p=[0.2] * 4 + [0.2 / 26] * 26).astype(float)
    columns = {"a": truth + rng.normal(0, 0.5, 600), "b": rng.normal(0, 1, 600)}
    given = Answers(np.clip(np.round(columns["a"]), 0, 29))
    learned = fit_reference_models(columns, given, truth, classes=30, seed=0)
    again = rng.permutation(600)[:400]
    result = LabelShift(learned).loss(learned.matrix[again], given.take(again))
    assert result is None


def test_a_reference_with_one_class_has_no_label_shift() -> None:
    columns, _ = table(200, 0)
    given = Answers(np.zeros(200))
    learned = fit_reference_models(columns, given, np.zeros(200), classes=2, seed=0)
    assert LabelShift(learned).loss(learned.matrix, given) is None
    assert LabelShift(learned).loss(learned.matrix[:0], given.take(slice(0))) is None

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import scipy
from tests.degradation_tasks import answers, table

from driftbell.degradation.label_shift import MAX_BLOCKS, MIN_FIT, LabelShift, _dependence
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models, one_thread
from driftbell.records import ShiftTest


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
    return LabelShift(learned).explain(learned.encoder(columns, len(given)), given)[0]


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


def test_blocks_with_weak_evidence_show_a_lasting_shift_together(
    fitted: tuple[ReferenceModels, bool],
) -> None:
    learned, has = fitted
    shift, losses = LabelShift(learned), []
    tests: tuple[ShiftTest, ...] = ()
    for seed in range(50, 56):
        columns, _ = table(200, seed, ones=0.68)
        given = careful(columns, probabilities=has)
        matrix = learned.encoder(columns, 200)
        loss, tests = shift.explain(matrix, given, tests)
        losses.append((loss, shift.explain(matrix, given)[0]))
    assert [alone for _, alone in losses].count(None) >= 4
    assert [loss for loss, _ in losses[-2:]] == [pytest.approx(losses[-1][0], abs=0.05)] * 2
    assert len(tests) == MAX_BLOCKS


def test_a_block_that_refutes_label_shift_is_remembered(fitted: tuple[ReferenceModels, bool]) -> None:
    learned, has = fitted
    columns, _ = table(1000, 5, ones=0.85)
    given, matrix = careful(columns, probabilities=has), learned.encoder(columns, 1000)
    shift = LabelShift(learned)
    assert shift.explain(matrix, given)[0] is not None
    refuting = (ShiftTest(1e-9, 1e-6),)
    loss, tests = shift.explain(matrix, given, refuting)
    assert loss is None
    assert tests[:1] == refuting
    usual, _ = table(1000, 6)
    assert shift.explain(learned.encoder(usual, 1000), careful(usual, probabilities=has), tests) == (None, ())


def test_an_answer_of_an_unknown_class_is_no_label_shift(fitted: tuple[ReferenceModels, bool]) -> None:
    learned, has = fitted
    columns, _ = table(500, 5, ones=0.9)
    given = careful(columns, probabilities=has)
    given.values[7] = -1.0
    assert LabelShift(learned).explain(learned.encoder(columns, 500), given)[0] is None


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
    result = LabelShift(learned).explain(learned.matrix[again], given.take(again))[0]
    assert result is None


def test_features_that_all_fit_badly_refute_label_shift_together() -> None:
    """Statistics of features that depend on each other have a larger variance than independent ones."""
    columns, truth = table(1500, 0)
    shift = LabelShift(fit_reference_models(columns, careful(columns), truth, classes=2, seed=0))
    misfits = [(15.0, 7)] * 3
    scale = 1 + shift._dependence / 21
    expected = scipy.stats.chi2.sf(45 / scale, 21 / scale)
    assert shift._chance_of_all(misfits) == pytest.approx(expected)
    assert scipy.stats.chi2.sf(45, 21) < expected < MIN_FIT < 4 * scipy.stats.chi2.sf(15, 7)
    assert shift._chance_of_all([]) == 1.0


def test_the_dependence_of_features_is_their_mean_square_contingency() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 8, 2000), rng.integers(0, 8, 2000)
    assert _dependence([one, one]) == pytest.approx(2 * 7 - 2 * 49 / 2000)  # φ² = 7, minus chance
    assert _dependence([one, other]) == pytest.approx(0, abs=0.03)
    assert _dependence([one]) == 0


@pytest.mark.parametrize("rows", [500, 1500])
def test_label_shift_is_refuted_as_rarely_as_the_tests_say(rows: int) -> None:
    """The chance of all features together, in blocks of 300 rows with more of one class."""
    chances = []
    for seed in range(3):
        columns, truth = table(rows, seed)
        learned = fit_reference_models(columns, careful(columns), truth, classes=2, seed=0)
        shift = Chances(learned)
        for block in range(60):
            shifted, _ = table(300, 1000 * seed + 100 + block, ones=0.8)
            shift.explain(learned.encoder(shifted, 300), careful(shifted))
        chances += shift.seen
    assert len(chances) > 150
    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.05)
    assert np.mean(np.array(chances) < 0.5) == pytest.approx(0.45, abs=0.12)


class Chances(LabelShift):
    """Keeps the chances of all features together."""

    def __init__(self, learned: ReferenceModels) -> None:
        super().__init__(learned)
        self.seen: list[float] = []

    def _chance_of_all(self, misfits: Sequence[tuple[float, int]]) -> float:
        self.seen.append(super()._chance_of_all(misfits))
        return self.seen[-1]


def test_a_reference_with_one_class_has_no_label_shift() -> None:
    columns, _ = table(200, 0)
    given = Answers(np.zeros(200))
    learned = fit_reference_models(columns, given, np.zeros(200), classes=2, seed=0)
    assert LabelShift(learned).explain(learned.matrix, given)[0] is None
    assert LabelShift(learned).explain(learned.matrix[:0], given.take(slice(0)))[0] is None


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_increase_within_the_reference_is_that_of_its_season(seed: int) -> None:
    parts = [table(500, 10 * seed + i, ones=ones) for i, ones in enumerate((0.25, 0.75, 0.25, 0.75, 0.25))]
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    truth = np.concatenate([part for _, part in parts])
    learned = fit_reference_models(columns, careful(columns), truth, classes=2, seed=0)
    shift, (more, _) = LabelShift(learned), table(500, 10 * seed + 8, ones=0.75)
    increase = shift.explain(learned.encoder(more, 500), careful(more))[0]
    assert shift.largest_known(500) > 0.02
    assert increase == pytest.approx(shift.largest_known(500), abs=0.03)


def test_a_reference_without_a_season_has_no_increase(fitted: tuple[ReferenceModels, bool]) -> None:
    assert LabelShift(fitted[0]).largest_known(500) == 0.0
    assert LabelShift(fitted[0]).largest_known(5000) == 0.0  # it has no part of this size

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tests.degradation_tasks import amounts, answers, evidence, table

from driftbell.degradation.cusum import ESTIMATE, CusumCharts
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models, one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def place(learned: ReferenceModels, name: str) -> int:
    return learned.encoder.names.index(name)


def test_top_features_are_ordered_by_importance() -> None:
    learned = evidence().learned
    assert learned.importance.sum() == pytest.approx(1)
    order = [learned.encoder.names[j] for j in learned.top]
    assert {*order[:3]} == {"a", "b", "d"}
    assert learned.importance[place(learned, "c")] < 0.2
    assert (
        learned.importance[list(learned.top)].tolist() == sorted(learned.importance[list(learned.top)])[::-1]
    )
    assert set(learned.expected) <= {j for j in learned.top if learned.encoder.numeric[j]}


def test_the_mean_expected_error_is_the_actual_error() -> None:
    learned = evidence().learned
    assert learned.by_confidence.mean() == pytest.approx(learned.errors.mean(), abs=0.01)
    assert learned.by_features.mean() == pytest.approx(learned.errors.mean(), abs=0.04)


@pytest.mark.parametrize("kind", ["labelled", "unlabelled", "no probabilities"])
def test_the_expected_error_of_new_rows_is_their_actual_error(kind: str) -> None:
    learned = evidence(kind).learned
    columns, truth = table(2000, 5)
    given = answers(columns, probabilities=kind != "no probabilities")
    matrix = learned.encoder(columns, 2000)
    wrong = np.mean(given.values != truth)
    assert learned.error_by_confidence(matrix, given).mean() == pytest.approx(wrong, abs=0.04)
    if kind != "unlabelled":
        assert learned.error_by_features(matrix, given).mean() == pytest.approx(wrong, abs=0.05)


def test_the_estimate_by_features_detects_confident_wrong_answers() -> None:
    learned = evidence().learned
    columns, _ = table(1000, 6)
    right = answers(columns)
    turned = Answers(1 - right.values, right.probabilities[:, ::-1])
    matrix = learned.encoder(columns, 1000)
    assert learned.error_by_confidence(matrix, turned).mean() < 0.2
    assert learned.error_by_features(matrix, turned).mean() > 0.7


def test_ignoring_a_feature_increases_the_expected_error() -> None:
    learned = evidence().learned
    columns, _ = table(1000, 6)
    matrix, given = learned.encoder(columns, 1000), answers(columns)
    without = frozenset({place(learned, "a"), place(learned, "b")})
    blind = learned.error_by_features(matrix, given, without).mean()
    assert blind > learned.error_by_features(matrix, given).mean() + 0.1
    matrix[:, sorted(without)] = np.nan
    assert learned.error_by_features(matrix, given, without).mean() == pytest.approx(blind)


def test_a_feature_is_predicted_from_the_others() -> None:
    learned = evidence().learned
    columns, _ = table(1000, 6)
    a = place(learned, "a")
    expected = learned.expect(learned.encoder(columns, 1000))[a]
    assert np.corrcoef(expected, columns["a"])[0, 1] > 0.8


def test_regression_estimates_the_absolute_error() -> None:
    learned = evidence("regression").learned
    columns, _ = table(1000, 6)
    given, truth = amounts(columns, 7)
    matrix = learned.encoder(columns, 1000)
    error = np.abs(given.values - truth).mean()
    assert learned.error_by_confidence(matrix, given).mean() == pytest.approx(error, rel=0.1)
    off = Answers(given.values + 3)
    assert learned.error_by_features(matrix, off).mean() == pytest.approx(3, rel=0.2)


def test_an_answer_absent_from_the_reference_counts_as_wrong() -> None:
    learned = evidence().learned
    columns, _ = table(100, 6)
    never = Answers(np.full(100, -1.0), answers(columns).probabilities)
    assert (learned.error_by_features(learned.encoder(columns, 100), never) == 1).all()


def test_confidence_is_the_probability_of_the_predicted_class() -> None:
    given = Answers(
        np.array([0.0, 1.0, 1.0, -1.0]), np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    )
    assert given.confidence().tolist() == [0.6, 0.4, 0.9, 0.0]
    with pytest.raises(ValueError, match="no probabilities"):
        Answers(np.zeros(2)).confidence()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 0.95])
def test_the_expected_error_of_a_threshold_is_near_the_actual_one(threshold: float, labelled: bool) -> None:
    def decided(columns: dict[str, np.ndarray]) -> Answers:
        shares = answers(columns).probabilities
        assert shares is not None
        return Answers((shares[:, 1] >= threshold).astype(float), shares)

    columns, truth = table(2000, 0)
    known = truth if labelled else None
    learned = fit_reference_models(columns, decided(columns), known, classes=2, seed=0)
    new, now = table(4000, 1)
    given = decided(new)
    error = np.mean(given.values != now)
    expected = learned.error_by_confidence(learned.encoder(new, 4000), given).mean()
    assert expected == pytest.approx(error, abs=0.02)


def test_the_same_seed_fits_the_same_models() -> None:
    columns, truth = table(200, 3)
    one, two = (fit_reference_models(columns, answers(columns), truth, classes=2, seed=4) for _ in range(2))
    assert one.top == two.top
    assert np.array_equal(one.by_features, two.by_features)


@pytest.mark.parametrize("rows", [2, 3, 10, 50])
@pytest.mark.parametrize("labelled", [True, False])
def test_tiny_references_can_be_fitted_and_raise_no_alarm(rows: int, labelled: bool) -> None:
    columns, truth = table(rows, 3)
    learned = fit_reference_models(columns, answers(columns), truth if labelled else None, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=100)
    sums: tuple[float, ...] = ()
    scores = []
    for seed in range(5):
        new, _ = table(300, 50 + seed)
        block = charts.examine(new, answers(new))
        sums, score = charts.add(sums, ESTIMATE, block.rows, block.loss)
        scores.append(score)
    assert max(scores) < 1


def test_a_reference_of_one_class_can_be_fitted() -> None:
    columns, _ = table(200, 3)
    given = Answers(np.zeros(200), np.tile([0.9, 0.1], (200, 1)))
    learned = fit_reference_models(columns, given, np.zeros(200), classes=2, seed=0)
    assert learned.top == ()
    block = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=100).examine(columns, given)
    assert block.loss == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("extra", [[], ["same"], ["empty"], ["id"], ["same", "empty", "id", "a"]])
def test_uninformative_columns_raise_no_alarm(extra: list[str]) -> None:
    columns, truth = table(200, 3)
    odd = {
        "same": np.full(200, 5.0),
        "empty": np.array([None] * 200, dtype=object),
        "id": np.array([f"row {i}" for i in range(200)], dtype=object),
        "a": columns["a"],
    }
    table_of = {k: odd[k] for k in extra}
    learned = fit_reference_models(table_of, answers(columns), truth, classes=2, seed=0)
    block = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=100).examine(table_of, answers(columns))
    assert abs(block.loss) < 0.02
    assert block.diagnosis is None


def test_many_classes_with_rare_ones() -> None:
    rng = np.random.default_rng(0)
    rows, classes = 800, 26
    shares = np.array([2.0] * 16 + [0.15] * 10)
    truth = rng.choice(classes, rows, p=shares / shares.sum()).astype(float)
    columns = {"a": truth + rng.normal(0, 0.4, rows), "b": rng.normal(0, 1, rows)}
    nearest = np.clip(np.round(columns["a"]), 0, classes - 1)
    far = -((columns["a"][:, None] - np.arange(classes)) ** 2) / 0.32
    p = np.exp(far - far.max(axis=1, keepdims=True))
    given = Answers(nearest, p / p.sum(axis=1, keepdims=True))
    learned = fit_reference_models(columns, given, truth, classes=classes, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=100)
    half = np.arange(0, rows, 2)
    block = charts.examine({k: v[half] for k, v in columns.items()}, given.take(half))
    assert block.basis == "confidence"
    assert abs(block.loss) < 0.05


def test_the_expected_error_of_many_classes_depends_on_the_row() -> None:
    rng = np.random.default_rng(0)
    classes, rows = 50, 3000
    centers = rng.normal(size=(classes, 8))
    truth = rng.integers(classes, size=rows)
    noise = np.where(rng.random(rows) < 0.4, 3.0, 0.3)  # near a center, or anywhere
    values = centers[truth] + noise[:, None] * rng.normal(size=(rows, 8))
    columns = {f"x{i}": values[:, i] for i in range(8)}
    answers = ((values[:, None, :] - centers[None]) ** 2).sum(axis=2).argmin(axis=1).astype(float)
    learned = fit_reference_models(columns, Answers(answers), truth.astype(float), classes=classes, seed=0)
    wrong = answers != truth
    assert 0.25 < wrong.mean() < 0.45
    assert roc_auc_score(wrong, learned.by_features) > 0.8
    assert len(learned.top) == 6

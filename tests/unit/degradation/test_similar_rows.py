from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.detector import DEFAULT_LOSS, fit_charts
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.degradation.similar_rows import SimilarRows

MODEL_SEED, REFERENCE_SEED = 1, 2


def rows(count: int, seed: int, *, turned: bool = False) -> tuple[np.ndarray, Vector]:
    """Return features and labels; where x0 < -1, the relation of x1 to the label is turned round."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count * 10 if turned else count, 4))
    matrix = matrix[matrix[:, 0] < -1][:count] if turned else matrix
    logit = 3 * np.where(matrix[:, 0] < -1, -1, 1) * matrix[:, 1]
    return matrix, (rng.random(len(matrix)) < 1 / (1 + np.exp(-logit))).astype(float)


def linear_answers(matrix: np.ndarray) -> Answers:
    """Return the answers of a model that cannot know the turned relation."""
    shares = LogisticRegression().fit(*rows(3000, MODEL_SEED)).predict_proba(matrix)
    return Answers(shares.argmax(axis=1).astype(float), shares)


def columns(matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{j}": matrix[:, j] for j in range(matrix.shape[1])}


def charts(*, labelled: bool = True, smallest_loss: SmallestLoss = DEFAULT_LOSS) -> CusumCharts:
    matrix, truth = rows(3000, REFERENCE_SEED)
    return fit_charts(
        columns(matrix),
        linear_answers(matrix),
        truth if labelled else None,
        classes=("a", "b"),
        smallest_loss=smallest_loss,
        checks_per_alarm=1000,
    )


def test_a_region_in_which_the_model_is_too_sure_has_the_error_of_its_rows() -> None:
    fitted = charts()
    new, labels = rows(500, 3, turned=True)
    given = linear_answers(new)
    loss = float(np.mean(given.values != labels) - fitted.learned.errors.mean())
    assert loss > 0.4
    encoded = fitted.learned.encoder(columns(new), len(new))
    by_confidence = fitted.learned.error_by_confidence(encoded, given)
    assert by_confidence.mean() - fitted.learned.by_confidence.mean() < 0.05
    estimated = fitted.learned.row_errors(encoded, given)
    correction = fitted.similar_rows.correction(by_confidence, estimated, 0.0)
    errors = by_confidence + correction.errors
    assert correction.errors.mean() < correction.whole_loss
    assert correction.is_certain
    assert fitted.similar_rows.weight > 0.8
    assert errors.mean() - fitted.learned.errors.mean() == pytest.approx(loss, abs=0.1)


def test_a_loss_that_only_similar_rows_show_is_one_that_nobody_can_tell() -> None:
    fitted = charts(smallest_loss=SmallestLoss(0.07))
    mixed = np.concatenate([rows(420, 4)[0], rows(80, 3, turned=True)[0]])
    block = fitted.examine(columns(mixed), linear_answers(mixed))
    assert block.basis == "similar rows"
    assert block.blind
    assert block.blind.reason == "similar rows"
    assert block.high is not None
    assert block.loss < fitted.smallest_loss < block.high
    assert block.blind.loss == pytest.approx(block.high)


def test_unchanged_blocks_have_the_error_by_confidence() -> None:
    fitted, unchanged = charts(), []
    for seed in range(100, 160):
        matrix, _ = rows(500, seed)
        given = linear_answers(matrix)
        by_confidence = fitted.learned.error_by_confidence(matrix, given)
        estimated = fitted.learned.row_errors(matrix, given)
        unchanged.append(not fitted.similar_rows.correction(by_confidence, estimated, 0.0).errors.any())
    assert np.mean(unchanged) > 0.95


def test_a_model_that_knows_its_errors_is_believed() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 2))
    share = 1 / (1 + np.exp(-2 * x[:, 0]))
    given = Answers((share > 0.5).astype(float), np.column_stack([1 - share, share]))
    truth = (rng.random(3000) < share).astype(float)
    known = fit_charts(columns(x), given, truth, classes=("a", "b"), checks_per_alarm=1000)
    assert known.similar_rows.weight < 0.25


def test_without_labels_or_gaps_there_is_nothing_to_weigh() -> None:
    assert charts(labelled=False).similar_rows.weight == 0
    learned = charts().learned
    learned.by_features = learned.by_confidence
    assert SimilarRows(learned, learned.by_confidence, learned.by_features).weight == 0

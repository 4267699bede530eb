"""A loss by the models of the label is that of the monitored model, which knows more than they do."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.degradation.test_possible_losses import answered, charts, product

from driftbell.degradation.cusum import ESTIMATE, LABELS
from driftbell.degradation.label_model_bias import MAX_FACTOR, loss_factor


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_loss_of_rows_with_answers_of_other_rows_is_unbiased(share: float) -> None:
    fitted, rows = charts(1500), 20_000
    learned, mean = fitted.learned, fitted.baselines[LABELS].mean
    columns, truth = product(rows, 5)
    given = answered(columns)
    order = np.arange(rows)
    changed = order[: int(share * rows)]
    order[changed] = np.random.default_rng(0).permutation(changed)
    wrong = given.take(order)
    loss = float((wrong.values != truth).mean() - (given.values != truth).mean())
    errors = learned.error_by_features(learned.encoder(columns, rows), wrong)
    biased = float(errors.mean()) - fitted.by_features.mean
    assert fitted.by_features.mean > mean + 0.02
    assert biased < loss
    assert fitted.blind_spots.loss_by_features(errors) == pytest.approx(loss, abs=0.02)


def test_the_factor_has_bounds() -> None:
    learned = charts(1000).learned
    assert loss_factor(learned, by_features=0.1, error=0.2) == 1.0
    assert loss_factor(learned, by_features=0.49, error=0.2) == MAX_FACTOR


def test_a_block_by_features_has_the_margin_of_its_own_baseline() -> None:
    fitted = charts(1500)
    columns, _ = product(500, 3)
    usual = fitted.examine(columns, answered(columns))
    frozen = columns | {"a": np.full(500, columns["a"][0])}
    faulty = fitted.examine(frozen, answered(frozen))
    assert (usual.basis, faulty.basis) == ("confidence", "fault")
    assert fitted.extra_margin(usual) == 0
    own = fitted.by_features.own_error - fitted.baselines[ESTIMATE].own_error
    assert own > 0
    assert fitted.extra_margin(faulty) >= 1.645 * own

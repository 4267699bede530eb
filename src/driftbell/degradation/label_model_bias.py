"""Bias of the models of the label, which know less than the monitored model."""

from __future__ import annotations

import numpy as np

from driftbell.degradation.reference_models import ReferenceModels

MAX_FACTOR = 1.5
"""Largest factor: models of the label with a larger one know almost nothing."""


def loss_factor(learned: ReferenceModels, *, by_features: float, error: float) -> float:
    """Return the factor from a loss by the models of the label to the loss of the monitored model.

    On unchanged rows, the models of the label expect the error B, and the error is E. Answers that do not
    depend on their rows have the same error R for both, since the monitored model knows nothing then. In
    between, the bias is interpolated:

        loss = (expected error - B) (R - E) / (R - B)

    Args:
        learned: models fitted on the reference, with labels.
        by_features: B.
        error: E.

    Returns:
        1 or more, at most `MAX_FACTOR`.
    """
    if by_features <= error:
        return 1.0
    order = np.random.default_rng(0).permutation(len(learned.truth))
    independent = learned.loss.of_rows(learned.truth, learned.answers.take(order))
    known = independent[~np.isnan(independent)]
    if not len(known):
        return 1.0
    largest = float(known.mean())
    if largest - by_features <= (largest - error) / MAX_FACTOR:
        return MAX_FACTOR if largest > error else 1.0
    return (largest - error) / (largest - by_features)

"""Meaning of the scores of a PyTorch program: probabilities, logits, or the numbers of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.models.answers import MAX_SUM_ERROR, read_answers
from driftbell.records import Outputs

VIEWS = frozenset(
    (
        *("_to_copy", "alias", "clone", "contiguous", "detach", "flatten", "reshape", "select", "slice"),
        *("squeeze", "to", "unsqueeze", "view"),
    )
)
"""Operators that return elements of their input as they are."""

LINEAR = frozenset(["addmm", "bmm", "linear", "matmul", "mm"])
ROUNDING = 1e-6
"""Rounding error of a single probability that is accepted."""


class Scale(StrEnum):
    """Scale of the scores."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    NUMBERS = "numbers"


def score_scale(output: Any, examples: NDArray[np.float64] | None, *, single: bool) -> Scale | None:
    """Return the scale of a classifier's scores.

    The last operator decides: softmax and sigmoid return probabilities, a linear layer logits. After any
    other one, scores are probabilities if those of the example inputs lie between 0 and 1 and, of several
    classes, sum to 1.

    Args:
        output: the node of the output in the program's graph.
        examples: scores of the example inputs, shape (n, number of classes) or (n, 1); None without inputs.
        single: whether a row has one score, that of the second of two classes.

    Returns:
        The scale; None if a row has several scores that are independent probabilities.
    """
    last = _last_operator(output)
    if last in ("sigmoid", "hardsigmoid"):
        return Scale.PROBABILITIES if single else None
    if last in ("softmax", "_softmax"):
        return Scale.PROBABILITIES
    if last in LINEAR or examples is None or not len(examples):
        return Scale.LOGITS
    fits = (examples >= -ROUNDING).all() and (examples <= 1 + ROUNDING).all()
    sums = single or (np.abs(examples.sum(axis=1) - 1) < MAX_SUM_ERROR).all()
    return Scale.PROBABILITIES if fits and sums else Scale.LOGITS


def outputs_of(scores: NDArray[np.float64], scale: Scale, classes: Sequence[str]) -> Outputs:
    """Return the answers of a program.

    Args:
        scores: shape (n, number of classes), (n, 1) or (n,).
        scale: their scale.
        classes: the classes; none for a regression.

    Raises:
        ValueError: they are not of this scale.
    """
    if not classes:
        return read_answers(scores, ())
    if scores.ndim == 1:
        scores = scores[:, np.newaxis]
    if scale is Scale.PROBABILITIES:
        bounded = scores.clip(0, 1)
        return read_answers(np.where(np.abs(scores - bounded) <= ROUNDING, bounded, scores), classes)
    if not np.isfinite(scores).all():
        raise ValueError("the program answered NaN or an infinite number")
    if scores.shape[1] == 1:  # sigmoid(x) is softmax(0, x)
        scores = np.hstack([np.zeros_like(scores), scores])
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return read_answers(shares / shares.sum(axis=1, keepdims=True), classes)


def scale_text(scale: Scale, classes: Sequence[str], *, single: bool) -> str:
    """Return a description of the scores for people.

    >>> scale_text(Scale.LOGITS, ["no", "yes"], single=True)
    'one logit of the class yes, sigmoid is applied'
    """
    if not classes:
        return "one number, a regression"
    if single:
        suffix = ", sigmoid is applied" if scale is Scale.LOGITS else ""
        return f"one {'logit' if suffix else 'probability'} of the class {classes[1]}{suffix}"
    return f"{len(classes)} logits, softmax is applied" if scale is Scale.LOGITS else "probabilities"


def _last_operator(node: Any) -> str:
    """Return the name of the operator that computed a node's elements; "" if it is no operator of ATen."""
    while True:
        namespace, _, rest = str(node.target).partition(".")
        name = rest.partition(".")[0]
        if namespace != "aten" or name not in VIEWS:
            return name if namespace == "aten" else ""
        node = node.args[0]

"""Settings of classes: the probability from which one is predicted, and columns of probabilities."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from pydantic import BeforeValidator

from driftbell.config.check import flat_values, parse_numbers

EXAMPLE = "churn=0.8"


def parse_threshold(value: object) -> dict[str, float] | None:
    """Return the probability by class, of one class.

    Args:
        value: a mapping, or a text such as `churn=0.8`; None is no threshold.

    Raises:
        ValueError: it has another form, names not one class, or the probability is not between 0 and 1.

    >>> parse_threshold("churn=0.8"), parse_threshold({"1": {"0": 0.25}})
    ({'churn': 0.8}, {'1.0': 0.25})
    """
    if value is None:
        return None
    thresholds: dict[str, object] = {}
    with suppress(ValueError):
        for key, number in parse_numbers(value, EXAMPLE).items():
            thresholds |= flat_values(key, number)
    if len(thresholds) != 1:
        raise ValueError(f"must be one class and its probability, such as '{EXAMPLE}'")
    ((name, number),) = thresholds.items()
    try:
        probability = 0.0 if isinstance(number, bool) else float(number)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        probability = 0.0
    if not 0 < probability < 1:
        raise ValueError(f"must be a probability above 0 and below 1, such as '{EXAMPLE}'")
    return {name: probability}


ClassThreshold = Annotated[dict[str, float] | None, BeforeValidator(parse_threshold)]


def parse_columns(value: object) -> dict[str, str]:
    """Return the column of probabilities by class.

    Args:
        value: a mapping, or a text such as `yes=p_yes,no=p_no`.

    Raises:
        ValueError: it has another form.

    >>> parse_columns("yes=p_yes"), parse_columns({})
    ({'yes': 'p_yes'}, {})
    """
    message = "must be columns by class, such as 'yes=p_yes'"
    try:
        columns = parse_numbers(value, "") if value else {}
    except ValueError as error:
        raise ValueError(message) from error
    if not all(isinstance(name, str) and name for name in columns.values()):
        raise ValueError(message)
    return {label: str(name) for label, name in columns.items()}


ProbabilityColumns = Annotated[dict[str, str], BeforeValidator(parse_columns)]

"""Settings of alarms: the budget of false alarms, the metric, its smallest loss, and the costs of errors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from driftbell.alarms.budget import Budget
from driftbell.alarms.metric import DEFAULT_METRICS, AlarmMetric, make_metric
from driftbell.alarms.smallest_loss import SmallestLoss, parse_smallest_loss
from driftbell.config.section import Section
from driftbell.config.values import FalseAlarms, SmallestRelevantLoss

COSTS_EXAMPLE = "churn>stay=50"
SHAPE = f"must be costs by true and predicted class, such as {{churn = {{stay = 50}}}} or '{COSTS_EXAMPLE}'"

Costs = dict[str, dict[str, float]]


def parse_costs(value: object) -> Costs:
    """Return the cost by true and predicted class.

    Args:
        value: mappings by true class, then by predicted class; or a text such as `churn>stay=50`.

    Raises:
        ValueError: it has another form, or a cost is negative or not finite.

    >>> parse_costs("churn>stay=50, stay>churn=5"), parse_costs({"a": {"b": 1}})
    ({'churn': {'stay': 50.0}, 'stay': {'churn': 5.0}}, {'a': {'b': 1.0}})
    """
    if isinstance(value, str):
        value = _costs_of_text(value)
    if not isinstance(value, Mapping):
        raise ValueError(SHAPE)
    costs: Costs = {}
    for true, row in value.items():
        if not isinstance(row, Mapping):
            raise ValueError(SHAPE)
        costs[str(true)] = {str(answer): _cost(str(true), str(answer), cost) for answer, cost in row.items()}
    return costs


def _costs_of_text(text: str) -> dict[str, dict[str, object]]:
    costs: dict[str, dict[str, object]] = {}
    for part in filter(str.strip, re.split(r",(?=[^,]*=)", text)):
        pair, equals, cost = part.rpartition("=")
        true, arrow, answer = pair.partition(">")
        if not (equals and arrow and true.strip() and answer.strip()):
            raise ValueError(SHAPE)
        costs.setdefault(true.strip(), {})[answer.strip()] = cost.strip()
    return costs


def _cost(true: str, answer: str, value: object) -> float:
    where = f"the cost of '{answer}' for the true class '{true}'"
    if isinstance(value, Mapping):
        raise ValueError(f"{where} must be a number: quote a class with a dot in its name")
    try:
        cost = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise ValueError(f"{where} must be a number, 0 or more")
    return cost


CostMatrix = Annotated[Costs, BeforeValidator(parse_costs)]


class AlarmSettings(Section):
    """`[alarms]`."""

    budget: FalseAlarms = Budget(1, timedelta(days=30))
    """The accepted rate of false alarms of each version, such as '1 per 30d' or '2 per 1000 checks'."""
    smallest_loss: SmallestRelevantLoss = None
    """The smallest loss worth an alarm: of accuracy (0.02), or more error (a number, or '10%' of it)."""
    metric: (
        Literal[
            "accuracy",
            "balanced_accuracy",
            "f1",
            "log_loss",
            "roc_auc",
            "mae",
            "rmse",
            "pinball",
            "cost",
        ]
        | None
    ) = None
    """The metric of alarms, such as 'roc_auc'; without it, accuracy, or of a regression 'mae'."""
    quantile: float | None = Field(None, gt=0, lt=1)
    """The quantile that a regression with the metric 'pinball' predicts, such as 0.9."""
    costs: CostMatrix = Field(default_factory=dict)
    """Costs by true and predicted class, such as {churn = {stay = 50}}; they are the metric then."""
    cost: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The cost of one unit of error of a regression; it is the metric then."""
    currency: str | None = Field(None, pattern=r"^[^\s\d][^\s]{0,9}$")
    """The currency of the costs, such as 'EUR'."""


def alarm_metric(settings: AlarmSettings) -> AlarmMetric:
    """Return the metric of alarms; see `AlarmMetric.of_model`.

    Raises:
        ConfigError: the settings contradict each other.
    """
    return make_metric(settings.metric, settings.quantile, settings.costs, settings.cost, settings.currency)


def compared_loss(settings: AlarmSettings) -> SmallestLoss:
    """Return the smallest loss between versions, of accuracy or mean absolute error.

    It is the default if `alarms.smallest_loss` is in units of another metric.
    """
    if alarm_metric(settings).name in ("", *DEFAULT_METRICS):
        return parse_smallest_loss(settings.smallest_loss)
    return SmallestLoss()

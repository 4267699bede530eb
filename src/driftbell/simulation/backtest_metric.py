"""The metric of the alarms of a backtest, from its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping

from driftbell.alarms.metric import METRICS, AlarmMetric, make_metric
from driftbell.errors import ConfigError
from driftbell.phrases import suggest_name

Costs = Mapping[str, Mapping[str, float]] | float


def parse_metric(
    name: str | None, quantile: float | None, costs: Costs | None, currency: str | None
) -> AlarmMetric:
    """Return the metric of the alarms; see `driftbell.alarms.metric.make_metric`.

    Args:
        name: one of `METRICS`; None for the default of the task.
        quantile: above 0 and below 1, for a pinball loss.
        costs: by true and predicted class, or of one unit of error of a regression.
        currency: of the costs.

    Raises:
        ConfigError: an argument has another form, or has no effect.

    >>> parse_metric(None, None, {"churn": {"stay": 50}}, "EUR").name
    'cost'
    """
    if name is not None and name not in METRICS:
        known = suggest_name(name, METRICS) or f"use one of {', '.join(METRICS)}"
        raise ConfigError(f"there is no metric '{name}': {known}")
    if quantile is not None and not 0 < quantile < 1:
        raise ConfigError(f"the quantile must be above 0 and below 1, got {quantile!r}")
    if costs is None or isinstance(costs, Mapping):
        return make_metric(name, quantile, _parse_costs(costs or {}), None, currency)
    if not 0 < costs < math.inf:
        raise ConfigError(f"the cost of one unit of error must be a number above 0, got {costs!r}")
    return make_metric(name, quantile, {}, float(costs), currency)


def _parse_costs(costs: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    from driftbell.config.alarms import parse_costs  # pydantic is slow to import

    try:
        return parse_costs(costs) if costs else {}
    except ValueError as error:
        raise ConfigError(f"costs: {error}") from error

"""The metric that alarms are about, as a user sets it: its name, its quantile, or the costs of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name

ACCURACY, BALANCED_ACCURACY, F1, LOG_LOSS, ROC_AUC = (
    "accuracy",
    "balanced_accuracy",
    "f1",
    "log_loss",
    "roc_auc",
)
MAE, RMSE, PINBALL, COST = "mae", "rmse", "pinball", "cost"

CLASS_METRICS = (ACCURACY, BALANCED_ACCURACY, F1, LOG_LOSS, ROC_AUC, COST)
"""Metrics of classifiers."""

NUMBER_METRICS = (MAE, RMSE, PINBALL, COST)
"""Metrics of regressions."""

METRICS = tuple(dict.fromkeys((*CLASS_METRICS, *NUMBER_METRICS)))

SHARE_METRICS = (ACCURACY, BALANCED_ACCURACY, F1, ROC_AUC)
"""Metrics that are 1 for a perfect model; a loss of 0.02 is two points."""

DEFAULT_METRICS = (ACCURACY, MAE)
"""Metrics without a setting; versions are always compared by these."""

NEED_PROBABILITIES = (LOG_LOSS, ROC_AUC)

COSTS_EXAMPLE = "[alarms.costs.churn] stay = 50 (the true class, then the predicted one)"


@dataclass(frozen=True, slots=True)
class AlarmMetric:
    """The metric of alarms.

    Attributes:
        name: one of `METRICS`; "" for the default of the model's task.
        quantile: that a regression predicts (`pinball`); None for other metrics.
        costs: cost of a prediction by true and predicted class; without an entry it is 0.
        unit_cost: cost of one unit of absolute error of a regression; None without one.
        currency: of the costs, or "".
    """

    name: str = ""
    quantile: float | None = None
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit_cost: float | None = None
    currency: str = ""

    @property
    def id(self) -> str:
        """A text that differs between metrics with losses that cannot be added; "" for the default."""
        if self.name in ("", *DEFAULT_METRICS):
            return ""
        costs = sorted((true, sorted(row.items())) for true, row in self.costs.items())
        return f"{self.name} {self.quantile} {costs} {self.unit_cost}"

    def of_model(self, classes: Sequence[str], *, has_probabilities: bool, labelled: bool) -> AlarmMetric:
        """Return the metric of a model.

        Args:
            classes: the model's classes; none for a regression.
            has_probabilities: whether the model answers with probabilities.
            labelled: whether its reference has labels.

        Raises:
            ConfigError: the model has no such metric, or the costs name a class that it does not know.
        """
        name = self.name or (ACCURACY if classes else MAE)
        of_task, task = (CLASS_METRICS, "classifier") if classes else (NUMBER_METRICS, "regression")
        if name not in of_task:
            raise ConfigError(
                f"alarms.metric = '{name}' is no metric of a {task}: use one of {', '.join(of_task)}"
            )
        if classes and self.unit_cost is not None:
            raise ConfigError(
                "alarms.cost is the cost of one unit of error of a regression, but the model is a "
                f"classifier: set the cost of each error in {COSTS_EXAMPLE}"
            )
        if not classes and self.costs:
            raise ConfigError(
                "alarms.costs has costs by class, but the model is a regression: set alarms.cost to the cost "
                "of one unit of error"
            )
        if name in NEED_PROBABILITIES and not has_probabilities:
            raise ConfigError(
                f"alarms.metric = '{name}' needs probabilities, but the model answers only with classes: "
                "use another metric, such as balanced_accuracy"
            )
        if name in (BALANCED_ACCURACY, F1, ROC_AUC) and not labelled:
            raise ConfigError(
                f"alarms.metric = '{name}' needs labels in the reference: set model.target to their column"
            )
        self._check_classes(classes)
        return replace(self, name=name)

    def _check_classes(self, classes: Sequence[str]) -> None:
        for true, row in self.costs.items():
            for name in (true, *row):
                if name not in classes:
                    hint = suggest_name(name, classes) or f"its classes are {join_names(classes)}"
                    raise ConfigError(f"alarms.costs: the model has no class '{name}': {hint}")
        if self.costs and not any(cost for row in self.costs.values() for cost in row.values()):
            raise ConfigError("alarms.costs: at least one cost must be more than 0")


def make_metric(
    name: str | None,
    quantile: float | None,
    costs: Mapping[str, Mapping[str, float]],
    unit_cost: float | None,
    currency: str | None,
) -> AlarmMetric:
    """Return the metric of the settings; their combination is checked, but not whether it fits a model.

    Raises:
        ConfigError: a setting is missing, or has no effect.

    >>> make_metric("pinball", 0.9, {}, None, None).quantile
    0.9
    >>> make_metric(None, None, {"churn": {"stay": 50.0}}, None, "EUR").name
    'cost'
    """
    has_cost = bool(costs) or unit_cost is not None
    if costs and unit_cost is not None:
        raise ConfigError("alarms.costs (by class) and alarms.cost (of a regression) are set: remove one")
    if name == PINBALL and quantile is None:
        raise ConfigError(
            "alarms.metric = 'pinball' needs alarms.quantile: the quantile that the model predicts, "
            "such as 0.9"
        )
    if quantile is not None and name != PINBALL:
        raise ConfigError("alarms.quantile needs alarms.metric = 'pinball'")
    if name == COST and not has_cost:
        raise ConfigError(
            f"alarms.metric = 'cost' needs costs: {COSTS_EXAMPLE}, or alarms.cost for one unit of error"
        )
    if has_cost and name not in (None, COST):
        raise ConfigError(
            f"alarms.metric = '{name}' does not use {'alarms.costs' if costs else 'alarms.cost'}: remove one "
            "of them, or set alarms.metric = 'cost'"
        )
    if currency and not has_cost:
        raise ConfigError("alarms.currency needs costs: set alarms.costs or alarms.cost")
    return AlarmMetric(COST if has_cost else name or "", quantile, costs, unit_cost, currency or "")

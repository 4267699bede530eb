"""The scale of losses: from a mean loss of the charts to the metric of the alarms, as number and as text."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.degradation.class_losses import RowLoss
from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.metric_texts import METRIC_NAMES, largest_loss_text, loss_text
from driftbell.records import Interval


@dataclass(frozen=True, slots=True)
class LossScale:
    """Scale of the losses of charts.

    Attributes:
        loss: loss of a row.
        mean: mean loss before a change.
        labelled: whether that mean is measured with labels; else it is an estimate.
        smallest: the smallest loss that matters.
    """

    loss: RowLoss
    mean: float
    labelled: bool
    smallest: float

    @property
    def metric(self) -> str:
        """Name of the metric in texts."""
        return METRIC_NAMES[self.loss.metric.name]

    @property
    def currency(self) -> str:
        """Currency of a cost, or ""."""
        return self.loss.metric.currency

    @property
    def before(self) -> float | None:
        """The metric before a change; None if it is not measured."""
        return self.loss.value(self.mean) if self.labelled else None

    def amount(self, loss: float) -> float:
        """Return a loss of the charts in units of the metric."""
        return self.loss.increase(self.mean, loss)

    def interval(self, loss: Interval) -> Interval:
        """Return a loss of the charts and its interval in units of the metric."""
        return Interval(*map(self.amount, (loss.value, loss.low, loss.high)))

    def value(self, loss: Interval) -> Interval:
        """Return the metric after a loss of the charts."""
        ends = [self.loss.value(self.mean + end) for end in (loss.value, loss.low, loss.high)]
        return Interval(ends[0], min(ends[1:]), max(ends[1:]))

    def text(self, loss: Interval) -> str:
        """Return a loss of the charts, with an interval above zero, as text."""
        return loss_text(self.metric, self.before, self.interval(loss), self.currency)

    def largest_text(self, loss: float) -> str:
        """Return the clause about the largest loss that is possible."""
        return largest_loss_text(self.metric, self.before, self.amount(loss), self.currency)


def loss_scale(charts: CusumCharts) -> LossScale:
    """Return the scale of the losses of charts."""
    learned = charts.learned
    source = LABELS if learned.labelled else ESTIMATE
    return LossScale(learned.loss, charts.baselines[source].mean, learned.labelled, charts.smallest_loss)

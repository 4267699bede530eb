"""Cost of an alarm per day: its loss per prediction times the predictions of the last 24 hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.phrases import count_of
from driftbell.ports import Store
from driftbell.publish.wording import format_daily_cost
from driftbell.records import DailyCost, Degradation, Interval, Verdict

DAY = timedelta(days=1)
WRONG = "more wrong predictions"


def with_daily_cost(
    degradation: Degradation, store: Store, now: datetime, *, model: str, version: str
) -> Degradation:
    """Return the result of a check with what its loss costs per day, if it is an alarm with a known loss.

    The cost is known for losses of accuracy, in wrong predictions, and for costs, in their currency.

    Args:
        degradation: result of the check.
        store: the prediction store.
        now: time of the check (UTC).
        model: name of the model.
        version: its version.

    Raises:
        StoreError: the store cannot be read.
    """
    loss, performance = degradation.stated_loss, degradation.performance
    if degradation.verdict is not Verdict.ALARM or degradation.closing or loss is None or performance is None:
        return degradation
    units = {METRIC_NAMES["accuracy"]: WRONG, METRIC_NAMES["cost"]: performance.currency or "more cost"}
    if performance.metric not in units:
        return degradation
    rows, _ = store.predictions.between(now - DAY, now, 1, model=model, version=version)
    if not rows:
        return degradation
    daily = DailyCost(
        rows, Interval(*(rows * end for end in (loss.value, loss.low, loss.high))), units[performance.metric]
    )
    verb = "is" if daily.unit == WRONG else "costs"
    traffic = f"at the {count_of(rows, 'prediction')} of the last 24 hours"
    sentence = f"{degradation.sentence} That {verb} {format_daily_cost(daily)}, {traffic}."
    return replace(degradation, sentence=sentence, daily_cost=daily)

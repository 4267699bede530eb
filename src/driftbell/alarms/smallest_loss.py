"""The smallest loss of performance that is worth an alarm, as a user sets it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from driftbell.alarms.limits import number_from
from driftbell.errors import ConfigError

ACCURACY_LOSS, ERROR_SHARE = 0.02, 0.1
"""Defaults: a loss of a metric between 0 and 1, and a share of an error or a cost."""

NAME = "alarms.smallest_loss"
HINT = "must be more than 0: such as 0.02, or of an error or a cost a share such as '10%'"
_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


@dataclass(frozen=True, slots=True)
class SmallestLoss:
    """The smallest loss that is worth an alarm; without a number, the default of the model's task.

    Attributes:
        amount: loss of the metric (0.02 of accuracy is two points), or increase of an error or a cost.
        share: the increase as a share of that on the reference.
    """

    amount: float | None = None
    share: float | None = None

    def of_accuracy(self) -> float:
        """Return the smallest loss of accuracy; see `of_share`.

        >>> SmallestLoss().of_accuracy()
        0.02
        """
        return self.of_share("accuracy")

    def of_share(self, metric: str) -> float:
        """Return the smallest loss of a metric between 0 and 1.

        Args:
            metric: its name, for messages.

        Raises:
            ConfigError: the setting is for an error or a cost.
        """
        if self.share is not None:
            text = f"{100 * self.share:g}%"
            raise ConfigError(
                f"{NAME} = '{text}' is a share of an error, such as that of a regression, but the metric is "
                f"{metric}: set it to a loss of {metric}, such as 0.02 for two percentage points"
            )
        if self.amount is not None and self.amount >= 1:
            raise ConfigError(
                f"{NAME} = {self.amount:g} must be below 1, since the metric is {metric}: 0.02 is two "
                f"percentage points of {metric}"
            )
        return ACCURACY_LOSS if self.amount is None else self.amount

    def of_error(self, error: float) -> float:
        """Return the smallest increase of an error or a cost.

        Args:
            error: mean absolute error, or another one, on the reference.

        >>> [loss.of_error(4.0) for loss in (SmallestLoss(), SmallestLoss(share=0.5), SmallestLoss(3.0))]
        [0.4, 2.0, 3.0]
        """
        if self.amount is not None:
            return self.amount
        return (ERROR_SHARE if self.share is None else self.share) * error


def parse_smallest_loss(value: object) -> SmallestLoss:
    """Parse the smallest loss.

    Args:
        value: a number, a text with one, a text such as "10%", or None for the default.

    Raises:
        ConfigError: it has another form, or is not more than 0.

    >>> parse_smallest_loss("10%"), parse_smallest_loss("0.05").amount
    (SmallestLoss(amount=None, share=0.1), 0.05)
    """
    if value is None:
        return SmallestLoss()
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    number = number_from(value) if share is None else float(share[1]) / 100
    if not 0 < number < math.inf:
        raise ConfigError(HINT)
    return SmallestLoss(number) if share is None else SmallestLoss(share=number)

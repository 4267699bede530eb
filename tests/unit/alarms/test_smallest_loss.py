"""The smallest loss that is worth an alarm, by task."""

from __future__ import annotations

import re

import pytest

from driftbell.alarms.smallest_loss import SmallestLoss, parse_smallest_loss
from driftbell.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "smallest"),
    [
        (None, SmallestLoss()),
        (0.05, SmallestLoss(0.05)),
        ("250", SmallestLoss(250.0)),
        (" 12.5 % ", SmallestLoss(share=0.125)),
    ],
)
def test_forms(value: object, smallest: SmallestLoss) -> None:
    assert parse_smallest_loss(value) == smallest


@pytest.mark.parametrize(
    "value", [0, -1, True, "", "ten", "0%", "-5%", "5 %%", float("inf"), float("nan"), [1]]
)
def test_other_forms_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"must be more than 0: such as 0\.02"):
        parse_smallest_loss(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [("10%", "alarms.smallest_loss = '10%' is a share of an error"), (5, "must be below 1")],
)
def test_a_setting_of_a_regression_does_not_fit_a_classifier(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_smallest_loss(value).of_accuracy()

"""Fixed limits in the checks of the monitor: the verdict, the notification, and the start."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from tests.degradations import ALARM
from tests.unit.monitor.test_check import checker, lease, log, predictions

from driftbell.alarms.limits import parse_limits
from driftbell.alarms.notifications import NotificationRules
from driftbell.config.settings import load
from driftbell.errors import ConfigError
from driftbell.monitor.check import Checker
from driftbell.monitor.check_log import log_check
from driftbell.publish.json_views import check_view
from driftbell.publish.notify import format_message
from driftbell.records import CheckKind, Lease, Notification, Verdict
from driftbell.store.check_json import check_from_json, check_to_json
from driftbell.store.sql import SqlStore
from driftbell.testing import FixedDetector
from driftbell.wiring.monitor import checker as configured_checker

__all__ = ["checker", "lease", "log"]

LIMITS = parse_limits({"age.max": 20, "city.null_share": 0.1})


def test_an_exceeded_limit_is_a_warning_and_no_alarm(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    check = replace(checker, limits=LIMITS)(CheckKind.TRIGGERED, "", lease)
    assert check.judgement.verdict is Verdict.WARNING
    assert check.judgement.sentence.startswith("Limit exceeded: age: largest value ")
    assert [limit.exceeded for limit in check.judgement.limits] == [True, False]
    assert checker.store.alarms.current(model="m", version="v1") is None
    assert check_from_json(json.loads(json.dumps(check_to_json(check)))) == check
    view = json.loads(json.dumps(check_view(check)))
    assert view["limits"][1] == {
        "column": "city",
        "measure": "null_share",
        "limit": 0.1,
        "value": 0.0,
        "exceeded": False,
        "reason": "0 % nulls, limit 10 %",
    }
    with structlog.testing.capture_logs() as lines:
        log_check(check)
    assert (lines[0]["log_level"], lines[0]["exceeded_limits"]) == ("warning", ["age.max"])


def test_an_alarm_names_the_limit_too(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    limited = replace(
        checker, limits=LIMITS, detector=FixedDetector(ALARM), notifies=NotificationRules(timedelta())
    )
    check = limited(CheckKind.TRIGGERED, "", lease)
    assert check.judgement.verdict is Verdict.ALARM
    assert "Limit exceeded: age" in check.judgement.sentence
    (delivery,) = checker.store.notifications.pending()
    notification: Notification = delivery.notification
    _, body = format_message(notification, None, check.judgement)
    assert "\nLimits exceeded: age: largest value " in body


def test_too_few_rows_judge_no_limit(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(5))
    check = replace(checker, limits=LIMITS)(CheckKind.TRIGGERED, "", lease)
    assert check.judgement.verdict is Verdict.UNKNOWN
    assert [limit.exceeded for limit in check.judgement.limits] == [None, None]


def test_other_limits_make_another_check(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    first = checker(CheckKind.TRIGGERED, "", lease)
    assert replace(checker, limits=LIMITS)(CheckKind.TRIGGERED, "", lease).id != first.id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[limits]\n"petal widht (cm).max" = 3\n',
            "limits: 'petal widht .cm..max': the reference has no column",
        ),
        ('[limits]\n"prediction.max" = 3\n', "column 'prediction' is categorical, and 'max' needs numbers"),
        (
            '[check.smallest_effects]\n"petal" = 0.1\n',
            "check.smallest_effects or --smallest-effect: the reference",
        ),
    ],
)
def test_a_setting_that_names_no_column_is_an_error_at_the_start(
    log: SqlStore, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "some.toml"
    file.write_text(text, "utf-8")
    settings = load(file, environment={}, overrides={"data_dir": str(tmp_path / "data")}).settings
    with pytest.raises(ConfigError, match=message):
        configured_checker(settings, log)

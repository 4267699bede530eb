"""The body of Alertmanager's webhook: what is taken, what is refused, what is logged of it."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from driftbell.errors import InputError
from driftbell.server.api.alertmanager import EXAMPLE, _log_alert, webhook_alerts

ALERT = {"status": "firing", "labels": {}}


def test_what_alertmanager_sends_is_taken() -> None:
    assert webhook_alerts(EXAMPLE) == EXAMPLE["alerts"]
    assert webhook_alerts({"version": "4", "alerts": [], "receiver": "x", "truncatedAlerts": 0}) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "version"),
        ({"alerts": []}, "version"),
        ({"version": 4, "alerts": []}, "version"),
        ({"version": "4"}, "alerts"),
        ({"version": "4", "alerts": {}}, "alerts"),
        ({"version": "4", "alerts": [5]}, "status"),
        ({"version": "4", "alerts": [ALERT, {**ALERT, "status": "x"}]}, "status"),
        ({"version": "4", "alerts": [{**ALERT, "status": []}]}, "status"),
        ({"version": "4", "alerts": [{"status": "firing"}]}, "labels"),
        ({"version": "4", "alerts": [{**ALERT, "labels": {"a": 1}}]}, "labels"),
        ({"version": "4", "alerts": [{**ALERT, "annotations": None}]}, "annotations"),
    ],
)
def test_anything_else_is_refused_by_its_field(body: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        webhook_alerts(body)
    (found,) = caught.value.problems
    assert found.field == field
    assert f"'{field}'" in found.message


def test_a_line_has_name_severity_and_summary_and_nothing_long() -> None:
    with structlog.testing.capture_logs() as lines:
        example: Any = EXAMPLE
        _log_alert(example["alerts"][0])
        _log_alert({"status": "resolved", "labels": {"alertname": "a" * 1000, "severity": "x", "other": "y"}})
    firing, resolved = lines
    assert firing == {
        "event": "alert firing",
        "log_level": "warning",
        "alertname": "DriftAlarm",
        "severity": "warning",
        "summary": "The inputs of iris have drifted.",
    }
    assert (resolved["event"], resolved["log_level"], resolved["summary"]) == ("alert resolved", "info", "")
    assert resolved["alertname"] == "a" * 300

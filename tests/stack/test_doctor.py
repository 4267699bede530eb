"""The doctor on a real service that a real Prometheus scrapes; Loki and Grafana are stood in for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.conftest import Running, running, wait_until
from tests.stack.prometheus import prometheus, stack_config
from tests.unit.test_doctor import GRAFANA, LOKI, REPORTS, serving

from driftbell.doctor import Stack, State, examine

pytestmark = pytest.mark.service


def states(stack: Stack) -> dict[str, State]:
    return {f.hop: f.state for f in examine(stack, clock=lambda: datetime.now(UTC))}


def test_a_running_stack_is_well(service: Running, tmp_path: Path) -> None:
    with (
        prometheus(tmp_path, stack_config(tmp_path, service.url)) as found,
        serving(LOKI) as loki,
        serving(GRAFANA) as grafana,
        serving(REPORTS) as reports,
    ):
        stack = Stack(service.url, found.url, loki.url, grafana.url, reports.url, None, token="glsa_1")
        # the monitor starts after the server, and Prometheus scrapes when it wants to
        wait_until(lambda: set(states(stack).values()) == {State.OK}, 60, "a stack that is well")


def test_a_missing_monitor_and_then_a_missing_service_are_found(tmp_path: Path) -> None:
    with (
        running("serve", tmp_path / "service", REPORTS__EVIDENTLY="off") as service,
        prometheus(tmp_path, stack_config(tmp_path, service.url)) as found,
    ):
        stack = Stack(service.url, found.url, None, None, None, None)
        wait_until(lambda: states(stack)["scrape"] is State.OK, 60, "the first scrape")
        assert states(stack)["monitor"] is State.WRONG
        service.stop()
        wait_until(lambda: states(stack)["scrape"] is State.WRONG, 60, "a failed scrape")
        findings = {f.hop: f for f in examine(stack, clock=lambda: datetime.now(UTC))}
    assert "connection refused" in findings["scrape"].message
    assert findings["service"].message == f"nothing answers at {service.url}"
    assert findings["rules"].state is State.OK

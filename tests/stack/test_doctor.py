"""The doctor on a service scraped by Prometheus, with fakes of Loki and Grafana."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.conftest import CHEAP_MONITOR, running, wait_until
from tests.stack.prometheus import prometheus, stack_config
from tests.unit.ops.test_doctor import GRAFANA, LOKI, REPORTS, serving

from driftbell.ops.doctor import examine
from driftbell.ops.stack import Stack, State

pytestmark = pytest.mark.service


def test_missing_components_are_reported_and_a_running_stack_is_healthy(tmp_path: Path) -> None:
    quiet = {"CHECK__EVERY": "off", **CHEAP_MONITOR}
    with (
        running("serve", tmp_path / "data", **quiet) as service,
        prometheus(tmp_path, stack_config(tmp_path, service.url)) as metrics,
        serving(LOKI) as loki,
        serving(GRAFANA) as grafana,
        serving(REPORTS) as reports,
    ):
        stack = Stack(service.url, metrics.url, loki.url, grafana.url, reports.url, None, token="glsa_1")

        def wrong() -> dict[str, str]:
            findings = examine(stack, clock=lambda: datetime.now(UTC), seconds=20)
            return {f.component: f.message for f in findings if f.state is not State.OK}

        # Prometheus scrapes when it wants to
        wait_until(lambda: wrong() == {"monitor": "no monitor runs"}, 60, "the first scrape")
        with running("monitor", tmp_path / "data", **quiet) as monitor:
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not wrong(), 120, "a stack that is well")
            assert wrong() == {}, monitor.lines()
        service.stop()
        wait_until(lambda: "scrape" in wrong(), 60, "a failed scrape")
        left = wrong()
    assert "connection refused" in left["scrape"]
    assert left["service"] == f"nothing answers at {service.url}"
    assert left.keys() == {"service", "scrape"}

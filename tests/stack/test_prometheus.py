"""Prometheus scrapes a real service (C2)."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Running, wait_until
from tests.stack.prometheus import needs_prometheus, prometheus, scrape_config

pytestmark = needs_prometheus


def test_prometheus_scrapes_the_service(service: Running, tmp_path: Path) -> None:
    with prometheus(scrape_config(tmp_path, service.url), tmp_path) as found:
        wait_until(lambda: found.query('up{job="driftbell"} == 1'), 20, "the first scrape")
        assert found.healthy_targets() == 1
        assert {s["metric"]["version"] for s in found.query("driftbell_model_info")} == {
            s.labels["version"] for s in service.samples() if s.name == "driftbell_model_info"
        }
        assert found.process.poll() is None
    assert found.process.poll() is not None

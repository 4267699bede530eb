"""The report viewer and the TLS front in a real browser, with a real report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.browser import test_pages
from tests.conftest import Running
from tests.stack.nginx import Nginx, needs_nginx, nginx

from driftbell.ops.certs import dev_certificates
from driftbell.publish.evidently import evidently_available

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [*test_pages.pytestmark, needs_nginx]
alarmed, browser = test_pages.alarmed, test_pages.browser


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory, alarmed: Running) -> Iterator[Nginx]:
    asked = httpx.get(f"{alarmed.url}/monitor/generate_report", timeout=120)
    assert asked.json()["verdict"] == "alarm"
    moved = {"/reports;": f"{alarmed.data_dir / 'reports'};"}
    with nginx("reports.conf", tmp_path_factory.mktemp("viewer"), moved) as found:
        yield found


@pytest.mark.parametrize("width", [1200, 390])
def test_list_leads_to_reports(browser: Browser, viewer: Nginx, width: int) -> None:
    visit = test_pages.Visit(browser, viewer, "/", width=width)
    assert visit.page.inner_text("h1") == "Reports"
    assert visit.page.locator("tbody tr").count() >= 2
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.click("tbody a >> nth=0")
    visit.page.wait_for_selector("text=sepal length (cm)")
    assert "manual" in visit.page.url
    assert visit.trouble == []


@pytest.mark.parametrize("prefix", ["drift_report", "driftbell_report"])
def test_reports_work_under_the_viewers_policy(
    browser: Browser,
    viewer: Nginx,
    prefix: str,
) -> None:
    if prefix == "driftbell_report" and not evidently_available():
        pytest.skip("without Evidently there is one report only")
    visit = test_pages.Visit(browser, viewer, f"/{prefix}_latest.html")
    visit.page.wait_for_selector("text=sepal length (cm)")
    visit.page.wait_for_load_state("networkidle")
    assert visit.trouble == []


def test_pages_work_over_tls_and_http_2(
    browser: Browser,
    viewer: Nginx,
    alarmed: Running,
    tmp_path: Path,
) -> None:
    certs = dev_certificates(tmp_path / "certs", now=datetime.now(UTC))
    moved = {
        "/certs/": f"{certs.key.parent}/",
        "ml_service:8000": alarmed.url.removeprefix("http://"),
        "report_server:8080": viewer.url.removeprefix("http://"),
    }
    with nginx("tls.conf", tmp_path / "nginx", moved) as front:
        page = browser.new_page(ignore_https_errors=True)
        trouble: list[str] = []
        page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
        headings = {"localhost": "The model probably performs worse", "reports.localhost": "Reports"}
        for host, heading in headings.items():
            page.goto(f"https://{host}:{front.ports[8443]}/")
            assert heading in page.inner_text("h1")
            protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
            assert page.evaluate(protocol) == "h2"
    assert trouble == []

"""The pages, the report viewer and the TLS front in a real browser: without errors, without another host."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from tests.conftest import Running, running, wait_until
from tests.stack.nginx import Nginx, needs_nginx, nginx

from driftbell.ops.certs import dev_certificates
from driftbell.publish.evidently import evidently_available
from driftbell.simulation.faults import CONTRACT_FAULTS
from driftbell.simulation.traffic import simulate

sync_api = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")

pytestmark = [pytest.mark.service, pytest.mark.browser]

if not CHROMIUM and os.environ.get("CI") != "true":
    pytestmark.append(pytest.mark.skip(reason="Debian's chromium is not installed"))


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service after 60 normal and 60 drifted requests and one check."""
    with running("up", tmp_path_factory.mktemp("pages"), CHECK__EVERY="off") as service:
        wait_until(lambda: httpx.get(f"{service.url}/health").json()["monitor"] == "running")
        simulate(
            service.url,
            normal=60,
            drifted=60,
            rate=None,
            faults=CONTRACT_FAULTS,
            rng=np.random.default_rng(0),
            report=lambda _: None,
            concurrency=8,
        )
        check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
        assert check["verdict"] == "alarm"
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "CI promises a browser: install Debian's chromium"
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


class Visit:
    """A page, with all that went wrong on it."""

    def __init__(
        self, browser: Browser, service: Running | Nginx, path: str, width: int = 1200, *, dark: bool = False
    ) -> None:
        self.trouble: list[str] = []
        self.page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.page.set_default_timeout(20_000)
        self.page.on(
            "console", lambda m: self.trouble.append(m.text) if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda e: self.trouble.append(str(e)))
        self.page.on(
            "request",
            lambda r: (
                self.trouble.append(r.url) if not r.url.startswith((service.url, "data:", "blob:")) else None
            ),
        )
        self.page.goto(service.url + path)


def test_first_page_tells_the_verdict_and_draws_every_column(browser: Browser, alarmed: Running) -> None:
    visit = Visit(browser, alarmed, "/")
    assert visit.page.inner_text("h1").startswith("The model probably performs worse")
    top = visit.page.locator("section.verdict").first.inner_text()
    assert "Drift in sepal length (cm), sepal width (cm) and petal length (cm)" in top
    assert visit.page.locator("section.degradation .badge.alarm").count() == 1
    assert visit.page.locator("article.column svg").count() == 8
    assert visit.page.locator("article.column.warning h3", has_text="petal width").count() == 0
    assert visit.trouble == []


@pytest.mark.parametrize("path", ["/", "/reports/"])
def test_a_page_fits_a_phone_and_no_table_is_cut(browser: Browser, alarmed: Running, path: str) -> None:
    visit = Visit(browser, alarmed, path, width=390)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    cells = visit.page.locator(".stacked td").evaluate_all(
        "all => all.map(c => c.getBoundingClientRect().right)"
    )
    assert 0 < max(cells) <= 390
    assert visit.trouble == []


def test_the_runbook_fits_a_phone(browser: Browser, alarmed: Running) -> None:
    visit = Visit(browser, alarmed, "/runbook", width=390)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_check_now_makes_a_check(browser: Browser, alarmed: Running) -> None:
    before = len(httpx.get(f"{alarmed.url}/monitor/checks").json()["checks"])
    visit = Visit(browser, alarmed, "/")
    visit.page.click("text=Check now")
    visit.page.wait_for_selector("text=triggered")
    wait_until(lambda: len(httpx.get(f"{alarmed.url}/monitor/checks").json()["checks"]) > before)
    assert visit.page.url == f"{alarmed.url}/"
    assert visit.trouble == []


def test_docs_answer_when_execute_is_pressed(browser: Browser, alarmed: Running) -> None:
    visit = Visit(browser, alarmed, "/docs")
    visit.page.click("#operations-predict-predict_predict_post .opblock-summary-control")
    visit.page.wait_for_selector("textarea")
    assert '"sepal length (cm)": 5.1' in visit.page.input_value("textarea")
    visit.page.click("button.execute")
    visit.page.wait_for_selector(".live-responses-table .response-col_status:has-text('200')")
    assert '"class": "setosa"' in visit.page.inner_text(".live-responses-table tbody .highlight-code")
    assert visit.trouble == []


def test_docs_are_dark_for_who_reads_in_the_dark(browser: Browser, alarmed: Running) -> None:
    visit = Visit(browser, alarmed, "/docs", dark=True)
    text = visit.page.locator(".opblock-summary-description").first
    colours = text.evaluate(
        "e => [getComputedStyle(document.body).backgroundColor, getComputedStyle(e).color]"
    )
    paper, ink = (sum(map(int, re.findall(r"\d+", c)[:3])) for c in colours)
    assert paper < 150
    assert ink > 450
    assert text.evaluate("e => getComputedStyle(e.closest('.swagger-ui')).backgroundColor").endswith(", 0)")
    assert visit.trouble == []


@pytest.mark.parametrize("prefix", ["drift_report", "driftbell_report"])
def test_reports_open_without_another_host(browser: Browser, alarmed: Running, prefix: str) -> None:
    path = f"/reports/{prefix}_latest.html"
    if httpx.get(alarmed.url + path).status_code == 404:
        pytest.skip("without Evidently there is one report only")
    visit = Visit(browser, alarmed, path)
    visit.page.wait_for_selector("text=sepal length (cm)")
    assert visit.trouble == []


def test_report_list_leads_to_the_reports(browser: Browser, alarmed: Running, tmp_path: Path) -> None:
    visit = Visit(browser, alarmed, "/reports/")
    visit.page.click("tbody a >> nth=0")
    visit.page.wait_for_selector("text=sepal length (cm)")
    assert visit.trouble == []


def test_an_alert_leads_to_its_section_of_the_runbook(browser: Browser, alarmed: Running) -> None:
    visit = Visit(browser, alarmed, "/runbook#DriftAlarm")
    assert visit.page.locator("section:target h2").inner_text() == "DriftAlarm"
    told = {e["alert"]: e for e in httpx.get(f"{alarmed.url}/runbook.json").json()["alerts"]}
    assert told["DriftAlarm"]["means"] in visit.page.inner_text("section:target")
    assert visit.trouble == []


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory, alarmed: Running) -> Iterator[Nginx]:
    asked = httpx.get(f"{alarmed.url}/monitor/generate_report", timeout=120)
    assert asked.json()["verdict"] == "alarm"
    moved = {"/reports;": f"{alarmed.data_dir / 'reports'};"}
    with nginx("reports.conf", tmp_path_factory.mktemp("viewer"), moved) as found:
        yield found


@needs_nginx
@pytest.mark.parametrize("width", [1200, 390])
def test_list_leads_to_reports(browser: Browser, viewer: Nginx, width: int) -> None:
    visit = Visit(browser, viewer, "/", width=width)
    assert visit.page.inner_text("h1") == "Reports"
    assert visit.page.locator("tbody tr").count() >= 2
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.click("tbody a >> nth=0")
    visit.page.wait_for_selector("text=sepal length (cm)")
    assert "manual" in visit.page.url
    assert visit.trouble == []


@needs_nginx
@pytest.mark.parametrize("prefix", ["drift_report", "driftbell_report"])
def test_reports_work_under_the_viewers_policy(
    browser: Browser,
    viewer: Nginx,
    prefix: str,
) -> None:
    if prefix == "driftbell_report" and not evidently_available():
        pytest.skip("without Evidently there is one report only")
    visit = Visit(browser, viewer, f"/{prefix}_latest.html")
    visit.page.wait_for_selector("text=sepal length (cm)")
    visit.page.wait_for_load_state("networkidle")
    assert visit.trouble == []


@needs_nginx
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

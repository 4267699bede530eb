"""The login in a real browser, in front of two workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import Running, running, wait_until
from tests.service.test_auth import QUIET, create, keys

sync_api = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")

pytestmark = [pytest.mark.service, pytest.mark.browser]

if not CHROMIUM and os.environ.get("CI") != "true":
    pytestmark.append(pytest.mark.skip(reason="Debian's chromium is not installed"))


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


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("login")
    made = {scope: create(folder, scope, scope) for scope in ("read", "admin")}
    with running("serve", folder, **QUIET, AUTH__REQUIRED="always", SERVER__WORKERS="2") as service:
        yield service, made


def open_page(browser: Browser, url: str, width: int = 1200, *, dark: bool = False) -> tuple[Page, list[str]]:
    """Open a page in a browser of its own; return it with its errors and the hosts it asked besides."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
    )
    page, trouble = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: trouble.append(str(e)))
    page.goto(url)
    return page, trouble


def log_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_person_logs_in_reads_pages_of_both_workers_and_logs_out(
    browser: Browser, secured: tuple[Running, dict[str, str]]
) -> None:
    service, made = secured
    page, trouble = open_page(browser, f"{service.url}/runbook")
    assert page.url == f"{service.url}/login?next=/runbook"
    assert trouble == []
    log_in(page, "dbk_00000000_x")
    assert page.locator("[role=alert]").inner_text() == "This key is unknown, revoked or expired."
    trouble.clear()  # the browser logs the status of that answer
    log_in(page, made["read"])
    page.wait_for_url(f"{service.url}/runbook")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("driftbell_session", True, "Strict")
    assert page.evaluate("document.cookie") == ""
    for path in ("/", "/reports/", "/docs", "/") * 4:  # connections to both workers
        answer = page.goto(service.url + path)
        assert answer is not None
        assert answer.status == 200, path
    assert trouble == []
    assert page.get_by_role("button", name="Check now").count() == 0
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{service.url}/login")
    assert page.context.cookies() == []
    page.goto(service.url)
    assert page.url == f"{service.url}/login"


def test_an_admin_may_change_state_and_try_calls_in_the_docs(
    browser: Browser, secured: tuple[Running, dict[str, str]]
) -> None:
    service, made = secured
    page, trouble = open_page(browser, service.url)
    log_in(page, made["admin"])
    page.wait_for_url(f"{service.url}/")
    assert page.get_by_role("button", name="Check now").count() == 1
    page.goto(f"{service.url}/docs")
    page.get_by_role("button", name="Authorize").wait_for()
    assert trouble == []


def test_a_page_of_another_port_can_not_use_the_session(
    browser: Browser, secured: tuple[Running, dict[str, str]], tmp_path: Path
) -> None:
    service, made = secured
    page, _ = open_page(browser, service.url)
    log_in(page, made["admin"])
    page.wait_for_url(f"{service.url}/")
    with running("serve", tmp_path, **QUIET) as other:
        page.goto(f"{other.url}/health")
        script = (
            "async url => (await fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include'})).type"
        )
        before = len(forbidden(service))
        assert page.evaluate(script, f"{service.url}/monitor/trigger_now") == "opaque"
        wait_until(lambda: len(forbidden(service)) == before + 1, 30, "the refusal")


def forbidden(service: Running) -> list[dict[str, Any]]:
    return [event for event in service.events("request") if event["status"] == 403]


def test_the_page_of_an_ended_session_leads_to_the_login(
    browser: Browser, secured: tuple[Running, dict[str, str]]
) -> None:
    service, _ = secured
    key = create(service.data_dir, "guest", "read")
    page, _ = open_page(browser, service.url)
    wait_until(lambda: logged_in(page, key), 30, "the login with a new key")
    keys(service.data_dir, "revoke", "guest")
    page.wait_for_url(f"{service.url}/login", timeout=30_000)


def logged_in(page: Page, key: str) -> bool:
    log_in(page, key)
    return page.get_by_role("button", name="Log out").count() == 1


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True)])
def test_the_login_fits_each_screen(
    browser: Browser, secured: tuple[Running, dict[str, str]], width: int, dark: bool
) -> None:
    service, made = secured
    page, _ = open_page(browser, f"{service.url}/", width, dark=dark)
    log_in(page, "wrong")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    log_in(page, made["admin"])
    page.wait_for_url(f"{service.url}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= width

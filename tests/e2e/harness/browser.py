"""A real Chromium, one for all tests, and pages in it that may not complain."""

from __future__ import annotations

from typing import Any, Callable, Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from .given import given
from .laker import Laker

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = given("LAKER_CHROMIUM")
    with sync_playwright() as playwright:
        # Chromium refuses to run as root inside its own sandbox, as CI does.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page in a window of a size; a word of complaint from the page fails the test."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def open_page(laker: Laker, **window: Any) -> Page:
        page = browser.new_context(**window).new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
        page.goto(laker.url)
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        return page

    yield open_page
    # What a window still waits for when it is closed is no failure.
    seen = len(complaints)
    for context in browser.contexts:
        context.close()
    del complaints[seen:]
    # Nor is what the browser gave up itself, because the page is loaded anew.
    found = [text for text in complaints if "/events" not in text and "net::ERR_ABORTED" not in text]
    assert not found, found

"""The live page in a real Chromium, on a desk and on a phone: it shows what arrives, asks SQL, complains of nothing,
and shows what is inside events as text. Screenshots go to `LAKER_SCREENSHOTS`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable

import pytest
from playwright.sync_api import Page, expect

from harness.browser import DESK, PHONE
from harness.laker import Laker
from harness.lakes import Lake
from harness.rows import Event
from harness.senders import encoded, send_all

SCRIPT = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"


@pytest.fixture
def laker(new_laker: Callable[..., Laker], folder_lake: Lake, events: list[Event]) -> Laker:
    laker = new_laker(folder_lake, flush_after="1s")
    laker.up()
    send_all(laker, encoded(events[:2_000]))
    return laker


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("desk", {"viewport": DESK}),
        ("desk-dark", {"viewport": DESK, "color_scheme": "dark"}),
        ("phone", {"viewport": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}),
    ],
)
def test_the_page_shows_events_as_they_arrive_and_answers_sql(
    laker: Laker, open_page: Callable[..., Page], name: str, window: dict[str, Any]
) -> None:
    page = open_page(laker, **window)
    assert laker.post(json.dumps({"action": "search", "keyword": f"only on {name}"}).encode()).status == 200
    expect(page.locator("#events").get_by_text(f"only on {name}").first).to_be_visible()
    expect(page.locator("#legend")).to_contain_text("search")
    page.fill("#sql-text", "SELECT action, count(*) AS n FROM logs GROUP BY action ORDER BY action")
    page.click("#run")
    table = page.locator("#result-table")
    for action in ["purchase", "search", "view"]:
        expect(table).to_contain_text(action)
    expect(page.locator("#result-chart svg").first).to_be_visible()
    _assert_nothing_is_wider_than_the_window(page)
    _screenshot(page, name)


def test_a_wrong_statement_is_answered_on_the_page(laker: Laker, browser: Browser) -> None:
    # Not by `open_page`: a refused request is a line on the browser's console, as it must be.
    page = browser.new_page()
    page.goto(laker.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.fill("#sql-text", "SELECT actoin FROM logs")
    page.click("#run")
    expect(page.locator("#sql-error")).to_contain_text("action")
    page.close()


def test_scripts_inside_events_are_text(laker: Laker, open_page: Callable[..., Page]) -> None:
    page = open_page(laker, viewport=DESK)
    event = {"action": SCRIPT, SCRIPT: SCRIPT, "nested": {"list": [SCRIPT]}}
    assert laker.post(json.dumps(event).encode()).status == 200
    expect(page.locator("#events").get_by_text("document.title").first).to_be_visible()
    page.locator("#events details").first.click()
    page.fill("#sql-text", "SELECT action, count(*) AS n FROM logs GROUP BY action")
    page.click("#run")
    expect(page.locator("#result-table")).to_contain_text("document.title")
    assert "broken in" not in page.title()
    assert page.locator("img[src='x']").count() == 0


def test_the_page_finds_its_server_again(laker: Laker, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(laker.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    assert laker.processes[-1].stop() == 0
    expect(page.locator("#connection")).to_have_attribute("data-state", "bad", timeout=30_000)
    laker.up()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=30_000)
    page.close()


def _assert_nothing_is_wider_than_the_window(page: Page) -> None:
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"the page scrolls sideways by {wider} pixels"


def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("LAKER_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"live-{name}.png", full_page=True)

"""What the live page does beyond showing events and answering SQL (`test_live_page.py`): true counts, a first
command that works, the keyboard, reading in peace, and no word to another host."""

from __future__ import annotations

import json
import re
import shlex
from typing import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.browser import DESK, PHONE
from harness.laker import Laker
from harness.lakes import Lake
from harness.waiting import LIMIT_SECONDS

# The page is asked what it shows, not how fast.
expect.set_options(timeout=LIMIT_SECONDS * 1_000)

#: More than a double holds exactly.
LARGE = 9_007_199_254_740_993


@pytest.fixture
def empty_laker(new_laker: Callable[..., Laker], folder_lake: Lake) -> Laker:
    laker = new_laker(folder_lake, flush_after="1s")
    laker.up()
    return laker


def test_counts_on_the_page_are_those_of_the_events(empty_laker: Laker, open_page: Callable[..., Page]) -> None:
    page = open_page(empty_laker, viewport=DESK)
    for action, count in {"search": 1_200, "buy": 37}.items():
        body = b"\n".join([json.dumps({"action": action}).encode()] * count)
        assert empty_laker.post(body).json()["accepted"] == count
    legend = page.locator("#legend li")
    expect(legend.filter(has_text="search")).to_have_text(re.compile(r"search\s*1,200"))
    expect(legend.filter(has_text="buy")).to_have_text(re.compile(r"buy\s*37"))
    expect(page.locator("#rate-more")).to_contain_text("1,237 in 10 min")
    # All of it lands, and the page says so.
    expect(page.locator("#lag")).to_have_text("0")
    expect(page.locator("#age")).to_contain_text("ago")
    expect(page.locator("#dead")).to_have_text("0")


def test_the_command_on_an_empty_page_sends_an_event_that_appears(
    empty_laker: Laker, open_page: Callable[..., Page]
) -> None:
    page = open_page(empty_laker, viewport=PHONE, is_mobile=True, has_touch=True)
    expect(page.locator("#empty-title")).to_have_text("No events yet")
    curl, url, option, body = shlex.split(page.locator("#empty-command").inner_text())
    assert (curl, option) == ("curl", "-d")
    assert empty_laker.post(body.encode(), url.removeprefix(empty_laker.url)).status == 200
    expect(page.locator("#events")).to_contain_text(json.loads(body)["keyword"])
    expect(page.locator("#empty")).to_be_hidden()


def test_sql_by_keyboard_with_every_digit_and_a_choice_of_charts(
    empty_laker: Laker, open_page: Callable[..., Page]
) -> None:
    page = open_page(empty_laker, viewport=DESK)
    page.locator("#sql-text").fill(f"SELECT * FROM (VALUES ('a', {LARGE}, 1.5), ('b', 2, 2.5)) AS t(name, large, part)")
    page.keyboard.press("Control+Enter")
    table = page.locator("#result-table")
    expect(table.locator("td", has_text=str(LARGE))).to_have_class("number")
    expect(table.locator("th").first).to_have_text("name")
    expect(page.locator("#sql-meta")).to_contain_text("2 rows")
    chart = page.locator("#result-chart")
    expect(chart.locator(".bars path")).to_have_count(4)
    page.get_by_role("button", name="Line", exact=True).press("Enter")
    expect(chart.locator(".scatterlayer .trace")).to_have_count(2)
    page.get_by_role("button", name="No chart").press("Enter")
    expect(chart).to_be_hidden()


def test_a_large_answer_is_cut_to_what_a_page_shows(empty_laker: Laker, open_page: Callable[..., Page]) -> None:
    body = b"\n".join([b'{"action":"search"}'] * 1_500)
    assert empty_laker.post(body).status == 200
    page = open_page(empty_laker, viewport=DESK)
    page.locator("#sql-text").fill("SELECT _offset FROM logs")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#sql-meta")).to_contain_text("first 1,000 rows")
    expect(page.locator("#result-table tbody tr")).to_have_count(1_000)


def test_an_opened_event_can_be_read_in_peace(empty_laker: Laker, open_page: Callable[..., Page]) -> None:
    page = open_page(empty_laker, viewport=DESK)
    rows = page.locator("#events li")
    assert empty_laker.post(b'{"action":"search","keyword":"first","price":1.50}').status == 200
    expect(rows).to_have_count(1)
    _open_by_keyboard(rows)
    expect(rows.locator("pre")).to_contain_text('"keyword": "first"')
    expect(rows.locator("pre")).to_contain_text('"price": 1.50')
    assert empty_laker.post(b'{"action":"search","keyword":"second"}').status == 200
    expect(page.locator("#events-note")).to_have_text("paused, 1 new")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("second")


def _open_by_keyboard(rows: Locator) -> None:
    """A list that is filled anew, as after a lost connection, takes no key: then once more."""
    for _ in range(10):
        rows.locator("summary").press("Enter")
        try:
            expect(rows.locator("details")).to_have_attribute("open", "", timeout=5_000)
            return
        except AssertionError:
            continue
    raise AssertionError("the row does not open by Enter")


def test_the_page_speaks_to_its_own_server_only(empty_laker: Laker, open_page: Callable[..., Page]) -> None:
    page = open_page(empty_laker, viewport=DESK)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert empty_laker.post(b'{"action":"search"}').status == 200
    # A library that is still on its way would be asked for in vain.
    expect(page.locator("svg.main-svg").first).to_be_visible()
    page.reload()
    page.get_by_role("button", name="By action").click()
    expect(page.locator("#sql-meta")).to_contain_text("row")
    expect(page.locator("svg.main-svg").first).to_be_visible()
    assert any("/sql" in url for url in asked)
    assert [url for url in asked if not url.startswith((empty_laker.url, "data:", "blob:"))] == []

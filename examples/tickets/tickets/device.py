"""Which kind of device a browser runs on, from its User-Agent."""

from __future__ import annotations

import re

_BOT = re.compile(r"bot|crawl|spider|slurp|preview", re.IGNORECASE)
_TABLET = re.compile(r"iPad|Tablet|Kindle|Silk", re.IGNORECASE)
_MOBILE = re.compile(r"Mobi|iPhone|iPod", re.IGNORECASE)


def device_of(user_agent: str) -> str:
    """One of mobile, desktop, tablet and bot."""
    if _BOT.search(user_agent):
        return "bot"
    # An Android without "Mobile" is a tablet; an iPad says "Mobile" too.
    if _TABLET.search(user_agent) or ("Android" in user_agent and "Mobile" not in user_agent):
        return "tablet"
    return "mobile" if _MOBILE.search(user_agent) else "desktop"

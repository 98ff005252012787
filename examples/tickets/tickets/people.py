"""How people use the shop: whom they are, what they type, and when they buy.

A visit is a generator that yields what the person does next and is sent what the shop answered,
so the same people drive the real service (`load.py`) and the generator of events (`events.py`).
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Generator, NamedTuple, Optional, Union

from tickets.catalogue import CATEGORIES, REGIONS, SHOWS, Show, keywords

USER_AGENTS = {
    "mobile": [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 15; SM-S931N) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Mobile Safari/537.36",
    ],
    "desktop": [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.1 Safari/605.1.15",
    ],
    "tablet": [
        "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36",
    ],
    "bot": ["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
}
_DEVICE_SHARES = {"mobile": 62, "desktop": 28, "tablet": 7, "bot": 3}
_REGION_SHARES = {"Seoul": 46, "Busan": 17, "Incheon": 11, "Daegu": 9, "Daejeon": 7, "Gwangju": 6, "Jeju": 4}
_PAYMENT_METHODS = ["card", "card", "card", "bank_transfer", "phone", "points"]
_CARD_BRANDS = ["visa", "mastercard", "bc", "amex"]
# The exponent of the popularity of keywords: rank r is typed 1/r**1.1 times as often as the first.
_ZIPF_EXPONENT = 1.1


class Search(NamedTuple):
    """Looks for shows; the shop answers with a list of them."""

    category: Optional[str]
    region: Optional[str]
    keyword: str


class View(NamedTuple):
    """Looks at one show."""

    show_id: int


class Payment(NamedTuple):
    """How a purchase is paid; `card` and `installments` only when the method is a card."""

    method: str
    card: Optional[str]
    installments: Optional[int]


class Purchase(NamedTuple):
    """Buys seats of one show."""

    show_id: int
    seats: list[str]
    payment: Payment


Action = Union[Search, View, Purchase]
#: Yields actions; is sent the shows that a search found (and anything after the others).
Visit = Generator[Action, "list[Show]", None]


@dataclass(frozen=True)
class Person:
    """Someone with a home and a device; `user_id` is None for who has not signed in."""

    user_id: Optional[str]
    region: str
    device: str
    user_agent: str


def people(count: int, rng: random.Random) -> list[Person]:
    """So many people, a fifth of them not signed in."""
    return [_person(number, rng) for number in range(count)]


def _person(number: int, rng: random.Random) -> Person:
    device = _weighted(_DEVICE_SHARES, rng)
    anonymous = device == "bot" or rng.random() < 0.2
    return Person(
        user_id=None if anonymous else f"u{number:06d}",
        region=_weighted(_REGION_SHARES, rng),
        device=device,
        user_agent=rng.choice(USER_AGENTS[device]),
    )


def visit(person: Person, rng: random.Random) -> Visit:
    """One visit: one to four searches, a look at some of what they find, and sometimes a purchase."""
    for _ in range(rng.randint(1, 4)):
        wanted = _search(person, rng)
        typed = wanted._replace(keyword=_mistyped(wanted.keyword, rng))
        found = yield typed
        if not found and typed != wanted:
            found = yield wanted
        if found and rng.random() < 0.7:
            bought = yield from _look_around(person, found, rng)
            if bought:
                return


def _look_around(person: Person, found: list[Show], rng: random.Random) -> Generator[Action, list[Show], bool]:
    for _ in range(rng.randint(1, 3)):
        # The first results get most of the clicks.
        show = found[min(int(rng.expovariate(0.5)), len(found) - 1)]
        yield View(show.id)
        if person.device != "bot" and rng.random() < 0.12:
            yield _purchase(show.id, rng)
            return True
    return False


def _search(person: Person, rng: random.Random) -> Search:
    region = person.region if rng.random() < 0.8 else rng.choice(REGIONS)
    kind = rng.random()
    if kind < 0.15:
        return Search(rng.choice(CATEGORIES), region, "")
    keyword = _keyword(region, rng)
    if kind < 0.35:
        return Search(_category_of(keyword), region, keyword)
    return Search(None, region if rng.random() < 0.75 else None, keyword)


def _purchase(show_id: int, rng: random.Random) -> Purchase:
    row, first = rng.choice("ABCDEFGHJKLMNP"), rng.randint(1, 30)
    quantity = rng.choice([1, 2, 2, 2, 3, 4])
    method = rng.choice(_PAYMENT_METHODS)
    payment = Payment(method, None, None)
    if method == "card":
        payment = Payment(method, rng.choice(_CARD_BRANDS), rng.choice([1, 1, 1, 3, 6]))
    return Purchase(show_id, [f"{row}-{first + i}" for i in range(quantity)], payment)


@lru_cache(maxsize=None)
def _popular_keywords(region: str) -> tuple[list[str], list[float]]:
    """The keywords in the order of their popularity in a region, and their cumulative weights."""
    ranked = keywords()
    random.Random(f"taste of {region}").shuffle(ranked)
    weights = (1 / rank**_ZIPF_EXPONENT for rank in range(1, len(ranked) + 1))
    return ranked, list(itertools.accumulate(weights))


def _keyword(region: str, rng: random.Random) -> str:
    ranked, weights = _popular_keywords(region)
    keyword = rng.choices(ranked, cum_weights=weights)[0]
    return keyword.lower() if rng.random() < 0.8 else keyword


@lru_cache(maxsize=None)
def _category_of(keyword: str) -> str:
    return next(show.category for show in SHOWS.values() if show.matches(keyword))


def _mistyped(keyword: str, rng: random.Random) -> str:
    """Every twelfth keyword with one letter lost or two swapped."""
    if len(keyword) < 4 or rng.random() > 1 / 12:
        return keyword
    at = rng.randrange(len(keyword) - 1)
    if rng.random() < 0.5:
        return keyword[:at] + keyword[at + 1 :]
    return keyword[:at] + keyword[at + 1] + keyword[at] + keyword[at + 2 :]


def _weighted(shares: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]

"""The shows on sale: made up once, the same in every process."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

VENUES = {
    "Seoul": ["Namsan Arts Hall", "Han River Stage", "Mapo Live House", "Olympic Dome"],
    "Busan": ["Haeundae Theatre", "Harbour Hall", "Gwangan Open Air"],
    "Incheon": ["Songdo Concert Hall", "Wolmi Playhouse"],
    "Daegu": ["Suseong Opera House", "Dalgubeol Stadium"],
    "Daejeon": ["Expo Arts Centre", "Yuseong Studio"],
    "Gwangju": ["Mudeung Hall", "Asia Plaza Stage"],
    "Jeju": ["Tangerine Garden Stage", "Sunrise Arena"],
}
REGIONS = list(VENUES)

# category -> (works or themes, performers, lowest and highest price in thousands of won)
_PROGRAMME: dict[str, tuple[list[str], list[str], tuple[int, int]]] = {
    "musical": (
        ["The Phantom's Mirror", "Notre-Dame", "Chunhyang", "Les Étoiles", "Frankenstein", "Cinderella"],
        ["Blue House Company", "Daehangno Musical Group", "Studio Lantern"],
        (60, 170),
    ),
    "concert": (
        ["Winter Tour", "Encore Night", "Unplugged", "World Tour", "Fan Meeting", "10th Anniversary"],
        ["Moonlit Alley", "NEON SEOUL", "김하늘", "The Paper Boats", "Velvet Tiger", "DJ Mirae"],
        (44, 198),
    ),
    "play": (
        ["Hamlet", "The Cherry Orchard", "Waiting Room", "맹진사댁 경사", "Antigone", "A Doll's House"],
        ["Theatre Bada", "Company 1919", "Small Theatre Ssal"],
        (20, 66),
    ),
    "classical": (
        ["Mahler 2", "Beethoven 9", "The Four Seasons", "Winterreise", "Bach: Cello Suites", "Carmen"],
        ["City Philharmonic", "Han River Quartet", "Pianist Seo Yun"],
        (10, 150),
    ),
    "dance": (
        ["Swan Lake", "The Nutcracker", "Ganggangsullae", "Giselle", "Bolero"],
        ["National Ballet Studio", "Collective Motion"],
        (20, 120),
    ),
    "exhibition": (
        ["Light and Water", "Van Gogh in Motion", "Joseon Paintings", "Robots at Home", "Photography 1960"],
        ["Gallery Moru", "Museum of Now"],
        (8, 25),
    ),
    "sports": (
        ["Baseball Derby", "Basketball Finals", "Volleyball League", "e-Sports Cup"],
        ["Whales", "Tigers", "Magpies"],
        (9, 80),
    ),
    "family": (
        ["Pororo's Treasure", "Dinosaur Island", "Magic Show", "Bubble Show"],
        ["Kids Stage", "Rainbow Puppets"],
        (15, 45),
    ),
}
CATEGORIES = list(_PROGRAMME)
SHOW_COUNT = 240


@dataclass(frozen=True)
class Show:
    """One show on sale. `price` is the price of one seat in won."""

    id: int
    title: str
    performer: str
    category: str
    region: str
    venue: str
    price: int

    def matches(self, keyword: str) -> bool:
        """Whether every word of the keyword stands in the title or in the performer's name."""
        return all(word in self._text for word in keyword.casefold().split())

    @cached_property
    def _text(self) -> str:
        return f"{self.title} {self.performer}".casefold()


def _show(show_id: int, rng: random.Random) -> Show:
    category = CATEGORIES[show_id % len(CATEGORIES)]
    works, performers, (price_min, price_max) = _PROGRAMME[category]
    # Half of all shows play in the capital.
    region = "Seoul" if rng.random() < 0.5 else rng.choice(REGIONS[1:])
    return Show(
        id=show_id,
        title=rng.choice(works),
        performer=rng.choice(performers),
        category=category,
        region=region,
        venue=rng.choice(VENUES[region]),
        price=rng.randint(price_min, price_max) * 1000,
    )


def _catalogue() -> dict[int, Show]:
    rng = random.Random("the catalogue of the ticket service")
    return {show_id: _show(show_id, rng) for show_id in range(1, SHOW_COUNT + 1)}


SHOWS: dict[int, Show] = _catalogue()


def search(category: Optional[str] = None, region: Optional[str] = None, keyword: str = "") -> list[Show]:
    """The shows that match all that is given, in order of their numbers."""
    return [
        show
        for show in SHOWS.values()
        if (category is None or show.category == category)
        and (region is None or show.region == region)
        and show.matches(keyword)
    ]


def keywords() -> list[str]:
    """What people type when they look for something that exists: titles and performers."""
    return sorted({show.title for show in SHOWS.values()} | {show.performer for show in SHOWS.values()})

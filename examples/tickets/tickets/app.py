"""The ticket service: search, look at a show, buy. Each of the three logs an event.

`EVENTS=laker` (the default) or `EVENTS=kafka` chooses where events go.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, AsyncIterator, Literal, NamedTuple, Optional, Protocol, cast

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from tickets import catalogue
from tickets.catalogue import SHOWS, Show
from tickets.device import device_of
from tickets.people import Payment
from tickets.shapes import purchase_fields, search_fields, view_fields


class Events(Protocol):
    """Where events go: `events_laker` or `events_kafka`."""

    def start(self) -> None:
        """Before the first request."""

    def stop(self) -> None:
        """After the last request: sends what is left."""

    def log_event(self, user_id: Optional[str], device: Optional[str], action: str, **fields: Any) -> None:
        """Logs what a user did."""


def _chosen_events() -> Events:
    chosen = os.environ.get("EVENTS", "laker")
    if chosen == "laker":
        from tickets import events_laker

        return cast(Events, events_laker)
    if chosen == "kafka":
        from tickets import events_kafka

        return cast(Events, events_kafka)
    raise ValueError(f"EVENTS is {chosen!r}; it must be laker or kafka")


events = _chosen_events()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens and closes the way of the events."""
    events.start()
    yield
    await asyncio.to_thread(events.stop)


app = FastAPI(title="Tickets", lifespan=lifespan)
_order_ids = itertools.count(1)


class Visitor(NamedTuple):
    """Who asks, and on what."""

    user_id: str
    device: str

    def did(self, action: str, fields: dict[str, Any]) -> None:
        """Logs the action as an event."""
        events.log_event(self.user_id, self.device, action, **fields)


def visitor(
    user_id: Annotated[str, Header(convert_underscores=False)] = "",
    user_agent: Annotated[str, Header()] = "",
) -> Visitor:
    """Who asks, from the headers of the request."""
    return Visitor(user_id or "anonymous", device_of(user_agent))


def known_show(show_id: int) -> Show:
    """The show in the path, or 404."""
    if show_id not in SHOWS:
        raise HTTPException(404, f"there is no show {show_id}")
    return SHOWS[show_id]


class PaymentOrder(BaseModel):
    """How a purchase is paid."""

    method: Literal["card", "bank_transfer", "phone", "points"]
    card: Optional[str] = None
    installments: Optional[int] = Field(default=None, ge=1, le=12)


class Order(BaseModel):
    """What is bought."""

    seats: list[str] = Field(min_length=1, max_length=10)
    payment: PaymentOrder


@app.get("/search")
async def search(
    who: Annotated[Visitor, Depends(visitor)],
    category: Optional[str] = None,
    region: Optional[str] = None,
    keyword: str = "",
) -> list[dict[str, Any]]:
    """The shows that match."""
    found = catalogue.search(category, region, keyword)
    who.did("search", search_fields(category, region, keyword, len(found)))
    return [asdict(show) for show in found]


@app.get("/shows/{show_id}")
async def view(who: Annotated[Visitor, Depends(visitor)], show: Annotated[Show, Depends(known_show)]) -> dict[str, Any]:
    """One show."""
    who.did("view", view_fields(show))
    return asdict(show)


@app.post("/shows/{show_id}/purchase")
async def purchase(
    who: Annotated[Visitor, Depends(visitor)], show: Annotated[Show, Depends(known_show)], order: Order
) -> dict[str, Any]:
    """Buys seats."""
    payment = Payment(order.payment.method, order.payment.card, order.payment.installments)
    fields = purchase_fields(show, order.seats, payment)
    who.did("purchase", fields)
    return {"order_id": next(_order_ids), "total": fields["total"]}

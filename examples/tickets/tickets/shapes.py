"""The fields of each event: what the service logs and what the generator makes."""

from __future__ import annotations

from typing import Any, Optional

from tickets.catalogue import Show
from tickets.people import Payment

Fields = dict[str, Any]


def search_fields(category: Optional[str], region: Optional[str], keyword: str, results: int) -> Fields:
    """A search and how many shows it found."""
    return {"category": category, "region": region, "keyword": keyword, "results": results}


def view_fields(show: Show) -> Fields:
    """A look at a show."""
    return {"show": {"id": show.id, "title": show.title, "price": show.price}}


def purchase_fields(show: Show, seats: list[str], payment: Payment) -> Fields:
    """A purchase; `total` in won."""
    paid: Fields = {"method": payment.method}
    if payment.card is not None:
        paid["card"] = {"brand": payment.card, "installments": payment.installments}
    return {
        **view_fields(show),
        "quantity": len(seats),
        "total": show.price * len(seats),
        "seats": seats,
        "payment": paid,
    }

"""Endpoints, facts to tell, a clock that stands until it is moved, and receivers that answer as a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from core.outbound import Answer, Unreachable
from marketplace.auth import Caller
from marketplace.models import WebhookDelivery, WebhookEndpoint, WebhookSecret
from marketplace.scopes import ALL_SCOPES
from marketplace.webhooks.outbox import Event, publish
from marketplace.webhooks.sending import send_due
from marketplace.webhooks.signing import new_secret, seal
from tests.builders import Person, alice

_serial = count(1)
URL = "https://example.com/hook"


def caller_for(person: Person, *, is_operator: bool = False) -> Caller:
    """The caller behind a session of this person."""
    return Caller(person.user, person.organization, person.role, frozenset(ALL_SCOPES), is_operator, None)


def an_endpoint(person: Person | None = None, *, url: str = URL, types: tuple[str, ...] = ("*",), **fields: Any) -> WebhookEndpoint:
    """An endpoint of alice's (or another's) with one secret."""
    owner = (person or alice()).organization
    endpoint = WebhookEndpoint.objects.create(organization=owner, url=url, types=list(types), **fields)
    WebhookSecret.objects.create(endpoint=endpoint, sealed=seal(new_secret()))
    return endpoint


def a_fact(person: Person | None = None, *, subject: str = "invoice/1", kind: str = "invoice.paid", **data: Any) -> Event:
    """Something that happened to alice."""
    number = next(_serial)
    owner = (person or alice()).organization
    return Event(owner.pk, kind, subject, {"n": number} | data, timezone.now(), f"fact/{number}")


def tell(subject: str = "invoice/1", times: int = 1, **more: Any) -> list[int]:
    """Publish so many facts of a subject; their numbers, in order."""
    facts = [a_fact(subject=subject, **more) for _ in range(times)]
    publish(facts)
    return [fact.data["n"] for fact in facts]


def states() -> dict[str, int]:
    """How many deliveries are in each state."""
    found: dict[str, int] = {}
    for state in WebhookDelivery.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


@dataclass
class Clock:
    """Stands still until it is moved; Django's `timezone.now` while the test runs."""

    at: datetime

    @classmethod
    def stopped(cls, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = cls(timezone.now())
        monkeypatch.setattr(timezone, "now", lambda: clock.at)
        return clock

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Receiver:
    """Takes the place of `core.outbound.post`: notes what comes, answers what it is told to."""

    status: int | Callable[[dict[str, Any]], int] = 200
    down: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, **_: Any) -> Answer:
        request = {"url": url, "headers": dict(headers), "raw": body, "body": json.loads(body)}
        if self.down:
            raise Unreachable("no_connection", "nobody is there")
        self.requests.append(request)
        status = self.status if isinstance(self.status, int) else self.status(request["body"])
        return Answer(status, self.headers, b"thank you")

    @property
    def numbers(self) -> list[int]:
        """What arrived, by the facts' own numbers."""
        return [request["body"]["data"]["n"] for request in self.requests]

    def run(self) -> int:
        """Send all that is due to this receiver."""
        return send_due(self)

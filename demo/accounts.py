"""The cast's clients, each logged in with a password for a key, as the command line does it."""

from __future__ import annotations

from dataclasses import dataclass

from demo.market import ALICE, BOB, CAROL, ERIN, OPERATOR, PASSWORD
from gridfare.client import Client


@dataclass(frozen=True)
class Cast:
    """alice asks, bob and erin provide, carol publishes, olga operates."""

    alice: Client
    bob: Client
    erin: Client
    carol: Client
    olga: Client


def log_in_all(url: str) -> Cast:
    """Log everybody in."""
    names = (ALICE.username, BOB.username, ERIN.username, CAROL.username, OPERATOR)
    return Cast(*(_log_in(url, name) for name in names))


def _log_in(url: str, username: str) -> Client:
    with Client(url, anonymous=True) as door:
        key = door.login(username, PASSWORD, name="demo")
    return Client(url, key["key"])

"""A person in front of a browser."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from scheduler.stores import store_bytes
from tests import builders as build


def browser_of(person: build.Person | None) -> Client:
    """A browser in which this person is logged in, or nobody. Errors are answers, never raised."""
    client = Client(raise_request_exception=False, REMOTE_ADDR=build._an_address())
    if person is not None:
        client.force_login(person.user)
    return client


def text_of(answer: Any) -> str:
    """What stands on a page, without its tags, on one line."""
    without = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return unescape(re.sub(r"\s+", " ", without))


def hidden(answer: Any, name: str) -> str:
    """The value of a form's field that nobody sees."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', answer.content.decode())
    assert found is not None, f"the page has no field {name}"
    return found[1]


def a_file(path: str, content: bytes, media_type: str) -> dict[str, Any]:
    """A result's file as an agent reports it, its bytes in the store."""
    stored = store_bytes(content)
    return {"path": path, "sha256": stored.sha256, "bytes": stored.bytes, "media_type": media_type}

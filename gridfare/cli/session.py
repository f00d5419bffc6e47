"""What all commands share: which platform, with which key."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from gridfare.client import Client


@dataclass(frozen=True)
class Session:
    """The options before the command."""

    profile: str | None = None
    url: str | None = None
    key: str | None = None


def session_of(ctx: typer.Context) -> Session:
    found = ctx.find_root().obj
    return found if isinstance(found, Session) else Session()


def open_client(ctx: typer.Context) -> Client:
    """The client of this run; closed when the command ends. Raises NotLoggedIn when address or key is missing."""
    session = session_of(ctx)
    client = Client(session.url, session.key, profile=session.profile)
    ctx.call_on_close(client.close)
    return client

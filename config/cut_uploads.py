"""A cut connection leaves the bytes that arrived, also of an upload that came as one long body.

Django's ASGI handler reads a body to its end before a view sees it, and drops it when the connection ends first:
of a file sent as one body nothing would be left to go on from. Here the end of the connection is the end of the
body; the view keeps what there is, and its answer goes nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

UPLOADS: Final = "/api/v1/uploads/"


def keeping_cut_uploads(app: App) -> App:
    """The application, with PATCHes of uploads that end where their connection does."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        is_upload = scope["type"] == "http" and scope["method"] == "PATCH" and scope["path"].startswith(UPLOADS)
        await app(scope, _ending(receive) if is_upload else receive, send)

    return wrapped


def _ending(receive: Receive) -> Receive:
    whole = cut = False

    async def receive_or_end() -> Message:
        nonlocal whole, cut
        if cut:
            await asyncio.Event().wait()  # Django listens for the end while the view works, and then cancels this
        message = await receive()
        if message["type"] == "http.disconnect" and not whole:
            cut = True
            return {"type": "http.request", "body": b"", "more_body": False}
        whole = whole or not message.get("more_body", False)
        return message

    return receive_or_end

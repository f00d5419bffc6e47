"""Requests that may be held for long go to their asynchronous view without Django's middleware.

Django gives every request a thread of its own for the synchronous code around its view, and keeps it to the request's
end: a thousand idle agents would be a thousand threads. The agents' door needs none of that code: no session, no
cookie, no page; it checks signatures itself.
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from typing import Any, Final

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response

Application = Callable[[Any, Any, Any], Awaitable[None]]
HELD: Final = frozenset({"/agent/v1/sync"})


class ThreadlessHandler(ASGIHandler):
    """Django's handler without middleware and without a thread per request. Its views must be asynchronous."""

    def load_middleware(self, is_async: bool = False) -> None:
        """None, but errors still become answers."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        answer: Any = self._get_response_async  # type: ignore[attr-defined]  # not in Django's stubs
        self._middleware_chain = convert_exception_to_response(answer)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handle(scope, receive, send)

    async def run_get_response(self, request: Any) -> Any:
        """With the length, which is else a middleware's work: no chunks for a small answer."""
        response: Any = await super().run_get_response(request)
        if not response.streaming:
            response.headers.setdefault("Content-Length", str(len(response.content)))
        return response


def holding_without_threads(application: Application) -> Application:
    """The application, with the paths in HELD taken out of it. Call it when Django is set up."""
    held = ThreadlessHandler()

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        chosen = held if scope["type"] == "http" and scope["path"] in HELD else application
        await chosen(scope, receive, send)

    return choose


def allow_many_connections() -> None:
    """Every connection is an open file, and many systems allow a process 1,024 unless it asks for more."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))

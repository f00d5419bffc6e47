"""Server-sent events: what happens to a task arrives while it happens, until the task ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from marketplace.models import Task
from scheduler import hub as hubs
from scheduler.api import events
from scheduler.services.advancing import cancel_task
from tests import builders as build
from tests.builders_tasks import FakeAgent, a_task, run_to_end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("looks_here")]
SECONDS = 20


@pytest.fixture
def looks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream looks at rows from the loop's own threads; each closes its connection when it has looked."""
    look = events._look

    def look_and_close(*args: Any) -> Any:
        try:
            return look(*args)
        finally:
            connections.close_all()

    monkeypatch.setattr(events, "_look", look_and_close)


def stream_of(task: Task, key: str, *, after: int | None = None, **headers: str) -> Any:
    """Begin to read; the answer's `streaming_content` are the pieces."""
    query = "" if after is None else f"?after={after}"
    given = {"authorization": f"Bearer {key}", "accept": "text/event-stream"} | headers
    return AsyncClient().get(f"/api/v1/tasks/{task.pk}/events{query}", headers=given)


def parsed(piece: bytes) -> tuple[str, dict[str, Any], str | None]:
    """(event, data, id) of a piece."""
    fields = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
    return fields["event"], orjson.loads(fields["data"]), fields.get("id")


async def pieces(answer: Any) -> AsyncIterator[tuple[str, dict[str, Any], str | None]]:
    async for piece in answer.streaming_content:
        if not piece.startswith(b":"):
            yield parsed(piece)


async def followed(task: Task, key: str, then: Any) -> list[str]:
    """The kinds that arrive; when the first has, `then()` happens in another thread."""
    answer = await stream_of(task, key)
    kinds: list[str] = []
    async for kind, data, number in pieces(answer):
        if kind != "end":
            assert (data["kind"], data["seq"], number) == (kind, len(kinds) + 1, str(len(kinds) + 1))
        if not kinds:
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, sync_to_async(then)())
        kinds.append(kind)
    return kinds


def test_a_stream_tells_a_task_to_its_end() -> None:
    pool = build.a_pool()
    task, key = a_task(), build.a_key(build.alice())
    kinds = asyncio.run(
        asyncio.wait_for(followed(task, key, lambda: run_to_end(task, FakeAgent.of(pool))), SECONDS)
    )
    assert kinds[0] == "task.submitted"
    assert "task.started" in kinds
    assert kinds[-2:] == ["task.delivered", "end"]


def test_a_stream_of_a_cancelled_task_ends_too() -> None:
    build.a_pool()
    task, key = a_task(), build.a_key(build.alice())
    kinds = asyncio.run(asyncio.wait_for(followed(task, key, lambda: cancel_task(task.pk)), SECONDS))
    assert kinds[-2:] == ["task.cancelled", "end"]


def test_a_stream_goes_on_where_the_last_one_broke() -> None:
    pool = build.a_pool()
    task, key = run_to_end(a_task(), FakeAgent.of(pool)), build.a_key(build.alice())
    count = task.events.count()

    async def rest(**how: Any) -> list[str | None]:
        return [number async for *_, number in pieces(await stream_of(task, key, **how))]

    assert asyncio.run(rest()) == [*map(str, range(1, count + 1)), None]
    assert asyncio.run(rest(after=count - 1)) == [str(count), None]
    assert asyncio.run(rest(**{"last-event-id": str(count)})) == [None]


def test_a_quiet_stream_is_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    build.a_pool()
    task, key = a_task(), build.a_key(build.alice())
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(events, "MAX_STREAM_S", 0.5)

    async def everything() -> list[bytes]:
        return [piece async for piece in (await stream_of(task, key)).streaming_content]

    first, *others = asyncio.run(everything())
    assert parsed(first)[0] == "task.submitted"
    assert set(others) == {b": still here\n\n"}


def test_a_stream_holds_no_place_of_those_who_wait_when_its_reader_leaves() -> None:
    build.a_pool()
    task, key = a_task(), build.a_key(build.alice())

    async def leave_early() -> int:
        answer = await stream_of(task, key)
        reader = answer.streaming_content
        await anext(reader)
        waiting = asyncio.ensure_future(anext(reader))
        while f"gridfare_task:{task.pk}" not in hubs.hub()._waiting:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return len(hubs.hub()._waiting)

    assert asyncio.run(asyncio.wait_for(leave_early(), SECONDS)) == 0


def test_an_error_is_a_problem_document_for_streams_too() -> None:
    build.a_pool()
    task, stranger = a_task(), build.a_key(build.mallory())
    answer = asyncio.run(stream_of(task, stranger))
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


def test_a_stream_keeps_no_connection_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests share a pool of connections; those who follow tasks must not use it up."""
    build.a_pool()
    task, key = a_task(), build.a_key(build.alice())
    let_go: list[bool] = []
    monkeypatch.setattr(events, "close_old_connections", lambda: let_go.append(True))

    async def asked() -> int:
        return int((await stream_of(task, key)).status_code)

    assert asyncio.run(asked()) == 200
    assert let_go == [True], "before the first piece is asked for"

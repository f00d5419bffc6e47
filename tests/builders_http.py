"""A provider's agent that speaks only signed HTTP, and the platform's background steps without their wakes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connection
from rest_framework.test import APIClient

from billing.jobs import sweep_job as charge_sweep
from marketplace.models import Agent, Pool
from metering.jobs import sweep_job as measure_sweep
from scheduler.api import agents
from scheduler.jobs import match, sweep
from scheduler.reports import batch_digest
from tests import builders as build


@dataclass
class HttpAgent:
    """Knows its name (which makes its key), its id, what it holds and its chain of reports; nothing of the database."""

    name: str
    agent_id: UUID | None = None
    session: UUID = field(default_factory=uuid4)
    seq: int = 0
    prev: str = ""
    held: dict[int, int] = field(default_factory=dict)
    client: APIClient = field(default_factory=lambda: APIClient(raise_request_exception=False))

    @classmethod
    def of(cls, pool: Pool) -> HttpAgent:
        """The agent that a builder has put into the pool."""
        agent = Agent.objects.get(pool=pool, retired_at=None)
        return cls(agent.name, agent.pk)

    def enrol(self, token: str, **changes: Any) -> Any:
        """POST enrol; an answer of 201 gives the agent its id."""
        body = {"token": token, "public_key": build.public_key_of(self.name), "name": self.name, "version": "0.1.0"}
        answer = self.client.post("/agent/v1/enrol", body | {"facts": build.FACTS} | changes, format="json")
        if answer.status_code == 201:
            self.agent_id = UUID(answer.json()["agent_id"])
        return answer

    def selftest(self, results: Any = build.PASSED, benchmark: Any = build.BENCHMARK) -> Any:
        return self.post("/agent/v1/selftest", {"results": results, "benchmark": benchmark})

    def sync(self, want: int = 0, *, phase: str = "running", reports: Any = None, **changes: Any) -> Any:
        """POST sync without waiting; remembers what it was leased and forgets what it was told to drop."""
        held = [[attempt, fence, phase, None] for attempt, fence in self.held.items()]
        body = {"session": str(self.session), "want": want, "wait_s": 0, "executors": ["process", "sandbox"]}
        answer = self.post("/agent/v1/sync", body | {"held": held, "reports": reports} | changes)
        if answer.status_code == 200:
            document = answer.json()
            self.held.update({lease[0]: lease[1] for lease in document["leases"]})
        return answer

    def report(self, *items: dict[str, Any], **changes: Any) -> Any:
        """A sync with a signed batch, the next of the chain; `changes` are made to the batch after it was signed."""
        batch = self.batch(*items) | changes
        for item in items:
            self.held.pop(item.get("attempt"), None)
        answer = self.sync(reports=batch)
        if answer.status_code == 200:
            self.seq, self.prev = batch["seq"], batch["digest"]
        return answer

    def batch(self, *items: dict[str, Any]) -> dict[str, Any]:
        digest = batch_digest(self.prev, list(items))
        signature = build.agent_key(self.name).sign(digest.encode())
        signed = {"digest": digest, "signature": base64.b64encode(signature).decode()}
        return {"seq": self.seq + 1, "prev": self.prev, "items": list(items), **signed}

    def done(self, outputs: Any = (), **usage: int) -> Any:
        """Report everything held as done, each with these outputs."""
        claim = {"wall_ms": 5, "core_ms": 5, "memory_mib_ms": 5} | usage
        result = {"outcome": "done", "usage": claim, "outputs": list(outputs), "exit_code": 0}
        return self.report(*({"attempt": a, "fence": f, **result} for a, f in self.held.items()))

    def put(self, attempt: int, data: bytes) -> Any:
        """Upload an output of an attempt it holds."""
        return self.blob("PUT", attempt, self.held[attempt], hashlib.sha256(data).hexdigest(), data)

    def blob(self, method: str, attempt: int, fence: int, sha256: str, data: bytes = b"", **headers: str) -> Any:
        path = f"/agent/v1/blobs/{attempt}/{fence}/{sha256}"
        return self.client.generic(
            method, path, data, content_type="application/octet-stream", headers=self._signed(method, path, None) | headers
        )

    def logs(self, *chunks: dict[str, Any]) -> Any:
        return self.post("/agent/v1/logs", {"chunks": list(chunks)})

    def says(self, attempt: int, text: str, *, offset: int = 0, stream: str = "stdout") -> Any:
        """One piece of output of an attempt it holds."""
        data = base64.b64encode(text.encode()).decode()
        place = {"attempt": attempt, "fence": self.held[attempt], "stream": stream, "offset": offset}
        return self.logs(place | {"data": data})

    def post(self, path: str, body: Any) -> Any:
        return self.send(path, orjson.dumps(body))

    def send(self, path: str, data: bytes) -> Any:
        """POST these bytes as they are."""
        return self.client.post(path, data, content_type="application/json", headers=self._signed("POST", path, data))

    def _signed(self, method: str, path: str, body: bytes | None) -> dict[str, str]:
        return build.signed(Agent(pk=self.agent_id, name=self.name), method, path, body)


def answer_in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The door's work on rows is done in the test's thread, and so in its transaction."""

    async def run_here(work: Callable[..., Any], *args: Any) -> Any:
        return await sync_to_async(work)(*args)

    monkeypatch.setattr(agents, "_run", run_here)


def steps(rounds: int = 2) -> None:
    """What the worker's sweeps do by themselves: expand, match, advance, conclude, measure, charge."""
    for _ in range(rounds):
        sweep()
        match()
        measure_sweep()
        charge_sweep()


def row_counts() -> dict[str, int]:
    """Rows of every table that the market's apps own."""
    counts = {}
    with connection.cursor() as cursor:
        for label in ("marketplace", "scheduler", "metering", "billing"):
            for model in apps.get_app_config(label).get_models(include_auto_created=True):
                cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}")
                counts[model._meta.db_table] = cursor.fetchone()[0]
    return counts


@contextmanager
def nothing_written() -> Iterator[None]:
    """No table has gained or lost a row."""
    before = row_counts()
    yield
    assert row_counts() == before


def problem_of(answer: Any) -> tuple[int, str, str | None]:
    """(status, code, field) of an answer that must be a problem document."""
    assert answer["Content-Type"] == "application/problem+json", answer.content
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:gridfare:error:{document['code']}"
    assert document["detail"]
    return answer.status_code, document["code"], document.get("field")

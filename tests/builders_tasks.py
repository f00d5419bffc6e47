"""Builders for tasks and for an agent that plays its part without a machine."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.utils import timezone

from marketplace.manifest import check_manifest, digest_of
from marketplace.models import Agent, Capability, CapabilityVersion, Organization, Pool, Task
from scheduler.reports import batch_digest, parse_batch
from scheduler.services.advancing import advance_task
from scheduler.services.drafting import Asker, Request
from scheduler.services.expanding import expand_task
from scheduler.services.leasing import Answer, Beat, Held, keep_in_touch
from scheduler.services.placing import run_round
from scheduler.services.settling import Settled, settle_reports
from scheduler.services.submitting import submit_task
from tests.builders import Person, agent_key, alice, carol

_names = count(1)


def a_manifest(**changes: Any) -> dict[str, Any]:
    """A small capability: `count` units of one core, no outputs, no merge."""
    manifest: dict[str, Any] = {
        "gridfare": 1,
        "name": "noop",
        "version": "1.0.0",
        "summary": "does nothing, several times",
        "inputs": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"count": {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 1}},
        },
        "outputs": [],
        "variants": [{"instruction_set": "any", "accelerator": None}],
        "run": ["true"],
        "resources": {"cores": 1, "memory_mib": 64, "disk_mib": 64},
        "demand": {"tflop": "0.001"},
        "split": {"by": "range", "start": "0", "stop": "count", "step": "1", "chunk": "1"},
        "limits": {"units": 1_000_000},
        "tests": [{"name": "one", "inputs": {"count": 1}, "expect": {"files": []}}],
    }
    return check_manifest(manifest | changes)


def a_version(
    publisher: Person | None = None, *, state: str = "published", trusted: bool = True, **changes: Any
) -> CapabilityVersion:
    """A published, trusted version of a capability of carol's."""
    manifest = a_manifest(**({"name": f"noop-{next(_names)}"} | changes))
    owner: Organization = (publisher or carol()).organization
    capability, _ = Capability.objects.get_or_create(organization=owner, name=manifest["name"])
    return CapabilityVersion.objects.create(
        capability=capability,
        version=manifest["version"],
        manifest=manifest,
        digest=digest_of(manifest, None),
        state=state,
        trusted=trusted,
        published_at=timezone.now() if state not in ("draft", "testing") else None,
    )


def a_task(
    person: Person | None = None,
    *,
    version: CapabilityVersion | None = None,
    expanded: bool = True,
    inputs: dict[str, Any] | None = None,
    **fields: Any,
) -> Task:
    """A submitted task of alice's; its units wait when `expanded`."""
    person = person or alice()
    version = version or a_version()
    request = Request(str(version), inputs or {}, **fields)
    task, _ = submit_task(Asker(person.organization, person.user), request)
    if expanded:
        expand_task(task.pk)
    return Task.objects.get(pk=task.pk)


@dataclass
class FakeAgent:
    """An agent that leases and reports through the services, without HTTP or a machine."""

    agent: Agent
    session: UUID = field(default_factory=uuid4)
    held: dict[int, int] = field(default_factory=dict)
    seq: int = 0
    prev: str = ""

    @classmethod
    def of(cls, pool: Pool) -> FakeAgent:
        return cls(Agent.objects.select_related("pool").get(pool=pool, retired_at=None))

    def beat(self, want: int = 0, *, phase: str = "queued", held: dict[int, int] | None = None) -> Answer:
        """One sync without reports; remembers what it was leased."""
        named = [Held(attempt, fence, phase, None) for attempt, fence in (self.held if held is None else held).items()]
        self.agent = Agent.objects.select_related("pool").get(pk=self.agent.pk)
        answer = keep_in_touch(self.agent, Beat(self.session, want, named, self.agent.pool.executors))
        self.held.update({row["attempt"]: row["fence"] for row in answer.leased})
        return answer

    def report(self, *items: dict[str, Any], repeat: bool = False) -> Settled:
        """Settle a signed batch of reports; `repeat` sends the last batch's number again."""
        self.agent = Agent.objects.select_related("pool").get(pk=self.agent.pk)
        if not repeat:
            self.seq, self.prev = self.seq + 1, self.agent.report_digest
        body = signed_batch(self.agent, self.seq, self.prev, list(items))
        batch = parse_batch(body, last_seq=self.agent.report_seq, last_digest=self.agent.report_digest)
        assert batch is not None
        settled = settle_reports(self.agent, batch)
        for item in items:
            self.held.pop(item["attempt"], None)
        return settled

    def done(self, *, wall_ms: int = 5, **more: Any) -> Settled:
        """Report everything held as done."""
        usage = {"wall_ms": wall_ms, "core_ms": wall_ms, "memory_mib_ms": wall_ms}
        return self.report(
            *({"attempt": a, "fence": f, "outcome": "done", "usage": usage, **more} for a, f in self.held.items())
        )

    def failed(self, reason_class: str, **more: Any) -> Settled:
        """Report everything held as failed for this reason."""
        item = {"outcome": "failed", "reason_class": reason_class, **more}
        return self.report(*({"attempt": a, "fence": f, **item} for a, f in self.held.items()))


def signed_batch(agent: Agent, seq: int, prev: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch as the agent would send it."""
    items = orjson.loads(orjson.dumps(items))
    digest = batch_digest(prev, items)
    signature = base64.b64encode(agent_key(agent.name).sign(digest.encode())).decode()
    return {"seq": seq, "prev": prev, "digest": digest, "signature": signature, "items": items}


def run_to_end(task: Task, agent: FakeAgent, *, rounds: int = 50, **report: Any) -> Task:
    """Match, lease, report done (`report`: more of each report) and advance until the task has ended."""
    for _ in range(rounds):
        run_round()
        agent.beat(want=10_000)
        agent.done(**report)
        advance_task(task.pk)
        task.refresh_from_db()
        if task.ended_at is not None:
            break
    return task


def sha_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""The agent's door (docs/protocol.md): thin, and asynchronous where an agent may wait.

A long poll holds no thread and no database connection: a thousand idle agents are a thousand suspended
coroutines. Work on rows runs in a few threads of its own, each with its connection.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from core.errors import Invalid
from core.http import REFUSED, json_answer, method_not_allowed, parse_json, problem_answer
from marketplace.agent_auth import authenticate
from marketplace.models import Agent
from marketplace.services.availability import keep_status
from marketplace.services.providers import enrol_agent, record_selftest
from marketplace.services.storekeeping import Orders, Told, adopt_store, pins_of
from scheduler.api.blobs import blob, kept_blob
from scheduler.hub import hub, wait_for
from scheduler.network.probes import Claim
from scheduler.reports import ReportedBatch, parse_batch, verify_batch
from scheduler.services.checkpoints import parse_checkpoints, save_checkpoints
from scheduler.services.fleet import fleet
from scheduler.services.leasing import Answer, Beat, Held, keep_in_touch, look_again
from scheduler.services.logs import LogPiece, store_logs
from scheduler.services.probing import adopt_probes, parse_claims, probe_orders
from scheduler.services.settling import Settled, settle_reports
from scheduler.status import Cached, parse_status, parse_store

T = TypeVar("T")
PHASES: Final = ("queued", "preparing", "running", "committed", "uploading")
MAX_HELD: Final = 50_000
MAX_RECLAIM_S: Final = 604_800
_threads = ThreadPoolExecutor(max_workers=6, thread_name_prefix="agent-door")


async def _run(work: Callable[..., T], *args: Any) -> T:
    """Run blocking work in the door's own threads, whose database connections stay open."""

    def call() -> T:
        close_old_connections()
        return work(*args)

    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def post_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Other methods are told so in a problem document."""

    @wraps(view)
    def door(request: HttpRequest) -> HttpResponse:
        return view(request) if request.method == "POST" else method_not_allowed(request, "POST")

    return door


@csrf_exempt
@post_only
def enrol(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/enrol: a single-use token and a public key make an agent."""
    try:
        body = _object(parse_json(request.body))
        token, key, name, version = (str(body.get(one) or "") for one in ("token", "public_key", "name", "version"))
        agent = enrol_agent(token=token, public_key=key, name=name, version=version, facts=body.get("facts"))
    except REFUSED as error:
        return problem_answer(error)
    names = ("identifier", "name", "state", "kind", "tier")
    pool = {name: getattr(agent.pool, name) for name in names}
    answer = {"agent_id": str(agent.pk), "pool": pool, "lease_s": fleet.lease_s(agent.pool)}
    return json_answer(answer | {"server_time_ms": _now_ms()}, status=201)


@csrf_exempt
@post_only
def selftest(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/selftest: coded results and measurements."""
    try:
        agent = _caller(request, request.body)
        body = _object(parse_json(request.body))
        pool = record_selftest(agent, results=body.get("results"), benchmark=body.get("benchmark"))
    except REFUSED as error:
        return problem_answer(error)
    return json_answer({"pool_state": pool.state})


@csrf_exempt
@post_only
def logs(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/logs: pieces of output; the answer names the next offset of each stream."""
    try:
        agent = _caller(request, request.body)
        body = _object(parse_json(request.body))
        acked = store_logs(agent, LogPiece.parse_all(body.get("chunks")))
    except REFUSED as error:
        return problem_answer(error)
    return json_answer({"acked": acked})


@csrf_exempt
@post_only
def probe(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/probe: so many bytes that do not compress, for an agent that measures the way here."""
    try:
        _caller(request, request.body)
        size = _object(parse_json(request.body)).get("bytes")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= settings.PROBE_BYTES:
            raise Invalid("invalid_probe", f"bytes is a whole number, 1 to {settings.PROBE_BYTES}", field="bytes")
    except REFUSED as error:
        return problem_answer(error)
    return HttpResponse(os.urandom(size), content_type="application/octet-stream")


@csrf_exempt
@post_only
def checkpoints(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/checkpoints: what running attempts saved; the answer names those that are not kept."""
    try:
        agent = _caller(request, request.body)
        body = _object(parse_json(request.body))
        refused = save_checkpoints(agent, parse_checkpoints(body.get("checkpoints")))
    except REFUSED as error:
        return problem_answer(error)
    return json_answer({"refused": refused})


@csrf_exempt
async def sync(request: HttpRequest) -> HttpResponse:
    """POST /agent/v1/sync: reports and held leases in, work and stops out; waits when there is nothing to say."""
    if request.method != "POST":
        return method_not_allowed(request, "POST")
    body = request.body
    center = hub()
    since = center.serial
    try:
        agent, beat, settled, answer, wait_s, orders = await _run(_sync, request, body)
        if answer.silent and settled is None and wait_s > 0:
            answer = await _wait(agent, beat, answer, wait_s, since)
        document = await _run(answer.document)
    except REFUSED as error:
        return problem_answer(error)
    accepted = None if settled is None else settled.accepted
    refused = [[*one, "stale_lease"] for one in settled.refused] if settled else []
    times = {"server_time_ms": _now_ms(), "next_s": 0, **fleet.times(agent.pool)}
    return json_answer(times | {"accepted": accepted, "refused": refused} | document | orders)


def _sync(request: HttpRequest, body: bytes) -> tuple[Agent, Beat, Settled | None, Answer, float, dict[str, Any]]:
    agent = _caller(request, body)
    fleet.refresh()
    document = _object(parse_json(body))
    beat, wait_s = parse_beat(document)
    batch = parse_batch(
        document.get("reports"), last_seq=agent.report_seq, last_digest=agent.report_digest
    )
    claims = parse_claims(document["probes"]) if "probes" in document else None
    told, store = parse_status(document.get("status")), parse_store(document.get("store"))
    settled = None if batch is None else _settle(agent, batch)
    if told is not None:
        keep_status(agent, *told)
    orders = _stored(agent, None if told is None else told[1], store)
    answer = keep_in_touch(agent, beat)
    answer.store = orders | answer.store
    return agent, beat, settled, answer, wait_s if claims is None else 0, _probed(agent, claims)


def _stored(agent: Agent, cached: Cached | None, store: Told | None) -> Orders:
    """Adopt what an agent tells of its store; of the contents that it names, it hears which are pinned."""
    orders = {} if store is None else adopt_store(agent, store)
    return orders if cached is None else orders | pins_of([sha256 for sha256, _ in cached])


def _probed(agent: Agent, claims: list[Claim] | None) -> dict[str, Any]:
    """Adopt what an agent measured and tell it what to measure next; nothing for one that says nothing of it."""
    if claims is None:
        return {}
    adopt_probes(agent, claims)
    return {"probe": probe_orders(agent)}


def _settle(agent: Agent, batch: ReportedBatch) -> Settled:
    verify_batch(batch, agent.public_key)
    return settle_reports(agent, batch)


async def _wait(agent: Agent, beat: Beat, answer: Answer, wait_s: float, since: int) -> Answer:
    """Suspended until the pool is announced or the time is over; then one look at the rows. `answer` says nothing yet."""
    until, pins = time.monotonic() + wait_s, answer.store
    with hub().waiting(f"gridfare_pool:{agent.pool_id}", since) as event:
        while answer.silent and (left := until - time.monotonic()) > 0:
            if not await wait_for(event, left):
                break
            event.clear()
            answer = await _run(look_again, agent, beat)
    answer.store = pins | answer.store
    return answer


def parse_beat(body: dict[str, Any]) -> tuple[Beat, float]:
    """The body of a sync, reports aside, and how long it is willing to wait (seconds)."""
    held = body.get("held", [])
    if not isinstance(held, list) or len(held) > MAX_HELD:
        raise Invalid("invalid_held", f"held is a list of at most {MAX_HELD} leases", field="held")
    executors = body.get("executors", [])
    if not isinstance(executors, list) or not all(isinstance(e, str) and len(e) <= 20 for e in executors[:9]):
        raise Invalid("invalid_executors", "a list of names", field="executors")
    want, wait_s = body.get("want", 0), body.get("wait_s", 0)
    if not isinstance(want, int) or isinstance(want, bool) or not 0 <= want <= 1_000_000:
        raise Invalid("invalid_want", "a whole number, not negative", field="want")
    if not isinstance(wait_s, (int, float)) or isinstance(wait_s, bool) or not wait_s >= 0:
        raise Invalid("invalid_wait", "seconds, not negative", field="wait_s")
    beat = Beat(
        session=_uuid(body.get("session")),
        want=want,
        held=[_held(one, f"held.{i}") for i, one in enumerate(held)],
        executors=sorted(set(executors))[:8],
        draining=body.get("draining") is True,
        reclaim_in_s=_reclaim(body.get("reclaim_in_s")),
    )
    return beat, min(float(wait_s), settings.LONG_POLL_SECONDS)


def _reclaim(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_RECLAIM_S:
        raise Invalid("invalid_reclaim", "seconds, not negative, at most a week", field="reclaim_in_s")
    return float(value)


def _held(value: Any, at: str) -> Held:
    if not isinstance(value, list) or len(value) not in (3, 4) or not (_below(value[0], 63) and _below(value[1], 31)):
        raise Invalid("invalid_held", "[attempt, fence, phase, progress_ppm]", field=at)
    if value[2] not in PHASES:
        raise Invalid("invalid_phase", f"one of {', '.join(PHASES)}", field=at)
    progress = value[3] if len(value) == 4 and _below(value[3], 31) else None
    return Held(value[0], value[1], value[2], None if progress is None else min(progress, 1_000_000))


def _below(value: Any, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits


def _uuid(value: Any) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise Invalid("invalid_session", "session is a UUID", field="session") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid("invalid_body", "the body is a JSON object")
    return value


def _caller(request: HttpRequest, body: bytes) -> Agent:
    return authenticate(request.method or "", request.get_full_path(), request.headers, body)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


urlpatterns = [
    path("enrol", enrol),
    path("selftest", selftest),
    path("sync", sync),
    path("logs", logs),
    path("probe", probe),
    path("checkpoints", checkpoints),
    path("blobs/store/<str:sha256>", kept_blob),
    path("blobs/<int:attempt>/<int:fence>/<str:sha256>", blob),
]

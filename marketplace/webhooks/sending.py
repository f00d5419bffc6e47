"""Sending what is due: claimed in sets, sent by a bounded number of threads outside of any transaction, recorded in sets.

A claim is a lease on a row: a sender that dies leaves it, and when it has run out somebody else sends again (at least once).
A slow receiver takes one place; all that are slow or failing together take half of them, so that the others find some free.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core.outbound import Answer, Unreachable, post
from marketplace.webhooks import sql
from marketplace.webhooks.outbox import Event, publish
from marketplace.webhooks.retrying import Verdict, is_success, judge
from marketplace.webhooks.signing import signed_headers, unseal
from marketplace.webhooks.types import DISABLED

PLACES: Final = 16  # requests of one sender at a time
EACH: Final = 4  # of them for one endpoint
TROUBLED: Final = PLACES // 2  # of them for endpoints in trouble, one each
TIMEOUT_S: Final = 15.0
SLOW_MS: Final = 3_000  # an answer that takes longer makes its endpoint one in trouble
CLAIMED: Final = timedelta(seconds=120)  # far longer than a request may take, name servers included
GATHER_S: Final = 0.02  # answers that come together are recorded together
LOOK_S: Final = 0.5  # how often it is asked what else is due, while requests are under way
OUTAGE: Final = timedelta(minutes=10)  # an endpoint that comes back after longer is sent at once what waits for it
USER_AGENT: Final = "Gridfare-Webhooks/1"

Post = Callable[..., Answer]


class Claimed(NamedTuple):
    """A delivery that is ours to send, in the order of sql.CLAIM's columns."""

    id: int
    claim: int
    tries: int
    first_tried_at: datetime
    endpoint: UUID
    subject: str
    event: int
    url: str
    troubled: bool
    message: UUID
    type: str
    occurred_at: datetime
    data: str
    secrets: Sequence[str]

    @property
    def payload(self) -> bytes:
        """The body. The same at every try, byte for byte."""
        at = self.occurred_at.astimezone(UTC)
        document = {"type": self.type, "timestamp": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}", "data": orjson.Fragment(self.data)}
        return orjson.dumps(document)


@dataclass(frozen=True)
class Told:
    """What came of one request."""

    delivery: Claimed
    request: UUID
    at: datetime
    ms: int
    answer: Answer | None = None
    error: str = ""
    detail: str = ""

    @property
    def status(self) -> int | None:
        return None if self.answer is None else self.answer.status


def send(delivery: Claimed, at: datetime, poster: Post = post) -> Told:
    """One request, outside of any transaction. Never raises what a receiver can cause."""
    request, begun = uuid4(), time.monotonic()
    answer, error, detail = None, "", ""
    try:
        headers = _headers(delivery, request, at)
        answer = poster(delivery.url, headers, delivery.payload, private=settings.WEBHOOK_PRIVATE, seconds=TIMEOUT_S)
    except Unreachable as failed:
        error, detail = failed.code, failed.detail
    return Told(delivery, request, at, int((time.monotonic() - begun) * 1000), answer, error, detail)


def _headers(delivery: Claimed, request: UUID, at: datetime) -> dict[str, str]:
    secrets = [secret for sealed in delivery.secrets if (secret := unseal(sealed))]
    if not secrets:
        raise Unreachable("secret_lost", "the platform's secret key has changed: rotate the endpoint's secret")
    signed = signed_headers(secrets, str(delivery.message), int(at.timestamp()), delivery.payload)
    return {"content-type": "application/json", "user-agent": USER_AGENT, "x-request-id": str(request), **signed}


def claim(free: int, troubled: int = TROUBLED) -> list[Claimed]:
    """Take up to `free` deliveries that are due, of them up to `troubled` for endpoints in trouble. One statement."""
    now = timezone.now()
    given = {"now": now, "until": now + CLAIMED, "free": free, "troubled": troubled, "each": EACH}
    return [Claimed(*row) for row in _rows(sql.CLAIM, given)]


def record(told: Sequence[Told]) -> None:
    """Write what came of requests, and what follows. A constant number of statements, in one transaction."""
    if not told:
        return
    now = timezone.now()
    with transaction.atomic():
        failing = dict(_rows(sql.LOCK, [sorted({one.delivery.endpoint for one in told})]))
        known = [one for one in told if one.delivery.endpoint in failing]  # the others' endpoints were deleted meanwhile
        verdicts = [_verdict(one, failing[one.delivery.endpoint], now) for one in known]
        _record_deliveries(known, verdicts, now)
        _record_endpoints(known, verdicts, failing, now)


def _verdict(told: Told, failing_since: datetime | None, now: datetime) -> Verdict:
    return judge(
        status=told.status,
        now=now,
        tries=told.delivery.tries,
        first_tried_at=told.delivery.first_tried_at,
        failing_since=failing_since or now,
        chance=random.random(),  # noqa: S311  jitter, no secret
        retry_after=told.answer.headers.get("retry-after", "") if told.answer else "",
    )


def _record_deliveries(told: Sequence[Told], verdicts: Sequence[Verdict], now: datetime) -> None:
    columns = {
        "ids": [one.delivery.id for one in told],
        "tries": [one.delivery.claim for one in told],
        "statuses": [one.status for one in told],
        "errors": [one.error for one in told],
        "states": [verdict.state for verdict in verdicts],
        "due": [verdict.due_at for verdict in verdicts],
        "now": now,
    }
    moved = {row[0] for row in _rows(sql.RECORD, columns)}
    _rows(sql.LOG, columns | _log(told))
    due = {one.delivery.id: verdict.due_at for one, verdict in zip(told, verdicts, strict=True) if one.delivery.id in moved}
    _rows(sql.FOLLOW, {"ids": list(due), "due": list(due.values())})


def _log(told: Sequence[Told]) -> dict[str, list[Any]]:
    return {
        "requests": [one.request for one in told],
        "at": [one.at for one in told],
        "details": [one.detail[:300] for one in told],
        "answers": [one.answer.body.decode("utf-8", "replace").replace("\x00", "\ufffd") if one.answer else "" for one in told],
        "ms": [one.ms for one in told],
    }


def _record_endpoints(
    told: Sequence[Told], verdicts: Sequence[Verdict], failing: dict[UUID, datetime | None], now: datetime
) -> None:
    heard: defaultdict[UUID, list[tuple[Told, Verdict]]] = defaultdict(list)
    for one, verdict in zip(told, verdicts, strict=True):
        heard[one.delivery.endpoint].append((one, verdict))
    reached = {endpoint for endpoint, all_of_it in heard.items() if any(is_success(one.status) for one, _ in all_of_it)}
    columns = {
        "endpoints": list(heard),
        "failing": [None if endpoint in reached else failing[endpoint] or now for endpoint in heard],
        "troubled": [_in_trouble(all_of_it[-1][0]) for all_of_it in heard.values()],
        "delivered": [now if endpoint in reached else None for endpoint in heard],
        "because": [_because(all_of_it, reached=endpoint in reached) for endpoint, all_of_it in heard.items()],
        "now": now,
    }
    _tell_of_disabled(_rows(sql.HEARD, columns), now)
    back = [endpoint for endpoint in reached if (since := failing[endpoint]) is not None and now - since > OUTAGE]
    if back:
        _rows(sql.HURRY, {"endpoints": back, "now": now})


def _in_trouble(last: Told) -> bool:
    return not is_success(last.status) or last.ms > SLOW_MS


def _because(heard: Sequence[tuple[Told, Verdict]], *, reached: bool) -> str:
    """Why an endpoint is turned off. Something that arrived outweighs everything but a plain 410 Gone."""
    reasons = (verdict.disables for one, verdict in heard if verdict.disables and (not reached or one.status == 410))
    return next(reasons, "")


def _tell_of_disabled(endpoints: Iterable[Sequence[Any]], now: datetime) -> None:
    """The notice: it stands at the endpoint, and the organization's other endpoints are told."""
    publish(
        Event(
            organization=organization,
            type=DISABLED,
            subject=f"webhook/{endpoint}",
            data={"endpoint": str(endpoint), "url": url, "because": because},
            occurred_at=now,
            key=f"webhook/{endpoint}/disabled/{now.isoformat()}",
        )
        for endpoint, organization, url, because, disabled_now in endpoints
        if disabled_now
    )


class Sender:
    """Sends until nothing is due; `stop` lets it end what is under way and claim no more."""

    def __init__(self, poster: Post = post) -> None:
        self.poster = poster
        self.stopping = threading.Event()
        self.running: dict[Future[Told], Claimed] = {}

    def stop(self) -> None:
        self.stopping.set()

    def run(self) -> int:
        """Returns how many requests it sent."""
        sent = 0
        with ThreadPoolExecutor(PLACES, thread_name_prefix="webhooks") as pool:
            while self._take(pool) or self.running:
                done, _ = wait(self.running, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                if done and len(done) < len(self.running):
                    time.sleep(GATHER_S)
                told = [future.result() for future in self._finished()]
                record(told)
                sent += len(told)
        return sent

    def _take(self, pool: ThreadPoolExecutor) -> bool:
        free = PLACES - len(self.running)
        if free == 0 or self.stopping.is_set():
            return False
        troubled = TROUBLED - sum(delivery.troubled for delivery in self.running.values())
        claimed = claim(free, max(0, troubled))
        for delivery in claimed:
            self.running[pool.submit(send, delivery, timezone.now(), self.poster)] = delivery
        return bool(claimed)

    def _finished(self) -> list[Future[Told]]:
        done = [future for future in self.running if future.done()]
        for future in done:
            del self.running[future]
        return done


def send_due(poster: Post = post) -> int:
    """Send all that is due, and what becomes due meanwhile. Returns how many requests that took."""
    return Sender(poster).run()


def _rows(statement: str, given: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return cursor.fetchall() if cursor.description else []

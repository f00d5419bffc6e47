"""Every door against everybody: the status that each kind of caller gets, for an object of its own and a stranger's.

A route without a row fails. The object of a row belongs to the organization that the row names; viewer, billing,
member and owner are people of it, the stranger owns another one that is user, provider and publisher, the agent signs
with a machine's key. Every request is rolled back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from django.db import transaction
from django.urls import get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from billing.credit.budgets import Wanted, open_budget
from billing.models import Charge, ParkedPeriod, PeriodCharge
from billing.periods.subscriptions import subscribe
from billing.sla.terms import Draft, promise
from index.defining import FOLDER as DEFINITIONS
from index.defining import definition_named
from index.demo import fill
from index.importing.services import File, preview
from index.maps import NewMap, keep_map
from index.models import Observation, ObservationBatch, PreviewChange
from index.panels import open_panel
from index.preview.counting import recount
from marketplace import storage
from marketplace.budgets import Threshold
from marketplace.models import Agent, CapabilityVersion, User
from marketplace.services.artifacts import begin_upload, blob_received
from marketplace.webhooks.endpoints import ping
from metering.models import UsageRecord
from scheduler.services.network import reserve
from scheduler.services.placing import run_round
from tests import builders as build
from tests.builders_billing import Market
from tests.builders_capabilities import a_manifest, an_artifact, sha256_of
from tests.builders_disputes import disputed
from tests.builders_exports import an_export
from tests.builders_http import HttpAgent, answer_in_this_thread
from tests.builders_invoices import a_parked_month, a_queued_line, make_invoice, make_period, make_tax
from tests.builders_maps import a_map
from tests.builders_network import a_link, a_wish
from tests.builders_periods import at, close, period_offer, used
from tests.builders_settlement import a_payout
from tests.builders_storage import a_replica
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_usage import COUNTER, a_kept_event, a_reconciliation
from tests.builders_wallet import pay_in
from tests.builders_webhooks import an_endpoint, caller_for
from tests.contracts.roles import ROLES, TABLE
from tests.contracts.test_routes_guarded import methods_of, patterns, routes

pytestmark = pytest.mark.django_db
TOLD: Final = [Threshold(80, "notify")]
MONEY: Final = {"reference": "bank/7", "organization": "acme", "amount": "5"}
BUDGET: Final = {"name": "all", "scope": "organization", "amount": "5", "thresholds": [{"percent": 80, "action": "notify"}]}
TASK: Final = {"capability": "carols-programs/noop", "inputs": {"count": 1}}
MAP: Final = {"name": "borders", "approval_number": "GS(2023)1号", "publisher": "ours", "licence": "ours"}
COLUMNS: Final = "region_code,indicator,year,value,unit,source"
BODIES: Final[dict[str, Any]] = {
    "POST capabilities/<org>/<name>/application": {"application": "large_model"},
    "POST tasks": TASK,
    "POST quotes": TASK,
    "POST pools": {"name": "new", "region": "ningxia"},
    "PATCH pools/<identifier>": {"name": "renamed"},
    "POST pools/<identifier>/offers": {"basis": "consumption", "rates": {"core_second": "0.1"}},
    "POST pools/<identifier>/maintenance": {
        "start": f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{datetime.now(UTC) + timedelta(days=4):%Y-%m-%dT%H:%M:%SZ}",
    },
    "POST pools/<identifier>/audit": {"until": (timezone.now() + timedelta(days=90)).isoformat()},
    "POST capabilities": {"manifest": a_manifest(name="another")},
    "POST artifacts/<id>/replicate": {"regions": ["guizhou"]},
    "POST artifacts/<id>/pin": {"until": (timezone.now() + timedelta(days=3)).isoformat()},
    "POST usage/reconciliations": [COUNTER | {"pool": "<identifier>"}],
    "POST usage/corrections": {"corrections": [{"id": "unreadable"}]},
    "POST usage/events": [{"id": "unreadable"}],
    "POST contracts": {"organization": "acme"},
    "POST subscriptions": {"pool": "<identifier>"},
    "POST period-runs": {"month": "2026-03", "final": True},
    "POST usage/records/<number>/corrections": {"core_ms": 1},
    "POST what-if": {"month": "2026-03", "prices": [{"basis": "consumption", "rates": {"core_second": "0.1"}}]},
    "POST bank-lines/<bank_line>/settle": {"invoice": None},
    "POST bank-statements": {"name": "april.csv", "content": "reference,date,amount,currency,payer,remittance\n"},
    "POST invoices/<invoice>/credit-notes": {"lines": [{"line": 1, "net": "0.01"}], "reason": "slow", "reference": "1"},
    "POST invoices/<invoice>/give-up": {"reason": "gone"},
    "POST invoices/<invoice>/payments": {"amount": "0.01", "reference": "1"},
    "POST payments/<payment>/reverse": {"reason": "bounced"},
    "POST billing-periods/<billing_period>/free": {"reason": "the price was put right"},
    "POST taxes": {"code": "gst", "name": "GST"},
    "POST sla/terms": {"pool": "<identifier>", "kind": "deadline", "steps": [[9900, 1000]]},
    "POST sla/backtest": {"pool": "<identifier>", "kind": "deadline", "steps": [[9900, 1000]], "days": 1},
    "POST index/definitions": {"text": (DEFINITIONS / "supply-pulse@1.yaml").read_text().replace("version: 1", "version: 2")},
    "PUT tasks/<task_id>/rating": {"stars": 4},
    "POST index/panels": {"definition": "supply-pulse", "name": "more", "experts": [{"name": "ann"}]},
    "PUT index/panels/<panel>/experts/<expert>/judgements": {"judgements": [{"one": "S", "other": "R", "value": "3"}]},
    "POST index/panels/<panel>/judgements/preview": {"judgements": [{"one": "S", "other": "R", "value": "3"}]},
    "POST index/panels/<panel>/record": {"name": "ours"},
    "POST index/weights": {"definition": "supply-pulse", "name": "ours", "weights": dict.fromkeys(("S", "R", "S1", "R1"), "1")},
    "POST index/runs": {"definition": "cpsdi-2023", "period": "2022"},
    "POST index/runs/<run>/publish": {"change_note": "nothing"},
    "POST index/series": {"definition": "cpsdi-2023", "periods": ["2021"], "base": "2022"},
    "POST index/batches": {"name": "a.csv", "content": f"{COLUMNS}\n310000,gdp,2021,1,亿元,a yearbook\n"},
    "POST index/batches/<batch>/roll-back": {"reason": "wrong"},
    "POST index/maps": {**MAP, "content": a_map(name="another").decode()},
    "POST index/maps/<borders>/withdraw": {"reason": "outdated"},
    "POST tax-rates": {"tax": "vat", "percent": "6"},
    "POST tax-assignments": {"tax": "vat", "organization": "acme"},
    "POST invoices/<invoice>/void": {"reason": "wrong address"},
    "POST reserve-terms": {"organization": "acme", "basis_points": 500, "days": 30},
    "POST payouts/<payout>/cancel": {"reason": "wrong payee"},
    "POST disputes": {"charges": [2**62], "reason": "other", "text": "why?"},
    "POST disputes/answer": {"disputes": [2**62], "position": "accepts", "text": "sorry"},
    "POST disputes/decide": {"decisions": [{"dispute": 2**62, "outcome": "upheld", "text": "so it is"}]},
    "POST disputes/withdraw": {"disputes": [2**62]},
    "POST disputes/<dispute>/messages": {"text": "well"},
    "POST uploads": {"name": "a", "sha256": sha256_of(b"new"), "bytes": 3},
    "PATCH uploads/<id>": b"bb",
    "POST budgets": BUDGET,
    "POST exports": {"kind": "usage"},
    "PATCH budgets/<number>": {"amount": "7"},
    "POST credit/blocks": {"organization": "acme", "reason": "dunning"},
    "POST credit/blocks/lift": {"organization": "acme", "reason": "dunning"},
    "POST credit/grants": MONEY | {"expires_at": "2099-01-01T00:00:00Z", "reason": "welcome"},
    "POST credit/top-ups": MONEY,
    "POST keys": {"name": "another", "scopes": ["tasks:read"]},
    "POST keys/login": {"username": "alice", "password": build.PASSWORD},
    "PATCH organization": {"name": "Renamed"},
    "POST organization/members": {"username": "nobodys", "role": "viewer"},
    "PATCH organization/members/<username>": {"role": "billing"},
    "POST network/reservations": {"from": "here", "to": "there", "mbps": 1, "seconds": 60},
    "POST webhooks": {"url": "https://example.com/new"},
    "PATCH webhooks/<webhook>": {"description": "changed"},
    "POST webhooks/<webhook>/replay": {"since": "2026-01-01T00:00:00Z"},
    "POST webhooks/<webhook>/rotate": {},
    "POST organizations": {"slug": "newcomer", "name": "Newcomer", "owner": "nobodys"},
    "POST /agent/v1/enrol": {},
    "POST /agent/v1/selftest": {"results": build.PASSED, "benchmark": build.BENCHMARK},
    "POST /agent/v1/sync": {"session": str(UUID(int=0)), "want": 0},
    "POST /agent/v1/logs": {"chunks": []},
    "POST /agent/v1/probe": {"bytes": 5},
    "POST /agent/v1/checkpoints": {"checkpoints": []},
    "PUT /agent/v1/blobs/<attempt>/<fence>/<sha256>": b"new",
}
# what the number in a path is of
NUMBERS: Final = {
    "usage/quarantine": "kept", "usage/records": "usage", " charges/": "charge", "period-charges": "month", "parked": "parked",
    "subscriptions": "subscription", "usage/reconciliations": "reconciliation",
    " /charges/": "charge",
}  # fmt: skip
QUERIES: Final = {
    "network/path": "?from=here&to=there", "statements": "?party=user", "statements.csv": "?party=user",
    "payables": "?party=provider", "payables/periods": "?party=provider", "payables.csv": "?party=provider",
    "invoices/<int:invoice>/file": "?format=csv",
    "exports/focus": "?month=2026-03",
    "index/definition-diff/": "?before=cpsdi-2023&after=supply-pulse",
}


@dataclass(frozen=True)
class World:
    """Who calls, by organization and role, and the names that stand in paths."""

    callers: dict[tuple[str, str], str]
    people: dict[tuple[str, str], User]
    names: dict[str, str]
    agent: HttpAgent

    def person(self, owner: str, role: str) -> User | None:
        return self.people.get((owner, role)) or self.people.get(("", role))

    def headers(self, owner: str, role: str, method: str, path: str, body: bytes) -> dict[str, str]:
        if role == "anonymous":
            return {}
        if role == "agent":
            signed = None if "/blobs/" in path else body
            return build.signed(Agent(pk=self.agent.agent_id, name=self.agent.name), method, path, signed)
        caller = self.callers.get((owner, role)) or self.callers["", role]
        return {"Authorization": f"Bearer {caller}"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """alice has a task that was delivered and one that waits, bob a pool, carol a program and a draft."""
    answer_in_this_thread(monkeypatch)
    build.a_user("nobodys")
    build.a_user("alice", password=build.PASSWORD)
    pool = build.a_pool(name="of bob")
    version, draft = a_version(name="noop", outputs=[{"path": "*.txt"}]), a_version(name="draft", state="draft")
    output = {"path": "a.txt", "sha256": blob_received(storage.put_bytes(b"text"), 4, None).pk}
    done = run_to_end(a_task(version=version), FakeAgent.of(pool), outputs=[output])
    kept = an_artifact(build.alice(), b"some bytes")
    a_replica(kept, "ningxia")
    build.a_region("guizhou")
    live, waiting = a_task(version=version), a_task(version=version, expanded=False)
    agent = HttpAgent.of(pool)
    usage, charged, parked = rated_months(version)
    run_round()
    agent.sync(want=1)
    ((attempt, fence),) = agent.held.items()
    alice = build.alice()
    hook = an_endpoint(alice)
    upload = begin_upload(alice.organization, alice.user, name="b", sha256=sha256_of(b"bb"), size=2, media_type="text/plain")
    cast = {
        (one.__name__, role): one(role)
        for one in (build.alice, build.bob, build.carol)
        for role in ("viewer", "billing", "member", "owner")
    }
    cast |= {("", "stranger"): build.mallory(), ("", "operator"): build.olga()}
    callers = {place: build.a_key(person) for place, person in cast.items()}
    names = {
        "booking": str(reserve(a_wish(a_link("here", "there"))).number),
        "task_id": str(done.pk),
        "waiting": str(waiting.pk),
        "live": str(live.pk),
        "identifier": pool.identifier,
        "number": str(build.a_window(pool, in_s=86_400).pk),
        "kept": str(a_kept_event(pool, alice.organization).pk),
        "usage": str(usage.pk),
        "charge": str(Charge.objects.get(usage=usage).pk),
        "month": str(charged.pk),
        "parked": str(parked.pk),
        "reconciliation": str(a_reconciliation(pool).reconciliation_id),
        "subscription": str(subscribe(alice.organization, build.a_pool().identifier, None).pk),
        "invoice": str(make_invoice(make_period(alice.organization)).pk),
        "payment": str(pay_in(alice.organization, 100, "dollars", currency="USD").pk),
        "billing_period": str(a_parked_month(alice.organization).pk),
        "terms": str(promise([Draft(pool, "deadline", [[9900, 1000]], customer=alice.organization.pk)], None)[0].pk),
        "tax_assignment": str(make_tax(alice.organization, code="vat").tax.assignments.get().pk),
        "payout": str(a_payout(build.bob().organization, task=done).pk),
        "dispute": str(disputed(alice.organization, Charge.objects.get(payout_lines__isnull=False)).pk),
        "line": "1",
        **an_index(),
        "export": str(an_export(alice.organization, "ready").pk),
        "gateway": "sandbox",
        "bank_line": str(a_queued_line().pk),
        "org": version.capability.organization.slug,
        "program": version.capability.name,
        "draft": draft.capability.name,
        "version": version.version,
        "artifact": str(kept.pk),
        "budget": str(open_budget(alice.organization, Wanted("all", "organization", "", "CNY", "total", 5 * 10**6, TOLD)).pk),
        "region": "ningxia",
        "upload": str(upload.pk),
        "file": "a.txt",
        "username": build.alice("member").user.username,
        "prefix": callers["alice", "owner"].split("_")[1],
        "attempt": str(attempt),
        "fence": str(fence),
        "sha256": sha256_of(b"new"),
        "webhook": str(hook.pk),
        "delivery": str(ping(caller_for(alice), hook.pk).pk),
    }
    return World(callers, {place: person.user for place, person in cast.items()}, names, agent)


def an_index() -> dict[str, str]:
    """An edition, a file that is looked at, a value, a preview with a change, a value that was counted."""
    run = fill((2022,))
    looked_at = preview(File("b.csv", f"{COLUMNS}\n310000,gdp,2020,1,亿元,a yearbook\n".encode()))
    value = Observation.objects.order_by("pk").values_list("pk", flat=True)[0]
    names = {"run": str(run.pk if run else 0), "batch": str(looked_at.pk), "observation": str(value)}
    panel = open_panel(definition_named("supply-pulse"), "ours", {"ann": Decimal(1)})
    names["borders"] = str(keep_map(NewMap(**MAP), a_map()).pk)
    names |= {"weights": str(run.weights_id if run else 0), "panel": str(panel.pk), "expert": str(panel.experts.get().pk)}
    names |= {"table": "ranks"}
    change = PreviewChange.objects.create(preview=recount(), region="640000", leaf="C12", sentence="it moved")
    kept = {"unit": "CNY", "vintage": "2026-03-31", "evidence": {"window": "2026-03-01T00:00:00+00:00/2026-03-31T00:00:00+00:00"}}
    batch = ObservationBatch.objects.create(profile="platform", origin="live", name="live", digest="0", created_at=timezone.now())
    counted = Observation.objects.create(batch=batch, region="640000", variable="live_revenue", period="2026-03", value=1, **kept)
    names |= {"change": str(change.pk), "counted": str(counted.pk)}
    return names | {"definition": "cpsdi-2023@1", "other": "supply-pulse", "province": "310000", "indicator": "A11"}


def rated_months(version: CapabilityVersion) -> tuple[UsageRecord, PeriodCharge, ParkedPeriod]:
    """Usage of alice's whose month was charged, and an amount of hers that nobody can believe."""
    found = []
    for price in ("10", "999999999"):
        pool = build.a_pool()
        offer = period_offer(pool, "monthly_peak", {"held_cores": price}, end=at("2026-07-01 00:00"))
        cast = (build.alice().organization, build.bob().organization, build.carol().organization)
        market = Market(*cast, pool, pool.agents.get(), offer, version)
        found.append(used(market, at("2026-03-03 10:00"), 600, 4))
        close(market)
    return found[0], PeriodCharge.objects.get(), ParkedPeriod.objects.get()


def doors() -> dict[str, str]:
    """Every route of the platform but the admin's pages, as `METHOD path` → the path's pattern."""
    found = {f"{method} {one.path}": one.path for one in routes() for method in methods_of(one.view)}
    for path in (path for path, _, _ in patterns(get_resolver()) if not path.startswith("admin/")):
        if path.startswith("agent/v1/"):
            method = "GET" if "blobs/store" in path else "PUT" if "blobs" in path else "POST"
            found[f"{method} /{path}"] = path
        elif not path.startswith("api/v1/") or path == "api/v1/openapi.json":
            found |= {f"{method} /{path}": path for method in ("GET", "POST")}
    return {shortened(door): path for door, path in found.items()}


def shortened(door: str) -> str:
    return re.sub(r"<\w+:(\w+)>", r"<\1>", door)


@cache
def table() -> dict[str, tuple[str, list[int]]]:
    rows = (line.split() for line in TABLE.strip().splitlines() if line and not line.startswith("#"))
    return {f"{row[0]} {row[1]}": (row[2], [int(status) for status in row[3:]]) for row in rows}


def filled(door: str, path: str, names: dict[str, str]) -> str:
    special = {"id": "upload" if "uploads" in path else "artifact", "name": "file" if "/result/" in path else "program"}
    special["artifact_id"] = "artifact"
    if "usage/quarantine" in door:
        special["number"] = "kept"
    for part, name in NUMBERS.items():
        if part in door:
            special["number"] = name
    if "budgets/" in door:
        special["number"] = "budget"
    if door.endswith("/publish"):
        special["name"] = "draft"
    if door.endswith("/cancel"):
        special["task_id"] = "waiting"
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: names[special.get(match[1], match[1])], path)


def asked(world: World, door: str, path: str, owner: str, role: str) -> Any:
    """The answer to one caller; nothing it does lasts."""
    method, shown = door.split(" ")
    prefix = "/" if shown.startswith("/") else "/api/v1/"
    url = prefix + filled(door, path, world.names) + QUERIES.get(path, "")
    body = BODIES.get(door, b"")
    raw = body if isinstance(body, bytes) else orjson.dumps(body).replace(b"<identifier>", world.names["identifier"].encode())
    headers = world.headers(owner, role, method, url, raw) | ({"Upload-Offset": "0"} if "uploads/" in url else {})
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    client = APIClient(raise_request_exception=False, REMOTE_ADDR=f"10.0.0.{ROLES.index(role)}")
    with transaction.atomic():
        if not shown.startswith("/agent/") and (person := world.person(owner, role)) and prefix == "/":
            client.force_login(person)  # pages know people by their session
        answer = client.generic(method, url, raw, content_type=kind, headers=headers)
        transaction.set_rollback(True)
    return answer


def text_of(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(body.decode("utf-8", "replace"))


def test_every_door_has_a_row_and_every_row_a_door() -> None:
    assert sorted(doors()) == sorted(table())


def test_every_door_answers_everybody_as_the_table_says(world: World) -> None:
    expected = {door: statuses for door, (_, statuses) in table().items()}
    got = {
        door: [asked(world, door, path, table()[door][0], role).status_code for role in ROLES]
        for door, path in doors().items()
    }
    assert {door: got[door] for door in got if got[door] != expected[door]} == {}


def test_what_a_stranger_reads_names_nothing_of_others(world: World) -> None:
    secrets = {
        world.names[name] for name in ("task_id", "waiting", "live", "artifact", "upload", "prefix", "username", "webhook")
    }
    told: dict[str, list[str]] = {}
    for door, path in doors().items():
        owner, statuses = table()[door]
        if statuses[ROLES.index("stranger")] == 200 and not path.startswith(("metrics", "api/docs")):
            text = text_of(asked(world, door, path, owner, "stranger"))
            private = secrets | ({world.names["identifier"]} if path.strip("/") == "pools" else set())
            told[door] = sorted(one for one in private | {f"/{world.names['draft']}\""} if one in text)
    assert {door: names for door, names in told.items() if names} == {}


def test_every_page_of_the_admin_sends_others_to_its_login(world: World) -> None:
    anonymous, alice = (APIClient(raise_request_exception=False) for _ in range(2))
    alice.force_login(world.people["alice", "owner"])
    for path, sample, _ in patterns(get_resolver()):
        if not path.startswith("admin/") or path in {"admin/login/", "admin/logout/"} or "(?P" in path:
            continue
        for client in (anonymous, alice):
            answer = client.get(f"/{sample}")
            assert answer.status_code == 302, (path, answer.status_code)
            assert "/login/" in answer["Location"], path

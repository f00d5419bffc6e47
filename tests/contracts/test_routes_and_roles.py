"""Every door against everybody: the status that each kind of caller gets, for an object of its own and a stranger's.

A route without a row fails. The object of a row belongs to the organization that the row names; viewer, billing,
member and owner are people of it, the stranger owns another one that is user, provider and publisher, the agent signs
with a machine's key. Every request is rolled back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from tests.builders_http import HttpAgent, answer_in_this_thread
from tests.builders_invoices import a_queued_line, make_invoice, make_period
from tests.builders_network import a_link, a_wish
from tests.builders_periods import at, close, period_offer, used
from tests.builders_settlement import a_payout
from tests.builders_storage import a_replica
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_usage import a_kept_event
from tests.builders_webhooks import an_endpoint, caller_for
from tests.contracts.test_routes_guarded import methods_of, patterns, routes

pytestmark = pytest.mark.django_db
ROLES: Final = ("anonymous", "agent", "stranger", "viewer", "billing", "member", "owner", "operator")
TABLE: Final = """
# door                                                         whose anon agen stra view bill memb owne oper
GET artifacts                                                  alice 401 401 200 200 200 200 200 200
DELETE artifacts/<id>                                          alice 401 401 404 403 403 204 204 204
GET artifacts/<id>                                             alice 401 401 404 200 200 200 200 200
GET artifacts/<id>/content                                     alice 401 401 404 200 200 200 200 200
POST artifacts/<id>/replicate                                  alice 401 401 404 403 403 202 202 202
DELETE artifacts/<id>/replicas/<region>                        alice 401 401 404 403 403 204 204 204
POST artifacts/<id>/pin                                        alice 401 401 404 403 403 200 200 200
DELETE artifacts/<id>/pin                                      alice 401 401 404 403 403 204 204 204
GET bank-lines                                                 alice 401 401 403 403 403 403 403 200
POST bank-lines/<bank_line>/settle                             alice 401 401 403 403 403 403 403 200
POST bank-statements                                           alice 401 401 403 403 403 403 403 201
GET capabilities                                               carol 401 401 200 200 200 200 200 200
POST capabilities                                              carol 401 401 201 403 403 201 201 201
GET capabilities/<org>/<name>                                  carol 401 401 200 200 200 200 200 200
GET capabilities/<org>/<name>/versions/<version>               carol 401 401 200 200 200 200 200 200
POST capabilities/<org>/<name>/versions/<version>/deprecate    carol 401 401 404 403 403 200 200 200
POST capabilities/<org>/<name>/versions/<version>/publish      carol 401 401 404 403 403 202 202 202
POST capabilities/<org>/<name>/versions/<version>/trust        carol 401 401 403 403 403 403 403 200
POST capabilities/<org>/<name>/versions/<version>/withdraw     carol 401 401 404 403 403 200 200 200
GET events                                                     alice 401 401 200 403 200 200 200 200
GET charges/<number>/evidence                                  alice 401 401 404 403 200 200 200 200
GET contracts                                                  alice 401 401 200 403 200 200 200 200
POST contracts                                                 alice 401 401 403 403 403 403 403 201
GET budgets                                                    alice 401 401 200 403 200 200 200 200
POST budgets                                                   alice 401 401 201 403 403 403 201 201
GET budgets/<number>                                           alice 401 401 404 403 200 200 200 404
PATCH budgets/<number>                                         alice 401 401 404 403 403 403 200 404
DELETE budgets/<number>                                        alice 401 401 404 403 403 403 204 404
GET budgets/alerts                                             alice 401 401 200 403 200 200 200 200
GET credit                                                     alice 401 401 200 403 200 200 200 200
POST credit/blocks                                             alice 401 401 403 403 403 403 403 201
POST credit/blocks/lift                                        alice 401 401 403 403 403 403 403 200
GET credit/grants                                              alice 401 401 200 403 200 200 200 200
POST credit/grants                                             alice 401 401 403 403 403 403 403 201
GET credit/holds                                               alice 401 401 200 403 200 200 200 200
GET credit/movements                                           alice 401 401 200 403 200 200 200 200
POST credit/top-ups                                            alice 401 401 403 403 403 403 403 201
POST gateways/<gateway>/callback                               alice 403 403 403 403 403 403 403 403
GET invoices                                                   alice 401 401 200 403 200 200 200 200
GET invoices/<invoice>                                         alice 401 401 404 403 200 200 200 200
POST invoices/<invoice>/credit-notes                           alice 401 401 403 403 403 403 403 201
GET invoices/<invoice>/file                                    alice 401 401 404 403 200 200 200 200
POST invoices/<invoice>/gateway-payments                       alice 401 401 404 403 201 201 201 201
POST invoices/<invoice>/give-up                                alice 401 401 403 403 403 403 403 409
GET invoices/<invoice>/lines/<line>/charges                    alice 401 401 404 403 200 200 200 200
POST invoices/<invoice>/payments                               alice 401 401 403 403 403 403 403 201
POST invoices/<invoice>/void                                   alice 401 401 403 403 403 403 403 200
GET keys                                                       alice 401 401 200 200 200 200 200 200
POST keys                                                      alice 401 401 201 403 403 403 201 201
DELETE keys/<prefix>                                           alice 401 401 404 403 403 403 204 404
POST keys/<prefix>/rotate                                      alice 401 401 404 403 403 403 201 404
POST keys/login                                                alice 201 201 201 201 201 201 201 201
GET exports/focus                                              alice 401 401 404 403 200 200 200 404
GET ledger/export                                              alice 401 401 200 403 200 200 200 200
GET ledger/proof                                               alice 401 401 200 403 200 200 200 200
GET ledger/proof/entries                                       alice 401 401 200 403 200 200 200 200
GET ledger/trial-balance                                       alice 401 401 403 403 403 403 403 200
GET market/pools                                               bob   401 401 200 200 200 200 200 200
GET me                                                         alice 401 401 200 200 200 200 200 200
GET network                                                    alice 401 401 200 200 200 200 200 200
GET network/metrics                                            alice 401 401 200 200 200 200 200 200
GET network/path                                               alice 401 401 200 200 200 200 200 200
GET network/reservations                                       alice 401 401 403 403 403 403 403 200
POST network/reservations                                      alice 401 401 403 403 403 403 403 201
DELETE network/reservations/<booking>                          alice 401 401 403 403 403 403 403 204
GET organization                                               alice 401 401 200 200 200 200 200 200
PATCH organization                                             alice 401 401 200 403 403 403 200 200
GET organization/members                                       alice 401 401 200 200 200 200 200 200
POST organization/members                                      alice 401 401 201 403 403 403 201 201
DELETE organization/members/<username>                         alice 401 401 404 403 403 403 204 404
PATCH organization/members/<username>                          alice 401 401 404 403 403 403 200 404
GET organizations                                              alice 401 401 403 403 403 403 403 200
POST organizations                                             alice 401 401 403 403 403 403 403 201
GET parked                                                     alice 401 401 403 403 403 403 403 200
POST parked/<number>/approve                                   alice 401 401 403 403 403 403 403 200
POST parked/<number>/refuse                                    alice 401 401 403 403 403 403 403 200
GET payables                                                   alice 401 401 200 403 200 200 200 200
GET payables.csv                                               alice 401 401 200 403 200 200 200 200
POST payout-runs                                               alice 401 401 403 403 403 403 403 201
GET payouts                                                    bob   401 401 200 403 200 200 200 200
POST payouts/send                                              bob   401 401 403 403 403 403 403 200
GET payouts/<payout>                                           bob   401 401 404 403 200 200 200 200
GET payouts/<payout>/lines                                     bob   401 401 404 403 200 200 200 200
POST payouts/<payout>/approve                                  bob   401 401 403 403 403 403 403 200
POST payouts/<payout>/cancel                                   bob   401 401 403 403 403 403 403 200
POST payouts/<payout>/retry                                    bob   401 401 403 403 403 403 403 409
GET period-charges                                             alice 401 401 200 403 200 200 200 200
GET period-charges/<number>/evidence                           alice 401 401 404 403 200 200 200 200
GET period-previews                                            alice 401 401 200 403 200 200 200 200
POST period-runs                                               alice 401 401 403 403 403 403 403 200
GET pools                                                      bob   401 401 200 200 200 200 200 200
POST pools                                                     bob   401 401 201 403 403 201 201 201
GET pools/<identifier>                                         bob   401 401 404 200 200 200 200 200
PATCH pools/<identifier>                                       bob   401 401 404 403 403 200 200 200
POST pools/<identifier>/activate                               bob   401 401 403 403 403 403 403 200
POST pools/<identifier>/audit                                  bob   401 401 403 403 403 403 403 200
POST pools/<identifier>/drain                                  bob   401 401 404 403 403 200 200 200
POST pools/<identifier>/join-tokens                            bob   401 401 404 403 403 201 201 201
GET pools/<identifier>/maintenance                             bob   401 401 404 200 200 200 200 200
POST pools/<identifier>/maintenance                            bob   401 401 404 403 403 201 201 201
DELETE pools/<identifier>/maintenance/<number>                 bob   401 401 404 403 403 204 204 204
DELETE pools/<identifier>/reclaim                              bob   401 401 404 403 403 200 200 200
POST pools/<identifier>/reclaim                                bob   401 401 404 403 403 200 200 200
POST pools/<identifier>/lift                                   bob   401 401 403 403 403 403 403 409
GET pools/<identifier>/offers                                  bob   401 401 404 200 200 200 200 200
POST pools/<identifier>/offers                                 bob   401 401 404 403 403 201 201 201
POST pools/<identifier>/reinstate                              bob   401 401 403 403 403 403 403 409
POST pools/<identifier>/resume                                 bob   401 401 404 403 403 200 200 200
POST pools/<identifier>/retire                                 bob   401 401 404 403 403 200 200 200
GET pools/<identifier>/trust                                   bob   401 401 404 200 200 200 200 200
POST pools/<identifier>/suspend                                bob   401 401 403 403 403 403 403 200
GET market/prices                                              alice 401 401 200 200 200 200 200 200
POST quotes                                                    alice 401 401 200 200 200 200 200 200
GET regions                                                    alice 401 401 200 200 200 200 200 200
GET statements                                                 alice 401 401 200 403 200 200 200 200
GET statements.csv                                             alice 401 401 200 403 200 200 200 200
GET tasks                                                      alice 401 401 200 200 200 200 200 200
POST tasks                                                     alice 401 401 201 403 403 201 201 201
GET tasks/<task_id>                                            alice 401 401 404 200 200 200 200 200
POST tasks/<task_id>/cancel                                    alice 401 401 404 403 403 202 202 202
GET tasks/<task_id>/charges                                    alice 401 401 404 403 200 200 200 200
GET tasks/<task_id>/events                                     alice 401 401 404 200 200 200 200 200
GET tasks/<task_id>/explain                                    alice 401 401 404 200 200 200 200 200
GET tasks/<task_id>/logs                                       alice 401 401 404 200 200 200 200 200
GET tasks/<task_id>/result                                     alice 401 401 404 200 200 200 200 200
GET tasks/<task_id>/result/files/<name>                        alice 401 401 404 200 200 200 200 200
GET tasks/<task_id>/units                                      alice 401 401 404 200 200 200 200 200
GET unbilled                                                   alice 401 401 200 403 200 200 200 200
GET usage                                                      alice 401 401 200 403 200 200 200 200
GET usage.csv                                                  alice 401 401 200 403 200 200 200 200
GET usage/days                                                 alice 401 401 200 403 200 200 200 200
POST usage/events                                              bob   401 401 200 403 403 200 200 200
GET usage/quarantine                                           bob   401 401 200 200 200 200 200 200
POST usage/quarantine/<number>/accept                          bob   401 401 403 403 403 403 403 200
POST usage/quarantine/<number>/refuse                          bob   401 401 403 403 403 403 403 200
POST usage/records/<number>/corrections                        alice 401 401 403 403 403 403 403 201
POST what-if                                                   alice 401 401 200 403 200 200 200 200
POST uploads                                                   alice 401 401 201 403 403 201 201 201
GET uploads/<id>                                               alice 401 401 404 403 403 200 200 200
PATCH uploads/<id>                                             alice 401 401 404 403 403 200 200 200
GET webhooks                                                   alice 401 401 200 403 200 200 200 200
POST webhooks                                                  alice 401 401 201 403 403 403 201 201
GET webhooks/types                                             alice 401 401 200 200 200 200 200 200
GET webhooks/<webhook>                                         alice 401 401 404 403 200 200 200 200
PATCH webhooks/<webhook>                                       alice 401 401 404 403 403 403 200 200
DELETE webhooks/<webhook>                                      alice 401 401 404 403 403 403 204 204
POST webhooks/<webhook>/rotate                                 alice 401 401 404 403 403 403 201 201
POST webhooks/<webhook>/ping                                   alice 401 401 404 403 403 403 202 202
POST webhooks/<webhook>/replay                                 alice 401 401 404 403 403 403 202 202
GET webhooks/<webhook>/deliveries                              alice 401 401 404 403 200 200 200 200
GET webhooks/<webhook>/deliveries/<delivery>                   alice 401 401 404 403 200 200 200 200
POST webhooks/<webhook>/deliveries/<delivery>/replay           alice 401 401 404 403 403 403 202 202
GET /healthz                                                   alice 200 200 200 200 200 200 200 200
POST /healthz                                                  alice 405 405 405 405 405 405 405 405
GET /readyz                                                    alice 200 200 200 200 200 200 200 200
POST /readyz                                                   alice 405 405 405 405 405 405 405 405
GET /metrics                                                   alice 200 200 200 200 200 200 200 200
POST /metrics                                                  alice 405 405 405 405 405 405 405 405
GET /api/v1/openapi.json                                       alice 200 200 200 200 200 200 200 200
POST /api/v1/openapi.json                                      alice 405 405 405 405 405 405 405 405
GET /api/docs/                                                 alice 200 200 200 200 200 200 200 200
POST /api/docs/                                                alice 405 405 405 405 405 405 405 405
POST /agent/v1/enrol                                           alice 422 422 422 422 422 422 422 422
POST /agent/v1/selftest                                        alice 401 200 401 401 401 401 401 401
POST /agent/v1/sync                                            alice 401 200 401 401 401 401 401 401
POST /agent/v1/probe                                           alice 401 200 401 401 401 401 401 401
POST /agent/v1/logs                                            alice 401 200 401 401 401 401 401 401
POST /agent/v1/checkpoints                                     alice 401 200 401 401 401 401 401 401
GET /agent/v1/blobs/store/<sha256>                             alice 401 404 401 401 401 401 401 401
PUT /agent/v1/blobs/<attempt>/<fence>/<sha256>                 alice 401 201 401 401 401 401 401 401
# pages, by session
GET /login/                                                    alice 200 200 200 200 200 200 200 200
POST /login/                                                   alice 200 200 200 200 200 200 200 200
GET /logout/                                                   alice 405 405 405 405 405 405 405 405
POST /logout/                                                  alice 302 302 302 302 302 302 302 302
GET /organization/                                             alice 302 302 200 200 200 200 200 200
POST /organization/                                            alice 302 302 404 404 404 404 404 404
GET /tasks/                                                    alice 302 302 200 200 200 200 200 200
POST /tasks/                                                   alice 405 405 405 405 405 405 405 405
GET /tasks/<task_id>/                                          alice 302 302 404 200 200 200 200 200
POST /tasks/<task_id>/                                         alice 405 405 405 405 405 405 405 405
GET /tasks/<task_id>/cancel/                                   alice 405 405 405 405 405 405 405 405
POST /tasks/<task_id>/cancel/                                  alice 302 302 404 403 403 409 409 409
GET /capabilities/                                             carol 302 302 200 200 200 200 200 200
POST /capabilities/                                            carol 405 405 405 405 405 405 405 405
GET /capabilities/<org>/<name>/                                carol 302 302 200 200 200 200 200 200
POST /capabilities/<org>/<name>/                               carol 302 302 200 200 200 200 200 200
GET /market/                                                   alice 302 302 200 200 200 200 200 200
POST /market/                                                  alice 405 405 405 405 405 405 405 405
GET /network/                                                  alice 302 302 200 200 200 200 200 200
POST /network/                                                 alice 405 405 405 405 405 405 405 405
GET /pools/                                                    bob   302 302 200 200 200 200 200 200
POST /pools/                                                   bob   405 405 405 405 405 405 405 405
GET /pools/<identifier>/join-token/                            bob   405 405 405 405 405 405 405 405
POST /pools/<identifier>/join-token/                           bob   302 302 404 403 403 201 201 201
GET /artifacts/                                                alice 302 302 200 200 200 200 200 200
POST /artifacts/                                               alice 405 405 405 405 405 405 405 405
GET /artifacts/<artifact_id>/                                  alice 302 302 404 200 200 200 200 200
POST /artifacts/<artifact_id>/                                 alice 405 405 405 405 405 405 405 405
GET /artifacts/<artifact_id>/replicate/                        alice 405 405 405 405 405 405 405 405
POST /artifacts/<artifact_id>/replicate/                       alice 302 302 404 403 403 422 422 422
GET /artifacts/<artifact_id>/replicas/<region>/drop/           alice 405 405 405 405 405 405 405 405
POST /artifacts/<artifact_id>/replicas/<region>/drop/          alice 302 302 404 403 403 302 302 302
GET /artifacts/<artifact_id>/pin/                              alice 405 405 405 405 405 405 405 405
POST /artifacts/<artifact_id>/pin/                             alice 302 302 404 403 403 422 422 422
GET /artifacts/<artifact_id>/unpin/                            alice 405 405 405 405 405 405 405 405
POST /artifacts/<artifact_id>/unpin/                           alice 302 302 404 403 403 302 302 302
GET /bill/                                                     alice 302 302 200 403 200 200 200 200
GET /credit/                                                   alice 302 302 200 403 200 200 200 200
POST /credit/                                                  alice 405 405 405 405 405 405 405 405
POST /bill/                                                    alice 405 405 405 405 405 405 405 405
GET /keys/                                                     alice 302 302 200 200 200 200 200 200
POST /keys/                                                    alice 302 302 422 403 403 403 422 422
GET /keys/<prefix>/revoke/                                     alice 405 405 405 405 405 405 405 405
POST /keys/<prefix>/revoke/                                    alice 302 302 404 403 403 403 302 404
GET /                                                          alice 200 200 200 200 200 200 200 200
POST /                                                         alice 405 405 405 405 405 405 405 405
"""
TOLD: Final = [Threshold(80, "notify")]
MONEY: Final = {"reference": "bank/7", "organization": "acme", "amount": "5"}
BUDGET: Final = {"name": "all", "scope": "organization", "amount": "5", "thresholds": [{"percent": 80, "action": "notify"}]}
TASK: Final = {"capability": "carols-programs/noop", "inputs": {"count": 1}}
BODIES: Final[dict[str, Any]] = {
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
    "POST usage/events": [{"id": "unreadable"}],
    "POST contracts": {"organization": "acme"},
    "POST period-runs": {"month": "2026-03", "final": True},
    "POST usage/records/<number>/corrections": {"core_ms": 1},
    "POST what-if": {"month": "2026-03", "prices": [{"basis": "consumption", "rates": {"core_second": "0.1"}}]},
    "POST bank-lines/<bank_line>/settle": {"invoice": None},
    "POST bank-statements": {"name": "april.csv", "content": "reference,date,amount,currency,payer,remittance\n"},
    "POST invoices/<invoice>/credit-notes": {"lines": [{"line": 1, "net": "0.01"}], "reason": "slow", "reference": "1"},
    "POST invoices/<invoice>/give-up": {"reason": "gone"},
    "POST invoices/<invoice>/payments": {"amount": "0.01", "reference": "1"},
    "POST invoices/<invoice>/void": {"reason": "wrong address"},
    "POST payouts/<payout>/cancel": {"reason": "wrong payee"},
    "POST uploads": {"name": "a", "sha256": sha256_of(b"new"), "bytes": 3},
    "PATCH uploads/<id>": b"bb",
    "POST budgets": BUDGET,
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
}  # fmt: skip
QUERIES: Final = {
    "network/path": "?from=here&to=there", "statements": "?party=user", "statements.csv": "?party=user",
    "payables": "?party=provider", "payables.csv": "?party=provider",
    "invoices/<int:invoice>/file": "?format=csv",
    "exports/focus": "?month=2026-03",
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
        "invoice": str(make_invoice(make_period(alice.organization)).pk),
        "payout": str(a_payout(build.bob().organization, task=done).pk),
        "line": "1",
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
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
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

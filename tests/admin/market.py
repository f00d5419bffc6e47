"""A small market with one row of everything, as operators find it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import count as numbers
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.credit.budgets import Wanted, open_budget
from billing.invoices.posting import post
from billing.ledger.sealing import seal_all
from billing.models import (
    Charge,
    CostSoFar,
    Invoice,
    InvoicedCharge,
    InvoicedPeriod,
    LedgerAlarm,
    LedgerSeal,
    PeriodCharge,
    RatedMonth,
    SLACredit,
    SLADay,
    SLAMeasurement,
)
from billing.periods import rate_periods, safe_cutoff
from billing.periods.subscriptions import subscribe
from billing.services import charge_tasks
from billing.settlement.payouts import approve, gather
from billing.settlement.reserves import Terms, agree_terms
from billing.settlement.sending import send_payouts
from billing.sla import terms as service_levels
from core.admin.cells import change_url
from index.defining import definition_named
from index.demo import fill
from index.maps import NewMap, keep_map
from index.models import PreviewChange, TaskRating
from index.panels import Said, judge, open_panel
from index.preview.counting import recount
from marketplace.budgets import Threshold
from marketplace.models import (
    Artifact,
    Blob,
    BlobPlace,
    Budget,
    BudgetAlert,
    CreditAlarm,
    Pool,
    Region,
    SpendBlock,
    Task,
    TaskArtifact,
    TaskPause,
    TaskReference,
    Upload,
)
from marketplace.services.availability import keep_status
from marketplace.services.contracts import Draft, sign_contracts
from marketplace.services.credit import block_organizations
from marketplace.services.replicas import pin
from metering.events.correcting import correct_events
from metering.events.rollups import rebuild
from metering.models import UsageEvent
from metering.services import measure
from scheduler.models import (
    Attempt,
    Checkpoint,
    Commitment,
    Ended,
    LogChunk,
    MarketPrice,
    PoolEvent,
    Prediction,
    Probe,
    Recheck,
    RegionEndpoint,
    ReportBatch,
    Trust,
    Unit,
    Unjudged,
)
from scheduler.services.network import reserve
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import (
    Person,
    a_join_token,
    a_key,
    a_person,
    a_pool,
    a_window,
    alice,
    an_agent,
    an_organization,
    olga,
)
from tests.builders_disputes import disputed
from tests.builders_exports import an_export
from tests.builders_invoices import APRIL, make_everything, make_invoice, make_period
from tests.builders_maps import a_map
from tests.builders_network import a_link, a_wish
from tests.builders_periods import MARCH, at, close, period_market, priced_by_month, used
from tests.builders_settlement import a_payout
from tests.builders_storage import a_replica
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_usage import a_kept_event, a_reconciliation, an_event, sent
from tests.builders_wallet import give, owe
from tests.builders_webhooks import Receiver, an_endpoint, tell

_serial = numbers(1)


def operator() -> Client:
    """olga, logged in."""
    client = Client()
    client.force_login(olga().user)
    return client


def a_provider() -> Person:
    """Somebody whom no other story knows."""
    name = f"provider-{next(_serial)}"
    return a_person(name, an_organization(name, is_provider=True))


def a_settled_task(count: int = 2) -> Task:
    """A task of so many units that ran on a pool of its own, was delivered, measured and charged."""
    owner = a_provider()
    agent = FakeAgent.of(a_pool(owner, rates={"core_second": "10"}))
    version = a_version(fee={"per_unit": "0.01", "per_task": "0"})
    only_there = {"providers": [owner.organization.slug]}
    task = a_task(version=version, inputs={"count": count}, name="a flight", constraints=only_there)
    assert run_to_end(task, agent).state == Task.State.DELIVERED
    measure()
    charge_tasks([task.pk])
    task.refresh_from_db()
    return task


def everything() -> Task:
    """At least one row of every model that the admin shows; the task that was settled."""
    task = a_settled_task()
    attempt = Attempt.objects.filter(task=task).latest("pk")
    attempt.outputs.create(task=task, path="a.png", blob=_a_blob(), bytes=4, media_type="image/png")
    saved = [{"path": "state/a", "sha256": "a" * 64, "bytes": 4}]
    Checkpoint.objects.create(attempt=attempt, unit=attempt.unit, at=timezone.now(), files=saved, bytes=4, usage={})
    LogChunk.objects.create(attempt=attempt, stream="stdout", offset=0, data=b"frame 1 \xff\x00 done")
    Ended.objects.create(attempt=attempt, at=timezone.now())
    MarketPrice.objects.create(at=timezone.now(), pool_id=attempt.pool_id, resource="cores", price=0.01)
    CostSoFar.objects.create(task=task)
    TaskRating.objects.create(task=task, organization=task.organization, stars=4, rated_at=timezone.now())
    seal_all()
    last = LedgerSeal.objects.latest("number")
    LedgerAlarm.objects.create(kind="chain", seal=last, stands=f"{next(_serial)}", proved="0", raised_at=timezone.now())
    TaskReference.objects.create(task=task, needs=task, field="scene", path="*.obj")
    soon = {"start_p50_s": 1, "start_p90_s": 2, "finish_p50_s": 3, "finish_p90_s": 4}
    Prediction.objects.get_or_create(task=task, defaults={"made_at": timezone.now(), "price": 1, "tflop": 1, **soon})
    _invoices(task)
    _trust(attempt)
    _files(task)
    _network(Attempt.objects.get(pk=attempt.pk).pool)
    a_key(alice())
    a_join_token(a_pool(state="registered"))
    a_window(a_pool(), in_s=3600)
    keep_status(an_agent(a_pool(agent=False)), {"load1": 0.5}, [("a" * 64, 10**9)])
    metering = a_pool()
    sent(metering, an_event(metering, alice().organization))
    rebuild()
    a_kept_event(metering, alice().organization)
    a_reconciliation(metering)
    event = UsageEvent.objects.latest("accepted_at")
    right = {"source": event.series.source, "id": event.external_id, "name": f"fix-{next(_serial)}", "quantity": "2"}
    correct_events(metering.organization, [right])
    sent(metering, an_event(metering, alice().organization))
    _periods()
    _credit(task)
    _payouts(task)
    _service_level(Attempt.objects.get(pk=attempt.pk).pool, task)
    _export()
    LogEntry.objects.create(user=olga().user, object_repr="a pool", action_flag=CHANGE, change_message="drained")
    return task


def _invoices(task: Task) -> None:
    invoice = make_everything(task.organization)
    draft = make_invoice(make_period(an_organization(f"billed-{next(_serial)}")), "grace")
    InvoicedCharge.objects.create(charge=Charge.objects.filter(task=task).latest("pk"), line=draft.lines.get())
    Invoice.objects.filter(pk=invoice.pk).update(state="overdue")


def _periods() -> None:
    """A contract, a month that was charged, one that is previewed, and one that is parked."""
    sign_contracts([Draft(an_organization("acme").pk)])
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, at("2026-03-03 10:00"), 600)
    close(market)
    priced_by_month(market, per_unit={"model": "package", "size": "10", "price": "2"})
    used(market, at("2026-03-04 10:00"), 600)
    close(market)
    draft = make_invoice(make_period(an_organization(f"monthly-{next(_serial)}")), "grace")
    InvoicedPeriod.objects.create(charge=PeriodCharge.objects.latest("pk"), line=draft.lines.get())
    rate_periods([market.alice.pk], MARCH, safe_cutoff(), final=False)
    fill((2022,))
    keep_map(NewMap("borders", "GS(2023)1号", "ours", "ours"), a_map(name=market.alice.slug))
    panel = open_panel(definition_named("supply-pulse"), f"of {market.alice.slug}", {"ann": Decimal(1)})
    judge(panel.pk, panel.experts.get().pk, [Said("S", "R", "3")])
    if preview := recount():
        PreviewChange.objects.create(preview=preview, region="640000", leaf=f"of {market.alice.slug}", sentence="it moved")
    RatedMonth.objects.create(organization=market.alice, month=MARCH, cutoff=safe_cutoff())
    subscribe(market.alice, market.pool.identifier, None)
    open_budget(market.alice, Wanted("all", "organization", "", "CNY", "total", 10**9, (Threshold(80, "notify"),)))
    dear = period_market("monthly_peak", {"held_cores": "999999999"})
    used(dear, at("2026-03-03 10:00"), 600, 4)
    close(dear)


def _credit(task: Task) -> None:
    block_organizations([alice().organization.pk], f"reason_{next(_serial)}", "an invoice is long overdue")
    SpendBlock.objects.update(lifted_at=timezone.now())
    TaskPause.objects.create(task=task, source=f"budget/{next(_serial)}", detail="the budget is spent", paused_at=timezone.now())
    now, acme = timezone.now(), alice().organization
    budget = Budget.objects.create(
        organization=acme, name="all of us", scope="organization", currency="CNY", period="month", zone="Asia/Shanghai",
        period_start=now, amount_micros=10**9, thresholds=[{"percent": 80, "action": "notify"}], created_at=now,
    )  # fmt: skip
    sums = {"amount_micros": 10**9, "spent_micros": 8 * 10**8, "held_micros": 0}
    BudgetAlert.objects.create(budget=budget, period_start=now, percent=80, action="notify", raised_at=now, **sums)
    settled = owe(an_organization(f"given-{next(_serial)}"), 100)
    give(settled.organization, 50, days=9, key=f"gift/{settled.pk}")
    CreditAlarm.objects.create(what=f"allowance/{next(_serial)}/held", organization=acme, stands=1, counted=0, raised_at=now)


def _payouts(task: Task) -> None:
    """One that was paid, less a reserve that is released, and is disputed."""
    payee = a_provider().organization
    agree_terms(payee, Terms(1000, 0), now=APRIL)
    payout = a_payout(payee, task=task)
    approve(payout, olga().user)
    send_payouts()
    gather()
    disputed(task.organization, payout.lines.get(role="provider").charge)


def _service_level(pool: Pool, task: Task) -> None:
    """A promise, a day that did not keep it, and what came back."""
    now = timezone.now()
    (terms,) = service_levels.promise([service_levels.Draft(pool, "deadline", [[9900, 1000]])], None, now - timedelta(days=3))
    yesterday = (now - timedelta(days=1)).date()
    SLADay.objects.get_or_create(day=yesterday, defaults={"measured_at": now})
    measured = SLAMeasurement.objects.create(
        terms=terms, day=yesterday, organization=task.organization, currency="CNY", good=8, total=9, credit_basis_points=1000,
        covered_micros=100, credit_micros=10, evidence={}, digest=bytes(32), measured_at=now,
    )  # fmt: skip
    entry = post(f"sla/{measured.pk}", "sla", now, "CNY", [
        ("user_receivable", task.organization_id, -10), ("provider_payable", pool.organization_id, 10),
    ])  # fmt: skip
    charge = Charge.objects.create(
        kind="sla", task=task, organization=task.organization, provider=pool.organization, payer="user", reason="sla/deadline",
        publisher=task.capability_version.capability.organization, currency="CNY", amount_micros=-10, provider_micros=-10,
        entry=entry, charged_at=now,
    )  # fmt: skip
    SLACredit.objects.create(measurement=measured, task=task, charge=charge)


def _export() -> None:
    an_export(None, "ready", now=timezone.now() + timedelta(hours=next(_serial)))


def _trust(attempt: Attempt) -> None:
    now = timezone.now()
    Trust.objects.create(pool=attempt.pool, capability_version=attempt.task.capability_version, streak=3, valid=3, updated_at=now)
    PoolEvent.objects.create(pool=attempt.pool, kind="level", detail="L1 to L2", at=now)
    Unjudged.objects.create(unit=attempt.unit, at=now)
    again = Unit.objects.create(task=attempt.task, index=0, replica=9, need=attempt.need, state="superseded")
    Recheck.objects.create(attempt=attempt, unit=again, at=now)
    batch = ReportBatch.objects.filter(agent_id=attempt.agent_id).latest("pk")
    Commitment.objects.create(attempt=attempt, hash="c" * 64, batch=batch, at=now)


def _a_blob() -> Blob:
    return Blob.objects.get(pk=store_bytes(b"data").sha256)


def _files(task: Task) -> None:
    blob, owner = _a_blob(), alice().organization
    artifact = Artifact.objects.create(organization=owner, blob=blob, name="scene.xml")
    TaskArtifact.objects.create(task=task, artifact=artifact, path="in/scene.xml", field="scene")
    a_replica(artifact, f"place-{next(_serial)}", state="held")
    pin(artifact, None, timezone.now() + timedelta(days=1))
    BlobPlace.objects.get_or_create(blob=blob, region=Region.objects.first())
    an_endpoint()
    tell()
    Receiver().run()
    Upload.objects.create(organization=owner, sha256="a" * 64, bytes=9, name="b.csv", expires_at=timezone.now())


def _network(pool: Pool) -> None:
    number = next(_serial)
    reserve(a_wish(a_link(f"here-{number}", f"there-{number}")))
    RegionEndpoint.objects.get_or_create(region=pool.region, defaults={"url": "https://probe.example/1m"})
    values = {"latency_p50_s": 0.01, "latency_p90_s": 0.02, "jitter_p99_s": 0.001, "loss": 0, "mbps": 100}
    Probe.objects.create(pool=pool, region=Region.objects.get(code="ningxia"), measured_at=timezone.now(), **values)


def an_open_task(count: int = 4) -> Task:
    """A task whose units are placed on a pool and not fetched."""
    a_pool()
    task = a_task(inputs={"count": count})
    run_round()
    return task


def models() -> list[Any]:
    """Every model with pages, in a steady order."""
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


def list_of(model: Any, **filters: Any) -> str:
    """The address of a model's list."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=filters or None)


def page_of(obj: Any) -> str:
    """The address of an object's page."""
    return change_url(type(obj), obj.pk)



"""The demo market, made as often as one likes."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Count, Sum
from django.test import Client
from django.utils import timezone

from billing.invoices.payments import Receipt, record_payment
from billing.models import Invoice, Payout
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import gather
from config.demo_month import UNITS
from marketplace.models import Pool, Task, User
from metering.models import UsageRecord
from scheduler.models import NetworkLink, NetworkNode

pytestmark = pytest.mark.django_db


def seeded(*words: str) -> list[dict[str, str]]:
    out = StringIO()
    call_command("seed_demo", *words, stdout=out)
    agents: list[dict[str, str]] = json.loads(out.getvalue().splitlines()[-1])["agents"]
    return agents


def test_the_demos_backbone_is_imported_once_where_it_is_asked_for() -> None:
    assert len(seeded()) == 3
    assert NetworkNode.objects.count() == 0
    seeded("--network")
    there = NetworkNode.objects.count(), NetworkLink.objects.count(), Pool.objects.count()
    assert there == (42, 132, 3)
    assert len(seeded("--network")) == 3
    assert (NetworkNode.objects.count(), NetworkLink.objects.count(), Pool.objects.count()) == there


def test_last_month_is_billed_once_whenever_it_is_asked_for(settings: Any) -> None:
    settings.PAYOUT_HOLD_DAYS = 0
    seeded("--month")
    invoice = Invoice.objects.get(number__isnull=False)
    usage = UsageRecord.objects.aggregate(records=Count("pk"), core_ms=Sum("core_ms"))
    assert (invoice.state, usage["records"], invoice.tax_micros > 0) == ("finalized", UNITS, True)
    assert invoice.period.ends_at < timezone.now()
    assert is_balanced(trial_balance())
    receipt = Receipt("demo", invoice.organization_id, "CNY", invoice.total_micros, "operator", timezone.now().date(), [invoice.pk])
    record_payment(receipt)
    gather()
    assert set(Payout.objects.values_list("organization__slug", flat=True)) == {"western-power", "bund-edge", "gridfare"}
    client = Client()
    client.force_login(User.objects.get(username="alice"))
    pages = ("/tasks/", f"/tasks/{Task.objects.get().pk}/", "/invoices/", f"/invoices/{invoice.pk}/", "/usage/?by=project")
    assert [client.get(page).status_code for page in pages] == [200] * 5
    seeded("--month")
    assert (Invoice.objects.filter(number__isnull=False).count(), UsageRecord.objects.count()) == (1, UNITS)

"""Contracts: versions that never overlap and never change, and the terms that hold at a moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import InternalError, OperationalError, ProgrammingError, connection
from django.utils import timezone

from core.errors import Conflict, Invalid
from marketplace.models import Contract
from marketplace.services.contracts import Draft, follow_zones, sign_contracts, terms_of
from scheduler.services.drafting import price_terms
from tests.builders import alice, an_organization, client_of

pytestmark = pytest.mark.django_db
REFUSED = (InternalError, ProgrammingError, OperationalError)


def test_without_a_contract_the_defaults_hold() -> None:
    acme = an_organization("acme")
    terms = terms_of([acme.pk])[acme.pk]
    assert terms.contract is None
    assert (str(terms.zone), terms.currency) == (settings.USAGE_ZONE, settings.CURRENCY)
    assert terms.credit_limit_micros == settings.CREDIT_LIMIT * 1_000_000
    assert terms.platform_basis_points == settings.PLATFORM_FEE_BASIS_POINTS


def test_a_contract_holds_from_its_start_and_ends_the_one_before() -> None:
    acme, now = an_organization("acme"), timezone.now()
    first, second = (
        sign_contracts([Draft(acme.pk, start, credit_limit_micros=limit, zone="Europe/Berlin")])[0]
        for start, limit in ((None, 5), (now + timedelta(days=2), 7))
    )
    limits = [terms_of([acme.pk], now + timedelta(days=days))[acme.pk].credit_limit_micros for days in (1, 2, 3)]
    assert limits == [5, 7, 7]
    first.refresh_from_db()
    assert first.valid.upper == second.valid.lower


def test_terms_of_many_organizations_take_one_statement(django_assert_num_queries: Any) -> None:
    names = [an_organization(f"acme-{n}").pk for n in range(6)]
    sign_contracts([Draft(one, grace_days=n) for n, one in enumerate(names[:5])])
    with django_assert_num_queries(1):
        terms = terms_of(names)
    assert [terms[one].grace_days for one in names] == [0, 1, 2, 3, 4, 3]


def test_a_task_is_priced_with_the_share_of_its_askers_contract() -> None:
    acme = an_organization("acme")
    sign_contracts([Draft(acme.pk, platform_basis_points=250)])
    plan = {"fee": {"per_unit": "0", "per_task": "0"}}
    assert price_terms(plan, acme)["platform_basis_points"] == 250
    assert "fees_by_month" not in price_terms(plan, acme)


def test_a_task_remembers_which_fees_are_charged_with_its_month() -> None:
    rate = {"model": "package", "size": "10", "price": "2"}
    terms = price_terms({"fee": {"per_unit": "0.2", "per_task": "0", "by_month": {"per_unit": rate}}}, an_organization("acme"))
    assert (terms["fee_per_unit"], terms["fees_by_month"]) == ("0.2", {"per_unit": rate})


def test_the_zone_of_the_contract_in_force_is_the_organizations() -> None:
    person = alice()
    sign_contracts([Draft(person.organization.pk, zone="Europe/Berlin")])
    own = client_of(person)
    assert own.get("/api/v1/organization").json()["zone"] == "Europe/Berlin"
    refused = own.patch("/api/v1/organization", {"zone": "Asia/Tokyo"}, format="json")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (409, "zone_by_contract", "zone")


def test_a_contract_that_has_begun_since_is_followed_by_the_sweep() -> None:
    acme = an_organization("acme")
    sign_contracts([Draft(acme.pk, timezone.now() + timedelta(days=2), zone="Europe/Berlin")])
    assert follow_zones() == 0
    with time_machine.travel(timezone.now() + timedelta(days=3)):
        assert (follow_zones(), follow_zones()) == (1, 0)
    acme.refresh_from_db()
    assert acme.zone == "Europe/Berlin"


def test_an_organization_without_a_contract_has_its_own_zone() -> None:
    acme = an_organization("acme", zone="Asia/Tokyo")
    assert terms_of([acme.pk])[acme.pk].zone.key == "Asia/Tokyo"


def test_a_contract_before_one_that_is_signed_already_is_a_conflict_and_changes_nothing() -> None:
    acme = an_organization("acme")
    sign_contracts([Draft(acme.pk, timezone.now() + timedelta(days=9))])
    with pytest.raises(Conflict) as refused:
        sign_contracts([Draft(acme.pk)])
    assert refused.value.code == "contract_overlaps"
    assert Contract.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zone", "Mars/Olympus"),
        ("currency", "yuan"),
        ("grace_days", 32),
        ("due_days", 366),
        ("credit_limit_micros", -1),
        ("platform_basis_points", 10_001),
        ("start", timezone.now() - timedelta(days=1)),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, value: object) -> None:
    acme = an_organization("acme")
    with pytest.raises(Invalid) as refused:
        sign_contracts([Draft(acme.pk, **{field: value})])  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE marketplace_contract SET currency = 'USD'",
        "UPDATE marketplace_contract SET valid = tstzrange(lower(valid) - interval '1 day', NULL)",
        "DELETE FROM marketplace_contract",
    ],
)
def test_a_signed_contract_cannot_be_changed(statement: str) -> None:
    sign_contracts([Draft(an_organization("acme").pk)])
    with pytest.raises(REFUSED, match="never changed"), connection.cursor() as cursor:
        cursor.execute(statement)

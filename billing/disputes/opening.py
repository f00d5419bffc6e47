"""Charges of tasks and months, or lines of an invoice -> disputes, one for each provider and publisher. All of it or nothing.

From the commit on no payout run takes the shares of these charges. Runs and openings keep each other out by one advisory
lock, so that a share is either in a payout already when its charge is disputed (it goes out, and what is awarded is taken back
from later ones) or is left out by every run; a trigger refuses a payout's line of a disputed charge in any case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.models import Charge, Dispute, DisputedCharge, DisputeMessage, Invoice, PeriodCharge
from billing.settlement.payouts import GATHER_LOCK
from billing.telling import tell_disputes
from core.errors import Conflict, Invalid, NotFound
from marketplace.models import Organization, User

MOST: Final = 10_000  # charges of one request: what one evidence bundle still holds
TOO_MANY: Final = f"at most {MOST} charges at once"


class Opening(NamedTuple):
    """What a customer doubts, and why. `text` is the first message of each dispute."""

    organization: Organization
    reason: str
    text: str
    by: User | None = None


def open_disputes(
    opening: Opening, charges: Sequence[int], now: datetime | None = None, *, months: Sequence[int] = ()
) -> list[Dispute]:
    """Dispute charges of tasks and of months.

    Raises NotFound `not_found`, Invalid `too_many_charges | charge_not_disputable`, Conflict `charge_disputed | dispute_too_late`.
    """
    if len(set(charges)) + len(set(months)) > MOST:
        raise Invalid("too_many_charges", TOO_MANY, field="charges")
    found = [*_own(opening, Charge, charges, "charges"), *_own(opening, PeriodCharge, months, "period_charges")]
    return _open(opening, found, now or timezone.now())


def _own(
    opening: Opening, model: type[Charge] | type[PeriodCharge], numbers: Sequence[int], field: str
) -> list[Charge | PeriodCharge]:
    found: list[Any] = list(model._default_manager.filter(pk__in=set(numbers), organization=opening.organization).order_by("pk"))
    if len(found) != len(set(numbers)):
        raise NotFound("not_found", "no such charge", field=field)
    if any(not _has_to_be_paid(one) for one in found):
        raise Invalid("charge_not_disputable", "only what you were charged and have to pay is disputed", field=field)
    return found


def open_by_lines(opening: Opening, invoice: Invoice, lines: Sequence[int], now: datetime | None = None) -> list[Dispute]:
    """Dispute everything that was charged in lines of an invoice. Raises as `open_disputes`, Invalid `line_unknown`."""
    known = dict(invoice.lines.filter(number__in=lines).values_list("number", "pk"))
    if not lines or known.keys() != set(lines):
        raise Invalid("line_unknown", "this invoice has no such line", field="lines")
    asked: dict[str, Any] = {"invoiced__line__in": known.values(), "amount_micros__gt": 0}
    found: list[Charge | PeriodCharge] = [*Charge.objects.filter(**asked).order_by("pk")[: MOST + 1]]
    found += PeriodCharge.objects.filter(**asked).order_by("pk")[: MOST + 1]
    if len(found) > MOST:
        raise Invalid("too_many_charges", TOO_MANY, field="lines")
    if not found:
        raise Invalid("charge_not_disputable", "these lines hold no charges", field="lines")
    return _open(opening, found, now or timezone.now())


def can_be_disputed(charge: Charge | PeriodCharge, now: datetime) -> bool:
    """Whether its customer may open a dispute about a charge that is in none."""
    return _has_to_be_paid(charge) and _made_at(charge) >= _since(now)


def _made_at(charge: Charge | PeriodCharge) -> datetime:
    return charge.rated_at if isinstance(charge, PeriodCharge) else charge.charged_at


def _has_to_be_paid(charge: Charge | PeriodCharge) -> bool:
    return charge.payer == Charge.Payer.USER and charge.amount_micros > 0


def _since(now: datetime) -> datetime:
    return now - timedelta(days=settings.DISPUTE_DAYS)


def _open(opening: Opening, charges: Sequence[Charge | PeriodCharge], at: datetime) -> list[Dispute]:
    if min(_made_at(charge) for charge in charges) < _since(at):
        raise Conflict("dispute_too_late", f"a charge can be disputed for {settings.DISPUTE_DAYS} days", field="charges")
    parties: dict[tuple[int | None, int | None, str], list[Charge | PeriodCharge]] = defaultdict(list)
    for charge in charges:
        parties[charge.provider_id, charge.publisher_id, charge.currency].append(charge)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATHER_LOCK])
        made = Dispute.objects.bulk_create(_dispute(opening, who, group, at) for who, group in parties.items())
        _hold(made, list(parties.values()))
        said = [DisputeMessage(dispute=one, role="customer", author=opening.by, text=opening.text, at=at) for one in made]
        DisputeMessage.objects.bulk_create(said)
        tell_disputes([one.pk for one in made], "opened", at)
    return made


def _dispute(
    opening: Opening, who: tuple[int | None, int | None, str], charges: Sequence[Charge | PeriodCharge], at: datetime
) -> Dispute:
    provider, publisher, currency = who
    return Dispute(
        organization=opening.organization,
        provider_id=provider,
        publisher_id=publisher,
        respondent_id=provider or publisher or 0,
        currency=currency,
        reason=opening.reason,
        charges_count=len(charges),
        disputed_micros=sum(charge.amount_micros for charge in charges),
        opened_at=at,
        opened_by=opening.by,
        answer_until=at + timedelta(days=settings.DISPUTE_ANSWER_DAYS),
    )


def _hold(disputes: Sequence[Dispute], groups: Sequence[Sequence[Charge | PeriodCharge]]) -> None:
    """Write the disputed charges; the unique index tells which were disputed before."""
    pairs = [(dispute, charge) for dispute, group in zip(disputes, groups, strict=True) for charge in group]
    try:
        with transaction.atomic():
            DisputedCharge.objects.bulk_create(_item(dispute, charge) for dispute, charge in pairs)
    except IntegrityError as error:
        if "charge_disputed_once" not in str(error):
            raise
        detail = "one of these charges is disputed, or was decided about, already"
        raise Conflict("charge_disputed", detail, field="charges") from error


def _item(dispute: Dispute, charge: Charge | PeriodCharge) -> DisputedCharge:
    of = {"period_charge" if isinstance(charge, PeriodCharge) else "charge": charge}
    return DisputedCharge(dispute=dispute, micros=charge.amount_micros, **of)

"""A month of an account as FOCUS 1.2: its live invoice and its credit notes. Charges come through a cursor of the server.

The cost grows with the invoice's own charges: they are read by their line, once, in portions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet

from billing.exports import rows
from billing.exports.chinese import in_chinese
from billing.exports.months import MonthCharge, row_of_month
from billing.exports.rows import Charged, Document, Part, Row, Taken
from billing.models import BillingPeriod, Invoice
from core.errors import NotFound
from marketplace.models import Organization
from metering.peaks import parse_policy

_PORTION: Final = 2000
_NAMES: Final = tuple(field.name for field in fields(Charged))
_MONTH_NAMES: Final = tuple(field.name for field in fields(MonthCharge))
_CHARGES: Final = """
SELECT line.number, line.kind, line.is_correction, line.service_from, line.service_to, line.exact_micros, line.amount_micros,
       line.basis, line_pool.identifier, line_owner.slug || '/' || line_capability.name,
       charge.id, coalesce(usage.started_at, charge.charged_at), coalesce(usage.ended_at, charge.charged_at), charge.lines::text,
       provider.slug, coalesce(nullif(provider.ascii_name, ''), provider.name), publisher.slug,
       coalesce(nullif(publisher.ascii_name, ''), publisher.name),
       publisher.slug || '/' || capability.name, charge.task_id::text,
       version.id, coalesce(offer.origin_id, usage.offer_id), pool.identifier, region.code, region.name,
       charge.provider_micros, charge.publisher_micros, charge.platform_micros, charge.kind, charge.amount_micros, usage.fp32_gflop,
       task.labels::text, CASE WHEN charge.kind = 'delta' THEN (
         SELECT first_invoice.number || '/' || first_line.number FROM billing_charge first
           JOIN billing_invoicedcharge placed ON placed.charge_id = first.id
           JOIN billing_invoiceline first_line ON first_line.id = placed.line_id
           JOIN billing_invoice first_invoice ON first_invoice.id = first_line.invoice_id
          WHERE first.usage_id = usage.corrects_id) END,
       ARRAY(SELECT jsonb_object_keys(offer.market -> 'rates'))
  FROM billing_invoiceline line
  LEFT JOIN marketplace_pool line_pool ON line_pool.id = line.pool_id
  LEFT JOIN marketplace_capability line_capability ON line_capability.id = line.capability_id
  LEFT JOIN marketplace_organization line_owner ON line_owner.id = line_capability.organization_id
  LEFT JOIN billing_invoicedcharge invoiced ON invoiced.line_id = line.id
  LEFT JOIN billing_charge charge ON charge.id = invoiced.charge_id
  LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
  LEFT JOIN marketplace_task task ON task.id = charge.task_id
  LEFT JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
  LEFT JOIN marketplace_capability capability ON capability.id = version.capability_id
  LEFT JOIN marketplace_organization provider ON provider.id = charge.provider_id
  LEFT JOIN marketplace_organization publisher ON publisher.id = charge.publisher_id
  LEFT JOIN marketplace_offer offer ON offer.id = usage.offer_id
  LEFT JOIN marketplace_pool pool ON pool.id = usage.pool_id
  LEFT JOIN marketplace_region region ON region.id = pool.region_id
 WHERE line.invoice_id = %s
 ORDER BY line.number, charge.id
"""
_MONTHS: Final = """
SELECT line.number, charge.id, lower(charge.period), upper(charge.period), charge.meter, charge.billed, charge.revision,
       charge.amount_micros, charge.precise, charge.lines::text, owner.slug,
       coalesce(nullif(owner.ascii_name, ''), owner.name), pool.identifier, region.code,
       region.name, coalesce('offer-' || charge.offer_id, 'version-' || charge.version_id), offer.basis,
       (offer.rules -> 'peak')::text, charge.evidence::text, charge.digest, charge.provider_micros, charge.publisher_micros,
       charge.platform_micros, CASE WHEN charge.version_id IS NOT NULL THEN owner.slug || '/' || capability.name END,
       CASE WHEN charge.revision > 0 THEN (
         SELECT first_invoice.number || '/' || first_line.number FROM billing_invoicedperiod placed
           JOIN billing_invoiceline first_line ON first_line.id = placed.line_id
           JOIN billing_invoice first_invoice ON first_invoice.id = first_line.invoice_id
          WHERE placed.charge_id = charge.base_id) END, charge.refunds_id
  FROM billing_invoiceline line
  JOIN billing_invoicedperiod invoiced ON invoiced.line_id = line.id
  JOIN billing_periodcharge charge ON charge.id = invoiced.charge_id
  JOIN marketplace_organization owner ON owner.id = coalesce(charge.provider_id, charge.publisher_id)
  LEFT JOIN marketplace_offer offer ON offer.id = charge.offer_id
  LEFT JOIN marketplace_pool pool ON pool.id = offer.pool_id
  LEFT JOIN marketplace_region region ON region.id = pool.region_id
  LEFT JOIN marketplace_capabilityversion version ON version.id = charge.version_id
  LEFT JOIN marketplace_capability capability ON capability.id = version.capability_id
 WHERE line.invoice_id = %s
 ORDER BY line.number, charge.id
"""
# The lines of credit notes, with the shares that are taken back of what was awarded; the platform bears any other note. An award
# that its line had no room for stands with the note's first line. Disputes are found by the note's key, which has an index.
_NOTES: Final = """
WITH taken AS MATERIALIZED (
  SELECT note.id AS note_id, note.number, substring(note.key FROM '^dispute/([0-9]+)/')::bigint AS dispute_id, line.id AS line_id,
         line.number AS line, part.net_micros, part.tax_micros,
         row_number() OVER (PARTITION BY note.id ORDER BY line.number) = 1 AS is_first
    FROM billing_creditnote note
    JOIN billing_creditnoteline part ON part.note_id = note.id
    JOIN billing_invoiceline line ON line.id = part.line_id
   WHERE note.invoice_id = %s
), award AS MATERIALIZED (
  SELECT item.note_id, coalesce(invoiced.line_id, placed.line_id) AS line_id,
         coalesce(refund.provider_micros, month.provider_micros) AS provider,
         coalesce(refund.publisher_micros, month.publisher_micros) AS publisher,
         coalesce(refund.platform_micros, month.platform_micros) AS platform
    FROM billing_disputedcharge item
    LEFT JOIN billing_charge refund ON refund.id = item.refund_id
    LEFT JOIN billing_periodcharge month ON month.id = item.period_refund_id
    LEFT JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = item.charge_id
    LEFT JOIN billing_invoicedperiod placed ON placed.charge_id = item.period_charge_id
   WHERE item.dispute_id IN (SELECT dispute_id FROM taken) AND item.awarded_micros > 0
)
SELECT taken.number, taken.line, taken.net_micros, taken.tax_micros, coalesce(-sum(award.provider), 0)::bigint,
       coalesce(-sum(award.publisher), 0)::bigint,
       CASE WHEN EXISTS (SELECT FROM award own WHERE own.note_id = taken.note_id) THEN coalesce(-sum(award.platform), 0)::bigint
            ELSE taken.net_micros END
  FROM taken
  LEFT JOIN award ON award.note_id = taken.note_id AND (award.line_id = taken.line_id OR taken.is_first AND NOT EXISTS (
         SELECT FROM taken other WHERE other.note_id = award.note_id AND other.line_id = award.line_id))
 GROUP BY taken.note_id, taken.number, taken.line, taken.net_micros, taken.tax_micros
 ORDER BY taken.note_id, taken.line
"""


def period_of(organization: Organization, month: str, currency: str) -> BillingPeriod:
    """The account's period of a month, `2026-03`, as its zone has it. Raises NotFound `no_such_period`."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=ZoneInfo("UTC"))
    near = {"starts_at__gte": first - timedelta(days=1), "starts_at__lte": first + timedelta(days=1)}
    period = BillingPeriod.objects.filter(organization=organization, currency=currency, **near).first()
    if period is None:
        raise NotFound("no_such_period", f"the account has no period {month} in {currency}", field="month")
    return period


def periods_in(organization: Organization, currency: str, start: datetime, end: datetime) -> QuerySet[BillingPeriod]:
    """The account's periods that begin in [start, end), the oldest first."""
    found = BillingPeriod.objects.filter(organization=organization, currency=currency, starts_at__gte=start, starts_at__lt=end)
    return found.select_related("organization").order_by("starts_at")


def focus_rows(period: BillingPeriod) -> Iterator[Row]:
    """Every row of the period: of its issued invoice, then of its credit notes. Nothing before an invoice is issued."""
    for row in _rows(period):
        yield row | {"x_ChargeDescriptionZh": in_chinese(row["ChargeDescription"])}


def _rows(period: BillingPeriod) -> Iterator[Row]:
    invoice = period.invoices.filter(number__isnull=False).exclude(state=Invoice.State.VOID).first()
    if invoice is None:
        return
    document = _document(period, str(invoice.number), None)
    yield from _lines(document, invoice)
    for tax in invoice.taxes.order_by("id"):
        if tax.amount_micros:
            yield rows.row_of_tax(document, tax.percent, tax.amount_micros)
    for number, taken in groupby(_taken(invoice), key=lambda row: row[0]):
        yield from rows.rows_of_credit(_document(period, number, invoice.number), (Taken(*rest) for _, *rest in taken))


def _taken(invoice: Invoice) -> list[tuple[Any, ...]]:
    """The lines of all the invoice's credit notes: the note's number and a `Taken`'s fields."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTES, [invoice.pk])
        return list(cursor.fetchall())


def _document(period: BillingPeriod, number: str, original: str | None) -> Document:
    account, issuer = period.organization, settings.ISSUER_NAME
    times = (period.starts_at, period.ends_at)
    called = account.ascii_name or account.name
    return Document(number, original, account.slug, account.name, period.currency, *times, issuer, called)


def _lines(document: Document, invoice: Invoice) -> Iterator[Row]:
    size, months = len(fields(Part)), _months(invoice)
    with closing(connection.chunked_cursor()) as cursor:
        cursor.execute(_CHARGES, [invoice.pk])
        for head, found in groupby(_fetched(cursor), key=lambda row: row[:size]):
            charges = (_charged(row[size:]) for row in found if row[size] is not None)
            yield from rows.rows_of_line(document, Part(*head), charges, months.get(head[0], ()))


def _months(invoice: Invoice) -> dict[int, list[Row]]:
    """Rows of months' charges by their line: as many as price lists and meters, so they are read at once."""
    found: dict[int, list[Row]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_MONTHS, [invoice.pk])
        for number, *values in cursor.fetchall():
            named = dict(zip(_MONTH_NAMES, values, strict=True))
            loaded = {name: orjson.loads(named[name]) for name in ("lines", "evidence")}
            loaded["policy"] = None if named["policy"] is None else str(parse_policy(orjson.loads(named["policy"])))
            found.setdefault(number, []).append(row_of_month(MonthCharge(**named | loaded)))
    return found


def _fetched(cursor: CursorWrapper) -> Iterator[tuple[Any, ...]]:
    while portion := cursor.fetchmany(_PORTION):
        yield from portion


def _charged(values: tuple[Any, ...]) -> Charged:
    named = dict(zip(_NAMES, values, strict=True))
    return Charged(**named | {name: orjson.loads(named[name]) for name in ("lines", "labels")})

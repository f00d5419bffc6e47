"""Where the rows of exports come from: a statement per kind, read through a cursor of the server, in a stable order.

A row's values stand in the order of its table's columns (`tables.py`). Amounts are exact numerics in currency units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from billing.exports.tables import ACCELERATORS, APEL, CHARGES, LEDGER, USAGE, Table
from marketplace.models import Organization
from metering.events.quantities import FROM_EVENTS, GAUGE, QUANTITY

Row = dict[str, Any]
PORTION: Final = 2000


@dataclass(frozen=True, slots=True)
class Question:
    """What an export is of: a party's view of its organization (None: everybody's) over [start, end)."""

    party: str
    organization: Organization | None
    start: datetime
    end: datetime
    currency: str = ""
    group_by: str = ""
    site: str = ""
    in_ascii: bool = False

    def account(self) -> Organization:
        """Whose it is, where everybody's cannot be asked for."""
        if self.organization is None:
            raise ValueError("this is always somebody's own")
        return self.organization

    def arguments(self) -> dict[str, Any]:
        whose = None if self.organization is None else self.organization.pk
        window = {"start": self.start, "end": self.end}
        how = {"currency": self.currency, "site": self.site, "ascii": self.in_ascii}
        return window | how | {"party": self.party, "organization": whose}


def _money(column: str) -> str:
    return f"{column} * 0.000001"


def _name(party: str) -> str:
    """A party's name, or what it calls itself in ASCII where that is asked for."""
    return f"CASE WHEN %(ascii)s THEN coalesce(nullif({party}.ascii_name, ''), {party}.name) ELSE {party}.name END"


_VERSION: Final = "publisher.slug || '/' || capability.name || '@' || version.version"
_OF_VERSION: Final = """
  JOIN marketplace_capability capability ON capability.id = version.capability_id
  JOIN marketplace_organization publisher ON publisher.id = capability.organization_id"""
_RECORDS: Final = f"""
SELECT 'record', usage.id::text, customer.slug, provider.slug, pool.identifier, region.code, {_VERSION}, usage.task_id::text,
       usage.attempt_id, usage.revision::bigint, usage.corrects_id::text, usage.stage::bigint,
       CASE %(party)s WHEN 'provider' THEN NULL ELSE key.prefix END, usage.outcome, nullif(usage.reason_class, ''),
       usage.started_at, usage.ended_at, usage.wall_ms * 0.001, usage.core_ms * 0.001, usage.held_core_ms * 0.001,
       usage.cores::bigint, usage.accelerators::bigint, usage.memory_mib_ms * 0.001, usage.accelerator_ms * 0.001,
       usage.fp32_gflop * 0.001, usage.bytes_in * 0.000000001, usage.bytes_out * 0.000000001, usage.joules,
       nullif(array_to_string(usage.flags, ' '), ''), NULL::text, NULL::text, NULL::numeric, NULL::text, NULL::text,
       CASE %(party)s WHEN 'provider' THEN NULL ELSE task.labels::text END, usage.measured_at
  FROM metering_usagerecord usage
  JOIN marketplace_organization customer ON customer.id = usage.organization_id
  JOIN marketplace_organization provider ON provider.id = usage.provider_id
  JOIN marketplace_pool pool ON pool.id = usage.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id
  JOIN marketplace_task task ON task.id = usage.task_id
  JOIN marketplace_capabilityversion version ON version.id = usage.capability_version_id{_OF_VERSION}
  LEFT JOIN marketplace_apikey key ON key.id = usage.api_key_id
 WHERE CASE %(party)s WHEN 'user' THEN usage.organization_id = %(organization)s
                      WHEN 'provider' THEN usage.provider_id = %(organization)s ELSE true END
   AND usage.ended_at >= %(start)s AND usage.ended_at < %(end)s"""
_EVENTS: Final = f"""
SELECT CASE WHEN event.gauge IS NULL THEN 'event' ELSE 'sample' END, event.key::text, customer.slug, provider.slug,
       pool.identifier, region.code, NULL, NULL, NULL, coalesce(fix.revision, 0), NULL, NULL, NULL, NULL, NULL,
       event.occurred_at, event.occurred_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, series.meter, series.unit, coalesce({GAUGE}, {QUANTITY}), series.source, event.external_id, event.labels::text,
       coalesce(fix.accepted_at, event.accepted_at)
  FROM {FROM_EVENTS}
  JOIN marketplace_organization customer ON customer.id = series.customer_id
  JOIN marketplace_organization provider ON provider.id = series.provider_id
  JOIN marketplace_pool pool ON pool.id = series.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id
 WHERE CASE %(party)s WHEN 'user' THEN series.customer_id = %(organization)s
                      WHEN 'provider' THEN series.provider_id = %(organization)s ELSE true END
   AND event.occurred_at >= %(start)s AND event.occurred_at < %(end)s AND series.meter <> 'heartbeat'"""
_OF_TASKS: Final = f"""
SELECT charge.kind, charge.id, customer.slug, {_name("customer")}, provider.slug, {_name("provider")},
       owner.slug, {_name("owner")}, charge.payer,
       charge.reason, charge.task_id::text, usage.attempt_id, usage.id, {_VERSION}, pool.identifier, region.code, NULL::text,
       coalesce(usage.started_at, charge.charged_at), coalesce(usage.ended_at, charge.charged_at), charge.charged_at,
       charge.currency, {_money("charge.amount_micros")}, {_money("charge.provider_micros")},
       {_money("charge.publisher_micros")}, {_money("charge.platform_micros")}, charge.lines::text, invoice.number,
       CASE WHEN invoice.number IS NULL THEN NULL ELSE line.number END::bigint, entry.key
  FROM billing_charge charge
  JOIN marketplace_organization customer ON customer.id = charge.organization_id
  JOIN marketplace_organization owner ON owner.id = charge.publisher_id
  JOIN marketplace_task task ON task.id = charge.task_id
  JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id{_OF_VERSION}
  LEFT JOIN marketplace_organization provider ON provider.id = charge.provider_id
  LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
  LEFT JOIN marketplace_pool pool ON pool.id = usage.pool_id
  LEFT JOIN marketplace_region region ON region.id = pool.region_id
  LEFT JOIN billing_journalentry entry ON entry.id = charge.entry_id
  LEFT JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = charge.id
  LEFT JOIN billing_invoiceline line ON line.id = invoiced.line_id
  LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id
 WHERE (%(organization)s::bigint IS NULL OR charge.organization_id = %(organization)s)
   AND charge.charged_at >= %(start)s AND charge.charged_at < %(end)s AND %(currency)s IN ('', charge.currency)"""
_OF_MONTHS: Final = f"""
SELECT 'period', charge.id, customer.slug, {_name("customer")}, provider.slug, {_name("provider")},
       owner.slug, {_name("owner")}, charge.payer, 'by_period',
       NULL, NULL, NULL, CASE WHEN version.id IS NOT NULL THEN {_VERSION} END, pool.identifier, region.code, charge.meter,
       lower(charge.period), upper(charge.period),
       charge.rated_at, charge.currency, {_money("charge.amount_micros")}, {_money("charge.provider_micros")},
       {_money("charge.publisher_micros")}, {_money("charge.platform_micros")}, charge.lines::text, invoice.number,
       CASE WHEN invoice.number IS NULL THEN NULL ELSE line.number END, entry.key
  FROM billing_periodcharge charge
  JOIN marketplace_organization customer ON customer.id = charge.organization_id
  LEFT JOIN marketplace_organization provider ON provider.id = charge.provider_id
  LEFT JOIN marketplace_organization owner ON owner.id = charge.publisher_id
  LEFT JOIN marketplace_offer offer ON offer.id = charge.offer_id
  LEFT JOIN marketplace_pool pool ON pool.id = offer.pool_id
  LEFT JOIN marketplace_region region ON region.id = pool.region_id
  LEFT JOIN (marketplace_capabilityversion version{_OF_VERSION}) ON version.id = charge.version_id
  LEFT JOIN billing_journalentry entry ON entry.id = charge.entry_id
  LEFT JOIN billing_invoicedperiod invoiced ON invoiced.charge_id = charge.id
  LEFT JOIN billing_invoiceline line ON line.id = invoiced.line_id
  LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id
 WHERE (%(organization)s::bigint IS NULL OR charge.organization_id = %(organization)s)
   AND charge.rated_at >= %(start)s AND charge.rated_at < %(end)s AND %(currency)s IN ('', charge.currency)"""
_LEGS: Final = f"""
SELECT entry.id, entry.posted_at, entry.kind, entry.key, entry.memo, entry.task_id::text, leg.id, account.id, account.kind,
       organization.slug, {_name("organization")}, account.currency, {_money("leg.debit_micros")}, {_money("leg.credit_micros")},
       sealed.position, sealed.seal_id
  FROM billing_account account
  JOIN billing_leg leg ON leg.account_id = account.id
  JOIN billing_journalentry entry ON entry.id = leg.entry_id
  LEFT JOIN marketplace_organization organization ON organization.id = account.organization_id
  LEFT JOIN billing_sealedentry sealed ON sealed.entry_id = entry.id
 WHERE (%(organization)s::bigint IS NULL OR account.organization_id = %(organization)s)
   AND entry.posted_at >= %(start)s AND entry.posted_at < %(end)s AND %(currency)s IN ('', account.currency)"""

_LAST_OF_ATTEMPTS: Final = f"""
  FROM metering_usagerecord usage
  JOIN marketplace_organization customer ON customer.id = usage.organization_id
  JOIN marketplace_organization provider ON provider.id = usage.provider_id
  JOIN marketplace_pool pool ON pool.id = usage.pool_id
  JOIN marketplace_capabilityversion version ON version.id = usage.capability_version_id{_OF_VERSION}
 WHERE (%(organization)s::bigint IS NULL OR usage.provider_id = %(organization)s)
   AND usage.ended_at >= %(start)s AND usage.ended_at < %(end)s
   AND NOT EXISTS (SELECT FROM metering_usagerecord later
                    WHERE later.attempt_id = usage.attempt_id AND later.revision > usage.revision)"""
_SITE: Final = "coalesce(nullif(%(site)s, ''), provider.slug)"
_JOBS: Final = f"""
SELECT {_SITE}, pool.identifier, pool.identifier, publisher.slug || '/' || capability.name, usage.attempt_id::text, customer.slug,
       NULL, '/' || customer.slug, customer.slug, '/' || customer.slug, NULL, round(usage.wall_ms * 0.001)::bigint,
       round(usage.core_ms * 0.001)::bigint, usage.cores, 1, floor(extract(epoch FROM usage.started_at))::bigint,
       ceil(extract(epoch FROM usage.ended_at))::bigint, 'GRIDFARE', 'grid',
       div(usage.memory_mib_ms::numeric * 1024, nullif(usage.wall_ms, 0))::bigint, NULL, nullif(pool.benchmark, ''),
       trim_scale(pool.benchmark_per_core){_LAST_OF_ATTEMPTS}"""
_ACCELERATORS: Final = f"""
SELECT extract(month FROM usage.ended_at AT TIME ZONE 'UTC')::int, extract(year FROM usage.ended_at AT TIME ZONE 'UTC')::int,
       'job', usage.attempt_id::text, NULL, '/' || customer.slug, {_SITE}, usage.accelerators, NULL,
       round(usage.accelerator_ms * 0.001 / usage.accelerators)::bigint, round(usage.wall_ms * 0.001)::bigint, NULL, NULL, 'GPU',
       CASE WHEN jsonb_array_length(pool.accelerators) = 1 THEN pool.accelerators #>> '{{0,model}}' END
       {_LAST_OF_ATTEMPTS} AND usage.accelerators > 0"""


@dataclass(frozen=True, slots=True)
class Source:
    """A statement without its order, and the order: places of columns that together are unique."""

    table: Table
    select: str
    order: str


SOURCES: Final = {
    "usage": Source(USAGE, f"{_RECORDS} UNION ALL {_EVENTS}", "17, 1, 2"),
    "charges": Source(CHARGES, f"{_OF_TASKS} UNION ALL {_OF_MONTHS}", "20, 1, 2"),
    "ledger": Source(LEDGER, _LEGS, "1, 7"),
    "apel": Source(APEL, _JOBS, "usage.ended_at, usage.attempt_id"),
    "accelerators": Source(ACCELERATORS, _ACCELERATORS, "usage.ended_at, usage.attempt_id"),
}


def rows_of(source: Source, question: Question) -> Iterator[Row]:
    """Every row, through a cursor of the server: one snapshot, and no more than a portion in memory."""
    names = [column.name for column in source.table.columns]
    with closing(connection.chunked_cursor()) as cursor:
        cursor.execute(f"{source.select} ORDER BY {source.order}", question.arguments())
        while portion := cursor.fetchmany(PORTION):
            yield from (dict(zip(names, row, strict=True)) for row in portion)


def count_of(source: Source, question: Question, most: int) -> int | None:
    """How many rows there are, if no more than `most`; otherwise what PostgreSQL's planner expects."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({source.select} LIMIT {most + 1}) rows", question.arguments())
        count = int(cursor.fetchone()[0])
        if count <= most:
            return count
        cursor.execute(f"EXPLAIN (FORMAT JSON) {source.select}", question.arguments())
        plan = cursor.fetchone()[0]
    document = json.loads(plan) if isinstance(plan, str) else plan
    return max(most + 1, int(document[0]["Plan"]["Plan Rows"]))

"""A billing run: a month of N accounts -> final invoices and their journal, beside a plain copy of the rows that it wrote.

    python -m bench s7 [N]          default 10000

Each account has a charge a day for thirty days, of usage with six meters, on two pools, and is asked for a tax. The months are
opened, closed and finalised by `billing.invoices.closing.close_all`, all triggers and checks on. A second run must add nothing.
The reference is INSERT ... SELECT of the invoices, lines, mapped charges, taxes, entries and legs into tables of the same
columns without any index, check or trigger: what PostgreSQL takes to store them when there is nothing to compute.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import Any, Final

from bench.charge import scratch_database

DAYS: Final = 30
WRITTEN: Final = (
    "billing_billingperiod", "billing_invoice", "billing_invoiceline", "billing_invoicedcharge", "billing_invoicetax",
    "billing_journalentry", "billing_leg",
)  # fmt: skip
_ORGANIZATIONS: Final = """
WITH made AS (INSERT INTO marketplace_organization (slug, name, {columns}) SELECT 'account-' || n, 'Account ' || n, {columns}
                FROM generate_series(1, %(accounts)s) n, marketplace_organization WHERE id = %(alice)s RETURNING id)
INSERT INTO billing_taxassignment (tax_id, organization_id, category, valid)
SELECT %(tax)s, id, 'standard', tstzrange('2026-01-01', NULL) FROM made
"""
_USAGE: Final = """
INSERT INTO metering_usagerecord ({columns}, attempt_id, organization_id, pool_id, ended_at, started_at)
SELECT {columns}, -row_number() OVER (), organization.id, CASE day %% 2 WHEN 0 THEN %(pool)s ELSE %(other)s END,
       %(start)s + make_interval(days => day, hours => 1), %(start)s + make_interval(days => day)
  FROM metering_usagerecord, generate_series(0, %(days)s - 1) day,
       (SELECT id FROM marketplace_organization WHERE slug LIKE 'account-%%') organization
 WHERE metering_usagerecord.attempt_id > 0
"""
_CHARGES: Final = """
INSERT INTO billing_charge (kind, usage_id, task_id, organization_id, provider_id, publisher_id, payer, reason, currency,
                            amount_micros, provider_micros, publisher_micros, platform_micros, lines, entry_id, charged_at)
SELECT 'usage', usage.id, usage.task_id, usage.organization_id, provider_id, publisher_id, 'user', 'valid/delivered', 'CNY',
       amount, amount, 0, 0, %(lines)s, 1, ended_at + interval '1 minute'
  FROM metering_usagerecord usage CROSS JOIN LATERAL (SELECT 1000003 + usage.id %% 977 AS amount) price WHERE attempt_id < 0
"""


def main(sizes: list[int]) -> None:
    import django

    django.setup()
    for accounts in sizes or [10_000]:
        with scratch_database():
            figures(accounts)


def figures(accounts: int) -> None:
    """Make a month, bill it, bill it again, copy what was written."""
    from billing.invoices.closing import close_all
    from billing.models import Invoice
    from tests.builders_invoices import APRIL

    a_month(accounts)
    now = APRIL + timedelta(days=4)
    seconds, done = timed(lambda: close_all(now))
    assert done.finalised == accounts, done
    again, nothing = timed(lambda: close_all(now))
    assert nothing == (0, 0, 0, 0), nothing
    copied = sum(timed(partial(copy, table))[0] for table in WRITTEN)
    assert Invoice.objects.filter(state="finalized").count() == accounts
    print(f"{accounts} accounts, {accounts * DAYS} charges, {count('billing_invoiceline')} lines, {count('billing_leg')} legs")
    print(f"billing run  {seconds:6.2f} s   {accounts / seconds:7.0f} invoices/s")
    print(f"a second run {again:6.2f} s   adds nothing")
    print(f"plain copy   {copied:6.2f} s   {seconds / copied:.1f} times as fast")


def timed(step: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = step()
    return time.perf_counter() - began, answer


def a_month(accounts: int) -> None:
    """Accounts with a charge a day, set-based; what a charge hangs on (task, attempt) is one for all."""
    import json

    from tests.builders_billing import make_attempt, make_market, make_need, make_pool, make_task, make_usage
    from tests.builders_invoices import MARCH, make_tax

    market = make_market()
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    meters = ("core_second", "accelerator_second", "fp32_tflop", "gb_moved", "occupancy_second", "result")
    lines = json.dumps([{"meter": meter, "quantity": "1", "unit_price": "0.1", "amount": "0.1"} for meter in meters])
    given: dict[str, Any] = {"accounts": accounts, "alice": market.alice.pk, "tax": make_tax(percent="6").tax_id}
    given |= {"pool": usage.pool_id, "other": make_pool(market.bob).pk, "start": MARCH, "days": DAYS, "lines": lines}
    run("SET session_replication_role = replica")  # the rows that these hang on are not there
    run(_ORGANIZATIONS.format(columns=columns("marketplace_organization", "slug", "name")), given)
    own = columns("metering_usagerecord", "attempt_id", "organization_id", "pool_id", "ended_at", "started_at")
    run(_USAGE.format(columns=own), given)
    run(_CHARGES, given)
    run("SET session_replication_role = origin")
    run("ANALYZE")


def columns(table: str, *but: str) -> str:
    asks = "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> ALL(%s)"
    found = run(asks, [table, ["id", *but]])
    return ", ".join(f'"{name}"' for (name,) in found)


def copy(table: str) -> None:
    run(f"CREATE TABLE copy_of_{table} (LIKE {table})")
    run(f"INSERT INTO copy_of_{table} SELECT * FROM {table}")


def count(table: str) -> int:
    return int(run(f"SELECT count(*) FROM {table}")[0][0])


def run(statement: str, values: Any = None) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


if __name__ == "__main__":
    main([])

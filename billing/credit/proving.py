"""The proof of credit: every sum counted again from its facts. A difference is an alarm for a person; nothing is repaired.

Facts and sums are written by the same transactions, so one statement, which sees one moment, may compare them at any time.
"""

from __future__ import annotations

import logging
from typing import Final

from django.db import connection
from django.utils import timezone

from marketplace.models import CreditAlarm

log = logging.getLogger(__name__)

_ALLOWANCES: Final = """
WITH owed AS (
  SELECT account.organization_id, account.currency,
         coalesce(sum(leg.debit_micros::numeric - leg.credit_micros)
                  FILTER (WHERE account.kind NOT IN ('user_prepaid', 'user_grant')), 0) AS unpaid,
         coalesce(sum(leg.credit_micros::numeric - leg.debit_micros)
                  FILTER (WHERE account.kind IN ('user_prepaid', 'user_grant')), 0) AS prepaid
    FROM billing_account account JOIN billing_leg leg ON leg.account_id = account.id
   WHERE account.kind LIKE 'user\\_%%' GROUP BY 1, 2
), held AS (
  SELECT organization_id, currency, sum(amount_micros::numeric - captured_micros) AS micros
    FROM marketplace_hold WHERE state = 'held' GROUP BY 1, 2
)
SELECT 'allowance/' || allowance.id || '/' || sums.name, allowance.organization_id, sums.stands, sums.counted
  FROM marketplace_allowance allowance
  LEFT JOIN owed USING (organization_id, currency) LEFT JOIN held USING (organization_id, currency)
 CROSS JOIN LATERAL (VALUES ('unpaid', unpaid_micros, coalesce(owed.unpaid, 0)),
                            ('prepaid', prepaid_micros, coalesce(owed.prepaid, 0)),
                            ('held', held_micros, coalesce(held.micros, 0))) AS sums (name, stands, counted)
 WHERE sums.stands <> sums.counted
"""
# Grants hold what their accounts hold, and each what its moves leave of it.
_GRANTS: Final = """
WITH kept AS (
  SELECT given.organization_id, given.currency, sum(given.left_micros::numeric) AS stands,
         sum(given.amount_micros::numeric - coalesce(moved.micros, 0)) AS counted
    FROM billing_grant given
    LEFT JOIN (SELECT grant_id, sum(amount_micros::numeric) AS micros FROM billing_grantmove GROUP BY 1) moved
      ON moved.grant_id = given.id
   GROUP BY 1, 2
), posted AS (
  SELECT account.organization_id, account.currency, sum(leg.credit_micros::numeric - leg.debit_micros) AS micros
    FROM billing_account account JOIN billing_leg leg ON leg.account_id = account.id WHERE account.kind = 'user_grant' GROUP BY 1, 2
)
SELECT 'grants/' || organization_id || '/' || currency || '/' || sums.name, organization_id, sums.stands, sums.counted
  FROM kept FULL JOIN posted USING (organization_id, currency)
 CROSS JOIN LATERAL (VALUES ('moves', coalesce(kept.stands, 0), coalesce(kept.counted, 0)),
                            ('legs', coalesce(kept.stands, 0), coalesce(posted.micros, 0))) AS sums (name, stands, counted)
 WHERE sums.stands <> sums.counted
"""
# What is kept back of payouts that are paid, less what was released of it, is what the account of the reserve holds.
_RESERVES: Final = """
WITH kept AS (
  SELECT withheld.organization_id, withheld.currency, sum(withheld.amount_micros::numeric - coalesce(freed.micros, 0)) AS micros
    FROM billing_withholding withheld
    JOIN billing_payout payout ON payout.id = withheld.payout_id AND payout.state = 'paid'
    LEFT JOIN (SELECT withholding_id, sum(amount_micros::numeric) AS micros FROM billing_reserverelease GROUP BY 1) freed
      ON freed.withholding_id = withheld.id
   GROUP BY 1, 2
), posted AS (
  SELECT account.organization_id, account.currency, sum(leg.credit_micros::numeric - leg.debit_micros) AS micros
    FROM billing_account account JOIN billing_leg leg ON leg.account_id = account.id
   WHERE account.kind = 'provider_reserve' GROUP BY 1, 2
)
SELECT 'reserve/' || organization_id || '/' || currency || '/legs', organization_id, coalesce(kept.micros, 0),
       coalesce(posted.micros, 0)
  FROM kept FULL JOIN posted USING (organization_id, currency)
 WHERE coalesce(kept.micros, 0) <> coalesce(posted.micros, 0)
"""
_BUDGETS: Final = """
SELECT 'budget/' || budget.id || '/' || sums.name, budget.organization_id, sums.stands, sums.counted
  FROM marketplace_budget budget
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(charge.amount_micros), 0) AS micros
         FROM billing_charge charge JOIN marketplace_task task ON task.id = charge.task_id
        WHERE task.organization_id = budget.organization_id AND charge.currency = budget.currency AND charge.payer = 'user'
          AND charge.charged_at >= budget.period_start AND marketplace_budget_counts(budget, task)) tasks
 CROSS JOIN LATERAL (
       SELECT tasks.micros + coalesce(sum(counted.micros), 0) AS micros
         FROM billing_budgetedperiod counted JOIN billing_periodcharge charge ON charge.id = counted.charge_id
        WHERE counted.budget_id = budget.id AND charge.rated_at >= budget.period_start) spent
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(hold.amount_micros::numeric - hold.captured_micros), 0) AS micros
         FROM marketplace_hold hold JOIN marketplace_task task ON task.id = hold.task_id
        WHERE hold.organization_id = budget.organization_id AND hold.currency = budget.currency AND hold.state = 'held'
          AND marketplace_budget_counts(budget, task)) held
 CROSS JOIN LATERAL (VALUES ('spent', spent_micros, spent.micros),
                            ('held', held_micros, held.micros)) AS sums (name, stands, counted)
 WHERE budget.closed_at IS NULL AND sums.stands <> sums.counted
   AND NOT (budget.scope = 'user' AND budget.user_id IS NULL OR budget.scope = 'key' AND budget.api_key_id IS NULL)
"""


def prove_credit() -> int:
    """Count allowances, budgets, grants and reserves again. Returns how many sums are not what their facts add up to.

    The same difference raises one alarm, however often it is found.
    """
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_ALLOWANCES, {})
        found = cursor.fetchall()
        for statement in (_BUDGETS, _GRANTS, _RESERVES):
            cursor.execute(statement, {})
            found += cursor.fetchall()
    alarms = [CreditAlarm(what=what, organization_id=o, stands=s, counted=c, raised_at=now) for what, o, s, c in found]
    for alarm in alarms:
        log.error("a sum of credit is not what its facts say: %s", alarm)
    CreditAlarm.objects.bulk_create(alarms, ignore_conflicts=True)
    return len(alarms)

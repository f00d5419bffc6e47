"""Money beside usage: what the charges of usage come to, by the same groups as `metering.queries` adds usage up.

A charge belongs to the moment at which its attempt ended, as its usage does; a task's fee to the moment at which the task ended.
What is charged by the month has no day, project or capability: it is told as one sum of the months that begin in the window.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from django.db import connection

from metering.queries import Asked, label_of

_AT: Final = "coalesce(usage.ended_at, task.ended_at)"
_KEYS: Final = {
    "organization": "customer.slug",
    "capability": "publisher.slug || '/' || capability.name || '@' || version.version",
    "pool": "pool.identifier",
    "region": "region.code",
    "api_key": "key.prefix",
    "day": f"to_char({_AT} AT TIME ZONE %(zone)s, 'YYYY-MM-DD')",
    "month": f"to_char({_AT} AT TIME ZONE %(zone)s, 'YYYY-MM')",
    "hour": f"to_char(date_trunc('hour', {_AT}, %(zone)s) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
}
# whose charges, and what of a charge is theirs
_SIDES: Final = {
    "user": ("charge.organization_id = %(organization)s AND charge.payer = 'user'", "charge.amount_micros"),
    "provider": ("charge.provider_id = %(organization)s", "charge.provider_micros"),
    "all": ("true", "charge.amount_micros"),
}


class Spent(NamedTuple):
    """What charges come to under one key of groups."""

    key: tuple[str, ...]
    currency: str
    micros: int


def spent_by(asked: Asked, upto: tuple[str, ...] | None) -> list[Spent]:
    """What the charges of usage in the window come to, by the question's groups, in their order.

    Only keys after `asked.after` and, unless it is None, up to `upto` are added up: those of a page of usage. One statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(_statement(asked, upto), _arguments(asked, upto))
        rows = cursor.fetchall()
    return [Spent(tuple(key), currency, int(micros)) for *key, currency, micros in rows]


def by_month(asked: Asked) -> list[Spent]:
    """What was charged by the month for months that begin in the window, per currency."""
    mine, share = _SIDES[asked.party]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT charge.currency, sum({share}) FROM billing_periodcharge charge
                 WHERE {mine} AND lower(charge.period) >= %(start)s AND lower(charge.period) < %(end)s
                 GROUP BY 1 HAVING sum({share}) <> 0 ORDER BY 1""",
            _arguments(asked, None),
        )
        return [Spent((), currency, int(micros)) for currency, micros in cursor.fetchall()]


def _arguments(asked: Asked, upto: tuple[str, ...] | None) -> dict[str, Any]:
    labels = {f"label{place}": label_of(name) for place, name in enumerate(asked.groups)}
    bounds = {f"after{place}": part for place, part in enumerate(asked.after or ())}
    bounds |= {f"upto{place}": part for place, part in enumerate(upto or ())}
    window = {"start": asked.start, "end": asked.end, "zone": asked.zone, "organization": asked.organization}
    return window | labels | bounds


def _statement(asked: Asked, upto: tuple[str, ...] | None) -> str:
    mine, share = _SIDES[asked.party]
    keys = [f"k{place}" for place in range(len(asked.groups))]
    numbers = ", ".join(str(place + 1) for place in range(len(keys) + 1))
    ends = ((">", "after", asked.after), ("<=", "upto", upto))
    bounds = [_bound(keys, sign, name) for sign, name, given in ends if given and keys]
    columns = "".join(f"coalesce({_key(name, place)}, '') COLLATE \"C\" AS k{place}, " for place, name in enumerate(asked.groups))
    return f"""
SELECT {", ".join([*keys, "currency"])}, sum(micros)
  FROM (SELECT {columns} charge.currency, {share} AS micros
          FROM billing_charge charge
          JOIN marketplace_task task ON task.id = charge.task_id
          JOIN marketplace_organization customer ON customer.id = charge.organization_id
          JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
          JOIN marketplace_capability capability ON capability.id = version.capability_id
          JOIN marketplace_organization publisher ON publisher.id = capability.organization_id
          LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
          LEFT JOIN marketplace_pool pool ON pool.id = usage.pool_id
          LEFT JOIN marketplace_region region ON region.id = pool.region_id
          LEFT JOIN marketplace_apikey key ON key.id = task.api_key_id
         WHERE {mine} AND {share} <> 0 AND {_AT} >= %(start)s AND {_AT} < %(end)s) charges
 WHERE {" AND ".join(bounds) or "true"}
 GROUP BY {numbers}
 ORDER BY {numbers}
"""


def _key(name: str, place: int) -> str:
    return _KEYS.get(name) or f"task.labels ->> %(label{place})s"


def _bound(keys: list[str], sign: str, name: str) -> str:
    return f"({', '.join(keys)}) {sign} ({', '.join(f'%({name}{place})s' for place in range(len(keys)))})"

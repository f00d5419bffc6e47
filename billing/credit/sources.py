"""In which order a wallet pays: grants, those that expire first first, then prepaid money. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple


class Source(NamedTuple):
    """Money of a wallet, in micros. `grant` None: prepaid, which never expires."""

    micros: int
    grant: int | None = None
    expires_at: datetime | None = None


class Debt(NamedTuple):
    """What is still to be paid of an invoice, in micros."""

    invoice: int
    micros: int


class Use(NamedTuple):
    """What of a source pays an invoice, in micros, above zero."""

    invoice: int
    grant: int | None
    micros: int


def in_order(sources: Iterable[Source], now: datetime) -> list[Source]:
    """Sources with something in them, in the order in which they are used; what has expired is none.

    Grants that expire together are used in the order in which they were given.
    """
    grants = [one for one in sources if one.expires_at is not None and one.expires_at > now and one.micros > 0]
    prepaid = [one for one in sources if one.expires_at is None and one.micros > 0]
    return sorted(grants, key=lambda one: (one.expires_at, one.grant)) + prepaid


def spend(sources: Sequence[Source], debts: Sequence[Debt]) -> list[Use]:
    """Pay debts in their order from sources in theirs, as far as these go: no source gives more than it has.

    >>> spend([Source(5, 1), Source(9)], [Debt(70, 7), Debt(80, 10)])
    [Use(invoice=70, grant=1, micros=5), Use(invoice=70, grant=None, micros=2), Use(invoice=80, grant=None, micros=7)]
    """
    uses: list[Use] = []
    left = [one.micros for one in sources]
    place = 0
    for debt in debts:
        open_micros = debt.micros
        while open_micros > 0 and place < len(sources):
            taken = min(open_micros, left[place])
            uses += [Use(debt.invoice, sources[place].grant, taken)] if taken else []
            open_micros, left[place] = open_micros - taken, left[place] - taken
            place += left[place] == 0
    return uses

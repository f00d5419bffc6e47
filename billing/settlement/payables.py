"""When a payee's share of a charge may go out. Pure; `sql.DUE` says the same for sets, and a test compares them.

A share waits until the customer's money is settled (the invoice is paid), then for the hold-back days. What the platform pays
itself, or guarantees, is settled when it is charged. What is taken back from a payee counts at once; by a dispute, when the
share it is taken from goes out, or at once where that one is out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Share:
    """What a payee gets of a charge, in micro-units.

    paid_at   when the customer's invoice was paid; None: it was not. Of a refund: the invoice of the charge it takes back from
    """

    micros: int
    payer: str
    charged_at: datetime
    paid_at: datetime | None
    refund: bool = False


def due_at(share: Share, hold: timedelta, *, guaranteed: bool) -> datetime | None:
    """When a share may go out; None while the customer has not paid."""
    if share.micros < 0 and (guaranteed or not share.refund):
        return share.charged_at
    settled = share.charged_at if guaranteed or (share.payer == "platform" and not share.refund) else share.paid_at
    return None if settled is None else settled + hold


def standing(due: datetime | None, payout: str | None, now: datetime, *, disputed: bool = False) -> str:
    """How a share stands: disputed, unpaid (by the customer), held_back, due, in_payout or paid. `payout`: its payout's state.

    >>> standing(None, None, datetime.now()), standing(None, "cancelled", datetime.now()), standing(None, "paid", datetime.now())
    ('unpaid', 'unpaid', 'paid')
    """
    if payout not in {None, "cancelled"}:
        return "paid" if payout == "paid" else "in_payout"
    if disputed:
        return "disputed"
    if due is None:
        return "unpaid"
    return "due" if due <= now else "held_back"


def debits(shares: Mapping[str, int], amount: int) -> dict[str, int]:
    """What a payout of `amount` takes from each payable account: role -> micros, summing up to the amount.

    The shares are exact, the amount is of whole minor units: the biggest share takes the difference.

    >>> debits({"provider": 1_234_567, "publisher": 5_000}, 1_230_000)
    {'provider': 1225000, 'publisher': 5000}
    """
    biggest = max(sorted(shares), key=lambda role: shares[role])
    return dict(shares) | {biggest: shares[biggest] + amount - sum(shares.values())}

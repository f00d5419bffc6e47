"""Rows of FOCUS 1.2 from charges of whole months: one a charge, its consumption the peak or sum that was billed. Pure, exact.

    its one price times what was billed   Usage       as it is; with tiers or minima, one month at the month's amount
    an amount without any consumption     Purchase    a minimum
    a revision, or a negative amount      Adjustment  the difference to what was charged before
    what a dispute took back              Credit      without a price
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from billing.exports.rows import EXACT, METERS, REFUND, SERVICE, Row, adjustment, in_ascii, priced, region_of, whole_seconds
from core.money import from_micros

POOLS: Final = SERVICE | {"ServiceName": "Gridfare Pools"}
_HELD: Final = {"held_cores": ("Peak of Cores Held", "Cores"), "held_accelerators": ("Peak of Accelerators Held", "Accelerators")}
_FEES: Final = {"fee_per_unit": ("Publisher Fee", "Units"), "fee_per_task": ("Publisher Task Fee", "Tasks"),
                "fee_share": ("Publisher Share", "Units")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MonthCharge:
    """A charge of a month, with the names of what it was for.

    owner      who gets the share that the platform does not keep: the pool's provider or the capability's publisher
    listed     the price list: `offer-7`, or `version-7` for a capability's fees
    service    the capability, `carol/render`, of fees; then there is no pool
    billed     what was priced, in the meter's unit; `precise` is what that comes to, cumulative
    policy     of a peak; the winning slots stand in the evidence
    original   of a revision: the invoice line of its base, `number/line`
    refunds    the charge that a dispute takes this back from
    """

    id: int
    starts_at: datetime
    ends_at: datetime
    meter: str
    billed: Decimal
    revision: int
    amount_micros: int
    precise: Decimal
    lines: list[dict[str, str]]
    owner: str
    owner_name: str
    pool: str | None
    region: str | None
    region_name: str | None
    listed: str
    basis: str | None
    policy: str | None
    evidence: dict[str, Any]
    digest: str
    provider_micros: int
    publisher_micros: int
    platform_micros: int
    service: str | None = None
    original: str | None = None
    refunds: int | None = None


def row_of_month(charge: MonthCharge) -> Row:
    """The row of a charge, without what its invoice line and its document say."""
    service = SERVICE | {"ServiceName": charge.service} if charge.service else POOLS
    return service | whole_seconds(charge.starts_at, charge.ends_at) | _names(charge) | _what(charge)


def _names(charge: MonthCharge) -> Row:
    owner = in_ascii(charge.owner_name, charge.owner)
    shares = {"x_ProviderShare": from_micros(charge.provider_micros), "x_PlatformShare": from_micros(charge.platform_micros)}
    if charge.service:
        where: Row = {"PublisherName": owner, "x_PublisherShare": from_micros(charge.publisher_micros)}
    else:
        where = {"ResourceId": charge.pool, "ResourceName": charge.pool, "ResourceType": "Pool", "AvailabilityZone": charge.pool}
        where |= {"x_HostProviderName": owner}
    proof = {"x_PeakPolicy": charge.policy, "x_PeakSlot": " ".join(_slots(charge.evidence)) or None}
    proof |= {"x_EventDigest": charge.digest or None, "x_OriginalLineId": charge.original}
    told = {"ProviderName": owner, "x_ChargeId": f"period/{charge.id}"}
    return told | where | region_of(charge.region, charge.region_name) | shares | proof


def _slots(evidence: dict[str, Any]) -> Iterator[str]:
    """The slots that decided, `day/slot`, in the order of their peaks."""
    for peak in evidence.get("peaks", ()):
        yield from (f"{winner['local_day']}/{winner['slot']}" for winner in peak["winners"])


def _what(charge: MonthCharge) -> Row:
    amount = from_micros(charge.amount_micros)
    if charge.refunds is not None:
        return adjustment(amount, REFUND) | {"ChargeCategory": "Credit"}
    if charge.revision or charge.amount_micros < 0:
        return adjustment(amount, "Correction of a month")
    meter, unit = (_HELD | _FEES | dict(METERS)).get(charge.meter, (charge.meter, "Units"))
    sold_at = charge.service or charge.pool
    sku = {"SkuId": f"{sold_at}/{charge.meter}", "SkuMeter": meter, "ChargeFrequency": "Recurring"}
    details = {name: told for name, told in (("x_Basis", charge.basis), ("x_PeakPolicy", charge.policy)) if told}
    said = sku | {"SkuPriceDetails": details or None, "ChargeDescription": f"{meter} of {sold_at}"} | _price(charge, unit, amount)
    if charge.billed <= 0:
        return said | {"ChargeCategory": "Purchase"}
    return said | {"ChargeCategory": "Usage", "ConsumedQuantity": charge.billed, "ConsumedUnit": unit}


def _price(charge: MonthCharge, unit: str, amount: Decimal) -> Row:
    """The list's price, if it is one; otherwise the month's amount is the price of that month alone."""
    list_price = f"{charge.listed}/{charge.meter}"
    if len(charge.lines) == 1:
        quantity, price = Decimal(charge.lines[0]["quantity"]), Decimal(charge.lines[0]["unit_price"] or 0)
        if price >= 0 and EXACT.multiply(quantity, price) == charge.precise:
            return {"SkuPriceId": list_price} | priced(quantity, unit, price, charge.precise, amount)
    return {"SkuPriceId": f"{list_price}/{charge.id}"} | priced(Decimal(1), "Months", charge.precise, charge.precise, amount)

"""Rows of FOCUS 1.2 from invoices' lines and charges. Pure: values in, rows out, exact.

    a charge's line of a meter   Usage       quantity x unit price, exact; BilledCost rounded to micros
    a price cap                  Adjustment  what the cap takes off
    a corrected usage record     Adjustment  the difference
    a month's charge             `months.py`
    the rest of an invoice line  Adjustment  what rounding makes of its charges, so that rows add up to the line
    a line without charges       Usage for periods, Adjustment for remainders and rounding
    an invoice's tax             Tax
    a credit note                Credit and Tax, under its own number, as corrections
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import chain
from typing import Any, Final
from urllib.parse import quote

from core.money import from_micros, to_micros

Row = dict[str, Any]
EXACT: Final = Context(prec=60)
_TWELFTH: Final = Decimal("1e-12")
# meter -> (SkuMeter, unit); a unit is plural, as UnitFormat wants it
METERS: Final[Mapping[str, tuple[str, str]]] = {
    "core_second": ("CPU Time", "Core-Seconds"),
    "accelerator_second": ("Accelerator Time", "Accelerator-Seconds"),
    "fp32_tflop": ("Normalised FP32 Work", "TFLOPs"),
    "gb_moved": ("Data Transfer", "GB"),
    "occupancy_second": ("Core Occupancy", "Core-Seconds"),
    "result": ("Results", "Results"),
    "publisher_fee": ("Publisher Fee", "Units"),
    "task_fee": ("Publisher Task Fee", "Tasks"),
}
REFUND: Final = "Refund after a dispute"
_GIVEN_BACK: Final = {"refund": REFUND, "sla": "Service level credit"}
SERVICE: Final = {"ServiceCategory": "Compute", "ServiceSubcategory": "Other (Compute)"}
PLATFORM: Final = {"ServiceName": "Gridfare", "ServiceCategory": "Other", "ServiceSubcategory": "Other (Other)"}


@dataclass(frozen=True, slots=True)
class Document:
    """The invoice or credit note that rows belong to, and its account, which is `called` so in ASCII. Moments are aware."""

    number: str
    original: str | None
    account: str
    account_name: str
    currency: str
    starts_at: datetime
    ends_at: datetime
    issuer: str
    called: str = ""

    def base(self) -> Row:
        currency = {"BillingCurrency": self.currency, "PricingCurrency": self.currency}
        period = {"BillingPeriodStart": self.starts_at, "BillingPeriodEnd": self.ends_at}
        whose = {"BillingAccountId": self.account, "BillingAccountName": in_ascii(self.called or self.account_name, self.account)}
        issuer = dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName", "x_ServiceProviderName"), self.issuer)
        ours = {"x_OriginalInvoiceId": self.original, "x_BillingAccountLocalName": self.account_name}
        return issuer | currency | period | whose | ours | {"BillingAccountType": "Organization", "InvoiceId": self.number}


@dataclass(frozen=True, slots=True)
class Part:
    """An invoice line: its number, kind and exact and rounded amounts in micros, and when the service was."""

    number: int
    kind: str
    is_correction: bool
    service_from: datetime
    service_to: datetime
    exact_micros: int
    amount_micros: int
    basis: str = ""
    pool: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge of an invoice line, with the names of what it was for.

    original   of what corrects a record: the invoice line on which that was charged, `number/line`
    offer      the price list that the pool showed
    dynamic    meters whose price a round of the market made
    """

    id: int
    started_at: datetime
    ended_at: datetime
    lines: list[dict[str, str]]
    provider: str | None
    provider_name: str | None
    publisher: str
    publisher_name: str
    service: str
    task: str
    version: int
    offer: int | None
    pool: str | None
    region: str | None
    region_name: str | None
    provider_micros: int
    publisher_micros: int
    platform_micros: int
    kind: str = "usage"
    amount_micros: int = 0
    fp32_gflop: Decimal | None = None
    labels: dict[str, str] = field(default_factory=dict)
    original: str | None = None
    dynamic: list[str] = field(default_factory=list)


def in_ascii(name: str, otherwise: str) -> str:
    """A name in ASCII: without its accents, or else the identifier that stands for it.

    >>> in_ascii("Café", "cafe"), in_ascii("宁夏", "ningxia")
    ('Cafe', 'ningxia')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().strip()
    letters = sum(character.isalnum() for character in unicodedata.normalize("NFC", name))
    return plain if plain and sum(map(str.isalnum, plain)) == letters else otherwise


def rows_of_line(document: Document, part: Part, charges: Iterable[Charged], months: Iterable[Row] = ()) -> Iterator[Row]:
    """The rows of an invoice line. Their BilledCost adds up to the line's amount; charges are taken one at a time.

    months   of a line of months' charges: what `months.py` makes of each
    """
    base, billed, seen = document.base() | _of_line(document, part), Decimal(0), False
    for row in chain.from_iterable(rows_of_charge(base, part, charge) for charge in charges):
        seen, billed = True, EXACT.add(billed, row["BilledCost"])
        yield row
    for row in months:
        seen, billed = True, EXACT.add(billed, row["BilledCost"])
        yield base | row
    rest = EXACT.subtract(from_micros(part.amount_micros), billed)
    if not seen and part.kind not in {"remainder", "rounding"}:
        yield from _whole_line(base, part)
    elif rest:
        yield base | PLATFORM | adjustment(rest, "Rounding of an invoice line")


def _of_line(document: Document, part: Part) -> Row:
    """What corrects the invoice's own month is no correction to FOCUS, but a charge like any other."""
    correction = "Correction" if part.is_correction and part.service_from < document.starts_at else None
    period = whole_seconds(part.service_from, part.service_to)
    return {"ChargeClass": correction, "x_InvoiceLine": str(part.number)} | period


def whole_seconds(start: datetime, end: datetime) -> Row:
    """A charge period in whole seconds, UTC, never empty: the second that it begins in to the one after it ends."""
    first, last = start.astimezone(UTC).replace(microsecond=0), end.astimezone(UTC).replace(microsecond=0)
    return {"ChargePeriodStart": first, "ChargePeriodEnd": max(last, first.fromtimestamp(first.timestamp() + 1, UTC))}


def rows_of_charge(base: Row, part: Part, charge: Charged) -> Iterator[Row]:
    """A row per meter; the parties' shares of the whole charge stand in the first of them, so that they add up."""
    told = base | SERVICE | _names(charge) | whole_seconds(charge.started_at, charge.ended_at)
    shares = shares_of(charge.provider_micros, charge.publisher_micros, charge.platform_micros)
    if charge.kind in _GIVEN_BACK:
        credit = adjustment(from_micros(charge.amount_micros), _GIVEN_BACK[charge.kind])
        yield told | credit | {"ChargeCategory": "Credit"} | shares
        return
    if charge.kind == "delta":  # its lines are of the whole, what it changes is the amount
        change = adjustment(from_micros(charge.amount_micros), "Correction of usage")
        yield told | change | shares | {"x_OriginalLineId": charge.original}
        return
    if charge.fp32_gflop:
        shares["x_StandardFp32TflopsHours"] = EXACT.divide(charge.fp32_gflop, Decimal(3_600_000)).quantize(_TWELFTH, ROUND_HALF_UP)
    for line in charge.lines:
        if line["meter"] == "price_cap":
            yield told | adjustment(Decimal(line["amount"]), "Price cap of a task") | shares
        else:
            yield told | _metered(line, part, charge) | shares
        shares = {}


def shares_of(provider: int, publisher: int, platform: int) -> Row:
    """What each party gets, or negative: gives back."""
    micros = {"x_ProviderShare": provider, "x_PublisherShare": publisher, "x_PlatformShare": platform}
    return {name: from_micros(share) for name, share in micros.items()}


def _names(charge: Charged) -> Row:
    publisher = in_ascii(charge.publisher_name, charge.publisher)
    provider = in_ascii(charge.provider_name, charge.provider) if charge.provider and charge.provider_name else None
    parties = {"ProviderName": provider or publisher, "PublisherName": publisher, "x_HostProviderName": provider}
    region = region_of(charge.region, charge.region_name) | _labelled(charge.labels)
    resource = {"ResourceId": charge.task, "ResourceName": charge.task, "ResourceType": "Task", "AvailabilityZone": charge.pool}
    return parties | region | resource | {"ServiceName": charge.service, "x_ChargeId": str(charge.id)}


def region_of(code: str | None, name: str | None) -> Row:
    """A region's two columns, together null."""
    return {"RegionId": code, "RegionName": in_ascii(name or "", code) if code else None}


def _labelled(labels: Mapping[str, str]) -> Row:
    """A task's labels as tags; its project is the account within the account, in ASCII by percent where it is not."""
    found: Row = {"Tags": dict(labels)} if labels else {}
    if project := labels.get("project"):
        code = project if project.isascii() and project.isprintable() else quote(project)
        found |= {"SubAccountId": code, "SubAccountName": code, "SubAccountType": "Project"}
    return found


def _metered(line: Mapping[str, str], part: Part, charge: Charged) -> Row:
    quantity, price, meter = Decimal(line["quantity"]), Decimal(line["unit_price"]), line["meter"]
    name, unit = METERS.get(meter, (meter, "Units"))
    cost = EXACT.multiply(quantity, price)
    fee = meter in {"publisher_fee", "task_fee"} or charge.offer is None
    sku = f"{charge.service if fee else charge.pool}/{meter}"
    price_id = f"version-{charge.version}/{meter}" if fee else f"offer-{charge.offer}/{meter}"
    details = {"SkuPriceDetails": {"x_Basis": part.basis} if part.basis else None, "SkuMeter": name}
    what = {"ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "ChargeDescription": f"{name} of {charge.service}"}
    consumed = {"ConsumedQuantity": quantity, "ConsumedUnit": unit}
    billed = from_micros(to_micros(cost))
    category = {"PricingCategory": "Dynamic"} if meter in charge.dynamic else {}
    named = {"SkuId": sku, "SkuPriceId": price_id}
    return what | consumed | details | named | priced(quantity, unit, price, cost, billed) | category


def priced(quantity: Decimal, unit: str, price: Decimal, cost: Decimal, billed: Decimal) -> Row:
    """A price times a quantity, which is the cost exactly; what is billed of it is rounded."""
    names = ("ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice")
    pricing = {"PricingQuantity": quantity, "PricingUnit": unit, "PricingCategory": "Standard"}
    return dict.fromkeys(names, price) | pricing | _costs(cost) | {"BilledCost": billed}


def _costs(cost: Decimal) -> Row:
    """Every cost the same: nothing was measured or priced by itself."""
    return dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost"), cost)


def adjustment(amount: Decimal, why: str) -> Row:
    """An amount without a price."""
    return {"ChargeCategory": "Adjustment", "ChargeFrequency": "One-Time", "ChargeDescription": why} | _costs(amount)


def _whole_line(base: Row, part: Part) -> Iterator[Row]:
    """A line that no charge explains: a month's peak, minimum or maximum. Negative ones are adjustments."""
    exact, amount = from_micros(part.exact_micros), from_micros(part.amount_micros)
    service = SERVICE | {"ServiceName": part.service} if part.service else PLATFORM
    row = base | service
    if exact < 0:
        yield row | adjustment(amount, "Charge of a month")
        return
    sku = f"{part.pool or 'account'}/{part.basis or part.kind}"
    what: Row = {"ChargeCategory": "Usage", "ChargeFrequency": "Recurring", "ChargeDescription": "Charge of a month"}
    # A month's amount is its price: the row's SKU price is that of this line alone.
    sold: Row = {"SkuId": sku, "SkuPriceId": f"{sku}/{base['InvoiceId']}/{part.number}", "SkuMeter": part.basis or part.kind}
    sold |= {"ConsumedQuantity": Decimal(1), "ConsumedUnit": "Months", "AvailabilityZone": part.pool}
    yield row | what | sold | priced(Decimal(1), "Months", exact, exact, amount)


def row_of_tax(document: Document, percent: Decimal, micros: int, correction: bool = False) -> Row:
    """One rate's tax. A service has one category in a whole file, so taxes are the platform's."""
    period = {"ChargePeriodStart": document.starts_at, "ChargePeriodEnd": document.ends_at}
    what = {"ChargeCategory": "Tax", "ChargeFrequency": "One-Time", "ChargeDescription": f"Tax of {percent.normalize():f} percent"}
    return document.base() | PLATFORM | period | what | _costs(from_micros(micros)) | _class(correction)


@dataclass(frozen=True, slots=True)
class Taken:
    """A line of a credit note, in micros, and who bears it: what the parties give back of their shares, or the platform gives."""

    number: int
    net: int
    tax: int
    provider: int
    publisher: int
    platform: int


def rows_of_credit(document: Document, lines: Iterable[Taken]) -> Iterator[Row]:
    """A credit note's lines as negative rows under the note's own number."""
    period = {"ChargePeriodStart": document.starts_at, "ChargePeriodEnd": document.ends_at}
    for one in lines:
        place = {"x_InvoiceLine": str(one.number), "x_OriginalLineId": f"{document.original}/{one.number}"}
        base = document.base() | PLATFORM | period | _class(True) | place | {"ChargeFrequency": "One-Time"}
        credit = {"ChargeCategory": "Credit", "ChargeDescription": "Credit note"} | _costs(from_micros(-one.net))
        yield base | credit | shares_of(-one.provider, -one.publisher, -one.platform)
        if one.tax:
            yield base | {"ChargeCategory": "Tax", "ChargeDescription": "Tax of a credit note"} | _costs(from_micros(-one.tax))


def _class(correction: bool) -> Row:
    return {"ChargeClass": "Correction" if correction else None}

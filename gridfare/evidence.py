"""`check`: an evidence bundle of a dispute, checked without the platform: its digest, and every sum that stands in it.

docs/billing/disputes.md describes the file. Written a second time on purpose, so that a check does not trust the platform's code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, NamedTuple

Json = dict[str, Any]
MICRO = Decimal("0.000001")
TINY = Decimal("1e-12")  # what quantities and amounts are rounded to


class Refuted(Exception):
    """The file does not prove what it says; the sentence names the first thing that is wrong."""


class Checked(NamedTuple):
    """What a bundle shows: the dispute, how many charges, the sums, and the digest that one compares with another copy's."""

    dispute: int
    state: str
    charges: int
    disputed: Decimal
    awarded: Decimal
    digest: str


def check(content: bytes) -> Checked:
    """Check a bundle. Raises Refuted."""
    try:
        told = json.loads(content)
        bundle, digest = told["bundle"], told["digest"]
        if bundle["format"] != "gridfare-dispute-1":
            raise Refuted(f"the format {bundle['format']!r} is not known here")
        if hashlib.sha256(canonical(bundle)).hexdigest() != digest:
            raise Refuted("the digest is not that of the bundle: something in it was changed")
        return _checked(bundle, digest)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise Refuted(f"not as the format has it ({type(error).__name__}: {error})") from None


def canonical(value: Any) -> bytes:
    """The bytes that are hashed: members sorted by name, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _checked(bundle: Json, digest: str) -> Checked:
    dispute, charges = bundle["dispute"], bundle["charges"]
    for charge in charges:
        for wrong in _wrong(charge):
            item = charge["disputed"]
            raise Refuted(f"charge {item['charge'] or item['period_charge']}: {wrong}")
    disputed = sum((Decimal(one["disputed"]["amount"]) for one in charges), Decimal(0))
    awarded = sum((Decimal(one["disputed"]["awarded"]) for one in charges), Decimal(0))
    if (len(charges), disputed, awarded) != (dispute["charges"], Decimal(dispute["disputed"]), Decimal(dispute["awarded"])):
        raise Refuted("the dispute is not the sum of its charges")
    return Checked(dispute["id"], dispute["state"], len(charges), disputed, awarded, digest)


def _wrong(charge: Json) -> Iterator[str]:
    """What does not follow from what stands beside it."""
    evidence, item, refund = charge["evidence"], charge["disputed"], charge["refund"]
    amount, back = Decimal(evidence["amount"]), Decimal(item["awarded"])
    if Decimal(item["amount"]) != amount:
        yield "the disputed amount is not that of the charge"
    if _split(evidence) != amount:
        yield "its split does not add up to it"
    yield from _month(evidence) if item["kind"] == "period" else _lines(evidence, amount)
    if not 0 <= back <= amount:
        yield "more is taken back than was charged"
    if (refund is not None) != (back > 0) or (refund and (Decimal(refund["amount"]) != -back or _split(refund) != -back)):
        yield "the refund is not what was awarded"


def _market(market: Json | None, prices: Json) -> Iterator[str]:
    """Dynamic rates: min(ceiling, max(floor, round12(shadow / seconds * multiplier))), half up, is the price that was charged."""
    for meter, rate in (market["rates"] if market else {}).items():
        numbers = {name: Fraction(rate[name]) for name in ("shadow", "multiplier", "floor", "ceiling")}
        exact = numbers["shadow"] / Fraction(market["seconds"]) * numbers["multiplier"] if market else Fraction(0)
        rounded = Fraction(int(exact * 10**12 + Fraction(1, 2)), 10**12)
        price = min(numbers["ceiling"], max(numbers["floor"], rounded))
        if not Fraction(rate["price"]) == Fraction(prices[meter]) == price:
            yield f"{meter}: the round's price comes to {float(price):.12f}"


def _lines(evidence: Json, amount: Decimal) -> Iterator[str]:
    """Quantity x price = amount, line by line; prices and quantities are those of the offer and of the usage record."""
    meters, prices = evidence["meters"] or {}, (evidence["price"] or {}).get("rates", {})
    total = Decimal(0)
    for line in evidence["lines"]:
        meter, quantity, price = line["meter"], Decimal(line["quantity"]), Decimal(line["unit_price"])
        total += Decimal(line["amount"])
        if quantity * price != Decimal(line["amount"]):
            yield f"{meter}: {line['quantity']} x {line['unit_price']} is not {line['amount']}"
        if meter in meters and Decimal(meters[meter]) != quantity:
            yield f"{meter}: the usage record says {meters[meter]}"
        if isinstance(prices.get(meter), str) and Decimal(prices[meter]) != price:
            yield f"{meter}: the offer says {prices[meter]}"
    yield from _market((evidence["price"] or {}).get("market"), prices)
    if evidence["kind"] != "delta" and evidence["lines"] and abs(total - amount) > MICRO * len(evidence["lines"]):
        yield f"its lines come to {total}"


def _split(told: Json) -> Decimal:
    return sum((Decimal(told["split"].get(party, 0)) for party in ("provider", "publisher", "platform")), Decimal(0))


def _month(evidence: Json) -> Iterator[str]:
    """Parts -> the exact amount -> the total; the total of every revision is that less what was refunded, and what each adds."""
    precise, rate = Decimal(evidence["precise"]), (evidence["price"].get("rates") or {}).get(evidence["meter"])
    hundredth = isinstance(rate, dict) and rate.get("model") == "percentage"
    if not evidence["facts"]["matches"]:
        yield "its facts are not those that were charged"
    for line in evidence["lines"]:
        quantity, price, amount = (Decimal(line[name]) for name in ("quantity", "unit_price", "amount"))
        exact = quantity * price / (100 if hundredth and line["kind"] == "usage" else 1)
        if abs(exact - amount) > TINY * (abs(price) + 1):
            yield f"{line['kind']}: {line['quantity']} x {line['unit_price']} is not {line['amount']}"
    if sum((Decimal(line["amount"]) for line in evidence["lines"]), Decimal(0)) != precise:
        yield f"its lines do not come to {precise}"
    yield from _counted(evidence)
    yield from _revisions(evidence)


def _counted(evidence: Json) -> Iterator[str]:
    """Of a capability's fees: units and tasks are as many as were billed; a share is of its parts, each by its core time."""
    billed = Decimal(evidence["billed"])
    if evidence["meter"] in {"fee_per_unit", "fee_per_task"} and evidence["facts"]["count"] != billed:
        yield f"{evidence['facts']['count']} were counted, not {evidence['billed']}"
    if evidence["meter"] == "fee_share":
        parts = ((one["amount"], one["held_core_seconds"], one["of_core_seconds"]) for one in evidence["of"])
        of = sum((Fraction(amount) * Fraction(held) / Fraction(whole) for amount, held, whole in parts), Fraction(0))
        if abs(of - Fraction(billed)) > Fraction(TINY):
            yield f"what it is a share of does not come to {evidence['billed']}"


def _revisions(evidence: Json) -> Iterator[str]:
    total, refunds, mine = Decimal(0), [], None
    for one in evidence["revisions"]:
        rated, amount = Decimal(one["precise"]).quantize(MICRO, ROUND_HALF_UP), Decimal(one["amount"])
        refunds += [(rated, -amount)] if one["refunds"] else []
        total += amount
        if Decimal(one["total"]) != total or left_of(rated, refunds) != total:
            yield f"revision {one['revision']}: {one['total']} is not what it adds, or not what its usage comes to less refunds"
        mine = one if one["charge"] == evidence["charge"] else mine
    if mine is None or any(Decimal(mine[name]) != Decimal(evidence[name]) for name in ("amount", "total", "precise")):
        yield "it is not the revision that it says"


def left_of(rated: Decimal, refunds: list[tuple[Decimal, Decimal]]) -> Decimal:
    """What a month that is rated at this amount comes to after its refunds, (rated then, taken back), in their order."""
    if not refunds:
        return rated
    *earlier, (then, back) = refunds
    left = left_of(rated, earlier)
    return left - back if rated > then else min(left, left_of(then, earlier) - back)

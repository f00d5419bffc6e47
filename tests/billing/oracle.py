"""What a task should cost, in fractions and loops: the slow truth that the statements are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from billing.pricing import CEILING_MICROS, ending_of, verdict_of, work_of

PER_THING = {
    "consumption": {
        "core_second": ("core_ms", Fraction(1, 1000)),
        "accelerator_second": ("accelerator_ms", Fraction(1, 1000)),
        "fp32_tflop": ("fp32_gflop", Fraction(1, 1000)),
        "gb_moved": ("bytes", Fraction(1, 10**9)),
    },
    "occupancy": {"occupancy_second": ("held_core_ms", Fraction(1, 1000)), "gb_moved": ("bytes", Fraction(1, 10**9))},
    "result": {"result": ("valid", Fraction(1)), "gb_moved": ("bytes", Fraction(1, 10**9))},
}


@dataclass(frozen=True)
class Owed:
    """One charge: who pays, why, and the three shares, in micros."""

    payer: str
    reason: str
    provider: int
    publisher: int
    platform: int

    @property
    def amount(self) -> int:
        return self.provider + self.publisher + self.platform


def half_up(amount: Fraction) -> int:
    """Whole micros of an amount in currency units, up to the ceiling."""
    return min(int((amount * 10**6 + Fraction(1, 2)).__floor__()), CEILING_MICROS)


def bill(task: Any, records: Sequence[Any], offers: Mapping[int, Any]) -> tuple[list[Owed], Owed | None]:
    """The charges of a task's usage records, in order, and its fee. `offers` is {id: (basis, currency, rates)}."""
    cap = task.constraints.get("max_price")
    left = None if cap is None else int(Fraction(cap) * 10**6)
    owed = []
    for record in records:
        charge = _charge(task, record, offers.get(record.offer_id), left)
        if left is not None and charge.payer == "user":
            left -= charge.amount
        owed.append(charge)
    asked = Fraction(task.terms["fee_per_task"])
    if task.state != "delivered" or task.kind == "test" or asked == 0:
        return owed, None
    fee = half_up(asked)
    fee = fee if left is None else min(fee, left)
    return owed, Owed("user", "fee/delivered", *_share(0, fee, task.terms["platform_basis_points"]))


def _charge(task: Any, record: Any, offer: Any, left: int | None) -> Owed:
    work = work_of(record.outcome, record.reason_class)
    ending = ending_of(task.state, task.reason_class)
    verdict = verdict_of(work, ending, task.kind)
    reason = f"{work}/{ending}"
    if verdict.payer == "nobody":
        return Owed("nobody", reason, 0, 0, 0)
    resource = Fraction(0)
    if offer is None or offer[1] != task.terms["currency"] or not PER_THING[offer[0]].keys() & offer[2].keys():
        reason = "unpriced"
    else:
        resource = _resource(record, offer)
    fee = Fraction(task.terms["fee_per_unit"]) if verdict.fee and record.stage == 0 else Fraction(0)
    parts = half_up(resource), half_up(fee)
    if left is not None and verdict.payer == "user" and sum(parts) > left:
        part = parts[0] * left // sum(parts)
        parts = part, left - part
    return Owed(verdict.payer, reason, *_share(*parts, task.terms["platform_basis_points"]))


def _resource(record: Any, offer: Any) -> Fraction:
    basis, _, rates = offer
    counts = {name: Fraction(getattr(record, name)) for name in ("core_ms", "held_core_ms", "accelerator_ms")}
    counts |= {"fp32_gflop": Fraction(record.fp32_gflop), "bytes": Fraction(record.bytes_in + record.bytes_out)}
    confirmed = record.outcome == "superseded" and not record.reason_class
    counts["valid"] = Fraction(record.outcome == "valid" or confirmed)
    known = PER_THING[basis]
    return sum(
        (counts[known[m][0]] * known[m][1] * Fraction(price) for m, price in rates.items() if m in known), Fraction(0)
    )


def _share(resource: int, fee: int, basis_points: int) -> tuple[int, int, int]:
    kept = Fraction(10_000 - basis_points, 10_000)
    exact = [resource * kept, fee * kept, Fraction((resource + fee) * basis_points, 10_000)]
    whole = [int(share) for share in exact]
    order = sorted(range(3), key=lambda i: (whole[i] - exact[i], i))
    for i in order[: resource + fee - sum(whole)]:
        whole[i] += 1
    return whole[0], whole[1], whole[2]

"""Quotes: what a task would cost and take, for each objective, without writing anything; and whether a deadline can hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils import timezone

from core.errors import Invalid
from marketplace.queries import dynamic_prices
from marketplace.stages import stages_of
from scheduler.matching import ClassState, Snapshot, fitting
from scheduler.matching.estimates import Estimate, estimate
from scheduler.matching.goals import OBJECTIVES
from scheduler.services.drafting import Asker, Draft, Request, draft_task, find_version
from scheduler.services.expanding import need_of
from scheduler.snapshots import market

OWN: Final = "own"  # the name of the option by the user's own weights
MICRO: Final = Decimal("0.000001")


@dataclass(frozen=True)
class Quote:
    """Price and time of a task without committing to it. `options` objective → what it would get, None where no pool fits."""

    units: int
    tflop: str
    feasible: int
    excluded: dict[str, int]
    options: dict[str, dict[str, Any] | None]


def quote_task(asker: Asker, request: Request) -> Quote:
    """What a task would cost and take, for each objective. Checks the request as submit does; writes nothing."""
    draft = draft_task(asker, request, version=find_version(asker.organization, request.capability))
    classes = _classes(draft, request.objective)
    snapshot = market(classes, online_only=True)
    pools, excluded = fitting(classes[0], snapshot)
    names = [*OBJECTIVES, *([OWN] if draft.task.constraints.get("weights") else [])]
    options = {name: _option(draft, name, snapshot) for name in names}
    _add_market(options, asker.organization.slug)
    tflop = Decimal(str(draft.task.plan["tflop"])) * draft.task.plan["units"]
    return Quote(draft.task.plan["units"], str(tflop), len(pools), dict(excluded), options)


def _classes(draft: Draft, objective: str, without: tuple[str, ...] = ("weights",)) -> list[ClassState]:
    """The classes of a task's units and of its merge, as one who asks for this objective would have them."""
    task = draft.task
    units = [part["units"] for part in stages_of(task.plan)]
    documents = [need_of(task, stage=stage, inputs=draft.inputs) for stage in range(len(units))]
    if objective != OWN:
        kept = [{name: value for name, value in one.items() if name not in without} for one in documents]
        documents = [one | {"objective": objective} for one in kept]
    return [ClassState(-1 - stage, documents[stage], count) for stage, count in enumerate(units)]


def _option(draft: Draft, objective: str, snapshot: Snapshot) -> dict[str, Any] | None:
    parts = [estimate(one, one.waiting, snapshot) for one in _classes(draft, objective)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    terms = draft.task.terms
    fee = Decimal(terms["fee_per_unit"]) * draft.task.plan["units"] + Decimal(terms["fee_per_task"])
    return {
        "price": str((sum((part.price for part in known), Decimal(0)) + fee).quantize(MICRO)),
        "currency": terms["currency"],
        "seconds": round(sum(part.seconds for part in known), 1),
        "seconds_p90": round(sum(part.seconds_p90 for part in known), 1),
        "start_s": round(known[0].start_s, 1),
        "carbon_g": round(sum(part.carbon_g for part in known), 3),
        "pools": [{"pool": pool, "region": region, "units": units} for pool, region, units in known[0].pools],
    }


def _add_market(options: dict[str, dict[str, Any] | None], customer: str) -> None:
    """Says of pools whose price follows the market between which bounds, and what its last round made of it."""
    pools = [pool for option in options.values() if option for pool in option["pools"]]
    dynamic = dynamic_prices({pool["pool"] for pool in pools}, customer)
    for pool in pools:
        if pool["pool"] in dynamic:
            pool["dynamic"] = dynamic[pool["pool"]]


def refuse_late(draft: Draft) -> None:
    """Refuse a deadline that nine of ten such tasks would miss even when asked for as fast as can be.

    Raises Invalid("deadline_unreachable") with the nearest deadline that would hold, and the price of holding it.
    """
    deadline = draft.task.deadline
    if deadline is None:
        return
    classes = _classes(draft, "fastest", without=("weights", "deadline"))
    snapshot = market(classes, online_only=False)
    parts = [estimate(one, one.waiting, snapshot) for one in classes]
    known = [part for part in parts if part is not None]
    if len(known) == len(parts) and _nearest(known) > deadline:
        raise Invalid("deadline_unreachable", _told(known), field="deadline", **_offered(draft, known))


def _nearest(parts: list[Estimate]) -> datetime:
    return timezone.now() + timedelta(seconds=sum(part.seconds_p90 for part in parts))


def _told(parts: list[Estimate]) -> str:
    return f"the result would be there in {sum(part.seconds_p90 for part in parts):,.0f} seconds at the earliest"


def _offered(draft: Draft, parts: list[Estimate]) -> dict[str, Any]:
    """The nearest deadline that would hold, a minute's margin added, and its price."""
    nearest = _nearest(parts) + timedelta(minutes=1)
    terms = draft.task.terms
    fee = Decimal(terms["fee_per_unit"]) * draft.task.plan["units"] + Decimal(terms["fee_per_task"])
    price = sum((part.price for part in parts), Decimal(0)) + fee
    at = nearest.replace(microsecond=0).isoformat()
    return {"nearest_deadline": at, "price": str(price.quantize(MICRO)), "currency": terms["currency"]}

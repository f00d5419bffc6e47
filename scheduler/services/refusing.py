"""What is refused at submit although it is well formed: what no pool could ever take, and deadlines that cannot hold."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from core.errors import Invalid
from marketplace.policies import Policy
from marketplace.stages import VALIDATES, stages_of
from scheduler.matching import ClassState, Snapshot, held_against
from scheduler.matching.columns import Column
from scheduler.matching.estimates import price_p90
from scheduler.matching.misses import nearest
from scheduler.scene import Scene, scene
from scheduler.services.drafting import Draft
from scheduler.services.expanding import need_of
from scheduler.services.quoting import refuse_late
from scheduler.snapshots import market_in

__all__ = ["refuse_hopeless", "refuse_late"]

_HOPELESS: Final = {
    "price": ("price_cap_below_offers", "no offer is below this price cap", "constraints.max_price"),
    "region": ("region_without_pool", "no pool that could run this is in these regions", "constraints.regions"),
    "trust": ("no_pool_fits", "no pool that could run this is trusted as it asks, or believed without a comparison", "capability"),
    "gang": ("gang_without_pool", "no pool could hold all of its units at once", "inputs"),
    "provider": ("provider_without_pool", "none of these providers has a pool for this", "constraints.providers"),
}


def refuse_hopeless(draft: Draft) -> Decimal:
    """Refuse what no pool of the market could ever take, naming the constraint nearest to being met.

    Pools that are full or away for the moment count as able: waiting for them is what a queue is for. Returns the price
    that nine of ten such tasks do not pass, on the pools that an empty market would choose; the publisher's fees counted.
    """
    known, counts = scene(), dict[str, int]()
    price: Decimal = _fees(draft)
    for stage, part in enumerate(stages_of(draft.task.plan)):
        document = need_of(draft.task, stage=stage, inputs=draft.inputs)
        document.pop("deadline", None)  # has its own answer, with a better offer
        one = ClassState(0, document, int(document.get("gang", 1)))
        found = _column(one, known)
        if not found.fits.any():
            counts = dict(found.excluded)
            break
        price += price_p90(found, part["units"])
        owners = {pool.provider for pool in found.able}
        validated = Policy.of(draft.task.plan["verify"]).validator is not None
        _check_owners(draft.task.plan, owners & _judges(draft, stage, known) if validated else owners)
    else:
        return price
    first = next((d for d in ("price", "offer", "trust", "policy", "provider", "region", "gang") if counts.get(d)), "")
    code, detail, at = _HOPELESS.get(first, ("no_pool_fits", "no pool of the market could run this", "capability"))
    raise Invalid(code, detail + (_way_in(one, known) if first == "trust" else ""), field=at, excluded=counts)


def _way_in(one: ClassState, known: Scene) -> str:
    """What the task would have to say for the nearest pool to take it, where that is its to say."""
    found = [miss for miss in nearest(one, _everybody(one, known), 1) if miss.change]
    if not found:
        return ""
    change = "; ".join(f"{name}: {str(value).lower()}" for name, value in (found[0].change or {}).items())
    asks = " (or have its results compared, with verify: exact)" if "constraints.accept_unproven" in change else ""
    return f"; {found[0].pool} would take it with {change}{asks}"


def _everybody(one: ClassState, known: Scene) -> Snapshot:
    return market_in(known, [one], online_only=False, with_load=False)


def _fees(draft: Draft) -> Decimal:
    terms, units = draft.task.terms, int(draft.task.plan["units"])
    return Decimal(terms["fee_per_unit"]) * units + Decimal(terms["fee_per_task"])


def _column(one: ClassState, known: Scene) -> Column:
    return held_against(one, _everybody(one, known), known.columns)


def _judges(draft: Draft, stage: int, known: Scene) -> set[str]:
    """Owners of pools that may run the validator. Only they count: whoever gives the results, one of them must be left."""
    document = need_of(draft.task, stage=VALIDATES + stage, inputs=[])
    document.pop("deadline", None)
    return {pool.provider for pool in _column(ClassState(0, document, 1), known).able}


def _check_owners(plan: dict[str, Any], owners: set[str]) -> None:
    """As many owners as results are asked for must have a pool that fits; no more results than owners are asked for."""
    policy = Policy.of(plan["verify"])
    if not policy.compares:
        return
    one_more = policy.validator is not None  # it runs where none of the results comes from
    wanted, givers = policy.initial + one_more, len(owners) - one_more
    if len(owners) < wanted:
        detail = f"{wanted} different owners are needed for results and checks, and {len(owners)} could take part"
        raise Invalid("too_few_owners", detail, field="verify", owners=len(owners), wanted=wanted)
    plan["verify"] = replace(policy, max_total=min(policy.max_total, givers)).in_plan()

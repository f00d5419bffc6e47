"""Which pools can take a class, and what speaks against each of the others: the dimensions, in their precedence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from scheduler.matching.columns import Column
from scheduler.matching.market import Bools, Floats, Ints, Market
from scheduler.matching.values import DIMENSIONS

ROUNDING: Final = 1e-12  # caps have twelve decimals: a price that equals its cap must not fail by a float's last bit
FITS: Final = len(DIMENSIONS)  # among the numbers of dimensions: none speaks against it


def reasons_of(found: Column) -> Ints:
    """For every pool the number of the first dimension, in the fixed precedence, that speaks against it."""
    reasons = np.full(len(found.market), FITS, dtype=np.int64)
    for dimension, fits in checks(found):
        reasons[(reasons == FITS) & ~fits] = DIMENSIONS.index(dimension)
    return reasons


def leave_out(found: Column, reasons: Ints) -> None:
    """Every pool fits or is counted for what speaks against it."""
    for number in np.unique(reasons[reasons != FITS]):
        found.excluded[DIMENSIONS[number]] += int((reasons == number).sum())
    open_rows = reasons == FITS
    fresh = open_rows.copy()
    fresh[[found.market.row[pool] for pool in found.one.avoid if pool in found.market.row]] = False
    # pools that failed these units before are left out only while another could take them
    if fresh.any() and (gone := int(open_rows.sum() - fresh.sum())):
        found.excluded["failed_before"] += gone
        open_rows = fresh
    found.fits = open_rows


def checks(found: Column) -> list[tuple[str, Bools]]:
    """The dimensions in their order, each with the pools that pass it, as the variant that they would run."""
    tables = [_checks(found, kind) for kind in found.kinds]
    if len(tables) == 1:
        return tables[0]
    rows = np.arange(len(found.market))
    passed = [np.array([table[n][1] for table in tables])[found.variant, rows] for n in range(len(tables[0]))]
    return [(dimension, fits) for (dimension, _), fits in zip(tables[0], passed, strict=True)]


def _checks(found: Column, doc: Mapping[str, Any]) -> list[tuple[str, Bools]]:
    """The same for one variant: `doc` is the class's need with that variant's values."""
    m, everywhere = found.market, np.ones(len(found.market), dtype=bool)
    need = doc["need"]
    sets = {v["instruction_set"] for v in doc["variants"]}
    listed = {
        "architecture": everywhere if "any" in sets else m.members(m.instruction_sets, sets),
        "accelerator": _accelerators_fit(need, m),
        "cores": m.declared["cores"] >= need["cores"],
        "memory": m.declared["memory_mib"] >= need["memory_mib"],
        "disk": m.declared["disk_mib"] >= need["disk_mib"],
        "gang": _gang_fits(found, m) if doc.get("gang") else everywhere,
        "region": m.members(m.regions, doc["regions"]) if doc["regions"] else everywhere,
        "provider": _providers_fit(doc, m),
        "policy": _policies_fit(doc["organization"], m),
        "trust": _trust_fits(found),
        "network": _network_fits(doc, m),
        "offer": found.offer >= 0,
        "price": _price_fits(doc, found.price + found.egress),
        "deadline": _deadline_fits(doc, found),
        "maintenance": found.ends_before(found.wait_s),
        "distinct_owner": _apart_fits(found),
        "reserved": ~found.long | (found.room >= 1),
    }
    return [(dimension, listed[dimension]) for dimension in DIMENSIONS if dimension in listed]


def _accelerators_fit(need: Mapping[str, Any], market: Market) -> Bools:
    fits = np.ones(len(market), dtype=bool)
    for wanted in need.get("accelerators", []):
        fits &= market.declared.get(f"accelerator:{wanted['model']}", np.zeros(len(market))) >= wanted["count"]
    return fits


def _gang_fits(found: Column, market: Market) -> Bools:
    """Pools that could run all of a gang at once when they are empty."""
    fits, size = np.ones(len(market), dtype=bool), min(int(found.one.document["gang"]), max(found.one.waiting, 1))
    for name, amount in found.need.items():
        fits &= market.declared.get(name, np.zeros(len(market))) >= amount * size
    return fits


def _providers_fit(doc: Mapping[str, Any], market: Market) -> Bools:
    fits = ~market.members(market.providers, doc["exclude_providers"])
    return fits & market.members(market.providers, doc["providers"]) if doc["providers"] else fits


def _policies_fit(organization: str, market: Market) -> Bools:
    fits = np.ones(len(market), dtype=bool)
    for row in market.listed:
        pool = market.pools[row]
        fits[row] = (not pool.allow or organization in pool.allow) and organization not in pool.deny
    return fits


def _trust_fits(found: Column) -> Bools:
    """Sandboxed unless an operator vouches for the program; as trusted as asked for; not on probation unless it is checked.

    Pools that are unproven, or of too low a level for what the unit is worth, take only what is checked, too, or what
    somebody said may be believed from one of them alone.
    """
    m, doc = found.market, found.one.document
    fits: Bools = (found.trust >= float(doc.get("min_trust", 0))) & (m.levels >= int(doc.get("min_level", 0)))
    if not doc["trusted"]:
        fits &= m.sandboxed
    if not doc.get("verified"):
        fits &= ~m.probation
        fits &= found.believed | bool(doc.get("accept_unproven"))
    return fits


def _apart_fits(found: Column) -> Bools:
    fits = np.ones(len(found.market), dtype=bool)
    fits[[found.market.row[pool] for pool in found.one.apart if pool in found.market.row]] = False
    return fits


def _network_fits(doc: Mapping[str, Any], market: Market) -> Bools:
    """Regions that a class of jitter reaches from where the user is; the user's own region always does."""
    wanted = doc.get("network")
    if not wanted:
        return np.ones(len(market), dtype=bool)
    regions, column_ = market.regions
    routes, home, most = market.snapshot.steady, wanted["from"], float(wanted.get("max_latency_s", float("inf")))
    reached = []
    for region in regions:
        route = routes.get((home, region, int(wanted["jitter_class"])))
        reached.append(region == home or (route is not None and route.latency_s <= most))
    return np.array(reached, dtype=bool)[column_] if reached else np.zeros(0, dtype=bool)


def _price_fits(doc: Mapping[str, Any], price: Floats) -> Bools:
    if doc["cap"] is None:
        return np.ones(len(price), dtype=bool)
    fits: Bools = price + float(doc["fee"]) <= float(doc["cap"]) + ROUNDING
    return fits


def _deadline_fits(doc: Mapping[str, Any], found: Column) -> Bools:
    """Pools on which nine of ten units that come next are over in time."""
    if doc.get("deadline") is None:
        return np.ones(len(found.market), dtype=bool)
    finish = found.wait_s + found.transfer_s + found.run_p90_s + found.return_s
    fits: Bools = found.market.snapshot.at + finish <= float(doc["deadline"])
    return fits

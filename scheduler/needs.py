"""What a class of units needs, as a canonical document, and the hash that makes equal needs one class.

Document (all JSON values):
  version      capability version's id       stage       number of a stage or its validators (marketplace/stages.py)
  need         {cores, memory_mib, disk_mib, accelerators: [{model, count}]}
  variants     [{instruction_set, accelerator}], with need and tflop where variants differ in them
  tflop        FP32 TFLOP of one unit, decimal text
  run_s        time limit of one unit
  bytes_in     input bytes of one unit       organization  the user's slug
  trusted      may run without a sandbox     objective     cheapest | fastest | greenest | balanced
  regions, providers, exclude_providers      allowed slugs; an empty list allows all
  cap          highest price of one unit, decimal text or null
  fee          publisher's fee of one unit, decimal text (for the cap)
  verified     only where it is true: results are compared, so pools on probation, and unproven ones, may take it
  offers_at    the moment whose offers price it (ISO 8601): the last change of any offer before submit
Only where there is something to say:
  weights      own weights instead of the objective's, decimal texts (matching/goals.py)
  deadline     seconds since the epoch by which nine of ten units must be over; rounded down to ten seconds
  min_trust    lowest probability of a valid result, decimal text
  min_level    lowest level of a pool, 1 to 4
  accept_unproven  true: nothing is compared, and unproven community pools are believed all the same
  network      {from: region, jitter_class, max_latency_s}: the class of the way from the user
  gang         units that must start together on one pool, and the task whose they are: gang_of
  inputs       [[sha256, bytes]] of input files of more than settings.LARGE_BYTES         bytes_out   predicted, of one unit
  store        the region of the market's store
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from marketplace.stages import OVER, VALIDATES, part_of, stages_of, total_units

NOBODYS: Final = "none"  # an instruction set that no machine has
_ALWAYS: Final = ("instruction_set", "accelerator")
_OF_VARIANT: Final = (*_ALWAYS, "need", "tflop")
LARGE: Final = 100_000_000  # bytes; smaller files follow the work wherever it goes


def canonical(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def key_of(document: dict[str, Any]) -> str:
    """The class key: SHA-256 over the canonical document, hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def need_document(
    *,
    plan: dict[str, Any],
    stage: int,
    version_id: int,
    trusted: bool,
    organization: str,
    objective: str,
    constraints: dict[str, Any],
    bytes_in: int,
    offers_at: str,
    deadline: datetime | None = None,
    inputs: Sequence[tuple[str, int]] = (),
    store: str = "",
    task: str = "",
    large: int = LARGE,
) -> dict[str, Any]:
    """The need of a plan's units (stage 0), of the merge or a stage after them (from 1 on), or of validators of either."""
    part, units = part_of(plan, stage), total_units(plan)
    cap = constraints.get("max_price")
    judges = stage >= VALIDATES  # nobody compares what a validator says, and others are paid or blamed by it
    verified = plan.get("verify", "none") != "none" and not judges
    document = {
        "version": version_id,
        "stage": stage,
        "need": part["need"],
        "variants": [{name: one[name] for name in _OF_VARIANT if name in one and (not stage or name in _ALWAYS)}
                     for one in plan["variants"]],
        "tflop": str(part["tflop"]),
        "run_s": part["limits"]["run_s"],
        "bytes_in": bytes_in + bytes_before(plan, stage),
        "organization": organization,
        "trusted": trusted,
        "objective": objective,
        "regions": sorted(constraints.get("regions", [])),
        "providers": sorted(constraints.get("providers", [])),
        "exclude_providers": sorted(constraints.get("exclude_providers", [])),
        "cap": None if cap is None else str(unit_cap(Decimal(str(cap)), plan["fee"], units)),
        "fee": str(plan["fee"]["per_unit"]),
        "offers_at": offers_at,
    }
    extra = {
        "verified": verified,
        "weights": constraints.get("weights"),
        "deadline": None if deadline is None else int(deadline.timestamp()) // 10 * 10,
        "min_trust": constraints.get("min_trust"),
        "min_level": constraints.get("min_level"),
        "accept_unproven": not judges and not verified and constraints.get("accept_unproven"),
        "network": constraints.get("network"),
        "gang": plan["units"] if plan.get("gang") and not stage else None,
        "gang_of": task if plan.get("gang") and not stage else None,  # units of two tasks are never one gang
        "inputs": [[sha, size] for sha, size in sorted(inputs) if size > large] or None,
        "bytes_out": part.get("bytes_out"),
        "store": store,
    }
    return document | {name: value for name, value in extra.items() if value}


def of_variant(document: Mapping[str, Any], variant: int) -> Mapping[str, Any]:
    """The need of a unit that runs as this variant."""
    variants = document.get("variants", ())
    own = variants[variant] if variant < len(variants) else {}
    return {**document, **{name: own[name] for name in ("need", "tflop") if name in own}, "variant": variant}


def bytes_before(plan: dict[str, Any], stage: int) -> int:
    """What a unit is likely to read of what was left before it: all of the last stage, or its part of the one it goes over."""
    if stage == 0 or stage >= VALIDATES:
        return 0
    parts = stages_of(plan)
    split, units = parts[stage]["split"], parts[stage]["units"]
    apart = split["by"] in OVER
    before = parts[split["over"] if apart else stage - 1]
    left = int(before["units"] * before.get("bytes_out", 0))
    return left // units if apart else left


def narrowed(document: dict[str, Any], instruction_set: str, variant: int = 0) -> dict[str, Any]:
    """The need of a unit whose siblings ran as a variant on this instruction set, where results are only comparable within one.

    Another model of accelerator is no way to the same bits either. Variants are known by their numbers: those that are left out
    keep their place, for machines that there are none of.
    """
    variants = document["variants"]
    kept, model = ("any", instruction_set), _model(variants[variant])
    sets = [instruction_set if v["instruction_set"] in kept and _model(v) == model else NOBODYS for v in variants]
    return document | {"variants": [v | {"instruction_set": one} for v, one in zip(variants, sets, strict=True)]}


def _model(variant: Mapping[str, Any]) -> str | None:
    accelerator = variant["accelerator"]
    return None if accelerator is None else str(accelerator["model"])


def unit_cap(max_price: Decimal, fee: dict[str, Any], units: int) -> Decimal:
    """What of a task's price cap is left for one unit, the task's own fee taken off first."""
    return ((max_price - Decimal(str(fee["per_task"]))) / units).quantize(Decimal("1e-12"))

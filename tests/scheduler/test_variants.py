"""The same capability on machines of several kinds: the platform picks the variant that each pool runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.splitting import plan_of
from metering.models import UsageRecord
from metering.services import measure
from scheduler.matching import ClassState, Snapshot, decide
from scheduler.matching.arcs import column
from scheduler.matching.gangs import place_first
from scheduler.matching.market import Market
from scheduler.matching.misses import nearest
from scheduler.matching.rounding import Room
from scheduler.models import Attempt, Pace, Unit
from scheduler.needs import narrowed, of_variant
from scheduler.pace import of_samples, with_anywhere
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.snapshots import market
from scheduler.stored import snapshot_document, snapshot_from
from tests.builders import a_pool
from tests.builders_capabilities import PINNED, a_program
from tests.builders_capabilities import a_version as a_full_version
from tests.builders_tasks import FakeAgent, a_manifest, a_task, a_version
from tests.scheduler import values

GPU = {"accelerator": {"model": "a100"}, "run": ["gpu"], "resources": {"cores": 2}, "demand": {"tflop": "0.01"}}
ARM = {"instruction_set": "aarch64", "run": ["arm"], "env": {"NEON": "1"}}
ANY: dict[str, Any] = {}
CARDS = [{"model": "a100", "count": 2, "memory_mib": 40_960}]


def a_variant(tflop: str, *, cores: int = 1, cards: int = 0, instruction_set: str = "any", memory: int = 64) -> dict[str, Any]:
    """A variant as a need document holds it."""
    accelerators = [{"model": "a100", "count": cards}] if cards else []
    need = {"cores": cores, "memory_mib": memory, "disk_mib": 64, "accelerators": accelerators}
    card = accelerators[0] if cards else None
    return {"instruction_set": instruction_set, "accelerator": card, "need": need, "tflop": tflop}


def a_class(variants: list[dict[str, Any]], waiting: int = 1, **need: Any) -> ClassState:
    document = values.a_need(**need) | {"variants": variants, "need": variants[0]["need"], "tflop": variants[0]["tflop"]}
    return ClassState(1, document, waiting)


def test_a_manifest_whose_variants_differ_in_nothing_but_their_instruction_set_is_planned_as_ever() -> None:
    variants = [{"instruction_set": "x86_64"}, {"instruction_set": "aarch64"}]
    plan = plan_of(a_manifest(variants=variants), {"count": 2}, {})
    assert plan["variants"] == [{"instruction_set": one["instruction_set"], "accelerator": None} for one in variants]


def test_variants_that_differ_are_each_planned_whole() -> None:
    plan = plan_of(a_manifest(variants=[GPU, ARM, ANY], env={"A": "0"}), {"count": 2}, {})
    gpu, arm, anywhere = plan["variants"]
    assert (gpu["need"]["cores"], gpu["need"]["memory_mib"], gpu["tflop"], gpu["run"]) == (2, 64, "0.01", ["gpu"])
    assert gpu["need"]["accelerators"] == [{"model": "a100", "count": 1, "memory_mib": 0}]
    assert (arm["need"]["accelerators"], arm["tflop"], arm["env"]) == ([], "0.001", {"A": "0", "NEON": "1"})
    assert (anywhere["run"], anywhere["env"]) == (["true"], {"A": "0"})
    assert (plan["need"], plan["run"], plan["tflop"]) == (gpu["need"], ["gpu"], "0.01")


@pytest.mark.parametrize(
    ("variant", "field"),
    [
        ({"resources": {"cores": 0}}, "variants.0.resources.cores"),
        ({"demand": {"tflop": "nothing"}}, "variants.0.demand.tflop"),
        ({"run": [" "]}, "variants.0.run.0"),
        ({"requirements": "../x"}, "variants.0.requirements"),
        ({"speed": 3}, "variants.0.speed"),
    ],
)
def test_variants_that_cannot_be_are_refused(variant: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        a_manifest(variants=[variant])
    assert caught.value.field == field


@st.composite
def mixed_markets(draw: st.DrawFn) -> Snapshot:
    """Pools with and without accelerators of both instruction sets, and a class of up to three variants."""
    pools = [draw(values.pools(number)) for number in range(1, draw(st.integers(1, 8)) + 1)]
    variants = [
        a_variant(
            draw(st.sampled_from(["0.01", "0.1", "2"])),
            cores=draw(st.integers(1, 4)),
            cards=draw(st.integers(0, 1)),
            memory=draw(st.sampled_from([64, 1_000])),
            instruction_set=draw(st.sampled_from(["any", "x86_64", "aarch64"])),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    objective = draw(st.sampled_from(["cheapest", "fastest"]))
    return values.a_market([a_class(variants, draw(st.integers(1, 500)), objective=objective)], pools)


@given(mixed_markets())
def test_each_pool_runs_the_cheapest_variant_that_it_can_run_and_the_first_of_equals(snapshot: Snapshot) -> None:
    (one,) = snapshot.classes
    table = Market(snapshot)
    chosen = column(one, table)
    alone = []
    for number, variant in enumerate(one.document["variants"]):
        document = {**of_variant(one.document, number), "variants": [variant]}
        found = column(replace(one, document=document), table)
        alone.append(np.where(found.fits, found.cost(found.wait_s), np.inf))
    costs = np.array(alone)
    fits = np.isfinite(costs).any(axis=0)
    assert (chosen.fits == fits).all()
    assert (chosen.variant[fits] == np.argmin(costs, axis=0)[fits]).all()
    assert chosen.cost(chosen.wait_s)[fits] == pytest.approx(costs.min(axis=0)[fits])
    assert sum(chosen.excluded.values()) == int((~fits).sum())


@given(mixed_markets())
def test_no_pool_is_given_more_than_it_has_whatever_variants_run_there(snapshot: Snapshot) -> None:
    (one,) = snapshot.classes
    pools = {pool.id: pool for pool in snapshot.pools}
    for placement in decide(snapshot)[0].placements:
        need = one.document["variants"][placement.variant]["need"]
        pool, now = pools[placement.pool_id], placement.units - placement.ahead
        assert now * need["cores"] <= pool.cores + 1e-6
        assert now * need["memory_mib"] <= pool.memory_mib + 1e-6
        cards = dict(pool.accelerators).get("a100", 0)
        assert now * sum(card["count"] for card in need["accelerators"]) <= cards + 1e-6


def test_who_is_in_a_hurry_gets_the_accelerator_and_who_counts_money_does_not() -> None:
    pool = values.a_pool(accelerators=(("a100", 4),))
    prices = {1: {"core_second": 0.0001, "accelerator_second": 0.01}}
    variants = [a_variant("0.5", cards=1, cores=4), a_variant("1")]
    chosen = {}
    for objective in ("cheapest", "fastest"):
        snapshot = values.a_market([a_class(variants, objective=objective)], [pool], prices)
        chosen[objective] = decide(snapshot)[0].placements[0].variant
    assert chosen == {"cheapest": 1, "fastest": 0}


def test_what_one_variant_was_seen_to_take_says_nothing_of_another() -> None:
    pool = values.a_pool(accelerators=(("a100", 4),))
    one = a_class([a_variant("0.1", cards=1), a_variant("0.1")], objective="fastest")
    paces = with_anywhere({(1, 0, 0, 1): of_samples([(0.1, 50.0)] * 20)})
    snapshot = replace(values.a_market([one], [pool]), pace=paces)
    assert decide(snapshot)[0].placements[0].variant == 1


def test_a_pool_that_fits_no_variant_is_counted_for_what_is_nearest_to_fitting() -> None:
    pool = values.a_pool(cores=1)
    one = a_class([a_variant("0.1", instruction_set="aarch64"), a_variant("0.1", cores=2)])
    assert decide(values.a_market([one], [pool]))[0].excluded == {"cores": 1}


def test_a_gang_that_must_wait_is_promised_what_the_pools_own_variant_takes() -> None:
    big = values.a_pool(1, cores=64, accelerators=(("a100", 4),), shares=1.0, backlog_s=50.0, held=(("cores", 63.0),))
    small = values.a_pool(2, cores=2)
    one = a_class([a_variant("0.1", cores=2, cards=1), a_variant("0.1", cores=3)], waiting=4, gang=4, objective="fastest")
    market = Market(values.a_market([one], [big, small]))
    found = column(one, market)
    first = place_first([found], Room(market), 86_400.0)
    (row,) = first.promised
    assert market.pools[row].id == 1
    assert found.need_at(row)["cores"] == one.document["variants"][int(found.variant[row])]["need"]["cores"]
    assert market.unreserved["cores"][row] == 0.0


def test_misses_are_of_the_variant_that_a_pool_would_run() -> None:
    arm, intel = values.a_pool(1, instruction_set="aarch64", region="ningxia"), values.a_pool(2, cores=1, region="ningxia")
    variants = [a_variant("0.1", instruction_set="aarch64"), a_variant("0.1", cores=2, instruction_set="x86_64")]
    one = a_class(variants, regions=["guangdong"])
    lacks = {miss.pool: miss.lacks for miss in nearest(one, values.a_market([one], [arm, intel]))}
    assert lacks == {arm.identifier: ("region",), intel.identifier: ("cores", "region")}


def test_a_need_narrowed_to_an_instruction_set_keeps_the_numbers_of_its_variants() -> None:
    arm, anywhere, intel = (a_variant(f"0.{n}", instruction_set=name) for n, name in enumerate(("aarch64", "any", "x86_64"), 1))
    narrow = narrowed(dict(a_class([arm, anywhere, intel]).document), "x86_64")
    assert [variant["tflop"] for variant in narrow["variants"]] == ["0.1", "0.2", "0.3"]
    pools = [values.a_pool(1, instruction_set="aarch64"), values.a_pool(2, instruction_set="x86_64")]
    one = ClassState(1, narrow, 2)
    (decision,) = decide(values.a_market([one], pools))
    assert [(placed.pool_id, placed.variant) for placed in decision.placements] == [(2, 1)]
    assert decision.excluded == {"architecture": 1}


@given(mixed_markets())
def test_what_a_class_of_several_variants_was_given_is_decided_again_from_what_was_stored(snapshot: Snapshot) -> None:
    document = orjson.loads(orjson.dumps(snapshot_document(snapshot)))
    again = snapshot_from(document, {one.need_id: one.document for one in snapshot.classes})
    assert decide(again) == decide(snapshot)



@pytest.mark.django_db
def test_each_kind_of_pool_is_told_to_run_its_own_variant() -> None:
    arm, intel = a_pool(instruction_set="aarch64"), a_pool(accelerators=CARDS)
    slow = {"demand": {"tflop": "0.125"}}
    task = a_task(version=a_version(variants=[GPU | slow, ARM], **slow), inputs={"count": 6}, objective="fastest")
    assert run_round() == 6
    words = {}
    for pool in (arm, intel):
        agent = FakeAgent.of(pool)
        document = agent.beat(want=9).document()
        for spec in document["specs"].values():
            words[pool.pk] = (spec["run"], spec["env"], spec["need"]["cores"], len(spec["need"]["accelerators"]))
        agent.done(wall_ms=1_000)
    assert words[arm.pk] == (["arm"], {"NEON": "1"}, 1, 0)
    assert words[intel.pk] == (["gpu"], {}, 2, 1)
    assert set(Pace.objects.values_list("pool", "variant")) == {(arm.pk, 1), (intel.pk, 0)}
    assert {c["variant"] for d in explain_task(task)["decisions"] for c in d["candidates"]} == {0, 1}


@pytest.mark.django_db
def test_usage_and_load_count_what_the_variant_holds() -> None:
    pool = a_pool(accelerators=CARDS)
    a_task(version=a_version(variants=[ANY, GPU | {"demand": {"tflop": "0"}}]), inputs={"count": 1})
    Unit.objects.update(state="placed", pool=pool, variant=1)
    one = market([]).pools[0]
    assert dict(one.held) == {"cores": 2.0, "memory_mib": 64.0, "disk_mib": 64.0, "accelerator:a100": 1.0}
    agent = FakeAgent.of(pool)
    agent.beat(want=1)
    Attempt.objects.update(leased_at="2026-01-01T00:00:00Z")
    agent.done(wall_ms=1_000)
    measure()
    usage = UsageRecord.objects.get()
    assert usage.held_core_ms == 2_000
    assert usage.fp32_gflop == 0


@pytest.mark.django_db
def test_a_variants_own_requirements_are_installed_where_it_runs() -> None:
    other = PINNED.replace("2.0.0", "1.26.0")
    program = a_program({"render.py": "print(1)\n", "arm.txt": other, "requirements.txt": PINNED})
    variants = [{"instruction_set": "x86_64"}, {"instruction_set": "aarch64", "requirements": "arm.txt"}]
    version = a_full_version(
        program=program, requirements=PINNED, variants=variants, inputs={"type": "object"}, split=None, demand={"tflop": "1"}
    )
    pool = a_pool(instruction_set="aarch64")
    a_task(version=version)
    run_round()
    (spec,) = FakeAgent.of(pool).beat(want=1).document()["specs"].values()
    assert spec["environment"]["requirements"] == other
    assert spec["id"].endswith(":0:1")


@pytest.mark.django_db
def test_a_merge_runs_as_the_manifest_says_whatever_its_units_ran_as() -> None:
    pool = a_pool(accelerators=CARDS)
    merge = {"run": ["merge"], "outputs": []}
    task = a_task(version=a_version(variants=[GPU, ARM], merge=merge), inputs={"count": 1})
    Unit.objects.filter(task=task, stage=1).update(state="waiting")
    Unit.objects.filter(task=task, stage=0).update(state="cancelled")
    assert run_round() == 1
    (spec,) = FakeAgent.of(pool).beat(want=1).document()["specs"].values()
    assert (spec["run"], spec["env"], spec["need"]["accelerators"]) == (["merge"], {}, [])

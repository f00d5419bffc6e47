"""From an event to the index: pools and charges move a preview, every move names its cause, and a burst makes one recount."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.services import charge_tasks
from index import jobs
from index.models import IndexPreview, Observation, ObservationBatch, PreviewChange
from index.preview.counting import forget, recount
from index.preview.moving import ends, moment, moves
from index.trees import ROOT
from marketplace.models import Organization, Pool, Task
from marketplace.services.providers import move_pool
from tests.builders_billing import (
    Market,
    make_attempt,
    make_many_attempts,
    make_market,
    make_need,
    make_pool,
    make_task,
    make_usage,
)
from tests.index.builders_index import equal, shipped
from tests.index.test_live import province

DB = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def just_now(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charges are dated by the clock: NOW is the moment of the test, not that of the import, which may lie minutes before it."""
    moment = datetime.now(UTC).replace(microsecond=0)
    for name, value in {"NOW": moment, "LATER": moment + timedelta(minutes=5)}.items():
        monkeypatch.setattr(request.module, name, value)


@pytest.fixture
def market() -> Market:
    """bob's general pools in Ningxia and Guizhou; alice is in Shanghai. The first preview is made."""
    found = make_market(rates={"core_second": "1"})
    for code, gb in (("guizhou", "520000"), ("shanghai", "310000")):
        province(code, gb)
    fields = {"fp32_mflops": 10**9, "verified_at": NOW - timedelta(days=1)}
    Pool.objects.filter(pk=found.pool.pk).update(region=province("ningxia", "640000"), **fields)
    other = make_pool(found.bob, **fields | {"fp32_mflops": 3 * 10**9})
    Pool.objects.filter(pk=other.pk).update(region=province("guizhou", "520000"))
    Organization.objects.filter(pk=found.alice.pk).update(region=province("shanghai", "310000"), industry="I")
    found.alice.refresh_from_db()
    assert recount(NOW)
    return found


def settled(market: Market, core_ms: int = 3_000) -> Task:
    task = make_task(market, ended_at=NOW)
    attempt = make_attempt(market, task, make_need(), leased_at=NOW - timedelta(minutes=5), ended_at=NOW)
    make_usage(market, task, attempt, core_ms=core_ms, fp32_gflop=Decimal("7.5"), measured_at=NOW)
    assert charge_tasks([task.pk])
    return task


def changes(preview: IndexPreview | None) -> dict[tuple[str, str], PreviewChange]:
    assert preview
    return {(one.region, one.leaf): one for one in preview.changes.all()}


@DB
def test_a_pool_that_begins_moves_the_scale_of_its_province_and_is_named(market: Market) -> None:
    pool = make_pool(market.bob, fp32_mflops=800_000_000, verified_at=NOW)
    found = changes(recount(LATER))
    scale = found["640000", "A11"]
    assert (scale.cause, scale.causes) == ("pools", {"pools": [pool.pk], "n": 1})
    told = "because Ningxia General service scale +800 TFLOPS (a pool came, went or changed)"
    assert scale.sentence == f"+40.00 in General-purpose compute service rate {told}", "between the ends of 1 and 3 PFLOPS"
    assert [scale.before, scale.after, scale.points] == [0, 40, 40]
    assert scale.variables == [
        {"variable": "live_fp32_general", "before": "1000000000000000.000000000000", "after": "1800000000000000.000000000000"}
    ]
    assert ("520000", "A11") not in found, "by fixed ends nobody else moves"


@DB
def test_settled_tasks_move_revenue_where_they_ran_and_customers_where_those_are(market: Market) -> None:
    settled(market)
    found = changes(recount(LATER))
    revenue, customers = found["640000", "C12"], found["310000", "D11"]
    assert revenue.causes["charges"] | {"after": 0, "until": 0} == {"after": 0, "until": 0, "n": 1, "tasks": 1, "side": "site"}
    assert (customers.cause, customers.causes["charges"]["side"]) == ("charges", "customer")
    assert revenue.sentence == "Does not count yet: Ningxia Revenue contribution is known now: 3 CNY (1 charge of 1 task)"
    assert "alice" not in "".join(one.sentence for one in found.values())


@DB
def test_ten_thousand_charges_are_one_recount_of_as_many_statements_as_one_charge(market: Market) -> None:
    settled(market)
    with CaptureQueriesContext(connection) as few:
        first = recount(LATER)
    many(market, 10_000)
    for _ in range(3):
        with CaptureQueriesContext(connection) as more:
            found = recount(LATER + timedelta(minutes=5))
        if found is not None:
            assert len(more) == len(few)
            assert changes(found)["640000", "C12"].causes["charges"]["n"] == 10_000
    assert first
    assert IndexPreview.objects.count() == 3


def many(market: Market, count: int) -> None:
    task = make_task(market, ended_at=NOW, units=count)
    make_many_attempts(market, task, make_need(), count)
    with connection.cursor() as cursor:
        cursor.execute(_MEASURED, [market.bob.pk, market.carol.pk, NOW, task.pk])
        cursor.execute("DELETE FROM scheduler_ended")
    assert charge_tasks([task.pk])


_MEASURED = """
INSERT INTO metering_usagerecord (attempt_id, task_id, organization_id, provider_id, publisher_id, pool_id, offer_id,
       capability_version_id, stage, outcome, reason_class, started_at, ended_at, wall_ms, core_ms, held_core_ms, memory_mib_ms,
       accelerator_ms, accelerators, fp32_gflop, bytes_in, bytes_out, flags, measured_at, revision)
SELECT attempt.id, task.id, task.organization_id, %s, %s, attempt.pool_id, attempt.offer_id, task.capability_version_id, 0,
       'valid', '', attempt.leased_at, attempt.ended_at, 2000, 1500, 2000, 1000, 0, 0, 1, 0, 0, '{}', %s, 0
  FROM scheduler_attempt attempt JOIN marketplace_task task ON task.id = attempt.task_id WHERE task.id = %s"""


@DB
def test_a_lost_wake_is_found_by_the_sweep_and_where_nothing_came_nothing_is_counted(market: Market) -> None:
    assert recount(LATER) is None, "nothing happened"
    settled(market)
    assert recount(NOW + timedelta(seconds=5)) is None, "it is too soon"
    IndexPreview.objects.all()
    assert recount(LATER)
    assert recount(LATER + timedelta(minutes=1)) is None
    move_pool(market.pool, "drain")
    jobs.preview_job()
    with CaptureQueriesContext(connection) as idle:
        assert recount(LATER + timedelta(minutes=2)) is None
    assert len([one for one in idle if "marketplace_" in one["sql"]]) == 1, "only the marks are read"


@DB
def test_a_charge_that_commits_after_a_later_one_is_not_missed(market: Market) -> None:
    settled(market)
    last = recount(LATER)
    assert last
    last.marks = [[name, text, number, n - (name == "mark/charges")] for name, text, number, n in last.marks]
    last.pk, last.counted_at = None, LATER + timedelta(minutes=1)
    last.save(force_insert=True)  # as if it had seen one less with the same last number
    assert recount(LATER + timedelta(minutes=2))


@DB
def test_activating_and_charging_wake_the_recount(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    from marketplace.services import providers

    woken: list[str] = []
    monkeypatch.setattr(providers, "wake", lambda job, **_: woken.append(job))
    move_pool(market.pool, "drain")
    assert "index.preview" in woken


@DB
def test_previews_stay_apart_from_observations_and_never_change(market: Market) -> None:
    settled(market)
    last = recount(LATER)
    assert last
    assert not Observation.objects.exists()
    assert not ObservationBatch.objects.exists()
    assert IndexPreview.objects.exclude(document=None).get() == last, "the one before gave its document back"
    for refused in (
        lambda: IndexPreview.objects.filter(pk=last.pk).update(scores={}),
        lambda: PreviewChange.objects.update(sentence="nothing"),
        lambda: PreviewChange.objects.all().delete(),
        lambda: last.delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            refused()
    old = IndexPreview(**{name: getattr(last, name) for name in ("definition", "weights", "period", "posts", "marks", "scores")})
    old.counted_at, old.took_ms = NOW - timedelta(days=70), 1
    old.save()
    PreviewChange.objects.create(preview=old, region="640000", leaf="A11", sentence="long ago")
    assert forget(NOW) == 0, "it is the newest"
    settled(market)
    assert recount(LATER + timedelta(minutes=9))
    assert forget(NOW) == 1


@DB
def test_a_new_month_begins_anew(market: Market) -> None:
    settled(market)
    following = (NOW.replace(day=1) + timedelta(days=40)).replace(day=2)
    found = recount(following)
    assert found
    assert found.period == f"{following:%Y-%m}"
    assert not found.changes.exists(), "two months are not compared"


def test_the_parts_of_every_change_add_up_to_it() -> None:
    tree, draw = shipped(), Random(7)
    weights = equal(tree)
    live = [code for code, one in tree.variables.items() if one.profile == "platform"]
    regions = ["110000", "310000", "520000", "640000"]

    def counted() -> dict[str, dict[str, Decimal]]:
        return {
            code: {region: Decimal(draw.randrange(1, 10**6)) / 7 for region in regions if draw.random() < 0.93} for code in live
        }

    checked = 0
    for _ in range(30):
        one, other = counted(), counted()
        posts = ends({}, moment(tree, weights, one, {}).result.raw)
        before = moment(tree, weights, one, posts)
        after = moment(tree, weights, other, ends(posts, moment(tree, weights, other, posts).result.raw))
        sums: dict[tuple[str, str], Decimal] = {}
        told: dict[tuple[str, str], Decimal] = {}
        for move in moves(tree, before, after):
            if move.points is not None:
                sums[move.region, move.node] = sums.get((move.region, move.node), Decimal(0)) + move.points
                told[move.region, move.node] = (move.after or Decimal(0)) - (move.before or Decimal(0))
        assert sums == told
        checked += sum(node == ROOT for _, node in sums)
    assert checked > 10

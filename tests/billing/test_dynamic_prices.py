"""Dynamic rates over HTTP: a full market's round makes a price, it is frozen with what was placed, and the charge follows it."""

from __future__ import annotations

import copy
import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rich.console import Console

from billing.correcting import correct_usage
from billing.models import Charge
from billing.periods.imagining import candidate_of, compare
from billing.services import charge_tasks, refresh_costs
from gridfare.cli.views import quote_view
from gridfare.evidence import _lines as check_lines
from marketplace.dynamic import Signal, parse, price_of
from marketplace.models import Offer, Pool, Task
from marketplace.services.round_prices import freeze_prices
from metering.services import measure
from scheduler.models import Attempt, MarketPrice, Round, Unit
from scheduler.scene import scene
from scheduler.services.placing import replay_round, run_round
from tests import builders as build
from tests.billing.test_focus_export import an_invoiced_month
from tests.billing.test_statements import market  # noqa: F401  the cast's market
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_http import problem_of
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

pytestmark = pytest.mark.django_db
DYNAMIC = {"model": "dynamic", "multiplier": "0.5", "floor": "0.000001", "ceiling": "0.01"}


def offer(pool: Pool, **changes: Any) -> Any:
    terms = {"basis": "consumption", "rates": {"core_second": DYNAMIC | changes, "gb_moved": "0.5"}}
    return build.client_of(build.bob()).post(f"/api/v1/pools/{pool.identifier}/offers", terms)


@pytest.fixture
def pool() -> Pool:
    """A pool of bob's, with a dynamic rate, and an agent."""
    made = build.a_pool(cores=2)
    made.offers.all().delete()
    assert offer(made).status_code == 201
    return made


def a_crowd(count: int) -> Task:
    version = a_version(demand={"tflop": "0.125"})
    return a_task(build.alice(), version=version, inputs={"count": count})


def ran_for(seconds: int, agent: FakeAgent) -> None:
    """What runs was leased so long ago, and is done."""
    Attempt.objects.filter(state__in=Attempt.LIVE).update(leased_at=F("leased_at") - timedelta(seconds=seconds))
    agent.done(wall_ms=1000 * seconds)


def to_the_end(task: Task, agent: FakeAgent) -> None:
    run_to_end(task, agent, wall_ms=5)
    measure()
    assert charge_tasks([task.pk])


def frozen_of(pool: Pool) -> list[Offer]:
    return list(Offer.objects.filter(pool=pool, origin__isnull=False).order_by("round").prefetch_related("rates"))


def price(of: Offer, meter: str = "core_second") -> Decimal:
    return next(rate.unit_price for rate in of.rates.all() if rate.meter == meter)


def test_a_full_market_makes_a_price_above_the_floor_and_the_charge_equals_it(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    assert run_round()
    shadow = MarketPrice.objects.get(pool=pool, resource="cores")
    agent.beat(want=10)
    ran_for(10, agent)
    measure()
    to_the_end(task, agent)

    charge = Charge.objects.filter(task=task).earliest("pk")
    proof = build.client_of(build.alice()).get(f"/api/v1/charges/{charge.pk}/evidence").json()
    this, told = proof["price"]["market"], proof["price"]["market"]["rates"]["core_second"]
    expected = price_of(parse(DYNAMIC, "", "core_second"), Decimal(str(shadow.price)), Decimal(this["seconds"]))
    assert Decimal("0.000001") < expected < Decimal("0.01")
    assert Decimal(told["price"]) == expected == Decimal(proof["price"]["rates"]["core_second"])
    (line,) = [line for line in charge.lines if line["meter"] == "core_second"]
    assert (Decimal(line["quantity"]), Decimal(line["unit_price"])) == (Decimal(10), expected)
    fee = Decimal(next((line["amount"] for line in charge.lines if line["meter"] == "publisher_fee"), "0"))
    assert charge.amount_micros == int((10 * expected) * 10**6 + Decimal("0.5")) + int(fee * 10**6)
    assert proof["price"]["offer"] == pool.offers.get(origin=None).pk
    assert this["round"] == Unit.objects.filter(task=task).earliest("pk").decision.round_id  # type: ignore[union-attr]
    assert list(check_lines(proof, Decimal(proof["amount"]))) == []


def test_a_later_round_never_touches_what_is_placed(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    run_round()
    agent.beat(want=10)
    first = dict(Attempt.objects.filter(offer__rates__meter="core_second").values_list("pk", "offer__rates__unit_price"))
    assert min(first.values()) > Decimal("0.000001")
    ran_for(10, agent)
    assert offer(pool, floor="0.009").status_code == 201  # of tasks from now on
    Pool.objects.filter(pk=pool.pk).update(cores=8)  # and there is room for all that is left
    assert run_round()
    agent.beat(want=10)
    later = Attempt.objects.filter(state="leased", offer__rates__meter="core_second").values_list(
        "offer__rates__unit_price", flat=True
    )
    assert {Decimal("0.000001")} == set(later) != set(first.values())
    to_the_end(task, agent)
    charged = Charge.objects.filter(usage__attempt__in=first)
    assert len(charged) == len(first)
    for charge in charged:
        (line,) = [line for line in charge.lines if line["meter"] == "core_second"]
        assert Decimal(line["unit_price"]) == first[charge.usage.attempt_id]  # type: ignore[union-attr]


def test_a_pool_with_room_costs_the_floor(pool: Pool) -> None:
    task, agent = a_crowd(1), FakeAgent.of(pool)
    to_the_end(task, agent)
    (frozen,) = frozen_of(pool)
    assert price(frozen) == Decimal("0.000001")
    assert frozen.market is not None
    assert frozen.market["rates"]["core_second"]["shadow"] == "0"
    assert price(frozen, "gb_moved") == Decimal("0.5")


def test_what_a_running_task_costs_so_far_is_counted_by_its_rounds_prices(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    run_round()
    agent.beat(want=10)
    ran_for(10, agent)
    run_round()
    measure()
    assert refresh_costs()
    so_far = Task.objects.get(pk=task.pk).cost_micros
    attempts = Attempt.objects.filter(state="valid", offer__rates__meter="core_second").values_list(
        "offer__rates__unit_price", flat=True
    )
    fees = Attempt.objects.filter(state="valid").count() * int(Decimal(task.terms["fee_per_unit"]) * 10**6)
    assert so_far == sum(int(10 * one * 10**6 + Decimal("0.5")) for one in attempts) + fees


def test_the_round_can_be_decided_again_and_the_scene_does_not_see_what_it_froze(pool: Pool) -> None:
    a_crowd(10)
    run_round()
    this = Round.objects.get()
    assert sum(p.units for one in replay_round(this) for p in one.placements) == this.placed
    before, agent = scene(), FakeAgent.of(pool)
    agent.beat(want=10)
    agent.done()
    assert run_round()
    assert scene() is before
    assert len(frozen_of(pool)) == 2
    listed = build.client_of(build.bob()).get(f"/api/v1/pools/{pool.identifier}/offers").json()["results"]
    assert [(one["rates"]["core_second"], one["documents"]["core_second"], one["used"]) for one in listed] == [
        ("0.01", DYNAMIC, True)
    ]


def test_what_a_round_froze_never_changes(pool: Pool) -> None:
    a_crowd(10)
    run_round()
    for one in (*frozen_of(pool), pool.offers.get(origin=None)):
        for change in ({"market": {}}, {"round": 99}, {"basis": "result"}):
            with pytest.raises(DatabaseError), transaction.atomic():
                Offer.objects.filter(pk=one.pk).update(**change)
        with pytest.raises(DatabaseError), transaction.atomic():
            one.rates.update(unit_price=1)


def test_prices_are_frozen_in_as_many_statements_for_many_pools_as_for_one(pool: Pool) -> None:
    for _ in range(3):
        more = build.a_pool(cores=2)
        more.offers.all().delete()
        offer(more)
    a_crowd(40)
    with CaptureQueriesContext(connection) as many:
        run_round()
    written = [query["sql"] for query in many if '"marketplace_' in query["sql"].partition("WHERE")[0]]
    assert len([sql for sql in written if sql.startswith(("INSERT", "UPDATE"))]) == 3
    assert Offer.objects.exclude(origin=None).count() == 4


def test_a_month_in_focus_says_dynamic_of_what_a_round_priced(market: Market) -> None:  # noqa: F811
    listed = market.offer
    listed.rates.filter(meter="core_second").update(document=DYNAMIC)
    frozen = freeze_prices({listed.pk: Signal(Decimal(2), {"cores": Decimal("0.02")})}, 7, timezone.now())
    market.offer = Offer.objects.get(pk=frozen[listed.pk])
    an_invoiced_month(market)
    answer = build.client_of(build.alice()).get("/api/v1/exports/focus?month=2026-03&format=csv")
    found = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    told = {
        row["SkuMeter"]: (row["PricingCategory"], row["ContractedUnitPrice"], row["SkuPriceId"]) for row in found if row["SkuMeter"]
    }
    assert told["CPU Time"] == ("Dynamic", "0.005", f"offer-{listed.pk}/core_second")
    assert told["Publisher Fee"][0] == "Standard"


def test_the_example_of_the_documentation_comes_out() -> None:
    rate = parse(DYNAMIC | {"multiplier": "1.2", "floor": "0.0001", "ceiling": "0.002"}, "", "core_second")
    found = [100 * price_of(rate, Decimal(shadow), Decimal(60)) for shadow in ("0.05", "0", "0.2")]
    assert found == [Decimal("0.10"), Decimal("0.01"), Decimal("0.20")]
    text = (Path(__file__).parents[2] / "docs/billing/prices.md").read_text()
    assert "0.05 / 60 · 1.2 = 0.001 yuan" in text


def test_what_if_tries_a_pools_dynamic_rate(pool: Pool) -> None:
    body = {"month": "2026-03", "prices": [{"pool": pool.identifier}]}
    (candidate,) = build.client_of(build.alice()).post("/api/v1/what-if", body).json()["candidates"]
    assert candidate["price"]["rates"]["core_second"] == parse(DYNAMIC, "", "core_second").document()


def tried(market: Market, rates: dict[str, Any]) -> str:  # noqa: F811
    """What alice's March would have come to."""
    (outcome,) = compare(market.alice, date(2026, 3, 1), [candidate_of("x", "consumption", rates, {})])["candidates"]
    total: str = outcome["total"]
    return total


def a_charged_usage(market: Market) -> str:  # noqa: F811
    """1.5 core-seconds at the market's offer: what they cost, without the publisher's fee."""
    task = make_task(market)
    make_usage(market, task, make_attempt(market, task, make_need()))
    assert charge_tasks([task.pk])
    total: str = compare(market.alice, date(2026, 3, 1), [])["actual"]["total"]
    return total


def test_what_if_of_the_same_dynamic_rate_is_what_was_charged_and_of_another_what_its_rounds_make_of_it() -> None:
    market = make_market(rates={"core_second": "0.1"})  # noqa: F811
    market.offer.rates.update(document=DYNAMIC)
    frozen = freeze_prices({market.offer.pk: Signal(Decimal(2), {"cores": Decimal("0.02")})}, 7, timezone.now())
    market.offer = Offer.objects.get(pk=frozen[market.offer.pk])
    assert a_charged_usage(market) == tried(market, {"core_second": DYNAMIC}) == "0.007500"
    assert tried(market, {"core_second": DYNAMIC | {"multiplier": "0.8"}}) == "0.012000"
    assert tried(market, {"core_second": DYNAMIC | {"multiplier": "9"}}) == "0.015000"


def test_what_if_counts_the_ceiling_of_what_was_placed_without_a_rounds_numbers() -> None:
    market = make_market(rates={"core_second": "0.1"})  # noqa: F811
    assert a_charged_usage(market) == "0.150000"
    assert tried(market, {"core_second": DYNAMIC, "gb_moved": "0"}) == "0.015000"


def test_a_dynamic_rate_cannot_be_tried_in_a_list_by_month() -> None:
    body = {"month": "2026-03", "prices": [{"basis": "monthly_peak", "rates": {"held_cores": "1", "gb_moved": DYNAMIC}}]}
    answer = build.client_of(build.alice()).post("/api/v1/what-if", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "rates_invalid")


def test_a_changed_round_price_is_found_without_the_platform(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    run_round()
    agent.beat(want=10)
    ran_for(10, agent)
    to_the_end(task, agent)
    charge = Charge.objects.filter(task=task).earliest("pk")
    proof = build.client_of(build.alice()).get(f"/api/v1/charges/{charge.pk}/evidence").json()
    assert list(check_lines(proof, Decimal(proof["amount"]))) == []
    for member in ("shadow", "multiplier", "floor", "price"):
        told = copy.deepcopy(proof)
        told["price"]["market"]["rates"]["core_second"][member] = "0.0099"
        assert list(check_lines(told, Decimal(told["amount"])))


def test_a_quote_counts_the_ceiling_and_tells_the_bounds_and_the_last_price(pool: Pool) -> None:
    version, alice = a_version(demand={"tflop": "0.125"}), build.client_of(build.alice())
    body = {"capability": f"{version.capability.organization.slug}/{version.capability.name}", "inputs": {"count": 10}}
    option = alice.post("/api/v1/quotes", body).json()["cheapest"]
    (told,) = option["pools"]
    bounds = {name: DYNAMIC[name] for name in ("multiplier", "floor", "ceiling")}
    assert told["dynamic"] == {"core_second": bounds | {"last": None, "at": None}}
    fees = 10 * Decimal(a_task(build.alice(), version=version, inputs={"count": 10}).terms["fee_per_unit"])
    assert Decimal(option["price"]) == 10 * Decimal("2.5") * Decimal("0.01") + fees  # 2.5 s each
    run_round()
    quote = alice.post("/api/v1/quotes", body).json()
    ((_, last),) = [(one.pk, price(one)) for one in frozen_of(pool)]
    told = quote["cheapest"]["pools"][0]["dynamic"]["core_second"]
    assert (Decimal(told["last"]), told["at"]) == (last, Round.objects.get().at.isoformat())
    shown = io.StringIO()
    Console(width=200, file=shown).print(quote_view(quote))
    assert f"core second follows the market, 0.000001 to 0.01, last {told['last']}" in shown.getvalue()


def test_people_see_the_bounds_on_the_market_and_the_round_on_a_charge(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    run_round()
    agent.beat(want=10)
    ran_for(10, agent)
    to_the_end(task, agent)
    person = Client()
    person.force_login(build.alice().user)
    assert "core second follows the market from" in person.get("/market/").content.decode()
    charge = Charge.objects.filter(task=task).earliest("pk")
    page = person.get(f"/charges/{charge.pk}/").content.decode()
    assert f"round no. {frozen_of(pool)[0].round}" in page


def test_a_corrected_record_is_rated_by_the_same_rounds_price(pool: Pool) -> None:
    task, agent = a_crowd(10), FakeAgent.of(pool)
    run_round()
    agent.beat(want=10)
    ran_for(10, agent)
    to_the_end(task, agent)
    charge = Charge.objects.filter(task=task).earliest("pk")
    correct_usage(charge.usage_id, {"core_ms": 4000})  # type: ignore[arg-type]
    delta = Charge.objects.get(kind="delta")
    unit = price(frozen_of(pool)[0])
    assert delta.amount_micros == round_half_up(4 * unit) - round_half_up(10 * unit)


def round_half_up(amount: Decimal) -> int:
    return int(amount * 10**6 + Decimal("0.5"))


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"floor": "0.02"}, "rates.core_second.floor"),
        ({"floor": "-1"}, "rates.core_second.floor"),
        ({"ceiling": "0.0000000000001"}, "rates.core_second.ceiling"),
        ({"tiers": []}, "rates.core_second.tiers"),
    ],
)
def test_a_bad_rate_is_refused_and_nothing_is_written(pool: Pool, terms: dict[str, Any], field: str) -> None:
    before = Offer.objects.count()
    assert problem_of(offer(pool, **terms)) == (422, "rates_invalid", field)
    assert Offer.objects.count() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": {"quantum_s": 60}},
        {"basis": "monthly_peak"},
        {"customer": "?"},
        {"rates": {"core_second": DYNAMIC, "gb_moved": DYNAMIC}},
    ],
)
def test_a_dynamic_rate_is_charged_task_by_task_only(pool: Pool, changes: dict[str, Any]) -> None:
    terms = {"basis": "consumption", "rates": {"core_second": DYNAMIC}} | changes
    if "customer" in terms:
        terms["customer"] = build.alice().organization.slug
    answer = build.client_of(build.bob()).post(f"/api/v1/pools/{pool.identifier}/offers", terms)
    assert problem_of(answer)[:2] == (422, "rates_invalid")

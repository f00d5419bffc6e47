"""What pools report themselves is charged with the month: by every basis, by the price then in force, only by agreement."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test.utils import CaptureQueriesContext

from billing.invoices.months import _rate, rate_months
from billing.models import ParkedPeriod, PeriodCharge, RatedMonth, Subscription
from billing.periods import correct_periods, rate_periods, safe_cutoff
from billing.periods.events import Span, spans_of, within
from billing.periods.evidence import evidence_of_period
from billing.periods.imagining import Candidate, compare
from billing.periods.prices import parse_price
from billing.periods.reading import months_of
from billing.periods.subscriptions import subscribe, unsubscribe
from billing.periods.unbilled import unbilled_of
from billing.queries import is_balanced, trial_balance
from core.errors import Conflict, Invalid
from core.money import text_of
from marketplace.models import Contract, Offer, Organization
from marketplace.services.offers import read_terms
from metering.events.correcting import correct_events
from metering.events.deciding import accept_event
from metering.events.rollups import rebuild
from metering.events.storing import take
from metering.models import QuarantinedEvent
from metering.peaks import Day
from tests import builders as build
from tests.builders_billing import Market
from tests.builders_periods import MARCH, SHANGHAI, amount, at, close, period_market, period_offer, used
from tests.builders_usage import an_event

pytestmark = pytest.mark.django_db
GPU = {"events": {"gpu_hour": "hour"}}
HOURS = {"core_second": "0.01", "gpu_hour": "3"}


def agreed(market: Market, since: datetime | None = None, until: datetime | None = None) -> Subscription:
    valid = DateTimeTZRange(since or datetime(2026, 1, 1, tzinfo=UTC), until)
    return Subscription.objects.create(organization=market.alice, pool=market.pool, valid=valid)


def report(market: Market, when: str, accepted: datetime | None = None, **changes: Any) -> None:
    moment = at(when)
    event = an_event(market.pool, market.alice, time=moment, **changes)
    [answer] = take(market.bob, [event], now=accepted or moment + timedelta(minutes=1)).answers
    assert answer.status == "accepted", answer


def report_late(market: Market, when: str, **changes: Any) -> None:
    """Too old to be taken unseen: an operator accepts it, now."""
    take(market.bob, [an_event(market.pool, market.alice, time=at(when), **changes)])
    accept_event(QuarantinedEvent.objects.latest("pk").pk, build.olga().user)


def metered_market(rules: dict[str, Any] | None = None, rates: dict[str, Any] | None = None, basis: str = "consumption") -> Market:
    market = period_market(basis, rates or HOURS, rules or GPU)
    agreed(market)
    return market


def charged() -> dict[str, tuple[Decimal, int]]:
    return {one.meter: (one.billed, one.total_micros) for one in PeriodCharge.objects.all()}


def test_what_a_pool_reports_is_charged_by_its_list() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", quantity="1.5")
    report(market, "2026-03-31 23:59", quantity="0.5")
    report(market, "2026-04-01 00:00", quantity="7")
    close(market)
    assert charged() == {"gpu_hour": (Decimal(2), amount("6"))}
    assert is_balanced(trial_balance())


def test_nobody_pays_for_what_is_reported_without_having_agreed() -> None:
    market = period_market("consumption", HOURS, GPU)
    report(market, "2026-03-03 10:00")
    close(market)
    assert not PeriodCharge.objects.exists()


def test_only_the_time_of_the_subscription_counts() -> None:
    market = period_market("consumption", HOURS, GPU)
    agreed(market, at("2026-03-03 00:00"), at("2026-03-05 00:00"))
    for day in (2, 3, 4, 5):
        report(market, f"2026-03-0{day} 00:00", quantity=str(10**day))
    close(market)
    assert charged()["gpu_hour"][0] == 11_000


def test_another_unit_or_meter_is_not_guessed() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", unit="minute")
    report(market, "2026-03-03 10:00", type="licence")
    close(market)
    assert not PeriodCharge.objects.exists()


def test_what_is_reported_and_what_was_measured_fill_the_same_tiers() -> None:
    tiers = {"model": "graduated", "tiers": [{"up_to": "1000", "price": "0.02"}, {"price": "0.01"}]}
    market = metered_market({"events": {"core_second": "second"}}, {"core_second": tiers})
    used(market, at("2026-03-03 10:00"), 800)
    report(market, "2026-03-03 10:00", type="core_second", unit="second", quantity="800")
    close(market)
    assert charged() == {"core_second": (Decimal(1600), amount("26"))}


def test_each_event_is_charged_by_the_list_in_force_when_it_happened_and_ones_own_stands_first() -> None:
    market = period_market("consumption", HOURS, GPU, end=at("2026-03-11 00:00"))
    agreed(market)
    period_offer(market.pool, "consumption", HOURS | {"gpu_hour": "5"}, GPU, start=at("2026-03-11 00:00"))
    period_offer(
        market.pool, "consumption", HOURS | {"gpu_hour": "1"}, GPU, at("2026-03-20 00:00"), at("2026-03-21 00:00"), market.alice
    )
    for day in (10, 11, 20, 21):
        report(market, f"2026-03-{day} 12:00")
    close(market)
    assert sorted(PeriodCharge.objects.values_list("amount_micros", flat=True)) == [amount("1"), amount("3"), amount("10")]


def test_an_occupation_is_billed_in_whole_quanta_and_a_counter_goes_on_over_the_end_of_a_month() -> None:
    rules = {"quantum_s": 3600, "minimum_s": 7200, "events": {"occupancy_second": "second"}}
    market = metered_market(rules, {"occupancy_second": "0.01"}, "occupancy")
    said: dict[str, Any] = {"type": "occupancy_second", "unit": "second"}
    report(market, "2026-03-03 10:00", quantity="100", **said)
    for seq, (when, value) in enumerate((("2026-03-31 23:00", "600"), ("2026-04-01 01:00", "8000"))):
        report(market, when, value=value, boot_id="a", seq=seq, **said)
    close(market)
    close(market, date(2026, 4, 1))
    march, april = PeriodCharge.objects.order_by("period")
    assert (march.raw, march.billed) == (Decimal(700), Decimal(7200 + 7200))
    assert (april.raw, april.billed) == (Decimal(7400), Decimal(3 * 3600 - 7200))


def whole_days(market: Market, samples: dict[int, str], source: str = "/bob/meter", **changes: Any) -> None:
    """A sample in every slot of these days of March; 5 in the 100th slot of each instead."""
    events = [
        an_event(market.pool, market.alice, time=at(f"2026-03-{day:02} 00:00") + slot * timedelta(minutes=5), source=source,
                 type="bandwidth", unit="Mbit/s", gauge="5" if slot == 100 else sample, **changes)
        for day, sample in samples.items() for slot in range(288)
    ]  # fmt: skip
    answers = take(market.bob, events, now=at("2026-04-01 00:00")).answers
    assert {one.status for one in answers} == {"accepted"}


def peak_market(kind: str, basis: str = "monthly_peak", **rules: Any) -> Market:
    events = {"events": {"bandwidth": "Mbit/s"}}
    return metered_market({"peak": {"kind": kind} | rules, **events}, {"held_cores": "9", "bandwidth": "10"}, basis)


POLICIES: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("day_max", {}, "100"),
    ("day_kth", {"k": 2}, "50"),
    ("day_p95", {}, "50"),
    ("month_max", {}, "50"),
    ("month_mean_day_peak", {"day": "day_kth", "day_k": 2}, "25"),
    ("month_topk_mean", {"k": 1, "day": "day_p95"}, "30"),
    ("month_p95", {}, "30"),
    ("month_max", {"day_factor": True}, "3.225806"),
    ("month_max", {"whole": True, "slot_stat": "max"}, "50"),
]


def test_every_peak_policy_charges_what_was_sampled() -> None:
    market = peak_market("month_max")
    whole_days(market, {3: "2", 4: "3"})
    Offer.objects.update(valid=DateTimeTZRange(at("2026-01-01 00:00"), at("2026-02-01 00:00")))
    costs = []
    for kind, rules, _ in POLICIES:
        with transaction.atomic():
            basis = "daily_peak" if kind.startswith("day") else "monthly_peak"
            said = {"peak": {"kind": kind} | rules, "events": {"bandwidth": "Mbit/s"}}
            period_offer(market.pool, basis, {"held_cores": "9", "bandwidth": "10"}, said, start=at("2026-02-01 00:00"))
            close(market)
            costs.append((kind, rules, text_of(PeriodCharge.objects.get().total_micros).rstrip("0").rstrip(".")))
            transaction.set_rollback(True)
        rebuild()  # the first is of days made as of the cutoff, the others of days that are kept
    assert costs == POLICIES


def test_slots_that_nobody_vouches_for_park_the_charge() -> None:
    market = peak_market("month_max")
    for minute in (0, 30):
        report(market, f"2026-03-03 10:{minute:02}", type="bandwidth", unit="Mbit/s", gauge="5")
    assert (close(market).parked, ParkedPeriod.objects.get().reason) == (1, "unknown")


def test_a_price_that_changes_at_noon_takes_the_slots_of_its_own_half_of_the_day() -> None:
    days = [Day(date(2026, 3, 3), (1,) * 144 + (None,) + (7,) * 143), Day(date(2026, 3, 4), (9,) * 288)]
    market = peak_market("month_max")
    report(market, "2026-03-03 10:00", type="bandwidth", unit="Mbit/s", gauge="5")
    noon = agreed_span(market, "2026-03-03 12:00", "2026-03-04 00:00")
    assert within(days, [noon], SHANGHAI) == [Day(date(2026, 3, 3), (0,) * 144 + (None,) + (7,) * 143)]


def agreed_span(market: Market, since: str, until: str) -> Span:
    months, _ = months_of([market.alice.pk], MARCH)
    [span] = spans_of(months)
    return span._replace(since=at(since), until=at(until))


def test_days_are_those_of_the_months_own_zone_even_after_the_customer_moved() -> None:
    market = peak_market("day_max", "daily_peak")
    zone = {"zone": "Asia/Shanghai", "currency": "CNY", "grace_days": 1, "due_days": 1}
    valid = DateTimeTZRange(at("2026-01-01 00:00"), at("2026-06-01 00:00"))
    Contract.objects.create(organization=market.alice, valid=valid, signed_at=valid.lower, **zone)
    Organization.objects.filter(pk=market.alice.pk).update(zone="America/New_York")
    whole_days(market, {3: "2"})
    rebuild()
    close(market)
    assert PeriodCharge.objects.get().evidence["peaks"][0]["winners"][0]["local_day"] == "2026-03-03"
    assert PeriodCharge.objects.get().zone == "Asia/Shanghai"


# Late, corrected, provable.


def test_late_events_are_rated_with_the_rest_and_the_difference_is_billed() -> None:
    tiers = {"model": "graduated", "tiers": [{"up_to": "2", "price": "3"}, {"price": "1"}]}
    market = metered_market(rates=HOURS | {"gpu_hour": tiers})
    report(market, "2026-03-03 10:00", quantity="1.5")
    close(market)
    report_late(market, "2026-03-30 10:00", quantity="1.5")
    cutoff = safe_cutoff()
    correct_periods([market.alice.pk], date(2026, 4, 1), cutoff)
    base, revision = PeriodCharge.objects.order_by("revision")
    assert (base.total_micros, revision.total_micros, revision.amount_micros) == (amount("4.5"), amount("7"), amount("2.5"))
    assert (revision.period, revision.base_id) == (base.period, base.pk)
    assert correct_periods([market.alice.pk], date(2026, 4, 1), cutoff).charges == 0


def test_a_corrected_event_is_rated_again_and_the_difference_is_given_back() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", quantity="15", id="wrong")
    rebuild()
    now = at("2026-04-02 00:00")
    rate_months([market.alice.pk], at("2026-01-01 00:00"), now)
    charge = PeriodCharge.objects.get()
    correct_events(market.bob, [{"source": "/bob/meter", "id": "wrong", "name": "typo", "quantity": "1.5"}])
    rebuild()
    assert rate_months([market.alice.pk], at("2026-01-01 00:00"), now).charges == 1
    revision = PeriodCharge.objects.get(revision=1)
    assert (charge.amount_micros, revision.amount_micros, revision.total_micros) == (amount("45"), -amount("40.5"), amount("4.5"))
    assert evidence_of_period(charge)["facts"]["matches"]
    assert evidence_of_period(revision)["facts"]["events"][0]["corrections"] == 1
    assert is_balanced(trial_balance())


def test_closing_finds_who_was_reported_about_since_the_last_time() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", quantity="1.5")
    rebuild()
    now = at("2026-04-02 00:00")
    assert rate_months([market.alice.pk], at("2026-01-01 00:00"), now).charges == 1
    assert rate_months([market.alice.pk], safe_cutoff(), now).charges == 0
    report_late(market, "2026-03-30 10:00", quantity="1")
    rebuild()
    assert rate_months([market.alice.pk], at("2026-01-01 00:00"), now).charges == 1
    assert PeriodCharge.objects.latest("revision").total_micros == amount("7.5")


def test_usage_that_changes_no_amount_is_rated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", quantity="1.5")
    rebuild()
    now, since = at("2026-04-02 00:00"), at("2026-01-01 00:00")
    assert rate_months([market.alice.pk], since, now).charges == 1
    report_late(market, "2026-03-30 10:00", type="not_priced")
    rebuild()
    assert rate_months([market.alice.pk], since, now).charges == 0
    cutoff = RatedMonth.objects.get().cutoff
    rated: list[Any] = []
    monkeypatch.setattr("billing.invoices.months.rate_periods", lambda *given, **_: rated.append(given))
    rate_months([market.alice.pk], since, now)
    assert (rated, RatedMonth.objects.get().cutoff) == ([], cutoff)


def test_a_run_that_is_done_again_with_an_earlier_cutoff_leaves_the_mark() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00", quantity="1.5")
    rebuild()
    early = safe_cutoff()
    rate_months([market.alice.pk], at("2026-01-01 00:00"), at("2026-04-02 00:00"))
    marked = RatedMonth.objects.get().cutoff
    _rate([market.alice.pk], date(2026, 3, 1), early)
    _rate([market.alice.pk], date(2026, 2, 1), safe_cutoff())
    assert RatedMonth.objects.values_list("month", "cutoff").get() == (date(2026, 3, 1), marked)


def test_the_evidence_lists_the_events_and_proves_them_by_a_digest() -> None:
    market = metered_market()
    used(market, at("2026-03-03 10:00"), 100)
    report(market, "2026-03-03 10:00", quantity="1.5")
    close(market)
    charge = PeriodCharge.objects.get(meter="gpu_hour")
    report_late(market, "2026-03-04 10:00", quantity="1.5")
    found = evidence_of_period(charge)
    assert found["facts"]["matches"]
    assert (found["facts"]["count"], found["unit"]) == (2, "hour")
    [event] = found["facts"]["events"]
    assert (event["meter"], event["quantity"], event["source"]) == ("gpu_hour", "1.5", "/bob/meter")


def test_the_evidence_of_a_sampled_peak_shows_its_slots() -> None:
    market = peak_market("month_p95")
    whole_days(market, {3: "2"})
    close(market)
    found = evidence_of_period(PeriodCharge.objects.get())
    assert (found["facts"]["matches"], found["peaks"]["days"][0]["slots"][100]) == (True, 5000)


def test_a_preview_shows_what_is_reported_so_far_and_posts_nothing() -> None:
    market = metered_market()
    report(market, "2026-03-03 10:00")
    assert rate_periods([market.alice.pk], MARCH, safe_cutoff(), final=False).charges == 1
    assert not PeriodCharge.objects.exists()


def test_events_are_read_once_however_many_subscribers_there_are() -> None:
    """Left to itself PostgreSQL read all events of the month once per span."""
    market = metered_market()
    report(market, "2026-03-03 10:00")
    with CaptureQueriesContext(connection) as told:
        close(market)
    asked = [query["sql"] for query in told if "enable_nestloop" in query["sql"] or "sum(coalesce(fix.quantity" in query["sql"]]
    assert ["'off'" in asked[0], "sum(" in asked[1], "'on'" in asked[2]] == [True, True, True]


def test_any_number_of_subscribers_takes_the_same_statements(django_assert_max_num_queries: Any) -> None:
    markets = [peak_market("month_max") for _ in range(4)]
    for market in markets:
        whole_days(market, {3: "2"})
    cutoff = safe_cutoff()
    with django_assert_max_num_queries(39):
        rate_periods([market.alice.pk for market in markets], MARCH, cutoff, final=True)
    assert PeriodCharge.objects.count() == 4


# Rules and doors.


@pytest.mark.parametrize(
    ("rates", "events", "place"),
    [
        ({"core_second": "1"}, {"gpu_hour": "hour"}, "rules.events.gpu_hour"),
        ({"core_second": "1", "held_cores": "1"}, {"held_cores": "core"}, "rules.events.held_cores"),
        ({"core_second": "1"}, {"core_second": "hour"}, "rules.events.core_second"),
        ({"core_second": "1", "gpu_hour": "1"}, {"gpu_hour": 5}, "rules.events.gpu_hour"),
        ({"core_second": "1"}, ["gpu_hour"], "rules.events"),
        ({"gpu_hour": "1"}, {"gpu_hour": "hour"}, "rates"),
        ({"core_second": "1", "gpu_hour": "1"}, {}, "rates.gpu_hour"),
    ],
)
def test_a_list_names_what_it_charges_of_what_is_reported(rates: dict[str, Any], events: Any, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_terms("consumption", rates, {"events": events})
    assert (refused.value.code, refused.value.field) == ("rates_invalid", place)


def test_unbilled_says_who_has_not_agreed_and_what_no_list_names() -> None:
    market = period_market("consumption", HOURS, GPU)
    event = an_event(market.pool, market.alice, time=safe_cutoff() - timedelta(hours=1))
    take(market.bob, [event])
    rebuild()
    assert [row["reason"] for row in unbilled_of(market.alice)] == ["not_subscribed"]
    agreed(market)
    assert unbilled_of(market.alice) == []
    take(market.bob, [an_event(market.pool, market.alice, type="licence")])
    rebuild()
    assert [row["reason"] for row in unbilled_of(market.alice)] == ["not_listed"]


def test_a_subscription_is_ended_once_and_its_past_stays() -> None:
    market = metered_market()
    [one] = Subscription.objects.all()
    with pytest.raises(DatabaseError), transaction.atomic():
        Subscription.objects.update(valid=DateTimeTZRange(at("2026-03-03 00:00"), None))
    unsubscribe(one, None)
    with pytest.raises(Conflict, match="has ended"):
        unsubscribe(one, None)
    with pytest.raises(DatabaseError), transaction.atomic():
        one.delete()
    again = subscribe(market.alice, market.pool.identifier, None)
    assert again.valid.lower >= Subscription.objects.get(pk=one.pk).valid.upper


def test_owners_subscribe_and_both_sides_see_it() -> None:
    pool = build.a_pool()
    alice, bob = (build.client_of(person) for person in (build.alice("owner"), build.bob()))
    made = alice.post("/api/v1/subscriptions", {"pool": pool.identifier})
    assert (made.status_code, made.json()["to"]) == (201, None)
    assert alice.post("/api/v1/subscriptions", {"pool": pool.identifier}).json()["code"] == "subscribed_already"
    assert alice.post("/api/v1/subscriptions", {"pool": "none"}).json()["code"] == "pool_unknown"
    for client in (alice, bob):
        assert [one["number"] for one in client.get("/api/v1/subscriptions").json()["results"]] == [made.json()["number"]]
    door = f"/api/v1/subscriptions/{made.json()['number']}"
    assert bob.delete(door).status_code in {403, 404}
    assert alice.delete(door).json()["to"]
    assert alice.delete(door).json()["code"] == "subscription_ended"


# What if.


@pytest.mark.parametrize(
    ("basis", "rates", "rules"),
    [
        ("consumption", HOURS | {"gpu_hour": {"model": "graduated", "tiers": [{"up_to": "2", "price": "3"}, {"price": "1"}]}}, GPU),
        ("occupancy", {"occupancy_second": "0.01"}, {"events": {"occupancy_second": "second"}, "quantum_s": 60, "minimum_s": 120}),
        ("daily_peak", {"held_cores": "5", "bandwidth": "2"}, {"events": {"bandwidth": "Mbit/s"}}),
        ("monthly_peak", {"held_cores": "5", "bandwidth": "2"}, {"events": {"bandwidth": "Mbit/s"}}),
    ],
)
def test_what_if_under_the_same_list_comes_to_what_was_charged_of_reports(
    basis: str, rates: dict[str, Any], rules: dict[str, Any]
) -> None:
    market = metered_market(rules, rates, basis)
    used(market, at("2026-03-03 10:00"), 100)
    [(meter, unit)] = rules["events"].items()
    if "peak" in basis:
        whole_days(market, {3: "1.5", 4: "7.25"})
    else:
        for day, much in ((3, "1.5"), (20, "3")):
            report(market, f"2026-03-{day:02} 10:00", type=meter, unit=unit, quantity=much)
    rebuild()
    close(market)
    other = parse_price("result", {"result": "1"}, {})
    found = compare(market.alice, MARCH, [Candidate("same", parse_price(basis, rates, rules)), Candidate("other", other)])
    assert found["actual"]["total"] != "0.000000"
    assert found["candidates"][0]["total"] == found["actual"]["total"]
    assert meter in {line["meter"] for line in found["candidates"][0]["lines"]}
    assert meter not in {line["meter"] for line in found["candidates"][1]["lines"]}


def test_what_if_leaves_out_reports_that_nobody_agreed_to_pay_for() -> None:
    market = period_market("consumption", HOURS, GPU)
    report(market, "2026-03-03 10:00", quantity="2")
    found = compare(market.alice, MARCH, [Candidate("theirs", parse_price("consumption", HOURS, GPU))])
    assert found["candidates"][0]["total"] == "0.000000"
    agreed(market)
    found = compare(market.alice, MARCH, [Candidate("theirs", parse_price("consumption", HOURS, GPU))])
    assert found["candidates"][0]["total"] == "6.000000"

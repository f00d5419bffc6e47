"""What bills are made of: sums and peaks of any number of customers at once, each month in its customer's zone, as of a cutoff."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.models import Organization
from metering.cutoffs import safe_cutoff
from metering.events.rollups import mark_all, rebuild
from metering.events.storing import take
from metering.models import UsageDay, UsageDirty
from metering.peaks import Interval, Policy, calendar_of, digest_of, levels_of, settle, slots_of
from metering.peaks import peaks_of as pure_peaks
from metering.peaks.grid import edges_of, micros_of
from metering.peaks.statistic import Day
from metering.periods import SCALE, Subject, Window, evidence_of_peak, peaks_of, quantities_of, windows_of
from metering.services import measure
from tests import builders as build
from tests.builders_billing import (
    Market,
    make_attempt,
    make_market,
    make_need,
    make_organization,
    make_pool,
    make_task,
    make_usage,
)
from tests.builders_usage import an_event

pytestmark = pytest.mark.django_db
JUNE = date(2026, 6, 1)
TENTH = datetime(2026, 6, 9, 16, 0, tzinfo=UTC)  # midnight of the 10th in Shanghai
LATER = datetime(2026, 6, 11, tzinfo=UTC)
MAX = Policy("day_max", slot_stat="max")


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def report(market: Market, moment: datetime, accepted: datetime | None = None, **changes: Any) -> None:
    event = an_event(market.pool, market.alice, time=moment, **changes)
    [answer] = take(market.bob, [event], now=accepted or moment + timedelta(hours=1)).answers
    assert answer.status == "accepted", answer


def beat(market: Market, moment: datetime, source: str = "/bob/meter", accepted: datetime | None = None) -> None:
    event = an_event(market.pool, market.bob, time=moment, type="heartbeat", quantity="0", unit="1", source=source)
    [answer] = take(market.bob, [event], now=accepted or moment + timedelta(minutes=1)).answers
    assert answer.status == "accepted", answer


def held(market: Market, *leases: tuple[datetime, int, int], **fields: Any) -> None:
    """(from, seconds, cores) each."""
    task, need = make_task(market, units=len(leases)), make_need()
    for start, seconds, cores in leases:
        attempt = make_attempt(market, task, need, leased_at=start, ended_at=start + timedelta(seconds=seconds))
        make_usage(market, task, attempt, cores=cores, accelerators=0, held_core_ms=cores * 2000, **fields)
    mark_all(market.alice.pk)


def cores_of(market: Market) -> Subject:
    return Subject(market.alice.pk, market.pool.pk, "held_cores", "core")


def gauge_of(market: Market, meter: str = "level", unit: str = "hour") -> Subject:
    return Subject(market.alice.pk, market.pool.pk, meter, unit)


def slots(stat: str) -> list[int | None]:
    rebuild()
    return UsageDay.objects.get(stat=stat, day=date(2026, 6, 10)).slots


# Days.


def test_leases_that_follow_each_other_do_not_stack_and_averages_are_weighted_by_time(market: Market) -> None:
    held(market, (TENTH, 150, 4), (TENTH + timedelta(seconds=150), 150, 4), (TENTH + timedelta(seconds=300), 100, 2))
    assert slots("max")[:3] == [4000, 2000, 0]
    assert slots("avg")[:3] == [4000, 666, 0]


def test_what_failed_by_the_pools_fault_makes_no_peak(market: Market) -> None:
    held(market, (TENTH, 60, 1))
    held(market, (TENTH, 60, 8), outcome="failed", reason_class="node_fault")
    held(market, (TENTH, 60, 8), outcome="lost")
    held(market, (TENTH, 60, 2), outcome="failed", reason_class="limit_exceeded")
    assert slots("max")[0] == 3000


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_days_of_leases_are_those_of_the_pure_sweep(market: Market, data: st.DataObject) -> None:
    zone = ZoneInfo(data.draw(st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "Asia/Kathmandu", "America/Havana"])))
    begins = data.draw(st.sampled_from([datetime(2026, 3, 28, 7, tzinfo=UTC), datetime(2026, 10, 31, 7, tzinfo=UTC)]))
    lease = st.tuples(st.integers(0, 2 * 10**11), st.integers(1, 10**11), st.integers(1, 9))
    drawn = data.draw(st.lists(lease, min_size=1, max_size=6))
    leases = [(begins + timedelta(microseconds=a), timedelta(microseconds=b), n) for a, b, n in drawn]
    alice = make_organization("alice", zone=zone.key)
    other = replace(market, alice=alice)
    held(other, *((start, length.total_seconds(), cores) for start, length, cores in leases))
    rebuild()
    intervals = [Interval(micros_of(start), micros_of(start + length), cores * SCALE) for start, length, cores in leases]
    rows = UsageDay.objects.filter(subject__customer=alice)
    assert rows
    for day in rows:
        assert tuple(day.slots) == tuple(slots_of(levels_of(intervals), edges_of(day.day, zone), day.stat))


def test_measuring_asks_for_the_days_of_a_lease(market: Market) -> None:
    task, need = make_task(market), make_need(need={"cores": 3, "memory_mib": 1, "disk_mib": 1, "accelerators": [{"count": 2}]})
    make_attempt(market, task, need, leased_at=TENTH, ended_at=TENTH + timedelta(days=2, seconds=1))
    measure()
    assert set(UsageDirty.objects.values_list("meter", flat=True)) == {"held_cores", "held_accelerators"}
    rebuild()
    days = UsageDay.objects.filter(stat="max", subject__meter="held_accelerators").order_by("day")
    assert [(day.day.day, day.top[0]) for day in days] == [(10, 2000), (11, 2000), (12, 2000)]
    assert UsageDay.objects.filter(stat="max", subject__meter="held_cores").first().top[0] == 3000  # type: ignore[union-attr]


def test_a_gauges_samples_are_averaged_in_their_slot_and_silence_is_unknown(market: Market) -> None:
    for second, sample in ((0, "1"), (100, "2"), (250, "2"), (700, "0.0019")):
        report(market, TENTH + timedelta(seconds=second), type="level", gauge=sample)
    assert slots("avg")[:4] == [1666, None, 1, None]
    assert slots("max")[:4] == [2000, None, 1, None]
    assert not UsageDay.objects.filter(stat="sum").exists()


def test_sources_add_up_and_one_that_is_silent_makes_the_slot_unknown(market: Market) -> None:
    for source in ("/east", "/west"):
        report(market, TENTH, type="level", gauge="3", source=source)
    report(market, TENTH + timedelta(minutes=5), type="level", gauge="3", source="/east")
    assert slots("max")[:2] == [6000, None]


def test_a_heartbeat_proves_that_a_customer_was_idle_once_the_day_is_over(market: Market) -> None:
    report(market, TENTH, type="level", gauge="3")
    beat(market, TENTH + timedelta(minutes=6))
    beat(market, TENTH + timedelta(minutes=11), source="/another")
    assert slots("max")[:3] == [3000, 0, None]


def test_a_heartbeat_of_today_waits_for_the_end_of_the_day(market: Market) -> None:
    now = timezone.now()
    event = an_event(market.pool, market.bob, time=now, type="heartbeat", quantity="0")
    take(market.bob, [event])
    assert rebuild().taken == 0
    assert UsageDirty.objects.get().due > now + timedelta(hours=20)


def test_the_platforms_own_meters_and_two_kinds_at_once_are_refused(market: Market) -> None:
    wrong = [
        an_event(market.pool, market.alice, type="held_cores"),
        an_event(market.pool, market.alice, gauge="1", value="1"),
        an_event(market.pool, market.alice, gauge="-1"),
    ]
    assert [one.code for one in take(market.bob, wrong).answers] == ["meter_reserved", "quantity_or_value", "negative"]


def test_a_pools_own_lists_hold_for_what_it_reports(market: Market) -> None:
    mallory = make_organization("mallory")
    type(market.pool).objects.filter(pk=market.pool.pk).update(allow_organizations=[market.alice.slug])
    asked = [an_event(market.pool, market.alice), an_event(market.pool, mallory)]
    assert [one.code for one in take(market.bob, asked).answers] == ["", "subject_not_admitted"]
    beat(market, timezone.now() - timedelta(minutes=5))
    type(market.pool).objects.filter(pk=market.pool.pk).update(allow_organizations=[], deny_organizations=[market.alice.slug])
    assert take(market.bob, [an_event(market.pool, market.alice)]).answers[0].code == "subject_not_admitted"


# Peaks.


def test_a_day_is_the_customers_own(market: Market) -> None:
    Organization.objects.filter(pk=market.alice.pk).update(zone="America/New_York")
    held(market, (datetime(2026, 6, 10, 3, 59, tzinfo=UTC), 120, 5))
    rebuild()
    found = peaks_of([cores_of(market)], JUNE, MAX)
    assert [(one.local_day, one.peak.total, one.peak.winners[0].slot) for one in found] == [
        (date(2026, 6, 9), 5000, 287), (date(2026, 6, 10), 5000, 0)
    ]  # fmt: skip
    assert found[0].zone == "America/New_York"


def test_a_change_of_the_zone_holds_at_once_for_days_that_are_over(market: Market) -> None:
    held(market, (datetime(2026, 6, 10, 3, 59, tzinfo=UTC), 120, 5))
    rebuild()
    assert [one.local_day for one in peaks_of([cores_of(market)], JUNE, MAX)] == [date(2026, 6, 10)]
    Organization.objects.filter(pk=market.alice.pk).update(zone="America/New_York")
    for _ in range(2):
        assert [one.local_day for one in peaks_of([cores_of(market)], JUNE, MAX)] == [date(2026, 6, 9), date(2026, 6, 10)]
        rebuild()


def test_an_owner_sets_the_zone_and_no_other_word_is_taken_for_one(market: Market) -> None:
    client = build.client_of(build.alice())
    assert client.patch("/api/v1/organization", {"zone": "Europe/Berlin"}, format="json").json()["zone"] == "Europe/Berlin"
    refused = client.patch("/api/v1/organization", {"zone": "Mars/Olympus"}, format="json")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (422, "zone_unknown", "zone")
    answer = client.get("/api/v1/usage").json()
    assert answer["zone"] == "Europe/Berlin"


policies = st.builds(
    Policy,
    kind=st.sampled_from(("day_max", "day_kth", "day_p95", "month_max", "month_mean_day_peak", "month_topk_mean", "month_p95")),
    k=st.integers(1, 40),
    slot_stat=st.sampled_from(("avg", "max")),
    valid_days=st.sampled_from(("used", "active")),
    day_factor=st.booleans(),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies, seed=st.integers(0, 10**6))
def test_peaks_are_those_of_the_pure_functions_in_every_zone_and_for_part_of_a_month(
    market: Market, policy: Policy, seed: int
) -> None:
    random = Random(seed)
    subjects, active, days = [], {}, {}
    for zone in ("Europe/Berlin", "Asia/Shanghai", "America/New_York"):
        other = replace(market, alice=make_organization("alice", zone=zone))
        starts = [datetime(2026, 3, random.randint(1, 31), random.randint(0, 23), tzinfo=UTC) for _ in range(5)]
        held(other, *((start, random.randint(60, 90_000), random.randint(1, 4)) for start in starts))
        subjects.append(cores_of(other))
        active[subjects[-1]] = random.choice([(None, None), (date(2026, 3, 10), None), (date(2026, 3, 5), date(2026, 3, 30))])
    rebuild()
    for row in UsageDay.objects.filter(stat=policy.slot_stat).select_related("subject"):
        days.setdefault(row.subject.customer_id, []).append(Day(row.day, tuple(row.slots)))
    found = peaks_of(subjects, date(2026, 3, 1), policy, active=active)
    for subject in subjects:
        mine = [one for one in found if one.subject == subject]
        zone = Organization.objects.get(pk=subject.organization).zone
        calendar = calendar_of(date(2026, 3, 1), ZoneInfo(zone), *active[subject])
        assert [one.peak for one in mine] == pure_peaks(policy, days.get(subject.organization, []), calendar)
        for one in mine[:2]:
            document = evidence_of_peak(one, policy)
            assert (document["digest"], document["value"]) == (one.digest, str(one.peak.value))


def test_the_same_cutoff_finds_the_same_slots_whatever_came_since(market: Market) -> None:
    report(market, TENTH, type="level", gauge="3", accepted=TENTH + timedelta(hours=1))
    report(market, TENTH + timedelta(minutes=5), type="level", gauge="9", accepted=LATER)
    policy, subject = Policy("month_max", slot_stat="max"), gauge_of(market)
    for _ in range(2):  # first the days wait to be rolled up, then they know too much
        before, exactly, after = (peaks_of([subject], JUNE, policy, cutoff=LATER + timedelta(seconds=n)) for n in (-1, 0, 1))
        assert before == exactly
        assert (before[0].peak.total, after[0].peak.total) == (3000, 9000)
        assert evidence_of_peak(before[0], policy, cutoff=LATER)["digest"] == before[0].digest
        assert peaks_of([subject], JUNE, policy) == after
        rebuild()
    assert peaks_of([subject], JUNE, policy, cutoff=TENTH) == []


def test_more_than_one_slot_in_a_hundred_unknown_goes_to_review_computed_both_ways(market: Market) -> None:
    report(market, TENTH, type="level", gauge="4")
    report(market, TENTH + timedelta(minutes=5), type="level", gauge="2")
    rebuild()
    [found] = peaks_of([gauge_of(market)], JUNE, Policy("month_p95", slot_stat="max"))
    settled = settle(Policy("month_p95"), found.peak, found.calendar)
    assert (settled.billed, settled.other, settled.review) == (Fraction(0), Fraction(4000), True)
    for slot in range(2, 288):
        beat(market, TENTH + timedelta(minutes=5 * slot), accepted=LATER)
    [found] = peaks_of([gauge_of(market)], JUNE, Policy("month_p95", slot_stat="max"))
    settled = settle(Policy("month_p95"), found.peak, found.calendar)
    assert (settled.billed, settled.other, settled.review) == (Fraction(0), Fraction(0), False)


def test_quantities_by_slot_have_peaks_too(market: Market) -> None:
    for minute, quantity in ((0, "1.5"), (1, "0.25"), (6, "1")):
        report(market, TENTH + timedelta(minutes=minute), quantity=quantity)
    [found] = peaks_of([gauge_of(market, "gpu_hour")], JUNE, Policy("day_max"), stat="sum")
    assert found.peak.value == 1750


def test_days_built_again_are_the_same_to_the_byte(market: Market) -> None:
    columns = ("subject", "stat", "day", "slots", "ranked", "digest")
    held(market, (TENTH, 7000, 4))
    report(market, TENTH, type="level", gauge="3")
    beat(market, TENTH + timedelta(minutes=6))
    rebuild()
    rows = list(UsageDay.objects.order_by("subject", "stat", "day").values_list(*columns))
    assert len(rows) == 4
    UsageDay.objects.all().delete()
    mark_all()
    rebuild()
    assert rows == list(UsageDay.objects.order_by("subject", "stat", "day").values_list(*columns))


# Sums.


def test_sums_are_of_what_was_accepted_before_the_cutoff_and_late_facts_add_up(market: Market) -> None:
    window = Window(market.alice.pk, TENTH, TENTH + timedelta(days=1))
    for moment, accepted in ((TENTH, TENTH), (TENTH + timedelta(days=1), LATER), (TENTH + timedelta(hours=1), LATER)):
        report(market, moment, accepted, quantity="0.1")
    found = [quantities_of([window], LATER + timedelta(seconds=n)) for n in (0, 1)]
    assert [[(one.meter, one.quantity, one.facts) for one in of] for of in found] == [
        [("gpu_hour", Decimal("0.1"), 1)], [("gpu_hour", Decimal("0.2"), 2)]
    ]  # fmt: skip
    assert found[0][0].digest != found[1][0].digest
    assert found == [quantities_of([window], LATER + timedelta(seconds=n)) for n in (0, 1)]


def test_records_are_summed_by_offer_and_outcome_and_the_correction_stands(market: Market) -> None:
    task, need = make_task(market, units=2), make_need()
    moments = {"leased_at": TENTH, "ended_at": TENTH + timedelta(hours=1)}
    good, lost = (make_attempt(market, task, need, state=state, **moments) for state in ("valid", "lost"))
    first = make_usage(market, task, good, core_ms=1500, measured_at=TENTH)
    make_usage(market, task, lost, core_ms=7, measured_at=TENTH)
    window = Window(market.alice.pk, TENTH, LATER)

    def cores(cutoff: datetime) -> dict[str, Decimal]:
        return {one.outcome: one.quantity for one in quantities_of([window], cutoff) if one.meter == "core_second"}

    assert cores(LATER) == {"valid": Decimal("1.5"), "lost": Decimal("0.007")}
    make_usage(market, task, good, core_ms=1000, revision=1, corrects=first, measured_at=LATER)
    assert cores(LATER)["valid"] == Decimal("1.5")
    assert cores(LATER + timedelta(seconds=1))["valid"] == 1
    offers = {one.offer for one in quantities_of([window], LATER)}
    assert offers == {market.offer.pk}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(1, 86_399), max_size=4, unique=True), seed=st.integers(0, 1000))
def test_slices_of_a_period_add_up_to_it(market: Market, cuts: list[int], seed: int) -> None:
    random, meter = Random(seed), f"m{seed}"
    for _ in range(6):
        moment = TENTH + timedelta(seconds=random.randint(0, 86_399))
        report(market, moment, LATER, quantity=str(random.randint(0, 10**20)), type=meter)
    edges = [TENTH + timedelta(seconds=second) for second in (0, *sorted(cuts), 86_400)]
    windows = [Window(market.alice.pk, start, end) for start, end in pairwise(edges)]
    cutoff = LATER + timedelta(days=1)
    parts = sum(one.quantity for one in quantities_of(windows, cutoff) if one.meter == meter)
    whole = quantities_of([Window(market.alice.pk, edges[0], edges[-1])], cutoff)
    assert parts == sum(one.quantity for one in whole if one.meter == meter)


def test_months_are_the_customers_own_and_everything_is_one_statement(market: Market) -> None:
    Organization.objects.filter(pk=market.alice.pk).update(zone="America/New_York")
    others = [make_organization("other") for _ in range(5)]
    windows = windows_of([market.alice.pk, *(one.pk for one in others)], date(2026, 3, 15))
    by = {one.organization: one for one in windows}
    assert by[market.alice.pk].start == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert by[market.alice.pk].end == datetime(2026, 4, 1, 4, tzinfo=UTC)
    assert by[others[0].pk].start == datetime(2026, 2, 28, 16, tzinfo=UTC)
    with CaptureQueriesContext(connection) as one:
        quantities_of(windows, LATER)
    assert len(one) == 1


def test_peaks_of_many_take_no_more_statements_than_of_one(market: Market) -> None:
    held(market, (TENTH, 60, 1))
    pools = [make_pool(market.bob) for _ in range(20)]
    counts = []
    for subjects in ([cores_of(market)], [Subject(market.alice.pk, pool.pk, "held_cores", "core") for pool in pools]):
        peaks_of(subjects, JUNE, MAX)
        with CaptureQueriesContext(connection) as queries:
            peaks_of(subjects, JUNE, MAX)
        counts.append(len(queries))
    assert counts[1] <= counts[0] <= 20


def test_a_cutoff_lies_behind_everything_that_is_accepted_before_it(market: Market) -> None:
    take(market.bob, [an_event(market.pool, market.alice, time=timezone.now())])
    cutoff = safe_cutoff()
    window = Window(market.alice.pk, cutoff - timedelta(hours=1), cutoff + timedelta(hours=1))
    assert [one.facts for one in quantities_of([window], cutoff)] == [1]
    take(market.bob, [an_event(market.pool, market.alice, time=timezone.now())])
    assert [one.facts for one in quantities_of([window], cutoff)] == [1]


def test_the_digest_of_slots_is_what_anyone_can_compute(market: Market) -> None:
    held(market, (TENTH, 60, 1))
    rebuild()
    [found] = peaks_of([cores_of(market)], JUNE, MAX)
    day = UsageDay.objects.get(stat="max")
    assert found.digest == digest_of([Day(day.day, tuple(day.slots))])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("behind", [True, False])
def test_a_cutoff_waits_for_a_batch_that_is_being_taken(behind: bool) -> None:
    """Without the lock (the control) the batch is accepted before the cutoff and not seen by a run that has it."""
    market, taken, go = make_market(), threading.Event(), threading.Event()

    def ingest() -> None:
        with transaction.atomic():
            now = None if behind else timezone.now()
            take(market.bob, [an_event(market.pool, market.alice, time=timezone.now())], now=now)
            taken.set()
            go.wait(5)
        connection.close()

    thread = threading.Thread(target=ingest)
    thread.start()
    assert taken.wait(20)
    if behind:
        threading.Timer(0.3, go.set).start()
    cutoff = safe_cutoff()
    window = Window(market.alice.pk, cutoff - timedelta(hours=1), cutoff + timedelta(hours=1))
    seen = sum(one.facts for one in quantities_of([window], cutoff))
    go.set()
    thread.join()
    assert seen == (1 if behind else 0)
    assert sum(one.facts for one in quantities_of([window], cutoff)) == 1

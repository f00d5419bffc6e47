"""Hours and local days of events: built when events come, and to the same bytes whenever they are built again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.models import Pool
from metering.events.rollups import mark_all, rebuild
from metering.events.storing import take
from metering.jobs import rollup_job
from metering.models import UsageDay, UsageDirty, UsageHour
from metering.windows import slots_of
from tests import builders as build
from tests.builders_usage import an_event, sent

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def pool(db: None) -> Pool:
    build.alice()
    return build.a_pool(build.bob())


def at(pool: Pool, moment: datetime, **changes: Any) -> None:
    """An event of then, taken an hour later."""
    [answer] = take(pool.organization, [an_event(pool, time=moment, **changes)], now=moment + timedelta(hours=1)).answers
    assert answer.status == "accepted", answer


def bytes_of() -> list[Any]:
    hours = UsageHour.objects.order_by("hour").values_list("hour", "quantity", "events", "gaps", "digest")
    days = UsageDay.objects.order_by("day").values_list("subject__zone", "day", "slots", "digest")
    return [[tuple(map(str, row)) for row in rows] for rows in (hours, days)]


def test_an_hour_adds_up_its_events_and_leaves_out_the_next(pool: Pool) -> None:
    for minutes in (0, 59, 60):
        at(pool, NOON + timedelta(minutes=minutes), quantity="0.1")
    assert rebuild().hours == 2
    first, second = UsageHour.objects.order_by("hour")
    assert (first.hour, first.quantity, first.events) == (NOON, Decimal("0.2"), 2)
    assert (second.quantity, second.events) == (Decimal("0.1"), 1)
    assert not UsageDirty.objects.exists()
    assert rebuild().taken == 0


def test_a_slot_is_five_minutes_and_one_without_events_is_not_zero(pool: Pool) -> None:
    midnight = datetime(2026, 6, 9, 16, 0, tzinfo=UTC)  # of June 10th in Shanghai
    for seconds, quantity in ((0, "1"), (299, "2"), (300, "0"), (86_399, "5"), (-1, "7")):
        at(pool, midnight + timedelta(seconds=seconds), quantity=quantity)
    rebuild()
    day = UsageDay.objects.get(day=date(2026, 6, 10))
    assert len(day.slots) == 288
    assert day.slots[:3] == [3000, 0, None]
    assert day.slots[-1] == 5000
    assert UsageDay.objects.get(day=date(2026, 6, 9)).slots[-1] == 7000


@pytest.mark.parametrize(("day", "slots"), [(date(2026, 3, 29), 276), (date(2026, 10, 25), 300), (date(2026, 6, 1), 288)])
def test_a_day_on_which_clocks_change_has_as_many_slots_as_it_is_long(
    pool: Pool, settings: Any, day: date, slots: int
) -> None:
    settings.USAGE_ZONE = "Europe/Berlin"
    at(pool, datetime(day.year, day.month, day.day, 23, 59, tzinfo=ZoneInfo("Europe/Berlin")))
    rebuild()
    stored = UsageDay.objects.get()
    assert (stored.day, len(stored.slots), stored.slots[-1]) == (day, slots, 1000)
    assert slots_of(day, ZoneInfo("Europe/Berlin")) == slots


def test_an_hour_that_lies_in_two_days_makes_both(pool: Pool, settings: Any) -> None:
    settings.USAGE_ZONE = "Asia/Kathmandu"  # 5:45 ahead: midnight is 18:15
    for minute in (14, 15):
        at(pool, datetime(2026, 6, 9, 18, minute, tzinfo=UTC))
    rebuild()
    assert [(str(one.day), sum(filter(None, one.slots))) for one in UsageDay.objects.order_by("day")] == [
        ("2026-06-09", 1000), ("2026-06-10", 1000)
    ]  # fmt: skip


def test_what_is_built_again_is_the_same_to_the_byte(pool: Pool) -> None:
    for hours in (0, 1, 30):
        at(pool, NOON + timedelta(hours=hours), quantity="1.50")
        rebuild()
    before = bytes_of()
    assert mark_all() == 3
    UsageHour.objects.all().delete()
    UsageDay.objects.all().delete()
    rollup_job()
    assert bytes_of() == before


def test_a_late_event_changes_its_hour_and_its_digest(pool: Pool) -> None:
    at(pool, NOON)
    rebuild()
    before = UsageHour.objects.get().digest
    at(pool, NOON + timedelta(minutes=1), quantity="4")
    rebuild()
    after = UsageHour.objects.get()
    assert (after.quantity, after.digest == before) == (Decimal(5), False)


def test_a_counter_counts_differences_within_a_boot_and_flags_gaps(pool: Pool) -> None:
    readings = [("a", 1, "10"), ("a", 2, "15"), ("a", 5, "40"), ("b", 1, "3"), ("b", 2, "2"), ("b", 3, "6")]
    for minute, (boot, seq, value) in enumerate(readings):
        at(pool, NOON + timedelta(minutes=minute), value=value, boot_id=boot, seq=seq)
    rebuild()
    hour = UsageHour.objects.get()
    assert (hour.quantity, hour.events, hour.gaps) == (Decimal(40 + 3 + 0 + 4), 6, 2)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_readings_count_the_same_in_any_order_with_any_repetition_and_any_rebuilds(pool: Pool, data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.tuples(st.integers(0, 10**15), st.booleans()), min_size=1, max_size=10))
    now, value, boot, events, total = timezone.now(), 0, 0, [], 0
    for seq, (step, restarts) in enumerate(steps):
        boot, value = (boot + 1, step) if restarts else (boot, value + step)
        total += step
        moment = now - timedelta(minutes=20 * (len(steps) - seq))
        events.append(an_event(pool, type="counted", value=str(value), boot_id=str(boot), seq=seq, time=moment))
    with transaction.atomic():
        for event in data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=5)))):
            sent(pool, event)
            if data.draw(st.booleans()):
                rebuild()
        rebuild()
        assert sum(one.quantity for one in UsageHour.objects.all()) == total
        assert sum(sum(filter(None, one.slots)) for one in UsageDay.objects.all()) == total * 1000
        transaction.set_rollback(True)

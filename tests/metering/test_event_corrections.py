"""What events should have said counts in their place from then on: once, by whoever sent them, and provably."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from metering.cutoffs import safe_cutoff
from metering.events.correcting import correct_events
from metering.events.rollups import rebuild
from metering.events.storing import take
from metering.models import UsageCorrection, UsageDay, UsageHour
from metering.periods import Window, quantities_of
from tests import builders as build
from tests.builders_billing import Market, make_market
from tests.builders_usage import an_event

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 10, 4, 0, tzinfo=UTC)  # in Shanghai
DAY = (datetime(2026, 6, 9, tzinfo=UTC), datetime(2026, 6, 12, tzinfo=UTC))


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def report(market: Market, name: str = "e", **changes: Any) -> None:
    event = an_event(market.pool, market.alice, time=changes.pop("time", NOON), id=name, **changes)
    assert [one.status for one in take(market.bob, [event], now=NOON + timedelta(hours=1)).answers] == ["accepted"]


def right(name: str = "c", event: str = "e", **said: Any) -> dict[str, Any]:
    return {"source": "/bob/meter", "id": event, "name": name} | said


def told(market: Market, *documents: Any) -> list[tuple[str, str]]:
    return [(one.status, one.code) for one in correct_events(market.bob, documents)]


def used(market: Market, cutoff: datetime | None = None) -> list[tuple[Decimal, str]]:
    found = quantities_of([Window(market.alice.pk, *DAY)], cutoff or safe_cutoff())
    return [(one.quantity, one.digest) for one in found if one.source == "events"]


def test_the_last_correction_counts_and_an_earlier_cutoff_sees_what_was_known_then(market: Market) -> None:
    report(market, quantity="5")
    before = safe_cutoff()
    [(quantity, digest)] = used(market, before)
    assert told(market, right(quantity="3"), right("again", quantity="2")) == [("accepted", "")] * 2
    [(corrected, changed)] = used(market)
    assert [quantity, corrected, digest != changed] == [5, 2, True]
    assert used(market, before) == [(quantity, digest)]
    rebuild()
    assert UsageHour.objects.get().quantity == 2
    assert UsageDay.objects.get().top[0] == 2000
    assert UsageDay.objects.get().latest == UsageCorrection.objects.latest("pk").accepted_at


def test_the_same_again_changes_nothing_and_another_under_its_name_is_a_conflict(market: Market) -> None:
    report(market)
    assert told(market, right(quantity="3")) == [("accepted", "")]
    assert told(market, right(quantity="3.0"), right(quantity="4")) == [("duplicate", ""), ("conflict", "name_taken")]
    assert UsageCorrection.objects.count() == 1


def test_a_sample_is_put_right_by_a_sample_and_a_reading_by_the_difference_it_stands_for(market: Market) -> None:
    report(market, "g", type="level", gauge="9")
    for seq, value in enumerate(("10", "10000", "30")):
        report(market, f"r{seq}", type="meter", value=value, boot_id="b", seq=seq, time=NOON + timedelta(minutes=seq))
    answers = told(market, right(event="g", quantity="1"), right(event="g", gauge="1"), right(event="r1", quantity="7"))
    assert answers == [("invalid", "quantity_or_value"), ("accepted", ""), ("accepted", "")]
    assert [quantity for quantity, _ in used(market)] == [17]
    rebuild()
    assert UsageDay.objects.get(stat="max").top[0] == 1000


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("text", "not_an_event"),
        (right(quantity="1", more=1), "unknown_field"),
        (right(""), "invalid"),
        (right(quantity="-1"), "quantity_or_value"),
        (right(quantity="1", gauge="1"), "quantity_or_value"),
        (right(quantity="1", reason=5), "invalid"),
        (right(event="other", quantity="1"), "event_unknown"),
    ],
)
def test_what_is_no_correction_is_answered_for_itself(market: Market, document: Any, code: str) -> None:
    report(market)
    assert told(market, document, right(quantity="1")) == [("invalid", code), ("accepted", "")]


def test_only_who_sent_an_event_corrects_it(market: Market) -> None:
    report(market)
    [answer] = correct_events(market.carol, [right(quantity="0")])
    assert answer.code == "event_unknown"


def test_a_correction_is_never_changed(market: Market) -> None:
    report(market)
    told(market, right(quantity="1"))
    for statement in ("UPDATE metering_usagecorrection SET quantity = 0", "TRUNCATE metering_usagecorrection"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_any_number_of_corrections_takes_the_same_statements(market: Market, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        report(market, f"e{number}")
    with django_assert_max_num_queries(8):
        told(market, *(right(event=f"e{number}", quantity="1") for number in range(20)))
    assert UsageCorrection.objects.count() == 20


def test_providers_correct_at_a_door() -> None:
    pool = build.a_pool()
    take(pool.organization, [an_event(pool, build.alice().organization, id="e")])
    door, client = "/api/v1/usage/corrections", build.client_of(build.bob())
    answer = client.post(door, {"corrections": [right(quantity="0"), right("x", "none", quantity="0")]}).json()
    assert (answer["counts"]["accepted"], answer["rows"][1]["code"]) == (1, "event_unknown")
    assert client.post(door, {"corrections": []}).status_code == 422

"""Events of pools that meter themselves: each is counted once, whatever is sent, however often, in whatever order."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Conflict
from core.ids import uuid7
from marketplace.models import Pool
from metering.events.columns import Columns
from metering.events.deciding import accept_event, refuse_event
from metering.events.reading import Event, Refused, key_of, plain, read
from metering.events.storing import take
from metering.models import QuarantinedEvent, UsageBatch, UsageDirty, UsageEvent, UsageSeries
from tests import builders as build
from tests.builders_usage import an_event, sent

pytestmark = pytest.mark.django_db
URL = "/api/v1/usage/events"


@pytest.fixture
def pool(db: None) -> Pool:
    build.alice()
    return build.a_pool(build.bob())


def statuses(pool: Pool, *events: Any) -> list[tuple[str, str]]:
    return [(answer.status, answer.code) for answer in sent(pool, *events).answers]


def test_an_event_is_counted_once_however_often_it_is_sent(pool: Pool) -> None:
    event = an_event(pool, quantity="2.50")
    assert statuses(pool, event, event) == [("accepted", ""), ("duplicate", "")]
    assert statuses(pool, event) == [("duplicate", "")]
    stored = UsageEvent.objects.get()
    assert (stored.quantity, stored.series.customer.slug, stored.series.pool) == (Decimal("2.5"), "acme", pool)


def test_the_same_said_otherwise_is_the_same_event(pool: Pool) -> None:
    noon = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    event = an_event(pool, quantity="2.5", time=noon, labels={"a": "1", "b": "2"})
    again = an_event(pool, quantity="002.500", time=noon.astimezone(), labels={"b": "2", "a": "1"}, id=event["id"])
    assert statuses(pool, event, again) == [("accepted", ""), ("duplicate", "")]


@pytest.mark.parametrize(
    "change", [{"quantity": "2"}, {"unit": "day"}, {"type": "other"}, {"labels": {"a": "b"}}, {"time": "2026-01-01T00:00:00Z"}]
)
def test_the_same_key_with_another_payload_is_a_conflict_and_kept(pool: Pool, change: dict[str, Any]) -> None:
    event = an_event(pool)
    sent(pool, event)
    other = an_event(pool, id=event["id"], **({"time": event["time"]} | change))
    assert statuses(pool, other) == [("conflict", "key_taken")]
    assert statuses(pool, other, event) == [("conflict", "key_taken"), ("duplicate", "")]
    assert UsageEvent.objects.get().quantity == 1
    kept = QuarantinedEvent.objects.get()
    assert (kept.reason, kept.state, kept.document) == ("conflict", "open", other)


def test_within_a_batch_the_first_stands(pool: Pool) -> None:
    event = an_event(pool)
    other = event | {"data": event["data"] | {"quantity": "9"}}
    assert statuses(pool, event, other, event) == [("accepted", ""), ("conflict", "key_taken"), ("duplicate", "")]
    assert QuarantinedEvent.objects.get().document == other


def test_what_postgresql_cannot_hold_of_a_contradiction_is_left_out(pool: Pool) -> None:
    event = an_event(pool)
    sent(pool, event)
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    other = event | {"data": event["data"] | {"quantity": "5"}}
    again = event | {"data": event["data"] | {"quantity": "6"}}
    assert statuses(pool, other | {"more": "a\x00"}, again | {"more": deep}) == [("conflict", "key_taken")] * 2
    assert [kept.document for kept in QuarantinedEvent.objects.order_by("pk")] in ([other, again], [again, other])


def test_providers_do_not_share_names(pool: Pool) -> None:
    mallorys = build.a_pool(build.mallory())
    event = an_event(pool)
    sent(pool, event)
    assert statuses(mallorys, event | {"data": event["data"] | {"pool": str(mallorys)}}) == [("accepted", "")]
    assert statuses(mallorys, an_event(pool)) == [("invalid", "pool_unknown")]


def test_five_minutes_ahead_is_a_clock_and_more_is_wrong(pool: Pool) -> None:
    now = timezone.now()
    soon, later = (an_event(pool, time=now + timedelta(minutes=m, seconds=s)) for m, s in ((5, 0), (5, 1)))
    answers = take(pool.organization, [soon, later], now=now).answers
    assert [(one.status, one.code, one.field) for one in answers] == [("accepted", "", None), ("invalid", "in_future", "time")]


def test_what_is_older_than_35_days_waits_for_an_operator(pool: Pool) -> None:
    now = timezone.now()
    young, old = (an_event(pool, time=now - timedelta(days=35, seconds=s)) for s in (0, 1))
    answers = take(pool.organization, [young, old], now=now).answers
    assert [(one.status, one.code) for one in answers] == [("accepted", ""), ("quarantined", "too_old")]
    assert statuses(pool, old) == [("quarantined", "too_old")]
    kept = QuarantinedEvent.objects.get()
    accept_event(kept.pk, build.olga().user)
    assert UsageEvent.objects.count() == 2
    assert statuses(pool, old) == [("duplicate", "")]
    for decide in (accept_event, refuse_event):
        with pytest.raises(Conflict, match="accepted already"):
            decide(kept.pk, build.olga().user)


def test_an_old_payload_takes_nothing_from_the_young_one_before_it(pool: Pool) -> None:
    young, other = an_event(pool), an_event(pool)
    old = young | {"time": "2026-01-01T00:00:00Z"}
    assert statuses(pool, other, young, old) == [("accepted", ""), ("accepted", ""), ("conflict", "key_taken")]
    assert statuses(pool, old | {"id": "x"}, young | {"id": "x"}) == [("quarantined", "too_old"), ("conflict", "key_taken")]
    assert statuses(pool, *[old | {"id": "y"}] * 2) == [("quarantined", "too_old")] * 2


def test_of_two_old_payloads_one_can_be_accepted(pool: Pool) -> None:
    old = an_event(pool, time=timezone.now() - timedelta(days=40))
    sent(pool, old)
    sent(pool, old | {"data": old["data"] | {"quantity": "7"}})
    first, second = QuarantinedEvent.objects.order_by("pk")
    accept_event(first.pk, build.olga().user)
    with pytest.raises(Conflict, match="counted meanwhile"):
        accept_event(second.pk, build.olga().user)
    second.refresh_from_db()
    assert second.state == "open"
    refuse_event(second.pk, build.olga().user)


def test_a_conflict_can_only_be_refused(pool: Pool) -> None:
    event = an_event(pool)
    sent(pool, event, event | {"data": event["data"] | {"quantity": "7"}})
    kept = QuarantinedEvent.objects.get()
    with pytest.raises(Conflict, match="the first stands"):
        accept_event(kept.pk, build.olga().user)
    assert refuse_event(kept.pk, build.olga().user).state == "refused"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"quantity": "-1"}, "negative", "data.quantity"),
        ({"quantity": 1}, "invalid", "data.quantity"),
        ({"quantity": "1e3"}, "invalid", "data.quantity"),
        ({"quantity": "NaN"}, "invalid", "data.quantity"),
        ({"quantity": "1" * 31}, "invalid", "data.quantity"),
        ({"unit": ""}, "invalid", "data.unit"),
        ({"labels": {"a": 1}}, "invalid", "data.labels"),
        ({"labels": {str(n): "x" for n in range(17)}}, "invalid", "data.labels"),
        ({"value": "1", "boot_id": "a"}, "invalid", "data.seq"),
        ({"value": "1", "boot_id": "", "seq": 1}, "invalid", "data.boot_id"),
        ({"value": "1", "boot_id": "a", "seq": 2**63}, "invalid", "data.seq"),
        ({"value": "-1", "boot_id": "a", "seq": 1}, "negative", "data.value"),
        ({"value": "1", "boot_id": "a", "seq": 1, "quantity": "1"}, "quantity_or_value", "data.quantity"),
        ({"seq": 1}, "invalid", "data.seq"),
        ({"specversion": "0.3"}, "specversion", "specversion"),
        ({"id": ""}, "invalid", "id"),
        ({"id": "a\tb"}, "invalid", "id"),
        ({"source": "x" * 201}, "invalid", "source"),
        ({"type": "GPU hours"}, "invalid", "type"),
        ({"time": "2026-03-01T12:00:00"}, "invalid", "time"),
        ({"time": "2026-02-30T12:00:00Z"}, "invalid", "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "invalid", "time"),
        ({"subject": "nobody-we-know"}, "subject_unknown", "subject"),
        ({"data": None}, "invalid", "data"),
        ({"data": {"pool": "x", "unit": "y", "quantity": "1", "more": 1}}, "unknown_field", "data.more"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_it_kept(pool: Pool, change: dict[str, Any], code: str, field: str) -> None:
    [wrong, right] = sent(pool, an_event(pool, **change), an_event(pool)).answers
    assert (wrong.status, wrong.code, wrong.field) == ("invalid", code, field)
    assert right.status == "accepted"
    assert (UsageEvent.objects.count(), QuarantinedEvent.objects.count()) == (1, 0)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(
    st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data", "pool", "unit", "value", "seq"]), c)))
def test_whatever_is_sent_reading_never_raises(document: Any) -> None:
    assert isinstance(read(document), Event | Refused)


def test_sums_go_beyond_64_bits(pool: Pool) -> None:
    sent(pool, *(an_event(pool, quantity=f"{'9' * 30}.{'9' * 12}") for _ in range(3)))
    total = UsageEvent.objects.aggregate(total=Sum("quantity"))["total"]
    assert str(total) == f"2{'9' * 30}.{'9' * 11}7"


def test_texts_come_back_as_they_were_sent(pool: Pool) -> None:
    labels = {"path\\n": "C:\\temp\\t", "name": "算力 \"x\"", "rtl": "\u202e"}
    sent(pool, an_event(pool, id="back\\slash\\N", source="urn:\\", labels=labels))
    stored = UsageEvent.objects.get()
    assert (stored.external_id, stored.series.source, stored.labels) == ("back\\slash\\N", "urn:\\", labels)


def test_an_id_that_is_ordered_by_time_makes_keys_that_are() -> None:
    ids = [str(uuid7()) for _ in range(3)]
    keys = [key_of(1, "a", one) for one in ids]
    assert [key[:12] for key in keys] == [one.replace("-", "")[:12] for one in ids]
    assert len({*keys, key_of(2, "a", ids[0]), key_of(1, "b", ids[0]), key_of(1, "a", "x")}) == 6
    assert all(len(UUID(key).bytes) == 16 for key in keys)


@pytest.mark.parametrize(("text", "shortest"), [("007.500", "7.5"), ("0.0", "0"), ("100", "100"), ("000", "0"), ("0.10", "0.1")])
def test_amounts_have_one_spelling(text: str, shortest: str) -> None:
    assert plain(text) == shortest


def test_a_batch_of_any_size_takes_the_same_statements(pool: Pool) -> None:
    def counted(size: int) -> int:
        events = [an_event(pool, type=f"meter{n % 7}") for n in range(size)]
        sent(pool, *events[: size // 10])
        events += [event | {"data": event["data"] | {"quantity": "5"}} for event in events[: size // 20]]
        with CaptureQueriesContext(connection) as queries:
            sent(pool, *events)
        return len(queries)

    counted(100)
    few = counted(20)
    assert few == counted(900) <= 16
    assert counted(4_000) == counted(5_000) == few + 3, "its quarters are looked up while the next is read"


@pytest.mark.parametrize("table", [UsageEvent, UsageSeries, UsageBatch, QuarantinedEvent])
@pytest.mark.parametrize("how", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {} = {}"])
def test_what_was_said_never_changes(pool: Pool, table: Any, how: str) -> None:
    event = an_event(pool)
    sent(pool, event, event | {"data": event["data"] | {"quantity": "5"}})
    name, column = table._meta.db_table, table._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(how.format(name, column, column))


def test_a_reading_is_counted_once_per_boot_and_seq(pool: Pool) -> None:
    reading = {"value": "10", "boot_id": "a", "seq": 1}
    assert statuses(pool, an_event(pool, **reading)) == [("accepted", "")]
    assert statuses(pool, an_event(pool, **reading)) == [("conflict", "seq_used")]
    assert statuses(pool, an_event(pool, **reading | {"boot_id": "b"})) == [("accepted", "")]


def test_an_event_leaves_its_hour_dirty_and_a_late_reading_the_next_ones_too(pool: Pool) -> None:
    first, second, third = (timezone.now() - timedelta(hours=h) for h in (6, 4, 2))
    sent(pool, *(an_event(pool, value=v, boot_id="a", seq=s, time=t) for v, s, t in (("1", 1, first), ("9", 3, third))))
    UsageDirty.objects.all().delete()
    sent(pool, an_event(pool, value="5", boot_id="a", seq=2, time=second))
    hours = {one.hour for one in UsageDirty.objects.all()}
    assert hours == {one.replace(minute=0, second=0, microsecond=0) for one in (second, third)}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_and_any_repetition_give_the_same_totals(pool: Pool, data: st.DataObject) -> None:
    quantities = data.draw(st.lists(st.integers(0, 10**20), min_size=1, max_size=12))
    events = [an_event(pool, quantity=str(quantity)) for quantity in quantities]
    replayed = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=12))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(replayed)), max_size=3)))
    with transaction.atomic():
        for start, end in zip([0, *cuts], [*cuts, len(replayed)], strict=True):
            sent(pool, *replayed[start:end])
        found = UsageEvent.objects.aggregate(total=Sum("quantity"))["total"]
        assert (found, UsageEvent.objects.count()) == (sum(quantities), len(events))
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_the_same_batch_sent_by_two_at_once_is_counted_once(pool: Pool) -> None:
    events = [an_event(pool) for _ in range(500)]
    ready, answers = threading.Barrier(2), []

    def send(order: int) -> None:
        try:
            ready.wait()
            answers.append(sent(pool, *events[::order]).counts)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(order,)) for order in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one["accepted"] for one in answers) == sum(one["duplicate"] for one in answers) == 500
    assert UsageEvent.objects.count() == 500


@pytest.mark.django_db(transaction=True)
def test_an_event_that_another_commits_after_it_was_looked_up_is_its_duplicate(pool: Pool, monkeypatch: Any) -> None:
    mine, both, last = an_event(pool), an_event(pool), an_event(pool)
    binary = Columns.binary
    sent(pool, an_event(pool))  # their series is known: a new one would make the other wait

    def another_first(*arguments: Any) -> bytes:
        monkeypatch.undo()
        other = threading.Thread(target=lambda: (sent(pool, both), connection.close()))
        other.start()
        other.join()
        return binary(*arguments)

    monkeypatch.setattr(Columns, "binary", another_first)
    assert statuses(pool, mine, both, last) == [("accepted", ""), ("duplicate", ""), ("accepted", "")]
    assert UsageEvent.objects.count() == 4


# Through HTTP.


def post(person: Any, body: Any, media_type: str = "application/cloudevents-batch+json") -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return build.client_of(person).generic("POST", URL, raw, content_type=media_type)


@pytest.mark.parametrize("kind", ["cloudevents-batch+json", "cloudevents+json", "x-ndjson", "json"])
def test_events_come_one_by_one_in_lists_and_in_lines(pool: Pool, kind: str) -> None:
    events = [an_event(pool) for _ in range(3)]
    bodies = {"cloudevents+json": events[0], "x-ndjson": b"\n".join(map(orjson.dumps, events)) + b"\n\n{oops\n"}
    answer = post(build.bob(), bodies.get(kind, events), f"application/{kind}")
    assert answer.status_code == 200
    counts = answer.json()["counts"]
    assert counts["accepted"] == (1 if kind == "cloudevents+json" else 3)
    assert counts["invalid"] == (1 if kind == "x-ndjson" else 0)


def test_an_answer_names_each_event_and_what_is_wrong_with_it(pool: Pool) -> None:
    event = an_event(pool, quantity="-1")
    [row] = post(build.bob(), [event]).json()["rows"]
    wrong = {"status": "invalid", "code": "negative", "field": "data.quantity", "detail": "usage is never negative"}
    assert row["index"] == 0
    assert wrong.items() <= row.items()


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "cloudevents-batch+json", 400, "parse_error"),
        ({}, "cloudevents-batch+json", 422, "invalid_body"),
        ([], "cloudevents+json", 422, "invalid_body"),
        ([1] * 10_001, "cloudevents-batch+json", 413, "too_many_events"),
        (b"1\n" * 10_001, "x-ndjson", 413, "too_many_events"),
        (b"a,b", "octet-stream", 415, "unsupported_media_type"),
    ],
)
def test_what_is_no_batch_is_refused_whole(pool: Pool, body: Any, kind: str, status: int, code: str) -> None:
    answer = post(build.bob(), body, f"application/{kind}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_beyond_the_bound_is_refused(pool: Pool, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert post(build.bob(), [an_event(pool)]).status_code == 413


def test_a_provider_sees_its_own_quarantine_and_an_operator_decides(pool: Pool) -> None:
    post(build.bob(), [an_event(pool, time=timezone.now() - timedelta(days=50))])
    client = build.client_of(build.bob())
    [kept] = client.get("/api/v1/usage/quarantine?state=open").json()["results"]
    assert kept["reason"] == "too_old"
    assert build.client_of(build.mallory()).get("/api/v1/usage/quarantine").json()["results"] == []
    door = f"/api/v1/usage/quarantine/{kept['number']}/accept"
    assert client.post(door).status_code == 403
    assert build.client_of(build.olga()).post(door).json()["state"] == "accepted"
    assert build.client_of(build.olga()).post(door).json()["code"] == "usage_decided"
    assert client.get("/api/v1/usage/quarantine?state=other").json()["code"] == "invalid_parameter"
    assert UsageEvent.objects.count() == 1

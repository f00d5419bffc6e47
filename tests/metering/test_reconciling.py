"""A provider's counters against the platform's: every row of either side is named, and runs are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid, Malformed
from core.zones import zone_named
from marketplace.models import WebhookEndpoint, WebhookEvent
from metering.events.correcting import correct_events
from metering.events.storing import take
from metering.models import Reconciliation, ReconciliationRow, ReconciliationRun
from metering.reconciling.comparing import Compared, Name, Status, Tolerance, compare
from metering.reconciling.reading import Counter, counters_of, rows_of_csv, rows_of_lines
from metering.reconciling.running import reconcile, run_again
from metering.telling import tell_reconciliation
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_usage import an_event

UTC_ZONE = zone_named("UTC")
JUNE, JULY = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
HEADER = b"pool,meter,unit,from,to,quantity\n"
NAME = Name(1, None, "gpu_hour", "hour", JUNE, JULY)


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def report(market: Market, quantity: str, **changes: Any) -> None:
    customer = changes.pop("customer", market.alice)
    event = an_event(market.pool, customer, time=JUNE + timedelta(days=2), quantity=quantity, **changes)
    [answer] = take(market.bob, [event], now=JUNE + timedelta(days=3)).answers
    assert answer.status == "accepted", answer


def counter(market: Market, quantity: str, **changes: Any) -> Counter:
    said: dict[str, Any] = {"pool": market.pool.identifier, "customer": "", "meter": "gpu_hour", "unit": "hour", "start": JUNE}
    return Counter(**(said | {"end": JULY, "quantity": Decimal(quantity)} | changes))


def told(run: ReconciliationRun) -> list[tuple[str, Decimal | None, Decimal | None]]:
    return [(row.status, row.theirs, row.ours) for row in ReconciliationRow.objects.filter(run=run).order_by("pk")]


# Pure.


@pytest.mark.parametrize(
    ("theirs", "ours", "status"),
    [("100", "100", "matched"), ("101", "100", "within"), ("99", "100", "within"), ("102.1", "100", "off"), ("97", "100", "off")],
)
def test_a_difference_up_to_the_larger_tolerance_is_within(theirs: str, ours: str, status: str) -> None:
    known = {NAME._replace(customer=7): (Decimal(ours), 2)}
    [row] = compare({NAME: Decimal(theirs)}, known, Tolerance(Decimal("0.5"), Decimal("0.02")))
    assert (row.status, row.facts, row.difference) == (status, 2, Decimal(theirs) - Decimal(ours))


def test_what_one_side_does_not_know_is_named_on_the_other() -> None:
    other, third = NAME._replace(meter="disk"), NAME._replace(pool=2)
    rows = compare({NAME: Decimal(1), other: Decimal(0)}, {third._replace(customer=7): (Decimal(5), 1)}, Tolerance())
    assert {(row.name.pool, row.name.meter): row.status for row in rows} == {
        (1, "gpu_hour"): Status.MISSING_HERE, (1, "disk"): Status.MATCHED, (2, "gpu_hour"): Status.MISSING_THERE,
    }  # fmt: skip


def test_where_customers_are_named_those_that_are_not_are_missing() -> None:
    ours = {NAME._replace(customer=who): (Decimal(5), 1) for who in (7, 8)}
    by_customer = compare({NAME._replace(customer=7): Decimal(5)}, ours, Tolerance())
    assert [(row.name.customer, row.status) for row in by_customer] == [(7, "matched"), (8, "missing_there")]
    assert [row.status for row in compare({NAME: Decimal(10)}, ours, Tolerance())] == ["matched"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5)), max_size=9),
       st.dictionaries(st.integers(1, 3), st.integers(0, 9), max_size=3))  # fmt: skip
def test_every_sum_and_every_counter_is_in_one_row(facts: list[tuple[int, int, int]], said: dict[int, int]) -> None:
    ours: dict[Name, tuple[Decimal, int]] = {}
    for pool, customer, quantity in facts:
        name = NAME._replace(pool=pool, customer=customer)
        ours[name] = ours.get(name, (Decimal(0), 0))[0] + quantity, 1
    theirs = {NAME._replace(pool=pool): Decimal(quantity) for pool, quantity in said.items()}
    rows: list[Compared] = compare(theirs, ours, Tolerance())
    assert sum(row.theirs or 0 for row in rows) == sum(theirs.values())
    known = sum(quantity for _, _, quantity in facts) if theirs else 0
    assert sum(row.ours or 0 for row in rows) == known


# Files.


def test_files_are_read_with_days_of_the_zone() -> None:
    shanghai = zone_named("Asia/Shanghai")
    [one] = counters_of(rows_of_csv(b"\xef\xbb\xbf" + HEADER + b"P,gpu_hour,hour,2026-06-01,2026-07-01,007.50\n"), shanghai)
    line = b'{"pool":"P","meter":"gpu_hour","unit":"hour","from":"2026-05-31T16:00:00Z","to":"2026-07-01","quantity":"7.5"}\n\n'
    assert counters_of(rows_of_lines(line), shanghai) == [one]
    assert (one.start, one.quantity) == (datetime(2026, 5, 31, 16, tzinfo=UTC), Decimal("7.5"))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"P,gpu_hour,hour,2026-06-01,2026-07-01,-1", "rows.0.quantity"),
        (b"P,gpu_hour,hour,2026-06-01,2026-07-01,1e3", "rows.0.quantity"),
        (b"P,gpu_hour,hour,2026-07-01,2026-06-01,1", "rows.0.to"),
        (b"P,gpu_hour,hour,yesterday,2026-06-01,1", "rows.0.from"),
        (b"P,gpu_hour,ho ur,2026-06-01,2026-07-01,1", "rows.0.unit"),
        (b",gpu_hour,hour,2026-06-01,2026-07-01,1", "rows.0.pool"),
        (b"P,gpu_hour,hour,2026-06-01,2026-07-01", "rows.0.quantity"),
        (b"P,gpu_hour,hour,2026-06-01,2026-07-01,1\nP,gpu_hour,hour,2026-06-01,2026-07-01,2", "rows.1"),
        (b"", None),
    ],
)
def test_a_file_with_a_wrong_row_is_refused_whole(line: bytes, field: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        counters_of(rows_of_csv(HEADER + line), UTC_ZONE)
    assert (refused.value.code, refused.value.field) == ("counters_invalid", field)


def test_what_is_no_file_is_said_to_be_none() -> None:
    for read, body in ((rows_of_csv, b"\xff\xfe"), (rows_of_lines, b"{oops")):
        with pytest.raises(Malformed):
            read(body)
    with pytest.raises(Invalid, match="header"):
        rows_of_csv(b"pool,meter\n")


# Runs.


def test_counters_meet_the_sums_of_records_and_events(market: Market) -> None:
    task = make_task(market, units=1)
    make_usage(market, task, make_attempt(market, task, make_need(), leased_at=JUNE, ended_at=JUNE + timedelta(hours=1)))
    report(market, "7.5")
    report(market, "2.5", customer=market.carol)
    run = reconcile(
        market.bob,
        [counter(market, "10"), counter(market, "1.51", meter="core_second", unit="second"), counter(market, "1", meter="disk")],
        Tolerance(Decimal("0.02")),
    )
    assert told(run) == [
        ("within", Decimal("1.51"), Decimal("1.5")), ("missing_here", Decimal(1), None), ("matched", Decimal(10), Decimal(10)),
    ]  # fmt: skip
    assert run.counts == {"matched": 1, "within": 1, "off": 0, "missing_here": 1, "missing_there": 0}


def test_customers_pools_and_periods_that_nobody_named_are_missing_there(market: Market) -> None:
    report(market, "7.5")
    report(market, "2.5", customer=market.carol)
    run = reconcile(market.bob, [counter(market, "7.5", customer=market.alice.slug)], Tolerance())
    assert told(run) == [("matched", Decimal("7.5"), Decimal("7.5")), ("missing_there", None, Decimal("2.5"))]


def test_a_run_again_sees_what_was_corrected_and_the_first_stays(market: Market) -> None:
    report(market, "100", id="e")
    first = reconcile(market.bob, [counter(market, "10")], Tolerance())
    correct_events(market.bob, [{"source": "/bob/meter", "id": "e", "name": "typo", "quantity": "10"}])
    second = run_again(first.reconciliation)
    assert [told(first)[0][0], told(second)[0][0], second.number] == ["off", "matched", 2]
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE metering_reconciliationrow SET status = 'matched'")


def test_the_provider_alone_is_told_of_each_run_that_is_out_of_tolerance_and_of_no_other(market: Market) -> None:
    for organization in (market.alice, market.bob):
        WebhookEndpoint.objects.create(organization=organization, url="https://example.com/hook", types=["reconciliation.*"])
    report(market, "100", id="e")
    reconcile(market.bob, [counter(market, "101")], Tolerance(Decimal(1)))
    assert not WebhookEvent.objects.exists()
    run = reconcile(market.bob, [counter(market, "10")], Tolerance(Decimal("0.50")), name="June")
    tell_reconciliation(run)
    event = WebhookEvent.objects.get()
    assert (event.organization, event.type) == (market.bob, "reconciliation.off")
    assert (event.data["run"], event.data["absolute"]) == (1, "0.5")
    assert (event.data["reconciliation"], event.data["counts"]["off"]) == (run.reconciliation_id, 1)
    run_again(run.reconciliation)
    correct_events(market.bob, [{"source": "/bob/meter", "id": "e", "name": "typo", "quantity": "10"}])
    run_again(run.reconciliation)
    assert list(WebhookEvent.objects.order_by("number").values_list("data__run", flat=True)) == [1, 2]


def test_any_number_of_counters_takes_the_same_statements(market: Market, django_assert_max_num_queries: Any) -> None:
    counters = [counter(market, "1", meter=f"m{number}") for number in range(200)]
    with django_assert_max_num_queries(14):
        reconcile(market.bob, counters, Tolerance())
    assert ReconciliationRow.objects.count() == 200


def test_foreign_pools_and_unknown_customers_are_refused_and_nothing_is_written(market: Market) -> None:
    for provider, changes, field in (
        (market.carol, {}, "rows.0.pool"),
        (market.bob, {"customer": "nobody"}, "rows.0.customer"),
    ):
        with pytest.raises(Invalid) as refused:
            reconcile(provider, [counter(market, "1", **changes)], Tolerance())
        assert refused.value.field == field
    assert not Reconciliation.objects.exists()


def test_providers_upload_read_and_run_again_at_doors(db: None) -> None:
    pool = build.a_pool()
    bob, mallory = build.client_of(build.bob()), build.client_of(build.mallory())
    door = "/api/v1/usage/reconciliations"
    body = HEADER + f"{pool.identifier},gpu_hour,hour,2026-06-01,2026-07-01,7\n".encode()
    made = bob.generic("POST", f"{door}?relative=0.01&name=June", body, content_type="text/csv")
    assert (made.status_code, made.json()["runs"][0]["counts"]["missing_here"]) == (201, 1)
    one = f"{door}/{made.json()['number']}"
    assert bob.get(f"{one}/rows?status=missing_here").json()["results"][0]["theirs"] == "7"
    assert bob.get(f"{one}/rows?status=nothing").status_code == 422
    assert bob.post(f"{one}/runs").json()["run"] == 2
    assert [run["run"] for run in bob.get(one).json()["runs"]] == [1, 2]
    assert mallory.get(one).status_code == 404
    assert bob.generic("POST", f"{door}?relative=2", body, content_type="text/csv").json()["field"] == "relative"
    assert bob.generic("POST", door, b"nonsense", content_type="text/csv").json()["code"] == "counters_invalid"

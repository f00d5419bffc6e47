"""What PostgreSQL keeps of usage, prices, months, invoices and holds, against random histories and a plain model of each.

I4 stored once, I5 another payload refused, I6 prices and I7 months do not overlap, I8 final is final, I9 an invoice is its lines,
I11 no hold beyond what there is, I12 resolved once, I15 made again from what stands on it; the ledger's own are in
test_invariants.py. docs/billing/ledger.md names the mechanism of each.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Sum
from django.utils import timezone
from hypothesis import strategies as st

from billing.models import InvoicedCharge, InvoiceTax, PeriodCharge
from billing.periods import safe_cutoff
from billing.periods.fees import fee_lines_of
from billing.periods.posting import points_of
from billing.periods.reading import Payee, lines_of, months_of, total_micros
from billing.queries import is_balanced, trial_balance
from billing.rating import shares_of
from marketplace.models import Hold, Offer
from metering.models import QuarantinedEvent, UsageEvent
from tests import builders as build
from tests.billing.histories import checked, execute, refused
from tests.builders_billing import make_market, make_organization, make_pool, make_task
from tests.builders_credit import allow
from tests.builders_invoices import CENT, balance, make_invoice, make_line, make_period, make_tax, move_to
from tests.builders_periods import MARCH, at, close, corrected, period_market, priced_by_month, used
from tests.builders_settlement import UNIT, a_share
from tests.builders_usage import an_event, sent

pytestmark = pytest.mark.django_db
PARTIES = ("provider", "publisher", "platform")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
span = st.tuples(st.integers(0, 40), st.integers(1, 20))  # first day, and how many


def test_i4_i5_whatever_is_sent_the_first_payload_of_a_key_is_counted_once_and_every_other_is_kept_once() -> None:
    build.alice()
    pool, noon = build.a_pool(build.bob()), timezone.now() - DAY
    one = st.tuples(st.sampled_from("abc"), st.integers(1, 3))

    @checked(20, batches=st.lists(st.lists(one, min_size=1, max_size=5), max_size=4))
    def body(batches: list[list[tuple[str, int]]]) -> None:
        first: dict[str, int] = {}
        kept: set[tuple[str, int]] = set()
        for batch in batches:
            expected = []
            for key, quantity in batch:
                expected.append("accepted" if key not in first else "duplicate" if first[key] == quantity else "conflict")
                if first.setdefault(key, quantity) != quantity:
                    kept.add((key, quantity))
            events = [an_event(pool, id=key, quantity=str(quantity), time=noon) for key, quantity in batch]
            assert [answer.status for answer in sent(pool, *events).answers] == expected
        assert UsageEvent.objects.count() == len(first)
        assert (UsageEvent.objects.aggregate(sum=Sum("quantity"))["sum"] or 0) == sum(first.values())
        found = QuarantinedEvent.objects.values_list("document__id", "document__data__quantity")
        assert Counter((key, int(quantity)) for key, quantity in found) == Counter(kept)


def test_i6_price_lists_of_a_pool_and_a_customer_are_taken_just_when_they_do_not_overlap() -> None:
    pools = [make_pool(make_organization("bob", is_provider=True)) for _ in range(2)]
    customers = [None, make_organization("alice"), make_organization("mallory")]

    @checked(25, lists=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), span), max_size=6))
    def body(lists: list[tuple[int, int, tuple[int, int]]]) -> None:
        taken: list[tuple[int, int, int, int]] = []
        for pool, whose, (first, days) in lists:
            last = first + days
            free = all((pool, whose) != key[:2] or last <= key[2] or first >= key[3] for key in taken)
            valid = DateTimeTZRange(BEGIN + first * DAY, BEGIN + last * DAY)
            said: dict[str, Any] = {"pool": pools[pool], "customer": customers[whose], "basis": "consumption", "per_period": True}
            assert refused(lambda said=said, valid=valid: Offer.objects.create(valid=valid, **said)) is not free
            taken += [(pool, whose, first, last)] if free else []


def copied(row: PeriodCharge, **changes: Any) -> None:
    """The row once more with other values, whatever any service would say to it."""
    names = [field.column for field in PeriodCharge._meta.concrete_fields if not field.primary_key]
    chosen = ", ".join("%s" if name in changes else name for name in names)
    values = [changes[name] for name in names if name in changes]
    execute(f"INSERT INTO billing_periodcharge ({', '.join(names)}) SELECT {chosen} FROM billing_periodcharge WHERE id = %s",
            *values, row.pk)  # fmt: skip


def test_i7_months_of_a_subject_are_charged_just_when_they_do_not_overlap_and_revisions_just_when_they_go_on() -> None:
    market = period_market("occupancy", {"occupancy_second": "1"}, {"quantum_s": 60})
    used(market, at("2026-03-03 10:00"), 60)
    close(market)
    row = PeriodCharge.objects.get()
    months = st.tuples(st.just("month"), span)
    off_by = st.sampled_from([0, 0, 0, 0, 0, 1])
    revisions = st.tuples(st.just("revision"), st.tuples(st.sampled_from([1, 1, 1, 2, 2, 3]), st.integers(0, 5), off_by))

    @checked(40, steps=st.lists(months | revisions, max_size=8))
    def body(steps: list[tuple[str, Any]]) -> None:
        taken: list[tuple[int, int]] = []
        totals = [row.total_micros]
        for what, given in steps:
            if what == "month":
                first, last = given[0], given[0] + given[1]
                period = DateTimeTZRange(BEGIN - 90 * DAY + first * DAY, BEGIN - 90 * DAY + last * DAY)
                free = all(last <= start or first >= end for start, end in taken)
                assert refused(lambda period=period: copied(row, period=period)) is not free
                taken += [(first, last)] if free else []
                continue
            number, total, off = given
            goes_on = number == len(totals) and not off
            delta = total - totals[min(number, len(totals)) - 1] + off  # or goes on from one that has been gone on from already
            more = {"revision": number, "base_id": row.pk, "total_micros": total, "amount_micros": delta}
            more |= {"provider_micros": delta, "platform_micros": 0}
            assert refused(lambda more=more: copied(row, **more)) is not goes_on
            totals += [total] if goes_on else []


HAPPENS = {"state", "paid_micros", "credited_micros", "ended_at", "reason"}  # to an invoice that is final
OTHER = {
    "bigint": "coalesce({0}, 0) + 1", "integer": "coalesce({0}, 0) + 1", "smallint": "{0} + 1", "numeric": "{0} + 1",
    "character varying": "CASE {0} WHEN '' THEN 'x' ELSE '' END", "text": "CASE {0} WHEN '' THEN 'x' ELSE '' END",
    "boolean": "NOT {0}", "jsonb": """'{{"x": 1}}'::jsonb""", "date": "{0} + 1",
    "timestamp with time zone": "coalesce({0}, now()) + interval '1 second'",
}  # fmt: skip


def test_i8_no_column_of_a_final_invoice_its_lines_taxes_or_charges_changes_and_none_comes_or_goes() -> None:
    invoice = make_invoice(make_period(make_organization("alice")), "grace")
    line = invoice.lines.get()
    InvoicedCharge.objects.create(charge=a_share(make_market(), UNIT), line=line)
    InvoiceTax.objects.create(invoice=invoice, rate=make_tax(), percent=6, base_micros=0, amount_micros=0)
    move_to(invoice, "finalized")
    spare = a_share(make_market(), UNIT)
    mine = {"billing_invoice": f"id = {invoice.pk}", "billing_invoiceline": f"invoice_id = {invoice.pk}",
            "billing_invoicetax": f"invoice_id = {invoice.pk}", "billing_invoicedcharge": f"line_id = {line.pk}"}  # fmt: skip
    found = execute("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = ANY(%s)",
                    list(mine))  # fmt: skip
    columns = {(table, name): kind for table, name, kind in found}
    never = sorted(key for key in columns if key[0] != "billing_invoice" or key[1] not in HAPPENS)
    statements = [f"DELETE FROM {table} WHERE {mine[table]}" for table in mine]
    statements += [
        f"UPDATE {table} SET {name} = {OTHER[columns[table, name]].format(name)} WHERE {mine[table]}" for table, name in never
    ]
    for role in ("origin", "replica"):
        execute(f"SET LOCAL session_replication_role = {role}")
        for statement in statements:  # all that there are: nothing is left to chance
            with pytest.raises(DatabaseError, match="refused|violates foreign key"), transaction.atomic():
                execute(statement)
    execute("SET LOCAL session_replication_role = origin")
    for more in (lambda: make_line(invoice, CENT), lambda: InvoicedCharge.objects.create(charge=spare, line=line)):
        assert refused(more)


def test_i9_an_invoice_becomes_final_just_when_it_is_the_sum_of_its_lines_and_taxes() -> None:
    period, rate = make_period(make_organization("alice")), make_tax()
    off = st.sampled_from([0, 0, 0, 0, CENT, -CENT])
    cents = st.tuples(st.integers(0, 10_000), st.integers(0, 500))

    @checked(30, first=st.integers(1, 9_999), lines=st.lists(cents, max_size=4), offs=st.tuples(off, off, off, off),
             part=st.sampled_from([0, 0, 0, 1]))  # fmt: skip
    def body(first: int, lines: list[tuple[int, int]], offs: tuple[int, int, int, int], part: int) -> None:
        net = (first + sum(amount for amount, _ in lines)) * CENT
        tax = sum(amount for _, amount in lines) * CENT
        said = {"net_micros": net + offs[0], "exact_micros": net + offs[1], "tax_micros": tax + offs[2]}
        fits = not any(offs) and not part and not any(value < 0 for value in said.values())
        fields = said | {"total_micros": said["net_micros"] + said["tax_micros"]}

        def issue() -> None:
            invoice = make_invoice(period, "grace", first, **fields)
            for amount, taxed in lines:
                make_line(invoice, amount * CENT + part, tax_micros=taxed * CENT)
            InvoiceTax.objects.create(invoice=invoice, rate=rate, percent=6, base_micros=net, amount_micros=tax + offs[3])
            move_to(invoice, "finalized")

        assert refused(issue) is not (fits or (not any(offs) and part and not lines))


def test_i11_holds_are_taken_and_grow_just_while_they_are_within_what_there_is() -> None:
    market = make_market()
    allow(market, 10)
    tasks = [make_task(market, state="running") for _ in range(4)]
    told = {"organization": market.alice, "currency": "CNY", "by": "estimate", "held_at": timezone.now()}
    which, micros = st.integers(0, 3), st.one_of(st.integers(1, 6 * UNIT), st.just(5 * UNIT))

    @checked(25, steps=st.lists(st.tuples(st.sampled_from(["hold", "hold", "release"]), which, micros), max_size=8))
    def body(steps: list[tuple[str, int, int]]) -> None:
        held: dict[int, int] = {}
        over: set[int] = set()
        for what, number, amount in steps:
            row = Hold.objects.filter(task=tasks[number])
            if number in over:
                continue
            if what == "release" and number in held:
                row.update(state="released", resolved_at=timezone.now())
                over.add(number)
                del held[number]
            elif what == "hold":
                wanted = held.get(number, 0) + amount
                fits = sum(held.values()) + amount <= 10 * UNIT
                make = lambda number=number, amount=amount: Hold.objects.create(task=tasks[number], amount_micros=amount, **told)  # noqa: E731
                grow = lambda row=row, wanted=wanted: row.update(amount_micros=wanted)  # noqa: E731
                assert refused(grow if number in held else make) is not fits
                held |= {number: wanted} if fits else {}
        assert execute("SELECT held_micros FROM marketplace_allowance") == [(sum(held.values()),)]


def test_i12_a_hold_resolves_once_and_captures_never_less_than_before_nor_more_than_it_has() -> None:
    market = make_market()
    allow(market, 100)
    task = make_task(market, state="running")
    told = {"organization": market.alice, "currency": "CNY", "by": "estimate", "held_at": timezone.now()}
    Hold.objects.create(task=task, amount_micros=10, **told)
    step = st.tuples(st.sampled_from(["held", "held", "captured", "released"]), st.integers(-1, 12))

    @checked(40, steps=st.lists(step, max_size=7))
    def body(steps: list[tuple[str, int]]) -> None:
        state, captured = "held", 0
        for following, micros in steps:
            fits = state == "held" and captured <= micros <= 10 and (following != "released" or micros == 0)
            values = {"state": following, "captured_micros": micros, "resolved_at": None if following == "held" else timezone.now()}
            assert refused(lambda values=values: Hold.objects.filter(task=task).update(**values)) is not fits
            state, captured = (following, micros) if fits else (state, captured)
        hold = Hold.objects.get(task=task)
        assert (hold.state, hold.captured_micros) == (state, captured)


def test_i15_every_charge_of_a_month_is_made_again_from_what_stands_on_it_whatever_came_later() -> None:
    by_time = period_market("occupancy", {"occupancy_second": "0.0001"}, {"quantum_s": 60})
    markets = [by_time, period_market("monthly_peak", {"held_cores": "3"})]
    cheaper = {"model": "volume", "tiers": [{"up_to": "2", "price": "0.7"}, {"price": "0.000001"}]}
    for market in markets:  # more results cost less, so that revisions take back
        priced_by_month(market, per_unit=cheaper, share={"model": "percentage", "percent": "7.3"})
    run = st.tuples(st.integers(0, 1), st.integers(0, 31 * 24 * 60), st.integers(1, 6_000), st.integers(1, 8), st.booleans())

    @checked(6, rounds=st.lists(st.lists(run, min_size=1, max_size=3), min_size=1, max_size=3))
    def body(rounds: list[list[tuple[int, int, int, int, bool]]]) -> None:
        for runs in rounds:
            for which, minute, seconds, cores, again in runs:
                usage = used(markets[which], at("2026-03-01 00:00") + timedelta(minutes=minute), seconds, cores)
                if again:
                    corrected(usage, core_ms=usage.core_ms * 2, held_core_ms=usage.held_core_ms * 2)
            for market in markets:
                close(market)
        shares: Counter[tuple[int, str]] = Counter()
        for charge in PeriodCharge.objects.order_by("pk"):
            months, _ = months_of([charge.organization_id], MARCH)
            lines = lines_of(months, charge.cutoff, final=True)
            lines += fee_lines_of(months, charge.cutoff, lines, final=True)
            (line,) = [one for one in lines if one.key.meter == charge.meter]
            assert (line.key.offer, line.key.version) == (charge.offer_id or 0, charge.version_id or 0)
            payee = Payee(charge.provider_id, charge.publisher_id, charge.currency)
            for party in PARTIES:
                shares[charge.subject_id, party] += getattr(charge, f"{party}_micros")
            stands = tuple(shares[charge.subject_id, party] for party in PARTIES)
            assert stands == shares_of(charge.total_micros, points_of(payee, charge.basis_points))
            assert (line.digest, total_micros(line.rated)) == (charge.digest, charge.total_micros)
            assert Decimal(line.rated.billed.numerator) / line.rated.billed.denominator == charge.billed
        assert is_balanced(trial_balance())
        for market in markets:
            for party, whose in (("provider", market.bob), ("publisher", market.carol)):
                owed = PeriodCharge.objects.filter(**{party: whose}).aggregate(sum=Sum(f"{party}_micros"))["sum"] or 0
                assert balance(f"{party}_payable", whose, "CNY") == -owed
        assert safe_cutoff() > max((charge.cutoff for charge in PeriodCharge.objects.all()), default=BEGIN)

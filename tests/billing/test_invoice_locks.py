"""Who waits for whom at invoices: a void waits for a run that has the account, dunning waits for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from django.db import OperationalError, connection, connections, transaction

from billing.invoices import sql
from billing.invoices.closing import LOCK_KEY, close_all, void_invoice
from billing.invoices.dunning import climb
from billing.models import Invoice
from tests.builders_billing import make_market
from tests.builders_invoices import CENT, MARCH, make_charge
from tests.builders_settlement import DAY
from tests.builders_wallet import owe

SOON, LATER = MARCH + 32 * DAY, MARCH + 36 * DAY

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def meanwhile(step: Callable[[], object]) -> Iterator[None]:
    """Somebody else has done a step in a transaction, and keeps it open as long as this lasts."""
    begun, ended = Event(), Event()

    def somebody() -> None:
        with transaction.atomic():
            step()
            begun.set()
            ended.wait(20)
        connections.close_all()

    other = Thread(target=somebody)
    other.start()
    assert begun.wait(20)
    try:
        yield
    finally:
        ended.set()
        other.join()


def has_account(organization: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.WAIT, {"key": LOCK_KEY, "organization": organization})


def test_an_invoice_is_not_voided_while_a_run_draws_charges_of_its_account() -> None:
    market, other = make_market(), make_market()
    for one in (market, other):
        make_charge(one, 5 * CENT, MARCH + DAY)
    close_all(SOON)
    close_all(LATER)
    mine, theirs = (Invoice.objects.get(organization=one.alice) for one in (market, other))
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    try:
        with meanwhile(lambda: has_account(market.alice.pk)):
            with pytest.raises(OperationalError):
                void_invoice(mine, "wrong address", LATER)
            void_invoice(theirs, "wrong address", LATER)  # the control: nobody has that account
        void_invoice(mine, "wrong address", LATER)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert Invoice.objects.filter(state="void").count() == 2


def test_an_invoice_that_is_being_paid_becomes_overdue_in_the_next_climb_if_it_was_not() -> None:
    market = make_market()
    paying, other = owe(market.alice, 100), owe(market.carol, 100)
    late = LATER + 400 * DAY
    with meanwhile(lambda: Invoice.objects.select_for_update().get(pk=paying.pk)):
        climb(late)
        assert set(Invoice.objects.filter(state="overdue")) == {other}
    climb(late)
    assert set(Invoice.objects.filter(state="overdue")) == {paying, other}

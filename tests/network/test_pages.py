"""Operators edit links in their pages and give bookings back."""

from __future__ import annotations

import pytest
from django.test import Client

from scheduler.models import NetworkLink, Reservation
from scheduler.services.network import reserve
from tests.admin.market import list_of, operator, page_of
from tests.builders import a_user
from tests.builders_network import a_link, a_wish

pytestmark = pytest.mark.django_db


def superuser() -> Client:
    client = Client()
    client.force_login(a_user("root", is_staff=True, is_superuser=True))
    return client


def form_of(link: NetworkLink, **changes: object) -> dict[str, object]:
    names = ("capacity_mbps", "free_mbps", "latency_p50_s", "latency_p90_s", "jitter_p99_s", "loss", "price_per_gb")
    same = {name: getattr(link, name) for name in (*names, "carbon_g_per_gb", "domain", "sid")}
    return same | {"source": link.source_id, "target": link.target_id} | changes


def test_a_changed_link_is_the_operators_word_as_of_now() -> None:
    link = a_link("a", "b", origin="imported")
    before = link.measured_at
    assert superuser().post(page_of(link), form_of(link, jitter_p99_s="0.00001")).status_code == 302
    link.refresh_from_db()
    assert (link.origin, link.jitter_p99_s) == ("operator", 0.00001)
    assert link.measured_at > before


def test_an_operator_joins_two_nodes() -> None:
    like = a_link("a", "b")
    form = form_of(like) | {"source": like.target_id, "target": like.source_id}
    assert superuser().post(list_of(NetworkLink) + "add/", form).status_code == 302
    made = NetworkLink.objects.latest("pk")
    assert (made.source.code, made.target.code, made.origin) == ("b", "a", "operator")


def test_values_that_cannot_be_are_told_in_the_form() -> None:
    link = a_link("a", "b")
    answer = superuser().post(page_of(link), form_of(link, latency_p50_s="0"))
    assert answer.status_code == 200
    link.refresh_from_db()
    assert link.latency_p50_s == 0.002


def test_the_list_shows_age_and_class() -> None:
    a_link("a", "b", jitter_p99_s=0.00001)
    page = operator().get(list_of(NetworkLink)).content.decode()
    assert "a → b" in page
    assert "J0" in page


def test_a_booking_is_given_back_whole() -> None:
    booked = reserve(a_wish(a_link("a", "b"), a_link("b", "c")))
    row = Reservation.objects.filter(booking=booked.number).first()
    operator().post(list_of(Reservation), {"action": "give_back", "_selected_action": [row.pk]})
    assert Reservation.objects.filter(released_at=None).count() == 0

"""Who comes in, for whom, and how guessing is slowed down."""

from __future__ import annotations

import pytest
from django.test import Client

from marketplace.auth import CHOSEN
from marketplace.models import Membership
from tests import builders as build
from tests.console.browser import browser_of, hidden, text_of

pytestmark = pytest.mark.django_db


def alice_with_a_password() -> build.Person:
    person = build.alice()
    build.a_user("alice", password=build.PASSWORD)
    return person


def log_in(client: Client, **more: str) -> int:
    given = {"username": "alice", "password": build.PASSWORD} | more
    return client.post("/login/", given).status_code


def test_a_person_logs_in_with_name_and_password_and_out_again() -> None:
    alice_with_a_password()
    client = browser_of(None)
    answer = client.post("/login/", {"username": "alice", "password": build.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "alice for Acme" in text_of(client.get("/"))
    assert client.post("/logout/")["Location"] == "/"
    assert "Log in" in text_of(client.get("/"))
    assert client.get("/tasks/").status_code == 302


def test_a_wrong_password_is_told_and_lets_nobody_in() -> None:
    alice_with_a_password()
    client = browser_of(None)
    answer = client.post("/login/", {"username": "alice", "password": "wrong"})
    assert answer.status_code == 200
    assert "correct username and password" in text_of(answer)
    assert client.get("/tasks/").status_code == 302


def test_logging_in_leads_on_to_the_page_that_was_asked_for() -> None:
    alice_with_a_password()
    client = browser_of(None)
    asked = client.get("/tasks/?state=failed")
    assert asked["Location"] == "/login/?next=/tasks/%3Fstate%3Dfailed"
    assert hidden(client.get(asked["Location"]), "next") == "/tasks/?state=failed"
    answer = client.post("/login/", {"username": "alice", "password": build.PASSWORD, "next": "/tasks/?state=failed"})
    assert answer["Location"] == "/tasks/?state=failed"


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "https:evil.example"])
def test_logging_in_never_leads_elsewhere(elsewhere: str) -> None:
    alice_with_a_password()
    given = {"username": "alice", "password": build.PASSWORD, "next": elsewhere}
    assert browser_of(None).post("/login/", given)["Location"] == "/"
    build.a_person("alice", build.an_organization("beta"))
    chosen = browser_of(build.alice()).post("/organization/", {"organization": "beta", "next": elsewhere})
    assert chosen["Location"] == "/"


def test_guessing_passwords_is_slowed_down_even_with_the_right_one() -> None:
    alice_with_a_password()
    client = browser_of(None)
    assert {log_in(client, password="wrong") for _ in range(10)} == {200}
    answer = client.post("/login/", {"username": "alice", "password": build.PASSWORD})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert "Too many attempts" in text_of(answer)
    assert client.get("/tasks/").status_code == 302


def test_the_page_and_the_api_count_guesses_together() -> None:
    alice_with_a_password()
    client = browser_of(None)
    for _ in range(10):
        client.post("/api/v1/keys/login", {"username": "alice", "password": "x"}, content_type="application/json")
    assert log_in(client) == 429


def test_operators_log_in_by_the_same_door() -> None:
    answer = browser_of(None).get("/admin/login/?next=/admin/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/admin/")
    stranger = browser_of(build.alice()).get("/admin/", follow=True)
    assert (stranger.status_code, stranger.redirect_chain[-1][0]) == (200, "/login/?next=%2Fadmin%2F")
    assert "You are alice" in text_of(stranger)


def test_a_form_from_elsewhere_does_nothing() -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(build.alice().user)
    for url in ("/organization/", "/keys/", "/logout/"):
        assert client.post(url, {"organization": "acme"}).status_code == 403


def test_who_has_several_organizations_chooses_one_and_acts_for_it_at_the_api_too() -> None:
    person = build.alice()
    build.a_person("alice", build.an_organization("beta", is_provider=True), "viewer")
    client = browser_of(person)
    asked = client.get("/tasks/")
    assert asked["Location"] == "/organization/?next=%2Ftasks%2F"
    assert client.post("/organization/", {"organization": "beta", "next": "/pools/"})["Location"] == "/pools/"
    assert "for Beta as viewer" in text_of(client.get("/pools/"))
    assert client.get("/api/v1/me").json()["organization"]["slug"] == "beta"
    named = client.get("/api/v1/me", headers={"X-Organization": "acme"})
    assert named.json()["organization"]["slug"] == "acme"


def test_nobody_chooses_a_stranger_s_organization() -> None:
    build.mallory()
    client = browser_of(build.alice())
    assert client.post("/organization/", {"organization": "mallorys"}).status_code == 404
    assert CHOSEN not in client.session


def test_a_choice_that_is_no_longer_theirs_is_forgotten() -> None:
    build.a_person("alice", build.an_organization("beta"))
    client = browser_of(build.alice())
    client.post("/organization/", {"organization": "beta"})
    Membership.objects.filter(organization__slug="beta").delete()
    assert "for Acme as owner" in text_of(client.get("/tasks/"))


def test_who_belongs_nowhere_is_told_so() -> None:
    client = browser_of(build.Person(build.a_user("dave"), build.an_organization("acme"), None))
    answer = client.get("/tasks/", follow=True)
    assert "no member of any organization" in text_of(answer)


def test_an_operator_looks_at_everybody_and_acts_for_whom_they_choose() -> None:
    build.alice()
    client = browser_of(build.Person(build.a_user("oscar", is_staff=True), build.an_organization("platform"), None))
    assert client.get("/tasks/").status_code == 200
    assert client.get("/bill/")["Location"] == "/organization/?next=%2Fbill%2F"
    client.post("/organization/", {"organization": "acme"})
    assert "Acme" in text_of(client.get("/bill/"))

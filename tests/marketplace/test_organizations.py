"""Organizations and their members: who may see and change them."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from core.errors import Conflict, DomainError
from marketplace.models import Membership, Organization
from marketplace.services.accounts import remove_member
from tests import builders as build

pytestmark = pytest.mark.django_db
OWN = "/api/v1/organization"
MEMBERS = "/api/v1/organization/members"


def test_me_says_who_one_is_and_what_one_may() -> None:
    answer = build.client_of(build.alice("viewer")).get("/api/v1/me").json()
    assert answer["user"] == {"username": "alice-viewer", "is_operator": False}
    assert answer["organization"]["slug"] == "acme"
    assert answer["role"] == "viewer"
    assert "tasks:read" in answer["scopes"]
    assert "tasks:write" not in answer["scopes"]


def test_a_person_of_several_organizations_chooses_by_header() -> None:
    alice = build.alice()
    build.a_person("alice", build.an_organization("beta"), "viewer")
    client = build.session_of(alice)
    assert client.get("/api/v1/me").json()["organization"] is None
    assert client.get("/api/v1/me").json()["organizations"] == ["acme", "beta"]
    assert client.get(OWN).json()["code"] == "organization_required"
    assert client.get(OWN, HTTP_X_ORGANIZATION="beta").json()["slug"] == "beta"
    assert client.patch(OWN, {"name": "Beta"}, HTTP_X_ORGANIZATION="beta").json()["code"] == "scope_missing"
    assert client.get(OWN, HTTP_X_ORGANIZATION="gamma").status_code == 404
    assert client.get(OWN, HTTP_X_ORGANIZATION="'; drop").status_code == 404


def test_an_owner_renames_the_organization_and_places_it() -> None:
    build.a_region("jiangsu")
    answer = build.client_of(build.alice()).patch(OWN, {"name": "Acme Ltd", "region": "jiangsu"})
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["region"]) == ("Acme Ltd", "jiangsu")


def test_what_kind_of_party_one_is_only_operators_say() -> None:
    assert build.client_of(build.alice()).patch(OWN, {"is_provider": True}).json()["code"] == "operators_only"
    answer = build.client_of(build.olga()).patch(OWN, {"is_provider": True}, HTTP_X_ORGANIZATION="acme")
    assert answer.json()["is_provider"] is True


def test_operators_admit_parties() -> None:
    build.a_user("dave")
    client = build.client_of(build.olga())
    body = {"slug": "daves", "name": "Dave's", "is_provider": True, "owner": "dave"}
    assert client.post("/api/v1/organizations", body).status_code == 201
    assert Membership.objects.get(user__username="dave").role == "owner"
    again = client.post("/api/v1/organizations", body)
    assert (again.status_code, again.json()["code"]) == (409, "organization_exists")
    assert Organization.objects.filter(slug="daves").count() == 1


def test_admitting_with_an_unknown_owner_writes_nothing() -> None:
    body = {"slug": "ghosts", "name": "Ghosts", "owner": "ghost"}
    answer = build.client_of(build.olga()).post("/api/v1/organizations", body)
    assert (answer.status_code, answer.json()["field"]) == (404, "owner")
    assert not Organization.objects.filter(slug="ghosts").exists()


@pytest.mark.parametrize("slug", ["", "A", "x", "9lives", "a b", "a" * 64, "ab\n"])
def test_a_slug_is_short_and_plain(slug: str) -> None:
    body = {"slug": slug, "name": "x", "owner": "olga"}
    answer = build.client_of(build.olga()).post("/api/v1/organizations", body)
    assert answer.status_code == 422 or answer.json()["slug"] == slug.strip()


def test_only_operators_list_all_organizations() -> None:
    build.bob()
    assert build.client_of(build.alice()).get("/api/v1/organizations").json()["code"] == "operators_only"
    rows = build.client_of(build.olga()).get("/api/v1/organizations").json()["results"]
    assert {row["slug"] for row in rows} >= {"bobs-pools", "platform"}


def test_members_come_change_and_go() -> None:
    build.a_user("dave")
    client = build.client_of(build.alice())
    assert client.post(MEMBERS, {"username": "dave", "role": "viewer"}).status_code == 201
    assert client.post(MEMBERS, {"username": "dave", "role": "owner"}).json()["code"] == "member_exists"
    assert client.patch(f"{MEMBERS}/dave", {"role": "billing"}).json()["role"] == "billing"
    assert [row["username"] for row in client.get(MEMBERS).json()["results"]] == ["dave", "alice"]
    assert client.delete(f"{MEMBERS}/dave").status_code == 204
    assert client.delete(f"{MEMBERS}/dave").json()["code"] == "member_unknown"


def test_a_member_does_not_manage_members() -> None:
    answer = build.client_of(build.alice("member")).post(MEMBERS, {"username": "bob", "role": "owner"})
    assert answer.json()["code"] == "scope_missing"


def test_a_strangers_members_are_not_found() -> None:
    build.alice()
    assert build.client_of(build.mallory()).delete(f"{MEMBERS}/alice").status_code == 404


def test_the_last_owner_stays() -> None:
    client = build.client_of(build.alice())
    assert client.patch(f"{MEMBERS}/alice", {"role": "viewer"}).json()["code"] == "last_owner"
    assert client.delete(f"{MEMBERS}/alice").json()["code"] == "last_owner"
    assert client.patch(f"{MEMBERS}/alice", {"role": "owner"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_remove_each_other_leave_one() -> None:
    organization = build.alice().organization
    build.a_person("dave", organization, "owner")
    start, errors = threading.Barrier(2), []

    def remove(username: str) -> None:
        start.wait(10)
        try:
            remove_member(organization, username)
        except DomainError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("alice", "dave")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [(type(error), error.code) for error in errors] == [(Conflict, "last_owner")]
    assert Membership.objects.filter(organization=organization, role="owner").count() == 1


def test_a_broken_cursor_is_bad_input() -> None:
    client = build.client_of(build.alice())
    for cursor in ("x", "cD1hYmM=", "cD0lMDA=", "bz0tMQ=="):
        answer = client.get(MEMBERS, {"cursor": cursor})
        assert (answer.status_code, answer.json()["field"]) == (422, "cursor"), cursor

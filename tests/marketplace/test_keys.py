"""Keys: shown once, stored hashed, scoped, expiring, revocable, rotated with an overlap."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from marketplace.models import ApiKey
from tests import builders as build

pytestmark = pytest.mark.django_db
KEYS = "/api/v1/keys"
LOGIN = "/api/v1/keys/login"


def key_works(text: str) -> bool:
    client = build.client_of(None)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return bool(client.get("/api/v1/me").status_code == 200)


def code_of(text: str) -> str:
    client = build.client_of(None)
    answer = client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {text}")
    assert answer.status_code == 401
    return str(answer.json()["code"])


def test_a_new_key_is_shown_once_and_only_its_hash_is_kept() -> None:
    client = build.client_of(build.alice())
    made = client.post(KEYS, {"name": "ci", "scopes": ["tasks:read"], "expires_in_days": 30})
    assert made.status_code == 201
    text = made.json()["key"]
    row = ApiKey.objects.get(prefix=made.json()["prefix"])
    assert key_works(text)
    assert text.rpartition("_")[2] not in str(vars(row))
    assert len(row.secret_hash) == 64
    assert "key" not in client.get(KEYS).json()["results"][0]


def test_a_key_with_another_secret_is_unknown() -> None:
    text = build.a_key(build.alice())
    prefix = text.split("_")[1]
    assert code_of(f"gf_{prefix}_{'A' * 43}") == "key_unknown"


@pytest.mark.parametrize("text", ["", "gf_", "nonsense", "gf_abcdefgh_%00", "gf_ABCDEFGHIJKL_x", "gf_x" * 999])
def test_what_is_no_key_at_all_is_unknown(text: str) -> None:
    assert code_of(text) == "key_unknown"


def test_an_expired_key_is_dead() -> None:
    assert code_of(build.a_key(build.alice(), expires_at=timezone.now())) == "key_expired"


def test_a_revoked_key_is_dead_at_once_and_may_be_revoked_again() -> None:
    alice = build.alice()
    text = build.a_key(alice)
    client = build.client_of(alice)
    for _ in range(2):
        assert client.delete(f"{KEYS}/{text.split('_')[1]}").status_code == 204
    assert code_of(text) == "key_revoked"


def test_a_strangers_key_is_not_found() -> None:
    text = build.a_key(build.alice())
    assert build.client_of(build.mallory()).delete(f"{KEYS}/{text.split('_')[1]}").status_code == 404
    assert key_works(text)


def test_a_key_of_somebody_who_left_is_dead() -> None:
    member = build.alice("member")
    text = build.a_key(member)
    build.client_of(build.alice()).delete("/api/v1/organization/members/alice-member")
    assert code_of(text) == "key_revoked"


def test_a_disabled_account_has_no_keys() -> None:
    alice = build.alice()
    text = build.a_key(alice)
    alice.user.is_active = False
    alice.user.save()
    assert code_of(text) == "account_disabled"


def test_nobody_hands_out_more_than_their_key_holds() -> None:
    client = build.client_of(build.alice(), scopes=("organization:write", "tasks:read"))
    assert client.post(KEYS, {"name": "less", "scopes": ["tasks:read"]}).status_code == 201
    for scope in ("tasks:write", "*"):
        answer = client.post(KEYS, {"name": "more", "scopes": [scope]})
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_not_held")


def test_only_owners_make_keys() -> None:
    answer = build.client_of(build.alice("member")).post(KEYS, {"name": "ci", "scopes": ["tasks:read"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["tasks:read"]}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["tasks:rule"]}, "scopes.0"),
        ({"name": "x", "scopes": ["tasks:read"], "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x" * 101, "scopes": ["tasks:read"]}, "name"),
        ({"name": "x", "scopes": ["tasks:read"], "expiry": 1}, "expiry"),
    ],
)
def test_bad_input_names_the_field_at_fault(body: object, field: str) -> None:
    answer = build.client_of(build.alice()).post(KEYS, body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"
    assert answer.json()["field"] == field
    assert answer["Content-Type"] == "application/problem+json"


def test_rotating_leaves_the_old_key_a_day() -> None:
    alice = build.alice()
    old = build.a_key(alice, scopes=["tasks:read"])
    made = build.client_of(alice).post(f"{KEYS}/{old.split('_')[1]}/rotate")
    assert made.status_code == 201
    assert made.json()["scopes"] == ["tasks:read"]
    assert key_works(old)
    assert key_works(made.json()["key"])
    row = ApiKey.objects.get(prefix=old.split("_")[1])
    assert row.expires_at is not None
    assert timedelta(hours=23) < row.expires_at - timezone.now() <= timedelta(hours=24)


def test_rotating_never_lengthens_the_old_keys_life() -> None:
    alice = build.alice()
    soon = timezone.now() + timedelta(hours=1)
    old = build.a_key(alice, expires_at=soon).split("_")[1]
    assert build.client_of(alice).post(f"{KEYS}/{old}/rotate").status_code == 201
    assert ApiKey.objects.get(prefix=old).expires_at == soon


def test_a_revoked_key_cannot_be_rotated() -> None:
    alice = build.alice()
    old = build.a_key(alice, revoked_at=timezone.now()).split("_")[1]
    answer = build.client_of(alice).post(f"{KEYS}/{old}/rotate")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_dead")


def test_an_owner_cannot_take_over_another_persons_key_by_rotating_it() -> None:
    text = build.a_key(build.alice("member"))
    answer = build.client_of(build.alice()).post(f"{KEYS}/{text.split('_')[1]}/rotate")
    assert (answer.status_code, answer.json()["code"]) == (403, "key_of_another")


def test_a_narrow_key_cannot_rotate_a_wide_one() -> None:
    alice = build.alice()
    text = build.a_key(alice)
    client = build.client_of(alice, scopes=("organization:write",))
    assert client.post(f"{KEYS}/{text.split('_')[1]}/rotate").json()["code"] == "scope_not_held"


def test_use_is_noted_at_most_once_a_minute() -> None:
    text = build.a_key(build.alice())
    key_works(text)
    first = ApiKey.objects.get().last_used_at
    key_works(text)
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    key_works(text)
    last = ApiKey.objects.get().last_used_at
    assert first is not None
    assert last is not None
    assert last > first


def test_a_password_gives_the_command_line_a_key() -> None:
    person = build.a_person("alice", build.an_organization(), password=build.PASSWORD)
    answer = build.client_of(None).post(LOGIN, {"username": "alice", "password": build.PASSWORD})
    assert answer.status_code == 201
    assert answer.json()["organization"] == person.organization.slug
    assert key_works(answer.json()["key"])


@pytest.mark.parametrize("username", ["alice", "nobody"])
def test_a_wrong_password_and_an_unknown_name_look_the_same(username: str) -> None:
    build.a_person("alice", build.an_organization(), password=build.PASSWORD)
    answer = build.client_of(None).post(LOGIN, {"username": username, "password": "wrong"})
    assert (answer.status_code, answer.json()["code"]) == (401, "login_failed")
    assert ApiKey.objects.count() == 0


def test_who_has_several_organizations_says_which() -> None:
    for slug in ("acme", "beta"):
        build.a_person("alice", build.an_organization(slug), password=build.PASSWORD)
    client, given = build.client_of(None), {"username": "alice", "password": build.PASSWORD}
    assert client.post(LOGIN, given).json()["code"] == "organization_required"
    assert client.post(LOGIN, given | {"organization": "beta"}).json()["organization"] == "beta"
    build.an_organization("gamma")
    assert client.post(LOGIN, given | {"organization": "gamma"}).json()["code"] == "organization_unknown"


def test_guessing_passwords_is_slowed_down() -> None:
    client = build.client_of(None)
    answers = [client.post(LOGIN, {"username": "nobody", "password": "x"}) for _ in range(11)]
    assert {answer.status_code for answer in answers[:10]} == {401}
    assert answers[10].status_code == 429
    assert int(answers[10]["Retry-After"]) > 0
    assert answers[10].json()["code"] == "throttled"


def test_a_session_needs_the_csrf_token_to_write() -> None:
    client = build.session_of(build.alice(), csrf=True)
    assert client.get("/api/v1/me").status_code == 200
    assert client.post(KEYS, {"name": "x", "scopes": ["*"]}).status_code == 403


def test_authenticating_by_key_is_one_query(django_assert_num_queries: Any) -> None:
    text = build.a_key(build.alice(), last_used_at=timezone.now())
    client = build.client_of(None)
    with django_assert_num_queries(2):  # the key, and the page of regions
        assert client.get("/api/v1/regions", HTTP_AUTHORIZATION=f"Bearer {text}").status_code == 200

"""Roles, scopes and keys decide who gets in; everything not named is denied."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import pytest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from marketplace.auth import caller_of
from marketplace.scopes import ALL_SCOPES, OPERATOR, PUBLIC, SCOPES_OF_ROLE, granted
from tests import builders as build

pytestmark = pytest.mark.django_db


class Probe(APIView):
    scopes: ClassVar = {"GET": "tasks:read", "POST": "tasks:write", "PUT": None, "PATCH": OPERATOR}

    def get(self, request: Request) -> Response:
        return Response({"as": caller_of(request).user.username})

    post = put = patch = delete = get


class Open(APIView):
    scopes: ClassVar = {"GET": PUBLIC}

    def get(self, request: Request) -> Response:
        return Response({})


def call(
    method: str, person: build.Person | None, scopes: tuple[str, ...] = ("*",), **headers: Any
) -> Response:
    if person is not None:
        headers["HTTP_AUTHORIZATION"] = f"Bearer {build.a_key(person, scopes=scopes)}"
    request = APIRequestFactory().generic(method, "/probe", **headers)
    answer = Probe.as_view()(request)
    assert isinstance(answer, Response)
    return answer


def test_anonymous_callers_get_401_and_learn_how_to_authenticate() -> None:
    answer = call("GET", None)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="gridfare"'


def test_a_method_that_names_no_scope_is_denied() -> None:
    assert call("DELETE", build.alice()).status_code == 403


def test_a_method_that_does_not_exist_is_405_for_everybody() -> None:
    assert call("TRACE", None).status_code == 405


def test_a_public_view_asks_nobody() -> None:
    assert Open.as_view()(APIRequestFactory().get("/open")).status_code == 200


def test_a_viewer_reads_and_does_not_write() -> None:
    viewer = build.alice("viewer")
    assert call("GET", viewer).status_code == 200
    answer = call("POST", viewer)
    assert (answer.status_code, answer.data["code"]) == (403, "scope_missing")


def test_a_key_is_narrower_than_its_person() -> None:
    assert call("POST", build.alice(), scopes=("tasks:read",)).status_code == 403
    assert call("GET", build.alice(), scopes=("tasks:read",)).status_code == 200


def test_a_key_is_never_wider_than_its_person() -> None:
    assert call("POST", build.alice("viewer"), scopes=("tasks:write",)).status_code == 403


def test_operators_pass_everywhere_but_only_with_a_whole_key() -> None:
    assert call("PATCH", build.olga()).status_code == 200
    assert call("PATCH", build.olga(), scopes=("tasks:read",)).data["code"] == "operators_only"
    assert call("PATCH", build.alice()).data["code"] == "operators_only"


def test_a_suspended_organization_may_only_read() -> None:
    alice = build.alice()
    alice.organization.suspended_at = alice.organization.created_at
    alice.organization.save()
    assert call("GET", alice).status_code == 200
    assert call("POST", alice).data["code"] == "organization_suspended"


def test_a_key_cannot_speak_for_another_organization() -> None:
    answer = call("GET", build.alice(), HTTP_X_ORGANIZATION=build.bob().organization.slug)
    assert (answer.status_code, answer.data["code"]) == (404, "organization_unknown")


def test_an_operator_may_speak_for_any_organization() -> None:
    assert call("GET", build.olga(), HTTP_X_ORGANIZATION=build.bob().organization.slug).status_code == 200


def test_every_role_holds_what_the_weaker_ones_hold() -> None:
    ladder = [SCOPES_OF_ROLE[name] for name in ("viewer", "billing", "member", "owner")]
    assert all(weaker < stronger for weaker, stronger in pairwise(ladder))
    assert ladder[-1] == ALL_SCOPES


def test_an_unknown_role_grants_nothing() -> None:
    assert granted("emperor", is_operator=False, key_scopes=None) == frozenset()

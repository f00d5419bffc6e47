"""Every route of the API says who may call it; nobody gets in without saying who they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from marketplace.permissions import HasScope
from marketplace.scopes import ALL_SCOPES, OPERATOR, PUBLIC
from tests import builders as build

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# A gateway signs its word, with a secret of its own.
OPEN_TO_ALL = {("POST", "keys/login"), ("POST", "gateways/<str:gateway>/callback")}
# One of these fits every converter of a path.
SAMPLES = ("7", "render", "abcdefghjkmn", "1.0.0", "640000-G-00001A-T", str(uuid4()), "a" * 64, "frames/1.png")


@dataclass(frozen=True)
class Route:
    """A path below /api/v1/, a path that it matches, its view's class and the scopes of its methods."""

    path: str
    sample: str
    view: Any
    scopes: dict[str, str | None]


def patterns(resolver: URLResolver, path: str = "", sample: str = "") -> Iterator[tuple[str, str, URLPattern]]:
    for one in resolver.url_patterns:
        here, there = path + str(one.pattern), sample + filled(one.pattern)
        if isinstance(one, URLResolver):
            yield from patterns(one, here, there)
        else:
            yield here, there, one


def filled(pattern: Any) -> str:
    text = str(pattern)
    for name, converter in pattern.converters.items():
        value = next(one for one in SAMPLES if re.fullmatch(converter.regex, one))
        text = re.sub(rf"<(\w+:)?{name}>", value, text)
    return text


def routes() -> list[Route]:
    """Every route of the API but its own description."""
    found = [one for one in patterns(get_resolver()) if one[0].startswith("api/v1/")]
    return [route_of(*one) for one in found if one[0] != "api/v1/openapi.json"]


def route_of(path: str, sample: str, pattern: URLPattern) -> Route:
    view: Any = getattr(pattern.callback, "cls", None)
    given = getattr(pattern.callback, "initkwargs", {})
    scopes = {**getattr(view, "scopes", {}), **given.get("scopes", {})}
    return Route(path.removeprefix("api/v1/"), f"/{sample}", view, scopes)


def methods_of(view: Any) -> list[str]:
    return [name for name in METHODS if hasattr(view, name.lower())]


def test_every_route_names_a_known_scope_for_each_of_its_methods() -> None:
    known = {*ALL_SCOPES, OPERATOR, PUBLIC, None}
    assert len(routes()) > 20
    for route in routes():
        assert route.view.permission_classes == [HasScope], route.path
        assert set(methods_of(route.view)) == set(route.scopes), route.path
        assert set(route.scopes.values()) <= known, route.path


@pytest.mark.django_db
def test_nobody_gets_in_without_saying_who_they_are() -> None:
    client = APIClient(raise_request_exception=False)
    for route in routes():
        for method in methods_of(route.view):
            if (method, route.path) in OPEN_TO_ALL:
                continue
            answer = client.generic(method, route.sample, "{}", content_type="application/json")
            assert answer.status_code == 401, (method, route.path)
            assert answer["Content-Type"] == "application/problem+json", (method, route.path)
            assert answer["WWW-Authenticate"] == 'Bearer realm="gridfare"', (method, route.path)


@pytest.mark.django_db
@pytest.mark.parametrize("scope", ["artifacts:read", "billing:read"])
def test_a_key_without_the_fitting_scope_opens_nothing(scope: str) -> None:
    client = build.client_of(build.alice(), scopes=[scope])
    for route in routes():
        for method in methods_of(route.view):
            if route.scopes[method] in {None, PUBLIC, scope}:
                continue
            answer = client.generic(method, route.sample, "{}", content_type="application/json")
            assert answer.status_code == 403, (method, route.path, answer.content)

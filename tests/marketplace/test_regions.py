"""The 31 provinces, with their GB/T 2260 codes and the coordinates of their capitals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.apps import apps

from marketplace.models import Region
from marketplace.regions import PROVINCES, load_regions
from tests import builders as build

pytestmark = pytest.mark.django_db


def test_every_province_is_there_with_its_code() -> None:
    client = build.client_of(build.alice())
    rows = {row["code"]: row for row in client.get("/api/v1/regions", {"limit": 500}).json()["results"]}
    assert len(PROVINCES) == 31
    assert {one.code for one in PROVINCES} <= set(rows)
    assert rows["ningxia"] == {
        "code": "ningxia",
        "gb_code": "640000",
        "name": "Ningxia",
        "name_zh": "宁夏回族自治区",
        "latitude": "38.48720",
        "longitude": "106.23090",
    }


def test_codes_are_unique_and_lie_in_china() -> None:
    assert len({one.gb_code for one in PROVINCES}) == len({one.code for one in PROVINCES}) == 31
    for one in PROVINCES:
        assert one.gb_code[2:] == "0000"
        assert Decimal(18) < Decimal(one.latitude) < Decimal(54)
        assert Decimal(73) < Decimal(one.longitude) < Decimal(136)


def test_loading_again_changes_nothing() -> None:
    before = set(Region.objects.values_list("pk", "code"))
    load_regions(apps)
    assert set(Region.objects.values_list("pk", "code")) == before


def test_regions_are_for_known_callers_only() -> None:
    assert build.client_of(None).get("/api/v1/regions").status_code == 401


def test_a_long_list_comes_in_pages() -> None:
    client = build.client_of(build.alice())
    seen, url = [], "/api/v1/regions?limit=10"
    while url:
        page = client.get(url).json()
        seen += [row["code"] for row in page["results"]]
        url = page["next"]
    assert seen == sorted(Region.objects.values_list("code", flat=True))

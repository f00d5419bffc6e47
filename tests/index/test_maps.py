"""Maps of borders: whole or refused, never without their approval number, kept as they came until they are withdrawn."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from console.index.outlines import MOST_LETTERS, outlined
from core.errors import Conflict, Invalid, NotFound
from index.borders import approval, read_map
from index.demo import fill
from index.maps import NewMap, keep_map, map_shown, marked_file, withdraw_map
from index.models import IndexMap
from index.regions import PROVINCES
from tests import builders as build
from tests.builders_maps import a_map, feature, features, square

NUMBER = "GS(2023)2767号"
TOLD = {"name": "Standard map", "approval_number": NUMBER, "publisher": "A ministry", "licence": "As published"}
database = pytest.mark.django_db


def kept(name: str = "squares") -> IndexMap:
    return keep_map(NewMap(**TOLD), a_map(name=name))


def without(*codes: int) -> list[dict[str, Any]]:
    return [one for one in features() if one["properties"]["adcode"] not in codes]


def refused(of: list[dict[str, Any]]) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read_map(a_map(of))
    return caught.value


def logged_in(person: Any) -> Client:
    client = Client()
    client.force_login(person.user)
    return client


# Reading.


def test_a_map_without_taiwan_hong_kong_macao_or_a_province_is_refused_with_their_names() -> None:
    error = refused(without(710000, 810000, 820000, 460000))
    assert error.code == "map_incomplete"
    assert error.data["missing"] == ["Hainan 海南省", "Taiwan 台湾省", "Hong Kong 香港特别行政区", "Macao 澳门特别行政区"]
    assert all(name in error.detail for name in ("Taiwan", "Hong Kong", "Macao"))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (feature(460000, [[20.0, 110.0], [18.0, 110.0], [18.0, 109.0], [20.0, 110.0]]), "longitude and latitude swapped?"),
        (feature(460000, [[12245143.0, 2273030.0]] * 4), "is not in the country"),
        (feature(460000, square(2, 8)[:-1]), "not closed"),
        (feature(460000, square(2, 8)[:2]), "a part of 2 positions"),
        (feature(460000), "has no shape"),
        (feature(460000, [["110", "20"]] * 4), "not two numbers"),  # type: ignore[list-item]
        (feature(460000, [[110.0, 20.0], [110.0], [111.0, 20.0], [110.0, 20.0]]), "different lengths"),
        (feature(460000, square(2, 8)) | {"geometry": None}, "neither a Polygon nor"),
        (feature(460000) | {"geometry": {"type": "Polygon", "coordinates": 7}}, "nested as no polygon's"),
        (feature(460000) | {"geometry": {"type": "LineString", "coordinates": square(2, 8)}}, "neither a Polygon nor"),
        (feature(460000, square(2, 8), name="广东省"), "is called 广东省, but 460000 is Hainan 海南省"),
        (feature(460100, square(2, 8)), "460100 is the code of no province"),
        (feature(None, square(2, 8)), "no code of GB/T 2260"),
        ({"type": "Feature", "geometry": None}, "no properties"),
        (feature(110000, square(2, 8)), "Beijing 北京市 stands twice"),
    ],
)
def test_what_is_wrong_with_a_feature_is_told_in_words(bad: dict[str, Any], words: str) -> None:
    error = refused([*without(460000), bad])
    assert error.code == "map_invalid"
    assert words in error.data["errors"][0]["detail"]
    assert error.data["errors"][0]["feature"] == 33


def test_all_that_is_wrong_is_told_at_once() -> None:
    error = refused([*without(460000, 110000), feature(1, square(1, 1)), feature(2, square(1, 1))])
    assert [one["feature"] for one in error.data["errors"]] == [32, 33]
    assert "and 1 more" in error.detail


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"type": "FeatureCollection", "features": {}}', b"[" * 9000])
def test_what_is_no_feature_collection_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="file is no|no features"):
        read_map(content)


def test_codes_may_be_numbers_or_text_with_the_countrys_before_them_and_borders_at_sea_may_be_lines() -> None:
    dashes = {"type": "MultiLineString", "coordinates": [[[109.0, 15.0], [110.0, 12.0]]]}
    sea = {"type": "Feature", "properties": {"adcode": "100000_JD"}, "geometry": dashes}
    found = read_map(b"\xef\xbb\xbf" + a_map([*without(460000), feature("156460000", square(2, 8), key="gb"), sea]))
    assert len(found) == 35
    assert len(found["100000"].lines) == 1


@pytest.mark.parametrize("text", ["GS(2023)2767号", "GS京(2022)1061号", "ＧＳ（2019）1822", "gs (2016) 1570 号", "粤S(2019)064号"])
def test_approval_numbers_are_written_in_many_ways(text: str) -> None:
    assert re.fullmatch(r"[^() ]+\(\d{4}\)\d+号?", approval(text))


@pytest.mark.parametrize("text", ["", "none", "2023", "GS()1号", "GS(2023)号", "GS(2023)1号<b>"])
def test_what_is_no_approval_number_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        approval(text)
    assert (caught.value.code, caught.value.field) == ("approval_invalid", "approval_number")


# Drawing.


def decoded(path: str, steps: int) -> np.ndarray[Any, Any]:
    """The corners of a path of one ring."""
    start, moves = re.fullmatch(r"M(\d+ \d+)l([-\d ]+)z", path).groups()  # type: ignore[union-attr]
    numbers = [int(one) for one in f"{start} {moves.replace('-', ' -')}".split()]
    return np.cumsum(np.array(numbers).reshape(-1, 2), axis=0) / steps


def test_neighbours_meet_and_the_north_is_on_top() -> None:
    outline = outlined(read_map(a_map()))
    corners = {code: decoded(path, outline.steps) for code, path in outline.paths.items()}
    assert len(corners) == 34
    assert corners["230000"][:, 1].max() <= corners["460000"][:, 1].min()
    east_of_beijing, west_of_tianjin = corners["110000"][:, 0].max(), corners["120000"][:, 0].min()
    assert east_of_beijing == west_of_tianjin
    assert max(corner[:, 1].max() for corner in corners.values()) <= outline.height
    x, y = outline.labels["440000"]
    assert np.allclose((x, y), corners["440000"].mean(axis=0), atol=0.2)


def test_no_island_is_left_out_however_coarse_the_drawing() -> None:
    around = np.linspace(0, 2 * np.pi, 60_000)
    coast = [[round(110 + np.cos(at), 5), round(20 + np.sin(at), 5)] for at in around[:-1]]
    islet = [[112.0, 8.0], [112.00001, 8.0], [112.00001, 8.00001], [112.0, 8.0]]
    large = [*without(460000), feature(460000, [*coast, coast[0]], islet)]
    outline = outlined(read_map(a_map(large)))
    assert sum(map(len, outline.paths.values())) <= MOST_LETTERS
    assert outline.paths["460000"].count("M") == 2
    assert outline.paths["460000"].endswith("l1 0 0 1z")


def test_a_large_map_is_drawn_on_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.index.outlines.MOST_LETTERS", 0)
    assert outlined(read_map(a_map())).steps == 1


# Keeping.


@database
def test_a_map_never_changes_and_is_never_deleted() -> None:
    one = kept()
    for change in ({"name": "other"}, {"approval_number": "GS(2024)1号"}, {"content": b"{}"}):
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            IndexMap.objects.filter(pk=one.pk).update(**change)
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        IndexMap.objects.all().delete()
    withdraw_map(one.pk, "outdated")
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        IndexMap.objects.filter(pk=one.pk).update(withdrawn_at=None, reason="")


@database
@pytest.mark.parametrize("number", ["", "none", "GS(2023)"])
def test_the_database_keeps_no_map_without_an_approval_number(number: str) -> None:
    one = kept()
    one.pk, one.digest, one.approval_number = None, "x", number
    with pytest.raises(IntegrityError, match="map_has_an_approval_number"), transaction.atomic():
        one.save(force_insert=True)


@database
def test_the_newest_is_shown_until_it_is_withdrawn_with_a_reason() -> None:
    first, second = kept("first"), kept("second")
    assert map_shown() == second
    with pytest.raises(Invalid, match="say why"):
        withdraw_map(second.pk, " ")
    withdraw_map(second.pk, "outdated")
    assert map_shown() == first
    with pytest.raises(Conflict, match="already"):
        withdraw_map(second.pk, "again")
    with pytest.raises(NotFound):
        withdraw_map(0, "none")
    with pytest.raises(Conflict):
        marked_file(second.pk)
    assert kept("second").pk != second.pk, "what was withdrawn may come again"


@database
def test_the_api_keeps_lists_copies_and_withdraws_maps(settings: Any) -> None:
    client = APIClient()
    client.force_login(build.olga().user)
    made = client.post("/api/v1/index/maps", {**TOLD, "content": a_map().decode()}, format="json")
    assert made.status_code == 201, made.content
    assert client.post("/api/v1/index/maps", {**TOLD, "content": a_map().decode()}, format="json").json()["code"] == "map_exists"
    copy = orjson.loads(client.get(f"/api/v1/index/maps/{made.json()['id']}/file").content)
    assert (copy["approval_number"], copy["sha256_of_upload"]) == (NUMBER, made.json()["digest"])
    assert copy["features"] == json.loads(a_map())["features"]
    bad = client.post("/api/v1/index/maps", {**TOLD, "content": a_map(without(710000)).decode()}, format="json")
    assert (bad.status_code, bad.json()["code"], bad.json()["missing"]) == (422, "map_incomplete", ["Taiwan 台湾省"])
    settings.INDEX_MAP_BYTES = 10
    big = client.post("/api/v1/index/maps", {**TOLD, "content": a_map().decode()}, format="json")
    assert (big.status_code, big.json()["code"]) == (413, "map_too_large")
    gone = client.post(f"/api/v1/index/maps/{made.json()['id']}/withdraw", {"reason": "outdated"}, format="json")
    assert gone.json()["reason"] == "outdated"
    assert client.get("/api/v1/index/maps").json()["results"][0]["withdrawn_at"]
    assert client.get(f"/api/v1/index/maps/{2**70}/file").status_code == 404


# Pages.


@database
def test_the_map_stands_with_its_approval_number_on_the_page_and_in_the_file() -> None:
    fill((2022,))
    alice = logged_in(build.alice())
    tiles = alice.get("/index/map/").content.decode()
    assert "No map of borders comes with the platform" in tiles
    assert tiles.count('class="tile ') == 31
    assert alice.get("/index/map.svg").status_code == 404

    kept()
    page = alice.get("/index/map/").content.decode()
    assert page.count("<path class=") == 34
    assert page.count(NUMBER) == 2
    assert "Generated values." in page
    assert len(re.findall(r'href="/index/provinces/\d{6}/', page)) == 31 * 2
    assert "Taiwan: counted in no source that is read" in page
    file = alice.get("/index/map.svg?node=A11")
    assert file["Content-Type"] == "image/svg+xml"
    assert "A11-synthetic.svg" in file["Content-Disposition"]
    drawn = file.content.decode()
    assert f"审图号:{NUMBER}" in drawn
    assert "Contains generated values" in drawn
    assert "href" not in drawn


@database
def test_each_node_has_its_own_map_with_the_same_numbers_in_the_table() -> None:
    run = fill((2022,))
    assert run
    kept()
    alice = logged_in(build.alice())
    scores = run.read("result")["scores"]["A11"]
    best = max(scores, key=lambda region: float(scores[region]))
    page = alice.get("/index/map/?node=A11").content.decode()
    assert f"<title>{PROVINCES[best].en}: number 1, {float(scores[best]):.2f} points</title>" in page
    assert page.index(f"<strong>{PROVINCES[best].en}</strong>") == page.index("<strong>", page.index("<tbody>"))
    assert alice.get("/index/map/?node=X").status_code == 404
    assert alice.get("/index/map/?run=0").status_code == 404
    with CaptureQueriesContext(connection) as queries:
        alice.get("/index/map/")
    assert len(queries) <= 8


@database
def test_operators_bring_a_map_and_withdraw_it_on_pages() -> None:
    fill((2022,))
    olga = logged_in(build.olga())
    assert "No map was brought yet." in olga.get("/index/maps/").content.decode()
    shown = olga.post("/index/maps/", {**TOLD, "content": SimpleUploadedFile("a.geojson", a_map())}, follow=True)
    assert shown.redirect_chain == [("/index/map/", 302)]
    assert NUMBER in shown.content.decode()
    again = olga.post("/index/maps/", {**TOLD, "content": SimpleUploadedFile("a.geojson", a_map())})
    assert again.status_code == 409
    number = IndexMap.objects.get().pk
    assert olga.post(f"/index/maps/{number}/withdraw/", {}).status_code == 422
    assert "outdated" in olga.post(f"/index/maps/{number}/withdraw/", {"reason": "outdated"}, follow=True).content.decode()
    assert olga.post(f"/index/maps/{number}/withdraw/", {"reason": "outdated"}).status_code == 409
    assert olga.post("/index/maps/0/withdraw/", {"reason": "outdated"}).status_code == 404
    assert NUMBER not in olga.get("/index/map/").content.decode()


@database
@pytest.mark.parametrize(
    ("given", "content", "field", "words"),
    [
        ({"approval_number": "none"}, a_map(), "approval_number", "an approval number (审图号) is written as"),
        ({"licence": " "}, a_map(), "licence", "it stands under the map"),
        ({}, a_map(without(710000, 820000)), "content", "Taiwan 台湾省, Macao 澳门特别行政区"),
        ({}, a_map([feature(1, square(1, 1)), feature(2, square(1, 1))]), "content", "<li>feature 2: 2 is the code of no province"),
        ({}, b"PK\x03\x04", "content", "no JSON in UTF-8"),
        ({}, b"", "content", ""),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_is_kept(
    given: dict[str, str], content: bytes, field: str, words: str
) -> None:
    answer = logged_in(build.olga()).post("/index/maps/", {**TOLD, **given, "content": SimpleUploadedFile("a.json", content)})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'wrong"><label for="{field}">' in page
    assert words in page
    assert 'value="A ministry"' in page
    assert IndexMap.objects.count() == 0


@database
def test_a_file_that_is_too_large_is_refused_before_it_is_read(settings: Any) -> None:
    settings.INDEX_MAP_BYTES = 10
    olga = logged_in(build.olga())
    assert olga.post("/index/maps/", {**TOLD, "content": SimpleUploadedFile("a.json", a_map())}).status_code == 413
    assert olga.post("/index/maps/", TOLD).status_code == 422

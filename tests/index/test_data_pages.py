"""A file on pages: looked at, kept whole or not at all, taken back with a reason."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from index.defining import ensure_shipped
from index.importing.reading import MOST_BYTES
from index.models import Observation, ObservationBatch
from tests import builders as build

pytestmark = pytest.mark.django_db
HEAD = "region_code,region_name_zh,indicator,year,value,unit,source\n"
GOOD = HEAD + "110000,北京市,gdp,2021,41045.63,亿元,北京统计年鉴\n310000,上海市,gdp,2021,43653.17,亿元,上海统计年鉴\n"


@pytest.fixture
def olga() -> Client:
    ensure_shipped()
    client = Client()
    client.force_login(build.olga().user)
    return client


def brought(client: Client, content: bytes, name: str = "gdp.csv", **given: str) -> Any:
    return client.post("/index/data/", {"file": SimpleUploadedFile(name, content), **given}, follow=True)


def batch() -> ObservationBatch:
    return ObservationBatch.objects.get()


def test_a_file_is_looked_at_then_kept_then_taken_back(olga: Client) -> None:
    given = {"title": "Yearbooks", "publisher": "NBS", "published": "2022-03-31"}
    seen = brought(olga, GOOD.encode(), **given).content.decode()
    assert "Nothing is wrong with it." in seen
    assert "2 values would be kept" in seen
    assert "41,045.63" in seen
    assert Observation.objects.count() == 0

    kept = olga.post(f"/index/data/{batch().pk}/commit/", follow=True).content.decode()
    assert Observation.objects.count() == 2
    number = Observation.objects.get(region="310000").pk
    assert f"/index/observations/{number}/" in kept
    assert f"{Observation.objects.get(pk=number).vintage}" == "2022-03-31"
    assert "Yearbooks, NBS" in kept

    refused = olga.post(f"/index/data/{batch().pk}/roll-back/", {"reason": " "})
    assert refused.status_code == 422
    assert "say why" in refused.content.decode()
    back = olga.post(f"/index/data/{batch().pk}/roll-back/", {"reason": "wrong year"}, follow=True).content.decode()
    assert "Taken back: wrong year" in back


@pytest.mark.parametrize(
    ("text", "encoding", "words", "row"),
    [
        (HEAD + "110000,上海市,gdp,2021,1,亿元,x\n", "gb2312", "北京", 2),
        (HEAD + "110000,北京市,gdp,2021,1,亿元,x\n110000,北京市,gdp,2021,2,亿元,x\n", "utf-8-sig", "stands in row 2 already", 3),
        (HEAD + "110000,北京市,gdp,2021,1,ms,x\n", "utf-8", "ms", 2),
    ],
    ids=["a name of another province in GB 2312", "a province twice after a BOM", "a unit that does not convert"],
)
def test_what_is_wrong_stands_with_its_row_and_nothing_can_be_kept(
    olga: Client, text: str, encoding: str, words: str, row: int
) -> None:
    seen = brought(olga, text.encode(encoding)).content.decode()
    assert "It cannot be kept" in seen
    assert "Keep all" not in seen
    found = re.findall(r'data-label="Row">(\d+)</td><td data-label="Column" class="mono">.*?</td><td>.*?</td><td>(.*?)</td>', seen)
    assert any(int(number) == row and words in told for number, told in found), found
    refused = olga.post(f"/index/data/{batch().pk}/commit/")
    assert refused.status_code == 409
    assert "nothing was imported" in refused.content.decode()
    assert Observation.objects.count() == 0


def test_a_value_a_thousand_times_off_is_told_and_left_to_the_operator(olga: Client) -> None:
    many = "".join(f"{code}0000,,gdp,2021,{1000 + code},亿元,x\n" for code in (11, 12, 13, 14, 31, 32, 33, 34, 35, 36))
    seen = brought(olga, (HEAD + many + "370000,,gdp,2021,1000000,亿元,x\n").encode()).content.decode()
    assert "What is strange is for you to judge." in seen
    assert "Keep all 11" in seen


def test_a_file_that_is_none_is_refused_at_its_field_and_what_was_typed_stays(olga: Client) -> None:
    for content in (b"", b"\x00\x01\x02", b"a,b\n1,2\n"):
        answer = brought(olga, content, title="My title")
        assert answer.status_code == 422, content
        assert 'value="My title"' in answer.content.decode()
        assert 'id="file-error"' in answer.content.decode()
    assert olga.post("/index/data/", {}).status_code == 422
    assert brought(olga, GOOD.encode(), published="yesterday").status_code == 422
    assert brought(olga, GOOD.encode(), profile="mine").status_code == 422
    assert brought(olga, b"x" * (MOST_BYTES + 1)).status_code == 413
    assert ObservationBatch.objects.count() == 0


def test_the_same_file_twice_and_the_same_button_twice_do_no_harm(olga: Client) -> None:
    brought(olga, GOOD.encode())
    assert brought(olga, GOOD.encode()).status_code == 409
    number = batch().pk
    assert olga.post(f"/index/data/{number}/commit/").status_code == 302
    assert olga.post(f"/index/data/{number}/commit/").status_code == 409
    assert olga.post(f"/index/data/{number}/drop/").status_code == 409
    assert Observation.objects.count() == 2


def test_a_preview_is_forgotten_and_an_unknown_batch_is_not_there(olga: Client) -> None:
    brought(olga, GOOD.encode())
    olga.post(f"/index/data/{batch().pk}/drop/")
    assert batch().state == "dropped"
    assert batch().content is None
    for path in ("/index/data/0/", f"/index/data/{2**70}/"):
        assert olga.get(path).status_code == 404
    assert olga.post("/index/data/0/commit/").status_code == 404

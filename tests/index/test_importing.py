"""Statistics come in by a preview, whole or not at all; what is wrong with a file is said in plain words with the row."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import openpyxl
import pytest
from django.db import DatabaseError, transaction

from core.errors import Conflict, DomainError, Invalid, NotFound
from index.defining import ensure_shipped
from index.demo import SAMPLE
from index.importing.reading import read_file
from index.importing.services import File, Source, commit, counts, drop, preview, roll_back
from index.models import Observation, ObservationBatch
from index.regions import PROVINCES

pytestmark = pytest.mark.django_db
HEADER = "region_code,region_name_zh,indicator,year,value,unit,source"


def csv_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows]).encode()


def row(
    region: str = "110000",
    name: str = "北京市",
    indicator: str = "gdp",
    year: str = "2022",
    value: str = "41540.9",
    unit: str = "亿元",
) -> str:
    return f"{region},{name},{indicator},{year},{value},{unit},a yearbook"


def every(indicator: str = "gdp", unit: str = "亿元", **values: str) -> list[str]:
    return [
        row(code, one.zh, indicator, value=values.get(f"r{code}", str(20_000 + 300 * n)), unit=unit)
        for n, (code, one) in enumerate(PROVINCES.items())
    ]


def looked_at(content: bytes, name: str = "a.csv") -> ObservationBatch:
    ensure_shipped()
    return preview(File(name, content, Source(published=date(2023, 3, 1))))


def found(content: bytes) -> list[tuple[str, str, int, str]]:
    return [(one["severity"], one["code"], one["row"], one["field"]) for one in looked_at(content).report]


def test_the_sample_statistics_load_as_they_are() -> None:
    batch = looked_at(SAMPLE.read_bytes(), SAMPLE.name)
    assert counts(batch)["error"] == 0
    assert batch.rows == 386
    assert not Observation.objects.exists(), "a preview keeps nothing"
    commit(batch.pk)
    assert Observation.objects.count() == 386
    gdp = Observation.objects.filter(variable="gdp", region="310000").order_by("vintage")
    assert len({one.vintage for one in gdp}) == 2
    assert Decimal("1.08") < gdp[1].value / gdp[0].value < Decimal("1.10"), "Shanghai after the census"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (csv_of(row(region="999999")), ("error", "region_unknown", 2, "region_code")),
        (csv_of(row(name="上海市")), ("error", "region_mismatch", 2, "region_name_zh")),
        (csv_of(row(region="北京市", name="110000")), ("error", "region_unknown", 2, "region_code")),
        (csv_of(row(), row()), ("error", "observed_twice", 3, "region_code")),
        (csv_of(row(unit="parsec")), ("error", "unit_unknown", 2, "unit")),
        (csv_of(row(unit="万人")), ("error", "unit_mismatch", 2, "unit")),
        (csv_of(row(value="much")), ("error", "value_invalid", 2, "value")),
        (csv_of(row(value="1e99")), ("error", "value_invalid", 2, "value")),
        (csv_of(row(year="22")), ("error", "period_invalid", 2, "year")),
        (csv_of(row(indicator="GDP of it")), ("error", "indicator_invalid", 2, "indicator")),
        (csv_of(*every(r310000="20000000")), ("warning", "far_from_others", 10, "value")),
        (csv_of(*every(), row("100000", "全国", value="1")), ("warning", "control_total", 33, "value")),
        (csv_of(row(year="2021", value="1000"), row(value="9000")), ("warning", "jump", 3, "value")),
        (
            csv_of(
                row(indicator="population_year_end", value="4027", unit="万人"),
                row(indicator="population_annual_avg_derived", value="1023", unit="万人"),
            ),
            ("warning", "not_near", 2, "value"),
        ),
    ],
)
def test_what_is_wrong_or_strange_is_said_with_its_row(content: bytes, problem: tuple[str, str, int, str]) -> None:
    assert problem in found(content)


def test_an_error_keeps_the_whole_file_out() -> None:
    batch = looked_at(csv_of(row(), row(region="999999", name="")))
    with pytest.raises(Conflict) as error:
        commit(batch.pk)
    assert error.value.code == "batch_has_errors"
    assert not Observation.objects.exists()
    drop(batch.pk)
    assert looked_at(csv_of(row(), row(region="999999", name=""))).state == "preview", "it may be looked at again"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\x00", "file_invalid"),
        (b"a,b\n1,2", "columns_missing"),
        (b"", "columns_missing"),
        (csv_of(), "file_invalid"),
        (b'region_code,"indicator', "file_invalid"),
        (b"PK\x03\x04 and no workbook", "file_invalid"),
        (csv_of(row(), header=f"{HEADER},year"), "columns_missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(DomainError) as error:
        read_file(content, "a.csv")
    assert error.value.code == code


def test_encodings_and_workbooks_are_read_alike() -> None:
    text = "\n".join(["国家统计局,,", "", f"{HEADER},,", f"{row()},,"])
    expected = [line.cells for line in read_file(csv_of(row()), "a.csv")]
    for content in (text.encode(), text.encode("utf-8-sig"), text.encode("gb18030"), text.encode("gb2312")):
        assert [line.cells for line in read_file(content, "a.csv")] == expected
    book = openpyxl.Workbook()
    book.active.append(HEADER.split(","))
    book.active.append(["110000", "北京市", "gdp", 2022, 41540.9, "亿元", "a yearbook"])
    out = io.BytesIO()
    book.save(out)
    assert [line.cells for line in read_file(out.getvalue(), "a.xlsx")] == expected


def test_an_empty_value_is_missing_and_not_0() -> None:
    batch = looked_at(csv_of(row(value=""), row("310000", "上海市")))
    commit(batch.pk)
    assert list(Observation.objects.values_list("region", flat=True)) == ["310000"]


def test_a_file_is_imported_once_and_rolled_back_with_a_reason() -> None:
    batch = commit(looked_at(csv_of(row())).pk)
    with pytest.raises(Conflict, match="already"):
        looked_at(csv_of(row()))
    with pytest.raises(Conflict):
        commit(batch.pk)
    with pytest.raises(Invalid, match="why"):
        roll_back(batch.pk, " ")
    roll_back(batch.pk, "the yearbook was wrong")
    with pytest.raises(Conflict):
        roll_back(batch.pk, "again")
    assert Observation.objects.count() == 1, "it stays, and no later run sees it"
    commit(looked_at(csv_of(row())).pk)
    with pytest.raises(NotFound):
        commit(0)


def test_postgresql_keeps_what_was_observed() -> None:
    batch = commit(looked_at(csv_of(row())).pk)
    for change in (
        lambda: Observation.objects.update(value=1),
        lambda: Observation.objects.all().delete(),
        lambda: ObservationBatch.objects.update(digest="0" * 64),
        lambda: ObservationBatch.objects.update(state="preview", committed_at=None),
        lambda: ObservationBatch.objects.filter(pk=batch.pk).delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()

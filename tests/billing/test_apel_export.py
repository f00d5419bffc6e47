"""Usage records for computing centres: what is emitted is read back by a reader written from APEL's message formats."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.exports import apel
from billing.exports.apel import JOB_NEEDS, MOST, accelerator_message, clean, job_message, write_messages
from billing.exports.tables import TABLES
from billing.exports.writers import FORMATS
from core.errors import Invalid
from marketplace.services.providers import update_pool
from metering.models import UsageRecord
from tests import builders as build
from tests.builders_billing import START, Market
from tests.builders_exports import a_charged_task, asked, fetched, the_casts_market
from tests.builders_periods import corrected

# As the formats say; nothing here is taken from the writer.
ORDER: Final = [
    "Site", "SubmitHost", "MachineName", "Queue", "LocalJobId", "LocalUserId", "GlobalUserName", "FQAN", "VO", "VOGroup", "VORole",
    "WallDuration", "CpuDuration", "Processors", "NodeCount", "StartTime", "EndTime", "InfrastructureDescription",
    "InfrastructureType", "MemoryReal", "MemoryVirtual", "ServiceLevelType", "ServiceLevel",
]  # fmt: skip
MANDATORY: Final = {"Site", "LocalJobId", "WallDuration", "CpuDuration", "StartTime", "EndTime"}
WHOLE: Final = {"WallDuration", "CpuDuration", "Processors", "NodeCount", "StartTime", "EndTime", "MemoryReal", "MemoryVirtual"}
ACCELERATOR: Final = {
    "MeasurementMonth", "MeasurementYear", "AssociatedRecordType", "AssociatedRecord", "FQAN", "SiteName", "Count",
    "AvailableDuration", "Type",
}  # fmt: skip


def read_jobs(message: bytes) -> list[dict[str, Any]]:
    """The records of a message of jobs; AssertionError for what APEL would refuse."""
    header, _, body = message.decode().partition("\n")
    assert header == "APEL-individual-job-message: v0.3"
    blocks = body.split("%%\n")
    assert blocks.pop() == ""
    assert len(blocks) <= 1000
    return [_job(block) for block in blocks]


def _job(block: str) -> dict[str, Any]:
    pairs = [line.split(": ", 1) for line in block.splitlines()]
    names = [name for name, _ in pairs]
    assert names == sorted(set(names), key=ORDER.index)
    assert set(names) >= MANDATORY
    assert all(value.strip().lower() not in {"", "none", "null"} for _, value in pairs)
    assert ("ServiceLevel" in names) == ("ServiceLevelType" in names)
    record: dict[str, Any] = {name: int(value) if name in WHOLE else value for name, value in pairs}
    assert 0 < record["StartTime"] <= record["EndTime"]
    assert record["WallDuration"] <= record["EndTime"] - record["StartTime"]
    return record


def read_accelerators(message: bytes) -> list[dict[str, Any]]:
    document = json.loads(message)
    records: list[dict[str, Any]] = document.pop("UsageRecords")
    assert document == {"Type": "APEL-accelerator-message", "Version": "0.1"}
    assert len(records) <= 1000
    assert all(set(record) >= ACCELERATOR and None not in record.values() for record in records)
    return records


def messages_of(file: bytes) -> list[bytes]:
    with tarfile.open(fileobj=io.BytesIO(file)) as archive:
        return [found.read() for member in archive if (found := archive.extractfile(member)) is not None]


@pytest.fixture
def market(db: None) -> Market:
    return the_casts_market()


def exported(market: Market, kind: str = "apel", **body: Any) -> list[bytes]:
    answer = asked(build.bob(), kind, **body)
    assert answer.status_code == 201, answer.json()
    return messages_of(fetched(build.bob(), answer))


def test_an_attempt_is_a_job_in_whole_seconds_and_kilobytes(market: Market) -> None:
    a_charged_task(market, wall_ms=2500, core_ms=4499, memory_mib_ms=5000, cores=2, ended_at=START + timedelta(seconds=3.2))
    [message] = exported(market)
    [job] = read_jobs(message)
    usage, alice = UsageRecord.objects.get(), market.alice.slug
    begin = int(START.timestamp())
    assert job == {
        "Site": market.bob.slug, "SubmitHost": market.pool.identifier, "MachineName": market.pool.identifier,
        "Queue": f"{market.carol.slug}/{market.version.capability.name}", "LocalJobId": str(usage.attempt_id),
        "LocalUserId": alice, "FQAN": f"/{alice}", "VO": alice, "VOGroup": f"/{alice}",
        "WallDuration": 3, "CpuDuration": 4, "Processors": 2, "NodeCount": 1, "StartTime": begin, "EndTime": begin + 4,
        "InfrastructureDescription": "GRIDFARE", "InfrastructureType": "grid", "MemoryReal": 2048,
    }  # fmt: skip


def test_a_job_has_the_service_level_that_its_pool_declares(market: Market) -> None:
    a_charged_task(market)
    update_pool(market.pool, {"benchmark": {"type": "hepscore23", "value": Decimal("12.50")}})
    [job] = read_jobs(exported(market)[0])
    assert (job["ServiceLevelType"], job["ServiceLevel"]) == ("hepscore23", "12.5")


def test_a_provider_declares_a_benchmark_by_its_name_and_value_or_none(db: None) -> None:
    pool = build.a_pool()
    owner, door = build.client_of(build.bob()), f"/api/v1/pools/{pool.identifier}"
    answer = owner.patch(door, {"benchmark": {"type": "hepscore23", "value": "12.50"}})
    assert answer.json()["benchmark"] == {"type": "hepscore23", "value": "12.5"}
    for wrong in ({"type": "hepspec"}, {"type": "fp32", "value": "1"}, {"type": "si2k", "value": "0"}, {"value": "1"}):
        answer = owner.patch(door, {"benchmark": wrong})
        assert (answer.status_code, answer.json()["field"].split(".")[0]) == (422, "benchmark")
    assert owner.patch(door, {"benchmark": None}).json()["benchmark"] is None
    with pytest.raises(IntegrityError), transaction.atomic():
        type(pool).objects.filter(pk=pool.pk).update(benchmark="hepspec")


def test_accelerators_name_their_job_and_say_what_was_available_and_active(market: Market) -> None:
    type(market.pool).objects.filter(pk=market.pool.pk).update(accelerators=[{"model": "A100", "count": 8, "memory_mib": 81920}])
    a_charged_task(market, wall_ms=10_000, accelerators=2, accelerator_ms=15_000)
    a_charged_task(market)
    [message] = exported(market, "accelerators", site="CN-NX-1")
    [record] = read_accelerators(message)
    job = UsageRecord.objects.get(accelerators=2).attempt_id
    assert record == {
        "MeasurementMonth": 3, "MeasurementYear": 2026, "AssociatedRecordType": "job", "AssociatedRecord": str(job),
        "FQAN": f"/{market.alice.slug}", "SiteName": "CN-NX-1", "Count": 2, "ActiveDuration": 8, "AvailableDuration": 10,
        "Type": "GPU", "Model": "A100",
    }  # fmt: skip


def test_a_corrected_job_is_told_once_as_it_was_corrected(market: Market) -> None:
    a_charged_task(market)
    corrected(UsageRecord.objects.get(), core_ms=9_000)
    [message] = exported(market)
    assert [job["CpuDuration"] for job in read_jobs(message)] == [9]


def test_a_site_has_the_name_that_it_is_asked_for(market: Market) -> None:
    a_charged_task(market)
    assert read_jobs(exported(market, site="CN-NX-1")[0])[0]["Site"] == "CN-NX-1"
    for body in ({"site": "two\nlines"}, {"site": "x", "kind": "charges"}, {"format": "csv"}):
        answer = asked(build.bob(), **{"kind": "apel"} | body)
        assert (answer.status_code, answer.json()["field"]) == (422, next(iter(body)))
    assert asked(build.olga(), "apel", party="all", site="x").status_code == 422


def test_a_provider_tells_of_its_own_pools_alone(market: Market) -> None:
    a_charged_task(market)
    assert [asked(person, "apel").json()["rows"] for person in (build.bob(), build.mallory(), build.alice())] == [1, 0, 0]
    assert asked(build.bob(), "apel", party="all").json()["code"] == "operators_only"
    assert asked(build.olga(), "apel", party="all").json()["rows"] == 1


@pytest.mark.parametrize("records", [0, 1, MOST, MOST + 1, 2 * MOST + 5])
def test_a_message_has_a_thousand_records_at_most_and_none_is_lost(records: int) -> None:
    file = io.BytesIO()
    job = dict.fromkeys(JOB_NEEDS, 7)
    assert write_messages(job_message, "apel", (job | {"EndTime": 100, "LocalJobId": n} for n in range(records)), file) == records  # type: ignore[arg-type]
    found = [read_jobs(message) for message in messages_of(file.getvalue())]
    assert [record["LocalJobId"] for message in found for record in message] == [str(n) for n in range(records)]
    assert all(len(message) <= 1000 for message in found)


def test_the_same_records_make_the_same_bytes() -> None:
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_messages(job_message, "apel", [dict.fromkeys(JOB_NEEDS, 7)], file)  # type: ignore[arg-type]
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize("nothing", ["", "none", "None", "NULL", " ", None])
def test_a_value_that_says_nothing_is_left_out_and_refused_where_it_is_needed(nothing: Any) -> None:
    job = dict.fromkeys(JOB_NEEDS, 7)
    assert "Queue" not in clean(job | {"Queue": nothing}, apel.JOB_FIELDS, JOB_NEEDS)
    with pytest.raises(Invalid, match="has no Site"):
        job_message([job | {"Site": nothing}])


@pytest.mark.parametrize(
    "wrong",
    [
        {"Queue": "a\nWallDuration: 9"},
        {"Queue": "a\r%%"},
        {"CpuDuration": -1},
        {"ServiceLevel": 9},
        {"ServiceLevelType": "hepspec"},
        {"ServiceLevelType": "tflops", "ServiceLevel": 9},
        {"StartTime": 8},
    ],
)
def test_a_record_that_apel_would_refuse_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as raised:
        job_message([dict.fromkeys(JOB_NEEDS, 7) | wrong])
    assert raised.value.code == "apel_record"


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "WallDuration": st.integers(0, 99),
                "CpuDuration": st.integers(0, 10**12),
                "Site": st.sampled_from(["a", "b: c", "%%x"]),
            },
            optional={
                "Queue": st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
                "Processors": st.integers(1, 10**6),
                "VORole": st.sampled_from([None, "none", "Role=production"]),
            },
        ),
        max_size=5,
    )
)
def test_whatever_is_written_is_read_back(found: list[dict[str, Any]]) -> None:
    jobs = [{"LocalJobId": "1", "StartTime": 1, "EndTime": 100} | job for job in found]
    said = [{name: value for name, value in job.items() if str(value).lower() not in {"none", "null"}} for job in jobs]
    assert read_jobs(job_message(jobs)) == said


def test_numbers_of_accelerators_are_numbers() -> None:
    numbers = {"Count": Decimal("0.5"), "Benchmark": Decimal(3), "BenchmarkType": "hepspec"}
    [found] = read_accelerators(accelerator_message([dict.fromkeys(apel.ACCELERATOR_NEEDS, 1) | numbers]))
    assert (found["Count"], found["Benchmark"]) == (0.5, 3)


def test_columns_and_fields_are_the_same_in_the_same_order() -> None:
    assert [column.name for column in TABLES["apel"].columns] == list(apel.JOB_FIELDS) == ORDER
    assert [column.name for column in TABLES["accelerators"].columns] == list(apel.ACCELERATOR_FIELDS)
    assert {one.column.name for one in TABLES["apel"].told if not one.column.nullable} >= MANDATORY
    assert FORMATS["messages"].media_type == "application/x-tar"

"""Usage, charges, statements and the ledger as files: columns stay, rows are what was posted, each party sees its own."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from billing.exports.kinds import KINDS
from billing.exports.sources import PORTION, SOURCES, Question, rows_of
from billing.exports.tables import TABLES
from billing.models import Charge, Export, Leg
from marketplace.models import Organization
from metering.events.correcting import correct_events
from tests import builders as build
from tests.builders_billing import START, Market, make_agent, make_offer, make_pool
from tests.builders_exports import a_charged_task, asked, fetched, rows_in, the_casts_market
from tests.builders_invoices import APRIL
from tests.builders_periods import close, period_market, used
from tests.builders_usage import an_event, sent

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[2] / "docs" / "billing" / "exports.md"
# What a version of a schema is. A column may not change, come or go: whoever needs that makes another version.
PINNED = {
    "usage/1": "9c5066b53077e90f",
    "charges/1": "ef2d6888e734bc28",
    "statements/1": "df612424d5f00f03",
    "apel/0.3": "8f3cc3f344ae538d",
    "accelerators/0.1": "aca8abd1a3deb7dc",
    "ledger/1": "2a9ebccc41dd210b",
}


@pytest.fixture
def market() -> Market:
    return the_casts_market()


def shape(kind: str) -> str:
    columns = [(one.name, one.kind, one.nullable) for one in TABLES[kind].columns]
    return sha256(repr(columns).encode()).hexdigest()[:16]


def test_a_versions_columns_never_change() -> None:
    assert {table.name: shape(kind) for kind, table in TABLES.items() if kind != "focus"} == PINNED


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind != "focus"])
def test_every_column_is_documented_in_its_order(kind: str) -> None:
    section = DOCS.read_text().split(f"### {TABLES[kind].name}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+)(, null)? \| (.+) \|$", section, re.MULTILINE)
    told = [(one.column.name, one.column.kind, ", null" if one.column.nullable else "", one.means) for one in TABLES[kind].told]
    assert rows == told


def test_a_charge_is_a_row_with_its_lines_and_shares(market: Market) -> None:
    task = a_charged_task(market)
    answer = asked(build.alice(), "charges")
    assert answer.status_code == 201
    document = answer.json()
    assert (document["state"], document["rows"], document["schema"]) == ("ready", 1, "charges/1")
    file = fetched(build.alice(), answer)
    assert document["sha256"] == sha256(file).hexdigest()
    [row] = rows_in(file)
    shares = {"provider_share": "0.11106", "publisher_share": "0.018", "platform_share": "0.01434"}
    assert {name: row[name] for name in ("kind", "task", "amount", "currency", *shares)} == {
        "kind": "usage", "task": str(task.pk), "amount": "0.1434", "currency": "CNY", **shares,
    }  # fmt: skip
    assert (row["organization"], row["provider"], row["publisher"]) == (market.alice.slug, market.bob.slug, market.carol.slug)
    assert row["service_from"] == "2026-03-01T12:00:00Z"
    assert '"quantity": "1.234"' in row["lines"]


def test_the_file_says_its_digest_rows_and_schema_and_can_be_fetched_in_parts(market: Market) -> None:
    a_charged_task(market)
    answer = asked(build.alice(), "charges")
    url = f"/api/v1/exports/{answer.json()['id']}/file"
    found = build.client_of(build.alice()).get(url)
    body = b"".join(found.streaming_content)
    assert found["Repr-Digest"] == f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
    assert (found["Gridfare-Rows"], found["Gridfare-Schema"]) == ("1", "charges/1")
    assert found["Content-Type"] == "text/csv; charset=utf-8"
    assert "charges-1-20191231-20991231.csv" in found["Content-Disposition"]
    rest = build.client_of(build.alice()).get(url, headers={"Range": "bytes=10-"})
    assert (rest.status_code, b"".join(rest.streaming_content)) == (206, body[10:])


def test_usage_is_what_attempts_took_and_pools_reported(market: Market) -> None:
    a_charged_task(market, fp32_gflop=Decimal(1500))
    sent(market.pool, an_event(market.pool, market.alice, id="=1+1", quantity="1.25"))
    rows = {row["fact"]: row for row in rows_in(fetched(build.alice(), asked(build.alice(), "usage")))}
    record, event = rows["record"], rows["event"]
    assert (record["core_seconds"], record["fp32_tflop"], record["outcome"], record["meter"]) == ("1.234", "1.5", "valid", "")
    assert record["labels"] == "{}"
    assert (event["meter"], event["unit"], event["quantity"], event["core_seconds"]) == ("gpu_hour", "hour", "1.25", "")
    assert event["external_id"] == "'=1+1"
    theirs = rows_in(fetched(build.bob(), asked(build.bob(), "usage", party="provider")))
    assert {(row["fact"], row["api_key"]) for row in theirs} == {("record", ""), ("event", "")}
    assert next(row for row in theirs if row["fact"] == "record")["labels"] == ""


def test_an_event_is_one_row_as_it_was_corrected_last(market: Market) -> None:
    sent(market.pool, an_event(market.pool, market.alice, id="one"), an_event(market.pool, market.alice, id="two", gauge="3"))
    for number, value in enumerate(("7", "5")):
        for event, member in (("one", "quantity"), ("two", "gauge")):
            correct_events(market.bob, [{"source": "/bob/meter", "id": event, "name": f"fix-{number}", member: value}])
    rows = rows_in(fetched(build.alice(), asked(build.alice(), "usage")))
    found = sorted((row["fact"], row["quantity"], row["revision"]) for row in rows)
    assert found == [("event", "5.0", "2"), ("sample", "5.0", "2")]


@pytest.mark.parametrize(
    ("who", "party", "share"), [("alice", "user", "0.1434"), ("bob", "provider", "0.11106"), ("carol", "publisher", "0.018")]
)
def test_each_party_exports_its_own_statement(market: Market, who: str, party: str, share: str) -> None:
    task = a_charged_task(market)
    person = getattr(build, who)()
    for group in ("task", "capability", "pool", "day", "month"):
        [row] = rows_in(fetched(person, asked(person, "statements", party=party, group=group)))
        assert (row["party"], row["organization"]) == (party, person.organization.slug)
        assert (row["share"], row["core_seconds"]) == (share, "1.234")
        assert row["task"] == (str(task.pk) if group == "task" else "")
        assert row["customer"] == (market.alice.slug if group == "month" else "")


def _told(row: dict[str, Any]) -> str:
    return str(sorted(row.items(), key=str))


@pytest.mark.parametrize("group", ["task", "capability", "pool", "day", "month"])
def test_everybodys_statements_are_those_of_each_party_beside_one_another(group: str) -> None:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, START, 600, 4)
    close(market)
    pool = make_pool(market.bob)
    a_charged_task(replace(market, pool=pool, agent=make_agent(pool), offer=make_offer(pool, rates={"core_second": "0.1"})))
    question = Question("all", None, START.replace(year=2020), START.replace(year=2100), "CNY", group)
    everything = list(KINDS["statements"].rows(question))
    parties = {"user": market.alice, "provider": market.bob, "publisher": market.carol}
    for party, whose in parties.items():
        own = list(KINDS["statements"].rows(replace(question, party=party, organization=whose)))
        told = [row for row in everything if row["party"] == party]
        assert sorted(own, key=_told) == sorted(told, key=_told)
    assert len(everything) > 3
    assert KINDS["statements"].count(question, 1) is None


def test_the_ledger_is_each_ones_own_legs_and_for_operators_balanced(market: Market) -> None:
    a_charged_task(market)
    mine = rows_in(fetched(build.alice(), asked(build.alice(), "ledger")))
    assert [(row["account_kind"], row["debit"], row["credit"]) for row in mine] == [("user_receivable", "0.1434", "0.0")]
    everything = rows_in(fetched(build.olga(), asked(build.olga(), "ledger", party="all")))
    assert len(everything) == Leg.objects.count()
    assert sum(Decimal(row["debit"]) - Decimal(row["credit"]) for row in everything) == 0


def test_a_months_charges_stand_beside_those_of_tasks_and_come_to_the_ledger() -> None:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, START, 600, 4)
    close(market)
    question = Question("user", market.alice, START.replace(year=2020), START.replace(year=2100))
    rows = list(rows_of(SOURCES["charges"], question))
    [month] = [row for row in rows if row["kind"] == "period"]
    assert (month["meter"], month["service_to"], month["publisher"]) == ("held_cores", APRIL, None)
    legs = rows_of(SOURCES["ledger"], question)
    owed = sum(leg["debit"] - leg["credit"] for leg in legs if leg["account_kind"] == "user_receivable")
    assert sum(row["amount"] for row in rows if row["payer"] == "user") == owed > 0


@pytest.mark.parametrize("kind", ["usage", "charges", "statements", "ledger"])
def test_parquet_holds_the_same_rows_with_types(market: Market, kind: str) -> None:
    a_charged_task(market)
    table = pq.read_table(io.BytesIO(fetched(build.alice(), asked(build.alice(), kind, format="parquet"))))
    assert table.column_names == [column.name for column in TABLES[kind].columns]
    assert table.schema.metadata[b"gridfare.schema"] == TABLES[kind].name.encode()
    text = rows_in(fetched(build.alice(), asked(build.alice(), kind)))
    for column in TABLES[kind].columns:
        values = table.column(column.name).to_pylist()
        if column.kind in {"number", "integer"}:
            assert values == [None if row[column.name] == "" else Decimal(row[column.name]) for row in text], column.name
    numbers = [column.name for column in TABLES[kind].columns if column.kind == "number"]
    assert {str(table.schema.field(name).type) for name in numbers} == {"decimal128(38, 12)"}


def test_decimals_have_a_point_whatever_they_are(market: Market) -> None:
    a_charged_task(market, core_ms=10**15)
    for kind in ("usage", "charges", "statements", "ledger"):
        numbers = {column.name for column in TABLES[kind].columns if column.kind == "number"}
        cells = [row[name] for row in rows_in(fetched(build.alice(), asked(build.alice(), kind))) for name in numbers]
        assert all(re.fullmatch(r"(-?\d+\.\d+)?", cell) for cell in cells), cells


def test_names_are_in_ascii_where_that_is_asked_for(market: Market) -> None:
    Organization.objects.filter(pk=market.alice.pk).update(name="爱丽丝")
    Organization.objects.filter(pk=market.bob.pk).update(name="Café")
    a_charged_task(market)
    [plain] = rows_in(fetched(build.alice(), asked(build.alice(), "charges")))
    file = fetched(build.alice(), asked(build.alice(), "charges", ascii=True))
    [row] = rows_in(file)
    assert (plain["organization_name"], plain["provider_name"]) == ("爱丽丝", "Café")
    assert (row["organization_name"], row["provider_name"]) == (market.alice.slug, "Cafe")
    assert file.isascii()
    owner = build.client_of(build.alice())
    assert owner.patch("/api/v1/organization", {"ascii_name": "爱"}).json()["field"] == "ascii_name"
    assert owner.patch("/api/v1/organization", {"ascii_name": "Ailisi Ltd"}).json()["ascii_name"] == "Ailisi Ltd"
    [called] = rows_in(fetched(build.alice(), asked(build.alice(), "charges", ascii=True)))
    [local] = rows_in(fetched(build.alice(), asked(build.alice(), "charges")))
    assert (called["organization_name"], local["organization_name"]) == ("Ailisi Ltd", "爱丽丝")


def test_labels_that_are_not_ascii_are_escaped(market: Market) -> None:
    labels = {"项目": "=电影"}
    sent(market.pool, an_event(market.pool, market.alice, labels=labels))
    [row] = rows_in(fetched(build.alice(), asked(build.alice(), "usage", ascii=True)))
    assert row["labels"] == '{"\\u9879\\u76ee": "=\\u7535\\u5f71"}'


def test_a_stranger_exports_nothing_of_others_and_sees_no_export_of_theirs(market: Market) -> None:
    a_charged_task(market)
    mine = asked(build.alice(), "charges").json()["id"]
    for kind, of in KINDS.items():
        for party in set(of.parties) - {"all"}:
            assert asked(build.mallory(), kind, party=party).json()["rows"] == 0
    stranger = build.client_of(build.mallory())
    assert stranger.get(f"/api/v1/exports/{mine}").status_code == 404
    assert stranger.get(f"/api/v1/exports/{mine}/file").status_code == 404
    assert mine not in {one["id"] for one in stranger.get("/api/v1/exports").json()["results"]}


@pytest.mark.parametrize("kind", ["usage", "charges", "statements", "ledger"])
def test_everybodys_is_for_operators_and_only_they_see_it(market: Market, kind: str) -> None:
    a_charged_task(market)
    refusal = asked(build.alice(), kind, party="all")
    assert (refusal.status_code, refusal.json()["code"]) == (403, "operators_only")
    made = asked(build.olga(), kind, party="all").json()
    assert (made["organization"], made["state"]) == (None, "ready")
    assert made["rows"] > 0
    assert build.client_of(build.alice()).get(f"/api/v1/exports/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "money"}, "kind"),
        ({"kind": "charges", "format": "xlsx"}, "format"),
        ({"kind": "charges", "party": "provider"}, "party"),
        ({"kind": "usage", "currency": "CNY"}, "currency"),
        ({"kind": "charges", "currency": "yuan"}, "currency"),
        ({"kind": "charges", "group": "task"}, "group"),
        ({"kind": "statements", "group": "colour"}, "group"),
        ({"kind": "charges", "from": "2026-02-30"}, "from"),
        ({"kind": "charges", "from": "2026-03-02", "to": "2026-03-01"}, "to"),
        ({"kind": "charges", "ascii": "yes"}, "ascii"),
        ({"kind": "charges", "zone": "UTC"}, "zone"),
        ({}, "kind"),
    ],
)
def test_what_cannot_be_asked_names_the_field_and_leaves_nothing(body: dict[str, Any], field: str) -> None:
    answer = build.client_of(build.alice()).post("/api/v1/exports", body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not Export.objects.exists()


def test_a_window_includes_its_beginning_and_is_one_of_the_accounts_zone(market: Market) -> None:
    task = a_charged_task(market)
    moment = Charge.objects.get(task=task).charged_at
    Organization.objects.filter(pk=market.alice.pk).update(zone="Asia/Shanghai")
    for start, end, rows in ((moment, "2100-01-01", 1), (START, moment, 0)):
        window = {"from": start.isoformat(), "to": end if isinstance(end, str) else end.isoformat()}
        assert asked(build.alice(), "charges", **window).json()["rows"] == rows
    document = asked(build.alice(), "charges", **{"from": "2026-03-01"}).json()
    assert document["from"] == "2026-02-28T16:00:00Z"


def test_kinds_tell_their_columns(market: Market) -> None:
    answer = build.client_of(build.alice()).get("/api/v1/exports/kinds").json()["kinds"]
    assert {one["kind"]: one["schema"] for one in answer} == {name: kind.table.name for name, kind in KINDS.items()}
    ledger = next(one for one in answer if one["kind"] == "ledger")
    assert ledger["columns"][0] == {"name": "entry", "type": "integer", "nullable": False, "means": "the journal's entry"}


def test_a_month_as_focus_comes_the_same_way(market: Market) -> None:
    answer = asked(build.alice(), "focus")
    assert (answer.status_code, answer.json()["rows"], answer.json()["currency"]) == (201, 0, "CNY")
    assert fetched(build.alice(), answer).startswith(b"AvailabilityZone,BilledCost,")


def test_rows_come_in_portions_through_a_cursor_of_the_server(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    a_charged_task(market, units=5)
    monkeypatch.setattr("billing.exports.sources.PORTION", 2)
    assert PORTION >= 1000
    question = Question("user", market.alice, START.replace(year=2020), START.replace(year=2100))
    assert len(list(rows_of(SOURCES["charges"], question))) == 5

"""A run says what was known when, never changes, and comes to the same bytes wherever it is made again."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from index.defining import definition_named, ensure_shipped, publish, read_draft, read_weights, record_weights, weights_of
from index.demo import fill
from index.importing.services import File, Source, commit, preview, roll_back
from index.models import IndexDefinition, IndexRun, ObservationBatch, WeightSet
from index.regions import PROVINCES
from index.running.services import Wanted, bundle_of, publish_edition, replay, run_index, seen_again
from tests.index.builders_index import FOLDER

pytestmark = pytest.mark.django_db


@pytest.fixture
def first() -> IndexRun:
    run = fill((2021, 2022))
    assert run
    return run


def equal() -> WeightSet:
    return WeightSet.objects.get(definition__code="cpsdi-2023", kind="placeholder")


def test_the_demonstration_has_a_first_edition_that_is_marked(first: IndexRun) -> None:
    result = first.read("result")
    assert (first.edition, first.synthetic, len(result["ranks"])) == (1, True, 31)
    assert fill((2021, 2022)) is None
    assert IndexRun.objects.count() == 1
    inputs = first.read("inputs")
    assert inputs["gdp"]["110000"][2] is False, "what has a source is not generated"
    assert inputs["revenue"]["110000"][2] is True
    assert ObservationBatch.objects.filter(origin="synthetic").count() == 1


def test_contributions_that_were_stored_add_up_to_the_index(first: IndexRun) -> None:
    result = first.read("result")
    for region, parts in result["contributions"].items():
        assert abs(sum(map(Decimal, parts.values())) - Decimal(result["scores"]["INDEX"][region])) < Decimal("1E-9")


def test_the_same_question_gives_the_same_run(first: IndexRun) -> None:
    again = run_index(Wanted(equal(), "national", "2022"))
    assert again.pk == first.pk
    other = run_index(Wanted(equal(), "national", "2022", parameters={"normalise": "zscore"}))
    assert other.digest != first.digest


def test_a_replay_comes_to_the_same_bytes_from_the_database_and_from_a_file(first: IndexRun, tmp_path: Path) -> None:
    found = replay(bundle_of(first))
    assert {part for part, (before, now) in found.items() if before != now} == set()
    assert seen_again(first) == first.input_digest
    out = StringIO()
    call_command("index_replay", first.digest, stdout=out)
    assert out.getvalue().count("the same") == 4
    file = tmp_path / "bundle.json"
    bundle = bundle_of(first)
    file.write_text(json.dumps(bundle))
    call_command("index_replay", str(file), stdout=StringIO())
    bundle["inputs"]["gdp"]["110000"][0] = "1"
    file.write_text(json.dumps(bundle))
    with pytest.raises(CommandError, match="same bytes"):
        call_command("index_replay", str(file), stdout=StringIO())
    with pytest.raises(CommandError, match="neither"):
        call_command("index_replay", "0" * 64)


def observed(value: str, published: date, indicator: str = "gdp") -> ObservationBatch:
    rows = [f"{code},{indicator},2022,{Decimal(value) + n},亿元,a yearbook" for n, code in enumerate(PROVINCES)]
    content = "\n".join(["region_code,indicator,year,value,unit,source", *rows]).encode()
    return commit(preview(File(f"{value}.csv", content, Source(published=published))).pk)


def value_of(run: IndexRun) -> str:
    return str(run.read("inputs")["gdp"]["110000"][0])


def test_a_run_sees_what_was_published_and_known_at_its_moment() -> None:
    ensure_shipped()
    early = observed("100", date(2023, 3, 1))
    known = timezone.now()
    late = observed("200", date(2025, 3, 1))

    def run(as_of: date, known_at: Any = None) -> str:
        return value_of(run_index(Wanted(equal(), "national", "2022", as_of, known_at)))

    assert run(date(2024, 1, 1)) == "100"
    assert run(date(2026, 1, 1)) == "200"
    assert run(date(2026, 1, 1), known) == "100"
    moment = timezone.now()
    roll_back(late.pk, "withdrawn")
    assert run(date(2026, 1, 1)) == "100"
    assert run(date(2026, 1, 1), moment) == "200", "what was known then"
    roll_back(early.pk, "withdrawn, too")
    with pytest.raises(Conflict) as error:
        run(date(2026, 1, 1))
    assert error.value.code == "nothing_observed"


def test_a_switch_of_the_vintage_changes_ranks_of_gross_product(first: IndexRun) -> None:
    def ranks(as_of: date) -> list[str]:
        raw = run_index(Wanted(equal(), "national", "2022", as_of)).read("inputs")["gdp"]
        return sorted(raw, key=lambda region: -Decimal(raw[region][0]))

    before, after = ranks(date(2024, 1, 1)), ranks(date(2026, 1, 1))
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 8


def test_a_value_of_the_platform_is_in_no_national_run(first: IndexRun) -> None:
    content = b"region_code,indicator,year,value,unit,source\n" + b"\n".join(
        f"{code},live_revenue,2022,{n + 1},CNY,here".encode() for n, code in enumerate(PROVINCES)
    )
    commit(preview(File("live.csv", content, profile="platform")).pk)
    again = run_index(Wanted(equal(), "national", "2022"))
    assert "live_revenue" not in again.read("inputs")
    platform = run_index(Wanted(equal(), "platform", "2022"))
    assert set(platform.read("inputs")) == {"live_revenue"}
    assert platform.read("result")["ranks"] == {}, "one indicator is no index"


def test_a_base_edition_lends_its_goalposts(first: IndexRun) -> None:
    later = run_index(Wanted(equal(), "national", "2021", parameters={"base": first.pk}))
    result = later.read("result")
    assert result["parameters"]["goalposts"]["D31"][0] == min(first.read("result")["treated"]["D31"].values(), key=float)
    assert any(flag == "beyond_goalposts" for _, _, flag, _ in result["flags"])
    with pytest.raises(Invalid, match="same definition"):
        run_index(Wanted(equal(), "national", "2022", parameters={"base": 10**9}))


@pytest.mark.parametrize("parameters", [{"normalise": "best"}, {"draws": 1}, {"winsorise": -1}, {"more": 1}, {"min_coverage": "2"}])
def test_parameters_that_are_none_are_refused(first: IndexRun, parameters: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        run_index(Wanted(equal(), "national", "2022", parameters=parameters))
    assert error.value.code == "parameters_invalid"


def test_editions_are_numbered_and_say_what_changed(first: IndexRun) -> None:
    run = run_index(Wanted(equal(), "national", "2022", parameters={"aggregate": "geometric"}))
    with pytest.raises(Invalid):
        publish_edition(run.pk, "")
    assert publish_edition(run.pk, "a geometric mean").edition == 2
    with pytest.raises(Conflict):
        publish_edition(run.pk, "again")
    with pytest.raises(NotFound):
        publish_edition(0, "nothing")


def test_postgresql_keeps_runs_definitions_and_weights(first: IndexRun) -> None:
    for change in (
        lambda: IndexRun.objects.update(period="2021"),
        lambda: IndexRun.objects.update(edition=None, change_note="", published_at=None),
        lambda: IndexRun.objects.all().delete(),
        lambda: IndexDefinition.objects.update(name_en="other"),
        lambda: IndexDefinition.objects.filter(code="supply-pulse").delete(),
        lambda: WeightSet.objects.update(weights={}),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_a_draft_may_change_and_what_is_published_is_a_new_version() -> None:
    ensure_shipped()
    text = (FOLDER / "supply-pulse@1.yaml").read_text()
    with pytest.raises(Conflict):
        read_draft(text.replace('"500"', '"400"'))
    drafted = read_draft(text.replace("version: 1", "version: 2"))
    assert read_draft(text.replace("version: 1", "version: 2").replace('"500"', '"400"')).pk == drafted.pk
    assert definition_named("supply-pulse").version == 1
    publish(IndexDefinition.objects.get(pk=drafted.pk))
    assert definition_named("supply-pulse").version == 2
    assert definition_named("supply-pulse@1").version == 1
    for title in ("nobody", "supply-pulse@9", "supply-pulse@x"):
        with pytest.raises(NotFound):
            definition_named(title)


def test_weights_are_recorded_once_and_every_group_weighs_something() -> None:
    ensure_shipped()
    row = definition_named("supply-pulse")
    weights = read_weights(row, {"S": "0.7", "R": "0.3", "S1": "1", "R1": "1"})
    made = record_weights(row, "ours", WeightSet.Kind.IMPORTED, weights, {"source": "a meeting"})
    assert weights_of(made)["S2"] == 0
    with pytest.raises(Conflict):
        record_weights(row, "ours", WeightSet.Kind.IMPORTED, weights, {})
    for given in ({"X": "1"}, {"S": "-1"}, {"S": "much"}, {"S": "NaN"}):
        with pytest.raises(Invalid):
            read_weights(row, given)
    with pytest.raises(Invalid, match="below INDEX"):
        record_weights(row, "none", WeightSet.Kind.IMPORTED, read_weights(row, {"S1": "1", "R1": "1"}), {})


def test_a_moment_long_ago_saw_nothing(first: IndexRun) -> None:
    with pytest.raises(Conflict):
        run_index(Wanted(equal(), "national", "2022", known_at=first.known_at - timedelta(days=1)))

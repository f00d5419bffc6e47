"""`gridfare index ...`, `rate` and `industry` against the platform itself."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from index.defining import definition_named, tree_of
from index.demo import fill
from index.models import IndexRun, Observation, ObservationBatch, TaskRating, WeightSet
from index.running.services import replay
from tests.builders import alice, client_of, olga
from tests.builders_billing import make_market, make_task
from tests.command_line import Say, speaker

pytestmark = pytest.mark.django_db(transaction=True)
MARK = "contains generated values"
HEAD = "region_code,indicator,year,value,unit,source"


@pytest.fixture
def say(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    return speaker(live_server, monkeypatch)


def told(done: Any) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_everybody_reads_the_newest_edition_and_saves_it(say: Say, tmp_path: Path) -> None:
    assert say("index", "ranks").exit_code == 4, "nothing was published yet"
    run = fill((2022,))
    assert run
    result = run.read("result")
    ranks = say("index", "ranks")
    assert f"edition 1 of cpsdi-2023@1 for 2022, run {run.pk}" in ranks.stderr
    assert MARK in ranks.stderr
    assert {one["region_code"]: int(one["rank"]) for one in told(say("index", "ranks", "--json"))} == result["ranks"]
    first = min(result["ranks"], key=result["ranks"].get)
    assert f"{float(result['scores']['INDEX'][first]):.2f}" in ranks.stdout.splitlines()[2], "best first"
    assert run.digest in say("index", "show").stdout
    assert told(say("index", "show", str(run.pk), "--json"))["result"] == result
    nodes = {one["node"]: one for one in told(say("index", "province", "440000", "--json"))}
    assert float(nodes["A11"]["raw"]) == pytest.approx(float(result["raw"]["A11"]["440000"]))
    assert "Guangdong" in say("index", "indicator", "A11").stdout
    assert say("index", "province", "44").exit_code == say("index", "indicator", "../x").exit_code == 4
    seen = told(say("index", "observations", "--variable", "gdp", "--region", "440000", "--json"))
    assert [(one["origin"], one["synthetic"]) for one in seen] == [("imported", "yes")]
    number = Observation.objects.get(variable="gdp", region="440000", vintage="2025-03-31").pk
    assert "国家统计局" in say("index", "observation", str(number)).stdout
    _saves(say, run, tmp_path)


def _saves(say: Say, run: IndexRun, folder: Path) -> None:
    for form in ("xlsx", "json", "csv", "bundle"):
        saved = told(say("index", "export", "-o", str(folder / form), "--format", form, "--json"))
        assert (saved["run"], saved["bytes"]) == (run.pk, (folder / form).stat().st_size)
    assert "ranks" in load_workbook(io.BytesIO((folder / "xlsx").read_bytes())).sheetnames
    rows = list(csv.DictReader(io.StringIO((folder / "csv").read_text())))
    assert {one["region_code"]: int(one["rank"]) for one in rows} == run.read("result")["ranks"]
    assert all(before == now for before, now in replay(json.loads((folder / "bundle").read_text())).values())
    assert json.loads((folder / "json").read_text())["synthetic"] is True
    assert say("index", "export", "-o", str(folder / "no"), "--format", "csv", "--table", "secrets").exit_code == 4
    assert not list(folder.glob("no*")), "nothing is left of what was not there"


def test_operators_import_run_and_publish(say: Say, tmp_path: Path) -> None:
    first, operator = fill((2022,)), olga()
    assert first
    wrong, right = tmp_path / "wrong.csv", tmp_path / "right.csv"
    wrong.write_text(f"{HEAD}\n310000,gdp,2022,many,亿元,a yearbook\n")
    right.write_text(f"{HEAD}\n310000,gdp,2022,45000,亿元,a yearbook\n", encoding="gb18030")
    refused = say("index", "batch", "preview", str(wrong), "--published", "2022-12-01", by=operator)
    assert (refused.exit_code, "1 errors" in refused.stdout) == (1, True)
    assert say("index", "batch", "preview", str(right)).exit_code == 3, "alice is no operator"
    batch = told(say("index", "batch", "preview", str(right), "--published", "2025-12-31", "--json", by=operator))
    number = str(batch["id"])
    assert "1 rows, committed" in say("index", "batch", "commit", number, by=operator).stdout
    assert say("index", "batch", "drop", number, by=operator).exit_code == 2
    run = told(say("index", "run", "2022", "--json", by=operator))
    assert IndexRun.objects.get(pk=run["id"]).read("inputs")["gdp"]["310000"][0] == "45000"
    published = say("index", "publish", str(run["id"]), "--note", "a later count", by=operator)
    assert f"run {run['id']} is edition 2" in published.stdout
    assert f"run {run['id']}" in say("index", "ranks").stderr, "the newest edition"
    assert len(told(say("index", "runs", "--editions", "--json"))) == 2
    compared = told(say("index", "compare", str(first.pk), str(run["id"]), "--json"))
    shown = say("index", "compare", str(first.pk), str(run["id"])).stdout
    assert ("rank after" in shown) is compared["comparable"] is not bool(compared["reasons"])
    assert "rolled back" in say("index", "batch", "roll-back", number, "--reason", "a test", by=operator).stdout
    assert ObservationBatch.objects.get(pk=number).reason == "a test"
    assert "right.csv" in say("index", "batch", "list", by=operator).stdout


def test_years_are_made_on_one_base_and_shown(say: Say) -> None:
    fill((2021, 2022))
    made = told(say("index", "series", "2021", "--base", "2022", "--json", by=olga()))
    numbers = {one["period"]: one["id"] for one in made}
    assert "2021" in numbers
    found = told(say("index", "history", "440000", "--run", str(numbers["2021"]), "--json"))
    years = {one["period"]: one["regions"]["440000"]["value"] for one in found["periods"] if one["comparable"]}
    assert numbers.keys() <= years.keys()
    shown = say("index", "history", "440000", "--run", str(numbers["2021"]))
    assert f"{float(years['2021']):.2f}" in shown.stdout
    assert MARK in shown.stderr
    assert say("index", "batch", "count", by=olga()).exit_code == 0


def test_weights_come_of_files_and_panels(say: Say, tmp_path: Path) -> None:
    fill((2022,))
    operator, tree = olga(), tree_of(definition_named("cpsdi-2023"))
    file = tmp_path / "weights.csv"
    file.write_text("node,weight\n" + "".join(f"{code},0.50\n" for code in tree.nodes))
    assert say("index", "weights", "import", "cpsdi-2023", str(file), "--name", "halves", by=operator).exit_code == 0
    assert WeightSet.objects.get(name="halves").kind == "imported"
    assert "halves" in say("index", "weights", "list").stdout

    experts = ("--expert", "ann", "--expert", "ben=2")
    panel = told(say("index", "panel", "open", "cpsdi-2023", "spring", *experts, "--json", by=operator))
    stand = told(say("index", "panel", "show", str(panel["id"]), "--json"))
    pairs = [pair for below in tree.groups().values() for pair in combinations(below, 2)]
    file.write_text("one,other,value\n" + "".join(f"{one},{other},1\n" for one, other in pairs))
    for one in stand["experts"]:
        judged = say("index", "panel", "judge", str(panel["id"]), str(one["id"]), str(file), by=operator)
        assert (judged.exit_code, "spring" in judged.stdout) == (0, True)
    assert say("index", "panel", "record", str(panel["id"]), "--name", "ours", by=operator).exit_code == 0
    assert WeightSet.objects.get(name="ours").kind == "panel"
    assert "spring" in say("index", "panel", "list").stdout


def test_a_user_rates_a_task_and_says_its_industry(say: Say) -> None:
    person = alice()
    task = make_task(replace(make_market(), alice=person.organization))
    assert "4 of 5 stars" in say("rate", str(task.pk), "4", "--comment", "quick").stdout
    assert TaskRating.objects.get().comment == "quick"
    assert say("rate", str(task.pk), "6").exit_code == 2
    assert ": I" in say("industry", "i").stdout
    person.organization.refresh_from_db()
    assert person.organization.industry == "I"
    assert ": I" in say("industry").stdout
    assert say("industry", "Z").exit_code == 2


def test_runs_are_listed_by_what_they_are_of() -> None:
    run = fill((2022,))
    assert run
    client = client_of(alice())

    def numbers(query: str) -> list[int]:
        return [one["id"] for one in client.get(f"/api/v1/index/runs?{query}").json()["results"]]

    for query in ("", "published=true", "definition=cpsdi-2023&profile=national&period=2022", "definition=cpsdi-2023@1"):
        assert numbers(query) == [run.pk], query
    for query in ("published=false", "definition=cpsdi-2023@2", "definition=cpsdi-2023@x", "profile=platform", "period=2021"):
        assert numbers(query) == [], query
    for query in ("period=once", "profile=mine", "published=perhaps"):
        assert client.get(f"/api/v1/index/runs?{query}").status_code == 422, query

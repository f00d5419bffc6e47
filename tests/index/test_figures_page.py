"""The report's figures 3 to 10 have their counterparts on one page, each with its numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from django.test import Client

from index.defining import ensure_shipped
from index.demo import fill
from index.generating import generated
from index.importing.services import File, Source, commit, preview
from index.models import IndexRun, WeightSet
from index.regions import PROVINCES
from index.running.services import Wanted, run_index
from tests import builders as build
from tests.index.builders_index import shipped

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def page(path: str) -> str:
    client = Client()
    client.force_login(build.alice().user)
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()[:500]
    return answer.content.decode()


def option(text: str, number: int) -> dict[str, Any]:
    """What ECharts is told of a figure."""
    found = re.search(rf'<script id="chart-figure-{number}" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    told: dict[str, Any] = json.loads(found[1])
    return told


def test_figures_three_to_nine_are_drawn_and_told_and_the_tenth_is_linked(run: IndexRun) -> None:
    text = page("/index/figures/")
    assert [number for number in range(3, 11) if f'id="figure-{number}"' in text] == list(range(3, 11))
    assert re.findall(r"The numbers of figure (\d)", text) == ["4", "5", "6", "7", "8", "9"]
    assert f"/index/relationship/?run={run.pk}" in text
    scores = run.read("result")["scores"]
    for number, code in ((4, "INDEX"), (5, "A"), (7, "B"), (8, "C"), (9, "D")):
        drawn = [row["value"] for row in option(text, number)["series"][0]["data"]]
        assert drawn == sorted((round(float(value), 2) for value in scores[code].values()), reverse=True)


def test_figure_six_has_the_three_ratios_and_the_three_utilisations_as_they_are(run: IndexRun) -> None:
    series = option(page("/index/figures/"), 6)["series"]
    assert len(series) == 6
    seen, raw = run.read("inputs"), run.read("result")["raw"]
    beijing = {one["name"]: one["data"][0] for one in series}
    assert beijing["Share of AI capacity offered as a service"] == round(float(seen["service_ratio_ai"]["110000"][0]), 2)
    assert beijing["Supercomputing utilisation"] == round(float(raw["A32"]["110000"]), 2)


def test_figure_three_is_the_whole_tree_as_chart_and_as_list(run: IndexRun) -> None:
    text = page("/index/figures/")
    root = option(text, 3)["series"][0]["data"][0]
    second = [one for top in root["children"] for one in top["children"]]
    assert (len(root["children"]), len(second), sum(len(one["children"]) for one in second)) == (4, 11, 22)
    assert len(re.findall(r'href="/index/indicators/[A-D]\d\d/', text)) == 22


def test_a_small_definition_has_the_figures_it_can_have_and_tells_who_has_no_score() -> None:
    ensure_shipped()
    lines = ["region_code,indicator,year,value,unit,source"]
    for region, scale, latency in (("110000", "5", "20"), ("310000", "9", "30"), ("640000", "7", "")):
        lines += [f"{region},live_fp32_general,2022,{scale}e15,FLOPS_FP32,count", f"{region},live_latency,2022,{latency},ms,count"]
    file = File("platform.csv", "\n".join(lines).replace("e15", "0" * 15).encode(), Source("counted", "Gridfare"), "platform")
    commit(preview(file).pk)
    weights = WeightSet.objects.get(definition__code="supply-pulse", kind="placeholder")
    run = run_index(Wanted(weights, "platform", "2022"))
    text = page(f"/index/figures/?run={run.pk}")
    assert re.findall(r"The numbers of figure (\d)", text) == ["4", "5", "6", "7"]
    beside = page(f"/index/relationship/?run={run.pk}")
    assert "No line: fewer than five provinces" in beside
    assert "Left out" in beside or "n/a" not in beside
    claims = page(f"/index/claims/?run={run.pk}")
    assert "Another tree: the statement is of cpsdi-2023, the run of supply-pulse." in claims
    assert claims.count('<span class="badge good">agrees</span>') == 1, "of its own arithmetic one"
    ningxia = text[text.index("Ningxia</strong>") :]
    assert "n/a (" in ningxia[: ningxia.index("</tr>")]


def test_a_figure_comes_as_csv_with_the_exact_numbers_of_its_table(run: IndexRun) -> None:
    client = Client()
    client.force_login(build.alice().user)
    rows = list(csv.DictReader(io.StringIO(client.get("/index/figures/?as=csv&figure=4").content.decode())))
    result, bands = run.read("result"), run.read("analysis")["bands"]
    assert {row["region_code"]: row["Score"] for row in rows} == result["scores"]["INDEX"]
    assert [row["Rank"] for row in rows] == [str(place) for place in range(1, 32)]
    assert all(row["Lowest rank of the band"] == str(bands[row["region_code"]]["low"]) for row in rows)
    ratios = client.get("/index/figures/?as=csv&figure=6").content.decode()
    assert f",{run.read('inputs')['service_ratio_super']['110000'][0]}," in ratios
    for asked in ("as=csv", "as=csv&figure=3", "as=csv&figure=x", "as=html"):
        assert client.get(f"/index/figures/?{asked}").status_code == 422, asked


def test_every_number_of_a_figure_has_its_columns_name_on_a_phone(run: IndexRun) -> None:
    text = page("/index/figures/")
    tables = text[text.index('id="figure-4"') :]
    assert '<td class="number">' not in tables
    assert tables.count('data-label="Rank"') == 31


def test_no_more_is_generated_as_used_than_is_offered() -> None:
    tree = shipped()
    for year in (2013, 2022):
        text = generated(tree, [year], {region: 1.0 + at for at, region in enumerate(PROVINCES)}, {}).decode()
        values = {(row["indicator"], row["region_code"]): float(row["value"]) for row in csv.DictReader(io.StringIO(text))}
        for region in PROVINCES:
            for kind in ("general", "ai", "super"):
                capacity = values[f"dc_{kind}", region] + values.get((f"private_{kind}", region), 0)
                offered = capacity * values[f"service_ratio_{kind}", region] / 100
                assert 0.2 < values[f"used_{kind}", region] / offered < 0.9, (kind, region, year)

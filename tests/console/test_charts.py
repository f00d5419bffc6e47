"""Charts: options are plain JSON above a table, the library comes by a lock, and nothing is written into a page unescaped."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.template import engines

from console.charts import Bar, Chart, Point, bars, heat, lines, scatter, stacked

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "console" / "assets"


def drawn(*figures: Chart) -> str:
    """A page with these charts."""
    page = "{% load charts %}{% for one in all %}{% chart one %}{% endfor %}"
    return engines["django"].from_string(page).render({"all": figures})


@pytest.mark.parametrize(
    "figure",
    [
        bars("a", "Bars", [Bar("京", 1.5, "/index/"), Bar("b", None, low=1, high=3)], "points"),
        stacked("a", "Parts", ["x", "y"], {"one": [1, None], "two": [2, 3]}),
        lines("a", "Lines", ["2021", "2022"], {"one": [1, None]}, inverse=True),
        scatter("a", "Points", [Point("x", 1, 2, "north"), Point("y", 3, 4, "south", "/index/")], "x", "y", [(0, 0), (1, 1)]),
        heat("a", "Heat", ["x"], ["y", "z"], [[0.5], [None]]),
    ],
    ids=lambda figure: figure.title,
)
def test_every_kind_of_chart_is_plain_json_on_the_page(figure: Chart) -> None:
    page = drawn(figure)
    found = re.search(r'<script id="chart-a" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == figure.option


def test_a_name_cannot_break_out_of_its_chart() -> None:
    evil = '</script><script>alert(1)</script>"><b>'
    page = drawn(bars("a", evil, [Bar(evil, 1)], evil, note=evil))
    assert "alert(1)</script>" not in page
    assert "<b>" not in page


def test_the_script_is_named_once_however_many_charts_there_are() -> None:
    one, two = (bars(name, "Bars", [Bar("x", 1)]) for name in ("a", "b"))
    page = drawn(one, two)
    assert page.count("console/charts.js") == 1
    assert page.count("<figure") == 2


def test_a_picture_of_generated_values_is_marked() -> None:
    assert "data-synthetic" in drawn(bars("a", "Bars", [], synthetic=True))
    assert "data-synthetic" not in drawn(bars("a", "Bars", []))


def test_a_gap_in_a_heat_chart_is_no_zero() -> None:
    assert heat("a", "Heat", ["x", "y"], ["z"], [[None, 0.0]]).option["series"][0]["data"] == [[0, 0, "-"], [1, 0, 0.0]]


def test_the_library_is_served_from_here_and_is_what_the_lock_says() -> None:
    if not (ASSETS / "public").exists():
        pytest.fail("run requirements/assets.py: it fetches what the pages load")
    assert finders.find("echarts/echarts.min.js")
    lock: dict[str, Any] = json.loads((ASSETS / "package-lock.json").read_text())["packages"]
    version = json.loads((ASSETS / "package.json").read_text())["dependencies"]["echarts"]
    assert lock["node_modules/echarts"]["version"] == version
    assert runpy.run_path(str(ROOT / "requirements" / "assets.py"))["fetched"]()


def test_the_lock_has_a_digest_for_every_package_and_names_no_host() -> None:
    text = (ASSETS / "package-lock.json").read_text()
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert "://" not in text


def test_a_lock_that_changed_is_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "requirements" / "assets.py"))
    inside = script["fetched"].__globals__
    home = tmp_path / "assets"
    home.mkdir()
    for name in script["ASKED"]:
        (home / name).write_text("{}")
    monkeypatch.setitem(inside, "HOME", str(home))
    monkeypatch.setitem(inside, "PUBLIC", str(home / "public"))
    monkeypatch.setitem(inside, "STAMP", str(home / "public" / "lock.sha256"))
    modules = tmp_path / "modules"
    for name in script["SERVED"]:
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).write_text("x")

    assert not script["fetched"]()
    inside["_publish"](str(modules))
    assert script["fetched"]()
    (home / "package-lock.json").write_text('{"new": 1}')
    assert not script["fetched"]()

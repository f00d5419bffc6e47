"""What the index' commands show, and what they refuse before anything is asked. No Django."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from gridfare.cli.index import rounded
from gridfare.cli.index_work import rows_in, weights_in
from gridfare.client import Client
from gridfare.sdk.errors import NotFound
from tests.client.conftest import Run
from tests.client.platform import Platform

RANKS = (
    "region_code,region,rank,score,band_low,band_middle,band_high,first_five,coverage,synthetic\r\n"
    "440000,Guangdong,1,61.238,1,1,3,1,1,{mark}\r\n"
    "540000,Tibet,,,,,,,0.2,{mark}\r\n"
)
EDITION = {"id": 7, "edition": 2, "definition": "cpsdi-2023@1", "period": "2022", "published_at": "2026-03-02T00:00:00Z"}


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    older = EDITION | {"id": 9, "edition": 1, "published_at": "2026-01-01T00:00:00Z"}
    platform.answers |= {
        "GET /index/runs": {"results": [older, EDITION], "next": None},
        "GET /index/runs/7/tables/ranks": RANKS.format(mark="yes").encode(),
        "GET /index/runs/8/tables/ranks": RANKS.format(mark="no").encode(),
    }


def test_the_newest_edition_is_the_one_that_was_published_last(run: Run, client: Client, platform: Platform) -> None:
    assert client.index_edition()["id"] == 7
    assert "run 7" in run("index", "ranks").err
    platform.answers["GET /index/runs"] = {"results": [], "next": None}
    with pytest.raises(NotFound):
        client.index_edition()
    assert run("index", "ranks").code == 4


def test_generated_values_are_said_and_what_is_unknown_is_no_zero(run: Run) -> None:
    shown = run("index", "ranks", "--run", "7")
    assert "contains generated values" in shown.err
    assert "61.24" in shown.out
    assert "1 to 3" in shown.out
    assert "0.00" not in shown.out
    assert "generated" not in run("index", "ranks", "--run", "8").err
    assert run("index", "ranks", "--run", "7", "--json").json[0]["synthetic"] == "yes"


def test_weights_and_judgements_are_read_as_they_are_written() -> None:
    assert weights_in("node,weight\nA,0.60\n\nB, 0.4\n") == weights_in('{"A": 0.60, "B": "0.4"}') == {"A": "0.60", "B": "0.4"}
    assert rows_in("one,other,value\nA,B,1/5\nA,C,\n", 3) == [["A", "B", "1/5"], ["A", "C", ""]]
    for wrong in ("A,1\nA,2\n", '{"A": 1, "A": 2}', '{"A": ', "A\n", "A,1,2\n", '{"A": 1}, 2'):
        with pytest.raises(typer.BadParameter):
            weights_in(wrong)
    assert rounded("1234.5") == "1,234.50"


def test_what_is_wrong_on_the_line_is_refused_before_anything_is_asked(run: Run, platform: Platform, tmp_path: Path) -> None:
    assert run("rate", "0196f0c2-7d6e-7c52-9f2e-6f4a0f3c1d11", "0").code == 2
    assert run("index", "batch", "preview", str(tmp_path / "nothing.csv")).code == 2
    assert run("index", "batch", "roll-back", "3").code == 2, "a reason is missing"
    assert run("index", "panel", "open", "cpsdi-2023", "spring", "--expert", "ann", "--expert", "ann=2").code == 2
    assert platform.calls == []

"""Commands about usage and the bill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.client.platform import Platform


def test_usage_events_are_sent_and_those_that_do_not_count_are_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"id": "a"}\n\n{"id": "a"}\n')
    assert "1 accepted, 1 duplicate" in run("usage", "send", str(file)).out
    file.write_text('[{"id": "b"}, {"id": "wrong"}]')
    refused = run("usage", "send", str(file))
    assert (refused.code, "negative" in refused.out) == (1, True)
    assert run("usage", "send", str(file), "--json").json["rows"][0]["index"] == 1
    file.write_text('{"id": "c"}\n{oops\n')
    assert "line 2 is not JSON" in run("usage", "send", str(file)).err
    assert run("usage", "send", str(tmp_path / "none")).code == 2


def test_usage_is_shown_by_what_one_asks(run: Run) -> None:
    shown = run("usage", "--by", "project,meter", "--from", "2026-03-01", "--zone", "Asia/Shanghai").out
    assert "film" in shown
    assert "2.5" in shown
    assert [row["meter"] for row in run("usage", "--json").json] == ["gpu_hour", "wall"]
    assert run("usage", "--csv").out.splitlines() == ["meter,quantity", "wall,1"]
    assert run("usage", "--csv", "--json").code == 2
    assert "12.5" in run("usage", "days").out


def test_what_was_kept_apart_is_listed_and_decided(run: Run) -> None:
    assert "too_old" in run("usage", "quarantine").out
    assert "old is accepted" in run("usage", "accept", "7").out
    assert run("usage", "refuse", "7", "--json").json["state"] == "refused"


SIDES = {"user", "provider", "publisher"}


@pytest.mark.parametrize("sides", [["provider"], ["publisher"], ["user"], ["user", "provider"], []])
def test_the_bill_shows_the_sides_that_an_organization_is_on(run: Run, platform: Platform, sides: list[str]) -> None:
    organization = {"slug": "acme"} | {f"is_{side}": side in sides for side in SIDES}
    platform.answers["GET /me"] = {"user": {"username": "bob"}, "organization": organization, "role": "owner", "scopes": ["*"]}
    shown = run("bill").out
    assert {side for side in SIDES if f"acme as {side}" in shown} == set(sides or ["user"])
    assert run("bill", "--json").json["party"] == (sides or ["user"])[0]


def test_the_bill_adds_up(run: Run) -> None:
    assert "total 0.2885 CNY" in run("bill", "--party", "provider").out
    assert run("bill", "--from", "2030-01-01", "--json").json["from"] == "2030-01-01"
    assert run("bill", "--csv").out.splitlines() == ["task,amount", "a,0.12"]
    assert run("bill", "--csv", "--json").code == 2
    normalised = run("bill", "--fp32").out
    assert "TFLOPS hours" in normalised
    assert "7200" in normalised


def test_an_event_is_put_right_by_name(run: Run) -> None:
    assert "1 accepted" in run("usage", "correct", "/slurm", "e1", "--name", "c1", "--quantity", "0").out
    refused = run("usage", "correct", "/slurm", "e1", "--name", "c1", "--gauge", "2")
    assert (refused.code, "no gauge" in refused.out) == (1, True)
    assert run("usage", "correct", "/slurm", "e1", "--name", "c1").code == 2


def test_counters_are_reconciled_shown_and_compared_again(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "june.csv"
    file.write_text("pool,meter,unit,from,to,quantity\nP,gpu_hour,hour,2026-06-01,2026-07-01,10\n")
    done = run("usage", "reconcile", str(file), "--relative", "0.01", "--name", "June")
    assert (done.code, "1 matched, 1 off" in done.out, "-2" in done.out) == (1, True, True)
    file.write_text('{"pool": "P", "meter": "gpu_hour"}\n')
    assert run("usage", "reconcile", str(file), "--json").json["rows"][0]["status"] == "off"
    assert run("usage", "reconcile", "--again", "6").code == 1
    assert run("usage", "reconcile").code == 2
    assert run("usage", "reconcile", str(tmp_path / "none")).code == 2
    assert "June" in run("usage", "reconciliations").out
    assert run("usage", "reconciliation", "6", "--status", "matched").code == 0

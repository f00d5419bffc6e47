"""Commands of providers about their pools."""

from __future__ import annotations

from tests.client.conftest import Run
from tests.client.platform import POOL, Platform


def test_a_pools_trust_is_shown_with_what_it_is_made_of_and_operators_have_their_word(run: Run, platform: Platform) -> None:
    shown = run("pool", "trust", POOL).out
    assert "believed alone no" in " ".join(shown.split())
    parts = ("L2 until", "0.93 (12 checked)", "closed until", "3 wrong results", "128 units a day", "gridfare/render@1.0.0", "8%")
    for part in parts:
        assert part in shown
    assert run("pool", "trust", POOL, "--json").json["daily_quota"] == 128
    lifted = run("pool", "lift", POOL).out
    assert "closed until" not in lifted
    assert "128 units" not in lifted
    assert run("pool", "audit", POOL, "--until", "2030-06-01T00:00:00Z", "--json").json["level"] == 4


def test_a_provider_sets_up_a_pool(run: Run, platform: Platform, url: str) -> None:
    assert run("pools").out.startswith("no pools")
    assert run("pool", "create", "west", "--region", "ningxia").out.strip() == POOL
    assert run("pool", "offer", POOL, "--rate", "core_second=0.0001", "--json").json["rates"] == {
        "core_second": "0.0001"
    }
    assert "0.0001/core second" in run("pool", "offers", POOL).out
    done = run("pool", "token", POOL)
    assert done.out.strip() == "join-me-once"
    assert f"gridfare agent join {url} join-me-once" in done.err
    made = run("pool", "maintain", POOL, "--from", "2030-01-01T00:00:00Z", "--for", "90m", "--category", "power", "--json").json
    assert (made["number"], made["category"]) == (1, "power")
    assert (made["start"], made["end"]) == ("2030-01-01T00:00:00+00:00", "2030-01-01T01:30:00+00:00")
    assert "power" in run("pool", "windows", POOL).out
    assert run("pool", "unmaintain", POOL, "1").code == 0
    assert run("pool", "windows", POOL).out.startswith("no maintenance")
    assert run("pool", "reclaim", POOL, "--in", "10m", "--for", "1h", "--json").json["asked"] == {"in_s": 600, "for_s": 3600}
    assert "2030-01-01" in run("pool", "show", POOL).out
    assert run("pool", "give-back", POOL).out.strip() == f"{POOL} takes work again"
    assert run("pool", "benchmark", POOL, "hepscore23:12.5").out.strip() == f"{POOL}: hepscore23 12.5 a core"
    assert run("pool", "benchmark", POOL, "none", "--json").json["benchmark"] is None
    for verb, state in {"drain": "draining", "resume": "active", "retire": "retired"}.items():
        assert run("pool", verb, POOL, "--json").json["state"] == state
    assert "disk_free" in run("pool", "show", POOL).out
    assert POOL in run("pools").out
    assert run("pool", "suspend", POOL).code == 3
    assert run("pool", "activate", POOL).code == 3

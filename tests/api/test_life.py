"""The whole business over HTTP: a machine joins, a program is published, a task runs, three parties are settled."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from tests import builders as build
from tests.builders_capabilities import a_manifest, a_program, sha256_of, upload_through
from tests.builders_http import HttpAgent, steps

pytestmark = pytest.mark.usefixtures("real_agent_door")
PICTURE = b"\x89PNG not really"
OUTPUT = {"path": "frames/1.png", "bytes": len(PICTURE), "sha256": sha256_of(PICTURE), "media_type": "image/png"}
PERIOD = "from=2020-01-01&to=2100-01-01"


def a_machine_joins(owner: Any) -> tuple[HttpAgent, str]:
    """Register, join, test, price, admitted by olga; returns the agent and the pool's identifier."""
    pool = owner.post("/api/v1/pools", {"name": "west", "region": "ningxia"}).json()
    url = f"/api/v1/pools/{pool['identifier']}"
    agent = HttpAgent("west-1")
    assert agent.enrol(owner.post(f"{url}/join-tokens").json()["token"]).json()["pool"]["state"] == "enrolled"
    assert agent.selftest().json() == {"pool_state": "verified"}
    rates = {"core_second": "0.01"}
    assert owner.post(f"{url}/offers", {"basis": "consumption", "rates": rates}).status_code == 201
    assert agent.sync().status_code == 200
    assert owner.post(f"{url}/activate").json()["code"] == "operators_only"
    assert build.client_of(build.olga()).post(f"{url}/activate").json()["state"] == "active"
    return agent, pool["identifier"]


def a_program_is_published(owner: Any, agent: HttpAgent) -> str:
    """Upload, draft, publish; its test runs on the machine. Returns its name."""
    fee = {"per_unit": "0.1", "per_task": "0.3"}
    program = upload_through(owner, a_program({"render.py": "print(1)\n"}), "render.tar.gz")
    draft = owner.post("/api/v1/capabilities", {"manifest": a_manifest(fee=fee), "program": str(program)}).json()
    url = f"/api/v1/capabilities/{draft['name']}/versions/{draft['version']}"
    assert owner.post(f"{url}/publish").json()["state"] == "testing"
    work_is_done(agent)
    published = owner.get(url).json()
    assert (published["state"], published["test_report"][0]["state"]) == ("published", "passed")
    return draft["name"]


def work_is_done(agent: HttpAgent) -> list[Any]:
    """The machine takes what waits, uploads a picture each, reports. Returns the leases it had."""
    steps()
    leases = agent.sync(want=100).json()["leases"]
    for attempt, *_ in leases:
        assert agent.put(attempt, PICTURE).status_code in {200, 201}
    agent.sync()
    assert agent.done([OUTPUT], wall_ms=2000, core_ms=2000).json()["refused"] == []
    steps()
    return leases


def statement(client: Any, party: str) -> dict[str, Any]:
    return client.get(f"/api/v1/statements?party={party}&{PERIOD}").json()


def test_from_a_join_token_to_a_ledger_of_zero() -> None:
    alice, bob, carol, olga = (build.client_of(one()) for one in (build.alice, build.bob, build.carol, build.olga))
    agent, pool = a_machine_joins(bob)
    name = a_program_is_published(carol, agent)

    quote = alice.post("/api/v1/quotes", {"capability": name, "inputs": {"frames": 3}}).json()
    assert (quote["units"], quote["feasible"], quote["cheapest"]["pools"][0]["pool"]) == (3, 1, pool)
    task = alice.post("/api/v1/tasks", {"capability": name, "inputs": {"frames": 3}}).json()
    leases = work_is_done(agent)
    assert len(leases) == 3

    task = alice.get(f"/api/v1/tasks/{task['id']}").json()
    assert (task["state"], task["progress"]["fraction"], task["result"]["files"]) == ("delivered", 1.0, 3)
    manifest = alice.get(task["result"]["manifest_url"]).json()
    file = alice.get(f"/api/v1/tasks/{task['id']}/result/files/{manifest['files'][2]['path']}")
    assert (b"".join(file.streaming_content), file["Content-Type"]) == (PICTURE, "image/png")
    where = alice.get(f"/api/v1/tasks/{task['id']}/explain").json()["where"]
    assert [(row["pool"], row["state"], row["units"]) for row in where] == [(pool, "done", 3)]

    # No more is metered than the lease was held, so the amounts are small; that they add up is what counts.
    cost = Decimal(task["cost"]["amount"])
    assert task["cost"]["final"]
    assert cost > Decimal("0.6")
    owed, provided, published = (
        statement(*one) for one in ((alice, "user"), (bob, "provider"), (carol, "publisher"))
    )
    assert Decimal(owed["total"]) == cost
    tested, resources = Decimal(published["total"]), Decimal(provided["total"])
    charges = alice.get(f"/api/v1/tasks/{task['id']}/charges").json()["results"]
    assert sum(Decimal(one["amount"]) for one in charges) == cost
    assert {one["kind"] for one in charges} == {"usage", "fee"}
    assert Decimal(0) < tested <= cost
    assert resources > 0

    rows = list(csv.DictReader(io.StringIO(b"".join(alice.get(
        f"/api/v1/statements.csv?party=user&{PERIOD}").streaming_content).decode())))  # fmt: skip
    assert sum(Decimal(row["share"]) for row in rows) == cost
    ledger = olga.get("/api/v1/ledger/trial-balance").json()
    assert ledger["balanced"]
    assert sum(Decimal(account["balance"]) for account in ledger["accounts"]) == 0


def test_a_program_whose_test_fails_is_a_draft_again_with_the_reason() -> None:
    bob, carol = build.client_of(build.bob()), build.client_of(build.carol())
    agent, _ = a_machine_joins(bob)
    program = upload_through(carol, a_program({"render.py": "print(1)\n"}), "render.tar.gz")
    draft = carol.post("/api/v1/capabilities", {"manifest": a_manifest(), "program": str(program)}).json()
    url = f"/api/v1/capabilities/{draft['name']}/versions/{draft['version']}"
    carol.post(f"{url}/publish")
    for _ in range(10):  # a failure of the program is tried again before it counts
        steps()
        agent.sync(want=10)
        reports = ({"attempt": a, "fence": f} for a, f in agent.held.items())
        failed = {"outcome": "failed", "reason_class": "capability_error", "code": "exit_nonzero", "detail": "no scene"}
        agent.report(*({**one, **failed} for one in reports))
        steps()
        version = carol.get(url).json()
        if version["state"] != "testing":
            break
    assert version["state"] == "draft"
    assert [entry["state"] for entry in version["test_report"]] == ["failed"]
    assert "no scene" in version["test_report"][0]["detail"]

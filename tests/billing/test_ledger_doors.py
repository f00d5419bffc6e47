"""The ledger's doors through HTTP: operators see all of it, an organization the chain and its own entries."""

from __future__ import annotations

from typing import Any

import pytest

from billing.ledger.sealing import seal_all
from billing.services import charge_task
from gridfare.ledger import verify
from gridfare.ledger.hashing import entry_digest, leg_digest, root_by_path, seal_hash
from tests import builders as build
from tests.billing.test_seals import post
from tests.billing.test_statements import charged, market  # noqa: F401  the cast's market
from tests.builders_billing import Market


def get(person: Any, path: str) -> Any:
    return build.client_of(person).get(f"/api/v1/ledger/{path}")


@pytest.fixture
def sealed(market: Market) -> None:  # noqa: F811
    for key in ("one", "two"):
        charged(market)
        post(key)
        seal_all()


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("who", ["olga", "alice", "mallory"])
def test_everybody_with_a_bill_sees_the_whole_chain(who: str) -> None:
    seals = get(getattr(build, who)(), "proof").json()["results"]
    assert [(seal["number"], seal["first"], seal["last"], seal["entries"]) for seal in seals] == [(1, 1, 2, 2), (2, 3, 4, 2)]
    assert seals[0]["hash"] == seals[1]["previous"]
    assert all("salt" not in seal for seal in seals)


@pytest.mark.usefixtures("sealed")
def test_pages_of_the_chain_follow_each_other() -> None:
    page = get(build.alice(), "proof?limit=1").json()
    assert len(page["results"]) == 1
    assert page["next"]


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(("who", "count"), [("olga", 4), ("alice", 2), ("bob", 2), ("carol", 2), ("mallory", 0)])
def test_each_sees_its_own_entries(who: str, count: int) -> None:
    assert len(get(getattr(build, who)(), "proof/entries").json()["results"]) == count


@pytest.mark.usefixtures("sealed")
def test_an_organization_can_follow_its_entry_to_the_seal_by_hand() -> None:
    seals = {seal["number"]: seal for seal in get(build.bob(), "proof").json()["results"]}
    def digest_of(leg: dict[str, Any]) -> bytes:
        return leg_digest(leg, bytes.fromhex(leg["blind"])) if "leg" in leg else bytes.fromhex(leg["digest"])

    for entry in get(build.bob(), "proof/entries").json()["results"]:
        legs = [digest_of(leg) for leg in entry["legs"]]
        digest, seal = entry_digest(entry, legs), seals[entry["seal"]]
        assert digest.hex() == entry["digest"]
        path = [bytes.fromhex(one) for one in entry["path"]]
        root = root_by_path(digest, entry["position"] - seal["first"], seal["entries"] + seal["balances"], path)
        assert root is not None
        assert root.hex() == seal["root"]
        own = [leg for leg in entry["legs"] if "leg" in leg]
        assert {leg["organization"] for leg in own} == {build.bob().organization.pk}


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(("who", "entries"), [("olga", 4), ("alice", 2), ("mallory", 0)])
def test_an_export_is_streamed_and_proves_itself(who: str, entries: int) -> None:
    answer = get(getattr(build, who)(), "export")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-ndjson")
    assert verify(b"".join(answer.streaming_content).splitlines(keepends=True)).entries == entries


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(("form", "suffix"), [("hledger", "journal"), ("beancount", "beancount")])
def test_journals_are_streamed_to_whom_they_belong(form: str, suffix: str) -> None:
    answers = {who: get(getattr(build, who)(), f"export?format={form}") for who in ("olga", "bob")}
    texts = {who: b"".join(answer.streaming_content).decode() for who, answer in answers.items()}
    assert answers["bob"]["Content-Disposition"] == f'attachment; filename="ledger.{suffix}"'
    assert "UserReceivable:Acme" in texts["olga"]
    assert "UserReceivable" not in texts["bob"]
    assert "Liabilities:ProviderPayable:Bobs-pools" in texts["bob"]
    assert "-0.180000" in texts["bob"]


@pytest.mark.django_db
def test_a_wrong_format_is_named() -> None:
    answer = get(build.olga(), "export?format=papyrus")
    assert (answer.status_code, answer.json()["field"]) == (422, "format")


@pytest.mark.django_db
def test_viewers_see_no_ledger() -> None:
    build.alice()
    assert {get(build.alice("viewer"), path).status_code for path in ("proof", "proof/entries", "export")} == {403}


def test_the_hash_of_a_seal_is_that_of_what_the_door_tells(sealed: None) -> None:
    from django.utils.dateparse import parse_datetime

    from billing.ledger.hashing import microseconds

    for seal in get(build.alice(), "proof").json()["results"]:
        moment = parse_datetime(seal["sealed_at"])
        assert moment is not None
        assert seal_hash(seal | {"sealed_us": microseconds(moment)}).hex() == seal["hash"]


def test_charging_wakes_the_sealer(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from billing import jobs

    woken: list[str] = []
    monkeypatch.setattr(jobs, "wake", lambda job, *, delay_s: woken.append(job))
    monkeypatch.setattr(jobs, "awake", lambda *_: None)
    task = charged(market)
    jobs.charge_job(str(task.pk))
    assert woken == []  # it was settled before
    monkeypatch.setattr(jobs, "charge_task", lambda _: True)
    jobs.charge_job(str(task.pk))
    assert woken == ["billing.seal", "index.preview"]
    jobs.seal_job()
    jobs.prove_job()
    assert get(build.alice(), "proof").json()["results"][0]["entries"] == 1
    assert charge_task(task.pk) is False

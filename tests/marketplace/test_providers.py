"""A pool's life: registered, joined by an agent, tested, priced, active, drained, retired."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Conflict, DomainError, Invalid, NotAllowed
from marketplace.identifiers import is_identifier
from marketplace.models import Agent, JoinToken, Pool
from marketplace.services import providers
from tests import builders as build

pytestmark = pytest.mark.django_db
POOLS = "/api/v1/pools"
FAILED = [{"code": "memory", "status": "fail", "measured": "100 MiB", "needed": "256 MiB", "hint": "add some"}]


def enrol(token: str, name: str = "node", **fields: Any) -> Agent:
    given = {"public_key": build.public_key_of(name), "name": name, "version": "0.1.0", "facts": build.FACTS}
    return providers.enrol_agent(**{"token": token, **given, **fields})


def raised(act: Callable[[], object]) -> DomainError:
    with pytest.raises(DomainError) as caught:
        act()
    return caught.value


def test_a_pools_life_through_the_api() -> None:
    client = build.client_of(build.bob())
    made = client.post(POOLS, {"name": "west", "region": "ningxia", "kind": "intelligent", "tier": "edge"})
    assert made.status_code == 201
    pool = made.json()
    assert is_identifier(pool["identifier"])
    assert pool["identifier"].startswith("640000-I-")
    assert (pool["state"], pool["agent"], pool["load"]) == ("registered", None, {"cores_leased": 0, "attempts": 0})
    url = f"{POOLS}/{pool['identifier']}"

    token = client.post(f"{url}/join-tokens").json()["token"]
    agent = enrol(token)
    assert client.get(url).json()["state"] == "enrolled"
    assert client.get(url).json()["cores"] == 8

    providers.record_selftest(agent, results=build.PASSED, benchmark=build.BENCHMARK)
    assert client.get(url).json()["fp32_gflops"] == 100.0
    assert client.post(f"{url}/activate").json()["code"] == "operators_only"
    olga = build.client_of(build.olga())
    refused = olga.post(f"{url}/activate")
    assert (refused.status_code, refused.json()["code"]) == (409, "offer_missing")

    offer = {"basis": "consumption", "rates": {"core_second": "0.0001"}}
    assert client.post(f"{url}/offers", offer).status_code == 201
    assert olga.post(f"{url}/activate").json()["state"] == "active"
    for verb, state in [("drain", "draining"), ("resume", "active"), ("retire", "retired")]:
        assert client.post(f"{url}/{verb}").json()["state"] == state
    assert olga.post(f"{url}/activate").json()["code"] == "pool_state"


def test_repeating_a_verb_is_one_effect() -> None:
    pool = build.a_pool(state="active")
    client = build.client_of(build.bob())
    for _ in range(2):
        assert client.post(f"{POOLS}/{pool.identifier}/drain").json()["state"] == "draining"


def test_only_providers_register_pools() -> None:
    answer = build.client_of(build.alice()).post(POOLS, {"name": "x", "region": "ningxia"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_a_provider")


def test_an_unknown_region_and_a_taken_name_write_nothing() -> None:
    client = build.client_of(build.bob())
    assert client.post(POOLS, {"name": "x", "region": "atlantis"}).json()["field"] == "region"
    assert client.post(POOLS, {"name": "x", "region": "ningxia"}).status_code == 201
    again = client.post(POOLS, {"name": "x", "region": "ningxia"})
    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "pool_name_taken", "name")
    assert Pool.objects.count() == 1


def test_a_strangers_pool_is_not_found() -> None:
    url = f"{POOLS}/{build.a_pool().identifier}"
    client = build.client_of(build.mallory())
    answers = [client.get(url), client.patch(url, {"name": "mine"}), client.get(f"{url}/offers")]
    answers += [client.post(f"{url}/{verb}") for verb in ("join-tokens", "offers", "drain", "retire")]
    assert {answer.status_code for answer in answers} == {404}
    assert client.get(POOLS).json()["results"] == []


def test_operators_suspend_and_reinstate_and_owners_do_not() -> None:
    url = f"{POOLS}/{build.a_pool().identifier}"
    assert build.client_of(build.bob()).post(f"{url}/suspend").json()["code"] == "operators_only"
    olga = build.client_of(build.olga())
    assert olga.post(f"{url}/suspend").json()["state"] == "suspended"
    assert olga.post(f"{url}/activate").json()["code"] == "pool_state"
    assert olga.post(f"{url}/reinstate").json()["state"] == "verified"


def test_a_pool_that_never_passed_is_not_reinstated() -> None:
    pool = build.a_pool(state="registered")
    olga = build.client_of(build.olga())
    olga.post(f"{POOLS}/{pool.identifier}/suspend")
    assert olga.post(f"{POOLS}/{pool.identifier}/reinstate").json()["code"] == "pool_not_verified"


def test_an_owner_changes_what_is_declared() -> None:
    build.alice()
    url = f"{POOLS}/{build.a_pool().identifier}"
    client = build.client_of(build.bob())
    changes = {"name": "new", "bandwidth_mbps": 5, "allow_organizations": ["acme"]}
    answer = client.patch(url, changes)
    assert {key: answer.json()[key] for key in changes} == changes
    wrong = client.patch(url, {"deny_organizations": ["nobody-here"]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "deny_organizations")
    assert client.patch(url, {"cores": 99}).json()["field"] == "cores"


def test_the_market_shows_active_pools_and_no_private_fields() -> None:
    active = build.a_pool(rates={"core_second": "0.0002"})
    build.a_pool(state="verified")
    rows = build.client_of(build.alice()).get("/api/v1/market/pools").json()["results"]
    assert [row["identifier"] for row in rows] == [active.identifier]
    assert rows[0]["offer"]["rates"] == {"core_second": "0.0002"}
    assert rows[0]["provider"] == "bobs-pools"
    assert rows[0]["online"] is True
    assert not {"selftest", "agent", "load", "allow_organizations", "deny_organizations"} & set(rows[0])


def test_the_market_shows_a_pool_only_to_those_it_admits() -> None:
    alice, mallory = build.alice(), build.mallory()
    build.a_pool(allow_organizations=["acme"])
    build.a_pool(deny_organizations=["mallorys"])
    assert len(build.client_of(alice).get("/api/v1/market/pools").json()["results"]) == 2
    assert build.client_of(mallory).get("/api/v1/market/pools").json()["results"] == []


def test_lists_cost_the_same_for_many_pools(django_assert_max_num_queries: Any) -> None:
    for _ in range(12):
        build.a_pool()
    client = build.client_of(build.bob())
    with django_assert_max_num_queries(6):
        assert len(client.get(POOLS).json()["results"]) == 12


def test_a_join_token_works_once() -> None:
    token = build.a_join_token(build.a_pool(state="registered"))
    enrol(token)
    error = raised(lambda: enrol(token, "second"))
    assert (type(error), error.code) == (NotAllowed, "token_used")
    assert Agent.objects.count() == 1


def test_a_join_token_lives_fifteen_minutes_and_only_its_hash_is_kept() -> None:
    pool = build.a_pool(state="registered")
    answer = build.client_of(build.bob()).post(f"{POOLS}/{pool.identifier}/join-tokens").json()
    row = JoinToken.objects.get()
    assert answer["token"] not in str(vars(row))
    assert timedelta(minutes=14) < row.expires_at - timezone.now() <= timedelta(minutes=15)
    JoinToken.objects.update(expires_at=timezone.now())
    assert raised(lambda: enrol(answer["token"])).code == "token_expired"


def test_an_unknown_token_is_refused() -> None:
    assert raised(lambda: enrol("gfj_nonsense")).code == "token_unknown"


def test_a_new_machine_replaces_the_old_agent() -> None:
    pool = build.a_pool(state="active", agent=False)
    first = enrol(build.a_join_token(pool), "first")
    second = enrol(build.a_join_token(pool), "second")
    first.refresh_from_db()
    assert first.retired_at is not None
    assert (second.retired_at, second.pool.state) == (None, "enrolled")


def test_the_same_key_keeps_its_agent_id() -> None:
    pool = build.a_pool(state="registered")
    first = enrol(build.a_join_token(pool), version="1")
    other = enrol(build.a_join_token(pool), "other")
    again = enrol(build.a_join_token(pool), version="2")
    other.refresh_from_db()
    assert (again.pk, again.version, again.retired_at) == (first.pk, "2", None)
    assert other.retired_at is not None


@pytest.mark.parametrize("state", ["suspended", "retired"])
def test_nobody_joins_a_pool_that_is_closed_and_the_token_stays_unused(state: str) -> None:
    pool = build.a_pool(state=state, agent=False)
    token = build.a_join_token(pool)
    error = raised(lambda: enrol(token))
    assert (type(error), error.code) == (Conflict, "pool_state")
    assert JoinToken.objects.get().used_at is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"public_key": "AAAA"}, "public_key"),
        ({"public_key": None}, "public_key"),
        ({"token": None}, "token"),
        ({"token": 7}, "token"),
        ({"name": ""}, "name"),
        ({"version": "x" * 41}, "version"),
        ({"facts": None}, "facts"),
        ({"facts": []}, "facts"),
        ({"facts": {**build.FACTS, "cores": 0}}, "facts.cores"),
        ({"facts": {**build.FACTS, "cores": 2.5}}, "facts.cores"),
        ({"facts": {**build.FACTS, "memory_mib": 2**31}}, "facts.memory_mib"),
        ({"facts": {**build.FACTS, "instruction_set": "z80"}}, "facts.instruction_set"),
        ({"facts": {**build.FACTS, "accelerators": [{"model": "A100"}]}}, "facts.accelerators.0"),
        ({"facts": {**build.FACTS, "executors": ["../sh"]}}, "facts.executors.0"),
    ],
)
def test_odd_facts_are_refused_and_nothing_is_written(change: dict[str, Any], field: str) -> None:
    token = build.a_join_token(build.a_pool(state="registered"))
    error = raised(lambda: enrol(token, **change) if "token" not in change else enrol(**change))
    assert isinstance(error, Invalid)
    assert error.field == field
    assert Agent.objects.count() == 0
    assert JoinToken.objects.get().used_at is None


def test_what_this_version_does_not_know_of_a_machine_is_not_kept() -> None:
    token = build.a_join_token(build.a_pool(state="registered"))
    agent = enrol(token, facts={**build.FACTS, "colour": "blue"})
    assert "colour" not in agent.facts


def test_a_failed_selftest_leaves_the_pool_enrolled() -> None:
    agent = enrol(build.a_join_token(build.a_pool(state="registered")))
    pool = providers.record_selftest(agent, results=[*build.PASSED, *FAILED], benchmark=build.BENCHMARK)
    assert pool.state == "enrolled"
    assert pool.selftest[1]["hint"] == "add some"
    pool = providers.record_selftest(agent, results=build.PASSED, benchmark=build.BENCHMARK)
    assert (pool.state, pool.fp32_mflops) == ("verified", 100_000)
    assert pool.verified_at is not None


def test_an_active_pool_that_is_tested_again_stays_active_unless_it_fails() -> None:
    pool = build.a_pool()
    agent = pool.agents.get()
    assert providers.record_selftest(agent, results=build.PASSED, benchmark=build.BENCHMARK).state == "active"
    assert providers.record_selftest(agent, results=FAILED, benchmark=build.BENCHMARK).state == "enrolled"


def test_a_selftest_does_not_lift_a_suspension() -> None:
    pool = build.a_pool(state="suspended")
    agent = pool.agents.get()
    assert providers.record_selftest(agent, results=build.PASSED, benchmark=build.BENCHMARK).state == "suspended"


def test_where_the_policy_says_so_a_tested_and_priced_pool_is_active_by_itself(settings: Any) -> None:
    settings.AUTO_ACTIVATE_POOLS = True
    first, second = build.a_pool(state="enrolled", rates={"core_second": "1"}), build.a_pool(state="enrolled")
    for pool in (first, second):
        providers.record_selftest(pool.agents.get(), results=build.PASSED, benchmark=build.BENCHMARK)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("active", "verified")
    offer = {"basis": "result", "rates": {"result": "0.5"}}
    build.client_of(build.bob()).post(f"{POOLS}/{second.identifier}/offers", offer)
    second.refresh_from_db()
    assert second.state == "active"


@pytest.mark.parametrize(
    ("results", "benchmark", "field"),
    [
        ([], build.BENCHMARK, "results"),
        (None, build.BENCHMARK, "results"),
        ([{"code": "x", "status": "maybe"}], build.BENCHMARK, "results.0.status"),
        (build.PASSED, {}, "benchmark"),
        (build.PASSED, {**build.BENCHMARK, "fp32_mflops": -1}, "benchmark.fp32_mflops"),
        (build.PASSED, {**build.BENCHMARK, "fp32_mflops": 10**30}, "benchmark.fp32_mflops"),
    ],
)
def test_an_odd_selftest_is_refused(results: Any, benchmark: Any, field: str) -> None:
    agent = build.a_pool(state="enrolled").agents.get()
    error = raised(lambda: providers.record_selftest(agent, results=results, benchmark=benchmark))
    assert (error.code, error.field) == ("selftest_invalid", field)


def test_retiring_lets_the_agent_and_open_tokens_go() -> None:
    pool = build.a_pool()
    token = build.a_join_token(pool)
    build.client_of(build.bob()).post(f"{POOLS}/{pool.identifier}/retire")
    assert pool.agents.get().retired_at is not None
    assert raised(lambda: enrol(token)).code == "token_expired"


@pytest.mark.parametrize("start", Pool.State.values)
@pytest.mark.parametrize("verb", sorted(providers.VERBS))
def test_every_verb_in_every_state_follows_the_machine(start: str, verb: str) -> None:
    pool = build.a_pool(state=start, rates={"core_second": "1"}, verified_at=timezone.now())
    step = providers.VERBS[verb]
    if start in step.sources or start == step.to:
        if start == "registered" and verb == "reinstate":
            return
        assert providers.move_pool(pool, verb).state == step.to
    else:
        assert raised(lambda: providers.move_pool(pool, verb)).code == "pool_state"
    assert start == step.to or start not in step.sources or step.to in Pool.MOVES[start]


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run these in threads that start together; what each returned or raised."""
    start = threading.Barrier(len(acts))
    ends: list[object] = [None] * len(acts)

    def run(place: int, act: Callable[[], object]) -> None:
        start.wait(10)
        try:
            ends[place] = act()
        except DomainError as error:
            ends[place] = error.code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ends


@pytest.mark.django_db(transaction=True)
def test_of_two_agents_with_one_token_one_gets_in() -> None:
    for number in range(5):
        token = build.a_join_token(build.a_pool(state="registered"))
        ends = at_once(lambda t=token, n=number: enrol(t, f"a{n}"), lambda t=token, n=number: enrol(t, f"b{n}"))
        assert sorted(isinstance(end, Agent) for end in ends) == [False, True]
        assert "token_used" in ends


@pytest.mark.django_db(transaction=True)
def test_without_the_guard_both_would_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: reading first and writing then, with a barrier between, lets two in on one token."""
    both_read = threading.Barrier(2)

    def read_then_write(text: str, now: Any) -> JoinToken:
        token = JoinToken.objects.select_related("pool").get(token_hash=providers._hash(text))
        assert token.used_at is None
        both_read.wait(10)
        token.used_at = now
        token.save()
        return token

    monkeypatch.setattr(providers, "_use_token", read_then_write)
    token = build.a_join_token(build.a_pool(state="registered"))
    ends = at_once(lambda: enrol(token, "a"), lambda: enrol(token, "b"))
    assert all(isinstance(end, Agent) for end in ends)


@pytest.mark.django_db(transaction=True)
def test_two_tokens_at_once_leave_one_live_agent() -> None:
    pool = build.a_pool(state="registered")
    tokens = [build.a_join_token(pool), build.a_join_token(pool)]
    ends = at_once(lambda: enrol(tokens[0], "a"), lambda: enrol(tokens[1], "b"))
    assert all(isinstance(end, Agent) for end in ends)
    assert Agent.objects.filter(pool=pool, retired_at__isnull=True).count() == 1

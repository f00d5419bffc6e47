"""A publisher's program says which results are right: it runs elsewhere, sees nothing of who made them, and may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Task
from marketplace.stages import VALIDATES
from scheduler.api.blobs import _MAY_READ
from scheduler.models import Attempt, Need, Pace, Trust, Unit
from scheduler.needs import narrowed
from scheduler.queries import units_page
from scheduler.services.advancing import advance_task
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases
from scheduler.services.explaining import explain_task
from scheduler.services.judging import judge_units
from scheduler.services.logs import LogPiece, read_logs, store_logs
from scheduler.services.placing import run_round
from scheduler.services.validating import lists_in
from scheduler.specs import lease_rows
from scheduler.sql import rows
from scheduler.stores import store_bytes
from tests.builders_tasks import FakeAgent, a_task, sha_of
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, output_of, owners_pools

pytestmark = pytest.mark.django_db
VALIDATOR: dict[str, Any] = {"validator": {"run": ["python", "check.py"], "run_s": 60}}
Says = Callable[[list[str]], Any]


def by_content(found: list[str]) -> Any:
    """An honest validator: the results that hold RIGHT are the same and right, others are refused."""
    return {"groups": [[i for i, sha in enumerate(found) if sha == sha_of(RIGHT)]]}


def verdict_file(said: Any) -> dict[str, Any]:
    content = said if isinstance(said, bytes) else orjson.dumps(said)
    store_bytes(content)
    return {"path": "verdict.json", "sha256": sha_of(content), "bytes": len(content), "media_type": "application/json"}


def turns(task: Task, agents: dict[str, FakeAgent], claims: dict[str, bytes], says: Says | None, rounds: int = 25) -> Task:
    """Until the end; a validator's try answers what `says` makes of the results it finds, or crashes when it is None."""
    for _ in range(rounds):
        Unit.objects.filter(task=task).update(not_before=None)
        run_round()
        for name, agent in agents.items():
            for row in agent.beat(want=10).leased:
                report(agent, row, claims.get(name, RIGHT), says)
        judge_units()
        expire_leases()
        advance_task(task.pk)
        expand_task(task.pk)
        task.refresh_from_db()
        if task.ended_at is not None:
            break
    return task


def report(agent: FakeAgent, row: dict[str, Any], claim: bytes, says: Says | None) -> None:
    item: dict[str, Any] = {"attempt": row["attempt"], "fence": row["fence"], "outcome": "done", "outputs": [output_of(claim)]}
    if row["stage"] >= Unit.Stage.VALIDATE:
        specs, ((_, _, spec_id, _, _, files),) = lease_rows([row])
        assert specs[spec_id]["run"] == ["python", "check.py"]
        assert all(file["path"].startswith("in/results/") for file in files)
        if says is None:
            item |= {"outcome": "failed", "reason_class": "capability_error", "exit_code": 1, "outputs": []}
            item["detail"] = "AssertionError: one is not two"
        else:
            item["outputs"] = [verdict_file(says([file["sha256"] for file in files]))]
    agent.report(item)


def test_a_single_result_is_delivered_on_the_validators_word() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = turns(a_task(version=a_checked_version(VALIDATOR), inputs={"count": 3}), agents, {}, by_content)
    assert (task.state, task.units_done, task.units_total) == ("delivered", 3, 3)
    for index in range(3):
        one, check = Attempt.objects.filter(unit__index=index).order_by("unit__stage")
        assert one.pool.organization_id != check.pool.organization_id, "nobody judges their own result"
        assert (one.state, check.state, check.reason_class) == ("valid", "superseded", "")
    assert sum(Trust.objects.values_list("samples", flat=True)) == 3, "a check is no result of its own"


def test_a_refused_result_is_wrong_and_another_owner_is_asked() -> None:
    pools = owners_pools("bob", "erin", "dave", "fay")
    task = turns(a_task(version=a_checked_version(VALIDATOR)), agents_of(pools), {"bob": WRONG, "erin": WRONG}, by_content)
    assert task.state == "delivered"
    assert Attempt.objects.get(state="valid").outputs.get().blob_id == sha_of(RIGHT)
    right = Attempt.objects.filter(state__in=["valid", "superseded"], unit__stage=0)
    assert not right.filter(pool__in=[pools["bob"], pools["erin"]]).exists()
    assert set(Attempt.objects.filter(state="invalid").values_list("pool", flat=True)) <= {pools["bob"].pk, pools["erin"].pk}


def test_a_validator_may_call_results_the_same_that_differ_in_every_byte() -> None:
    everything = a_checked_version({"quorum": {"of": 2, "need": 2, "compare": VALIDATOR}})
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    claims = {name: name.encode() for name in agents}
    task = turns(a_task(version=everything), agents, claims, lambda found: {"groups": [list(range(len(found)))]})
    assert task.state == "delivered"
    assert not Attempt.objects.filter(state="invalid").exists()


@pytest.mark.parametrize("says", [None, lambda found: {"escalate": True}, lambda found: b"{", lambda found: {"groups": [[99]]}])
def test_a_validator_that_crashes_or_talks_nonsense_ends_as_the_platforms_fault_and_blames_nobody(says: Says | None) -> None:
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    task = turns(a_task(version=a_checked_version(VALIDATOR)), agents, {}, says)
    assert (task.state, task.reason_class) == ("failed", "platform_fault")
    assert "validator" in task.reason
    assert says is not None or task.reason.endswith(": AssertionError: one is not two"), "what it said is told"
    assert not Attempt.objects.filter(state="invalid").exists()
    assert not Trust.objects.exists()
    assert not Unit.objects.exclude(state__in=["failed", "superseded", "cancelled"]).exists()


def test_there_must_be_an_owner_left_to_run_the_validator() -> None:
    owners_pools("bob")
    with pytest.raises(Invalid) as caught:
        a_task(version=a_checked_version(VALIDATOR))
    assert (caught.value.code, caught.value.data) == ("too_few_owners", {"owners": 1, "wanted": 2})


def test_a_user_cannot_bring_a_validator() -> None:
    owners_pools("bob", "erin", "dave")
    with pytest.raises(Invalid) as caught:
        a_task(version=a_checked_version("none"), verify=VALIDATOR)
    assert (caught.value.code, caught.value.field) == ("invalid_verify", "verify")


def test_numbers_within_the_publishers_tolerance_agree_and_beyond_it_do_not() -> None:
    near = {"tolerance": {"files": ["*.csv"], "relative": 1e-6}}
    for other, wrong in ((b"1,2,3.0000001\n", 0), (b"1,2,3.1\n", 1)):
        pools = owners_pools("bob", "erin", "dave")
        says = {"bob": b"1,2,3\n", "erin": other, "dave": b"1,2,3.0000002\n"}
        task = turns(a_task(version=a_checked_version(near)), agents_of(pools), says, None)
        assert task.state == "delivered"
        assert task.attempt_set.filter(state="invalid").count() <= wrong
        assert not task.attempt_set.filter(state="invalid").exclude(pool=pools["erin"]).exists()
        type(pools["bob"]).objects.update(state="retired")


def test_results_that_are_not_bit_stable_come_from_one_instruction_set() -> None:
    pools = owners_pools("bob", "erin", "dave", "fay")
    arms = [pools["erin"].pk, pools["fay"].pk]
    type(pools["bob"]).objects.filter(pk__in=arms).update(instruction_set="aarch64")
    version = a_checked_version({"quorum": {"of": 2, "need": 2, "homogeneous": True}})
    task = turns(a_task(version=version, inputs={"count": 4}), agents_of(pools), {}, None)
    assert task.state == "delivered"
    for index in range(4):
        sets = Attempt.objects.filter(unit__index=index).values_list("pool__instruction_set", flat=True)
        assert len(set(sets)) == 1


def test_results_that_are_not_bit_stable_come_from_one_model_of_accelerator() -> None:
    pools = owners_pools("bob", "erin", "dave", "fay", accelerators=[{"model": "a100", "count": 2, "memory_mib": 40_960}])
    other = [{"model": "mi250", "count": 2, "memory_mib": 65_536}]
    type(pools["bob"]).objects.filter(pk__in=[pools["erin"].pk, pools["fay"].pk]).update(accelerators=other)
    wanted = {"model": "a100", "count": 1, "memory_mib": 0}
    variants = [{"instruction_set": "any", "accelerator": one} for one in (wanted, wanted | {"model": "mi250"})]
    version = a_checked_version({"quorum": {"of": 2, "need": 2, "homogeneous": True}}, variants=variants)
    task = turns(a_task(version=version, inputs={"count": 2}), agents_of(pools), {}, None)
    assert task.state == "delivered"
    for index in range(2):
        assert len(set(Attempt.objects.filter(unit__index=index).values_list("variant", flat=True))) == 1
    document = Need.objects.earliest("pk").document
    for variant in range(2):
        narrow = narrowed(document, "x86_64", variant)
        assert [v["instruction_set"] == "x86_64" for v in narrow["variants"]] == [variant == 0, variant == 1]


nested = st.recursive(st.one_of(st.none(), st.integers(), st.text()), st.lists)


@given(st.one_of(st.binary(max_size=100), nested.map(repr).map(str.encode)))
def test_no_verdict_that_a_program_writes_breaks_the_look(content: bytes) -> None:
    assert lists_in(content, 3) is None or isinstance(lists_in(content, 3), list)


def test_a_verdict_names_each_result_once_and_only_results_there_are() -> None:
    assert lists_in(b'{"groups": [[0, 2], [1]]}', 3) == [[0, 2], [1]]
    assert lists_in(b'{"groups": []}', 3) == []
    for text in (b'{"groups": [[0, 0]]}', b'{"groups": [[3]]}', b'{"groups": [[true]]}', b'{"groups": {}}', b"[]", b"{}"):
        assert lists_in(text, 3) is None


def test_every_stages_results_are_compared_before_the_next_one_begins() -> None:
    stages = [{"name": "sum", "run": ["sum"], "outputs": [{"path": "numbers.csv"}]}]
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    version = a_checked_version(VALIDATOR, stages=stages)
    task = turns(a_task(version=version, inputs={"count": 2}), agents, {"erin": WRONG}, by_content)
    assert (task.state, task.units_done, task.units_total) == ("delivered", 3, 3)
    done = Unit.objects.filter(task=task, state="done")
    assert sorted(done.values_list("stage", "index")) == [(0, 0), (0, 1), (1, 0)]
    assert set(Unit.objects.filter(task=task).values_list("stage", flat=True)) == {0, 1, VALIDATES, VALIDATES + 1}
    assert {row["part"] for row in explain_task(task)["where"]} == {"unit", "sum", "validate"}
    assert {row["stage"] for row in units_page(task, after=0, limit=99)} == {"unit", "sum", "validate"}
    assert set(Pace.objects.values_list("stage", flat=True)) == {0, 1, VALIDATES, VALIDATES + 1}


def test_what_a_validator_prints_is_read_under_its_name() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = turns(a_task(version=a_checked_version(VALIDATOR)), agents, {}, by_content)
    attempt = Attempt.objects.get(unit__task=task, unit__stage=VALIDATES)
    assert store_logs(attempt.agent, [LogPiece(attempt.pk, attempt.fence, "stdout", 0, b"same\n")])
    (chunk,) = read_logs(task.pk, after=0, limit=9)["chunks"]
    assert (chunk["stage"], chunk["text"]) == ("validate", "same\n")


def test_who_validates_may_read_the_results() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version(VALIDATOR))
    seen = []

    def says(found: list[str]) -> Any:
        attempt = Attempt.objects.get(unit__task=task, unit__stage=VALIDATES)
        where = {"task": task.pk, "unit": attempt.unit_id, "stage": VALIDATES}
        seen.extend(bool(rows(_MAY_READ, where | {"sha": sha})) for sha in found)
        return by_content(found)

    assert turns(task, agents, {}, says).state == "delivered"
    assert seen == [True]


def test_verdicts_teach_what_memory_and_results_take_too() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    a_task(version=a_checked_version())
    usage = {"wall_ms": 2_000, "peak_memory_mib": 40}
    for _ in range(2):
        run_round()
        for agent in agents.values():
            agent.beat(want=1)
            Attempt.objects.filter(state="leased").update(leased_at="2026-01-01T00:00:00Z")
            agent.done(outputs=[output_of(RIGHT)], usage=usage)
        judge_units()
    learned = Pace.objects.values_list("samples", "seconds", "seconds_squared", "memory_mib", "memory_most", "bytes_out")
    assert list(learned) == [(1, 2, 4, 40, 40, len(RIGHT))] * 2

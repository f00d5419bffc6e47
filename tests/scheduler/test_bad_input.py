"""Bad input of the market's edges: each is a clear error at its field, or a fault that stays where it is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from core.errors import Invalid
from scheduler.matching.goals import check_weights
from scheduler.matching.plan import plan
from scheduler.models import Unit
from scheduler.network.values import Route
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests.builders import a_pool as pool_row
from tests.builders import a_region, alice, client_of
from tests.builders_http import nothing_written, problem_of
from tests.builders_tasks import a_task, a_version
from tests.builders_trust import owners_pools
from tests.scheduler.values import a_class, a_market, a_pool

URLS = ("/api/v1/tasks", "/api/v1/quotes")
# Two networks in one file: nothing joins ningxia and gansu to shanghai.
HOLE = """graph [ label "Hole"
  node [ id 0 label "Yinchuan" Latitude 38.47 Longitude 106.27 ] node [ id 1 label "Lanzhou" Latitude 36.06 Longitude 103.83 ]
  node [ id 2 label "Shanghai" Latitude 31.23 Longitude 121.47 ] node [ id 3 label "Hangzhou" Latitude 30.27 Longitude 120.15 ]
  edge [ source 0 target 1 ] edge [ source 2 target 3 ] ]"""


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        ({"price": -1}, "constraints.weights.price"),
        ({"price": 1, "hour": -0.001}, "constraints.weights.hour"),
        ({"hour": float("nan")}, "constraints.weights.hour"),
        ({"risk": float("inf")}, "constraints.weights.risk"),
        ({"kilogram": 1e7}, "constraints.weights.kilogram"),
        ({"hour": "much"}, "constraints.weights.hour"),
        ({"beauty": 1}, "constraints.weights.beauty"),
        ({"price": 0, "hour": 0, "kilogram": 0, "risk": 0}, "constraints.weights"),
        ({"price": -0.0}, "constraints.weights"),
        ({}, "constraints.weights"),
    ],
)
def test_weights_that_are_negative_endless_unknown_or_all_zero_are_errors_of_their_field(
    weights: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        check_weights(weights)
    assert (caught.value.code, caught.value.field) == ("bad_weights", field)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("weights", "field"), [({"price": -1}, "constraints.weights.price"), ({"price": 0, "hour": 0}, "constraints.weights")]
)
def test_over_http_weights_that_make_no_sense_are_refused_and_nothing_is_written(weights: dict[str, Any], field: str) -> None:
    pool_row()
    client, body = client_of(alice()), {"capability": str(a_version()), "constraints": {"weights": weights}}
    with nothing_written():
        for url in URLS:
            assert problem_of(client.post(url, body)) == (422, "bad_weights", field)


@pytest.mark.django_db
def test_over_http_a_quorum_of_more_owners_than_are_eligible_counts_those_that_are() -> None:
    owners_pools("bob", "erin")
    body = {"capability": str(a_version()), "verify": {"quorum": {"of": 3, "need": 2}}}
    client = client_of(alice())
    with nothing_written():
        answer = client.post("/api/v1/tasks", body)
        assert problem_of(answer) == (422, "too_few_owners", "verify")
    assert (answer.json()["owners"], answer.json()["wanted"]) == (2, 3)
    body["verify"] = {"quorum": {"of": 3, "need": 4}}
    with nothing_written():
        assert problem_of(client.post("/api/v1/tasks", body)) == (422, "invalid_verify", "verify.quorum")


@pytest.mark.django_db
@pytest.mark.parametrize("tflop", ["10.0 ** count", "9 ** 9 ** 9 ** count", "1 / (count - 1000000)", "-count"])
def test_over_http_a_demand_that_overflows_or_never_ends_is_an_answer_within_a_second(tflop: str) -> None:
    pool_row()
    version = a_version(demand={"tflop": tflop}, tests=[])
    client, body = client_of(alice()), {"capability": str(version), "inputs": {"count": 1_000_000}}
    began = time.monotonic()
    with nothing_written():
        for url in URLS:
            status, code, _ = problem_of(client.post(url, body))
            assert (status, code in {"invalid_expression", "amount_out_of_bounds"}) == (422, True)
    assert time.monotonic() - began < 2


@pytest.mark.django_db
def test_tasks_that_need_each_other_cannot_be_made_as_each_names_only_what_is_there() -> None:
    pool_row()
    inputs = {"type": "object", "properties": {"files": {"type": "array", "items": {"type": "string", "format": "artifact"}}}}
    version = a_version(inputs=inputs, split={"by": "range", "stop": "1"}, tests=[])
    client = client_of(alice())
    first = client.post("/api/v1/tasks", {"capability": str(version), "inputs": {}}).json()
    second = client.post("/api/v1/tasks", {"capability": str(version), "inputs": {"files": [{"task": first["id"]}]}})
    assert second.status_code == 201
    closing = {"inputs": {"files": [{"task": second.json()["id"]}]}}
    with nothing_written():
        for method in (client.patch, client.put):
            assert method(f"/api/v1/tasks/{first['id']}", closing).status_code == 405


def test_a_region_that_no_way_is_known_to_does_not_look_near() -> None:
    pools = [a_pool(1, region="gansu"), a_pool(2, region="shanghai")]
    asked = a_class(inputs=[["data", 10**9]], bytes_in=10**9, store="ningxia", objective="fastest")
    known = replace(a_market([asked], pools), routes={("ningxia", "gansu"): Route(0.01, 100, price_per_gb=0.5)})
    near, lost = plan(known).decisions[0].candidates
    assert (near["pool"], lost["transfer_s"], lost["egress"]) == ("pool-001", near["transfer_s"], near["egress"])
    assert near["transfer_s"] > 80
    nothing = plan(a_market([asked], pools)).decisions[0].candidates
    assert [one["transfer_s"] for one in nothing] == [8.0, 8.0]  # the pools' own lines, of 1 Gbit/s


@pytest.mark.django_db
def test_a_topology_with_a_hole_is_imported_and_what_lies_beyond_it_is_left_out_for_the_network(tmp_path: Path) -> None:
    for code in ("ningxia", "gansu", "shanghai", "zhejiang"):
        a_region(code)
    (tmp_path / "hole.gml").write_text(HOLE)
    call_command("import_topology", str(tmp_path / "hole.gml"))
    near, beyond = pool_row(region="gansu", rates={"core_second": "0.01"}), pool_row(region="shanghai")
    client = client_of(alice())
    body = {"capability": str(a_version()), "constraints": {"network": {"from": "ningxia", "jitter_class": 3}}}
    made = client.post("/api/v1/tasks", body).json()
    expand_task(made["id"])
    run_round()
    assert Unit.objects.get(task=made["id"]).pool_id == near.pk
    free = a_task()
    run_round()
    assert Unit.objects.get(task=free).pool_id == beyond.pk  # who asks for no way is not kept from the cheaper pool

    body["constraints"]["regions"] = ["shanghai"]
    with nothing_written():
        refused = client.post("/api/v1/tasks", body)
    assert (refused.status_code, refused.json()["excluded"]) == (422, {"region": 1, "network": 1})

"""Operators make runs and publish them on a page; nothing is made of what cannot be."""

from __future__ import annotations

import pytest
from django.test import Client

from index.demo import fill
from index.models import IndexRun, WeightSet
from tests import builders as build

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def browser(person: build.Person) -> Client:
    client = Client()
    client.force_login(person.user)
    return client


def asked(**changes: str) -> dict[str, str]:
    weights = WeightSet.objects.get(definition__code="cpsdi-2023", kind="placeholder")
    return {"weights": f"{weights.pk}", "profile": "national", "period": "2022"} | changes


def test_an_operator_makes_a_run_and_publishes_it_with_a_note(run: IndexRun) -> None:
    olga = browser(build.olga())
    made = olga.post("/index/editions/", asked(normalise="zscore", impute="mean"))
    other = IndexRun.objects.latest("pk")
    assert made["Location"] == f"/index/?run={other.pk}"
    assert (other.parameters, other.created_by) == ({"normalise": "zscore", "impute": "mean"}, build.olga().user)
    refused = olga.post(f"/index/runs/{other.pk}/publish/", {"change_note": " "})
    assert refused.status_code == 422
    assert "say what changed" in refused.content.decode()
    assert olga.post(f"/index/runs/{other.pk}/publish/", {"change_note": "standard deviations"}).status_code == 302
    assert "standard deviations" in olga.get("/index/editions/").content.decode()
    assert olga.post(f"/index/runs/{other.pk}/publish/", {"change_note": "again"}).status_code == 409
    assert olga.post("/index/runs/0/publish/", {"change_note": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"weights": "0"}, 404, "weights"), ({"weights": "x"}, 422, "weights"), ({"period": "next year"}, 422, "period"),
        ({"period": "1999"}, 409, "run"), ({"as_of": "soon"}, 422, "as_of"), ({"base": "-1"}, 422, "base"),
        ({"base": "999"}, 422, "base"), ({"profile": "mine"}, 422, "profile"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_said_at_its_field_and_the_form_stays(
    run: IndexRun, changes: dict[str, str], status: int, field: str
) -> None:
    answer = browser(build.olga()).post("/index/editions/", asked(**changes))
    text = answer.content.decode()
    assert answer.status_code == status
    assert 'role="alert"' in text
    if field != "run":
        assert f'class="field wrong"><label for="{field}"' in text
    assert IndexRun.objects.count() == 1


def test_nobody_else_sees_the_form(run: IndexRun) -> None:
    alice = browser(build.alice())
    assert "Make a run" not in alice.get("/index/editions/").content.decode()
    assert alice.post("/index/editions/", asked()).status_code == 403

"""Weights and panels on pages: opened, judged part by part, recorded, run with; imported; shown side by side."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from index.defining import definition_named, ensure_shipped, tree_of
from index.demo import fill
from index.models import IndexRun, Judgement, Panel, WeightSet
from index.panels import Said, judge
from index.running.services import Wanted, run_index
from tests import builders as build

pytestmark = pytest.mark.django_db
NEW = {"name": "spring", "definition": "cpsdi-2023@1", "rule": "judgements", "random_index": "saaty2005"}


def client_of(who: Any) -> Client:
    client = Client()
    client.force_login(who.user)
    return client


@pytest.fixture
def olga() -> Client:
    ensure_shipped()
    return client_of(build.olga())


def pairs() -> list[tuple[str, str]]:
    groups = tree_of(definition_named("cpsdi-2023")).groups()
    return [pair for below in groups.values() for pair in combinations(below, 2)]


def filled(page: str) -> dict[str, str]:
    """What a browser would send of the questionnaire as it stands."""
    given = dict(re.findall(r'name="(was\.[\w.]+)" value="([^"]*)"', page))
    for name, options in re.findall(r'<select [^>]*name="(judge\.[\w.]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        given[name] = chosen[1] if chosen else ""
    return given


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return str(answer.content.decode())


def keep(client: Client, path: str, **judged: str) -> str:
    """Fill in the form as it stands and keep it."""
    given = filled(text_of(client, path)) | {f"judge.{pair.replace('_', '.')}": value for pair, value in judged.items()}
    answer = client.post(path, given, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def opened(client: Client, experts: str = "ann\nben, 3", **changes: str) -> tuple[Panel, list[str]]:
    answer = client.post("/index/panels/new/", NEW | {"experts": experts} | changes)
    panel = Panel.objects.latest("pk")
    assert answer["Location"] == f"/index/panels/{panel.pk}/"
    return panel, [f"/index/panels/{panel.pk}/experts/{one.pk}/" for one in panel.experts.order_by("pk")]


def test_a_panel_is_opened_judged_part_by_part_recorded_and_run_with(olga: Client) -> None:
    fill((2022,))
    panel, (ann, ben) = opened(olga)
    path = f"/index/panels/{panel.pk}/"
    assert [(one.name, str(one.voice)) for one in panel.experts.order_by("pk")] == [("ann", "1.0000"), ("ben", "3.0000")]
    assert "has judged nothing yet" in text_of(olga, path)
    partly = keep(olga, ann, A_B="3", C_D="1/2")
    assert "<strong data-judged>2</strong> of 31 judged" in partly
    assert "No chain of judgements connects these" in partly
    assert filled(text_of(olga, ann))["judge.A.B"] == "3", "it goes on where it stopped"
    refused = olga.post(path, {"name": "spring"})
    assert refused.status_code == 422
    assert "not all experts have judged enough" in refused.content.decode()
    keep(olga, ann, **{f"{one}_{two}": "1" for one, two in pairs()} | {"A_D": "9"})
    page = text_of(olga, path)
    assert "Resource servitisation against Service experience is 9 where the others say 1." in page
    assert "31 of 31" in page
    keep(olga, ben, **{f"{one}_{two}": "2" if one + two == "B21B22" else "1" for one, two in pairs()})
    answer = olga.post(path, {"name": "spring weights"})
    made = WeightSet.objects.get(kind="panel")
    assert answer["Location"] == f"/index/weights/{made.pk}/"
    shown = text_of(olga, f"/index/weights/{made.pk}/?expert=ann")
    assert "What ann judged" in shown
    assert "not consistent" in shown, "each one's own ratio, beside that of all together"
    asked = {"definition": "cpsdi-2023", "weights": "spring weights", "period": "2022"}
    run = olga.post("/api/v1/index/runs", asked, content_type="application/json").json()
    weights = text_of(olga, f"/index/weights/?run={run['id']}")
    assert "1 run</a>" in weights
    assert weights.index("spring weights</a></th>") < weights.index("equal</a></th>"), "the run's own comes first"
    assert "what was judged stays" in text_of(olga, ann)
    late = olga.post(ann, {"was.A.B": "1", "judge.A.B": "5"})
    assert late.status_code == 409
    assert '<option value="5" selected>' in late.content.decode(), "nothing that was filled in is lost"


def test_a_judgement_is_left_out_again_and_two_forms_do_not_undo_each_other(olga: Client) -> None:
    _, (ann, _) = opened(olga)
    older = filled(text_of(olga, ann))
    keep(olga, ann, A_B="3", A_C="5")
    olga.post(ann, older | {"judge.B.C": "7"})
    assert Judgement.objects.count() == 3, "what an older form did not touch stays"
    keep(olga, ann, A_B="")
    assert set(Judgement.objects.values_list("one", "other")) == {("A", "C"), ("B", "C")}


def test_a_refused_judgement_is_told_beside_its_pair_and_the_others_stay_in_the_form(olga: Client) -> None:
    _, (ann, _) = opened(olga)
    answer = olga.post(ann, {"judge.A.B": "4", "judge.A.C": "much", "judge.A.X": "3"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'class="pair wrong" data-one="A" data-other="C"' in page
    assert filled(page)["judge.A.B"] == "4"
    assert not Judgement.objects.exists()


def test_an_in_between_value_of_the_api_stays_in_the_form(olga: Client) -> None:
    panel, (ann, _) = opened(olga)
    judge(panel.pk, panel.experts.get(name="ann").pk, [Said("A", "B", "2.5")])
    assert filled(text_of(olga, ann))["judge.A.B"] == "2.5"
    keep(olga, ann, A_C="3")
    assert Judgement.objects.get(one="A", other="B").value == "2.5"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "may not be blank"),
        ({"experts": " "}, "one expert at least"),
        ({"experts": "ann\nann"}, "expert 2: ann is there twice"),
        ({"experts": "ann\nben, loud"}, "expert 2: A valid number is required."),
        ({"experts": "ann, 0"}, "expert 1:"),
        ({"experts": "together"}, "not &#x27;together&#x27;"),
        ({"definition": "nobody"}, "no such definition"),
        ({"random_index": "dice"}, "not a valid choice"),
    ],
)
def test_a_panel_that_is_none_is_told_at_its_field_and_nothing_is_lost(olga: Client, changes: dict[str, str], told: str) -> None:
    answer = olga.post("/index/panels/new/", NEW | {"experts": "ann\nben, 2"} | changes)
    page = answer.content.decode()
    assert 400 <= answer.status_code < 500
    assert told in page[page.index('role="alert"') :]
    assert all(changes.get(field, value) in page for field, value in (("name", "spring"), ("experts", "ann")))
    assert not Panel.objects.exists()


def test_weights_are_imported_from_what_was_pasted_and_from_a_file(olga: Client) -> None:
    given = {
        "definition": "supply-pulse@1",
        "name": "ours",
        "note": "a meeting",
        "weights": "node,weight\r\nS,0.7\r\nR,0.3\r\nS1,1\r\nR1,1",
    }
    answer = olga.post("/index/weights/import/", given)
    made = WeightSet.objects.get(kind="imported")
    assert (answer["Location"], made.weights["S"], made.evidence) == (f"/index/weights/{made.pk}/", "0.7", {"note": "a meeting"})
    page = text_of(olga, f"/index/weights/{made.pk}/")
    assert "a meeting" in page
    assert "70.0%" in page
    file = SimpleUploadedFile("w.json", b'{"S": 0.70000000000000000001, "R": "0.3", "S1": 1, "R1": 1}')
    olga.post("/index/weights/import/", given | {"name": "exact", "weights": "", "file": file})
    assert WeightSet.objects.get(name="exact").weights["S"] == "0.70000000000000000001", "no binary number was in between"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": "S,much\nR,1\nS1,1\nR1,1"}, "S: a weight is decimal text"),
        ({"weights": "S,1\nR,1\nS1,1\nR1,1\nX,1"}, "X is no node"),
        ({"weights": "S,1\nS,1"}, "line 2: S is there twice"),
        ({"weights": "S 1"}, "line 1: a node and its weight"),
        ({"weights": "S1,1\nR1,1"}, "nothing below INDEX weighs anything"),
        ({"weights": '{"S": '}, "it is not JSON"),
        ({"weights": '{"S": [1]}'}, "S: a weight is a number"),
        ({"weights": '{"S": NaN, "R": 1, "S1": 1, "R1": 1}'}, "S: a weight is decimal text"),
        ({"weights": " "}, "paste weights"),
        ({"weights": "S,1" + " " * 100_001}, "longer than"),
        ({"name": ""}, "required"),
        ({"name": "equal"}, "has weights of this name"),
        ({"definition": "nobody@1"}, "no such definition"),
        ({"file": b"\xff\xff\xff"}, "neither UTF-8 nor"),
    ],
)
def test_weights_that_are_none_are_told_at_their_field_and_nothing_is_lost(
    olga: Client, changes: dict[str, Any], told: str
) -> None:
    given = {"definition": "supply-pulse@1", "name": "ours", "note": "a meeting", "weights": "S,1\nR,1\nS1,1\nR1,1"}
    files = {name: SimpleUploadedFile("w.csv", value) for name, value in changes.items() if isinstance(value, bytes)}
    answer = olga.post("/index/weights/import/", given | changes | files)
    page = answer.content.decode()
    assert 400 <= answer.status_code < 500
    assert told in page[page.index('role="alert"') :]
    assert 'value="a meeting"' in page
    assert not WeightSet.objects.filter(kind="imported").exists()


def test_sets_are_chosen_to_stand_side_by_side(olga: Client) -> None:
    run = fill((2022,))
    assert run
    alice = client_of(build.alice())
    page = text_of(alice, f"/index/weights/?run={run.pk}&sets={run.weights_id}")
    assert "equal</a></th>" in page
    assert page.count('data-label="equal"') == 22
    assert 'data-chart="weights"' in page
    assert "Import weights" not in page
    other = WeightSet.objects.get(definition__code="supply-pulse").pk
    for bad in ("x", "9" * 30, str(other), "-1"):
        assert "no such weights" in text_of(alice, f"/index/weights/?sets={bad}", 404)
    pulse = text_of(alice, "/index/weights/?definition=supply-pulse")
    assert 'data-label="equal"' in pulse
    text_of(alice, f"/index/weights/?definition=supply-pulse&sets={other}")
    text_of(alice, "/index/weights/?definition=nobody", 404)
    assert "at most 4" in text_of(alice, "/index/weights/?sets=1&sets=2&sets=3&sets=4&sets=5", 422)
    for path in (f"/index/weights/{2**70}/", f"/index/weights/{run.weights_id}/?expert=ann", f"/index/panels/{2**70}/"):
        text_of(alice, path, 404)


def test_only_operators_open_judge_record_and_import(olga: Client) -> None:
    panel, (ann, _) = opened(olga)
    alice = client_of(build.alice())
    assert "Record the weights" not in text_of(alice, f"/index/panels/{panel.pk}/")
    for path in ("/index/panels/new/", ann, "/index/weights/import/"):
        assert alice.get(path).status_code == alice.post(path).status_code == 403
    assert alice.post(f"/index/panels/{panel.pk}/", {"name": "x"}).status_code == 403
    other, _ = opened(olga, name="autumn")
    assert olga.get(ann.replace(f"panels/{panel.pk}", f"panels/{other.pk}")).status_code == 404


def test_pages_ask_few_questions_however_many_experts_and_sets_there_are(olga: Client) -> None:
    run = fill((2022,))
    assert run
    panel, paths = opened(olga, "\n".join(f"expert {n}" for n in range(12)))
    said = [Said(one, two, "2") for one, two in pairs()]
    for expert in panel.experts.all():
        judge(panel.pk, expert.pk, said)
    for path in (f"/index/panels/{panel.pk}/", paths[0], f"/index/weights/?run={run.pk}", f"/index/weights/{run.weights_id}/"):
        with CaptureQueriesContext(connection) as queries:
            text_of(olga, path)
        assert len(queries) <= 10, path
    assert IndexRun.objects.count() == 1


def test_pages_tell_when_bands_are_drawn_from_experts(olga: Client) -> None:
    fill((2022,))
    panel, _ = opened(olga, "\n".join(f"expert {n}" for n in range(5)))
    for number, expert in enumerate(panel.experts.order_by("pk"), 1):
        judge(panel.pk, expert.pk, [Said(one, two, f"{number}" if one + two == "AB" else "1") for one, two in pairs()])
    page = text_of(olga, f"/index/panels/{panel.pk}/")
    assert 'data-chart="panel"' in page
    assert "Resource servitisation <strong>31.9%</strong> <span" in page, "by the eigenvector in numpy"
    assert "(25.0% to 37.8%)" in page, "the least and the most that an expert gives"
    olga.post(f"/index/panels/{panel.pk}/", {"name": "five"})
    made = WeightSet.objects.get(name="five")
    assert "drawn from the 5 experts" in text_of(olga, f"/index/weights/{made.pk}/")
    run = run_index(Wanted(made, "national", "2022", parameters={"draws": 100}))
    assert "the mean of 5 experts of the panel" in text_of(olga, f"/index/method/?run={run.pk}")
    assert "experts of the panel" not in text_of(olga, "/index/method/")


def test_who_said_nothing_is_let_go_on_the_page(olga: Client) -> None:
    panel, (ann, _) = opened(olga)
    path = f"/index/panels/{panel.pk}/"
    keep(olga, ann, A_B="3")
    page = text_of(olga, path)
    assert "Let ben go" in page
    assert "Let ann go" not in page
    silent = panel.experts.get(name="ben").pk
    assert olga.post(path, {"let_go": f"{silent}"}).status_code == 302
    assert [one.name for one in panel.experts.all()] == ["ann"]
    for gone in (f"{silent}", "x", "9" * 30):
        assert olga.post(path, {"let_go": gone}).status_code == 404
    assert "what an expert said counts" in olga.post(path, {"let_go": f"{panel.experts.get().pk}"}).content.decode()

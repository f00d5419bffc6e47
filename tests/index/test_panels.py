"""Experts judge part by part; consistency is told at once, and recorded weights stay with all that they were made of."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from core.errors import Conflict, Invalid, NotFound
from index.ahp.matrices import matrix_of, weigh
from index.defining import definition_named, ensure_shipped, tree_of, weights_of
from index.judging import sentences, value_of
from index.models import Judgement, Panel, WeightSet
from index.panels import Said, judge, open_panel, record, standing
from tests import builders as build

pytestmark = pytest.mark.django_db


@pytest.fixture
def panel() -> Panel:
    ensure_shipped()
    return open_panel(definition_named("cpsdi-2023"), "spring", {"ann": Decimal(1), "ben": Decimal(3)})


def expert(panel: Panel, name: str) -> int:
    return panel.experts.get(name=name).pk


def said(**values: str) -> list[Said]:
    return [Said(one, other, value) for pair, value in values.items() for one, _, other in [pair.partition("_")]]


def every(panel: Panel, value: str = "1") -> list[Said]:
    groups = tree_of(panel.definition).groups().values()
    return [Said(one, other, value) for below in groups for place, one in enumerate(below) for other in below[place + 1 :]]


def group(panel: Panel, who: str, parent: str = "INDEX") -> Any:
    return next(one for one in standing(panel)[who] if one.parent == parent)


def test_a_whole_questionnaire_is_thirtyone_judgements(panel: Panel) -> None:
    assert len(every(panel)) == 31


def test_judgements_are_kept_part_by_part_and_the_last_word_stands(panel: Panel) -> None:
    ann = expert(panel, "ann")
    judge(panel.pk, ann, said(A_B="3"))
    assert (group(panel, "ann").missing, group(panel, "ann").weights) == (5, {}), "nothing connects all yet"
    judge(panel.pk, ann, said(C_B="1/3", D_A="1"))
    partly = group(panel, "ann")
    assert (partly.missing, partly.ratio) == (3, None)
    assert abs(partly.weights["A"] - Decimal(9) / 22) < Decimal("1E-9")
    judge(panel.pk, ann, said(B_A="5"))
    assert Judgement.objects.get(one="A", other="B").value == "1/5"
    assert Judgement.objects.count() == 3


def test_consistency_and_the_worst_judgement_are_told_at_once(panel: Panel) -> None:
    ann = expert(panel, "ann")
    judge(panel.pk, ann, said(A_B="1", A_C="1", A_D="9", B_C="1", B_D="1", C_D="1"))
    found = group(panel, "ann")
    assert found.consistent is False
    assert found.worst is not None
    assert found.worst[:2] == ("A", "D")
    expected = weigh(
        matrix_of(
            4,
            {
                (0, 1): Decimal(1),
                (0, 2): Decimal(1),
                (0, 3): Decimal(9),
                (1, 2): Decimal(1),
                (1, 3): Decimal(1),
                (2, 3): Decimal(1),
            },
        ),
        "saaty2005",
    )
    assert abs(found.weights["A"] - expected.weights[0]) < Decimal("1E-15")


def test_a_group_counts_voices_and_shows_the_spread(panel: Panel) -> None:
    judge(panel.pk, expert(panel, "ann"), said(B21_B22="9"))
    judge(panel.pk, expert(panel, "ben"), said(B21_B22="1"))
    together = group(panel, "", "B2")
    ratio = together.weights["B21"] / together.weights["B22"]
    assert abs(ratio - Decimal(9) ** Decimal("0.25")) < Decimal("1E-9")
    assert together.spread["B21/B22"] > 1


def test_recorded_weights_stay_with_all_that_they_were_made_of(panel: Panel) -> None:
    judge(panel.pk, expert(panel, "ann"), every(panel))
    with pytest.raises(Invalid) as error:
        record(panel.pk, "spring")
    assert error.value.code == "judgements_missing"
    judge(panel.pk, expert(panel, "ben"), every(panel, "2"))
    made = record(panel.pk, "spring")
    weights = weights_of(made)
    assert set(weights) == set(tree_of(panel.definition).nodes)
    assert weights["A"] > weights["D"]
    assert weights["C1"] == weights["D11"] == 1
    assert abs(sum((weights[code] for code in "ABCD"), Decimal(0)) - 1) < Decimal("1E-12")
    assert len(made.evidence["judgements"]) == 62
    assert set(made.evidence["ratios"]) == {"ann", "ben", "together"}
    assert made.kind == WeightSet.Kind.PANEL
    with pytest.raises(Conflict):
        judge(panel.pk, expert(panel, "ann"), said(A_B="3"))
    with pytest.raises(Conflict):
        record(panel.pk, "again")
    for change in (
        lambda: Judgement.objects.update(value="9"),
        lambda: Judgement.objects.all().delete(),
        lambda: Panel.objects.update(name="x"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_by_weights_experts_are_separate_voices() -> None:
    ensure_shipped()
    found = open_panel(definition_named("supply-pulse"), "two", {"ann": Decimal(1), "ben": Decimal(1)}, rule="weights")
    judge(found.pk, expert(found, "ann"), said(S_R="3", S1_S2="1"))
    judge(found.pk, expert(found, "ben"), said(S_R="1", S1_S2="1"))
    weights = weights_of(record(found.pk, "two"))
    assert abs(weights["S"] / weights["R"] - Decimal(3).sqrt()) < Decimal("1E-12")


@pytest.mark.parametrize(
    "wrong",
    [
        Said("A", "A1", "3"),
        Said("A", "A", "1"),
        Said("A", "X", "1"),
        Said("A", "B", "10"),
        Said("A", "B", "1/10"),
        Said("A", "B", "much"),
        Said("A", "B", "1/0"),
        Said("A", "B", "NaN"),
    ],
)
def test_what_is_no_judgement_keeps_all_out(panel: Panel, wrong: Said) -> None:
    with pytest.raises(Invalid) as error:
        judge(panel.pk, expert(panel, "ann"), [*said(A_B="3"), wrong])
    assert (error.value.code, error.value.field) == ("judgement_invalid", "judgements.1")
    assert not Judgement.objects.exists()


def test_a_third_stays_a_third() -> None:
    assert value_of("1/3") == Decimal(1) / 3
    assert value_of("1/9") == Decimal(1) / 9
    assert value_of("9.01") is None


def test_panels_are_named_once_and_have_experts(panel: Panel) -> None:
    for experts in ({}, {"ann": Decimal(0)}):
        with pytest.raises(Invalid):
            open_panel(panel.definition, "none", experts)
    with pytest.raises(Conflict):
        open_panel(panel.definition, "spring", {"ann": Decimal(1)})
    with pytest.raises(NotFound):
        judge(0, 0, said(A_B="1"))


def test_over_http_a_panel_is_opened_judged_and_recorded() -> None:
    ensure_shipped()
    client = build.client_of(build.olga())
    asked = {"definition": "supply-pulse", "name": "two", "experts": [{"name": "ann"}, {"name": "ben", "voice": "2"}]}
    made = client.post("/api/v1/index/panels", asked).json()
    path = f"/api/v1/index/panels/{made['id']}"
    for one in client.get(path).json()["experts"]:
        judged = {"judgements": [{"one": "S", "other": "R", "value": "3"}, {"one": "S2", "other": "S1", "value": "1/3"}]}
        told = client.put(f"{path}/experts/{one['id']}/judgements", judged).json()
    assert told["standing"]["together"][0]["weights"]["S"].startswith("0.75")
    recorded = client.post(f"{path}/record", {"name": "ours"})
    assert (recorded.status_code, recorded.json()["kind"]) == (201, "panel")
    assert client.put(f"{path}/experts/{one['id']}/judgements", judged).json()["code"] == "panel_recorded"
    assert build.client_of(build.alice()).get(path).status_code == 200


def test_a_judgement_is_taken_back_and_what_is_too_long_or_no_number_is_refused(panel: Panel) -> None:
    ann = expert(panel, "ann")
    judge(panel.pk, ann, said(A_B="3", A_C="5"))
    judge(panel.pk, ann, said(B_A="", A_D="1/7"))
    assert set(Judgement.objects.values_list("one", "other", "value")) == {("A", "C", "5"), ("A", "D", "1/7")}
    for wrong in (Said("B", "A", "2.3333333333"), Said("A", "B", "1/1E-9999999"), Said("A", "A", "")):
        with pytest.raises(Invalid) as error:
            judge(panel.pk, ann, [wrong])
        assert error.value.code == "judgement_invalid"


def test_what_stands_in_the_way_is_told_in_words(panel: Panel) -> None:
    ann = expert(panel, "ann")

    def words() -> str:
        return " ".join(sentences(group(panel, "ann"), dict(zip("ABCD", "ABCD", strict=True))))

    judge(panel.pk, ann, said(A_B="3", C_D="2"))
    assert "No chain of judgements connects these: A and B; C and D." in words()
    judge(panel.pk, ann, said(B_C="3"))
    assert "3 judgements are missing" in words()
    judge(panel.pk, ann, said(A_C="1/3"))
    assert "A weighs more than B, B more than C, C more than A" in words()
    judge(panel.pk, ann, said(A_C="1", A_D="9", B_D="1", A_B="1", B_C="1", C_D="1"))
    assert "What fits least: A against D is 9 where the others say 1." in words()
    assert "below 0.10 is good enough" in words()
    judge(panel.pk, ann, said(A_D="1"))
    assert words() == ""


def test_no_expert_is_called_as_all_of_them_are(panel: Panel) -> None:
    for name in ("together", " "):
        with pytest.raises(Invalid):
            open_panel(panel.definition, "none", {name: Decimal(1)})


def test_over_http_judgements_are_looked_at_before_they_are_kept(panel: Panel) -> None:
    client, path = build.client_of(build.olga()), f"/api/v1/index/panels/{panel.pk}/judgements/preview"
    asked = [{"one": one, "other": two, "value": "9" if (one, two) == ("A", "D") else "1"} for one, two in combinations("ABCD", 2)]
    told = client.post(path, {"judgements": asked}).json()["groups"][0]
    assert (told["consistent"], told["worst"]["judged"], told["worst"]["others_say"]) == (False, "9", "1")
    assert any("What fits least: Resource servitisation against" in one for one in told["words"])
    assert client.post(path, {"judgements": []}).json()["groups"][0]["missing"] == 6
    wrong = client.post(path, {"judgements": [{"one": "A", "other": "A1", "value": "3"}]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "judgements.0")
    assert not Judgement.objects.exists()


def test_who_said_nothing_is_let_go_and_who_spoke_is_not(panel: Panel) -> None:
    client, ann, ben = build.client_of(build.olga()), expert(panel, "ann"), expert(panel, "ben")
    path = f"/api/v1/index/panels/{panel.pk}/experts"
    judge(panel.pk, ann, every(panel))
    assert client.delete(f"{path}/{ann}").json()["code"] == "expert_spoke"
    assert client.delete(f"{path}/{2**70}").json()["code"] == "panel_unknown"
    assert client.delete(f"{path}/{ben}").status_code == 204
    judge(panel.pk, ann, [Said(one.one, one.other, "") for one in every(panel)])
    assert client.delete(f"{path}/{ann}").json()["code"] == "expert_last"
    judge(panel.pk, ann, every(panel))
    record(panel.pk, "alone")
    assert client.delete(f"{path}/{ann}").json()["code"] == "panel_recorded"

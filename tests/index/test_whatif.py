"""What if: a run's values weighed and computed otherwise, never kept, always marked."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from index.analysis.whatif import CAPACITY, Question, answer, capacity, rated, read_question, shares, swaps, weights_by
from index.defining import tree_of, weights_of
from index.demo import fill
from index.method.scoring import Method, score
from index.method.treating import Done
from index.models import IndexRun
from index.running.observed import read_seen
from index.trees import ROOT
from tests import builders as build
from tests.index.builders_index import equal, plain, shipped, table

TREE = shipped()
CODES = [node.code for node in rated(TREE)]


def test_ratings_weigh_by_their_share_of_the_sum() -> None:
    eleven = plain(11, groups=11)
    asked = read_question(eleven, {"weights": "own", "G0": "5", "G1": "5"})
    weights = weights_by(equal(eleven), asked)
    total = sum(weights[f"G{n}"] for n in range(11))
    assert [weights[f"G{n}"] / total for n in (0, 1, 2)] == [Decimal(5) / 37, Decimal(5) / 37, Decimal(3) / 37]


def test_the_upper_two_levels_are_rated_where_there_is_something_to_weigh() -> None:
    assert CODES == ["A", "A1", "A2", "A3", "B", "B1", "B2", "B3", "B4", "C", "D", "D1", "D2", "D3"]


@given(st.dictionaries(st.sampled_from(CODES), st.integers(1, 5)))
def test_a_question_reads_as_it_is_written(ratings: dict[str, int]) -> None:
    asked = read_question(TREE, {code: str(rating) for code, rating in ratings.items()})
    assert read_question(TREE, asked.asked) == asked


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=5, max_size=5), min_size=4, max_size=4),
    st.sampled_from([1, 2]),
)
def test_only_the_proportions_of_ratings_count(columns: list[list[int]], rating: int) -> None:
    definition, values = plain(4, groups=2), table(*columns)
    base = score(definition, "national", equal(definition), values, Method())
    before = {"scores": base.scores, "ranks": base.ranks}
    asked = [Question({"G0": rating * n, "G1": rating * n}, {}) for n in (1, 2)]
    one, double = (answer(definition, "national", equal(definition), values, Method(), each, before).places for each in asked)
    for place, other in zip(one, double, strict=True):
        assert (place.region, place.rank) == (other.region, other.rank)
        assert place.rank == place.rank_before
        assert abs((place.score or Decimal(0)) - Decimal(str(place.score_before or 0))) < Decimal("1e-20")


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"A": "6"}, "rating_invalid", "A"), ({"A": "-1"}, "rating_invalid", "A"), ({"A": "nan"}, "rating_invalid", "A"),
        ({"A": "２"}, "rating_invalid", "A"), (dict.fromkeys("ABCD", "0"), "ratings_zero", "A"),
        ({"A1": "0", "A2": "0", "A3": "0"}, "ratings_zero", "A1"), ({"normalise": "guess"}, "parameters_invalid", "normalise"),
        ({"aggregate": "mode"}, "parameters_invalid", "aggregate"),
        ({"winsorise": "11"}, "parameters_invalid", "winsorise"),
        ({"Z": "3"}, "parameters_invalid", "Z"), ({"A11": "3"}, "parameters_invalid", "A11"),
        ({"weights": "mine"}, "parameters_invalid", "weights"), ({"per": "head"}, "parameters_invalid", "per"),
        ({"min_coverage": "nan"}, "parameters_invalid", "min_coverage"),
        ({"min_coverage": "1.1"}, "parameters_invalid", "min_coverage"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_its_field(given: dict[str, str], code: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_question(TREE, given)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_ratings_are_of_whole_groups_of_siblings_and_the_runs_own_weights_can_be_kept_beside_them() -> None:
    pulse = shipped("supply-pulse@1")
    assert [node.code for node in rated(pulse)] == ["S", "S1", "S2", "R"]
    assert read_question(pulse, {"weights": "run", "S": "5", "aggregate": "harmonic"}) == Question({}, {"aggregate": "harmonic"})
    weights = weights_by(equal(pulse), read_question(pulse, {"S": "1", "S2": "0"}))
    assert shares(pulse, weights) == {"S": Decimal("0.25"), "S1": 1, "S2": 0, "R": Decimal("0.75")}


def test_another_limit_or_scale_is_of_the_runs_own_values_and_not_of_its_bases() -> None:
    definition, values = plain(2, groups=2), table([1, 2, 3], [6, 4, 5])
    base = Method(goalposts={"L0": (Decimal(0), Decimal(100))}, treatment={"L0": Done(least=Decimal(2))})
    before = {"scores": {}, "ranks": {}}
    for changes in ({"winsorise": 0}, {"normalise": "prank"}):
        found, own = (
            answer(definition, "national", equal(definition), values, method, Question({}, changes), before).scores
            for method in (base, Method())
        )
        assert found == own
    kept = answer(definition, "national", equal(definition), values, base, Question({}, {"aggregate": "geometric"}), before)
    assert kept.scores["L0"] == {"r0": 2, "r1": 2, "r2": 3}


def test_an_intensity_is_the_score_by_the_capacity_of_all_kinds() -> None:
    values = {name: {"r0": Decimal(2), "r1": Decimal(1)} for name in CAPACITY["national"]} | {"dc_ai": {"r0": Decimal(2)}}
    assert capacity(TREE, "national", values) == {"r0": Decimal(10)}, "where a kind is not known there is none"
    pulse = shipped("supply-pulse@1")
    live = {name: {"r0": Decimal(10) ** 18} for name in CAPACITY["platform"]}
    assert capacity(pulse, "platform", live) == {"r0": Decimal(3)}
    with pytest.raises(Invalid, match="capacity"):
        capacity(TREE, "national", {})


def test_at_the_weight_of_a_swap_two_regions_stand_level() -> None:
    definition, values = plain(2, groups=2), table([100, 0, 20], [0, 60, 20])
    weights = equal(definition)
    base = score(definition, "national", weights, values, Method())
    shares = swaps(definition, "national", weights, base.scores, "r0", "r1")
    level = score(definition, "national", weights | {"G0": shares["G0"], "G1": 1 - shares["G0"]}, values, Method())
    assert abs(level.scores[ROOT]["r0"] - level.scores[ROOT]["r1"]) < Decimal("1e-9")


@pytest.fixture
def run(db: None) -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def get(path: str, status: int = 200) -> Any:
    client = Client()
    client.force_login(build.alice().user)
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer


def test_as_the_run_is_the_run_itself(run: IndexRun) -> None:
    tree, parsed = tree_of(run.definition), read_seen(run.read("inputs")).values
    places = answer(tree, "national", weights_of(run.weights), parsed, Method.of(tree), Question({}, {}), run.read("result")).places
    assert len(places) == 31
    for place in places:
        assert (place.rank, round(place.score or Decimal(0), 12)) == (place.rank_before, place.score_before)


def test_the_page_shows_who_would_stand_where_and_says_that_it_is_unofficial(run: IndexRun) -> None:
    before = IndexRun.objects.count()
    text = get("/index/what-if/?A=5&D=0&normalise=zscore").content.decode()
    assert "Unofficial" in text
    assert "Generated values." in text
    assert f"/index/what-if/?run={run.pk}&amp;A=5&amp;D=0&amp;normalise=zscore" in text, "a link to share"
    assert text.count('data-label="Gained"') == 31
    assert IndexRun.objects.count() == before, "nothing is kept"
    assert "the index per EFLOPS" in get("/index/what-if/?per=eflops").content.decode()
    get("/index/what-if/?Z=5", 422)
    assert "One must count" in get("/index/what-if/?A=0&B=0&C=0&D=0", 422).content.decode().replace("one must", "One must")


def test_the_door_gives_the_same_as_json_and_as_marked_csv(run: IndexRun) -> None:
    told = get(f"/api/v1/index/runs/{run.pk}/what-if?A=5&aggregate=geometric").json()
    assert told["official"] is False
    assert told["synthetic"] is True
    assert told["asked"] == {"A": "5", "aggregate": "geometric"}
    assert sorted(place["rank"] for place in told["places"]) == list(range(1, 32))
    answer = get(f"/api/v1/index/runs/{run.pk}/what-if/scores?A=5&aggregate=geometric")
    assert "unofficial-synthetic" in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["region_code"] for row in rows] == [place["region"] for place in told["places"]]
    assert {(row["official"], row["synthetic"]) for row in rows} == {("no", "yes")}
    problem = get(f"/api/v1/index/runs/{run.pk}/what-if?A=9", 422).json()
    assert (problem["code"], problem["field"]) == ("rating_invalid", "A")


def test_a_pair_is_told_at_which_weight_it_would_change_places(run: IndexRun) -> None:
    text = get("/index/what-if/?left=440000&right=110000").content.decode()
    assert "Where Guangdong and Beijing would change places" in text
    other = get("/index/what-if/?A=5&aggregate=geometric&left=440000&right=110000").content.decode()
    assert "of arithmetic means of the index alone" in other
    assert '<input type="hidden" name="A" value="5">' in other, "the pair is asked for beside the ratings"
    get("/index/what-if/?left=440000&right=nowhere", 404)

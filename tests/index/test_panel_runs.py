"""A run with a panel's weights draws its bands from the experts, and comes to the same bytes wherever it is made again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from index.defining import definition_named, experts_of, tree_of, weights_of
from index.demo import fill
from index.models import IndexRun, WeightSet
from index.panels import Said, judge, open_panel, record
from index.running.services import Wanted, bundle_of, replay, run_index

pytestmark = pytest.mark.django_db
FEW: dict[str, Any] = {"draws": 200}


@pytest.fixture
def first() -> IndexRun:
    run = fill((2022,))
    assert run
    return run


def recorded(name: str, *firsts: str) -> WeightSet:
    """Of a panel whose experts judge A against B by these, and all else alike; C against D was left out."""
    row = definition_named("cpsdi-2023")
    panel = open_panel(row, name, {f"expert {n}": Decimal(1 + n) for n in range(len(firsts))})
    pairs = [(one, two) for below in tree_of(row).groups().values() for n, one in enumerate(below) for two in below[n + 1 :]]
    for expert, value in zip(panel.experts.order_by("pk"), firsts, strict=True):
        said = [Said(one, two, value if one + two == "AB" else "1") for one, two in pairs if one + two != "CD"]
        judge(panel.pk, expert.pk, said)
    return record(panel.pk, name)


def run_with(weights: WeightSet) -> IndexRun:
    return run_index(Wanted(weights, "national", "2022", parameters=FEW))


def test_five_experts_are_drawn_and_a_bundle_replays_them_byte_for_byte(first: IndexRun) -> None:
    run = run_with(recorded("five", "9", "7", "1", "1/7", "1/9"))
    bundle = json.loads(json.dumps(bundle_of(run)))
    assert [one["voice"] for one in bundle["experts"]] == ["1", "2", "3", "4", "5"]
    assert all(before == now for before, now in replay(bundle).values())
    without = {part: value for part, value in bundle.items() if part != "experts"}
    changed = {part for part, (before, now) in replay(without).items() if before != now}
    assert changed == {"analysis"}, "the bands came from the experts"


def test_experts_keep_the_order_and_the_weights_of_their_own(first: IndexRun) -> None:
    made = recorded("two", "9", "1/9")
    made.refresh_from_db()
    experts = experts_of(made)
    assert [one["voice"] for one in experts] == ["1", "2"]
    assert all(set(one["weights"]) == set(weights_of(made)) for one in experts)
    above, below = (Decimal(one["weights"]["A"]) / Decimal(one["weights"]["B"]) for one in experts)
    assert above > 1 > below
    assert [one["name"] for one in made.evidence["experts"]] == ["expert 0", "expert 1"]


def test_below_five_experts_and_before_they_were_kept_all_stays_as_it_was(first: IndexRun) -> None:
    assert "experts" not in bundle_of(first)
    four = run_with(recorded("four", "9", "7", "1/7", "1/9"))
    bundle = bundle_of(four)
    assert len(bundle["experts"]) == 4
    del bundle["experts"]
    assert all(before == now for before, now in replay(bundle).values()), "four are too few to draw from"
    old = WeightSet(kind="panel", evidence={"voices": {"ann": "1"}, "judgements": []})
    assert experts_of(old) == []
    assert experts_of(WeightSet(kind="imported", evidence={"experts": [{"voice": "1", "weights": {}}]})) == []

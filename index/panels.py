"""Weights from experts: judged part by part, with consistency told at once, and recorded for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Count
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from index.ahp.groups import judgements_together, priorities_together, spread
from index.ahp.matrices import Judgements, Matrix, matrix_of, weigh
from index.ahp.tables import DEFAULT, random_index
from index.defining import record_weights, tree_of
from index.judging import (
    PLACES,
    Standing,
    looked_at,
    named_weights,
    ratio_text,
    sentences,
    sorted_out,
    turned,
    value_of,
    wrong_judgement,
)
from index.models import Expert, IndexDefinition, Judgement, Panel, WeightSet
from index.trees import Definition
from marketplace.models import User

MOST_EXPERTS: Final = 500
LONGEST: Final = 12  # characters of a judgement
TOGETHER: Final = "together"


@dataclass(frozen=True, slots=True)
class Said:
    """A judgement as it was sent."""

    one: str
    other: str
    value: str


def open_panel(
    row: IndexDefinition,
    name: str,
    experts: Mapping[str, Decimal],
    table: str = DEFAULT,
    rule: str = "judgements",
    by: User | None = None,
) -> Panel:
    """A panel with its experts and their voices. Invalid `experts_invalid`, `random_index_unknown`, Conflict `panel_exists`."""
    if not 1 <= len(experts) <= MOST_EXPERTS or any(voice <= 0 for voice in experts.values()):
        raise Invalid("experts_invalid", f"1 to {MOST_EXPERTS} experts, each with a voice above 0", field="experts")
    if any(not expert.strip() or expert == TOGETHER for expert in experts):  # under that name all together are told
        raise Invalid("experts_invalid", f"an expert has a name, and it is not {TOGETHER!r}", field="experts")
    random_index(table, 3)
    try:
        with transaction.atomic():
            asked = {"definition": row, "name": name, "random_index": table, "rule": rule}
            panel = Panel.objects.create(**asked, created_at=timezone.now(), created_by=by)
            Expert.objects.bulk_create(Expert(panel=panel, name=expert, voice=voice) for expert, voice in experts.items())
    except IntegrityError:
        raise Conflict("panel_exists", "the definition has a panel of this name", field="name") from None
    return panel


def judge(panel: int, expert: int, said: Sequence[Said]) -> None:
    """Keep judgements; what was said before of the same two is replaced, or taken back where `value` is empty. All or none.

    NotFound `panel_unknown`, Conflict `panel_recorded`, Invalid `judgement_invalid` with the place in `field`.
    """
    with transaction.atomic():
        found = panel_numbered(panel, locked=True)
        if not Expert.objects.filter(pk=expert, panel=found).exists():
            raise NotFound("panel_unknown", "there is no such panel or expert")
        if found.state != Panel.State.OPEN:
            raise Conflict("panel_recorded", "weights were recorded of it: open another")
        groups = tree_of(found.definition).groups()
        place = {code: (parent, below.index(code)) for parent, below in groups.items() for code in below}
        rows = {(one.one, one.other): one for one in (_row(expert, number, each, place) for number, each in enumerate(said))}
        _take_back(expert, {pair for pair, row in rows.items() if not row.value})
        Judgement.objects.bulk_create(
            [row for row in rows.values() if row.value],
            update_conflicts=True, unique_fields=["expert", "one", "other"], update_fields=["value", "judged_at"],
        )  # fmt: skip


def let_go(panel: int, expert: int) -> None:
    """Take an expert who said nothing off the panel, so that others need not wait.

    NotFound `panel_unknown`, Conflict `panel_recorded`, `expert_spoke`, `expert_last`.
    """
    with transaction.atomic():
        found = panel_numbered(panel, locked=True)
        if found.state != Panel.State.OPEN:
            raise Conflict("panel_recorded", "weights were recorded of it: open another")
        experts = dict(found.experts.annotate(said=Count("judgements")).values_list("pk", "said"))
        if expert not in experts:
            raise NotFound("panel_unknown", "there is no such panel or expert")
        if experts[expert]:
            raise Conflict("expert_spoke", "what an expert said counts; take it back first")
        if len(experts) == 1:
            raise Conflict("expert_last", "a panel has one expert at least")
        Expert.objects.filter(pk=expert).delete()


def _take_back(expert: int, pairs: set[tuple[str, str]]) -> None:
    if pairs:
        rows = Judgement.objects.filter(expert=expert).values_list("pk", "one", "other")
        Judgement.objects.filter(pk__in=[pk for pk, one, other in rows if (one, other) in pairs]).delete()


def _row(expert: int, number: int, said: Said, place: Mapping[str, tuple[str, int]]) -> Judgement:
    """In the order of the tree, so that two are judged once."""
    one, other, text = place.get(said.one), place.get(said.other), said.value.strip()
    if one is None or other is None or one[0] != other[0] or one == other or (text and value_of(text) is None):
        raise wrong_judgement(number)
    first, second = (said.one, said.other) if one[1] < other[1] else (said.other, said.one)
    text = turned(text) if text and first != said.one else text
    if len(text) > LONGEST:
        raise wrong_judgement(number)
    return Judgement(expert_id=expert, parent=one[0], one=first, other=second, value=text, judged_at=timezone.now())


@dataclass(frozen=True, slots=True)
class Heard:
    """What the experts of a panel said: {expert's number: {parent: judgements}}."""

    panel: Panel
    groups: Mapping[str, Sequence[str]]
    experts: Sequence[Expert]
    said: Mapping[int, Mapping[str, Judgements]]


def heard(panel: Panel) -> Heard:
    """Two statements."""
    groups, experts = tree_of(panel.definition).groups(), list(panel.experts.order_by("pk"))
    rows: dict[int, list[tuple[str, str, str]]] = {expert.pk: [] for expert in experts}
    for row in Judgement.objects.filter(expert__panel=panel):
        rows[row.expert_id].append((row.one, row.other, row.value))
    return Heard(panel, groups, experts, {expert: sorted_out(groups, said) for expert, said in rows.items()})


def standing(panel: Panel) -> dict[str, list[Standing]]:
    """By expert, and of all together under the empty name: every group of siblings. Two statements."""
    return standings(heard(panel))


def standings(one: Heard) -> dict[str, list[Standing]]:
    """The same of what was heard already."""
    found = {expert.name: looked_at(one.groups, one.said[expert.pk], one.panel.random_index) for expert in one.experts}
    return found | {"": [_together(parent, below, one) for parent, below in one.groups.items()]}


def _together(parent: str, below: Sequence[str], one: Heard) -> Standing:
    """Of those experts whose judgements connect all; what they left out is completed."""
    matrices = _matrices(parent, len(below), one)
    silent = len(one.experts) - len(matrices)
    if not matrices:
        return Standing(parent, silent)
    voices = [expert.voice for expert in one.experts if expert.pk in matrices]
    found = weigh(judgements_together(list(matrices.values()), voices), one.panel.random_index)
    weights = found.weights
    if one.panel.rule == Panel.Rule.WEIGHTS:
        weights = priorities_together([weigh(each, one.panel.random_index).weights for each in matrices.values()], voices)
    pairs = {
        f"{below[row]}/{below[column]}": spread([each[row][column] for each in matrices.values()]).quantize(PLACES)
        for row in range(len(below))
        for column in range(row + 1, len(below))
    }
    return Standing(parent, silent, named_weights(below, weights), found.ratio.quantize(PLACES), found.consistent, spread=pairs)


def _matrices(parent: str, size: int, one: Heard) -> dict[int, Matrix]:
    """By expert, in their order."""
    found: dict[int, Matrix] = {}
    for expert in one.experts:
        try:
            found[expert.pk] = matrix_of(size, one.said[expert.pk].get(parent, {}))
        except Invalid:  # nothing connects all yet
            continue
    return found


def vectors(one: Heard) -> dict[int, dict[str, Decimal]]:
    """Every expert's own weights of all nodes. All experts must have judged enough."""
    nodes = tree_of(one.panel.definition).nodes
    found = {expert.pk: dict.fromkeys(nodes, Decimal(1)) for expert in one.experts}  # who has no sibling weighs all
    for parent, below in one.groups.items():
        for expert, matrix in _matrices(parent, len(below), one).items():
            found[expert] |= named_weights(below, weigh(matrix, one.panel.random_index).weights)
    return found


def record(panel: int, name: str, by: User | None = None) -> WeightSet:
    """Record the weights of all experts in all groups. Invalid `judgements_missing`, Conflict `panel_recorded`, `weights_exist`."""
    with transaction.atomic():
        found = panel_numbered(panel, locked=True)
        if found.state != Panel.State.OPEN:
            raise Conflict("panel_recorded", "weights were recorded of it already")
        said = heard(found)
        told = standings(said)
        silent = [one.parent for one in told[""] if one.missing]
        if silent:
            raise Invalid("judgements_missing", f"not all experts have judged enough below {silent[0]}", field="judgements")
        weights = _weights(tree_of(found.definition), told[""])
        made = record_weights(found.definition, name, WeightSet.Kind.PANEL, weights, _evidence(said, told), by)
        Panel.objects.filter(pk=found.pk).update(state=Panel.State.RECORDED, weights=made)
    return made


def _weights(tree: Definition, groups: Sequence[Standing]) -> dict[str, Decimal]:
    """Who has no sibling weighs all."""
    found = dict.fromkeys(tree.nodes, Decimal(1))
    for group in groups:
        found |= group.weights
    return found


def _evidence(said: Heard, told: Mapping[str, Sequence[Standing]]) -> dict[str, Any]:
    """Every judgement, and every expert's own ratio and weights: a group's never hide them. Bands draw from these weights."""
    panel, names = said.panel, {expert.pk: expert.name for expert in said.experts}
    judged = Judgement.objects.filter(expert__panel=panel).order_by("expert", "parent", "one", "other")
    rows = [[names[one.expert_id], one.parent, one.one, one.other, one.value] for one in judged]
    ratios = {name: {one.parent: f"{one.ratio}" for one in groups if one.ratio is not None} for name, groups in told.items()}
    voices = {expert.name: f"{expert.voice.normalize():f}" for expert in said.experts}
    head = {"panel": panel.name, "random_index": panel.random_index, "rule": panel.rule, "voices": voices}
    own = vectors(said)
    experts = [
        {"name": expert.name, "voice": voices[expert.name], "weights": {code: f"{one:f}" for code, one in own[expert.pk].items()}}
        for expert in said.experts
    ]
    return head | {"judgements": rows, "ratios": {name or TOGETHER: one for name, one in ratios.items()}, "experts": experts}


def panel_numbered(number: int, *, locked: bool = False) -> Panel:
    """NotFound `panel_unknown`."""
    rows = Panel.objects.select_related("definition")
    found = (rows.select_for_update(of=("self",)) if locked else rows).filter(pk=number).first()
    if found is None:
        raise NotFound("panel_unknown", "there is no such panel or expert")
    return found


def preview(panel: Panel, said: Sequence[Said]) -> list[dict[str, Any]]:
    """What judgements of one expert would come to, by group of siblings; nothing is kept. Invalid `judgement_invalid`."""
    tree = tree_of(panel.definition)
    groups = tree.groups()
    judgements = sorted_out(groups, [(one.one, one.other, one.value.strip()) for one in said])
    names = names_of(tree)
    told = looked_at(groups, judgements, panel.random_index)
    return [{"names": {code: names[code] for code in groups[one.parent]}, **_told(one, names)} for one in told]


def names_of(tree: Definition) -> dict[str, str]:
    """How nodes are called in sentences."""
    return {code: node.name["en"] for code, node in tree.nodes.items()}


def document_of(panel: Panel) -> dict[str, Any]:
    """How a panel stands, for people and programs."""
    said, names = heard(panel), names_of(tree_of(panel.definition))
    experts = [{"id": one.pk, "name": one.name, "voice": f"{one.voice.normalize():f}"} for one in said.experts]
    groups = {name or TOGETHER: [_told(one, names) for one in each] for name, each in standings(said).items()}
    return {"experts": experts, "standing": groups}


def _told(one: Standing, names: Mapping[str, str]) -> dict[str, Any]:
    fits = one.worst and {"one": one.worst[0], "other": one.worst[1], "weights_say": f"{one.worst[2]}"}
    if fits and one.judged:
        fits |= {"judged": ratio_text(one.judged[0]), "others_say": ratio_text(one.judged[1])}
    return {
        "parent": one.parent, "missing": one.missing, "weights": {code: f"{value:f}" for code, value in one.weights.items()},
        "ratio": None if one.ratio is None else f"{one.ratio}", "consistent": one.consistent, "worst": fits,
        "spread": {pair: f"{value}" for pair, value in one.spread.items()}, "circle": one.circle, "parts": one.parts,
        "words": sentences(one, names),
    }  # fmt: skip

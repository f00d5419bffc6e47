"""Weights from experts: judged part by part, with consistency told at once, and recorded for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from index.ahp.groups import judgements_together, priorities_together, spread
from index.ahp.matrices import Judgements, Matrix, least_squares, matrix_of, weigh, worst
from index.ahp.tables import DEFAULT, random_index
from index.defining import record_weights, tree_of
from index.models import Expert, IndexDefinition, Judgement, Panel, WeightSet
from index.trees import Definition
from marketplace.models import User

MOST_EXPERTS: Final = 500
PLACES: Final = Decimal("1E-6")


@dataclass(frozen=True, slots=True)
class Said:
    """A judgement as it was sent."""

    one: str
    other: str
    value: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a group of siblings is judged by one expert, or by all together.

    missing    judgements that are not there; weights stand once those that are connect all
    weights    by node; of an incomplete matrix by least squares, so that they are told at once
    ratio      of a complete matrix; None before
    worst      the judgement that fits least, and what the weights would have it be
    spread     of a group: the geometric standard deviation of each pair among experts
    """

    parent: str
    missing: int
    weights: Mapping[str, Decimal] = field(default_factory=dict)
    ratio: Decimal | None = None
    consistent: bool | None = None
    worst: tuple[str, str, Decimal] | None = None
    spread: Mapping[str, Decimal] = field(default_factory=dict)


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
    """Keep judgements; what was said before of the same two is replaced. All or none.

    NotFound `panel_unknown`, Conflict `panel_recorded`, Invalid `judgement_invalid` with the place in `field`.
    """
    with transaction.atomic():
        found = Panel.objects.select_for_update().select_related("definition").filter(pk=panel).first()
        if found is None or not Expert.objects.filter(pk=expert, panel=found).exists():
            raise NotFound("panel_unknown", "there is no such panel or expert")
        if found.state != Panel.State.OPEN:
            raise Conflict("panel_recorded", "weights were recorded of it: open another")
        place = {
            code: (parent, below.index(code)) for parent, below in tree_of(found.definition).groups().items() for code in below
        }
        rows = {(one.one, one.other): one for one in (_row(expert, number, each, place) for number, each in enumerate(said))}
        Judgement.objects.bulk_create(
            rows.values(), update_conflicts=True, unique_fields=["expert", "one", "other"], update_fields=["value", "judged_at"]
        )


def _row(expert: int, number: int, said: Said, place: Mapping[str, tuple[str, int]]) -> Judgement:
    """In the order of the tree, so that two are judged once."""
    one, other = place.get(said.one), place.get(said.other)
    value = value_of(said.value)
    if one is None or other is None or one[0] != other[0] or one == other or value is None:
        raise Invalid("judgement_invalid", "two different siblings, and 1/9 to 9 as 3 or 1/3", field=f"judgements.{number}")
    first, second, text = (said.one, said.other, said.value) if one[1] < other[1] else (said.other, said.one, _turned(said.value))
    return Judgement(expert_id=expert, parent=one[0], one=first, other=second, value=text, judged_at=timezone.now())


def value_of(text: str) -> Decimal | None:
    """`3`, `0.5` or `1/3`, from 1/9 to 9; None for anything else."""
    above, slash, below = text.strip().partition("/")
    try:
        value = Decimal(above) / Decimal(below) if slash else Decimal(above)
    except (InvalidOperation, ZeroDivisionError):
        return None
    return value if value.is_finite() and Decimal(1) / 9 - Decimal("1E-20") <= value <= 9 else None


def _turned(text: str) -> str:
    above, slash, below = text.strip().partition("/")
    return f"{below}/{above}" if slash else f"1/{above}"


def standing(panel: Panel) -> dict[str, list[Standing]]:
    """By expert, and of all together under the empty name: every group of siblings. Two statements."""
    tree = tree_of(panel.definition)
    experts = list(panel.experts.order_by("pk"))
    said: dict[int, dict[str, Judgements]] = {expert.pk: {} for expert in experts}
    groups = tree.groups()
    for row in Judgement.objects.filter(expert__panel=panel):
        below = groups[row.parent]
        value = value_of(row.value)
        if value is not None:
            said[row.expert_id].setdefault(row.parent, {})[below.index(row.one), below.index(row.other)] = value
    found = {
        expert.name: [
            _standing(parent, below, said[expert.pk].get(parent, {}), panel.random_index) for parent, below in groups.items()
        ]
        for expert in experts
    }
    voices = {expert.pk: expert.voice for expert in experts}
    return found | {"": [_together(parent, below, said, voices, panel) for parent, below in groups.items()]}


def _standing(parent: str, below: Sequence[str], judgements: Judgements, table: str) -> Standing:
    size = len(below)
    missing = size * (size - 1) // 2 - len(judgements)
    if missing:
        try:
            return Standing(parent, missing, _named(below, least_squares(size, judgements)))
        except Invalid:  # nothing connects all yet
            return Standing(parent, missing)
    matrix = matrix_of(size, judgements)
    found = weigh(matrix, table)
    row, column, wished = worst(matrix, found.weights)
    told = (below[row], below[column], wished.quantize(PLACES)) if size > 2 else None
    return Standing(parent, 0, _named(below, found.weights), found.ratio.quantize(PLACES), found.consistent, told)


def _together(
    parent: str, below: Sequence[str], said: Mapping[int, Mapping[str, Judgements]], voices: Mapping[int, Decimal], panel: Panel
) -> Standing:
    """Of those experts whose judgements connect all; what they left out is completed."""
    size = len(below)
    matrices: dict[int, Matrix] = {}
    for expert, judgements in said.items():
        try:
            matrices[expert] = matrix_of(size, judgements.get(parent, {}))
        except Invalid:
            continue
    silent = len(said) - len(matrices)
    if not matrices:
        return Standing(parent, silent)
    heard = [voices[expert] for expert in matrices]
    matrix = judgements_together(list(matrices.values()), heard)
    found = weigh(matrix, panel.random_index)
    weights = found.weights
    if panel.rule == Panel.Rule.WEIGHTS:
        weights = priorities_together([weigh(one, panel.random_index).weights for one in matrices.values()], heard)
    pairs = {
        f"{below[row]}/{below[column]}": spread([one[row][column] for one in matrices.values()]).quantize(PLACES)
        for row in range(size)
        for column in range(row + 1, size)
    }
    return Standing(parent, silent, _named(below, weights), found.ratio.quantize(PLACES), found.consistent, spread=pairs)


def _named(below: Sequence[str], weights: Sequence[Decimal]) -> dict[str, Decimal]:
    return {code: weight.quantize(Decimal("1E-18")) for code, weight in zip(below, weights, strict=True)}


def record(panel: int, name: str, by: User | None = None) -> WeightSet:
    """Record the weights of all experts in all groups. Invalid `judgements_missing`, Conflict `panel_recorded`, `weights_exist`."""
    with transaction.atomic():
        found = panel_numbered(panel, locked=True)
        if found.state != Panel.State.OPEN:
            raise Conflict("panel_recorded", "weights were recorded of it already")
        told = standing(found)
        silent = [one.parent for one in told[""] if one.missing]
        if silent:
            raise Invalid("judgements_missing", f"not all experts have judged enough below {silent[0]}", field="judgements")
        weights = _weights(tree_of(found.definition), told[""])
        made = record_weights(found.definition, name, WeightSet.Kind.PANEL, weights, _evidence(found, told), by)
        Panel.objects.filter(pk=found.pk).update(state=Panel.State.RECORDED, weights=made)
    return made


def _weights(tree: Definition, groups: Sequence[Standing]) -> dict[str, Decimal]:
    """Who has no sibling weighs all."""
    found = dict.fromkeys(tree.nodes, Decimal(1))
    for group in groups:
        found |= group.weights
    return found


def _evidence(panel: Panel, told: Mapping[str, Sequence[Standing]]) -> dict[str, Any]:
    """Every judgement and every expert's own ratio: a group's never hides them."""
    judged = Judgement.objects.filter(expert__panel=panel).order_by("expert", "parent", "one", "other")
    rows = [[one.expert.name, one.parent, one.one, one.other, one.value] for one in judged.select_related("expert")]
    ratios = {name: {one.parent: f"{one.ratio}" for one in groups if one.ratio is not None} for name, groups in told.items()}
    voices = {expert.name: f"{expert.voice.normalize():f}" for expert in panel.experts.order_by("pk")}
    head = {"panel": panel.name, "random_index": panel.random_index, "rule": panel.rule, "voices": voices}
    return head | {"judgements": rows, "ratios": {name or "together": one for name, one in ratios.items()}}


def panel_numbered(number: int, *, locked: bool = False) -> Panel:
    """NotFound `panel_unknown`."""
    rows = Panel.objects.select_related("definition")
    found = (rows.select_for_update(of=("self",)) if locked else rows).filter(pk=number).first()
    if found is None:
        raise NotFound("panel_unknown", "there is no such panel or expert")
    return found


def document_of(panel: Panel) -> dict[str, Any]:
    """How a panel stands, for people and programs."""
    told = standing(panel)
    experts = [{"id": one.pk, "name": one.name, "voice": f"{one.voice.normalize():f}"} for one in panel.experts.order_by("pk")]
    groups = {name or "together": [_told(one) for one in each] for name, each in told.items()}
    return {"experts": experts, "standing": groups}


def _told(one: Standing) -> dict[str, Any]:
    fits = one.worst and {"one": one.worst[0], "other": one.worst[1], "weights_say": f"{one.worst[2]}"}
    return {
        "parent": one.parent, "missing": one.missing, "weights": {code: f"{value:f}" for code, value in one.weights.items()},
        "ratio": None if one.ratio is None else f"{one.ratio}", "consistent": one.consistent, "worst": fits,
        "spread": {pair: f"{value}" for pair, value in one.spread.items()},
    }  # fmt: skip

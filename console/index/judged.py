"""A panel as its page shows it, and the questionnaire of one expert. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

from console.charts import Bar, Chart, bars
from console.index.weighed import group_name, over, percent, ratio_of
from index.judging import Standing, sentences
from index.models import Expert
from index.panels import Heard, Said, names_of
from index.trees import Definition

SCALE: Final = range(9, 1, -1)
WORDS: Final = {  # after Saaty (2008)
    2: "slightly",
    3: "moderately",
    4: "moderately to strongly",
    5: "strongly",
    6: "strongly to very strongly",
    7: "very strongly",
    8: "very strongly to extremely",
    9: "extremely",
}
TOLD: Final = 2  # groups of so many are always consistent


@dataclass
class Pair:
    """Two siblings of the questionnaire. `was` is what was kept when the form was made, `value` what stands in it."""

    one: str
    other: str
    label: str
    options: list[tuple[str, str]]
    was: str = ""
    value: str = ""
    error: str = ""

    @property
    def key(self) -> str:
        return f"{self.one}.{self.other}"


@dataclass
class Group:
    """Siblings with what is compared among them, and what it comes to."""

    parent: str
    name: str
    pairs: list[Pair]
    told: dict[str, Any] = field(default_factory=dict)


def questionnaire(tree: Definition, kept: Mapping[tuple[str, str], str]) -> list[Group]:
    """All pairs of all groups, in the tree's order, with what was kept of them."""
    names = names_of(tree)
    return [
        Group(
            parent,
            group_name(tree, parent),
            [_pair(one, other, names, kept.get((one, other), "")) for one, other in combinations(below, 2)],
        )
        for parent, below in tree.groups().items()
    ]


def _pair(one: str, other: str, names: Mapping[str, str], kept: str) -> Pair:
    options = scale(names[one], names[other])
    if kept and kept not in {value for value, _ in options}:  # an in-between value that came by the API
        options = [(kept, f"{kept}: as it was written down"), *options]
    return Pair(one, other, f"{names[one]} against {names[other]}", options, kept, kept)


def scale(one: str, other: str) -> list[tuple[str, str]]:
    """The seventeen judgements, from 9 by 1 to 1/9."""
    above = [(f"{times}", f"{times}: {one} weighs {WORDS[times]} more") for times in SCALE]
    below = [(f"1/{times}", f"1/{times}: {other} weighs {WORDS[times]} more") for times in reversed(SCALE)]
    return [*above, ("1", "1: both weigh the same"), *below]


def fill(groups: Sequence[Group], posted: Mapping[str, str]) -> list[Said]:
    """Put what was sent into the form; what was changed since the form was made is what is said. What is not sent stays."""
    said = []
    for pair in (pair for group in groups for pair in group.pairs):
        pair.was = posted.get(f"was.{pair.key}", pair.was)
        pair.value = posted.get(f"judge.{pair.key}", pair.value).strip()
        if pair.value != pair.was:
            said.append(Said(pair.one, pair.other, pair.value))
        if pair.value and pair.value not in {value for value, _ in pair.options}:
            pair.options = [(pair.value, pair.value), *pair.options]
    return said


def blame(groups: Sequence[Group], said: Sequence[Said], problem: Mapping[str, Any]) -> bool:
    """Show a refusal at the pair that it names; False: it names none."""
    place = str(problem.get("field") or "").removeprefix("judgements.")
    if not place.isdigit() or int(place) >= len(said):
        return False
    wrong = said[int(place)]
    for pair in (pair for group in groups for pair in group.pairs):
        if (pair.one, pair.other) == (wrong.one, wrong.other):
            pair.error = problem["detail"]
    return True


def tell(groups: Sequence[Group], told: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    """Put what judgements come to beside them, as `panels.preview` says it."""
    by = {one["parent"]: one for one in told}
    for group in groups:
        one = by[group.parent]
        weights = ", ".join(f"{names[code]} {percent(value)}" for code, value in one["weights"].items())
        group.told = {
            "words": one["words"],
            "weights": weights,
            "ratio": ratio_of(one["ratio"]) if len(one["weights"]) > TOLD else "",
        }


def counted(groups: Sequence[Group]) -> tuple[int, int]:
    """(judged, of)."""
    pairs = [pair for group in groups for pair in group.pairs]
    return sum(bool(pair.value) for pair in pairs), len(pairs)


def experts_told(heard: Heard, told: Mapping[str, Sequence[Standing]], tree: Definition) -> list[dict[str, Any]]:
    """Each expert: how much is judged, the ratio of each group, and what is to be done, in words."""
    names = names_of(tree)
    return [_expert(one, heard, told[one.name], tree, names) for one in heard.experts]


def _expert(expert: Expert, heard: Heard, told: Sequence[Standing], tree: Definition, names: Mapping[str, str]) -> dict[str, Any]:
    judged = sum(len(one) for one in heard.said[expert.pk].values())
    words = [
        {"group": group_name(tree, one.parent), "lines": lines}
        for one in told
        if not one.untouched and (lines := sentences(one, names))
    ]
    untouched = [group_name(tree, one.parent) for one in told if one.untouched]
    return {
        "expert": expert,
        "voice": f"{expert.voice.normalize():f}",
        "judged": judged,
        "ratios": ratios(told, heard.groups),
        "words": words,
        "untouched": untouched if judged else [],
    }


def ratios(told: Sequence[Standing], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The ratio of each group of three and more."""
    return [
        {"parent": one.parent, "ratio": ratio_of(one.ratio), "over": over(one.ratio), "circle": bool(one.circle)}
        for one in told
        if len(groups[one.parent]) > TOLD
    ]


def groups_told(heard: Heard, told: Mapping[str, Sequence[Standing]], tree: Definition) -> list[dict[str, Any]]:
    """What all together come to, by group: weights so far with the least and the most of any expert, and how far they are apart."""
    names = names_of(tree)
    return [
        {
            "name": group_name(tree, one.parent),
            "heard": len(heard.experts) - one.missing,
            "weights": [_weight(names[code], value, _of_each(heard, told, number, code)) for code, value in one.weights.items()],
            "spread": [_apart(pair, value, names) for pair, value in one.spread.items()],
        }
        for number, one in enumerate(told[""])
    ]


def _of_each(heard: Heard, told: Mapping[str, Sequence[Standing]], group: int, code: str) -> list[Decimal]:
    """What each expert of whom it is known would have the node weigh."""
    weights = [told[expert.name][group].weights for expert in heard.experts]
    return [one[code] for one in weights if code in one]


def _weight(name: str, value: Decimal, each: Sequence[Decimal]) -> dict[str, Any]:
    low, high = min(each, default=value), max(each, default=value)
    return {
        "name": name,
        "share": percent(value),
        "low": percent(low),
        "high": percent(high),
        "apart": low != high,
        "of": (value, low, high),
    }


def weights_drawn(groups: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The same as bars with whiskers; None where nobody has judged enough."""
    weights = [one for group in groups for one in group["weights"]]
    rows = [Bar(one["name"], *_hundreds(one["of"], one["apart"])) for one in weights]
    title = "Weights among siblings so far, with the least and the most that an expert gives"
    if not rows:
        return None
    figure = bars("panel", title, rows, "per cent of the group")
    return replace(figure, option={**figure.option, "grid": figure.option["grid"] | {"left": 28}})  # long names


def _hundreds(of: tuple[Decimal, Decimal, Decimal], apart: bool) -> tuple[Any, ...]:
    value, low, high = (round(100 * float(one), 2) for one in of)
    return (value, "", low, high) if apart else (value,)


def _apart(pair: str, value: Decimal, names: Mapping[str, str]) -> dict[str, str]:
    one, _, other = pair.partition("/")
    return {"pair": f"{names[one]} against {names[other]}", "value": f"{value:.2f}"}

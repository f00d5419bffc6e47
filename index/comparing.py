"""Two versions of a definition beside each other, in plain words: what changed, and what it does to scores and weights. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from index.trees import ROOT, Definition, differences

Effect = Literal["scores", "weights", "words"]
_SAID_ONLY: Final = {"name", "printed", "note", "after", "aliases", "version", "code"}
_WORDS: Final = {
    "code": "the code", "version": "the version", "after": "what it is made after", "profiles": "the profiles",
    "method.normalise": "how values become scores", "method.aggregate": "how scores are put together",
    "method.min_coverage": "how much must be known", "method.winsorise": "how many extreme values are cut",
    "method.restandardise": "whether sums are put on the scale again",
    "name.zh": "the Chinese name", "name.en": "the English name", "name": "the name", "parent": "what it stands below",
    "unit": "the unit", "direction": "whether more is better", "formula": "the formula", "goalposts": "the ends of its scale",
    "target": "the target", "winsorise": "how many extreme values are cut", "flag_above": "the mark above which it is flagged",
    "printed": "what the report prints", "note": "the note", "aliases": "its other names", "profile": "where it is observed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What is not the same. `before` and `after` as text for people, empty: not there.

    effect  scores: they may come out otherwise; weights: nodes that are weighed against each other are others;
            words: nothing that is computed
    """

    place: str
    before: str
    after: str
    words: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Unweighed:
    """Siblings that no set of weights or judgements of the version before is of."""

    parent: str
    came: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """changes and, below which parents, weights are to be found anew."""

    changes: tuple[Change, ...]
    unweighed: tuple[Unweighed, ...]
    reordered: bool

    @property
    def same(self) -> bool:
        return not self.changes and not self.reordered


def compare(before: Definition, after: Definition) -> Comparison:
    """What one who goes from one to the other has to know."""
    changes = tuple(_change(before, after, *one) for one in differences(before, after))
    reordered = not changes and before.digest != after.digest
    return Comparison(changes, tuple(_unweighed(before, after)), reordered)


def _change(before: Definition, after: Definition, place: str, old: Any, new: Any) -> Change:
    return Change(place, _text(old), _text(new), _words(before, after, place, old, new), _effect(place, old, new))


def _words(before: Definition, after: Definition, place: str, old: Any, new: Any) -> str:
    head, _, rest = place.partition(".")
    if head not in ("nodes", "variables"):
        return f"{_aspect(place)} {_became(old, new)}"
    code, _, aspect = rest.partition(".")
    name = _named(before if new is None else after, head, code)
    return f"{name} {_became(old, new)}" if not aspect else f"{name}: {_aspect(aspect)} {_became(old, new)}"


def _named(definition: Definition, kind: str, code: str) -> str:
    one = (definition.nodes if kind == "nodes" else definition.variables).get(code)
    return f"{'indicator' if kind == 'nodes' else 'variable'} {code} {one.name['en'] if one else ''}".strip()


def _aspect(place: str) -> str:
    """A part of a node, a variable or the whole in words."""
    head, _, rest = place.partition(".")
    if head == "formula" and rest:
        return f"the formula of the {rest} profile"
    return _WORDS.get(place) or _WORDS.get(head) or place


def _became(old: Any, new: Any) -> str:
    return "is new" if old is None else "is gone" if new is None else "changed"


def _effect(place: str, old: Any, new: Any) -> Effect:
    head, *rest = place.split(".")
    if head == "nodes" and (len(rest) == 1 or rest[1] == "parent"):
        return "weights"
    aspect = rest[1] if head in ("nodes", "variables") and len(rest) > 1 else head
    return "words" if aspect in _SAID_ONLY else "scores"


def _unweighed(before: Definition, after: Definition) -> Iterator[Unweighed]:
    for parent in [ROOT, *after.nodes]:
        was, now = ([node.code for node in one.children(parent)] for one in (before, after))
        came, gone = (tuple(code for code in one if code not in other) for one, other in ((now, was), (was, now)))
        if now and (came or gone):
            yield Unweighed(parent, came, gone)


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(below)}" for name, below in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)

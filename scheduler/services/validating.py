"""The publisher's own word on results: a program that is run like a unit, where none of the results comes from.

It finds results in `in/results/<number>/`, numbered by age, with nothing of who made them, and leaves `verdict.json`:
`{"groups": [[0, 2], [1]]}` are right results, those in one list the same; a result in no list is refused. A try that
says nothing that can be read, or `{"escalate": true}`, is inconclusive; the second such try, or one that crashed on pools of
two owners, gives the unit up as the platform's fault. The platform pays for tries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from marketplace import storage
from marketplace.stages import VALIDATES
from scheduler.models import Need
from scheduler.needs import key_of
from scheduler.services.ballots import Ballots
from scheduler.services.expanding import need_of
from scheduler.services.groups import PENDING, Group, Steps
from scheduler.verification.voting import Same, Verdict, equal

TRIES: Final = 2
MAX_VERDICT: Final = 1024 * 1024
WAIT: Final = Verdict("wait")


@dataclass(frozen=True)
class Said:
    """How a group's results are compared: each one's ballot (None: refused), and when two are the same.

    verdict  what holds whatever the results are        asks  the validator is to be asked
    broken   why nobody can say
    """

    ballot: Callable[[int], Any]
    same: Same
    verdict: Verdict | None = None
    asks: bool = False
    broken: str = ""


def _nothing(_: int) -> None:
    return None


def validated(group: Group, ballots: Ballots, steps: Steps) -> Said:
    """What the validator said of a group's results, or that it is to be asked once they are all there."""
    policy = group.context.policy
    siblings_pending = group.in_state(*PENDING)
    if siblings_pending or (len(group.voters()) < policy.initial and len(group.members) < policy.max_total):
        return Said(_nothing, equal)  # results come first
    fresh = [one for one in group.tries if one["state"] == "reported"]
    if fresh:
        return _read(group, fresh[-1], ballots, steps)
    states = {one["state"] for one in group.validators}
    if states & {"waiting", "placed", "leased"}:
        return Said(_nothing, equal, WAIT)
    if _broken_tries(group) >= TRIES and "blocked" not in states:
        return _broken(_what_it_said(group))
    return Said(_nothing, equal, WAIT, asks=True)


def _broken(why: str) -> Said:
    return Said(_nothing, equal, Verdict("none"), broken=why)


def _what_it_said(group: Group) -> str:
    """Why the tries came to nothing, in the words of the last of them: all that the publisher's users can tell the publisher."""
    said = next((one["detail"] for one in reversed(group.tries) if one["detail"] and one["code"] != "validated"), "")
    return "the capability's validator failed" + (f": {said}" if said else "")


def _broken_tries(group: Group) -> int:
    """Tries that came to nothing: their unit is over, and no attempt of it has said anything. A proven crash is enough."""
    spoke = {one["unit_id"] for one in group.tries if one["code"] == "validated"}
    crashed = {one["unit_id"] for one in group.tries if one["reason_class"] == "capability_error"}
    over = [one["id"] for one in group.validators if one["state"] == "superseded" and one["id"] not in spoke]
    return sum(TRIES if unit in crashed else 1 for unit in over)


def _read(group: Group, attempt: dict[str, Any], ballots: Ballots, steps: Steps) -> Said:
    """The try's verdict, which ends it; results are numbered by the ids of their attempts."""
    results = sorted(one["id"] for one in group.reported())
    groups = _groups_in(attempt["id"], len(results), ballots)
    steps.units.append((attempt["unit_id"], "superseded", "", 0))
    if groups is None:
        steps.verdicts.append((attempt["id"], "superseded", "superseded", "inconclusive", "it gave no verdict that can be read"))
        if _broken_tries(group) + 1 >= TRIES:
            return _broken("the capability's validator gave no verdict, twice")
        return Said(_nothing, equal, WAIT, asks=True)
    steps.verdicts.append((attempt["id"], "superseded", "", "validated", ""))
    found = {results[number]: place for place, numbers in enumerate(groups) for number in numbers}
    return Said(found.get, _same)


def _same(one: Any, other: Any) -> bool:
    return one is not None and bool(one == other)


def _groups_in(attempt: int, results: int, ballots: Ballots) -> list[list[int]] | None:
    sha256, size = ballots.files().get(attempt, {}).get("verdict.json", ("", 0))
    if not sha256 or size > MAX_VERDICT:
        return None
    return lists_in(storage.read_bytes(sha256, size), results)


def lists_in(content: bytes, results: int) -> list[list[int]] | None:
    """The groups of a verdict.json over so many results. None for anything that is no such verdict. Pure."""
    try:
        said = orjson.loads(content)
    except ValueError:
        return None
    groups = said.get("groups") if isinstance(said, dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        return None
    numbers = [number for group in groups for number in group]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < results for n in numbers)
    return groups if whole and len(set(numbers)) == len(numbers) else None


def validators_needs(groups: list[Group]) -> dict[int, int]:
    """The need of the validator, by `id(group)`; rows are made for those that are new."""
    if not groups:
        return {}
    kinds = {(group.task, group.members[0]["stage"]): group.context.task for group in groups}
    documents = {kind: need_of(task, stage=VALIDATES + kind[1], inputs=[]) for kind, task in kinds.items()}
    keys = {kind: key_of(document) for kind, document in documents.items()}
    Need.objects.bulk_create(
        [Need(key=keys[kind], document=document) for kind, document in documents.items()], ignore_conflicts=True
    )
    made = dict(Need.objects.filter(key__in=set(keys.values())).values_list("key", "id"))
    return {id(group): made[keys[group.task, group.members[0]["stage"]]] for group in groups}

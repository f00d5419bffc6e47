"""Who gives the next result of a unit: siblings that look for a pool, never on one of an owner who has one.

Usually one looks at a time. Under `commit_reveal` all that the policy asks for look at once; each may look in a share of
the owners that is its own, so that they stay apart wherever they are placed. Shares are dealt anew with every look, so
the last that looks has all owners that are left.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from django.conf import settings

from marketplace.models import Pool
from marketplace.stages import VALIDATES
from scheduler.matching import ClassState, feasible_arcs
from scheduler.models import Need
from scheduler.needs import key_of, narrowed
from scheduler.services.groups import OPEN, PENDING, Group, Steps
from scheduler.services.validating import validators_needs
from scheduler.snapshots import documents_of, market
from scheduler.sql import rows
from scheduler.verification.shares import dealt
from scheduler.verification.voting import Verdict

_POOLS_OF: Final = "SELECT organization_id, id FROM marketplace_pool WHERE organization_id = ANY(%s) ORDER BY id"
_ALL_POOLS: Final = "SELECT organization_id, id FROM marketplace_pool WHERE state <> 'retired' ORDER BY id"


def wants_siblings(group: Group, verdict: Verdict) -> bool:
    """Whether more siblings are to look for a pool now, or those that look are to be dealt new shares."""
    if group.context.policy.commit_reveal and (group.in_state("waiting", "blocked") or verdict.kind == "more"):
        return True
    return (verdict.kind == "more" or bool(group.in_state("blocked"))) and not group.in_state(*OPEN)


def ask_for_more(groups: list[Group], words: list[Group], steps: Steps) -> None:
    """A sibling that was sent back looks for a pool again, or a new one does: never on a pool of an owner who has one.

    A validator (`words`) runs where none of the results comes from.
    """
    if not (groups or words):
        return
    at_once = [group for group in groups if group.context.policy.commit_reveal]
    pools = _pools_of(groups, words, everybody=bool(at_once))
    needs = _needs(groups) | validators_needs(words)
    able = _able({needs[id(group)] for group in at_once})
    for group in groups:
        if group.context.policy.commit_reveal:
            _seek_at_once(group, pools, able[needs[id(group)]], needs[id(group)], steps)
        else:
            apart = _as_text(sorted({*_set_apart(group.owners(), pools), *_kept_apart(group)}))
            _seek(group.members, group.members[0], 0, apart, needs[id(group)], steps)
    for group in words:
        apart = _as_text(_set_apart(group.no_judges(), pools))
        _seek(group.validators, group.members[0], VALIDATES, apart, needs[id(group)], steps)


def _pools_of(groups: list[Group], words: list[Group], *, everybody: bool) -> dict[int, list[int]]:
    """Pools by their owner: of all owners, or of those that have given results."""
    owners = {owner for group in groups for owner in group.owners()} | {o for group in words for o in group.no_judges()}
    pools: dict[int, list[int]] = defaultdict(list)
    for owner, pool in rows(_ALL_POOLS) if everybody else rows(_POOLS_OF, [sorted(owners)]):
        pools[owner].append(pool)
    return pools


def _set_apart(owners: set[int], pools: dict[int, list[int]]) -> list[int]:
    return sorted(pool for owner in owners for pool in pools.get(owner, ()))


def _kept_apart(group: Group) -> set[int]:
    """What a run of a delivered result again is set apart from: the owner who was caught never takes it.

    And a canary that its pool lost, from all others: it is meant for that pool. Only a word against the capability is for
    others to confirm.
    """
    kept = {pool for member in group.members if member["rechecks"] for pool in member["apart"]}
    if group.context.known and not any(one["reason_class"] == "capability_error" for one in group.attempts):
        kept |= set(group.members[0]["apart"])
    return kept


def _as_text(pools: list[int]) -> str:
    return "{" + ",".join(str(pool) for pool in pools) + "}"


def _seek(siblings: list[dict[str, Any]], first: dict[str, Any], stage: int, apart: str, need: int, steps: Steps) -> None:
    blocked = [one for one in siblings if one["state"] == "blocked"]
    if blocked:
        steps.units.append((blocked[0]["id"], "waiting", apart, need))
    else:
        replica = siblings[-1]["replica"] + 1 if siblings else 0
        steps.asked.append((first["id"], apart, need, replica, first["stage"] + stage))


def _seek_at_once(group: Group, pools: dict[int, list[int]], able: set[int], need: int, steps: Steps) -> None:
    """All siblings that lack a pool look, each in its own share of the owners who have none yet."""
    owner_of = {pool: owner for owner, listed in pools.items() for pool in listed}
    taken = group.owners() | {owner_of[one["pool_id"]] for one in group.in_state("placed") if one["pool_id"] in owner_of}
    free = set(pools) - taken
    looking = group.in_state("waiting", "blocked")
    fresh = _lacking(group, len(able & free) - len(looking))
    shares = dealt(settings.SECRET_KEY, f"{group.task}:{group.members[0]['stage']}", free, able, len(looking) + fresh)
    aparts = [_set_apart(taken | (free - share), pools) for share in shares]
    for one, apart in zip(looking, aparts, strict=False):
        if one["state"] == "blocked" or one["apart"] != apart:
            steps.units.append((one["id"], "waiting", _as_text(apart), need))
    first, replica = group.members[0], group.members[-1]["replica"]
    for apart in aparts[len(looking) :]:
        replica += 1
        steps.asked.append((first["id"], _as_text(apart), need, replica, first["stage"]))


def _lacking(group: Group, able: int) -> int:
    """How many new siblings begin to look: what the policy wants first, or one more, as far as owners can take them now.

    Where none can, one waits for whoever comes.
    """
    policy, pending = group.context.policy, len(group.in_state(*PENDING))
    wanted = policy.initial - len(group.voters()) - pending
    if not pending:
        wanted = max(wanted, 1)
    if not group.in_state("waiting", "blocked"):
        able = max(able, 1)
    return max(0, min(wanted, policy.max_total - len(group.members), able))


def _able(needs: set[int]) -> dict[int, set[int]]:
    """The owners who could take each need now: their pools are online, and fit."""
    if not needs:
        return {}
    classes = [ClassState(need, document, 1) for need, document in documents_of(needs).items()]
    snapshot = market(classes, with_load=False)
    owners = dict(Pool.objects.filter(pk__in=[pool.id for pool in snapshot.pools]).values_list("pk", "organization_id"))
    return {one.need_id: {owners[arc.pool.id] for arc in feasible_arcs(one, snapshot)[0]} for one in classes}


def _needs(groups: list[Group]) -> dict[int, int]:
    """The need of the next sibling, by `id(group)`: narrowed to what the first ran on where the policy says so."""
    needs = {id(group): int(group.members[0]["need_id"]) for group in groups}
    narrow = [group for group in groups if group.context.policy.homogeneous and group.attempts]
    if not narrow:
        return needs
    documents = documents_of({needs[id(group)] for group in narrow})
    ran = {id(group): group.attempts[0] for group in narrow}
    wanted = {one: narrowed(documents[needs[one]], first["instruction_set"], first["variant"]) for one, first in ran.items()}
    keys = {group: key_of(document) for group, document in wanted.items()}
    Need.objects.bulk_create(
        [Need(key=keys[group], document=document) for group, document in wanted.items()], ignore_conflicts=True
    )
    made = dict(Need.objects.filter(key__in=set(keys.values())).values_list("key", "id"))
    return needs | {group: made[key] for group, key in keys.items()}

"""Which pool keeps which copy: the pure part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marketplace.replication import MIB, Store, Wish, assign, overflow


def a_store(number: int, mib: int = 10, region: int = 1, **lists: frozenset[str]) -> Store:
    return Store(number, f"CN-{number}", region, mib * MIB, **lists)


def a_wish(number: int, mib: int = 1, content: str | None = None, region: int = 1) -> Wish:
    return Wish(number, content or f"{number}", mib * MIB, region, "acme")


def test_a_copy_goes_to_the_pool_of_its_region_that_has_most_room() -> None:
    stores = [a_store(1, 10), a_store(2, 20), a_store(3, 90, region=2)]
    assert assign([a_wish(7)], stores) == {7: 2}


def test_whoever_keeps_the_content_already_takes_it_for_the_next_one_too_though_it_is_full() -> None:
    stores = [a_store(1, 4), a_store(2, 20)]
    stores[0].kept["same"] = 4 * MIB
    assert assign([a_wish(7, 4, "same")], stores) == {7: 1}
    assert stores[0].free_bytes == 0


def test_nobody_keeps_what_its_owner_is_not_welcome_with() -> None:
    stores = [a_store(1, deny=frozenset({"acme"})), a_store(2, allow=frozenset({"others"}))]
    assert assign([a_wish(7)], stores) == {}


def test_what_came_last_leaves_a_store_that_became_smaller() -> None:
    store = a_store(1, 5)
    store.kept = {"old": 3 * MIB, "new": 3 * MIB, "newest": MIB}
    assert overflow(store) == ["newest", "new"]
    assert store.kept == {"old": 3 * MIB}


SIZES = {"a": 0, "b": 1, "c": 3, "d": 5, "e": 8}
contents = st.sampled_from(sorted(SIZES))
regions = st.integers(1, 2)
wishes = st.builds(lambda number, sha, region: a_wish(number, SIZES[sha], sha, region), st.integers(1, 40), contents, regions)
stores = st.builds(a_store, st.integers(1, 6), st.integers(0, 20), regions)


@given(st.lists(wishes, unique_by=lambda one: one.id), st.lists(stores, unique_by=lambda one: one.pool_id))
def test_no_store_is_overfilled_and_no_wish_left_that_a_store_still_takes(asked: list[Wish], there: list[Store]) -> None:
    given_to = assign(asked, there)
    by_id = {store.pool_id: store for store in there}
    assert all(store.free_bytes >= 0 for store in there)
    for wish in asked:
        if wish.id in given_to:
            store = by_id[given_to[wish.id]]
            assert store.region_id == wish.region_id
            assert wish.sha256 in store.kept
        else:
            assert not any(store.takes(wish) for store in there)

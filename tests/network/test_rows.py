"""The network's rows: imports in a constant number of statements, bookings that never pass a link, the kept snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from marketplace.models import Region
from scheduler import network_snapshot
from scheduler.models import NetworkLink, NetworkNode, Reservation
from scheduler.network_snapshot import network, read_network, routes
from scheduler.services.network import Wish, import_topology, release, reserve
from tests.builders_network import a_link, a_node, a_wish, the_provinces
from tests.network.graphs import NAMES, TOPOLOGIES, topology

pytestmark = pytest.mark.django_db


def statements(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        work()
    return len(queries)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_topology_is_imported_and_read_back(name: str) -> None:
    the_provinces()
    done = import_topology(topology(name))
    graph = read_network(timezone.now()).graph
    assert (
        (len(graph.nodes), len(graph.links)) == (done.nodes, done.links) == (len(topology(name).nodes), len(topology(name).links))
    )
    assert {one.domain for one in graph.links.values()} == {name.lower()}


def test_chinanet_serves_all_provinces_and_gives_every_pair_a_route() -> None:
    the_provinces()
    done = import_topology(topology("Chinanet"))
    assert len(done.regions) == 31
    found = network_snapshot.read_network(timezone.now()).routes()
    assert len(found) == 31 * 31
    assert 0.005 < found["beijing", "shanghai"].latency_s < 0.02


def test_an_import_asks_no_more_for_a_larger_topology() -> None:
    the_provinces()
    small = statements(lambda: import_topology(topology("Cernet")))
    assert statements(lambda: import_topology(topology("Chinanet"))) == small <= 8
    assert statements(lambda: import_topology(topology("Chinanet"), replace=True)) <= 9


def test_a_network_is_imported_once_unless_it_is_replaced() -> None:
    import_topology(topology("Cernet"))
    with pytest.raises(Conflict, match="there already"):
        import_topology(topology("Cernet"))
    ids = set(NetworkLink.objects.values_list("pk", flat=True))
    assert import_topology(topology("Cernet"), replace=True).replaced == 41
    assert NetworkLink.objects.count() == 118
    assert not ids & set(NetworkLink.objects.values_list("pk", flat=True))


def test_a_network_with_bookings_to_come_is_not_replaced() -> None:
    import_topology(topology("Cernet"))
    link = NetworkLink.objects.first()
    number = reserve(a_wish(link, mbps=1)).number
    with pytest.raises(Conflict, match="release it first"):
        import_topology(topology("Cernet"), replace=True)
    assert release([number]) == 1
    import_topology(topology("Cernet"), replace=True)


def test_a_network_whose_names_another_one_has_is_refused_whole() -> None:
    a_node("cernet-beijing", domain="mine")
    with pytest.raises(Conflict, match="in another network"):
        import_topology(topology("Cernet"))
    assert NetworkNode.objects.count() == 1


def test_the_command_imports_and_lists_what_it_decided() -> None:
    the_provinces()
    out = StringIO()
    call_command("import_topology", str(TOPOLOGIES / "Chinanet.gml"), stdout=out)
    said = out.getvalue()
    assert "note: Hong Kong: misplaced in the file" in said
    assert "chinanet: 42 nodes, 132 links; 31 regions served" in said
    call_command("import_topology", str(TOPOLOGIES / "Chinanet.gml"), "--replace", "--price-per-gb", "0.1", stdout=out)
    assert "in place of 42 nodes" in out.getvalue()
    assert float(NetworkLink.objects.first().price_per_gb) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"graph [ node [ id 0", "is it cut"), (b"\xff\xfe", "not UTF-8"), (b"graph [ ]", "no nodes"), (None, "No such file")],
)
def test_the_command_refuses_files_that_it_cannot_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "net.gml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=said):
        call_command("import_topology", str(file))
    assert NetworkNode.objects.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_p50_s": 0.0},
        {"latency_p90_s": 0.001},
        {"latency_p90_s": float("nan")},
        {"latency_p90_s": float("inf")},
        {"free_mbps": 2000.0},
        {"free_mbps": -1.0},
        {"free_mbps": float("nan")},
        {"loss": 1.5},
        {"jitter_p99_s": -1.0},
        {"price_per_gb": "-1"},
        {"carbon_g_per_gb": float("nan")},
        {"origin": "hearsay"},
    ],
)
def test_the_database_refuses_values_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        a_link("a", "b", **wrong)


def test_a_link_joins_two_different_nodes() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        a_link("a", "a")


# -- bookings ---------------------------------------------------------------------------------------------------------


def test_bookings_add_up_to_the_capacity_and_no_further() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    reserve(a_wish(link, mbps=60))
    with pytest.raises(Conflict) as refused:
        reserve(a_wish(link, mbps=41))
    assert (refused.value.code, refused.value.data) == ("link_booked_out", {"link": link.pk, "free_mbps": 40})
    reserve(a_wish(link, mbps=40))
    reserve(a_wish(link, mbps=100, start_h=2))


def test_a_path_is_booked_whole_or_not_at_all() -> None:
    wide, narrow = a_link("a", "b"), a_link("b", "c", capacity_mbps=10, free_mbps=10)
    with pytest.raises(Conflict):
        reserve(a_wish(wide, narrow, mbps=11))
    assert Reservation.objects.count() == 0
    number = reserve(a_wish(wide, narrow, mbps=10)).number
    assert Reservation.objects.filter(booking=number).count() == 2


def test_bursts_leave_room_for_deterministic_traffic() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    with pytest.raises(Conflict):
        reserve(a_wish(link, mbps=71, kind="burst"))
    reserve(a_wish(link, mbps=70, kind="burst"))
    reserve(a_wish(link, mbps=30))


def test_what_is_given_back_is_free_again_and_is_given_back_once() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    number = reserve(a_wish(link, mbps=100)).number
    assert [release([number]), release([number]), release([uuid4()])] == [1, 0, 0]
    reserve(a_wish(link, mbps=100))


def test_a_booking_takes_as_many_statements_for_many_links() -> None:
    links = [a_link(f"a{i}", f"a{i + 1}") for i in range(20)]
    few = statements(lambda: reserve(a_wish(*links[:2], mbps=1)))
    assert statements(lambda: reserve(a_wish(*links, mbps=1))) == few <= 5


def test_wishes_that_make_no_sense_are_refused() -> None:
    link = a_link("a", "b")
    now = timezone.now()
    hour = timedelta(hours=1)
    for odd in ({}, {"mbps": 1}, {"mbps": 1, "bytes": 1, "end": now + hour}, {"bytes": 1, "seconds": 5.0}):
        with pytest.raises(Invalid, match="mbps and end, mbps and seconds, or bytes and end"):
            reserve(Wish([link.pk], now, **odd))
    with pytest.raises(Invalid, match="the end is after"):
        reserve(Wish([link.pk], now + hour, now + hour, 1, "burst"))
    with pytest.raises(Invalid, match="is over"):
        reserve(Wish([link.pk], now - hour, now, 1, "burst"))
    with pytest.raises(Invalid, match="different links"):
        reserve(Wish([link.pk, link.pk], now, now + hour, 1, "burst"))
    with pytest.raises(Invalid, match="different links"):
        reserve(Wish([], now, now + hour, 1, "burst"))
    with pytest.raises(NotFound):
        reserve(Wish([link.pk, 2**40], now, now + hour, 1, "burst"))


def test_what_may_wait_is_booked_as_early_as_possible() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    first = reserve(a_wish(link, mbps=60))
    now = timezone.now()
    soon = reserve(Wish([link.pk], now - timedelta(hours=3), mbps=40, seconds=4 * 3600.0))
    assert (soon.start - now).total_seconds() == pytest.approx(0, abs=5)
    release([soon.number])
    assert reserve(Wish([link.pk], now, mbps=100, seconds=60.0)).start == first.end
    with pytest.raises(Conflict, match="never"):
        reserve(Wish([link.pk], now, mbps=101, seconds=60.0))


def test_bytes_get_the_rate_that_brings_them_over_in_time() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    now = timezone.now()
    booked = reserve(Wish([link.pk], now, now + timedelta(hours=1), bytes=700_000_000, kind="burst"))
    assert booked.mbps == 70
    assert (booked.start - now).total_seconds() == pytest.approx(0, abs=5)
    assert (booked.end - booked.start).total_seconds() == pytest.approx(80)
    with pytest.raises(Conflict, match=r"no 16\d\d Mbit/s left"):
        reserve(Wish([link.pk], now, now + timedelta(seconds=10), bytes=2_000_000_000, kind="burst"))


@pytest.mark.django_db(transaction=True)
def test_two_who_book_at_once_never_get_more_than_there_is() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=100)
    wish = a_wish(link, mbps=30)
    refused: list[str] = []

    def book() -> None:
        try:
            reserve(wish)
        except Conflict as error:
            refused.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=book) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["link_booked_out"] * 3
    assert sum(Reservation.objects.values_list("mbps", flat=True)) == 90


# -- the kept snapshot ------------------------------------------------------------------------------------------------


def test_a_snapshot_is_kept_until_something_changes() -> None:
    link = a_link("a", "b", regions=("hebei", "henan"))
    first = network()
    assert statements(network) == 1
    assert network() is first
    link.latency_p90_s = 0.5
    link.save()
    assert network() is not first
    assert routes()["hebei", "henan"].latency_s == pytest.approx(0.5, rel=0.01)
    assert statements(network) == 1
    NetworkLink.objects.all().delete()
    assert ("hebei", "henan") not in routes()


def test_a_snapshot_takes_as_many_statements_for_a_larger_network() -> None:
    import_topology(topology("Chinanet"))
    assert statements(lambda: read_network(timezone.now())) == 3


def test_what_is_booked_now_is_not_free_now() -> None:
    link = a_link("a", "b", capacity_mbps=100, free_mbps=90.0)
    reserve(a_wish(link, mbps=30, start_h=-1))
    reserve(a_wish(link, mbps=30, start_h=5))
    assert network().graph.links[link.pk].free_mbps == 70


def test_ages_count_from_the_measurement() -> None:
    link = a_link("a", "b", measured_at=timezone.now() - timedelta(hours=2))
    assert network().graph.links[link.pk].age_s == pytest.approx(7200, abs=5)


def test_regions_have_routes_only_where_links_lead() -> None:
    a_link("a", "b", regions=("hebei", "henan"))
    assert Region.objects.filter(code="hebei").exists()
    assert set(routes()) == {("hebei", "hebei"), ("henan", "henan"), ("hebei", "henan")}

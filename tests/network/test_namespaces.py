"""Real packets take the chosen path: Chinanet's core as namespaces, the emitted SRv6 commands, interface counters.

Needs CAP_NET_ADMIN and a kernel with SRv6. Where it is tried and refused, the tests are skipped and say what was refused.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from scheduler.network.graph import Graph
from scheduler.network.paths import Path, alternatives
from scheduler.network.segments import Igp, Policy, expand, interface, segments_of
from tests.network.graphs import real_graph
from tests.network.namespaces import Routers, why_not

CORE = ("beijing", "shanghai", "guangzhou", "xi-an", "nanjing", "chengdu", "wuhan", "hong-kong")
PACKETS = 40
NOISE = 12  # neighbour discovery on a link during one measurement
REFUSED = why_not()
pytestmark = [
    pytest.mark.skipif(bool(REFUSED), reason=f"this machine cannot forward SRv6 between namespaces: {REFUSED}"),
    pytest.mark.timeout(240),
]


def core() -> Graph:
    """The sub-graph of Chinanet between eight cities, links as imported."""
    whole = real_graph("Chinanet")
    names = {f"chinanet-{one}" for one in CORE}
    links = [one for one in whole.links.values() if {one.source, one.target} <= names]
    return Graph([whole.nodes[name] for name in sorted(names)], links)


@pytest.fixture(scope="module")
def routers() -> Iterator[Routers]:
    made = Routers(core())
    try:
        made.build()
        yield made
    finally:
        made.remove()


def steer(routers: Routers, path: Path) -> Policy:
    """Install the emitted command at the path's headend."""
    policy = Policy(path, segments_of(Igp(routers.graph), path), 3)
    routers.shell(path.nodes[0], policy.iproute2(routers.graph))
    return policy


def arrived(sender: socket.socket, receiver: socket.socket, count: int) -> int:
    for number in range(count):
        sender.sendto(number.to_bytes(4, "big") + b"x" * 100, receiver.getsockname()[:2])
    got = set()
    while len(got) < count:
        try:
            got.add(receiver.recv(2000)[:4])
        except TimeoutError:
            break
    return len(got)


def links_taken(routers: Routers, path: Path) -> set[int]:
    """The links whose interfaces sent what went from the path's one end to its other."""
    with routers.socket(path.nodes[0]) as sender, routers.socket(path.nodes[-1]) as receiver:
        arrived(sender, receiver, 1)  # neighbours get to know each other
        before = routers.sent()
        assert arrived(sender, receiver, PACKETS) == PACKETS
        after = routers.sent()
    moved = {link: after[link] - before[link] for link in after}
    assert all(count <= NOISE or count >= PACKETS for count in moved.values()), moved
    return {link for link, count in moved.items() if count >= PACKETS}


def test_for_every_pair_packets_take_the_fastest_path_and_then_another_one(routers: Routers) -> None:
    graph = routers.graph
    pairs = [(a, b) for a in graph.nodes for b in graph.nodes if a != b]
    assert len(pairs) == 56
    adjacencies = detours = 0
    for source, target in pairs:
        paths = alternatives(graph.edges, source, target, 5)
        for path in (paths[0], paths[-1]):
            policy = steer(routers, path)
            assert links_taken(routers, path) == set(path.links), (path.nodes, policy.segments)
            adjacencies += any(one.link is not None for one in policy.segments)
            detours += path.links != Igp(graph).way(source, target)
    assert detours > 50
    assert adjacencies > 5


def test_without_a_policy_packets_take_the_routers_own_way(routers: Routers) -> None:
    """So that the test above shows what the policies do."""
    source, target = "chinanet-beijing", "chinanet-guangzhou"
    path = alternatives(routers.graph.edges, source, target, 5)[-1]
    steer(routers, path)
    assert links_taken(routers, path) == set(path.links)
    routers.shell(source, f"ip -6 route del {routers.graph.nodes[target].address}/128")
    own = Igp(routers.graph).way(source, target)
    assert links_taken(routers, path) == set(own) != set(path.links)


def test_what_the_kernel_did_is_what_the_list_expands_to(routers: Routers) -> None:
    path = alternatives(routers.graph.edges, "chinanet-chengdu", "chinanet-hong-kong", 8)[-1]
    policy = steer(routers, path)
    assert expand(Igp(routers.graph), path.nodes[0], policy.segments) == path.links
    assert links_taken(routers, path) == set(path.links)


@pytest.mark.parametrize("mbit", [20, 60])
def test_the_path_has_the_bandwidth_of_its_narrowest_link(routers: Routers, mbit: int) -> None:
    path = alternatives(routers.graph.edges, "chinanet-beijing", "chinanet-chengdu", 4)[-1]
    policy = steer(routers, path)
    narrow = routers.graph.links[path.links[-1]]
    dev = interface(narrow.id)
    shape = f"tc qdisc add dev {dev} root handle 1: htb default 1\ntc class add dev {dev} parent 1: classid 1:1 htb rate {mbit}mbit"
    routers.shell(narrow.source, shape)
    try:
        measured = megabits_through(routers, path, size=1200, seconds=1.5)
    finally:
        routers.shell(narrow.source, f"tc qdisc del dev {dev} root")
    # Ethernet, outer IPv6, the segment routing header, inner IPv6, UDP: what HTB counts beside the payload.
    overhead = 14 + 40 + 8 + 16 * len(policy.segments) + 40 + 8
    assert measured == pytest.approx(mbit * 1200 / (1200 + overhead), rel=0.1)


def megabits_through(routers: Routers, path: Path, *, size: int, seconds: float) -> float:
    """Payload that arrives per second while more is sent than fits: from the first packet of the measure to its last."""
    with routers.socket(path.nodes[0]) as sender, routers.socket(path.nodes[-1]) as receiver:
        receiver.setblocking(False)
        sender.setblocking(False)
        target, payload = receiver.getsockname()[:2], b"x" * size
        began = time.perf_counter()
        start, last, count = began + 0.3, began, 0  # the shaper's first burst is not the rate
        while (now := time.perf_counter()) < began + 0.3 + seconds:
            try:
                sender.sendto(payload, target)
            except (BlockingIOError, OSError):
                time.sleep(0.0005)
            while True:
                try:
                    receiver.recv(2000)
                except BlockingIOError:
                    break
                if now >= start:
                    count, last = count + 1, now
        return count * size * 8 / 1e6 / (last - start)

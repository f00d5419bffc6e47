"""Routers as network namespaces of this machine, joined like a graph: its links are veth pairs, its IGP is static routes.

What steers packets is installed by running the commands that the product emits, as they stand.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.network.graph import Graph
from scheduler.network.segments import Igp, interface, local_commands, near_end, next_hop

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*words: str, given: str = "") -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr.strip()}\n{given}")
    return done.stdout


def why_not() -> str:
    """Why this machine cannot forward SRv6 packets between namespaces, found by trying; "" if it can."""
    name = f"gf-{uuid.uuid4().hex[:8]}"
    tried = [
        f"ip netns add {name}",
        f"ip -n {name} link add one type veth peer name two",
        f"ip -n {name} link set one up",
        f"ip -n {name} -6 route add fc00:1::e/128 encap seg6local action End dev one",
        f"ip -n {name} -6 route add fc00:1:1::/128 encap seg6local action End.X nh6 fe80::1 dev one",
        f"ip -n {name} -6 route add fc00:2::1/128 encap seg6 mode encap segs fc00:1::e,fc00:2::d dev one",
        f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.seg6_enabled=1",
        f"ip netns exec {name} tc qdisc add dev one root handle 1: htb default 1",
    ]
    try:
        for command in tried:
            done = subprocess.run(command.split(), capture_output=True, text=True, timeout=20)
            if done.returncode:
                return f"`{command}` fails: {done.stderr.strip() or done.returncode}"
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    finally:
        if Path(f"/run/netns/{name}").exists():
            run("ip", "netns", "del", name)
    return ""


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in another network namespace. Sockets made there stay there."""
    own, other = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{name}"))
    try:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Routers:
    """One namespace per node of a graph whose links come in pairs: an odd id, and the way back with the next id."""

    graph: Graph
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:6])

    def space(self, node: str) -> str:
        return f"gf-{self.mark}-{sorted(self.graph.nodes).index(node)}"

    def build(self) -> None:
        for node in self.graph.nodes:
            run("ip", "netns", "add", self.space(node))
            self.shell(node, "ip link set lo up\nsysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0\n")
            for name in ("all", "default", "lo"):
                self.shell(node, f"sysctl -qw net.ipv6.conf.{name}.seg6_enabled=1")
        for number in self.graph.links:
            if number % 2:
                self._join(number)
        for node in self.graph.nodes:
            self._settle(node)

    def _join(self, number: int) -> None:
        """A veth pair for a link and its way back, with the /127 of each of the two."""
        there, back = self.graph.links[number], self.graph.links[number + 1]
        ends = ((there, back), (back, there))
        (near, _), (far, _) = ends
        run(
            *("ip", "link", "add", interface(near.id), "netns", self.space(near.source), "type", "veth"),
            *("peer", "name", interface(far.id), "netns", self.space(far.source)),
        )
        for mine, other in ends:
            dev = interface(mine.id)
            addresses = (near_end(mine), next_hop(other))
            lines = [f"ip link set {dev} up", f"sysctl -qw net.ipv6.conf.{dev}.seg6_enabled=1"]
            lines += [f"ip -6 addr add {address}/127 dev {dev} nodad" for address in addresses]
            self.shell(mine.source, "\n".join(lines))

    def _settle(self, node: str) -> None:
        """A router's own addresses, its segments as the product emits them, and its shortest paths."""
        own, igp = self.graph.nodes[node], Igp(self.graph)
        lines = [f"ip -6 addr add {address}/128 dev lo nodad" for address in (own.address, own.decap_sid)]
        lines += [f"ip sr tunsrc set {own.address}", *local_commands(self.graph, node)]
        for target in self.graph.nodes:
            if target != node:
                first = igp.way(node, target)[0]
                via = f"via {next_hop(self.graph.links[first])} dev {interface(first)}"
                lines.append(f"ip -6 route add {self.graph.nodes[target].locator} {via}")
        self.shell(node, "\n".join(lines))

    def shell(self, node: str, commands: str) -> None:
        """Run commands in a node's namespace, as they stand."""
        run("ip", "netns", "exec", self.space(node), "sh", "-e", given=commands + "\n")

    def remove(self) -> None:
        for node in self.graph.nodes:
            if Path(f"/run/netns/{self.space(node)}").exists():
                run("ip", "netns", "del", self.space(node))

    def socket(self, node: str) -> socket.socket:
        """A UDP socket at a node's own address."""
        with inside(self.space(node)):
            made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.bind((self.graph.nodes[node].address, 0))
        made.settimeout(5)
        return made

    def sent(self) -> dict[int, int]:
        """Packets that each link's interface has sent so far."""
        found: dict[int, int] = {}
        for node in self.graph.nodes:
            with inside(self.space(node)):
                lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
            for line in lines:
                name, _, counters = line.partition(":")
                if name.strip().startswith("gf"):
                    found[int(name.strip()[2:])] = int(counters.split()[9])
        return found

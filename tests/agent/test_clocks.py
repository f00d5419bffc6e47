"""Clocks that jump: only the platform's counts, and the agent's own sense of time is one that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gridfare.agent.notice import Notice

from .conftest import Join
from .platform import Platform, Refusal, spec
from .programs import python

DAY_NS = 86_400 * 10**9
Jump = Callable[[int], None]


@pytest.fixture
def jump(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Moves this machine's wall clock by so many nanoseconds; the platform keeps the true time."""
    real_ns, real, offset = time.time_ns, time.time, [0]
    platform.clock_ms = lambda: real_ns() // 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + offset[0])
    monkeypatch.setattr(time, "time", lambda: real() + offset[0] / 1e9)

    def to(nanoseconds: int) -> None:
        offset[0] = nanoseconds

    return to


@pytest.mark.parametrize("first", [3 * DAY_NS, -3 * DAY_NS, 3600 * 10**9, -3600 * 10**9, 90 * 10**9])
def test_no_lease_is_lost_when_the_wall_clock_jumps_there_and_back(platform: Platform, join: Join, jump: Jump, first: int) -> None:
    platform.lease_s = 8.0
    (attempt,) = platform.offer(spec(python("import time; time.sleep(3)")))
    machine = join().start()
    platform.until(lambda: attempt in platform.live)
    time.sleep(0.7)
    jump(first)
    time.sleep(0.7)
    jump(-first)
    assert platform.report_of(attempt)["outcome"] == "done"
    assert not platform.refused
    assert machine.loop.line.failures == 0


@pytest.mark.parametrize("leap", [3 * DAY_NS, -3 * DAY_NS])
def test_no_lease_is_thought_longer_when_the_wall_clock_jumps_while_the_platform_is_away(
    platform: Platform, join: Join, jump: Jump, leap: int
) -> None:
    """Four of eight seconds without an answer, and the agent ends what it cannot renew: neither at once nor later."""
    platform.lease_s = 8.0
    (attempt,) = platform.offer(spec(python("import time; time.sleep(60)")))
    join().start()
    platform.until(lambda: any(row[0] == attempt for sync in platform.syncs for row in sync["held"]))
    away = [True]

    def before(method: str, path: str) -> None:
        if away[0] and path == "/agent/v1/sync":
            raise Refusal(503, "platform_fault")

    platform.before_answer = before
    began = time.monotonic()
    jump(leap)
    time.sleep(2.0)
    assert attempt in platform.live
    time.sleep(4.0)
    away[0] = False
    report = platform.report_of(attempt)
    assert report["code"] == "lease_unrenewed"
    assert report["usage"]["wall_ms"] / 1000 < time.monotonic() - began + 2
    assert 2.0 < report["usage"]["wall_ms"] / 1000 < 8.0


def test_a_notice_is_counted_on_the_clock_that_nobody_sets(jump: Jump) -> None:
    notice = Notice(lambda: None)
    notice.hear(100.0)
    for leap in (DAY_NS, -DAY_NS):
        jump(leap)
        left = notice.left_s()
        assert left is not None
        assert 99 < left <= 100

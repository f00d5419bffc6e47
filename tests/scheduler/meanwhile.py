"""Races made deterministic: one step stops in the middle of its transaction while another comes between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection, connections

PATIENCE_S = 20
_BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass
class Running:
    """Work in a thread of its own, with a connection of its own. `result` waits for it and raises what it raised."""

    work: Callable[[], Any]
    barrier: threading.Barrier | None = None
    _outcome: list[Any] = field(default_factory=list)
    _error: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Running:
        self.thread.start()
        return self

    def _run(self) -> None:
        try:
            if self.barrier is not None:
                self.barrier.wait(PATIENCE_S)
            self._outcome.append(self.work())
        except Exception as error:  # noqa: BLE001  handed on to who asks for the result
            self._error.append(error)
        finally:
            connections.close_all()

    @property
    def result(self) -> Any:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "it never came to an end"
        if self._error:
            raise self._error[0]
        return self._outcome[0]


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Start all of them at the same barrier; their results in order."""
    barrier = threading.Barrier(len(works))
    running = [Running(work, barrier).start() for work in works]
    return [one.result for one in running]


@contextmanager
def stopped_after(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, work: Callable[[], Any]
) -> Iterator[Running]:
    """Run `work` until it has called `module.name`, then the body, then the rest of `work`. Others pass unhindered."""
    reached, go_on = threading.Event(), threading.Event()
    real = getattr(module, name)

    def stopping(*args: Any, **named: Any) -> Any:
        found = real(*args, **named)
        if threading.current_thread() is first.thread:
            reached.set()
            assert go_on.wait(PATIENCE_S)
        return found

    monkeypatch.setattr(module, name, stopping)
    first = Running(work)
    first.start()
    try:
        assert reached.wait(PATIENCE_S), "it never got there"
        yield first
    finally:
        go_on.set()
        first.thread.join(PATIENCE_S)
        monkeypatch.setattr(module, name, real)


def until_somebody_waits(count: int = 1) -> None:
    """Return when so many connections of this database wait for a lock."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(_BLOCKED)
            if cursor.fetchone()[0] >= count:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")

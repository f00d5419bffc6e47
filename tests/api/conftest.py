"""The agent's door works on rows in threads of its own; these bring them under a test's control."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def agent_door(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door works in the test's own thread, and so in its transaction."""
    from tests.builders_http import answer_in_this_thread  # Django is set up by now, not when this file is read

    answer_in_this_thread(monkeypatch)


@pytest.fixture
def real_agent_door(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real transactions, and a thread of the door whose connection is closed afterwards."""
    from django.db import connections

    from scheduler.api import agents

    with ThreadPoolExecutor(max_workers=1) as threads:
        monkeypatch.setattr(agents, "_threads", threads)
        yield
        threads.submit(connections.close_all).result()

"""`gridfare ...` as somebody types it, against the platform itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import Person, a_key, alice
from tests.typed import typed

Say = Callable[..., Any]


def speaker(server: Any, monkeypatch: pytest.MonkeyPatch, *subject: str) -> Say:
    """Runs `gridfare SUBJECT WORDS` with a fresh key of `by`, alice's unless told."""
    monkeypatch.setenv("GRIDFARE_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, by: Person | None = None) -> Any:
        monkeypatch.setenv("GRIDFARE_KEY", a_key(by or alice()))
        return typed([*subject, *words])

    return run

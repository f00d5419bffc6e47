"""One market for all journeys, started with the first and ended with the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .market import Market, open_market
from .stack import Stack


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Processes of its own, with two agents at work."""
    made = open_market(tmp_path_factory.mktemp("market"))
    yield made
    made.stack.stop()


@pytest.fixture
def stack(market: Market) -> Stack:
    """The market's processes."""
    return market.stack

"""Serves the stand-in for the platform, to look at the command line by hand."""

from __future__ import annotations

import threading

from tests.client import routes_market, routes_money
from tests.client.platform import KEY, POOL, Platform, serving

ROUTES = (routes_market, routes_money)  # importing them adds what they answer

if __name__ == "__main__":
    by_hand = Platform(states=["queued", "running", "running", "delivered"])
    by_hand.pools[POOL] = routes_market.new_pool("west", "ningxia")
    with serving(by_hand, 8765) as address:
        print(address, KEY, flush=True)
        threading.Event().wait()

"""`python -m bench NAME [SIZE ...]`: the benchmarks, each beside its reference (docs/benchmarks.md)."""

from __future__ import annotations

import importlib
import signal
import sys

NAMES = {
    "s1": "results: real processes, beside raw Celery",
    "s2": "control plane: a null executor, beside plain SQL",
    "agents": "a thousand idle agents at one web process",
    "submit": "one task at a time, until it is placed",
    "fused": "placement with the network beside placement without",
    "charge": "measuring and charging alone, beside a plain copy",
    "s5": "usage events with repetitions and contradictions, beside COPY of the same rows",
    "s6": "rating: a million usage records at twenty prices, beside CloudKitty's hashmap",
    "s7": "a billing run: months of 10,000 accounts closed and finalised, beside COPY of the same rows",
    "s3": "the planner: a round of 200 classes over 1,000 pools, beside HiGHS on the whole program",
    "s8": "every peak policy over 4.3 million samples, beside DuckDB and pandas",
    "s9": "the index: ranks under 10,000 drawn weights, a run over 5,000 regions and 200 indicators, pages over ten years",
    "crowded": "the planner: a market at 85 % and 95 % load, beside a cheapest-first greedy",
}


def main(words: list[str]) -> int:
    """Run one benchmark with its sizes; without a name, list them."""
    name, sizes = (words[0] if words else ""), words[1:]
    if name not in NAMES or not all(size.isdecimal() for size in sizes):
        print("usage: make bench ARGS=\"NAME [SIZE ...]\"\n" + "\n".join(f"  {n:8} {what}" for n, what in NAMES.items()))
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the scratch servers are stopped
    importlib.import_module(f"bench.{name}").main([int(size) for size in sizes])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

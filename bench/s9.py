"""S9: the index. Ranks under 10,000 drawn weights, one run over 5,000 regions and 200 indicators, and pages over ten years.

    python -m bench s9 [DRAWS ...]          default 10000, at x 1, x 10 and x 100 of a hundredth of them

Weights are drawn around equal ones for every group of siblings of the report's tree; every draw blends 22 indicators of 31
provinces up four levels and ranks them. The reference for the draws is the same in plain loops over decimals, one draw at a time,
which must rank alike. The run takes the logarithm of every indicator: all values are log-normal, the dearest treatment there is.
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import index
from bench.figures import save, say
from bench.s9_pages import figures_of_pages
from index.analysis.draws import Leaves, drawn_weights, ranks_of
from index.method.numbers import ranks
from index.method.scoring import Method, blend, score
from index.regions import PROVINCES
from index.trees import ROOT, Definition, definition_of, read_definition

SECONDS_OF_DRAWS, SECONDS_OF_RUN, COMPARED = 1.0, 10.0, 20
REGIONS, INDICATORS, GROUPS = 5_000, 200, 10
NAME = {"zh": "x", "en": "x"}


def main(sizes: list[int]) -> None:
    draws = sizes[0] if sizes else 10_000
    drawn = [figures_of(max(draws // part, 1)) for part in (100, 10, 1)]
    save("s9", {"draws": drawn, "run": figures_of_run(), "pages": figures_of_pages()})


def figures_of(draws: int) -> dict[str, Any]:
    """Seconds for drawing, blending and ranking."""
    tree = read_definition((Path(index.__file__).parent / "definitions" / "cpsdi-2023@1.yaml").read_text())
    random = Random(9)
    observed = {code: {region: Decimal(random.randint(1, 10**6)) for region in PROVINCES} for code in tree.variables}
    weights = dict.fromkeys(tree.nodes, Decimal(1))
    method = Method.of(tree)
    result = score(tree, "national", weights, observed, method)
    began = time.perf_counter()
    leaves = Leaves.of(result.normalised)
    drawn = drawn_weights(tree.tree("national"), weights, draws, 9)
    found = ranks_of(tree.tree("national"), drawn, leaves, "arithmetic", 0.65)
    seconds = time.perf_counter() - began
    slow, equal = one_by_one(tree, drawn, result.normalised, method, found)
    bar = f", bar {SECONDS_OF_DRAWS:g} s: {'reached' if seconds < SECONDS_OF_DRAWS else 'MISSED'}" if draws == 10_000 else ""
    each = f"{seconds / draws * 1e6:,.1f} us each; in decimals {slow * 1e6:,.0f} us; ranks equal: {equal}"
    say(f"  {draws:,} draws {seconds:.3f} s, {each}{bar}")
    return {"draws": draws, "seconds": seconds, "decimals_s_each": slow, "equal": equal}


def one_by_one(tree: Definition, drawn: Any, normalised: Any, method: Method, found: Any) -> tuple[float, bool]:
    """Seconds for each of the first draws in decimals, and whether they rank alike."""
    regions, count = sorted(PROVINCES), min(COMPARED, len(found))
    began, equal = time.perf_counter(), True
    for number in range(count):
        weights = {code: Decimal(float(values[number])) for code, values in drawn.items()}
        scores = blend(tree.tree("national"), weights, normalised, method)[ROOT]
        places = ranks(scores)
        equal &= [places[region] for region in regions] == [int(rank) for rank in found[number]]
    return (time.perf_counter() - began) / count, equal


def figures_of_run() -> dict[str, Any]:
    """Seconds of one run of exact decimals."""
    variables = {f"v{n}": {"profile": "national", "unit": "count", "name": NAME} for n in range(INDICATORS)}
    leaf = {"name": NAME, "unit": "count", "direction": "up"}
    nodes: list[dict[str, Any]] = [{"code": f"G{n}", "parent": ROOT, "name": NAME} for n in range(GROUPS)]
    nodes += [leaf | {"code": f"L{n}", "parent": f"G{n % GROUPS}", "formula": {"national": f"v{n}"}} for n in range(INDICATORS)]
    method = {"normalise": "minmax", "aggregate": "arithmetic", "min_coverage": "0.65", "winsorise": 3, "restandardise": False}
    head = {"code": "large", "version": 1, "name": NAME, "after": "nobody", "regions": "gbt2260-provinces", "method": method}
    tree = definition_of(head | {"profiles": ["national"], "variables": variables, "nodes": nodes})
    values = np.random.default_rng(9).lognormal(3, 1, (INDICATORS, REGIONS)).round(4)
    observed = {
        f"v{n}": {f"{place:06d}": Decimal(repr(one)) for place, one in enumerate(row.tolist())} for n, row in enumerate(values)
    }
    began = time.perf_counter()
    result = score(tree, "national", dict.fromkeys(tree.nodes, Decimal(1)), observed, Method.of(tree))
    seconds = time.perf_counter() - began
    verdict = "reached" if seconds < SECONDS_OF_RUN else "MISSED"
    say(f"  {REGIONS:,} regions x {INDICATORS} indicators {seconds:.1f} s, bar {SECONDS_OF_RUN:g} s: {verdict}")
    return {"regions": REGIONS, "indicators": INDICATORS, "seconds": seconds, "ranked": len(result.ranks)}

"""A synthetic trace of a parallel machine, in the Standard Workload Format: as such machines see them.

Modelled on U. Lublin and D. Feitelson, "The workload on parallel supercomputers", JPDC 63 (2003): sizes are serial, or
two-stage uniform in their logarithm with powers of two preferred; the logarithm of the run time is one of two gammas, the long
one likelier for large jobs; gaps between arrivals are gamma distributed, shorter in working hours. The constants are near the
paper's and not its own, so no result here is comparable with published ones. Users have a few programs each and ask for more
time than they need, in round numbers (after Tsafrir, Etsion and Feitelson 2005).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Final

SERIAL, POWER_OF_TWO, SMALL = 0.24, 0.58, 0.86  # probabilities
ROUND_S: Final = (300, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800)
BY_HOUR: Final = (
    0.45,
    0.4,
    0.35,
    0.3,
    0.3,
    0.35,
    0.45,
    0.7,
    1.1,
    1.5,
    1.7,
    1.7,
    1.5,
    1.5,
    1.7,
    1.7,
    1.6,
    1.4,
    1.2,
    1.0,
    0.9,
    0.8,
    0.7,
    0.55,
)
BEGIN: Final = 1_767_196_800  # 2026-01-01T00:00:00+08:00


def swf_lines(jobs: int, cores: int, *, load: float = 0.9, seed: int = 1) -> Iterator[str]:
    """The lines of a trace for a machine of so many cores, offered this part of what it can do."""
    chance = random.Random(f"swf {seed}")  # noqa: S311  nothing secret is drawn
    drawn = [_job(chance, cores) for _ in range(jobs)]
    mean_gap = sum(size * run_s for size, run_s in drawn) / jobs / cores / load
    yield f"; Computer: synthetic, {cores} cores"
    yield f"; Note: generated, seed {seed}, {jobs} jobs, load {load}"
    yield f"; UnixStartTime: {BEGIN}"
    yield f"; MaxProcs: {cores}"
    at = 0.0
    for number, (size, run_s) in enumerate(drawn, 1):
        at += chance.gammavariate(0.5, 2 * mean_gap) / BY_HOUR[int(at // 3600) % 24]
        user = min(int(chance.expovariate(0.25)), 19)
        program, asked = user * 10 + chance.randrange(3), _asked(chance, run_s)
        memory = chance.choice((524_288, 1_048_576, 2_097_152))
        fields = (number, int(at), -1, run_s, size, -1, -1, size, asked, memory, 1, user, user % 4, program, 1, 1, -1, -1)
        yield " ".join(map(str, fields))


def _job(chance: random.Random, cores: int) -> tuple[int, int]:
    """Cores and seconds."""
    size = _size(chance, cores)
    long = chance.random() > 0.78 - 0.0054 * size
    log_s = chance.gammavariate(312.0, 0.03) if long else chance.gammavariate(4.2, 0.94)
    return size, min(max(round(math.exp(log_s)), 1), ROUND_S[-1])


def _size(chance: random.Random, cores: int) -> int:
    if chance.random() < SERIAL:
        return 1
    top = math.log2(cores)
    middle = max(top - 2.5, 0.8)
    log = chance.uniform(0.8, middle) if chance.random() < SMALL else chance.uniform(middle, top)
    if chance.random() < POWER_OF_TWO:
        log = float(round(log))
    return min(max(round(2**log), 1), cores)


def _asked(chance: random.Random, run_s: int) -> int:
    """A round number at least as long as the run; often a good deal longer."""
    wanted = run_s * chance.choice((1.0, 1.5, 3.0, 10.0))
    return next((one for one in ROUND_S if one >= wanted), ROUND_S[-1])

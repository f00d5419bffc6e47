"""What is generated for a demonstration is marked, the same each time, and of the size that the country has in all."""

from __future__ import annotations

import csv
import io
from collections import defaultdict

import pytest

from index.demo import SAMPLE, sizes_of
from index.generating import SOURCE, generated
from tests.index.builders_index import shipped

# The national totals of provinces_2022.csv: 亿元, 万户.
TOTALS = {"digital_economy": 502_000, "mobile_users": 168_344, "users_5g": 56_100}


def made() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(generated(shipped(), [2022], sizes_of(SAMPLE.read_bytes()), {}).decode())))


def test_the_same_seed_gives_the_same_values_and_each_says_what_it_is() -> None:
    rows = made()
    assert rows == made()
    assert {row["source"] for row in rows} == {SOURCE}


@pytest.mark.parametrize(("variable", "total"), TOTALS.items())
def test_what_is_generated_comes_near_to_what_the_country_has(variable: str, total: int) -> None:
    sums: dict[str, float] = defaultdict(float)
    for row in made():
        sums[row["indicator"]] += float(row["value"])
    assert 0.5 < sums[variable] / total < 2, sums[variable]

"""What a task's units will take, beyond what its manifest says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.splitting import plan_of
from scheduler.demand import with_results
from scheduler.models import Pace
from scheduler.services.expanding import need_of
from tests.builders import a_pool
from tests.builders_tasks import a_manifest, a_task, a_version

MERGE: dict[str, Any] = {"run": ["merge"], "outputs": []}


def seen(version: Any, *, samples: float = 4, stage: int = 0, **sums: float) -> Pace:
    """What finished attempts of a version taught."""
    fields = {"tflop": 1.0, "seconds": 4.0, "tflop_squared": 1.0, "product": 4.0, "seconds_squared": 4.0} | sums
    pool = a_pool()
    return Pace.objects.create(
        capability_version=version, stage=stage, pool=pool, samples=samples, updated_at="2026-01-01T00:00:00Z", **fields
    )


def test_a_plan_of_which_nothing_was_learned_is_what_it_always_was() -> None:
    plan = plan_of(a_manifest(merge=MERGE), {"count": 3}, {})
    assert with_results(plan, {}) == plan
    assert "bytes_out" not in plan


@given(st.integers(0, 2**40))
def test_a_manifest_that_says_what_a_result_weighs_is_believed(size: int) -> None:
    plan = plan_of(a_manifest(demand={"tflop": "1", "bytes_out": str(size)}), {"count": 3}, {})
    assert plan["bytes_out"] == size
    assert with_results(plan, {0: 7})["bytes_out"] == size


@pytest.mark.django_db
def test_what_results_weighed_goes_into_the_need_of_units_and_merge() -> None:
    version = a_version(merge=MERGE)
    seen(version, bytes_out=4 * 1_000)
    seen(version, bytes_out=4 * 3_000)
    seen(version, stage=1, samples=1, bytes_out=100_000)
    task = a_task(version=version, inputs={"count": 2})
    assert need_of(task, stage=0, inputs=[])["bytes_out"] == 2_048
    assert need_of(task, stage=1, inputs=[])["bytes_out"] == 131_072

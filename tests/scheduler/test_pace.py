"""What finished attempts teach about the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st

from marketplace.models import Pool
from scheduler.matching import MIN_RUN_S, UNKNOWN_RUN_S, ClassState, PoolState, run_seconds
from scheduler.models import Attempt, Pace
from scheduler.pace import (
    ANYWHERE,
    Fit,
    Fits,
    expected_and_p90,
    of_samples,
    student_90,
    typical_bytes,
    with_anywhere,
)
from scheduler.scene import state_of
from scheduler.services.expanding import need_of
from scheduler.services.placing import run_round
from scheduler.snapshots import market
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of
from tests.scheduler import values

TFLOP = st.floats(0, 1e6)
SECONDS = st.floats(0.001, 1e6)
SAMPLES = st.lists(st.tuples(TFLOP, SECONDS), min_size=1, max_size=30)


def leased(pool: Pool, *, want: int, seconds_ago: float = 60) -> FakeAgent:
    """An agent that has held what waits for the pool for a while."""
    run_round()
    agent = FakeAgent.of(pool)
    agent.beat(want=want)
    Attempt.objects.filter(pool=pool).update(leased_at=F("leased_at") - timedelta(seconds=seconds_ago))
    return agent


def test_a_line_through_units_of_two_sizes_is_found_whatever_was_predicted() -> None:
    fit = of_samples([(1, 3), (1, 3), (100, 102), (100, 102)])
    assert fit.at(50, slope=1000) == pytest.approx(52, rel=0.5)
    assert fit.at(100, slope=1) == pytest.approx(102, rel=0.01)


def test_with_one_size_seen_the_predicted_slope_leads_to_other_sizes() -> None:
    tests_only = of_samples([(0.02, 0.3)] * 5)
    assert tests_only.at(0.02, slope=8) == pytest.approx(0.3)
    assert tests_only.at(2.02, slope=8) == pytest.approx(16.3)


def test_a_machine_measured_far_too_slow_does_not_blow_up_what_was_seen() -> None:
    """A slope above seconds over work would mean a negative start."""
    assert of_samples([(0.02, 0.3)]).at(0.04, slope=1e6) == pytest.approx(0.6)


def test_work_of_which_the_model_says_nothing_takes_its_mean() -> None:
    assert of_samples([(0, 2), (0, 4)]).at(0, slope=5) == 3


@given(SAMPLES, TFLOP, st.floats(0, 1e6))
def test_an_estimate_is_never_negative_and_never_falls_with_more_work(
    samples: list[tuple[float, float]], tflop: float, slope: float
) -> None:
    fit = of_samples(samples)
    less, more = fit.at(tflop / 2, slope), fit.at(tflop, slope)
    assert -1e-6 * fit.seconds <= less <= more + 1e-6 * abs(more)


@given(SAMPLES, SAMPLES)
def test_two_fits_add_up_to_the_fit_of_all_samples(one: list[tuple[float, float]], two: list[tuple[float, float]]) -> None:
    assert of_samples(one).plus(of_samples(two)) == pytest.approx(of_samples([*one, *two]))


def test_a_pool_that_is_new_to_a_version_borrows_from_the_others() -> None:
    one, two = of_samples([(1, 2)]), of_samples([(1, 4)])
    fits = with_anywhere({(1, 0, 0, 7): one, (1, 0, 0, 8): two, (1, 0, 1, 8): one, (2, 0, 0, 7): Fit(1, 1, 9, 1, 9)})
    assert fits[1, 0, 0, ANYWHERE].at(1, slope=0) == 3
    assert fits[1, 0, 1, ANYWHERE].at(1, slope=0) == 2
    assert fits[2, 0, 0, ANYWHERE].at(1, slope=0) == 9


@given(SAMPLES, TFLOP, st.floats(0, 1e6))
def test_nine_of_ten_never_take_less_than_expected(samples: list[tuple[float, float]], tflop: float, slope: float) -> None:
    fit = of_samples(samples)
    assert fit.p90(tflop, slope) >= fit.at(tflop, slope) * (1 - 1e-9)


@given(st.lists(st.tuples(SAMPLES, st.floats(0, 1e6)), min_size=1, max_size=8), TFLOP)
def test_many_fits_at_once_are_each_of_them(pools: list[tuple[list[tuple[float, float]], float]], tflop: float) -> None:
    fits, slopes = [of_samples(samples) for samples, _ in pools], np.array([slope for _, slope in pools])
    expected, p90 = expected_and_p90(Fits.of(fits), tflop, slopes)
    for i, fit in enumerate(fits):
        assert expected[i] == pytest.approx(fit.at(tflop, slopes[i]), rel=1e-6, abs=1e-6)
        assert p90[i] == pytest.approx(fit.p90(tflop, slopes[i]), rel=1e-6, abs=1e-6)


@given(st.floats(0.01, 1e4), st.floats(0.001, 1e3))
def test_without_spread_p90_comes_down_to_what_is_expected(seconds: float, tflop: float) -> None:
    ratios = [of_samples([(tflop, seconds)] * n).p90(tflop, slope=1) / seconds for n in (1, 3, 10, 100, 1_000)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 1.4
    assert ratios[-1] < 1.02


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("seen", [10, 50])
def test_about_nine_of_ten_new_units_stay_within_p90(sigma: float, seen: int) -> None:
    """Log-normal noise around a line through units of several sizes, as real run times have."""
    chance = np.random.default_rng(7)
    within = []
    for _ in range(600):
        tflop = chance.uniform(1, 10, seen + 1)
        seconds = (2 + 3 * tflop) * np.exp(sigma * chance.standard_normal(seen + 1) - sigma**2 / 2)
        fit = of_samples(zip(tflop[:-1], seconds[:-1], strict=True))
        within.append(seconds[-1] <= fit.p90(tflop[-1], slope=3))
    assert 0.84 <= np.mean(within) <= 0.96


def test_what_is_far_larger_than_anything_seen_takes_at_least_as_much_more_as_is_predicted() -> None:
    tests = of_samples([(0.02, 0.2)] * 5)  # a program's test cases, which end at once
    nothing = of_samples([(0.0, 0.2)] * 5)
    for fit in (tests, nothing):
        assert 395 < fit.at(8, slope=50) < 401
    assert tests.at(0.03, slope=50) == pytest.approx(0.3)  # near what was seen the samples decide


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.1, 100)), min_size=1, max_size=9), st.floats(0, 100), st.floats(0, 50))
def test_larger_units_never_take_less(samples: list[tuple[float, float]], slope: float, tflop: float) -> None:
    fit = of_samples(samples)
    assert fit.at(tflop, slope) <= fit.at(tflop * 1.5, slope) + 1e-6


def test_far_from_what_was_seen_is_less_sure() -> None:
    fit = of_samples([(0.02, 0.3), (0.02, 0.31), (0.02, 0.29)])
    assert fit.p90(2, slope=8) / fit.at(2, slope=8) > 1.2 * fit.p90(0.02, slope=8) / fit.at(0.02, slope=8)


def test_students_quantile_is_that_of_the_tables() -> None:
    tables = {2: 1.8856, 3: 1.6377, 5: 1.4759, 10: 1.3722, 30: 1.3104, 1_000: 1.2824}
    found = student_90(np.array(list(tables), dtype=np.float64))
    assert found == pytest.approx(np.array(list(tables.values())), abs=0.007)


def test_results_are_taken_to_weigh_the_next_power_of_two() -> None:
    assert [typical_bytes(total, 2.0) for total in (0, 1, 2, 2_048, 2_050)] == [0, 0, 1, 1024, 2048]
    assert typical_bytes(0, 0) == 0


@pytest.mark.django_db
def test_settling_teaches_spread_memory_and_the_bytes_of_results() -> None:
    pool = a_pool()
    store_bytes(b"a part")
    output = {"path": "part.txt", "sha256": sha_of(b"a part"), "bytes": 10**15, "media_type": "text/plain"}
    a_task(inputs={"count": 2})
    agent = leased(pool, want=2)
    one, two = (
        {"attempt": attempt, "fence": fence, "outcome": "done", "outputs": [output]} for attempt, fence in agent.held.items()
    )
    agent.report(
        one | {"usage": {"wall_ms": 1_000, "peak_memory_mib": 40}},
        two | {"usage": {"wall_ms": 3_000, "peak_memory_mib": 10**9}},
    )
    pace = Pace.objects.get(pool=pool)
    assert (pace.seconds, pace.seconds_squared) == (4.0, 10.0)
    assert pace.bytes_out == 12  # as they lie in the store, whatever was claimed
    assert (pace.memory_mib, pace.memory_most) == (128, 64)  # at most the 64 MiB that each had reserved


@pytest.mark.django_db
def test_a_clock_set_back_does_not_teach_negative_times() -> None:
    pool = a_pool()
    a_task(inputs={"count": 1})
    leased(pool, want=1, seconds_ago=-3_600).done(wall_ms=2_000)
    assert Pace.objects.get(pool=pool).seconds == 0


@pytest.mark.django_db
def test_settling_teaches_the_pace_and_estimates_follow_it() -> None:
    pool = a_pool()
    task = a_task(version=a_version(demand={"tflop": "0.5"}), inputs={"count": 4})
    document = need_of(task, stage=0, inputs=[])
    one = ClassState(1, document, 1)
    assert run_seconds(document, state_of(pool), market([one]).pace) == pytest.approx(0.5 / (0.1 / 8))

    agent = leased(pool, want=4)
    agent.done(wall_ms=2_000)

    pace = Pace.objects.get(pool=pool)
    assert (pace.samples, pace.tflop, pace.seconds) == (4, 2.0, 8.0)
    assert run_seconds(document, state_of(pool), market([one]).pace) == pytest.approx(2.0)


@pytest.mark.django_db
def test_a_claim_longer_than_its_lease_does_not_slow_the_pool_down() -> None:
    pool = a_pool()
    a_task(inputs={"count": 1})
    leased(pool, want=1, seconds_ago=5).done(wall_ms=10**9)
    assert 5 <= Pace.objects.get(pool=pool).seconds < 60


@pytest.mark.django_db
def test_old_samples_count_less_once_there_are_many() -> None:
    pool = a_pool(cores=8)
    Pace.objects.create(
        capability_version=(version := a_version()), stage=0, pool=pool, samples=10_000, tflop=10.0, seconds=10_000.0,
        tflop_squared=0.01, product=10.0, updated_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    a_task(version=version, inputs={"count": 1})
    leased(pool, want=1).done(wall_ms=0)
    assert Pace.objects.get(pool=pool).samples == pytest.approx(201)


def test_without_model_and_without_samples_a_unit_is_taken_to_last_a_second() -> None:
    pool = PoolState(1, "p", "r", "bob", "x86_64", 8, 1024, 1024, (), ("process",), 0, 100)
    document = {"tflop": "1", "version": 1, "stage": 0, "need": {"cores": 1}, "run_s": 60}
    assert run_seconds(document, pool, {}) == UNKNOWN_RUN_S
    assert run_seconds(document, pool, {(1, 0, 0, 1): Fit(1, 1, 0, 1, 0)}) == MIN_RUN_S
    assert run_seconds(document, pool, {(1, 0, 0, 1): Fit(1, 1, 1e9, 1, 1e9)}) == 60


def test_rounds_stored_before_there_were_variants_can_still_be_read() -> None:
    from scheduler.stored import snapshot_document, snapshot_from

    snapshot = replace(values.a_market([], [values.a_pool()]), pace={(3, 0, 1, 7): of_samples([(1, 2)])})
    document = snapshot_document(snapshot)
    assert snapshot_from(document, {}).pace == snapshot.pace
    older = snapshot_from(document | {"pace": [[3, 0, 7, 1, 1, 2, 1, 2]]}, {})
    assert older.pace == {(3, 0, 0, 7): Fit(1, 1, 2, 1, 2)}

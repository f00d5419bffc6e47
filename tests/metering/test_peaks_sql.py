"""One statement over all subjects finds what the pure functions find for each: value, rank, winning slots, both ways."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.peaks import Calendar, Day, Peak, Policy, digest_of, peaks_of
from metering.peaks.policy import DAILY, KINDS
from metering.peaks_sql import digests, parameters, peak_of, ranked, statement

pytestmark = pytest.mark.django_db
JUNE = date(2026, 6, 1)
Key = tuple[int, str]


@pytest.fixture
def tables() -> None:
    """`slots`: days as they are sampled. `rolled`: days as they are kept."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE slots (subject bigint, meter text, local_day date, slots bigint[]) ON COMMIT DROP")
        cursor.execute(f"CREATE TEMP TABLE rolled ON COMMIT DROP AS SELECT * FROM {ranked('slots')} AS day")


def write(subjects: dict[Key, list[Day]]) -> None:
    rows = [(*key, day.local_day, list(day.slots)) for key, days in subjects.items() for day in days]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE slots, rolled")
        cursor.executemany("INSERT INTO slots VALUES (%s, %s, %s, %s::bigint[])", rows)
        cursor.execute(f"INSERT INTO rolled SELECT * FROM {ranked('slots')} AS day")


def found(policy: Policy, calendar: Calendar, source: str) -> dict[Key, list[Peak]]:
    with connection.cursor() as cursor:
        cursor.execute(statement(policy, source), parameters(policy, calendar))
        peaks: dict[Key, list[Peak]] = {}
        for key, peak in map(peak_of, cursor.fetchall()):
            peaks.setdefault(key, []).append(peak)
    return {key: sorted(of, key=lambda peak: peak.local_day or JUNE) for key, of in peaks.items()}


def expected(policy: Policy, calendar: Calendar, subjects: dict[Key, list[Day]]) -> dict[Key, list[Peak]]:
    peaks = {key: peaks_of(policy, days, calendar) for key, days in subjects.items() if days}
    return {key: of for key, of in peaks.items() if of}


small = st.integers(0, 4)
slot_values = st.one_of(st.none(), small, small, st.integers(0, 2**63 - 1))
policies = st.builds(
    Policy,
    kind=st.sampled_from(KINDS),
    k=st.one_of(st.integers(1, 6), st.integers(1, 276)),
    day=st.sampled_from(DAILY),
    day_k=st.one_of(st.integers(1, 6), st.integers(1, 276)),
    valid_days=st.sampled_from(("used", "active")),
    above=st.integers(0, 2),
)


@st.composite
def months(draw: st.DrawFn) -> tuple[Calendar, dict[Key, list[Day]]]:
    """A few days of whatever widths (also none), a few subjects and meters, who may have missed any of them."""
    widths = draw(st.lists(st.one_of(st.integers(1, 12), st.sampled_from((0, 40, 276, 288, 300))), min_size=1, max_size=5))
    days = tuple((JUNE + timedelta(days=number), width) for number, width in enumerate(widths))
    random = draw(st.randoms(use_true_random=False))
    subjects: dict[Key, list[Day]] = {}
    for key in draw(st.sets(st.tuples(st.integers(1, 3), st.sampled_from(("gpu", "core"))), min_size=1, max_size=4)):
        palette = draw(st.lists(slot_values, min_size=1, max_size=40))
        recorded = [day for day in days if day[1] and random.random() < 0.8]
        subjects[key] = [Day(day, tuple(random.choice(palette) for _ in range(width))) for day, width in recorded]
    return Calendar(days[: draw(st.integers(1, len(days)))], 30), subjects


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policies, months())
def test_the_statement_finds_what_the_pure_functions_find(
    tables: None, policy: Policy, month: tuple[Calendar, dict[Key, list[Day]]]
) -> None:
    calendar, subjects = month
    write(subjects)
    wanted = expected(policy, calendar, subjects)
    assert found(policy, calendar, "rolled") == wanted
    assert found(policy, calendar, ranked("slots")) == wanted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.sampled_from(("used", "active")), st.integers(0, 10**9), st.integers(1, 10**15))
def test_it_does_so_for_whole_months_too(tables: None, kind: str, valid: str, seed: int, most: int) -> None:
    random = Random(seed)
    calendar = Calendar(tuple((JUNE + timedelta(days=n), (276, 288, 300)[n % 3]) for n in range(30)), 30)
    peaky = [random.randint(0, most) ** 2 // most for _ in range(30)]
    days = [Day(day, tuple(random.randint(0, peaky[n]) for _ in range(width))) for n, (day, width) in enumerate(calendar.days)]
    subjects: dict[Key, list[Day]] = {(1, "gpu"): days, (2, "gpu"): days[:2]}
    write(subjects)
    policy = Policy(kind, k=random.randint(1, 40), day="day_p95", valid_days=valid)
    assert found(policy, calendar, "rolled") == expected(policy, calendar, subjects)


def test_percentile_disc_agrees_for_every_number_of_slots_that_a_month_can_have() -> None:
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT count(*) FROM (SELECT n, percentile_disc(0.95) WITHIN GROUP (ORDER BY slot) AS found
              FROM generate_series(1, 9300, 31) n, generate_series(1, n) slot GROUP BY n) q WHERE found <> n - n / 20""")
        assert cursor.fetchone() == (0,)


def test_sums_of_days_go_beyond_64_bits(tables: None) -> None:
    days = [Day(JUNE + timedelta(days=n), (2**63 - 1,)) for n in range(3)]
    write({(1, "gpu"): days})
    calendar = Calendar(tuple((day.local_day, 1) for day in days), 30)
    policy = Policy("month_mean_day_peak")
    ((peak,),) = found(policy, calendar, "rolled").values()
    assert (peak.total, peak.parts) == (3 * (2**63 - 1), 3)


def test_postgresql_makes_the_same_digest(tables: None) -> None:
    days = [Day(JUNE + timedelta(days=n), (n, None, 7)) for n in range(3)]
    write({(1, "gpu"): days[::-1]})
    with connection.cursor() as cursor:
        cursor.execute(digests("rolled"), {"days": [day.local_day for day in days[:2]]})
        assert cursor.fetchall() == [(1, "gpu", digest_of(days[:2]))]


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_recorded_and_no_day_in_the_calendar_is_no_peak(tables: None, kind: str) -> None:
    for valid in ("used", "active"):
        assert found(Policy(kind, valid_days=valid), Calendar(((JUNE, 3),), 30), "rolled") == {}
        assert found(Policy(kind, valid_days=valid), Calendar((), 30), "rolled") == {}

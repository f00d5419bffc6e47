"""Peaks of any number of subjects over a month, each in its customer's zone, as of a cutoff.

The statements of `metering/peaks_sql.py` read the days as they were rolled up. A day that waits to be built again, or holds a fact
that was accepted at or after the cutoff, is made anew beside the table, of the facts before the cutoff, by the statement that
rolls days up: so a run with the same cutoff finds the same slots, whatever has come since.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from metering.days_sql import STAGE, WRITE_AS_OF
from metering.events.rollups import FOREVER, LOCK, numbers_of
from metering.local_days import LocalDay, arrays_of, days_of_hour, local_day
from metering.local_days import Subject as Named
from metering.peaks.grid import Calendar, calendar_of
from metering.peaks.policy import Policy
from metering.peaks.statistic import Day, Peak
from metering.peaks_sql import parameters, peak_of, statement
from metering.periods.windows import zones_of

SCALE: Final = 1000  # slots are thousandths of the meter's unit


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Whose peak of what: held_cores (core) and held_accelerators (accelerator) of attempts, or a meter of events."""

    organization: int
    pool: int
    meter: str
    unit: str


@dataclass(frozen=True, slots=True)
class SubjectPeak:
    """A peak in thousandths of the unit, and what it was taken from.

    local_day  of daily policies; None for a month's
    digest     SHA-256 of the slots: of the day's for daily policies, otherwise of all days that were recorded
    """

    subject: Subject
    peak: Peak
    calendar: Calendar
    zone: str
    stat: str
    digest: str

    @property
    def local_day(self) -> date | None:
        return self.peak.local_day


Active = Mapping[Subject, tuple[date | None, date | None]]


@dataclass(frozen=True, slots=True)
class Place:
    """A subject's row, and the days in which it was active."""

    number: int
    named: Named
    calendar: Calendar

    @property
    def since(self) -> date:
        return self.calendar.days[0][0] if self.calendar.days else date.max

    @property
    def until(self) -> date:
        return self.calendar.days[-1][0] + timedelta(days=1) if self.calendar.days else date.max


_ASKED: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS usage_asked (
  subject bigint PRIMARY KEY, customer bigint, pool bigint, meter text, unit text, zone text, since date, until date
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS usage_stale (subject bigint, day date, PRIMARY KEY (subject, day)) ON COMMIT DELETE ROWS
"""
_ASK: Final = """
INSERT INTO usage_asked
SELECT * FROM unnest(%(subject)s::bigint[], %(customer)s::bigint[], %(pool)s::bigint[], %(meter)s::text[], %(unit)s::text[],
                     %(zone)s::text[], %(since)s::date[], %(until)s::date[])
"""
# Hours that wait to be rolled up, and days that know too much.
_STALE: Final = """
SELECT asked.subject, dirty.hour, NULL::date
  FROM metering_usagedirty dirty
  JOIN usage_asked asked ON asked.pool = dirty.pool_id
   AND (dirty.customer_id = asked.customer AND dirty.meter = asked.meter AND dirty.unit = asked.unit
        OR dirty.customer_id IS NULL AND asked.meter NOT IN ('held_cores', 'held_accelerators'))
 WHERE dirty.hour >= asked.since - interval '2 days' AND dirty.hour < asked.until + interval '2 days'
 UNION
SELECT asked.subject, NULL, day.day
  FROM usage_asked asked
  JOIN metering_usageday day ON day.subject_id = asked.subject AND day.stat = %(stat)s
   AND day.day >= asked.since AND day.day < asked.until AND day.latest >= %(cutoff)s
"""
_MARK: Final = "INSERT INTO usage_stale SELECT * FROM unnest(%(subject)s::bigint[], %(day)s::date[])"
_DAYS: Final = """
  SELECT day.subject_id AS subject, ''::text AS meter, day.day AS local_day, day.slots, day.width, day.known, day.top, day.top_at,
         day.ranked, day.ladder
    FROM {table} AS day JOIN usage_asked asked ON asked.subject = day.subject_id
   WHERE day.stat = %(stat)s AND day.day >= asked.since AND day.day < asked.until"""
SOURCE: Final = f"({_DAYS.format(table='metering_usageday')})"
SOURCE_AS_OF: Final = f"""({_DAYS.format(table="metering_usageday")}
     AND NOT EXISTS (SELECT FROM usage_stale stale WHERE stale.subject = day.subject_id AND stale.day = day.day)
   UNION ALL {_DAYS.format(table="usage_day_as_of")})"""
_CALENDAR: Final = """(
  SELECT asked.subject, ''::text AS meter, days.local_day, days.width
    FROM usage_asked asked
    JOIN unnest(%(zones)s::text[], %(zone_days)s::date[], %(zone_widths)s::int[]) AS days (zone, local_day, width)
      ON days.zone = asked.zone AND days.local_day >= asked.since AND days.local_day < asked.until)"""
_TEXT: Final = "local_day::text || ' ' || slots::text"
_DIGEST_OF_DAYS: Final = f"SELECT subject, local_day, encode(sha256(convert_to({_TEXT}, 'UTF8')), 'hex') FROM {{source}} AS day"
_DIGEST_OF_ALL: Final = f"""
SELECT subject, NULL::date, encode(sha256(convert_to(string_agg({_TEXT}, E'\\n' ORDER BY local_day), 'UTF8')), 'hex')
  FROM {{source}} AS day GROUP BY subject"""
NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no days


def peaks_of(
    subjects: Sequence[Subject],
    month: date,
    policy: Policy,
    *,
    cutoff: datetime | None = None,
    active: Active | None = None,
    stat: str | None = None,
) -> list[SubjectPeak]:
    """The subjects' peaks in the month of `month`, by subject and day. The number of statements does not depend on theirs.

    cutoff  only facts that were accepted before it; without one, all
    active  [from, to) in local days, where a subject was not active in the whole month
    stat    avg or max of gauges (by default the policy's), sum of quantities that were reported by slot
    """
    stat = stat or policy.slot_stat
    with transaction.atomic(), connection.cursor() as cursor:
        places = _places(cursor, subjects, month, active or {})
        if not places:
            return []
        source = ask(cursor, list(places.values()), stat, cutoff)
        peaks = _found(cursor, policy, source, month, stat)
        digests = _digests(cursor, policy, source, stat)
    whole = [
        SubjectPeak(subject, peak, place.calendar, place.named[4], stat, digests.get((place.number, peak.local_day), NOTHING))
        for subject, place in places.items()
        for peak in peaks.get(place.number, ())
    ]
    return sorted(whole, key=lambda one: (one.subject, one.local_day or date.min))


def _places(
    cursor: CursorWrapper, subjects: Iterable[Subject], month: date, active: Active
) -> dict[Subject, Place]:
    zones = zones_of(subject.organization for subject in subjects)
    named = {one: (one.organization, one.pool, one.meter, one.unit, zones[one.organization].key) for one in sorted(set(subjects))
             if one.organization in zones}  # fmt: skip
    if not named:
        return {}
    numbers = numbers_of(cursor, sorted(named.values()))
    calendars: dict[tuple[str, date | None, date | None], Calendar] = {}
    places = {}
    for subject, name in named.items():
        asked = (name[4], *active.get(subject, (None, None)))
        if asked not in calendars:
            calendars[asked] = calendar_of(month, ZoneInfo(asked[0]), *asked[1:])
        places[subject] = Place(numbers[name], name, calendars[asked])
    return places


def ask(
    cursor: CursorWrapper, places: Sequence[Place], stat: str, cutoff: datetime | None, anew: Container[int] = ()
) -> str:
    """Put down who is asked about, and make anew what is not as of the cutoff. Answers the source to read days from.

    anew  places none of whose days are kept

    The builder of rollups stands still until this transaction has ended, so that no day changes between two statements.
    """
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
    cursor.execute(_ASKED)
    cursor.execute("TRUNCATE usage_asked, usage_stale")
    names: dict[str, Any] = {"subject": [one.number for one in places]}
    for position, name in enumerate(("customer", "pool", "meter", "unit", "zone")):
        names[name] = [one.named[position] for one in places]
    names |= {"since": [one.since for one in places], "until": [one.until for one in places]}
    cursor.execute(_ASK, names)
    cursor.execute("ANALYZE usage_asked")
    unkept = {(place, local_day(day, place.named[4])) for place in places if place.number in anew
              for day, width in place.calendar.days if width}  # fmt: skip
    stale = sorted({*_stale(cursor, places, stat, cutoff), *unkept}, key=lambda one: (one[0].number, one[1].day))
    if not stale:
        return SOURCE
    cursor.execute(_MARK, {"subject": [place.number for place, _ in stale], "day": [day.day for _, day in stale]})
    cursor.execute(STAGE)
    cursor.execute("TRUNCATE usage_day_as_of")
    wanted = arrays_of((place.number, place.named, day) for place, day in stale)
    cursor.execute(WRITE_AS_OF, wanted | {"cutoff": cutoff or FOREVER})
    return SOURCE_AS_OF


def _stale(
    cursor: CursorWrapper, places: Sequence[Place], stat: str, cutoff: datetime | None
) -> list[tuple[Place, LocalDay]]:
    of = {place.number: place for place in places}
    cursor.execute(_STALE, {"stat": stat, "cutoff": cutoff or FOREVER})
    found: set[tuple[int, date]] = set()
    for number, hour, day in cursor.fetchall():
        place = of[number]
        days = {day} if day else days_of_hour(hour, place.named[4])
        found.update((number, one) for one in days if place.since <= one < place.until)
    return [(of[number], local_day(day, of[number].named[4])) for number, day in sorted(found)]


def _found(cursor: CursorWrapper, policy: Policy, source: str, month: date, stat: str) -> dict[int, list[Peak]]:
    given = parameters(policy, calendar_of(month, ZoneInfo("UTC"))) | {"stat": stat} | _calendars(cursor, month)
    cursor.execute(statement(policy, source, _CALENDAR), given)
    peaks: dict[int, list[Peak]] = {}
    for (number, _), peak in map(peak_of, cursor.fetchall()):
        peaks.setdefault(number, []).append(peak)
    return peaks


def _calendars(cursor: CursorWrapper, month: date) -> dict[str, list[Any]]:
    """The month's days with their widths, in every zone that is asked for."""
    cursor.execute("SELECT DISTINCT zone FROM usage_asked")
    days = [(zone, *day) for (zone,) in cursor.fetchall() for day in calendar_of(month, ZoneInfo(zone)).days if day[1]]
    return {name: [day[place] for day in days] for place, name in enumerate(("zones", "zone_days", "zone_widths"))}


def _digests(cursor: CursorWrapper, policy: Policy, source: str, stat: str) -> dict[tuple[int, date | None], str]:
    text = _DIGEST_OF_DAYS if policy.daily else _DIGEST_OF_ALL
    cursor.execute(text.format(source=source), {"stat": stat})
    return {(subject, day): digest for subject, day, digest in cursor.fetchall()}


def days_of(
    subject: Subject, calendar: Calendar, zone: str, stat: str, cutoff: datetime | None = None
) -> list[Day]:
    """The subject's days within the calendar, as of the cutoff."""
    return days_of_all({(subject, zone): calendar}, stat, cutoff)[subject, zone]


def days_of_all(
    asked: Mapping[tuple[Subject, str], Calendar], stat: str, cutoff: datetime | None = None
) -> dict[tuple[Subject, str], list[Day]]:
    """The days of each (subject, zone) within its calendar, as of the cutoff. As many statements for any number of them.

    In a zone that is not the customer's any more nothing is kept up to date, so its days are made of the facts.
    """
    zones = zones_of(subject.organization for subject, _ in asked)
    named = {one: (one[0].organization, one[0].pool, one[0].meter, one[0].unit, one[1]) for one in asked}
    found: dict[tuple[Subject, str], list[Day]] = {one: [] for one in asked}
    with transaction.atomic(), connection.cursor() as cursor:
        numbers = numbers_of(cursor, sorted(named.values()))
        places = {numbers[name]: (one, Place(numbers[name], name, asked[one])) for one, name in named.items()}
        left = {number for number, (one, _) in places.items() if zones[one[0].organization].key != one[1]}
        source = ask(cursor, [place for _, place in places.values()], stat, cutoff, left)
        cursor.execute(f"SELECT subject, local_day, slots FROM {source} AS day ORDER BY subject, local_day", {"stat": stat})
        for number, day, slots in cursor.fetchall():
            found[places[number][0]].append(Day(day, tuple(slots)))
    return found

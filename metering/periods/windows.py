"""Months as their customers have them: each in its own time zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

from marketplace.models import Organization
from metering.peaks.grid import day_start, moment_of


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) of one organization."""

    organization: int
    start: datetime
    end: datetime


def zones_of(organizations: Iterable[int]) -> dict[int, ZoneInfo]:
    """The time zone of each organization that there is; one without its own has the market's. One statement."""
    rows = Organization.objects.filter(pk__in=set(organizations)).values_list("pk", "zone")
    return {number: ZoneInfo(zone or settings.USAGE_ZONE) for number, zone in rows}


def zone_of(organization: Organization) -> ZoneInfo:
    """Its own, or the market's."""
    return ZoneInfo(organization.zone or settings.USAGE_ZONE)


def windows_of(organizations: Iterable[int], month: date) -> list[Window]:
    """The calendar month in which `month` lies, for each organization, in the order of their numbers. One statement."""
    return [Window(number, *month_in(month, zone)) for number, zone in sorted(zones_of(organizations).items())]


def month_in(month: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """[start, end) of a local calendar month, in UTC."""
    first = month.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return moment_of(day_start(first, zone)), moment_of(day_start(following, zone))

"""Runs of many periods that stand on one base's goalposts: like for like, so that points of one year mean those of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Invalid
from index.defining import tree_of
from index.models import IndexRun, WeightSet
from index.running.documents import CHANGES
from index.running.services import Wanted, run_index
from marketplace.models import User

DRAWS: Final = 100  # of the bands of every run but the base
MOST: Final = 40


@dataclass(frozen=True, slots=True)
class Series:
    """A run of each period on the goalposts of the base's period.

    parameters  what differs from the definition's method, of all runs alike; of the base's with `draws` and `seed`, too
    draws       of the bands of the others
    """

    weights: WeightSet
    profile: str
    periods: Sequence[str]
    base: str
    as_of: date | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    draws: int = DRAWS


def run_series(series: Series, by: User | None = None) -> list[IndexRun]:
    """Make all runs, the earliest period first, as known at one moment; what was made before is given again.

    Each run stands for itself: where one cannot be made (Conflict `nothing_observed`) those before it stay. Invalid
    `series_invalid`, and as of `run_index`.
    """
    periods = sorted({*series.periods, series.base})
    if not 1 < len(periods) <= MOST or "base" in series.parameters:
        raise Invalid("series_invalid", f"a series has 2 to {MOST} periods, and its own base", field="periods")
    known_at = timezone.now()
    wanted = Wanted(series.weights, series.profile, series.base, series.as_of, known_at, series.parameters)
    base = run_index(wanted, by)
    alike = {**series.parameters, "base": base.pk, "draws": series.draws}
    found = {period: Wanted(series.weights, series.profile, period, series.as_of, known_at, alike) for period in periods}
    if _is_on_its_own_posts(base):
        del found[series.base]
    made = {period: run_index(one, by) for period, one in found.items()}
    return [made.get(period, base) for period in periods]


def _is_on_its_own_posts(base: IndexRun) -> bool:
    """Whether a base's own scores are what its goalposts give: not of ranks, deviations, or from 60 on."""
    how = base.parameters.get("normalise", tree_of(base.definition).method["normalise"])
    return how in {"minmax", "goalposts"}


def base_of(run: IndexRun) -> int:
    """The number of the run whose goalposts a run stands on; its own if on nobody's."""
    return int(run.parameters.get("base") or run.pk)


def on_one_base(run: IndexRun) -> list[IndexRun]:
    """Runs of the definition, profile, weights and method on the goalposts that `run` stands on, the earliest period first: of
    each period the newest. Without analysis. One statement.
    """
    base = base_of(run)
    given = {f"parameters__{name}": run.parameters[name] for name in CHANGES if name in run.parameters}
    rows = IndexRun.objects.filter(Q(parameters__base=base) | Q(pk=base), definition=run.definition, profile=run.profile, **given)
    if others := [name for name in CHANGES if name not in run.parameters]:
        rows = rows.exclude(parameters__has_any_keys=others)
    return _newest(rows.filter(weights=run.weights))


def not_on_it(run: IndexRun, periods: Sequence[str], most: int) -> list[IndexRun]:
    """Newest runs of the last of the definition's other periods, of any version, weights and method. One statement."""
    rows = IndexRun.objects.filter(definition__code=run.definition.code, profile=run.profile).exclude(period__in=periods)
    return _newest(rows, most)


def _newest(rows: QuerySet[IndexRun], most: int = MOST) -> list[IndexRun]:
    """One run of each of the last periods, the earliest first."""
    rows = rows.select_related("definition", "weights").defer("analysis", "weights__evidence")
    return list(rows.order_by("-period", "-pk").distinct("period")[:most])[::-1]

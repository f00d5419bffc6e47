"""From a number of the platform's own down to the charges of settled tasks behind it: operators see all, others their own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q, QuerySet

from billing.models import Charge
from billing.periods.api import charges_shown_to
from core.errors import NotFound
from index.models import IndexPreview, Observation, PreviewChange
from marketplace.auth import Caller
from marketplace.models import Pool

_KINDS: Final = {"general": ["general", "community"], "ai": ["intelligent"], "super": ["super"]}
_CUSTOMERS: Final = ("live_customers", "live_industries")
_TRACED: Final = ("live_fp32_used_", "live_revenue", *_CUSTOMERS)


def newest_preview() -> IndexPreview:
    """The present one. NotFound `preview_unknown`."""
    found = IndexPreview.objects.select_related("definition", "weights", "base").defer(
        "base__inputs", "base__result", "base__analysis"
    )
    preview = found.order_by("-pk").first()
    if preview is None:
        raise NotFound("preview_unknown", "nothing was counted yet")
    return preview


def change_numbered(number: int) -> PreviewChange:
    """NotFound `preview_unknown`."""
    found = PreviewChange.objects.select_related("preview__definition").filter(pk=number).first()
    if found is None:
        raise NotFound("preview_unknown", "there is no such change")
    return found


def charges_of_change(change: PreviewChange, caller: Caller) -> QuerySet[Charge]:
    """Charges that moved it, as many as the caller may see; none where it was something else."""
    rows, told = charges_shown_to(caller), change.causes.get("charges")
    if not told:
        return rows.none()
    return _there(rows.filter(pk__gt=told["after"], pk__lte=told["until"]), told["side"], change.region)


def pools_of_changes(changes: Iterable[PreviewChange], caller: Caller) -> dict[int, str]:
    """Identifiers by number of the pools that the changes name: an operator sees all, others their own."""
    numbers = {number for change in changes for number in change.causes.get("pools", ())}
    rows = Pool.objects.filter(pk__in=numbers)
    if not caller.is_operator:
        rows = rows.filter(organization=caller.organization) if caller.organization else rows.none()
    return dict(rows.values_list("pk", "identifier")) if numbers else {}


def is_traceable(observation: Observation) -> bool:
    """Whether charges stand behind it: what was counted of work metered, revenue and customers."""
    return observation.batch.origin == "live" and observation.variable.startswith(_TRACED)


def charges_of_observation(observation: Observation, caller: Caller) -> QuerySet[Charge]:
    """The charges of tasks that a live value counts. NotFound `not_traceable` for a value of another kind."""
    if not is_traceable(observation):
        raise NotFound("not_traceable", "no charges stand behind this value")
    side = "customer" if observation.variable in _CUSTOMERS else "site"
    return _there(charges_shown_to(caller).filter(_counted_as(observation)), side, observation.region)


def _there(rows: QuerySet[Charge], side: str, region: str) -> QuerySet[Charge]:
    place = "usage__pool__region__gb_code" if side == "site" else "task__organization__region__gb_code"
    return rows.select_related("provider", "publisher").filter(**{place: region})


def _counted_as(observation: Observation) -> Q:
    """Which charges index/live/sql.py counts for the variable; of work metered, those of its usage."""
    variable = observation.variable
    start, until = _window(observation)
    if variable.startswith("live_fp32_used_"):
        kinds = _KINDS[variable.removeprefix("live_fp32_used_")]
        ended = Q(usage__ended_at__gte=start, usage__ended_at__lt=until, usage__revision=0, charged_at__gte=start)
        return ended & Q(usage__pool__kind__in=kinds)
    if variable in {"live_revenue", "live_revenue_before"}:
        if variable.endswith("_before"):
            start, until = (start - timedelta(days=1)).replace(day=1), start
        return Q(charged_at__gte=start, charged_at__lt=until, currency=settings.CURRENCY)
    return Q(task__settled_at__gte=start, task__settled_at__lt=until, charged_at__gte=start)


def _window(observation: Observation) -> tuple[datetime, datetime]:
    told: Any = observation.evidence.get("window", "")
    start, _, until = str(told).partition("/")
    try:
        return datetime.fromisoformat(start), datetime.fromisoformat(until)
    except ValueError:
        raise NotFound("not_traceable", "it does not say of which window it is") from None


def regions_known(preview: IndexPreview) -> list[str]:
    """Regions of which any score is known, the highest index first, then those without one."""
    index = preview.scores.get("INDEX", {})
    known = {region for scores in preview.scores.values() for region in scores}
    return sorted(known, key=lambda region: (-float(index.get(region, -1)), region))

"""Usage's doors: events in, decisions on what was kept apart, counters compared, usage out."""

from metering.api import events, reconciliations, usage

urlpatterns = [*events.urlpatterns, *reconciliations.urlpatterns, *usage.urlpatterns]

"""Usage's doors: events in, decisions on what was kept apart, usage out."""

from metering.api import events, usage

urlpatterns = [*events.urlpatterns, *usage.urlpatterns]

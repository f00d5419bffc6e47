"""Usage's doors: events in, decisions on what was kept apart, usage out."""

from metering.api import events

urlpatterns = [*events.urlpatterns]

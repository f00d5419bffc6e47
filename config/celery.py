"""The Celery application. Jobs live in each app's `jobs.py`, are thin, and may be lost: see `core.wake`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections
from kombu.transport.redis import Channel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# When Redis goes away kombu would put unacknowledged messages back through the lost connection, which ends the worker.
# The sweeps find what they stood for.
Channel.do_restore = False

app = Celery("gridfare")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")


def look_at_connections(**_: Any) -> None:
    """Jobs share a process's connection: one that the database ended is let go, and the next use makes another."""
    close_old_connections()


task_prerun.connect(look_at_connections, dispatch_uid="gridfare.connections")

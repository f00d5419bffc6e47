"""The Celery application. Jobs live in each app's `jobs.py`, are thin, and may be lost: see `core.wake`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun, worker_init
from django.db import close_old_connections
from kombu.transport.redis import Channel

from core.collector import let_rest

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


def rest(**_: Any) -> None:
    """Before a worker makes its processes: they share what is loaded by then."""
    let_rest()


worker_init.connect(rest, dispatch_uid="gridfare.collector")
task_prerun.connect(look_at_connections, dispatch_uid="gridfare.connections")

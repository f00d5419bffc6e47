"""Jobs of one process share its connection to the database, and outlive the loss of it."""

from __future__ import annotations

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_prerun
from django.db import InterfaceError, OperationalError, connection

from config.celery import app


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_a_job_leaves_its_connection_to_the_next() -> None:
    fixup, before = DjangoWorkerFixup(app), backend()
    fixup.on_task_prerun(sender=app.tasks["celery.group"])
    fixup.on_task_postrun(sender=app.tasks["celery.group"])
    assert backend() == before


@pytest.mark.django_db(transaction=True)
def test_a_job_after_a_lost_connection_makes_a_new_one() -> None:
    lost = backend()
    with pytest.raises((OperationalError, InterfaceError)), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    task_prerun.send(sender=app.tasks["celery.group"])
    assert backend() != lost

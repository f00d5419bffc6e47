"""`manage.py replay_round`: a stored round is decided again, at the shell."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from scheduler.models import Decision, Round
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import a_task

pytestmark = pytest.mark.django_db


def replayed(*words: str) -> str:
    out = StringIO()
    call_command("replay_round", *words, stdout=out)
    return out.getvalue()


def test_the_newest_round_comes_to_the_same_plan_with_its_pools_named() -> None:
    pool = a_pool()
    a_task(inputs={"count": 3})
    run_round()
    told = replayed()
    assert f"3 to {pool.identifier}" in told
    assert "waiting: 3, by optimum" in told
    assert told.endswith("the same plan as then\n")


def test_a_round_may_be_named() -> None:
    a_pool()
    for _ in range(2):
        a_task()
        run_round()
    first = Round.objects.order_by("pk")[0]
    assert f"round {first.pk} of" in replayed(str(first.pk))


def test_a_plan_that_differs_is_a_failure() -> None:
    a_pool()
    a_task()
    run_round()
    Decision.objects.update(placed=[[1, 7]])
    with pytest.raises(CommandError, match="decided differently"):
        replayed()


def test_a_round_that_is_not_there_is_said_to_be_so() -> None:
    for words, said in (((), "no round is stored"), (("7",), "no round 7 is stored")):
        with pytest.raises(CommandError, match=said):
            replayed(*words)

"""The state machines: their arrows are data, and PostgreSQL refuses every other move, whoever asks."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from core.moves import terminal_states
from marketplace.models import CapabilityVersion, Pool, Replica, Task
from scheduler.models import Attempt, Commitment, Recheck, ReportBatch, Unit
from tests.builders import a_pool, alice
from tests.builders_billing import make_attempt, make_market, make_need, make_task
from tests.builders_capabilities import an_artifact
from tests.builders_storage import a_replica
from tests.builders_tasks import a_task, a_version

pytestmark = pytest.mark.django_db
MACHINES: dict[type[models.Model], Any] = {
    machine: machine.MOVES for machine in (Task, Unit, Attempt, Commitment, Recheck, Pool, CapabilityVersion, Replica)
}
PAIRS = [(model, old, new) for model, moves in MACHINES.items() for old, new in product(moves, moves)]


def a_row(model: type[models.Model], state: str) -> models.Model:
    """A row that stands in this state."""
    if model is Pool:
        return a_pool(state=state, agent=False)
    if model is CapabilityVersion:
        version = a_version(state="draft" if state in ("draft", "testing") else "published")
        return CapabilityVersion.objects.create(
            **{f: getattr(version, f) for f in ("capability", "manifest", "digest", "published_at")},
            version="2.0.0",
            state=state,
        )
    if model is Replica:
        return a_replica(an_artifact(alice(), b"some bytes"), state=state)
    market = make_market()
    task = make_task(market, state if model is Task else "running", units=1)
    if model is Task:
        return task
    attempt = make_attempt(market, task, make_need(), state=state if model is Attempt else "valid")
    if model is Attempt:
        return attempt
    if model is Commitment:
        words = {"seq": 1, "digest": "0" * 64, "signature": "", "items": 1, "created_at": timezone.now()}
        batch = ReportBatch.objects.create(agent_id=attempt.agent_id, **words)
        return Commitment.objects.create(attempt=attempt, hash="0" * 64, state=state, batch=batch, at=timezone.now())
    if model is Recheck:
        again = Unit.objects.create(task=task, index=0, replica=9, need_id=attempt.need_id, state="superseded")
        return Recheck.objects.create(attempt=attempt, unit=again, state=state, at=timezone.now())
    return Unit.objects.create(task=task, index=7, need_id=attempt.need_id, state=state, pool=market.pool)


def moved(row: models.Model, state: str) -> bool:
    """Whether PostgreSQL lets the row go to this state, all that its CHECKs ask for given."""
    now = timezone.now()
    fields: dict[str, Any] = {}
    if isinstance(row, Task):
        fields = {"ended_at": None if state in ("queued", "running") else now, "units_done": 1}
    if isinstance(row, Attempt):
        fields = {"ended_at": None if state in Attempt.LIVE else now}
    if isinstance(row, Pool):
        fields = {"cores": 8}
    if isinstance(row, CapabilityVersion):
        fields = {"published_at": now}
    if isinstance(row, Replica):
        fields = {"pool": a_pool() if state in ("copying", "held") else None}
    try:
        with transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).update(state=state, **fields)
    except IntegrityError as error:
        if "may not become" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize(("model", "old", "new"), PAIRS, ids=[f"{m.__name__}-{a}-{b}" for m, a, b in PAIRS])
def test_a_row_moves_along_the_arrows_and_nowhere_else(model: type[models.Model], old: str, new: str) -> None:
    row = a_row(model, old)
    assert moved(row, new) == (old == new or new in MACHINES[model][old])


@pytest.mark.parametrize("model", MACHINES, ids=lambda model: model.__name__)
def test_every_state_has_its_arrows_and_arrows_lead_to_states(model: Any) -> None:
    states = {choice.value for choice in model.State}
    assert set(MACHINES[model]) == states
    assert set().union(*MACHINES[model].values()) <= states
    assert terminal_states(MACHINES[model])


def test_saving_a_stale_row_cannot_bring_a_task_back_to_life() -> None:
    a_pool()
    stale = a_task()
    Task.objects.filter(pk=stale.pk).update(state="cancelled", ended_at=timezone.now())
    with pytest.raises(IntegrityError, match="cancelled may not become queued"):
        stale.save()

"""The demo market, made as often as one likes."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

from marketplace.models import Pool
from scheduler.models import NetworkLink, NetworkNode

pytestmark = pytest.mark.django_db


def seeded(*words: str) -> list[dict[str, str]]:
    out = StringIO()
    call_command("seed_demo", *words, stdout=out)
    agents: list[dict[str, str]] = json.loads(out.getvalue().splitlines()[-1])["agents"]
    return agents


def test_the_demos_backbone_is_imported_once_where_it_is_asked_for() -> None:
    assert len(seeded()) == 3
    assert NetworkNode.objects.count() == 0
    seeded("--network")
    there = NetworkNode.objects.count(), NetworkLink.objects.count(), Pool.objects.count()
    assert there == (42, 132, 3)
    assert len(seeded("--network")) == 3
    assert (NetworkNode.objects.count(), NetworkLink.objects.count(), Pool.objects.count()) == there

"""`manage.py seed_demo`: the demo's parties, pools and prices. May run as often as one likes.

Its last line of output is JSON: `{"agents": [{"name", "token"}]}` with a join token for every pool that has no agent.
"""

from __future__ import annotations

import json
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from config.demo_month import seed_month
from demo.market import OPERATOR, PARTIES, PASSWORD, POOLS, DemoPool, Party
from index.demo import fill, fill_series
from marketplace.models import Agent, Membership, Organization, Pool, Region, User
from marketplace.services.offers import Terms, publish_offer
from marketplace.services.providers import create_join_token, register_pool
from scheduler.models import NetworkNode
from scheduler.network.gml import read_topology
from scheduler.services.network import REPAIRS, import_topology, known_repairs

BACKBONE: Final = REPAIRS.with_name("Chinanet.gml")


class Command(BaseCommand):
    help = "Make the demo market."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--network", action="store_true", help="import the backbone that the demo's regions hang on")
        parser.add_argument("--month", action="store_true", help="bill a task of last month, so that there is an invoice")
        parser.add_argument("--index", action="store_true", help="fill the index: statistics, and marked values for what they lack")
        parser.add_argument("--token-for", default="", help="make a new join token for this agent's pool")

    def handle(
        self, *args: Any, network: bool = False, month: bool = False, index: bool = False, token_for: str = "", **options: Any
    ) -> None:
        with transaction.atomic():
            operator = seed_operator()
            for party in PARTIES:
                seed_party(party)
            agents = [seed_pool(pool, operator, again=pool.agent == token_for) for pool in POOLS]
            if network and not NetworkNode.objects.exists():
                import_topology(read_topology(BACKBONE.read_text(), repairs=known_repairs()))
        if month:
            seed_month()
        if index:
            fill()
            fill_series()
        self.stdout.write(json.dumps({"agents": agents}))


def seed_operator() -> User:
    """Olga: staff and superuser of the demo."""
    user, new = User.objects.get_or_create(
        username=OPERATOR, defaults={"is_staff": True, "is_superuser": True, "email": f"{OPERATOR}@example.com"}
    )
    if new:
        user.set_password(PASSWORD)
        user.save(update_fields=["password"])
    platform, _ = Organization.objects.get_or_create(slug="platform", defaults={"name": "Platform", "is_user": False})
    Membership.objects.get_or_create(organization=platform, user=user, defaults={"role": "owner"})
    return user


def seed_party(party: Party) -> None:
    """An organization and its owner."""
    flags = {name: getattr(party, name) for name in ("is_provider", "is_publisher", "is_user")}
    region = Region.objects.get(code=party.region)
    organization, _ = Organization.objects.get_or_create(
        slug=party.slug, defaults={"name": party.name, "region": region, **flags}
    )
    user, new = User.objects.get_or_create(
        username=party.username, defaults={"email": f"{party.username}@example.com"}
    )
    if new:
        user.set_password(PASSWORD)
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": "owner"})


def seed_pool(demo: DemoPool, operator: User, *, again: bool) -> dict[str, str | None]:
    """A pool with its offer, and a join token while it has no agent (or `again`)."""
    organization = Organization.objects.get(slug=demo.owner)
    pool = Pool.objects.filter(organization=organization, name=demo.name).first()
    if pool is None:
        fields = {"name": demo.name, "kind": demo.kind, "tier": demo.tier}
        pool = register_pool(organization, region=demo.region, fields=fields)
        publish_offer(pool, Terms(basis=demo.basis, rates=demo.rates))
    joined = Agent.objects.filter(pool=pool, retired_at=None).exists()
    token = None if joined and not again else create_join_token(pool, operator)[0]
    return {"name": demo.agent, "token": token}

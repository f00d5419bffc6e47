"""`manage.py prove_ledger`: seal what is left, then prove the chain, every block and every balance, now rather than tonight."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.ledger.proving import prove
from billing.ledger.sealing import rebuild_balances, seal_all
from billing.models import LedgerSeal


class Command(BaseCommand):
    help = "Seal the ledger and prove it. Fails when something is not what was sealed; the alarms stand in the admin."

    def handle(self, *args: Any, **options: Any) -> None:
        rebuilt, sealed = rebuild_balances(), seal_all(seconds=3600, everything=True)
        if wrong := prove():
            raise CommandError(f"{wrong} proofs failed: see the alarms of the ledger")
        last = LedgerSeal.objects.order_by("-number").first()
        chain = f"{last.number} seals over {last.last} entries, the last hash is {bytes(last.hash).hex()}" if last else "nothing"
        self.stdout.write(f"{sealed} new seals, {rebuilt} balances put back; proved: {chain}")

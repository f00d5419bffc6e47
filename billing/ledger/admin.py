"""The ledger's proof in the operators' pages: seals, sealed entries, balances, alarms."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from billing.models import AccountBalance, JournalEntry, LedgerAlarm, LedgerSeal, SealedEntry
from core.admin import Page, Panel, exact, one_of, panel, short, table, to


@admin.register(LedgerSeal)
class LedgerSealPage(Page):
    columns = ("number", "first", "last", "entries", "legs", "balances", "chained", "sealed_at")
    cards = (
        ("Seal", ("number", "first", "last", "entries", "legs", "balances", "horizon", "sealed_at")),
        ("Hashes", ("previous_hash", "block_root", "own_hash")),
    )
    search_fields = ("=pk",)
    search_help_text = "a seal's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"seal {obj.pk}"

    @admin.display(description="hash")
    def chained(self, obj: LedgerSeal) -> str:
        return short(bytes(obj.hash).hex())

    @admin.display(description="of the seal before")
    def previous_hash(self, obj: LedgerSeal) -> str:
        return bytes(obj.previous).hex()

    @admin.display(description="of the block's tree")
    def block_root(self, obj: LedgerSeal) -> str:
        return bytes(obj.root).hex()

    @admin.display(description="of this seal")
    def own_hash(self, obj: LedgerSeal) -> str:
        return bytes(obj.hash).hex()


@admin.register(SealedEntry)
class SealedEntryPage(Page):
    columns = ("position", "entry", "seal", "hashed")
    cards = (("Sealed entry", ("position", "entry", "seal", "hashed")),)
    chain = ("entry__task", "entry")
    list_filter = (exact("seal"),)
    search_fields = ("=pk", "=entry")
    search_help_text = "a place, or an entry's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"place {obj.pk}"

    @admin.display(description="digest")
    def hashed(self, obj: SealedEntry) -> str:
        return bytes(obj.digest).hex()


@admin.register(AccountBalance)
class AccountBalancePage(Page):
    columns = ("id", "account", "seal", "debit_micros", "credit_micros")
    list_filter = (exact("account"), exact("seal"))
    search_fields = ("=pk", "=account")
    search_help_text = "an account's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"balance of account {obj.account_id} up to seal {obj.seal_id}"


@admin.register(LedgerAlarm)
class LedgerAlarmPage(Page):
    columns = ("id", "kind", "seal", "account", "stands", "proved", "raised_at")
    list_filter = (one_of("kind", LedgerAlarm.Kind.values),)
    search_fields = ("=pk", "=seal")
    search_help_text = "an alarm's or a seal's number"

    def name_of(self, obj: Any) -> str:
        return f"alarm {obj.pk}: {obj.kind} of seal {obj.seal_id}"


@panel(JournalEntry)
def seal_of_entry(entry: JournalEntry) -> Panel | None:
    rows = SealedEntry.objects.filter(entry=entry)
    lines = ((to(SealedEntry, one.pk), to(LedgerSeal, one.seal_id), bytes(one.digest).hex()) for one in rows)
    return table("Sealed", ("place", "seal", "digest"), lines)

"""What the sealed ledger can be asked: seals and entries as documents, with the way from an entry to its seal.

A reader is an organization, or None for operators, who see everything. An organization sees entries that have a leg of
its accounts: its own legs as they are, each other leg as a digest that gives nothing away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from billing.ledger.hashing import blind_of, levels_of, microseconds, path_of
from billing.ledger.journals import account_name
from billing.ledger.proving import balance_leaves
from billing.models import Account, AccountBalance, LedgerSeal, Leg, SealedEntry
from marketplace.models import Organization

Reader = Organization | None
Json = dict[str, Any]

_ENTRIES: Final = """
SELECT sealed.position, entry.id, entry.kind, entry.key, entry.memo, entry.task_id, entry.posted_at, sealed.digest,
       leg.id, account.id, account.kind, account.organization_id, account.currency, leg.debit_micros, leg.credit_micros,
       CASE WHEN account.organization_id IS DISTINCT FROM %(reader)s::bigint AND %(reader)s::bigint IS NOT NULL THEN
         sha256(sha256(%(salt)s::bytea || 'leg'::bytea || int8send(leg.id)) || convert_to(
           concat_ws('|', 'gridfare-leg-1', leg.id, account.id, account.kind, coalesce(account.organization_id::text, ''),
                     account.currency, leg.debit_micros, leg.credit_micros), 'UTF8')) END
  FROM billing_sealedentry sealed
  JOIN billing_journalentry entry ON entry.id = sealed.entry_id
  LEFT JOIN billing_leg leg ON leg.entry_id = entry.id
  LEFT JOIN billing_account account ON account.id = leg.account_id
 WHERE sealed.position = ANY(%(positions)s)
 ORDER BY sealed.position, leg.id
"""


def seals() -> QuerySet[LedgerSeal]:
    """All seals. Everybody may see them: they tell counts and hashes, nothing else (their salt is not shown)."""
    return LedgerSeal.objects.defer("salt", "horizon")


def seal_document(seal: LedgerSeal) -> Json:
    """A seal as it is hashed, without its salt."""
    numbers = {"number": seal.number, "first": seal.first, "last": seal.last, "legs": seal.legs, "balances": seal.balances}
    hashes = {name: bytes(getattr(seal, name)).hex() for name in ("previous", "root", "hash")}
    return numbers | {"sealed_us": microseconds(seal.sealed_at)} | hashes


def sealed_entries(reader: Reader) -> QuerySet[SealedEntry]:
    """The sealed entries that a reader may see."""
    rows = SealedEntry.objects.all()
    if reader is None:
        return rows
    return rows.filter(Exists(Leg.objects.filter(entry=OuterRef("entry"), account__organization=reader)))


def positions_of(seal: LedgerSeal, reader: Reader) -> list[int]:
    """The places of a seal's entries that a reader may see, in order."""
    rows = sealed_entries(reader).filter(position__gte=seal.first, position__lte=seal.last)
    return list(rows.order_by("position").values_list("position", flat=True))


def account_names(reader: Reader) -> dict[int, str]:
    """The accounts that a reader may see, by number, under the names that journals give them."""
    rows = Account.objects.all() if reader is None else Account.objects.filter(organization=reader)
    found = rows.order_by("pk").values_list("pk", "kind", "organization__slug")
    return {account: account_name(kind, slug) for account, kind, slug in found}


def last_balances(reader: Reader, up_to: int) -> list[tuple[int, str, int]]:
    """(account, currency, debits minus credits in micros) of every account that a reader may see, as of a seal."""
    rows = AccountBalance.objects.filter(seal__lte=up_to).order_by("account_id", "-seal_id").distinct("account_id")
    if reader is not None:
        rows = rows.filter(account__organization=reader)
    found = rows.values_list("account_id", "account__currency", "debit_micros", "credit_micros")
    return [(account, currency, int(debit) - int(credit)) for account, currency, debit, credit in found]


def inclusions(found: Sequence[SealedEntry], reader: Reader) -> list[Json]:
    """Sealed entries as documents, each with its legs, its seal, and its path to the seal's root."""
    numbers = {one.seal_id for one in found}
    documents: list[Json] = []
    for seal in LedgerSeal.objects.filter(number__in=numbers).order_by("number"):
        positions = sorted(one.position for one in found if one.seal_id == seal.number)
        documents += [{"seal": seal.number} | one for one in block_entries(seal, positions, reader, tree_of(seal))]
    return documents


def tree_of(seal: LedgerSeal) -> list[list[bytes]]:
    """The Merkle tree of a seal, from the digests that were stored when it was made."""
    rows = SealedEntry.objects.filter(position__gte=seal.first, position__lte=seal.last).order_by("position")
    entries = [bytes(digest) for digest in rows.values_list("digest", flat=True)]
    return levels_of(entries + balance_leaves(seal))


def block_entries(seal: LedgerSeal, positions: list[int], reader: Reader, tree: list[list[bytes]] | None) -> Iterator[Json]:
    """Entries of a block as documents, by place; with a tree each has its path, and own legs have what blinds them."""
    with connection.cursor() as cursor:
        reading = {"positions": positions, "reader": None if reader is None else reader.pk, "salt": bytes(seal.salt)}
        cursor.execute(_ENTRIES, reading)
        rows = cursor.fetchall()
    for position, lines in groupby(rows, key=lambda row: row[0]):
        legs = list(lines)
        document = _entry(legs[0], [_leg(leg, seal, reader, tree is not None) for leg in legs if leg[8] is not None])
        if tree is not None:
            document["path"] = [one.hex() for one in path_of(tree, position - seal.first)]
        yield document


def _entry(row: Any, legs: list[Json]) -> Json:
    position, entry, kind, key, memo, task, posted_at, digest = row[:8]
    document: Json = {"position": position, "entry": entry, "kind": kind, "key": key, "memo": memo}
    document |= {"task": str(task) if task else None, "posted_us": microseconds(posted_at)}
    return document | {"digest": bytes(digest).hex(), "legs": legs}


def _leg(row: Any, seal: LedgerSeal, reader: Reader, blinded: bool) -> Json:
    leg, account, kind, organization, currency, debit, credit, digest = row[8:]
    if reader is not None and organization != reader.pk:
        return {"digest": bytes(digest).hex()}
    names = {"leg": leg, "account": account, "kind": kind, "organization": organization, "currency": currency}
    document = names | {"debit": debit, "credit": credit}
    return document | {"blind": blind_of(bytes(seal.salt), b"leg", leg).hex()} if blinded else document


def block_balances(seal: LedgerSeal, reader: Reader, tree: list[list[bytes]] | None) -> Iterator[Json]:
    """The balances that a seal wrote, by account, of those accounts that a reader may see."""
    rows = AccountBalance.objects.filter(seal=seal).order_by("account_id")
    found = rows.values_list("account_id", "account__organization_id", "debit_micros", "credit_micros")
    for index, (account, organization, debit, credit) in enumerate(found, seal.last - seal.first + 1):
        if reader is not None and organization != reader.pk:
            continue
        document: Json = {"account": account, "debit": int(debit), "credit": int(credit)}
        if tree is not None:
            blind = blind_of(bytes(seal.salt), b"balance", account).hex()
            document |= {"index": index, "blind": blind, "path": [one.hex() for one in path_of(tree, index)]}
        yield document

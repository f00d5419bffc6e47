"""The sealed ledger as a stream: lines of JSON for `gridfare verify-ledger`, journals for programs of accountants.

An export holds what was sealed when it began, one block at a time; docs/billing/ledger.md describes its lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from django.db.models import Max

from billing.ledger import journals, queries
from billing.ledger.hashing import GENESIS
from billing.ledger.journals import Style
from billing.ledger.queries import Json, Reader
from billing.models import LedgerSeal

FORMAT: Final = "gridfare-ledger-1"


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write the ledger down: who writes its chunks, and how a file of it is called."""

    write: Callable[[Reader], Iterator[bytes]]
    media_type: str
    suffix: str
    what: str


def stream(name: str, reader: Reader) -> Iterator[bytes]:
    """The sealed ledger in one of FORMATS, for a reader (None: all of it), in chunks of about a block."""
    return FORMATS[name].write(reader)


def last_seal() -> int:
    """The number of the last seal, 0 without one."""
    return LedgerSeal.objects.aggregate(last=Max("number"))["last"] or 0


def seals_up_to(number: int) -> Iterator[LedgerSeal]:
    """The seals from the first to this one, in portions: nothing stays open while a reader is slow."""
    after = 0
    while portion := list(LedgerSeal.objects.filter(number__gt=after, number__lte=number).order_by("number")[:200]):
        yield from portion
        after = portion[-1].number


def ndjson(reader: Reader) -> Iterator[bytes]:
    """The lines of an export, each ending with a line feed, about a block at a time."""
    digest, counts, last = sha256(), {"seals": 0, "entries": 0}, GENESIS.hex()
    head = {"type": "ledger", "format": FORMAT, "organization": None if reader is None else reader.pk}
    chunk = _line(head)
    for seal in seals_up_to(last_seal()):
        digest.update(chunk)
        yield chunk
        lines = list(_block(seal, reader))
        counts["seals"] += 1
        counts["entries"] += sum(line["type"] == "entry" for line in lines)
        last = lines[0]["hash"]
        chunk = b"".join(_line(line) for line in lines)
    digest.update(chunk)
    yield chunk + _line({"type": "end"} | counts | {"hash": last, "sha256": digest.hexdigest()})


def _block(seal: LedgerSeal, reader: Reader) -> Iterator[Json]:
    positions = queries.positions_of(seal, reader)
    tree = queries.tree_of(seal) if reader is not None and positions else None
    head = {"type": "seal"} | queries.seal_document(seal)
    yield head if reader is not None else head | {"salt": bytes(seal.salt).hex()}
    for entry in queries.block_entries(seal, positions, reader, tree) if positions else ():
        yield {"type": "entry"} | entry
    for balance in queries.block_balances(seal, reader, tree) if positions else ():
        yield {"type": "balance"} | balance


def _line(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _journal(style: Style, reader: Reader) -> Iterator[bytes]:
    """A journal: its accounts, its entries, and what every account must come to, as the last seal that touched it says."""
    up_to, names = last_seal(), queries.account_names(reader)
    yield "".join(style.head(up_to, names.values())).encode()
    last = None
    for seal in seals_up_to(up_to):
        positions = queries.positions_of(seal, reader)
        entries = list(queries.block_entries(seal, positions, reader, None)) if positions else []
        yield "".join(style.entry(entry, seal.number, names) for entry in entries).encode()
        last = max([day for day in (last, *map(journals.day_of, entries)) if day is not None], default=None)
    sums = [(names[account], currency, micros) for account, currency, micros in queries.last_balances(reader, up_to)]
    if last is not None:
        yield style.balances(last, sums).encode()


FORMATS: Final = {
    "ndjson": Format(ndjson, "application/x-ndjson", "ndjson", "lines of JSON, to be checked by `gridfare verify-ledger`"),
    "hledger": Format(partial(_journal, journals.HLEDGER), "text/plain; charset=utf-8", "journal", "a journal for hledger"),
    "beancount": Format(partial(_journal, journals.BEANCOUNT), "text/x-beancount", "beancount", "a journal for beancount"),
}

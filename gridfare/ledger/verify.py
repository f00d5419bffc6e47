"""`verify`: recompute every digest, the chain of seals and every balance of an export, and name what is wrong first.

An export is lines of JSON (docs/billing/ledger.md): `ledger`, then for each seal a `seal`, its `entry`s and `balance`s,
then `end`. An operator's export holds everything; an organization's holds its own entries, its own legs of them, and the
neighbours by which each leads to the root of its block.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from gridfare.ledger.hashing import (
    GENESIS,
    Json,
    balance_digest,
    blind_of,
    entry_digest,
    leg_digest,
    root_by_path,
    root_of,
    seal_hash,
)

FORMAT: Final = "gridfare-ledger-1"


class Refuted(Exception):
    """The export does not prove what it says; the sentence names the first thing that is wrong."""


@dataclass
class Proved:
    """What an export proves: how much there is, the chain's last hash, and every account's debits and credits in micros."""

    organization: int | None
    seals: int = 0
    entries: int = 0
    hash: str = GENESIS.hex()
    hashes: set[str] = field(default_factory=set)
    balances: dict[int, list[int]] = field(default_factory=dict)


def verify(lines: Iterable[bytes], *, expected: str | None = None) -> Proved:
    """Check an export, line by line, in memory for one block. Raises Refuted.

    expected   the hash of a seal that one knows from elsewhere, hex: it must be one of the chain's. Without it an export
               that was forged from its first line to its last would pass.
    """
    check = _Check()
    for number, line in enumerate(lines, 1):
        try:
            check.take(line)
        except Refuted as error:
            raise Refuted(f"line {number}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise Refuted(f"line {number}: not as the format has it ({type(error).__name__}: {error})") from None
    if check.state != "end":
        raise Refuted(f"the file breaks off: its last line is missing, after {check.where()}")
    if expected is not None and expected.lower() not in check.proved.hashes:
        raise Refuted(f"no seal of this ledger has the hash {expected}")
    return check.proved


class _Check:
    """The state of a check between two lines."""

    def __init__(self) -> None:
        self.state = "start"
        self.proved = Proved(None)
        self.file = sha256()
        self.whole = True
        self.seal: Json = {"number": 0, "last": 0, "hash": GENESIS.hex()}
        self._begin_block()

    def _begin_block(self) -> None:
        self.leaves: list[bytes] = []
        self.position = 0
        self.legs = 0
        self.touched: set[int] = set()
        self.last_account = -1

    def take(self, line: bytes) -> None:
        if self.state == "end":
            raise Refuted("something follows the end")
        document = json.loads(line)
        kind = document["type"]
        takers: dict[str, Callable[[Json], None]] = {
            "ledger": self.begin, "seal": self.begin_seal, "entry": self.entry, "balance": self.balance, "end": self.end,
        }  # fmt: skip
        if kind not in takers or (kind == "ledger") != (self.state == "start"):
            raise Refuted(f"a line of type {kind!r} does not belong here")
        takers[kind](document)
        if kind == "end" and line != json.dumps(document, separators=(",", ":")).encode() + b"\n":
            raise Refuted("the last line is not written as the format has it")
        self.file.update(line)

    def where(self) -> str:
        return f"seal {self.seal['number']}" + (f", entry {self.position}" if self.position else "")

    def begin(self, document: Json) -> None:
        if document["format"] != FORMAT:
            raise Refuted(f"the format is not {FORMAT}")
        self.whole = document["organization"] is None
        self.proved.organization = document["organization"]
        self.state = "seals"

    def begin_seal(self, seal: Json) -> None:
        self._end_block()
        name = f"seal {seal['number']}"
        before = self.seal
        if (seal["number"], seal["first"]) != (before["number"] + 1, before["last"] + 1):
            raise Refuted(f"{name} does not follow seal {before['number']}: one is missing, or the order is another")
        if seal["previous"] != before["hash"]:
            raise Refuted(f"{name} is not chained to seal {before['number']}")
        if seal_hash(seal).hex() != seal["hash"]:
            raise Refuted(f"{name} does not have the hash that it says")
        self._begin_block()
        self.seal = seal
        self.proved.seals += 1
        self.proved.hash = seal["hash"]
        self.proved.hashes.add(seal["hash"])

    def entry(self, entry: Json) -> None:
        name = f"entry {entry['position']} ({entry['key']})"
        self._check_place(entry["position"], name)
        digest = entry_digest(entry, [self._leg(leg, entry) for leg in entry["legs"]])
        if digest.hex() != entry["digest"]:
            raise Refuted(f"{name} does not have the digest that it says: something in it was changed")
        self.position = entry["position"]
        self.legs += len(entry["legs"])
        self.proved.entries += 1
        self._leaf(digest, entry["position"] - self.seal["first"], entry, name)
        if self.whole:
            _check_balanced(entry, name)

    def _check_place(self, position: int, name: str) -> None:
        seal, expected = self.seal, self.position + 1 if self.position else self.seal["first"]
        if seal["number"] == 0 or self.last_account >= 0:
            raise Refuted(f"{name} stands outside its block")
        if position < expected or not seal["first"] <= position <= seal["last"]:
            raise Refuted(f"{name} is out of order or in another block than its own")
        if self.whole and position != expected:
            raise Refuted(f"entry {expected} is missing: {name} follows too early")

    def _leg(self, leg: Json, entry: Json) -> bytes:
        """A leg's digest; its amounts are added to the account's."""
        if "leg" not in leg:
            if self.whole:
                raise Refuted(f"entry {entry['position']} hides a leg")
            return bytes.fromhex(leg["digest"])
        sums = self.proved.balances.setdefault(leg["account"], [0, 0])
        sums[0] += leg["debit"]
        sums[1] += leg["credit"]
        self.touched.add(leg["account"])
        return leg_digest(leg, self._blind(leg, "leg", leg["leg"]))

    def _blind(self, row: Json, what: str, number: int) -> bytes:
        return blind_of(bytes.fromhex(self.seal["salt"]), what, number) if self.whole else bytes.fromhex(row["blind"])

    def balance(self, balance: Json) -> None:
        if self.last_account < 0:
            self._check_complete()
        name = f"the balance of account {balance['account']} up to seal {self.seal['number']}"
        if balance["account"] not in self.touched or balance["account"] <= self.last_account:
            raise Refuted(f"{name} is out of order, or its account has no leg in this block")
        self.last_account = balance["account"]
        if [balance["debit"], balance["credit"]] != self.proved.balances[balance["account"]]:
            debit, credit = self.proved.balances[balance["account"]]
            raise Refuted(f"{name} is not the sum of its legs, which is {debit} debit and {credit} credit")
        self.touched.discard(balance["account"])
        digest = balance_digest(balance, self._blind(balance, "balance", balance["account"]))
        self._leaf(digest, balance.get("index", 0), balance, name)

    def _leaf(self, digest: bytes, index: int, row: Json, name: str) -> None:
        if self.whole:
            self.leaves.append(digest)
            return
        size = self.seal["last"] - self.seal["first"] + 1 + self.seal["balances"]
        root = root_by_path(digest, index, size, [bytes.fromhex(one) for one in row["path"]])
        if root is None or root.hex() != self.seal["root"]:
            raise Refuted(f"{name} does not lead to the root of seal {self.seal['number']}")

    def _end_block(self) -> None:
        """What must hold when a block's lines are over."""
        seal = self.seal
        if self.touched:
            raise Refuted(f"seal {seal['number']} says no balance of account {min(self.touched)}")
        if not self.whole or seal["number"] == 0:
            return
        self._check_complete()
        counts = (self.legs, len(self.leaves) - (seal["last"] - seal["first"] + 1))
        if counts != (seal["legs"], seal["balances"]) or root_of(self.leaves).hex() != seal["root"]:
            raise Refuted(f"the entries {seal['first']} to {seal['last']} are not those of seal {seal['number']}")

    def _check_complete(self) -> None:
        """The block's last entry was there, in a file that holds them all."""
        if self.whole and self.position != self.seal["last"]:
            missing = self.position + 1 if self.position else self.seal["first"]
            raise Refuted(f"entry {missing} of seal {self.seal['number']} is missing")

    def end(self, document: Json) -> None:
        self._end_block()
        proved = self.proved
        if (document["seals"], document["entries"], document["hash"]) != (proved.seals, proved.entries, proved.hash):
            raise Refuted("the file counts other seals and entries than it holds")
        if document["sha256"] != self.file.hexdigest():
            raise Refuted("a byte of the file was changed that belongs to no entry")
        self.state = "end"


def _check_balanced(entry: Json, name: str) -> None:
    sums: dict[str, int] = {}
    for leg in entry["legs"]:
        sums[leg["currency"]] = sums.get(leg["currency"], 0) + leg["debit"] - leg["credit"]
    if any(sums.values()):
        raise Refuted(f"{name} does not balance")


def balance_rows(proved: Proved) -> list[dict[str, Any]]:
    """The proved sums by account: `{account, debit, credit}` in micros."""
    return [{"account": account, "debit": debit, "credit": credit} for account, (debit, credit) in sorted(proved.balances.items())]

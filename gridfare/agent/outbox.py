"""The one batch of reports that is on its way, and the chain of digests that ties all batches together.

The file is written before the batch is sent and replaced by the next one, so a crash at any moment leaves the last
batch on disk. Repeating a batch is harmless: the platform knows its number.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridfare.agent.files import write_atomically
from gridfare.agent.identity import Identity

MAX_ITEMS = 20_000
"""Reports of one batch, as the protocol limits them."""

Report = dict[str, Any]


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces and unescaped UTF-8: the same text in every language."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """A signed batch; ``text`` is its canonical items, kept so that they are written out only once."""

    seq: int
    prev: str
    digest: str
    signature: str
    text: str
    attempts: frozenset[str]

    def to_json(self) -> str:
        """The ``reports`` object of a sync request."""
        head = {"seq": self.seq, "prev": self.prev, "digest": self.digest, "signature": self.signature}
        return json.dumps(head)[:-1] + ', "items": ' + self.text + "}"


def seal(seq: int, prev: str, items: list[Report], identity: Identity) -> Batch:
    """Chain and sign ``items`` after the batch whose digest is ``prev``."""
    text = canonical(items)
    digest = hashlib.sha256((prev + text).encode()).hexdigest()
    names = frozenset(str(item["attempt"]) for item in items)
    return Batch(seq, prev, digest, identity.sign(digest), text, names)


class Outbox:
    """At most one unaccepted batch, on disk."""

    def __init__(self, path: Path, identity: Identity, rejected: Path) -> None:
        self.path, self.identity, self.rejected = path, identity, rejected
        self.last_seq, self.last_digest = 0, ""
        self.batch: Batch | None = None
        self._load()

    def _load(self) -> None:
        """Take up the batch of the last run: whether it was accepted is not known, so it is sent again."""
        if not self.path.exists():
            return
        document = json.loads(self.path.read_bytes())
        items = document["items"]
        if items is None:
            self.last_seq, self.last_digest = document["seq"], document["digest"]
            return
        names = frozenset(str(item["attempt"]) for item in items)
        head = (document["seq"], document["prev"], document["digest"], document["signature"])
        self.batch = Batch(*head, canonical(items), names)
        self.last_seq, self.last_digest = self.batch.seq - 1, self.batch.prev

    def put(self, items: list[Report]) -> Batch:
        """Seal ``items`` (1 to MAX_ITEMS) as the next batch and write it durably."""
        batch = seal(self.last_seq + 1, self.last_digest, items, self.identity)
        write_atomically(self.path, batch.to_json().encode(), mode=0o600)
        self.batch = batch
        return batch

    def accept(self, seq: int | None) -> bool:
        """The platform has ``seq``: the next batch may follow. False when that is not ours."""
        if self.batch is None or seq != self.batch.seq:
            return False
        self.last_seq, self.last_digest = self.batch.seq, self.batch.digest
        self.batch = None
        return True

    def reject(self) -> None:
        """Set a batch aside that the platform will never take, for a human to read; the chain goes on without it."""
        if self.batch is None:
            return
        self.rejected.mkdir(exist_ok=True)
        aside = self.rejected / f"{self.batch.seq}-{self.batch.digest[:8]}.json"
        write_atomically(aside, self.batch.to_json().encode(), mode=0o600)
        head = {"seq": self.last_seq, "digest": self.last_digest, "items": None}
        write_atomically(self.path, json.dumps(head).encode(), mode=0o600)
        self.batch = None

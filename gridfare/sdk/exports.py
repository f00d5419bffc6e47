"""Exports: files of usage and money, for other programs."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlencode

from gridfare.sdk.errors import Corrupt, Refused
from gridfare.sdk.http import Calls
from gridfare.sdk.money_answers import Export

POLL_FIRST_S, POLL_MOST_S = 0.5, 10.0
OPEN = ("requested", "running")


class ExportCalls(Calls):
    """Files of usage and money."""

    def request_export(
        self,
        kind: str,
        *,
        since: str | None = None,
        until: str | None = None,
        format: str | None = None,  # noqa: A002  the API's word
        party: str | None = None,
        currency: str | None = None,
        group: str | None = None,
        site: str | None = None,
        ascii: bool = False,  # noqa: A002  the API's word
    ) -> Export:
        """Ask for a file of [since, until). Small ones are ready at once; while one is being written, asking again finds it.

        kind    usage, charges, statements, ledger, focus, apel or accelerators; `export_kinds()` says what each can be asked for
        """
        asked: dict[str, Any] = {"kind": kind, "from": since, "to": until, "format": format, "party": party}
        asked |= {"currency": currency, "group": group, "site": site, "ascii": ascii or None}
        body = {name: value for name, value in asked.items() if value is not None}
        made: Export = self.http.post("/exports", body, repeatable=True)
        return made

    def exports(self, *, most: int | None = None) -> Iterator[Export]:
        """The organization's exports, newest first."""
        return self.http.pages("/exports", most=most)

    def export(self, export: str) -> Export:
        """How far an export is."""
        found: Export = self.http.get(f"/exports/{export}")
        return found

    def export_kinds(self) -> list[dict[str, Any]]:
        """What can be exported: parties, formats, groups and columns of each kind."""
        kinds: list[dict[str, Any]] = self.http.get("/exports/kinds")["kinds"]
        return kinds

    def wait_export(self, export: str) -> Iterator[Export]:
        """How far an export is, again and again until it is written. Raises Refused `export_failed` with the reason."""
        pause = POLL_FIRST_S
        while True:
            found = self.export(export)
            yield found
            if found["state"] not in OPEN:
                break
            time.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311
            pause = min(POLL_MOST_S, pause * 1.5)
        if found["state"] == "failed":
            raise Refused("export_failed", found["reason"])

    def download_export(self, target: IO[bytes], export: Export) -> int:
        """Write a ready export's file into an open file. Returns its bytes; raises Corrupt if its digest is another."""
        digest = hashlib.sha256()
        written = self.http.fetch(f"/exports/{export['id']}/file", target, digest=digest)
        if digest.hexdigest() != export["sha256"]:
            raise Corrupt("hash_mismatch", "what arrived is not the file that was exported; fetch it again")
        return written

    def export_file(self, target: IO[bytes], kind: str, **asked: Any) -> Export:
        """Ask (as `request_export`), wait, and write the file into an open file; the export as it is then."""
        *_, written = self.wait_export(self.request_export(kind, **asked)["id"])
        self.download_export(target, written)
        return written

    def set_export_name(self, name: str) -> dict[str, Any]:
        """Say what exports call your organization where only ASCII may stand; empty: made of its name. Returns the organization."""
        organization: dict[str, Any] = self.http.json("PATCH", "/organization", json={"ascii_name": name})
        return organization

    def export_focus(self, target: IO[bytes], month: str, format: str = "csv", currency: str | None = None) -> int:  # noqa: A002
        """Write a month (`2026-03`) of the account as FOCUS 1.2 into an open file. Returns how many bytes it has.

        format   csv or parquet
        """
        asked = {"month": month, "format": format} | ({"currency": currency} if currency else {})
        return self.http.fetch(f"/exports/focus?{urlencode(asked)}", target)

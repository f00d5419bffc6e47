"""Exports of what is owed, for other programs."""

from __future__ import annotations

from typing import IO
from urllib.parse import urlencode

import httpx

from gridfare.sdk.http import Calls, checked


class ExportCalls(Calls):
    """Files of the account's own money."""

    def export_focus(self, target: IO[bytes], month: str, format: str = "csv", currency: str | None = None) -> int:  # noqa: A002
        """Write a month (`2026-03`) of the account as FOCUS 1.2 into an open file. Returns how many bytes it has.

        format   csv or parquet
        """
        asked = {"month": month, "format": format} | ({"currency": currency} if currency else {})
        written = 0
        try:
            with self.http.stream(f"/exports/focus?{urlencode(asked)}", headers={}, timeout_s=300) as answer:
                for chunk in checked(answer).iter_bytes():
                    written += target.write(chunk)
        except httpx.TransportError as error:
            raise self.http.unreachable(error) from error
        return written

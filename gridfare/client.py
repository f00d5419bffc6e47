"""The SDK's one class.

from pathlib import Path
from gridfare import Client

client = Client()
task = client.submit("gridfare/render", {"frames": 24, "scene": Path("cube.obj")})
task = client.wait(task["id"])
client.download_results(task["id"], "out")
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from gridfare import config
from gridfare.sdk.accounts import AccountCalls
from gridfare.sdk.capabilities import CapabilityCalls
from gridfare.sdk.charges import ChargeCalls
from gridfare.sdk.credit import CreditCalls
from gridfare.sdk.disputes import DisputeCalls
from gridfare.sdk.errors import NotLoggedIn
from gridfare.sdk.exports import ExportCalls
from gridfare.sdk.http import Http, Retry
from gridfare.sdk.index import IndexCalls, IndexWork
from gridfare.sdk.invoices import InvoiceCalls
from gridfare.sdk.ledger import LedgerCalls
from gridfare.sdk.network import NetworkCalls
from gridfare.sdk.providers import ProviderCalls
from gridfare.sdk.settlement import SettlementCalls
from gridfare.sdk.sla import SLACalls
from gridfare.sdk.tasks import TaskCalls
from gridfare.sdk.taxes import TaxCalls
from gridfare.sdk.usage import UsageCalls
from gridfare.sdk.webhooks import WebhookCalls

__all__ = ["Client", "Retry", "find_access"]


class Client(
    TaskCalls,
    TaxCalls,
    CapabilityCalls,
    ProviderCalls,
    NetworkCalls,
    UsageCalls,
    AccountCalls,
    ChargeCalls,
    CreditCalls,
    DisputeCalls,
    ExportCalls,
    IndexCalls,
    IndexWork,
    InvoiceCalls,
    LedgerCalls,
    SettlementCalls,
    SLACalls,
    WebhookCalls,
):
    """A connection to one platform with one key. Safe to share between threads; close it, or use it in `with`.

    url, key   default: GRIDFARE_URL and GRIDFARE_KEY, then the profile stored by `gridfare login`
    profile    which stored profile (default: GRIDFARE_PROFILE, then the one chosen last)
    anonymous  True: no key is needed (only for `login`)
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        profile: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
        anonymous: bool = False,
    ) -> None:
        if anonymous:
            self.url, known = checked_url(url or ""), None
        else:
            self.url, known = find_access(url, key, profile)
        self.http = Http(self.url, known, retry=retry or Retry(), timeout_s=timeout_s)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_access(url: str | None = None, key: str | None = None, profile: str | None = None) -> tuple[str, str]:
    """Address and key: what is given, else the environment, else the stored profile. NotLoggedIn when one is missing.

    A stored key is only used for the address it was stored with: another address must not learn it.
    """
    stored = config.load().get(profile)
    url = url or os.environ.get("GRIDFARE_URL") or (stored.url if stored else None)
    if not url:
        raise NotLoggedIn("not_logged_in", "no address is known; run: gridfare login URL")
    url = checked_url(url)
    key = key or os.environ.get("GRIDFARE_KEY")
    if not key and stored is not None and stored.url == url:
        key = stored.key
    if not key:
        raise NotLoggedIn("not_logged_in", f"no key for {url} is known; run: gridfare login {url}")
    return url, key


def checked_url(url: str) -> str:
    """The address without its trailing slash. ValueError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError(f"{url!r} is not an address such as https://gridfare.example")
    return url.rstrip("/")

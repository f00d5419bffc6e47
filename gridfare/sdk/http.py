"""One HTTP client for every call: the key, patience with faults, problem documents turned into exceptions."""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import httpx

from gridfare.sdk.errors import GridfareError, Unreachable, error_of

# Methods that may be sent twice without a second effect.
REPEATABLE = frozenset({"GET", "HEAD", "DELETE", "PUT", "PATCH"})
# Faults in which the request never reached the platform, so that even a POST may be sent again.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
BUSY = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Retry:
    """Patience: `tries` sends at most, waiting `first_s` doubled each time up to `most_s` between them.

    A `Retry-After` is obeyed up to `patience_s`; a longer one is an error at once.
    """

    tries: int = 6
    first_s: float = 0.2
    most_s: float = 5.0
    patience_s: float = 60.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failed `attempt` (from 1), with jitter so that clients do not march in step."""
        return min(self.most_s, self.first_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer itself, or its error raised. A redirect is an error: it would carry the key elsewhere."""
    if answer.is_success:
        return answer
    if answer.is_redirect:
        target = answer.headers.get("location", "elsewhere")
        raise Unreachable("redirected", f"{answer.url} leads to {target}; use that address", status=answer.status_code)
    try:
        document = answer.json()
    except ValueError:
        document = {}
    text = "" if "html" in answer.headers.get("content-type", "") else answer.text
    raise error_of(answer.status_code, document if isinstance(document, dict) else {}, text)


def trusted() -> ssl.SSLContext:
    """Whom httpx trusts by default. All clients of a process share it: reading the certificates takes 20 ms each time."""
    return _trusted_by(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _trusted_by(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


class Http:
    """The way to `<url>/api/v1`. Safe to share between threads."""

    def __init__(self, url: str, key: str | None, *, retry: Retry, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self.retry = retry
        headers = {"User-Agent": "gridfare-client"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=httpx.Timeout(timeout_s, connect=10.0), verify=trusted()
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at `path`. Parameters that are None are left out."""
        return self.json("GET", path, params=params)

    def post(self, path: str, body: Any = None, *, repeatable: bool = False, **request: Any) -> Any:
        """POST `body` as JSON. `repeatable` says that a second sending has no second effect."""
        return self.json("POST", path, json=body, repeatable=repeatable, **request)

    def json(self, method: str, path: str, **request: Any) -> Any:
        answer = self.send(method, path, **request)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise Unreachable("not_gridfare", f"{self.url} does not answer like Gridfare") from None

    def pages(self, path: str, *, most: int | None = None, **params: Any) -> Iterator[Any]:
        """Every result of a list, page by page, `most` of them at most.

        Only the query of `next` is used: behind a proxy its host may be another, and the key must not go there.
        """
        params["limit"] = min(most or 500, 500)
        left = most
        while True:
            page = self.get(path, **params)
            results = page["results"] if isinstance(page, dict) else page
            yield from results[:left]
            left = None if left is None else left - len(results)
            following = page.get("next") if isinstance(page, dict) else None
            if not following or (left is not None and left <= 0):
                return
            params = dict(parse_qs(urlsplit(following).query))

    def send(
        self, method: str, path: str, *, repeatable: bool | None = None, params: Any = None, **request: Any
    ) -> httpx.Response:
        """Send with patience. Raises a `GridfareError` for every answer that is not a success."""
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        given = {name: value for name, value in (params or {}).items() if value is not None}
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._client.request(method, path, params=given or None, **request)
            except httpx.TransportError as error:
                if attempt >= self.retry.tries or not (repeatable or isinstance(error, NEVER_SENT)):
                    raise self.unreachable(error) from error
                pause = self.retry.delay(attempt)
            else:
                wanted = self.pause_after(answer, attempt, repeatable)
                if wanted is None or attempt >= self.retry.tries:
                    return checked(answer)
                pause = wanted
            time.sleep(pause)

    def pause_after(self, answer: httpx.Response, attempt: int, repeatable: bool = True) -> float | None:
        """Seconds to wait before sending again, or None when the answer stands."""
        if not (answer.status_code == 429 or (repeatable and answer.status_code in BUSY)):
            return None
        asked = answer.headers.get("retry-after", "")
        if not asked.isdigit():
            return self.retry.delay(attempt)
        return float(asked) if float(asked) <= self.retry.patience_s else None

    @contextmanager
    def stream(self, path: str, *, headers: dict[str, str], timeout_s: float = 60.0) -> Iterator[httpx.Response]:
        """One GET as a stream, without patience (the caller knows what it has already). Follows to an object store."""
        with self._client.stream(
            "GET",
            path,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            follow_redirects=True,
        ) as answer:
            if not answer.is_success and answer.status_code != 416:
                answer.read()
            yield answer

    def fetch(self, path: str, target: IO[bytes], *, timeout_s: float = 300, digest: Any = None) -> int:
        """Write what is at `path` into an open file as it comes. Returns how many bytes it has; `digest` learns them, too."""
        written = 0
        try:
            with self.stream(path, headers={}, timeout_s=timeout_s) as answer:
                for chunk in checked(answer).iter_bytes():
                    written += target.write(chunk)
                    if digest is not None:
                        digest.update(chunk)
        except httpx.TransportError as error:
            raise self.unreachable(error) from error
        return written

    def unreachable(self, error: Exception) -> GridfareError:
        reason = str(error) or type(error).__name__
        return Unreachable("unreachable", f"no answer from {self.url}: {reason}")


class Calls:
    """What the groups of calls stand on."""

    http: Http
